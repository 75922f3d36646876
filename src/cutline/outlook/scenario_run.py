"""The run of a scenario: draws of everything at once, fans of both sides, what matters most, the models that follow.

Arrivals that the rules let through -> fleet -> usable fleet -> largest run -> effective compute -> months, by two bridges:

- by compute: how long ago the leader had as much effective compute as the follower has now, at the pace of its largest runs.
- by the index: points of the index by a decade of compute and by year, from a regression over models of both countries.

Both say what a ratio of compute is worth from nothing. Where a lag was measured, a third line starts there and takes only the *change* that the two
bridges see since, in a blend that is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any
from zlib import crc32

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array
from cutline.facts.chips import chip
from cutline.outlook import scenario_rules, supply
from cutline.outlook.equivalents import REFERENCE, worth
from cutline.outlook.scenario import DRAWS, Scenario, Side
from cutline.outlook.scenario_values import START, Spread, year_of
from cutline.plan.sizing import law, loss, optimal_parameters, optimal_tokens

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
Z80 = 1.2815515655446004
"""Standard normal, 90 %: the 10 and 90 % ends of an input."""
DAY_S = 86400.0
CHUNK = 2000
"""Draws made at once: what one core keeps close. Draw number i is the same whatever the number of draws."""
FANS = (
    "leader_fleet",
    "follower_fleet",
    "leader_run",
    "follower_run",
    "ratio",
    "lag_compute",
    "lag_index",
    "lag_measured",
)
LAGS = FANS[-3:]
STOCK = "stock"
"""Part of an imagined country's stock."""


def quarters(s: Scenario) -> tuple[date, ...]:
    """Return the last days of the quarters of a scenario."""
    return supply.quarters(START, s.until)


class Draws:
    """Standard normal numbers by name: those of a name do not depend on which other names there are."""

    def __init__(self, n: int, seed: int, given: dict[str, Array] | None = None) -> None:
        self.n, self.seed, self.given = n, seed, given

    def z(self, name: str) -> Array:
        """Return the numbers of a name; with `given`, those, or 0; by draw."""
        if self.given is not None:
            return self.given.get(name, np.zeros(self.n))
        return np.asarray(np.random.default_rng([self.seed, crc32(name.encode())]).standard_normal(self.n))

    def of(self, name: str, spread: Spread) -> Array:
        """Return draws of a quantity, ready to meet quarters: one row by draw."""
        return spread.at(self.z(name))[:, None]


@dataclass(frozen=True)
class Past:
    """What a side has of its history, and the law by which chips wear out, by draw."""

    parts: tuple[str, ...]
    held: Array
    """in service, from the first quarter on; to the end of the history where the whole fleet grows after it (draw, part, quarter) [H100-equivalents]"""
    left: Array
    """share of the arrivals of a quarter that runs at the end of another (draw, quarter, quarter)"""


def h100s(part: str) -> float:
    """Return what a chip is worth in training, in H100; 0 where the catalogue has no rate of it."""
    found = worth(part)
    return 0.0 if found is None else found.training


def past(s: Scenario, side: Side, n: int, seed: int) -> Past:
    """Draw the history of a side; chips that its companies rent abroad are not in it."""
    ends = quarters(s)
    end = np.array([e.toordinal() for e in ends], float)
    begin = np.concatenate([[START.toordinal()], end[:-1] + 1])
    age = (end[None, :] - 0.5 * (begin + end)[:, None]) / supply.YEAR_DAYS
    left = np.zeros((1, len(ends), len(ends)))
    if side.growth is None:
        left = supply.in_service(age, n, seed) * (age >= 0)
    if not side.country:
        since = np.array([(e - START).days / supply.YEAR_DAYS for e in ends])
        kept = supply.in_service(since, n, seed) if side.growth is None else np.ones((1, len(ends)))
        return Past((STOCK,), kept[:, None, :], left)
    last = side.history if side.growth is not None else s.until
    found = supply.draw(side.country, last, n, seed, scenario_rules.history(s, side))
    parts = tuple(sorted({k.chip for k in found.keys if k.state != "abroad"}))
    weight = np.array([[h100s(p) * (k.chip == p and k.state != "abroad") for k in found.keys] for p in parts])
    first = next(i for i, e in enumerate(found.ends) if e > START)
    return Past(parts, np.matmul(weight, found.held[:, :, first:]), left)


