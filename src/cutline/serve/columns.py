"""The columns of the serving model: a served model, how it is laid out, its chips' rates, constants, the load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cutline.core.columns import Columns


@dataclass(frozen=True)
class Body(Columns):
    """What a model reads, keeps and computes for each token. Numbers of elements unless a name says bytes."""

    layers: Any
    hidden: Any
    vocab: Any
    attention_parameters: Any  # of all mixers, linear ones too
    dense_parameters: Any  # feed-forward blocks that every token uses: dense, shared, routers
    expert_parameters: Any  # all routed experts
    head_parameters: Any
    experts: Any  # of one sparse layer; 0 is a dense model
    expert_width: Any  # inner width of one
    topk: Any
    expert_groups: Any  # groups that a token may reach; 0 is no limit
    moe_layers: Any
    special_layers: Any  # latent, linear or sparse attention: more kernels each
    full_layers: Any  # layers that keep every token
    window_layers: Any
    window: Any  # tokens
    cache_width: Any  # elements that one token leaves in one layer
    cache_heads: Any  # heads that tensor parallelism can share out; 1 with latent attention
    state_bytes: Any  # of one sequence: states of linear mixers
    core_width: Any  # multiplications of one query with one cached token, over all heads of a layer
    prefill_width: Any  # the same where keys and values are not compressed
    index_bytes: Any  # that the indexer of one layer reads of one cached token
    index_width: Any  # multiplications of the indexer
    index_topk: Any  # tokens that one query keeps; 0 is all


@dataclass(frozen=True)
class Formats(Columns):
    """Bytes of one element, and the dense peak of the products that it enters. [bytes, flop/s]"""

    attention_bytes: Any
    dense_bytes: Any
    expert_bytes: Any
    head_bytes: Any
    cache_bytes: Any
    attention_flop_per_s: Any
    dense_flop_per_s: Any
    expert_flop_per_s: Any
    wide_flop_per_s: Any  # 16 bits: head, attention
    attention_class: Any = 16.0  # bits of the products, which pick their constants
    dense_class: Any = 16.0
    expert_class: Any = 16.0


@dataclass(frozen=True)
class Layout(Columns):
    """How one replica lies on its chips: chips = tp x dp x pp; experts lie over tp x dp, whole (ep) or cut."""

    tp: Any  # ranks that share attention
    dp: Any  # ranks that each take their own requests (attention data parallel)
    pp: Any
    ep: Any  # ranks over which whole experts lie; 1 cuts every expert over all ranks


@dataclass(frozen=True)
class Rates(Columns):
    """Rates of one chip, one direction."""

    memory_bytes: Any
    memory_bytes_per_s: Any
    up_bytes_per_s: Any
    out_bytes_per_s: Any
    domain: Any  # chips that meet at the scale-up rate
    sustained: Any  # sustained over peak rate of large products, over that of the family of reference


@dataclass(frozen=True)
class Constants(Columns):
    """What no data sheet says. Times in seconds, the others are shares; see docs/serving.md."""

    read_dense: Any
    read_experts: Any
    read_cache: Any
    products_16: Any
    products_8: Any
    products_4: Any
    products_experts: Any  # of grouped products of wide experts, over those of dense ones
    expert_half: Any  # width of an expert's slice at which grouped products reach half of that
    products_attention: Any
    link: Any
    hop_s: Any  # one all-reduce
    out_hop_s: Any  # what it adds where ranks meet over the network
    exchange_s: Any  # one exchange of tokens between experts
    layer_s: Any
    moe_layer_s: Any
    special_layer_s: Any
    step_s: Any
    sequence_s: Any
    first_s: Any
    prefill_layer_s: Any
    own: Any  # of a request's own prefill
    wait: Any  # steps that it waits
    connection_s: Any
    queue: Any  # prompts of the others that stand before one's own, over those in flight
    speculate: Any  # what drafting adds, over a step
    imbalance: Any  # coefficient of variation of the load of one expert
    overlap: Any  # 1: exchanges of experts run beside another micro-batch


@dataclass(frozen=True)
class Load(Columns):
    """Requests in flight, and their lengths. Tokens."""

    concurrency: Any
    input: Any
    output: Any
    cached: Any = 0.0  # share of the prompt found in the prefix cache
    waves: Any = 10.0  # requests over concurrency that a benchmark sends; 0 is a steady state
    drafts: Any = 0.0  # tokens proposed beside each step's own
    accepted: Any = 0.0  # of them, on average
    longest: Any = 0.0  # tokens of the longest output of a flood; 0: all are alike
    lasts_s: Any = 0.0  # a flood is sent again until it has lasted so long


@dataclass(frozen=True)
class Engine(Columns):
    """What an engine keeps of memory, and how many requests it runs at once."""

    memory_share: Any  # of all memory that it fills
    free_share: Any  # of what weights leave that the cache fills
    reserve_bytes: Any
    whole_output: Any  # 1: room for a request's whole output is kept from the start; else for half of it
    slots: Any  # requests at once in one replica
    budget: Any  # tokens of prompts in one step
