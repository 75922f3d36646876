"""Many items at once: the catalogue, a file of chips, or columns of imagined ones."""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

import numpy as np

from cutline.facts import chips as catalogue
from cutline.law import measures
from cutline.law.day import Parties, day_of
from cutline.law.licence import STRICT, Subject, licence
from cutline.law.limits import Items, met
from cutline.law.measures import Part
from cutline.law.verdict import CLASSES, deciding, rule

ASKED = ("to", "parties", "on", "known", "layer", "reforms")
BRIEF = ("item", "meets", "paragraphs", "licence_required", "policy", "exceptions", "possible")


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
    who = Parties(to, **parties)
    tests = day.rows("test")
    found = met(tests, items)
    names = list(found)
    flags = np.broadcast_to(items.datacenter, len(items))
    signature = flags.astype(np.int64)
    for place, column in enumerate(found.values(), 1):
        signature |= column.astype(np.int64) << place
    unique, which = np.unique(signature, return_inverse=True)
    kinds = {t.id: t.meets for t in tests}
    subject = Subject("", maker, "", sold_in_us)
    meets, required, policy = [], [], []
    for code in unique.tolist():
        ids = frozenset(n for place, n in enumerate(names, 1) if code >> place & 1)
        classes = {kinds[i] for i in ids if kinds[i]}
        answer = licence(day, who, subject, ids, bool(code & 1))
        meets.append(next((c for c in CLASSES if c in classes), "none"))
        required.append(answer.required)
        policy.append(answer.policy)
    return Screened(
        np.array(meets)[which], np.array(required)[which], np.array(policy, dtype=f"U{len(' or '.join(STRICT))}")[which]
    )


def screen_parts(parts: list[Part], to: str, **asked: Any) -> list[dict[str, Any]]:
    """Return a short verdict for each part, in the order given."""
    rows = []
    for part in parts:
        answer = rule(part, to, **asked)
        row = {k: answer[k] for k in BRIEF}
        row["tpp"] = next(
            (q["low"] for q in answer["quantities"] if q["quantity"] == "tpp" and q["low"] == q["high"]), None
        )
        row["nearest"] = nearest(answer)
        row["flips"] = answer["flips"]
        row["asked"] = {k: answer[k] for k in ASKED}
        rows.append(row)
    return rows


def nearest(answer: dict[str, Any]) -> dict[str, Any] | None:
    """Return the comparison, of those on which a test turns, that the item meets or misses most closely."""
    by_test: dict[str, list[dict[str, Any]]] = {}
    for m in answer["margins"]:
        by_test.setdefault(m["test"], []).append(m)
    turning = [deciding(bounds) for bounds in by_test.values()]
    return min((m for m in turning if m["margin"] is not None), key=lambda m: abs(m["margin"]), default=None)


def every_part() -> list[Part]:
    """Return all parts of the catalogue as the rules measure them."""
    return [measures.chip(name) for name in catalogue.chips()]
