"""Claims of the press, each computed by the engine: the claim's figure, Cutline's figure with its interval, a verdict and the sources.

A claim is a question. Its function asks the rooms below and says what follows; nothing is written down but the claim itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from cutline.core.errors import CutlineError, suggestions
from cutline.facts.chips import chip
from cutline.facts.models import model, parameters
from cutline.law import measures
from cutline.law.verdict import rule

VERDICTS = ("supported", "not supported", "cannot be checked", "in part")


@dataclass
class Finding:
    """What the engine finds. Numbers in the unit of the claim; None where there is none."""

    verdict: str
    why: str
    computed: float | None = None
    low: float | None = None
    high: float | None = None
    sources: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Claim:
    """A statement in our own words, when it was made, and the figure that it gives."""

    id: str
    said: str
    text: str
    figure: str
    ask: Callable[[], Finding]
    command: str
    """the command that answers it"""
    unit: str
    """of the computed figure; one that begins with % is a share"""


CLAIMS: dict[str, Claim] = {}


def claim(
    id: str, said: str, text: str, figure: str, command: str, unit: str = ""
) -> Callable[[Callable[[], Finding]], Callable[[], Finding]]:
    """Register the function that checks a claim."""

    def register(ask: Callable[[], Finding]) -> Callable[[], Finding]:
        CLAIMS[id] = Claim(id, said, text, figure, ask, command, unit)
        return ask

    return register


def check(id: str | None = None) -> list[dict[str, Any]]:
    """Return the findings of one claim, or of all.

    Raises
    ------
    CutlineError
        If no claim has this id.
    """
    from cutline.outlook import claims_lag, claims_plan  # noqa: F401  (they register themselves)

    if id is not None and id not in CLAIMS:
        close = suggestions(id, CLAIMS, 3)
        hint = f"Did you mean {', '.join(close)}? " if close else ""
        raise CutlineError(f"no claim is called '{id}'. {hint}`cutline claims` lists all.")
    chosen = [id] if id is not None else sorted(CLAIMS, key=lambda k: CLAIMS[k].said)
    return [_row(CLAIMS[k]) for k in chosen]


def _row(c: Claim) -> dict[str, Any]:
    found = c.ask()
    assert found.verdict in VERDICTS, c.id
    return {
        "id": c.id, "said": c.said, "claim": c.text, "claimed": c.figure, "computed": found.computed, "low": found.low, "high": found.high,
        "unit": c.unit, "verdict": found.verdict, "why": found.why, "command": c.command, "sources": found.sources,
    }  # fmt: skip


# what the law says


def free(part: str, on: date, to: str = "CN") -> bool | None:
    """Return whether a part needs no licence to a country on a day; None where that cannot be told."""
    need = rule(measures.chip(part), to, on=on)["licence_required"]
    return None if need is None else not need


STATES = {True: "is free", False: "needs a licence", None: "cannot be decided"}


def _acts(part: str, on: date) -> list[str]:
    return [str(b["citation"]) for b in rule(measures.chip(part), "CN", on=on)["basis"] if b.get("citation")][:3]


@claim(
    "rule-2022", "2022-10", "A100 and H100 may no longer be sold to China; the slower A800 and H800, made for China, may", "2 barred, 2 free",
    "cutline rule A100 --to CN --on 2022-10-21",
    unit="free parts",
)  # fmt: skip
def _rule_2022() -> Finding:
    on = date(2022, 10, 21)
    barred = {p: free(p, on) for p in ("A100-SXM-80GB", "H100-SXM-80GB")}
    left = {p: free(p, on) for p in ("A800-SXM-80GB", "H800-SXM-80GB")}
    right = all(f is False for f in barred.values()) and all(f is True for f in left.values())
    said = f"on {on}: " + ", ".join(f"{p} {STATES[f]}" for p, f in (barred | left).items())
    return Finding(
        "supported" if right else "not supported",
        said,
        float(sum(f is True for f in left.values())),
        sources=_acts("A100-SXM-80GB", on),
    )


@claim(
    "rule-2023", "2023-10", "A800 and H800 are caught too; more than 40 further countries now need a licence", "more than 40 countries",
    "cutline rule A800 --to CN --on 2023-11-17",
    unit="places",
)  # fmt: skip
def _rule_2023() -> Finding:
    from cutline.facts.law import country_names

    before, after = date(2023, 10, 22), date(2023, 11, 17)
    caught = {p: free(p, before) is True and free(p, after) is False for p in ("A800-SXM-80GB", "H800-SXM-80GB")}
    codes = sorted(country_names())
    part = measures.chip("H100-SXM-80GB")

    def needs(code: str, on: date) -> bool:
        try:
            return bool(rule(part, code, on=on)["licence_required"])
        except CutlineError:
            return False

    more = [c for c in codes if needs(c, after) and not needs(c, before)]
    every = all(caught.values())
    verdict = "supported" if every and len(more) > 40 else "in part" if every or len(more) > 40 else "not supported"
    why = (
        f"between {before} and {after} a licence became needed for {' and '.join(p for p, c in caught.items() if c) or 'none of the two'}; {len(more)} places need one for an H100 on the "
        "later day and not on the earlier"
    )  # fmt: skip
    return Finding(verdict, why, float(len(more)), sources=_acts("A800-SXM-80GB", after))


@claim(
    "h20-allowed",
    "2024",
    "weaker chips such as H20 stay allowed",
    "free in 2024",
    "cutline rule H20 --to CN --on 2024-06-01",
)
def _h20_allowed() -> Finding:
    days = [date(2023, 11, 17), date(2024, 6, 1), date(2025, 4, 8)]
    later = date(2025, 4, 16)
    right = all(free("H20", d) for d in days)
    why = f"no licence on {', '.join(map(str, days))}; by company letter from 2025-04 on ({later}: {'free' if free('H20', later) else 'needs a licence'})"
    return Finding("supported" if right else "not supported", why, sources=_acts("H20", later))


@claim(
    "cut-line", "2023-12", "a chip redesigned around a cut line so that it still does AI is controlled the next day", "1 day",
    "cutline rule H20 --to CN --history",
    unit="days",
)  # fmt: skip
def _cut_line() -> Finding:
    pairs = [("A800-SXM-80GB", date(2022, 10, 21)), ("H20", date(2023, 11, 17))]
    spans = []
    for part, since in pairs:
        day = since
        while free(part, day) and day.year < 2027:
            day = date.fromordinal(day.toordinal() + 1)
        spans.append((part, (day - since).days))
    shortest = min(n for _, n in spans)
    why = "; ".join(f"{part} stayed free for {n} days after the line that it was cut to" for part, n in spans)
    return Finding(
        "supported" if shortest <= 1 else "not supported",
        why,
        float(shortest),
        float(shortest),
        float(max(n for _, n in spans)),
        _acts("H20", date(2025, 4, 16)),
    )


@claim(
    "offshore-cloud", "2023-12", "firms may still rent the restricted chips in clouds abroad", "allowed",
    "cutline rule H100 --to SG --hq CN --on 2023-12-01",
)  # fmt: skip
def _offshore_cloud() -> Finding:
    on = date(2023, 12, 1)
    own = rule(measures.chip("H100-SXM-80GB"), "SG", on=on, headquarters="CN")["licence_required"]
    other = rule(measures.chip("H100-SXM-80GB"), "SG", on=on, headquarters="SG")["licence_required"]
    why = (
        f"on {on} a shipment to Singapore {'needs' if own else 'needs no' if own is False else 'may need'} a licence for a buyer with Chinese headquarters and {'needs' if other else 'needs none' if other is False else 'may need'} "
        "one for a buyer from there; the rules tested here are on exports of items, and none of their rows is on renting: what a tenant may do is for the reader to check"
    )  # fmt: skip
    return Finding("in part" if other is False else "not supported", why, sources=_acts("H100-SXM-80GB", on))


# what cannot be settled by numbers of this engine


@claim(
    "unified-network",
    "2023-12",
    "computing should be one national network, like water and electricity",
    "a wish",
    "none",
)
def _unified() -> Finding:
    return Finding(
        "cannot be checked",
        "it is a wish and gives no figure; what a slow link between sites costs a run is answered by `cutline plan` with --between",
    )


@claim("hundred-models", "2023-07", "130 large models in one country are a waste of compute", "130 models", "none")
def _hundred() -> Finding:
    return Finding("cannot be checked", "waste is a judgement; the compute of most of these models was never published")


@claim(
    "text-to-video", "2024-07", "Chinese text-to-video services reached the public before Sora did", "a date", "none"
)
def _video() -> Finding:
    return Finding(
        "cannot be checked",
        "dates of services open to the public are not among the facts; the catalogue holds models, not products",
    )


@claim("sora-year", "2024-03", "large Chinese firms can reach Sora's level in about a year", "12 months", "none")
def _sora() -> Finding:
    return Finding(
        "cannot be checked",
        "Sora's compute and scores were not published, and no board of the catalogue rates video; weights of open Chinese models (Wan 2.1, HunyuanVideo) are dated within a year",
    )


def active(name: str) -> float:
    """Return the active parameters of a model."""
    return float(parameters(model(name)).active)


def price(name: str) -> list[tuple[float, str]]:
    """Return (USD, source) of every purchase price known of a part."""
    from cutline.facts import reader

    claims = reader.table("chips").facts.get(chip(name).name, {}).get(("price", "buy"), [])
    return sorted((float(c.value), f"{c.source.id} ({c.date})") for c in claims)
