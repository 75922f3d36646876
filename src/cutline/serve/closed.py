"""A server under a closed loop: so many clients, each of which sends its next request when the last one ends.

That is how benchmarks load a server. `cutline.physics.queueing` has the open loop, of requests that arrive at a rate.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cutline.serve.columns import Body, Constants, Engine, Formats, Layout, Load, Rates
from cutline.serve.step import Step, decode, most_requests, prefill_token_s

DAMPED = (1.15, 1.5)
"""Requests over what memory holds, between which the wait for room is believed in more and more: room is a difference of two
large numbers, and a false overflow would cost ten times the truth."""


class Served(NamedTuple):
    """What one replica does under a load. Times in seconds, for each request on average."""

    tpot_s: Any  # from one token to the next
    ttft_s: Any  # to the first token, as a benchmark of `waves` requests a client prints it
    steady_ttft_s: Any  # without the burst at the start
    tokens_per_s: Any  # output of the replica
    running: Any  # requests at once
    fits: Any
    limit: Any  # requests that memory holds
    prompt_s: Any  # work of one prompt
    step: Step


def closed(
    load: Load, body: Body, f: Formats, layout: Layout, rates: Rates, c: Constants, e: Engine, other: Any = 0.0
) -> Served:
    """Return what a replica does for `concurrency` clients.

    Notes
    -----
    Every output token of a request waits for its share of the others' prompts: with b running, each step carries (b - 1) / output
    prompts on average. A step of drafts brings 1 + accepted tokens. The wait for the first token is the own prompt, steps of
    others, a connection for each client, the start's burst (all clients send at once, and the mean over `waves` requests each
    still holds concurrency / (2 waves) prompts of it), and, beyond what memory holds, the wait for others to end.
    """
    limit = most_requests(load, body, f, layout, rates, e, other)
    most = np.maximum(np.minimum(limit, e.slots), 1.0)
    running = np.minimum(load.concurrency, most)
    context = load.input + 0.5 * load.output
    step = decode(running, context, body, f, layout, rates, c, 1.0 + load.drafts)
    drafting = np.where(np.asarray(load.drafts) > 0, 1.0 + c.speculate, 1.0)
    fresh = load.input * (1.0 - load.cached)
    prompt = fresh * prefill_token_s(load.input, body, f, layout, rates, c, load.cached)
    each = step.total_s * drafting / (1.0 + load.accepted)
    tpot = each + np.maximum(running - 1.0, 0.0) * prompt / load.output
    over = np.clip((load.concurrency / most - DAMPED[0]) / (DAMPED[1] - DAMPED[0]), 0.0, 1.0)
    waiting = over * np.maximum(load.concurrency / (DAMPED[0] * most) - 1.0, 0.0) * load.output * tpot
    first = c.first_s + c.prefill_layer_s * (body.layers + body.moe_layers) + c.own * prompt * layout.dp * layout.pp
    steady = first + c.wait * step.total_s + c.connection_s * load.concurrency + c.queue * running * prompt + waiting
    burst = np.where(np.asarray(load.waves) > 0, running * prompt / (2.0 * np.maximum(load.waves, 1e-9)), 0.0)
    life = load.output * tpot + np.where(load.concurrency < most, steady, prompt)
    return Served(
        tpot, steady + burst, steady, running * load.output / np.maximum(life, 1e-12), running, limit >= 1.0, limit, prompt, step
    )  # fmt: skip


def saturated(
    load: Load, body: Body, f: Formats, layout: Layout, rates: Rates, c: Constants, e: Engine, other: Any = 0.0
) -> Served:
    """Return what a replica does when more requests wait than it can run: `concurrency` is what a benchmark sends in all.

    Notes
    -----
    A flood of N requests keeps b running, until the last wave drains: its output is N tokens over the time of N prompts, of N / b
    rounds of steps, and of a tail in which the batch runs empty: a quarter of one round, or the rest of the longest output at the
    pace of one request. (The tokens of the others that end on the way are counted above; only the floor of the step comes on top.)
    """
    served = closed(
        load.replace(concurrency=np.minimum(load.concurrency, 1e9), waves=0.0), body, f, layout, rates, c, e, other
    )
    b = np.maximum(np.minimum(np.minimum(served.limit, e.slots), load.concurrency), 1.0)
    step = decode(b, load.input + 0.5 * load.output, body, f, layout, rates, c, 1.0 + load.drafts)
    round_s = load.output * step.total_s / (1.0 + load.accepted)
    many = np.minimum(np.asarray(load.concurrency, float), 1e9)
    thin = decode(1.0, load.input + load.longest, body, f, layout, rates, c)
    tail = np.maximum(0.25 * round_s, (load.longest - load.output) * thin.total_s)
    each = served.prompt_s + round_s / b
    many = np.maximum(many, (load.lasts_s - tail) / each)
    total = many * each + tail
    return served._replace(tokens_per_s=many * load.output / total, running=b, step=step)