def fleet(s: Scenario, side: Side, d: Draws, own: Past) -> tuple[Array, Array]:
    """Return the fleet of a side and its largest single kind, by draw and quarter. [H100-equivalents]"""
    ends = quarters(s)
    held = own.held
    if side.stock is not None:
        held = held * d.of(f"{side.name}.stock", side.stock)[:, :, None]
    if side.growth is not None:
        known = sum(e <= side.history for e in ends) if side.country else 0
        after = np.array([year_of(e) - year_of(side.history) for e in ends[known:]])
        grown = d.of(f"{side.name}.growth", side.growth) ** after
        total, largest = held.sum(1), held.max(1)
        if not known:
            return total * grown, largest * grown
        return tuple(np.concatenate([x[:, :known], x[:, known - 1 : known] * grown], 1) for x in (total, largest))  # type: ignore[return-value]
    kinds = {p: held[:, i] for i, p in enumerate(own.parts)}
    for flow in side.flows:
        at = f"{side.name}.{flow.name}"
        age = np.array([max(0.0, year_of(e) - year_of(flow.since)) for e in ends])
        arrive = d.of(f"{at}.units", flow.units) * d.of(f"{at}.growth", flow.growth) ** age
        arrive = arrive * scenario_rules.reach(s, side, flow, ends) * h100s(flow.part)
        kinds[flow.part] = kinds.get(flow.part, 0.0) + np.matmul(arrive[:, None, :], own.left)[:, 0]
    table = np.stack([np.broadcast_to(x, (d.n, len(ends))) for x in kinds.values()], 1)
    return table.sum(1), table.max(1)


def largest_run(side: Side, d: Draws, total: Array, largest: Array) -> Array:
    """Return the largest run that a fleet has allowed so far, by draw and quarter. [flop]

    Notes
    -----
    It runs on the largest single kind of chip, and of every other chip the share `mixed` counts.
    """
    share, days, mfu, mixed = (d.of(f"{side.name}.{k}", getattr(side, k)) for k in ("share", "days", "mfu", "mixed"))
    peak = chip(REFERENCE).peak_flop_per_s("bf16")
    usable = largest + mixed * (total - largest)
    return np.asarray(np.maximum.accumulate(usable * (share * mfu * peak * days * DAY_S), axis=1))


def handicap(own: Array, spill: Array, progress: Array, delay_years: Array) -> Array:
    """Return by how much less the follower's flop is worth than the leader's.

    Of the leader's efficiency the follower reaches the share `own` by itself at the same time; of the rest, the share `spill` comes by papers,
    weights and outputs after the delay, worth as much less as efficiency has grown since.

    Examples
    --------
    >>> handicap(np.array([1.0, 0.0, 0.5]), np.array([0.0, 1.0, 0.0]), np.array(4.0), np.array(0.5)).tolist()
    [1.0, 2.0, 2.0]
    """
    return np.asarray(1.0 / np.maximum(own + (1.0 - own) * spill * progress**-delay_years, 1e-3))


def months_by_compute(ratio: Array, frontier_growth: Array, progress: Array) -> Array:
    """Return the months for a ratio of effective compute, at the leader's growth a year of compute and of what a flop is worth.

    Examples
    --------
    >>> [float(months_by_compute(np.array(10.0), np.array(g), np.array(3.0)).round(1)) for g in (4.5, 5.0)]
    [10.6, 10.2]
    """
    return np.asarray(12.0 * np.log(ratio) / np.log(frontier_growth * progress))


def months_by_index(
    ratio: Array, per_decade: Array, per_year: Array, head_start: Array, frontier_growth: Array
) -> Array:
    """Return the months for a ratio of physical compute, by points of the index.

    Notes
    -----
    `head_start` is how much better the follower's models do at the same compute, diffusion and all; so the ratio has utilisation in it, but
    not the handicap, which would count twice.

    Examples
    --------
    >>> float(months_by_index(np.array(10.0), np.array(8.0), np.array(11.2), np.array(0.0), np.array(4.5)).round(1))
    5.8
    """
    return np.asarray(
        12.0 * (per_decade * np.log10(ratio) - head_start) / (per_decade * np.log10(frontier_growth) + per_year)
    )


