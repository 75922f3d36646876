"""Time of one kernel on one chip: matrix products, attention, and work that only moves bytes."""

from __future__ import annotations

import numpy as np

from cutline.core.numerics import Array, Numbers, smooth_max

TILE_M, TILE_N = 128.0, 256.0
"""Output tile of a large matrix product: the biggest tile of today's libraries on every maker's chips."""


def gemm_s(
    m: Numbers,
    n: Numbers,
    k: Numbers,
    flop_per_s: Numbers,
    memory_bytes_per_s: Numbers,
    units: Numbers = 0.0,
    element_bytes: Numbers = 2.0,
    tail: Numbers = 0.5,
    ramp_k: Numbers = 0.0,
    start_s: Numbers = 0.0,
) -> Array:
    """Time of one dense matrix product C[m, n] = A[m, k] B[k, n].

    Parameters
    ----------
    m, n, k : array_like, (...)
        Dimensions of the product. [1]
    flop_per_s, memory_bytes_per_s : array_like, (...)
        Sustained rates of the chip for long products. [flop/s, bytes/s]
    units : array_like, (...)
        Compute units that share out the output tiles; 0 leaves the wave term out. [1]
    element_bytes : array_like, (...)
        Bytes of one element of A, B and C. [bytes]
    tail : array_like, (...)
        Waves of tiles lost at the end of a kernel, on average. [1]
    ramp_k : array_like, (...)
        Depth whose time is spent on filling and draining each tile. [1]
    start_s : array_like, (...)
        Start of the kernel and its epilogue. [s]

    Returns
    -------
    ndarray, (...)
        Broadcast shape of the arguments. [s]

    Notes
    -----
    Tiles of 128 x 256 run in waves of `units`; the last wave is partly empty, which on average costs `tail`
    waves, so the loss is smooth in m and n: flop x (1 + tail x units x tile / (m n)) x (1 + ramp_k / k).
    A product bound by memory takes its bytes instead (smooth maximum). It does not know split-k, stream-k
    or library heuristics for single shapes. Source: tile and wave quantisation as in nvidia-matmul-guide.

    Examples
    --------
    >>> float(gemm_s(8192, 8192, 8192, 250e12, 1.5e12).round(5))
    0.0044
    """
    m, n, k = (np.asarray(x, float) for x in (m, n, k))
    waste = 1.0 + np.asarray(tail) * units * (TILE_M * TILE_N) / (m * n)
    compute_s = 2.0 * m * n * k * waste * (1.0 + np.asarray(ramp_k) / k) / flop_per_s
    bytes_s = np.asarray(element_bytes) * (m * k + k * n + m * n) / memory_bytes_per_s
    return np.asarray(smooth_max(compute_s, bytes_s, 4.0) + start_s)


def grouped_gemm_s(
    m: Numbers,
    n: Numbers,
    k: Numbers,
    groups: Numbers,
    flop_per_s: Numbers,
    memory_bytes_per_s: Numbers,
    units: Numbers = 0.0,
    element_bytes: Numbers = 2.0,
    tail: Numbers = 0.5,
    ramp_k: Numbers = 0.0,
    start_s: Numbers = 0.0,
    apart: Numbers = 0.0,
) -> Array:
    """Time of `groups` products of m rows each, with a matrix of n x k of their own.

    Parameters
    ----------
    m : array_like, (...)
        Rows of one group, on average. [1]
    n, k, flop_per_s, memory_bytes_per_s, units, element_bytes, tail, ramp_k, start_s : see `gemm_s`.
    groups : array_like, (...)
        Experts on this chip. [1]
    apart : array_like, (...)
        Share of the last wave that every group loses by itself: 0 in one grouped kernel, 1 where groups are products
        one after another; streams side by side lie between. [1]

    Returns
    -------
    ndarray, (...)
        [s]

    Notes
    -----
    As one product of m x groups rows, with two losses: rows of a group fill tiles of 128, of which on average half a
    tile is empty (never less work than one row in a tile), and every group's matrix is read. One group is `gemm_s` but for
    the half tile. Source: megablocks-paper for the tiles, deepgemm-readme for contiguous groups.

    Examples
    --------
    >>> few, many = (float(grouped_gemm_s(m, 2048, 7168, 8, 400e12, 2.5e12)) for m in (64, 4096))
    >>> round(many / few / 64, 2)
    0.36
    """
    m, n, k, groups = (np.asarray(x, float) for x in (m, n, k, groups))
    padded = m + 0.5 * TILE_M * (groups > 1)
    waves = np.asarray(tail) * units * (TILE_M * TILE_N) / np.maximum(padded * n, 1.0)
    waste = 1.0 + waves * (np.asarray(apart) + (1.0 - np.asarray(apart)) / groups)
    compute_s = 2.0 * padded * groups * n * k * waste * (1.0 + np.asarray(ramp_k) / k) / flop_per_s
    bytes_s = np.asarray(element_bytes) * groups * (m * k + k * n + m * n) / memory_bytes_per_s
    return np.asarray(smooth_max(compute_s, bytes_s, 4.0) + start_s)


