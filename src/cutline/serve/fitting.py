"""Fits constants of serving to measured rows: all of them for shipping, a few of them to calibrate one group.

Maximum a posteriori, as for training: a smooth-L1 loss on the log of predicted over measured, a normal prior on the log of
every constant. Rows of one source, chip and model count as three at most: a sweep shares its doubts.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from cutline.core.numerics import Array
from cutline.plan.constants import Row, value
from cutline.plan.fitting import _huber as huber
from cutline.serve import constants as served_table
from cutline.serve import local, predict, predict_local
from cutline.serve.columns import Constants
from cutline.serve.express import Ask
from cutline.serve.step import most_requests

SCALE = 0.12
"""Residual scale of the log: what the best model of these tables leaves."""
MOST_PER_SWEEP = 3.0
LOCAL = ("edge", "npu")
Key = tuple[str, str]


class Problem:
    """Rows of one kind of machine, how they are predicted, and which constants they use."""

    def __init__(self, asks: list[Ask]) -> None:
        self.asks = asks
        self.local = asks[0].kind in LOCAL
        self.measured = np.log([a.measured for a in asks])
        self.table: Any
        self.keys: list[tuple[Key, ...]]
        self.kind: Any
        self.known: dict[Key, Row]
        self.factors: dict[str, tuple[float, tuple[str, ...], int]]
        if self.local:
            self.table = predict_local.columns(asks)
            self.keys = [local.keys(*k) for k in self.table.kinds]
            self.known, self.fields, self.kind = local.table(), local.FIELDS, local.LocalConstants
            self.factors = local.FACTORS
        else:
            self.table = predict.columns(asks)
            self.keys = [served_table.keys(*k) for k in self.table.keys]
            self.known, self.fields, self.kind = served_table.table(), served_table.FIELDS, Constants
            self.factors = served_table.FACTORS

    def constants(self, without: str, values: dict[Key, float] | None = None) -> Any:
        """Return the constants of every entry: as fitted without a source, or of `values`."""
        known = self.known
        found: dict[Key, float] = {}

        def of(key: Key) -> float:
            if key not in found:
                found[key] = values[key] if values and key in values else value(known[key], known, without)
            return found[key]

        distinct = {k: [of(x) for x in k] for k in set(self.keys)}
        matrix = np.array([distinct[k] for k in self.keys], float)
        return self.kind(**{f: matrix[:, i] for i, f in enumerate(self.fields)})

    def log_predicted(self, c: Any) -> Array:
        """Return the log of the predicted value of every row."""
        out = predict_local.predict(self.table, c) if self.local else predict.predict(self.table, c)
        return np.log(np.maximum(out, 1e-12))

    def fill(self) -> Array:
        """Return the requests in flight over what memory holds, of the first layout of each row; 0 on local machines."""
        if self.local:
            return np.zeros(len(self.asks))
        t = self.table
        limit = most_requests(t.load, t.body, t.formats, t.layout, t.rates, t.engine, t.other)
        share = t.load.concurrency / np.maximum(limit, 1e-9)
        return np.asarray(share[[a for a, _ in t.spans]])

    def moved(self, c: Any, changes: dict[str, Any]) -> Any:
        """Return constants with factors applied."""
        moved: dict[str, Any] = {}
        for name, factor in changes.items():
            _, touched, sign = self.factors[name]
            for field in touched:
                moved[field] = moved.get(field, getattr(c, field)) * np.asarray(factor, float) ** sign
        return c.replace(**moved)


def problems(asks: list[Ask]) -> list[Problem]:
    """Return the rows as problems: servers, and local machines."""
    parts = ([a for a in asks if a.kind not in LOCAL], [a for a in asks if a.kind in LOCAL])
    return [Problem(part) for part in parts if part]


def weights(asks: list[Ask]) -> Array:
    """Return the square root of the weight of every row."""
    sweep = [(a.group, a.chip.name, a.engine.name, a.model.name, a.metric) for a in asks]
    count = Counter(sweep)
    return np.array([np.sqrt(min(1.0, MOST_PER_SWEEP / count[s])) for s in sweep])


def fit(p: Problem, most_steps: int = 12) -> dict[Key, float]:
    """Fit every free constant of the rows; return (name, scope) -> value."""
    from scipy.optimize import least_squares

    known = p.known
    keys = [k for k in dict.fromkeys(k for ks in p.keys for k in ks) if known[k].transform != "fixed"]
    prior = np.log([float(known[k].prior or 1.0) for k in keys])
    doubt = np.array([known[k].doubt for k in keys])
    weight = weights(p.asks)

    def residuals(y: Array) -> Array:
        c = p.constants("prior", dict(zip(keys, np.exp(y), strict=True)))
        r = (p.log_predicted(c) - p.measured) / SCALE
        return np.concatenate([weight * huber(r), (y - prior) / doubt])

    found = least_squares(residuals, prior, method="trf", max_nfev=most_steps, x_scale=doubt)
    return {k: float(np.exp(v)) for k, v in zip(keys, found.x, strict=True)}


COMMON = 0.12
"""Doubt (log) of a factor common to a group: one harness, one build."""
FACTOR_SHARE = 0.6
"""A group's factors spread by this share of their doubt over all groups."""
ALIKE = 0.15
"""Doubt (log) that rows share with rows like them, beyond what factors explain."""
SPANS = (1.5, 1.2, 1.2, 1.0)
"""An e-fold of alikeness in the log of requests in flight, prompt, output and chips."""
OTHER_MODEL, OTHER_FORMAT = 0.4, 0.6
"""What is left of it between two models, and between two number formats."""
NOISE = 0.06
"""Repeat noise (log) of a row: 1 % in one version, 6 to 15 % where it is not known."""