def paths(s: Scenario, d: Draws, own: dict[str, Past]) -> dict[str, Array]:
    """Return the quantities of `FANS`, each (draw, quarter)."""
    out: dict[str, Array] = {}
    for side in (s.leader, s.follower):
        total, largest = fleet(s, side, d, own[side.name])
        out[f"{side.name}_fleet"], out[f"{side.name}_run"] = total, largest_run(side, d, total, largest)
    v = {k: d.of(f"levers.{k}", x) for k, x in s.levers.items() if k != "mixed"}
    b = {k: d.of(f"bridge.{k}", x) for k, x in s.bridge.items()}
    out["ratio"] = out["leader_run"] / out["follower_run"]
    physical = out["ratio"] / (v["software"] * v["precision"])
    effective = physical * handicap(v["own"], v["spill"], v["algorithms"], v["delay_years"])
    out["lag_compute"] = months_by_compute(effective, b["frontier_growth"], v["algorithms"])
    out["lag_index"] = months_by_index(physical, b["per_decade"], b["per_year"], b["head_start"], b["frontier_growth"])
    if s.measured_on is not None:
        at = next(i for i, e in enumerate(quarters(s)) if e >= s.measured_on)
        change = {k: out[k] - out[k][:, at : at + 1] for k in ("lag_compute", "lag_index")}
        out["lag_measured"] = (
            b["measured"] + b["blend"] * change["lag_compute"] + (1.0 - b["blend"]) * change["lag_index"]
        )
    return out


def lags(s: Scenario) -> tuple[str, ...]:
    """Return the fans of a scenario that are lags."""
    return LAGS if s.measured_on is not None else LAGS[:-1]


def piece_seed(seed: int, piece: int) -> int:
    """Return the seed of a chunk of draws."""
    return int(np.random.SeedSequence([seed, piece]).generate_state(1)[0])


def drawn(s: Scenario, n: int, seed: int) -> dict[str, Array]:
    """Return `paths` of many draws, made chunk by chunk so that memory stays small., as (quarter, draw)."""
    names = [k for k in FANS if k not in LAGS or k in lags(s)]
    out = {k: np.empty((len(quarters(s)), n)) for k in names}
    for piece, at in enumerate(range(0, n, CHUNK)):
        many, own = min(CHUNK, n - at), piece_seed(seed, piece)
        found = paths(s, Draws(many, own), {x.name: past(s, x, many, own) for x in (s.leader, s.follower)})
        for name, values in found.items():
            out[name][:, at : at + many] = values.T
    return out


def run(s: Scenario, draws: int | None = None, seed: int | None = None) -> dict[str, Any]:
    """Return what a scenario comes to.

    Parameters
    ----------
    draws, seed : int, optional
        In place of those of the file. The same seed gives the same bytes.

    Returns
    -------
    dict
        `name`, `about`, `draws`, `seed`, `until`; `history` (side -> last day of what was counted); `fans` (name of `FANS` -> rows of `day`,
        `year`, `p10` to `p90`; fleets in H100-equivalents, runs in flop, lags in months); `tornado`; `models`; `passes` (legal flow -> last
        days of the quarters in which it arrives); `range_months` (at the end: 10 % of the lowest line to 90 % of the highest); `assumed` (inputs
        that are guesses, with their range); `sources`.

    Raises
    ------
    CutlineError
        If draws are fewer than 100 or more than a million, the seed is below 0, or a draw has no finite value.
    """
    n, k = s.draws if draws is None else draws, s.seed if seed is None else seed
    if not DRAWS[0] <= n <= DRAWS[1]:
        raise CutlineError(f"draws must be from {DRAWS[0]:,} to {DRAWS[1]:,}; got {n}")
    if k < 0:
        raise CutlineError(f"seed must be at least 0; got {k}")
    ends = quarters(s)
    with np.errstate(all="ignore"):
        found = drawn(s, n, k)
    wild = next((name for name, values in found.items() if not np.isfinite(values).all()), "")
    if wild:
        raise CutlineError(f"{wild} has no finite value in some draws; narrow the ranges of growth, units and stock")
    fans = {name: _fan(ends, values) for name, values in found.items()}
    last = [fans[name][-1] for name in lags(s)]
    return {
        "name": s.name, "about": s.about, "draws": n, "seed": k, "until": s.until.isoformat(),
        "sides": {x.name: x.country or x.name for x in (s.leader, s.follower)},
        "early": [f"{f.name} ({f.part})" for x in (s.leader, s.follower) for f in x.flows if f.since <= x.history and not f.legal],
        "history": {x.name: x.history.isoformat() for x in (s.leader, s.follower)}, "fans": fans, "tornado": tornado(s, k),
        "models": models(s, fans), "passes": scenario_rules.passes(s, ends),
        "range_months": [min(x["p10"] for x in last), max(x["p90"] for x in last)], "assumed": assumed(s), "sources": sources(s),
    }  # fmt: skip


