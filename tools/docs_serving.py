"""Tables of docs/serving.md and of the inference part of docs/accuracy.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from cutline.facts.models import model
from cutline.facts.reader import evidences
from cutline.plan.fleet import fleet
from cutline.serve import accuracy, ask, constants, local
from cutline.serve.columns import Layout
from cutline.serve.step import decode, prefill_token_s

OUTSIDE = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "inference_measured.csv"
BARS = {
    # family: (bar of the blind median, of the calibrated one, what peers reach)
    "time per output token": (0.15, 0.09, "aiconfigurator, which measured the kernels: 15.1, of 70 % answered"),
    "time to first token": (0.28, 0.18, "aiconfigurator 43.1"),
    "offline tables, TensorRT-LLM": (0.15, 0.10, ""),
    "MLPerf Offline": (0.14, 0.07, ""),
    "llama.cpp decode": (0.12, 0.07, "llmfit states 30"),
    "llama.cpp prefill, one device": (0.20, 0.10, "llmfit gives none"),
    "phone NPU decode": (0.20, 0.12, ""),
    "Ascend": (0.25, 0.09, "none"),
}
_scores: dict[int, dict[str, Any]] = {}


def scores(calibrate: int) -> dict[str, Any]:
    """Return the score of the outside table where it is, else of the catalogue's."""
    if calibrate not in _scores:
        _scores[calibrate] = accuracy.score(OUTSIDE if OUTSIDE.exists() else None, calibrate)
    return _scores[calibrate]


def percent(x: float, sign: bool = False) -> str:
    """Return a share as percent with one decimal."""
    return f"{100 * x:+.1f}" if sign else f"{100 * x:.1f}"


def met(bar: float | None, value: float | None) -> str:
    """Return whether an error meets its bar, in words."""
    if bar is None or value is None:
        return ""
    return f"{percent(bar)} {'met' if value <= bar else '**missed**'}"