def covariance(p: Problem, without: str) -> tuple[Array, Array]:
    """Return how the log errors of rows of one group move together before any of them is seen, and the log prediction.

    Three parts: a factor common to all, the factors of `p.factors` through the model's own derivatives, and what rows alike in load, model
    and format share. Nothing is measured in it.
    """
    base = p.constants(without)
    at = p.log_predicted(base)
    sign = signs(p.asks)
    columns = [COMMON * sign]
    for name, (doubt, _, _) in p.factors.items():
        slope = (p.log_predicted(p.moved(base, {name: np.exp(0.02)})) - at) / 0.02
        columns.append(np.clip(FACTOR_SHARE * doubt * slope, -0.5, 0.5))
    jacobian = np.stack(columns, axis=-1)
    x = np.array([_place(a) for a in p.asks])
    distance = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    model = np.array([a.model.name for a in p.asks])
    fmt = np.array([a.row["weight_precision"] for a in p.asks])
    alike = ALIKE**2 * np.exp(-0.5 * distance)
    alike = alike * np.where(model[:, None] == model[None], 1.0, OTHER_MODEL)
    alike = alike * np.where(fmt[:, None] == fmt[None], 1.0, OTHER_FORMAT)
    return jacobian @ jacobian.T + alike * sign[:, None] * sign[None], at


def _place(ask: Ask) -> list[float]:
    load = ask.load
    numbers = (min(load.get("concurrency", 1.0), 4096.0), load["input"], load["output"], ask.chips)
    return [float(np.log(max(n, 1.0))) / span for n, span in zip(numbers, SPANS, strict=True)]


def pick(p: Problem, without: str, n: int = 5) -> list[int]:
    """Return the `n` rows that say most about the others: each leaves the least mean variance of all, by `covariance`.

    The rule sees no measured value. Ties fall to the first row.
    """
    left, _ = covariance(p, without)
    chosen: list[int] = []
    for _ in range(min(n, len(p.asks))):
        own = np.diag(left) + NOISE**2
        gain = (left**2).sum(axis=0) / own
        gain[chosen] = -1.0
        best = int(np.argmax(gain))
        chosen.append(best)
        left = left - np.outer(left[:, best], left[best]) / own[best]
    return chosen


def calibrate(p: Problem, rows: list[int], without: str) -> Array:
    """Return the log prediction of every row after the measured values of a few have been seen. [log of the row's unit]

    Conditional mean of a normal law with `covariance` (kriging). Rows that stand out from the others count less: their noise grows
    as a Student law's would.
    """
    joint, at = covariance(p, without)
    error = (p.measured - at)[rows]
    among = joint[np.ix_(rows, rows)]
    weight = np.ones(len(rows))
    answer: Array = np.zeros(len(rows))
    for _ in range(6):
        answer = np.asarray(np.linalg.solve(among + np.diag(NOISE**2 / weight), error))
        weight = 1.0 / (1.0 + ((error - among @ answer) / (2.0 * NOISE)) ** 2)
    return np.asarray(at + joint[:, rows] @ answer)


def signs(asks: list[Ask]) -> Array:
    """Return 1 for times and -1 for rates."""
    return np.array([1.0 if a.metric.endswith("_ms") else -1.0 for a in asks])
