"""Whole training runs: from names to the best plan, its days, energy and money, with an interval and sources."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array
from cutline.facts import published, reader
from cutline.facts.models import Model, parameters
from cutline.facts.reader import Claim
from cutline.physics import power
from cutline.plan import constants as table
from cutline.plan import interval, machine
from cutline.plan.columns import Constants, Estimate, Rates, Shape, Strategy
from cutline.plan.fleet import Group, fleet, one_group
from cutline.plan.search import OBJECTIVES, USABLE, Found, kind_of, search
from cutline.plan.stacks import Stack
from cutline.plan.strategy import Space, divisors, single
from cutline.plan.training import estimate

DAY = 86400.0
CHECKPOINT_S = 30.0
"""Time that one checkpoint blocks a job (guess: asynchronous writes leave a device-to-host copy)."""
HOST_SHARE = 0.63
"""Power of hosts, fans and network of a server over that of its chips, from evidence.csv: an HGX H100 server
draws 0.76 of its rated 10.2 kW at work, eight chips 0.85 of their 700 W."""


def evidence(name: str, item: str) -> Claim:
    """Return a cited number of the evidence table."""
    claim = reader.table("evidence").best(name, "value", item)
    assert claim is not None  # a data test lists every pair that the code asks for
    return claim


@dataclass
class Job:
    """A question as numbers: a model on one group of chips, with everything that physics needs."""

    model: Model
    group: Group
    tokens: float | None
    seq: int
    batch: int  # sequences
    precision: str
    stack: Stack
    shape: Shape
    rates: Rates
    constants: Constants
    assumed: list[str] = field(default_factory=list)
    calibrated: bool = False

    @property
    def space(self) -> Space:
        """What bounds the strategies of this job."""
        m = self.model
        return Space(self.group.chips, m.layers, m.heads, m.ffn, m.vocab, self.batch, self.seq, int(self.rates.domain))


def batch_for(tokens_per_step: float, seq: int, chips: int) -> int:
    """Return the sequences of one step: within a tenth of the wanted tokens, divisible as the chips are.

    Keeps the largest odd divisor of `chips`, then the largest power of two, of which a multiple lies within 10 %.

    Examples
    --------
    >>> batch_for(4e6, 2048, 2048), batch_for(4e6, 2048, 1000), batch_for(2e6, 2048, 992), batch_for(2048, 2048, 64)
    (2048, 2000, 992, 1)
    """
    wanted = tokens_per_step / seq
    if wanted < 1.5:
        return 1
    for odd in reversed([d for d in divisors(chips) if d % 2]):
        for k in range(20, -1, -1):
            near = max(1, round(wanted / (odd << k))) * (odd << k)
            if abs(near - wanted) <= 0.1 * wanted:
                return near
    return round(wanted)


def job(
    model: Model,
    on: str,
    tokens: float | None = None,
    seq: int | None = None,
    batch_tokens: float | None = None,
    global_batch: int | None = None,
    precision: str = "bf16",
    stack: Stack | None = None,
    changes: dict[str, float] | None = None,
    network: str | None = None,
) -> Job:
    """Turn a question into numbers; every default that was used is named in `assumed`.

    Raises
    ------
    CutlineError
        If the model is sparse (not modelled yet), the fleet has several kinds, or a fact is missing.
    """
    from cutline.plan.stacks import STACKS

    assumed: list[str] = []
    group = one_group(fleet(on))
    if model.kind != "dense" or model.experts or model.latent:
        raise CutlineError(
            f"{model.name} is a sparse or latent-attention model, which the training estimate does not cover yet; take a dense model"
        )
    if seq is None:
        seq = model.context or 4096
        assumed.append(f"sequence {seq}: " + ("as pre-trained" if model.context else "not published, usual"))
    if seq < 1:
        raise CutlineError(f"seq must be at least 1; got {seq}")
    if global_batch is None:
        if batch_tokens is None:
            batch_tokens = 4e6
            assumed.append("batch 4M tokens: usual for pre-training")
        global_batch = batch_for(batch_tokens, seq, group.chips)
    if stack is None:
        stack = STACKS["typical"]
        assumed.append("software stack: the middle of all measured ones (--stack names one)")
    if model.window and model.window < seq:
        assumed.append(f"windowed attention ({model.window} tokens) counted as full attention")
    out = None
    if network:
        out = machine.network_bytes_per_s(network, group.chip.get("node", default=8.0))
        if out is None:
            raise CutlineError(f"network '{network}' does not parse; write '400 Gb/s per chip' or '8x200 Gb/s'")
    elif group.chips > group.chip.get("domain", default=1.0):
        claim = group.chip.facts.get(("link", "scale-out"))
        assumed.append(
            f"network {claim.printed} per chip, usual for the part (--network names another)"
            if claim
            else "network 100 Gb/s per chip (guess)"
        )
    rates = machine.rates(group.chip, precision, out)
    family = group.chip.text("family")
    constants = table.constants(stack, family, precision, changes=changes)
    constants = machine.power_scaled(constants, *machine.power_factor_inputs(group.chip))
    constants = Constants(**{k: float(v) for k, v in constants.as_dict().items()})
    shape = Shape(
        layers=model.layers,
        hidden=model.hidden,
        heads=model.heads,
        kv_heads=model.kv_heads,
        head_dim=model.head_dim,
        ffn=model.ffn,
        gated=float(model.gated),
        vocab=model.vocab,
        tied=float(model.tied),
        positions=model.positions,
        seq=seq,
    )
    return Job(
        model,
        group,
        tokens,
        seq,
        global_batch,
        precision,
        stack,
        shape,
        rates,
        constants,
        assumed,
        bool(changes),
    )


def goodput(chips: int) -> float:
    """Return the share of a long run on `chips` chips that makes progress."""
    failures = evidence("failures_per_chip_day", "llama3-405b H100 unexpected").value / DAY
    restart = evidence("restart_interval", "skt B200").value
    return float(power.goodput(chips, failures, CHECKPOINT_S, restart))


def power_w(j: Job, e: Estimate) -> Array:
    """Return the mean power of one chip with its share of the server and the site. [W]"""
    limit = j.group.chip.get("power", default=0.0)
    share = evidence("training_power_fraction", "A100-SXM-40GB gemm").value
    busy = (e.compute_part_s + 0.5 * (e.tp_part_s + e.dp_part_s + e.fsdp_part_s)) / e.step_s
    chip_w = power.draw_w(limit, 0.17 * limit, np.clip(busy, 0.0, 1.0), share)
    return np.asarray(chip_w * (1.0 + HOST_SHARE) * evidence("pue", "aws").value)


def prices(j: Job) -> tuple[float | None, str, list[Claim]]:
    """Return (US dollars per chip-second without energy, basis in words, claims); None if no price is known."""
    facts = j.group.chip.facts
    rent = facts.get(("price", "rent"))
    if rent is not None:
        return (
            float(rent.value),
            f"rented at {rent.printed} per chip ({rent.date}, {rent.source.title})",
            [rent],
        )
    buy = facts.get(("price", "buy"))
    if buy is not None:
        years = evidence("amortisation_years", "amazon")
        per_s = float(buy.value) * (1 + 0.5) / (years.value * 365 * DAY)
        words = f"bought at {buy.printed} ({buy.date}, {buy.source.title}), half as much again for the server, over {years.value:g} years, plus energy"
        return per_s, words, [buy, years]
    return None, "no price of this part is known", []


@dataclass
class Run:
    """One plan of a whole run, in plain numbers."""

    row: dict[str, Any]
    parts: dict[str, float]
    strategy: dict[str, Any]


def describe(j: Job, s: Strategy, e: Estimate, i: int = 0) -> Run:
    """Turn row `i` of a table into days, energy, money and their interval."""
    step_s = float(e.step_s[i])
    tokens_per_step = j.batch * j.seq
    chips = j.group.chips
    width = half_width(j, e[[i]])
    low, high = math.exp(-width), math.exp(width)
    flop = float(e.flop[i])
    out: dict[str, Any] = {
        "days": None,
        "days_low": None,
        "days_high": None,
        "step_s": step_s,
        "step_s_low": step_s * low,
        "step_s_high": step_s * high,
        "tokens_per_s_per_chip": tokens_per_step / step_s / chips,
        "mfu": flop / step_s / chips / float(j.rates.flop_per_s),
        "memory_bytes": float(e.memory_bytes[i]),
        "memory_limit_bytes": float(j.rates.memory_bytes),
        "energy_j": None,
        "cost_usd": None,
    }
    if j.tokens is not None:
        working_s = j.tokens / tokens_per_step * step_s
        seconds = working_s / goodput(chips)
        out["days"] = seconds / DAY
        out["days_low"], out["days_high"] = seconds * low / DAY, seconds * high / DAY
        out["goodput"] = goodput(chips)
        out["chip_hours"] = seconds * chips / 3600.0
        watts = float(power_w(j, e[[i]])[0])
        out["energy_j"] = watts * seconds * chips
        rate, basis, _ = prices(j)
        out["cost_basis"] = basis
        if rate is not None:
            owned = basis.startswith("bought")
            energy_usd = out["energy_j"] * evidence("electricity_price", "us industrial").value if owned else 0.0
            out["cost_usd"] = rate * seconds * chips + energy_usd
    out["strategy"] = strategy_row(s, i)
    parts = {k.removesuffix("_part_s"): float(v[i]) for k, v in e.as_dict().items() if k.endswith("_part_s")}
    return Run(out, parts, out["strategy"])


def strategy_row(s: Strategy, i: int = 0) -> dict[str, Any]:
    """Return one strategy in the words of the command line."""
    row = {k: float(v[i]) for k, v in s.as_dict().items()}
    full = row.pop("full")
    selective = row.pop("selective")
    deep = max(row["first"], row["middle"], row["last"])
    n = round(full * deep)
    out: dict[str, Any] = {k: int(v) for k, v in row.items()}
    out["sequence_parallel"] = bool(out["sequence_parallel"])
    out["recompute"] = "full" if full >= 1 else f"{n} of {deep:g} layers" if n else "selective" if selective else "none"
    out["layers_first"], out["layers_middle"], out["layers_last"] = (out.pop(k) for k in ("first", "middle", "last"))
    return out


def half_width(j: Job, e: Estimate) -> float:
    """Return the half width of the 90 % interval of the log step time of a one-row table."""
    known = table.table()
    family, stack = j.group.chip.text("family"), j.stack.name
    measured_family = "shipped" in getattr(known.get(("gemm_fraction", f"family {family}")), "values", {})
    measured_stack = "shipped" in getattr(known.get(("compute", f"stack {stack}")), "values", {})
    unmeasured = 0.5 * (not measured_family) + 0.5 * (not measured_stack)
    x = interval.features(e, j.rates, 0.0, unmeasured, j.group.chips / float(j.rates.domain))
    return float(interval.half_width(x, calibrated=j.calibrated)[0])


def sensitivity(j: Job, s: Strategy) -> dict[str, float]:
    """Return how much shorter the step gets if one resource were 10 % more, by resource. [1]"""
    base = float(estimate(j.shape, j.rates, j.constants, s).step_s[0])
    more: dict[str, Estimate] = {}
    for name, changed in {
        "compute": ("flop_per_s", "linear_flop_per_s"),
        "scale-up link": ("up_bytes_per_s",),
        "scale-out network": ("out_bytes_per_s",),
        "memory rate": ("memory_bytes_per_s",),
    }.items():
        rates = j.rates.replace(**{k: getattr(j.rates, k) * 1.1 for k in changed})
        more[name] = estimate(j.shape, rates, j.constants, s)
    faster = j.constants.replace(
        host_layer_s=j.constants.host_layer_s / 1.1, host_micro_s=j.constants.host_micro_s / 1.1
    )
    more["host speed"] = estimate(j.shape, j.rates, faster, s)
    return {name: 1.0 - float(e.step_s[0]) / base for name, e in more.items()}


def objective_of(j: Job, name: str) -> Callable[[Strategy, Estimate], Array] | None:
    """Return the number to minimise: step time, joules, or dollars of a step."""
    if name not in OBJECTIVES:
        raise CutlineError(f"objective must be one of {', '.join(OBJECTIVES)}; got '{name}'")
    if name == "time":
        return None
    if name == "energy":
        return lambda s, e: np.asarray(power_w(j, e) * e.step_s)
    rate, basis, _ = prices(j)
    if rate is None:
        raise CutlineError(
            f"no price of {j.group.chip.name} is known, so cost cannot be the objective; take time or energy"
        )
    energy = evidence("electricity_price", "us industrial").value if basis.startswith("bought") else 0.0
    return lambda s, e: np.asarray((rate + power_w(j, e) * energy) * e.step_s)


def sources_of(j: Job) -> list[dict[str, str]]:
    """Return every fact that a plan used: what, value as printed, date, and where it was read."""
    used = [
        ("peak", f"{p}-dense")
        for p in ("bf16", "fp16", "fp8", "fp4", j.precision)
        if ("peak", f"{p}-dense") in j.group.chip.facts
    ]
    wanted = {"bf16", "fp16"} if j.precision in ("bf16", "fp16") else {"bf16", "fp16", "fp8", "fp4"}
    used = [u for u in dict.fromkeys(used) if u[1].removesuffix("-dense") in wanted]
    used += [
        ("memory", ""),
        ("memory_rate", ""),
        ("link", "scale-up"),
        ("link", "scale-out"),
        ("domain", ""),
        ("topology", ""),
        ("units", ""),
        ("power", ""),
    ]
    found = [c for u in used if (c := j.group.chip.facts.get(u)) is not None]
    found += prices(j)[2]
    found += [
        evidence("failures_per_chip_day", "llama3-405b H100 unexpected"),
        evidence("restart_interval", "skt B200"),
        evidence("training_power_fraction", "A100-SXM-40GB gemm"),
        evidence("pue", "aws"),
    ]
    facts = [claim_row(c) for c in found]
    for source in sorted(set(j.model.sources)):
        at = reader.sources().get(source)
        if at is not None:
            facts.append(
                {
                    "what": f"{j.model.name} shape",
                    "value": "",
                    "date": at.date,
                    "tier": at.tier,
                    "source": at.id,
                    "title": at.title,
                    "url": at.url,
                    "note": "",
                }
            )
    facts.append(
        {
            "what": "constants of chip family and stack",
            "value": "",
            "date": "2026-11-21",
            "tier": "measured",
            "source": "tools/fit.py",
            "title": "fitted on the measurements of the catalogue",
            "url": "docs/physics.md",
            "note": "",
        }
    )
    return facts


def claim_row(c: Claim) -> dict[str, str]:
    """Return a claim as plain text."""
    return {
        "what": f"{c.name} {c.field} {c.item}".strip(),
        "value": c.printed,
        "date": c.date,
        "tier": c.source.tier,
        "source": c.source.id,
        "title": c.source.title,
        "url": c.source.url,
        "note": c.note,
    }


def plan(
    j: Job, top: int = 5, objective: str = "time", progress: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Search every strategy of a job; return the answer as the JSON that all faces print.

    Returns
    -------
    dict
        Keys as in docs/json.md: `best`, `alternatives`, `pareto`, `nearest`, `searched`, `feasible`,
        `published`, `sensitivity`, `assumed`, `sources`. `best` is None where nothing fits.
    """
    if top < 1:
        raise CutlineError(f"top must be at least 1; got {top}")
    found = search(j.shape, j.rates, j.constants, j.space, objective_of(j, objective), progress)
    if not found.searched:
        raise CutlineError(
            f"no legal split: {j.group.chips} chips need a data-parallel size that divides the batch of {j.batch} sequences, with tp "
            f"a divisor of {j.model.heads} heads and pp at most {j.model.layers}; choose batch-tokens as a multiple of {j.seq} x {j.group.chips}"
        )
    answer: dict[str, Any] = question(j) | {
        "objective": objective,
        "best": None,
        "alternatives": [],
        "pareto": [],
        "nearest": None,
        "searched": found.searched,
        "feasible": found.feasible,
        "published": published.of(j.model.name, j.group.chip.name, j.group.chips),
        "sensitivity": {},
        "assumed": j.assumed,
        "sources": sources_of(j),
    }
    if found.best is None:
        answer["nearest"] = _nearest(j, found)
        return answer
    s, e = found.best
    best = describe(j, s, e)
    answer["best"] = best.row | {"parts_s": best.parts}
    assert found.kinds is not None and found.pareto is not None
    own = kind_of(s)[0]
    others = [i for i in range(len(found.kinds[0])) if kind_of(found.kinds[0])[i] != own][: top - 1]
    for i in others:
        other = describe(j, *found.kinds, i)
        answer["alternatives"].append(other.row | {"parts_s": other.parts})
    front = np.linspace(0, len(found.pareto[0]) - 1, min(12, len(found.pareto[0]))).astype(int)
    answer["pareto"] = [describe(j, *found.pareto, int(i)).row for i in front]
    answer["sensitivity"] = sensitivity(j, s)
    return answer


