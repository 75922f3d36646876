"""Why a plan is the best: what each resource is worth, what would win if one limit were lifted, what a chip costs."""

from __future__ import annotations

from typing import Any

import numpy as np

from cutline.core.errors import CutlineError
from cutline.plan.columns import Estimate, Strategy
from cutline.plan.describe import describe, strategy_row
from cutline.plan.job import Job, job
from cutline.plan.precision import known_of_loss, recipe
from cutline.plan.provenance import claim_row
from cutline.plan.search import search
from cutline.plan.training import estimate

LIFTED = 1e3
"""A rate times this binds no more; memory that a plan may fill, too."""


def sensitivity(j: Job, s: Strategy) -> dict[str, float]:
    """Return how much shorter the step gets if one resource were 10 % more, by resource. [1]

    Of memory size it is the best plan that changes, not this one: see `lifted`.
    """
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
    more["host speed"] = estimate(j.shape, j.rates, faster_host(j, 1.1), s)
    return {name: 1.0 - float(e.step_s[0]) / base for name, e in more.items()}


def faster_host(j: Job, factor: float) -> Any:
    """Return the constants of a job whose host launches so many times faster."""
    names = ("host_layer_s", "host_micro_s", "host_moe_s", "host_expert_s")
    return j.constants.replace(**{n: getattr(j.constants, n) / factor for n in names})


def lifted(j: Job, best_s: float) -> list[dict[str, Any]]:
    """Return the best plan if one limit were lifted, for every limit that would change the step by 1 % or more.

    Parameters
    ----------
    best_s : float
        Step time of the best plan as things are. [s]

    Returns
    -------
    list of dict
        `limit`, `step_s`, `saves` (share of the step) and the strategy, largest first. Memory 10 % larger stands beside memory
        without end: it says what a little more would buy.
    """
    rates = j.rates
    cases = {
        "memory 10 % larger": (rates.replace(memory_bytes=1.1 * rates.memory_bytes), j.constants),
        "memory without end": (rates.replace(memory_bytes=LIFTED * rates.memory_bytes), j.constants),
        "scale-up link without end": (rates.replace(up_bytes_per_s=LIFTED * rates.up_bytes_per_s), j.constants),
        "network without end": (rates.replace(out_bytes_per_s=LIFTED * rates.out_bytes_per_s), j.constants),
        "no launch floor": (rates, faster_host(j, LIFTED)),
    }
    out = []
    for name, (changed, constants) in cases.items():
        found = search(j.shape, changed, constants, j.space, most_kinds=1, front=False, at_most=0.99 * best_s)
        if found.best is None:
            continue
        s, e = found.best
        saves = 1.0 - float(e.step_s[0]) / best_s
        if saves >= 0.01:
            out.append({"limit": name, "step_s": float(e.step_s[0]), "saves": saves, "strategy": strategy_row(s)})
    return sorted(out, key=lambda row: -row["saves"])


def compare(answer: dict[str, Any], ask: dict[str, Any], chips: list[str]) -> list[dict[str, Any]]:
    """Return the same job on as many chips of other kinds, best plan each, beside the asked one.

    Parameters
    ----------
    answer : dict
        What `run.plan` said for the asked chip.
    ask : dict
        The arguments of `job.job` for the asked chip, without `on`.
    chips : list of str
        Names of other parts.

    Returns
    -------
    list of dict
        `chip`, the plan's row or None, `times` (its step over that of the asked chip), and `why` where there is none.
    """
    base = answer["best"]["step_s"] if answer["best"] else None
    out: list[dict[str, Any]] = []
    for name in chips:
        row: dict[str, Any] = {"chip": name, "best": None, "times": None, "why": ""}
        out.append(row)
        try:
            other = job(on=f"{answer['chips']} x {name}", **ask)
            found = search(other.shape, other.rates, other.constants, other.space, most_kinds=1, front=False)
        except CutlineError as error:
            row["why"] = str(error)
            continue
        row["chip"] = other.group.chip.name
        if found.best is None:
            row["why"] = "nothing fits its memory"
            continue
        row["best"] = describe(other, *found.best).row
        row["times"] = row["best"]["step_s"] / base if base else None
    return out


def saved(j: Job, best: dict[str, Any], ask: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a narrow format saves against bf16 on the same fleet, and what is known of its loss; None for 16 bits."""
    words, claim = known_of_loss(recipe(j.precision))
    if not words:
        return None
    wide = job(on=f"{j.group.chips} x {j.group.chip.name}", **(ask | {"precision": "bf16"}))
    found = search(wide.shape, wide.rates, wide.constants, wide.space, most_kinds=1, front=False)
    out: dict[str, Any] = {
        "loss": words,
        "source": claim_row(claim) if claim else None,
        "time": None,
        "energy": None,
        "memory_bytes": None,
    }
    if found.best is not None:
        row = describe(wide, *found.best).row
        out["time"] = 1.0 - best["step_s"] / row["step_s"]
        out["memory_bytes"] = row["memory_bytes"] - best["memory_bytes"]
        if best["energy_j"] and row["energy_j"]:
            out["energy"] = 1.0 - best["energy_j"] / row["energy_j"]
    return out


def sampling(j: Job, counts: list[int] | None = None) -> dict[str, Any]:
    """Return how long one chip, and one server, takes to draw a clip: forward passes alone, weights whole on every chip.

    `counts` names other numbers of chips.
    A server splits the sequence by all-to-all (Ulysses) as far as heads allow. The autoencoder, and the text encoder's one
    pass, are left out; published times hold them.
    """
    from cutline.plan import layers
    from cutline.plan.strategy import divisors

    m = j.model
    out: dict[str, Any] = {"steps": m.sampling_steps, "passes_per_step": 1 + int(m.guidance), "ways": []}
    node = int(j.group.chip.get("node", default=8.0))
    most = max(d for d in divisors(m.heads) if d <= node)
    for chips in counts or dict.fromkeys((1, most)):
        n = np.ones(1)
        s = Strategy(
            tp=n, cp=chips * n, pp=n, vpp=n, dp=n, micro_batch=n, micro_batches=n, zero=0 * n, shard=n, sequence_parallel=0 * n,
            selective=0 * n, full=0 * n, first=m.layers * n, middle=m.layers * n, last=m.layers * n, cp_kind=2.0 * n,
        )  # fmt: skip
        one = layers.layer(j.shape, j.rates, j.constants, s, layers.mixes(j.shape)[0])
        layer_s = one.products + one.attention + one.stream + one.cp_transfer
        clip_s = float(np.ravel(layer_s)[0]) * m.layers * m.sampling_steps * (1 + m.guidance)
        out["ways"].append({"chips": chips, "clip_s": clip_s})
    return out
