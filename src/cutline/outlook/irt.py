"""Capability of models and difficulty of benchmarks, fitted together from scores: a two-parameter logistic curve.

One row is one model on one benchmark with a score y from 0 to 1. With capability c of the model, difficulty d and
slope a of the benchmark, the curve is p = 1 / (1 + exp(-a (c - d))). The fit minimises

    sum of (p - y)^2 + penalty * (|c|^2 + |d|^2 + |free a|^2) / parameters

which is the rule of the Epoch Capabilities Index. Source: epoch-eci-2026-08-11; Epoch AI, "A Rosetta Stone for AI
Benchmarks", arXiv 2512.00193. Limits: one dimension, so what a model does better at code than at pictures ends in the
residuals; every score weighs the same, whatever its number of questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from cutline.core.errors import CutlineError, UnknownName
from cutline.core.numerics import Array, Indices, Mask, at_least
from cutline.facts import outlook

EDGE = 0.001
"""Scores are cut to EDGE and 1 - EDGE, as the index does; a curve reaches neither 0 nor 1."""
WIDEST, FLATTEST, STEEPEST = 10.0, 0.1, 10.0
"""Bounds of the index: |c| and |d| at most WIDEST, slopes from FLATTEST to STEEPEST."""
PENALTY = 0.1
"""Weight of the penalty in the published index."""
ANCHOR = "Winogrande"
"""Benchmark of slope 1 and difficulty 0 in the published index."""
LOW, HIGH = ("Claude 3.5 Sonnet", 130.0), ("GPT-5", 150.0)
"""The two models that set the published scale, and their values."""
MOST_STEPS = 500


@dataclass(frozen=True)
class Fit:
    """Capabilities, difficulties and slopes that fit a set of scores best, on the raw scale.

    `models` and `benchmarks` are sorted. `location` is the value that the penalty pulls capability and difficulty
    to: 0 before the anchor's difficulty was moved to 0. `objective` is the minimum, penalty included.
    """

    models: tuple[str, ...]
    benchmarks: tuple[str, ...]
    capability: Array
    difficulty: Array
    slope: Array
    fixed: str
    penalty: float
    location: float
    objective: float
    steps: int


@dataclass(frozen=True)
class Scaled:
    """A fit on the scale of two anchor models: eci = offset + unit * capability.

    `eci` is for each model, `edi` (the same scale) and `slope` (per index point) for each benchmark.
    """

    models: tuple[str, ...]
    benchmarks: tuple[str, ...]
    eci: Array
    edi: Array
    slope: Array
    offset: float
    unit: float


@dataclass(frozen=True)
class Draws:
    """Index values of every model in every draw, shape (draw, model).

    `seen` is False where a draw holds no score of the model: there the value is only what the penalty makes of
    nothing.
    """

    models: tuple[str, ...]
    eci: Array
    seen: Mask

    def interval(self, level: float = 0.90) -> tuple[Array, Array]:
        """Return the lower and upper quantile of each model over the draws that hold it, shape (model)."""
        known = np.where(self.seen, self.eci, np.nan)
        low, high = np.nanquantile(known, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high


class _Rows(NamedTuple):
    """Scores as numbers: model and benchmark of each row by position, the cut score, how often the row counts."""

    m: Indices
    b: Indices
    y: Array
    weight: Array


class _Point(NamedTuple):
    """One set of parameters: capability (model), difficulty (benchmark), slope (benchmark)."""

    c: Array
    d: Array
    a: Array


class _Problem(NamedTuple):
    """What stays the same in all fits: which slope is fixed (a position) and the weight of one squared parameter."""

    anchor: int
    ridge: float


def fit(
    model: Sequence[str],
    benchmark: Sequence[str],
    score: Any,
    *,
    fixed: str | None = None,
    penalty: float = PENALTY,
    start: Fit | None = None,
) -> Fit:
    """Fit capability of every model, difficulty and slope of every benchmark.

    Parameters
    ----------
    model, benchmark : sequence of str, (row)
        Who was tested on what; a pair may occur once.
    score : array_like, (row)
        Share of the possible score above chance, 0 to 1.
    fixed : str, optional
        Benchmark with slope 1 and difficulty 0. By default Winogrande as in the published index, or the benchmark
        with most scores if Winogrande is not there.
    penalty : float
        Weight of the penalty; 0.1 in the published index.
    start : Fit, optional
        An earlier fit to start from; names that it lacks start as usual.

    Returns
    -------
    Fit
        On the raw scale; `scaled` puts it on that of two anchor models.

    Raises
    ------
    CutlineError
        If there are no rows, lengths differ, a name is blank, a pair occurs twice, a score is outside 0 to 1, or
        `fixed` is not a benchmark of the rows.

    Notes
    -----
    Levenberg-Marquardt on the normal equations. A row touches one model, so the block of the capabilities is
    diagonal and is eliminated first; what is left has two unknowns per benchmark.

    Examples
    --------
    >>> got = fit(["a", "a", "b", "b"], ["x", "y", "x", "y"], [0.9, 0.7, 0.6, 0.2])
    >>> got.models, bool(got.capability[0] > got.capability[1]), got.fixed
    (('a', 'b'), True, 'x')
    """
    at_least(0, penalty=penalty)
    models, benchmarks, rows = _rows(model, benchmark, score)
    fixed = _anchor(fixed, benchmarks, rows)
    problem = _problem(benchmarks.index(fixed), len(models), len(benchmarks), penalty)
    with threadpool_limits(1):  # matrices are small: threads of one product only wait for each other
        point, objective, steps = _solve(rows, _start(models, benchmarks, rows, start), problem, 1e-13)
    shift = float(point.d[problem.anchor])
    return Fit(
        models, benchmarks, point.c - shift, point.d - shift, point.a, fixed, penalty, -shift, objective, steps
    )  # fmt: skip


def scaled(fit: Fit, low: tuple[str, float] = LOW, high: tuple[str, float] = HIGH) -> Scaled:
    """Put a fit on the scale on which two models have given values.

    Parameters
    ----------
    fit : Fit
    low, high : (str, float)
        A model and its value on the scale; by default Claude 3.5 Sonnet at 130 and GPT-5 at 150.

    Returns
    -------
    Scaled

    Raises
    ------
    UnknownName
        If an anchor is not a model of the fit.
    CutlineError
        If the two anchors have the same capability or the same value.
    """
    where = _positions(fit.models, low, high)
    offset, unit = (float(x) for x in _scale(fit.capability, where, low, high))
    eci = offset + unit * fit.capability
    eci[list(where)] = low[1], high[1]
    return Scaled(fit.models, fit.benchmarks, eci, offset + unit * fit.difficulty, fit.slope / unit, offset, unit)


def bootstrap(
    model: Sequence[str],
    benchmark: Sequence[str],
    score: Any,
    *,
    draws: int = 500,
    seed: int | np.random.Generator = 1,
    by: str = "models",
    fixed: str | None = None,
    penalty: float = PENALTY,
    low: tuple[str, float] = LOW,
    high: tuple[str, float] = HIGH,
) -> Draws:
    """Refit on scores drawn with replacement; each draw is put on the scale of its own anchors.

    Parameters
    ----------
    model, benchmark, score, fixed, penalty
        As for `fit`.
    draws : int
        Number of draws.
    seed : int or Generator
        The same seed gives the same bytes.
    by : str
        ``models`` draws among the scores of each model, as the published intervals do; ``rows`` draws among all
        scores, so that a draw can miss a model; ``benchmarks`` draws whole benchmarks, which counts what the scores
        of one benchmark have in common.
    low, high : (str, float)
        As for `scaled`; the anchors have no interval.

    Returns
    -------
    Draws

    Raises
    ------
    CutlineError
        As for `fit` and `scaled`; if `draws` is below 1 or `by` is none of the words.
    """
    at_least(1, draws=draws)
    if by not in ("models", "rows", "benchmarks"):
        raise CutlineError(f"by must be models, rows or benchmarks; got '{by}'")
    best = fit(model, benchmark, score, fixed=fixed, penalty=penalty)
    models, benchmarks, rows = _rows(model, benchmark, score)
    where = _positions(models, low, high)
    problem = _problem(benchmarks.index(best.fixed), len(models), len(benchmarks), penalty)
    start = _Point(best.capability - best.location, best.difficulty - best.location, best.slope)
    rng = np.random.default_rng(seed)
    counts = np.bincount(rows.m)  # rows of one model are neighbours
    first = np.repeat(np.cumsum(counts) - counts, counts)
    eci, seen = np.empty((draws, len(models))), np.empty((draws, len(models)), bool)
    with threadpool_limits(1):
        for i in range(draws):
            drawn = rows._replace(weight=_weights(rows, by, first, counts, rng))
            point, _, _ = _solve(drawn, start, problem, 1e-7)
            offset, unit = _scale(point.c, where, low, high)
            eci[i] = offset + unit * point.c
            eci[i, list(where)] = low[1], high[1]
            seen[i] = np.bincount(rows.m, drawn.weight, len(models)) > 0
    return Draws(models, eci, seen)


def abilities_given(
    items: Iterable[tuple[str, float, float]], model: Sequence[str], benchmark: Sequence[str], score: Any
) -> tuple[tuple[str, ...], Array]:
    """Return models and their index values where difficulty and slope of every benchmark are given.

    Parameters
    ----------
    items : iterable of (benchmark, edi, slope)
        Difficulty in index points and slope per index point; published items will do.
    model, benchmark, score
        As for `fit`; rows of benchmarks that are not among the items are an error.

    Returns
    -------
    (tuple of str, ndarray), (model)
        Models, sorted, and the value with the least squares. [index points]

    Raises
    ------
    CutlineError
        As for `fit`; if a benchmark has no item, or a slope is not above 0.

    Notes
    -----
    One unknown a model, no penalty. The best point of a grid of half points, 60 beyond the easiest and hardest
    item, is refined, so that a second minimum does not catch it. A model with nothing but 0 or 1 ends at the edge.

    Examples
    --------
    >>> models, eci = abilities_given([("x", 130.0, 0.1)], ["a"], ["x"], [0.5])
    >>> models, eci.round(3).tolist()
    (('a',), [130.0])
    """
    models, benchmarks, rows = _rows(model, benchmark, score)
    given = {name: (edi, slope) for name, edi, slope in items}
    missing = [b for b in benchmarks if b not in given]
    if missing:
        raise CutlineError(f"benchmark '{missing[0]}' has no item; leave its scores out or give its edi and slope")
    edi, slope = np.array([given[b] for b in benchmarks], float).T
    if not (slope > 0).all():
        raise CutlineError(f"slope of '{benchmarks[int(np.argmin(slope > 0))]}' must be above 0")
    d, a = edi[rows.b], slope[rows.b]
    grid = np.arange(edi.min() - 60, edi.max() + 60, 0.5)
    off = (_curve(a[:, None] * (grid - d[:, None])) - rows.y[:, None]) ** 2
    sums = np.zeros((len(models), len(grid)))
    np.add.at(sums, rows.m, off)
    eci = grid[np.argmin(sums, axis=1)]
    low, high = eci - 0.5, eci + 0.5
    for _ in range(40):  # halve the bracket on the sign of the derivative
        p = _curve(a * (eci[rows.m] - d))
        rising = np.bincount(rows.m, (p - rows.y) * p * (1 - p) * a, len(models)) > 0
        low, high = np.where(rising, low, eci), np.where(rising, eci, high)
        eci = (low + high) / 2
    return models, eci


def of_vintage(vintage: str, *, penalty: float = PENALTY) -> Fit:
    """Return the fit of the stored scores of one vintage of the index."""
    rows = outlook.scores(vintage)
    return fit([r.model for r in rows], [r.benchmark for r in rows], [r.score for r in rows], penalty=penalty)


# what the public functions share


def _rows(model: Sequence[str], benchmark: Sequence[str], score: Any) -> tuple[tuple[str, ...], tuple[str, ...], _Rows]:
    """Return sorted names and the rows by position, in the order of (model, benchmark), whatever order they came in."""
    y = np.asarray(score, float)
    if y.ndim != 1 or not len(y) or len(model) != len(y) or len(benchmark) != len(y):
        raise CutlineError(
            f"model, benchmark and score must be of one length, at least 1; got {len(model)}, {len(benchmark)}, {y.size}"
        )
    for name, values in (("model", model), ("benchmark", benchmark)):
        blank = next((i for i, v in enumerate(values) if not v), None)
        if blank is not None:
            raise CutlineError(f"{name}[{blank}] is blank; group by a column that names every row")
    ok = (y >= 0) & (y <= 1)
    if not ok.all():
        i = int(np.argmin(ok))
        raise CutlineError(f"score[{i}] must be from 0 to 1; got {y[i]}")
    models, m = np.unique(np.asarray(model, str), return_inverse=True)
    benchmarks, b = np.unique(np.asarray(benchmark, str), return_inverse=True)
    cell = m * len(benchmarks) + b
    order = np.argsort(cell, kind="stable")
    twice = np.flatnonzero(np.diff(cell[order]) == 0)
    if len(twice):
        i = order[twice[0] + 1]
        raise CutlineError(f"model '{model[i]}' has two scores on '{benchmark[i]}'; keep one, such as the best")
    rows = _Rows(m[order], b[order], np.clip(y[order], EDGE, 1 - EDGE), np.ones(len(y)))
    return tuple(models.tolist()), tuple(benchmarks.tolist()), rows


def _anchor(fixed: str | None, benchmarks: tuple[str, ...], rows: _Rows) -> str:
    if fixed is None:
        return ANCHOR if ANCHOR in benchmarks else benchmarks[int(np.argmax(np.bincount(rows.b)))]
    if fixed not in benchmarks:
        raise UnknownName("benchmark", fixed, benchmarks)
    return fixed


def _problem(anchor: int, models: int, benchmarks: int, penalty: float) -> _Problem:
    return _Problem(anchor, penalty / (models + 2 * benchmarks - 1))


def _start(models: tuple[str, ...], benchmarks: tuple[str, ...], rows: _Rows, start: Fit | None) -> _Point:
    """Return where to begin: log-odds of the mean scores, or what an earlier fit says of the same names."""
    means = [np.bincount(at, rows.y) / np.bincount(at) for at in (rows.m, rows.b)]
    odds = [np.log(mean / (1 - mean)) for mean in means]
    point = _Point(np.clip(odds[0], -3, 3), np.clip(-odds[1], -3, 3), np.ones(len(benchmarks)))
    if start is not None:
        capability = dict(zip(start.models, start.capability - start.location, strict=True))
        difficulty = dict(zip(start.benchmarks, start.difficulty - start.location, strict=True))
        slope = dict(zip(start.benchmarks, start.slope, strict=True))
        point = _Point(
            np.array([capability.get(n, v) for n, v in zip(models, point.c, strict=True)]),
            np.array([difficulty.get(n, v) for n, v in zip(benchmarks, point.d, strict=True)]),
            np.array([slope.get(n, v) for n, v in zip(benchmarks, point.a, strict=True)]),
        )
    return point


def _positions(models: tuple[str, ...], low: tuple[str, float], high: tuple[str, float]) -> tuple[int, int]:
    for name, _ in (low, high):
        if name not in models:
            raise UnknownName("model", name, models, "Name two models of the scores as anchors.")
    return models.index(low[0]), models.index(high[0])


def _scale(
    capability: Array, where: tuple[int, int], low: tuple[str, float], high: tuple[str, float]
) -> tuple[float, float]:
    """Return offset and unit of the scale on which the two anchors have their values."""
    rise = capability[where[1]] - capability[where[0]]
    if low[1] == high[1] or abs(rise) < 1e-9:
        raise CutlineError(f"anchors '{low[0]}' and '{high[0]}' must differ in capability and in value")
    unit = (high[1] - low[1]) / rise
    return low[1] - unit * capability[where[0]], unit


def _weights(rows: _Rows, by: str, first: Indices, counts: Indices, rng: np.random.Generator) -> Array:
    """Return how often each row is in one draw."""
    n = len(rows.y)
    if by == "benchmarks":
        size = int(rows.b.max()) + 1
        return np.bincount(rng.integers(0, size, size), minlength=size).astype(float)[rows.b]
    drawn = first + rng.integers(0, counts[rows.m]) if by == "models" else rng.integers(0, n, n)
    return np.bincount(drawn, minlength=n).astype(float)


# the solver


def _curve(x: Array) -> Array:
    """Logistic curve, safe from overflow."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -500, 500))))


