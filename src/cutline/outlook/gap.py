"""How far one group of models is behind another: every rule side by side, the range over them first, sampling second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array, at_least
from cutline.facts import boards, outlook, supply
from cutline.facts.notable import read_notable
from cutline.outlook import compute, irt, lag
from cutline.outlook.entries import (
    YARDSTICKS,
    Z90,
    Entry,
    day_number,
    day_text,
    makers_of,
    members,
    of_board,
    of_compute,
    of_index,
)
from cutline.outlook.lag import Group, Unknown

RULES = ("H1", "H2", "H3", "H4", "V")
NAMES = {
    "H1": "daily: how long ago the leader had what the follower has now, mean over days",
    "H2": "level: how much later the follower reached each score, mean over scores",
    "H3": "milestone: time until each record of the leader was matched, the open ones counted",
    "H4": "significant: as H1, but better in a share of joint draws",
    "V": "vertical: points between the frontiers, in months at the leader's pace",
}
TOLERANCES = {"eci": (0.0, 1.0, 3.0), "arena": (0.0, 5.0, 15.0), "compute": (0.0, 0.3)}
"""Points that do not count as a difference: index points, board points, decimal logarithms of FLOP."""
SURE = (0.9, 0.95)
UNITS = {"eci": "index points", "arena": "board points", "compute": "log10 FLOP"}
SINCE = "2023-06-01"
"""First day of a window, unless given: both countries have five models of the index by then."""
FIRST_RECORD = "2023-01-01"
"""First day from which the leader's records count in H3, unless a window is given."""
NEWEST = "2026-10-01"
INTERVALS = ("published", "models", "rows", "benchmarks")
BENCHMARKS = ("all", "optimized", "unoptimized")
FEWEST_SCORES = 4
"""Scores that a model needs in a refit, as in the index."""


@dataclass(frozen=True)
class Ask:
    """A question about two groups; None where the default of the yardstick holds."""

    follower: str
    leader: str
    yardstick: str = "eci"
    vintage: str | None = None
    on: str | None = None
    since: str | None = None
    rules: tuple[str, ...] = RULES
    tolerance: float | None = None
    dates: str = "vintage"
    without: tuple[str, ...] = ()
    benchmarks: str = "all"
    intervals: str = "published"
    draws: int = 300
    seed: int = 1
    board: Path | None = None
    index: Path | None = None
    runs: Path | None = None


@dataclass
class Sample:
    """The models of a yardstick with their draws, joint over models."""

    entries: list[Entry]
    score: Array
    """(draws, models)"""
    vintage: str
    last: str
    """last day that it knows of"""
    known: bool
    """whether there are intervals"""
    note: list[str]
    sources: list[str]

    def group(self, of: list[Entry], drawn: bool) -> Group:
        """Return the days and scores of some of the models."""
        at = [self.entries.index(e) for e in of]
        days = np.array([e.day for e in of])
        if not drawn or not self.known:
            return Group(days, np.array([e.score for e in of]))
        return Group(days, self.score[:, at] if at else np.zeros((self.score.shape[0], 0)))

    def pair(self, ours: list[Entry], theirs: list[Entry], drawn: bool = False) -> tuple[Group, Group]:
        """Return both groups."""
        return self.group(ours, drawn), self.group(theirs, drawn)


def sample(ask: Ask) -> Sample:
    """Return the models of the yardstick that a question names, with draws.

    Raises
    ------
    CutlineError, DataError
        If the yardstick, vintage, file or a switch is not known or does not go with the yardstick.
    """
    if ask.yardstick not in YARDSTICKS:
        raise CutlineError(f"yardstick must be one of {', '.join(YARDSTICKS)}; got '{ask.yardstick}'")
    for name, value, needs in (
        ("vintage", ask.vintage, "eci"), ("index", ask.index, "eci"), ("board", ask.board, "arena"), ("runs", ask.runs, "compute"),
        ("benchmarks", None if ask.benchmarks == "all" else 1, "eci"), ("intervals", None if ask.intervals == "published" else 1, "eci"),
        ("dates", None if ask.dates == "vintage" else 1, "eci"),
    ):  # fmt: skip
        if value is not None and ask.yardstick != needs:
            raise CutlineError(f"{name} is of the yardstick {needs}; leave it out with {ask.yardstick}")
    at_least(10, draws=ask.draws)
    return {"eci": _eci, "arena": _arena, "compute": _compute}[ask.yardstick](ask)


