"""What came, beside what scenarios say: the shares of fleets that published runs were, and the test of a scenario of 2024."""

from __future__ import annotations

import functools
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from cutline.core.errors import CutlineError
from cutline.facts import outlook
from cutline.facts.chips import chip
from cutline.outlook import compute, lag, scenario_run, supply
from cutline.outlook.equivalents import REFERENCE
from cutline.outlook.scenario import BACKTEST, DEFAULTS, LEVERS, read
from cutline.outlook.scenario_values import Spread

KNOWN = date(2024, 12, 31)
"""Last day of what the scenario of the backtest knows."""
COUNTRIES = {"US": "US", "CN": "China"}
"""Country of flows -> group of runs and of the index."""
VINTAGE = "2026-10-01"
TOLERANCE = 1.0
"""Points by which the leader must be better, as in the reported lag."""
BRIDGES = {"supply": "", "lag_compute": "lag_compute", "lag_index": "lag_index", "lag_measured": "lag_measured"}
EPOCH_DAY = date(1970, 1, 1).toordinal()


class Share(NamedTuple):
    """What share of its country's usable fleet a published run was."""

    country: str
    model: str
    day: date
    flop: float
    p10: float
    p50: float
    p90: float


def shares(since: date = date(2023, 1, 1), until: date = KNOWN, draws: int = 2000, seed: int = 0) -> tuple[Share, ...]:
    """Return the shares of runs that were the largest of their country when they came, by the fleet drawn for that day.

    Notes
    -----
    Days and utilisation are those of the defaults, days of the run itself where they are published. Flows begin in 2022, so fleets of early
    2023 are low and their shares high.
    """
    found = []
    for country, group in COUNTRIES.items():
        best = 0.0
        for run in compute.records(group, until):
            new, best = (run.flop or 0.0) > best, max(best, run.flop or 0.0)
            if run.date < since or run.flop is None or not new:
                continue
            d = scenario_run.Draws(draws, seed)
            mixed, days, mfu = (_default(d, k) for k in ("mixed", "days", "mfu"))
            days = days if run.time_s is None else np.full(draws, run.time_s / scenario_run.DAY_S)
            whole = chip(REFERENCE).peak_flop_per_s("bf16") * mfu * days * scenario_run.DAY_S
            low, middle, high = np.quantile(
                run.flop / (whole * _usable(country, run.date, mixed, draws, seed)), (0.1, 0.5, 0.9)
            )
            found.append(Share(country, run.model, run.date, run.flop, float(low), float(middle), float(high)))
    return tuple(found)


def _default(d: scenario_run.Draws, key: str) -> Any:
    """Return draws of what a scenario takes where it says nothing. (draw,)"""
    said = (DEFAULTS | LEVERS)[key]
    low, high = said["range"]
    return d.of(key, Spread(low, high, 0.0, np.inf if key == "days" else 1.0))[:, 0]


def _usable(country: str, day: date, mixed: Any, draws: int, seed: int) -> Any:
    """Return the largest kind of chip and the share `mixed` of all others on a day. (draw,) [H100-equivalents]"""
    found = supply.draw(country, day, draws, seed)
    kinds: dict[str, Any] = {}
    for i, key in enumerate(found.keys):
        if key.state != "abroad":
            kinds[key.chip] = kinds.get(key.chip, 0.0) + found.held[:, i, -1] * scenario_run.h100s(key.chip)
    table = np.stack(list(kinds.values()))
    return table.max(0) + mixed * (table.sum(0) - table.max(0))


class Fit(NamedTuple):
    """Coefficient of a regression and its 90 % interval."""

    value: float
    low: float
    high: float


def index_bridge(until: date = KNOWN, vintage: str = "2026-07-10") -> dict[str, Fit]:
    """Return the regression behind the index bridge: points = a + `per_decade` log10 flop + `per_year` t + `head_start` of China.

    Parameters
    ----------
    until : date
        Last release of the models in it: those of the US and China with known compute.
    vintage : str
        Of the index; no index was published by the end of 2024.
    """
    rows = [r for r in outlook.index(vintage) if r.flop and r.date and r.date <= until.isoformat()]
    rows = [r for r in rows if r.country_group in COUNTRIES.values()]
    day = np.array([date.fromisoformat(r.date).toordinal() / supply.YEAR_DAYS for r in rows])
    x = np.stack(
        [np.log10([r.flop or 1.0 for r in rows]), day - day.mean(), [r.country_group == "China" for r in rows]], 1
    )
    x = np.column_stack([np.ones(len(rows)), x])
    y = np.array([r.eci for r in rows])
    found = np.linalg.lstsq(x, y, rcond=None)[0]
    rest = y - x @ found
    error = np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * (rest @ rest) / (len(y) - x.shape[1]))
    each = zip(("per_decade", "per_year", "head_start"), found[1:], supply.Z90 * error[1:], strict=True)
    return {k: Fit(float(v), float(v - e), float(v + e)) for k, v, e in each}


