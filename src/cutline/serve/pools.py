"""From candidates to whole plans: how many replicas of what, on which kind of chips, together or in pools for prompts and decoding.

Whole plans are compared by what a request costs in chips, dollars or joules: a pool costs the chips that one request a second needs, so
the best pool for prompts and the best for decoding are found apart, and joined with whole numbers of replicas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array
from cutline.plan.costs import busy_power_w, price_of
from cutline.serve.ask import Question
from cutline.serve.search import Candidates, allowed, candidates
from cutline.serve.step import cache_bytes

KEPT, OF_A_SIZE = 15, 3
"""Candidates of a role that whole plans are made of, and how many of one size of replica."""
BUSY_READS = 0.6
"""Power of a chip that only reads memory, over one whose products are busy, above idle (guess)."""


@dataclass
class Pool:
    """Replicas of one candidate."""

    at: Candidates
    i: int
    replicas: int

    @property
    def chips(self) -> int:
        """Chips of all replicas."""
        return int(self.at.chips[self.i]) * self.replicas

    @property
    def requests_per_s(self) -> float:
        """Requests a second of all replicas."""
        return float(self.at.requests_per_s[self.i]) * self.replicas


@dataclass
class Plan:
    """Pools that serve a load together."""

    pools: list[Pool]
    requests_per_s: float
    tpot_s: float
    ttft_s: float
    binds: str = ""
    transfer_s: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def chips(self) -> int:
        """Chips of all pools."""
        return sum(p.chips for p in self.pools)

    @property
    def split(self) -> bool:
        """True where prompts and decoding have pools of their own."""
        return any(p.at.role != "together" for p in self.pools)


def watts(q: Question, at: Candidates, i: int, load: float = 1.0) -> float:
    """Return the mean power of one chip of a candidate, with its share of server and site. [W]

    `load` is the share of the time in which its replica has work.
    """
    part = q.sides[at.side].chip
    if at.role == "prompts":
        return float(busy_power_w(part, float(at.batch[i]) * load))
    return float(busy_power_w(part, float(busy_of(at)[i]) * load))


def busy_of(at: Candidates) -> Array:
    """Return the share of the time in which products run, or memory is read for `BUSY_READS` of their power."""
    step = at.step
    total = np.maximum(step.total_s, 1e-12)
    reads = (step.weights_s + step.experts_s + step.cache_s) / total
    work = np.maximum(step.products, BUSY_READS * reads)
    prompts = np.minimum(at.prompt_s * at.requests_per_s, 1.0) if at.role == "together" else 0.0
    return np.asarray(np.broadcast_to(np.minimum(prompts + (1.0 - prompts) * work, 1.0), len(at)))


def price(q: Question, at: Candidates, load: Array | float = 1.0) -> Array:
    """Return what one chip of each candidate costs in the unit of the objective, each second.

    Raises
    ------
    CutlineError
        If the objective is cost and no price of a part is known.
    """
    part = q.sides[at.side].chip
    busy = (at.batch if at.role == "prompts" else busy_of(at)) * np.asarray(load)
    if q.objective == "cost":
        p = price_of(part, q.money)
        if p.usd_per_s is None:
            raise CutlineError(
                f"no price of {part.name} is known; say it as rent in a fleet file, or take another objective"
            )
        power = busy_power_w(part, busy) if p.usd_per_j else 0.0
        return np.asarray(p.usd_per_s + p.usd_per_j * power + 0.0 * busy)
    if q.objective == "energy":
        return np.asarray(busy_power_w(part, busy))
    return np.ones(len(at))


def best_of(q: Question, at: Candidates, keep: int = KEPT) -> list[int]:
    """Return the candidates with the most requests for their price, a few of each size of replica, best first."""
    good = np.flatnonzero(allowed(q, at))
    if not len(good):
        return []
    value = at.requests_per_s[good] / (at.chips[good] * price(q, at)[good])
    if q.objective == "speed":
        value = 1.0 / np.maximum(at.tpot_s[good] if at.role != "prompts" else at.ttft_s[good], 1e-9)
    return _few(good[np.argsort(-value, kind="stable")], at.chips, keep, OF_A_SIZE)


def _few(order: Any, sizes: Array, keep: int, each: int) -> list[int]:
    """Return the first of an order, at most `each` of one size."""
    seen: dict[int, int] = {}
    out = []
    for i in order:
        size = int(sizes[i])
        seen[size] = seen.get(size, 0) + 1
        if seen[size] <= each:
            out.append(int(i))
        if len(out) == keep:
            break
    return out


def transfer_s(q: Question, a: Pool, b: Pool) -> float:
    """Return the time in which the cache of one prompt reaches the pool that decodes. [s]

    Each chip of a replica sends its share over the network, at the slower end's rate.
    """
    side, other = q.sides[a.at.side], q.sides[b.at.side]
    size = float(cache_bytes(q.body, side.columns, q.input))
    lanes = min(float(a.at.layout.tp[a.i] * a.at.layout.pp[a.i]), float(b.at.layout.tp[b.i] * b.at.layout.pp[b.i]))
    rate = min(float(side.rates.out_bytes_per_s), float(other.rates.out_bytes_per_s))
    return size / (max(lanes, 1.0) * rate * float(side.constants.link))


def plans(q: Question, roles: dict[tuple[int, str], Candidates]) -> list[Plan]:
    """Return whole plans, best first: together on every kind of chips, and split in every way over them."""
    out = []
    together = [_together(q, roles[i, "together"]) for i in range(len(q.sides))]
    mine = [p for options in together for p in options]
    out += mine
    if len(q.sides) > 1 and q.rate is None and q.concurrency is None and all(together):
        best = [options[0] for options in together]
        out.append(_sum(best))
    for a in range(len(q.sides)) if q.concurrency is None else ():
        for b in range(len(q.sides)):
            out += _split(q, roles[a, "prompts"], roles[b, "decoding"])
    return sorted(out, key=lambda p: rank(q, p))


def _sum(parts: list[Plan]) -> Plan:
    pools = [x for p in parts for x in p.pools]
    return Plan(pools, sum(p.requests_per_s for p in parts), max(p.tpot_s for p in parts), max(p.ttft_s for p in parts))


def rank(q: Question, p: Plan) -> tuple[float, float]:
    """Return what plans are sorted by.

    Without a load the requests a second of all chips, or their price; with clients the price of a request; with a rate the price of the
    chips that carry it. Then the time per token.
    """
    load = p.requests_per_s / max(min(x.requests_per_s for x in p.pools), 1e-12) if q.rate is not None else 1.0
    cost = sum(float(price(q, x.at, load)[x.i]) * x.chips for x in p.pools)
    if q.objective == "speed":
        return p.tpot_s, cost
    if q.rate is not None or q.objective == "chips":
        return cost, p.tpot_s
    if q.concurrency is not None or q.objective in ("cost", "energy"):
        return cost / p.requests_per_s, p.tpot_s
    return -p.requests_per_s, p.tpot_s


UTILISED = 0.9
"""Share of its capacity that a replica may use under arrivals at random, before waits are replayed."""
TRIED, EASY = 40, 20
"""Plans of one kind of chips that are replayed: the cheapest, and those that are furthest from the limits."""


def _together(q: Question, at: Candidates) -> list[Plan]:
    """Return plans of replicas that do both, on one kind of chips: the best ones, and the ones furthest from the limits."""
    good = np.flatnonzero(allowed(q, at))
    if not len(good):
        return []
    most = q.sides[at.side].group.chips // at.chips[good]
    if q.rate is not None:
        n = np.ceil(q.rate / (UTILISED * at.requests_per_s[good]) - 1e-9)
    elif q.concurrency is not None:
        n = at.replicas[good]
    else:
        n = most
    keep = (n >= 1) & (n <= most)
    good, n = good[keep], n[keep]
    if not len(good):
        return []
    rate = at.requests_per_s[good] * n if q.rate is None else np.full(len(good), q.rate)
    load = q.rate / (at.requests_per_s[good] * n) if q.rate is not None else np.ones(len(good))
    every = np.ones(len(at))
    every[good] = load
    cost = price(q, at, every)[good] * at.chips[good] * n
    key = cost / rate if q.rate is None and (q.concurrency is not None or q.objective in ("cost", "energy")) else cost
    if q.rate is None and q.concurrency is None and q.objective == "throughput":
        key = -rate
    if q.objective == "speed":
        key = at.tpot_s[good]
    slack = np.maximum(at.tpot_s[good] / (q.tpot_s or math.inf), at.ttft_s[good] / (q.ttft_s or math.inf)) + 1e-9 * load
    order = np.lexsort((at.tpot_s[good], key))
    first = _few(order, at.chips[good] * 1000 + n, TRIED, OF_A_SIZE)
    easy = _few(np.lexsort((key, np.where(load < 0.6, slack, slack + 1.0))), at.chips[good] * 1000 + n, EASY, 2)
    out = []
    for k in dict.fromkeys([*first, *easy]):
        pools = [Pool(at, int(good[k]), int(n[k]))]
        if q.rate is None and q.concurrency is None and q.objective == "throughput":
            pools += _rest(q, at, good, pools[0].chips)
        total = sum(x.requests_per_s for x in pools) if q.rate is None else q.rate
        out.append(
            Plan(pools, total, max(float(at.tpot_s[x.i]) for x in pools), max(float(at.ttft_s[x.i]) for x in pools))
        )
    return out


def _rest(q: Question, at: Candidates, good: Any, used: int) -> list[Pool]:
    """Return what smaller replicas make of the chips that whole ones leave over."""
    left = q.sides[at.side].group.chips - used
    fits = good[at.chips[good] <= left] if left > 0 else good[:0]
    if not len(fits):
        return []
    n = left // at.chips[fits]
    best = int(np.argmax(at.requests_per_s[fits] * n))
    return [Pool(at, int(fits[best]), int(n[best]))]


def _split(q: Question, prompts: Candidates, decoding: Candidates) -> list[Plan]:
    """Return plans with a pool for prompts and one for decoding, in the whole numbers of replicas that balance best."""
    out = []
    same = prompts.side == decoding.side
    room = (q.sides[prompts.side].group.chips, q.sides[decoding.side].group.chips)
    for i in best_of(q, prompts, 12):
        for j in best_of(q, decoding, 12 if q.rate is not None else 6):
            a, b = int(prompts.chips[i]), int(decoding.chips[j])
            ra, rb = float(prompts.requests_per_s[i]), float(decoding.requests_per_s[j])
            found = _counts(q, a, b, ra, rb, room, same)
            if found is None:
                continue
            pools = [Pool(prompts, i, found[0]), Pool(decoding, j, found[1])]
            move = transfer_s(q, pools[0], pools[1])
            first = float(prompts.ttft_s[i]) + move
            if q.ttft_s is not None and first > q.ttft_s:
                continue
            rate = min(p.requests_per_s for p in pools) if q.rate is None else q.rate
            out.append(Plan(pools, rate, float(decoding.tpot_s[j]), first, transfer_s=move))
    return out


def _counts(
    q: Question, a: int, b: int, ra: float, rb: float, room: tuple[int, int], same: bool
) -> tuple[int, int] | None:
    """Return how many replicas for prompts and for decoding: what a rate needs, or what carries the most."""
    if q.rate is not None:
        n = math.ceil(q.rate / ra)
        m = math.ceil(q.rate / (UTILISED * rb))
        fits = n * a + m * b <= room[0] if same else n * a <= room[0] and m * b <= room[1]
        return (n, m) if fits else None
    if not same:
        n, m = room[0] // a, room[1] // b
        return (n, m) if n and m else None
    best, found = 0.0, None
    for n in range(1, room[0] // a + 1):
        m = (room[0] - n * a) // b
        if m and min(n * ra, m * rb) > best:
            best, found = min(n * ra, m * rb), (n, m)
    return found


def all_roles(q: Question) -> dict[tuple[int, str], Candidates]:
    """Return the candidates of every side in every role."""
    return {
        (i, role): candidates(q, i, role) for i in range(len(q.sides)) for role in ("together", "prompts", "decoding")
    }
