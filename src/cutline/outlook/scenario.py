"""Scenarios: the file that says what rules, supply and levers there are, with a range for everything that is not known.

A scenario is a small YAML file, or the name of one that ships. `scenario_run.run` draws all its ranges at once. Where a file says
nothing, `DEFAULTS`, `LEVERS` and `BRIDGE` stand; their notes say where each number is from.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from cutline.core.errors import CutlineError, DataError, suggestions
from cutline.facts import law as law_facts
from cutline.facts import reader
from cutline.facts import supply as facts
from cutline.facts.chips import chip
from cutline.law.day import first_day
from cutline.outlook.equivalents import worth
from cutline.outlook.scenario_values import (
    START,
    Spread,
    day,
    flag,
    is_number,
    known_keys,
    positive,
    source_ids,
    spread,
    table,
    whole,
)
from cutline.outlook.supply import YEAR_DAYS, quarters
from cutline.plan.sizing import LAWS

FOLDER = reader.DATA / "outlook" / "scenarios"
COUNTED = date(2026, 6, 30)
"""Last day of a history: flows.csv has counts up to here, and for parts of 2026 the targets of their makers. A scenario names what comes later."""
BACKTEST = "as-of-2024"
"""The preset that holds only what was known at the end of 2024; it is no outlook."""
SCALING = {name: name for name in LAWS} | {"hoffmann": "chinchilla"}
KEYS = (
    "name", "about", "base", "until", "draws", "seed", "known_by", "leader", "follower", "rules", "levers", "bridge", "scaling",
)  # fmt: skip
SIDE_KEYS = ("country", "stock", "growth", "flows", "share", "days", "mfu", "mixed")
FLOW_KEYS = ("part", "units", "since", "until", "growth", "legal", "source", "note")
RULE_KEYS = ("layer", "reforms", "shift_years", "always_free", "line_tpp", "off", "since")
LEVER_KEYS = ("algorithms", "halving_months", "own", "spill", "delay_years", "software", "precision", "mixed")
BRIDGE_KEYS = ("per_decade", "per_year", "head_start", "frontier_growth", "measured", "measured_on", "blend")
DRAWS = (100, 1_000_000)
MOST_DAYS, MOST_GROWTH = 3653, 20.0
"""No run is longer, and no fleet or flow grows by more in a year: what is above is a slip."""


@dataclass(frozen=True)
class Flow:
    """Chips that arrive: `units` a year of a part from `since` to `until`, growing; if `legal`, only on days on which they need no licence."""

    name: str
    part: str
    units: Spread
    since: date
    until: date
    growth: Spread
    legal: bool


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    name: str
    country: str
    """ISO code, whose history is that of flows.csv; empty for an imagined country, which has a stock"""
    stock: Spread | None
    """at START [H100-equivalents]"""
    growth: Spread | None
    """of the whole fleet after its history [factor a year]"""
    flows: tuple[Flow, ...]
    share: Spread
    """of the usable fleet that the largest run of one company takes"""
    days: Spread
    mfu: Spread
    """of the dense bf16 peak of an H100"""
    mixed: Spread
    """what one chip outside the largest kind adds to the largest run"""
    history: date
    """last day of its history; START's eve for an imagined country"""


@dataclass(frozen=True)
class Rules:
    """What differs from the real law, from `since` on."""

    layer: str = "as_enforced"
    reforms: tuple[str, ...] = ()
    shift_days: int = 0
    """the law of a day this much later is asked"""
    always_free: tuple[str, ...] = ()
    line_tpp: float | None = None
    off: bool = False
    since: date = date.min
    known: date | None = None


@dataclass(frozen=True)
class Scenario:
    """Everything that a file says."""

    name: str
    about: str
    until: date
    draws: int
    seed: int
    known_by: date | None
    leader: Side
    follower: Side
    rules: Rules
    levers: dict[str, Spread]
    bridge: dict[str, Spread]
    measured_on: date | None
    """day on which the lag was `bridge.measured`"""
    scaling: str

    def inputs(self) -> dict[str, Spread]:
        """Return every range by the name under which it is drawn."""
        found = {f"levers.{k}": v for k, v in self.levers.items() if k != "mixed"}
        found |= {f"bridge.{k}": v for k, v in self.bridge.items()}
        for side in (self.leader, self.follower):
            own = {k: getattr(side, k) for k in ("stock", "growth", "share", "days", "mfu", "mixed")}
            for flow in side.flows:
                own |= {f"{flow.name}.units": flow.units, f"{flow.name}.growth": flow.growth}
            found |= {f"{side.name}.{k}": v for k, v in own.items() if v is not None}
        return found


