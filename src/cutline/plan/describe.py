"""One plan in plain numbers and words: days, energy, money, their interval, and the strategy spelled out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from cutline.plan import constants as table
from cutline.plan import interval, machine
from cutline.plan.columns import Estimate, Strategy
from cutline.plan.costs import DAY, goodput, power_w, prices
from cutline.plan.job import Job

MODULES = {"selective": "selective", "light": "norms and activations", "feed": "feed-forward"}
"""Columns of module recompute in the words of the command line; `selective` is the attention core."""
CP_KINDS = ("ring", "all-gather", "all-to-all")
SCHEDULES = ("1F1B", "ZB-H1", "ZB-H2", "DualPipe")


@dataclass
class Run:
    """One plan of a whole run, in plain numbers."""

    row: dict[str, Any]
    parts: dict[str, float]


def describe(j: Job, s: Strategy, e: Estimate, i: int = 0) -> Run:
    """Turn row `i` of a table into days, energy, money and their interval."""
    step_s = float(e.step_s[i])
    tokens_per_step = j.batch * j.seq
    chips = j.group.chips
    width = half_width(j)
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
        "mfu": flop / step_s / chips / float(j.rates.linear_flop_per_s),
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
        out["energy_j"] = watts * seconds * chips if math.isfinite(watts) else None
        price = prices(j)
        out["cost_basis"] = price.basis
        if price.usd_per_s is not None:
            out["cost_usd"] = price.usd_per_s * seconds * chips + price.usd_per_j * (out["energy_j"] or 0.0)
    out["strategy"] = strategy_row(s, i)
    parts = {k.removesuffix("_part_s"): float(v[i]) for k, v in e.as_dict().items() if k.endswith("_part_s")}
    return Run(out, parts)


def strategy_row(s: Strategy, i: int = 0) -> dict[str, Any]:
    """Return one strategy in the words of the command line."""
    row = {k: float(v) for k, v in s.row(i).items()}
    full = row.pop("full")
    modules = [word for name, word in MODULES.items() if row.pop(name)]
    deep = max(row["first"], row["middle"], row["last"])
    n = round(full * deep)
    out: dict[str, Any] = {k: int(v) for k, v in row.items()}
    for switch in ("sequence_parallel", "offload", "graphs", "ep_hidden"):
        out[switch] = bool(out[switch])
    out["cp_kind"], out["schedule"] = CP_KINDS[out["cp_kind"]], SCHEDULES[out["schedule"]]
    if out["vpp"] > 1:
        out["schedule"] = "interleaved"
    some = ([f"{n} of {deep:g} layers"] if n else []) + modules
    out["recompute"] = "full" if full >= 1 else ", ".join(some) or "none"
    out["layers_first"], out["layers_middle"], out["layers_last"] = (out.pop(k) for k in ("first", "middle", "last"))
    return out


def half_width(j: Job) -> float:
    """Return the half width of the 90 % interval of the log step time of a job."""
    unmeasured = table.unmeasured(j.stack, j.group.chip.text("family"))
    x = interval.features(j.rates, 0.0, unmeasured, *machine.power_factor_inputs(j.group.chip)[:2])
    return float(interval.half_width(x, residual=j.residual))
