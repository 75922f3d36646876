"""One vectorised cost model of a training step: columns in, columns out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cutline.core.columns import Columns
from cutline.core.numerics import exposed, smooth_max
from cutline.physics import collectives, kernels, pipelines
from cutline.plan import memory
from cutline.plan.columns import Column, Constants, Estimate, Rates, Shape, Strategy

NORM_PASSES = 10.0
"""Reads and writes of the residual stream per layer and forward pass, one kernel per operation: two norms
(read, write) and two residual sums (two reads, one write)."""

DROPOUT_PASSES = 5.0
"""Two dropouts (read, write) and their one-byte masks."""

BACKWARD_STREAM = 1.5
"""Backward elementwise work moves half as much again: it reads the saved input beside the gradient."""

HOST_BACKWARD = 2.0
"""The backward pass launches twice the kernels of the forward pass (two products for one)."""

HOST_SELECTIVE = 0.3
"""Share of a forward pass's kernels that selective recompute launches again."""

PER_OP_STREAM = 0.8
"""Share of the elementwise work that per-operation recompute repeats: all but the last step."""

SHALLOW = 0.55
"""Rate of the batched products of unfused attention over that of long products: their depth is one head's width."""

CP_OVERLAP = 0.8
"""Share of a ring step of context parallelism that hides behind attention (guess: the ring is built for it)."""

FLASH_BACKWARD = 2.5
"""Five products against two (flashattention-2)."""


@dataclass(frozen=True)
class Layer(Columns):
    """Device times of one layer and one micro-batch on one chip, before phases are combined. [s]"""

    products: Column
    products_backward: Column
    attention: Column
    attention_backward: Column
    stream: Column
    tp_transfer: Column  # one direction of the pass (forward = backward)
    cp_transfer: Column
    gather: Column  # one parameter gather under ZeRO-3
    scatter: Column  # one reduce-scatter of gradients under ZeRO-3


def linear_params(shape: Shape) -> Column:
    """Parameters of the four (or five) matrices of one layer. [1]"""
    qkvo = shape.hidden * shape.head_dim * (2 * shape.heads + 2 * shape.kv_heads)
    return qkvo + shape.hidden * shape.ffn * (2 + shape.gated)


def _gemm(rates: Rates, c: Constants, narrow: bool) -> Callable[[Any, Any, Any], Any]:
    """Return the time of a product m x n x k on this chip: in the linear layers' format, or in 16 bits. [s]"""
    peak = rates.linear_flop_per_s * c.linear_gain if narrow else rates.flop_per_s
    rate = peak * c.gemm_fraction * c.gemm_gain / c.compute
    memory_rate = rates.memory_bytes_per_s * c.stream_fraction
    width = rates.linear_bytes if narrow else 2.0

    def gemm(m: Any, n: Any, k: Any) -> Any:
        """Time of one product. [s]"""
        return kernels.gemm_s(
            m, n, k, rate, memory_rate, rates.units, width, c.gemm_tail, c.gemm_ramp_k, c.gemm_start_s
        )  # fmt: skip

    return gemm


def _products(shape: Shape, rates: Rates, c: Constants, tokens: Column, tp: Column) -> tuple[Any, Any]:
    """Forward and backward time of the linear layers of one layer. [s]"""
    q = shape.heads * shape.head_dim / tp
    kv = np.maximum(shape.kv_heads / tp, 1.0) * shape.head_dim
    f = shape.ffn / tp
    h = shape.hidden
    memory_rate = rates.memory_bytes_per_s * c.stream_fraction

    gemm = _gemm(rates, c, narrow=True)
    forward = backward = 0.0
    for n, k in ((q + 2 * kv, h), (h, q), (f * (1 + shape.gated), h), (h, f)):
        forward = forward + gemm(tokens, n, k)
        backward = backward + gemm(tokens, k, n) + gemm(k, n, tokens)
    narrow = rates.linear_bytes < 2
    inputs = tokens * (2 * h + q + f) + h * (q + 2 * kv) + q * h + f * h * (2 + shape.gated)
    cast = np.where(narrow, c.cast_passes * inputs * 3.0 / memory_rate, 0.0)  # read 16-bit, write 8-bit
    return forward + cast / 2, backward + cast / 2


