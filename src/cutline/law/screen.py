"""Many items at once: the catalogue, a file of chips, or columns of imagined ones."""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

import numpy as np

from cutline.core.numerics import at_least
from cutline.facts import chips as catalogue
from cutline.law import measures
from cutline.law.day import day_of, parties_of
from cutline.law.licence import STRICT, Subject, licence
from cutline.law.limits import Items, met
from cutline.law.measures import Part
from cutline.law.outcome import class_of
from cutline.law.verdict import LETTERS_LEFT_OUT, NOT_ADVICE, about, rule, stale
from cutline.law.working import deciding

ASKED = ("to", "parties", "on", "known", "layer", "reforms")
BRIEF = ("item", "verdict", "meets", "possible", "paragraphs", "licence_required", "policy", "exceptions", "flips")


class Screened(NamedTuple):
    """Verdicts of columns of items, one value each. (n,)"""

    meets: np.ndarray
    """3A090.a, 3A090.b, 3A090.c, 4E091 or none"""
    licence_required: np.ndarray
    policy: np.ndarray
    """review policy; empty where no licence is required"""


def screen(
    items: Items, to: str, *, on: date, known: date | None = None, layer: str = "as_enforced",
    reforms: tuple[str, ...] = (), maker: str = "", sold_in_us: bool | None = None, **parties: Any,
) -> Screened:  # fmt: skip
    """Return the verdicts of columns of items whose quantities are all known.

    Parameters
    ----------
    items : Items
        One row each, in the units of the rules.
    to : str
        Destination, ISO 3166-1 alpha-2.
    on, known, layer, reforms, parties
        As for `verdict.rule`.
    maker : str
        Of all items; letters bind some makers.

    Notes
    -----
    Rows that meet the same tests share one walk through requirements, exceptions and policies.
    """
    day = day_of(on, known, layer, reforms)
    who = parties_of(to, **parties)
    for quantity in ("tpp", "area_mm2", "io_gb_per_s", "memory_gb_per_s", "stack_mm2", "interconnect_gb_per_s"):
        at_least(0, **{quantity: getattr(items, quantity)})
    tests = day.rows("test")
    found = met(tests, items)
    names = list(found)
    flags = np.broadcast_to(items.datacenter, len(items))
    signature = flags.astype(np.int64)
    for place, column in enumerate(found.values(), 1):
        signature |= column.astype(np.int64) << place
    unique, which = np.unique(signature, return_inverse=True)
    kinds = {t.id: t.meets for t in tests}
    subject = Subject("", measures.maker_named(maker), "", sold_in_us)
    meets, required, policy = [], [], []
    for code in unique.tolist():
        ids = frozenset(n for place, n in enumerate(names, 1) if code >> place & 1)
        answer = licence(day, who, subject, ids, bool(code & 1))
        meets.append(class_of(ids, kinds))
        required.append(answer.required)
        policy.append(answer.policy)
    return Screened(
        np.array(meets)[which], np.array(required)[which], np.array(policy, dtype=f"U{len(' or '.join(STRICT))}")[which]
    )


def screen_parts(parts: list[Part], to: str, *, on: date, **asked: Any) -> dict[str, Any]:
    """Return a short verdict for each part, in the order given, and what was asked.

    Returns
    -------
    dict
        `to`, `parties`, `on`, `known`, `layer`, `reforms`, `warnings`, and `rows`: `item`, `verdict`, `meets`, `possible`,
        `paragraphs`, `licence_required`, `policy`, `exceptions`, `tpp`, `missing`, `nearest`, `flips`.
    """
    rows = []
    answer: dict[str, Any] = {}
    for part in parts:
        answer = rule(part, to, on=on, **asked)
        row = {k: answer[k] for k in BRIEF}
        measures_ = {q["quantity"]: q for q in answer["quantities"]}
        tpp = measures_.get("tpp", {"low": None, "high": None})
        row["tpp"] = tpp["low"] if tpp["low"] == tpp["high"] else None
        row["missing"] = [n for n, q in measures_.items() if q["low"] != q["high"]]
        row["missing"] += ["datacenter"] * (part.datacenter is None) + ["reading"] * bool(part.readings)
        row["nearest"] = nearest(answer)
        rows.append(row)
    when = {k: asked[k] for k in ("known", "layer", "reforms") if k in asked}
    day = day_of(on, **when)
    buyer = {k: v for k, v in asked.items() if k not in (*when, "form")}
    warnings = [NOT_ADVICE, *about(parties_of(to, **buyer), day), *stale(day)]
    if any(p.form == "chip" and not p.maker for p in parts):
        warnings.append(LETTERS_LEFT_OUT)
    return {k: answer[k] for k in ASKED} | {"warnings": warnings, "rows": rows}


def nearest(answer: dict[str, Any]) -> dict[str, Any] | None:
    """Return the comparison on which a test turns that lies closest to its limit; `met` is that of the test.

    Tests that a note excludes, although all comparisons hold, are left out.
    """
    by_test: dict[str, list[dict[str, Any]]] = {}
    for m in answer["margins"]:
        by_test.setdefault(m["test"], []).append(m)
    found = []
    for test, bounds in by_test.items():
        m = deciding(bounds) | {"met": test in answer["paragraphs"]}
        if m["margin"] is not None and (m["met"] or not all(b["holds"] for b in bounds)):
            found.append(m)
    return min(found, key=lambda m: abs(m["margin"]), default=None)


def every_part() -> list[Part]:
    """Return all parts of the catalogue as the rules measure them."""
    return [measures.chip(name) for name in catalogue.chips()]
