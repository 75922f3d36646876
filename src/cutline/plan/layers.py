"""One layer of a model on one chip: parameters, flop, and the device time of each of its parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from cutline.core.columns import Columns
from cutline.physics import collectives, experts, kernels
from cutline.plan.columns import Column, Constants, Rates, Shape, Strategy

NORM_PASSES = 5.0
"""Reads and writes of the residual stream per block and forward pass, one kernel per operation: a norm (read,
write) and a residual sum (two reads, one write)."""

DROPOUT_PASSES = 2.5
"""A dropout (read, write) and its one-byte mask, per block."""

BACKWARD_STREAM = 1.5
"""Backward elementwise work moves half as much again: it reads the saved input beside the gradient."""

SHALLOW = 0.55
"""Rate of the batched products of unfused attention over that of long products: their depth is one head's width."""

FLASH_BACKWARD = 2.5
"""Five products against two (flashattention-2)."""

LATENT_PASSES = 6.0
"""Reads and writes of query, key and value heads that latent attention adds: rotary parts are cut off, turned and
joined again."""


class Mix(NamedTuple):
    """How much of each block one layer holds. Ordinary layers hold one of the first two and one of the last two."""

    attention: Any
    linear: Any
    dense: Any
    sparse: Any

    @property
    def blocks(self) -> Any:
        """Blocks with a norm and a residual sum."""
        return self.attention + self.linear + self.dense + self.sparse


def mixes(shape: Shape) -> tuple[Mix, Mix]:
    """Return the mix of a usual layer (the mean over all but the leading dense ones), and of a leading dense one.

    Examples
    --------
    >>> from cutline.facts.models import model
    >>> from cutline.plan.shapes import shape_of
    >>> usual, lead = mixes(shape_of(model("deepseek-v3"), 4096))
    >>> [float(x) for x in usual], [float(x) for x in lead]
    ([1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0])
    """
    s = shape
    attention = np.where(np.asarray(s.attention_layers) < 0, s.layers - s.linear_layers, s.attention_layers)
    dense = np.where(np.asarray(s.dense_layers) < 0, s.layers - s.moe_layers, s.dense_layers)
    left = np.maximum(s.layers - s.lead, 1e-9)
    usual = Mix((attention - s.lead) / left, s.linear_layers / left, (dense - s.lead) / left, s.moe_layers / left)
    one, none = np.ones_like(left), np.zeros_like(left)
    return usual, Mix(one, none, one, none)


class Block(NamedTuple):
    """Matrices of one layer by what splits them. [1]"""

    split: Any  # parameters that tensor parallelism splits
    experts: Any  # parameters of all routed experts of the layer


def value_dim(s: Shape) -> Any:
    """Return the width of one value head. [1]"""
    return np.where(np.asarray(s.value_dim) > 0, s.value_dim, s.head_dim)


def attention_params(s: Shape) -> Any:
    """Parameters of the matrices of one attention block: grouped or latent, indexer and cross-attention included."""
    grouped = s.hidden * s.head_dim * (2 * s.heads + 2 * s.kv_heads)
    query = np.where(
        np.asarray(s.q_rank) > 0, s.q_rank * (s.hidden + s.heads * s.head_dim), s.hidden * s.heads * s.head_dim
    )
    latent = (
        query + s.hidden * (s.kv_rank + s.rope_dim) + s.kv_rank * s.heads * (s.nope_dim + value_dim(s))
        + s.heads * value_dim(s) * s.hidden
    )  # fmt: skip
    index = np.where(
        np.asarray(s.index_topk) > 0,
        np.maximum(s.q_rank, s.hidden * (np.asarray(s.q_rank) == 0)) * s.index_heads * s.index_dim
        + s.hidden * (s.index_dim + s.index_heads),
        0.0,
    )
    cross = np.where(np.asarray(s.cross_tokens) > 0, grouped, 0.0)
    return np.where(np.asarray(s.kv_rank) > 0, latent, grouped) + index + cross


