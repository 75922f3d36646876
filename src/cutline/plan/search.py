"""Search: every legal strategy estimated, none sampled; the best, what differs in kind, the Pareto front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from cutline.core.numerics import Array
from cutline.plan import memory
from cutline.plan.columns import Constants, Estimate, Rates, Shape, Strategy
from cutline.plan.strategy import Space, chunks
from cutline.plan.training import estimate, linear_params

USABLE = 0.94
"""Share of the memory that a plan may fill: beyond it allocators retry and published runs slow down by a
fifth to a third (docs/physics.md, memory pressure)."""
OBJECTIVES = ("time", "cost", "energy")


@dataclass
class Found:
    """What a search returns. Tables hold one row per kept strategy."""

    searched: int = 0
    feasible: int = 0
    best: tuple[Strategy, Estimate] | None = None
    kinds: tuple[Strategy, Estimate] | None = None  # best of each kind, best first
    pareto: tuple[Strategy, Estimate] | None = None  # time against memory against the objective
    nearest: tuple[Strategy, Estimate] | None = None  # least memory, where nothing fits
    _kept: list[tuple[Strategy, Estimate, Array]] = field(default_factory=list, repr=False)


def kind_of(s: Strategy) -> Array:
    """Return a number per strategy that is the same for strategies of one kind: (tp, pp, cp, FSDP or not)."""
    return np.asarray(((s.tp * 4096 + s.pp) * 256 + s.cp) * 4 + (s.zero >= 3))


def pareto_front(points: Array) -> Array:
    """Return a mask of the rows that no other row beats or equals in every column (smaller is better).

    Of equal rows the first is kept.

    Examples
    --------
    >>> pareto_front(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 3.0], [1.0, 3.0]])).tolist()
    [True, True, False, False]
    """
    order = np.lexsort(points.T[::-1])
    keep = np.zeros(len(points), bool)
    front = np.empty((0, points.shape[1]))
    for i in order:
        if not (front <= points[i]).all(axis=1).any():
            keep[i] = True
            front = np.vstack([front, points[i]])
    return keep


def search(
    shape: Shape,
    rates: Rates,
    constants: Constants,
    space: Space,
    objective: Callable[[Strategy, Estimate], Array] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Found:
    """Estimate every strategy of a space and keep what a planner wants to see.

    Parameters
    ----------
    objective : callable, optional
        From columns to the number to be minimised; the step time unless given.
    progress : callable, optional
        Called with the count searched so far, once per chunk.

    Returns
    -------
    Found
        `best` is the minimum over all strategies that fit; exact, since every one is estimated.
    """
    found = Found()
    params = linear_params(shape)
    for strategies in chunks(space):
        found.searched += len(strategies)
        need = memory.training_bytes(shape, rates, constants, strategies, params)["memory_bytes"]
        rows = np.flatnonzero(need <= USABLE * rates.memory_bytes)  # what cannot run needs no time
        found.feasible += len(rows)
        if len(rows):
            s = strategies[rows]
            e = estimate(shape, rates, constants, s)
            _keep(found, s, e, e.step_s if objective is None else np.asarray(objective(s, e), float))
        elif not found.feasible:
            i = int(np.argmin(need))
            if found.nearest is None or need[i] < found.nearest[1].memory_bytes[0]:
                s = strategies[[i]]
                found.nearest = s, estimate(shape, rates, constants, s)
        if progress:
            progress(found.searched)
    _finish(found)
    return found


def _keep(found: Found, s: Strategy, e: Estimate, value: Array) -> None:
    """Reduce a chunk to the best of each kind and its Pareto front."""
    order = np.argsort(value, kind="stable")
    _, first = np.unique(kind_of(s)[order], return_index=True)
    leaders = order[first]
    front = _front(e.step_s, e.memory_bytes, value)
    rows = np.unique(np.concatenate([leaders, front]))
    found._kept.append((s[rows], e[rows], value[rows]))


def _edge(a: Array, b: Array) -> Array:
    """Return the rows of the Pareto front of two columns."""
    order = np.lexsort((b, a))
    least = np.minimum.accumulate(np.concatenate([[np.inf], b[order][:-1]]))
    return np.asarray(order[b[order] < least])


def _front(time: Array, memory_bytes: Array, value: Array) -> Array:
    """Return the rows of the exact Pareto front of three columns; two where the value is the time."""
    if value is time:
        return _edge(time, memory_bytes)
    points = np.stack([time, memory_bytes, value], axis=-1)
    alive = np.ones(len(points), bool)
    for row in np.unique(np.concatenate([_edge(*points[:, k].T) for k in ((0, 1), (2, 1), (0, 2))])):
        alive &= ~((points >= points[row]).all(axis=1) & (points > points[row]).any(axis=1))
    left = np.flatnonzero(alive)
    return np.asarray(left[pareto_front(points[left])])


def _finish(found: Found) -> None:
    if not found._kept:
        return
    s = Strategy.concat([k[0] for k in found._kept])
    e = Estimate.concat([k[1] for k in found._kept])
    value = np.concatenate([k[2] for k in found._kept])
    order = np.argsort(value, kind="stable")
    found.best = s[order[:1]], e[order[:1]]
    _, first = np.unique(kind_of(s)[order], return_index=True)
    leaders = order[np.sort(first)]
    found.kinds = s[leaders], e[leaders]
    points = np.stack([e.step_s, e.memory_bytes, value], axis=-1)
    front = np.flatnonzero(pareto_front(points))
    front = front[np.argsort(e.step_s[front])]
    found.pareto = s[front], e[front]
    found._kept.clear()
