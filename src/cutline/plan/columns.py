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


@dataclass(frozen=True)
class Strategy(Columns):
    """How a training step is split. tp * cp * pp * dp = chips used."""

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


@dataclass(frozen=True)
class Estimate(Columns):
    """What a strategy costs, one row each. The parts named `*_part_s` sum to `step_s`."""

    step_s: Column
    compute_part_s: Column  # products, attention, elementwise work, loss on the slowest stage
    host_part_s: Column  # what launching kernels adds
    tp_part_s: Column
    cp_part_s: Column
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