def _normal(entries: list[Entry], ask: Ask) -> Array:
    score = np.array([e.score for e in entries])
    error = np.array([(e.high - e.low) / 2.0 / Z90 for e in entries])
    return np.asarray(score + error * np.random.default_rng(ask.seed).standard_normal((ask.draws, score.size)))


def _eci(ask: Ask) -> Sample:
    if ask.benchmarks not in BENCHMARKS:
        raise CutlineError(f"benchmarks must be one of {', '.join(BENCHMARKS)}; got '{ask.benchmarks}'")
    if ask.intervals not in INTERVALS:
        raise CutlineError(f"intervals must be one of {', '.join(INTERVALS)}; got '{ask.intervals}'")
    refit = ask.benchmarks != "all" or ask.intervals != "published"
    if ask.index is not None:
        if refit:
            raise CutlineError("a refit needs scores; leave benchmarks and intervals out with an index of your own")
        found = outlook.read_index(ask.index, vintage=ask.vintage or ask.index.name)
        there = sorted({r.vintage for r in found})
        vintage, source = ask.vintage or there[-1], [ask.index.name]
        if vintage not in there:
            raise CutlineError(f"{ask.index.name} has no vintage '{vintage}'; there are {', '.join(there)}")
        rows = tuple(r for r in found if r.vintage == vintage)
    else:
        scored = [v.vintage for v in outlook.vintages() if v.scored]
        vintage = ask.vintage or (scored[-1] if refit else NEWEST)
        rows, source = outlook.index(vintage), [v.source for v in outlook.vintages() if v.vintage == vintage]
        if refit and vintage not in scored:
            raise CutlineError(f"a refit needs the scores of the vintage; they are stored of {', '.join(scored)}")
    entries = of_index(rows, ask.dates)
    note = [] if any(e.high > e.low for e in entries) else [f"no interval was published with the vintage {vintage}"]
    last = (
        max(vintage, *(day_text(e.day) for e in entries))
        if ask.index is None
        else max(day_text(e.day) for e in entries)
    )
    if refit:
        every = len(entries)
        entries, drawn = _refit(ask, vintage, rows, entries)
        gone = (
            f"; {every - len(entries)} models with fewer than {FEWEST_SCORES} scores left out"
            if every > len(entries)
            else ""
        )
        note = [f"refitted on {ask.benchmarks} benchmarks, {ask.draws} draws{gone}"]
        return Sample(entries, drawn, vintage, last, True, note, source)
    covers = next((v.covers for v in outlook.vintages() if v.vintage == vintage), "")
    return Sample(
        entries, _normal(entries, ask), vintage, last, not note, [*note, covers] if "only" in covers else note, source
    )


def _refit(
    ask: Ask, vintage: str, rows: tuple[outlook.Standing, ...], entries: list[Entry]
) -> tuple[list[Entry], Array]:
    """Fit the scores of a vintage again, on some benchmarks or with draws of its rows; models that fall out are left out."""
    wanted = {"all": (True, False, None), "optimized": (True,), "unoptimized": (False, None)}[ask.benchmarks]
    kept = [s for s in outlook.scores(vintage) if s.optimized in wanted]
    counts = Counter(s.model for s in kept)
    kept = [s for s in kept if counts[s.model] >= FEWEST_SCORES]
    columns = [s.model for s in kept], [s.benchmark for s in kept], [s.score for s in kept]
    try:
        own = irt.scaled(irt.fit(*columns))
        by = "models" if ask.intervals == "published" else ask.intervals
        found = irt.bootstrap(*columns, draws=ask.draws, seed=ask.seed, by=by)
    except CutlineError as error:
        raise CutlineError(f"benchmarks '{ask.benchmarks}' cannot be fitted: {error}") from None
    drawn = np.where(found.seen, found.eci, own.eci[[own.models.index(m) for m in found.models]])
    place = {m: i for i, m in enumerate(found.models)}
    names = {(r.name or r.model): r.model for r in rows}
    left = [e for e in entries if names[e.name] in place]
    at = [place[names[e.name]] for e in left]
    eci = dict(zip(own.models, own.eci, strict=True))
    return [e._replace(score=float(eci[names[e.name]])) for e in left], drawn[:, at]


