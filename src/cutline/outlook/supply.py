"""Stocks of chips by country: what arrived each quarter, legal or not by the law room, what still runs, what it is worth."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array
from cutline.facts import DATA_VERSION
from cutline.facts import supply as facts
from cutline.facts.supply import Flow
from cutline.law.day import day_of, first_day
from cutline.law.measures import chip
from cutline.law.verdict import rule
from cutline.outlook.equivalents import WORKLOADS, worth
from cutline.outlook.sites import summary

Z90 = 1.6448536269514722
"""Standard normal, 95 %: half of a 90 % interval."""
LIFE_YEARS = (6.0, 4.0, 9.0)
"""Time after which half of the chips of a year are out of service: median, 90 % interval (guess: books write them off
over four to six years)."""
LIFE_SHAPE = 4.0
"""Weibull shape of the service life of single chips: most leave within some years of the median (guess)."""
YEAR_DAYS = 365.25
STATES = ("free", "licensed", "not legal", "open", "domestic", "abroad")


class Key(NamedTuple):
    """One column of a draw: a chip, how it came, and what the law said on the days when it came."""

    chip: str
    kind: str
    state: str


class Span(NamedTuple):
    """Days on which the law room gives one answer, the last one included."""

    start: date
    end: date
    state: str
    """free, needed (a licence is required) or open (it cannot be decided)"""


class Range(NamedTuple):
    """Quantiles of draws."""

    p10: float
    p50: float
    p90: float


@dataclass(frozen=True)
class Draws:
    """Draws of chips of one country."""

    ends: tuple[date, ...]
    """last days of quarters; the last one is the day asked for (quarter,)"""
    keys: tuple[Key, ...]
    arrived: Array
    """chips that came in a quarter (draw, key, quarter)"""
    held: Array
    """chips in service at its end (draw, key, quarter)"""

    def total(self, *, abroad: bool = False) -> Array:
        """Return chips in service in the country, or rented abroad."""
        return np.asarray(self.held[:, [(k.state == "abroad") == abroad for k in self.keys]].sum(1))

    def h100e(self, workload: str, *, abroad: bool = False) -> Array:
        """Return H100 that the chips in service are worth; chips that cannot be converted count nothing."""
        return np.asarray(np.einsum("nkq,k->nq", self.held, _weights(self.keys, workload, abroad)))


@dataclass(frozen=True)
class Stock:
    """Chips of one country on one day."""

    country: str
    on: date
    rows: dict[Key, Range]
    """chips in service"""
    kinds: dict[str, Range]
    """chips in service by kind, rented ones abroad among them"""
    h100e: dict[str, Range]
    """H100 that the chips in the country are worth, by workload"""
    h100e_kinds: dict[str, dict[str, Range]]
    """the same by kind"""
    abroad_h100e: dict[str, Range]
    """H100 that chips rented abroad are worth, by workload"""
    not_legal_h100e: dict[str, Range]
    """part of h100e that needed a licence of which nobody knows"""
    guessed: dict[str, tuple[str, ...]]
    """chip -> workloads for which the ratio of peaks stands in"""
    not_converted: tuple[str, ...]
    """chips without a rate in the catalogue, in no sum of H100"""


@functools.cache
def law_spans(name: str, country: str, first: date, last: date) -> tuple[Span, ...]:
    """Return what the law room says of a part to a country, from day to day. Days before the first rule are free."""
    begin = first_day()
    turns = [first] if first < begin else []
    turns += [d for d in day_of(max(last, begin)).turns() if max(first, begin) < d <= last]
    turns += [max(first, begin)] if last >= begin else []
    part = chip(name)
    spans: list[Span] = []
    days = sorted(set(turns))
    for start, after in zip(days, [*days[1:], last + timedelta(1)], strict=True):
        required = False if start < begin else rule(part, country, on=start)["licence_required"]
        state = "open" if required is None else "needed" if required else "free"
        if spans and spans[-1].state == state:
            spans[-1] = spans[-1]._replace(end=after - timedelta(1))
        else:
            spans.append(Span(start, after - timedelta(1), state))
    return tuple(spans)


def law_table(names: tuple[str, ...], country: str, first: date, last: date) -> dict[str, dict[date, float]]:
    """Return chip -> last day of a quarter -> share of its days on which no licence was required.

    Examples
    --------
    >>> table = law_table(("A800-SXM-80GB",), "CN", date(2023, 7, 1), date(2024, 3, 31))
    >>> [round(share, 2) for share in table["A800-SXM-80GB"].values()]
    [1.0, 0.24, 0.0]
    """
    found = {}
    for name in names:
        spans = [s for s in law_spans(name, country, first, last) if s.state == "free"]
        begin, row = first, {}
        for end in quarters(first, last):
            row[end] = sum(_days(s.start, s.end, begin, end) for s in spans) / ((end - begin).days + 1)
            begin = end + timedelta(1)
        found[name] = row
    return found


def quarters(first: date, last: date) -> tuple[date, ...]:
    """Return the last days of the quarters from one day to another; the last one is that day.

    Examples
    --------
    >>> [str(d) for d in quarters(date(2024, 2, 1), date(2024, 8, 15))]
    ['2024-03-31', '2024-06-30', '2024-08-15']
    """
    ends: list[date] = []
    year, quarter = first.year, (first.month - 1) // 3
    while not ends or ends[-1] < last:
        year, quarter = (year, quarter + 1) if quarter < 3 else (year + 1, 0)
        ends.append(min(date(year, 3 * quarter + 1, 1) - timedelta(1), last))
    return tuple(ends)


def _days(start: date, end: date, first: date, last: date) -> int:
    """Return the days that two stretches share."""
    return max(0, (min(end, last) - max(start, first)).days + 1)


def state_of(flow: Flow, answer: str) -> str:
    """Return what a chip counts as, from how it came and what the law room says of the day."""
    if flow.kind == "domestic":
        return "domestic"
    if flow.kind == "rented":
        return "abroad"
    if answer == "needed":
        return "licensed" if flow.licensed else "not legal"
    return answer


def _shares(flow: Flow, ends: tuple[date, ...], on: date) -> dict[str, Array]:
    """Return state -> share of a flow that arrives in each quarter. (quarter,)"""
    last = min(flow.end, on)
    asked = flow.kind not in ("domestic", "rented", "retired")
    spans = law_spans(flow.chip, flow.country, flow.start, last) if asked else (Span(flow.start, last, "free"),)
    whole = (flow.end - flow.start).days + 1
    found: dict[str, Array] = {}
    begins = [date.min, *(end + timedelta(1) for end in ends[:-1])]
    for span in spans:
        row = [_days(span.start, span.end, b, e) / whole for b, e in zip(begins, ends, strict=True)]
        state = state_of(flow, span.state)
        found[state] = found.get(state, np.zeros(len(ends))) + np.array(row)
    return found


def _normal(series: str, draws: int, seed: int) -> Array:
    """Return standard normal draws of a series; they do not depend on which other series are drawn. (draw,)"""
    return np.asarray(np.random.default_rng([seed, crc32(series.encode())]).standard_normal(draws))


def spread(median: float, low: float, high: float, z: Array) -> Array:
    """Return a lognormal in two halves at standard normal places: its median, 5 % and 95 % are the numbers given.

    Examples
    --------
    >>> spread(100.0, 50.0, 400.0, np.array([-Z90, 0.0, Z90])).round(6).tolist()
    [50.0, 100.0, 400.0]
    """
    if not median:
        return np.zeros_like(z)
    lower, upper = float(np.log(median / low)), float(np.log(high / median))
    return np.asarray(median * np.exp((lower * np.minimum(z, 0.0) + upper * np.maximum(z, 0.0)) / Z90))


def units(flow: Flow, draws: int, seed: int) -> Array:
    """Return draws of the working chips of a flow: what was counted, by what one chip takes, times the share that is good."""
    counted = spread(flow.units, flow.low, flow.high, _normal(flow.series, draws, seed))
    middle = (flow.good_low * flow.good_high) ** 0.5
    good = spread(middle, flow.good_low, flow.good_high, _normal(f"{flow.series} good", draws, seed))
    return np.asarray(counted / flow.per_chip * np.minimum(good, 1.0))


def in_service(age_years: Array, draws: int, seed: int) -> Array:
    """Return the share of chips of an age that still run, by a Weibull law whose median life is drawn."""
    life = spread(*LIFE_YEARS, _normal("service life", draws, seed))
    ages = np.maximum(np.asarray(age_years, float), 0.0)
    old = ages / life.reshape((-1,) + (1,) * ages.ndim)
    return np.asarray(np.exp(-np.log(2.0) * old**LIFE_SHAPE))


def draw(
    country: str, on: date, draws: int = 2000, seed: int = 0, flows: tuple[Flow, ...] | None = None, keep: bool = False
) -> Draws:
    """Draw what arrived in a country each quarter, and what runs at its end.

    Parameters
    ----------
    flows : tuple of Flow, optional
        In place of the rows of flows.csv that are used.
    keep : bool
        Nothing wears out.

    Raises
    ------
    CutlineError
        If no flow of the country begins by the day, or draws or seed are below 1 and 0.
    """
    if draws < 1 or seed < 0:
        raise CutlineError(f"draws must be at least 1 and seed at least 0; got {draws} and {seed}")
    every = tuple(f for f in facts.flows() if f.use) if flows is None else flows
    rows = [f for f in every if f.country == country and f.start <= on]
    came = [f for f in rows if f.kind != "retired"]
    if not came:
        known = sorted({f.country for f in every})
        raise CutlineError(f"no chips of country '{country}' are known by {on}; there are flows of {', '.join(known)}")
    ends = quarters(min(f.start for f in rows), on)
    arrived: dict[Key, Array] = {}
    for flow in came:
        many = units(flow, draws, seed)
        for state, share in _shares(flow, ends, on).items():
            if share.any():
                key = Key(flow.chip, flow.kind, state)
                arrived[key] = arrived.get(key, 0.0) + many[:, None] * share
    keys = tuple(sorted(arrived))
    table = np.stack([arrived[k] for k in keys], 1)
    last = np.array([e.toordinal() for e in ends], float)
    middle = last - 0.5 * np.diff(last, prepend=float(min(f.start for f in rows).toordinal()))
    age = (last[None, :] - middle[:, None]) / YEAR_DAYS
    left = np.ones((1, *age.shape)) if keep else in_service(age, draws, seed)
    held = np.einsum("nkq,nqe->nke", table, np.broadcast_to(left * (age >= 0), (draws, *age.shape)))
    return Draws(ends, keys, table, held * _after_retired(rows, keys, held, ends, on, draws, seed))


def _after_retired(
    rows: list[Flow], keys: tuple[Key, ...], held: Array, ends: tuple[date, ...], on: date, draws: int, seed: int
) -> Array:
    """Return the share of each key that is left after the retirements that a source counts; never below 0. (draw, key, quarter)"""
    left = np.ones_like(held)
    for name in {f.chip for f in rows if f.kind == "retired"}:
        gone = sum(
            units(f, draws, seed)[:, None] * np.cumsum(sum(_shares(f, ends, on).values()))
            for f in rows
            if f.kind == "retired" and f.chip == name
        )
        mine = [k.chip == name and k.state != "abroad" for k in keys]
        there = held[:, mine].sum(1)
        left[:, mine] = np.maximum(0.0, 1.0 - gone / np.maximum(there, 1e-9))[:, None]
    return left


def _weights(keys: tuple[Key, ...], workload: str, abroad: bool = False, kind: str = "", state: str = "") -> Array:
    """Return H100 that a chip of each key is worth; 0 where the key is not asked for. (key,)"""
    if workload not in WORKLOADS:
        raise CutlineError(f"workload must be one of {', '.join(WORKLOADS)}; got '{workload}'")
    found = []
    for key in keys:
        value = worth(key.chip)
        asked = (key.state == "abroad") == abroad and kind in ("", key.kind) and state in ("", key.state)
        found.append(float(getattr(value, workload)) if value is not None and asked else 0.0)
    return np.array(found)


def ranged(values: Array) -> Range:
    """Return the 10 %, 50 % and 90 % quantiles of draws."""
    return Range(*(float(v) for v in np.quantile(values, (0.1, 0.5, 0.9))))


def stock(country: str, on: date, draws: int = 2000, seed: int = 0, flows: tuple[Flow, ...] | None = None) -> Stock:
    """Return what a country's companies have in service on a day, by chip and kind, and what it is worth in H100.

    Parameters
    ----------
    country : str
        ISO code; CN and US have flows.
    on : date
    draws, seed : int
        The same seed gives the same numbers; draws of a row do not depend on which other rows there are.
    flows : tuple of Flow, optional
        In place of the rows of flows.csv that are used.

    Notes
    -----
    Only what a source counts is in it: what nobody counted (chips before 2022, inference cards, smuggling of other years) is not.
    What chips are worth has no range of its own here; docs/accuracy.md says how far plans are off.
    """
    found = draw(country, on, draws, seed, flows)
    now = found.held[:, :, -1]
    kinds = sorted({k.kind for k in found.keys})
    worths = {k.chip: worth(k.chip) for k in found.keys}

    def h100e(abroad: bool = False, kind: str = "", state: str = "") -> dict[str, Range]:
        return {w: ranged(np.asarray(now @ _weights(found.keys, w, abroad, kind, state))) for w in WORKLOADS}

    return Stock(
        country,
        on,
        {k: ranged(now[:, i]) for i, k in enumerate(found.keys)},
        {kind: ranged(now[:, [k.kind == kind for k in found.keys]].sum(1)) for kind in kinds},
        h100e(),
        {kind: h100e(kind=kind) for kind in kinds if kind != "rented"},
        h100e(abroad=True),
        h100e(state="not legal"),
        {name: w.guessed for name, w in worths.items() if w is not None and w.guessed},
        tuple(sorted(name for name, w in worths.items() if w is None)),
    )


def report(country: str, on: date, draws: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Return a stock in plain numbers, its growth by quarter, its sources; keys as in docs/json.md."""
    if draws < 100:
        raise CutlineError(f"draws must be at least 100 for a range; got {draws}")
    if on > date.fromisoformat(DATA_VERSION):
        raise CutlineError(
            f"on must not be after {DATA_VERSION}, the day of the facts; got {on}. `cutline scenario` looks ahead."
        )
    found = stock(country, on, draws, seed)
    path = draw(country, on, draws, seed)
    worths = {w: path.h100e(w) for w in WORKLOADS}
    rows = [f for f in facts.flows() if f.use and f.country == country and f.start <= on]
    known = date.fromisoformat(DATA_VERSION)
    counted = max((f.end for f in rows if f.end <= known), default=min(f.start for f in rows))
    return {
        "country": country, "on": on.isoformat(), "draws": draws, "seed": seed, "unit": "H100 by workload",
        "rows": [k._asdict() | r._asdict() for k, r in sorted(found.rows.items(), key=lambda kr: -kr[1].p50)],
        "kinds": {k: r._asdict() for k, r in found.kinds.items()}, "chips": ranged(path.total()[:, -1])._asdict(), "h100e": _plain(found.h100e),
        "h100e_kinds": {k: _plain(v) for k, v in found.h100e_kinds.items()}, "abroad_h100e": _plain(found.abroad_h100e),
        "not_legal_h100e": _plain(found.not_legal_h100e),
        "quarters": [{"end": e.isoformat(), **{w: ranged(x[:, i])._asdict() for w, x in worths.items()}} for i, e in enumerate(path.ends)],
        "guessed": {k: list(v) for k, v in found.guessed.items()}, "not_converted": list(found.not_converted),
        "counted_to": counted.isoformat(),
        "planned": sorted({f.chip for f in rows if f.end > known}), "sources": sorted({f.source for f in rows}),
        "sites": summary(country, on, found.h100e["peak"].p50),
    }  # fmt: skip


def _plain(ranges: dict[str, Range]) -> dict[str, dict[str, float]]:
    return {k: r._asdict() for k, r in ranges.items()}


def last_day(country: str, known: date) -> date:
    """Return the end of the last used flow of a country that had ended by a day; what ends later is a plan.

    Raises
    ------
    CutlineError
        If no flow of the country is used.
    """
    ends = [f.end for f in facts.flows() if f.use and f.country == country and f.end <= known]
    if not ends:
        there = sorted({f.country for f in facts.flows() if f.use})
        raise CutlineError(f"no chips of country '{country}' are known; there are flows of {', '.join(there)}")
    return max(ends)
