"""Units of the data files, converted once into base units.

Base units: flop, bytes, seconds, watts, joules, US dollars, mm2, and plain counts. GB (10^9) and
GiB (2^30) differ, and so do Gb/s and GB/s.
"""

from __future__ import annotations

import re

from cutline.core.errors import CutlineError

SI = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}

# unit as printed -> (dimension, factor to the base unit)
UNITS: dict[str, tuple[str, float]] = {
    **{f"{p}FLOP/s": ("flop_per_s", f) for p, f in SI.items()},
    **{f"{p}OP/s": ("flop_per_s", f) for p, f in SI.items()},
    **{f"{p}FLOP": ("flop", f) for p, f in SI.items()},
    **{f"{p}B": ("bytes", f) for p, f in (SI | BINARY).items()},
    **{f"{p}B/s": ("bytes_per_s", f) for p, f in (SI | BINARY).items()},
    **{f"{p}b/s": ("bytes_per_s", f / 8) for p, f in SI.items()},
    **{f"{p}W": ("w", f) for p, f in SI.items()},
    **{f"{p}Hz": ("hz", f) for p, f in SI.items()},
    "s": ("s", 1.0),
    "ms": ("s", 1e-3),
    "us": ("s", 1e-6),
    "h": ("s", 3600.0),
    "day": ("s", 86400.0),
    "mm2": ("mm2", 1.0),
    "USD": ("usd", 1.0),
    "USD/h": ("usd_per_s", 1 / 3600.0),
    "USD/kWh": ("usd_per_j", 1 / 3.6e6),
    "1": ("1", 1.0),
    "%": ("1", 0.01),
}


def read(value: str, unit: str) -> tuple[float, str]:
    """Convert a printed value to its base unit; return (value, dimension).

    Raises
    ------
    CutlineError
        If the unit is not known or the value is not a number.

    Examples
    --------
    >>> read("400", "Gb/s")
    (50000000000.0, 'bytes_per_s')
    >>> read("80", "GiB")
    (85899345920.0, 'bytes')
    """
    if unit not in UNITS:
        close = [u for u in UNITS if u.casefold() == unit.casefold()]
        cure = f"; write {' or '.join(close)}" if close else "; see cutline.core.units.UNITS"
        raise CutlineError(f"unit '{unit}' is not known{cure}")
    dimension, factor = UNITS[unit]
    try:
        number = float(value)
    except ValueError:
        raise CutlineError(f"'{value}' is not a number in {unit}") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise CutlineError(f"'{value}' is not a finite number; leave a missing fact out")
    return number * factor, dimension


SUFFIX = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "m": 1e6, "B": 1e9, "b": 1e9, "G": 1e9, "T": 1e12, "t": 1e12}


def count(text: str | float, name: str = "value") -> float:
    """Read a count with a suffix: `1.4T`, `65B`, `4M`, `2048`.

    Raises
    ------
    CutlineError
        If the text is not a positive number with an optional suffix k, M, B or T.

    Examples
    --------
    >>> count("1.4T"), count("4M"), count(2048)
    (1400000000000.0, 4000000.0, 2048.0)
    """
    match = re.fullmatch(
        r"\s*((?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9][0-9_]*)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\s*([kKmMbBgGtT]?)\s*",
        str(text),
    )
    if not match:
        raise CutlineError(f"{name} must be a number such as 2048, 4M or 1.4T; got '{text}'")
    number = float(match[1].replace("_", "").replace(",", "")) * SUFFIX[match[2]]
    if number == float("inf"):
        raise CutlineError(f"{name} is too large; got '{text}'")
    if number <= 0:
        raise CutlineError(f"{name} must be above 0; got '{text}'")
    return number
