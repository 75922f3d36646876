"""The answer of `cutline run`: will a model fit one machine at a context, and how fast will it read and write?"""

from __future__ import annotations

import math
import re
from typing import Any

from cutline.core.errors import CutlineError
from cutline.core.numerics import at_least
from cutline.facts.chips import Chip, chip
from cutline.facts.models import Model, parameters
from cutline.facts.reader import evidences
from cutline.plan.costs import IDLE_SHARE
from cutline.plan.machine import dram_bytes
from cutline.plan.provenance import claim_row
from cutline.serve import local
from cutline.serve.interval import widths

USABLE = {"Apple": 0.75, "phone": 0.6, "laptop": 0.75}
"""Share of the memory that weights and cache may fill: what macOS lets a GPU hold (2/3 to 3/4), what other laptops and phones leave beside
their system (guess), else `CARD`."""
CARD = 0.94
BUFFERS = 0.6 * 2**30
"""Buffers of a local engine beside weights and cache (guess: graph and scratch at a micro-batch of 512). [bytes]"""
LADDER = ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k")
DRAW = 0.75
"""Power of a machine that decodes, over its limit (guess: it reads memory and computes little)."""


def machine_of(text: str) -> tuple[Chip, float, float | None]:
    """Return part, number and memory that words such as `M3 Max 64GB` or `2 x RTX 4090` name. [bytes]

    Raises
    ------
    CutlineError
        If the words do not parse, or no such part is known.
    """
    match = re.fullmatch(r"\s*(?:(\d+)\s*[xX]\s*)?(.+?)(?:[\s,]+(\d+(?:\.\d+)?)\s*(?:GB|GiB))?\s*", text)
    if not match:
        raise CutlineError(
            f"machine '{text}' does not parse; write for example 'M3 Max 64GB', 'RTX 4090' or '2 x RTX 3090'"
        )
    cards = float(match[1] or 1)
    if not 1 <= cards <= 64:
        raise CutlineError(f"machine '{text}': cards must be between 1 and 64; got {match[1]}")
    name = re.sub(r"^(apple|nvidia|amd|intel|qualcomm)\s+(geforce\s+|radeon\s+)?", "", match[2], flags=re.I)
    try:
        part = chip(match[2])
    except CutlineError:
        part = chip(name)
    if part.text("segment") == "memory":
        raise CutlineError(f"{part.name} is a stack of memory, and no machine; name a card, a laptop or a phone")
    memory = float(match[3]) * 2.0**30 if match[3] else None
    known = dram_bytes(part) if ("memory", "") in part.facts else None
    if memory is not None and (memory < 2.0**28 or (known is not None and memory > 8.0 * known)):
        raise CutlineError(f"machine '{text}': {match[3]} GB is no memory that {part.name} comes with")
    return part, cards, memory


def run(
    model: Model,
    on: str,
    quant: str | None = None,
    context: int = 8192,
    prompt: int = 512,
    unit: str | None = None,
    cache: str = "f16",
) -> dict[str, Any]:
    """Return whether a model fits a machine, and its rates.

    Parameters
    ----------
    on : str
        Machine, with its memory if that is not the part's usual one.
    quant : str, optional
        Quantisation of GGUF, such as `q4_k_m`; the widest of a ladder that fits, unless given.
    context : int
        Tokens that the cache has room for. [1]
    prompt : int
        Tokens of the prompt whose time is asked. [1]
    unit : str, optional
        gpu, cpu or npu; the GPU unless given.
    """
    at_least(1, context=context, prompt=prompt)
    if model.kind == "dit":
        raise CutlineError(f"{model.name} draws clips; ask `cutline serve` with --clip")
    if prompt > context:
        raise CutlineError(f"prompt must be at most the context of {context} tokens; got {prompt}")
    part, cards, memory = machine_of(on)
    if unit not in (None, "gpu", "cpu", "npu"):
        raise CutlineError(f"unit must be gpu, cpu or npu; got '{unit}'")
    if unit in ("gpu", "npu") and local.is_processor(part):
        raise CutlineError(f"{part.name} is a processor; take cpu")
    if unit == "npu" and ("peak", "npu") not in part.facts:
        raise CutlineError(f"{part.name} has no NPU; take gpu")
    if unit == "cpu" and part.text("segment") not in ("phone", "laptop", "edge") and not local.is_processor(part):
        raise CutlineError(f"{part.name} is a card without a CPU; name the processor itself")
    where = unit or ("cpu" if local.is_processor(part) else "gpu")
    kept = local.gguf_bits(cache)
    if kept is None:
        raise CutlineError(f"cache must be such as f16, q8_0 or q4_0; got '{cache}'")
    assumed = [] if unit else [f"it runs on the {where.upper()} (--unit names another)"]
    size = memory if memory is not None else (dram_bytes(part) if ("memory", "") in part.facts else math.nan)
    if math.isnan(size):
        raise CutlineError(f"the memory of {part.name} is not known; say it, such as '{part.name} 16GB'")
    share = USABLE.get(part.text("maker"), USABLE.get(part.text("segment"), CARD))
    room = share * size * cards
    if quant is None:
        fits = [k for k in LADDER if _need(model, k, kept, context) <= room]
        quant = (fits or LADDER[-1:])[0]
        assumed.append(
            f"{quant}: the {'widest' if fits else 'narrowest'} of {', '.join(LADDER)}{' that fits' if fits else ''} (--quant names another)"
        )
    bits = local.gguf_bits(quant)
    if bits is None:
        raise CutlineError(f"quant must be a GGUF type such as q4_k_m, q8_0 or f16; got '{quant}'")
    return _answer(model, part, cards, where, quant, bits, kept, context, prompt, size, room, share, assumed)


