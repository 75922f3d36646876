"""Memory of the fullest chip in training: what each term holds, by schedule and sharding."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cutline.physics import experts
from cutline.physics.pipelines import in_flight
from cutline.plan.columns import Constants, Rates, Shape, Strategy
from cutline.plan.layers import Mix, expert_shard, layer_params, mixes, value_dim

GIB = 2.0**30
RESERVE_BYTES = 3.0 * GIB
"""Driver context, communication buffers and library workspaces of one chip."""
GRAPH_BYTES = 2.0 * GIB
"""Static buffers of captured launch graphs (guess)."""
LOGIT_SHARE = 0.3
"""Bytes that the loss holds per logit over the bytes that it moves: unfused, 16-bit logits, a 32-bit copy, log-probabilities
and a 16-bit gradient are 12 bytes held and about 40 moved."""
FRAGMENTATION = 1.06
"""Allocator share on top of live activations and gradients."""


def activation_bytes(shape: Shape, rates: Rates, c: Constants, s: Strategy) -> tuple[Any, Any]:
    """Bytes saved for backward by one layer and one micro-batch: as the strategy recomputes, and all of it.

    Returns
    -------
    (saved, again) : arrays, (...)
        `saved` under the strategy's recompute, mean over layers; `again` what one layer recomputes and holds
        while it runs backward. [bytes]

    Notes
    -----
    Residual width (split only under sequence parallelism): inputs of both norms in 16 bits, inputs of the two
    first matrices in the format of the linear layers, dropout masks of one byte. Split by tp: q, k, v and
    attention output in 16 bits, feed-forward inner values in 16 bits and the input of the last matrix in its
    format; a narrow format keeps a copy of the attention output. Unfused attention adds five bytes per score
    (softmax output, mask, dropout output). In 16 bits with dropout, GELU and no gate this is korthikanti-2022
    eq. 1 to 4: 34 s b h + 5 a s^2 b.
    """
    usual = mixes(shape)[0]
    tokens = s.micro_batch * shape.seq / s.cp
    split = np.where(s.sequence_parallel > 0, s.tp, 1.0)
    element = rates.linear_bytes
    block = tokens * shape.hidden * (2.0 + element + c.dropout) / split  # norm input, matrix input, mask
    # a ring or a gather keeps its own tokens' keys and values; all-to-all keeps all tokens of fewer heads: as many
    mixers = _mixer_bytes(shape, rates, c, s, usual, tokens)
    feeds, inner = _feed_bytes(shape, rates, s, usual, tokens)
    wide = usual.blocks * block
    whole = wide + mixers[0] + feeds
    per_op = np.where(c.selective_products > 0, wide * 0.6 + (mixers[0] - mixers[1] + feeds) * 0.5, whole - mixers[1])
    partial = np.where(s.selective > 0, per_op, whole)
    # light: norm outputs, activation inputs and expanded latent heads are made again from what stays
    partial = partial - np.asarray(s.light) * (
        usual.blocks * tokens * shape.hidden * element / split + inner + mixers[2]
    )
    kept_feed = feeds - np.asarray(s.light) * inner
    partial = partial - np.asarray(s.feed) * np.maximum(kept_feed, 0.0)
    partial = np.maximum(partial, 0.0)
    boundary = 2.0 * tokens * shape.hidden / split
    again = np.where(s.full > 0, whole - boundary, whole - partial)
    return s.full * boundary + (1.0 - s.full) * partial, again


def _mixer_bytes(shape: Shape, rates: Rates, c: Constants, s: Strategy, mix: Mix, tokens: Any) -> tuple[Any, Any, Any]:
    """Bytes of the attention or linear mixer of one layer: all; attention scores; expanded latent heads."""
    element = rates.linear_bytes
    q = shape.heads * shape.head_dim / s.tp
    v = shape.heads * value_dim(shape) / s.tp
    latent = np.asarray(shape.kv_rank) > 0
    kv = np.where(latent, q + v, 2.0 * np.maximum(shape.kv_heads / s.tp, 1.0) * shape.head_dim)
    out = np.where(latent, v, q)
    ranks = np.where(latent, 2.0 * (shape.q_rank + shape.kv_rank + shape.rope_dim), 0.0)
    cores = 2.0 * (q + out + kv) + np.where(element < 2, out * element, 0.0) + ranks
    scores = np.where(c.unfused > 0, 5.0 * shape.heads / s.tp * shape.seq, 0.0)
    cross = np.where(np.asarray(shape.cross_tokens) > 0, 2.0 * 2.0 * q, 0.0)
    inner = shape.linear_heads * shape.linear_head_dim / s.tp
    scan = 2.0 * (3.0 * inner + 2.0 * np.maximum(shape.linear_key_heads / s.tp, 1.0) * shape.state_dim * (inner > 0))
    expanded = np.where(latent, 2.0 * (q + kv), 0.0)
    linear = mix.linear * scan if np.any(np.asarray(mix.linear) > 0) else 0.0
    return (
        tokens * (mix.attention * (cores + scores + cross) + linear),
        tokens * mix.attention * scores,
        tokens * mix.attention * expanded,
    )


def _feed_bytes(shape: Shape, rates: Rates, s: Strategy, mix: Mix, tokens: Any) -> tuple[Any, Any]:
    """Bytes of the feed-forward block of one layer: all; and inputs of the last matrices, made by activations.

    A routed expert keeps its inputs and inner values for every token copy of the slowest rank; its weight scales the inner
    values, so the output is not kept.
    """
    element = rates.linear_bytes
    f = (mix.dense * shape.ffn + mix.sparse * shape.shared_ffn) / s.tp
    dense = tokens * f * (2.0 * (1.0 + shape.gated) + element)
    if not np.any(np.asarray(mix.sparse) > 0):
        return dense, tokens * f * element
    load = experts.slowest_rank(shape.experts, s.ep, rates.imbalance, rates.capacity)
    copies = mix.sparse * tokens / s.tp * s.etp * shape.topk * load
    width = np.where(np.asarray(shape.latent_dim) > 0, shape.latent_dim, shape.hidden)
    f = shape.expert_ffn / s.etp
    routed = copies * (width * element + f * (2.0 * (1.0 + shape.gated) + element))
    return dense + routed, tokens * (
        mix.dense * shape.ffn + mix.sparse * shape.shared_ffn
    ) / s.tp * element + copies * f * element


def floor_bytes(shape: Shape, rates: Rates, c: Constants, core: Strategy, most_zero: Any, offload: bool) -> Any:
    """Bound from below for the fullest chip of every strategy that shares out chips and batch as `core` does. [bytes]

    One stage holds at least the mean of the layers, and the second one no fewer micro-batches than pp - 1; everything is
    recomputed, or whatever saves most; states are sharded over all ranks, or on the host.
    """
    zero = np.zeros(len(core))
    s = core.replace(
        selective=zero, light=zero, feed=zero, full=zero + 1.0, zero=zero + most_zero, shard=core.dp * core.cp
    )
    all_modules = s.replace(selective=zero + 1.0, light=zero + 1.0, feed=zero + 1.0, full=zero)
    saved = np.minimum(activation_bytes(shape, rates, c, s)[0], activation_bytes(shape, rates, c, all_modules)[0])
    deep = shape.layers / s.pp
    usual = layer_params(shape, mixes(shape)[0])
    split = np.maximum(deep - shape.lead, 0.0) * usual.split / s.tp
    routed = np.maximum(deep - shape.lead, 0.0) * usual.experts / (s.ep * s.etp)
    whole = np.asarray((c.gather_once > 0) & (s.pp > 1))
    per = np.where((most_zero >= 3) & ~whole, 0.0, 2.0) + np.where((most_zero >= 2) & ~whole, 0.0, c.grad_bytes)
    states = 0.0 if offload else c.state_bytes
    shard = np.where(most_zero >= 1, s.shard, 1.0), np.where(most_zero >= 1, expert_shard(s), 1.0)
    owned = split / shard[0] + routed / shard[1]
    held = per * (split + routed)
    flight = np.minimum(np.maximum(np.where(s.pp > 2, s.pp - 1.0, s.pp), 1.0), s.micro_batches)
    return held + states * owned + FRAGMENTATION * deep * saved * flight + RESERVE_BYTES


class Rank(NamedTuple):
    """What every rank of a strategy holds, before layers are laid on stages."""

    saved: Any  # of one layer and one micro-batch [bytes]
    again: Any  # recomputed and held while one layer runs backward [bytes]
    loss: Any  # logits with their loss, and those of prediction layers [bytes]
    table: Any  # a second gradient of the embedding or head [bytes]
    usual: Any  # parameters of a usual layer, and of a leading dense one [1]
    lead: Any
    graph: Any  # buffers of captured launches [bytes]


def rank_of(shape: Shape, rates: Rates, c: Constants, s: Strategy) -> Rank:
    """Return what the ranks of each strategy hold per layer and micro-batch."""
    saved, again = activation_bytes(shape, rates, c, s)
    tokens = s.micro_batch * shape.seq / s.cp
    logits = tokens * shape.vocab / s.tp * np.maximum(LOGIT_SHARE * c.logit_bytes, 4.0)
    # where gradients are summed in 32 bits, the table's own gradient is made in 16 bits first
    table = np.where(c.grad_bytes > 2.0, 2.0 * shape.vocab * shape.hidden / s.tp, 0.0)
    usual, lead = (layer_params(shape, mix) for mix in mixes(shape))
    graph = np.where(np.asarray(s.graphs) > 0, GRAPH_BYTES, 0.0)
    return Rank(saved, again, logits * (1.0 + shape.mtp), table, usual, lead, graph)


def stage_bytes(
    rank: Rank, c: Constants, s: Strategy, layers: Any, front: Any, ends: Any, active: Any, has_head: Any, is_end: Any
) -> dict[str, Any]:
    """Memory by term of a rank with so many layers, `front` of them leading dense ones. [bytes]

    `ends` are parameters of embedding and head, `active` the layers times micro-batches whose activations are in flight.
    """
    whole_stage = np.asarray((c.gather_once > 0) & (s.pp > 1))  # parameters and gradients stay whole during the step
    shard, expert_shards = s.shard, expert_shard(s)
    dual = np.asarray(s.schedule) == 3  # a rank holds a stage from either end of the pipeline, on two ranks each

    def held(split: Any, routed: Any, cut: Any) -> Any:
        """Parameters on one chip, sharded where `cut`. [1]"""
        return split / np.where(cut, shard, 1.0) + routed / np.where(cut, expert_shards, 1.0)

    split = ((layers - front) * rank.usual.split + front * rank.lead.split + ends) / s.tp
    routed = (layers - front) * rank.usual.experts / (s.ep * s.etp)
    live_params = rank.usual.split / s.tp + rank.usual.experts / (s.ep * s.etp)
    weights = 2.0 * held(split, routed, (s.zero >= 3) & ~whole_stage)
    gradients = c.grad_bytes * held(split, routed, (s.zero >= 2) & ~whole_stage)
    states = c.state_bytes * held(split, routed, s.zero >= 1) / np.where(dual & (s.zero >= 1), 2.0, 1.0)
    live = np.where(s.zero >= 3, (2.0 * 2.0 + c.grad_bytes) * live_params, 0.0) + np.where(is_end, rank.table, 0.0)
    activations = active * rank.saved + rank.again
    loss = np.where(has_head, rank.loss, 0.0)
    optimizer = np.where(np.asarray(s.offload) > 0, 0.0, states)
    total = weights + gradients + optimizer + live + FRAGMENTATION * (activations + loss) + RESERVE_BYTES + rank.graph
    return {
        "memory_bytes": total,
        "weights_bytes": weights,
        "gradients_bytes": gradients,
        "optimizer_bytes": optimizer,
        "activations_bytes": FRAGMENTATION * activations,
        "logits_bytes": FRAGMENTATION * loss,
        "buffers_bytes": live + RESERVE_BYTES + rank.graph,
    }


def training_bytes(shape: Shape, rates: Rates, c: Constants, s: Strategy) -> dict[str, Any]:
    """Memory of the fullest chip of each strategy, by term. [bytes]

    Weights and gradients in 16 bits with 32-bit main gradients where the stack reduces in 32 bits, 12 bytes
    of optimizer state per parameter (32-bit copy and two moments), sharded as ZeRO says, or on the host; activations in
    flight by schedule; logits in 16 bits with 32-bit loss; a stated reserve. The first, second and last
    stage are compared, the fullest is reported. Source: zero-paper section 3, korthikanti-2022.
    """
    embedding = shape.vocab * shape.hidden + shape.positions * shape.hidden
    head = shape.vocab * shape.hidden
    single = s.pp == 1
    dual = np.asarray(s.schedule) == 3  # a rank holds a stage from either end of the pipeline, on two ranks each
    rank = rank_of(shape, rates, c, s)

    def flights(index: Any) -> Any:
        """Micro-batches that a stage has in flight; with exchanges beside another micro-batch a chunk more. [1]"""
        beside = np.where(dual, 0.0, s.ep_hidden / s.vpp)  # DualPipe's two directions are the two micro-batches
        return np.minimum(in_flight(index, s.pp, s.micro_batches, s.vpp, s.schedule) + beside, s.micro_batches)

    front, final = np.minimum(shape.lead, s.first), s.last + shape.mtp
    start, second_last, end = flights(0.0), flights(np.maximum(s.pp - 2.0, 0.0)), flights(s.pp - 1.0)
    ends = np.where(single, embedding + head * (1 - shape.tied), embedding) + np.where(dual, head, 0.0)
    first = stage_bytes(
        rank, c, s, s.first + np.where(dual, final, 0.0), front, ends, s.first * start + np.where(dual, final * end, 0.0),
        single | dual, True,
    )  # fmt: skip
    second = stage_bytes(
        rank, c, s, np.where(dual, 2.0, 1.0) * s.middle, 0.0, 0.0,
        s.middle * (flights(1.0) + np.where(dual, second_last, 0.0)), False, False,
    )  # fmt: skip
    last = stage_bytes(rank, c, s, final, 0.0, head, final * end, ~dual, True)
    best = first
    for other, there in ((second, s.pp > 2), (last, s.pp > 1)):
        fuller = there & (other["memory_bytes"] > best["memory_bytes"])
        best = {k: np.where(fuller, other[k], best[k]) for k in best}
    return best