DEFAULTS: dict[str, Any] = {
    "share": {"range": [0.005, 0.06], "source": "guess", "note": "tools/fit_shares.py, both countries, wider"},
    "days": {"range": [60, 120], "source": "epoch-notable", "note": "published runs: 54 to 125 days; ends rounded"},
    "mfu": {"range": [0.25, 0.45], "source": "guess", "note": "runs that publish theirs lie around 0.2 to 0.5"},
}
"""Of a side that says nothing."""
LEVERS: dict[str, Any] = {
    "algorithms": {
        "range": [1.8, 5.3],
        "source": "ho-2024",
        "note": "growth a year of what a flop is worth: halving in 5 to 14 months, printed as 95 %",
    },
    "own": {
        "range": [0.3, 0.9],
        "source": "guess",
        "note": "share of the leader's efficiency that the follower reaches by itself at the same time",
    },
    "spill": {
        "range": [0.3, 1.0],
        "source": "guess",
        "note": "share of the rest that reaches it by publications, weights and outputs, after the delay",
    },
    "delay_years": {"range": [0.3, 1.0], "source": "guess", "note": "from a method's use to its spread"},
    "software": {
        "range": [0.7, 1.0],
        "source": "guess",
        "note": "utilisation that kernels and frameworks reach, follower's by leader's",
    },
    "precision": {
        "range": [0.75, 1.0],
        "source": "guess",
        "note": "rate by number format, follower's by leader's: fewer of its chips have fp8",
    },
    "mixed": {
        "range": [0.2, 0.8],
        "source": "guess",
        "note": "high: the planner's 512 A800 with 512 H20, 45.3 against 70.1 days alone",
    },
}
"""Of the comparison."""
BRIDGE: dict[str, Any] = {
    "per_decade": {
        "range": [8.1, 11.6],
        "source": "epoch-eci-2026-07-10",
        "note": "index points for ten times the compute: tools/fit_shares.py --bridge, all models of the vintage",
    },
    "per_year": {
        "range": [8.8, 13.5],
        "source": "epoch-eci-2026-07-10",
        "note": "points a year at the same compute, by the same regression",
    },
    "head_start": {
        "range": [-1.9, 4.6],
        "source": "epoch-eci-2026-07-10",
        "note": "points of Chinese models above others at the same known compute, by the same regression",
    },
    "frontier_growth": {
        "range": [4.0, 5.0],
        "source": "epoch-notable",
        "note": "growth a year of the largest runs",
    },
    "blend": {
        "range": [0.0, 1.0],
        "source": "guess",
        "note": "from a measured lag on: weight of the change by compute, the rest by the index",
    },
}
"""From compute to months."""


@functools.cache
def presets() -> tuple[str, ...]:
    """Return the names of the scenarios that ship."""
    return tuple(sorted(p.stem for p in FOLDER.glob("*.yaml")))


