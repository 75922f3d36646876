"""Waiting and sharing on a server with continuous batching: closed forms for clients in a loop and for Poisson arrivals.

A step decodes one token of every running request and takes up to `budget` prompt tokens of waiting ones. `serve/replay.py`
replays the same server event by event; tests/test_queueing.py holds the two together and says how near they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cutline.core.numerics import Array, Mask, Numbers, above, at_least


class AffineStep(NamedTuple):
    """Time of one step, affine in what it holds; fields broadcast. Call it for the seconds of a step.

    Examples
    --------
    >>> round(AffineStep(0.01, 1e-4, 1e-8, 5e-5)(10, 20_000, 1_000), 6)
    0.0612
    """

    base_s: Numbers
    """Step that holds nothing: weights, launches, host. [s]"""
    decode_s: Numbers
    """More for each request that decodes. [s]"""
    context_s: Numbers
    """More for each token of context of those that decode. [s]"""
    prompt_s: Numbers
    """More for each prompt token. [s]"""

    def __call__(self, decoding: Numbers, context_tokens: Numbers, prompt_tokens: Numbers) -> Numbers:
        """Time of a step. [s]"""
        return self.base_s + self.decode_s * decoding + self.context_s * context_tokens + self.prompt_s * prompt_tokens


class ClosedLoop(NamedTuple):
    """Means of a benchmark whose clients wait for their answer before they ask again."""

    batch: Array
    """Requests admitted at once: the clients, or what slots and KV memory allow. [1]"""
    tpot_s: Array
    """Mean over requests of (end - first token) / (output tokens - 1); NaN below two output tokens. [s]"""
    ttft_s: Array
    """Mean as a benchmark of all its requests prints it: start-up burst and wait for a slot with it. [s]"""
    ttft_steady_s: Array
    """Mean once the burst is over, wait for a slot with it. [s]"""
    slot_wait_s: Array
    """Of `ttft_steady_s`, the wait for a slot or for KV memory. [s]"""
    requests_per_s: Array
    """Steady rate. [1/s]"""


class OpenLoop(NamedTuple):
    """Steady state under Poisson arrivals. Where not `stable`, waits are infinite and TPOT is that of a full batch."""

    capacity_per_s: Array
    """Rate above which the queue grows without end. [1/s]"""
    utilisation: Array
    """Rate over capacity. [1]"""
    stable: Mask
    """False where the rate is at capacity or above."""
    decoding: Array
    """Mean requests decoding. [1]"""
    tpot_s: Array
    ttft_s: Array
    slot_wait_s: Array
    """Of `ttft_s`, the wait for a slot or for KV memory. [s]"""
    tpot_quantile_s: Array
    """(..., quantile) [s]"""
    ttft_quantile_s: Array
    """(..., quantile) [s]"""


class _Load(NamedTuple):
    """What both loops share of a step and a request."""

    step: AffineStep
    alone_s: Array  # step that decodes nothing
    each_s: Array  # more for each request that decodes, its mean context with it
    input_tokens: Array
    gaps: Array  # steps of decoding of one request: its output tokens but the first
    chunks: Array  # steps that one prompt takes on its own
    share: Array  # prompts that share one step's budget, at least 1
    budget: Array


def _load(step: AffineStep, input_tokens: Numbers, output_tokens: Numbers, budget: Numbers) -> _Load:
    above(0, base_s=step.base_s)
    at_least(0, decode_s=step.decode_s, context_s=step.context_s, prompt_s=step.prompt_s)
    at_least(1, input_tokens=input_tokens, budget=budget)
    at_least(0, output_tokens=output_tokens)
    step = AffineStep(*(np.asarray(x, float) for x in step))
    inputs, outputs, budget = (np.asarray(x, float) for x in (input_tokens, output_tokens, budget))
    return _Load(
        step,
        np.asarray(step.base_s),
        np.asarray(step.decode_s + step.context_s * (inputs + outputs / 2.0)),
        inputs,
        np.asarray(np.maximum(outputs - 1.0, 0.0)),
        np.asarray(np.ceil(inputs / budget)),
        np.asarray(np.maximum(budget / inputs, 1.0)),
        budget,
    )


def _places(load: _Load, output_tokens: Numbers, slots: Numbers, kv_tokens: Numbers) -> Array:
    """Requests that can be admitted at once, not rounded down: KV memory is shared by requests of many lengths. [1]"""
    at_least(1, slots=slots)
    above(0, kv_tokens=kv_tokens)
    room = np.asarray(kv_tokens, float) / (load.input_tokens + np.asarray(output_tokens, float))
    return np.asarray(np.minimum(np.asarray(slots, float), np.maximum(room, 1.0)))


def _turn(load: _Load, batch: Array, fixed: Numbers = True) -> tuple[Array, Array]:
    """Steps from one request's admission to the next on the same place, and the mean time of a step, at a full batch.

    Lengths all equal: own prompt and decoding, or the time to take the prompts of the whole batch where the budget is
    the limit. Random lengths wait w more, w (Z + w) = S (b - 1) w + S^2 (b - 1) / 2 with S = input / budget and Z =
    chunks + gaps: mean value analysis of one queue and a delay, with Schweitzer's estimate of what an arrival finds and
    half a service left in it. Source: reiser-1980, schweitzer-1979.
    """
    alone = load.chunks + load.gaps
    service = load.input_tokens / load.budget
    spare, others = alone - service * (batch - 1.0), 2.0 * service**2 * (batch - 1.0)
    root = np.sqrt(spare * spare + others)
    wait = np.where(spare > 0, others / (2.0 * (root + np.abs(spare))), (root - spare) / 2.0)
    steps = np.where(fixed, np.maximum(alone, batch * service), alone + wait)
    decoding = batch * load.gaps / steps
    prompt_s = load.step.prompt_s * batch * load.input_tokens / steps
    return np.asarray(steps), np.asarray(load.alone_s + load.each_s * decoding + prompt_s)


def _waits(utilisation: Array, servers: Array) -> Array:
    """Share of arrivals at M/M/c that find all servers busy: u^(sqrt(2 (c + 1)) - 1), exact for one server.

    Source: sakasegawa-1977.
    """
    return np.asarray(np.clip(utilisation, 1e-12, 1.0 - 1e-9) ** (np.sqrt(2.0 * (servers + 1.0)) - 1.0))


def closed_loop(
    step: AffineStep,
    *,
    input_tokens: Numbers,
    output_tokens: Numbers,
    concurrency: Numbers,
    requests_per_client: Numbers,
    budget: Numbers,
    slots: Numbers = np.inf,
    kv_tokens: Numbers = np.inf,
    fixed_lengths: Numbers = True,
) -> ClosedLoop:
    """Mean times of a benchmark that keeps `concurrency` requests in flight until all are sent.

    Parameters
    ----------
    step : AffineStep, (...)
        Time of one step. [s]
    input_tokens, output_tokens : array_like, (...)
        Mean lengths. [1]
    concurrency : array_like, (...)
        Clients; all send at 0, and each sends again when its answer ends. [1]
    requests_per_client : array_like, (...)
        Requests in all over clients, at least 1. A property of the benchmark: 1 is a flood. [1]
    budget : array_like, (...)
        Most prompt tokens in one step. [1]
    slots, kv_tokens : array_like, (...)
        Most requests at once; tokens of KV memory, of which a request reserves all it will need. [1]
    fixed_lengths : array_like of bool, (...)
        True where all requests are equally long. Those that share the first prefill step then end together, ask together
        and wait for each other for good; random lengths break such cohorts up.

    Returns
    -------
    ClosedLoop

    Raises
    ------
    CutlineError
        If a length, a count or a time is negative, or any is NaN.

    Notes
    -----
    A place of the batch turns over in L = chunks + output - 1 steps (or batch x input / budget, if that is more), so
    a step takes batch x input / L prompt tokens, and by Little's law the rate is batch / (L x step). While a request
    decodes it sees the prompts of the others, not its own; the last to start see fewer: 1 - batch / (2 requests) of
    them. Burst: J = clients x input / budget steps, each with one more cohort decoding, summed. Wait for a slot by
    Little's law: (clients - batch) / rate, over the part of the benchmark in which that many wait.
    Random lengths wait for the budget as in `_turn`. Left out: the thin batch at the very end, pre-emption.
    Source: little-1961; research note physics_serving.md sections 4 and 9, whose C S / (2 k) is the burst at a step
    of prompts only.

    Examples
    --------
    >>> one = closed_loop(AffineStep(0.01, 0.0, 0.0, 1e-4), input_tokens=100, output_tokens=11, concurrency=1,
    ...                   requests_per_client=10, budget=100)
    >>> [round(float(x), 6) for x in (one.ttft_s, one.tpot_s, one.requests_per_s)]
    [0.02, 0.01, 8.333333]
    """
    at_least(1, concurrency=concurrency, requests_per_client=requests_per_client)
    load = _load(step, input_tokens, output_tokens, budget)
    clients, k = np.asarray(concurrency, float), np.asarray(requests_per_client, float)
    batch = np.asarray(np.minimum(clients, np.maximum(np.floor(_places(load, output_tokens, slots, kv_tokens)), 1.0)))
    fixed = np.asarray(fixed_lengths, bool)
    turn, turn_s = _turn(load, batch, fixed)
    rate = batch / (turn * turn_s)
    cohort = np.where(fixed, np.clip(load.share, 1.0, batch), 1.0)
    seen = (batch - cohort) * (1.0 - batch / (2.0 * k * clients))
    prompt = np.where(fixed, np.minimum(seen * load.input_tokens / np.maximum(load.gaps, 1.0), load.budget), 0.0)
    prompt = np.where(fixed, prompt, seen * load.input_tokens / turn)
    decoding = 1.0 + (batch - 1.0) * load.gaps / turn
    tpot_s = load.alone_s + load.each_s * decoding + load.step.prompt_s * prompt
    first_s = _first_token_s(load, batch, turn, cohort, fixed)
    wait_s = (clients - batch) / rate
    waiting = 1.0 - 1.0 / k + (1.0 - batch / clients) / (2.0 * k)
    burst_s = _burst_s(load, batch)
    share = batch / (k * clients)
    shape = np.broadcast_shapes(tpot_s.shape, first_s.shape, wait_s.shape, k.shape)
    columns = (
        batch,
        np.where(np.asarray(output_tokens) < 2, np.nan, tpot_s),
        share * burst_s + (1.0 - share) * first_s + waiting * wait_s,
        first_s + wait_s,
        wait_s,
        rate,
    )
    return ClosedLoop(*(np.asarray(np.broadcast_to(x, shape)) for x in columns))


def _first_token_s(load: _Load, batch: Array, turn: Array, cohort: Array, fixed: Mask) -> Array:
    """Steady time from admission to first token in a closed loop. [s]"""
    tokens = batch * load.input_tokens
    full = turn - load.gaps  # steps of prefill; more than the chunks where the budget is the limit
    wait = full - load.chunks
    step_s = load.alone_s + load.each_s * (batch - cohort) * load.gaps / turn
    together = np.maximum(
        np.maximum(load.input_tokens, np.minimum(tokens, load.budget)), (wait > 0) * full * load.budget
    )
    room = load.chunks * load.budget - load.input_tokens
    mixed = load.input_tokens + np.minimum((tokens - load.input_tokens) / turn * load.chunks, room) + wait * load.budget
    return np.asarray(full * step_s + load.step.prompt_s * np.where(fixed, together, mixed))


def _burst_s(load: _Load, batch: Array) -> Array:
    """Mean time to first token of a batch of prompts that all come at once. [s]"""
    tokens = batch * load.input_tokens
    most = np.maximum(load.input_tokens, load.budget)  # what one cohort takes, over one step or several
    cohorts = np.maximum(np.ceil(tokens / most), 1.0)
    chunks = np.where(batch > 1, np.maximum(load.input_tokens / load.budget, 1.0), load.chunks)
    chunk_s = load.alone_s * chunks + load.step.prompt_s * np.minimum(tokens, most)
    each_s = (load.step.decode_s + load.step.context_s * load.input_tokens) * (load.gaps > 0)
    return np.asarray(
        chunk_s * (cohorts + 1.0) / 2.0 + chunks * each_s * batch / cohorts * (cohorts * cohorts - 1.0) / 6.0
    )


class _Part(NamedTuple):
    """One part of a mixture: a gamma distribution that starts at `start_s`."""

    weight: Array
    start_s: Array
    mean_s: Array  # over the start
    variance_s2: Array


class _Sharing(NamedTuple):
    """Decoding as processor sharing, slots without end."""

    tpot_s: Array
    number: Array  # mean requests decoding
    variance: Array  # of that number
    empty: Array  # share of time without work
    used: Array  # u of the negative binomial
    prompts: Array  # share of time that prompts take


def open_loop(
    step: AffineStep,
    *,
    input_tokens: Numbers,
    output_tokens: Numbers,
    rate_per_s: Numbers,
    budget: Numbers,
    slots: Numbers = np.inf,
    kv_tokens: Numbers = np.inf,
    input_cv: Numbers = 0.0,
    output_cv: Numbers = 0.0,
    quantiles: Numbers = (0.5, 0.9, 0.99),
) -> OpenLoop:
    """Steady state of a server to which requests come at random, independently of each other.

    Parameters
    ----------
    step : AffineStep, (...)
        Time of one step. [s]
    input_tokens, output_tokens : array_like, (...)
        Mean lengths. [1]
    rate_per_s : array_like, (...)
        Poisson arrivals. [1/s]
    budget : array_like, (...)
        Most prompt tokens in one step. [1]
    slots, kv_tokens : array_like, (...)
        Most requests at once; tokens of KV memory, of which a request reserves all it will need. [1]
    input_cv, output_cv : array_like, (...)
        Standard deviation of the lengths over their mean. [1]
    quantiles : array_like, (quantile,)
        Above 0 and below 1.

    Returns
    -------
    OpenLoop
        Quantiles have the axis `quantile` last.

    Raises
    ------
    CutlineError
        If a length, a count, a rate or a time is negative, a quantile is not between 0 and 1, or any is NaN.

    Notes
    -----
    Decoding is processor sharing whose speed depends on the number: n requests get 1 / (t + a n) tokens a second each,
    in the share of time that prompts leave, 1 - rate x prompt time. So n is negative binomial, whatever the spread of
    lengths: P(n) ~ u^n Gamma(n + t/a + 1) / n!, and by Little's law the mean step that a request sees is (t + a) /
    (1 - rate (prompt time + a gaps)), and a little more for the prompts that came behind its own. TPOT is that mean with a gamma spread: the variance of n, averaged over a stay
    with a correlation that dies at 1 - u of the rate of departures, and the Poisson number of prompts met (variance as of a delay busy period, 1 / (1 - prompts)^2).
    TTFT is a mixture: an idle server; a running step, whose length-biased rest it waits for, then its own step with the
    prompts that came meanwhile (gated service); a full batch, with the exponential wait of M/M/c for a place.
    The wait for the budget is Pollaczek-Khinchine's where one prompt fills a step, Sakasegawa's where more fit.
    Limits: how near this comes to a replay stands in tests/test_queueing.py. From 0.85 of capacity up, take waits as an
    order of magnitude; a quantile that stands where waiting for a slot begins can be off by a factor of 5. Left out:
    pre-emption, step times that bend with the batch (give the tangent at `decoding` and repeat). One slot is M/G/1, exact in its means. Source: cohen-1979 (processor sharing), little-1961,
    kleinrock-1975 (M/G/1), takagi-1986 (gated service), sakasegawa-1977.

    Examples
    --------
    >>> server = AffineStep(0.01, 1e-4, 0.0, 5e-5)
    >>> seen = open_loop(server, input_tokens=1000, output_tokens=201, rate_per_s=[0.001, 5.0, 40.0], budget=2000)
    >>> seen.stable.tolist(), seen.tpot_s[:2].round(4).tolist(), seen.ttft_s[2].tolist()
    ([True, True, False], [0.0101, 0.0157], inf)
    """
    at_least(0, rate_per_s=rate_per_s, input_cv=input_cv, output_cv=output_cv)
    above(0, quantiles=quantiles, **{"1 - quantiles": 1.0 - np.asarray(quantiles, float)})
    load = _load(step, input_tokens, output_tokens, budget)
    offered = np.asarray(rate_per_s, float)
    places = np.asarray(np.minimum(_places(load, output_tokens, slots, kv_tokens), 1e9))
    turn, turn_s = _turn(load, places)
    capacity = places / (turn * turn_s)
    stable = offered < capacity
    rate = np.asarray(np.where(stable, offered, 0.0))
    shared = _sharing(load, rate)
    others = (places - 1.0) / turn
    full_s = load.alone_s + load.each_s * (1.0 + others * load.gaps) + load.step.prompt_s * others * load.input_tokens
    tpot_s = np.where(stable, np.minimum(shared.tpot_s, full_s), full_s)
    tokens_cv = (np.asarray(input_cv, float), np.asarray(output_cv, float))
    full, wait_s = _slot_wait(load, shared, rate, turn * turn_s, places, tokens_cv)
    parts = _first_token_parts(load, shared, rate, places, wait_s, full, tokens_cv[0])
    ttft_s = sum((p.weight * (p.start_s + p.mean_s) for p in parts), start=np.zeros(()))
    spread = (_tpot_part(load, shared, rate, places, tpot_s, full, tokens_cv[0]),)
    levels = np.asarray(quantiles, float)
    none = np.asarray(output_tokens) < 2
    shape = np.broadcast_shapes(ttft_s.shape, tpot_s.shape)
    over = np.where(stable, 0.0, np.inf)
    number = np.where(stable, rate * load.gaps * tpot_s, places * load.gaps / turn)
    columns = (
        *(capacity, offered / capacity, stable, number),
        *(np.where(none, np.nan, tpot_s), ttft_s + over, wait_s + over),
    )
    tails = (
        np.where(none[..., None], np.nan, _quantile(levels, spread)),
        _quantile(levels, parts) + over[..., None],
    )
    return OpenLoop(
        *(np.asarray(np.broadcast_to(x, shape)) for x in columns),
        *(np.asarray(np.broadcast_to(x, (*shape, levels.size))) for x in tails),
    )


def _sharing(load: _Load, rate: Array) -> _Sharing:
    """Processor sharing at a rate below capacity; see `open_loop`."""
    prompts = rate * load.step.prompt_s * load.input_tokens
    decodes = rate * load.each_s * load.gaps
    left = 1.0 - prompts
    used = np.maximum(decodes / left, 1e-12)
    prompt_s = load.step.prompt_s * load.input_tokens
    lone_s = load.chunks * load.alone_s + prompt_s
    mean_s = (load.alone_s + load.each_s) / (left - decodes)
    # prompts that came behind one's own meet one's decoding: they come for longer than it takes
    late_s = prompts * (prompt_s + (load.chunks - 0.5) * mean_s + rate * prompt_s**2 / left)
    tpot_s = mean_s + late_s / np.maximum(load.gaps, 1.0) / (left - decodes)
    number = rate * load.gaps * tpot_s
    stay = rate * load.gaps * (load.alone_s + load.each_s) / left
    empty = np.exp(stay * np.log1p(-used) / used - rate * lone_s)
    return _Sharing(*(np.asarray(x) for x in (tpot_s, number, number / (1.0 - used), empty, used, prompts)))


def _slot_wait(
    load: _Load, shared: _Sharing, rate: Array, stay_s: Array, places: Array, tokens_cv: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Share of requests that find no place, and the mean wait of all. [1], [s]

    Up to the places the number inside is that of `_sharing`; from there on it falls by `used` each, as in M/M/c.
    """
    input_cv, output_cv = tokens_cv
    variance = (load.gaps * stay_s / (load.gaps + load.chunks) * output_cv) ** 2
    variance = variance + (load.step.prompt_s * load.input_tokens * input_cv) ** 2
    used = np.minimum(rate * stay_s / places, 1.0 - 1e-9)
    prompts = rate * load.step.prompt_s * load.input_tokens + rate * load.chunks * load.alone_s
    number = _Part(np.ones(()), np.zeros(()), shared.number + prompts, shared.variance + prompts)
    below = _gamma(places - 0.5, number)
    edge = np.maximum(_gamma(places + 0.5, number) - below, 1e-300)
    full = np.where(places < 2, used, edge / (edge + below * (1.0 - used)))
    each_s = (1.0 + variance / stay_s**2) / 2.0 * stay_s / places / (1.0 - used)
    return np.asarray(full), np.asarray(full * each_s)


