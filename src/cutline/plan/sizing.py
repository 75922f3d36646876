"""How large, and on how many tokens: scaling laws, deadlines, budgets of compute, ramps of the batch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from cutline.core.errors import CutlineError
from cutline.core.units import count
from cutline.facts.models import Model, parameters
from cutline.facts.reader import evidence
from cutline.plan.costs import DAY, goodput
from cutline.plan.job import Job, batch_for
from cutline.plan.search import search
from cutline.plan.training import model_flop


class Law(NamedTuple):
    """A scaling law of the loss: E + A / N^alpha + B / D^beta, in nats per token, of N parameters and D tokens."""

    name: str
    E: float
    A: float
    B: float
    alpha: float
    beta: float
    title: str
    note: str


LAWS = {
    "besiroglu": "replication of Hoffmann et al. 2022 by Besiroglu et al. 2024; it corrects the fit of the original",
    "chinchilla": "Hoffmann et al. 2022, approach 3 as printed; Besiroglu et al. 2024 could not replicate it",
}
"""Laws by name, the default first, with what is known of their replication."""


def law(name: str = "besiroglu") -> Law:
    """Return a scaling law by name.

    Examples
    --------
    >>> law().alpha, law("chinchilla").alpha
    (0.3478, 0.3392)
    """
    if name not in LAWS:
        raise CutlineError(f"law must be one of {', '.join(LAWS)}; got '{name}'")
    claims = [evidence("scaling_law", f"{name} {p}") for p in ("E", "A", "B", "alpha", "beta")]
    e, a, b, alpha, beta = (float(c.value) for c in claims)
    return Law(name, e, a, b, alpha, beta, claims[0].source.title, LAWS[name])


def loss(at: Law, n: float, tokens: float) -> float:
    """Return the loss of n parameters after so many tokens. [nats per token]"""
    return float(at.E + at.A / n**at.alpha + at.B / tokens**at.beta)


def optimal_parameters(at: Law, flop: float) -> float:
    """Return the parameters of least loss for a budget of compute, with C = 6 N D. [1]

    Examples
    --------
    >>> n = optimal_parameters(law(), 5.76e23)
    >>> round(5.76e23 / 6 / n / n, 1)
    18.4
    """
    g = (at.alpha * at.A / (at.beta * at.B)) ** (1.0 / (at.alpha + at.beta))
    return float(g * (flop / 6.0) ** (at.beta / (at.alpha + at.beta)))


def optimal_tokens(at: Law, n: float) -> float:
    """Return the tokens at which n parameters are the best for the compute that they take. [1]

    Examples
    --------
    >>> round(optimal_tokens(law(), 70e9) / 1e12, 2)
    1.29
    """
    g = (at.alpha * at.A / (at.beta * at.B)) ** (1.0 / (at.alpha + at.beta))
    flop = 6.0 * (n / g) ** ((at.alpha + at.beta) / at.beta)
    return float(flop / (6.0 * n))


def decoder(n: float) -> Model:
    """Return a decoder of about n parameters in the proportions of Llama 3: up to 8 key heads, a gate, FFN of 3.5 widths.

    Heads are 128 wide; width over layers is 128 (llama-3: 128 for 8B, 102 for 70B, 130 for 405B), layers a multiple of 4.

    Examples
    --------
    >>> m = decoder(70e9)
    >>> m.layers, m.hidden, round(parameters(m).total / 1e9)
    (80, 8192, 71)
    """
    best: Model | None = None
    for width in (*range(256, 8192, 256), *range(8192, 65536, 1024)):
        for layers in range(4, 257, 4):
            if not 90 <= width / layers <= 150:
                continue
            made = Model(
                f"decoder-{width}x{layers}", "dense", layers, width, width // 128, math.gcd(width // 128, 8), 128, int(3.5 * width), True, 128256, False, 2, 1,
                dense_layers=layers,
            )  # fmt: skip
            size = parameters(made).total
            if best is None or abs(math.log(size / n)) < abs(math.log(parameters(best).total / n)) - 1e-9:
                best = made
    assert best is not None
    return best


@dataclass(frozen=True)
class Phase:
    """A batch, and the tokens from which on it holds."""

    batch_tokens: float
    start: float


def ramp(text: str, model: Model) -> list[Phase]:
    """Read a ramp of the batch such as `4M, 8M from 252M, 16M from 2.87T`, or `published`.

    Raises
    ------
    CutlineError
        If it does not parse, does not grow, or nothing is published about the model's ramp.
    """
    if text.strip().casefold() == "published":
        return _published(model)
    found: list[Phase] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([\d.]+\s*[kMBT]?)\s*(?:from\s+([\d.]+\s*[kMBT]?)\s*)?", part)
        if not match or (match[2] is None) != (not found):
            raise CutlineError(f"ramp must be such as '4M, 8M from 252M, 16M from 2.87T' or published; got '{text}'")
        found.append(Phase(count(match[1], "ramp"), count(match[2], "ramp") if match[2] else 0.0))
    for a, b in pairwise(found):
        if b.start <= a.start or b.batch_tokens <= a.batch_tokens:
            raise CutlineError(f"a ramp's batches and starts must grow; got '{text}'")
    return found


def _published(model: Model) -> list[Phase]:
    """Return the published ramp of a model; a gradual one in four steps of equal growth."""
    if model.name == "llama-3.1-405b":
        items = (("start", None), ("second", "second from tokens"), ("third", "third from tokens"))
        return [
            Phase(
                float(evidence("batch_ramp", f"{model.name} {batch}").value),
                float(evidence("batch_ramp", f"{model.name} {start}").value) if start else 0.0,
            )
            for batch, start in items
        ]  # fmt: skip
    if model.name == "deepseek-v3":
        first, last, over = (
            float(evidence("batch_ramp", f"{model.name} {what}").value)
            for what in ("start tokens", "end tokens", "over tokens")
        )
        steps = 4
        return [Phase(first + (last - first) * i / steps, over * i / steps) for i in range(steps)] + [Phase(last, over)]
    raise CutlineError(f"nothing is published about the ramp of {model.name}; write one, such as '4M, 8M from 252M'")


def ramped(j: Job, phases: list[Phase], best: dict[str, Any]) -> dict[str, Any]:
    """Return the days of a run whose batch grows, phase by phase, on the split of the best plan where it can run.

    Smaller batches leave fewer micro-batches per pipeline, so bubbles and gradients weigh more.
    """
    assert j.tokens is not None
    if phases[-1].start >= j.tokens and len(phases) > 1:
        raise CutlineError(
            f"the ramp's last phase starts at {phases[-1].start:g} tokens, after the run's {j.tokens:g}; say a later end or earlier phases"
        )
    chosen = {k: float(best["strategy"][k]) for k in ("tp", "cp", "pp", "ep")}
    rows, seconds = [], 0.0
    for phase, after in zip(phases, [*phases[1:], None], strict=True):
        tokens = min(j.tokens, after.start if after else j.tokens) - phase.start
        if tokens <= 0:
            continue
        now = j.on(batch=batch_for(phase.batch_tokens, j.seq, j.group.chips))
        space = now.space
        fixed = search(
            j.shape,
            j.rates,
            j.constants,
            space.__class__(**(space.__dict__ | {"fixed": tuple(chosen.items())})),
            most_kinds=1,
            front=False,
        )
        found = fixed if fixed.best else search(j.shape, j.rates, j.constants, space, most_kinds=1, front=False)
        if found.best is None:
            raise CutlineError(f"nothing fits at a batch of {phase.batch_tokens:g} tokens")
        step_s = float(found.best[1].step_s[0])
        took = tokens / (now.batch * j.seq) * step_s / goodput(j.group.chips)
        seconds += took
        rows.append(
            {"batch_tokens": now.batch * j.seq, "from_tokens": phase.start, "tokens": tokens, "step_s": step_s, "days": took / DAY,
             "same_split": fixed.best is not None}
        )  # fmt: skip
    return {"days": seconds / DAY, "phases": rows, "more": seconds / DAY / best["days"] - 1.0 if best["days"] else None}


def tokens_by(j: Job, days: float) -> tuple[float, Any]:
    """Return the most tokens that a fleet trains a model on in so many days, and the best plan's (strategy, estimate).

    Raises
    ------
    CutlineError
        If nothing fits.
    """
    found = search(j.shape, j.rates, j.constants, j.space, most_kinds=1, front=False)
    if found.best is None:
        raise CutlineError(
            f"{j.model.name} does not fit {j.group.chips} x {j.group.chip.name}, so no number of days is enough"
        )
    steps = days * DAY * goodput(j.group.chips) / float(found.best[1].step_s[0])
    return steps * j.batch * j.seq, found.best


def tokens_of(j: Job, flop: float) -> float:
    """Return the tokens that a budget of model flop buys. [1]"""
    return flop / (float(model_flop(j.shape)) / float(j.shape.seq))
