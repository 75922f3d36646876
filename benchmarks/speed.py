"""Speed of the planner: candidates per CPU-second, and the ratio to a plain Python loop in the same run.

    python benchmarks/speed.py [--json]

Prints figures, asserts nothing: machines differ, ratios within one run do not much.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cutline.facts import reader
from cutline.facts.models import model
from cutline.plan import run
from cutline.plan.columns import Estimate, Strategy
from cutline.plan.search import search
from cutline.plan.strategy import chunks
from cutline.plan.training import estimate

SPARSE = ("deepseek-v3", "2048 x H800-SXM-80GB", 14.8e12)
WIDE = ("gpt3-175b", "512 x A100-SXM-80GB", 3e11)
DEMO = ("llama-65b", "2048 x A100-SXM-80GB", 1.4e12)
LARGE = ("llama-3.1-405b", "16384 x H100-SXM-80GB", 15.6e12)


def cpu_s(work: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Return the least CPU time of some repeats, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return best, result


def loop(j: run.Job, table: Strategy) -> list[Estimate]:
    """Estimate row by row: the same model without columns."""
    return [estimate(j.shape, j.rates, j.constants, table[[i]]) for i in range(len(table))]


def command_s(*words: str) -> float:
    """Return the least wall time of a cutline command as a whole process."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "cutline", *words], check=True, capture_output=True)
        best = min(best, time.perf_counter() - start)
    return best


def load_tables() -> None:
    """Read every fact table afresh."""
    for cached in (reader.sources, reader.schema, reader.table):
        cached.cache_clear()
    for name in ("chips", "models", "clusters", "evidence"):
        reader.table(name)


def law() -> dict[str, float]:
    """Return how fast imagined chips are judged: all at once, and the ratio to one verdict after another."""
    from datetime import date

    from cutline.law.limits import Items
    from cutline.law.measures import imagined
    from cutline.law.screen import every_part, screen, screen_parts
    from cutline.law.verdict import rule

    n, rng, on = 1_000_000, np.random.default_rng(0), date(2026, 6, 1)
    items = Items(
        rng.uniform(100, 20000, n), rng.uniform(50, 1700, n), rng.uniform(32, 2000, n), rng.uniform(100, 8000, n), rng.random(n) < 0.8
    )  # fmt: skip
    at_once, _ = cpu_s(lambda: screen(items, "CN", on=on, maker="NVIDIA"))
    few = [
        imagined(tpp=round(float(items.tpp[i]), 2), die_area=round(float(items.area_mm2[i]), 2), memory_bandwidth=100, io_bandwidth=64)
        for i in range(100)
    ]  # fmt: skip
    one_by_one, _ = cpu_s(lambda: [rule(p, "CN", on=on) for p in few], repeats=1)
    parts = every_part()
    catalogue, _ = cpu_s(lambda: screen_parts(parts, "CN", on=on))
    return {
        "law_chips_per_cpu_s": n / at_once,
        "law_million_chips_cpu_s": at_once,
        "law_ratio_to_one_by_one": (one_by_one / len(few)) / (at_once / n),
        "law_catalogue_cpu_s": catalogue,
    }


def mixed_fleets() -> dict[str, float]:
    """Return how long plans over several kinds of chips take, and one pipeline over two of them alone."""
    from cutline.plan import mixed
    from cutline.plan.fleet import fleet

    def planned(name: str, on: str) -> tuple[float, list[mixed.Split]]:
        return cpu_s(lambda: mixed.splits(mixed.mixed(model(name), fleet(on))), 2)

    three, found = planned("llama-65b", "1024 x H800 + 1024 x H20 + 2048 x A800")
    two, _ = planned("llama-65b", "512 x A800 + 512 x H20")
    sparse, _ = planned("deepseek-v3", "1024 x H800 + 1024 x H20")
    q = mixed.mixed(model("llama-65b"), fleet("1024 x H800 + 1024 x H20 + 2048 x A800"))
    return {
        "mixed_three_kinds_4096_chips_cpu_s": three, "mixed_two_kinds_1024_chips_cpu_s": two, "mixed_sparse_2048_chips_cpu_s": sparse,
        "mixed_three_kinds_over_bound": found[0].step_s / mixed.bound_s(q, (0, 1, 2)),
    }  # fmt: skip


