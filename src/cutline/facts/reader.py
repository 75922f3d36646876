"""Reads fact tables: one claim per row, checked at load, ranked by a written order of trust.

Order of trust, best first: `sheet` (vendor data sheet), `vendor` (vendor page, paper or model card),
`measured`, `filing` (regulator or company filing), `press` (press and third-party tables), `guess`.
Within a tier the later date wins, then the later line. Losing claims stay in the list.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cutline.core import units
from cutline.core.errors import CutlineError, DataError, UnknownName

DATA = Path(__file__).parent / "data"
COLUMNS = ["name", "field", "item", "value", "unit", "date", "source", "note"]
TRUST = ("sheet", "vendor", "measured", "filing", "press", "guess")
DATE = re.compile(r"(19|20)\d\d(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")


class Source(NamedTuple):
    """Where a fact was read."""

    id: str
    tier: str
    title: str
    url: str
    date: str
    licence: str
    note: str


class Claim(NamedTuple):
    """One source's statement of one fact. `value` is in base units, or text."""

    name: str
    field: str
    item: str
    value: Any
    printed: str
    date: str
    source: Source
    note: str
    line: int


class Rule(NamedTuple):
    items: frozenset[str]
    dimensions: frozenset[str]
    low: float
    high: float
    about: str


GUESS = Source("guess", "guess", "Cutline's own guess", "", "", "", "no source found; counted and shown wherever used")