def layer_params(s: Shape, mix: Mix) -> Block:
    """Parameters of the matrices of a layer. [1]"""
    gate = 2 + s.gated
    inner = s.linear_heads * s.linear_head_dim
    keys = 2 * s.linear_key_heads * s.state_dim
    linear = s.hidden * (2 * inner + keys + s.linear_heads) + inner * s.hidden
    width = np.where(np.asarray(s.latent_dim) > 0, s.latent_dim, s.hidden)
    lent = np.where(np.asarray(s.latent_dim) > 0, 2.0 * s.hidden * s.latent_dim, 0.0)
    always = s.hidden * s.experts + s.hidden * s.shared_ffn * gate + lent
    split = (
        mix.attention * attention_params(s) + mix.linear * linear + mix.dense * s.hidden * s.ffn * gate
        + mix.sparse * always + s.heavy
    )  # fmt: skip
    return Block(split, mix.sparse * s.experts * width * s.expert_ffn * gate)


def active_params(s: Shape, mix: Mix) -> Any:
    """Parameters of the matrices of a layer that one token passes. [1]"""
    block = layer_params(s, mix)
    return (
        block.split
        - s.heavy
        + block.experts * np.where(np.asarray(s.experts) > 0, s.topk / np.maximum(s.experts, 1.0), 0.0)
    )


def pairs(s: Shape) -> Any:
    """Return the keys that a query sees on average over the attention layers: all, windows, or the chosen ones. [1]"""
    seq = np.asarray(s.seq, float)
    whole = np.where(np.asarray(s.causal) > 0, seq / 2.0, seq)
    window = np.minimum(np.where(np.asarray(s.window) > 0, s.window, seq), seq)
    near = np.where(np.asarray(s.causal) > 0, window - window * window / (2.0 * seq), window)
    chosen = np.minimum(np.where(np.asarray(s.index_topk) > 0, s.index_topk, seq), seq)
    kept = np.where(np.asarray(s.causal) > 0, chosen - chosen * chosen / (2.0 * seq), chosen)
    layers = np.maximum(
        np.where(np.asarray(s.attention_layers) < 0, s.layers - s.linear_layers, s.attention_layers), 1e-9
    )
    share = np.minimum(s.window_layers / layers, 1.0)
    return share * near + (1.0 - share) * np.minimum(whole, kept)


def layer_flop(s: Shape, mix: Mix) -> Any:
    """Forward model flop of one layer and one token, causal attention counted once. [flop]"""
    core = 2.0 * pairs(s) * s.heads * (s.head_dim + value_dim(s)) + 4.0 * s.cross_tokens * s.heads * s.head_dim
    index = np.where(np.asarray(s.index_topk) > 0, 2.0 * s.index_heads * s.index_dim * s.seq / 2.0, 0.0)
    scan = kernels.scan_flop(1.0, s.linear_heads, s.linear_head_dim, s.state_dim)
    return 2.0 * active_params(s, mix) + mix.attention * (core + index) + mix.linear * scan


@dataclass(frozen=True)
class Layer(Columns):
    """Device times of one layer and one micro-batch on one chip, before phases are combined. [s]"""

    products: Column
    products_backward: Column
    weight_gradients: Column  # of the backward products
    attention: Column
    attention_backward: Column
    stream: Column
    light: Column  # what recomputing norms, activations and latent up-projections repeats
    feed: Column  # what recomputing the feed-forward blocks repeats, exchanges left out
    tp_transfer: Column  # one direction of the pass (forward = backward)
    cp_transfer: Column
    ep_transfer: Column  # forward: dispatch and combine
    ep_transfer_backward: Column
    gather: Column  # one parameter gather under ZeRO-3
    scatter: Column  # one reduce-scatter of gradients under ZeRO-3


class Usable(NamedTuple):
    """What a chip sustains: rates of products in both formats, memory, links."""

    narrow_flop_per_s: Any
    wide_flop_per_s: Any
    memory_bytes_per_s: Any
    up_bytes_per_s: Any
    out_bytes_per_s: Any


