"""How far off a prediction of serving may be: a 90 % interval from blind errors on other chips, by kind of row and regime.

The half width is a quantile of the absolute log error. Errors have heavy tails, so it is no multiple of a standard deviation. A chip that
has measurements is given the width that the others of its kind have.
"""

from __future__ import annotations

import functools

import numpy as np

from cutline.core.numerics import Array
from cutline.facts import reader
from cutline.serve.express import Ask

UNKNOWN = 0.9
"""Half width (log) of kinds of rows that were never measured (guess: a factor of 2.5)."""
LEAST = 15
"""Rows of other chips from which a width is taken; with fewer, the width of the family is."""
FLOOR = 0.10
"""A version of an engine moves results by so much (see docs/serving.md, repeat noise)."""


@functools.cache
def widths() -> dict[tuple[str, str, str], float]:
    """Return (family, regime, chip left out) -> half width (log)."""
    path = reader.DATA / "serving_interval.csv"
    return {(r["family"], r["regime"], r["without"]): float(r["width"]) for _, r in reader.rows(path)}


def regime(ask: Ask, fill: float) -> str:
    """Return what kind of doubt a row has: how full memory is, which engine waits how, and what had to be assumed.

    `fill` is the requests in flight over what memory holds.
    """
    words = []
    if ask.kind in ("served", "disagg"):
        if ask.metric == "ttft_ms":
            words.append(ask.engine.name)
        words.append("full" if fill > 1.3 else "nearly full" if fill > 0.8 else "ordinary")
    if ask.kind == "offline" and not ask.layout:
        words.append("layout not said")
    if ask.loose:
        words.append("much assumed")
    return " ".join(words)


def half_width(ask: Ask, fill: float, residual: float | None = None) -> float:
    """Return the half width of the 90 % interval of the log of a prediction. [1]

    `residual` is what a calibration left on its own rows, None without one.
    """
    known, family, kind = widths(), ask.family, regime(ask, fill)
    for key in ((family, kind, ask.chip.name), (family, kind, ""), (family, "", ask.chip.name), (family, "", "")):
        if key in known:
            blind = known[key]
            break
    else:
        blind = UNKNOWN
    if residual is None:
        return max(blind, FLOOR)
    return max(0.7 * blind, 1.645 * residual, FLOOR)


def table_of(asks: list[Ask], error: Array, fill: Array) -> list[tuple[str, str, str, float, int]]:
    """Return rows of serving_interval.csv from blind log errors: family, regime, chip left out, width, rows used."""
    out = []
    size = np.abs(error)
    family = np.array([a.family for a in asks])
    kind = np.array([regime(a, f) for a, f in zip(asks, fill, strict=True)])
    chips = np.array([a.chip.name for a in asks])
    for name in sorted(set(family)):
        mine = family == name
        for reg in ["", *sorted(set(kind[mine]) - {""})]:
            part = mine & ((kind == reg) if reg else True)
            if part.sum() >= LEAST or not reg:
                out.append((name, reg, "", _quantile(size[part]), int(part.sum())))
            for chip in sorted(set(chips[part])):
                rest = part & (chips != chip)
                if rest.sum() >= LEAST:
                    out.append((name, reg, chip, _quantile(size[rest]), int(rest.sum())))
    return out


def _quantile(size: Array) -> float:
    """Return the 90 % quantile of absolute errors, one row more than half of a row beyond it (conformal)."""
    n = len(size)
    return float(np.quantile(size, min(1.0, 0.9 * (n + 1) / n)))