def cells(path: Path, columns: list[str] | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of a CSV file, the header first; refuse a wrong header or row width."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            header = next(reader, None)
            if header is None:
                raise DataError(path.name, None, "the file is empty; the first line must name the columns")
            if columns is not None and header != columns:
                raise DataError(path.name, 1, f"columns must be {','.join(columns)}; got {','.join(header)}")
            yield 1, header
            width = len(header)
            for row in reader:
                if len(row) != width:
                    raise DataError(path.name, reader.line_num, f"{len(row)} cells; the header has {width}")
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(path.name, reader.line_num, f"not readable as CSV: {error}") from None
    except UnicodeDecodeError:
        raise DataError(path.name, None, "not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise DataError(str(path), None, f"cannot be read: {error.strerror}") from None


def rows(path: Path, columns: list[str] | None = None) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row as column name -> cell) of a CSV file."""
    lines = cells(path, columns)
    _, header = next(lines)
    for line, row in lines:
        yield line, dict(zip(header, row, strict=True))


def read_sources(path: Path) -> dict[str, Source]:
    """Read `sources.csv` into id -> Source; ids are unique and tiers known."""
    found = {"guess": GUESS}
    for line, row in rows(path, list(Source._fields)):
        source = Source(**row)
        if source.tier not in TRUST:
            raise DataError(path.name, line, f"tier '{source.tier}' is not one of {', '.join(TRUST)}")
        if source.id in found:
            raise DataError(path.name, line, f"source '{source.id}' is listed twice")
        if not source.title or not (source.url or source.note):
            raise DataError(path.name, line, f"source '{source.id}' needs a title, and an address or a note")
        found[source.id] = source
    return found


def read_schema(path: Path) -> dict[tuple[str, str], Rule]:
    """Read `schema.csv` into (table, field) -> Rule."""
    schema = {}
    for _, row in rows(path):
        schema[row["table"], row["field"]] = Rule(
            frozenset(row["items"].split()),
            frozenset(row["unit"].split()),
            float(row["low"] or "-inf"),
            float(row["high"] or "inf"),
            row["about"],
        )
    return schema


def read_claims(path: Path, table: str, schema: dict[tuple[str, str], Rule], sources: dict[str, Source]) -> list[Claim]:
    """Read one fact table and check every row against the schema.

    Raises
    ------
    DataError
        With file and line: unknown field, item, unit or source; value outside its limits; a date that is
        not a date; a fact listed twice.
    """
    claims: list[Claim] = []
    seen: set[tuple[str, ...]] = set()
    rules: dict[tuple[str, str, str], tuple[str, float, Rule]] = {}  # the same few combinations recur
    dates = {""}
    lines = cells(path, COLUMNS)
    next(lines)
    for line, row in lines:
        name, field, item, text, unit, date, source_id, note = row
        try:
            kind = field, item, unit
            if kind not in rules:
                rules[kind] = _rule(table, field, item, unit, schema)
            value = _value(text, unit, *rules[kind])
            if date not in dates:
                if not DATE.fullmatch(date):
                    raise CutlineError(f"date '{date}' is not YYYY, YYYY-MM or YYYY-MM-DD")
                dates.add(date)
            source = sources.get(source_id)
            if source is None:
                raise CutlineError(f"source '{source_id}' is not in sources.csv; add it there or write guess")
            key = (name, field, item, text, unit, date, source_id)
            if key in seen:
                raise CutlineError("this claim is listed twice")
            seen.add(key)
        except CutlineError as error:
            raise DataError(path.name, line, f"{name}.{field}{' ' + item if item else ''}: {error}") from None
        printed = text if unit in ("1", "text", "") else f"{text} {unit}"
        claims.append(Claim(name, field, item, value, printed, date, source, note, line))
    return claims


def _rule(table: str, field: str, item: str, unit: str, schema: dict[tuple[str, str], Rule]) -> tuple[str, float, Rule]:
    """Return (text, date or dimension; factor to the base unit; rule) if the schema allows the combination."""
    rule = schema.get((table, field))
    if rule is None:
        raise CutlineError(f"field '{field}' is not in schema.csv for {table}")
    if rule.items and item not in rule.items and "*" not in rule.items:
        raise CutlineError(f"item '{item}' is not one of {', '.join(sorted(rule.items))}")
    if "text" in rule.dimensions or ("any" in rule.dimensions and unit == "text"):
        return "text", 1.0, rule
    if "date" in rule.dimensions:
        return "date", 1.0, rule
    factor, dimension = units.read("1", unit)
    if dimension not in rule.dimensions and "any" not in rule.dimensions:
        raise CutlineError(
            f"unit '{unit}' measures {dimension}; this field wants {' or '.join(sorted(rule.dimensions))}"
        )
    return dimension, factor, rule


def _value(text: str, unit: str, kind: str, factor: float, rule: Rule) -> Any:
    """Return the value in base units, or the text; refuse what the rule does not allow."""
    if not text:
        raise CutlineError("value is empty; leave a missing fact out")
    if kind == "text":
        return text
    if kind == "date":
        if not DATE.fullmatch(text):
            raise CutlineError(f"'{text}' is not YYYY, YYYY-MM or YYYY-MM-DD")
        return text
    try:
        value = float(text) * factor
    except ValueError:
        raise CutlineError(f"'{text}' is not a number in {unit}") from None
    if not rule.low <= value <= rule.high or value in (float("inf"), float("-inf")):
        units.read(text, unit)  # a value that is not finite has its own words
        raise CutlineError(f"{text} {unit} is outside {rule.low:g} to {rule.high:g} {kind}")
    return value


def claim_of(table: str, name: str, field: str, item: str, text: str, unit: str, source: Source) -> Claim:
    """Return what somebody says of one fact as a claim, checked like a row of the table."""
    value = _value(text, unit, *_rule(table, field, item, unit, schema()))
    printed = text if unit in ("1", "text", "") else f"{text} {unit}"
    return Claim(name, field, item, value, printed, "", source, "", 0)


def plain(name: str) -> str:
    """Return a name without case, spaces, hyphens and other marks.

    Examples
    --------
    >>> plain("RTX 5090D-V2")
    'rtx5090dv2'
    """
    return re.sub(r"[\W_]+", "", name).casefold()


class Table:
    """All claims of one table, by name, field and item, best first.

    Names are looked up in any case; `aliases` claims add names.
    """

    def __init__(self, what: str, claims: list[Claim]) -> None:
        self.what = what
        self.facts: dict[str, dict[tuple[str, str], list[Claim]]] = {}
        self.alias: dict[str, str] = {}
        for claim in claims:
            self.facts.setdefault(claim.name, {}).setdefault((claim.field, claim.item), []).append(claim)
        for name, fields in self.facts.items():
            self.alias[name.casefold()] = name
            for found in fields.values():
                if len(found) > 1:
                    found.sort(key=lambda c: (-TRUST.index(c.source.tier), c.date, c.line), reverse=True)
        for name, fields in self.facts.items():
            for claim in fields.get(("aliases", ""), []):
                for other in claim.value.split(";"):
                    self.alias.setdefault(other.strip().casefold(), name)
        loose: dict[str, set[str]] = {}
        for alias, name in self.alias.items():
            loose.setdefault(plain(alias), set()).add(name)
        self.loose = {key: names.pop() for key, names in loose.items() if len(names) == 1}
        """names without spaces, hyphens and case, where that leaves no doubt"""

    def __iter__(self) -> Iterator[str]:
        return iter(self.facts)

    def __len__(self) -> int:
        return len(self.facts)

    def known(self, name: str) -> str | None:
        """Return the catalogue's spelling of `name`, or None."""
        return self.alias.get(name.strip().casefold()) or self.loose.get(plain(name))

    def resolve(self, name: str) -> str:
        """Return the catalogue's spelling of `name`, or raise UnknownName with what comes close."""
        found = self.known(name)
        if found is None:
            raise UnknownName(self.what, name, self.facts, f"`cutline {self.what}s`", self.alias)
        return found

    def claims(self, name: str) -> dict[tuple[str, str], list[Claim]]:
        """Return (field, item) -> claims of one name, best first."""
        return self.facts[self.resolve(name)]

    def best(self, name: str, field: str, item: str = "") -> Claim | None:
        """Return the most trusted claim, or None."""
        found = self.claims(name).get((field, item))
        return found[0] if found else None


@functools.cache
def sources() -> dict[str, Source]:
    """Return every source of the catalogue by id."""
    return read_sources(DATA / "sources.csv")


@functools.cache
def schema() -> dict[tuple[str, str], Rule]:
    """Return the rule of every (table, field)."""
    return read_schema(DATA / "schema.csv")


@functools.cache
def table(name: str) -> Table:
    """Return the checked table `chips`, `models`, `clusters` or `evidence` of the catalogue."""
    return Table(name.removesuffix("s"), read_claims(DATA / f"{name}.csv", name, schema(), sources()))


def evidence(name: str, item: str) -> Claim:
    """Return a cited number of the evidence table."""
    claim = table("evidence").best(name, "value", item)
    assert claim is not None  # a data test lists every pair that the code asks for
    return claim


@functools.cache
def evidences(name: str) -> dict[str, Claim]:
    """Return item -> best claim of all evidence of a name; empty if there is none."""
    found = table("evidence").facts.get(name, {})
    return {item: claims[0] for (_, item), claims in found.items()}
