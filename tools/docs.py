"""Write the generated parts of README.md and docs/: command output, tables, and the accuracy picture.

    python tools/docs.py            rewrite what is stale
    python tools/docs.py --check    change nothing; exit 1 if anything is stale

A generated part stands between `<!-- run: cutline ... -->` or `<!-- table: NAME -->` and `<!-- end -->`.
Parts that need tables outside of the repository are left alone, and named, where those are absent.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import docs_gap
import docs_rules
import docs_serving

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "examples"))
OUTSIDE = ROOT.parent / "shared" / "data" / "training_measured.csv"
PART = re.compile(r"<!-- (run|table): (.+?) -->\n(.*?)<!-- end -->", re.S)

Bars = dict[str, float]
BARS: dict[str, tuple[str, Bars, Bars]] = {
    # group: (what, bars of the blind errors, bars of the calibrated ones)
    "korthikanti-2022": ("Korthikanti 2022, Table 5", {"mean": 0.06}, {"mean": 0.025}),
    "megatron-sc21": ("Megatron SC21, Table 1", {"mean": 0.06}, {"mean": 0.025}),
    "llm-foundry": (
        "llm-foundry, A100 and H100", {"median": 0.07, "mean": 0.09}, {"median": 0.05, "mean": 0.07}
    ),
    "internevo": ("InternEvo", {"median": 0.12}, {"median": 0.04}),
    "vtrain": ("vTrain, several nodes", {"mean": 0.11}, {"mean": 0.09}),
    "nemo-24": ("NeMo 24.07", {"median": 0.09}, {"median": 0.06}),
    "torchtitan": ("torchtitan", {"median": 0.09}, {"median": 0.06}),
    "fms-fsdp": ("fms-fsdp", {"median": 0.09}, {"median": 0.06}),
    "mindformers": ("MindFormers, Ascend", {"median": 0.10}, {"median": 0.08}),
    "megatron-bridge-h100": ("Megatron-Bridge, dense, H100", {"median": 0.09}, {"median": 0.05}),
    "megatron-bridge-blackwell": ("Megatron-Bridge, dense, B200 and GB200", {"median": 0.10}, {"median": 0.08}),
    "megatron-bridge-gb300": ("Megatron-Bridge, dense, GB300", {"median": 0.20}, {"median": 0.09}),
    "maxtext-tpu": ("MaxText, TPU", {"median": 0.25}, {"median": 0.12}),
    "sailor": ("Sailor, mixed fleets", {"median": 0.20}, {"median": 0.12}),
}  # fmt: skip
POOLS: tuple[tuple[str, tuple[str, ...], bool, Bars, Bars], ...] = (
    # rows of several groups as one: what, how the groups' names begin, FP8 only, bars blind and calibrated
    (
        "sparse and hybrid, containers 26.x", tuple(f"megatron-bridge-moe-{k}" for k in ("latent", "grouped", "eager", "hybrid")),
        False, {"median": 0.15}, {"median": 0.09},
    ),
    ("all of Megatron-Bridge's sparse rows", ("megatron-bridge-moe",), False, {"median": 0.20}, {"median": 0.13}),
    ("llm-foundry in FP8", ("llm-foundry",), True, {"median": 0.09}, {"median": 0.06}),
    ("torchtitan in FP8", ("torchtitan",), True, {"median": 0.12}, {"median": 0.08}),
)  # fmt: skip


def percent(x: float, sign: bool = False) -> str:
    """Return a share as percent with one decimal."""
    return f"{100 * x:+.1f}" if sign else f"{100 * x:.1f}"


_scores: dict[int, dict[str, Any]] = {}


def scores(calibrate: int) -> dict[str, Any]:
    """Return the score of the catalogue's rows and of the outside table's vTrain rows."""
    from cutline.plan import accuracy

    if calibrate not in _scores:
        found = accuracy.score(calibrate=calibrate)
        outside = accuracy.score(OUTSIDE, calibrate=calibrate)
        for key in ("rows", "summary"):
            found[key] += [r for r in outside[key] if r["group"].startswith("vtrain")]
        found["calibrated_on"] |= {k: v for k, v in outside["calibrated_on"].items() if k.startswith("vtrain")}
        _scores[calibrate] = found
    return _scores[calibrate]


def against(bars: Bars, found: dict[str, Any] | None) -> str:
    """Return whether errors meet their bars, in words."""
    if not found:
        return ""
    return ", ".join(f"{s} {percent(b)} {'met' if found[s] <= b else '**missed**'}" for s, b in bars.items())


def accuracy_table() -> str:
    """Return errors per group, blind and calibrated, beside the bars."""
    blind = {s["group"]: s for s in scores(0)["summary"]}
    tuned = {s["group"]: s for s in scores(5)["summary"]}
    left = {r["id"] for r in scores(5)["rows"]}
    lines = [
        "| measured on | rows | blind: median / mean | bias | p90 | inside | bar "
        "| blind on the rows of the next column | calibrated on five others | inside | bar |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for group in [*BARS, *sorted(set(blind) - set(BARS))]:
        b, t = blind[group], tuned.get(group)
        name, bars, bars5 = BARS.get(group, (group, {}, {}))
        same = [abs(r["error"]) for r in scores(0)["rows"] if r["group"] == group and r["id"] in left]
        before = f"{percent(float(np.median(same)))} / {percent(float(np.mean(same)))}" if same else ""
        after = f"{percent(t['median'])} / {percent(t['mean'])} (n {t['n']})" if t else "too few rows"
        cells = [
            name, str(b["n"]), f"{percent(b['median'])} / {percent(b['mean'])}", percent(b["bias"], True), percent(b["p90"]),
            percent(b["inside"]), against(bars, b), before, after, percent(t["inside"]) if t else "", against(bars5, t),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    for name, starts, narrow, bars, bars5 in POOLS:
        errors = [
            [
                r["error"]
                for r in scores(n)["rows"]
                if r["group"].startswith(starts) and (not narrow or r["precision"] != "bf16")
            ]
            for n in (0, 5)
        ]
        b, t = ({"median": float(np.median(np.abs(e))), "mean": float(np.mean(np.abs(e)))} for e in errors)
        cells = [
            name, str(len(errors[0])), f"{percent(b['median'])} / {percent(b['mean'])}", percent(float(np.median(errors[0])), True), "", "",
            against(bars, b), "", f"{percent(t['median'])} / {percent(t['mean'])} (n {len(errors[1])})", "", against(bars5, t),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    gated = [blind[g] for g in BARS]

    def mean(key: str, of: list[dict[str, Any]]) -> str:
        """Return the mean of a statistic over groups, each counted once."""
        return percent(float(np.mean([s[key] for s in of])))

    lines += [
        "",
        "Absolute error of the step time in percent; *inside*: share of the measured values in the 90 % interval. Each group "
        f"counted once, the {len(gated)} gated groups have a mean blind median of {mean('median', gated)}, a mean of {mean('mean', gated)} and "
        f"{mean('inside', gated)} inside; all {len(blind)} groups {mean('median', list(blind.values()))}, "
        f"{mean('mean', list(blind.values()))} and {mean('inside', list(blind.values()))}. NeMo, torchtitan and fms-fsdp rows pooled: "
        f"median {percent(pooled(0))} blind, {percent(pooled(5))} calibrated.",
    ]
    return "\n".join(lines)


def pooled(calibrate: int) -> float:
    """Return the median error over NeMo, torchtitan and fms-fsdp rows together."""
    rows = [r for r in scores(calibrate)["rows"] if r["group"] in ("nemo-24", "torchtitan", "fms-fsdp")]
    return float(np.median([abs(r["error"]) for r in rows]))


def misses_table() -> str:
    """Return the three worst rows of each gated group, blind."""
    lines = [
        "| row | group | chip | stack | predicted over measured time | inside | assumed |",
        "|---|---|---|---|---|---|---|",
    ]
    for group in BARS:
        rows = sorted((r for r in scores(0)["rows"] if r["group"] == group), key=lambda r: -abs(r["error"]))
        for r in rows[:3]:
            inside = "yes" if r["low"] <= r["measured"] <= r["high"] else "no"
            lines.append(
                f"| {r['id']} | {group} | {r['chip']} | {r['stack']} | {percent(r['error'], True)} % | {inside} | {'; '.join(r['assumed'])} |"
            )
    return "\n".join(lines)


def skipped_table() -> str:
    """Return how many rows of the catalogue were not expressed, by reason."""
    from collections import Counter

    from cutline.plan import accuracy

    found = scores(0)
    reasons = Counter(
        re.sub(
            r"line \d+: |(?<=data fault: repeats) .*", "", re.sub(r"named '[^']*'", "of that name", s["reason"])
        ).strip()
        for s in found["skipped"]
    )
    rows = accuracy.load()
    stated = [r for r in rows if r["arch"] == "dense" and all(r[k] for k in ("tp", "pp", "dp", "global_batch_seqs"))]
    done = {r["id"] for r in found["rows"]}
    lost = {s["id"]: s["reason"] for s in found["skipped"]}
    usable = [r for r in stated if not lost.get(r["id"], "").startswith("data fault")]
    share = sum(r["id"] in done for r in usable) / len(usable)
    outside = ("chip is blank", "adapter", "encoder")
    decoders = [r for r in usable if not lost.get(r["id"], "").startswith(outside)]
    share_decoders = sum(r["id"] in done for r in decoders) / len(decoders)
    lines = [
        f"{len(done)} rows of the catalogue and the outside table are scored. Of the {len(usable)} dense rows of the catalogue that state tp, pp, dp and "
        f"batch and carry no data fault, {percent(share)} % are expressed; of the {len(decoders)} that also name their chip and train a whole "
        f"decoder, {percent(share_decoders)} %. (The bar was 95 % of all: 80 rows name no chip, the rest are encoders and adapters.)",
        "",
        "| rows left out | reason |",
        "|---|---|",
        *(f"| {n} | {reason} |" for reason, n in reasons.most_common()),
    ]
    return "\n".join(lines)


def picked_table() -> str:
    """Return which rows calibrate each gated group, and the factors found."""
    lines = ["| group | rows | compute | communication | host | step | elementwise |", "|---|---|---|---|---|---|---|"]
    for group in BARS:
        used = scores(5)["calibrated_on"][group]
        f = used["multipliers"]
        lines.append(
            f"| {group} | {', '.join(used['rows'])} | "
            + " | ".join(f"{f[k]:.2f}" for k in ("compute", "communication", "host", "step", "elementwise"))
            + " |"
        )
    return "\n".join(lines)


def rank_table() -> str:
    """Return how predicted and measured order of strategies of one job agree, with the outside table where it is."""
    from cutline.plan import accuracy

    outside = [r for r in accuracy.score(OUTSIDE)["rank"] if r["group"].startswith("vtrain")]
    rows = [*scores(0)["rank"], *outside]
    lines = [
        "| measured on | jobs | strategies each | best measured is first | among the first three | choosing the first costs |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['group']} | {r['sets']} | {r['strategies']:.0f} | {percent(r['first'])} | {percent(r['among_three'])} | {percent(r['regret'])} |"
        for r in rows
    ]
    sets = sum(r["sets"] for r in rows)
    three = sum(r["sets"] * r["among_three"] for r in rows) / sets
    lines += ["", f"Of {sets} jobs the best measured strategy is among the first three in {percent(three)} % (bar 90)."]
    return "\n".join(lines)


def memory_table() -> str:
    """Return predicted beside measured bytes by source and kind."""
    from cutline.plan import ranking

    rows = ranking.memory_rows()
    lines = ["| source | bytes | rows | median error | worst | bias |", "|---|---|---|---|---|---|"]
    for source, kind in dict.fromkeys((r["source"], r["kind"]) for r in rows):
        e = np.array([r["error"] for r in rows if (r["source"], r["kind"]) == (source, kind)])
        lines.append(
            f"| {source} | {kind} | {len(e)} | {percent(float(np.median(abs(e))))} | {percent(float(abs(e).max()))} | {percent(float(np.median(e)), True)} |"
        )
    return "\n".join(lines)


def peers_table() -> str:
    """Return what Cutline and its peers model; peers as read in their code, see the note under the table."""
    rows = [line.split(" | ") for line in PEERS.strip("\n").splitlines()]
    return "\n".join(
        [
            "| " + " | ".join(rows[0]) + " |",
            "|---" * len(rows[0]) + "|",
            *("| " + " | ".join(r) + " |" for r in rows[1:]),
        ]
    )


PEERS = """
 | Cutline | Calculon | SimuMax 1.2 | llm-analysis | vTrain | Galvatron | SAPP-ND
