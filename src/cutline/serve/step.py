"""One step of a server: time and bytes, for columns of candidates. See docs/serving.md for every formula.

A step decodes one token of every running request and beside it computes a piece of the prompts of new ones. Both share the
reading of weights and the launches; so their products are added, and only then weighed against the reads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cutline.core.numerics import smooth_max
from cutline.physics.experts import distinct, slowest_rank
from cutline.serve.columns import Body, Constants, Engine, Formats, Layout, Load, Rates

ORDER = 3.0
"""Order of the smooth maximum of reads and products: two queues that overlap in part (physics of decoding; any of 1.5 to 5 fits alike)."""
WIDE_BYTES = 2.0
"""Activations between layers travel in 16 bits."""
CLASSES = (16.0, 8.0, 4.0)


class Step(NamedTuple):
    """Where the time of a decode step goes. [s]"""

    total_s: Any
    weights_s: Any  # dense and attention weights: reads or products, whichever binds
    experts_s: Any
    cache_s: Any
    links_s: Any
    launch_s: Any
    host_s: Any
    products: Any  # share of the step in which products bind


def touched(experts: Any, topk: Any, tokens: Any) -> Any:
    """Return the share of experts that at least one of `tokens` visits, for balanced routing; 0 without experts.

    Examples
    --------
    >>> float(touched(8, 2, 1)), round(float(touched(256, 8, 64)), 3), float(touched(0, 0, 5))
    (0.25, 0.869, 0.0)
    """
    n = np.maximum(experts, 1.0)
    share = 1.0 - (1.0 - np.minimum(np.asarray(topk) / n, 1.0)) ** np.asarray(tokens, float)
    return np.where(np.asarray(experts) > 0, share, 0.0)


def products_of(bits: Any, c: Constants) -> Any:
    """Return the share of the peak that large products of so many bits reach."""
    return np.select([np.equal(bits, 16.0), np.equal(bits, 8.0)], [c.products_16, c.products_8], c.products_4)


def cache_bytes(body: Body, f: Formats, context: Any) -> Any:
    """Return what one sequence of so many tokens keeps, over all chips that share it once. [bytes]"""
    kept = body.full_layers * context + body.window_layers * np.minimum(context, np.maximum(body.window, 1.0))
    index = body.full_layers * context * body.index_bytes
    return kept * body.cache_width * f.cache_bytes + index + body.state_bytes


def read_of_cache(body: Body, f: Formats, context: Any) -> Any:
    """Return what a step reads (and of states, writes) of one sequence of so many tokens. [bytes]"""
    full = np.where(body.index_topk > 0, np.minimum(context, body.index_topk), context)
    read = body.full_layers * full + body.window_layers * np.minimum(context, np.maximum(body.window, 1.0))
    index = body.full_layers * context * body.index_bytes
    return read * body.cache_width * f.cache_bytes + index + 2.0 * body.state_bytes


def shared_by(body: Body, layout: Layout) -> Any:
    """Return over how many chips the cache of one sequence is shared out; more heads cannot share fewer key and value heads."""
    return np.minimum(layout.tp, body.cache_heads) * layout.pp


def weight_bytes(body: Body, f: Formats, layout: Layout, other: Any = 0.0) -> Any:
    """Return the weights on each chip. Ranks that take their own requests each hold attention, and share the experts. [bytes]"""
    over = layout.tp * layout.pp
    dense = body.attention_parameters * f.attention_bytes + body.dense_parameters * f.dense_bytes + other
    dense = dense + body.head_parameters * f.head_bytes
    return dense / over + body.expert_parameters * f.expert_bytes / (over * layout.dp)


def collective_s(size_bytes: Any, ranks: Any, rates: Rates, c: Constants) -> Any:
    """Return the time of one all-reduce of so many bytes over `ranks` chips, inside a domain or over several. [s]"""
    inside = np.minimum(ranks, rates.domain)
    up = 2.0 * size_bytes * (inside - 1.0) / inside / (c.link * rates.up_bytes_per_s)
    groups = ranks / inside
    out = 2.0 * size_bytes / inside * (groups - 1.0) / groups / (c.link * rates.out_bytes_per_s)
    return np.where(ranks > 1, c.hop_s + up + np.where(groups > 1, c.out_hop_s + out, 0.0), 0.0)


def exchange_s(tokens: Any, body: Body, f: Formats, layout: Layout, rates: Rates, c: Constants) -> Any:
    """Return the time in which the tokens of one chip reach their experts and come back, one layer. [s]

    Tokens go out in the experts' format or eight bits, and come back in 16. A token goes once to each domain that holds one of its
    experts (at most as many as its routing may reach), over the network, and from there once to each rank, over the scale-up link.
    """
    ranks = layout.tp * layout.dp
    k = np.maximum(body.topk, 1.0)
    inside = np.minimum(ranks, rates.domain)
    domains = ranks / inside
    reached = np.minimum(distinct(domains, k), np.where(body.expert_groups > 0, body.expert_groups, np.inf))
    size = tokens * body.hidden * (np.minimum(np.maximum(f.expert_bytes, 1.0), WIDE_BYTES) + WIDE_BYTES)
    near = size * distinct(ranks, k) * (1.0 - 1.0 / inside) / rates.up_bytes_per_s
    far = size * reached * (1.0 - 1.0 / domains) / rates.out_bytes_per_s
    start = 2.0 * c.exchange_s + np.where(domains > 1, c.out_hop_s, 0.0)
    return np.where(ranks > 1, start + (near + far) / c.link, 0.0)


class Links(NamedTuple):
    """Traffic of one pass: of tensor and pipeline ranks, and of experts. [s]"""

    ranks_s: Any
    experts_s: Any


def links_s(tokens: Any, body: Body, f: Formats, layout: Layout, rates: Rates, c: Constants) -> Links:
    """Return the traffic of one pass of so many tokens for each attention rank, over all layers. [s]"""
    size = tokens * body.hidden * WIDE_BYTES
    spread_out = layout.dp > 1  # experts beyond the ranks that share attention
    reduces = np.where(spread_out, body.layers + (body.layers - body.moe_layers), 2.0 * body.layers)
    out = reduces * collective_s(size, layout.tp, rates, c)
    moe = np.where(spread_out, body.moe_layers * exchange_s(tokens / layout.tp, body, f, layout, rates, c), 0.0)
    sends = (layout.pp - 1.0) * (c.hop_s + size / (c.link * rates.up_bytes_per_s))
    return Links(out + np.where(layout.pp > 1, sends, 0.0), moe)


def beside(work_s: Any, traffic_s: Any, overlap: Any) -> Any:
    """Return what traffic adds to work: all of it, or, where two micro-batches take turns, what is longer than the work. [s]"""
    return np.where(np.asarray(overlap) > 0, smooth_max(work_s, traffic_s, ORDER) - work_s, traffic_s)


def linear_s(
    tokens: Any, body: Body, f: Formats, layout: Layout, rates: Rates, c: Constants
) -> tuple[Any, Any, Any, Any]:
    """Return reads and products of dense weights, and of experts, for `tokens` of each attention rank. [s]

    Where whole experts lie on ranks, all wait for the fullest.
    """
    over, all_ranks = layout.tp, layout.tp * layout.dp
    read = (
        body.attention_parameters * f.attention_bytes + body.dense_parameters * f.dense_bytes + body.head_parameters * f.head_bytes
    ) / over / (rates.memory_bytes_per_s * c.read_dense)  # fmt: skip
    s = rates.sustained
    wide = products_of(16.0, c) * s
    products = 2.0 * tokens / over * (
        body.attention_parameters / (f.attention_flop_per_s * products_of(f.attention_class, c) * s)
        + body.dense_parameters / (f.dense_flop_per_s * products_of(f.dense_class, c) * s)
    )  # fmt: skip
    head = 2.0 * tokens / over * body.head_parameters / (f.wide_flop_per_s * wide)
    share = touched(body.experts, body.topk, tokens * layout.dp)
    fullest = np.where(layout.ep > 1, slowest_rank(body.experts, layout.ep, c.imbalance), 1.0)
    read_experts = (
        body.expert_parameters * f.expert_bytes * share / all_ranks / (rates.memory_bytes_per_s * c.read_experts)
    )
    active = body.expert_parameters * body.topk / np.maximum(body.experts, 1.0)
    width = body.expert_width / np.maximum(all_ranks / np.maximum(layout.ep, 1.0), 1.0)
    grouped = c.products_experts * width / (width + c.expert_half)
    rate = f.expert_flop_per_s * products_of(f.expert_class, c) * np.maximum(grouped, 1e-3) * s
    return read, products + head, read_experts, fullest * 2.0 * tokens / over * active / rate


def attention_s(tokens: Any, context: Any, body: Body, f: Formats, layout: Layout, rates: Rates, c: Constants) -> Any:
    """Return reads of the cache and products with it, for one token of each of `tokens` sequences of a rank. [s]"""
    share = np.minimum(layout.tp, body.cache_heads)
    read = tokens * read_of_cache(body, f, context) / share / (rates.memory_bytes_per_s * c.read_cache)
    full = np.where(body.index_topk > 0, np.minimum(context, body.index_topk), context)
    pairs = body.full_layers * full + body.window_layers * np.minimum(context, np.maximum(body.window, 1.0))
    flop = 2.0 * tokens * (pairs * body.core_width + body.full_layers * context * body.index_width)
    return smooth_max(read, flop / layout.tp / (f.wide_flop_per_s * c.products_attention), ORDER)


def decode(
    requests: Any, context: Any, body: Body, f: Formats, layout: Layout, rates: Rates, c: Constants, width: Any = 1.0
) -> Step:
    """Return one decode step of a replica with so many requests, each of `context` tokens. [s]

    With pipeline stages the requests take turns: each stage works on its share, and a token passes all of them.

    Parameters
    ----------
    width : float
        Tokens of each request in a step: 1, and the drafts that it checks.
    """
    each = requests / (layout.dp * layout.pp)
    tokens = each * width
    read, products, read_experts, expert_products = linear_s(tokens, body, f, layout, rates, c)
    dense = smooth_max(read, products, ORDER)
    experts = smooth_max(read_experts, expert_products, ORDER)
    cache = attention_s(each, context, body, f, layout, rates, c)
    traffic = links_s(tokens, body, f, layout, rates, c)
    links = traffic.ranks_s + beside(dense + experts + cache, traffic.experts_s, c.overlap)
    launch = body.layers * c.layer_s + body.moe_layers * c.moe_layer_s + body.special_layers * c.special_layer_s
    device = dense + experts + cache + links + launch
    host = c.step_s + smooth_max(device, c.sequence_s * requests / layout.dp, 2.0) - device
    total = device + host
    return Step(total, dense, experts, cache, links, launch, host, (products + expert_products) / total)


def prefill_token_s(
    length: Any, body: Body, f: Formats, layout: Layout, rates: Rates, c: Constants, cached: Any = 0.0
) -> Any:
    """Return the time that each token of a prompt adds to the steps it is spread over, on a whole replica. [s]

    Products, traffic and attention; weights are read anyway. Attention ranks work on prompts of their own, stages at once.
    """
    _, products, _, experts = linear_s(1.0, body, f, layout, rates, c)
    head = 2.0 * body.head_parameters / layout.tp / (f.wide_flop_per_s * products_of(16.0, c) * rates.sustained)
    many = 4096.0  # traffic of a token is that of a large piece, its starts shared
    traffic = links_s(many, body, f, layout, rates, c)
    context = length * (1.0 + cached) / 2.0
    kept = np.where(body.index_topk > 0, np.minimum(context, body.index_topk), context)
    pairs = body.full_layers * kept + body.window_layers * np.minimum(context, np.maximum(body.window, 1.0))
    flop = 2.0 * (pairs * body.prefill_width + body.full_layers * context * body.index_width)
    attention = flop / layout.tp / (f.wide_flop_per_s * c.products_attention * rates.sustained)
    work = products - head + experts + attention
    hops = traffic.ranks_s / many + beside(work, traffic.experts_s / many, c.overlap)
    return (work + hops) / (layout.dp * layout.pp)


def most_requests(load: Load, body: Body, f: Formats, layout: Layout, rates: Rates, e: Engine, other: Any = 0.0) -> Any:
    """Return how many requests a replica can hold at once by memory; 0 where the weights do not fit."""
    weights = weight_bytes(body, f, layout, other)
    room = np.minimum(
        e.memory_share * rates.memory_bytes - weights - e.reserve_bytes, e.free_share * (rates.memory_bytes - weights - e.reserve_bytes)
    )  # fmt: skip
    context = load.input + load.output * np.where(np.asarray(e.whole_output) > 0, 1.0, 0.5)
    each = cache_bytes(body, f, context) / shared_by(body, layout)
    return np.maximum(room, 0.0) / each * layout.dp