class Came(NamedTuple):
    """One thing that came after the scenario was made."""

    what: str
    fan: str
    day: date
    value: float | None
    """None where nothing is published any more"""


@functools.cache
def came(draws: int = 2000, seed: int = 0) -> tuple[Came, ...]:
    """Return what came: fleets, largest runs, and the lag on the newest index, read from the data."""
    end = date(2025, 12, 31)
    rows = [
        Came(f"fleet of {country}", fan, end, supply.stock(country, end, draws, seed).h100e["training"].p50)
        for country, fan in (("US", "leader_fleet"), ("CN", "follower_fleet"))
    ]
    for day in (date(2025, 3, 31), date(2025, 9, 30)):
        rows.append(Came("largest run of US", "leader_run", day, compute.records("US", day)[-1].flop))
    newest = compute.records("China", end)[-1]
    silent = newest.date <= KNOWN
    rows.append(Came("largest run of CN", "follower_run", end, None if silent else newest.flop))
    for day in (date(2025, 6, 30), end, date(2026, 6, 30)):
        rows.append(Came("lag on the index", "lag", day, measured_months(day)))
    return tuple(rows)


def measured_months(day: date) -> float:
    """Return the lag of China behind the US on a day, rule H1 with one point of tolerance. [months]

    Raises
    ------
    CutlineError
        If the index has no lag on the day.
    """
    groups = []
    for name in COUNTRIES.values():
        rows = [r for r in outlook.index(VINTAGE) if r.country_group == name and r.date]
        days = [float(date.fromisoformat(r.date).toordinal() - EPOCH_DAY) for r in rows]
        groups.append(lag.Group(np.array(days), np.array([r.eci for r in rows])))
    on = float(day.toordinal() - EPOCH_DAY)
    found = lag.daily(groups[0], groups[1], on, on, TOLERANCE)
    if isinstance(found, lag.Unknown):
        raise CutlineError(f"no lag on {day}: {found.reason}")
    return found.last_months


def backtest(draws: int = 5000, seed: int = 0) -> dict[str, Any]:
    """Return what a scenario of the end of 2024 said of what came since.

    Returns
    -------
    dict
        `known` (day), `scenario`, `vintage`; `rows` of `what`, `day`, `bridge` (empty for fleets and runs), `came`, `low`, `high` (10 and 90 %),
        `inside` (None: censored, nothing was published, and not counted); `inside` (for `supply` and each bridge: how many of how many, and
        their share).

    Notes
    -----
    Counts of chips are those that are known today, cut at the end of 2024; of the index bridge, the regression itself is of 2026. So neither
    is blind in full.
    """
    found = scenario_run.run(read(BACKTEST), draws, seed)
    rows: list[dict[str, Any]] = []
    for x in came():
        for fan in scenario_run.LAGS if x.fan == "lag" else (x.fan,):
            at = scenario_run.at_day(found["fans"][fan], x.day)
            inside = None if x.value is None else at["p10"] <= x.value <= at["p90"]
            rows.append(
                {"what": x.what, "day": x.day.isoformat(), "bridge": fan if x.fan == "lag" else "", "came": x.value}
                | {"low": at["p10"], "high": at["p90"], "inside": inside}
            )
    counted = {
        name: [r["inside"] for r in rows if r["bridge"] == b and r["inside"] is not None] for name, b in BRIDGES.items()
    }
    inside_of = {k: {"inside": sum(v), "of": len(v), "share": sum(v) / len(v)} for k, v in counted.items()}
    return {"known": KNOWN.isoformat(), "scenario": BACKTEST, "vintage": VINTAGE, "rows": rows, "inside": inside_of}
