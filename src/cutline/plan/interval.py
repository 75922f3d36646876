"""How far off a prediction may be: a 90 % interval from the errors of blind predictions on other sources.

The half width of the log step time is scale x quantile. The scale grows with what makes rows uncertain
(communication, bubbles, narrow formats, assumptions that had to be made, size); its coefficients and the
quantile come from tools/fit.py, where every group of measurements was predicted without its own rows.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from cutline.core.numerics import Array
from cutline.facts import reader
from cutline.plan.columns import Estimate, Rates

FEATURES = ("constant", "communication", "bubble", "narrow", "loose", "unmeasured", "size")
EXPECTED = np.array([0.0, 0.0, 0.0, 0.2, 0.3, 0.6, 0.0])
"""Coefficients before any row is seen (guess): narrow formats, unstated settings and unmeasured chips or
stacks widen the interval by a fifth, a third and four fifths. The ridge pulls towards these."""


def features(e: Estimate, rates: Rates, loose: Any, unmeasured: Any, servers: Any) -> Array:
    """Return (..., len(FEATURES)): what the width of the interval may depend on.

    `loose` counts assumptions about recompute, micro-batch or stack that a source did not state;
    `unmeasured` is the share of (family, stack) for which no measurement was in the fit.
    """
    step = np.asarray(e.step_s, float)
    traffic = (e.tp_part_s + e.cp_part_s + e.fsdp_part_s + e.dp_part_s + e.p2p_part_s) / step
    columns = (
        np.ones_like(step),
        traffic,
        e.bubble_part_s / step,
        np.asarray(rates.linear_bytes) < 2,
        loose,
        unmeasured,
        np.log2(np.maximum(servers, 1.0)) / 10.0,
    )
    return np.stack([np.broadcast_to(np.asarray(c, float), step.shape) for c in columns], axis=-1)


@functools.cache
def _table() -> dict[str, dict[str, float]]:
    return {
        row["name"]: {k: float(v) for k, v in row.items() if k != "name"}
        for _, row in reader.rows(reader.DATA / "interval.csv")
    }


def half_width(x: Array, without: str = "shipped", calibrated: bool = False) -> Array:
    """Return the half width of the 90 % interval of the log step time. [1]"""
    table = _table()
    column = without if without in table["quantile"] else "shipped"
    log_scale = sum(x[..., i] * table[name][column] for i, name in enumerate(FEATURES))
    quantile = table["quantile_calibrated" if calibrated else "quantile"][column]
    return np.asarray(quantile * np.exp(log_scale))


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
