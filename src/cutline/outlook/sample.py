"""The models of a question with their draws, by yardstick: the index as published or refitted, dated boards, training compute."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array, at_least
from cutline.facts import boards, outlook, supply
from cutline.facts.notable import read_notable
from cutline.outlook import irt
from cutline.outlook.entries import YARDSTICKS, Z90, Entry, day_text, of_board, of_compute, of_index
from cutline.outlook.lag import Group

RULES = ("H1", "H2", "H3", "H4", "V")
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
