"""The law of one day: rows in force, as known on a day, in one layer; and which places they mean."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import date
from typing import Any

from cutline.core.errors import CutlineError, UnknownName, suggestions
from cutline.facts import law as facts
from cutline.facts.law import Dated, Instrument, Law, Where
from cutline.facts.reader import plain

KEYS: dict[str, Any] = {"relief": lambda r: (r.id, r.items, r.datacenter, r.to, r.party), "policy": id, "eccn": id, "beside": id,
    "presumption": id}  # fmt: skip
"""What makes two rows of a table versions of the same; a test, a requirement or a group by its id."""
STALE_DAYS = 45
"""The record of 2025 and 2026 shows about one act a month that matters."""


@dataclass(frozen=True)
class Parties:
    """Who sends what to whom: ISO codes, and what is known of the buyer."""

    destination: str
    headquarters: str = ""
    parent: str = ""
    origin: str = "US"
    name: str = ""
    end_use: str = ""
    listed: bool = False
    listed_share: float = 0.0


def parties_of(
    to: str, *, headquarters: str = "", parent: str = "", origin: str = "US", name: str = "", end_use: str = "",
    listed: bool = False, listed_share: float = 0.0,
) -> Parties:  # fmt: skip
    """Return the parties to a shipment, checked; countries by ISO code or name, the share of listed owners in percent.

    Raises
    ------
    CutlineError
        An unknown country or end use, a share outside of 0 to 100.
    """
    if end_use not in ("", *facts.WORDS["end_use"]):
        raise CutlineError(f"end_use must be one of {', '.join(facts.WORDS['end_use'])}; got '{end_use}'")
    if not 0 <= listed_share <= 100:
        raise CutlineError(f"listed_share must be between 0 and 100 percent; got {listed_share}")
    places = {"headquarters": headquarters, "parent": parent}
    seats = {k: country(v, k) if v else "" for k, v in places.items()}
    return Parties(
        country(to, "to"),
        **seats,
        origin=country(origin, "origin"),
        name=name,
        end_use=end_use,
        listed=listed,
        listed_share=listed_share,
    )


@dataclass(frozen=True)
class Day:
    """One day, one state of knowledge, one layer, and the reforms that a user switched on."""

    on: date
    known: date
    layer: str = "as_enforced"
    reforms: tuple[str, ...] = ()

    @property
    def law(self) -> Law:
        """All rows of the catalogue."""
        return facts.law()

    def rows(self, table: str) -> tuple[Any, ...]:
        """Return the rows of a table that are in force, those of reforms first."""
        return _rows(self, table)

    def act(self, row: Dated) -> Instrument:
        """Return the act that a row comes from."""
        return self.law.instruments[row.source]

    def confidence(self, row: Dated) -> str:
        """Return how sure a row is: its own word, or that of its act."""
        return row.confidence or self.act(row).confidence

    def group(self, name: str) -> frozenset[str]:
        """Return the members of a country group, or the country itself."""
        return _groups(self).get(name, frozenset([name]))

    def country(self, code: str) -> str:
        """Return the country as which the rules treat a place: Hong Kong is China since 2020."""
        return "CN" if code in self.group("China") else code

    def covers(self, row: Where, parties: Parties) -> str:
        """Return which party brings a row into play, as words; empty if none does."""
        seats = [c for c in (parties.headquarters, parties.parent) if c]
        if row.seat and not all(self.among(row.seat, c) for c in seats):
            return ""
        if any(self.among(row.barred, c) for c in (parties.destination, *seats)):
            return ""
        seen = {
            "destination": [("destination", parties.destination)],
            "headquarters": [("headquarters", parties.headquarters), ("ultimate parent", parties.parent)],
        }
        asked = ("destination", "headquarters") if row.party == "either" else (row.party,)
        for party in asked:
            for what, code in seen[party]:
                if code and (not row.to or self.among(row.to, code)) and not self.among(row.but, code):
                    return f"{what} {code}"
        return ""

    def among(self, groups: tuple[str, ...], code: str) -> bool:
        """Return whether a place is in one of some groups; `world` is all but the United States."""
        code = self.country(code)
        return any(code in self.group(g) or (g == "world" and not self.at_home(code)) for g in groups)

    def at_home(self, code: str) -> bool:
        """Return whether a place is part of the United States, to which nothing is exported."""
        return code in self.group("US")

    def turns(self) -> list[date]:
        """Return the days on which a row of any table begins or ends, in order."""
        tables = [self.law.tables, *(self.law.reforms[name] for name in self.reforms)]
        rows = [row for found in tables for t, rows in found.items() if t != "instrument" for row in rows]
        return sorted({row.start for row in rows} | {row.until for row in rows if row.until is not None})

    def newest(self) -> date:
        """Return the day of the newest thing read of this layer."""
        acts = {row.source for t, found in self.law.tables.items() for row in found if row.layer in ("", self.layer)}
        return max(max(a.known, a.seen or a.known) for i, a in self.law.instruments.items() if i in acts)


@functools.lru_cache(maxsize=512)
def _rows(day: Day, table: str) -> tuple[Any, ...]:
    law = day.law
    found: tuple[Any, ...] = ()
    for name in day.reforms:
        found += law.reforms[name].get(table, ())
    found += law.tables.get(table, ())
    key = KEYS.get(table, lambda row: row.id)
    return tuple(facts.in_force(found, day.on, day.known, day.layer, law.instruments, key))


@functools.lru_cache(maxsize=512)
def _groups(day: Day) -> dict[str, frozenset[str]]:
    rows = _rows(day, "group")
    found = {g.id: frozenset(g.members) for g in rows if not g.plus}
    for g in rows:
        if g.plus:
            found[g.id] = frozenset().union(*(found[p] for p in g.plus)).difference(*(found[m] for m in g.minus))
    return found


def first_day() -> date:
    """Return the day on which the first rule on AI chips took effect."""
    found: date = min(r.start for r in facts.law().tables["requirement"] if r.kind in ("list", "letter"))
    return found


def country(text: str, argument: str) -> str:
    """Return the ISO 3166-1 alpha-2 code of a code or name.

    Raises
    ------
    CutlineError
        With the names that come close.

    Examples
    --------
    >>> country("China", "--to"), country("hk", "--to"), country("Macao", "--to")
    ('CN', 'HK', 'MO')
    """
    names = facts.country_names()
    if text.strip().upper() in names:
        return text.strip().upper()
    by_name = {plain(n): code for code, known in names.items() for n in known}
    code = by_name.get(plain(text)) or by_name.get(plain(text).removeprefix("the"))
    if code is None:
        close = suggestions(text, [n for known in names.values() for n in known[:-1]]) if len(text.strip()) > 3 else []
        hint = f" Did you mean {', '.join(close)}?" if close else ""
        raise CutlineError(
            f"no country named '{text}' ({argument}).{hint} Write an ISO 3166-1 code such as CN, or a name"
        )
    return code


def name_of(code: str) -> str:
    """Return the usual name of a country."""
    return facts.country_names()[code][0]


def day_of(on: date, known: date | None = None, layer: str = "as_enforced", reforms: tuple[str, ...] = ()) -> Day:
    """Return the law of a day.

    Raises
    ------
    CutlineError
        A day before the first rule, an unknown layer or reform.
    """
    for what, value in (("on", on), ("known", known)):
        if value is not None and type(value) is not date:
            raise CutlineError(f"{what} must be a datetime.date; got {value!r}")
    if layer not in facts.LAYERS:
        raise CutlineError(f"layer must be one of {', '.join(facts.LAYERS)}; got '{layer}'")
    if on < first_day():
        raise CutlineError(f"on must be {first_day()} or later, the day of the first rule on AI chips; got {on}")
    if known is not None and known < first_day():
        raise CutlineError(
            f"known must be {first_day()} or later: nothing was known of these rules before; got {known}"
        )
    law = facts.law()
    for name in reforms:
        if name not in law.reforms:
            raise UnknownName("reform", name, law.reforms, "`cutline rules`")
    return Day(on, known or date.max, layer, reforms)
