"""What is not known of an item, as rows of a table: one row for each answer that the tests could tell apart.

A quantity that lies in an interval is replaced by one value from each stretch between the limits that it could meet, so
that the outcomes of all rows are all possible outcomes, and the ends of the stretches are where the answer flips.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from cutline.facts.law import Bound, Test
from cutline.law.limits import COLUMN, RATIO, Items
from cutline.law.measures import QUANTITIES, Measure, Part

NUMBERS = tuple(QUANTITIES)


class Stretch(NamedTuple):
    """Values of one quantity between which no test changes: `low` to `high`, with one value that stands for all."""

    low: Decimal
    high: Decimal | None
    value: Decimal
    says: str = ""


@dataclass(frozen=True)
class Cases:
    """Rows of an item's possible values; `stretches` names, for each quantity that is open, those of each row."""

    items: Items
    stretches: dict[str, tuple[Stretch, ...]]
    picked: dict[str, np.ndarray]
    """quantity -> place in its stretches, by row"""


def cases(part: Part, tests: Iterable[Test]) -> Cases:
    """Return the rows that stand for everything that a part could be.

    Parameters
    ----------
    part : Part
    tests : Test
        Those in force; their limits say where stretches end.
    """
    tests = list(tests)
    variants = [part, *(replace(part, measures=m, readings=()) for _, m in part.readings)]
    parts = [_rows(variant, tests) for variant in variants]
    if len(parts) == 1:
        return parts[0]
    said = ["by package", *(why for why, _ in part.readings)]
    which = np.repeat(np.arange(len(parts)), [len(p.items) for p in parts])
    stretches = {"reading": tuple(Stretch(Decimal(n), Decimal(n), Decimal(n), why) for n, why in enumerate(said))}
    return Cases(Items.concat([p.items for p in parts]), stretches, {"reading": which})


def _rows(part: Part, tests: list[Test]) -> Cases:
    """Return the rows of one way to read a part.

    Quantities are taken one after the other; the limits of a ratio or a sum are those for the values already chosen.
    """
    rows: list[tuple[Stretch, ...]] = [()]
    most = dict.fromkeys(NUMBERS, 1)
    bounds = sorted({b for t in tests for b in t.asks})
    for name in NUMBERS:
        partners = _partners(name, bounds)
        beside = [i for i, other in enumerate(NUMBERS) if other in partners and other != name]
        known: dict[tuple[Stretch, ...], tuple[Stretch, ...]] = {}
        longer = []
        for row in rows:
            key = tuple(row[i] for i in beside if i < len(row))
            if key not in known:
                known[key] = _stretches(name, part, bounds, dict(zip(NUMBERS, row, strict=False)))
                most[name] = max(most[name], len(known[key]))
            longer += [(*row, s) for s in known[key]]
        rows = longer
    flags = (True, False) if part.datacenter is None else (part.datacenter,)
    columns = {n: np.repeat([float(row[i].value) for row in rows], len(flags)) for i, n in enumerate(NUMBERS)}
    open_: dict[str, tuple[Stretch, ...]] = {}
    picked: dict[str, np.ndarray] = {}
    for i, name in enumerate(NUMBERS):
        unique = sorted({row[i] for row in rows}, key=lambda s: (bool(s.says), s.low, s.high is None, s.high or 0))
        if 1 < len(unique) == most[name]:  # its stretches do not hang on another open quantity
            place = {s: n for n, s in enumerate(unique)}
            open_[name], picked[name] = tuple(unique), np.repeat([place[row[i]] for row in rows], len(flags))
    if len(flags) > 1:
        open_["datacenter"] = tuple(Stretch(Decimal(f), Decimal(f), Decimal(f), "yes" if f else "no") for f in flags)
        picked["datacenter"] = np.tile([0, 1], len(rows))
    return Cases(Items(datacenter=np.tile(flags, len(rows)), **columns), open_, picked)


def _partners(name: str, bounds: list[Bound]) -> set[str]:
    """Return the quantities that a test compares together with one."""
    together = [set(RATIO.get(b.quantity, ())) | {COLUMN[q] for q in b.quantities if q in COLUMN} for b in bounds]
    return {other for group in together if name in group for other in group}


def _stretches(name: str, part: Part, bounds: list[Bound], chosen: dict[str, Stretch]) -> tuple[Stretch, ...]:
    """Return the stretches of one quantity; one if it is known."""
    measure = part.measures.get(name)
    if measure is None:
        return (Stretch(Decimal(0), Decimal(0), Decimal(0)),)
    low, high = measure.low, measure.high
    inside = {e for e in _edges(name, part, bounds, chosen) if low <= e and (high is None or e <= high) and e}
    if measure.exact or not inside:
        value = low if measure.exact else 2 * low or Decimal(1) if high is None else (low + high) / 2
        found = [Stretch(low, high, value, measure.says if measure.exact and measure.open else "")]
    else:
        ends = sorted(inside | ({low} if low else set()) | ({high} if high is not None else set()))
        found = [] if low else [Stretch(low, ends[0], ends[0] / 2)]
        for place, end in enumerate(ends):
            found.append(Stretch(end, end, end))  # an interval holds its ends, and limits lie on ends
            after = ends[place + 1] if place + 1 < len(ends) else None
            if after is not None or high is None:
                middle = 2 * end if after is None else (end + after) / 2
                found.append(Stretch(end, after, Decimal(f"{middle:.12g}")))
    return (*found, *(Stretch(value, value, value, says) for value, says in measure.open))


def _edges(name: str, part: Part, bounds: list[Bound], chosen: dict[str, Stretch]) -> Iterable[Decimal]:
    """Yield the values of a quantity at which a test of it may change, with the values chosen or known of the others."""

    def values(other: str) -> list[Decimal]:
        return [chosen[other].value] if other in chosen else _ends(part.measures.get(other))

    for bound in bounds:
        if bound.quantity in RATIO:
            upper, lower = RATIO[bound.quantity]
            if name == upper:
                yield from (bound.limit * v for v in values(lower))
            if name == lower and bound.limit:
                yield from (v / bound.limit for v in values(upper))
            continue
        columns = [COLUMN[q] for q in bound.quantities]
        if name in columns:
            others = [values(c) or [Decimal(0)] for c in columns if c != name]
            yield from (bound.limit - sum(v, Decimal(0)) for v in itertools.product(*others))


def _ends(measure: Measure | None) -> list[Decimal]:
    """Return the values that are known of a quantity: all readings of it, or the ends of its interval."""
    if measure is None:
        return []
    ends = [measure.low] if measure.low else []
    if not measure.exact and measure.high is not None:
        ends.append(measure.high)
    return [*ends, *(v for v, _ in measure.open)]
