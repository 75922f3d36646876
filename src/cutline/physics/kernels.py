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

    Returns
    -------
    ndarray, (...)
        Forward time; the backward pass does 2.5 times the flop (five products against two). [s]

    Notes
    -----
    4 x tokens x keys x heads x head_dim flop, times `causal`. Source: flashattention-2.
    """
    keys = np.asarray(keys, float)
    flop = 4.0 * np.asarray(tokens, float) * keys * heads * head_dim * causal
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
