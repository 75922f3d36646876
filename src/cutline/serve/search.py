"""Every legal layout of a replica and every number of requests in it, as columns; and the best of them.

A candidate is (tp, dp, pp, ep, requests in flight) on one kind of chips, in one of three roles: prompts and decoding together, prompts only,
or decoding only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from cutline.core.numerics import Array, Mask
from cutline.serve.ask import Question, Side
from cutline.serve.closed import Served, closed
from cutline.serve.columns import Layout, Load
from cutline.serve.step import Step, decode, most_requests, prefill_token_s

MOST_BATCH = 4096
ROLES = ("together", "prompts", "decoding")


@dataclass
class Candidates:
    """Columns of one side: layouts, requests of a replica, and what they do. Rates are of one replica."""

    side: int
    role: str
    layout: Layout
    chips: Array  # of a replica
    batch: Array  # requests at once; of prompts, the share of the time that they compute
    requests_per_s: Array
    tpot_s: Array
    ttft_s: Array
    fits: Mask
    step: Step
    prompt_s: Array
    limit: Array  # requests that memory holds
    replicas: Array  # that share a given number of clients; 0 where no clients are given

    def __len__(self) -> int:
        return len(self.chips)

    def row(self, i: int) -> dict[str, Any]:
        """Return one candidate as plain numbers."""
        lay = self.layout
        out: dict[str, Any] = {k: int(getattr(lay, k)[i]) for k in ("tp", "dp", "pp", "ep")}
        return out | {
            "role": self.role, "chips": int(self.chips[i]), "batch": int(self.batch[i]) if self.role != "prompts" else 0, "requests_per_s": float(self.requests_per_s[i]),
            "tpot_s": float(self.tpot_s[i]), "ttft_s": float(self.ttft_s[i]), "limit": float(self.limit[i]), "prompt_s": float(self.prompt_s[i]),
        }  # fmt: skip


def powers(most: float) -> list[float]:
    """Return 1, 2, 4, ... up to `most`.

    Examples
    --------
    >>> powers(6)
    [1.0, 2.0, 4.0]
    """
    return [2.0**k for k in range(int(np.log2(max(most, 1.0))) + 1)]


def layouts(q: Question, side: Side) -> Layout:
    """Return every legal layout of a replica on a side's chips.

    Notes
    -----
    tp divides the query heads and stays in one scale-up domain; stages are 1, 2 or 4 and divide the layers nearly; attention ranks with
    requests of their own (dp) are for sparse models, whose experts they share, whole (ep) or cut. Sizes are powers of two, and 3 and 5
    times one where a domain has them.
    """
    n, m, domain = side.group.chips, q.model, float(side.rates.domain)
    rows = []
    for tp in powers(min(n, max(domain, 8.0))):
        if m.heads % tp:
            continue
        for pp in (1.0, 2.0, 4.0):
            for dp in powers(n / (tp * pp)) if m.experts and pp == 1 else [1.0]:
                wide = tp * dp
                if wide * pp > n or m.layers < pp:
                    continue
                for ep in (1.0, wide) if m.experts and 1 < wide <= m.experts else (1.0,):
                    if dp > 1 and ep == 1.0:
                        continue
                    if ep == 1.0 and m.experts and (m.expert_ffn / wide) < 16:
                        continue
                    rows.append((tp, dp, pp, ep))
    columns = np.array(rows, float).T
    return Layout(*columns)


def candidates(q: Question, i: int, role: str = "together") -> Candidates:
    """Return every layout x number of requests of one side in a role; with clients given, every layout x number of replicas."""
    side = q.sides[i]
    lay = layouts(q, side)
    k = len(lay)
    if role == "together" and q.concurrency is not None:
        most = side.group.chips // (lay.tp * lay.dp * lay.pp)
        pairs = [(row, n) for row in range(k) for n in counts(int(most[row]))]
        rows, replicas = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], float)
        wide = lay[rows]
        batch = q.concurrency / replicas
    else:
        sizes = list(BUSY) if role == "prompts" else [1.0, *(float(round(2 ** (n / 2))) for n in range(1, 25))]
        sizes = sorted(set(sizes))
        wide = lay[np.repeat(np.arange(k), len(sizes))]
        batch = np.tile(np.array(sizes), k) * (wide.dp if role != "prompts" else 1.0)
        replicas = np.zeros(len(batch))
    args = (q.body, side.columns, wide, side.rates, side.constants)
    zero = np.zeros(len(batch))
    load = Load(batch if role != "prompts" else 1.0, q.input, q.output, q.cached, zero, q.drafts, q.accepted)
    served = closed(load, *args, side.memory, q.other)
    if role == "prompts":
        return _prompts(q, i, wide, served, batch)
    if role == "decoding":
        return _decoding(q, i, wide, served, batch)
    rate = served.tokens_per_s / q.output
    fits = np.asarray((served.limit >= batch) & (batch <= side.engine.slots * wide.dp))
    if q.concurrency is not None:  # where no layout holds all clients at once, some wait; a replica has at least one
        waiting = np.asarray((served.limit >= 1.0) & (batch >= 1.0))
        fits = np.asarray(fits & waiting) if (fits & waiting).any() else waiting
        rate = batch / (served.steady_ttft_s + (q.output - 1.0) * served.tpot_s)  # Little's law
        rate = np.minimum(rate, served.running / np.maximum(served.prompt_s + (q.output - 1.0) * served.tpot_s, 1e-12))
    return Candidates(
        i, role, wide, wide.tp * wide.dp * wide.pp, batch, np.asarray(rate), np.asarray(served.tpot_s), np.asarray(served.steady_ttft_s), fits,
        served.step, np.asarray(served.prompt_s), np.asarray(served.limit), replicas,
    )  # fmt: skip


def counts(most: int) -> list[int]:
    """Return 1 to `most` in steps of about a quarter, both ends among them.

    Examples
    --------
    >>> counts(10)
    [1, 2, 3, 4, 5, 6, 7, 9, 10]
    """
    return sorted(
        {max(1, min(most, round(1.25**k))) for k in range(int(math.log(max(most, 1)) / math.log(1.25)) + 2)} | {1, most}
    )


BUSY = (0.5, 0.7, 0.85)
"""Shares of the time that a pool for prompts may compute; their wait grows with it (M/D/1: 0.5, 1.2 and 2.8 services on average)."""


def _prompts(q: Question, i: int, wide: Layout, served: Served, busy: Array) -> Candidates:
    """Return candidates that only compute prompts, one after the other; `busy` is the share of the time that they compute."""
    side = q.sides[i]
    c = side.constants
    fresh = q.input * (1.0 - q.cached)
    token = prefill_token_s(q.input, q.body, side.columns, wide, side.rates, c, q.cached)
    one = (
        fresh * token * wide.dp * wide.pp + served.step.total_s
    )  # weights are read, kernels launched, once for each piece
    rate = busy * wide.dp * wide.pp / one
    wait = one * busy / (2.0 * (1.0 - busy))
    first = c.first_s + one + wait
    limit = most_requests(Load(1.0, q.input, 1.0), q.body, side.columns, wide, side.rates, side.memory, q.other)
    return Candidates(
        i, "prompts", wide, wide.tp * wide.dp * wide.pp, busy, np.asarray(rate), np.zeros(len(busy)), np.asarray(first), np.asarray(limit >= 1),
        served.step, np.asarray(one), np.asarray(limit), np.zeros(len(busy)),
    )  # fmt: skip


def _decoding(q: Question, i: int, wide: Layout, served: Served, batch: Array) -> Candidates:
    """Return candidates that only decode: no prompt shares their steps."""
    side = q.sides[i]
    step = decode(
        batch, q.input + 0.5 * q.output, q.body, side.columns, wide, side.rates, side.constants, 1.0 + q.drafts
    )
    more = 1.0 + side.constants.speculate if q.drafts else 1.0
    tpot = step.total_s * more / (1.0 + q.accepted)
    rate = batch / (tpot * q.output)
    fits = np.asarray((served.limit >= batch) & (batch <= side.engine.slots * wide.dp))
    return Candidates(
        i, "decoding", wide, wide.tp * wide.dp * wide.pp, batch, np.asarray(rate), np.asarray(tpot), np.zeros(len(batch)), fits, step,
        np.zeros(len(batch)), np.asarray(served.limit), np.zeros(len(batch)),
    )  # fmt: skip


def allowed(q: Question, c: Candidates) -> Mask:
    """Return which candidates fit their memory and keep the limits, on average."""
    good = c.fits.copy()
    if q.tpot_s is not None and c.role != "prompts":
        good &= c.tpot_s <= q.tpot_s
    if q.ttft_s is not None and c.role != "decoding":
        good &= c.ttft_s <= q.ttft_s
    return np.asarray(good, bool)


def front(x: Array, y: Array) -> list[int]:
    """Return the points that no other beats in both coordinates, by falling x.

    Examples
    --------
    >>> front(np.array([1.0, 2.0, 3.0]), np.array([3.0, 1.0, 2.0]))
    [2, 0]
    """
    order = np.lexsort((-y, -x))
    best, out = -np.inf, []
    for i in order:
        if y[i] > best:
            best = y[i]
            out.append(int(i))
    return out
