"""From what an item meets to requirement, exceptions and review policy, row by row of the rules of a day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from fnmatch import fnmatch
from typing import Any

from cutline.facts.law import Policy, Relief, Requirement
from cutline.law.day import Day, Parties

STRICT = (
    "policy of denial", "presumption of denial", "case-by-case", "not published", "presumption of approval",
)  # fmt: skip
"""Review policies, strictest first. What is not published could be anything, so it stands above approval."""
UNKNOWN = "not published"


@dataclass(frozen=True)
class Subject:
    """What the rows ask about an item beside its quantities. `sold_in_us` is None if that is not known."""

    name: str = ""
    maker: str = ""
    maker_country: str = ""
    sold_in_us: bool | None = None
    released: str = ""
    """YYYY, YYYY-MM or YYYY-MM-DD; empty if not known"""

    def out_by(self, day: date) -> bool | None:
        """Return whether it was released by a day; None if that is not known."""
        known = day.isoformat()[: len(self.released)]
        if not self.released or (self.released == known and len(self.released) < 10):
            return None
        return self.released <= day.isoformat()


@dataclass(frozen=True)
class Licence:
    """Whether a licence is required and why, what could spare it, and how an application is reviewed."""

    required: bool
    reasons: tuple[tuple[Requirement, str], ...] = ()
    """rows that ask for a licence, each with the party that brings it into play"""
    exceptions: tuple[Relief, ...] = ()
    spared: Relief | None = None
    """the row that frees the named party"""
    policy: str = ""
    policies: tuple[Policy, ...] = ()
    conditions: tuple[str, ...] = ()
    beside: tuple[Any, ...] = field(default=())


def touches(items: Iterable[str], met: frozenset[str]) -> bool:
    """Return whether one of `items` is met, or begins the name of what is met."""
    return any(i == "*" or any(m.startswith(i) for m in met) for i in items)


def _same(row: Any, datacenter: bool) -> bool:
    return row.datacenter is None or row.datacenter == datacenter


def _asks(row: Requirement, day: Day, parties: Parties, subject: Subject, met: frozenset[str], datacenter: bool) -> str:
    """Return the party that brings a requirement into play, or nothing."""
    if row.makers and subject.maker not in row.makers:
        return ""
    named = any(fnmatch(subject.name, p) for p in row.parts)
    if not (named or touches(row.items, met)) or touches(row.never, met) or not _same(row, datacenter):
        return ""
    if row.end_use and row.end_use != parties.end_use:
        return ""
    if row.listed == "listed" and not parties.listed:
        return ""
    for bound in row.asks:  # of the party: its share held by listed parties
        if Decimal(str(parties.listed_share)) < bound.limit:
            return ""
    return day.covers(row, parties)


def licence(day: Day, parties: Parties, subject: Subject, met: frozenset[str], datacenter: bool) -> Licence:
    """Return what the rules of a day ask for one item that meets the tests `met`.

    Parameters
    ----------
    day : Day
    parties : Parties
        From where, to where, and whose headquarters are where.
    subject : Subject
        Name and maker, for letters and orders that name parts.
    met : frozenset of str
        Ids of the tests that the item meets.
    datacenter : bool
        Designed or marketed for data centres.
    """
    if day.at_home(parties.destination):
        return Licence(False)
    beside = tuple(row for row in day.rows("beside") if _beside(row, day, parties, subject, met))
    reasons = []
    for row in day.rows("requirement"):
        party = _asks(row, day, parties, subject, met, datacenter)
        if party:
            reasons.append((row, party))
    if not reasons:
        return Licence(False, beside=beside)
    exceptions, spared = _reliefs(day, parties, met, datacenter, [row for row, _ in reasons])
    if spared is not None:
        return Licence(False, tuple(reasons), (), spared, beside=beside)
    reviews = [_policies(row, day, parties, subject, met, datacenter) for row, _ in reasons]
    said = [[p.policy for p in found] or [UNKNOWN] for found in reviews]
    strictest = min(said, key=lambda policies: [STRICT.index(p) for p in policies])
    rows: list[Policy | Relief] = [
        p for policies, found in zip(said, reviews, strict=True) if policies == strictest for p in found
    ]
    conditions = [c for row in (*rows, *exceptions) for c in _conditions(row)]
    days = {p.sold_by for found in reviews if len(found) > 1 for p in found if p.sold_by is not None}
    conditions += [
        f"whether it was commercially available in the United States by {d} decides, and is not known here"
        for d in days
    ]
    if UNKNOWN not in strictest and any(UNKNOWN in policies for policies in said):
        kinds = {row.kind for (row, _), policies in zip(reasons, said, strict=True) if UNKNOWN in policies}
        what = "company letters ask" if kinds == {"letter"} else "another rule asks"
        conditions.append(f"{what} for a licence as well, whose review is not published")
    return Licence(
        True, tuple(reasons), exceptions, None, " or ".join(dict.fromkeys(strictest)), tuple(dict.fromkeys(rows)),  # type: ignore[arg-type]
        tuple(dict.fromkeys(conditions)), beside,
    )  # fmt: skip


def _conditions(row: Policy | Relief) -> list[str]:
    """Return the conditions of a row, those of an exception with its name."""
    return [f"{row.id}: {c}" for c in row.conditions] if isinstance(row, Relief) else list(row.conditions)


def _reliefs(
    day: Day, parties: Parties, met: frozenset[str], datacenter: bool, reasons: list[Requirement]
) -> tuple[tuple[Relief, ...], Relief | None]:
    """Return the exceptions that could spare a licence, and the row that frees the named party."""
    if any(row.kind != "list" for row in reasons):
        return (), None
    found = []
    for row in day.rows("relief"):
        if not touches(row.items, met) or touches(row.never, met) or not _same(row, datacenter):
            continue
        if not day.covers(row, parties):
            continue
        named = {p.casefold() for p in row.parties}
        if named and parties.name.casefold() in named:
            return (), row
        found.append(row)
    return tuple(found), None


def _policies(
    row: Requirement, day: Day, parties: Parties, subject: Subject, met: frozenset[str], datacenter: bool
) -> tuple[Policy, ...]:
    """Return the first review policy that applies to a requirement, strictest first if a missing fact leaves two."""
    maybe: tuple[Policy, ...] = ()
    for policy in day.rows("policy"):
        if policy.requirements and not any(w == row.kind or row.id.startswith(w) for w in policy.requirements):
            continue
        if not _same(policy, datacenter) or not day.covers(policy, parties):
            continue
        if any(i and not touches(i, met) for i in (policy.items, policy.also)) or touches(policy.never, met):
            continue
        if policy.origin and not day.among(policy.origin, parties.origin):
            continue
        if policy.released_from is not None:
            out = subject.out_by(policy.released_from - timedelta(days=1))
            maybe = (*maybe, *([policy] if out is None else []))
            if out is not False:
                continue
        if policy.sold_by is None:
            return tuple(sorted({policy, *maybe}, key=lambda p: STRICT.index(p.policy)))
        out = subject.out_by(policy.sold_by)
        if subject.sold_in_us and (out or not subject.released):
            return (policy,)
        if subject.sold_in_us is not False and out is not False:
            maybe = (*maybe, policy)
    return maybe


def _beside(row: Any, day: Day, parties: Parties, subject: Subject, met: frozenset[str]) -> bool:
    if row.maker_country and subject.maker_country not in row.maker_country:
        return False
    named = any(fnmatch(subject.name, p) for p in row.parts)
    asked = named if row.parts and not row.items else named or touches(row.items, met) or not (row.items or row.parts)
    return asked and (not row.to or bool(day.covers(row, parties)))
