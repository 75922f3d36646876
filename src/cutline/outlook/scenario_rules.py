"""Rules of a scenario: on which days a part needs no licence, and what of the chips that came would not have come."""

from __future__ import annotations

import functools
from datetime import date, timedelta

import numpy as np

from cutline.core.numerics import Array, Mask
from cutline.facts import supply as facts
from cutline.law.day import day_of, first_day
from cutline.law.measures import chip
from cutline.law.verdict import rule
from cutline.outlook.scenario import Flow, Rules, Scenario, Side
from cutline.outlook.scenario_values import START
from cutline.outlook.supply import YEAR_DAYS

DESTINATION = "CN"
"""Where chips for an imagined follower go."""


@functools.cache
def free_days(part: str, rules: Rules, to: str, first: date, last: date) -> Mask:
    """Return for each day of a stretch whether the rules of a scenario asks for no licence, by day.

    Before `rules.since` the real law counts. Days on which the law leaves the question open are not free. Days to come have the law that is
    known now.
    """
    real = Rules(known=rules.known)
    days = (last - first).days + 1
    if rules.since > last:
        return free_days(part, real, to, first, last)
    if rules.since > first:
        before = free_days(part, real, to, first, rules.since - timedelta(1))
        return np.concatenate([before, free_days(part, rules, to, rules.since, last)])
    if rules.off or part in rules.always_free:
        return np.ones(days, bool)
    if rules.line_tpp is not None:
        tpp = chip(part).measures["tpp"]
        known = [float(x) for x in (tpp.low, tpp.high) if x is not None]
        return np.full(days, bool(known) and max(known) < rules.line_tpp)
    return _law_days(part, rules, to, first, last)


def _law_days(part: str, rules: Rules, to: str, first: date, last: date) -> Mask:
    """Return the same by the law room alone, asked for days that are `shift_days` later. (day,)"""
    shift = timedelta(rules.shift_days)
    begin, end = first + shift, last + shift
    found = np.ones((last - first).days + 1, bool)
    if end < first_day():
        return found
    item = chip(part)
    start = max(begin, first_day())
    turns = day_of(end, rules.known, rules.layer, rules.reforms).turns()
    for day in [start, *(t for t in turns if start < t <= end)]:
        asked = rule(item, to, on=day, known=rules.known, layer=rules.layer, reforms=rules.reforms)
        found[(day - begin).days :] = asked["licence_required"] is False
    return found


def destination(side: Side) -> str:
    """Return the country to which exports to a side go."""
    return side.country or DESTINATION


def reach(s: Scenario, side: Side, flow: Flow, ends: tuple[date, ...]) -> Array:
    """Return the years of each quarter in which a flow arrives. (quarter,) [year]"""
    first = START
    days = np.arange(first.toordinal(), ends[-1].toordinal() + 1)
    on = (days >= flow.since.toordinal()) & (days <= flow.until.toordinal())
    if flow.legal:
        on &= free_days(flow.part, s.rules, destination(side), first, ends[-1])
    starts = [0, *((e - first).days + 1 for e in ends[:-1])]
    return np.asarray(np.add.reduceat(on.astype(float), starts) / YEAR_DAYS)


def passes(s: Scenario, ends: tuple[date, ...]) -> dict[str, list[str]]:
    """Return legal flow of the follower -> last days of the quarters in which some of it arrives."""
    legal = [f for f in s.follower.flows if f.legal]
    return {
        f.name: [e.isoformat() for e, y in zip(ends, reach(s, s.follower, f, ends), strict=True) if y > 0]
        for f in legal
    }


def history(s: Scenario, side: Side) -> tuple[facts.Flow, ...]:
    """Return the flows of flows.csv up to the end of a side's history, as they would have been under the scenario's rules.

    Notes
    -----
    A sale to the follower that was free and would not have been loses those days: its units fall with the share of days that are left. What
    was licensed, smuggled, rented or made at home stays. Nothing is invented: where rules let through what was stopped, a flow of the
    scenario must say how much would have come.
    """
    rows = [f for f in facts.flows() if f.use and f.country == side.country and f.start <= side.history]
    cut = [_part_of(f, f.start, min(f.end, side.history)) for f in rows]
    if side.name != "follower":
        return tuple(cut)
    return tuple(piece for f in cut for piece in counterfactual(f, s.rules))


def counterfactual(flow: facts.Flow, rules: Rules) -> tuple[facts.Flow, ...]:
    """Return what is left of a flow under the rules of a scenario: itself, stretches of it, or nothing."""
    if flow.kind != "sale" or flow.licensed:
        return (flow,)
    asked = flow.chip, flow.country
    real = free_days(asked[0], Rules(known=rules.known), asked[1], flow.start, flow.end)
    kept = ~real | free_days(asked[0], rules, asked[1], flow.start, flow.end)
    if kept.all():
        return (flow,)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], kept.astype(int), [0]])))
    spans = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return tuple(_part_of(flow, flow.start + timedelta(a), flow.start + timedelta(b - 1)) for a, b in spans)


def _part_of(flow: facts.Flow, start: date, end: date) -> facts.Flow:
    """Return a stretch of a flow; its series stays, so that it errs with the whole."""
    if (start, end) == (flow.start, flow.end):
        return flow
    share = ((end - start).days + 1) / ((flow.end - flow.start).days + 1)
    return flow._replace(start=start, end=end, units=flow.units * share, low=flow.low * share, high=flow.high * share)
