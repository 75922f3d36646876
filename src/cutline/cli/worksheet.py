"""Writes the working of one verdict as Markdown, for the file of a transaction."""

from __future__ import annotations

from typing import Any

from cutline import data_version
from cutline.cli import words
from cutline.cli.show_rules import NAMES, UNITS, number


def markdown(answer: dict[str, Any]) -> str:
    """Return the worksheet of an answer of `law.verdict.rule`."""
    said = [f"# {answer['item']} to {answer['parties']['destination']}, {answer['on']}", ""]
    said += [f"**{answer['verdict'][0].upper()}{answer['verdict'][1:]}.** Review policy: {answer['policy']}.", ""]
    said += _table(["asked", "value"], [[k, v] for k, v in _asked(answer)])
    said += ["## Measured", ""]
    rows = []
    for q in answer["quantities"]:
        value = number(q["low"]) if q["low"] == q["high"] else f"{number(q['low'])} to {number(q['high'])}"
        sources = "; ".join(
            f"[{s['title']}]({s['url']}) ({s['tier']})" if s["url"] else f"{s['title']}: {s['note']}"
            for s in q["sources"]
        )
        rivals = "; ".join(f"{number(d['value'])}: {d['source']}" for d in q["disputed"])
        rows.append([NAMES[q["quantity"]], value + UNITS[q["quantity"]], q["says"], sources or "given", rivals or "-"])
    said += _table(["quantity", "value", "how", "source", "what other sources say"], rows)
    said += ["## Tests", ""]
    rows = [
        [m["test"], m["asks"], "open" if m["value"] is None else number(m["value"]),
         "open" if m["margin"] is None else f"{100 * m['margin']:+.2f} %",
         {True: "yes", False: "no", None: "open"}[m["holds"]], "yes" if m["test"] in answer["paragraphs"] else "no"]
        for m in answer["margins"]
    ]  # fmt: skip
    said += _table(["test", "asks", "has", "margin", "holds", "test met"], rows)
    said += ["## Steps", ""]
    rows = [
        [i, s["step"], s["what"], s["says"], s.get("citation", ""), s.get("layer", ""), s.get("confidence", "")]
        for i, s in enumerate(answer["basis"], 1)
    ]
    said += _table(["", "step", "what", "says", "citation", "layer", "confidence"], rows)
    said += [
        f"ECCN candidates: {', '.join(answer['eccn_candidates'])}. Exceptions: {', '.join(answer['exceptions']) or 'none'}.",
        "",
    ]
    said += _list("Conditions", answer["conditions"])
    flips = [
        f"{f['when']}{NAMES[f['quantity']]} {number(f['from'])} to {number(f['to'])} {f['says']}: {' or '.join(f['meets'])}, "
        f"licence {({True: 'required', False: 'not required', None: 'open'})[f['licence_required']]}"
        for f in answer["flips"]
    ]  # fmt: skip
    said += _list("Where the answer flips", flips)
    said += _list("Beside the licence", [f"{b['kind']}: {b['says']} ({b['citation']})" for b in answer["beside"]])
    said += _list("Warnings", answer["warnings"])
    said.append(words.version())
    return "\n".join(said) + "\n"


def _asked(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what was asked, and what the other layer says."""
    other = answer["other_layer"]
    rows = [(k.replace("_", " "), str(v)) for k, v in answer["parties"].items()]
    rows += [
        ("day of export", answer["on"]),
        ("as known on", answer["known"] or f"all that the catalogue knows, {data_version}"),
        ("layer", answer["layer"]),
    ]
    if answer["reforms"]:
        rows.append(("counted as law", ", ".join(answer["reforms"])))
    same = "the same" if other["same"] else f"meets {other['meets']}, licence required: {other['licence_required']}"
    return [*rows, (f"layer {other['layer']} says", same)]


def _table(head: list[str], rows: list[list[Any]]) -> list[str]:
    """Return a Markdown table; bars in cells are escaped."""
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(str(c).replace("|", "\\|") for c in row) for row in rows]
    return [f"| {line} |" for line in lines] + [""]


def _list(title: str, items: list[str]) -> list[str]:
    """Return a section with a list, or nothing."""
    return [f"## {title}", "", *(f"- {i}" for i in items), ""] if items else []
