"""The answer of `cutline serve`: the best plan with its distributions, what binds it, the front, and what would make it fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from cutline.core.numerics import Array
from cutline.facts import DATA_VERSION
from cutline.physics.queueing import AffineStep, open_loop
from cutline.plan.costs import price_of
from cutline.plan.provenance import RATES, claim_row
from cutline.serve import replay
from cutline.serve.ask import Question, described, weights_bytes
from cutline.serve.constants import constants
from cutline.serve.interval import widths
from cutline.serve.pools import Plan, Pool, all_roles, plans, watts
from cutline.serve.search import Candidates, allowed, candidates, front
from cutline.serve.step import decode, prefill_token_s

TRIES = 150
"""Plans that are replayed until one keeps the limits for nine requests of ten."""
REPLAYED, MOST_REPLAYED = 600, 20000
"""Requests of a replay: ten for each in flight, within these."""
QUANTILES = (0.5, 0.9, 0.99)


def serve(q: Question, top: int = 5, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Return the best plan for a question, with what stands beside it; keys as in docs/json.md."""
    roles = all_roles(q)
    searched = sum(len(c) for c in roles.values())
    if progress:
        progress(searched)
    found = plans(q, roles)
    kept = []
    for p in found[:TRIES]:
        timed = distribution(q, p)
        if timed is None or not within(q, timed):
            continue
        kept.append((p, timed))
        if len(kept) == top:
            break
    answer = described(q) | {
        "best": describe(q, *kept[0]) if kept else None,
        "alternatives": [describe(q, *k) for k in kept[1:]],
        "pareto": pareto(q, roles), "searched": searched, "feasible": int(sum(allowed(q, c).sum() for c in roles.values())),
        "nearest": None if kept else nearest(q, roles, bool(found)), "assumed": q.assumed, "sources": sources(q),
    }  # fmt: skip
    return answer


def affine(q: Question, pool: Pool) -> Any:
    """Return the step of a replica near its number of requests as an affine function: a secant in requests, exact in context. [s]"""
    at, i = pool.at, pool.i
    side = q.sides[at.side]
    lay = type(at.layout)(**{k: float(v[i]) for k, v in at.layout.as_dict().items()})
    args = (q.body, side.columns, lay, side.rates, side.constants, 1.0 + q.drafts)
    n, mean = float(at.batch[i]), q.input + 0.5 * q.output
    low = max(n / 4.0, 1.0)
    a, b = float(decode(low, mean, *args).total_s), float(decode(max(n, low + 1.0), mean, *args).total_s)
    more = float(decode(max(n, low + 1.0), mean * 1.1, *args).total_s)
    high = max(n, low + 1.0)
    context = max(more - b, 0.0) / (0.1 * mean * high)
    slope = max((b - a) / (high - low) - context * mean, 0.0)
    base = max(a - low * (slope + context * mean), 1e-6)
    token = float(prefill_token_s(q.input, q.body, side.columns, lay, side.rates, side.constants, q.cached))
    drafting = (1.0 + float(side.constants.speculate) * (q.drafts > 0)) / (1.0 + q.accepted)
    prompt = token * (1.0 - q.cached) if at.role != "decoding" else 0.0
    return AffineStep(base * drafting, slope * drafting, context * drafting, prompt)


def distribution(q: Question, p: Plan) -> dict[str, dict[str, float]] | None:
    """Return the quantiles of the time to the first token and of the time per token; None where the queue grows without end.

    Requests that arrive at random are replayed step by step on one replica, with its share of the rate; so are clients in a loop. The
    closed forms of `physics.queueing` say first whether the queue is stable.
    """
    pool = next(x for x in p.pools if x.at.role != "prompts")
    side = q.sides[pool.at.side]
    step = affine(q, pool)
    n, room = float(pool.at.batch[pool.i]), float(pool.at.limit[pool.i])
    slots = int(max(min(room, side.engine.slots * float(pool.at.layout.dp[pool.i])), 1))
    many = int(max(REPLAYED, min(10 * n, MOST_REPLAYED)))
    common = {"input_tokens": int(q.input), "output_tokens": int(q.output), "budget": side.engine.budget}
    lengths = common | {"input_tokens": _spread(q.input, many, 3), "output_tokens": _spread(q.output, many, 4)}
    if q.rate is not None:
        rate = q.rate / pool.replicas
        steady = open_loop(step, rate_per_s=rate, slots=slots, **common)
        if not bool(steady.stable):
            return None
        seen = replay.simulate(step, requests=many, rate_per_s=rate, slots=slots, seed=1, warmup=0.1, **lengths)
    else:
        clients = int(n if q.concurrency is None else max(1, math.ceil(q.concurrency / pool.replicas)))
        seen = replay.simulate(step, requests=many, concurrency=clients, slots=slots, warmup=0.2, **lengths)
    kept = seen.kept
    first = np.asarray(seen.ttft_s)[kept]
    first = first + _beside(q, p, pool, n, len(first))
    each = np.asarray(seen.tpot_s)[kept]
    return {
        "ttft_s": _quantiles(first),
        "tpot_s": _quantiles(each[np.isfinite(each)] if np.isfinite(each).any() else np.array([p.tpot_s])),
    }


