"""Power draw, goodput, and how a chip's power limit caps its sustained rate."""

from __future__ import annotations

import numpy as np

from cutline.core.numerics import Array, Numbers


def power_capped_fraction(
    reference: Numbers,
    j_per_flop: Numbers,
    reference_j_per_flop: Numbers,
    exponent: Numbers,
    ceiling: Numbers,
) -> Array:
    """Sustained share of the peak rate for a chip with another power budget than its family's reference part.

    Parameters
    ----------
    reference : array_like, (...)
        Share that the family's reference part sustains. [1]
    j_per_flop, reference_j_per_flop : array_like, (...)
        Power limit over dense peak rate of this part and of the reference part. [J/flop]
    exponent : array_like, (...)
        Clock follows power to this exponent (power grows faster than the square of the clock). [1]
    ceiling : array_like, (...)
        Share that no kernel exceeds however much power there is. [1]

    Returns
    -------
    ndarray, (...)
        reference x (ratio of budgets)^exponent, bent smoothly below `ceiling`. [1]

    Notes
    -----
    Equals `reference` at the reference budget. A cut-down part with its full power budget (H20) runs near the
    ceiling; a part with more peak and the same power runs further below its peak.

    Examples
    --------
    >>> round(float(power_capped_fraction(0.7, 1.0, 1.0, 0.4, 0.95)), 9)
    0.7
    """
    ceiling = np.asarray(ceiling, float)
    x = np.asarray(reference, float) / ceiling
    x = x / (1.0 - x**8) ** 0.125  # undo the bend at the reference, so that it returns itself
    x = x * (np.asarray(j_per_flop) / reference_j_per_flop) ** exponent
    return np.asarray(ceiling * x / (1.0 + x**8) ** 0.125)


def draw_w(limit_w: Numbers, idle_w: Numbers, busy: Numbers, busy_share: Numbers) -> Array:
    """Mean power of one chip: idle, plus the rest of `busy_share` x limit for the busy share of the time. [W]

    Examples
    --------
    >>> float(draw_w(400.0, 60.0, 0.0, 0.9)), float(draw_w(400.0, 60.0, 1.0, 0.9))
    (60.0, 360.0)
    """
    limit_w, idle_w = np.asarray(limit_w, float), np.asarray(idle_w, float)
    return np.asarray(idle_w + np.asarray(busy) * np.maximum(0.0, limit_w * busy_share - idle_w))


def goodput(chips: Numbers, failures_per_chip_s: Numbers, checkpoint_s: Numbers, restart_s: Numbers) -> Array:
    """Share of a long run that makes progress, with checkpoints at the best interval.

    Parameters
    ----------
    chips : array_like, (...)
        Chips that must all work. [1]
    failures_per_chip_s : array_like, (...)
        Failures that stop the job, per chip and second. [1/s]
    checkpoint_s : array_like, (...)
        Time that one checkpoint blocks the job. [s]
    restart_s : array_like, (...)
        From a failure to the first new step, without the lost work. [s]

    Returns
    -------
    ndarray, (...)
        Between 0 and 1. [1]

    Notes
    -----
    Interval sqrt(2 checkpoint / rate) (young-1974); the lost share is sqrt(2 checkpoint x rate)
    + restart x rate, for losses that are small against 1.
    """
    rate = np.asarray(chips, float) * failures_per_chip_s
    lost = np.sqrt(2.0 * np.asarray(checkpoint_s) * rate) + np.asarray(restart_s) * rate
    return np.asarray(1.0 / (1.0 + lost))