def _arena(ask: Ask) -> Sample:
    if ask.board is None:
        raise CutlineError(
            "the yardstick arena needs a file of dated boards (--board FILE); none is stored, as their licence is not settled"
        )
    on = ask.on or "9999-12-31"
    entries, day = of_board(boards.read_board(ask.board), on)
    known = any(e.high > e.low for e in entries)
    note = ["a model's day is that of the first board it is on"]
    return Sample(entries, _normal(entries, ask), day, day, known, note, [ask.board.name])


def _compute(ask: Ask) -> Sample:
    entries = of_compute(supply.runs() if ask.runs is None else read_notable(ask.runs))
    if not entries:
        raise CutlineError(f"{ask.runs} has no run with known compute")
    last = day_text(max(e.day for e in entries))
    note = ["largest runs are no longer published: a group that says nothing looks further behind"]
    return Sample(
        entries,
        _normal(entries, ask),
        last,
        last,
        True,
        note,
        ["epoch-notable"] if ask.runs is None else [ask.runs.name],
    )


def gap(ask: Ask) -> dict[str, Any]:
    """Return the lag of one group behind another by every rule asked; keys as in docs/json.md.

    Returns
    -------
    dict
        `estimates`, `range_months`, `vintage`, and what stands behind them. A rule that has no figure says why.

    Raises
    ------
    CutlineError
        If a group, day or switch is not known, or the window begins before the first model of a group.
    """
    data = sample(ask)
    for rule in ask.rules:
        if rule not in RULES:
            raise CutlineError(f"rule must be one of {', '.join(RULES)} or all; got '{rule}'")
    ours, theirs, on, end = _question(ask, data)
    start = _start(ask, ours, theirs, end)
    estimates = _estimates(ask, data, ours, theirs, start, end) if start is not None else _none(ask, ours, theirs, end)
    for row in estimates:
        row["why"] = row["why"].replace("the leader", ask.leader).replace("the follower", ask.follower)
    known = [e["months"] for e in estimates if e["months"] is not None and not _thin(e)]
    return {
        "follower": ask.follower, "leader": ask.leader, "yardstick": ask.yardstick, "unit": UNITS[ask.yardstick], "vintage": data.vintage, "on": on,
        "since": None if start is None else day_text(start), "range_months": [min(known), max(known)] if known else None, "estimates": estimates,
        "today": _today(ask, data, ours, theirs, end), "groups": [_side(ask.leader, ours, end), _side(ask.follower, theirs, end)],
        "open": _open(ask, ours, theirs, end), "size_corrected": _size(ask, data, ours, theirs, start, end),
        "without": [] if ask.without or start is None else _left_out(ask, data, ours, theirs, start, end),
        "compute": _compute_lag(ask, on), "notes": data.note, "sources": data.sources,
    }  # fmt: skip


