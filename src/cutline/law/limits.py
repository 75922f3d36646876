"""Compares columns of items with the limits of a day. Ties are decided in exact decimals, never in rounded numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from cutline.core.columns import Columns
from cutline.facts.law import Bound, Test

NEAR = 1e-12
"""Relative distance from a limit below which binary numbers are not trusted."""


@dataclass(frozen=True)
class Items(Columns):
    """Chips, memory stacks, dies or model weights as the rules measure them; 0 for what an item does not have."""

    tpp: np.ndarray
    """total processing performance: 2 x MacTOPS x bit length of the inputs, dense, all units of the package"""
    area_mm2: np.ndarray
    """die area of logic dies on a non-planar process; 0 if there is none"""
    io_gb_per_s: np.ndarray
    """aggregate bidirectional transfer rate over all inputs and outputs other than volatile memory"""
    memory_gb_per_s: np.ndarray
    """total memory bandwidth"""
    datacenter: np.ndarray
    """designed or marketed for data centres"""
    stack_mm2: np.ndarray | float = 0.0
    """area of a memory package or stack, for memory that is sold as such"""
    interconnect_gb_per_s: np.ndarray | float = 0.0
    """links between chips, both ways; whether a bill counts the host bus is open"""
    tops: np.ndarray | float = 0.0
    """largest dense rate, whatever its bit length"""
    training_flop: np.ndarray | float = 0.0
    """operations that the training of closed model weights took"""


COLUMN = {
    "tpp": "tpp",
    "io": "io_gb_per_s",
    "interconnect": "interconnect_gb_per_s",
    "memory": "memory_gb_per_s",
    "tops": "tops",
    "training_flop": "training_flop",
}
RATIO = {"pd": ("tpp", "area_mm2"), "density": ("memory_gb_per_s", "stack_mm2")}
"""Quantities that are one column by another; an item without the second one reaches no limit."""


def reaches(
    terms: Iterable[np.ndarray], limit: Decimal, per: np.ndarray | None = None, strict: bool = False
) -> np.ndarray:
    """Return whether the sum of `terms` is at least (`strict`: above) `limit`, or `limit` times `per`.

    Parameters
    ----------
    terms : columns of numbers, (n,)
    limit : Decimal
    per : column, (n,), optional
        The limit is per unit of this; where it is 0 nothing is reached.
    strict : bool
        Above, and not at least.

    Notes
    -----
    Numbers are read as the shortest decimal that gives them back, which is what was written down if it had 15 digits
    or fewer. Binary comparison decides everywhere but near the limit; there the decimals do.

    Examples
    --------
    >>> area = np.array([300.0, 300.0])
    >>> reaches([np.array([1776.0, 1775.999999999])], Decimal("5.92"), area).tolist()
    [True, False]
    """
    columns = [np.asarray(t, float) for t in terms]
    total = columns[0] if len(columns) == 1 else np.add.reduce(np.broadcast_arrays(*columns))
    bound = float(limit) if per is None else float(limit) * np.asarray(per, float)
    found = np.asarray(total > bound if strict else total >= bound)
    if per is None and len(columns) == 1 and Decimal(float(limit)) == limit:
        return found
    near = np.abs(total - bound) <= NEAR * np.maximum(np.abs(bound), 1.0)
    if near.any():
        found = np.array(found)
        shape = found.shape
        wide = [np.broadcast_to(c, shape) for c in columns]
        beside = None if per is None else np.broadcast_to(np.asarray(per, float), shape)
        for i in zip(*np.nonzero(np.broadcast_to(near, shape)), strict=True):
            exact = sum((Decimal(repr(float(c[i]))) for c in wide), Decimal(0))
            line = limit if beside is None else limit * Decimal(repr(float(beside[i])))
            found[i] = exact > line if strict else exact >= line
    return found if per is None else found & (np.asarray(per) > 0)


def holds(bound: Bound, items: Items) -> np.ndarray:
    """Return where a comparison holds."""
    above = bound.operator in (">", "<=")
    if bound.quantity in RATIO:
        upper, lower = (getattr(items, c) for c in RATIO[bound.quantity])
        found = reaches([upper], bound.limit, np.asarray(lower, float), strict=above)
    else:
        found = reaches([getattr(items, COLUMN[q]) for q in bound.quantities], bound.limit, strict=above)
    return found if bound.operator in (">=", ">") else ~found


def met(tests: Iterable[Test], items: Items) -> dict[str, np.ndarray]:
    """Return test id -> where it is met, in the order given.

    A test is met where all its comparisons hold and none of its exclusions is met.
    """
    tests = list(tests)
    alone: dict[str, np.ndarray] = {}
    cache: dict[Bound, np.ndarray] = {}
    for test in tests:
        found = np.ones(len(items), bool)
        for bound in test.asks:
            if bound not in cache:
                cache[bound] = holds(bound, items)
            found = found & cache[bound]
        if test.datacenter is not None:
            found = found & (np.asarray(items.datacenter) == test.datacenter)
        alone[test.id] = found
    result = {}
    for test in tests:
        found = alone[test.id]
        for other in test.unless:
            found = found & ~alone[other] if other in alone else found
        result[test.id] = found
    return result