def _first_token_parts(
    load: _Load, shared: _Sharing, rate: Array, places: Array, wait_s: Array, waits: Array, input_cv: Array
) -> tuple[_Part, ...]:
    """Time to first token of requests that find the server idle, running, full."""
    idle = np.minimum(np.where(places < 2, 1.0, shared.empty), 1.0 - waits)
    found = np.minimum(shared.number / np.maximum(1.0 - shared.empty, 1e-12), places - 1.0)
    prompt_s = load.step.prompt_s * load.input_tokens
    decode_s = load.alone_s + load.each_s * found
    step_s = decode_s / (1.0 - shared.prompts)
    squares = prompt_s**2 * (1.0 + input_cv**2)
    moved = np.minimum(shared.variance, (places - found) ** 2 / 4.0) * load.each_s**2
    variance = rate * step_s * squares / (1.0 - shared.prompts**2) + moved / (1.0 - shared.prompts) ** 2
    ratio = variance / step_s**2
    biased_s, biased_s2 = step_s * (1.0 + ratio), step_s**2 * (1.0 + ratio) * (1.0 + 2.0 * ratio)
    room = np.minimum(load.chunks * load.budget - load.input_tokens, (places - 1.0) * load.input_tokens)
    others = np.minimum(rate * biased_s * load.chunks * load.input_tokens, room) * load.step.prompt_s
    g = others / biased_s
    queue_s, queue_s2 = _budget_wait(load, decode_s, rate, places, input_cv)
    start_s = load.chunks * load.alone_s + prompt_s * np.maximum(0.0, 1.0 - np.sqrt(3.0) * input_cv)
    own_s = load.chunks * load.alone_s + prompt_s - start_s
    own_s2 = (prompt_s * input_cv) ** 2
    more_s = own_s + load.chunks * load.each_s * found + queue_s
    join_s2 = (1 / 3 + g + g * g) * biased_s2 - ((0.5 + g) * biased_s) ** 2
    join_s2 = join_s2 + rate * biased_s * load.chunks * squares * (others > 0)
    always_s2 = own_s2 + load.chunks**2 * moved + queue_s2
    after_s = wait_s / np.maximum(waits, 1e-300)
    return (
        _Part(np.asarray(idle), start_s, own_s, own_s2),
        _Part(np.asarray(1.0 - idle - waits), start_s, (0.5 + g) * biased_s + more_s, join_s2 + always_s2),
        _Part(np.asarray(waits), start_s, after_s + more_s, after_s**2 + always_s2),
    )