def _question(ask: Ask, data: Sample) -> tuple[list[Entry], list[Entry], str, float]:
    """Return the leader's and the follower's models, and the last day of the window, in words and as a number."""
    ours, theirs = (members(data.entries, g) for g in (ask.leader, ask.follower))
    if ours == theirs and ours:
        raise CutlineError(f"follower and leader must be two groups; '{ask.follower}' and '{ask.leader}' are the same")
    for lab in ask.without:
        gone = members(data.entries, lab)
        ours, theirs = ([e for e in side if e not in gone] for side in (ours, theirs))
    on = ask.on or data.last
    first = day_text(min((e.day for e in data.entries), default=0.0))
    if on < first:
        raise CutlineError(f"on must not be before the first model, of {first}; got {on}")
    if on > data.last:
        raise CutlineError(
            f"on must not be after {data.last}, the last day that {data.vintage} knows of, as later models are missing; got {on}"
        )
    return ours, theirs, on, day_number(on)


def _thin(e: dict[str, Any]) -> bool:
    """Return whether an estimate stays out of the range; `why` then says so."""
    whole = e["matched"] + e["censored"]
    if e["rule"] == "H3" and e["matched"] < lag.FEWEST:
        e["why"] = f"{e['matched']} of {whole} records matched: too few to count in the range"
    elif e["rule"] in ("H1", "H4") and e["matched"] < e["censored"]:
        e["why"] = f"0 on {e['censored']:,} of {whole:,} days, as the leader was not there: not in the range"
    return bool(e["why"])


def _start(ask: Ask, ours: list[Entry], theirs: list[Entry], end: float) -> float | None:
    """Return the first day of the window, or None where a group has no model by its end."""
    begun = [min((e.day for e in side if e.day <= end), default=np.inf) for side in (ours, theirs)]
    if not np.isfinite(begun).all():
        return None
    first = max(begun)
    if ask.since is not None:
        start = day_number(ask.since)
        if start < first:
            raise CutlineError(f"since must not be before both groups have a model, {day_text(first)}; got {ask.since}")
        if start > end:
            raise CutlineError(f"since must not be after the day asked, {day_text(end)}; got {ask.since}")
        return start
    return max(first, min(day_number(SINCE), end))


def _none(ask: Ask, ours: list[Entry], theirs: list[Entry], end: float) -> list[dict[str, Any]]:
    sizes = [sum(e.day <= end for e in side) for side in (ours, theirs)]
    name, n = (ask.leader, sizes[0]) if sizes[0] < lag.FEWEST else (ask.follower, sizes[1])
    why = f"{name} has {n} scored models by {day_text(end)}; a lag needs {lag.FEWEST}"
    return [_row(rule, None, Unknown(why)) for rule in ask.rules]


def _finite(got: Any) -> Any:
    """Return an answer of a rule with None for what is not finite."""
    if got is None or isinstance(got, Unknown):
        return got
    return got._replace(**{k: None for k, v in got._asdict().items() if isinstance(v, float) and not np.isfinite(v)})


def _row(rule: str, tolerance: float | None, got: Any, drawn: Any = None, sure: float | None = None) -> dict[str, Any]:
    """Return one estimate: the figure of the published scores, the interval of the draws."""
    row: dict[str, Any] = {"rule": rule, "tolerance": tolerance, "confidence": sure, "months": None, "low": None, "high": None, "matched": 0, "censored": 0, "last_months": None, "why": ""}  # fmt: skip
    if isinstance(got, Unknown):
        return row | {"why": got.reason}
    got, drawn = _finite(got), _finite(drawn)
    other = None if isinstance(drawn, Unknown) else drawn
    if isinstance(got, lag.Milestones):
        row |= {"months": got.mean_months, "matched": got.matched, "censored": got.censored, "matched_months": got.matched_months, "median_months": got.median_months}  # fmt: skip
        return row | ({} if other is None else {"low": other.low, "high": other.high})
    if isinstance(got, lag.Vertical):
        row |= {"months": got.months, "points": got.points, "last_points": got.last_points, "points_per_year": got.points_per_year, "why": "" if got.months is not None else "the leader has fewer than two records, so no pace"}  # fmt: skip
        return row | ({} if other is None else {"low": other.months_low, "high": other.months_high, "points_low": other.low, "points_high": other.high})  # fmt: skip
    if rule != "H2" and not got.matched:
        return row | {"censored": got.censored, "why": "on no day of the window was the leader where the follower is"}
    row |= {"months": got.months, "matched": got.matched, "censored": got.censored, "last_months": got.last_months}
    return row | ({} if other is None else {"low": other.low, "high": other.high})


