"""Reads export rules: dated rows of `data/law/*.toml`, each with the act it comes from.

A row is valid from its `from` day until the day before `until`, or until a later row of the same table, id and layer
begins. It is known from the day on which its act became public. Numbers are exact decimals. Unknown keys are refused.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import tomllib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_type_hints

from cutline.core.errors import CutlineError, DataError, UnknownName
from cutline.facts.reader import DATA, rows

FOLDER = DATA / "law"
LAYERS = ("text", "as_enforced")
CONFIDENCE = ("high", "medium", "low")
READ = ("document", "secondary", "memory")
QUANTITIES = (
    "tpp",
    "pd",
    "io",
    "interconnect",
    "memory",
    "density",
    "tops",
    "training_flop",
    "transistors",
    "listed_share",
)


class Bound(NamedTuple):
    """One comparison of a test, such as `tpp >= 4800` or `memory + io >= 1700`."""

    quantities: tuple[str, ...]
    operator: str
    limit: Decimal

    @property
    def quantity(self) -> str:
        """Name of what is compared, as the rule file writes it."""
        return " + ".join(self.quantities)

    def __str__(self) -> str:
        limit = f"{self.limit:,f}" if self.limit < 10**12 else f"{self.limit.normalize()}".replace("E+", "e")
        return f"{self.quantity} {self.operator} {limit}"


def read_bound(text: str) -> Bound:
    """Read one comparison.

    Examples
    --------
    >>> str(read_bound("memory + io >= 1700"))
    'memory + io >= 1,700'
    """
    match = re.fullmatch(r"\s*([a-z0-9_ +]+?)\s*(>=|<=|>|<)\s*([0-9][0-9_]*(?:\.[0-9]+)?(?:e[0-9]+)?)\s*", text)
    names = tuple(n.strip() for n in match[1].split("+")) if match else ()
    if match is None or any(n not in QUANTITIES for n in names):
        raise CutlineError(
            f"'{text}' is not a comparison such as 'tpp >= 4800'; quantities are {', '.join(QUANTITIES)}"
        )
    return Bound(names, match[2], Decimal(match[3].replace("_", "")))


@dataclass(frozen=True)
class Instrument:
    """An act, letter, notice, bill or report: what was issued, when it was known and when it took effect."""

    id: str
    kind: str
    title: str
    jurisdiction: str
    known: date
    read: str
    confidence: str
    summary: str
    effective: date | None = None
    until: date | None = None
    seen: date | None = None
    citation: str = ""
    url: str = ""
    scope: str = ""

    @property
    def cited(self) -> str:
        """Citation, or the title of what has none."""
        return self.citation or self.title


@dataclass(frozen=True)
class Dated:
    """What every row of the rules has. `until` counts once the act named by `ended_by` is known."""

    id: str
    start: date
    source: str
    says: str = ""
    cite: str = ""
    until: date | None = None
    ended_by: str = ""
    layer: str = ""
    confidence: str = ""
    note: str = ""


@dataclass(frozen=True)
class Where(Dated):
    """A row that applies to places: those in `to` but not in `but`, of the parties named by `party`.

    With `seat`, headquarters and ultimate parent must be in these places, as far as they are known; with `barred`, no
    party, the destination among them, may be in those.
    """

    to: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    party: str = "destination"
    seat: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()


@dataclass(frozen=True)
class Test(Dated):
    """A parametric test: all of `asks`, unless one of the tests in `unless` is met as well."""

    __test__ = False  # not a pytest class
    meets: str = ""
    asks: tuple[Bound, ...] = ()
    unless: tuple[str, ...] = ()
    datacenter: bool | None = None


@dataclass(frozen=True)
class Requirement(Where):
    """A reason for which an item needs a licence."""

    kind: str = "list"
    items: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    datacenter: bool | None = None
    makers: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    end_use: str = ""
    listed: str = ""
    asks: tuple[Bound, ...] = ()


@dataclass(frozen=True)
class Relief(Where):
    """A licence exception, or parties that need no licence."""

    items: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    datacenter: bool | None = None
    parties: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy(Where):
    """How an application is reviewed: the first row that applies to a requirement counts.

    `items` asks for one of them, `also` for another one beside it, `never` for none. `sold_by` asks for parts that were
    sold in the United States by that day, `released_from` for parts that came out on it or later.
    """

    requirements: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    datacenter: bool | None = None
    origin: tuple[str, ...] = ()
    sold_by: date | None = None
    released_from: date | None = None
    policy: str = ""
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group(Dated):
    """Members of a country group from a day on, as ISO 3166-1 alpha-2 codes, or the groups in `plus` less those in `minus`."""

    members: tuple[str, ...] = ()
    plus: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Eccn(Dated):
    """Number under which an item of a form is classified that meets a paragraph."""

    meets: tuple[str, ...] = ()
    form: str = ""
    eccn: str = ""


@dataclass(frozen=True)
class Beside(Where):
    """What a verdict says beside the licence: tariffs, orders on the import side, guidance."""

    kind: str = "guidance"
    items: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    maker_country: tuple[str, ...] = ()


@dataclass(frozen=True)
class Presumption(Dated):
    """A way to overcome the foundry presumption, or the presumption itself (`asks` are about the die)."""

    asks: tuple[Bound, ...] = ()
    hbm: bool | None = None
    designer: str = ""
    packaged: str = ""
    exported_from: date | None = None
    exported_before: date | None = None
    answer: str = ""


Row = TypeVar("Row", bound=Dated)
TABLES: dict[str, type] = {
    "instrument": Instrument,
    "test": Test,
    "requirement": Requirement,
    "relief": Relief,
    "policy": Policy,
    "group": Group,
    "eccn": Eccn,
    "beside": Beside,
    "presumption": Presumption,
}
WORDS: dict[str, tuple[str, ...]] = {
    "layer": LAYERS,
    "confidence": CONFIDENCE,
    "read": READ,
    "party": ("destination", "headquarters", "either"),
    "form": ("chip", "board", "server", "software", "memory", "weights"),
    "end_use": ("supercomputer", "military"),
    "listed": ("listed", "owned"),
    "designer": ("approved", "authorised", "other"),
}
"""Keys whose value must be one of a few words."""


@dataclass(frozen=True)
class Law:
    """All rows of the rule files, by table; `reforms` are bills that are not law."""

    instruments: dict[str, Instrument]
    tables: dict[str, tuple[Any, ...]]
    reforms: dict[str, dict[str, tuple[Any, ...]]]

    def instrument(self, row: Dated) -> Instrument:
        """Return the act of a row."""
        return self.instruments[row.source]


def read_file(path: Path) -> dict[str, list[Any]]:
    """Read one rule file into table -> rows.

    Raises
    ------
    DataError
        With file and line: not TOML, an unknown table or key, a missing key, a value of the wrong kind.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise DataError(path.name, int(line[1]) if line else None, f"not readable as TOML: {error}") from None
    except UnicodeDecodeError:
        raise DataError(path.name, None, "not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise DataError(str(path), None, f"cannot be read: {error.strerror}") from None
    found: dict[str, list[Any]] = {}
    for table, entries in content.items():
        if table not in TABLES:
            known = ", ".join(TABLES)
            raise DataError(
                path.name, _line(text, table, 0), f"table '{table}' is not known; it must be one of {known}"
            )
        if not isinstance(entries, list):
            raise DataError(path.name, _line(text, table, 0), f"write [[{table}]], with two brackets")
        for place, entry in enumerate(entries):
            found.setdefault(table, []).append(_row(path.name, text, table, place, entry))
    return found


def _row(file: str, text: str, table: str, place: int, entry: dict[str, Any]) -> Any:
    """Return one row of a table, checked key by key."""
    kind = TABLES[table]
    fields = {("from" if f.name == "start" else f.name): f for f in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    values = {}
    for key, value in entry.items():
        if key not in fields:
            line = _line(text, table, place, key)
            raise DataError(file, line, f"key '{key}' is not known in {table}; it must be one of {', '.join(fields)}")
        name = fields[key].name
        try:
            values[name] = _cell(key, value, hints[name])
        except CutlineError as error:
            raise DataError(file, _line(text, table, place, key), str(error)) from None
    for key, f in fields.items():
        if f.default is dataclasses.MISSING and f.name not in values:
            raise DataError(file, _line(text, table, place), f"{table} needs the key '{key}'")
    return kind(**values)


def _cell(key: str, value: Any, kind: Any) -> Any:
    """Return a value of the kind that the column has; refuse another."""
    if key in WORDS and value not in WORDS[key]:
        raise CutlineError(f"{key} must be one of {', '.join(WORDS[key])}; got '{value}'")
    if kind is str or kind == "str":
        good, wanted = isinstance(value, str), "text"
    elif kind in (date, date | None):
        good, wanted = type(value) is date, "a date such as 2023-11-17"
    elif kind == bool | None:
        good, wanted = isinstance(value, bool), "true or false"
    else:
        good, wanted = isinstance(value, list) and all(isinstance(v, str) for v in value), "a list of texts"
    if not good:
        raise CutlineError(f"{key} must be {wanted}; got '{value}'")
    if kind == tuple[Bound, ...]:
        return tuple(read_bound(v) for v in value)
    return tuple(value) if isinstance(value, list) else value


def _line(text: str, table: str, place: int, key: str = "") -> int | None:
    """Return the line of the `place`-th entry of a table, or of a key in it."""
    count = -1
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[{{1,2}}\s*{re.escape(table)}\s*\]", line):
            count += 1
            start = number
            if count == place and not key:
                return start
        elif count == place and re.match(rf'\s*"?{re.escape(key)}"?\s*=', line):
            return number
    return start if count >= place else None


@functools.cache
def law() -> Law:
    """Return the rules of the catalogue, checked."""
    tables: dict[str, list[Any]] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        for table, found in read_file(path).items():
            tables.setdefault(table, []).extend(found)
    reforms = {}
    for path in sorted((FOLDER / "reforms").glob("*.toml")):
        reforms[path.stem] = {table: tuple(found) for table, found in read_file(path).items()}
    return build({t: tuple(found) for t, found in tables.items()}, reforms)


def build(tables: dict[str, tuple[Any, ...]], reforms: dict[str, dict[str, tuple[Any, ...]]]) -> Law:
    """Check that the rows of all tables fit each other, and return them.

    Raises
    ------
    CutlineError
        An act that is listed twice or not at all, an interval that ends before it begins, a name that no row has.
    """
    instruments: dict[str, Instrument] = {}
    for act in [a for found in (tables, *reforms.values()) for a in found.get("instrument", ())]:
        if act.id in instruments:
            raise CutlineError(f"instrument '{act.id}' is listed twice")
        instruments[act.id] = act
    known = {
        "test": {t.id for found in (tables, *reforms.values()) for t in found.get("test", ())},
        "group": {g.id for g in tables.get("group", ())} | set(country_names()) | {"world"},
    }
    for found in (tables, *reforms.values()):
        for table, entries in found.items():
            if table == "instrument":
                continue
            seen: set[tuple[Any, ...]] = set()
            for row in entries:
                _check(table, row, instruments, known)
                key = (row.id, row.start, row.layer, row.source)
                if table in ("test", "group", "requirement") and key in seen:
                    raise CutlineError(f"{table} '{row.id}' is listed twice from {row.start}")
                seen.add(key)
    return Law(instruments, {t: found for t, found in tables.items() if t != "instrument"}, reforms)


def _check(table: str, row: Dated, instruments: dict[str, Instrument], known: dict[str, set[str]]) -> None:
    what = f"{table} '{row.id}'"
    for source in filter(None, (row.source, row.ended_by)):
        if source not in instruments:
            raise CutlineError(f"{what}: source '{source}' is not an [[instrument]]")
    if row.until is not None and (row.until < row.start or (row.until == row.start and not row.ended_by)):
        raise CutlineError(f"{what}: until {row.until} must be after from {row.start}")
    for place in (
        p
        for key in ("to", "but", "seat", "barred", "origin", "members", "plus", "minus")
        for p in getattr(row, key, ())
    ):
        if place not in known["group"]:
            raise CutlineError(f"{what}: '{place}' is neither a country code nor a [[group]]")
    for test in (*getattr(row, "unless", ()),):
        if test not in known["test"]:
            raise CutlineError(f"{what}: no [[test]] is called '{test}'")
    for item in (i for key in ("items", "also", "never") for i in getattr(row, key, ())):
        if item != "*" and not any(t == item or t.startswith(item) for t in known["test"]):
            raise CutlineError(f"{what}: no [[test]] begins with '{item}'")


def reform(name: str) -> str:
    """Return the name of a bill that a user asks for by name, or by the path of a rule file of the same form.

    Raises
    ------
    UnknownName
        A name that no bill has.
    DataError
        A file that is not readable as rules, with the line.
    """
    book = law()
    if name in book.reforms:
        return name
    if not name.casefold().endswith(".toml"):
        raise UnknownName("reform", name, book.reforms, "`cutline rules --kind bill`")
    path = Path(name)
    found = {table: tuple(entries) for table, entries in read_file(path).items()}
    own = f"{path.name} {zlib.crc32(path.read_bytes()):08x}"  # another content is another bill
    if own not in book.reforms:
        try:
            new = build(book.tables | {"instrument": tuple(_own(book))}, {own: found})
        except CutlineError as error:
            raise DataError(path.name, None, str(error)) from None
        book.reforms[own] = found
        book.instruments.update(new.instruments)
    return own


def _own(book: Law) -> list[Instrument]:
    """Return the acts that are no bills of the catalogue or of a user."""
    bills = {a.id for tables in book.reforms.values() for a in tables.get("instrument", ())}
    return [a for a in book.instruments.values() if a.id not in bills]


@functools.cache
def country_names() -> dict[str, tuple[str, ...]]:
    """Return ISO 3166-1 alpha-2 code -> names, the usual one first."""
    return {row["code"]: tuple(row["names"].split(";")) for _, row in rows(FOLDER / "countries.csv", ["code", "names"])}


def in_force(
    found: tuple[Row, ...],
    on: date,
    known: date,
    layer: str,
    instruments: dict[str, Instrument],
    key: Callable[[Row], Any] = lambda row: row.id,
) -> Iterator[Row]:
    """Yield the rows of a table that are in force on a day, as known on a day, in a layer; in file order.

    A row of one layer alone stands beside those of both. Of the rows with one `key` the one that began last counts.
    """
    newest: dict[Any, Row] = {}
    for row in found:
        act = instruments[row.source]
        if row.layer not in ("", layer) or row.start > on or act.known > known:
            continue
        best = newest.get(key(row))
        if best is None or (row.start, act.known) >= (best.start, instruments[best.source].known):
            newest[key(row)] = row
    kept = set(map(id, newest.values()))
    for row in found:
        if id(row) not in kept:
            continue
        ended = row.until is not None and on >= row.until
        if ended and (not row.ended_by or instruments[row.ended_by].known <= known):
            continue
        yield row