def _budget_wait(load: _Load, decode_s: Array, rate: Array, places: Array, input_cv: Array) -> tuple[Array, Array]:
    """Mean and variance of the wait until earlier prompts leave room in the budget. [s], [s^2]"""
    service_s = (decode_s + load.step.prompt_s * load.budget) * np.maximum(load.input_tokens / load.budget, 1.0)
    used = np.minimum(rate * service_s / load.share, 1.0 - 1e-9)
    waits = np.maximum(_waits(used, load.share), 1e-30)
    mean_s = (1.0 + input_cv**2) / 2.0 * service_s * waits / (load.share * (1.0 - used))
    mean_s = np.minimum(mean_s, (places - 1.0) / np.maximum(rate, 1e-200))
    return np.asarray(mean_s), np.asarray(mean_s**2 * (2.0 / waits - 1.0))


def _tpot_part(
    load: _Load, shared: _Sharing, rate: Array, places: Array, tpot_s: Array, full: Array, input_cv: Array
) -> _Part:
    """Spread of TPOT over requests."""
    x = 1.0 - shared.used
    kept = 2.0 * (x - 1.0 + np.exp(-x)) / x**2  # of the variance, after averaging over a stay
    moved = np.minimum(shared.variance, np.maximum(places - shared.number, 0.0) ** 2 / 4.0) * kept
    squares = (load.step.prompt_s * load.input_tokens) ** 2 * (1.0 + input_cv**2) * (1.0 - full) * (places > 1)
    variance = rate * tpot_s * squares / np.maximum(load.gaps, 1.0) + moved * load.each_s**2
    variance = variance / (1.0 - shared.prompts) ** 2
    start_s = np.asarray(load.alone_s + load.each_s)
    return _Part(np.ones(()), start_s, np.asarray(np.maximum(tpot_s - start_s, 0.0)), np.asarray(variance))


