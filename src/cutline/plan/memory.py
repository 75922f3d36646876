"""Memory of the fullest chip in training: what each term holds, by schedule and sharding."""

from __future__ import annotations

from typing import Any

import numpy as np

from cutline.physics.pipelines import in_flight
from cutline.plan.columns import Constants, Rates, Shape, Strategy

GIB = 2.0**30
RESERVE_BYTES = 3.0 * GIB
"""Driver context, communication buffers and library workspaces of one chip."""
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
    tokens = s.micro_batch * shape.seq / s.cp
    split = np.where(s.sequence_parallel > 0, s.tp, 1.0)
    element = rates.linear_bytes
    q = shape.heads * shape.head_dim / s.tp
    kv = np.maximum(shape.kv_heads / s.tp, 1.0) * shape.head_dim
    f = shape.ffn / s.tp
    wide = shape.hidden * (4.0 + 2.0 * element + 2.0 * c.dropout) / split
    narrow = (
        2.0 * (2.0 * q + 2.0 * kv) + np.where(element < 2, q * element, 0.0) + f * (2.0 * (1.0 + shape.gated) + element)
    )
    scores = np.where(c.unfused > 0, 5.0 * shape.heads / s.tp * shape.seq, 0.0)
    whole = tokens * (wide + narrow + scores)
    light = tokens * np.where(c.selective_products > 0, wide * 0.6 + narrow * 0.5, wide + narrow)
    partial = np.where(s.selective > 0, light, whole)
    boundary = 2.0 * tokens * shape.hidden / split
    again = np.where(s.full > 0, whole - boundary, whole - partial)
    return s.full * boundary + (1.0 - s.full) * partial, again


def training_bytes(shape: Shape, rates: Rates, c: Constants, s: Strategy, layer_params: Any) -> dict[str, Any]:
    """Memory of the fullest chip of each strategy, by term. [bytes]

    Weights and gradients in 16 bits with 32-bit main gradients where the stack reduces in 32 bits, 12 bytes
    of optimizer state per parameter (32-bit copy and two moments), sharded as ZeRO says; activations in
    flight by schedule; logits in 16 bits with 32-bit loss; a stated reserve. The first, second and last
    stage are compared, the fullest is reported. Source: zero-paper section 3, korthikanti-2022.
    """
    embedding = shape.vocab * shape.hidden + shape.positions * shape.hidden
    saved, again = activation_bytes(shape, rates, c, s)
    tokens = s.micro_batch * shape.seq / s.cp
    single = s.pp == 1
    logits = tokens * shape.vocab / s.tp * np.maximum(c.logit_bytes / 6.0, 4.0)

    whole_stage = np.asarray((c.gather_once > 0) & (s.pp > 1))  # parameters and gradients stay whole during the step
    shards_weights = np.where((s.zero >= 3) & ~whole_stage, s.shard, 1.0)
    shards_gradients = np.where((s.zero >= 2) & ~whole_stage, s.shard, 1.0)

    def stage(layers: Any, index: Any, ends: Any, has_head: Any) -> dict[str, Any]:
        params = (layers * layer_params + ends) / s.tp
        weights = 2.0 * params / shards_weights
        gradients = c.grad_bytes * params / shards_gradients
        optimizer = 12.0 * params / np.where(s.zero >= 1, s.shard, 1.0)
        live = np.where(s.zero >= 3, 2.0 * 2.0 * layer_params / s.tp + c.grad_bytes * layer_params / s.tp, 0.0)
        flight = in_flight(index, s.pp, s.micro_batches, s.vpp)
        activations = layers * saved * flight + again
        loss = np.where(has_head, logits, 0.0)
        total = weights + gradients + optimizer + live + FRAGMENTATION * (activations + loss) + RESERVE_BYTES
        return {
            "memory_bytes": total,
            "weights_bytes": weights,
            "gradients_bytes": gradients,
            "optimizer_bytes": optimizer,
            "activations_bytes": FRAGMENTATION * activations,
            "logits_bytes": FRAGMENTATION * loss,
            "buffers_bytes": live + RESERVE_BYTES,
        }

    first = stage(
        s.first,
        0,
        np.where(single, embedding + shape.vocab * shape.hidden * (1 - shape.tied), embedding),
        single,
    )
    second = stage(s.middle, 1, 0.0, False)
    last = stage(s.last, s.pp - 1, shape.vocab * shape.hidden, True)
    use_second = (s.pp > 2) & (second["memory_bytes"] > first["memory_bytes"])
    best = {k: np.where(use_second, second[k], first[k]) for k in first}
    use_last = (s.pp > 1) & (last["memory_bytes"] > best["memory_bytes"])
    return {k: np.where(use_last, last[k], best[k]) for k in best}
