"""How many months one group of models is behind another: five rules, on arrays of release days and scores.

The rules answer different questions, and their figures differ by months. Show several, and the tolerance.

- `daily` (H1): on each day, how long ago did the leader first have what the follower's best has now?
- `level` (H2): over score levels, how much later did the follower first reach the level?
- `milestones` (H3): for each record of the leader, how long until the follower matched it, or how long it waits.
- `significant` (H4): H1, but the leader's model must be better in a given share of joint draws.
- `vertical` (V): the difference of scores, and that in months at the leader's pace.

A group is `Group(day, score)`. `score` may have a leading axis of draws; the two groups' draws are joint, draw by draw.
The interval is then the 5 and 95 % quantiles over draws, and a figure is the median over draws. Noise lifts running
maxima, so take the figure itself from the published scores and only `low` and `high` from the draws.

Fewer than `FEWEST` models in a group, or nothing matched yet, is not an error: the rule returns `Unknown` with the
reason. A window before the follower's first model, a tolerance below 0 or a NaN is an error.

The rules are those of Epoch AI's posts on China and the US and on open and closed models, and of the IAPS gap page.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array, Indices, Mask, above, at_least

MONTH_DAYS = 30.4375
"""Days in a month: a year of 365.25 days in twelve parts."""
FEWEST = 5
"""Models that a group needs for a figure. Below that, one model decides it. A convention of this module."""


class Group(NamedTuple):
    """Models of one group; `day` is (models,) in days since 1970, `score` is (models,) or (draws, models)."""

    day: Array
    score: Array


class Unknown(NamedTuple):
    """No figure, and why."""

    reason: str


class Lag(NamedTuple):
    """Months that the follower is behind.

    `low` and `high` are the 5 and 95 % quantiles over draws, None without draws. `matched` and `censored` count what
    the mean is over: days (H1, H4), levels (H2). Censored are those where the leader has not been there itself yet.
    `series` is (days,) or (draws, days), by level in H2; NaN where it has no figure.
    """

    months: float
    low: float | None
    high: float | None
    matched: int
    censored: int
    last_months: float
    median_months: float
    series: Array


class Wait(NamedTuple):
    """One record of the leader: its day and score, and the months until its match, or its age if it has none."""

    day: float
    score: float
    months: float
    matched: bool


class Milestones(NamedTuple):
    """Waits of the leader's records. [months]

    `mean_months` counts the censored: (sum of observed and censored waits) / matched, the mean of an exponential fit.
    `matched_months` is the mean of the matched only, which is too short. `median_months` is the Kaplan-Meier median,
    None while more than half wait. `low` and `high` are the interval of `mean_months`.
    """

    mean_months: float
    low: float | None
    high: float | None
    matched_months: float
    median_months: float | None
    matched: int
    censored: int
    waits: tuple[Wait, ...]


class Vertical(NamedTuple):
    """Points between the two frontiers, mean over the window, and the same in months at the leader's pace.

    `months` is None where the leader has no pace above 0: fewer than two records.
    """

    points: float
    low: float | None
    high: float | None
    last_points: float
    points_per_year: float
    months: float | None
    months_low: float | None
    months_high: float | None
    series: Array


def frontier(group: Group, on: Array) -> Array:
    """Best score that a group has on each day.

    Parameters
    ----------
    group : Group
        Models, in any order.
    on : ndarray, (days,)
        Days since 1970. [day]

    Returns
    -------
    ndarray, (..., days)
        Running maximum of the scores, for each draw; -inf before the first model.

    Examples
    --------
    >>> frontier(Group(np.array([10.0, 0.0, 20.0]), np.array([4.0, 5.0, 7.0])), np.array([-1.0, 0.0, 15.0, 20.0])).tolist()
    [-inf, 5.0, 5.0, 7.0]
    """
    day, best = _running(group)
    at = np.searchsorted(day, on, "right")
    none = np.full((*best.shape[:-1], 1), -np.inf)
    return np.asarray(np.concatenate([none, best], axis=-1)[..., at])


def records(group: Group) -> Indices:
    """Return the places of the models that were better than all before them, in order of release.

    Of several models of one day only the best can be a record. `score` is (models,).

    Examples
    --------
    >>> records(Group(np.array([10.0, 0.0, 20.0, 20.0]), np.array([4.0, 5.0, 6.0, 7.0]))).tolist()
    [1, 3]
    """
    order = np.lexsort((-group.score, group.day))
    score = group.score[order]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(score)[:-1]])
    return np.asarray(order[score > before])


def daily(leader: Group, follower: Group, start: float, end: float, tolerance: float = 0.0) -> Lag | Unknown:
    """H1: on each day, how long the leader has had what the follower's best has now, averaged over days.

    Parameters
    ----------
    leader, follower : Group
        Models of the two groups.
    start, end : float
        First and last day of the window. [days since 1970]
    tolerance : float
        The leader must be this much better to count as having had it. [points]

    Returns
    -------
    Lag or Unknown
        [months]

    Notes
    -----
    Never below 0: where the leader is not there yet, that day counts as 0. A leader who follows itself shows the age
    of its current record, not 0: this rule measures from the record's day to today.
    """
    pair = _pair(leader, follower, start, end, tolerance)
    if isinstance(pair, Unknown):
        return pair
    series, there = _daily(*pair, _days(start, end), tolerance)
    return _lag(_drawn(leader, follower), _mean(series), series, there)


def level(
    leader: Group,
    follower: Group,
    start: float,
    end: float,
    tolerance: float = 0.0,
    levels: int = 400,
    *,
    opened: bool = True,
) -> Lag | Unknown:
    """H2: how much later the follower first reached a score than the leader, averaged over evenly spaced levels.

    Parameters
    ----------
    leader, follower : Group
        Models of the two groups; those after `end` do not count, those before `start` do.
    start, end : float
        Window; the levels end at the follower's best on day `end`. [days since 1970]
    tolerance : float
        The leader is asked for the level and this. [points]
    levels : int
        Evenly spaced, from the higher of the two groups' best on their first days.
    opened : bool
        If False, from the follower's best on day `start`, where that is higher: levels of the window alone.

    Returns
    -------
    Lag or Unknown
        [months] Below 0 where the follower was first. `series` and `last_months` go by level, not by day.

    Notes
    -----
    Levels that the leader itself has not reached are left out and counted as censored.
    """
    at_least(2, levels=levels)
    pair = _pair(leader, follower, start, end, tolerance)
    if isinstance(pair, Unknown):
        return pair
    first, second = (_running(g) for g in pair)
    low = np.maximum(_opening(*first), _opening(*second))[:, None]
    if not opened:
        low = np.maximum(low, frontier(pair[1], np.array([start])))
    high = second[1][:, -1:]
    asked = np.minimum(low + (high - low) * np.linspace(0.0, 1.0, levels), high)
    at, there = _reached(*second, asked), _reached(*first, asked + tolerance)
    begun = np.isfinite(there)
    series = np.where(begun, at - np.where(begun, there, 0.0), np.nan) / MONTH_DAYS
    months = np.where(high[:, 0] > low[:, 0], _mean(series), np.inf)
    if not np.isfinite(_middle(months)):
        return Unknown("no level was reached by both groups: the follower is still below the leader's first model")
    return _lag(_drawn(leader, follower), months, series, begun)


def milestones(
    leader: Group, follower: Group, start: float, end: float, tolerance: float = 0.0
) -> Milestones | Unknown:
    """H3: for each record of the leader, the time until the follower first matched it.

    Parameters
    ----------
    leader, follower : Group
        Models of the two groups; those after `end` do not count.
    start, end : float
        Records of the leader from `start` on; what is unmatched on day `end` is censored. [days since 1970]
    tolerance : float
        A match may be this much lower. [points]

    Returns
    -------
    Milestones or Unknown
        [months] With draws, `waits` and the two counts are those of the mean scores.

    Notes
    -----
    A record that the follower had already is matched after 0 months. The exponential fit takes the chance of a match
    as the same at every age.
    """
    pair = _pair(leader, follower, start, end, tolerance, begun=False)
    if isinstance(pair, Unknown):
        return pair
    ours, theirs = pair
    middle = _waits(_central(ours), _central(theirs), start, end, tolerance)
    sets = [middle]
    if _drawn(leader, follower):
        draws = zip(ours.score, theirs.score, strict=True)
        sets = [_waits(Group(ours.day, a), Group(theirs.day, b), start, end, tolerance) for a, b in draws]
    figures = np.array([_survival(waits) for waits in sets])
    mean, matched_only, median = (_middle(column) for column in figures.T)
    if not np.isfinite(mean):
        oldest = max((w.months for w in middle), default=0.0)
        return Unknown(
            f"none of the leader's {len(middle)} records is matched yet; the oldest waits {oldest:.1f} months"
        )
    matched = sum(w.matched for w in middle)
    low, high = _span(figures[:, 0], _drawn(leader, follower))
    return Milestones(
        mean, low, high, matched_only, median if np.isfinite(median) else None, matched, len(middle) - matched, middle
    )


def significant(leader: Group, follower: Group, start: float, end: float, confidence: float = 0.95) -> Lag | Unknown:
    """H4: on each day, how long the leader has had a model that is at least as good as the follower's best, at a confidence.

    Parameters
    ----------
    leader, follower : Group
        Models of the two groups, with joint draws (draws, models).
    start, end : float
        First and last day of the window. [days since 1970]
    confidence : float
        Share of draws in which the leader's model must be at least as good, above 0 and at most 1.

    Returns
    -------
    Lag or Unknown
        [months] The draws go into the rule, so it has no interval.

    Notes
    -----
    The published rule asks for the latest model of the leader that is *not* significantly better; this one for the first that surely is
    as good, which is one record later and the lag shorter by its wait.

    Models are judged one by one: the follower's best and the leader's records are those of the mean scores. Draws of
    independent errors make differences less sure than joint ones do, and the lag shorter. Without noise this is H1.
    """
    if not 0 < confidence <= 1:
        raise CutlineError(f"confidence must be above 0 and at most 1; got {confidence}")
    pair = _pair(leader, follower, start, end, 0.0)
    if isinstance(pair, Unknown):
        return pair
    ours, theirs = pair
    if not _drawn(leader, follower):
        raise CutlineError("significance needs scores of shape (draws, models); got one score a model")
    steps, theirs_best = (records(_central(g)) for g in pair)
    better = (ours.score[:, steps, None] >= theirs.score[:, None, theirs_best]).mean(axis=0) >= confidence
    since = np.where(better.any(axis=0), ours.day[steps][np.argmax(better, axis=0)], np.inf)
    on = _days(start, end)
    now = since[np.searchsorted(theirs.day[theirs_best], on, "right") - 1]
    series = np.maximum(on - now, 0.0)[None, :] / MONTH_DAYS
    return _lag(False, _mean(series), series, (now <= on)[None, :])


def pace(group: Group, start: float = -np.inf) -> Array:
    """Points a year of a group's frontier: the least-squares line through its records since `start`.

    Parameters
    ----------
    group : Group
        Models, in any order.
    start : float
        First day whose records count. [days since 1970]

    Returns
    -------
    ndarray, (draws,)
        [points/year] NaN where there are fewer than two records.

    Examples
    --------
    >>> pace(Group(np.array([0.0, 365.25, 400.0]), np.array([100.0, 115.0, 90.0]))).tolist()
    [15.0]
    """
    slopes = []
    for score in np.atleast_2d(group.score):
        steps = records(Group(group.day, score))
        steps = steps[group.day[steps] >= start]
        if steps.size < 2:
            slopes.append(np.nan)
            continue
        offset = group.day[steps] - group.day[steps].mean()
        slopes.append(float((offset * score[steps]).sum() / (offset**2).sum()) * 12 * MONTH_DAYS)
    return np.array(slopes)


def vertical(
    leader: Group, follower: Group, start: float, end: float, pace_start: float = -np.inf
) -> Vertical | Unknown:
    """V: points between the frontiers, mean over days, and months at the pace of the leader's frontier.

    Parameters
    ----------
    leader, follower : Group
        Models of the two groups.
    start, end : float
        First and last day of the window. [days since 1970]
    pace_start : float
        First day whose records make the leader's pace; all up to `end` if not given. [days since 1970]

    Returns
    -------
    Vertical or Unknown
        Points, points a year and months. Below 0 where the follower is ahead.

    Notes
    -----
    The pace is that of `pace`. It does not follow the window, as a short one holds one or two records. The scale of
    points changes with every vintage of the scores; months change less.
    """
    pair = _pair(leader, follower, start, end, 0.0)
    if isinstance(pair, Unknown):
        return pair
    on = _days(start, end)
    ahead, behind = (frontier(g, on) for g in pair)
    if not np.isfinite(ahead).all():
        raise CutlineError(
            f"start must not be before the leader's first model, day {pair[0].day.min():.0f}; got {start}"
        )
    series = ahead - behind
    points = series.mean(axis=-1)
    yearly = pace(pair[0], pace_start)
    rises = yearly > 0
    months = np.where(rises, points / np.where(rises, yearly, 1.0) * 12.0, np.inf)
    drawn = _drawn(leader, follower)
    known = bool(rises.all())
    return Vertical(
        _middle(points),
        *_span(points, drawn),
        _middle(series[:, -1]),
        _middle(yearly),
        _middle(months) if known else None,
        *_span(months, drawn and known),
        series if drawn else series[0],
    )


def size_corrected(
    leader: Group,
    follower: Group,
    start: float,
    end: float,
    tolerance: float = 0.0,
    *,
    subsamples: int = 400,
    seed: int | np.random.Generator,
) -> Lag | Unknown:
    """H1 with both groups at the same number of scored models: the mean over subsamples of the larger one.

    Parameters
    ----------
    leader, follower, start, end, tolerance
        As for `daily`.
    subsamples : int
        Random subsets of the larger group, without replacement; with draws, one draw each, in turn.
    seed : int or Generator
        Of the subsets.

    Returns
    -------
    Lag or Unknown
        [months] `months` and `last_months` are means over subsamples; `low` and `high` hold the choice of subset, and
        the draws where there are draws.

    Notes
    -----
    The frontier of a group of which fewer models were scored is found later: at 130 and 50 models by about a month
    (`synthetic`). The remedy takes the scored models of each group as a random sample of it. Published lists are not:
    a subset often lacks the one model that stood far ahead, and days on which it has no model yet count as 0. So the
    figure is a low end: on the scores of 2026-08-11, 138 and 54 models, it takes 2.4 of 8.3 months away. On a list of
    models near the frontier only, as that of 2026-10-01, it says little, as both groups are as long.
    """
    at_least(1, subsamples=subsamples)
    pair = _pair(leader, follower, start, end, tolerance)
    if isinstance(pair, Unknown):
        return pair
    chance = np.random.default_rng(seed)
    size = min(g.day.size for g in pair)
    turn = np.arange(subsamples) % pair[0].score.shape[0]
    few = []
    for group in pair:
        rank = np.argsort(np.argsort(chance.random((subsamples, group.day.size)), axis=-1), axis=-1)
        few.append(Group(group.day, np.where(rank < size, group.score[turn], -np.inf)))
    series, there = _daily(few[0], few[1], _days(start, end), tolerance)
    months = _mean(series)
    if not np.isfinite(months).any():
        return Unknown("no subset of the follower has a model within the window")
    got = _lag(True, months, series, there)
    return got._replace(months=float(np.nanmean(months)), last_months=float(np.nanmean(series[:, -1])))


def synthetic(
    true_lag_months: float,
    leader_models: int,
    follower_models: int,
    noise: float = 0.0,
    seed: int | np.random.Generator = 0,
    *,
    points_per_year: float = 15.0,
    shortfall: float = 3.0,
    span_months: float = 36.0,
) -> tuple[Group, Group]:
    """Return made-up models of a leader and of a follower whose lag is known: the test of the rules.

    Parameters
    ----------
    true_lag_months : float
        Months that the follower's best, seen or not, is behind. [months]
    leader_models, follower_models : int
        Scored models.
    noise : float
        Standard deviation of a score. [points]
    seed : int or Generator
        Of the draws.
    points_per_year : float
        Pace of both groups. [points/year]
    shortfall : float
        Mean by which a release falls below what its group could do, exponentially spread. [points]
    span_months : float
        Releases are spread evenly at random from day 0 over this time. [months]

    Returns
    -------
    tuple of Group
        Leader and follower. Begin the window at least the true lag after day 0, as the leader has no past before it.
    """
    at_least(0, true_lag_months=true_lag_months, noise=noise, shortfall=shortfall)
    at_least(1, leader_models=leader_models, follower_models=follower_models)
    above(0, span_months=span_months)
    chance = np.random.default_rng(seed)
    groups = []
    for models, behind in ((leader_models, 0.0), (follower_models, true_lag_months)):
        month = chance.uniform(0.0, span_months, models)
        score = points_per_year * (month - behind) / 12.0 - chance.exponential(shortfall, models)
        groups.append(Group(month * MONTH_DAYS, score + chance.normal(0.0, noise, models)))
    return groups[0], groups[1]


# the pieces


def _pair(
    leader: Group, follower: Group, start: float, end: float, tolerance: float, begun: bool = True
) -> tuple[Group, Group] | Unknown:
    """Check both groups and the window; return the models up to `end` with scores (draws, models), or why not."""
    at_least(0, tolerance=tolerance)
    at_least(start, end=end)
    found = []
    for name, group in (("leader", leader), ("follower", follower)):
        day, score = np.asarray(group.day, float), np.asarray(group.score, float)
        if day.ndim != 1 or score.ndim not in (1, 2) or score.shape[-1] != day.size:
            raise CutlineError(
                f"{name} must have day (models,) and score (models,) or (draws, models); got {day.shape} and {score.shape}"
            )
        if not (np.isfinite(day).all() and np.isfinite(score).all()):
            raise CutlineError(f"{name} must have finite days and scores; leave a model without one out")
        now = day <= end
        if now.sum() < FEWEST:
            return Unknown(f"the {name} has {now.sum()} scored models by the end of the window; a lag needs {FEWEST}")
        found.append((day[now], np.atleast_2d(score[:, now] if score.ndim == 2 else score[now])))
    first = float(found[1][0].min())
    if begun and start < first:
        raise CutlineError(f"start must not be before the follower's first model, day {first:.0f}; got {start}")
    draws = sorted({score.shape[0] for _, score in found} - {1})
    if len(draws) > 1:
        raise CutlineError(f"leader and follower must have the same draws; got {draws[0]} and {draws[1]}")
    wide = [Group(day, np.broadcast_to(score, ((draws or [1])[0], day.size))) for day, score in found]
    return wide[0], wide[1]


def _drawn(leader: Group, follower: Group) -> bool:
    return np.ndim(leader.score) == 2 or np.ndim(follower.score) == 2


def _central(group: Group) -> Group:
    return Group(group.day, group.score.mean(axis=0))


def _days(start: float, end: float) -> Array:
    return np.arange(start, end + 1e-9, 1.0)


def _running(group: Group) -> tuple[Array, Array]:
    """Return days in order and the running maxima (..., models)."""
    order = np.argsort(group.day, kind="stable")
    return group.day[order], np.maximum.accumulate(group.score[..., order], axis=-1)


def _reached(day: Array, best: Array, levels: Array) -> Array:
    """Return the day on which running maxima (draws, models) first reach levels (draws, k); inf if never."""
    at = np.stack([np.searchsorted(b, asked, "left") for b, asked in zip(best, levels, strict=True)])
    return np.asarray(np.append(day, np.inf)[at])


def _opening(day: Array, best: Array) -> Array:
    """Return the best score of a group's first day, (draws,)."""
    return np.asarray(best[:, np.searchsorted(day, day[0], "right") - 1])


