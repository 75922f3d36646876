"""Pipelines whose stages lie on chips of different kinds: the best split of layers, mesh and recompute of every group.

A wave of sequences crosses all stages together; a group of `dp` ranks takes wave / dp of them at once. Each stage has a table
of its time by the number of its layers, so a split is a walk along tables; ways to share out a group's chips are
bounded together and tried in the order of their bounds until none can win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise, permutations
from typing import Any, NamedTuple

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array, Indices
from cutline.physics import collectives
from cutline.plan import layers, memory, training
from cutline.plan.columns import Strategy
from cutline.plan.job import Job
from cutline.plan.sides import Side, side, side_of, stage_tables
from cutline.plan.strategy import divisors

MOST_COMBINATIONS = 5e5
"""Combinations of one strategy per group that are bounded at once; the fastest of each group."""
MOST_TRIES = 800
"""Combinations that are laid out in full before a search is left open: a few seconds."""


class Way(NamedTuple):
    """The way from one group to another."""

    bytes_per_s: float  # of one chip, one direction
    hop_s: float
    says: str


@dataclass(frozen=True)
class Segment:
    """The stages that lie on one group."""

    job: Job
    strategy: Strategy  # one row
    layers: tuple[int, ...]  # of each stage
    recomputed: tuple[int, ...]  # of them in full
    stage_s: tuple[float, ...]
    memory_bytes: float  # of the fullest chip
    sync_s: float
    partner: dict[str, float] | None = None  # what the chips do that run the experts of these stages


@dataclass(frozen=True)
class Pipeline:
    """One pipeline over several groups. Parts sum to `step_s`."""

    segments: tuple[Segment, ...]
    wave: int  # sequences that cross together
    micro_batches: int
    step_s: float
    parts: dict[str, float]

    @property
    def slowest_s(self) -> float:
        """Time of one wave on the slowest stage. [s]"""
        return max(t for seg in self.segments for t in seg.stage_s)


def lay(tables: Array, total: int, waves: int, limit: float = np.inf) -> tuple[float, Indices] | None:
    """Return the least of waves x slowest + the other stages, and the layers of each stage; None if nothing fits below `limit`.

    Parameters
    ----------
    tables : array, (stages, layers + 1)
        Time of a stage by its layers, growing along each row; inf where they do not fit. [s]
    """
    p = len(tables)
    finite = np.isfinite(tables)
    if not finite[:, 1:].any(axis=1).all():
        return None
    times = np.unique(tables[finite])
    times = times[times >= tables[:, 1].max()] if np.isfinite(tables[:, 1]).all() else times[:0]
    if not len(times):
        return None
    low, high = 0, len(times) - 1
    filled = np.where(finite, tables, np.inf)
    if _caps(filled, times[high]).sum() < total:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _caps(filled, times[middle]).sum() >= total else (middle + 1, high)
    best: tuple[float, Indices] | None = None
    steps = np.diff(np.where(finite, tables, 1e30), axis=1)
    least = float(tables[:, 1].sum() + (total - p) * (steps[:, 1:].min() if total > p else 0.0))  # of the sum
    for slowest in times[low:]:
        if (waves - 1) * slowest + least >= (limit if best is None else min(best[0], limit)):
            break
        caps = _caps(filled, slowest)
        split = np.ones(p, int)
        left = total - p
        cost = np.where(np.arange(1, steps.shape[1])[None] < caps[:, None], steps[:, 1:], np.inf)
        order = np.argsort(cost, axis=None, kind="stable")[:left]
        if left < 0 or not np.isfinite(cost.ravel()[order]).all():
            continue
        split += np.bincount(order // cost.shape[1], minlength=p)
        stage = tables[np.arange(p), split]
        value = float((waves - 1) * stage.max() + stage.sum())
        if best is None or value < best[0]:
            best = value, split
    return best


def as_given(tables: Array, split: Indices, waves: int) -> tuple[float, Indices] | None:
    """Return what `lay` returns for layers that are given; None if some stage does not fit."""
    stage = tables[np.arange(len(tables)), split]
    return (float((waves - 1) * stage.max() + stage.sum()), split) if np.isfinite(stage).all() else None


def _caps(tables: Array, slowest: float) -> Indices:
    """Return how many layers each stage does within a time; times grow along rows."""
    return np.asarray((tables[:, 1:] <= slowest).sum(axis=1))


def messages_s(legs: list[tuple[Job, Strategy]], ways: list[Way], wave: int, waves: int) -> float:
    """Exposed time of the messages between stages in one step. [s]

    Parameters
    ----------
    legs : list of (Job, Strategy)
        Each group in the order of the pipeline, with the one strategy of its ranks.
    ways : list of Way
        From each group to the next.

    Notes
    -----
    Inside a group as in `training`; between groups every chip of the smaller stage sends or takes its part of the wave,
    and ranks without sequence parallelism gather the parts of the others.
    """
    worst = 0.0
    stages = sum(int(s.pp[0]) for _, s in legs)
    for place, (j, s) in enumerate(legs):
        c = training.matured(j.constants, j.rates)
        if s.pp[0] > 1:
            one = training.message_s(j.shape, j.rates, c, s)
            worst = max(worst, float(np.ravel(one)[0]) * (1.0 - float(c.p2p_overlap)))
        if place:
            ports = min(_ports(legs[place - 1][1]), _ports(s))
            whole = 2.0 * wave * float(j.shape.seq) * float(j.shape.hidden)
            way = ways[place - 1]
            rate = way.bytes_per_s * min(float(c.out_fraction / c.communication), 1.0)
            each = float(collectives.send_s(whole / ports, rate, way.hop_s))
            mine = 2.0 * s.micro_batch * j.shape.seq / s.cp * j.shape.hidden
            inside = layers.gather_s(mine, s.tp, np.minimum(s.tp, j.rates.domain), j.rates, c)
            collect = float(np.ravel(np.where(s.sequence_parallel > 0, 0.0, inside))[0])
            worst = max(worst, (each + collect) * (1.0 - float(c.p2p_overlap)))
    return (2.0 * waves + 2.0 * (stages - 1)) * worst


def crossing_s(p: Pipeline, way: Callable[[Job, Job], Way | None]) -> float:
    """Return what the messages of a pipeline take beyond those inside its groups. [s]"""
    legs = [(seg.job, seg.strategy) for seg in p.segments]
    links = [w for a, b in pairwise(p.segments) if (w := way(a.job, b.job)) is not None]
    free = [Way(1e18, 0.0, "") for _ in links]
    return messages_s(legs, links, p.wave, p.micro_batches) - messages_s(legs, free, p.wave, p.micro_batches)


def _ports(s: Strategy) -> float:
    """Chips of one stage. [1]"""
    return float(s.tp[0] * s.cp[0] * s.dp[0])


def _sync(j: Job, s: Strategy, deep: int, ends: tuple[bool, bool]) -> float:
    """Return the time of gradients and optimizer of a group with so many layers on its fullest stage. [s]"""
    one = np.ones(1)
    s = s.replace(pp=np.maximum(s.pp, 2.0), first=deep * one, middle=deep * one, last=deep * one, micro_batches=one)
    return float(np.ravel(training.after_s(j.shape, j.rates, j.constants, s, ends))[0])


def best_pipeline(
    jobs: list[Job],
    way: Callable[[Job, Job], Way | None],
    share: int,
    at_most: float = np.inf,
    kept: dict[Any, Side | None] | None = None,
    budget: Iterator[int] | None = None,
    make: Callable[[int], Side | None] | None = None,
) -> tuple[Pipeline | None, float]:
    """Return the fastest pipeline that runs a share of the batch over all groups, and a bound on all of them.

    Parameters
    ----------
    jobs : list of Job
        The same model on each group.
    way : callable
        From two groups to the Way between them, or None.
    share : int
        Sequences of one step.
    kept : dict, optional
        Keeps what is the same for other shares and other parties beside these.
    make : callable, optional
        From a wave to one side that stands for all groups, in place of one side for each.
    budget : iterator, optional
        Runs out when enough combinations have been laid out; `MOST_TRIES` unless given.

    Returns
    -------
    (pipeline, bound_s)
        None where no pipeline is below `at_most`. None below `bound_s` exists; it equals the step of the pipeline, or `at_most`,
        where the search is closed.

    Notes
    -----
    Exact over orders of groups, waves that divide the share, meshes, layers of each stage, ZeRO 0 or 1, modules and layers
    recomputed, under 1F1B.
    """
    best: tuple[_Laid, int] | None = None
    limit, bound = at_most, np.inf
    budget = iter(range(MOST_TRIES)) if budget is None else budget
    most = int(MOST_COMBINATIONS ** (1.0 / len(jobs)))
    total = int(jobs[0].shape.layers)
    sides_of: dict[int, list[Side]] = {}
    tries: list[tuple[float, int, tuple[int, ...]]] = []
    for wave in divisors(share):
        waves = share // wave
        made = [side_of(j, wave, kept) for j in jobs] if make is None else [make(wave)]
        sides = [o[np.flatnonzero((waves - 1) * o.layer_s < limit)] for o in made if o is not None]
        if len(sides) < len(made) or not all(len(o) for o in sides):
            continue
        sides = [o[np.argsort(o.layer_s / o.strategy.pp, kind="stable")] for o in sides]
        for g, o in enumerate(sides):
            if len(o) > most:
                rest = [o[most:] if g == k else other[:1] for k, other in enumerate(sides)]
                bound = min(bound, float(_floors(rest, jobs, total, waves).min()))
        sides_of[wave] = sides = [o[:most] for o in sides]
        floor = _floors(sides, jobs, total, waves)
        hopeful = np.flatnonzero(floor < limit)
        order = hopeful[np.argsort(floor.ravel()[hopeful], kind="stable")]
        if len(order) > MOST_TRIES:
            bound = min(bound, float(floor.ravel()[order[MOST_TRIES]]))
        rows = np.transpose(np.unravel_index(order[:MOST_TRIES], floor.shape)).tolist()
        tries += [(f, wave, tuple(row)) for f, row in zip(floor.ravel()[order].tolist(), rows, strict=False)]
    memo: dict[Any, float] = {}
    for least, wave, picked in sorted(tries):
        if least >= limit:
            break
        if next(budget, None) is None:
            bound = min(bound, least)
            break
        for turn in permutations(range(len(sides_of[wave]))):
            links = [w for a, b in pairwise(turn) if (w := way(jobs[a], jobs[b])) is not None]
            if len(links) < len(turn) - 1:
                continue
            segments = [(sides_of[wave][g], picked[g]) for g in turn]
            found = _try(segments, [jobs[g] for g in turn], links, wave, share // wave, limit, memo)
            if found is not None and found.step_s < limit:
                best, limit = (found, wave), found.step_s
    bound = min(bound, limit)
    return (None if best is None else _pipeline(best[0], best[1], share // best[1])), bound


def given_pipeline(
    jobs: list[Job],
    way: Callable[[Job, Job], Way | None],
    share: int,
    chosen: list[dict[str, float]],
    split: list[list[int]],
) -> Pipeline:
    """Return the pipeline that a user spelled out: the ranks of every group in order, and the layers of each of its stages.

    Parameters
    ----------
    chosen : list of dict
        Per group: tp, cp, pp, micro_batch and, if any, ep, etp, zero, sequence_parallel, selective, light, feed.

    Raises
    ------
    CutlineError
        If groups take waves of different size, ranks are impossible, layers do not sum up, or a stage does not fit.
    """
    waves_of = []
    for j, c in zip(jobs, chosen, strict=True):
        ranks = c["tp"] * c["cp"] * c["pp"]
        if j.group.chips % ranks:
            raise CutlineError(f"{j.group.label}: tp x cp x pp = {ranks:g} does not divide {j.group.chips} chips")
        waves_of.append(int(j.group.chips // ranks * c["micro_batch"]))
    if len(set(waves_of)) > 1:
        said = ", ".join(f"{j.group.label} {w}" for j, w in zip(jobs, waves_of, strict=True))
        raise CutlineError(f"all groups of a pipeline must take as many sequences at once: dp x micro-batch is {said}")
    wave, total = waves_of[0], int(jobs[0].shape.layers)
    if share % wave:
        raise CutlineError(f"dp x micro-batch = {wave} does not divide the batch of {share} sequences")
    if sum(map(sum, split)) != total or min(map(min, split)) < 1:
        raise CutlineError(f"layers must be at least 1 per stage and sum to {total}; got {sum(map(sum, split))}")
    segments = []
    for j, c, mine in zip(jobs, chosen, split, strict=True):
        if len(mine) != c["pp"]:
            raise CutlineError(f"{j.group.label}: layers of {len(mine)} stages are given, but pp is {c['pp']:g}")
        o = side(j, wave)
        fits = np.zeros(0, bool)
        if o is not None:
            fits = np.ones(len(o), bool)
            for name, value in c.items():
                fits &= np.abs(np.broadcast_to(getattr(o.strategy, name), len(fits)) - value) < 1e-9
        if o is None or not fits.any():
            raise CutlineError(
                f"{j.group.label}: no stage runs so; tp must divide heads and widths, ZeRO be 0 or 1, and ep x etp divide its ranks"
            )
        segments.append((o, int(np.flatnonzero(fits)[0])))
    links = [w for a, b in pairwise(jobs) if (w := way(a, b)) is not None]
    if len(links) < len(jobs) - 1:
        raise CutlineError("a pipeline needs a link between every two groups that follow each other")
    flat = np.array([n for mine in split for n in mine])
    laid = _try(segments, jobs, links, wave, share // wave, np.inf, {}, flat)
    if laid is None:
        raise CutlineError(
            "some stage does not fit its memory, even with every layer recomputed; give it fewer layers or more ranks"
        )
    return _pipeline(laid, wave, share // wave)


def _floors(sides: list[Side], jobs: list[Job], total: float, waves: int) -> Array:
    """Return a bound on the step of every combination of one strategy per group. [s]

    Layers as a fluid: (waves - 1) x slowest + the sum of all stages is least where the groups with the fastest layers
    are full and the others empty, for one of the prefixes of that order. Whole layers: the slowest stage of some group is a
    multiple of its layer. Loss, stragglers, step constants and the synchronisation of one layer are added.
    """
    k, whole = len(sides), total
    axis = [tuple(slice(None) if d == g else None for d in range(k)) for g in range(k)]
    layer = [o.layer_s[axis[g]] for g, o in enumerate(sides)]
    pp = [o.strategy.pp[axis[g]] for g, o in enumerate(sides)]
    fluid = np.full([len(o) for o in sides], np.inf)
    for some in (c for n in range(1, k + 1) for c in combinations(range(k), n)):
        speed, stages = sum(pp[g] / layer[g] for g in some), sum(pp[g] for g in some)
        fluid = np.minimum(fluid, (waves - 1 + stages) * total / speed)
    lead = float(sides[0].job.shape.lead)  # leading layers may be faster than the others
    total -= lead * max(0.0, 1.0 - min(float((o.lead_s / o.layer_s).min()) for o in sides))
    fluid *= total / whole
    least = total / sum(pp[g] / layer[g] for g in range(k))
    slowest: Any = np.inf
    work: Any = np.inf
    sync = np.zeros(1)
    for g, o in enumerate(sides):
        slowest = np.minimum(slowest, np.ceil(least / layer[g] - 1e-9) * layer[g])
        work = np.minimum(work, total * layer[g])
        sync = np.maximum(sync, o.sync_s[axis[g]])
    head = min(float(o.head_s.min()) for o in sides)
    pipe = np.maximum(fluid, (waves - 1) * slowest + work) + head
    return np.where(sum(pp) <= whole, _whole_s(jobs, pipe) + sync, np.inf)


def _whole_s(jobs: list[Job], busy_s: Any) -> Any:
    """Return the time of a step without synchronisation: with stragglers over all servers, and what every step costs. [s]"""
    servers = sum(j.group.chips / float(j.rates.domain) for j in jobs) + float(jobs[0].rates.other_servers)
    straggler = max(float(j.constants.straggler) for j in jobs) * float(np.log2(max(servers, 1.0)))
    return busy_s * (1.0 + straggler) + max(float(j.constants.step_s) for j in jobs)


class _Laid(NamedTuple):
    """A combination laid out: what `_pipeline` needs to spell it out."""

    segments: list[tuple[Side, int]]
    split: Indices
    counts: Array
    stage_s: Array
    sync_s: list[float]
    step_s: float
    parts: dict[str, float]


def _try(
    segments: list[tuple[Side, int]],
    jobs: list[Job],
    ways: list[Way],
    wave: int,
    waves: int,
    limit: float,
    memo: dict[Any, float],
    split: Indices | None = None,
) -> _Laid | None:
    """Lay layers on the stages of segments in this order, or take `split`; None if they do not fit or cannot beat `limit`."""
    counts_of = [int(o.strategy.pp[i]) for o, i in segments]
    stages, total = sum(counts_of), int(segments[0][0].job.shape.layers)
    ends = np.cumsum([0, *counts_of])
    tables, counts = [], []
    for k, (o, i) in enumerate(segments):
        mine = np.arange(ends[k], ends[k + 1])
        table, count = stage_tables(o, i, np.minimum(waves, stages - mine), mine == 0, mine == stages - 1)
        tables.append(table)
        counts.append(count)
    grid = np.concatenate(tables)
    found = lay(grid, total, waves, limit) if split is None else as_given(grid, split, waves)
    if found is None or found[0] >= limit:
        return None
    pipe_s, split = found
    legs = [(j, o.strategy[[i]]) for j, (o, i) in zip(jobs, segments, strict=True)]
    messages = messages_s(legs, ways, wave, waves)
    busy = pipe_s + messages
    if _whole_s(jobs, busy) + max(float(o.sync_s[i]) for o, i in segments) >= limit:
        return None
    sync = []
    for k, (o, i) in enumerate(segments):
        deep, at = int(split[ends[k] : ends[k + 1]].max()), (k == 0, k == len(segments) - 1)
        key = (id(o), i, deep, at)
        if key not in memo:
            experts_s = 0.0 if o.partner is None else deep * float(o.partner.sync_s[i])
            memo[key] = max(_sync(jobs[k], o.strategy[[i]], deep, at), experts_s)
        sync.append(memo[key])
    stage_s = grid[np.arange(stages), split]
    parts = {
        "compute": waves * float(stage_s.max()), "bubble": pipe_s - waves * float(stage_s.max()), "p2p": messages,
        "dp": max(sync), "overhead": _whole_s(jobs, busy) - busy,
    }  # fmt: skip
    return _Laid(segments, split, np.concatenate(counts), stage_s, sync, sum(parts.values()), parts)


def _pipeline(laid: _Laid, wave: int, waves: int) -> Pipeline:
    """Spell out a combination."""
    out, place = [], 0
    stages = len(laid.split)
    for k, (o, i) in enumerate(laid.segments):
        mine = range(place, place + int(o.strategy.pp[i]))
        place += len(mine)
        out.append(
            Segment(
                o.job, o.strategy[[i]], tuple(int(laid.split[p]) for p in mine),
                tuple(int(laid.counts[p][laid.split[p]]) for p in mine), tuple(float(laid.stage_s[p]) for p in mine),
                max(_stage_bytes(o, i, p, stages, min(waves, stages - p), laid) for p in mine), laid.sync_s[k],
                _partner(o, i, [int(laid.split[p]) for p in mine], stages, waves),
            )
        )  # fmt: skip
    return Pipeline(tuple(out), wave, waves, laid.step_s, laid.parts)


def _partner(o: Side, i: int, split: list[int], stages: int, waves: int) -> dict[str, float] | None:
    """Return what the chips that run the experts of a segment do: ranks, memory of the fullest [bytes], work on a stage [s]."""
    p = o.partner
    if p is None:
        return None
    need = max(n * (p.layer_bytes[i] + p.saved_bytes[i] * (min(waves, stages - k) + 1)) for k, n in enumerate(split))
    return {
        "ep": float(p.ep[i]), "memory_bytes": float(need) + memory.RESERVE_BYTES, "stage_s": float(max(split) * p.work_s[i]),
    }  # fmt: skip


def _stage_bytes(o: Side, i: int, p: int, stages: int, flights: int, laid: _Laid) -> float:
    """Return the memory of one chip of a stage. [bytes]"""
    h, shape = o.held, o.job.shape
    n, full = float(laid.split[p]), float(laid.counts[p][laid.split[p]])
    first, last = p == 0, p == stages - 1
    held = n + (float(shape.mtp) if last else 0.0)
    states = h.fixed[i] + first * h.first[i] + last * h.last[i] - (first and last) * h.both[i] + held * h.layer[i]
    states = states + (min(float(shape.lead), n) if first else 0.0) * h.lead[i]
    again = max(o.again_full[i], o.rank.again[i]) if full else o.rank.again[i]
    saved = (held - full) * o.rank.saved[i] + full * o.saved_full[i]
    return float(states + memory.FRAGMENTATION * (again + saved * flights))
