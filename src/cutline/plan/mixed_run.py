"""Mixed fleets as an answer: the best plan over several groups in plain numbers, why it is best, and what stands beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from cutline.core.errors import CutlineError
from cutline.facts import published
from cutline.facts.models import parameters
from cutline.plan import stages, training
from cutline.plan.costs import DAY, busy_power_w, goodput, prices
from cutline.plan.describe import half_width, strategy_row
from cutline.plan.job import Job
from cutline.plan.mixed import Mixed, Party, Split, alone, bound_s, even, given, share_out, splits
from cutline.plan.precision import known_of_loss, recipe
from cutline.plan.provenance import claim_row, sources_of
from cutline.plan.search import USABLE
from cutline.plan.stages import Segment, Way

ENDLESS = 1e15
"""A rate between groups that binds nothing. [bytes/s]"""
BESIDE = 1.5
"""Other ways to make parties are shown up to this many times the best step."""


def plan(q: Mixed, objective: str = "time", progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Find the best plan of a mixed fleet; return the answer as the JSON that all faces print.

    Returns
    -------
    dict
        Keys as in docs/json.md: `best` (with `parties` and `roles`), `alternatives`, `alone`, `even`, `bound_step_s`, `links`,
        `link_cost`, `one_more_node`, `why`, `numerics`, `assumed`, `sources`. `best` is None where nothing fits.
    """
    if objective != "time":
        raise CutlineError(
            f"fleets of several kinds are planned for time; got objective {objective}; plan each kind alone for it"
        )
    found = splits(q, progress)
    single = {q.jobs[g].group.label: alone(q, g) for g in range(len(q.jobs))}
    naive = even(q)
    answer: dict[str, Any] = question(q) | {
        "objective": objective,
        "best": None,
        "alternatives": [],
        "alone": [
            {
                "group": name,
                "step_s": None if p is None else p.step_s,
                "days": None if p is None else _days(q, p.step_s, p.groups),
            }
            for name, p in single.items()
        ],
        "even": None if naive is None else {"step_s": naive.step_s, "days": _days(q, naive.step_s)},
        "bound_step_s": bound_s(q, tuple(range(len(q.jobs)))),
        "closed": not np.isfinite(q.open_s) or (bool(found) and q.open_s >= found[0].step_s),
        "links": links(q),
        "link_cost": None,
        "one_more_node": [],
        "why": [],
        "numerics": numerics(q),
        "published": published.of(q.jobs[0].model.name, "", 0),
        "assumed": q.assumed,
        "sources": sources(q),
    }
    if not found:
        return answer
    best = found[0]
    answer["best"] = describe(q, best)
    shown = found[1:] + _others(q, best, found)
    answer["alternatives"] = [
        {
            "parties": _names(q, s),
            "how": how(s),
            "step_s": s.step_s,
            "days": _days(q, s.step_s, _working(s)),
            "bubble": bubble(s),
        }
        for s in sorted(shown, key=lambda s: s.step_s)
    ]
    answer["link_cost"] = 1.0 - endless(q, best) / best.step_s
    answer["one_more_node"] = one_more_node(q, best)
    answer["why"] = why(q, best, answer)
    return answer


def estimate(
    q: Mixed,
    chosen: list[dict[str, float]],
    shares: list[int] | None,
    layers_: list[list[int]] | None,
    order: list[int] | None = None,
) -> dict[str, Any]:
    """Estimate one plan that the user spelled out; the answer has the keys of `plan` that one plan has."""
    split = given(q, chosen, shares, layers_, order)
    best = describe(q, split)
    limit = USABLE
    best["fits"] = all(r["memory_bytes"] <= limit * r["memory_limit_bytes"] for r in best["roles"])
    return question(q) | {
        "best": best, "links": links(q), "link_cost": 1.0 - endless(q, split) / split.step_s, "numerics": numerics(q),
        "bound_step_s": bound_s(q, tuple(range(len(q.jobs)))), "assumed": q.assumed, "sources": sources(q),
    }  # fmt: skip


