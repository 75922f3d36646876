"""One vectorised cost model of a training step: columns in, columns out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cutline.core.columns import Columns
from cutline.core.numerics import exposed, smooth_max
from cutline.physics import collectives, kernels, pipelines
from cutline.plan import layers, memory
from cutline.plan.columns import Column, Constants, Estimate, Rates, Shape, Strategy
from cutline.plan.layers import BACKWARD_STREAM, Layer, Mix, gather_s, gemm, usable

HOST_BACKWARD = 2.0
"""The backward pass launches twice the kernels of the forward pass (two products for one)."""

HOST_SELECTIVE = 0.3
"""Share of a forward pass's kernels that selective recompute launches again."""

PER_OP_STREAM = 0.8
"""Share of the elementwise work that per-operation recompute repeats: all but the last step."""

CP_OVERLAP = 0.8
"""Share of a ring step of context parallelism that hides behind attention (guess: the ring is built for it)."""


def linear_params(shape: Shape) -> Column:
    """Parameters of the matrices of a usual layer, all experts included. [1]"""
    block = layers.layer_params(shape, layers.mixes(shape)[0])
    return block.split + block.experts


def _head_s(shape: Shape, rates: Rates, c: Constants, s: Strategy) -> tuple[Any, Any]:
    """Forward and backward time of output head and loss for one micro-batch on the last stage. [s]"""
    tokens = s.micro_batch * shape.seq / s.cp
    v = np.maximum(shape.vocab, 1.0) / s.tp
    there = np.asarray(shape.vocab) > 0  # a diffusion transformer has no head to speak of

    one = gemm(rates, c, narrow=False)
    loss = kernels.stream_s(c.logit_bytes * tokens * v, usable(rates, c).memory_bytes_per_s)
    forward = one(tokens, v, shape.hidden) + loss / 2
    backward = one(tokens, shape.hidden, v) + one(shape.hidden, v, tokens) + loss / 2
    return there * forward, there * backward


LAYER_KEYS = ("tp", "cp", "cp_kind", "micro_batch", "shard", "sequence_parallel", "ep", "etp", "dp")
"""Columns of a strategy that the time of one layer depends on (dp only where experts are replicated)."""


def layer_table(shape: Shape, rates: Rates, c: Constants, s: Strategy, mix: Mix) -> Layer:
    """`layers.layer`, computed once per distinct value of LAYER_KEYS and looked up."""
    if len(s) < 64 or any(np.ndim(v) for part in (shape, rates, c) for v in part.as_dict().values()):
        return layers.layer(shape, rates, c, s, mix)
    code = np.zeros(len(s), np.int64)
    for name in LAYER_KEYS:
        key = getattr(s, name)
        if np.ndim(key) and not (name == "dp" and not np.any(np.asarray(shape.moe_layers) > 0)):
            values, index = np.unique(key, return_inverse=True)
            code = code * len(values) + index
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    table = layers.layer(shape, rates, c, s[first], mix)
    return Layer(**{k: np.broadcast_to(v, len(first))[inverse] for k, v in table.as_dict().items()})


@dataclass(frozen=True)
class Phases(Columns):
    """One layer and one micro-batch under a strategy: both phases, and what of them is not compute. [s]"""

    forward: Column
    backward: Column  # recomputed forward work included
    tp: Column
    cp: Column
    ep: Column
    fsdp: Column
    host: Column  # what launching adds to the device's time
    recompute: Column
    weights: Column  # of the backward phase, weight gradients


@dataclass(frozen=True)
class Stages(Columns):
    """One micro-batch on the stages of a pipeline. [s]"""

    slowest: Column
    total: Column  # summed over stages
    layers: Column  # layers of the slowest stage
    ends_fsdp: Column  # gathers of embedding and head under ZeRO-3


