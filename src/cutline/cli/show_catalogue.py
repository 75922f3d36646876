"""Lays out the answers of `chips`, `chip`, `models` and `model`."""

from __future__ import annotations

from typing import Any

from cutline.cli import screen, words
from cutline.cli.words import exact, large, percent, plain

Answer = dict[str, Any]
NOT_SHAPE = {
    "name",
    "kind",
    "sources",
    "published_parameters",
    "published_active",
    "tokens",
}
"""Fields of a model that the lines above its shape have said."""


def per(value: float | None, unit: float) -> str:
    """Write a number in a unit, or a dash if it is not known."""
    return "-" if value is None else exact(value / unit)


def chips(answer: Answer) -> None:
    """Print the answer of `cutline chips`."""
    rows = []
    for c in answer["chips"]:
        peak = per(c["bf16_dense_flop_per_s"], 1e12)
        if peak == "-" and c["fp16_dense_flop_per_s"] is not None:
            peak = "fp16 " + per(c["fp16_dense_flop_per_s"], 1e12)
        sizes = [per(c[k], 1e9) for k in ("memory_bytes", "memory_bytes_per_s", "scale_up_bytes_per_s")]
        named = [c["name"], c["maker"], c["released"][:7] or "-"]
        rows.append([*named, peak, *sizes, per(c["power_w"], 1), ""])
    head = ["name", "maker", "released", "TFLOP/s", "GB", "GB/s", "link", "W", ""]
    screen.columns(head, rows, right=(3, 4, 5, 6, 7))
    screen.line()
    screen.line(
        f"{words.counted(len(rows), 'chip')}; TFLOP/s: dense bf16, of parts without it fp16; link: scale-up in GB/s, one way, per chip; "
        "-: no claim. `cutline chip NAME` shows every claim with its source."
    )
    screen.line(words.version(), "dim")


def chip(answer: Answer) -> None:
    """Print the answer of `cutline chip`."""
    used = {(c["field"], c["item"]): c["value"] for c in answer["claims"] if c["used"]}
    wanted = [
        ("peak", "bf16-dense", "bf16 dense"),
        ("memory", "", ""),
        ("memory_rate", "", ""),
        ("link", "scale-up", "scale-up"),
        ("power", "", ""),
    ]
    said = [f"{used[f, i]} {name}".strip() for f, i, name in wanted if (f, i) in used]
    origin = [used[k] for k in (("maker", ""), ("released", "")) if k in used]
    screen.line()
    screen.line(f"{answer['name']} ({', '.join(origin)}): {', '.join(said)}", "bold", hang=2)
    screen.line()
    claims(answer["claims"])


def claims(found: list[Answer]) -> None:
    """Print claims, losing ones below the one that is used, and the sources they name."""
    rows, winner = [], found[0]
    for c in found:
        if c["used"]:
            winner = c
        fact = "  agrees" if c["amount"] == winner["amount"] else "  not used"
        if c["used"]:
            fact = f"{c['field']} {c['item']}".strip()
        source = c["note"] if c["tier"] == "guess" else c["source"] + (f": {c['note']}" if c["note"] else "")
        rows.append([fact, _short(c["value"], 28), c["date"] or "-", c["tier"], source])
    screen.columns(["fact", "value", "date", "tier", "source and note"], rows)
    first = {(c["field"], c["item"]): c["amount"] for c in found if c["used"]}
    guesses = sum(c["tier"] == "guess" for c in found)
    used = sum(c["used"] for c in found)
    losing = sum(c["used"] is False and c["amount"] != first[c["field"], c["item"]] for c in found)
    screen.line()
    screen.line(
        f"{words.counted(len(found), 'claim')}: {used} used, {len(found) - used - losing} that agree, {losing} behind "
        f"a more trusted or later one; {words.counted(guesses, 'guess', 'guesses')}. "
        "Order of trust: sheet, vendor, measured, filing, press, guess."
    )
    screen.line()
    for c in {c["source"]: c for c in found}.values():
        screen.line(f"{c['source']}: {c['title']}", hang=2)
        if c["url"]:
            screen.address(c["url"])
    screen.line(words.version(), "dim")


def models(answer: Answer) -> None:
    """Print the answer of `cutline models`."""
    rows = []
    for m in answer["models"]:
        named = [m["name"], _short(m["maker"], 14), m["released"][:7] or "-", m["kind"]]
        size, active, tokens = (_size(m[k]) for k in ("parameters", "active", "tokens"))
        layers, context = (f"{m[k]:,}" if m[k] else "-" for k in ("layers", "context"))
        rows.append([*named, size, active, layers, context, tokens, ""])
    head = ["name", "maker", "released", "kind", "size", "active", "layers", "seq", "tokens", ""]
    screen.columns(head, rows, right=(4, 5, 6, 7, 8))
    screen.line()
    count = words.counted(len(rows), "model")
    screen.line(f"{count}; -: not published. `cutline model NAME` shows the shape with its sources.")
    screen.line(words.version(), "dim")


def model(answer: Answer) -> None:
    """Print the answer of `cutline model`."""
    shape, count = answer["shape"], answer["parameters"]
    said = f"{large(count['total'])} parameters"
    if count["active"] != count["total"]:
        said += f", {large(count['active'])} used per token"
    if shape["published_parameters"]:
        said += f" (published: {large(shape['published_parameters'])})"
    screen.line()
    form = f"{shape['kind']}, {words.counted(shape['layers'], 'layer')} of width {shape['hidden']:,}"
    screen.line(f"{answer['name']}: {said}, {form}", "bold")
    if shape["tokens"]:
        screen.line(f"trained on {plain(shape['tokens'])} tokens")
    screen.line()
    _parameters(shape, count)
    screen.line()
    values = [f"{k} {_value(v)}" for k, v in shape.items() if k not in NOT_SHAPE and v]
    screen.items("shape: ", values)
    screen.line()
    if answer["claims"]:
        claims(answer["claims"])
        return
    screen.items("keys used: ", [f"{k} {_value(v)}" for k, v in answer["used"].items()])
    assumed = [f"{k} {_value(v)}" for k, v in answer["assumed"].items()] or ["nothing"]
    screen.items("assumed, as the class does: ", assumed)
    screen.line(words.version(), "dim")


def _size(x: float | None) -> str:
    return plain(float(f"{x:.3g}")) if x else "-"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3].rstrip() + "..."


def _parameters(shape: Answer, count: Answer) -> None:
    """Print the parameters by part, all layers of a kind together; they sum to the total."""
    sparse = shape["layers"] - shape["dense_layers"] if shape["experts"] else 0
    parts = {
        "embedding": count["embedding"],
        "attention": shape["layers"] * count["attention_layer"],
        "feed-forward": (shape["layers"] - sparse) * count["ffn_layer"],
        "experts and routers": sparse * count["moe_layer"],
        "norms": count["norms"],
        "output head": count["head"],
        "other": count["other"],
    }
    rows = [[k, f"{v:,}", percent(v / count["total"], 1), ""] for k, v in parts.items() if v]
    rows.append(["total", f"{count['total']:,}", percent(1.0, 1), ""])
    screen.columns(["part", "parameters", "share", ""], rows, right=(1, 2))


def _value(v: Any) -> str:
    if isinstance(v, bool) or v is None:
        return {True: "yes", False: "no", None: "none"}[v]
    return f"{v:,}" if isinstance(v, int) and v >= 10000 else str(v)