def _estimates(
    ask: Ask, data: Sample, ours: list[Entry], theirs: list[Entry], start: float, end: float
) -> list[dict[str, Any]]:
    plain = data.pair(ours, theirs)
    drawn = data.pair(ours, theirs, True) if data.known else None
    tolerances = TOLERANCES[ask.yardstick] if ask.tolerance is None else (ask.tolerance,)
    records = start if ask.since is not None else day_number(FIRST_RECORD)
    rows = []

    def both(f: Callable[..., Any], *rest: Any) -> tuple[Any, Any]:
        return f(*plain, *rest), None if drawn is None else f(*drawn, *rest)

    def add(rule: str, tolerance: float | None, f: Callable[..., Any], *rest: Any) -> None:
        rows.append(_row(rule, tolerance, *both(f, *rest)))

    for rule in ask.rules:
        if rule == "H4":
            for sure in SURE:
                got = (
                    Unknown(f"no interval was published with the vintage {data.vintage}")
                    if drawn is None
                    else lag.significant(*drawn, start, end, sure)
                )
                rows.append(_row("H4", None, got, None, sure))
        elif rule == "V":
            add("V", None, lag.vertical, start, end)
        else:
            rules: dict[str, tuple[Callable[..., Any], float]] = {
                "H1": (lag.daily, start),
                "H2": (partial(lag.level, opened=ask.since is None and ask.yardstick != "compute"), start),
                "H3": (lag.milestones, min(records, end)),
            }
            f, at = rules[rule]
            for t in tolerances if rule != "H2" else tolerances[:2]:
                add(rule, t, f, at, end, t)
    return rows


def _today(ask: Ask, data: Sample, ours: list[Entry], theirs: list[Entry], end: float) -> dict[str, Any] | None:
    """Return how long ago the leader first had what the follower's best has on the last day."""
    t = TOLERANCES[ask.yardstick][1] if ask.tolerance is None else ask.tolerance
    window = (end, end, t)
    if not any(e.day <= end for e in theirs):
        return None
    got = lag.daily(*data.pair(ours, theirs), *window)
    if isinstance(got, Unknown):
        return None
    drawn = lag.daily(*data.pair(ours, theirs, True), *window)
    span = (drawn.low, drawn.high) if isinstance(drawn, lag.Lag) else (None, None)
    best = [max((e for e in s if e.day <= end), key=lambda e: e.score) for s in (ours, theirs)]
    return {
        "months": got.months,
        "low": span[0],
        "high": span[1],
        "tolerance": t,
        "points": best[0].score - best[1].score,
    }


def _side(name: str, side: list[Entry], end: float) -> dict[str, Any]:
    """Return how many models a group has, what they were trained on, and its records."""
    now = [e for e in side if e.day <= end]
    if not now:
        return {"name": name, "models": 0, "chips": {}, "best": None, "records": []}
    group = Group(np.array([e.day for e in now]), np.array([e.score for e in now]))
    rows = [
        {"model": now[i].name, "org": now[i].org, "date": day_text(now[i].day), "score": now[i].score, "chips": now[i].chips} for i in lag.records(group)
    ]  # fmt: skip
    counts = {k: sum(e.chips == k for e in now) for k in ("restricted", "other", "unknown")}
    return {"name": name, "models": len(now), "chips": counts, "best": rows[-1], "records": rows}


def _open(ask: Ask, ours: list[Entry], theirs: list[Entry], end: float) -> list[dict[str, Any]]:
    """Return the leader's records that the follower has not matched, oldest first."""
    mine = _side(ask.leader, ours, end)["records"]
    best = max((e.score for e in theirs if e.day <= end), default=-np.inf)
    t = 0.0 if ask.tolerance is None else ask.tolerance
    return [r | {"months": (end - day_number(r["date"])) / lag.MONTH_DAYS} for r in mine if best < r["score"] - t]


