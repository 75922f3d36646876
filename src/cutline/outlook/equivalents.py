"""How many H100 a chip is worth: by its peak, by training, by prompts and by output tokens, as the planner sees them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from cutline.core.errors import CutlineError
from cutline.facts.chips import chip
from cutline.facts.models import model
from cutline.plan.fleet import fleet
from cutline.plan.job import job
from cutline.plan.search import search
from cutline.plan.training import model_flop
from cutline.serve.ask import question
from cutline.serve.search import allowed, candidates

WORKLOADS = ("peak", "training", "prefill", "decode")
REFERENCE = "H100-SXM-80GB"
TRAINED, TRAINING_CHIPS = "llama-3-70b", 1024
SERVED, SERVING_CHIPS = "llama-3.1-70b", 64
PROMPT_TOKENS, ANSWER_TOKENS = 4000, 1000
"""Lengths of a request (guess: between the short ones of a chat and those of a document)."""
SECONDS_A_TOKEN = 0.05
"""Longest wait for an output token [s] (guess: twenty tokens a second, faster than one reads)."""


class Worth(NamedTuple):
    """H100 that one chip is worth, by workload."""

    peak: float
    training: float
    prefill: float
    decode: float
    guessed: tuple[str, ...]
    """workloads that the planner cannot reckon for want of a fact; there the ratio of peaks stands, a guess"""


@functools.cache
def trained_tokens_per_s(name: str) -> float:
    """Return tokens of the reference model that a chip trains on in a second, by the fastest plan that fits. [tokens/s per chip]

    Raises
    ------
    CutlineError
        If a fact of the chip is missing, or no plan fits.
    """
    j = job(model(TRAINED), f"{TRAINING_CHIPS} x {name}")
    best = search(j.shape, j.rates, j.constants, j.space, most_kinds=1, front=False).best
    if best is None:
        raise CutlineError(f"no plan of {TRAINED} fits {TRAINING_CHIPS} x {name}")
    return j.seq * j.batch / float(best[1].step_s[0]) / j.group.chips


@functools.cache
def utilisation(name: str) -> float:
    """Return model flop of the reference plan by the dense bf16 peak of its chips (MFU); errors as of `trained_tokens_per_s`."""
    j = job(model(TRAINED), f"{TRAINING_CHIPS} x {name}")
    flop = float(model_flop(j.shape)) / j.seq
    return trained_tokens_per_s(name) * flop / chip(name).peak_flop_per_s("bf16")


@functools.cache
def served_requests_per_s(name: str, role: str) -> float:
    """Return requests that a chip serves in a second, only their prompts or only their output tokens. [1/s per chip]

    Parameters
    ----------
    role : str
        `prompts` or `decoding`. Output tokens keep `SECONDS_A_TOKEN`. Ascend captures its kernels in a graph.

    Raises
    ------
    CutlineError
        If a fact of the chip is missing, or no layout fits.
    """
    launch = "graph" if chip(name).text("family").startswith("ascend") else None
    limit = SECONDS_A_TOKEN if role == "decoding" else None
    q = question(
        model(SERVED), fleet(f"{SERVING_CHIPS} x {name}"), input_tokens=PROMPT_TOKENS, output_tokens=ANSWER_TOKENS,
        tpot_s=limit, launch=launch,
    )  # fmt: skip
    found = candidates(q, 0, role)
    good = allowed(q, found)
    if not good.any():
        raise CutlineError(f"no layout of {SERVED} fits {name}")
    return float(np.max((found.requests_per_s / found.chips)[good]))


def _rate(name: str, workload: str) -> float:
    if workload == "training":
        return trained_tokens_per_s(name)
    return served_requests_per_s(name, {"prefill": "prompts", "decode": "decoding"}[workload])


@functools.cache
def worth(name: str) -> Worth | None:
    """Return how many H100 a chip is worth; None if the catalogue has no dense 16-bit rate of it.

    Notes
    -----
    Peaks are dense bf16, or fp16 where a part has no bf16. Training: tokens of Llama 3 70B a second and chip, on 1,024 chips.
    Prefill and decode: requests of Llama 3.1 70B a second and chip, with pools of their own.

    Raises
    ------
    UnknownName
        With the names that come close.
    """
    try:
        peak = chip(name).peak_flop_per_s("bf16") / chip(REFERENCE).peak_flop_per_s("bf16")
    except CutlineError:
        chip(name)
        return None
    found: dict[str, float] = {"peak": peak}
    guessed = []
    for workload in WORKLOADS[1:]:
        try:
            found[workload] = _rate(name, workload) / _rate(REFERENCE, workload)
        except CutlineError:
            found[workload] = peak
            guessed.append(workload)
    return Worth(**found, guessed=tuple(guessed))