def question(q: Mixed) -> dict[str, Any]:
    """Return what was asked, with all defaults filled in."""
    j = q.jobs[0]
    return {
        "model": j.model.name,
        "parameters": parameters(j.model).total,
        "chips": q.fleet.chips,
        "groups": [
            {
                "group": x.group.label, "chip": x.group.chip.name, "chips": x.group.chips, "precision": x.precision,
                "stack": x.stack.name, "framework": x.framework.name,
                "network_bytes_per_s": float(x.rates.out_bytes_per_s),
            }
            for x in q.jobs
        ],
        "tokens": j.tokens,
        "seq": j.seq,
        "global_batch": q.batch,
        "clip": list(j.clip) if j.clip else None,
    }  # fmt: skip


def how(s: Split) -> str:
    """Return what a split is, in a few words."""
    if len(s.parties) == 1:
        pipe = s.parties[0].pipeline
        if pipe is not None and pipe.segments[0].partner is not None:
            return f"experts on one kind, all else on {pipe.segments[0].job.group.label}"
        return "one group" if pipe is None else "one pipeline over the groups"
    if any(len(p.groups) > 1 for p in s.parties):
        return "replicas, some of them pipelines over groups"
    return "replicas on each group, unequal shares"


def bubble(s: Split) -> float | None:
    """Return the share of the step in which stages of a pipeline over groups wait for its fill and drain; None without one."""
    pipes = [p.pipeline for p in s.parties if p.pipeline is not None]
    return max(pipe.parts["bubble"] for pipe in pipes) / s.step_s if pipes else None


def _names(q: Mixed, s: Split) -> list[list[str]]:
    return [[q.jobs[g].group.label for g in p.groups] for p in s.parties]


def _chips(q: Mixed, groups: Iterable[int]) -> int:
    return sum(q.jobs[g].group.chips for g in groups)


def _working(s: Split) -> list[int]:
    """Return the groups that have work."""
    return [g for p in s.parties for g in p.groups]


def _days(q: Mixed, step_s: float, groups: Iterable[int] | None = None) -> float | None:
    """Return the days of the whole run, with failures of the chips that work and with checkpoints."""
    tokens = q.jobs[0].tokens
    if tokens is None:
        return None
    chips = q.fleet.chips if groups is None else _chips(q, groups)
    return tokens / (q.batch * q.jobs[0].seq) * step_s / goodput(chips) / DAY


def _ends(q: Mixed, s: Split) -> tuple[float, float]:
    """Return the ends of the 90 % interval over the step: parties err on their own, and the step ends with the last of them."""
    widths = [max(half_width(q.jobs[g]) for g in p.groups) for p in s.parties]
    low = max(p.step_s * math.exp(-w) for p, w in zip(s.parties, widths, strict=True))
    high = max(p.step_s * math.exp(w) for p, w in zip(s.parties, widths, strict=True))
    return low / s.step_s, high / s.step_s


def describe(q: Mixed, s: Split) -> dict[str, Any]:
    """Return a split in plain numbers: the whole run, its parties, and the role of every group."""
    low, high = _ends(q, s)
    roles = [row for p in s.parties for row in _roles(q, p, s)]
    used = {row["group"] for row in roles}
    idle = [j.group.label for j in q.jobs if j.group.label not in used]
    peak = sum(j.group.chips * float(j.rates.linear_flop_per_s) for j in q.jobs)
    flop = float(training.model_flop(q.jobs[0].shape)) * q.batch
    out: dict[str, Any] = {
        "how": how(s), "step_s": s.step_s, "step_s_low": s.step_s * low, "step_s_high": s.step_s * high,
        "days": None, "days_low": None, "days_high": None,
        "tokens_per_s_per_chip": q.batch * q.jobs[0].seq / s.step_s / q.fleet.chips,
        "mfu": flop / s.step_s / peak, "energy_j": None, "cost_usd": None, "idle": idle,
        "parties": [
            {
                "groups": [q.jobs[g].group.label for g in p.groups], "sequences": p.share, "share": p.share / q.batch,
                "step_s": p.step_s, "waits": 1.0 - p.step_s / s.step_s, "parts_s": _parts(p),
                "wave": p.pipeline.wave if p.pipeline else None,
                "micro_batches": p.pipeline.micro_batches if p.pipeline else None,
            }
            for p in s.parties
        ],
        "roles": roles,
    }  # fmt: skip
    days = _days(q, s.step_s, _working(s))
    if days is not None:
        out["days"], out["days_low"], out["days_high"] = days, days * low, days * high
        out["goodput"] = goodput(_chips(q, _working(s)))
        seconds = days * DAY
        out["chip_hours"] = seconds * q.fleet.chips / 3600.0
        watts = [_watts(q, g, roles) * j.group.chips for g, j in enumerate(q.jobs)]
        out["energy_j"] = sum(watts) * seconds if all(math.isfinite(w) for w in watts) else None
        costs = []
        for j, w in zip(q.jobs, watts, strict=True):
            price = prices(j)
            known = price.usd_per_s is not None and (not price.usd_per_j or math.isfinite(w))
            costs.append(
                (price.usd_per_s * j.group.chips + price.usd_per_j * w) * seconds if known and price.usd_per_s else None
            )
        out["cost_usd"] = sum(c for c in costs if c is not None) if all(c is not None for c in costs) else None
        out["cost_basis"] = {j.group.label: prices(j).basis for j in q.jobs}
    return out


