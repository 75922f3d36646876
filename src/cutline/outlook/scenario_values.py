"""Values of scenario files: ranges, days, flags, each read with file and key or refused in one sentence."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from cutline.core.errors import DataError, suggestions
from cutline.core.numerics import Array
from cutline.facts import reader
from cutline.outlook.supply import Z90

START = date(2023, 1, 1)
"""First day of the quarters of a scenario; stocks of imagined countries are of this day."""
RANGE_KEYS = ("range", "source", "note")
SHARES = ("share", "mfu", "mixed", "own", "spill", "blend")


@dataclass(frozen=True)
class Spread:
    """A quantity that is not known: a 90 % range, read as a log-normal where both ends are above 0, else as a normal.

    Draws are cut at `least` and `most`; for shares these are 0 and 1.
    """

    low: float
    high: float
    least: float = -math.inf
    most: float = math.inf
    source: str = ""
    """ids of sources.csv, or guess"""
    note: str = ""

    def at(self, z: Array) -> Array:
        """Return the values at standard normal numbers.

        Examples
        --------
        >>> Spread(1.0, 4.0).at(np.array([-Z90, 0.0, Z90])).round(6).tolist()
        [1.0, 2.0, 4.0]
        """
        if self.low > 0:
            a, b = math.log(self.low), math.log(self.high)
            found = np.exp(0.5 * (a + b) + (b - a) / (2 * Z90) * z)
        else:
            found = 0.5 * (self.low + self.high) + (self.high - self.low) / (2 * Z90) * z
        return np.asarray(np.clip(found, self.least, self.most))


# reading


def table(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the table that a YAML file holds; `on`, `off`, `yes` and `no` are words, and 1e6 is a number."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [k.value for k, _ in node.value]
            twice = next((k for k in keys if keys.count(k) > 1), None)
            if twice is not None:
                raise DataError(path.name, node.start_mark.line + 1, f"key '{twice}' stands twice; keep one")
            return super().construct_mapping(node, deep)

    words = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:float"}
    Loader.yaml_implicit_resolvers = {
        first: [each for each in found if each[0] not in words]
        for first, found in Loader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("(?:true|false)$"), list("tf"))
    number = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|nan)")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"(?:{number.pattern})$"), list("-+0123456789."))
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise DataError(path.name, None, f"cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise DataError(path.name, mark.line + 1 if mark else None, f"not readable as YAML: {said}") from None
    if not isinstance(content, dict):
        raise DataError(path.name, None, f"a scenario is a table with keys {', '.join(keys)}")
    return content


def known_keys(where: str, what: str, row: Any, known: tuple[str, ...]) -> None:
    """Raise DataError unless a value is a table with known keys only."""
    if not isinstance(row, dict):
        raise DataError(where, None, f"{what} must be a table with keys {', '.join(known)}; got {row!r}")
    for key in row:
        if key not in known:
            close = suggestions(str(key), known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise DataError(where, None, f"{what}: key '{key}' is not one of {', '.join(known)}{hint}")


def is_number(value: Any) -> bool:
    """Return whether a value is a number of at most 1e15, more than there are chips or days."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e15


def spread(where: str, what: str, value: Any, least: float = -math.inf) -> Spread:
    """Read a number, a 90 % range as a list of two, or a table of a range, its source and a note."""
    source, note, ends = "", "", value
    if isinstance(value, dict):
        known_keys(where, what, value, RANGE_KEYS)
        source, note = source_ids(where, what, value.get("source", "")), str(value.get("note", ""))
        ends = value.get("range")
    ends = ends if isinstance(ends, list) else [ends, ends]
    if len(ends) != 2 or not all(map(is_number, ends)):
        raise DataError(where, None, f"{what} must be a number or a range such as [0.5, 2]; got {value!r}")
    low, high = float(ends[0]), float(ends[1])
    if low > high:
        raise DataError(where, None, f"{what}: a range goes from low to high; got {ends!r}")
    share = what.rpartition(".")[2] in SHARES
    least, most = (0.0, 1.0) if share else (least, math.inf)
    if low < least or high > most:
        must = "lie from 0 to 1" if share else f"be at least {least:g}"
        raise DataError(where, None, f"{what} must {must}; got {ends!r}")
    return Spread(low, high, least, most, source, note)


def positive(where: str, what: str, value: Any) -> Spread:
    """Read a factor or a time, which must be above 0."""
    found = spread(where, what, value)
    if found.low <= 0:
        raise DataError(where, None, f"{what} must be above 0; got {found.low:g}")
    return found


def source_ids(where: str, what: str, text: Any) -> str:
    """Read ids of sources.csv, with spaces between."""
    for each in str(text).split():
        if each not in reader.sources():
            raise DataError(where, None, f"{what}: source '{each}' is not in sources.csv; add it there or write guess")
    return str(text)


def whole(where: str, what: str, value: Any, least: int, most: int) -> int:
    """Read a whole number."""
    if not is_number(value) or value != int(value) or not least <= value <= most:
        raise DataError(where, None, f"{what} must be a whole number from {least:,} to {most:,}; got {value!r}")
    return int(value)


def flag(where: str, what: str, value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise DataError(where, None, f"{what} must be true or false; got {value!r}")
    return value


def day(where: str, what: str, value: Any, last: bool = False) -> date:
    """Read a day, or a year as its first day or its last."""
    if is_number(value) and value == int(value) and START.year <= value <= 2060:
        return date(int(value), 12, 31) if last else date(int(value), 1, 1)
    try:
        found = date.fromisoformat(str(value))
    except ValueError:
        raise DataError(where, None, f"{what} must be a year or a day such as 2027-06-30; got {value!r}") from None
    if not START <= found <= date(2060, 12, 31):
        raise DataError(where, None, f"{what} must lie from {START} to 2060-12-31; got {found}")
    return found


def year_of(day: date) -> float:
    """Return the end of a day as a year with a fraction.

    Examples
    --------
    >>> year_of(date(2023, 12, 31))
    2024.0
    """
    after = day + timedelta(1)
    start = date(after.year, 1, 1)
    return after.year + (after - start).days / ((date(after.year + 1, 1, 1) - start).days)