def combined(one: Layer, c: Constants, s: Strategy, mix: Mix, experts: Any) -> Phases:
    """Combine the device times of a layer, with so many experts if it is sparse, into its forward and backward phase."""
    tp_f = one.tp_transfer - c.tp_overlap * np.minimum(one.tp_transfer, one.products)
    tp_b = one.tp_transfer - c.tp_overlap * np.minimum(one.tp_transfer, one.products_backward)
    ring = np.where(np.asarray(s.cp_kind) == 0, CP_OVERLAP, 0.0)  # only a ring runs beside attention
    cp_f = exposed(one.cp_transfer, one.attention, ring)
    cp_b = exposed(2.0 * one.cp_transfer, one.attention_backward, ring)
    work_f = one.products + one.attention + one.stream
    work_b = one.products_backward + one.attention_backward + BACKWARD_STREAM * one.stream
    pick = s.selective * (1.0 - s.full)
    per_op = c.selective_products > 0
    kept = np.where(per_op, c.selective_products * one.products + PER_OP_STREAM * one.stream, one.attention)
    some = 1.0 - s.full
    work_r = s.full * work_f + pick * kept + some * (s.light * one.light + s.feed * one.feed)
    # another micro-batch's compute hides exchanges where the schedule runs two at once
    beside = np.where(np.asarray(s.ep_hidden) > 0, c.ep_overlap, 0.0)
    ep_f = exposed(one.ep_transfer, work_f, beside)
    ep_b = exposed(one.ep_transfer_backward + some * s.feed * one.ep_transfer, work_b, beside)
    once = (c.gather_once > 0) & (s.pp > 1)  # gathers and reductions shared out over the micro-batches of a step
    share = np.where(once, 1.0 / s.micro_batches, 1.0)
    reduce = one.scatter * share
    again = np.where(once, 0.0, one.gather * c.gather_again)
    fsdp_f = np.where(s.zero >= 3, exposed(one.gather * share, work_f, c.fsdp_overlap), 0.0)
    fsdp_b = np.where(s.zero >= 3, exposed(again + reduce, work_b + work_r, c.fsdp_overlap), 0.0)
    repeats = s.full * (tp_f + cp_f + ep_f)
    device_f = work_f + tp_f + cp_f + ep_f + fsdp_f
    device_b = work_b + work_r + tp_b + cp_b + ep_b + repeats + fsdp_b
    captured = np.where(np.asarray(s.graphs) > 0, c.graph_host, 1.0)
    mine = np.maximum(experts / s.ep, 1.0)
    host = (c.host_layer_s * mix.blocks / 2.0 + (c.host_moe_s + c.host_expert_s * mine) * mix.sparse) * captured
    host_f = host * np.ones_like(device_f)
    host_b = host * (HOST_BACKWARD + s.full + pick * HOST_SELECTIVE + some * s.feed / 2.0)
    forward, backward = smooth_max(device_f, host_f), smooth_max(device_b, host_b)
    return Phases(
        forward=forward,
        backward=backward,
        tp=tp_f * (1.0 + s.full) + tp_b,
        cp=cp_f + cp_b + s.full * cp_f,
        ep=ep_f + ep_b + s.full * ep_f,
        fsdp=fsdp_f + fsdp_b,
        host=forward + backward - device_f - device_b,
        recompute=work_r,
        weights=one.weight_gradients,
    )


def phases(shape: Shape, rates: Rates, c: Constants, s: Strategy, mix: Mix, experts: Any) -> Phases:
    """Time of both phases of one layer of a mix and one micro-batch, with so many experts if it is sparse. [s]"""
    return combined(layer_table(shape, rates, c, s, mix), c, s, mix, experts)


def after_s(shape: Shape, rates: Rates, constants: Constants, s: Strategy, ends: tuple[bool, bool]) -> Any:
    """Time of gradients and optimizer behind the last micro-batch, on a group that holds some stages of a pipeline. [s]

    `s.first` layers lie on its fullest stage; `ends` says whether the embedding and the head are among its stages.
    """
    c = matured(constants, rates)
    usual = layers.layer_params(shape, layers.mixes(shape)[0])
    table = shape.vocab * shape.hidden * max(ends)
    split = (s.first * usual.split + table) / s.tp
    experts = s.first * usual.experts / (s.ep * s.etp)
    layer = phases(shape, rates, c, s, layers.mixes(shape)[0], shape.experts)
    dp_s = _data_parallel_s(shape, rates, c, s, (split, experts), layer)
    sharded = s.zero >= 1
    owned = split / np.where(sharded, s.shard, 1.0) + experts / np.where(sharded, layers.expert_shard(s), 1.0)
    return dp_s + _optimizer_s(rates, c, s, owned)


