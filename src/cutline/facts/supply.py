"""Chips that reached countries, known sites, and published training runs: rows of `data/outlook`, checked at load."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import date, timedelta
from math import isfinite
from pathlib import Path
from typing import NamedTuple, TypeVar

from cutline.core.errors import CutlineError, DataError, UnknownName, suggestions
from cutline.facts import reader
from cutline.facts.law import country_names

FOLDER = reader.DATA / "outlook"
KINDS = ("sale", "domestic", "smuggled", "rented", "stock", "retired")
DISTRIBUTIONS = ("lognormal", "exact")
CONFIDENCE = ("Confident", "Likely", "Speculative", "Unknown")
STATUS = ("existing", "partial", "planned", "decommissioned")
"""Of a site; a partial one has at least what its row counts."""
CERTAINTY = ("confirmed", "likely", "company", "reported", "vendor", "derived", "analyst")
"""Of a site: the first two are Epoch AI's words, then who says so; derived: a product of two figures."""
GROUPS = ("US", "China", "China+US", "Multinational incl. US", "Other", "")
T = TypeVar("T")
ANY = "any"
"""Chip of a total over several parts; such a row is never used, only compared."""


class Flow(NamedTuple):
    """Chips that reached one country between two days, evenly.

    `low` and `high` are the ends of a 90 % interval, `units` the median; without it the median is their geometric mean.
    """

    chip: str
    country: str
    """ISO code of the country whose companies have the chips; WW is all countries"""
    kind: str
    start: date
    end: date
    """last day, included"""
    units: float
    low: float
    high: float
    per_chip: float
    """of what is counted, how many one chip takes: 2 for dies of a part of two dies"""
    good_low: float
    good_high: float
    """share of what is counted that becomes working chips"""
    distribution: str
    licensed: bool
    """the source says that a licence was given"""
    series: str
    """rows of one series err together: one draw moves all of them"""
    use: bool
    """False for totals, parts and second counts of what other rows hold; the note says why"""
    source: str
    note: str


class Training(NamedTuple):
    """One published training run of the tables of Epoch AI (CC BY 4.0)."""

    model: str
    org: str
    country_group: str
    date: date
    flop: float | None
    """training compute as published or estimated there [flop]"""
    confidence: str
    hardware: tuple[str, ...]
    quantity: int | None
    """chips"""
    time_s: float | None
    open_closed: str
    domain: tuple[str, ...]
    source: str


class Site(NamedTuple):
    """Chips that stand, stood or are to stand at one place; either a chip and its number, or a worth, or only a number."""

    name: str
    operator: str
    country: str
    """ISO code of the country where the place is"""
    status: str
    since: str
    """day, month or year of first operation as printed; empty if it is not known"""
    chip: str
    """empty where none of the catalogue is named"""
    chips: float | None
    second_chip: str
    second_chips: float | None
    h100e: float | None
    """H100 that it is worth by peak, as printed, where no chip is named"""
    certainty: str
    part_of: str
    """site whose count holds these chips, so that this one counts only while that one does not"""
    source: str
    note: str

    @property
    def opens(self) -> date | None:
        """Last day of what is printed, or of the source's date: from then on the site exists for sure; None if it is not to be counted."""
        printed = self.since or reader.sources()[self.source].date
        return last_day_of(printed) if self.status in ("existing", "partial") and printed else None