def activation_bytes(rates: Rates) -> Any:
    """Return the width of activations between products: 16 bits, or 32 where products run in 32. [bytes]"""
    return np.maximum(rates.linear_bytes, 2.0)


def usable(rates: Rates, c: Constants) -> Usable:
    """Return the sustained rates of a chip under the constants of its family and stack."""
    share = c.gemm_fraction * c.gemm_gain / c.compute
    return Usable(
        rates.linear_flop_per_s * c.linear_gain * share,
        rates.flop_per_s * share,
        rates.memory_bytes_per_s * c.stream_fraction,
        rates.up_bytes_per_s * c.up_fraction / c.communication,
        rates.out_bytes_per_s * c.out_fraction / c.communication,
    )


def gather_s(size_bytes: Any, n: Any, inside: Any, rates: Rates, c: Constants) -> Any:
    """Time of one gather or reduce-scatter over `n` ranks, `inside` of them in each domain. [s]"""
    up = rates.up_bytes_per_s * c.up_fraction / c.communication
    out = rates.out_bytes_per_s * c.out_fraction / c.communication
    return collectives.gather_s(size_bytes, n, inside, up, out, c.up_hop_s, c.out_hop_s, rates.pair_share)


def gemm(rates: Rates, c: Constants, narrow: bool) -> Callable[[Any, Any, Any], Any]:
    """Return the time of a product m x n x k on this chip: in the linear layers' format, or in 16 bits. [s]"""
    u = usable(rates, c)
    rate = u.narrow_flop_per_s if narrow else u.wide_flop_per_s
    width = rates.linear_bytes if narrow else 2.0

    def one(m: Any, n: Any, k: Any) -> Any:
        """Time of one product. [s]"""
        return kernels.gemm_s(
            m, n, k, rate, u.memory_bytes_per_s, rates.units, width, c.gemm_tail, c.gemm_ramp_k, c.gemm_start_s
        )  # fmt: skip

    return one


class Work(NamedTuple):
    """Forward, backward, and of the backward the weight gradients; and bytes that a cast to a narrow format moves."""

    forward: Any
    backward: Any
    weights: Any

    def plus(self, other: Work) -> Work:
        """Return both together."""
        return Work(self.forward + other.forward, self.backward + other.backward, self.weights + other.weights)

    def times(self, factor: Any) -> Work:
        """Return so many of it."""
        return Work(self.forward * factor, self.backward * factor, self.weights * factor)


def matrices(rates: Rates, c: Constants, m: Any, sizes: list[tuple[Any, Any]], groups: Any = None) -> Work:
    """Time of the products of m rows with matrices of (n, k), forward and backward, in the format of linear layers.

    `groups` experts share out the rows in grouped products. Where a recipe keeps some layers, or the weight
    gradients, in 16 bits, both formats count by their shares.
    """
    share = np.asarray(rates.narrow_share)
    weights = share * rates.narrow_weight_gradient
    narrow = _matrices(rates, c, m, sizes, groups, True)
    if np.all(weights >= 1.0):
        return narrow
    wide = _matrices(rates, c, m, sizes, groups, False)
    data = share * (narrow.backward - narrow.weights) + (1.0 - share) * (wide.backward - wide.weights)
    gradients = weights * narrow.weights + (1.0 - weights) * wide.weights
    return Work(share * narrow.forward + (1.0 - share) * wide.forward, data + gradients, gradients)