def _size(
    ask: Ask, data: Sample, ours: list[Entry], theirs: list[Entry], start: float | None, end: float
) -> dict[str, Any] | None:
    """Return H1 with as many models in both groups."""
    if start is None:
        return None
    t = TOLERANCES[ask.yardstick][1] if ask.tolerance is None else ask.tolerance
    sides = data.pair(ours, theirs)
    got = lag.size_corrected(*sides, start, end, t, subsamples=200, seed=ask.seed)
    if isinstance(got, Unknown):
        return None
    return {"rule": "H1", "tolerance": t, "months": got.months, "low": got.low, "high": got.high, "models": [int((g.day <= end).sum()) for g in sides]}  # fmt: skip


def _left_out(
    ask: Ask, data: Sample, ours: list[Entry], theirs: list[Entry], start: float, end: float
) -> list[dict[str, Any]]:
    """Return H1 without each maker that holds a record, most moving first."""
    t = TOLERANCES[ask.yardstick][1] if ask.tolerance is None else ask.tolerance
    base = lag.daily(*data.pair(ours, theirs), start, end, t)
    if isinstance(base, Unknown):
        return []
    rows = []
    for place, side in enumerate((ours, theirs)):
        parents = {o.org: o.parent for o in outlook.organisations()}
        parts = {m for r in _side("", side, end)["records"] for m in makers_of(r["org"])}
        for lab in sorted(m for m in parts if not parents.get(m)):
            rest = [e for e in side if lab not in makers_of(e.org)]
            sides = (rest, theirs) if place == 0 else (ours, rest)
            first = max(min((e.day for e in s), default=np.inf) for s in sides)
            if first > end:
                continue
            got = lag.daily(*data.pair(*sides), max(start, first), end, t)
            months = None if isinstance(got, Unknown) else got.months
            rows.append({"maker": lab, "of": (ask.leader, ask.follower)[place], "months": months, "base": base.months})
    return sorted(rows, key=lambda r: -abs(r["base"] - r["months"]) if r["months"] is not None else 0.0)


COUNTRIES = {"us": "US", "china": "China", "other": "Other"}


def _compute_lag(ask: Ask, on: str) -> dict[str, Any] | None:
    """Return the lag of largest known runs on the same day, where both groups are countries."""
    sides = [COUNTRIES.get(g.strip().casefold()) for g in (ask.leader, ask.follower)]
    if None in sides or ask.yardstick == "compute":
        return None
    try:
        got, sure = (
            compute.compute_lag(str(sides[0]), str(sides[1]), date.fromisoformat(on), s) for s in (True, False)
        )
    except CutlineError:
        return None
    return {
        "months": got.months, "ratio": got.ratio, "leader": got.leader.model, "follower": got.follower.model, "matched": got.matched.model,
        "months_without_speculative": sure.months,
    }  # fmt: skip


def history(ask: Ask, step_days: int = 30) -> list[dict[str, Any]]:
    """Return the lag on each day of a window by H1, and that of the largest known runs: two lines on one axis.

    Parameters
    ----------
    ask : Ask
        As for `gap`.
    step_days : int
        Days between two points. [day]
    """
    data = sample(ask)
    ours, theirs, _, end = _question(ask, data)
    start = _start(ask, ours, theirs, end)
    if start is None:
        return []
    t = TOLERANCES[ask.yardstick][1] if ask.tolerance is None else ask.tolerance
    got = lag.daily(*data.pair(ours, theirs), start, end, t)
    if isinstance(got, Unknown):
        return []
    rows = []
    for i in sorted({*range(0, got.series.size, step_days), got.series.size - 1}):
        on = day_text(start + i)
        run = _compute_lag(replace(ask, on=on), on)
        rows.append(
            {"date": on, "months": float(got.series[i]), "compute_months": None if run is None else run["months"]}
        )
    return rows