def _watts(q: Mixed, g: int, roles: list[dict[str, Any]]) -> float:
    """Return the mean power of one chip of a group with its share of server and site. [W]"""
    busy = next((row["compute_share"] for row in roles if row["group"] == q.jobs[g].group.label), 0.0)
    return float(busy_power_w(q.jobs[g].group.chip, busy))


def _parts(p: Party) -> dict[str, float]:
    """Return where the time of a party's step goes; the parts sum to it. [s]"""
    if p.pipeline is not None:
        return dict(p.pipeline.parts)
    assert p.alone is not None
    e = p.alone[1]
    return {k.removesuffix("_part_s"): float(v[0]) for k, v in e.as_dict().items() if k.endswith("_part_s")}


def _roles(q: Mixed, p: Party, s: Split) -> list[dict[str, Any]]:
    """Return what each group of a party does."""
    if p.pipeline is not None:
        rows = [_stage_role(seg, p, s) for seg in p.pipeline.segments]
        seg = p.pipeline.segments[0]
        if seg.partner is not None:
            other = next(q.jobs[g] for g in p.groups if q.jobs[g].group.label != seg.job.group.label)
            rows.append(_expert_role(other, seg, p, s))
        return rows
    assert p.alone is not None
    plan_, e = p.alone
    j = q.jobs[p.groups[0]]
    slots = int(plan_.dp[0] * plan_.micro_batch[0] * plan_.micro_batches[0])
    return [
        {
            "group": j.group.label, "chips": j.group.chips, "precision": j.precision, "role": "whole replicas",
            "sequences": p.share, "slots": slots, "layers": [int(j.shape.layers)], "strategy": strategy_row(plan_),
            "memory_bytes": float(e.memory_bytes[0]), "memory_limit_bytes": float(j.rates.memory_bytes),
            "waits": 1.0 - p.step_s / s.step_s,
            "compute_share": float(e.compute_part_s[0] + 0.5 * (e.tp_part_s + e.dp_part_s + e.fsdp_part_s)[0]) / s.step_s,
        }
    ]  # fmt: skip


