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

from cutline.facts.law import Test
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
    """Return the rows of one way to read a part."""
    choices: dict[str, tuple[Stretch, ...]] = {}
    for name in NUMBERS:
        measure = part.measures.get(name)
        if measure is None:
            choices[name] = (Stretch(Decimal(0), Decimal(0), Decimal(0)),)
        else:
            choices[name] = _stretches(name, measure, part, tests, choices)
    flags = (True, False) if part.datacenter is None else (part.datacenter,)
    rows = list(itertools.product(*(range(len(choices[n])) for n in NUMBERS), range(len(flags))))
    picked = {n: np.array([r[i] for r in rows]) for i, n in enumerate(NUMBERS)}
    columns = {n: np.array([float(choices[n][r[i]].value) for r in rows]) for i, n in enumerate(NUMBERS)}
    datacenter = np.array([flags[r[-1]] for r in rows], bool)
    open_ = {n: c for n, c in choices.items() if len(c) > 1}
    if len(flags) > 1:
        open_["datacenter"] = tuple(Stretch(Decimal(f), Decimal(f), Decimal(f), "yes" if f else "no") for f in flags)
        picked["datacenter"] = np.array([r[-1] for r in rows])
    return Cases(Items(datacenter=datacenter, **columns), open_, {n: picked[n] for n in open_})


def _stretches(
    name: str, measure: Measure, part: Part, tests: list[Test], before: dict[str, tuple[Stretch, ...]]
) -> tuple[Stretch, ...]:
    """Return the stretches of one quantity; one if it is known."""
    if measure.exact:
        found = [Stretch(measure.low, measure.low, measure.low, measure.says)]
    else:
        low, high = measure.low, measure.high
        inside = {e for e in _edges(name, part, tests, before) if low < e and (high is None or e < high)}
        ends = sorted(inside | ({low} if low else set()) | ({high} if high is not None else set()))
        found = [] if low else [Stretch(low, ends[0] if ends else None, ends[0] / 2 if ends else Decimal(1))]
        for place, end in enumerate(ends):
            found.append(Stretch(end, end, end))  # an interval holds its ends, and limits lie on ends
            after = ends[place + 1] if place + 1 < len(ends) else None
            if after is not None or high is None:
                middle = 2 * end if after is None else (end + after) / 2
                found.append(Stretch(end, after, Decimal(f"{middle:.12g}")))
    return (*found, *(Stretch(value, value, value, says) for value, says in measure.open))


def _edges(name: str, part: Part, tests: list[Test], before: dict[str, tuple[Stretch, ...]]) -> Iterable[Decimal]:
    """Yield the values of a quantity at which a test of it may change, alone or with what else is known.

    A quantity that is open itself, and was cut into stretches `before`, counts with the values that stand for them.
    """

    def values(other: str) -> list[Decimal]:
        measure = part.measures.get(other)
        if measure is not None and not measure.exact and other in before:
            return [s.value for s in before[other]]
        return _ends(measure)

    for bound in {b for t in tests for b in t.asks}:
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
