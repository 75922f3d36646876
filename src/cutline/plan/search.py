"""Search: every legal strategy estimated, none sampled; the best, what differs in kind, the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np

from cutline.core.numerics import Array, Indices, Mask
from cutline.plan import memory
from cutline.plan.columns import Constants, Estimate, Rates, Shape, Strategy
from cutline.plan.strategy import CHUNK, Space, cores, expand, inners, kinds
from cutline.plan.training import estimate, floor_s

USABLE = 0.94
"""Share of the memory that a plan may fill: beyond it allocators retry and published runs slow down by a
fifth to a third (docs/physics.md, memory pressure)."""
OBJECTIVES = ("time", "cost", "energy")


@dataclass
class Found:
    """What a search returns. Tables hold one row per kept strategy."""

    searched: int = 0
    feasible: int = 0  # of those that were estimated
    pruned: int = 0  # that a bound ruled out: they do not fit, or cannot be among the answers
    best: tuple[Strategy, Estimate] | None = None
    kinds: tuple[Strategy, Estimate] | None = None  # best of each kind, best first
    pareto: tuple[Strategy, Estimate] | None = None  # time against memory against the objective or energy
    nearest: tuple[Strategy, Estimate] | None = None  # least memory, where nothing fits


class _Kept:
    """The best of each kind and the Pareto front so far, and the bounds that follow from them."""

    def __init__(self, most_kinds: int | None, with_front: bool, flat: bool, at_most: float) -> None:
        self.most_kinds = most_kinds
        self.at_most = at_most
        self.with_front = with_front
        self.flat = flat  # the value is the time, so the front has two columns
        self.tables: list[tuple[Strategy, Estimate, Array]] = []
        self.leaders: dict[float, float] = {}
        self.front = np.empty((0, 3))

    def limit(self) -> float:
        """Return the value beyond which a strategy is none of the best kinds."""
        if self.most_kinds is None or len(self.leaders) < self.most_kinds:
            return self.at_most
        return min(self.at_most, sorted(self.leaders.values())[self.most_kinds - 1])

    def beyond(self, points: Array) -> Mask:
        """Return which bounds (time, memory, value) can neither enter the best kinds nor the front."""
        out: Mask = np.asarray(points[:, 2] > self.limit())
        if not self.with_front or not out.any():
            return out
        if self.flat:  # of the front's points that are no slower, the last has the least memory
            place = np.searchsorted(self.front[:, 0], points[:, 0], side="right") - 1
            return np.asarray(out & (place >= 0) & (self.front[np.maximum(place, 0), 1] <= points[:, 1]))
        rows = np.flatnonzero(out)
        for start in range(0, len(rows), 512):
            some = rows[start : start + 512]
            out[some] = self._beaten(points[some])
        return out

    def _beaten(self, points: Array) -> Mask:
        """Return which points a point of the front equals or beats everywhere."""
        return np.asarray(np.any(np.all(self.front[None] <= points[:, None], axis=2), axis=1))

    def add(self, s: Strategy, e: Estimate, points: Array) -> None:
        """Keep of a chunk the best of each kind and its Pareto front."""
        value = points[:, 2]
        order = np.argsort(value, kind="stable")
        names, first = np.unique(kind_of(s)[order], return_index=True)
        leaders = order[first]
        for name, row in zip(names.tolist(), leaders, strict=True):
            self.leaders[name] = min(self.leaders.get(name, np.inf), float(value[row]))
        if not self.with_front:
            self.tables.append((s[leaders], e[leaders], points[leaders]))
            return
        front = _front(points)
        if len(self.front):
            front = front[~self._beaten(points[front])]
        rows = np.unique(np.concatenate([leaders, front]))
        self.tables.append((s[rows], e[rows], points[rows]))
        merged = np.concatenate([self.front, points[front]])
        merged = merged[_front(merged)]
        self.front = merged[np.argsort(merged[:, 0], kind="stable")]


def kind_of(s: Strategy) -> Array:
    """Return a number per strategy that is the same for strategies of one kind: (tp, pp, cp, ep, FSDP or not)."""
    return np.asarray((((s.tp * 4096 + s.pp) * 256 + s.cp) * 4 + (s.zero >= 3)) * 4096 + s.ep)


def pareto_front(points: Array) -> Mask:
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
    most_kinds: int | None = None,
    front: bool = True,
    at_most: float = np.inf,
) -> Found:
    """Search every strategy of a space and keep what a planner wants to see.

    Parameters
    ----------
    objective : callable, optional
        From columns to the number to be minimised, which grows with step time and compute; the step time unless given.
    progress : callable, optional
        Called with the count searched so far, once per chunk.
    most_kinds : int, optional
        How many kinds to keep; without it all, and only memory bounds prune.
    front : bool
        Keep the Pareto front too; without it bounds prune by the objective alone.
    at_most : float
        Without a front: what is worse than this may be left out.

    Returns
    -------
    Found
        `best`, the first `most_kinds` of `kinds` and `pareto` are those of all strategies that fit. Exact: what is not
        estimated has a bound (of memory, or of time, memory and objective) that rules it out.
    """
    found = Found()
    core = cores(space)
    if core is None:
        return found
    usable = USABLE * rates.memory_bytes
    time_s, compute_s, forward_s = floor_s(shape, rates, constants, core)
    need = memory.floor_bytes(shape, rates, constants, core, most_zero(space, core), max(space.offload) > 0)
    bounds = np.stack([time_s, need, time_s], axis=-1)
    if objective is not None:
        bounds[:, 2] = objective(core, _bound(core, time_s, compute_s))
    named, of = kinds(space, core)
    tables = [inners(space, kind) for kind in named]
    each = np.array([len(t) for t in tables])[of]
    found.searched = int(each.sum())
    hopeful = np.flatnonzero((need <= usable) & (each > 0))
    kept = _Kept(most_kinds, front, objective is None, at_most)
    done = found.pruned = int(each.sum() - each[hopeful].sum())
    order = hopeful[np.argsort(bounds[hopeful, 2], kind="stable")]
    while len(order):
        batch = order[: max(1, int(np.searchsorted(np.cumsum(each[order]), CHUNK)))]
        pieces: list[tuple[Strategy, Array]] = []  # of several kinds, so that columns stay long
        for k in np.unique(of[batch]):
            some = batch[of[batch] == k]
            for i, s in expand(space, core[some], tables[k]):
                least_s = time_s[some][i] + s.full * forward_s[some][i]
                if objective is None and not front:  # what is too slow by its bound needs no bytes
                    hopeful = least_s <= kept.limit()
                    s, least_s = s[hopeful], least_s[hopeful]
                pieces.append((s, least_s))
        for s, least_s in _joined(pieces):
            _try(found, kept, shape, rates, constants, s, objective, least_s)
        done += int(each[batch].sum())
        order = order[len(batch) :]
        gone = kept.beyond(bounds[order])
        found.pruned += int(each[order[gone]].sum())
        done += int(each[order[gone]].sum())
        order = order[~gone]
        if progress:
            progress(done)
    if not found.feasible and at_most == np.inf:
        _closest(found, shape, rates, constants, space, core, tables, of, need)
    _finish(found, kept)
    return found


def _joined(pieces: list[tuple[Strategy, Array]]) -> Iterator[tuple[Strategy, Array]]:
    """Yield tables of strategies with their bounds, joined while they stay within `CHUNK` rows."""
    while pieces:
        rows = np.cumsum([len(s) for s, _ in pieces])
        n = max(1, int(np.searchsorted(rows, CHUNK, side="right")))
        some, pieces = pieces[:n], pieces[n:]
        if rows[n - 1]:
            yield Strategy.concat([s for s, _ in some]), np.concatenate([b for _, b in some])


def _bound(core: Strategy, time_s: Array, compute_s: Array) -> Estimate:
    """Return bounds as an Estimate of which an objective may be taken: everything else is 0."""
    nothing = dict.fromkeys((f.name for f in fields(Estimate)), np.zeros(len(core)))
    return Estimate(**(nothing | {"step_s": time_s, "compute_part_s": compute_s}))


def most_zero(space: Space, core: Strategy) -> Array:
    """Return the highest ZeRO stage that any inner of each core may have."""
    staged = max(z for z in (*space.zero, 0) if z <= 1 or (z == 3 and space.stages_with_fsdp))
    return np.where(core.pp > 1, float(staged), float(max(space.zero)))


def _try(
    found: Found,
    kept: _Kept,
    shape: Shape,
    rates: Rates,
    c: Constants,
    s: Strategy,
    objective: Callable[..., Array] | None,
    least_s: Array,
) -> None:
    """Estimate a chunk: memory of all, time of what fits and is not ruled out by the bound `least_s` on its time."""
    need = memory.training_bytes(shape, rates, c, s)["memory_bytes"]
    rows = np.flatnonzero(need <= USABLE * rates.memory_bytes)  # what cannot run needs no time
    if objective is None and len(rows):
        bounds = np.stack([least_s[rows], need[rows], least_s[rows]], axis=-1)
        rows = rows[~kept.beyond(bounds)]
    found.feasible += len(rows)
    if len(rows):
        s = s[rows]
        e = estimate(shape, rates, c, s)
        value = e.step_s if objective is None else np.asarray(objective(s, e), float)
        kept.add(s, e, np.stack([e.step_s, e.memory_bytes, value], axis=-1))


def _closest(
    found: Found,
    shape: Shape,
    rates: Rates,
    c: Constants,
    space: Space,
    core: Strategy,
    tables: list[Array],
    of: Indices,
    need: Array,
) -> None:
    """Find the strategy of least memory where nothing fits: exact, for a core whose bound is above the least so far is no better."""
    least = np.inf
    for i in np.argsort(need, kind="stable"):
        if need[i] >= least:
            return
        for _, s in expand(space, core[[i]], tables[of[i]]) if len(tables[of[i]]) else ():
            bytes_ = memory.training_bytes(shape, rates, c, s)["memory_bytes"]
            j = int(np.argmin(bytes_))
            if bytes_[j] < least:
                least = float(bytes_[j])
                found.nearest = s[[j]], estimate(shape, rates, c, s[[j]])


def _edge(a: Array, b: Array) -> Indices:
    """Return the rows of the Pareto front of two columns."""
    order = np.lexsort((b, a))
    least = np.minimum.accumulate(np.concatenate([[np.inf], b[order][:-1]]))
    return np.asarray(order[b[order] < least])


def _front(points: Array) -> Indices:
    """Return the rows of the exact Pareto front of (time, memory, value); of two columns where the value is the time."""
    if np.array_equal(points[:, 0], points[:, 2]):
        return _edge(points[:, 0], points[:, 1])
    alive = np.ones(len(points), bool)
    for row in np.unique(np.concatenate([_edge(*points[:, k].T) for k in ((0, 1), (2, 1), (0, 2))])):
        alive &= ~((points >= points[row]).all(axis=1) & (points > points[row]).any(axis=1))
    left = np.flatnonzero(alive)
    return np.asarray(left[pareto_front(points[left])])


def _finish(found: Found, kept: _Kept) -> None:
    """Merge what the chunks kept."""
    if not kept.tables:
        return
    s = Strategy.concat([t[0] for t in kept.tables])
    e = Estimate.concat([t[1] for t in kept.tables])
    points = np.concatenate([t[2] for t in kept.tables])
    order = np.argsort(points[:, 2], kind="stable")
    found.best = s[order[:1]], e[order[:1]]
    _, first = np.unique(kind_of(s)[order], return_index=True)
    leaders = order[np.sort(first)][: kept.most_kinds]
    found.kinds = s[leaders], e[leaders]
    front = _front(points)
    front = front[np.argsort(e.step_s[front], kind="stable")]
    found.pareto = s[front], e[front]