def _layer(shape: Shape, rates: Rates, c: Constants, s: Strategy) -> Layer:
    tokens = s.micro_batch * shape.seq / s.cp
    memory_rate = rates.memory_bytes_per_s * c.stream_fraction
    forward, backward = _products(shape, rates, c, tokens, s.tp)
    heads = shape.heads / s.tp
    flash = kernels.flash_attention_s(
        tokens,
        shape.seq,
        heads,
        shape.head_dim,
        rates.flop_per_s * c.attention_fraction * c.attention_gain / c.compute,
        c.attention_ramp,
        c.head_dim_power,
    )
    plain = kernels.unfused_attention_s(
        tokens,
        shape.seq,
        heads,
        shape.head_dim,
        rates.flop_per_s * c.gemm_fraction * c.gemm_gain * SHALLOW / c.compute,
        memory_rate,
    )
    attention = np.where(c.unfused > 0, plain, flash)
    attention_backward = np.where(c.unfused > 0, 2.0 * plain, FLASH_BACKWARD * flash)
    split = np.where(s.sequence_parallel > 0, s.tp, 1.0)
    residual = (NORM_PASSES + DROPOUT_PASSES * c.dropout) * shape.hidden / split
    # models with a gate have rotary positions, those with GELU have not (GPT-NeoX aside)
    rotary = 2.0 * shape.head_dim * (shape.heads + shape.kv_heads) * shape.gated / s.tp
    elements = residual + shape.ffn * (2 + shape.gated) / s.tp + rotary
    stream = kernels.stream_s(2.0 * tokens * elements * c.elementwise, memory_rate)

    tp_transfer = 4.0 * _gather_s(2.0 * tokens * shape.hidden, s.tp, np.minimum(s.tp, rates.domain), rates, c)
    kv_bytes = 4.0 * s.micro_batch * shape.seq * shape.kv_heads * shape.head_dim / np.minimum(s.tp, shape.kv_heads)
    cp_transfer = _gather_s(kv_bytes, s.cp, np.clip(rates.domain / s.tp, 1.0, s.cp), rates, c)
    shard_in = np.clip(rates.domain / s.tp, 1.0, s.shard)
    params = linear_params(shape) / s.tp
    gather, scatter = (
        _gather_s(width * params, s.shard, shard_in, rates, c) for width in (c.gather_bytes, c.grad_bytes)
    )
    return Layer(forward, backward, attention, attention_backward, stream, tp_transfer, cp_transfer, gather, scatter)


def _head_s(shape: Shape, rates: Rates, c: Constants, s: Strategy) -> tuple[Any, Any]:
    """Forward and backward time of output head and loss for one micro-batch on the last stage. [s]"""
    tokens = s.micro_batch * shape.seq / s.cp
    memory_rate = rates.memory_bytes_per_s * c.stream_fraction
    v = shape.vocab / s.tp

    gemm = _gemm(rates, c, narrow=False)
    loss = kernels.stream_s(c.logit_bytes * tokens * v, memory_rate)
    forward = gemm(tokens, v, shape.hidden) + loss / 2
    backward = gemm(tokens, shape.hidden, v) + gemm(shape.hidden, v, tokens) + loss / 2
    return forward, backward