def ends_s(shape: Shape, rates: Rates, c: Constants, s: Strategy, layer_s: Any) -> tuple[Any, Any]:
    """Forward and backward time of one micro-batch in front of the first layer, and behind the last. [s]"""
    tokens = s.micro_batch * shape.seq / s.cp
    u = usable(rates, c)
    embed_s = kernels.stream_s(6.0 * tokens * shape.hidden, u.memory_bytes_per_s)
    # frozen encoders run once, on the first stage, split over tensor-parallel ranks
    embed_s = embed_s + s.micro_batch * shape.encoder_flop / (u.wide_flop_per_s * s.tp * s.cp)
    head_s = sum(_head_s(shape, rates, c, s))
    if np.any(np.asarray(shape.mtp) > 0):  # a layer, a projection of two streams into one, and the head again
        join = gemm(rates, c, narrow=False)(tokens, shape.hidden / s.tp, 2.0 * shape.hidden)
        head_s = head_s + shape.mtp * (layer_s + 3.0 * join + head_s)
    return embed_s, head_s


def _stages(shape: Shape, rates: Rates, c: Constants, s: Strategy, layer_s: Any, lead_s: Any) -> Stages:
    """Lay layers, embedding, head and loss on the first, middle and last stage."""
    embed_s, head_s = ends_s(shape, rates, c, s, layer_s)
    inside = np.clip(rates.domain / s.tp, 1.0, s.shard)
    gather = gather_s(2.0 * shape.vocab * shape.hidden / s.tp, s.shard, inside, rates, c)
    single = s.pp == 1
    # half hidden: both ends of the model have little work of their own beside them
    exposed_share = (2.0 + c.grad_bytes / 2.0) * (1.0 - c.fsdp_overlap * 0.5)
    ends_fsdp = np.where(single & (s.zero >= 3), gather * exposed_share, 0.0)
    lead = np.minimum(shape.lead, s.first)
    first = lead * lead_s + (s.first - lead) * layer_s
    first = first + embed_s + c.host_micro_s + np.where(single, head_s, 0.0) + ends_fsdp
    middle = np.where(s.pp > 2, s.middle * layer_s + c.host_micro_s, 0.0)
    last = np.where(single, 0.0, s.last * layer_s + head_s + c.host_micro_s)
    # DualPipe lays stage i and its mirror image on one rank, so ends and middles share out
    both = np.where(s.pp > 1, (first + last) / 2.0, first)
    dual = np.asarray(s.schedule) == 3
    first, last = np.where(dual, both, first), np.where(dual & ~single, both, last)
    slowest = np.maximum(np.maximum(first, last), middle)
    layers_of = np.where(first >= slowest, s.first, np.where(last >= slowest, s.last, s.middle))
    return Stages(slowest, first + last + np.maximum(s.pp - 2, 0) * middle, layers_of, ends_fsdp)


def _messages_s(shape: Shape, rates: Rates, c: Constants, s: Strategy) -> Any:
    """Exposed time of the messages between stages in one step: forth and back for every chunk. [s]"""
    count = 2.0 * s.micro_batches * s.vpp + 2.0 * (s.pp - 1)
    return np.where(s.pp == 1, 0.0, count * message_s(shape, rates, c, s) * (1.0 - c.p2p_overlap))


