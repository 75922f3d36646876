"""Whole training runs: from names to the best plan, its days, energy and money, with an interval and sources."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array
from cutline.facts import published
from cutline.facts.models import parameters
from cutline.plan.columns import Estimate, Strategy
from cutline.plan.costs import goodput, power_w, prices
from cutline.plan.describe import MODULES, Run, describe, strategy_row
from cutline.plan.explain import lifted, sensitivity
from cutline.plan.frameworks import excluded, refusal
from cutline.plan.job import Job, batch_for, job
from cutline.plan.provenance import sources_of
from cutline.plan.search import OBJECTIVES, USABLE, Found, kind_of, search
from cutline.plan.strategy import Space, single
from cutline.plan.training import estimate

__all__ = ["Job", "Run", "batch_for", "describe", "given", "goodput", "job", "plan", "prices", "sensitivity"]


def objective_of(j: Job, name: str) -> Callable[[Strategy, Estimate], Array] | None:
    """Return the number to minimise: step time, joules, or dollars of a step."""
    if name not in OBJECTIVES:
        raise CutlineError(f"objective must be one of {', '.join(OBJECTIVES)}; got '{name}'")
    if name == "time":
        return None
    if name == "energy":
        j.group.chip.get("power")  # without it there is nothing to minimise: says so
        return lambda s, e: np.asarray(power_w(j, e) * e.step_s)
    price = prices(j)
    if price.usd_per_s is None:
        raise CutlineError(
            f"no price of {j.group.chip.name} is known, so cost cannot be the objective; take time or energy"
        )
    per_s, per_j = price.usd_per_s, price.usd_per_j
    return lambda s, e: np.asarray((per_s + np.nan_to_num(power_w(j, e)) * per_j) * e.step_s)


def plan(
    j: Job, top: int = 5, objective: str = "time", progress: Callable[[int], None] | None = None, why: bool = True
) -> dict[str, Any]:
    """Search every strategy of a job; return the answer as the JSON that all faces print.

    Parameters
    ----------
    top : int
        Plans to name: the best, and the best of other kinds.
    why : bool
        Search again with one limit lifted at a time.

    Returns
    -------
    dict
        Keys as in docs/json.md: `best`, `alternatives`, `pareto`, `nearest`, `searched`, `feasible`,
        `published`, `sensitivity`, `lifted`, `excluded`, `assumed`, `sources`. `best` is None where nothing fits.
    """
    if top < 1:
        raise CutlineError(f"top must be at least 1; got {top}")
    found = search(j.shape, j.rates, j.constants, j.space, objective_of(j, objective), progress, top)
    if not found.searched:
        raise CutlineError(
            f"no legal split: {j.group.chips} chips need a data-parallel size that divides the batch of {j.batch} sequences, with tp "
            f"a divisor of {j.model.heads} heads and pp at most {j.model.layers}; choose --batch-tokens as a multiple of {j.seq} x {j.group.chips}"
        )
    answer: dict[str, Any] = question(j) | {
        "objective": objective,
        "best": None,
        "alternatives": [],
        "pareto": [],
        "nearest": None,
        "searched": found.searched,
        "pruned": found.pruned,
        "feasible": found.feasible,
        "published": published.of(j.model.name, j.group.chip.name, j.group.chips),
        "sensitivity": {},
        "lifted": [],
        "excluded": excluded(j.framework, j.space),
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
    if why:
        answer["lifted"] = lifted(j, float(e.step_s[0]))
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
        "framework": j.framework.name,
        "calibrated": j.calibrated,
        "clip": list(j.clip) if j.clip else None,
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
            if search(j.shape, j.rates, j.constants, bigger, most_kinds=1, front=False).feasible:
                cures.append(f"{j.group.chips * factor} chips of this kind")
                break
    cures.append(f"a chip with {need / USABLE / 2**30:.0f} GiB")
    if need - float(e.optimizer_bytes[0]) <= usable:
        cures.append("optimizer states on the host (--framework any)")
    short = j.space.seq // 2
    if float(e.activations_bytes[0] + e.logits_bytes[0]) / 2 >= need - usable and short:
        cures.append(f"sequences of {short} tokens")
    return {"memory_bytes": need, "limit_bytes": usable, "strategy": strategy_row(s), "would_fit_with": cures}


def given(j: Job, chosen: dict[str, float]) -> dict[str, Any]:
    """Estimate one strategy that the user spelled out; the answer has the keys of `plan`, with parts."""
    why = refusal(j.framework, chosen, j.space)
    if why:
        raise CutlineError(why)
    usual = {"zero": float(min(j.stack.zero, 1 if chosen.get("pp", 1) > 1 else 3))}
    usual["sequence_parallel"] = float(j.stack.sequence_parallel or j.model.experts > 0)
    s = single(j.space, usual | chosen)
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
    """Read `none`, `full`, a number of layers per stage, or modules joined by `+`: selective, light, feed.

    Examples
    --------
    >>> recompute_fields("selective+light", 8)
    {'selective': 1.0, 'light': 1.0, 'feed': 0.0, 'full': 0.0}
    """
    modules = [word.strip() for word in text.split("+")]
    if set(modules) <= set(MODULES):
        return {name: float(name in modules) for name in MODULES} | {"full": 0.0}
    share = {"none": 0.0, "full": 1.0}.get(text)
    if share is None and re.fullmatch(r"\d+", text) and int(text) <= layers_per_stage:
        share = int(text) / layers_per_stage
    if share is None:
        raise CutlineError(
            f"recompute must be none, full, layers per stage (0 to {layers_per_stage:g}), or modules joined by +: "
            f"{', '.join(MODULES)}; got '{text}'"
        )
    return dict.fromkeys(MODULES, 0.0) | {"full": share}