def _matrices(rates: Rates, c: Constants, m: Any, sizes: list[tuple[Any, Any]], groups: Any, narrow: bool) -> Work:
    """Time of the products in one format; matrices with n = 0 are not there."""
    u = usable(rates, c)
    one = gemm(rates, c, narrow)
    rate = (u.narrow_flop_per_s if narrow else u.wide_flop_per_s) * c.grouped_gain
    width = rates.linear_bytes if narrow else 2.0
    forward = backward = weights = inputs = 0.0
    for n, k in sizes:
        there = np.asarray(n) > 0
        n, k = np.maximum(n, 1.0), np.maximum(k, 1.0)
        if groups is None:
            parts = one(m, n, k), one(m, k, n), one(k, n, m)
            inputs = inputs + there * (m * k + n * k)
        else:
            rest = (groups, rate, u.memory_bytes_per_s, rates.units, width, c.gemm_tail, c.gemm_ramp_k, c.gemm_start_s)
            depth = m + 0.5 * kernels.TILE_M  # rows of a group are padded, and here they are what is summed over
            parts = (
                kernels.grouped_gemm_s(m, n, k, *rest, c.expert_apart),
                kernels.grouped_gemm_s(m, k, n, *rest, c.expert_apart),
                kernels.grouped_gemm_s(k - 0.5 * kernels.TILE_M * (groups > 1), n, depth, *rest, c.expert_apart),
            )
            inputs = inputs + there * groups * (m * k + n * k)
        forward = forward + there * parts[0]
        backward = backward + there * (parts[1] + parts[2])
        weights = weights + there * parts[2]
    # a cast reads 16 bits and writes 8
    cast = np.where(np.asarray(rates.linear_bytes) < 2, c.cast_passes * inputs * 3.0 / u.memory_bytes_per_s, 0.0)
    cast = cast * narrow
    return Work(forward + cast / 2, backward + cast / 2, weights)


def attention_sizes(s: Shape, tp: Any) -> list[tuple[Any, Any]]:
    """Matrices (n, k) of one attention block as tensor parallelism cuts them; unused ones have n = 0."""
    q = s.heads * s.head_dim / tp
    kv = np.maximum(s.kv_heads / tp, 1.0) * s.head_dim
    h = s.hidden
    if not np.any(np.asarray(s.kv_rank) > 0):
        return [(q + 2 * kv, h), (h, q)]
    latent = np.asarray(s.kv_rank) > 0
    squeezed = latent & (np.asarray(s.q_rank) > 0)
    down = np.where(latent, np.where(squeezed, s.q_rank, q) + s.kv_rank + s.rope_dim, q + 2 * kv)
    return [
        (down, h),
        (np.where(squeezed, q, 0.0), np.maximum(s.q_rank, 1.0)),
        (np.where(latent, s.heads / tp * (s.nope_dim + value_dim(s)), 0.0), np.maximum(s.kv_rank, 1.0)),
        (h, np.where(latent, s.heads * value_dim(s) / tp, q)),
    ]


class Experts(NamedTuple):
    """The routed experts of one sparse layer on the slowest rank. [s]"""

    work: Work
    stream: Any  # activations, sorting and weighting of token copies
    exchange: Any  # forward: dispatch and combine
    exchange_backward: Any
    copies: Any  # token copies of the slowest rank


def routed(s: Shape, rates: Rates, c: Constants, t: Strategy) -> Experts:
    """Time of the routed experts of one layer: grouped products, sorting, exchange, on the slowest rank.

    A rank holds experts / ep experts, each split over etp ranks. Its share of the micro-batch's tokens (split over
    tp as sequence parallelism leaves them) goes to topk experts each; with etp > 1 every rank of that group
    sees the tokens of all. The slowest rank has `experts.slowest_rank` times the mean load.
    """
    tokens = t.micro_batch * s.seq / t.cp / t.tp * t.etp
    wide: Any = np.where(np.asarray(s.latent_dim) > 0, s.latent_dim, s.hidden)
    load = experts.slowest_rank(s.experts, t.ep, rates.imbalance, rates.capacity)
    local = np.maximum(s.experts / t.ep, 1.0)
    copies = tokens * s.topk * load
    f = s.expert_ffn / t.etp
    work = matrices(rates, c, np.maximum(copies / local, 1e-9), [(f * (1 + s.gated), wide), (wide, f)], local)
    u = usable(rates, c)
    moved = copies * (c.permute_passes * wide + f * (2 + s.gated + c.eager_passes * s.eager))
    moved = moved + tokens / t.etp * c.router_passes * s.hidden
    stream = kernels.stream_s(2.0 * moved, u.memory_bytes_per_s)
    forth, back = (_exchange_s(s, rates, c, t, tokens / t.etp * load, wide * b) for b in (rates.dispatch_bytes, 2.0))
    return Experts(work, stream, forth + back, 2.0 * back, copies)