def read(text: str | Path) -> Scenario:
    """Read a scenario: the name of a preset, or the path of a file.

    Raises
    ------
    DataError
        With file and key: not YAML, an unknown or missing key, an improper range, an unknown part, country, reform or source.
    CutlineError
        If there is neither a preset nor a file of that name.
    """
    path = _path(str(text), Path())
    if path is None:
        close = suggestions(str(text), presets(), 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise CutlineError(f"no scenario '{text}': no file, and none of {', '.join(presets())}{hint}")
    return build(_content(path, ()), path.name, path.stem)


def build(content: dict[str, Any], where: str, name: str = "") -> Scenario:
    """Make a scenario of a file's content."""
    known_keys(where, "the file", content, KEYS)
    for key in ("leader", "follower"):
        if key not in content:
            raise DataError(where, None, f"key '{key}' is missing; give it a country (US or CN) or a stock")
    known = _known_by(where, content.get("known_by"))
    levers = _levers(where, content.get("levers") or {})
    until = day(where, "until", content.get("until", 2030), last=True)
    sides = [_side(where, n, content[n], levers["mixed"], known) for n in ("leader", "follower")]
    for side in sides:
        if until <= side.history:
            raise DataError(
                where, None, f"until must be after {side.history}, the end of {side.name}'s history; got {until}"
            )
    scaling = str(content.get("scaling", "besiroglu"))
    if scaling not in SCALING:
        raise DataError(where, None, f"scaling must be one of {', '.join(SCALING)}; got '{scaling}'")
    return Scenario(
        str(content.get("name", name or where)), " ".join(str(content.get("about", "")).split()), until,
        whole(where, "draws", content.get("draws", 10000), *DRAWS), whole(where, "seed", content.get("seed", 0), 0, 2**32 - 1),
        known, sides[0], sides[1], _rules(where, content.get("rules") or {}, known), levers,
        *_bridge(where, content.get("bridge") or {}, until), SCALING[scaling],
    )  # fmt: skip


# files


def _path(text: str, folder: Path) -> Path | None:
    """Return the file of a preset's name, or of a path from a folder; None if there is none."""
    if text in presets():
        return FOLDER / f"{text}.yaml"
    path = folder / text
    return path if text and path.is_file() else None


def _content(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Return what a file says, over what its base says."""
    content = table(path, KEYS)
    base = content.pop("base", None)
    if base is None:
        return content
    other = _path(str(base), path.parent)
    if other is None:
        raise DataError(path.name, None, f"base '{base}' is neither a file beside it nor one of {', '.join(presets())}")
    if other.resolve() in (*above, path.resolve()):
        raise DataError(path.name, None, f"base '{base}' leads back to itself; take 'base' out of one of the files")
    below = _content(other, (*above, path.resolve()))
    return _merged({k: v for k, v in below.items() if k not in ("name", "about")}, content)


def _merged(below: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return one table over another; an empty value takes a key away, and a range replaces a range whole.

    Examples
    --------
    >>> _merged({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"x": 5}, "b": None})
    {'a': {'x': 5, 'y': 2}}
    """
    found = dict(below)
    for key, value in over.items():
        old = found.get(key)
        both = isinstance(old, dict) and isinstance(value, dict) and "range" not in (*old, *value)
        found[key] = _merged(old, value) if both and isinstance(old, dict) else value
    return {k: v for k, v in found.items() if v is not None}


# parts of a scenario


def _known_by(where: str, value: Any) -> date | None:
    if value is None:
        return None
    found = day(where, "known_by", value, last=True)
    if found > COUNTED:
        raise DataError(where, None, f"known_by must not be after {COUNTED}, the end of what is counted; got {found}")
    return found


def _side(where: str, name: str, row: Any, mixed: Spread, known: date | None) -> Side:
    known_keys(where, name, row, SIDE_KEYS)
    if ("country" in row) == ("stock" in row):
        raise DataError(
            where, None, f"{name} needs either a country (US or CN) or a stock (H100-equivalents on {START})"
        )
    if "growth" in row and row.get("flows"):
        raise DataError(
            where, None, f"{name}: growth is of the whole fleet, so flows would count twice; take one of them out"
        )
    country = str(row.get("country", ""))
    ends = {f.country: f.end for f in sorted(facts.flows(), key=lambda f: f.end) if f.use}
    if country and country not in ends:
        raise DataError(where, None, f"{name}.country must be one of {', '.join(sorted(ends))}; got '{country}'")
    flows = row.get("flows") or {}
    if not isinstance(flows, dict):
        raise DataError(where, None, f"{name}.flows must be a table of flows by name; got {flows!r}")
    of = {k: spread(where, f"{name}.{k}", row.get(k, v)) for k, v in DEFAULTS.items()}
    for key in ("share", "mfu", "days"):
        positive(where, f"{name}.{key}", row.get(key, DEFAULTS[key]))
    if of["days"].high > MOST_DAYS:
        raise DataError(where, None, f"{name}.days must be at most {MOST_DAYS}, ten years; got {of['days'].high:g}")
    return Side(
        name, country, positive(where, f"{name}.stock", row["stock"]) if "stock" in row else None,
        _growth(where, f"{name}.growth", row["growth"]) if "growth" in row else None,
        tuple(_flow(where, f"{name}.flows.{k}", str(k), v) for k, v in flows.items()), **of,
        mixed=spread(where, f"{name}.mixed", row["mixed"]) if "mixed" in row else mixed,
        history=_history(min(ends[country], COUNTED, known or COUNTED)) if country else START - timedelta(1),
    )  # fmt: skip


def _history(end: date) -> date:
    """Return the last end of a quarter by a day."""
    return [START - timedelta(1), *(q for q in quarters(START, end + timedelta(100)) if q <= end)][-1]


def _growth(where: str, what: str, value: Any) -> Spread:
    found = positive(where, what, value)
    if found.high > MOST_GROWTH:
        raise DataError(where, None, f"{what} must be a factor of at most {MOST_GROWTH:g} a year; got {found.high:g}")
    return found


def _flow(where: str, at: str, name: str, row: Any) -> Flow:
    known_keys(where, at, row, FLOW_KEYS)
    for key in ("part", "units"):
        if key not in row:
            raise DataError(where, None, f"{at}: key '{key}' is missing")
    units = spread(where, f"{at}.units", row["units"], 0.0)
    said = {"source": source_ids(where, at, row.get("source", "")), "note": str(row.get("note", ""))}
    if said["source"] or said["note"]:
        units = Spread(units.low, units.high, 0.0, units.most, **said)
    since, until = (
        day(where, f"{at}.since", row.get("since", START.year)),
        day(where, f"{at}.until", row.get("until", 2060), True),
    )
    if until < since:
        raise DataError(where, None, f"{at}: until must not be before since; got {until} and {since}")
    growth, legal = row.get("growth", 1.0), row.get("legal", False)
    return Flow(
        name, _part(where, f"{at}.part", row["part"]), units, since, until, _growth(where, f"{at}.growth", growth),
        flag(where, f"{at}.legal", legal),
    )  # fmt: skip


def _part(where: str, what: str, name: Any) -> str:
    try:
        found = chip(str(name)).name
    except CutlineError as error:
        raise DataError(where, None, f"{what}: {error}") from None
    if worth(found) is None:
        raise DataError(
            where, None, f"{what}: {found} has no 16-bit rate in the catalogue, so it would count nothing; leave it out"
        )
    return found


def _rules(where: str, row: Any, known: date | None) -> Rules:
    known_keys(where, "rules", row, RULE_KEYS)
    if known is not None and known < first_day():
        raise DataError(where, None, f"known_by must be {first_day()} or later, the day of the first rule; got {known}")
    layer = str(row.get("layer", "as_enforced"))
    if layer not in law_facts.LAYERS:
        raise DataError(where, None, f"rules.layer must be one of {', '.join(law_facts.LAYERS)}; got '{layer}'")
    shift, line = row.get("shift_years", 0.0), row.get("line_tpp")
    if not is_number(shift) or not -10 <= shift <= 10:
        raise DataError(where, None, f"rules.shift_years must be a number from -10 to 10; got {shift!r}")
    if line is not None and (not is_number(line) or line < 0):
        raise DataError(where, None, f"rules.line_tpp must be a number of at least 0; got {line!r}")
    lists = {k: row.get(k) or [] for k in ("reforms", "always_free")}
    for key, value in lists.items():
        if not isinstance(value, list):
            raise DataError(where, None, f"rules.{key} must be a list; got {value!r}")
    reforms = law_facts.law().reforms
    for name in lists["reforms"]:
        if str(name) not in reforms:
            close = suggestions(str(name), reforms, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise DataError(where, None, f"rules.reforms: '{name}' is not one of {', '.join(sorted(reforms))}{hint}")
    return Rules(
        layer, tuple(map(str, lists["reforms"])), round(shift * YEAR_DAYS), tuple(_part(where, "rules.always_free", p) for p in lists["always_free"]),
        None if line is None else float(line), flag(where, "rules.off", row.get("off", False)),
        day(where, "rules.since", row["since"]) if "since" in row else date.min, known,
    )  # fmt: skip


def _bridge(where: str, row: Any, until: date) -> tuple[dict[str, Spread], date | None]:
    """Read what leads from compute to months, and the day of the measured lag, if the file has one."""
    known_keys(where, "bridge", row, BRIDGE_KEYS)
    found = {k: spread(where, f"bridge.{k}", row.get(k, v)) for k, v in BRIDGE.items()}
    for key, least in (("frontier_growth", 1.0), ("per_decade", 0.0), ("per_year", 0.0)):
        if found[key].low <= least:
            raise DataError(where, None, f"bridge.{key} must be above {least:g}; got {found[key].low:g}")
    if (row.get("measured") is None) != (row.get("measured_on") is None):
        raise DataError(where, None, "bridge: measured and measured_on go together; give both or neither")
    if row.get("measured") is None:
        return found, None
    on = day(where, "bridge.measured_on", row["measured_on"], last=True)
    if not START < on <= until:
        raise DataError(where, None, f"bridge.measured_on must be after {START} and at most {until}; got {on}")
    return found | {"measured": spread(where, "bridge.measured", row["measured"])}, on


def _levers(where: str, row: Any) -> dict[str, Spread]:
    """Read the levers; `halving_months` stands in for `algorithms`, as 2^(12 / halving)."""
    known_keys(where, "levers", row, LEVER_KEYS)
    said = dict(row)
    if "halving_months" in said:
        if "algorithms" in said:
            raise DataError(where, None, "levers: algorithms and halving_months say the same; take one of them out")
        halving = positive(where, "levers.halving_months", said.pop("halving_months"))
        low, high = (2.0 ** (12.0 / x) for x in (halving.high, halving.low))
        said["algorithms"] = {"range": [low, high], "source": halving.source, "note": halving.note}
    found = {k: spread(where, f"levers.{k}", said.get(k, v), 0.0) for k, v in LEVERS.items()}
    for key in ("software", "precision"):
        positive(where, f"levers.{key}", said.get(key, LEVERS[key]))
    if found["algorithms"].low < 1:
        raise DataError(
            where, None, f"levers.algorithms must be at least 1, no progress; got {found['algorithms'].low:g}"
        )
    return found