needs no accelerator | yes | yes | table from one | yes | profiles | profiles | yes
seconds, checked on sources it was not fitted to | yes | its fit's own 8 points | the shapes it was tuned on | fed with the measured rate | yes | paper | ranks only
sparse models, latent attention, prediction layers | yes | no | yes, balanced only | part | no | part | yes
hybrids, windows, diffusion transformers for video | yes | no | no | no | no | vision | no
tensor, context (three kinds), pipeline, expert ranks | yes | no context, no experts | one kind of context | no context | tensor, pipeline | yes | experts, ring under way
zero bubble, DualPipe | yes | no | no | no | no | no | part
ZeRO 0 to 3, HSDP, host offload | yes | part | ZeRO 1 | memory | data parallel | ZeRO 1 to 3 | part
FP8 by recipe, MX, NVFP4, INT8, with what is known of the loss | yes | a rate swap | FP8 | no | no | no | no
A800, H800, H20, Ascend, TPU, each fact with its source | yes | two parts | two parts | peaks | one part | own clusters | bandwidths
exhaustive search, bounds proven against brute force | yes | brute force | grid | no | outside | dynamic program | brute force
candidates per CPU-second | see docs/speed.md | 142 to 301 | 9 | over 1,000 single ones | - | - | -
energy, money, failures, interval, sources of every number | yes | no | no | chip hours | cost | no | no
"""


def constants_table() -> str:
    """Return every constant: prior, shipped value, range over the blind fits."""
    from cutline.plan import constants

    lines = [
        "| constant | scope | prior | doubt | shipped | without one group | source of the prior | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in constants.table().values():
        others = [v for k, v in row.values.items() if k != "shipped"]
        span = f"{min(others):.3g} to {max(others):.3g}" if others else ""
        shipped = f"{row.values['shipped']:.4g}" if "shipped" in row.values else "prior"
        prior = f"{row.prior:.4g}" if row.prior is not None else "wider scope"
        doubt = f"{row.doubt:g} {row.transform}" if row.transform != "fixed" else "fixed"
        lines.append(
            f"| `{row.name}` | {row.scope or 'all'} | {prior} | {doubt} | {shipped} | {span} | {row.source} | {row.note} |"
        )
    return "\n".join(lines)


def catalogue_table() -> str:
    """Return how much the catalogue holds, by tier of source."""
    from cutline.facts import reader

    lines = [
        "| table | names | claims | " + " | ".join(reader.TRUST) + " |",
        "|---|---|---|" + "---|" * len(reader.TRUST),
    ]
    for name in ("chips", "models", "clusters", "evidence"):
        table = reader.table(name)
        claims = [c for fields in table.facts.values() for found in fields.values() for c in found]
        tiers = [sum(c.source.tier == t for c in claims) for t in reader.TRUST]
        lines.append(f"| {name} | {len(table)} | {len(claims)} | " + " | ".join(map(str, tiers)) + " |")
    return "\n".join(lines)


def commands_table() -> str:
    """Return the help of every command."""
    names = (
        "", "plan", "estimate", "serve", "run", "rule", "rules", "line", "design", "gap", "ability", "supply", "scenario", "claims", "chips", "chip", "models", "model", "accuracy", "calibrate",
    )  # fmt: skip
    return "\n\n".join(
        f"```console\n$ cutline {n + ' ' if n else ''}--help\n{run(['cutline', *([n] if n else []), '--help'])}```"
        for n in names
    )


def published_mixed_table() -> str:
    """Return where published splits of mixed fleets stand in Cutline's order."""
    import published_mixed

    return published_mixed.table()