def _normal(z: Array) -> Array:
    """Normal distribution function, to 1e-7. Source: abramowitz-1964, 26.2.17."""
    t = 1.0 / (1.0 + 0.2316419 * np.abs(z))
    poly = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi) * poly
    return np.asarray(np.where(z > 0, 1.0 - tail, tail))


def _quantile(levels: Array, parts: tuple[_Part, ...]) -> Array:
    """Quantiles of a mixture of shifted gammas, (..., quantile), by bisection. [s]

    Distribution function of a gamma by its cube root, which is nearly normal. Source: wilson-hilferty-1931.
    """
    columns = [_Part(*(np.asarray(x)[..., None] for x in part)) for part in parts]
    low = np.zeros(())
    high = sum((p.start_s + p.mean_s + 60.0 * np.sqrt(p.variance_s2) for p in columns), start=np.zeros(()))
    for _ in range(60):
        middle = (low + high) / 2.0
        below = sum((p.weight * _gamma(middle - p.start_s, p) for p in columns), start=np.zeros(()))
        low, high = np.where(below < levels, middle, low), np.where(below < levels, high, middle)
    return np.asarray(high)


def _gamma(x_s: Array, part: _Part) -> Array:
    """Share of a part that lies below its start + `x_s`."""
    mean_s = np.maximum(part.mean_s, 1e-12)
    root = np.sqrt(np.clip(part.variance_s2 / mean_s**2, 1e-12, 1e6)) / 3.0  # 1 / (3 sqrt(shape))
    z = (np.cbrt(np.maximum(x_s, 0.0) / mean_s) - 1.0 + root * root) / root
    return np.asarray(np.where(x_s >= 0, _normal(np.clip(z, -38.0, 38.0)), 0.0))