def scan_flop(tokens: Numbers, heads: Numbers, head_dim: Numbers, state_dim: Numbers, chunk: Numbers = 128.0) -> Array:
    """Forward flop of a chunked linear mixer: state-space duality, gated delta rule, lightning attention. [flop]

    Inside a chunk every pair of tokens meets once (half of chunk^2, keys and values of width state_dim and head_dim);
    between chunks a state of state_dim x head_dim is written and read for every head. Source: mamba2-paper section 6.

    Examples
    --------
    >>> float(scan_flop(1, 64, 64, 128))
    3670016.0
    """
    heads, head_dim, state_dim = (np.asarray(x, float) for x in (heads, head_dim, state_dim))
    inside = np.asarray(chunk) * (state_dim + head_dim)
    return np.asarray(np.asarray(tokens, float) * heads * (inside + 4.0 * state_dim * head_dim))


def stream_s(size_bytes: Numbers, memory_bytes_per_s: Numbers) -> Array:
    """Time of work that reads and writes `size_bytes` of device memory. [s]"""
    return np.asarray(np.asarray(size_bytes, float) / memory_bytes_per_s)


def flash_attention_s(
    tokens: Numbers,
    keys: Numbers,
    heads: Numbers,
    head_dim: Numbers,
    flop_per_s: Numbers,
    ramp_keys: Numbers = 0.0,
    head_dim_power: Numbers = 0.0,
    causal: Numbers = 0.5,
    value_dim: Numbers = 0.0,
    pairs: Numbers = 0.0,
) -> Array:
    """Time of the forward core of a fused (flash) attention.

    Parameters
    ----------
    tokens : array_like, (...)
        Queries on this chip. [1]
    keys : array_like, (...)
        Keys that the last query of a sequence sees. [1]
    heads, head_dim : array_like, (...)
        Query heads on this chip and their width. [1]
    flop_per_s : array_like, (...)
        Sustained rate of the attention kernel at long sequences and head width 128. [flop/s]
    ramp_keys : array_like, (...)
        Sequence length at which half of that rate is reached. [1]
    head_dim_power : array_like, (...)
        Exponent by which narrower heads are slower: rate x (head_dim / 128)^power, never above 1. [1]
    causal : array_like, (...)
        Share of the score matrix that is computed: 0.5 where blocks above the diagonal are skipped. [1]
    value_dim : array_like, (...)
        Width of a value head; 0 is `head_dim`. [1]
    pairs : array_like, (...)
        Keys that a query sees on average; 0 is `causal` x `keys`. [1]

    Returns
    -------
    ndarray, (...)
        Forward time; the backward pass does 2.5 times the flop (five products against two). [s]

    Notes
    -----
    2 x tokens x pairs x heads x (head_dim + value_dim) flop. Source: flashattention-2.
    """
    keys = np.asarray(keys, float)
    wide = np.asarray(head_dim) + np.where(np.asarray(value_dim) > 0, value_dim, head_dim)
    seen = np.where(np.asarray(pairs) > 0, pairs, keys * causal)
    flop = 2.0 * np.asarray(tokens, float) * seen * heads * wide
    rate = np.asarray(flop_per_s) * np.minimum(1.0, np.asarray(head_dim) / 128.0) ** head_dim_power
    return np.asarray(flop / (rate * keys / (keys + ramp_keys)))


def unfused_attention_s(
    tokens: Numbers,
    keys: Numbers,
    heads: Numbers,
    head_dim: Numbers,
    flop_per_s: Numbers,
    memory_bytes_per_s: Numbers,
    passes: Numbers = 6.0,
) -> Array:
    """Time of the forward core of attention that writes the score matrix out. [s]

    Two batched products over the full square (nothing is skipped), and `passes` trips of the fp16 score
    matrix through memory (scale, mask, softmax, dropout: read and write each). `flop_per_s` is the
    sustained rate of batched products of depth `head_dim`. Source: korthikanti-2022 section 4.
    """
    tokens, keys = np.asarray(tokens, float), np.asarray(keys, float)
    flop = 4.0 * tokens * keys * heads * head_dim
    return np.asarray(flop / flop_per_s + 2.0 * passes * tokens * keys * heads / memory_bytes_per_s)