def _daily(leader: Group, follower: Group, on: Array, tolerance: float) -> tuple[Array, Mask]:
    """Return H1 by day (draws, days), NaN before the follower's first model, and where the leader was there."""
    best = frontier(follower, on)
    since = _reached(*_running(leader), best + tolerance)
    months = np.maximum(on - since, 0.0) / MONTH_DAYS
    return np.where(np.isfinite(best), months, np.nan), since <= on


def _waits(leader: Group, follower: Group, start: float, end: float, tolerance: float) -> tuple[Wait, ...]:
    """Return the waits of one draw's records, scores (models,)."""
    steps = records(leader)
    steps = steps[leader.day[steps] >= start]
    day, score = leader.day[steps], leader.score[steps]
    running_day, best = _running(follower)
    match = _reached(running_day, best[None, :], score[None, :] - tolerance)[0]
    found = np.isfinite(match)
    months = np.maximum(np.where(found, match, end) - day, 0.0) / MONTH_DAYS
    return tuple(
        Wait(float(d), float(s), float(m), bool(f)) for d, s, m, f in zip(day, score, months, found, strict=True)
    )


def _survival(waits: tuple[Wait, ...]) -> tuple[float, float, float]:
    """Return mean with the censored (exponential), mean of the matched, Kaplan-Meier median; inf where there is none."""
    months = np.array([w.months for w in waits])
    found = np.array([w.matched for w in waits], bool)
    if not found.any():
        return np.inf, np.inf, np.inf
    order = np.lexsort((~found, months))
    at_risk = months.size - np.arange(months.size)
    survive = np.cumprod(1.0 - found[order] / at_risk)
    half = survive <= 0.5 + 1e-12
    median = float(months[order][np.argmax(half)]) if half.any() else np.inf
    return float(months.sum() / found.sum()), float(months[found].mean()), median