def _exchange_s(s: Shape, rates: Rates, c: Constants, t: Strategy, tokens: Any, token_bytes: Any) -> Any:
    """Time of one exchange of token copies over the expert-parallel ranks. [s]"""
    inside = np.minimum(t.ep, np.maximum(rates.domain / t.etp, 1.0))
    domains = t.ep / inside
    once = (
        np.asarray(c.deduplicate) > 0
    )  # then copies reach a rank over the network once per domain, and are handed on there
    reached = np.where(np.asarray(s.expert_groups) > 0, np.minimum(s.expert_groups, domains), domains)
    to_domains = np.where(once, experts.distinct(reached, s.topk), s.topk)
    up = np.where(once, experts.distinct(t.ep, s.topk) * (1.0 - 1.0 / inside), s.topk * (inside - 1.0) / t.ep)
    reach = np.minimum(1.0, np.maximum(inside - 1.0, 1.0) * rates.pair_share)
    return collectives.alltoall_s(
        tokens * token_bytes * up, tokens * token_bytes * to_domains * (1.0 - 1.0 / domains),
        rates.up_bytes_per_s * reach * c.alltoall_up_fraction / c.communication,
        rates.out_bytes_per_s * c.alltoall_out_fraction / c.communication, c.alltoall_start_s,
    )  # fmt: skip


def layer(s: Shape, rates: Rates, c: Constants, t: Strategy, mix: Mix) -> Layer:
    """Device time of every part of one layer and one micro-batch on one chip. [s]"""
    tokens = t.micro_batch * s.seq / t.cp
    u = usable(rates, c)
    own = matrices(rates, c, tokens, attention_sizes(s, t.tp)).times(mix.attention)
    feed = Work(0.0, 0.0, 0.0)
    if np.any(np.asarray(mix.dense) > 0):
        f = np.maximum(s.ffn, 1.0) / t.tp
        feed = feed.plus(matrices(rates, c, tokens, [(f * (1 + s.gated), s.hidden), (s.hidden, f)]).times(mix.dense))
    core, core_backward = _attention(s, rates, c, t, tokens, mix)
    sparse = np.any(np.asarray(mix.sparse) > 0)
    extra, expert_stream, exchange, exchange_back = (0.0, 0.0, 0.0, 0.0)
    if sparse:
        e = routed(s, rates, c, t)
        feed = feed.plus(e.work.plus(_always(s, rates, c, t, tokens)).times(mix.sparse))
        expert_stream = e.stream * mix.sparse
        exchange, exchange_back = e.exchange * mix.sparse, e.exchange_backward * mix.sparse
        extra = mix.sparse * s.shared_ffn
    if np.any(np.asarray(mix.linear) > 0):
        inner = s.linear_heads * s.linear_head_dim / t.tp
        keys = 2 * np.maximum(s.linear_key_heads / t.tp, 1.0) * s.state_dim
        sizes = [(2 * inner + keys + s.linear_heads / t.tp, s.hidden), (s.hidden, inner)]
        there = [(n * (mix.linear > 0), np.maximum(k, 1.0)) for n, k in sizes]
        own = own.plus(matrices(rates, c, tokens, there).times(mix.linear))
    split = np.where(t.sequence_parallel > 0, t.tp, 1.0)
    residual = mix.blocks * (NORM_PASSES + DROPOUT_PASSES * c.dropout) * s.hidden / split
    activation = (mix.dense * s.ffn + extra) * (2 + s.gated) / t.tp
    # models with a gate have rotary positions, those with GELU have not (GPT-NeoX aside)
    heads = np.where(np.asarray(s.kv_rank) > 0, LATENT_PASSES / 2.0 * (2 * s.heads), (s.heads + s.kv_heads) * s.gated)
    rotary = mix.attention * 2.0 * s.head_dim * heads / t.tp
    scanned = mix.linear * c.scan_passes * s.linear_heads * s.linear_head_dim / t.tp
    stream = kernels.stream_s(
        activation_bytes(rates) * tokens * (residual + activation + rotary + scanned) * c.elementwise,
        u.memory_bytes_per_s,
    )
    again = np.where(
        np.asarray(s.kv_rank) > 0, own.forward * 0.4, 0.0
    )  # up-projections are two fifths of latent attention
    light = (
        kernels.stream_s(tokens * (residual + 2.0 * activation) * c.elementwise, u.memory_bytes_per_s)
        + expert_stream / 3.0
    )
    return Layer(
        own.forward + feed.forward, own.backward + feed.backward, own.weights + feed.weights, core, core_backward,
        stream + expert_stream, light + again, feed.forward + expert_stream,
        *_transfers(s, rates, c, t, tokens, mix), exchange, exchange_back, *_sharded(s, rates, c, t, mix),
    )  # fmt: skip


