"""One group of chips as a side of a pipeline: every way in which it may run stages, each with its times and bytes per layer."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from cutline.core.numerics import Array
from cutline.plan import layers, memory, training
from cutline.plan.columns import Strategy
from cutline.plan.job import Job
from cutline.plan.search import USABLE
from cutline.plan.strategy import cores


class Held(NamedTuple):
    """Bytes of a rank that do not depend on what is in flight, one value per strategy."""

    fixed: Array  # reserve and buffers
    layer: Array  # states of one layer
    lead: Array  # what a leading dense layer has more
    first: Array  # embedding
    last: Array  # head and loss
    both: Array  # what a stage with both ends counts once


class Partner(NamedTuple):
    """Chips of another group that run the experts of a side, one value per strategy."""

    ep: Array
    layer_bytes: Array  # states of the experts of one layer
    saved_bytes: Array  # their activations of one layer and wave
    usable_bytes: Array
    sync_s: Array  # gradients and optimizer of one layer
    work_s: Array  # one layer and wave


@dataclass(frozen=True)
class Side:
    """All ways in which one group may run its stages, for one wave; one row each."""

    job: Job
    strategy: Strategy
    layer_s: Array  # one layer, forward and backward [s]
    again_s: Array  # what recomputing it adds; inf where that is not on offer [s]
    lead_s: Array  # a leading dense layer [s]
    embed_s: Array
    head_s: Array
    rank: memory.Rank
    saved_full: Array  # bytes that a recomputed layer keeps
    again_full: Array
    sync_s: Array  # floor of gradients and optimizer, of one layer per stage [s]
    held: Held
    partner: Partner | None = None

    def __len__(self) -> int:
        return len(self.layer_s)

    def __getitem__(self, rows: Any) -> Side:
        held = {n: _rows(getattr(self.rank, n), rows, len(self)) for n in ("saved", "again", "loss", "table", "graph")}
        rank = self.rank._replace(**held)
        names = ("layer_s", "again_s", "lead_s", "embed_s", "head_s", "saved_full", "again_full", "sync_s")
        kept = Held(*(v[rows] for v in self.held))
        partner = None if self.partner is None else Partner(*(v[rows] for v in self.partner))
        return Side(
            self.job, self.strategy[rows], rank=rank, held=kept, partner=partner, **{n: getattr(self, n)[rows] for n in names}
        )  # fmt: skip

    def joined(self, other: Side) -> Side:
        """Return the rows of both; they are of one job."""

        def both(a: Any, b: Any) -> Any:
            if isinstance(a, Strategy):
                return Strategy.concat([a, b])
            if isinstance(a, tuple):
                return type(a)(*(both(x, y) for x, y in zip(a, b, strict=True)))
            return np.concatenate([a, b]) if isinstance(a, np.ndarray) and np.ndim(a) else a

        return Side(**{f.name: both(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)})


def _rows(value: Any, rows: Any, n: int) -> Array:
    return np.asarray(np.broadcast_to(value, n)[rows])


def side(j: Job, wave: int, sparse: bool = True) -> Side | None:
    """Return all ways in which a group may run its stages on a wave of so many sequences, or None; not `sparse` leaves experts out."""
    space = j.on(batch=wave).space
    space = space if sparse else replace(space, experts=0)
    core = cores(space)
    if core is None:
        return None
    core = core[np.flatnonzero(core.micro_batches == 1)]
    if not len(core):
        return None
    zeros = [z for z in space.zero if z <= 1] or [z for z in space.zero if z == 3 and space.stages_with_fsdp]
    modules = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0)] + [(0.0, 1.0, 0.0), (1.0, 1.0, 0.0), (1.0, 1.0, 1.0)] * space.modules
    parts = []
    for zero, (selective, light, feed) in product(zeros, modules):
        one = np.ones(len(core))
        if zero == 1 and not np.any(core.dp * core.cp > 1):
            continue
        parts.append(core.replace(zero=zero * one, selective=selective * one, light=light * one, feed=feed * one))
    if not parts:
        return None
    s = Strategy.concat(parts)
    s = s.replace(pp=np.maximum(s.pp, 2.0))  # a stage of a longer pipeline, also where the group has but one
    pp = np.concatenate([core.pp] * len(parts))
    phases, full = _phases(j, s)
    again = full[0] - phases[0]
    plain = (s.selective + s.light + s.feed) == 0
    again = np.where(plain | space.mixed, again, np.inf)
    rank = memory.rank_of(j.shape, j.rates, j.constants, s)
    wide = {
        n: np.array(np.broadcast_to(getattr(rank, n), len(s))) for n in ("saved", "again", "loss", "table", "graph")
    }
    rank = rank._replace(**wide)
    whole = memory.rank_of(j.shape, j.rates, j.constants, s.replace(full=np.ones(len(s))))
    n = len(s)
    embed, head = (
        np.broadcast_to(x, n)
        for x in training.ends_s(j.shape, j.rates, training.matured(j.constants, j.rates), s, phases[0])
    )
    one = np.ones(n)
    sync = training.after_s(j.shape, j.rates, j.constants, s.replace(first=one, middle=one, last=one), (False, False))
    return Side(
        j, s.replace(pp=pp), phases[0], again, phases[1], np.array(embed), np.array(head), rank,
        np.array(np.broadcast_to(whole.saved, n)), np.array(np.broadcast_to(whole.again, n)),
        np.array(np.broadcast_to(sync, n)), _held(j, s, rank),
    )  # fmt: skip


def _held(j: Job, s: Strategy, rank: memory.Rank) -> Held:
    """Return the bytes that do not depend on what is in flight, taken apart from `memory.stage_bytes`, in which they are sums."""
    shape, c = j.shape, j.constants
    zero = np.zeros(len(s))
    quiet = rank._replace(saved=zero, again=zero)

    def bytes_of(layers_: float, front: float, first: bool, last: bool) -> Array:
        ends = (shape.vocab + shape.positions) * shape.hidden * first + shape.vocab * shape.hidden * last
        need = memory.stage_bytes(quiet, c, s, layers_, front, ends, 0.0, last, first or last)["memory_bytes"]
        return np.array(np.broadcast_to(need, len(s)))

    fixed = bytes_of(0.0, 0.0, False, False)
    first, last, both = bytes_of(0.0, 0.0, True, False), bytes_of(0.0, 0.0, False, True), bytes_of(0.0, 0.0, True, True)
    layer = bytes_of(1.0, 0.0, False, False)
    lead = bytes_of(1.0, 1.0, False, False)
    return Held(fixed, layer - fixed, lead - layer, first - fixed, last - fixed, first + last - fixed - both)


def _phases(j: Job, s: Strategy) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return the time of one usual and one leading layer, forward and backward: as the strategy recomputes, and in full. [s]"""
    c = training.matured(j.constants, j.rates)
    zero = np.zeros(len(s))
    whole = s.replace(full=zero + 1.0, selective=zero, light=zero, feed=zero)
    ways: list[list[Array]] = [[], []]
    for mix, experts in zip(layers.mixes(j.shape), (j.shape.experts, 0.0), strict=True):
        one = training.layer_table(j.shape, j.rates, c, s, mix)
        for found, way in zip(ways, (s, whole), strict=True):
            phases = training.combined(one, c, way, mix, experts)
            found.append(np.array(np.broadcast_to(phases.forward + phases.backward, len(s))))
        if not np.any(np.asarray(j.shape.lead) > 0):
            return (ways[0][0], ways[0][0]), (ways[1][0], ways[1][0])
    return (ways[0][0], ways[0][1]), (ways[1][0], ways[1][1])