def _stage_role(seg: Segment, p: Party, s: Split) -> dict[str, Any]:
    assert p.pipeline is not None
    row = strategy_row(seg.strategy)
    n = sum(seg.recomputed)
    row |= {"pp": len(seg.layers), "micro_batches": p.pipeline.micro_batches, "layers_first": seg.layers[0],
            "layers_middle": seg.layers[len(seg.layers) // 2], "layers_last": seg.layers[-1], "vpp": 1}  # fmt: skip
    if n:
        row["recompute"] = f"{n} of {sum(seg.layers)} layers" + (
            "" if row["recompute"] == "none" else f", {row['recompute']}"
        )
    own = float(np.mean(seg.stage_s)) / p.pipeline.slowest_s
    busy = p.pipeline.parts["compute"] / s.step_s
    return {
        "group": seg.job.group.label, "chips": seg.job.group.chips, "precision": seg.job.precision,
        "role": "stages" if seg.partner is None else "all but experts",
        "sequences": p.share, "slots": p.share, "layers": list(seg.layers), "strategy": row,
        "memory_bytes": seg.memory_bytes, "memory_limit_bytes": float(seg.job.rates.memory_bytes),
        "waits": 1.0 - own * busy, "compute_share": own * busy,
    }  # fmt: skip


def _expert_role(j: Job, seg: Segment, p: Party, s: Split) -> dict[str, Any]:
    """Return what the group does that runs the experts of another group's stages."""
    assert p.pipeline is not None and seg.partner is not None
    ep, stages_ = int(seg.partner["ep"]), len(seg.layers)
    row = strategy_row(seg.strategy) | {
        "tp": 1, "cp": 1, "pp": stages_, "ep": ep, "dp": j.group.chips // stages_, "zero": 1, "recompute": "none", "vpp": 1,
        "micro_batches": p.pipeline.micro_batches, "sequence_parallel": False,
    }  # fmt: skip
    busy = seg.partner["stage_s"] / p.pipeline.slowest_s * p.pipeline.parts["compute"] / s.step_s
    return {
        "group": j.group.label, "chips": j.group.chips, "precision": j.precision, "role": "experts", "sequences": p.share,
        "slots": p.share, "layers": list(seg.layers), "strategy": row, "memory_bytes": seg.partner["memory_bytes"],
        "memory_limit_bytes": float(j.rates.memory_bytes), "waits": 1.0 - busy, "compute_share": busy,
    }  # fmt: skip


def _others(q: Mixed, best: Split, found: list[Split]) -> list[Split]:
    """Return what else two groups could do, near the best: of more groups only what the search kept."""
    if len(q.jobs) > 2:
        return []
    known = {frozenset(s.groups) for s in found}
    every: list[list[tuple[int, ...]]] = [[(0,)], [(1,)], [(0,), (1,)], [(0, 1)]]
    left = [
        p
        for p in every[: 2 * len(q.jobs)]
        if max(g for party in p for g in party) < len(q.jobs) and frozenset(p) not in known
    ]
    open_s, budget = q.open_s, q.budget
    q.budget = iter(range(stages.MOST_TRIES))
    tried = [share_out(q, p, BESIDE * best.step_s) for p in left]
    q.open_s, q.budget = open_s, budget  # what only stands beside the best leaves nothing open
    return [s for s in tried if s is not None]


def links(q: Mixed) -> list[dict[str, Any]]:
    """Return the ways between groups."""
    out = []
    for i, a in enumerate(q.jobs):
        for b in q.jobs[i + 1 :]:
            way = q.way(a, b)
            row = {"groups": [a.group.label, b.group.label], "bytes_per_s": None, "says": "no link, as given"}
            out.append(row if way is None else row | {"bytes_per_s": way.bytes_per_s, "says": way.says})
    return out


def endless(q: Mixed, s: Split) -> float:
    """Return the step of the same plan if the links between groups bound nothing. [s]"""
    steps = []
    for p in s.parties:
        jobs = [q.beside(g, len(s.parties), Way(ENDLESS, 0.0, ""), 0.0) for g in p.groups]
        rates = [
            j.rates.replace(other_servers=o.rates.other_servers) for j, o in zip(jobs, _beside(q, p, s), strict=True)
        ]
        if p.alone is not None:
            j = jobs[0].on(rates=rates[0])
            steps.append(float(training.estimate(j.shape, j.rates, j.constants, p.alone[0]).step_s[0]))
        elif p.pipeline is not None:
            slow = stages.crossing_s(p.pipeline, q.way)
            steps.append(p.step_s - slow)
    return max(steps)


def _beside(q: Mixed, p: Party, s: Split) -> list[Any]:
    others = [x.groups for x in s.parties if x.groups != p.groups]
    servers = sum(q.jobs[g].group.chips / float(q.jobs[g].rates.domain) for o in others for g in o)
    return [q.beside(g, len(s.parties), Way(ENDLESS, 0.0, ""), servers) for g in p.groups]


def one_more_node(q: Mixed, s: Split) -> list[dict[str, Any]]:
    """Return by what share the step would fall with one more server of each kind, work shared out anew without rounding.

    To first order: the share of the work that a group does, over its servers.
    """
    out = []
    for p in s.parties:
        work = {p.groups[0]: 1.0}
        if p.pipeline is not None and p.pipeline.segments[0].partner is not None:
            continue  # what paces such a stage need not be either group
        if p.pipeline is not None:
            of = {seg.job.group.label: sum(seg.layers) / float(seg.job.shape.layers) for seg in p.pipeline.segments}
            work = {g: of[q.jobs[g].group.label] for g in p.groups}
        for g, part in work.items():
            node = q.jobs[g].group.chip.get("node", default=8.0)
            gain = p.share / q.batch * part * node / q.jobs[g].group.chips
            out.append({"group": q.jobs[g].group.label, "chips": int(node), "saves": gain / (1.0 + gain)})
    return sorted(out, key=lambda row: -float(row["saves"]))


def why(q: Mixed, s: Split, answer: dict[str, Any]) -> list[str]:
    """Return why the plan is the best, in words."""
    said = []
    speed = {
        row["group"]: q.batch / row["step_s"] / next(g["chips"] for g in answer["groups"] if g["group"] == row["group"])
        for row in answer["alone"]
        if row["step_s"]
    }
    if len(speed) > 1:
        slow = min(speed, key=lambda g: speed[g])
        others = [f"{g} {speed[g] / speed[slow]:.1f}" for g in speed if g != slow]
        said.append(f"alone, a chip of {slow} trains 1 sequence where one of {', of '.join(others)}")
    names = [q.jobs[g].group.label for g in range(len(q.jobs))]
    missing = [n for n in names if n not in speed]
    if missing:
        said.append(f"the model does not fit on {' or '.join(missing)} alone")
    if len(s.parties) > 1:
        waits = sorted(s.parties, key=lambda p: p.step_s)
        fast, slowest_ = waits[0], waits[-1]
        said.append(
            f"{' + '.join(q.jobs[g].group.label for g in fast.groups)} waits {100 * (1 - fast.step_s / s.step_s):.0f} % of the step for "
            f"{' + '.join(q.jobs[g].group.label for g in slowest_.groups)}"
        )
    elif s.parties[0].pipeline is not None:
        seg = max(s.parties[0].pipeline.segments, key=lambda x: max(x.stage_s))
        said.append(f"stages on {seg.job.group.label} set the pace")
    piped = [a for a in answer["alternatives"] if a["bubble"] is not None]
    if len(s.parties) > 1 and piped:
        said.append(
            f"replicas meet once a step, to sum gradients; stages of one pipeline over the groups would hand on every micro-batch, and wait "
            f"{100 * piped[0]['bubble']:.0f} % of the step for its ends"
        )
    if answer["best"]["idle"]:
        joined = any(link["bytes_per_s"] for link in answer["links"])
        cause = "no split with it is faster" if joined else "no link joins the groups"
        said.append(f"{' and '.join(answer['best']['idle'])} is left idle: {cause}")
    return said


def numerics(q: Mixed) -> dict[str, Any] | None:
    """Return what follows where groups run different number formats; None where all run the same."""
    formats = {j.group.label: j.precision for j in q.jobs}
    if len(set(formats.values())) == 1:
        return None
    known = [known_of_loss(recipe(p)) for p in dict.fromkeys(formats.values())]
    said = [words for words, _ in known if words]
    return {
        "formats": formats,
        "says": (
            "replicas round differently: master weights stay in 32 bits on all, gradients are summed in the width of the stack, and "
            "messages between stages are in 16 bits, so the run follows the coarser format; compare losses of a short run on each"
        ),
        "loss": said,
        "sources": [claim_row(c) for _, c in known if c is not None],
    }


def sources(q: Mixed) -> list[dict[str, str]]:
    """Return every fact that the groups used, each once."""
    seen: dict[tuple[str, str, str], dict[str, str]] = {}
    for j in q.jobs:
        for row in sources_of(j):
            seen.setdefault((row["what"], row["value"], row["source"]), row)
    return list(seen.values())