def _always(s: Shape, rates: Rates, c: Constants, t: Strategy, tokens: Any) -> Work:
    """What every token of a sparse layer passes beside its routed experts: router, shared experts, latent width."""
    f = np.asarray(s.shared_ffn) / t.tp
    latent = np.asarray(s.latent_dim, float)
    always = matrices(
        rates, c, tokens,
        [(f * (1 + s.gated), s.hidden), (s.hidden * (f > 0), np.maximum(f, 1.0)), (latent, s.hidden),
         (s.hidden * (latent > 0), np.maximum(latent, 1.0))],
    )  # fmt: skip
    one = gemm(rates, c, narrow=False)
    n = np.maximum(s.experts, 1.0)
    mine = np.maximum(tokens / t.tp, 1.0)
    weights = one(s.hidden, n, mine)
    return always.plus(Work(one(mine, n, s.hidden), one(mine, s.hidden, n) + weights, weights))


def _attention(s: Shape, rates: Rates, c: Constants, t: Strategy, tokens: Any, mix: Mix) -> tuple[Any, Any]:
    """Forward and backward time of attention cores and scans of one layer. [s]"""
    heads = s.heads / t.tp
    fused = rates.flop_per_s * c.attention_fraction * c.attention_gain / c.compute
    u = usable(rates, c)
    flash = kernels.flash_attention_s(
        tokens,
        s.seq,
        heads,
        s.head_dim,
        fused,
        c.attention_ramp,
        c.head_dim_power,
        value_dim=s.value_dim,
        pairs=pairs(s),
    )
    plain = kernels.unfused_attention_s(
        tokens, s.seq, heads, s.head_dim, u.wide_flop_per_s * SHALLOW, u.memory_bytes_per_s
    )
    forward = np.where(c.unfused > 0, plain, flash) * mix.attention
    backward = np.where(c.unfused > 0, 2.0 * plain, FLASH_BACKWARD * flash) * mix.attention
    if np.any(np.asarray(s.index_topk) > 0):
        # every query scores every key before it
        flop = np.where(
            np.asarray(s.index_topk) > 0, 2.0 * tokens * s.seq / 2.0 * s.index_heads * s.index_dim / t.tp, 0.0
        )
        forward, backward = forward + mix.attention * flop / fused, backward + 2.0 * mix.attention * flop / fused
    if np.any(np.asarray(s.cross_tokens) > 0):
        text = np.maximum(s.cross_tokens, 1.0)
        cross = kernels.flash_attention_s(
            tokens, text, heads, s.head_dim, fused, c.attention_ramp, c.head_dim_power, 1.0
        )
        cross = np.where(np.asarray(s.cross_tokens) > 0, cross, 0.0) * mix.attention
        there = np.asarray(s.cross_tokens) > 0
        own = matrices(rates, c, tokens, [(s.heads * s.head_dim / t.tp * there, s.hidden)] * 2).times(mix.attention)
        forward, backward = forward + cross + own.forward, backward + FLASH_BACKWARD * cross + own.backward
    if np.any(np.asarray(mix.linear) > 0):
        flop = kernels.scan_flop(tokens, s.linear_heads / t.tp, s.linear_head_dim, s.state_dim) * mix.linear
        scan_s = flop / (rates.flop_per_s * c.scan_fraction / c.compute)
        forward, backward = forward + scan_s, backward + FLASH_BACKWARD * scan_s
    return forward, backward


