"""Training compute of published runs: three readings of one run, how the largest grow, and how far one group is behind."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np

from cutline.core.errors import CutlineError
from cutline.facts import published, reader
from cutline.facts import supply as facts
from cutline.facts.chips import chip
from cutline.facts.models import model, parameters
from cutline.facts.supply import Training
from cutline.outlook.equivalents import utilisation
from cutline.plan.shapes import shape_of
from cutline.plan.training import model_flop

MONTH_DAYS = 30.4375
YEAR_DAYS = 365.25
MFU = 0.35
"""Utilisation where the planner has no number for a chip (guess: runs that publish theirs lie around 0.2 to 0.5)."""
SEQ = 4096
"""Sequence where the catalogue has no length of a model's pre-training (guess)."""


class Readings(NamedTuple):
    """Training compute of one run, three ways; None where what a way needs is not published."""

    model: str
    published_flop: float | None
    """as printed by the table, or estimated there"""
    six_nd_flop: float | None
    """6 x parameters that a token visits x tokens of pre-training; later stages are not in it"""
    shape_flop: float | None
    """every matrix product of the shape, attention included, without multi-token prediction"""
    hardware_flop: float | None
    """chips x time x dense bf16 peak x utilisation"""
    utilisation: float | None
    utilisation_from: str
    """planner or guess"""
    disagreement: float
    """largest reading by smallest; 1 where there is one"""


class Growth(NamedTuple):
    """Growth of the largest runs."""

    per_year: float
    """factor by year"""
    low: float
    """5 % of bootstrap draws"""
    high: float
    """95 %"""
    runs: int
    """runs that were among the largest so far when they came"""


class Lag(NamedTuple):
    """How far the largest run of one group is behind another group's."""

    months: float
    """since the leader first had a run as large as the follower's largest; negative where the follower leads"""
    ratio: float
    """largest run of the leader by the largest of the follower"""
    leader: Training
    follower: Training
    matched: Training
    """the run by which the leader first was where the follower is (or the other way round)"""


def training_flop(run: str | Training) -> Readings:
    """Return the training compute of a run as published, from its shape, and from its hardware.

    Parameters
    ----------
    run : str or Training
        A model's name as in runs.csv, or a row of it.

    Notes
    -----
    Shape and tokens are those of the catalogue's model of that name or alias; a model tuned from it gets the compute of its base.
    Utilisation is that of the planner's best plan of Llama 3 70B on 1,024 of the chips: real runs stay below it.

    Raises
    ------
    UnknownName
        With the names that come close.
    """
    row = facts.run_named(run) if isinstance(run, str) else run
    six_nd, shape = _from_shape(row.model)
    hardware, used, source = _from_hardware(row)
    known = [f for f in (row.flop, six_nd, shape, hardware) if f]
    apart = max(known) / min(known) if known else 1.0
    return Readings(row.model, row.flop, six_nd, shape, hardware, used, source, apart)


def _from_shape(name: str) -> tuple[float | None, float | None]:
    """Return 6ND and the flop of the shape, where the catalogue has shape and tokens. [flop]"""
    table = reader.table("models")
    known = table.known(name)
    tokens = table.best(known, "tokens") if known else None
    if known is None or tokens is None:
        return None, None
    m = model(known)
    if m.kind == "dit":
        return None, None
    shape = shape_of(m, m.context or SEQ, False)
    each = float(model_flop(shape)) / (m.context or SEQ)
    return 6.0 * parameters(m).active * tokens.value, each * tokens.value


def _from_hardware(row: Training) -> tuple[float | None, float | None, str]:
    """Return chips x time x peak x utilisation [flop], the utilisation and where it is from."""
    name, chip_s = _chip_seconds(row)
    if name is None:
        return None, None, ""
    try:
        peak = chip(name).peak_flop_per_s("bf16")
    except CutlineError:
        return None, None, ""
    try:
        used, source = utilisation(name), "planner"
    except CutlineError:
        used, source = MFU, "guess"
    return chip_s * peak * used, used, source


def _chip_seconds(row: Training) -> tuple[str | None, float]:
    """Return the chip and the chip-seconds of a run: of its row, or as its makers printed them for the catalogue's model."""
    name = facts.hardware().get(row.hardware[0]) if len(row.hardware) == 1 else None
    if name is not None and row.quantity is not None and row.time_s is not None:
        return name, row.quantity * row.time_s
    table = reader.table("models")
    known = table.known(row.model)
    tokens = table.best(known, "tokens") if known else None
    for said in published.runs():
        whole = tokens is not None and said["tokens"] and float(said["tokens"]) == tokens.value
        if known and said["model"] == known and said["metric"] == "chip_hours" and whole:
            return reader.table("chips").resolve(said["chip"]), 3600.0 * float(said["value"])
    return None, 0.0