TABLES: dict[str, Callable[[], str]] = (
    {
        "accuracy": accuracy_table,
        "misses": misses_table,
        "skipped": skipped_table,
        "picked": picked_table,
        "rank": rank_table,
        "memory": memory_table,
        "peers": peers_table,
        "constants": constants_table,
        "catalogue": catalogue_table,
        "commands": commands_table,
        "published_mixed": published_mixed_table,
    }
    | docs_rules.TABLES
    | docs_serving.TABLES
    | docs_gap.TABLES
)
NEEDS_OUTSIDE = {"accuracy", "misses", "skipped", "picked", "rank"} | docs_serving.NEEDS_OUTSIDE


def run(words: list[str]) -> str:
    """Return what a command prints, with run times blanked."""
    return _printed(tuple(words))


@functools.cache
def _printed(words: tuple[str, ...]) -> str:
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=ROOT)
    text = done.stdout + done.stderr
    return (
        "\n".join(line.rstrip() for line in re.sub(r"\bin [\d.]+ s\b", "in ... s", text).strip("\n").split("\n")) + "\n"
    )


def fresh(kind: str, what: str, old: str) -> str:
    """Return the content of a generated part."""
    if kind == "run":
        return f"```console\n$ {what}\n{run(shlex.split(what))}```\n"
    if what in NEEDS_OUTSIDE and not OUTSIDE.exists():
        print(f"left alone: {what} needs the measurements outside of the repository")
        return old
    return TABLES[what]() + "\n"