def message_s(shape: Shape, rates: Rates, c: Constants, s: Strategy) -> Any:
    """Time of one message between stages of the same chips. [s]"""
    u = usable(rates, c)
    whole = layers.activation_bytes(rates) * s.micro_batch * shape.seq / s.cp * shape.hidden
    leaves = s.tp * s.cp * s.dp * s.pp > rates.domain  # then some boundary crosses the network, and paces the others
    rate = np.where(leaves, u.out_bytes_per_s, u.up_bytes_per_s * rates.pair_share)
    send = collectives.send_s(whole / s.tp, rate, c.out_hop_s)
    # each tensor-parallel rank sends its slice; without sequence parallelism the receivers gather it (narayanan-2021, 4.1)
    collect = np.where(s.sequence_parallel > 0, 0.0, gather_s(whole, s.tp, np.minimum(s.tp, rates.domain), rates, c))
    return send + collect


def held_params(shape: Shape, s: Strategy) -> tuple[Any, Any]:
    """Parameters of the fullest stage on one chip: what tensor parallelism splits, and experts. [1]"""
    usual, lead = (layers.layer_params(shape, mix) for mix in layers.mixes(shape))
    embedding = shape.vocab * shape.hidden
    ends = np.where(s.pp == 1, embedding * (2 - shape.tied), embedding)
    front = np.minimum(shape.lead, s.first)
    on_first = (s.first - front) * usual.split + front * lead.split
    on_last = (s.last + shape.mtp) * usual.split
    split = np.maximum(np.maximum(on_first, on_last) + ends, s.middle * usual.split) / s.tp
    return split, np.maximum(np.maximum(s.first - front, s.middle), s.last) * usual.experts / (s.ep * s.etp)


def _optimizer_s(rates: Rates, c: Constants, s: Strategy, owned: Any) -> Any:
    """Time of the optimizer's step over the parameters that a chip owns. [s]

    On the host: gradients go down in their width, parameters come back in 16 bits, and the host's memory paces the update.
    """
    device = kernels.stream_s(c.optimizer_bytes * owned, rates.memory_bytes_per_s * c.stream_fraction)
    host = owned * ((c.grad_bytes + 2.0) / rates.host_bytes_per_s + c.host_adam_s)
    return np.where(np.asarray(s.offload) > 0, host, device)


USUAL_AGE_YEARS = 1.5
"""Age of a part at which software makes of it what the other constants say: the middle of the measured tables."""


def matured(c: Constants, rates: Rates) -> Constants:
    """Return constants whose device time has fallen (or not yet fallen) with the age of the part's software."""
    return c.replace(compute=c.compute * (np.asarray(rates.age_years) / USUAL_AGE_YEARS) ** (-np.asarray(c.maturity)))


def estimate(shape: Shape, rates: Rates, constants: Constants, strategy: Strategy) -> Estimate:
    """Estimate every strategy: seconds, their parts, and bytes.

    Parameters
    ----------
    shape, rates, constants, strategy : Columns
        Scalars apply to all rows; arrays have one value per row. Units as in `cutline.plan.columns`.

    Returns
    -------
    Estimate
        One row per strategy, same order. Parts sum to `step_s`.

    Notes
    -----
    docs/model.md explains each term, its source, and where the model fails.
    """
    c, s = matured(constants, rates), strategy
    usual, front = layers.mixes(shape)
    layer = phases(shape, rates, c, s, usual, shape.experts)
    leads = np.any(np.asarray(shape.lead) > 0)
    lead = phases(shape, rates, c, s, front, 0.0) if leads else layer
    stages = _stages(shape, rates, c, s, layer.forward + layer.backward, lead.forward + lead.backward)
    m = s.micro_batches
    idle = pipelines.bubble_share(s.schedule, s.pp, layer.forward, layer.backward, layer.weights)
    pipe_s = pipelines.pipeline_s(m, stages.slowest, stages.slowest + idle * (stages.total - stages.slowest), s.vpp)
    p2p_s = _messages_s(shape, rates, c, s)

    split, experts = held_params(shape, s)
    twice = np.where(np.asarray(s.schedule) == 3, 2.0, 1.0)  # DualPipe: both directions hold, and reduce, a copy
    dp_s = _data_parallel_s(shape, rates, c, s, (twice * split, twice * experts), layer)
    sharded = s.zero >= 1
    owned = split / np.where(sharded, s.shard, 1.0) + experts / np.where(sharded, layers.expert_shard(s), 1.0)
    optimizer_s = _optimizer_s(rates, c, s, owned)

    servers = np.maximum(s.tp * s.cp * s.dp * s.pp / rates.domain, 1.0) + rates.other_servers
    busy_s = pipe_s + p2p_s
    overhead_s = c.step_s + busy_s * c.straggler * np.log2(servers)

    per = m * stages.layers
    tp_s, cp_s, ep_s = per * layer.tp, per * layer.cp, per * layer.ep
    fsdp_s = per * layer.fsdp + m * stages.ends_fsdp
    host_s = per * layer.host + m * c.host_micro_s
    return Estimate(
        step_s=busy_s + dp_s + optimizer_s + overhead_s,
        compute_part_s=m * stages.slowest - tp_s - cp_s - ep_s - fsdp_s - host_s,
        host_part_s=host_s,
        tp_part_s=tp_s,
        cp_part_s=cp_s,
        ep_part_s=ep_s,
        fsdp_part_s=fsdp_s,
        bubble_part_s=pipe_s - m * stages.slowest,
        p2p_part_s=p2p_s,
        dp_part_s=dp_s,
        optimizer_part_s=optimizer_s,
        overhead_part_s=overhead_s,
        recompute_s=per * layer.recompute,
        flop=model_flop(shape) * s.dp * s.micro_batch * m,
        **memory.training_bytes(shape, rates, c, s),
    )


