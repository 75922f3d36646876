"""Routing of tokens to experts: how far the slowest rank is above the mean, what is dropped, where copies go."""

from __future__ import annotations

import numpy as np

from cutline.core.numerics import Array, Numbers


def slowest_rank(experts: Numbers, ranks: Numbers, spread: Numbers, capacity: Numbers = 0.0) -> Array:
    """Load of the fullest expert-parallel rank over the mean load.

    Parameters
    ----------
    experts, ranks : array_like, (...)
        Routed experts of a layer, and ranks that share them. [1]
    spread : array_like, (...)
        Coefficient of variation of the load of one expert; 0 is forced balance. [1]
    capacity : array_like, (...)
        Load at which an expert drops tokens, over the mean; 0 drops nothing. [1]

    Returns
    -------
    ndarray, (...)
        At least 1. [1]

    Notes
    -----
    A rank holds experts / ranks experts of independent normal load, so its load varies by spread / sqrt(experts /
    ranks); the largest of n such is about sqrt(2 ln n) standard deviations above the mean (Blom's approximation
    of the expected maximum is within 0.03 of it). Correlated experts would be worse.

    Examples
    --------
    >>> slowest_rank(256, [1, 8, 64], 0.3).round(3).tolist()
    [1.0, 1.076, 1.351]
    """
    experts, ranks = np.maximum(np.asarray(experts, float), 1.0), np.asarray(ranks, float)
    per_rank = np.maximum(experts / ranks, 1.0)
    load = 1.0 + np.asarray(spread) / np.sqrt(per_rank) * expected_maximum(ranks)
    return np.asarray(np.where(np.asarray(capacity) > 0, np.minimum(load, np.maximum(capacity, 1.0)), load))


def expected_maximum(n: Numbers) -> Array:
    """Expected largest of `n` standard normal numbers, Blom's approximation through a rational inverse. [1]

    Examples
    --------
    >>> expected_maximum([1, 2, 8, 64]).round(2).tolist()
    [0.0, 0.59, 1.43, 2.34]
    """
    n = np.asarray(n, float)
    tail = 1.0 - (n - 0.375) / (n + 0.25)  # Blom 1958
    t = np.sqrt(-2.0 * np.log(np.minimum(tail, 0.5)))
    # rational approximation of the normal quantile, Abramowitz and Stegun 26.2.23
    top = 2.515517 + t * (0.802853 + t * 0.010328)
    bottom = 1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    return np.asarray(np.where(n > 1.0, np.maximum(t - top / bottom, 0.0), 0.0))


def dropped_share(spread: Numbers, capacity: Numbers) -> Array:
    """Share of the token copies that experts with a capacity factor drop. [1]

    Normal loads of mean 1 and deviation `spread`, cut at `capacity`: spread x (phi(z) - z (1 - Phi(z))) with
    z = (capacity - 1) / spread; capacity 0 drops nothing. With no spread nothing is dropped at capacity 1.

    Examples
    --------
    >>> dropped_share(0.3, [0.0, 1.0, 1.25]).round(3).tolist()
    [0.0, 0.12, 0.034]
    """
    spread = np.maximum(np.asarray(spread, float), 1e-12)
    z = (np.asarray(capacity, float) - 1.0) / spread
    density = np.exp(-0.5 * np.minimum(z * z, 1400.0)) / np.sqrt(2.0 * np.pi)
    squared = np.minimum(z * z, 1400.0)  # the normal tail by Winitzki's approximation of erf, within 0.0002
    root = np.sqrt(1.0 - np.exp(-squared * (0.63662 + 0.03675 * squared) / (1.0 + 0.0735 * squared)))
    above = 0.5 * (1.0 - np.sign(z) * root)
    lost = spread * np.maximum(density - z * above, 0.0)
    return np.asarray(np.where(np.asarray(capacity) > 0, lost, 0.0))


def distinct(places: Numbers, copies: Numbers) -> Array:
    """Expected number of different places that `copies` random copies of a token reach. [1]

    places x (1 - (1 - 1 / places)^copies): never more than either.

    Examples
    --------
    >>> distinct([1, 8, 64], 8).round(2).tolist()
    [1.0, 5.25, 7.58]
    """
    places = np.asarray(places, float)
    return np.asarray(places * (1.0 - (1.0 - 1.0 / places) ** np.asarray(copies, float)))