def _cost(rows: _Rows, at: _Point, problem: _Problem) -> float:
    """Return the objective: squared misses, and the penalty without the fixed slope."""
    off = _curve(at.a[rows.b] * (at.c[rows.m] - at.d[rows.b])) - rows.y
    squares = at.c @ at.c + at.d @ at.d + at.a @ at.a - at.a[problem.anchor] ** 2
    return float(rows.weight @ (off * off) + problem.ridge * squares)


def _solve(rows: _Rows, start: _Point, problem: _Problem, tolerance: float) -> tuple[_Point, float, int]:
    """Return the minimum, its objective and the steps taken; stop when a step gains less than the tolerance."""
    at, damping = _bounded(start), 1e-3
    at.a[problem.anchor] = 1.0
    cost = _cost(rows, at, problem)
    steps = 0
    while steps < MOST_STEPS:
        system = _system(rows, at, problem)
        while True:
            steps += 1
            new = _bounded(_step(system, at, damping))
            new_cost = _cost(rows, new, problem)
            if new_cost < cost or damping > 1e8:
                break
            damping *= 4
        gain, worse = cost - new_cost, new_cost >= cost
        if not worse:
            at, cost, damping = new, new_cost, max(damping / 5, 1e-12)
        if worse or gain < tolerance * cost:
            break
    return at, cost, steps