def _layer_table(shape: Shape, rates: Rates, c: Constants, s: Strategy) -> Layer:
    """`_layer`, computed once per distinct (tp, cp, micro_batch, shard, sequence_parallel) and looked up."""
    keys = (s.tp, s.cp, s.micro_batch, s.shard, s.sequence_parallel)
    if len(s) < 64 or any(np.ndim(v) for part in (shape, rates, c) for v in part.as_dict().values()):
        return _layer(shape, rates, c, s)
    code = np.zeros(len(s), np.int64)
    for key in keys:
        values, index = np.unique(key, return_inverse=True)
        code = code * len(values) + index
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    table = _layer(shape, rates, c, s[first])
    return Layer(**{k: np.broadcast_to(v, len(first))[inverse] for k, v in table.as_dict().items()})


@dataclass(frozen=True)
class Phases(Columns):
    """One layer and one micro-batch under a strategy: both phases, and what of them is not compute. [s]"""

    forward: Column
    backward: Column  # recomputed forward work included
    tp: Column
    cp: Column
    fsdp: Column
    host: Column  # what launching adds to the device's time
    recompute: Column


@dataclass(frozen=True)
class Stages(Columns):
    """One micro-batch on the stages of a pipeline. [s]"""

    slowest: Column
    total: Column  # summed over stages
    layers: Column  # layers of the slowest stage
    ends_fsdp: Column  # gathers of embedding and head under ZeRO-3


def _usable(rates: Rates, c: Constants) -> tuple[Any, Any]:
    """Return the rates that collectives reach, scale-up and scale-out. [bytes/s]"""
    up = rates.up_bytes_per_s * c.up_fraction / c.communication
    return up, rates.out_bytes_per_s * c.out_fraction / c.communication


def _gather_s(size_bytes: Any, n: Any, inside: Any, rates: Rates, c: Constants) -> Any:
    """Time of one gather or reduce-scatter over `n` ranks, `inside` of them in each domain. [s]"""
    up, out = _usable(rates, c)
    return collectives.gather_s(size_bytes, n, inside, up, out, c.up_hop_s, c.out_hop_s, rates.pair_share)


def _phases(one: Layer, c: Constants, s: Strategy) -> Phases:
    """Combine the device times of a layer into its forward and backward phase."""
    tp_f = one.tp_transfer - c.tp_overlap * np.minimum(one.tp_transfer, one.products)
    tp_b = one.tp_transfer - c.tp_overlap * np.minimum(one.tp_transfer, one.products_backward)
    cp_f = exposed(one.cp_transfer, one.attention, CP_OVERLAP)
    cp_b = exposed(2.0 * one.cp_transfer, one.attention_backward, CP_OVERLAP)
    work_f = one.products + one.attention + one.stream
    work_b = one.products_backward + one.attention_backward + BACKWARD_STREAM * one.stream
    pick = s.selective * (1.0 - s.full)
    per_op = c.selective_products > 0
    work_r = s.full * work_f + pick * (
        np.where(per_op, 0.0, one.attention)
        + c.selective_products * one.products
        + np.where(per_op, PER_OP_STREAM, 0.0) * one.stream
    )
    once = (c.gather_once > 0) & (s.pp > 1)  # gathers and reductions shared out over the micro-batches of a step
    share = np.where(once, 1.0 / s.micro_batches, 1.0)
    reduce = one.scatter * share
    again = np.where(once, 0.0, one.gather)
    fsdp_f = np.where(s.zero >= 3, exposed(one.gather * share, work_f, c.fsdp_overlap), 0.0)
    fsdp_b = np.where(s.zero >= 3, exposed(again + reduce, work_b + work_r, c.fsdp_overlap), 0.0)
    repeats = s.full * (tp_f + cp_f)
    device_f = work_f + tp_f + cp_f + fsdp_f
    device_b = work_b + work_r + tp_b + cp_b + repeats + fsdp_b
    host_f = c.host_layer_s * np.ones_like(device_f)
    host_b = c.host_layer_s * (HOST_BACKWARD + s.full + pick * HOST_SELECTIVE)
    forward, backward = smooth_max(device_f, host_f), smooth_max(device_b, host_b)
    return Phases(
        forward=forward,
        backward=backward,
        tp=tp_f * (1.0 + s.full) + tp_b,
        cp=cp_f + cp_b + s.full * cp_f,
        fsdp=fsdp_f + fsdp_b,
        host=forward + backward - device_f - device_b,
        recompute=work_r,
    )