def serving() -> dict[str, float]:
    """Return how long searches of serving plans take, one estimate alone, and the replay of a server."""
    from cutline.plan.fleet import fleet
    from cutline.serve import ask, replay, run, search
    from cutline.serve.closed import closed
    from cutline.serve.columns import Load

    def planned(on: str) -> tuple[float, Any]:
        q = ask.question(
            model("deepseek-v3"), fleet(on), input_tokens=4096, output_tokens=1024, ttft_s=5.0, tpot_s=0.05
        )
        return cpu_s(lambda: run.serve(q), 2)

    small, _ = planned("64 x H800")
    large, found = planned("1024 x H800")
    q = ask.question(model("deepseek-v3"), fleet("16 x H20"), input_tokens=4096, output_tokens=1024)
    side, lay = q.sides[0], search.layouts(q, q.sides[0])[[0]]
    one, _ = cpu_s(
        lambda: closed(Load(8.0, 4096.0, 1024.0), q.body, side.columns, lay, side.rates, side.constants, side.memory)
    )
    replayed, _ = cpu_s(
        lambda: replay.simulate(lambda n, c, p: 0.02 + 1e-4 * n + 1e-8 * c + 5e-5 * p, input_tokens=1024, output_tokens=512, requests=2000, concurrency=64, budget=8192)
    )  # fmt: skip
    return {
        "serving_64_chips_cpu_s": small, "serving_1024_chips_cpu_s": large, "serving_1024_chips_candidates": found["searched"],
        "serving_one_estimate_cpu_s": one, "serving_replay_2000_requests_cpu_s": replayed,
    }  # fmt: skip


def measure() -> dict[str, float]:
    """Return all figures."""
    out: dict[str, float] = {}
    cases: dict[str, tuple[tuple[str, str, float], dict[str, Any]]] = {
        "demo": (DEMO, {}),
        "large": (LARGE, {}),
        "sparse": (SPARSE, {"precision": "fp8-block"}),
        "wide": (WIDE, {"framework": "any"}),
        "large_wide": (LARGE, {"framework": "any"}),
        "sparse_wide": (SPARSE, {"precision": "fp8-block", "framework": "any"}),
    }
    for label, ((name, fleet, tokens), options) in cases.items():
        j = run.job(model(name), fleet, tokens, **options)
        seconds, found = cpu_s(lambda j=j: search(j.shape, j.rates, j.constants, j.space, most_kinds=5), 2)  # type: ignore[misc]
        out[f"{label}_candidates"] = found.searched
        out[f"{label}_estimated"] = found.searched - found.pruned
        out[f"{label}_search_cpu_s"] = seconds
        out[f"{label}_candidates_per_cpu_s"] = found.searched / seconds
    out["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    j = run.job(model(DEMO[0]), DEMO[1], DEMO[2])
    table = next(chunks(j.space))
    sample = table[np.linspace(0, len(table) - 1, 200).astype(int)]
    one_by_one, _ = cpu_s(lambda: loop(j, sample), repeats=1)
    at_once, _ = cpu_s(lambda: estimate(j.shape, j.rates, j.constants, table))
    out["ratio_to_row_by_row"] = (one_by_one / len(sample)) / (at_once / len(table))
    out |= law()
    out |= mixed_fleets()
    out |= serving()
    out["load_all_tables_cpu_s"], _ = cpu_s(load_tables)
    out["help_s"] = command_s("--help")
    out["plan_demo_s"] = command_s("plan", DEMO[0], "--on", DEMO[1], "--tokens", "1.4T")
    return out


GROWTH = Path(__file__).resolve().parent.parent / "docs" / "speed.svg"


def growth() -> None:
    """Draw how the time of a search grows with the fleet and with the space: into docs/speed.svg."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "cutline"
    import matplotlib.pyplot as plt

    figure, (by_chips, by_space) = plt.subplots(1, 2, figsize=(9.5, 4.0), layout="constrained")
    for name, precision, framework, marker in (
        ("llama-65b", "bf16", None, "o"), ("llama-65b", "bf16", "any", "s"), ("deepseek-v3", "fp8", None, "^"), ("deepseek-v3", "fp8", "any", "v"),
    ):  # fmt: skip
        points = []
        for chips in (64, 256, 1024, 4096, 16384):
            j = run.job(
                model(name), f"{chips} x H800-SXM-80GB", precision=precision, framework=framework, batch_tokens=64e6
            )
            seconds, found = cpu_s(lambda j=j: search(j.shape, j.rates, j.constants, j.space, most_kinds=5), 1)  # type: ignore[misc]
            points.append((chips, found.searched, seconds))
        label = f"{name}, {framework or 'megatron'}"
        x, n, y = zip(*points, strict=True)
        by_chips.plot(x, y, marker=marker, label=label)
        by_space.plot(n, y, marker=marker, label=label)
    for axes, what in ((by_chips, "chips"), (by_space, "strategies in the space")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(what)
        axes.grid(alpha=0.3)
    by_chips.set_ylabel("CPU-seconds of one search")
    by_space.legend(fontsize=8, loc="lower right")
    figure.savefig(GROWTH, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--picture", action="store_true", help="draw docs/speed.svg instead")
    arguments = parser.parse_args()
    if arguments.picture:
        growth()
        return
    figures = measure()
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:32s} {value:14,.4g}")


if __name__ == "__main__":
    main()
