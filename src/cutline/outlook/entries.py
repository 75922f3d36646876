"""Models with a day and a score, by yardstick: the index, training compute, a board; what each is drawn with, and groups of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date
from math import log10
from typing import NamedTuple

from cutline.core.errors import CutlineError, suggestions
from cutline.facts import boards, outlook, supply
from cutline.facts.outlook import Standing

EPOCH = date(1970, 1, 1).toordinal()
Z90 = 1.6448536269514722
"""Half of a 90 % interval in standard deviations."""
DOUBT = {"Confident": 3.0, "Likely": 10.0, "Speculative": 30.0}
"""Factor either way that a published training compute may be off, 90 % (guess: commonly quoted of Epoch AI's labels)."""
RESTRICTED = re.compile(r"\b(A800|H800|H20|L20|L2|MI308X?|Ascend)\b|昇腾", re.I)
"""Words for chips that were cut down for China or made there in answer to the rules."""
YARDSTICKS = ("eci", "arena", "compute")
DATE_RULES = ("vintage", "announced", "available")


class Entry(NamedTuple):
    """One model. `day` is days since 1970; `low` and `high` are a 90 % interval or equal to `score`."""

    name: str
    day: float
    score: float
    low: float
    high: float
    org: str
    country: str
    """US, China, China+US, Other or empty"""
    weights: str
    """open, closed or empty"""
    chips: str
    """restricted, other or unknown: what it was trained on"""


def day_number(text: str) -> float:
    """Return days since 1970 of an ISO day."""
    return float(date.fromisoformat(text).toordinal() - EPOCH)


def day_text(number: float) -> str:
    """Return the ISO day of days since 1970."""
    return date.fromordinal(int(number) + EPOCH).isoformat()


def chips_of(words: Iterable[str]) -> str:
    """Return restricted, other or unknown for the hardware that a run names.

    Examples
    --------
    >>> chips_of(["NVIDIA H800 SXM5"]), chips_of(["NVIDIA H200"]), chips_of([])
    ('restricted', 'other', 'unknown')
    """
    said = list(words)
    if any(RESTRICTED.search(w) for w in said):
        return "restricted"
    return "other" if said else "unknown"


def makers_of(org: str) -> set[str]:
    """Return the makers of a model, each with the maker that it is part of; joint work has several.

    Examples
    --------
    >>> sorted(makers_of("Google DeepMind,Google")), sorted(makers_of("DeepSeek,Peking University"))
    (['Google', 'Google DeepMind'], ['DeepSeek', 'Peking University'])
    """
    parts = {p.strip() for p in org.split(",") if p.strip()}
    return parts | {o.parent for o in outlook.organisations() if o.org in parts and o.parent}


def _hardware() -> dict[str, str]:
    return {r.model.casefold(): chips_of(r.hardware) for r in supply.runs()}


def _dates(rows: tuple[Standing, ...], dates: str) -> dict[str, str]:
    """Return model -> day by a rule over all stored vintages: as this one has it, the earliest, or the latest."""
    if dates not in DATE_RULES:
        raise CutlineError(f"dates must be one of {', '.join(DATE_RULES)}; got '{dates}'")
    own = {r.name or r.model: r.date for r in rows}
    if dates == "vintage":
        return own
    known: dict[str, list[str]] = {}
    for vintage in outlook.vintages():
        for r in outlook.index(vintage.vintage):
            if r.date:
                known.setdefault(r.name or r.model, []).append(r.date)
    pick: Callable[[list[str]], str] = min if dates == "announced" else max
    return {model: pick([d for d in (*known.get(model, []), day) if d] or [""]) for model, day in own.items()}


def of_index(rows: tuple[Standing, ...], dates: str = "vintage") -> list[Entry]:
    """Return the dated models of a vintage of the index. Its value is the score.

    Parameters
    ----------
    rows : tuple of Standing
        From `facts.outlook.index` or `read_index`.
    dates : str
        `vintage`: days as this vintage has them. Vintages disagree where a model was announced before it could be used;
        `announced` takes the earliest day that any vintage has, `available` the latest.
    """
    when, chips = _dates(rows, dates), _hardware()
    return [
        Entry(
            r.name or r.model, day_number(when[r.name or r.model]), r.eci, r.eci if r.low is None else r.low, r.eci if r.high is None else r.high,
            r.org, r.country_group, r.weights, chips.get(r.model.casefold(), "unknown"),
        )
        for r in rows if when[r.name or r.model]
    ]  # fmt: skip


def of_compute(runs: tuple[supply.Training, ...]) -> list[Entry]:
    """Return the runs with known compute; the score is its decimal logarithm. [log10 flop]"""
    found = []
    for r in runs:
        if r.flop:
            score, wide = log10(r.flop), log10(DOUBT.get(r.confidence, 30.0))
            country = "US" if r.country_group == "Multinational incl. US" else r.country_group
            found.append(
                Entry(
                    r.model,
                    float(r.date.toordinal() - EPOCH),
                    score,
                    score - wide,
                    score + wide,
                    r.org,
                    country,
                    r.open_closed,
                    chips_of(r.hardware),
                )
            )
    return found


def of_board(ratings: tuple[boards.Rating, ...], on: str) -> tuple[list[Entry], str]:
    """Return the models of the last board up to a day, and its day. A model's day is that of the first board it is on."""
    days = sorted({r.date for r in ratings if r.date <= on})
    if not days:
        raise CutlineError(f"no board is from {on} or before; the first is of {min(r.date for r in ratings)}")
    first: dict[str, str] = {}
    for r in sorted(ratings, key=lambda r: r.date):
        first.setdefault(r.model, r.date)
    chips = _hardware()
    now = [r for r in ratings if r.date == days[-1]]
    method = max({r.method for r in now}, key=lambda m: ("no style" not in m, m))
    narrow = Z90 / 1.96  # boards print 95 %

    def end(rating: float, text: float | None) -> float:
        return rating if text is None else rating + narrow * (text - rating)

    return [
        Entry(
            r.model, day_number(first[r.model]), r.rating, end(r.rating, r.low), end(r.rating, r.high), r.org, r.country_group, r.weights, chips.get(r.model.casefold(), "unknown"),
        )
        for r in now if r.method == method
    ], days[-1]  # fmt: skip


WORDS: dict[str, Callable[[Entry], bool]] = {
    "us": lambda e: e.country == "US",
    "china": lambda e: e.country == "China",
    "other": lambda e: e.country == "Other",
    "open": lambda e: e.weights == "open",
    "closed": lambda e: e.weights == "closed",
    "restricted": lambda e: e.chips == "restricted",
    "unrestricted": lambda e: e.chips == "other",
    "unknown": lambda e: e.chips == "unknown",
}
"""Word of a group -> who is in it. Words may be joined: china-open, us-closed, china-restricted."""


def members(entries: list[Entry], group: str) -> list[Entry]:
    """Return the models of a group: a word, several joined by `-`, or a maker as the tables write it.

    Raises
    ------
    CutlineError
        If a group is not known; the message says what is.
    """
    key = group.strip().casefold()
    makers = {m.casefold() for org in {e.org for e in entries} for m in makers_of(org)}
    if key in makers:
        mine = {org for org in {e.org for e in entries} if key in {m.casefold() for m in makers_of(org)}}
        return [e for e in entries if e.org in mine]
    parts = key.split("-")
    if all(p in WORDS for p in parts):
        return [e for e in entries if all(WORDS[p](e) for p in parts)]
    close = suggestions(key, sorted(WORDS) + sorted(makers), 3)
    hint = f"Did you mean {', '.join(close)}? " if close else ""
    raise CutlineError(
        f"no group is called '{group}'. {hint}Groups are {', '.join(WORDS)}, several joined by -, or a maker such as DeepSeek."
    )
