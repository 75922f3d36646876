"""Benchmark scores, and vintages of an index of capability: the stored ones, and a user's files in the same form.

Every vintage revises the values of the earlier ones, so the vintage is part of each record and is never left out.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from cutline.core.errors import DataError
from cutline.facts import reader

DATA = reader.DATA / "outlook"
DAY = re.compile(r"(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
GROUPS = ("US", "China", "China+US", "Other")
WEIGHTS = {"Open weights": "open", "API access": "closed", "Hosted access": "closed", "Unreleased": "closed"}
"""How an access of Epoch AI begins -> whether the weights are open; what is not listed says nothing."""


class Score(NamedTuple):
    """One model on one benchmark. `score` is from 0 to 1, chance at 0 and the ceiling at 1.

    `optimized` tells whether laboratories optimise for the benchmark; None where the file does not say.
    """

    vintage: str
    model: str
    benchmark: str
    score: float
    optimized: bool | None


class Standing(NamedTuple):
    """One model in one vintage of the index.

    `low` and `high` bound the published 90 % interval; None where none was published, as for the two anchors.
    `date` is the release as that vintage dates it, or empty; `flop` is the training compute, or None. `access` is
    the publisher's word, `weights` is open, closed or empty. `country_group` is empty where no maker is named.
    """

    vintage: str
    model: str
    name: str
    eci: float
    low: float | None
    high: float | None
    date: str
    org: str
    country: str
    country_group: str
    access: str
    weights: str
    flop: float | None


class Item(NamedTuple):
    """Published difficulty (index points) and slope (per index point) of one benchmark."""

    benchmark: str
    edi: float
    slope: float


class Vintage(NamedTuple):
    """One state of the index: day, source id, whether its scores are stored, and which models it covers."""

    vintage: str
    source: str
    scored: bool
    covers: str


class Organisation(NamedTuple):
    """A maker, as the tables write it, its group of countries, and the maker that it is part of, if any.

    Joint work of several makers is one entry, with commas between them.
    """

    org: str
    country_group: str
    parent: str


Row = TypeVar("Row")
Dated = TypeVar("Dated", Score, Standing)


# the stored tables


@functools.cache
def vintages() -> tuple[Vintage, ...]:
    """Return the stored vintages of the index, oldest first."""
    path = DATA / "vintages.csv"
    found = []
    for line, row in reader.rows(path, ["vintage", "source", "covers"]):
        if row["source"] not in reader.sources():
            raise DataError(path.name, line, f"source '{row['source']}' is not in sources.csv")
        day = day_of(path.name, line, "vintage", row["vintage"])
        found.append(Vintage(day, row["source"], day in _scores(), row["covers"]))
    return tuple(sorted(found))


@functools.cache
def scores(vintage: str) -> tuple[Score, ...]:
    """Return the scores that a vintage of the index was fitted on."""
    return _of(vintage, _scores(), "scores.csv")


@functools.cache
def index(vintage: str) -> tuple[Standing, ...]:
    """Return the models of a vintage of the index."""
    return _of(vintage, _index(), "index.csv")


@functools.cache
def items(vintage: str) -> tuple[Item, ...]:
    """Return the published difficulties and slopes of a vintage."""
    path, found = DATA / "items.csv", dict[str, list[Item]]()
    for line, row in reader.rows(path, ["vintage", *Item._fields]):
        slope = number_of(path.name, line, "slope", row["slope"])
        if slope <= 0:
            raise DataError(path.name, line, f"slope must be above 0; got {row['slope']}")
        item = Item(row["benchmark"], number_of(path.name, line, "edi", row["edi"]), slope)
        found.setdefault(row["vintage"], []).append(item)
    return _of(vintage, {v: tuple(rows) for v, rows in found.items()}, path.name)


@functools.cache
def released() -> dict[str, str]:
    """Return benchmark -> day of its release; empty where it is not known."""
    path = DATA / "benchmarks.csv"
    return {
        row["benchmark"]: row["released"] and day_of(path.name, line, "released", row["released"])
        for line, row in reader.rows(path, ["benchmark", "released"])
    }


@functools.cache
def organisations() -> tuple[Organisation, ...]:
    """Return the group of countries of every maker in the tables; makers are matched whole, never by a beginning."""
    path, seen = DATA / "organisations.csv", dict[str, Organisation]()
    for line, row in reader.rows(path, list(Organisation._fields)):
        if row["org"] in seen:
            raise DataError(path.name, line, f"organisation '{row['org']}' is listed twice")
        seen[row["org"]] = Organisation(row["org"], _group(path.name, line, row["country_group"]), row["parent"])
    return tuple(seen.values())


@functools.cache
def _scores() -> dict[str, tuple[Score, ...]]:
    return _by_vintage(read_scores(DATA / "scores.csv"))


@functools.cache
def _index() -> dict[str, tuple[Standing, ...]]:
    return _by_vintage(read_index(DATA / "index.csv"))


def _by_vintage(rows: tuple[Dated, ...]) -> dict[str, tuple[Dated, ...]]:
    found: dict[str, list[Dated]] = {}
    for row in rows:
        found.setdefault(row.vintage, []).append(row)
    return {vintage: tuple(group) for vintage, group in found.items()}


def _of(vintage: str, found: dict[str, tuple[Row, ...]], file: str) -> tuple[Row, ...]:
    if vintage not in found:
        raise DataError(file, None, f"no vintage '{vintage}'; there are {', '.join(sorted(found))}")
    return found[vintage]


# files


def read_scores(path: Path, *, unit: str = "model", vintage: str = "") -> tuple[Score, ...]:
    """Read scores from a file in the form of Epoch AI's eci_benchmarks.csv.

    Parameters
    ----------
    path : Path
        CSV with columns `benchmark`, `performance` or `score` (0 to 1), and the column `unit`.
    unit : str
        Column that says which rows are one model. In Epoch AI's file this is `model`; its other column `Model` is
        blank in many rows and puts several versions together.
    vintage : str
        Vintage of the rows where the file has no column `vintage`.

    Returns
    -------
    tuple of Score

    Raises
    ------
    DataError
        With file and line: a column is missing, `unit` is blank in a row, a score is not from 0 to 1, a model has
        two scores on one benchmark, or there are no rows.
    """
    lines = list(table_rows(path, {unit, "benchmark"}))
    value = _column(path, lines, "performance", "score")
    blank = [line for line, row in lines if not row[unit]]
    if blank:
        full = [c for c in ("model", "model_group") if c != unit and all(row.get(c) for _, row in lines)]
        cure = f"group by column '{full[0]}'" if full else "group by a column that names every row"
        rows_ = "1 row" if len(blank) == 1 else f"{len(blank)} rows"
        raise DataError(path.name, blank[0], f"column '{unit}' is blank in {rows_}; {cure}")
    found: dict[tuple[str, str, str], Score] = {}
    for line, row in lines:
        score = number_of(path.name, line, value, row[value])
        if not 0 <= score <= 1:
            raise DataError(path.name, line, f"{value} must be from 0 to 1; got {row[value]}")
        if not row["benchmark"]:
            raise DataError(path.name, line, "benchmark is blank; every score needs one")
        key = row.get("vintage") or vintage, row[unit], row["benchmark"]
        if key in found:
            raise DataError(
                path.name, line, f"'{key[1]}' has two scores on '{key[2]}'; keep one, or group by a finer column"
            )
        found[key] = Score(*key, score, _flag(path.name, line, row.get("optimized") or row.get("optimized_for")))
    return tuple(found.values())


NAMES: dict[str, tuple[str, ...]] = {
    "vintage": ("vintage", "snapshot"),
    "model": ("model", "Model", "Model name"),
    "name": ("name", "display_name", "Display name"),
    "eci": ("eci", "ECI Score"),
    "low": ("low", "eci_ci_low"),
    "high": ("high", "eci_ci_high"),
    "date": ("date", "release_date", "Release date"),
    "org": ("org", "Organization"),
    "country": ("country", "Country (of organization)", "Country"),
    "country_group": ("country_group",),
    "access": ("access", "accessibility", "Model accessibility"),
    "weights": ("weights", "open_closed"),
    "flop": ("flop", "training_compute_flop", "Training compute (FLOP)"),
}
"""Field of Standing -> what files call it, first found."""


def read_index(path: Path, *, vintage: str = "") -> tuple[Standing, ...]:
    """Read index values from a file in the form of Epoch AI's eci_scores.csv or epoch_capabilities_index.csv.

    Parameters
    ----------
    path : Path
        CSV with a column for the model and one for its value; the names of both files are known. Rows without a
        value are left out, and versions of one model with the same value become one row with the earliest date.
    vintage : str
        Vintage of the rows where the file has no column `vintage` or `snapshot`.

    Returns
    -------
    tuple of Standing

    Raises
    ------
    DataError
        With file and line: a column is missing, a model is blank or has two values, something is not a number or a
        day, an interval does not hold its value, or a group of countries is not known.
    """
    lines = list(table_rows(path, set()))
    column = {field: next((n for n in names if n in lines[0][1]), "") for field, names in NAMES.items()}
    for field in ("model", "eci"):
        if not column[field]:
            raise DataError(path.name, 1, f"there is no column for the {field}; name it {' or '.join(NAMES[field])}")
    found: dict[tuple[str, str], Standing] = {}
    for line, row in lines:
        cell = {field: row[name] if name else "" for field, name in column.items()}
        if not cell["eci"]:
            continue
        new = _standing(path.name, line, cell, cell["vintage"] or vintage)
        old = found.get((new.vintage, new.model))
        if old is not None and old.eci != new.eci:
            raise DataError(path.name, line, f"'{new.model}' has two values, {old.eci:g} and {new.eci:g}; keep one")
        if old is None or (new.date and new.date < (old.date or "9")):
            found[new.vintage, new.model] = new
    if not found:
        raise DataError(path.name, None, f"no row has a value in column '{column['eci']}'")
    return tuple(found.values())


def _standing(file: str, line: int, cell: dict[str, str], vintage: str) -> Standing:
    if not cell["model"]:
        raise DataError(file, line, "the model is blank; every value needs one")
    eci = number_of(file, line, "eci", cell["eci"])
    low, high, flop = (number_of(file, line, f, cell[f]) if cell[f] else None for f in ("low", "high", "flop"))
    if (low is None) != (high is None) or (low is not None and high is not None and not low <= eci <= high):
        raise DataError(file, line, f"interval '{cell['low']}' to '{cell['high']}' does not hold {cell['eci']}")
    if cell["weights"] not in ("", "open", "closed"):
        raise DataError(file, line, f"weights '{cell['weights']}' is not open or closed; leave it empty if not known")
    if flop is not None and flop <= 0:
        raise DataError(file, line, f"flop must be above 0; got {cell['flop']}")
    group = _group(file, line, cell["country_group"]) if cell["country_group"] else _group_of(cell)
    weights = next((w for begin, w in WEIGHTS.items() if cell["access"].startswith(begin)), "")
    return Standing(
        vintage, cell["model"], cell["name"], eci, low, high,
        cell["date"] and day_of(file, line, "date", cell["date"]),
        cell["org"], cell["country"], group, cell["access"], cell["weights"] or weights, flop,
    )  # fmt: skip


def _group_of(cell: dict[str, str]) -> str:
    """Return the group of countries by the table of makers, else by the country; empty if neither is known."""
    known = {o.org: o.country_group for o in organisations()}
    if cell["org"] in known or not cell["country"]:
        return known.get(cell["org"], "")
    countries = cell["country"].split(",")
    us, china = "United States of America" in countries, "China" in countries
    return "China+US" if us and china else "US" if us else "China" if china else "Other"


def table_rows(path: Path, needed: set[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row) with spaces around cells taken off; refuse a file without rows or a needed column."""
    empty = True
    for line, row in reader.rows(path):
        if empty and (missing := sorted(needed - set(row))):
            raise DataError(path.name, 1, f"there is no column '{missing[0]}'; there are {', '.join(row)}")
        empty = False
        yield line, {name: text.strip() for name, text in row.items()}
    if empty:
        raise DataError(path.name, None, "the file has no rows")