def stage_tables(o: Side, i: int, flights: Array, is_first: Array, is_last: Array) -> tuple[Array, Array]:
    """Return time and recomputed layers of stages by their number of layers, 0 to all; the time is inf where it does not fit.

    Parameters
    ----------
    o, i : Side, int
        The group and the row of its strategy.
    flights, is_first, is_last : array, (stages,)
        Waves that each stage has in flight, and whether it is at an end of the pipeline.

    Returns
    -------
    (time_s, recomputed) : arrays, (stages, layers + 1)
    """
    shape, h = o.job.shape, o.held
    every = np.arange(float(shape.layers) + 1)[None]
    flights, first, last = (np.asarray(x, float)[:, None] for x in (flights, is_first, is_last))
    if o.partner is not None:
        flights = flights + 1.0  # two waves take turns
    front = np.minimum(shape.lead, every) * first
    held = every + shape.mtp * last
    states = h.fixed[i] + first * h.first[i] + last * h.last[i] - first * last * h.both[i] + held * h.layer[i]
    states = states + front * h.lead[i]
    saved, least = memory.FRAGMENTATION * o.rank.saved[i], memory.FRAGMENTATION * o.saved_full[i]
    again = memory.FRAGMENTATION * o.rank.again[i]
    need = states + again + saved * held * flights
    again_full = np.maximum(memory.FRAGMENTATION * o.again_full[i], again)
    usable = USABLE * float(o.job.rates.memory_bytes)
    over = states + again_full + saved * held * flights - usable
    gain = max(float(saved - least), 1e-9)
    count = np.where(need <= usable, 0.0, np.ceil(over / (gain * flights)))
    fits = (need <= usable) | ((count <= every) & bool(np.isfinite(o.again_s[i])))
    if o.partner is not None:
        p = o.partner
        fits = fits & (every * (p.layer_bytes[i] + p.saved_bytes[i] * flights) <= p.usable_bytes[i])
    count = np.where(fits, np.maximum(count, 0.0), 0.0)
    extra = float(o.job.constants.host_micro_s) + first * o.embed_s[i] + last * o.head_s[i]
    again_s = float(o.again_s[i]) if np.isfinite(o.again_s[i]) else 0.0
    time = front * o.lead_s[i] + (every - front) * o.layer_s[i] + count * again_s + extra
    return np.where(fits & (every >= 1), time, np.inf), count