def _spread(mean: float, n: int, seed: int) -> Any:
    """Return lengths between half and one and a half times a mean, all alike likely: nobody's requests are of one length."""
    low, high = math.ceil(0.5 * mean), math.floor(1.5 * mean)
    return np.random.default_rng(seed).integers(max(low, 1), max(high, 1) + 1, n)


def _beside(q: Question, p: Plan, pool: Pool, n: float, many: int) -> Any:
    """Return what first tokens take beside the replayed steps, one number each. [s]

    Arrival, connections, launches; the rest of a prompt that runs on one attention rank or stage after stage, where the replay
    spreads it over the replica; or another pool's prompt, its wait exponential.
    """
    c = q.sides[pool.at.side].constants
    out = float(c.first_s + c.prefill_layer_s * (q.body.layers + q.body.moe_layers))
    prompts = next((x for x in p.pools if x.at.role == "prompts"), None)
    if prompts is None:
        over = float(pool.at.layout.dp[pool.i] * pool.at.layout.pp[pool.i])
        return out + float(c.connection_s) * n + float(pool.at.prompt_s[pool.i]) * (over - 1.0)
    one = float(prompts.at.prompt_s[prompts.i])
    wait = max(float(prompts.at.ttft_s[prompts.i]) - one - float(c.first_s), 1e-9)
    return out + one + p.transfer_s + np.random.default_rng(5).exponential(wait, many)


def _quantiles(x: Array) -> dict[str, float]:
    return {f"p{int(100 * k)}": float(np.quantile(x, k)) for k in QUANTILES}


def within(q: Question, timed: dict[str, dict[str, float]]) -> bool:
    """Return whether nine requests of ten keep the limits."""
    return (q.ttft_s is None or timed["ttft_s"]["p90"] <= q.ttft_s) and (
        q.tpot_s is None or timed["tpot_s"]["p90"] <= q.tpot_s
    )


