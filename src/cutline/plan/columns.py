"""The columns that the training estimate takes and returns. Each field is a scalar or one value per row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cutline.core.columns import Columns

Column = Any
"""A number that applies to all rows, or an array with one value per row."""


@dataclass(frozen=True)
class Shape(Columns):
    """What a decoder does to one sequence."""

    layers: Column
    hidden: Column
    heads: Column
    kv_heads: Column
    head_dim: Column
    ffn: Column
    gated: Column  # 1 if the feed-forward block has a gate
    vocab: Column
    tied: Column  # 1 if the head shares the embedding
    positions: Column  # rows of a learned position table
    seq: Column  # tokens of one sequence
    # what a layer holds, where not every layer is one attention block and one dense feed-forward block
    attention_layers: Column = -1.0  # layers with softmax attention; -1 is all but the linear ones
    dense_layers: Column = -1.0  # layers with a dense feed-forward block; -1 is all that have no experts
    lead: Column = 0.0  # of them, dense layers in front of the sparse ones
    moe_layers: Column = 0.0
    experts: Column = 0.0  # routed experts of a sparse layer
    topk: Column = 0.0  # experts that a token visits
    expert_ffn: Column = 0.0
    shared_ffn: Column = 0.0  # all shared experts together
    eager: Column = 0.0  # 1 if the experts' activation has no fused kernel
    latent_dim: Column = 0.0  # width in which routed experts work; 0 is `hidden`
    expert_groups: Column = 0.0  # a token's experts lie in at most so many groups (node-limited routing); 0 is no limit
    q_rank: Column = 0.0  # latent attention: rank of the query, 0 if it is not compressed
    kv_rank: Column = 0.0  # latent attention: rank of key and value; 0 is grouped-query attention
    rope_dim: Column = 0.0
    nope_dim: Column = 0.0
    value_dim: Column = 0.0  # width of a value head; 0 is `head_dim`
    index_heads: Column = 0.0  # sparse attention: heads of the indexer
    index_dim: Column = 0.0
    index_topk: Column = 0.0  # tokens that a query keeps; 0 keeps all
    window: Column = 0.0  # tokens that a windowed layer sees
    window_layers: Column = 0.0
    linear_layers: Column = 0.0  # layers whose mixer is linear attention or a state space
    linear_heads: Column = 0.0
    linear_head_dim: Column = 0.0
    state_dim: Column = 0.0
    linear_key_heads: Column = 0.0  # heads (or groups) of keys and queries of the linear mixer
    mtp: Column = 0.0  # multi-token-prediction layers behind the last one
    # diffusion transformers
    causal: Column = 1.0  # 1 if a query sees only what came before
    cross_tokens: Column = 0.0  # text tokens that every layer attends to by cross-attention
    encoder_flop: Column = 0.0  # forward work of frozen encoders, per sequence [flop]
    heavy: Column = 0.0  # parameters of a layer that take memory but next to no time (modulation, twin weights)


@dataclass(frozen=True)
class Rates(Columns):
    """What the data sheet and the network of one chip promise, in base units."""

    flop_per_s: Column  # dense peak, 16-bit
    linear_flop_per_s: Column  # dense peak in the number format of the linear layers
    linear_bytes: Column  # bytes of one element in that format
    memory_bytes: Column
    memory_bytes_per_s: Column
    up_bytes_per_s: Column  # one direction, per chip, inside the scale-up domain
    out_bytes_per_s: Column  # one direction, per chip, network
    domain: Column  # chips of one scale-up domain
    pair_share: Column  # share of the scale-up rate between two chips: 1 if switched, 1/(domain-1) in a mesh
    units: Column  # compute units; 0 if not known
    narrow_share: Column = 1.0  # share of the layers whose products run in the narrow format
    narrow_weight_gradient: Column = 1.0  # 1 if weight gradients are computed in the narrow format too
    dispatch_bytes: Column = 2.0  # bytes of one element sent to an expert
    host_bytes_per_s: Column = 16e9  # one direction, between a chip and its host
    imbalance: Column = 0.0  # coefficient of variation of the load of one expert; 0 is forced balance
    capacity: Column = 0.0  # capacity factor of an expert; 0 drops nothing
    age_years: Column = 1.5  # of the part when its software was released
    # in a mixed fleet, where parties train replicas beside each other and sum their gradients
    parties: Column = 1.0
    between_bytes_per_s: Column = 1e30  # one direction, of one chip's port towards the other parties
    between_hop_s: Column = 0.0  # start of one step between parties
    other_servers: Column = 0.0  # domains of the other parties


@dataclass(frozen=True)
class Constants(Columns):
    """What data sheets do not say: constants of a chip family and of a software stack.

    Each has a source or was fitted by tools/fit.py; docs/physics.md says which rows identify it.
    """

    gemm_fraction: Column  # share of the dense peak of a long 16-bit matrix product in a benchmark
    gemm_gain: Column  # share of that benchmark rate that a training step sustains
    power_exponent: Column  # how the sustained share follows the power per peak rate within a family
    ceiling: Column  # share of the peak that no amount of power exceeds
    linear_gain: Column  # further share for the linear layers' own number format
    attention_fraction: Column  # share of the 16-bit peak of a long fused attention in a benchmark
    attention_gain: Column  # share of that benchmark rate that a training step sees
    stream_fraction: Column  # share of the peak memory rate
    up_fraction: Column  # share of the scale-up rate that a collective uses
    out_fraction: Column  # share of the network rate that a collective uses
    up_hop_s: Column
    out_hop_s: Column
    gemm_start_s: Column
    gemm_ramp_k: Column
    gemm_tail: Column
    attention_ramp: Column  # sequence length at which fused attention reaches half its rate
    head_dim_power: Column
    straggler: Column  # step time grows by this share per doubling of the servers
    dropout: Column  # 1 if the layers have dropout
    gather_once: Column  # 1 if sharded parameters are gathered once per step when there are pipeline stages
    gather_bytes: Column  # bytes per parameter of a gather under ZeRO-3
    unfused: Column  # 1 if the stack writes the attention scores out
    compute: Column  # multiplier on device compute time
    maturity: Column  # device time falls with the age of the part to this power, from 1 at 18 months
    communication: Column  # multiplier on transfer time
    elementwise: Column  # bytes moved between products, relative to one kernel per operation
    host_layer_s: Column  # host time to launch one layer forward; twice that backward
    host_micro_s: Column  # host time of one micro-batch outside the layers
    logit_bytes: Column  # memory traffic per logit in loss and its gradient
    optimizer_bytes: Column  # memory traffic per parameter of the optimizer
    grad_bytes: Column  # bytes per parameter of the gradient that is reduced
    cast_passes: Column  # extra passes over the inputs of linear layers in a narrow format
    tp_overlap: Column  # share of tensor-parallel traffic hidden behind products
    dp_overlap: Column  # share of a window that hides gradient and parameter traffic
    fsdp_overlap: Column  # the same for per-layer gathers of sharded parameters
    p2p_overlap: Column  # share of stage-to-stage traffic hidden
    selective_products: Column  # share of forward products that selective recompute repeats
    broadcast_s: Column  # per rank of the sharding group, where shards are sent one owner at a time
    step_s: Column  # per step: data, logging, gradient norm, synchronisation
    grouped_gain: Column  # rate of grouped products over that of one long product
    alltoall_up_fraction: Column  # share of the scale-up rate that an expert exchange uses
    alltoall_out_fraction: Column  # share of the network rate that an expert exchange uses
    alltoall_start_s: Column  # start of one expert exchange
    ep_overlap: Column  # share of a window that hides expert exchanges, where a schedule overlaps them
    deduplicate: Column  # 1 if a token is sent once to a rank or node however many of its experts sit there
    permute_passes: Column  # reads and writes of every token copy in sorting, unsorting and weighting
    router_passes: (
        Column  # reads and writes of the residual stream around a sparse block: router, casts, sum of outputs
    )
    eager_passes: Column  # further reads and writes per inner value of an activation without a fused kernel
    expert_apart: Column  # share of the last wave that every expert's product loses by itself
    host_expert_s: Column  # host time to launch one expert's products forward
    host_moe_s: Column  # host time to launch one expert block forward; twice that backward
    graph_host: Column  # share of host time that is left where launches are captured in graphs
    scan_passes: Column  # reads and writes of a linear mixer's inner stream: convolution, gate, norm, chunk states
    scan_fraction: Column  # share of the 16-bit peak of a linear mixer's scan
    gather_again: Column  # 1 if sharded parameters are gathered again for the backward pass
    state_bytes: Column  # optimizer state per parameter: masters and moments
    host_adam_s: Column  # seconds per parameter of an optimizer step on the host


@dataclass(frozen=True)
class Strategy(Columns):
    """How a training step is split. tp * cp * pp * dp = chips used; ep * etp divides tp * cp * dp."""

    tp: Column
    cp: Column
    pp: Column
    vpp: Column  # model chunks per stage; 1 is plain 1F1B
    dp: Column
    micro_batch: Column  # sequences
    micro_batches: Column  # per pipeline and step
    zero: Column  # 0 none, 1 optimizer, 2 and gradients, 3 and parameters (FSDP)
    shard: Column  # ranks over which ZeRO shards; dp * cp, or less (HSDP)
    sequence_parallel: Column  # 1 or 0
    selective: Column  # 1 if selective recompute
    full: Column  # share of layers recomputed in full, 0 to 1
    first: Column  # layers on the first stage
    middle: Column  # layers on every stage between
    last: Column  # layers on the last stage
    ep: Column = 1.0  # ranks over which the experts of a layer lie
    etp: Column = 1.0  # tensor-parallel ranks of one expert
    cp_kind: Column = 0.0  # context parallelism: 0 ring, 1 all-gather, 2 all-to-all (Ulysses)
    schedule: Column = 0.0  # of the pipeline: 0 1F1B (interleaved if vpp > 1), 1 ZB-H1, 2 ZB-H2, 3 DualPipe
    ep_hidden: Column = 0.0  # 1 if expert exchanges run beside another micro-batch's compute
    light: Column = 0.0  # 1 if norms, activations and latent up-projections are recomputed
    feed: Column = 0.0  # 1 if whole feed-forward blocks are recomputed
    offload: Column = 0.0  # 1 if optimizer states live on the host
    graphs: Column = 0.0  # 1 if kernel launches are captured in graphs


@dataclass(frozen=True)
class Estimate(Columns):
    """What a strategy costs, one row each. The parts named `*_part_s` sum to `step_s`."""

    step_s: Column
    compute_part_s: Column  # products, attention, elementwise work, loss on the slowest stage
    host_part_s: Column  # what launching kernels adds
    tp_part_s: Column
    cp_part_s: Column
    ep_part_s: Column  # expert exchanges that nothing hides
    fsdp_part_s: Column
    bubble_part_s: Column
    p2p_part_s: Column
    dp_part_s: Column
    optimizer_part_s: Column
    overhead_part_s: Column  # step constant and stragglers
    recompute_s: Column  # of which repeated forward work (inside compute, tp and host)
    memory_bytes: Column  # of the fullest chip, reserve included
    weights_bytes: Column
    gradients_bytes: Column
    optimizer_bytes: Column
    activations_bytes: Column
    logits_bytes: Column
    buffers_bytes: Column
    flop: Column  # model flop of one step over all chips (no recompute, causal attention halved)