def last_day_of(text: str) -> date:
    """Return the last day of a day, month or year.

    Examples
    --------
    >>> str(last_day_of("2024-02")), str(last_day_of("2024-02-03")), str(last_day_of("2024"))
    ('2024-02-29', '2024-02-03', '2024-12-31')
    """
    year, month, day = (*(int(part) for part in text.split("-")), 0, 0)[:3]
    if day:
        return date(year, month, day)
    return date(year + (month or 12) // 12, (month or 12) % 12 + 1, 1) - timedelta(1)


def _known(what: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        close = suggestions(value, known, 1)
        raise CutlineError(
            f"{what} must be one of {', '.join(k for k in known if k)}; got '{value}'"
            + (f"; did you mean {close[0]}?" if close else "")
        )
    return value


def _number(what: str, text: str, least: float = 0.0) -> float:
    try:
        value = float(text)
    except ValueError:
        raise CutlineError(f"{what} must be a number; got '{text}'") from None
    if not (isfinite(value) and value >= least):
        raise CutlineError(f"{what} must be at least {least:g}; got {text}")
    return value


def _day(what: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CutlineError(f"{what} must be a day such as 2024-12-31; got '{text}'") from None


def _since(text: str) -> str:
    try:
        good = reader.DATE.fullmatch(text) is not None and bool(last_day_of(text))
    except ValueError:
        good = False
    if text and not good:
        raise CutlineError(f"since must be a day, month or year such as 2024-12-31; got '{text}'")
    return text


def _chip(text: str) -> str:
    chip = reader.table("chips").resolve(text)
    if chip != text:
        raise CutlineError(f"chip '{text}' is written {chip} in the catalogue")
    return chip


def _source(text: str) -> str:
    if text not in reader.sources():
        raise CutlineError(f"source '{text}' is not in sources.csv; add it there or write guess")
    return text


def _spread(row: dict[str, str]) -> tuple[float, float, float]:
    """Return median, low and high of a row."""
    kind = _known("distribution", row["distribution"], DISTRIBUTIONS)
    if kind == "exact":
        if row["low"] or row["high"]:
            raise CutlineError("an exact number has neither low nor high")
        units = _number("units", row["units"])
        return units, units, units
    low, high = _number("low", row["low"]), _number("high", row["high"])
    if low <= 0:
        raise CutlineError(f"low must be above 0 for a lognormal; got {row['low']}")
    if low > high:
        raise CutlineError(f"low must not be above high; got {low:g} and {high:g}")
    units = _number("units", row["units"]) if row["units"] else (low * high) ** 0.5
    if not low <= units <= high:
        raise CutlineError(f"units must lie between low and high; got {units:g}, {low:g} and {high:g}")
    return units, low, high


def _flow(row: dict[str, str]) -> Flow:
    start, end = _day("start", row["start"]), _day("end", row["end"])
    if end < start:
        raise CutlineError(f"end must not be before start; got {end} and {start}")
    use = _known("use", row["use"], ("yes", "no")) == "yes"
    if row["chip"] != ANY or use:
        _chip(row["chip"])
    units, low, high = _spread(row)
    good_low = _number("good_low", row["good_low"]) if row["good_low"] else 1.0
    good_high = _number("good_high", row["good_high"]) if row["good_high"] else 1.0
    if not 0 < good_low <= good_high <= 1:
        raise CutlineError(f"good_low and good_high must rise within 0 to 1; got {good_low:g} and {good_high:g}")
    if not row["series"]:
        raise CutlineError("series is empty; rows that err together share one")
    if not use and not row["note"]:
        raise CutlineError("a row that is not used needs a note that says why")
    return Flow(
        row["chip"], row["country"], _known("kind", row["kind"], KINDS), start, end, units, low, high,
        _number("per_chip", row["per_chip"], 1.0), good_low, good_high, row["distribution"],
        _known("licensed", row["licensed"], ("yes", "no")) == "yes", row["series"], use, _source(row["source"]), row["note"],
    )  # fmt: skip


def _training(row: dict[str, str]) -> Training:
    if not (row["flop"] or row["hardware"]):
        raise CutlineError("a run needs flop or hardware")
    return Training(
        row["model"], row["org"], _known("country_group", row["country_group"], GROUPS), _day("date", row["date"]),
        _number("flop", row["flop"]) if row["flop"] else None, _known("confidence", row["confidence"], CONFIDENCE),
        tuple(row["hardware"].split(";")) if row["hardware"] else (),
        int(_number("quantity", row["quantity"], 1)) if row["quantity"] else None,
        3600.0 * _number("hours", row["hours"]) if row["hours"] else None,
        _known("open_closed", row["open_closed"], ("open", "closed", "")), tuple(row["domain"].split(";")), _source(row["source"]),
    )  # fmt: skip


def _site(row: dict[str, str]) -> Site:
    number = {k: _number(k, row[k]) if row[k] else None for k in ("chips", "second_chips", "h100e")}
    if row["country"] not in country_names():
        raise CutlineError(f"country must be an ISO code such as CN; got '{row['country']}'")
    for key, count in (("chip", "chips"), ("second_chip", "second_chips")):
        if row[key] and not row[count]:
            raise CutlineError(f"{key} needs a number in {count}")
    if bool(row["second_chip"]) != bool(row["second_chips"]) or (row["second_chip"] and not row["chip"]):
        raise CutlineError("second_chip and second_chips stand together, after a first chip")
    if not (row["chips"] or row["h100e"]):
        raise CutlineError("a site needs chips or h100e")
    if row["chip"] and row["h100e"]:
        raise CutlineError("h100e stands only where no chip is named")
    if not (row["chip"] or row["note"]):
        raise CutlineError("a site without a chip needs a note that says why")
    names = {k: _chip(row[k]) if row[k] else "" for k in ("chip", "second_chip")}
    return Site(
        row["name"], row["operator"], row["country"], _known("status", row["status"], STATUS), _since(row["since"]),
        names["chip"], number["chips"], names["second_chip"], number["second_chips"], number["h100e"],
        _known("certainty", row["certainty"], CERTAINTY), row["part_of"], _source(row["source"]), row["note"],
    )  # fmt: skip


FLOW_COLUMNS = [*Flow._fields]
SITE_COLUMNS = [*Site._fields]
RUN_COLUMNS = [
    "model", "org", "country_group", "date", "flop", "confidence", "hardware", "quantity", "hours", "open_closed", "domain", "source",
]  # fmt: skip


def _read(path: Path, columns: list[str], of: Callable[[dict[str, str]], T]) -> tuple[T, ...]:
    found = []
    for line, row in reader.rows(path, columns):
        try:
            found.append(of(row))
        except CutlineError as error:
            raise DataError(path.name, line, str(error)) from None
    return tuple(found)


def read_flows(path: Path) -> tuple[Flow, ...]:
    """Read a table of flows.

    Raises
    ------
    DataError
        With file and line: an unknown chip, kind, distribution or source, a number that is negative, low above high, a
        share outside 0 to 1, an end before its start.
    """
    return _read(path, FLOW_COLUMNS, _flow)


def read_runs(path: Path) -> tuple[Training, ...]:
    """Read a table of training runs; errors as of `read_flows`."""
    return _read(path, RUN_COLUMNS, _training)


def read_sites(path: Path) -> tuple[Site, ...]:
    """Read a table of sites.

    Raises
    ------
    DataError
        With file and line: an unknown chip, country, status, certainty or source, a number that is negative, a bad day, a name
        that stands twice, a whole that is not in the table.
    """
    names = [row["name"] for _, row in reader.rows(path, SITE_COLUMNS)]

    def of(row: dict[str, str]) -> Site:
        if not row["name"] or names.count(row["name"]) > 1:
            raise CutlineError(f"name must be given and stand once; got '{row['name']}'")
        if row["part_of"] and (row["part_of"] not in names or row["part_of"] == row["name"]):
            raise CutlineError(f"part_of must name another site of the table; got '{row['part_of']}'")
        return _site(row)

    return _read(path, SITE_COLUMNS, of)


@functools.cache
def sites() -> tuple[Site, ...]:
    """Return every row of sites.csv, by name."""
    return read_sites(FOLDER / "sites.csv")


@functools.cache
def flows() -> tuple[Flow, ...]:
    """Return every row of flows.csv, used or not."""
    return read_flows(FOLDER / "flows.csv")


@functools.cache
def runs() -> tuple[Training, ...]:
    """Return every row of runs.csv, by date."""
    return read_runs(FOLDER / "runs.csv")


@functools.cache
def hardware() -> dict[str, str]:
    """Return words for hardware in runs.csv -> chip of the catalogue."""
    path = FOLDER / "hardware.csv"
    found = {}
    for line, row in reader.rows(path, ["printed", "chip", "note"]):
        try:
            found[row["printed"]] = reader.table("chips").resolve(row["chip"])
        except UnknownName as error:
            raise DataError(path.name, line, str(error)) from None
    return found


def run_named(model: str) -> Training:
    """Return the run of a model, as runs.csv spells it (any case); of several the first.

    Raises
    ------
    UnknownName
        With the names that come close.
    """
    for row in runs():
        if row.model.casefold() == model.strip().casefold():
            return row
    raise UnknownName("run", model, dict.fromkeys(r.model for r in runs()))
