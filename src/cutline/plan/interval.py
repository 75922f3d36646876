"""How far off a prediction may be: a 90 % interval from the errors of blind predictions on other sources.

The half width of the log step time is scale x quantile. The scale grows with what makes rows uncertain (narrow
formats, assumptions that had to be made, chips and stacks that no fit has seen, power budgets far from the
family's reference part); its coefficients and the quantile come from tools/fit.py, where every group of
measurements was predicted without its own rows. For families that were never measured it is not a tested 90 %.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from cutline.core.numerics import Array
from cutline.facts import reader
from cutline.plan.columns import Rates

FEATURES = ("constant", "narrow", "loose", "unmeasured", "scaled")
EXPECTED = np.array([0.0, 0.2, 0.3, 0.6, 0.5])
"""Coefficients before any row is seen (guess): narrow formats, unstated settings, unmeasured chips or stacks, and
an e-fold between the power budgets of a part and of its family's reference. The ridge pulls towards these."""


def features(rates: Rates, loose: Any, unmeasured: Any, own: Any, reference: Any) -> Array:
    """Return (..., len(FEATURES)): what the width of the interval may depend on.

    `loose` counts assumptions about recompute, micro-batch, chip or stack that a source did not state;
    `unmeasured` is the share of (family, stack) for which no measurement was in the fit; `own` and `reference`
    are the power budgets of the part and of its family's reference part.
    """
    scaled = np.abs(np.log(np.asarray(own, float) / reference))
    narrow = np.asarray(rates.linear_bytes) < 2
    columns = np.broadcast_arrays(1.0, narrow, loose, unmeasured, scaled)
    return np.stack([np.asarray(c, float) for c in columns], axis=-1)


@functools.cache
def _table() -> dict[str, dict[str, float]]:
    return {
        row["name"]: {k: float(v) for k, v in row.items() if k != "name"}
        for _, row in reader.rows(reader.DATA / "interval.csv")
    }


def half_width(x: Array, without: str = "shipped", residual: float | None = None) -> Array:
    """Return the half width of the 90 % interval of the log step time. [1]

    `residual` is what a calibration left on its own rows (root mean square of the log error), None without
    one; the interval is never narrower than that allows.
    """
    table = _table()
    column = without if without in table["quantile"] else "shipped"
    log_scale = sum(x[..., i] * table[name][column] for i, name in enumerate(FEATURES))
    quantile = table["quantile" if residual is None else "quantile_calibrated"][column]
    return np.asarray(np.maximum(quantile * np.exp(log_scale), 1.645 * (residual or 0.0)))


def fit_scale(x: Array, log_error: Array, groups: list[str], ridge: float = 3.0) -> tuple[Array, float]:
    """Fit the scale's coefficients and the 90 % quantile of |log error| / scale, each group weighing the same.

    Log-linear regression of |log error|, with a ridge that pulls every coefficient but the constant towards
    EXPECTED.
    """
    weight = _weights(groups)
    y = np.log(np.maximum(np.abs(log_error), 0.01))
    penalty = np.diag([0.0] + [ridge] * (x.shape[-1] - 1)) * np.sqrt(len(groups))
    weighted = (x * weight[:, None]).T
    coefficients = np.linalg.solve(weighted @ x + penalty, weighted @ y + penalty @ EXPECTED)
    return coefficients, quantile(x, log_error, groups, coefficients)


def quantile(x: Array, log_error: Array, groups: list[str], coefficients: Array) -> float:
    """Return the 90 % quantile of |log error| / scale over rows, each group weighing the same."""
    weight = _weights(groups)
    ratio = np.abs(log_error) / np.exp(x @ coefficients)
    order = np.argsort(ratio)
    share = np.cumsum(weight[order]) / weight.sum()
    return float(ratio[order][np.searchsorted(share, 0.9)])


def _weights(groups: list[str]) -> Array:
    names, count = np.unique(groups, return_counts=True)
    rows_of = dict(zip(names, count, strict=True))
    weight = np.array([1.0 / rows_of[g] for g in groups])
    return np.asarray(weight / weight.mean())
