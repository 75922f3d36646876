"""The presumption on fabricators and packagers: a modern logic die counts as 3A090.a for data centres until overcome."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from cutline.core.errors import CutlineError
from cutline.facts.law import WORDS, Presumption
from cutline.law.day import Day

OUTSIDE = ("fabricator", "approved OSAT")
"""Who may package outside of Macau and D:5 so that a count of transistors overcomes the presumption."""


@dataclass(frozen=True)
class Die:
    """What a fabricator or packager knows of a logic die on a 16/14 nm or non-planar process. None is not known."""

    transistors: Decimal | None = None
    """approximate count of all dies of the package together"""
    hbm: bool | None = None
    designer: str = "other"
    packaged_by: str = ""


def presumption(day: Day, die: Die) -> dict[str, Any] | None:
    """Return whether a die is presumed to meet 3A090.a, and by which row that is overcome; None before the rule.

    Raises
    ------
    CutlineError
        A designer or packager of no known kind, or a negative count.

    Notes
    -----
    `presumed` is None where the text has no answer (a die without HBM that is exported in 2028) or a fact is missing.
    The presumption holds for exports by fabricators and packagers alone. Source: 90 FR 5298, 3A090 Note 1.
    """
    if die.designer not in WORDS["designer"]:
        raise CutlineError(f"designer must be one of {', '.join(WORDS['designer'])}; got '{die.designer}'")
    if die.packaged_by not in ("", "other", *OUTSIDE):
        raise CutlineError(f"packaged by must be one of {', '.join(OUTSIDE)}, other; got '{die.packaged_by}'")
    if die.transistors is not None and die.transistors <= 0:
        raise CutlineError(f"transistors must be above 0; got {die.transistors}")
    rows = day.rows("presumption")
    if not rows:
        return None
    answers = [(row, _holds(row, die, day.on)) for row in rows]
    overcome = [row for row, holds in answers if holds and row.answer == "overcome"]
    maybe = [row for row, holds in answers if holds is None or (holds and row.answer == "undetermined")]
    decisive = overcome or maybe
    return {
        "presumed": False if overcome else None if maybe else True,
        "by": [row.id for row in decisive],
        "says": decisive[0].says
        if decisive
        else "nothing overcomes the presumption: it counts as 3A090.a for data centres",
        "note": rows[0].note,
        "citation": "; ".join(dict.fromkeys(f"{r.cite}; {day.act(r).cited}" for r in decisive or rows[:1])),
    }


def _holds(row: Presumption, die: Die, on: date) -> bool | None:
    """Return whether a row applies to a die; None if that turns on a fact that is missing."""
    asked: list[bool | None] = []
    if row.designer:
        asked.append(die.designer == row.designer)
    for bound in row.asks:
        asked.append(None if die.transistors is None else die.transistors < bound.limit)
    if row.hbm is not None:
        asked.append(None if die.hbm is None else die.hbm == row.hbm)
    if row.packaged:
        asked.append(None if not die.packaged_by else die.packaged_by in OUTSIDE)
    if row.exported_from is not None:
        asked.append(on >= row.exported_from)
    if row.exported_before is not None:
        asked.append(on < row.exported_before)
    return False if False in asked else None if None in asked else True