def _mean(series: Array) -> Array:
    """Mean over the last axis of what is finite; NaN where nothing is."""
    ok = np.isfinite(series)
    count = ok.sum(axis=-1)
    return np.asarray(np.where(count > 0, np.where(ok, series, 0.0).sum(axis=-1) / np.maximum(count, 1), np.nan))


def _quantile(values: Array, share: float) -> float:
    """Quantile of what is not NaN; infinities keep their place, so no interpolation."""
    known = values[~np.isnan(values)]
    return float(np.quantile(known, share, method="inverted_cdf")) if known.size else float("nan")


def _middle(values: Array) -> float:
    return _quantile(values, 0.5)


def _span(values: Array, drawn: bool) -> tuple[float | None, float | None]:
    return (_quantile(values, 0.05), _quantile(values, 0.95)) if drawn else (None, None)


def _lag(drawn: bool, months: Array, series: Array, there: Mask) -> Lag:
    """Put the answer together from months (draws,), and by day or level (draws, k)."""
    matched = int(np.median(there.sum(axis=-1)))
    by_draw = np.array([_middle(row) for row in series])
    return Lag(
        _middle(months),
        *_span(months, drawn),
        matched,
        series.shape[-1] - matched,
        _middle(series[:, -1]),
        _middle(by_draw),
        series if drawn else series[0],
    )