def _bounded(at: _Point) -> _Point:
    return _Point(
        np.clip(at.c, -WIDEST, WIDEST), np.clip(at.d, -WIDEST, WIDEST), np.clip(at.a, FLATTEST, STEEPEST)
    )  # fmt: skip


class _System(NamedTuple):
    """Normal equations at a point: gradients and blocks; items are difficulty then slope, two per benchmark."""

    by_model: Array
    by_item: Array
    model_model: Array
    model_item: Array
    item_item: Array


def _system(rows: _Rows, at: _Point, problem: _Problem) -> _System:
    """Return gradient and curvature; parameters that a bound holds, and the fixed slope, have none."""
    n_m, n_b = len(at.c), len(at.d)
    slope, reach = at.a[rows.b], at.c[rows.m] - at.d[rows.b]
    p = _curve(slope * reach)
    rise = p * (1 - p)
    by_c, by_a = slope * rise, reach * rise
    off, w = (p - rows.y) * rows.weight, rows.weight
    grad_c = np.bincount(rows.m, off * by_c, n_m) + problem.ridge * at.c
    grad_d = -np.bincount(rows.b, off * by_c, n_b) + problem.ridge * at.d
    grad_a = np.bincount(rows.b, off * by_a, n_b) + problem.ridge * at.a
    cc, dd = (np.bincount(i, w * by_c * by_c, n) + problem.ridge for i, n in ((rows.m, n_m), (rows.b, n_b)))
    aa = np.bincount(rows.b, w * by_a * by_a, n_b) + problem.ridge
    da = -np.bincount(rows.b, w * by_c * by_a, n_b)
    cross = np.zeros((n_m, 2 * n_b))
    cross[rows.m, rows.b] = -w * by_c * by_c
    cross[rows.m, n_b + rows.b] = w * by_c * by_a
    square = np.zeros((2 * n_b, 2 * n_b))
    square[np.diag_indices_from(square)] = np.concatenate([dd, aa])
    each = np.arange(n_b)
    square[each, n_b + each] = square[n_b + each, each] = da
    grad = np.concatenate([grad_d, grad_a])
    item = np.concatenate([at.d, at.a])
    bound_low, bound_high = np.repeat([-WIDEST, FLATTEST], n_b), np.repeat([WIDEST, STEEPEST], n_b)
    held = ((item <= bound_low) & (grad > 0)) | ((item >= bound_high) & (grad < 0))
    held[n_b + problem.anchor] = True
    held_c = ((at.c <= -WIDEST) & (grad_c > 0)) | ((at.c >= WIDEST) & (grad_c < 0))
    grad[held], grad_c[held_c] = 0.0, 0.0
    cross[:, held] = 0.0
    cross[held_c] = 0.0
    square[held] = 0.0
    square[:, held] = 0.0
    square[held, held] = 1.0
    return _System(grad_c, grad, np.asarray(cc, float), cross, square)


def _step(system: _System, at: _Point, damping: float) -> _Point:
    """Return the next point; capabilities are eliminated (Schur complement), then follow from the items."""
    n_b = len(at.d)
    cc = system.model_model * (1 + damping) + 1e-12
    items = system.item_item.copy()
    items[np.diag_indices_from(items)] *= 1 + damping
    over = system.model_item / cc[:, None]
    left = items - system.model_item.T @ over
    left[np.diag_indices_from(left)] += 1e-12
    item = np.linalg.solve(left, over.T @ system.by_model - system.by_item)
    model = -(system.by_model + system.model_item @ item) / cc
    return _Point(at.c + model, at.d + item[:n_b], at.a + item[n_b:])