def _transfers(s: Shape, rates: Rates, c: Constants, t: Strategy, tokens: Any, mix: Mix) -> tuple[Any, Any]:
    """Tensor- and context-parallel traffic of one layer and pass. [s]

    Two gathers and scatters a block that tensor parallelism splits; routed experts are reached by exchange, but their
    shared expert and a split expert are not. A ring or a gather moves keys and values of all tokens,
    all-to-all the queries, keys, values and outputs of its own.
    """
    inside = np.minimum(t.tp, rates.domain)
    element = activation_bytes(rates)
    crossed = mix.attention + mix.linear + mix.dense + mix.sparse * (np.asarray(s.shared_ffn) > 0)
    tp = 2.0 * crossed * gather_s(element * tokens * s.hidden, t.tp, inside, rates, c)
    etp = (
        2.0
        * mix.sparse
        * gather_s(2.0 * tokens / t.tp * t.etp * s.hidden, t.etp, np.minimum(t.etp, rates.domain), rates, c)
    )
    latent = np.asarray(s.kv_rank) > 0
    grouped = 2.0 * s.kv_heads * s.head_dim / np.minimum(t.tp, s.kv_heads)
    wide = np.where(latent, s.heads * (s.head_dim + value_dim(s)) / t.tp, grouped)
    near = np.clip(rates.domain / t.tp, 1.0, t.cp)
    ring = gather_s(2.0 * t.micro_batch * s.seq * wide, t.cp, near, rates, c)
    moved = 2.0 * tokens * (wide + s.heads * (s.head_dim + value_dim(s)) / t.tp) * (1.0 - 1.0 / t.cp)
    u = usable(rates, c)
    exchange = collectives.alltoall_s(
        moved * (near - 1.0) / np.maximum(t.cp - 1.0, 1.0), moved * (t.cp - near) / np.maximum(t.cp - 1.0, 1.0),
        u.up_bytes_per_s, u.out_bytes_per_s, c.out_hop_s,
    )  # fmt: skip
    return tp + etp, mix.attention * np.where(np.asarray(t.cp_kind) == 2, exchange, ring)


def _sharded(s: Shape, rates: Rates, c: Constants, t: Strategy, mix: Mix) -> tuple[Any, Any]:
    """Time to gather a layer's sharded parameters once, and to scatter its gradients once. [s]"""
    block = layer_params(s, mix)
    near = np.clip(rates.domain / t.tp, 1.0, t.shard)
    times = [gather_s(width * block.split / t.tp, t.shard, near, rates, c) for width in (c.gather_bytes, c.grad_bytes)]
    if np.any(np.asarray(block.experts) > 0):
        held, ranks = block.experts / (t.ep * t.etp), expert_shard(t)
        close = np.clip(rates.domain / (t.ep * t.etp), 1.0, ranks)
        for i, width in enumerate((c.gather_bytes, c.grad_bytes)):
            times[i] = times[i] + (held > 0) * gather_s(width * held, ranks, close, rates, c)
    return times[0], times[1]


def expert_replicas(t: Strategy) -> Any:
    """Ranks that hold the same experts: tp x cp x dp / (ep x etp). [1]"""
    return np.maximum(t.tp * t.cp * t.dp / (t.ep * t.etp), 1.0)


def expert_shard(t: Strategy) -> Any:
    """Ranks over which the states of one expert are sharded: its replicas inside the sharding group. [1]"""
    return np.clip(t.shard * t.tp / (t.ep * t.etp), 1.0, expert_replicas(t))