def floor_s(shape: Shape, rates: Rates, constants: Constants, core: Strategy) -> tuple[Any, Any, Any]:
    """Bounds from below for every strategy that shares out chips and batch as `core` does. [s]

    Returns
    -------
    (step_s, compute_s, forward_s) : arrays, (...)
        No inner of the core has a shorter step, or less compute on its slowest stage; recomputing a share of the layers in full
        adds at least that share of `forward_s`. [s]

    Notes
    -----
    The slowest stage is never below the mean of all; nothing is recomputed or gathered, launches are captured, exchanges
    overlapped; fill, drain, messages, gradients and the optimizer take no time. test_search holds it against brute force.
    """
    c = matured(constants, rates)
    zero, one = np.zeros(len(core)), np.ones(len(core))
    best = dict.fromkeys(("selective", "light", "feed", "full", "zero", "schedule", "offload"), zero)
    ends = {"first": shape.layers / core.pp, "middle": shape.layers / core.pp, "last": shape.layers / core.pp}
    s = core.replace(**best, **ends, graphs=one, ep_hidden=one, vpp=one)
    usual, front = layers.mixes(shape)
    one_layer = layer_table(shape, rates, c, s, usual)
    layer = combined(one_layer, c, s, usual, shape.experts)
    leads = np.any(np.asarray(shape.lead) > 0)
    lead_layer = layer_table(shape, rates, c, s, front) if leads else one_layer
    lead = combined(lead_layer, c, s, front, 0.0) if leads else layer
    layer_s, lead_s = layer.forward + layer.backward, lead.forward + lead.backward
    around_s = (
        _stages(shape, rates, c, s.replace(pp=one, first=0.0 * one, schedule=zero), layer_s, lead_s).slowest
        - c.host_micro_s
    )
    body_s = (shape.layers - shape.lead) * layer_s + shape.lead * lead_s
    mean = (body_s + around_s) / s.pp + c.host_micro_s
    work, lead_work = (
        x.products + x.products_backward + x.attention + x.attention_backward + (1.0 + BACKWARD_STREAM) * x.stream
        for x in (one_layer, lead_layer)
    )
    compute = ((shape.layers - shape.lead) * work + shape.lead * lead_work) / s.pp
    again, lead_again = (x.products + x.attention + x.stream for x in (one_layer, lead_layer))
    forward = ((shape.layers - shape.lead) * again + shape.lead * lead_again) / s.pp
    servers = np.maximum(s.tp * s.cp * s.dp * s.pp / rates.domain, 1.0)
    m = s.micro_batches
    return m * mean * (1.0 + c.straggler * np.log2(servers)) + c.step_s, m * compute, m * forward


