"""From what an item meets to requirement, exceptions and review policy, row by row of the rules of a day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatch
from typing import Any

from cutline.facts.law import Dated, Policy, Relief, Requirement
from cutline.law.day import Day, Parties

STRICT = (
    "policy of denial", "presumption of denial", "case-by-case", "not published", "presumption of approval",
)  # fmt: skip
"""Review policies, strictest first. What is not published could be anything, so it stands above approval."""
NO_EXCEPTION = "a licence exception does not lift a {kind}"


@dataclass(frozen=True)
class Subject:
    """What the rows ask about an item beside its quantities. `sold_in_us` is None if that is not known."""

    name: str = ""
    maker: str = ""
    maker_country: str = ""
    sold_in_us: bool | None = None
    released: str = ""
    """YYYY, YYYY-MM or YYYY-MM-DD"""


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
    if not (named or touches(row.items, met)) or not _same(row, datacenter):
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
    policies = [p for row, _ in reasons if (p := _policy(row, day, parties, subject, met, datacenter)) is not None]
    said = sorted({p.policy for p in policies}, key=STRICT.index)
    strictest = said[0] if said else "not published"
    found = tuple(dict.fromkeys(p for p in policies if p.policy == strictest))
    rows: list[Policy | Relief] = [*found, *exceptions]
    conditions = [c for row in rows for c in _conditions(row, subject)]
    return Licence(
        True, tuple(reasons), exceptions, None, strictest, found, tuple(dict.fromkeys(conditions)), beside
    )  # fmt: skip


def _conditions(row: Policy | Relief, subject: Subject) -> list[str]:
    """Return the conditions of a row, those of an exception with its name."""
    if isinstance(row, Relief):
        return [f"{row.id}: {c}" for c in row.conditions]
    unknown = ["whether it was commercially available in the United States is not known here"]
    return [*row.conditions, *(unknown if row.sold_in_us and subject.sold_in_us is None else [])]


def _reliefs(
    day: Day, parties: Parties, met: frozenset[str], datacenter: bool, reasons: list[Requirement]
) -> tuple[tuple[Relief, ...], Relief | None]:
    """Return the exceptions that could spare a licence, and the row that frees the named party."""
    if any(row.kind != "list" for row in reasons):
        return (), None
    found = []
    abroad = any(row.party == "headquarters" for row in reasons)
    for row in day.rows("relief"):
        if not touches(row.items, met) or touches(row.never, met) or not _same(row, datacenter):
            continue
        if not day.covers(row, parties):
            continue
        named = {p.casefold() for p in row.parties}
        if named and parties.name.casefold() in named:
            if not abroad:
                return (), row
            continue
        if abroad and row.party == "destination":  # a place's exception does not reach past its buyer's headquarters
            continue
        found.append(row)
    return tuple(found), None


def _policy(
    row: Requirement, day: Day, parties: Parties, subject: Subject, met: frozenset[str], datacenter: bool
) -> Policy | None:
    """Return the first review policy that applies to a requirement."""
    for policy in day.rows("policy"):
        if policy.requirements and not any(w == row.kind or row.id.startswith(w) for w in policy.requirements):
            continue
        if (policy.items and not touches(policy.items, met)) or not _same(policy, datacenter):
            continue
        if policy.origin and parties.origin not in policy.origin:
            continue
        if policy.sold_in_us is not None and subject.sold_in_us not in (None, policy.sold_in_us):
            continue
        if policy.sold_by is not None and subject.released > policy.sold_by.isoformat():
            continue
        if day.covers(policy, parties):
            return policy  # type: ignore[no-any-return]
    return None


def _beside(row: Any, day: Day, parties: Parties, subject: Subject, met: frozenset[str]) -> bool:
    if row.maker_country and subject.maker_country not in row.maker_country:
        return False
    named = any(fnmatch(subject.name, p) for p in row.parts)
    asked = named if row.parts and not row.items else named or touches(row.items, met) or not (row.items or row.parts)
    return asked and (not row.to or bool(day.covers(row, parties)))


def confidence(day: Day, rows: Iterable[Dated]) -> str:
    """Return the lowest confidence of some rows."""
    order = ("low", "medium", "high")
    return min((day.confidence(r) for r in rows), key=order.index, default="high")