def question(j: Job) -> dict[str, Any]:
    """Return what was asked, with all defaults filled in."""
    return {
        "model": j.model.name,
        "parameters": parameters(j.model).total,
        "chip": j.group.chip.name,
        "chips": j.group.chips,
        "tokens": j.tokens,
        "seq": j.seq,
        "global_batch": j.batch,
        "precision": j.precision,
        "stack": j.stack.name,
        "calibrated": j.calibrated,
    }


def _nearest(j: Job, found: Found) -> dict[str, Any] | None:
    """Say what came closest to fitting, and what would make it fit."""
    if found.nearest is None:
        return None
    s, e = found.nearest
    need = float(e.memory_bytes[0])
    cures: list[str] = []
    usable = USABLE * float(j.rates.memory_bytes)
    for factor in (2, 4, 8, 16, 32):
        bigger = Space(**(j.space.__dict__ | {"chips": j.group.chips * factor}))
        if j.batch % factor == 0 or j.batch >= j.group.chips * factor:
            more = search(j.shape, j.rates, j.constants, bigger)
            if more.feasible:
                cures.append(f"{j.group.chips * factor} chips of this kind")
                break
    cures.append(f"a chip with {need / USABLE / 1e9:.0f} GB")
    states = float(e.optimizer_bytes[0])
    if need - states <= usable:
        cures.append("optimizer states on the host (not estimated yet)")
    short = j.space.seq // 2
    if float(e.activations_bytes[0] + e.logits_bytes[0]) / 2 >= need - usable and short:
        cures.append(f"sequences of {short} tokens")
    return {"memory_bytes": need, "limit_bytes": usable, "strategy": strategy_row(s), "would_fit_with": cures}