def pages() -> Iterator[Path]:
    """Yield the pages with generated parts."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").glob("*.md"))


def picture() -> None:
    """Draw predicted against measured step time of the gated groups and of Megatron-Bridge's sparse rows, blind."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "cutline"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9.5, 6.0), layout="constrained")
    markers = "osD^vPX*<>phd8H"
    shown = [((group,), name) for group, (name, *_) in BARS.items()]
    shown += [(starts, name) for name, starts, narrow, *_ in POOLS[:1] if not narrow]
    for place, ((starts, _), marker) in enumerate(zip(shown, markers, strict=False)):
        rows = [
            r for r in scores(0)["rows"] if r["group"] in starts or (len(starts) > 1 and r["group"].startswith(starts))
        ]
        x = np.arange(len(rows)) / max(len(rows) - 1, 1)
        axes.scatter(
            place + 0.1 + 0.8 * x,
            100 * np.sort([r["error"] for r in rows]),
            s=14,
            marker=marker,
        )
    axes.axhspan(-10, 10, alpha=0.12, color="grey")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(
        np.arange(len(shown)) + 0.5,
        [name.replace("Megatron-Bridge, dense, ", "dense, ").replace(", ", ",\n") for _, name in shown],
        rotation=35,
        ha="right",
        fontsize=8,
    )
    axes.set_ylabel("predicted over measured step time, percent")
    axes.set_ylim(-70, 70)
    axes.set_title("Blind: each source predicted without any of its rows (band: 10 %)", fontsize=10)
    figure.savefig(ROOT / "docs" / "accuracy.svg", metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    asked = {m[2] for page in pages() for m in PART.finditer(page.read_text(encoding="utf-8")) if m[1] == "run"}
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each command is a process
        list(pool.map(lambda what: run(shlex.split(what)), sorted(asked)))
    for page in pages():
        text = page.read_text(encoding="utf-8")

        def replace(match: re.Match[str]) -> str:
            kind, what, old = match.groups()
            return f"<!-- {kind}: {what} -->\n{fresh(kind, what, old)}<!-- end -->"

        new = PART.sub(replace, text)
        if new != text:
            stale.append(page.relative_to(ROOT).as_posix())
            if not check:
                page.write_text(new, encoding="utf-8")
    if not check:
        docs_rules.picture()
        docs_gap.picture()
    if not check and OUTSIDE.exists():
        with contextlib.redirect_stderr(io.StringIO()):
            picture()
    if stale:
        print(("stale, run `make docs`: " if check else "rewritten: ") + ", ".join(stale))
    else:
        print("generated pages are fresh")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
