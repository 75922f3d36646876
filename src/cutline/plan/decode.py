"""Decoding on one kind of chip: tokens a second of each chip, from the same rates and constants as training.

A step makes one token for each sequence of a batch. It reads all weights that the batch touches and the keys and values
of every sequence, and it exchanges activations over the chips that share the model. Prefill, queueing and engines are not
in it: it compares chips, it does not plan a service.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cutline.core.numerics import smooth_max
from cutline.facts.models import Model, parameters
from cutline.plan.columns import Constants, Rates
from cutline.plan.layers import gather_s, usable
from cutline.plan.search import USABLE

WEIGHT_BYTES, CACHE_BYTES = 1.0, 2.0
"""Weights in eight bits, which every part can read; keys and values, and products, in 16."""
MOST_DOMAINS = 4
"""Scale-up domains that may share one model."""


class Decoded(NamedTuple):
    """The best way to decode on a chip; rate 0 where nothing fits."""

    tokens_per_s_per_chip: float
    tp: int
    batch: int
    step_s: float
    memory_share: float
    """share of the step that reading memory takes"""


def kv_bytes_per_token(model: Model, context: float) -> float:
    """Return the bytes that one token of a context of `context` tokens leaves in the cache.

    Layers with a window keep no more than its tokens; linear mixers keep a state that does not grow and is left out.
    """
    width = model.kv_rank + model.rope_dim if model.latent else 2 * model.kv_heads * model.head_dim
    full = model.softmax_layers - model.window_layers
    short = model.window_layers * min(1.0, model.window / context) if model.window_layers else 0.0
    return float(CACHE_BYTES * width * (full + short))


def touched(experts: Any, topk: Any, tokens: Any) -> Any:
    """Return the share of experts that at least one of `tokens` visits, for balanced routing.

    Examples
    --------
    >>> float(touched(8, 2, 1)), round(float(touched(256, 8, 64)), 3)
    (0.25, 0.869)
    """
    return 1.0 - (1.0 - np.asarray(topk) / experts) ** np.asarray(tokens, float)


def decode(model: Model, rates: Rates, c: Constants, context: float, most_step_s: float = 0.05) -> Decoded:
    """Return the best tokens a second of each chip, over chips per model and batches.

    Parameters
    ----------
    context : float
        Tokens in front of each new one. [1]
    most_step_s : float
        Time between two tokens of a reader, at most. [s]

    Notes
    -----
    Batches are powers of two, as are the chips that share the weights; more of them than one scale-up domain meet over the
    network. A step is the smooth
    maximum of products and reads, and two all-reduces a layer. Limits: no launch time (graphs), no prefill beside.
    """
    count = parameters(model)
    domain = float(np.asarray(rates.domain))
    grid = np.meshgrid(2 ** np.arange(int(np.log2(domain * MOST_DOMAINS)) + 1), 2 ** np.arange(13), indexing="ij")
    tp, batch = (g.ravel().astype(float) for g in grid)
    u = usable(rates, c)
    share = touched(model.experts, model.experts_per_token, batch) if model.experts else 0.0
    routed = (count.total - count.active) / (1.0 - model.experts_per_token / model.experts) if model.experts else 0.0
    weights = WEIGHT_BYTES * (count.total - routed * (1.0 - share))
    cache = batch * context * kv_bytes_per_token(model, context)
    room = (WEIGHT_BYTES * count.total + cache) / tp <= USABLE * np.asarray(rates.memory_bytes)
    reads = (weights + cache) / tp / u.memory_bytes_per_s
    width = 2 * model.kv_rank + model.rope_dim if model.latent else 2 * model.head_dim
    flop = 2.0 * batch * (count.active + context * model.softmax_layers * model.heads * width)
    products = flop / tp / u.wide_flop_per_s
    exchange = 4.0 * model.layers * gather_s(2.0 * batch * model.hidden, tp, np.minimum(tp, domain), rates, c)
    step = smooth_max(reads, products, 4.0) + exchange
    rate = np.where(room & (step <= most_step_s), batch / step / tp, 0.0)
    i = int(np.argmax(rate))
    return Decoded(float(rate[i]), int(tp[i]), int(batch[i]), float(step[i]), float(reads[i] / step[i]))