def _stages(shape: Shape, rates: Rates, c: Constants, s: Strategy, layer_s: Any) -> Stages:
    """Lay layers, embedding, head and loss on the first, middle and last stage."""
    tokens = s.micro_batch * shape.seq / s.cp
    embed_s = kernels.stream_s(6.0 * tokens * shape.hidden, rates.memory_bytes_per_s * c.stream_fraction)
    head_s = sum(_head_s(shape, rates, c, s))
    inside = np.clip(rates.domain / s.tp, 1.0, s.shard)
    gather = _gather_s(2.0 * shape.vocab * shape.hidden / s.tp, s.shard, inside, rates, c)
    single = s.pp == 1
    # half hidden: both ends of the model have little work of their own beside them
    exposed_share = (2.0 + c.grad_bytes / 2.0) * (1.0 - c.fsdp_overlap * 0.5)
    ends_fsdp = np.where(single & (s.zero >= 3), gather * exposed_share, 0.0)
    first = s.first * layer_s + embed_s + c.host_micro_s + np.where(single, head_s, 0.0) + ends_fsdp
    middle = np.where(s.pp > 2, s.middle * layer_s + c.host_micro_s, 0.0)
    last = np.where(single, 0.0, s.last * layer_s + head_s + c.host_micro_s)
    slowest = np.maximum(np.maximum(first, last), middle)
    layers = np.where(first >= slowest, s.first, np.where(last >= slowest, s.last, s.middle))
    return Stages(slowest, first + last + np.maximum(s.pp - 2, 0) * middle, layers, ends_fsdp)


