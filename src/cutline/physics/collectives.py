"""Time of collectives over a two-level network: a fast scale-up domain, and rails between domains.

Rates are one direction per chip. A group of `n` members has `inside` members in each domain; every member
drives its own network port, so a ring that leaves the domain has `inside` ports in parallel.
"""

from __future__ import annotations

import numpy as np

from cutline.core.numerics import Array, Numbers


def gather_s(
    size_bytes: Numbers,
    n: Numbers,
    inside: Numbers,
    up_bytes_per_s: Numbers,
    out_bytes_per_s: Numbers,
    up_hop_s: Numbers = 0.0,
    out_hop_s: Numbers = 0.0,
    pair_share: Numbers = 1.0,
) -> Array:
    """Time of one all-gather, or of one reduce-scatter, of a buffer of `size_bytes`; an all-reduce is both.

    Parameters
    ----------
    size_bytes : array_like, (...)
        Whole buffer: what each member holds after the gather. [bytes]
    n, inside : array_like, (...)
        Members of the group, and how many of them share a domain; n = 1 costs nothing. [1]
    up_bytes_per_s, out_bytes_per_s : array_like, (...)
        Usable rate per chip inside the domain, and of a chip's network port. [bytes/s]
    up_hop_s, out_hop_s : array_like, (...)
        Start-up cost of one step inside and between domains. [s]
    pair_share : array_like, (...)
        Share of the scale-up rate that leads to one other chip: 1 behind a switch, 1/(chips - 1) in a full
        mesh, where a group uses only the links between its members. [1]

    Returns
    -------
    ndarray, (...)
        [s]

    Notes
    -----
    Rings: every link, also the one between domains, carries (n - 1) / n of the buffer; a group with several
    members in a domain runs as many rings side by side as it has ports there. The levels are pipelined, so
    the slower one counts. Start-up grows with the logarithm of the members (trees and recursive doubling
    serve small messages). No contention between groups. Source: nccl-tests-performance for the volumes;
    measured bus bandwidth over four nodes is 0.88 to 0.96 of the ports (stas-network, azure-bench-h100).

    Examples
    --------
    >>> gather_s(8e9, [1, 8, 16], [1, 8, 8], 450e9, 50e9).round(4).tolist()
    [0.0, 0.0156, 0.0188]
    """
    size = np.asarray(size_bytes, float)
    n = np.asarray(n, float)
    inside = np.minimum(np.asarray(inside, float), n)
    domains = n / inside
    reach = np.minimum(1.0, np.maximum(inside - 1.0, 1.0) * pair_share)
    up_s = (n - domains) / n * size / (np.asarray(up_bytes_per_s) * reach)
    crossing = np.where(domains > 1.0, (n - 1.0) / n, 0.0)
    out_s = crossing * size / (inside * out_bytes_per_s)
    steps_s = np.log2(inside) * up_hop_s + np.log2(domains) * out_hop_s
    return np.asarray(np.maximum(up_s, out_s) + steps_s)


def send_s(size_bytes: Numbers, bytes_per_s: Numbers, hop_s: Numbers = 0.0) -> Array:
    """Time of one point-to-point message. [s]"""
    return np.asarray(np.asarray(size_bytes, float) / bytes_per_s + hop_s)


def alltoall_s(
    up_bytes: Numbers,
    out_bytes: Numbers,
    up_bytes_per_s: Numbers,
    out_bytes_per_s: Numbers,
    start_s: Numbers = 0.0,
) -> Array:
    """Time of an exchange in which every chip sends `up_bytes` inside its domain and `out_bytes` out of it.

    Parameters
    ----------
    up_bytes, out_bytes : array_like, (...)
        What one chip sends over scale-up links, and over its network port. [bytes]
    up_bytes_per_s, out_bytes_per_s : array_like, (...)
        Usable rates of one chip, one direction. [bytes/s]
    start_s : array_like, (...)
        Start of the exchange; charged only where something is sent. [s]

    Returns
    -------
    ndarray, (...)
        [s]

    Notes
    -----
    Both levels run at once (copies for another domain travel to its chip of the same number and are handed on
    there), so the slower one counts. Source: deepep-readme for the two-level exchange.

    Examples
    --------
    >>> float(alltoall_s(1e9, 1e8, 200e9, 40e9))
    0.005
    """
    up_bytes, out_bytes = np.asarray(up_bytes, float), np.asarray(out_bytes, float)
    sent = (up_bytes > 0) | (out_bytes > 0)
    return np.asarray(np.maximum(up_bytes / up_bytes_per_s, out_bytes / out_bytes_per_s) + np.where(sent, start_s, 0.0))
