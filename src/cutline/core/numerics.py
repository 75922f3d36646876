"""Checks at the door and small numerics that physics shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutline.core.errors import CutlineError

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]
Numbers = Any
"""What NumPy broadcasts: a number, a nested sequence or an array (its own ArrayLike has no arithmetic)."""


def _refuse(name: str, value: NDArray[Any], ok: NDArray[np.bool_], rule: str) -> None:
    i = int(np.argmin(ok))
    where = f"[{', '.join(str(j) for j in np.unravel_index(i, ok.shape))}]" if ok.ndim else ""
    raise CutlineError(f"{name}{where} must be {rule}; got {value.flat[i]}")


def at_least(low: float, **values: Numbers) -> None:
    """Raise CutlineError unless every element of every value is >= `low` (NaN fails).

    Examples
    --------
    >>> at_least(1, n=[2, 0])
    Traceback (most recent call last):
    cutline.core.errors.CutlineError: n[1] must be at least 1; got 0
    """
    for name, given in values.items():
        value = np.asarray(given)
        ok = value >= low
        if not ok.all():
            _refuse(name, value, ok, f"at least {low}")


def above(low: float, **values: Numbers) -> None:
    """Raise CutlineError unless every element of every value is > `low` (NaN fails)."""
    for name, given in values.items():
        value = np.asarray(given)
        ok = value > low
        if not ok.all():
            _refuse(name, value, ok, f"above {low}")


def smooth_max(a: Numbers, b: Numbers, order: float = 6.0) -> Array:
    """Maximum of two times that rounds the corner: (a^order + b^order)^(1/order).

    Exceeds the true maximum by at most 2^(1/order) - 1 (12 % at order 6), where a = b.

    Examples
    --------
    >>> float(smooth_max(3.0, 0.0))
    3.0
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    big = np.maximum(np.maximum(a, b), 1e-300)
    small = np.minimum(a, b) / big
    return np.asarray(big * (1.0 + small**order) ** (1.0 / order))


def exposed(transfer_s: Numbers, window_s: Numbers, overlap: Numbers) -> Array:
    """Time that a transfer adds to the work it runs beside. [s]

    A share `overlap` (0 to 1) of the window can hide traffic; what does not fit is exposed, and of what
    is hidden the share 1 - overlap comes back as interference with the compute units and memory.
    overlap = 0 exposes everything.

    Examples
    --------
    >>> float(exposed(2.0, 10.0, 1.0)), float(exposed(2.0, 10.0, 0.0)), float(exposed(12.0, 10.0, 1.0))
    (0.0, 2.0, 2.0)
    """
    transfer_s, room = np.asarray(transfer_s, float), np.asarray(overlap) * np.asarray(window_s)
    return np.asarray(np.maximum(0.0, transfer_s - room) + (1.0 - np.asarray(overlap)) * np.minimum(transfer_s, room))