def _fan(ends: tuple[date, ...], values: Array) -> list[dict[str, Any]]:
    """Return quantiles by quarter."""
    found = np.quantile(values, QUANTILES, axis=1)
    names = [f"p{round(100 * q)}" for q in QUANTILES]
    return [
        {"day": e.isoformat(), "year": round(year_of(e), 4)} | dict(zip(names, map(float, found[:, i]), strict=True))
        for i, e in enumerate(ends)
    ]


def tornado(s: Scenario, seed: int) -> list[dict[str, Any]]:
    """Return for each input both lags at the end with it at its 10 and 90 % ends and all others in their middle, widest first.

    Notes
    -----
    A history is one input: its middle is the median of draws by part, its ends scale that to the 10 and 90 % ends of its total.
    """
    sides = {x.name: x for x in (s.leader, s.follower)}
    names = [*s.inputs(), *(f"{name}.history" for name, side in sides.items() if side.country)]
    rows = 2 * len(names)
    given = {name: np.zeros(rows) for name in names}
    for i, name in enumerate(names):
        given[name][2 * i : 2 * i + 2] = (-Z80, Z80)
    own = {
        name: _middle(past(s, side, CHUNK, piece_seed(seed, 0)), given.get(f"{name}.history"))
        for name, side in sides.items()
    }
    found = paths(s, Draws(rows, seed, given), own)
    out: list[dict[str, Any]] = []
    for i, name in enumerate(names):
        ends = {k: [float(x) for x in found[k][2 * i : 2 * i + 2, -1]] for k in lags(s)}
        row = {"input": name} | {k: {"low": low, "high": high} for k, (low, high) in ends.items()}
        if any(abs(high - low) > 1e-9 for low, high in ends.values()):
            out.append(row)
    return sorted(out, key=lambda r: (-max(abs(r[k]["high"] - r[k]["low"]) for k in lags(s)), r["input"]))


def _middle(own: Past, z: Array | None) -> Past:
    """Return a history in its middle, scaled to its ends where z is not 0. (row, part, quarter)"""
    held, left = (np.median(x, 0, keepdims=True) for x in (own.held, own.left))
    if z is None:
        return Past(own.parts, held, left)
    low, middle, high = np.quantile(own.held.sum(1), (0.1, 0.5, 0.9), axis=0)
    scale = np.where(z[:, None] < 0, low, np.where(z[:, None] > 0, high, middle)) / np.maximum(middle, 1e-9)
    return Past(own.parts, held * scale[:, None, :], left)


def models(s: Scenario, fans: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return by side the model of least loss for its largest run at the end, at three quantiles; by physical compute, C = 6 N D."""
    at = law(s.scaling)
    out: dict[str, Any] = {"law": at.name, "source": at.title}
    for side in ("leader", "follower"):
        rows = {}
        for q in ("p10", "p50", "p90"):
            flop = fans[f"{side}_run"][-1][q]
            n = optimal_parameters(at, flop)
            tokens = optimal_tokens(at, n)
            rows[q] = {"flop": flop, "parameters": n, "tokens": tokens, "loss": loss(at, n, tokens)}
        out[side] = rows
    return out


def assumed(s: Scenario) -> list[dict[str, Any]]:
    """Return the inputs without a published source, with their 90 % range."""
    return [
        {"input": name, "low": x.low, "high": x.high, "note": x.note}
        for name, x in s.inputs().items()
        if x.low != x.high and (not x.source or "guess" in x.source.split())
    ]


def sources(s: Scenario) -> list[str]:
    """Return the ids of the sources of a scenario's flows and inputs."""
    found = {x for spread in s.inputs().values() for x in spread.source.split()}
    for side in (s.leader, s.follower):
        if side.country:
            found |= {f.source for f in scenario_rules.history(s, side)}
    return sorted(found - {"guess"})


def at_day(fan: list[dict[str, Any]], day: date) -> dict[str, Any]:
    """Return the row of a fan at the end of the quarter of a day, or the last one before it.

    Raises
    ------
    CutlineError
        If the fan begins later.
    """
    rows = [r for r in fan if date.fromisoformat(r["day"]) <= day]
    if not rows:
        raise CutlineError(f"the scenario begins after {day}")
    return rows[-1]
