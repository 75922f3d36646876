"""The best chip below a line: what one would build if the rule of a day were the only limit beside process and package.

A design is a reference part with another peak, memory and link, as far as the line lets it. More of anything is never
slower, so only the corners of the line matter. Its time comes from the same search and the same constants as any plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from cutline.core.errors import CutlineError
from cutline.facts import law as rules
from cutline.facts.chips import Chip, chip
from cutline.facts.models import Model
from cutline.facts.reader import Claim, evidence
from cutline.law import measures
from cutline.law.line import line
from cutline.plan.decode import decode
from cutline.plan.fleet import Group
from cutline.plan.job import Job, job
from cutline.plan.search import search

GOALS = ("train", "decode")
STACK_OF = {"HBM2": "HBM2", "HBM2E": "HBM2E", "HBM3": "HBM3", "HBM3E": "HBM3E"}
"""Memory of a part -> the stack of the catalogue that it is built of."""
BELOW = {"tpp": 0.01, "io": 1.0, "memory": 1.0}
"""How far a design stays below a limit: the last digit that a data sheet would print."""
SPLITS = 8
"""Ways to share out a limit on a sum."""
OLDEST = date(2022, 8, 26)


@dataclass(frozen=True)
class Limits:
    """What process, package and power allow, each with its source."""

    tpp_per_mm2: float
    die_mm2: float
    dies: int
    memory_gb_per_s: float
    memory_bytes: float
    link_gb_per_s: float
    """one direction"""
    host_gb_per_s: float
    said: tuple[dict[str, Any], ...]

    @property
    def area_mm2(self) -> float:
        """Largest die area of the package."""
        return self.die_mm2 * self.dies


@dataclass(frozen=True)
class Design:
    """One chip: what it is built with, and the smallest area that keeps it below the line."""

    tpp: float
    area_mm2: float
    memory_gb_per_s: float
    link_gb_per_s: float

    def at_least(self, other: Design) -> bool:
        """Whether this one has no less of anything that makes it fast."""
        return (
            self.tpp >= other.tpp
            and self.memory_gb_per_s >= other.memory_gb_per_s
            and self.link_gb_per_s >= other.link_gb_per_s
        )


def limits_of(like: Chip, dies: int) -> Limits:
    """Return the limits that a reference part and its memory set.

    Raises
    ------
    CutlineError
        If the part lacks a fact, or its memory is not built of stacks of the catalogue.
    """
    part = measures.chip(like.name)
    tpp, area = part.measures["tpp"], part.measures["area_mm2"]
    if not (tpp.exact and area.exact and area.low):
        raise CutlineError(
            f"{like.name} has no sourced peak or die area, which a design needs; take another part for --like"
        )
    kind = like.text("memory_type").upper()
    if kind not in STACK_OF:
        raise CutlineError(
            f"memory of {like.name} is {kind or 'not known'}; a design needs one of {', '.join(STACK_OF)}"
        )
    stack = chip(STACK_OF[kind])
    sites, reticle = evidence("chip_limit", "stacks of a die"), evidence("chip_limit", "reticle")
    count = float(sites.value) * dies
    said = [
        _limit(
            "TPP per mm2 of the process",
            float(tpp.low / area.low),
            f"{like.name}: {tpp.says} on {area.low:f} mm2",
            tpp.claims + area.claims,
        ),
        _limit("die, mm2", float(reticle.value), reticle.note, (reticle,)),
        _limit("dies of a package", dies, "--dies", ()),
        _limit("stacks of memory", count, sites.note, (sites,)),
        _limit("rate of a stack, GB/s", stack.get("memory_rate") / 1e9, stack.name, (stack.facts["memory_rate", ""],)),
        _limit("link one way, GB/s", like.get("link", "scale-up") / 1e9, like.name, (like.facts["link", "scale-up"],)),
        _limit("power, W", like.get("power"), like.name, (like.facts["power", ""],)),
    ]
    return Limits(
        float(tpp.low / area.low), float(reticle.value), dies, count * stack.get("memory_rate") / 1e9, count * stack.get("memory"),
        like.get("link", "scale-up") / 1e9, like.get("link", "host") / 1e9, tuple(said),
    )  # fmt: skip


def _limit(what: str, value: float, says: str, claims: tuple[Claim, ...]) -> dict[str, Any]:
    return {"what": what, "value": value, "says": says, "sources": [c.source.id for c in claims]}


def designs(one: dict[str, Any], limits: Limits) -> list[Design]:
    """Return the designs below one line of `law.line` that no other beats in every rate."""
    found: list[Design] = []
    for corner in one["corners"]:
        tpp = limits.tpp_per_mm2 * limits.area_mm2
        if corner["tpp"] is not None:
            tpp = min(tpp, corner["tpp"] - BELOW["tpp"])
        area = tpp / limits.tpp_per_mm2
        if corner["pd"] is not None:
            tpp = min(tpp, (limits.area_mm2 - 0.5) * corner["pd"])
            area = max(area, tpp / corner["pd"] + 0.01)
        io = _capped(2 * (limits.link_gb_per_s + limits.host_gb_per_s), corner["io"], BELOW["io"])
        memory = _capped(limits.memory_gb_per_s, corner["memory"], BELOW["memory"])
        for rate, total in _splits(memory, io, [s["limit"] for s in one["sums"]]):
            link = total / 2 - limits.host_gb_per_s
            if link > 0:
                found.append(Design(round(tpp, 2), round(area, 2), rate, link))
    unique = list(dict.fromkeys(found))
    return [d for d in unique if not any(o != d and o.at_least(d) for o in unique)]


def _capped(value: float, limit: float | None, below: float) -> float:
    return value if limit is None else min(value, limit - below)


def _splits(memory: float, io: float, sums: list[float]) -> list[tuple[float, float]]:
    """Return pairs of memory rate and transfer rate that keep below all limits on their sum."""
    most = min(sums, default=float("inf"))
    if memory + io < most:
        return [(memory, io)]
    most -= 1.0
    low, high = max(most - io, 0.0), min(memory, most)
    return [(low + (high - low) * k / SPLITS, most - low - (high - low) * k / SPLITS) for k in range(SPLITS + 1)]


def built(d: Design, like: Chip, limits: Limits) -> Chip:
    """Return a part with the rates of a design and everything else of its reference."""
    facts = dict(like.facts)
    factor = d.tpp / float(measures.chip(like.name).measures["tpp"].low)
    for (field, item), claim in like.facts.items():
        if field == "peak":
            facts[field, item] = claim._replace(value=claim.value * factor)
    for key, value in {
        ("memory_rate", ""): d.memory_gb_per_s * 1e9, ("memory", ""): limits.memory_bytes, ("link", "scale-up"): d.link_gb_per_s * 1e9,
    }.items():  # fmt: skip
        facts[key] = facts[key]._replace(value=value)
    return Chip(f"design like {like.name}", facts)


def rate_of(part: Chip, model: Model, goal: str, chips: int, context: float) -> tuple[float, Job]:
    """Return tokens a second of each chip, trained or decoded, and the job; 0 where nothing fits."""
    j = job(model, Group(part, chips))
    if goal == "decode":
        return decode(model, j.rates, j.constants, context).tokens_per_s_per_chip, j
    found = search(j.shape, j.rates, j.constants, j.space, most_kinds=1, front=False)
    if found.best is None:
        return 0.0, j
    return j.batch * j.seq / float(found.best[1].step_s[0]) / chips, j


def design(
    model: Model, goal: str, to: str, *, on: date, known: date | None = None, layer: str = "as_enforced",
    reforms: tuple[str, ...] = (), like: str = "H100-SXM-80GB", dies: int = 1, chips: int = 1024, context: float = 8192,
    compare: tuple[str, ...] = ("H20",), progress: Callable[[int], None] | None = None, **parties: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return the fastest chip that needs no licence on a day, and how far each line since 2022 moves it.

    Parameters
    ----------
    goal : str
        `train`, by the best plan on `chips` chips, or `decode` at `context` tokens.
    to, on, known, layer, reforms, parties
        As for `law.line.line`. The maker is that of `like`, so its letters count.
    like : str
        Part whose process, package, links, power and constants are taken.
    dies : int
        Dies of reticle size in a package.
    compare : tuple of str
        Parts of the catalogue to stand beside.

    Returns
    -------
    dict
        `best` (None if nothing is free), `designs`, `lines` (each line since 2022 with its best design and `share`, the rate against
        the same package without any line), `compare`, `limits`.
    """
    if goal not in GOALS:
        raise CutlineError(f"for must be 'train MODEL' or 'decode MODEL'; got '{goal}'")
    if dies < 1 or chips < 1 or context < 1:
        raise CutlineError(f"dies, chips and context must be at least 1; got {min(dies, chips, context):g}")
    reference = chip(like)
    limits = limits_of(reference, dies)
    open_ = Design(limits.tpp_per_mm2 * limits.area_mm2, limits.area_mm2, limits.memory_gb_per_s, limits.link_gb_per_s)
    asked = {"known": known, "layer": layer, "reforms": reforms, **parties}
    seen: dict[Design, float] = {}

    def rate(d: Design) -> float:
        if d not in seen:
            seen[d] = rate_of(built(d, reference, limits), model, goal, chips, context)[0]
            if progress is not None:
                progress(len(seen))
        return seen[d]

    most = rate(open_)
    rows = []
    for start, tests, mine in _lines(to, on, reference.text("maker"), asked):
        found = sorted(((r, d) for d in designs(mine, limits) if (r := rate(d))), key=lambda x: -x[0])
        row: dict[str, Any] = {"from": start.isoformat(), "tests": tests, "designs": len(found)}
        rows.append(row | {"best": _said(found[0][1], limits, found[0][0], most) if found else None})
        last = found
    beside = []
    for name in compare:
        part = chip(name)
        value = rate_of(part, model, goal, chips, context)[0]
        beside.append(
            {"chip": part.name, "tokens_per_s_per_chip": value, "share": value / most if most else None} | _facts(part)
        )
    best = rows[-1]["best"]
    now = line(to, on=on, **asked)
    return {
        "to": to, "parties": now["parties"], "on": on.isoformat(), "known": now["known"], "layer": layer, "reforms": list(reforms),
        "for": goal, "model": model.name, "chips": chips,
        "context": context if goal == "decode" else None, "like": reference.name, "dies": dies, "limits": list(limits.said),
        "without_line": _said(open_, limits, most, most), "best": best,
        "designs": [_said(d, limits, r, most) for r, d in last[:5]], "lines": rows, "compare": beside,
        "why": why(best, _said(open_, limits, most, most)), "warnings": [*now["warnings"], *(DECODING if goal == "decode" else ())],
    }  # fmt: skip