def _data_parallel_s(
    shape: Shape, rates: Rates, c: Constants, s: Strategy, held: tuple[Any, Any], layer: Phases
) -> Any:
    """Exposed time of gradient reduction and parameter gathering once per step. [s]"""
    n = s.dp * s.cp
    stage = np.maximum(s.first, s.last)
    window_b, window_f = stage * layer.backward, stage * layer.forward
    all_reduce = scatter = between = gather = 0.0
    mixed = np.any(np.asarray(rates.parties) > 1.0)
    groups = [(held[0], n, s.shard, s.tp)]
    if np.any(np.asarray(held[1]) > 0):
        groups.append((held[1], layers.expert_replicas(s), layers.expert_shard(s), s.ep * s.etp))
    for params, ranks, shard, before in groups:
        here = np.asarray(params) > 0  # a dense model has no experts to send
        near = np.clip(rates.domain / before, 1.0, shard)
        replicas = np.maximum(ranks / shard, 1.0)
        replicas_near = np.clip(rates.domain / (before * shard), 1.0, replicas)
        whole = np.clip(rates.domain / before, 1.0, ranks)
        all_reduce = all_reduce + here * 2.0 * gather_s(c.grad_bytes * params, ranks, whole, rates, c)
        # sharded: scatter within the group, reduce between groups, gather parameters within the group
        scatter = scatter + here * gather_s(c.grad_bytes * params, shard, near, rates, c)
        between = between + here * 2.0 * gather_s(c.grad_bytes * params / shard, replicas, replicas_near, rates, c)
        gather = gather + here * gather_s(2.0 * params, shard, near, rates, c)
        if mixed:  # the pieces that the ranks of this party hold by then are summed over all parties
            across = here * 2.0 * across_s(c.grad_bytes * params / ranks, rates, c)
            all_reduce, between = all_reduce + across, between + across
    times = np.where(s.zero == 2, s.micro_batches, 1.0)  # sharded gradients are reduced after every micro-batch
    replicated = exposed(all_reduce, window_b, c.dp_overlap)
    sharded = times * exposed(scatter, window_b, c.dp_overlap)
    sharded = sharded + exposed(between, window_b, c.dp_overlap) + exposed(gather, window_f, c.dp_overlap)
    fsdp = exposed(between, window_b, c.dp_overlap)
    tied = np.where(
        (s.pp > 1) & (shape.tied > 0),
        2.0 * gather_s(c.grad_bytes * shape.vocab * shape.hidden / s.tp, 2.0, 1.0, rates, c),
        0.0,
    )
    time = np.where(s.zero >= 3, fsdp, np.where(s.zero >= 1, sharded, replicated))
    return time + tied + np.where(s.zero >= 1, c.broadcast_s * s.shard, 0.0) * (n > 1)


def across_s(piece_bytes: Any, rates: Rates, c: Constants) -> Any:
    """Time of one gather, or of one reduce-scatter, of the piece that every chip holds, over all parties of a mixed fleet. [s]"""
    rate = rates.between_bytes_per_s * c.out_fraction / c.communication
    return collectives.gather_s(piece_bytes, rates.parties, 1.0, rate, rate, 0.0, rates.between_hop_s)


def model_flop(shape: Shape) -> Any:
    """Model flop of one sequence, forward and backward, causal attention counted once. [flop]

    Three times the forward flop of every matrix that a token passes, of attention (2 per pair, head and width, half of
    the square if causal), of scans and of the head. Multi-token prediction counts as layers and heads, encoders once.
    Recompute is not counted, so dividing by peak gives MFU. Source: palm-2022 appendix B, with the causal half.
    """
    usual, lead = layers.mixes(shape)
    a_layer = layers.layer_flop(shape, usual)
    body = (shape.layers - shape.lead + shape.mtp) * a_layer + shape.lead * layers.layer_flop(shape, lead)
    head = (1.0 + shape.mtp) * 2.0 * shape.vocab * shape.hidden + shape.mtp * 4.0 * shape.hidden**2
    return shape.seq * 3.0 * (body + head) + shape.encoder_flop
