"""Experts on one kind of chip, everything else on another: a stage is a set of chips of both, and waves take turns between them.

While the experts of one wave work, the other chips work on the next wave. Tokens cross the link between the groups twice per
layer and pass, there and back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from cutline.core.numerics import Array
from cutline.physics import experts as routing
from cutline.plan import layers, memory, training
from cutline.plan.columns import Strategy
from cutline.plan.job import Job
from cutline.plan.search import USABLE
from cutline.plan.sides import Partner, Side, prune, side
from cutline.plan.stages import Way
from cutline.plan.strategy import divisors


class _Experts(NamedTuple):
    """The experts of one stage on its chips, one value per number of ranks that share them."""

    ep: Array
    work_s: Array  # one layer and wave, forward and backward [s]
    cross_s: Array  # what its tokens take between the groups [s]
    layer_bytes: Array  # states of one layer on a chip
    saved_bytes: Array  # activations of one layer and wave on a chip
    sync_s: Array  # gradients and optimizer of one layer [s]


def without_experts(j: Job) -> Job:
    """Return a job whose layers have no routed experts: router, shared experts and all else stay."""
    return j.on(shape=j.shape.replace(expert_ffn=0.0, topk=0.0))


def expert_side(a: Job, b: Job, way: Way, wave: int, kept: dict[Any, Side | None] | None = None) -> Side | None:
    """Return all ways in which group `a` runs the layers and group `b` their experts, or None.

    Notes
    -----
    One layer and wave takes the longest of: the layer on `a`, its experts on `b`, the way between, and half of the three in a
    row, since two waves take turns. Each stage has one wave more in flight for that.
    """
    key = ("experts", a.group.label, b.group.label, wave)
    if kept is not None and key in kept:
        return kept[key]
    found = _expert_side(a, b, way, wave)
    if kept is not None:
        kept[key] = found
    return found


def _expert_side(a: Job, b: Job, way: Way, wave: int) -> Side | None:
    base = side(without_experts(a), wave, sparse=False)
    if base is None:
        return None
    base = prune(base, int(a.shape.layers))
    made = []
    for pp in np.unique(base.strategy.pp):
        if b.group.chips % int(pp):
            continue
        rows = base[np.flatnonzero(base.strategy.pp == pp)]
        e = _experts(a, b, way, wave, int(pp))
        i, k = (g.ravel() for g in np.meshgrid(np.arange(len(rows)), np.arange(len(e.ep)), indexing="ij"))
        made.append(_joined(rows[i], _Experts(*(v[k] for v in e)), float(b.rates.memory_bytes)))
    if not made:
        return None
    joined = made[0]
    for other in made[1:]:
        joined = joined.joined(other)
    return joined


def _joined(o: Side, e: _Experts, memory_bytes: float) -> Side:
    """Return a side whose layers wait for their experts."""

    def paced(own_s: Array) -> Array:
        row = own_s + e.work_s + e.cross_s
        return np.asarray(np.max([own_s, e.work_s, e.cross_s, row / 2.0], axis=0))

    layer = paced(o.layer_s)
    again = np.where(
        np.isfinite(o.again_s), paced(o.layer_s + np.where(np.isfinite(o.again_s), o.again_s, 0.0)) - layer, np.inf
    )
    usable = np.full(len(o), USABLE * memory_bytes - memory.RESERVE_BYTES)
    partner = Partner(e.ep, e.layer_bytes, memory.FRAGMENTATION * e.saved_bytes, usable, e.sync_s, e.work_s)
    return replace(o, layer_s=layer, again_s=again, sync_s=np.maximum(o.sync_s, e.sync_s), partner=partner)


def _experts(a: Job, b: Job, way: Way, wave: int, pp: int) -> _Experts:
    """Return the experts of one stage on the chips of `b`, for every number of ranks that may share them."""
    shape, rates, c = b.shape, b.rates, training.matured(b.constants, b.rates)
    chips = b.group.chips // pp
    ep = np.array([d for d in divisors(int(shape.experts)) if chips % d == 0], float)
    one = np.ones(len(ep))
    plain = dict.fromkeys(("cp", "pp", "vpp", "tp", "micro_batches", "first", "middle", "last", "etp"), one)
    zero = dict.fromkeys(("zero", "selective", "full", "sequence_parallel"), 0.0 * one)
    s = Strategy(ep=ep, dp=chips * one, shard=chips * one, micro_batch=wave / chips * one, **plain, **zero)
    usual = layers.mixes(shape)[0]
    r = layers.routed(shape, rates, c, s)
    work = usual.sparse * (r.work.forward + r.work.backward + (1.0 + layers.BACKWARD_STREAM) * r.stream)
    inside = np.minimum(ep, rates.domain)
    domains = ep / inside
    reached = np.where(np.asarray(shape.expert_groups) > 0, np.minimum(shape.expert_groups, domains), domains)
    copies = np.where(np.asarray(c.deduplicate) > 0, routing.distinct(reached, shape.topk), shape.topk)
    width = np.where(np.asarray(shape.latent_dim) > 0, shape.latent_dim, shape.hidden)
    moved = (
        wave * shape.seq * width * copies * (rates.dispatch_bytes + 6.0)
    )  # there narrow, back and both ways of gradients wide
    ports = min(a.group.chips, b.group.chips) / pp
    cross = usual.sparse * (moved / (ports * way.bytes_per_s * float(c.alltoall_out_fraction)) + 4.0 * way.hop_s)
    params = layers.layer_params(shape, usual).experts / ep
    replicas = chips / ep
    near = np.clip(rates.domain / ep, 1.0, replicas)
    states = params * (2.0 + c.grad_bytes + c.state_bytes / replicas)
    held = (
        r.copies
        * usual.sparse
        * (width * rates.linear_bytes + shape.expert_ffn * (2.0 * (1.0 + shape.gated) + rates.linear_bytes))
    )
    gather = layers.gather_s(c.grad_bytes * params, replicas, near, rates, c) + layers.gather_s(
        2.0 * params, replicas, near, rates, c
    )
    optimizer = c.optimizer_bytes * params / replicas / (rates.memory_bytes_per_s * c.stream_fraction)
    n = len(ep)
    return _Experts(
        ep, *(np.array(np.broadcast_to(x, n), float) for x in (work, cross, states, held, gather + optimizer))
    )