def known_runs(
    *, group: str = "", domain: str = "", speculative: bool = True, on: date | None = None
) -> tuple[Training, ...]:
    """Return the runs with a number for their compute, by date.

    Parameters
    ----------
    group : str
        US, China, China+US, Multinational incl. US or Other; with `-` before it all others. Empty: all.
    domain : str
        Such as Language; empty: all.
    speculative : bool
        Count runs whose compute the table calls speculative.
    on : date, optional
        Last day of publication.
    """
    if group.removeprefix("-") not in facts.GROUPS:
        raise CutlineError(f"group must be one of {', '.join(g for g in facts.GROUPS if g)}; got '{group}'")

    def wanted(r: Training) -> bool:
        own = not group or ((r.country_group == group.removeprefix("-")) != group.startswith("-"))
        sure = speculative or r.confidence != "Speculative"
        return bool(r.flop) and own and sure and (not domain or domain in r.domain) and (on is None or r.date <= on)

    return tuple(r for r in facts.runs() if wanted(r))


def leading(runs: tuple[Training, ...], top: int) -> tuple[Training, ...]:
    """Return the runs that were among the `top` largest so far on the day they came."""
    if top < 1:
        raise CutlineError(f"top must be at least 1; got {top}")
    before: list[float] = []
    kept = []
    for run in sorted(runs, key=lambda r: (r.date, r.model)):
        assert run.flop is not None
        if sum(f > run.flop for f in before) < top:
            kept.append(run)
        before.append(run.flop)
    return tuple(kept)


def growth(
    runs: tuple[Training, ...], since: date, until: date, top: int = 10, draws: int = 1000, seed: int = 0
) -> Growth:
    """Return how fast the largest runs grow: least squares of the logarithm on time, over runs of the running top.

    Parameters
    ----------
    runs : tuple of Training
        From `known_runs`; those before `since` count for what was largest, not for the slope.
    draws, seed : int
        Bootstrap over runs, for the 90 % interval. Runs of one family are not independent, so it is too narrow.

    Raises
    ------
    CutlineError
        If fewer than three runs, or runs of one day only, are left.
    """
    rows = [r for r in leading(runs, top) if since <= r.date <= until]
    time = np.array([r.date.toordinal() / YEAR_DAYS for r in rows])
    if len(rows) < 3 or np.ptp(time) == 0:
        raise CutlineError(f"growth needs three runs of different days from {since} to {until}; got {len(rows)}")
    level = np.log([r.flop for r in rows if r.flop])
    picked = np.random.default_rng(seed).integers(0, len(rows), (draws, len(rows)))
    x, y = time[picked], level[picked]
    x = x - x.mean(1, keepdims=True)
    spread = (x * x).sum(1)
    slopes = (x * y).sum(1)[spread > 0] / spread[spread > 0]
    own = float(np.polyfit(time - time.mean(), level, 1)[0])
    low, high = np.quantile(slopes, (0.05, 0.95))
    return Growth(float(np.exp(own)), float(np.exp(low)), float(np.exp(high)), len(rows))


def records(group: str, on: date, speculative: bool = True) -> tuple[Training, ...]:
    """Return the runs of a group that were its largest so far, by date."""
    return tuple(r for r in leading(known_runs(group=group, speculative=speculative, on=on), 1))


def compute_lag(leader: str, follower: str, on: date, speculative: bool = True) -> Lag:
    """Return the lag of largest known runs on a day, in months, on the axis of the capability lag (H1, on one day).

    Notes
    -----
    Months since the leader first had a run at least as large as the follower's largest. Makers no longer publish their largest
    runs, so both are lower bounds. A month is 30.4375 days.

    Raises
    ------
    CutlineError
        If a group has no run by the day.
    """
    best: dict[str, tuple[Training, ...]] = {}
    for group in (leader, follower):
        best[group] = records(group, on, speculative)
        if not best[group]:
            raise CutlineError(f"no run of {group} with known compute by {on}")
    first, second = best[leader][-1], best[follower][-1]
    assert first.flop is not None and second.flop is not None
    behind = first.flop >= second.flop
    ahead, mark = (leader, second.flop) if behind else (follower, first.flop)
    matched = next(r for r in best[ahead] if r.flop is not None and r.flop >= mark)
    months = (on - matched.date).days / MONTH_DAYS
    return Lag(months if behind else -months, first.flop / second.flop, first, second, matched)