def side_of(j: Job, wave: int, kept: dict[Any, Side | None] | None) -> Side | None:
    """Return the ways of a group that no other of as many stages beats in time, memory and synchronisation."""
    key = (j.group.label, wave)
    if kept is not None and key in kept:
        return kept[key]
    found = side(j.on(rates=j.rates.replace(parties=1.0, other_servers=0.0)), wave)
    if found is not None:
        found = prune(found, int(j.shape.layers))
    if kept is not None:
        kept[key] = found
    return found


def prune(o: Side, total: int) -> Side:
    """Return the rows that no other row of as many stages beats in time, memory and synchronisation."""
    o = o[np.flatnonzero(o.strategy.pp <= total)]
    again = np.where(np.isfinite(o.again_s), o.layer_s + o.again_s, 1e30)
    points = np.column_stack([o.layer_s, again, o.head_s, *_footprint(o)])
    kept = []
    for pp in np.unique(o.strategy.pp):
        some = np.flatnonzero(o.strategy.pp == pp)
        some = some[np.lexsort(points[some].T[::-1])]
        left: list[int] = []
        for i in some:
            if not left or not (points[left] <= points[i]).all(axis=1).any():
                left.append(int(i))
        kept += left
    return o[np.array(sorted(kept), int)]


def _footprint(o: Side) -> list[Array]:
    """Return bytes that decide what fits and what is exchanged."""
    return [o.held.layer, o.held.fixed + o.held.first, o.held.fixed + o.held.last, o.rank.saved, o.rank.again, o.saved_full,
        o.again_full, np.broadcast_to(_share_of_sync(o.job, o.strategy), len(o)), o.sync_s]  # fmt: skip


def _share_of_sync(j: Job, s: Strategy) -> Array:
    """Return what decides the exchange of gradients: bytes that a chip sends per layer. [bytes]"""
    usual = layers.layer_params(j.shape, layers.mixes(j.shape)[0])
    return np.asarray(usual.split / s.tp + usual.experts / (s.ep * s.etp))
