"""Known sites of a country on a day, and what their chips are worth in H100: a floor of what stands there, whoever owns it."""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple

from cutline.core.errors import CutlineError
from cutline.facts import supply as facts
from cutline.facts.supply import Site
from cutline.outlook.equivalents import WORKLOADS, worth

SURE = ("confirmed", "likely", "company", "reported")
"""Words of `facts.supply.CERTAINTY` that count unless told otherwise; the others are plans, products and estimates of fleets."""
LARGEST = 5


class Known(NamedTuple):
    """A site that exists, and what it is worth."""

    site: Site
    h100e: dict[str, float] | None
    """H100 by workload; None if neither a chip with a rate nor a worth is printed"""
    guessed: tuple[str, ...]
    """workloads for which the ratio of peaks stands in"""


def _worth(site: Site) -> Known:
    if site.h100e is not None:
        return Known(site, dict.fromkeys(WORKLOADS, site.h100e), WORKLOADS[1:])
    total = dict.fromkeys(WORKLOADS, 0.0)
    guessed: set[str] = set()
    found = False
    for name, chips in ((site.chip, site.chips), (site.second_chip, site.second_chips)):
        value = worth(name) if name and chips else None
        if value is not None and chips:
            found = True
            guessed |= set(value.guessed)
            total = {w: total[w] + chips * float(getattr(value, w)) for w in WORKLOADS}
    return Known(site, total if found else None, tuple(w for w in WORKLOADS if w in guessed))


def known_sites(
    country: str, on: date, sure: tuple[str, ...] = SURE, sites: tuple[Site, ...] | None = None
) -> tuple[Known, ...]:
    """Return the sites of a country that exist on a day, the one of most worth by peak first.

    Parameters
    ----------
    country : str
        ISO code of the place.
    on : date
        A site counts from its first day on; one of which a month or a year is printed from the last day of it, one without any
        from the date of its source. Planned and decommissioned ones never do.
    sure : tuple of str
        Words of certainty that count. A site counts only while the one that it is part of does not.
    sites : tuple of Site, optional
        In place of the rows of sites.csv.

    Raises
    ------
    CutlineError
        If a word of certainty is not known.
    """
    for word in sure:
        if word not in facts.CERTAINTY:
            raise CutlineError(f"sure must be among {', '.join(facts.CERTAINTY)}; got '{word}'")
    every = facts.sites() if sites is None else sites
    there = [s for s in every if s.certainty in sure and s.opens is not None and s.opens <= on]
    names = {s.name for s in there}
    found = [_worth(s) for s in there if s.country == country and s.part_of not in names]
    return tuple(sorted(found, key=lambda k: (-_peak(k), k.site.name)))


def _peak(known: Known) -> float:
    return 0.0 if known.h100e is None else known.h100e["peak"]


def _chips(site: Site) -> float:
    return (site.chips or 0.0) + (site.second_chips or 0.0)


def summary(country: str, on: date, stock_peak_h100e: float) -> dict[str, Any]:
    """Return the known sites of a country in plain numbers, and their share of a stock by peak; keys as in docs/json.md."""
    found = known_sites(country, on)
    total = {w: sum(k.h100e[w] for k in found if k.h100e is not None) for w in WORKLOADS}
    return {
        "count": len(found), "chips": sum(_chips(k.site) for k in found), "h100e": total,
        "share_of_stock": total["peak"] / stock_peak_h100e if stock_peak_h100e else None,
        "without_chip": sum(k.site.h100e is not None for k in found), "without_worth": sum(k.h100e is None for k in found),
        "largest": [
            {"name": k.site.name, "operator": k.site.operator, "chip": k.site.chip or None, "chips": k.site.chips, "h100e": _peak(k)}
            for k in found[:LARGEST] if k.h100e is not None
        ],
        "sources": sorted({k.site.source for k in found}),
    }  # fmt: skip