def _messages_s(shape: Shape, rates: Rates, c: Constants, s: Strategy) -> Any:
    """Exposed time of the messages between stages in one step: forth and back for every chunk. [s]"""
    up, out = _usable(rates, c)
    whole = 2.0 * s.micro_batch * shape.seq / s.cp * shape.hidden
    leaves = s.tp * s.cp * s.dp * s.pp > rates.domain  # then some boundary crosses the network, and paces the others
    send = collectives.send_s(whole / s.tp, np.where(leaves, out, up * rates.pair_share), c.out_hop_s)
    # each tensor-parallel rank sends its slice; without sequence parallelism the receivers gather it (narayanan-2021, 4.1)
    collect = np.where(s.sequence_parallel > 0, 0.0, _gather_s(whole, s.tp, np.minimum(s.tp, rates.domain), rates, c))
    count = 2.0 * s.micro_batches * s.vpp + 2.0 * (s.pp - 1)
    return np.where(s.pp == 1, 0.0, count * (send + collect) * (1.0 - c.p2p_overlap))


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
    docs/physics.md explains each term, its source, and where the model fails.
    """
    c, s = constants, strategy
    layer = _phases(_layer_table(shape, rates, c, s), c, s)
    stages = _stages(shape, rates, c, s, layer.forward + layer.backward)
    m = s.micro_batches
    pipe_s = pipelines.pipeline_s(m, stages.slowest, stages.total, s.vpp)
    p2p_s = _messages_s(shape, rates, c, s)

    # gradients and parameters of the fullest stage
    embedding = shape.vocab * shape.hidden
    ends = np.where(s.pp == 1, embedding * (2 - shape.tied), embedding)
    on_ends = np.maximum(s.first, s.last) * linear_params(shape) + ends
    local = np.maximum(on_ends, s.middle * linear_params(shape)) / s.tp
    dp_s = _data_parallel_s(shape, rates, c, s, local, layer)
    owned = local / np.where(s.zero >= 1, s.shard, 1.0)
    optimizer_s = kernels.stream_s(c.optimizer_bytes * owned, rates.memory_bytes_per_s * c.stream_fraction)

    servers = np.maximum(s.tp * s.cp * s.dp * s.pp / rates.domain, 1.0)
    busy_s = pipe_s + p2p_s
    overhead_s = c.step_s + busy_s * c.straggler * np.log2(servers)

    per = m * stages.layers
    tp_s, cp_s, fsdp_s = per * layer.tp, per * layer.cp, per * layer.fsdp + m * stages.ends_fsdp
    host_s = per * layer.host + m * c.host_micro_s
    mem = memory.training_bytes(shape, rates, c, s, linear_params(shape))
    return Estimate(
        step_s=busy_s + dp_s + optimizer_s + overhead_s,
        compute_part_s=m * stages.slowest - tp_s - cp_s - fsdp_s - host_s,
        host_part_s=host_s,
        tp_part_s=tp_s,
        cp_part_s=cp_s,
        fsdp_part_s=fsdp_s,
        bubble_part_s=pipe_s - m * stages.slowest,
        p2p_part_s=p2p_s,
        dp_part_s=dp_s,
        optimizer_part_s=optimizer_s,
        overhead_part_s=overhead_s,
        recompute_s=per * layer.recompute,
        flop=model_flop(shape) * s.dp * s.micro_batch * m,
        **mem,
    )


def _data_parallel_s(shape: Shape, rates: Rates, c: Constants, s: Strategy, local: Any, layer: Phases) -> Any:
    """Exposed time of gradient reduction and parameter gathering once per step. [s]"""
    n = s.dp * s.cp
    shard_in = np.clip(rates.domain / s.tp, 1.0, s.shard)
    replicas = n / s.shard
    replicas_in = np.clip(rates.domain / (s.tp * s.shard), 1.0, replicas)
    layers = np.maximum(s.first, s.last)
    window_b, window_f = layers * layer.backward, layers * layer.forward
    all_reduce = 2.0 * _gather_s(c.grad_bytes * local, n, np.clip(rates.domain / s.tp, 1.0, n), rates, c)
    # sharded: scatter within the group, reduce between groups, gather parameters within the group
    scatter = _gather_s(c.grad_bytes * local, s.shard, shard_in, rates, c)
    between = 2.0 * _gather_s(c.grad_bytes * local / s.shard, replicas, replicas_in, rates, c)
    gather = _gather_s(2.0 * local, s.shard, shard_in, rates, c)
    times = np.where(s.zero == 2, s.micro_batches, 1.0)  # sharded gradients are reduced after every micro-batch
    replicated = exposed(all_reduce, window_b, c.dp_overlap)
    sharded = times * exposed(scatter, window_b, c.dp_overlap)
    sharded = sharded + exposed(between, window_b, c.dp_overlap) + exposed(gather, window_f, c.dp_overlap)
    fsdp = exposed(between, window_b, c.dp_overlap)
    tied = np.where(
        (s.pp > 1) & (shape.tied > 0),
        2.0 * _gather_s(c.grad_bytes * shape.vocab * shape.hidden / s.tp, 2.0, 1.0, rates, c),
        0.0,
    )
    time = np.where(s.zero >= 3, fsdp, np.where(s.zero >= 1, sharded, replicated))
    return time + tied + np.where(s.zero >= 1, c.broadcast_s * s.shard, 0.0) * (n > 1)


def model_flop(shape: Shape) -> Any:
    """Model flop of one sequence, forward and backward, causal attention counted once. [flop]

    6 x parameters of all matrices and the head per token, and 3 x 4 x seq^2 / 2 x heads x head_dim per layer.
    Recompute is not counted, so dividing by peak gives MFU. Source: palm-2022 appendix B, with the causal half.
    """
    seq = shape.seq
    linear = shape.layers * linear_params(shape) + shape.vocab * shape.hidden
    attention = 6.0 * shape.layers * seq * shape.heads * shape.head_dim
    return seq * (6.0 * linear + attention)