DECODING = (
    "decoding: weights in 8 bits, 20 tokens a second for each reader at least, no prefill beside; it compares chips and plans no service",
)


def why(best: dict[str, Any] | None, most: dict[str, Any]) -> list[str]:
    """Return in words why the best chip looks as it does, against the same package without any line."""
    if not most["tokens_per_s_per_chip"]:
        return ["the model does not fit, not even without a line; take more chips or a smaller model"]
    if best is None:
        return ["nothing that could do this is free of a licence"]
    said = []
    if best["tpp"] < 0.999 * most["tpp"]:
        said.append(f"the line cuts the peak to {100 * best['tpp'] / most['tpp']:.0f} % of what the package could hold")
    if best["area_mm2"] > 1.01 * best["compute_mm2"]:
        said.append(
            f"its dies must have {best['area_mm2']:,.0f} mm2 although {best['compute_mm2']:,.0f} would hold that peak: density is a limit "
            "of its own"
        )
    for key, name in (("memory_gb_per_s", "memory rate"), ("link_gb_per_s", "link")):
        share = best[key] / most[key]
        said.append(
            f"the {name} is cut to {100 * share:.0f} %"
            if share < 0.999
            else f"the {name} is no limit, so it has all of it"
        )
    return said


def _lines(to: str, on: date, maker: str, asked: dict[str, Any]) -> list[tuple[date, list[str], dict[str, Any]]]:
    """Return the different lines for parts of a maker since 2022: first day, tests, line."""
    days = {r.start for t in ("test", "requirement") for r in rules.law().tables[t]} | {
        r.until for t in ("test", "requirement") for r in rules.law().tables[t] if r.until
    }
    for name in asked["reforms"]:
        days |= {r.start for t in ("test", "requirement") for r in rules.law().reforms[name].get(t, ())}
    found: list[tuple[date, list[str], dict[str, Any]]] = []
    for day in sorted(d for d in days | {on} if OLDEST <= d <= on):
        every = [x for x in line(to, on=day, **asked)["lines"] if x["datacenter"]]
        mine = next((x for x in every if maker in x["makers"]), every[0])
        if not found or any(found[-1][2][k] != mine[k] for k in ("corners", "sums")):
            found.append((day, mine["tests"], mine))
    return found


def _said(d: Design, limits: Limits, rate: float, most: float) -> dict[str, Any]:
    """Return a design as plain data; `compute_mm2` is the area that its peak alone would take."""
    return {
        "tpp": d.tpp, "pd": d.tpp / d.area_mm2, "compute_mm2": d.tpp / limits.tpp_per_mm2, "area_mm2": d.area_mm2, "fp16_tflop_per_s": d.tpp / 16,
        "memory_gb_per_s": d.memory_gb_per_s, "link_gb_per_s": d.link_gb_per_s, "tokens_per_s_per_chip": rate,
        "share": rate / most if most else None,
    }  # fmt: skip


def _facts(part: Chip) -> dict[str, Any]:
    """Return what the line asks of a part of the catalogue."""
    m = measures.chip(part.name).measures
    area = float(m["area_mm2"].low) if m["area_mm2"].exact else None
    tpp = float(m["tpp"].low)
    return {
        "tpp": tpp, "area_mm2": area, "pd": tpp / area if area else None, "memory_gb_per_s": float(m["memory_gb_per_s"].low),
        "link_gb_per_s": part.get("link", "scale-up", 0.0) / 1e9,
    }  # fmt: skip
