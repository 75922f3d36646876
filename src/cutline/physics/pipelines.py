"""Pipelines: how stages of unequal length and micro-batches in flight make a step."""

from __future__ import annotations

import numpy as np

from cutline.core.numerics import Array, Numbers


def pipeline_s(micro_batches: Numbers, slowest_s: Numbers, sum_s: Numbers, interleave: Numbers = 1.0) -> Array:
    """Time of one step of a 1F1B pipeline, interleaved or not.

    Parameters
    ----------
    micro_batches : array_like, (...)
        Micro-batches of one step in one pipeline. [1]
    slowest_s, sum_s : array_like, (...)
        Forward and backward time of one micro-batch on the slowest stage, and summed over stages. [s]
    interleave : array_like, (...)
        Model chunks per stage (vpp); fill and drain shrink by it. [1]

    Returns
    -------
    ndarray, (...)
        [s]

    Notes
    -----
    micro_batches x slowest + (sum - slowest) / interleave: the slowest stage is busy throughout, and one
    micro-batch crosses the others once. Exact for equal stages; for unequal ones never less than a replay of the
    schedule, and at most 15 % more where stages differ by a fifth (test_physics replays it). Source: narayanan-2021 section 2.2.

    Examples
    --------
    >>> float(pipeline_s(8, 1.0, 4.0)), float(pipeline_s(8, 1.0, 4.0, 2))
    (11.0, 9.5)
    """
    slowest_s = np.asarray(slowest_s, float)
    return np.asarray(np.asarray(micro_batches) * slowest_s + (np.asarray(sum_s) - slowest_s) / np.asarray(interleave))


def bubble_share(schedule: Numbers, pp: Numbers, forward_s: Numbers, backward_s: Numbers, weight_s: Numbers) -> Array:
    """Fill and drain of a schedule over that of plain 1F1B.

    Parameters
    ----------
    schedule : array_like of int, (...)
        0 1F1B, 1 ZB-H1, 2 ZB-H2, 3 DualPipe.
    pp : array_like, (...)
        Stages. [1]
    forward_s, backward_s, weight_s : array_like, (...)
        One micro-batch on one stage: forward, whole backward, and of it the weight gradients. [s]

    Returns
    -------
    ndarray, (...)
        [1]

    Notes
    -----
    1F1B idles (pp - 1) (F + B). ZB-H1 fills with weight gradients: (pp - 1) (F + B - 2 W) at 1F1B's memory. ZB-H2
    warms up twice as deep and fills all: (pp - 1) max(0, F + B - 3 W). DualPipe feeds both ends: (pp / 2 - 1) (F
    + 2 B - 3 W), with two copies of the parameters. B holds W. Source: zero-bubble-paper, deepseek-v3-report table 2.

    Examples
    --------
    >>> bubble_share([0, 1, 2, 3], 8, 1.0, 2.0, 1.0).round(3).tolist()
    [1.0, 0.333, 0.0, 0.286]
    """
    schedule, pp = np.asarray(schedule), np.asarray(pp, float)
    forward_s, backward_s, weight_s = (np.asarray(x, float) for x in (forward_s, backward_s, weight_s))
    whole = forward_s + backward_s
    h1 = (whole - 2.0 * weight_s) / whole
    h2 = (whole - 3.0 * weight_s) / whole
    dual = (pp / 2.0 - 1.0) / np.maximum(pp - 1.0, 1.0) * (whole + backward_s - 3.0 * weight_s) / whole
    share = np.where(schedule == 1, h1, np.where(schedule == 2, h2, np.where(schedule == 3, dual, 1.0)))
    return np.asarray(np.clip(share, 0.0, 1.0))


def in_flight(
    stage: Numbers, pp: Numbers, micro_batches: Numbers, interleave: Numbers = 1.0, schedule: Numbers = 0.0
) -> Array:
    """Micro-batches whose activations one stage holds at the peak, in units of whole stages.

    1F1B holds pp - stage (stage counted from 0). Interleaving warms up with 2 (pp - stage - 1) + (v - 1) pp chunks and
    runs one more: pp + (pp - 1 - 2 stage) / v stages' worth for v > 1, which on the first stage is
    korthikanti-2022's pp (1 + (pp - 1) / (pp v)). ZB-H1 holds as much as 1F1B, ZB-H2 up to 2 pp - 1; DualPipe
    as much as 1F1B, and a rank has a stage from either end: together pp + 1 (zero-bubble-paper, deepseek-v3-report table
    2). Never more than there are micro-batches.

    Examples
    --------
    >>> in_flight([0, 3], 4, 100).tolist(), in_flight([0, 3], 4, 100, 2).tolist()
    ([4.0, 1.0], [5.5, 2.5])
    """
    stage, pp, v = (np.asarray(x, float) for x in (stage, pp, interleave))
    held = np.where(v > 1, pp + (pp - 1.0 - 2.0 * stage) / v, pp - stage)
    held = np.where(np.asarray(schedule) == 2, 2.0 * (pp - stage) - 1.0, held)
    return np.asarray(np.minimum(held, micro_batches))