def describe(q: Question, p: Plan, timed: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return a plan in plain numbers."""
    tokens = p.requests_per_s * q.output
    prices = {q.sides[x.at.side].group.label: price_of(q.sides[x.at.side].chip, q.money) for x in p.pools}
    load = p.requests_per_s / max(min(x.requests_per_s for x in p.pools), 1e-12) if q.rate is not None else 1.0
    power = sum(watts(q, x.at, x.i, load) * x.chips for x in p.pools)
    usd = 0.0
    for x in p.pools:
        found = prices[q.sides[x.at.side].group.label]
        usd += (
            math.nan
            if found.usd_per_s is None
            else found.usd_per_s * x.chips + found.usd_per_j * watts(q, x.at, x.i, load) * x.chips
        )
    parts = shares(q, p)
    width = widths().get(("time per output token", "ordinary", ""), 0.36)
    return {
        "tokens_per_s_per_chip": tokens / p.chips, "tokens_per_s_per_user": 1.0 / timed["tpot_s"]["p50"], **timed,
        "tpot_s_low": timed["tpot_s"]["p50"] * math.exp(-width), "tpot_s_high": timed["tpot_s"]["p50"] * math.exp(width),
        "requests_per_s": p.requests_per_s, "tokens_per_s": tokens, "chips": p.chips,
        "cost_usd_per_million_tokens": None if math.isnan(usd) else usd / tokens * 1e6,
        "cost_basis": {k: v.basis for k, v in prices.items()},
        "energy_j_per_token": None if math.isnan(power) else power / tokens,
        "binds": binds(q, p, parts), "shares": parts, "split": p.split, "transfer_s": p.transfer_s,
        "configuration": [
            x.at.row(x.i) | {"group": q.sides[x.at.side].group.label, "replicas": x.replicas, "chips_in_all": x.chips} for x in p.pools
        ],
    }  # fmt: skip


PARTS = (
    ("weights_s", "dense weights"), ("experts_s", "experts"), ("cache_s", "keys and values"), ("links_s", "links"), ("launch_s", "launches"),
    ("host_s", "host"),
)  # fmt: skip


def shares(q: Question, p: Plan) -> dict[str, float]:
    """Return where the time of an output token goes, as shares; prompts of others among them."""
    pool = next(x for x in p.pools if x.at.role != "prompts")
    at, i = pool.at, pool.i
    step = {name: float(np.broadcast_to(getattr(at.step, field), len(at))[i]) for field, name in PARTS}
    total = sum(step.values())
    prompts = 0.0
    if at.role == "together":
        prompts = max(float(at.batch[i]) - 1.0, 0.0) * float(at.prompt_s[i]) / q.output
        total = float(at.step.total_s[i]) + prompts
    return {"prompts of others": prompts / total} | {k: v / total for k, v in step.items()}


def binds(q: Question, p: Plan, parts: dict[str, float]) -> str:
    """Return what binds a plan, in words: the largest shares of a token's time, and the limit that more requests would break."""
    pool = next(x for x in p.pools if x.at.role != "prompts")
    most = sorted(parts.items(), key=lambda kv: -kv[1])[:2]
    said = " and ".join(f"{name} ({100 * share:.0f} % of a token's time)" for name, share in most if share > 0.05)
    n, room = float(pool.at.batch[pool.i]), float(pool.at.limit[pool.i])
    if n * math.sqrt(2.0) > room:
        return f"{said}; memory for keys and values is full at {room:.0f} requests"
    if q.tpot_s is not None and p.tpot_s * 1.3 > q.tpot_s:
        return f"{said}; more requests at once would break the limit on time per token"
    if q.ttft_s is not None and p.ttft_s * 1.3 > q.ttft_s:
        return f"{said}; more requests at once would break the limit on the first token"
    return said


def pareto(q: Question, roles: dict[tuple[int, str], Candidates]) -> list[dict[str, Any]]:
    """Return the front of speed for a user against throughput of a chip, over replicas that do both."""
    points = []
    for i, side in enumerate(q.sides):
        c = roles[i, "together"]
        good = np.flatnonzero(c.fits & ((c.ttft_s <= q.ttft_s) if q.ttft_s is not None else True))
        if not len(good):
            continue
        user, chip = 1.0 / c.tpot_s[good], c.requests_per_s[good] * q.output / c.chips[good]
        for k in front(user, chip):
            j = int(good[k])
            points.append(
                c.row(j)
                | {
                    "group": side.group.label,
                    "tokens_per_s_per_user": float(user[k]),
                    "tokens_per_s_per_chip": float(chip[k]),
                }
            )
    return points


def nearest(q: Question, roles: dict[tuple[int, str], Candidates], planned: bool) -> dict[str, Any]:
    """Return why nothing fits, and what would make it fit."""
    need = [
        {
            "group": s.group.label, "weights_bytes": weights_bytes(q, s), "memory_bytes": float(s.rates.memory_bytes) * s.group.chips,
            "chips_for_weights": math.ceil(weights_bytes(q, s) / (0.85 * float(s.rates.memory_bytes))),
        }
        for s in q.sides
    ]  # fmt: skip
    fits = [c for c in roles.values() if c.role == "together" and c.fits.any()]
    if not fits:
        cures = [f"{n['chips_for_weights']:,} chips of {n['group']} hold the weights" for n in need]
        return {
            "why": "the weights, with room for one request, fit on no layout of these chips",
            "cures": cures,
            "memory": need,
        }
    tpot = min(float(c.tpot_s[c.fits].min()) for c in fits)
    ttft = min(float(c.ttft_s[c.fits].min()) for c in fits)
    rate = (
        max(
            float((c.requests_per_s[g] * (q.sides[c.side].group.chips // c.chips[g])).max())
            for c in fits
            if (g := allowed(q, c)).any()
        )
        if any(allowed(q, c).any() for c in fits)
        else 0.0
    )
    cures = []
    if q.tpot_s is not None and tpot > q.tpot_s:
        cures.append(f"a time per token of {1e3 * tpot:.3g} ms is the least that any layout reaches")
    if q.ttft_s is not None and ttft > q.ttft_s:
        cures.append(f"a first token after {ttft:.3g} s is the earliest that any layout reaches")
    if q.rate is not None and rate < q.rate:
        cures.append(
            f"these chips carry {0.9 * rate:.3g} requests a second within the limits"
            if rate
            else "no layout keeps both limits at once"
        )
    for i, side in enumerate(q.sides):
        if any("launches every kernel" in a and a.startswith(side.chip.name) for a in q.assumed):
            graph = replace(side, constants=constants(side.chip.text("family"), side.engine.name, "graph"))
            other = candidates(replace(q, sides=[*q.sides[:i], graph, *q.sides[i + 1 :]]), i)
            if allowed(q, other).any():
                cures.append(
                    f"--launch graph: where {side.engine.name} captures its kernels, layouts of {side.group.label} keep the limits"
                )
    if not cures:
        cures.append("looser limits: nine requests of ten must keep them, and averages do")
    return {
        "why": "no plan keeps the limits"
        if not planned
        else "plans keep the limits on average, not for nine requests of ten",
        "cures": cures,
        "memory": need,
    }


def sources(q: Question) -> list[dict[str, str]]:
    """Return every fact that the answer used."""
    seen: dict[tuple[str, str], dict[str, str]] = {}
    for s in q.sides:
        for key in (*RATES, ("peak", "int8-dense"), ("link", "host")):
            claim = s.chip.facts.get(key)
            if claim is not None:
                row = claim_row(claim)
                seen.setdefault((row["what"], row["source"]), row)
        for claim in price_of(s.chip, q.money).claims:
            row = claim_row(claim)
            seen.setdefault((row["what"], row["source"]), row)
    fitted = {
        "what": "constants of serving", "value": "", "date": DATA_VERSION, "tier": "measured", "source": "tools/fit_serving.py",
        "title": "fitted on measured serving", "url": "docs/serving.md", "note": "",
    }  # fmt: skip
    return [*seen.values(), fitted]