def given(j: Job, chosen: dict[str, float]) -> dict[str, Any]:
    """Estimate one strategy that the user spelled out; the answer has the keys of `plan`, with parts."""
    s = single(j.space, chosen)
    e = estimate(j.shape, j.rates, j.constants, s)
    run = describe(j, s, e)
    memory = {k: float(v[0]) for k, v in e.as_dict().items() if k.endswith("_bytes")}
    fits = bool(e.memory_bytes[0] <= USABLE * j.rates.memory_bytes)
    return question(j) | {
        "best": run.row
        | {
            "parts_s": run.parts,
            "memory_parts_bytes": memory,
            "fits": fits,
            "recompute_s": float(e.recompute_s[0]),
        },
        "alternatives": [],
        "searched": 1,
        "feasible": int(fits),
        "published": published.of(j.model.name, j.group.chip.name, j.group.chips),
        "sensitivity": sensitivity(j, s),
        "assumed": j.assumed,
        "sources": sources_of(j),
    }


def recompute_fields(text: str, layers_per_stage: float) -> dict[str, float]:
    """Read `none`, `selective`, `full` or a number of layers per stage."""
    known = {"none": (0.0, 0.0), "selective": (1.0, 0.0), "full": (0.0, 1.0)}
    if text in known:
        selective, full = known[text]
        return {"selective": selective, "full": full}
    if re.fullmatch(r"\d+", text) and int(text) <= layers_per_stage:
        return {"selective": 0.0, "full": int(text) / layers_per_stage}
    raise CutlineError(
        f"recompute must be none, selective, full, or layers per stage (0 to {layers_per_stage:g}); got '{text}'"
    )