def _need(m: Model, quant: str, cache_bits: float, context: int) -> float:
    """Return the bytes of weights, cache and buffers."""
    b = local.body(m, local.gguf_bits(quant) or 16.0, cache_bits)
    return float(b.file_bytes + context * b.cache_bytes + BUFFERS)


def _answer(
    model: Model, part: Chip, cards: float, where: str, quant: str, bits: float, kept: float, context: int, prompt: int, size: float,
    room: float, share: float, assumed: list[str],
) -> dict[str, Any]:  # fmt: skip
    """Return the answer in plain numbers."""
    b = local.body(model, bits, kept)
    k = local.machine(part, cards, where)
    c = local.constants(where, part.text("maker"))
    empty, full = (1.0 / float(local.decode_s(b, k, c, n)) for n in (0.0, float(context)))
    first = float(local.prompt_s(b, k, c, float(prompt)))
    need = float(b.file_bytes + context * b.cache_bytes + BUFFERS)
    decode, reading = (
        widths().get(("llama.cpp decode", "", ""), 0.35),
        widths().get(("llama.cpp prefill, one device", "", ""), 0.6),
    )
    if where == "npu":
        decode, reading = (
            widths().get(("phone NPU decode", "", ""), 0.5),
            widths().get(("phone NPU first token", "", ""), 0.8),
        )
    watts = part.get("power", default=math.nan) * (DRAW + (cards - 1.0) * IDLE_SHARE)  # cards take turns
    known = math.isfinite(first)
    reads = prompt / first if known else None
    most = int((room - b.file_bytes - BUFFERS) / b.cache_bytes) if b.cache_bytes else context
    return {
        "model": model.name, "parameters": parameters(model).total, "machine": part.name, "cards": int(cards), "unit": where, "quant": quant,
        "bits_per_weight": bits, "context": context, "prompt": prompt, "memory_bytes": size * cards, "usable_bytes": room, "usable_share": share,
        "weights_bytes": float(b.file_bytes), "cache_bytes": float(context * b.cache_bytes), "need_bytes": need, "fits": need <= room,
        "most_context": max(most, 0), "decode_tokens_per_s": empty, "decode_tokens_per_s_at_context": full,
        "decode_low": empty * math.exp(-decode), "decode_high": empty * math.exp(decode), "prefill_tokens_per_s": reads,
        "prefill_low": reads and reads * math.exp(-reading), "prefill_high": reads and reads * math.exp(reading), "ttft_s": first if known else None,
        "energy_j_per_token": watts / empty if watts == watts else None, "sustained": sustained(part.name), "cures": _cures(model, kept, context, room),
        "binds": binds(b, k, c), "assumed": assumed, "sources": [claim_row(x) for key in FACTS if (x := part.facts.get(key)) is not None],
    }  # fmt: skip


FACTS = (
    ("memory", ""),
    ("memory_rate", ""),
    ("peak", "fp16-dense"),
    ("peak", "fp32-dense"),
    ("peak", "npu"),
    ("units", ""),
    ("clock", ""),
    ("power", ""),
)


def binds(b: Any, k: Any, c: Any) -> dict[str, float]:
    """Return where the time of a token goes, as shares."""
    total = float(local.decode_s(b, k, c, 0.0))
    kernels = float(b.layers * c.layer_s + c.step_s + (k.cards - 1.0) * c.hop_s)
    return {"reading weights": 1.0 - kernels / total, "launches": kernels / total}


def _cures(m: Model, kept: float, context: int, room: float) -> list[str]:
    """Return what would make a model fit: narrower weights, a shorter context."""
    out = [q for q in LADDER if _need(m, q, kept, context) <= room]
    said = [f"{out[0]} fits at this context"] if out else []
    for q in LADDER[::-1]:
        b = local.body(m, local.gguf_bits(q) or 16.0, kept)
        left = (room - b.file_bytes - BUFFERS) / max(b.cache_bytes, 1.0)
        if left >= 512 and not out:
            said.append(f"{q} fits with a context of {int(left):,}")
            break
    return said or [f"{_need(m, LADDER[-1], kept, min(context, 2048)) / 2**30:.1f} GiB are the least that it needs"]


def sustained(part: str) -> list[dict[str, Any]]:
    """Return what is published of a part's rate after minutes of work, over its first rate."""
    return [
        {"what": item, "share": float(claim.value), "note": claim.note, "source": claim.source.id}
        for item, claim in evidences("sustained_share").items()
        if item.startswith(part)
    ]
