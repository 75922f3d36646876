"""The line itself: how far a chip may go on a day before it needs a licence.

What needs a licence stays so if a quantity grows, so what is free is a union of boxes, each below one corner in
TPP, performance density, transfer rate and memory bandwidth. Limits on sums cut the boxes further.
"""

from __future__ import annotations

import itertools
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from cutline.facts.law import Test
from cutline.law.day import Day, Parties, day_of, parties_of
from cutline.law.licence import Subject, licence
from cutline.law.limits import Items, met
from cutline.law.verdict import NOT_ADVICE, about, said_of, stale

AXES = ("tpp", "pd", "io", "memory")


def line(
    to: str,
    *,
    on: date,
    known: date | None = None,
    layer: str = "as_enforced",
    reforms: tuple[str, ...] = (),
    **parties: Any,
) -> dict[str, Any]:
    """Return the boundary of what needs no licence to go to a place on a day.

    Returns
    -------
    dict
        `lines`, one for each kind of maker and of chip: `makers` (empty for all others), `datacenter`, `corners`
        (each a limit or None by `tpp`, `pd`, `io`, `memory`; a chip below all of one corner is free), `sums` (limits
        on sums that hold as well), `tests` that make the line.
    """
    day = day_of(on, known, layer, reforms)
    who = parties_of(to, **parties)
    named = sorted({m for r in day.rows("requirement") for m in r.makers if r.kind == "letter" and day.covers(r, who)})
    merged: list[dict[str, Any]] = []
    for maker, datacenter in itertools.product(["", *named], (True, False)):
        one = _line(day, who, maker, datacenter)
        like = [m for m in merged if all(m[k] == one[k] for k in ("datacenter", "corners", "sums"))]
        if like and like[0]["makers"]:
            like[0]["makers"].append(maker)
        elif not like:
            merged.append(one | {"makers": [maker] if maker else []})
    return {
        "to": to, "parties": said_of(who), "on": on.isoformat(), "known": None if known is None else known.isoformat(),
        "layer": layer, "reforms": list(reforms), "lines": merged, "warnings": _warnings(day, who, merged),
    }  # fmt: skip


def _warnings(day: Day, who: Parties, lines: list[dict[str, Any]]) -> list[str]:
    """Return what a reader must know: no advice, age of the sources, tests of low confidence."""
    tests = {t for one in lines for t in one["tests"]}
    low = [t.id for t in day.rows("test") if t.id in tests and day.confidence(t) == "low"]
    return [NOT_ADVICE, *([f"low confidence: {', '.join(low)}"] if low else []), *about(who, day), *stale(day)]


def _line(day: Day, who: Parties, maker: str, datacenter: bool) -> dict[str, Any]:
    tests = [
        t for t in day.rows("test") if not any(q in ("density", "training_flop") for b in t.asks for q in b.quantities)
    ]
    single = [t for t in tests if all(len(b.quantities) == 1 for b in t.asks)]
    subject = Subject("", maker)

    def needs(ids: frozenset[str]) -> bool:
        return licence(day, who, subject, ids, datacenter).required

    edges = {axis: _edges(axis, single) for axis in AXES}
    free = _free(single, edges, datacenter, needs)
    corners = [
        {a: _number(edges[a][i]) if i < len(edges[a]) else None for a, i in zip(AXES, corner, strict=True)}
        for corner in _maximal(free)
    ]
    sums = [
        {"quantity": b.quantity, "limit": float(b.limit)}
        for t in tests if t not in single and needs(frozenset([t.id])) and (t.datacenter in (None, datacenter))
        for b in t.asks if len(b.quantities) > 1
    ]  # fmt: skip
    decisive = [t.id for t in tests if needs(frozenset([t.id])) and t.datacenter in (None, datacenter)]
    return {"datacenter": datacenter, "corners": corners, "sums": sums, "tests": decisive}


def _edges(axis: str, tests: list[Test]) -> list[Decimal]:
    """Return the limits on one axis, sorted."""
    alike = {"io": ("io", "interconnect")}.get(axis, (axis,))
    return sorted({b.limit for t in tests for b in t.asks if b.quantities[0] in alike and b.limit})


def _free(tests: list[Test], edges: dict[str, list[Decimal]], datacenter: bool, needs: Any) -> np.ndarray:
    """Return, for each cell between the limits of all axes, whether it is free. One axis of the array per quantity."""
    values = []
    for axis in AXES:
        ends = [Decimal(0), *edges[axis]]
        values.append([float((low + high) / 2) for low, high in itertools.pairwise([*ends, 2 * ends[-1] + 2])])
    shape = tuple(len(v) for v in values)
    tpp, pd, io, memory = (v.ravel() for v in np.meshgrid(*values, indexing="ij"))
    items = Items(tpp, tpp / pd, io, memory, np.full(len(tpp), datacenter), interconnect_gb_per_s=io)
    found = met(tests, items)
    names = list(found)
    unique, which = np.unique(np.column_stack(list(found.values())), axis=0, return_inverse=True)
    answers = [not needs(frozenset(n for n, yes in zip(names, row, strict=True) if yes)) for row in unique]
    return np.array(answers)[which.reshape(-1)].reshape(shape)


def _maximal(free: np.ndarray) -> list[tuple[int, ...]]:
    """Return the corners of the largest boxes from the origin that are free throughout."""
    whole = free.copy()
    for axis in range(whole.ndim):
        whole = np.logical_and.accumulate(whole, axis=axis)
    corners = [tuple(c) for c in np.argwhere(whole)]
    kept = [c for c in corners if not any(o != c and all(x >= y for x, y in zip(o, c, strict=True)) for o in corners)]
    return sorted(kept)


def _number(value: Decimal) -> float:
    return float(value)
