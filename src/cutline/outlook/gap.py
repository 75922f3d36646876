"""How far one group of models is behind another: every rule side by side, the range over them first, sampling second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

import numpy as np

from cutline.core.errors import CutlineError
from cutline.facts import outlook
from cutline.outlook import compute, lag
from cutline.outlook.entries import (
    Entry,
    day_number,
    day_text,
    makers_of,
    members,
)
from cutline.outlook.lag import Group, Unknown
from cutline.outlook.sample import RULES, Ask, Sample, sample

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
        "compute": _with_growth(ask, _compute_lag(ask, on), on), "notes": _notes(ask, data, on), "sources": data.sources,
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


def _notes(ask: Ask, data: Sample, on: str) -> list[str]:
    late = ask.yardstick == "eci" and on < min(data.last, data.vintage)
    return [
        *data.note,
        *(
            [f"scores as known on {data.vintage}, of models released by {on}: not what one knew that day"]
            if late
            else []
        ),
    ]


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
    if None in sides or ask.yardstick == "compute" or ask.without:
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


GROWTH_SINCE = date(2021, 10, 1)
"""First day of the growth of largest runs: Epoch AI's comparison of both countries begins there."""


def _with_growth(ask: Ask, run: dict[str, Any] | None, on: str) -> dict[str, Any] | None:
    """Add how fast the largest language models of both countries grow in compute."""
    if run is None:
        return None
    grown = []
    for group in (ask.leader, ask.follower):
        rows = compute.known_runs(
            group=COUNTRIES[group.strip().casefold()], domain="Language", on=date.fromisoformat(on)
        )
        try:
            got = compute.growth(rows, GROWTH_SINCE, date.fromisoformat(on), seed=ask.seed)
        except CutlineError:
            continue
        grown.append({"group": group, "since": GROWTH_SINCE.isoformat()} | got._asdict())
    return run | {"growth": grown}


def history(ask: Ask, step_days: int = 5) -> list[dict[str, Any]]:
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
