"""Replay of a server's queue, step by step: what the closed forms of physics/queueing.py are held against.

Numbers in, numbers out: no records of models or chips. It stands in this room because an event loop branches on
values and draws arrivals, which `physics` does not. Exact for the server that it describes: first come, first served;
each step decodes one token of every running request and takes up to `budget` prompt tokens of the admitted ones.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array, Mask, Numbers, above, at_least

StepTime = Callable[[float, float, float], float]
"""Seconds of one step from requests decoding, their context tokens in all, and prompt tokens in the step."""


class Replay(NamedTuple):
    """What a replay saw, per request in the order sent; then means over time."""

    sent_s: Array
    admitted_s: Array
    ttft_s: Array
    """From sent to the end of the step that ends the prompt. [s]"""
    tpot_s: Array
    """(end - first token) / (output tokens - 1); NaN below two output tokens. [s]"""
    end_s: Array
    kept: Mask
    """Requests outside the warm-up and the drain."""
    batch: float
    """Mean over time of the requests admitted. [1]"""
    decoding: float
    """Mean over time of the requests decoding. [1]"""
    busy_share: float
    """Share of the time to the last end in which a step ran. [1]"""
    prompt_tokens: int
    """Prompt tokens that steps took. [1]"""
    output_tokens: int
    """Output tokens that steps made. [1]"""
    output_tokens_per_s: float
    """Output tokens of the kept requests over the time in which they ended. [1/s]"""
    steps: int


def simulate(
    step_s: StepTime,
    *,
    input_tokens: Numbers,
    output_tokens: Numbers,
    requests: int,
    budget: int,
    concurrency: int | None = None,
    rate_per_s: float | None = None,
    sent_s: Numbers | None = None,
    slots: int | None = None,
    kv_tokens: float = math.inf,
    seed: int | np.random.Generator = 0,
    warmup: float = 0.0,
) -> Replay:
    """Replay `requests` requests on one server with continuous batching and chunked prefill.

    Parameters
    ----------
    step_s : callable
        (requests decoding, their context tokens in all, prompt tokens) -> time of one step; must be affine in the
        context tokens. `queueing.AffineStep` is one. [s]
    input_tokens, output_tokens : array_like of int, () or (requests,)
        Lengths. [1]
    requests : int
        Requests in all. [1]
    budget : int
        Most prompt tokens in one step, beside the decoding. [1]
    concurrency : int, optional
        Closed loop: so many are sent at 0, and each that ends sends the next. [1]
    rate_per_s : float, optional
        Open loop: Poisson arrivals, drawn from `seed`. [1/s]
    sent_s : array_like, (requests,), optional
        Open loop: arrivals as given, in order. [s]
    slots : int, optional
        Most requests admitted at once; None is no limit. [1]
    kv_tokens : float
        A request reserves its input and output tokens from admission to its end. [1]
    seed : int or Generator
        For `rate_per_s` only.
    warmup : float
        Share of the requests, in order of their ends, left out of `kept` at either end. [1]

    Returns
    -------
    Replay

    Raises
    ------
    CutlineError
        If not exactly one of `concurrency`, `rate_per_s`, `sent_s` is given; a request cannot fit `kv_tokens`; a length
        is below 1 (input) or 0 (output); arrivals are out of order.

    Notes
    -----
    Runs of steps in which nothing starts or ends are summed at once: with step time affine in context, and context
    growing evenly, k steps take k (first + last) / 2. The cost goes with events, not with tokens.
    Left out: pre-emption, prefix caches, speculation, time outside steps.

    Examples
    --------
    >>> seen = simulate(lambda n, context, prompt: 0.01 + 1e-4 * prompt, input_tokens=100, output_tokens=11,
    ...                 requests=1, concurrency=1, budget=100)
    >>> [round(float(x), 6) for x in (seen.ttft_s[0], seen.tpot_s[0], seen.end_s[0])]
    [0.02, 0.01, 0.12]
    """
    at_least(1, requests=requests, budget=budget, input_tokens=input_tokens)
    at_least(0, output_tokens=output_tokens, warmup=warmup)
    inputs, outputs = (
        _lengths("input_tokens", input_tokens, requests),
        _lengths("output_tokens", output_tokens, requests),
    )
    most = math.inf if slots is None else slots
    at_least(1, slots=most)
    at_least(max(map(int.__add__, inputs, outputs)), kv_tokens=kv_tokens)
    if not warmup < 0.5:
        raise CutlineError(f"warmup must be below 0.5; got {warmup}")
    sent = _sent(requests, concurrency, rate_per_s, sent_s, seed)
    return _replay(step_s, sent, inputs, outputs, most, kv_tokens, budget, warmup)


def _lengths(name: str, given: Numbers, requests: int) -> list[int]:
    """Lengths of all requests, as Python integers."""
    value = np.asarray(given)
    if value.shape not in {(), (requests,)}:
        raise CutlineError(f"{name} must be one number or one for each of the {requests} requests; got {value.shape}")
    if not (value == np.floor(value)).all():
        raise CutlineError(f"{name} must be whole numbers")
    lengths: list[int] = np.broadcast_to(value.astype(np.int64), (requests,)).tolist()
    return lengths


def _sent(
    requests: int,
    concurrency: int | None,
    rate_per_s: float | None,
    sent_s: Numbers | None,
    seed: int | np.random.Generator,
) -> list[float]:
    """Times at which requests are sent that are known at the start. [s]"""
    if (concurrency is None) + (rate_per_s is None) + (sent_s is None) != 2:
        raise CutlineError("give one of concurrency, rate_per_s and sent_s")
    if concurrency is not None:
        at_least(1, concurrency=concurrency)
        return [0.0] * min(concurrency, requests)
    if rate_per_s is not None:
        above(0, rate_per_s=rate_per_s)
        drawn: list[float] = np.random.default_rng(seed).exponential(1.0 / rate_per_s, requests).cumsum().tolist()
        return drawn
    times = np.asarray(sent_s, float)
    if times.shape != (requests,):
        raise CutlineError(f"sent_s must have one time for each of the {requests} requests; got {times.shape}")
    at_least(0, sent_s=np.diff(times, prepend=0.0))
    given: list[float] = times.tolist()
    return given


def _run(step_s: StepTime, decoding: int, context: int, prompt: int, most: int, gap_s: float) -> tuple[int, float]:
    """Steps of one kind and their time: at most `most`, and none that starts after `gap_s`."""
    first = step_s(decoding, context, prompt)
    if most == 1:
        return 1, first
    last = step_s(decoding, context + decoding * (most - 1), prompt)
    whole = most * (first + last) / 2.0
    if whole <= gap_s:
        return most, whole
    growth = (last - first) / (most - 1)
    start = first - growth / 2.0  # k steps take k start + k^2 growth / 2
    root = 2.0 * gap_s / (start + math.sqrt(max(start * start + 2.0 * growth * gap_s, 0.0)))
    k = min(max(math.ceil(root), 1), most)
    if k > 1 and (k - 1) * (start + (k - 1) * growth / 2.0) >= gap_s:
        k -= 1
    return k, k * (start + k * growth / 2.0)


def _take(prompts: deque[list[int]], budget: int, most: int) -> tuple[int, int, list[int]]:
    """Equal steps that can run, the prompt tokens of each, and the requests whose prompt ends.

    Whole chunks of one long prompt run together, and the caller takes them off; else one step takes from the front.
    """
    if not prompts:
        return most, 0, []
    if prompts[0][0] > budget:
        return min(most, (prompts[0][0] - 1) // budget), budget, []
    room: int = budget
    ended: list[int] = []
    while prompts and prompts[0][0] <= room:
        left, request = prompts.popleft()
        room -= left
        ended.append(request)
    if prompts:
        prompts[0][0] -= room
        room = 0
    return 1, budget - room, ended


def _replay(
    step_s: StepTime,
    sent: list[float],
    inputs: list[int],
    outputs: list[int],
    slots: float,
    kv_tokens: float,
    budget: int,
    warmup: float,
) -> Replay:
    """The event loop. `sent` grows as requests of a closed loop end."""
    total = len(inputs)
    admitted, first, end = [0.0] * total, [0.0] * total, [0.0] * total
    prompts: deque[list[int]] = deque()  # [prompt tokens left, request] of the admitted
    decoders: list[tuple[int, int]] = []  # heap of (step after which it ends, request)
    now, sums = 0.0, [0.0, 0.0, 0.0]  # busy, batch and decoding times seconds
    step = head = done = held = context = reserved = prompt_tokens = output_tokens = 0
    while done < total:
        could = False
        while head < len(sent) and held < slots and reserved + inputs[head] + outputs[head] <= kv_tokens:
            could = sent[head] > now
            if could:
                break
            prompts.append([inputs[head], head])
            admitted[head] = now
            reserved += inputs[head] + outputs[head]
            held += 1
            head += 1
        if not held:
            now = sent[head]
            continue
        decoding = len(decoders)
        whole = bool(prompts) and prompts[0][0] > budget
        most = decoders[0][0] - step if decoders else 1 << 40
        most, chunk, ended = _take(prompts, budget, most)
        k, run_s = _run(step_s, decoding, context, chunk, most, sent[head] - now if could else math.inf)
        if whole:
            prompts[0][0] -= k * budget
        now, step, context = now + run_s, step + k, context + k * decoding
        sums = [sums[0] + run_s, sums[1] + run_s * held, sums[2] + run_s * decoding]
        prompt_tokens += k * chunk
        output_tokens += k * decoding
        over: list[int] = []
        while decoders and decoders[0][0] == step:
            over.append(heapq.heappop(decoders)[1])
        context -= sum(inputs[i] + outputs[i] for i in over)
        for i in ended:
            first[i] = now
            output_tokens += min(outputs[i], 1)
            if outputs[i] < 2:
                over.append(i)
                continue
            heapq.heappush(decoders, (step + outputs[i] - 1, i))
            context += inputs[i] + 1
        for i in over:
            end[i] = now
            reserved -= inputs[i] + outputs[i]
        held, done = held - len(over), done + len(over)
        sent.extend([now] * min(len(over), total - len(sent)))
    seen = [np.array(x, float) for x in (sent, admitted, first, end, outputs)]
    return _summary(seen, warmup, [x / now for x in sums], prompt_tokens, output_tokens, step)


def _summary(
    seen: list[Array], warmup: float, means: list[float], prompt_tokens: int, output_tokens: int, steps: int
) -> Replay:
    """Times of each request and rates of the kept ones from what the event loop noted."""
    sent_s, admitted_s, first_s, end_s, outputs = seen
    order = np.argsort(end_s, kind="stable")
    low = int(warmup * len(order))
    inside = order[low : len(order) - low]
    kept = np.zeros(len(order), bool)
    kept[inside] = True
    start_s = end_s[order[low - 1]] if low else 0.0
    span_s = end_s[inside[-1]] - start_s
    rate = outputs[inside].sum() / span_s if span_s > 0 else math.nan
    gaps = np.where(outputs < 2, np.nan, outputs - 1.0)
    return Replay(
        sent_s=sent_s,
        admitted_s=admitted_s,
        ttft_s=first_s - sent_s,
        tpot_s=(end_s - first_s) / gaps,
        end_s=end_s,
        kept=kept,
        batch=means[1],
        decoding=means[2],
        busy_share=means[0],
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        output_tokens_per_s=float(rate),
        steps=steps,
    )