def accuracy_table() -> str:
    """Return errors per family, blind and calibrated, beside the bars."""
    blind, tuned = scores(0), {s["group"]: s for s in scores(5)["summary"]}
    lines = [
        "| measured | rows | at fault | blind: median / mean | bias | inside | bar | calibrated on five rows | inside | bar | peers |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for s in blind["summary"]:
        t = tuned.get(s["group"])
        low, high, peer = BARS.get(s["group"], (None, None, ""))
        after = f"{percent(t['median'])} / {percent(t['mean'])} (n {t['n']})" if t else "too few rows"
        lines.append(
            f"| {s['group']} | {s['n']} | {s['faults']} | {percent(s['median'])} / {percent(s['mean'])} | {percent(s['bias'], True)} | {percent(s['inside'])} | "
            f"{met(low, s['median'])} | {after} | {percent(t['inside']) if t else ''} | {met(high, t['median'] if t else None)} | {peer} |"
        )
    lines += ["", f"{percent(blind['answered'])} % of the rows are answered."]
    return "\n".join(lines)


def chips_table() -> str:
    """Return the blind errors of the two largest families by engine and chip."""
    import numpy as np

    rows = [
        r
        for r in scores(0)["rows"]
        if not r["fault"] and r["family"] in ("time per output token", "time to first token")
    ]
    lines = [
        "| engine | chip | rows | time per token: median, bias | time to first token: median, bias |",
        "|---|---|---|---|---|",
    ]
    for key in sorted({(r["engine"], r["chip"]) for r in rows}):
        cells = []
        for family in ("time per output token", "time to first token"):
            e = np.array([r["error"] for r in rows if (r["engine"], r["chip"]) == key and r["family"] == family])
            cells.append(f"{percent(float(np.median(abs(e))))}, {percent(float(np.median(e)), True)}" if len(e) else "")
        n = sum((r["engine"], r["chip"]) == key for r in rows)
        lines.append(f"| {key[0]} | {key[1]} | {n} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


class Point(NamedTuple):
    """A published operating point, and the conditions under which Cutline is asked for it."""

    item: str
    fleet: str
    layout: tuple[float, float, float, float]  # tp, dp, pp, ep
    batch: float  # requests of a chip; 0 for prompts
    tokens: float  # in the cache behind each request, or of a prompt
    per: float  # chips that the figure is of
    cached: float = 0.0
    drafts: float = 0.0
    accepted: float = 0.0
    weights: str | None = None


POINTS = (
    Point("H800 deepseek-v3 prefill per node", "32 x H800", (1, 32, 1, 32), 0, 4096, 8, cached=0.563),
    Point("H800 deepseek-v3 profile prefill per node", "32 x H800", (1, 32, 1, 32), 0, 4096, 8),
    Point("H800 deepseek-v3 profile decode per node", "128 x H800", (1, 128, 1, 128), 128, 4096, 8),
    Point("H100 deepseek-v3 prefill 1k per node", "32 x H100-SXM-80GB", (1, 32, 1, 32), 0, 1024, 8),
    Point("H100 deepseek-v3 prefill 4k per node", "32 x H100-SXM-80GB", (1, 32, 1, 32), 0, 4096, 8),
    Point("H100 deepseek-v3 decode per node", "72 x H100-SXM-80GB", (1, 72, 1, 72), 256, 2000, 8),
    Point("H20 deepseek-r1 prefill per node", "8 x H20", (8, 1, 1, 1), 0, 4096, 8),
    Point("H20 deepseek-r1 decode tpot 70 ms per chip", "16 x H20", (1, 16, 1, 16), 48, 4864, 1, drafts=1, accepted=0.85),
    Point("H20 deepseek-r1 decode tpot 50 ms per chip", "16 x H20", (1, 16, 1, 16), 32, 4864, 1, drafts=1, accepted=0.85),
    Point("H20 deepseek-r1 decode tpot 30 ms per chip", "16 x H20", (1, 16, 1, 16), 12, 4864, 1, drafts=2, accepted=1.55),
    Point("Ascend-910C deepseek-r1 prefill per chip", "16 x Ascend-910C", (1, 16, 1, 16), 0, 4096, 1),
    Point("Ascend-910C deepseek-r1 decode 4096/256 tpot 50 ms per chip", "160 x Ascend-910C", (1, 160, 1, 160), 96, 4224, 1, drafts=1, accepted=0.7),
    Point("Ascend-910C deepseek-r1 decode 4096/256 tpot 15 ms per chip", "160 x Ascend-910C", (1, 160, 1, 160), 8, 4224, 1, drafts=1, accepted=0.7),
    Point("Ascend-910C deepseek-r1 decode 1024/1024 tpot 50 ms per chip", "160 x Ascend-910C", (1, 160, 1, 160), 128, 1536, 1, drafts=1, accepted=0.7),
)  # fmt: skip


def figure(p: Point) -> float:
    """Return Cutline's figure for a point: tokens a second of `per` chips, kernels captured in graphs."""
    name = p.item.split()[1]
    q = ask.question(
        model(name if name != "deepseek-r1" else "deepseek-v3"), fleet(p.fleet), input_tokens=p.tokens, output_tokens=256, engine="custom",
        launch="graph", drafts=p.drafts, weights=p.weights,
    )  # fmt: skip
    side, lay = q.sides[0], Layout(*p.layout)
    chips = p.layout[0] * p.layout[1] * p.layout[2]
    if not p.batch:
        token = float(prefill_token_s(p.tokens, q.body, side.columns, lay, side.rates, side.constants, p.cached))
        return p.per / chips / (token * (1.0 - p.cached))
    step = decode(p.batch * chips, p.tokens, q.body, side.columns, lay, side.rates, side.constants, 1.0 + p.drafts)
    each = float(step.total_s) * (1.0 + float(side.constants.speculate) * (p.drafts > 0)) / (1.0 + p.accepted)
    return p.per * p.batch / each


def points_table() -> str:
    """Return published operating points of DeepSeek's models beside Cutline's figures."""
    known = evidences("served_point")
    lines = ["| published | tokens/s | Cutline | off by | source |", "|---|---|---|---|---|"]
    for p in POINTS:
        claim = known[p.item]
        value = figure(p)
        lines.append(
            f"| {p.item} | {float(claim.value):,.0f} | {value:,.0f} | {percent(value / float(claim.value) - 1.0, True)} % | {claim.source.id} |"
        )
    return "\n".join(lines)


def constants_table() -> str:
    """Return every constant of serving and of local engines: prior, shipped, range over the blind fits."""
    lines = [
        "| constant | scope | prior | doubt | shipped | without one source | note |",
        "|---|---|---|---|---|---|---|",
    ]
    for rows in (constants.table(), local.table()):
        for row in rows.values():
            others = [v for k, v in row.values.items() if k != "shipped"]
            span = f"{min(others):.3g} to {max(others):.3g}" if others else ""
            shipped = f"{row.values['shipped']:.4g}" if "shipped" in row.values else "prior"
            lines.append(
                f"| `{row.name}` | {row.scope or 'all'} | {row.prior:.4g} | {row.doubt:g} | {shipped} | {span} | {row.note} |"
            )
    return "\n".join(lines)


TABLES = {
    "serving_accuracy": accuracy_table, "serving_chips": chips_table, "served_points": points_table, "serving_constants": constants_table,
}  # fmt: skip
NEEDS_OUTSIDE = {"serving_accuracy", "serving_chips"}
