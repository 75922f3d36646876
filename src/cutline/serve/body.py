"""From a catalogue model to the columns of the serving model."""

from __future__ import annotations

from cutline.facts.models import Model, parameters
from cutline.serve.columns import Body

STATE_BYTES = 4.0
"""States of linear mixers are kept in 32 bits (vLLM's default for Mamba and gated delta nets; see docs/serving.md)."""
INDEX_BYTES = 132.0 / 128.0
"""Bytes of one element of the indexer's keys: eight bits, and a 32-bit scale for each 128 (DeepSeek-V3.2's code)."""


def body(m: Model, draft: bool = False) -> Body:
    """Return what a model reads, keeps and computes for each token.

    Parameters
    ----------
    draft : bool
        Count one multi-token-prediction layer, if the model has any, as weights that are kept.

    Notes
    -----
    Keys and values of latent attention are one vector for all heads; decoding multiplies with it directly (absorbed), prefill
    with the keys and values it unfolds to. Layers with a window keep no more than the window. Expert weights are those of
    routed experts; routers, shared experts and projections to a latent width are dense.
    """
    p = parameters(m)
    sparse = m.sparse_layers
    one_expert = (2 + m.gated) * (m.latent_dim or m.hidden) * m.expert_ffn
    experts = float(sparse * m.experts * one_expert)
    attention = float(m.softmax_layers * p.attention_layer + m.linear_layers * m.linear_parameters)
    head = float(m.vocab * m.hidden)
    embedding = float((m.vocab + m.positions) * m.hidden)
    dense = float(p.total) - embedding - attention - experts - (0.0 if m.tied else head)
    extra = float(m.mtp_layers > 0 and draft)
    full = float(m.softmax_layers - m.window_layers)
    special = m.linear_layers + (m.softmax_layers if m.latent or m.index_topk else 0)
    return Body(
        layers=float(m.layers) + extra, hidden=float(m.hidden), vocab=float(m.vocab),
        attention_parameters=attention, dense_parameters=max(dense, 0.0), expert_parameters=experts, head_parameters=head,
        experts=float(m.experts), expert_width=float(m.expert_ffn), topk=float(m.experts_per_token), expert_groups=float(m.expert_groups), moe_layers=float(sparse),
        special_layers=float(special), full_layers=full, window_layers=float(m.window_layers), window=float(m.window),
        cache_width=float(m.kv_rank + m.rope_dim if m.latent else 2 * m.kv_heads * m.head_dim),
        cache_heads=1.0 if m.latent else float(m.kv_heads),
        state_bytes=STATE_BYTES * m.linear_layers * m.linear_heads * m.linear_head_dim * m.state_dim,
        core_width=float(m.heads * ((2 * m.kv_rank + m.rope_dim) if m.latent else 2 * m.head_dim)),
        prefill_width=float(m.heads * ((m.head_dim + m.value_dim) if m.latent else 2 * m.head_dim)),
        index_bytes=INDEX_BYTES * m.index_dim if m.index_topk else 0.0,
        index_width=float(m.index_heads * m.index_dim) if m.index_topk else 0.0, index_topk=float(m.index_topk),
    )  # fmt: skip


def other_bytes(m: Model, element_bytes: float = 2.0) -> float:
    """Return the bytes of what is kept and not read at each step: the input embedding. [bytes]"""
    return element_bytes * (0.0 if m.tied else (m.vocab + m.positions) * m.hidden)
