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


def in_flight(stage: Numbers, pp: Numbers, micro_batches: Numbers, interleave: Numbers = 1.0) -> Array:
    """Micro-batches whose activations one stage holds at the peak, in units of whole stages.

    1F1B holds pp - stage (stage counted from 0). Interleaving warms up with 2 (pp - stage - 1) + (v - 1) pp chunks and
    runs one more: pp + (pp - 1 - 2 stage) / v stages' worth for v > 1, which on the first stage is
    korthikanti-2022's pp (1 + (pp - 1) / (pp v)). Never more than there are micro-batches.

    Examples
    --------
    >>> in_flight([0, 3], 4, 100).tolist(), in_flight([0, 3], 4, 100, 2).tolist()
    ([4.0, 1.0], [5.5, 2.5])
    """
    stage, pp, v = (np.asarray(x, float) for x in (stage, pp, interleave))
    held = np.where(v > 1, pp + (pp - 1.0 - 2.0 * stage) / v, pp - stage)
    return np.asarray(np.minimum(held, micro_batches))