def _column(path: Path, lines: list[tuple[int, dict[str, str]]], *names: str) -> str:
    for name in names:
        if name in lines[0][1]:
            return name
    raise DataError(path.name, 1, f"there is no column '{' or '.join(names)}'; there are {', '.join(lines[0][1])}")


def number_of(file: str, line: int, name: str, text: str) -> float:
    """Return a cell as a finite number, or say which cell is none."""
    try:
        value = float(text)
    except ValueError:
        raise DataError(file, line, f"{name} '{text}' is not a number") from None
    if not math.isfinite(value):
        raise DataError(file, line, f"{name} '{text}' is not a number; leave a missing row out")
    return value


def day_of(file: str, line: int, name: str, text: str) -> str:
    """Return a cell that is an ISO day, or say which cell is none."""
    if not DAY.fullmatch(text):
        raise DataError(file, line, f"{name} '{text}' is not YYYY-MM-DD")
    return text


def _group(file: str, line: int, text: str) -> str:
    if text not in GROUPS:
        raise DataError(file, line, f"country_group '{text}' is not one of {', '.join(GROUPS)}")
    return text


def _flag(file: str, line: int, text: str | None) -> bool | None:
    words = {"yes": True, "true": True, "no": False, "false": False}
    if not text:
        return None
    if text.casefold() not in words:
        raise DataError(file, line, f"optimized '{text}' is not yes or no")
    return words[text.casefold()]
