"""One user's machine: prompts and decoding of one request on a card, a laptop or a phone. See docs/serving.md.

Decoding reads all weights that a token uses, once; a prompt is products on matrix units, on shader units, or on an NPU.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from cutline.core.columns import Columns
from cutline.core.numerics import smooth_max
from cutline.facts import reader
from cutline.facts.chips import Chip
from cutline.facts.models import Model, parameters
from cutline.plan.constants import Row, read, resolve, value

PIECE = 512.0
"""Tokens of a prompt that llama.cpp computes at once (its default micro-batch)."""
CHUNK = 128.0
"""Tokens of a prompt that Qualcomm's graphs compute at once, whatever the prompt's length."""
WINDOW = 4096.0
"""Tokens of the cache that such a graph attends to, filled or not."""
AT = 150e12
"""Peak at which `matrix` holds. [flop/s]"""


@dataclass(frozen=True)
class LocalConstants(Columns):
    """What no data sheet says of local engines; docs/serving.md lists them."""

    read: Any
    two_dies: Any
    unit_bytes: Any
    narrow: Any
    sparse: Any
    cache: Any
    layer_s: Any
    step_s: Any
    hop_s: Any
    shader: Any
    shader_quantised: Any
    matrix: Any
    matrix_quantised: Any
    matrix_slope: Any
    experts: Any
    attention: Any
    piece_s: Any
    split: Any
    npu: Any
    npu_wide: Any
    cpu: Any


FIELDS = tuple(f.name for f in fields(LocalConstants))
FACTORS: dict[str, tuple[float, tuple[str, ...], int]] = {
    "memory": (0.2, ("read", "cache", "unit_bytes"), -1),
    "compute": (0.35, ("shader", "matrix", "npu"), -1),
    "host": (0.3, ("layer_s", "step_s", "piece_s"), 1),
}
"""The factors that rows of one's own may move: doubt (log), constants, direction."""


@functools.cache
def table() -> dict[tuple[str, str], Row]:
    """Return (name, scope) -> Row of the constants of local engines, checked."""
    return read(reader.DATA / "local_constants.csv", FIELDS)


@functools.cache
def keys(kind: str, maker: str) -> tuple[tuple[str, str], ...]:
    """Return the key of every constant, in the order of FIELDS."""
    return tuple(resolve(n, (f"kind {kind}", f"maker {maker}", ""), table()) for n in FIELDS)


def constants(kind: str, maker: str, without: str = "shipped") -> LocalConstants:
    """Return the constants of a kind of unit (gpu, cpu, npu) of a maker."""
    known = table()
    return LocalConstants(
        **{n: value(known[k], known, without) for n, k in zip(FIELDS, keys(kind, maker), strict=True)}
    )


SHADER_ONLY = (
    "apple-m1",
    "apple-m2",
    "apple-m3",
    "apple-m4",
    "apple-m5",
    "apple-a14",
    "apple-a15",
    "apple-a16",
    "apple-a17",
    "apple-a18",
    "maxwell",
    "pascal",
    "turing-gtx",
    "rdna2",
    "vega",
    "intel-xe",
    "snapdragon",
    "dimensity",
    "exynos",
    "tensor",
    "xring",
    "kirin",
    "rockchip",
)
"""Families whose products run on shader units in llama.cpp: none has matrix units that it uses."""

PROCESSORS = ("granite-rapids", "sapphire-rapids", "raptor-lake", "zen", "raspberry-pi")
"""Families of processors: what runs on one of them runs on its CPU."""


def is_processor(part: Chip) -> bool:
    """Return whether a part is a processor and not a chip beside one."""
    return part.text("family").startswith(PROCESSORS)


class Machine(NamedTuple):
    """A machine as numbers."""

    memory_bytes_per_s: Any
    units_bytes_per_clock_s: Any  # units x clock of an NVIDIA part, else 0: that limit is not known
    peak_flop_per_s: Any
    matrix: Any  # 1 where products run on matrix units
    cpu: Any
    npu: Any
    two_dies: Any
    cards: Any


def machine(part: Chip, cards: float = 1.0, kind: str = "gpu") -> Machine:
    """Return the numbers of a part that runs a local engine on its GPU, CPU or NPU."""
    family, matrix = part.text("family"), 0.0
    if kind == "npu":
        peak = part.get("peak", "npu", 0.0) or part.peak_flop_per_s("int8")
    elif family.startswith(SHADER_ONLY) or ("peak", "fp16-dense") not in part.facts:
        peak = part.get("peak", "fp32-dense", math.nan)
    else:
        # llama.cpp adds up in 16 bits, for which GeForce parts have twice the rate
        peak, matrix = part.get("peak", "fp16-dense-acc16", part.peak_flop_per_s("fp16")), 1.0
    units = part.get("units", default=0.0) * part.get("clock", default=0.0) if part.text("maker") == "NVIDIA" else 0.0
    return Machine(
        part.get("memory_rate"), units, peak, matrix, float(kind == "cpu"), float(kind == "npu"), float("Ultra" in part.name and part.text("maker") == "Apple"), cards
    )  # fmt: skip


def gguf_bits(text: str) -> float | None:
    """Return the bits of one weight in a quantisation of GGUF, MLX or a phone's runtime; None where it is not known.

    Examples
    --------
    >>> gguf_bits("Q4_K_M"), gguf_bits("UD-Q4_K_XL"), gguf_bits("f16"), gguf_bits("nonsense")
    (4.8944, 4.8944, 16.0005, None)
    """
    words = re.sub(r"^(ud|unsloth-dynamic)[-_ ]", "", text.strip().casefold())
    for pattern, to in (
        (r"_xl\b|_k_p\b", "_k_m"),
        (r"_k_k_", "_k_"),
        (r"^q8_k_m", "q8_0"),
        (r"^q6_k_m", "q6_k"),
        (r"^q2_k_m", "q2_k"),
    ):
        words = re.sub(pattern, to, words)
    words = words.replace("_k_k_m", "_k_m")
    known = reader.evidences("gguf_bits")
    if words in known:
        return float(known[words].value)
    for pattern, bits in (
        (r"q?8bit|8[-_ ]?bit|int8|w8|fp8|q8", 8.5), (r"6[-_ ]?bit|q6", 6.5), (r"nvfp4|mxfp4|fp4", 4.5), (r"3[-_ ]?bit", 3.5), (r"2[-_ ]?bit", 2.5),
        (r"int4|4[-_ ]?bit|w4|uint4|awq|gptq|mq4|mixed4|q4", 4.5), (r"bf16|fp16|f16", 16.0),
    ):  # fmt: skip
        if re.search(pattern, words):
            return bits
    return None


class Body(NamedTuple):
    """What one token reads and computes."""

    read_bytes: Any  # weights of one token
    file_bytes: Any  # all weights
    flop_parameters: Any  # parameters that a token of a prompt multiplies with
    cache_bytes: Any  # of one token
    core_flop: Any  # attention, of one token for each token before it
    layers: Any
    hidden: Any
    sparse: Any
    quantised: Any
    wide: Any  # 1 where an NPU's activations are floating-point numbers


def body(m: Model, bits: float, cache_bits: float = 16.0, wide: bool = False) -> Body:
    """Return what one token of a model reads and computes, its weights at so many bits."""
    p = parameters(m)
    table_ = (m.vocab + m.positions) * m.hidden
    looked_up = (0 if m.tied else table_) + (m.other_parameters if "gemma-3n" in m.name or "gemma-4-e" in m.name else 0)
    width = m.kv_rank + m.rope_dim if m.latent else 2 * m.kv_heads * m.head_dim
    full = m.softmax_layers
    core = full * 2.0 * m.heads * 2 * m.head_dim
    return Body(
        (p.active - looked_up) * bits / 8.0, p.total * bits / 8.0, p.active - looked_up - table_, full * width * cache_bits / 8.0, core,
        float(m.layers), float(m.hidden), float(m.experts > 0), float(bits < 12), float(wide),
    )  # fmt: skip


def decode_s(b: Any, k: Any, c: LocalConstants, context: Any) -> Any:
    """Return the time of one token behind `context` others. [s]"""
    share = (
        c.read
        * np.where(k.two_dies > 0, c.two_dies, 1.0)
        * np.where(b.quantised > 0, c.narrow, 1.0)
        * np.where(b.sparse > 0, c.sparse, 1.0)
    )
    read = b.read_bytes / (k.memory_bytes_per_s * share) * np.where(b.wide > 0, c.npu_wide, 1.0)
    units = np.where(
        k.units_bytes_per_clock_s > 0, b.read_bytes / np.maximum(k.units_bytes_per_clock_s * c.unit_bytes, 1.0), 0.0
    )
    cache = context * b.cache_bytes / (k.memory_bytes_per_s * c.cache)
    return smooth_max(read, units, 6.0) + cache + b.layers * c.layer_s + c.step_s + (k.cards - 1.0) * c.hop_s


def prompt_s(b: Any, k: Any, c: LocalConstants, tokens: Any) -> Any:
    """Return the time of a prompt of so many tokens. [s]

    Cards in a row work on pieces one behind the other: m pieces on g cards take (m + g - 1) / (m g) of the time, for the share
    of the work that can overlap. An NPU's graphs take whole chunks.
    """
    plain = k.peak_flop_per_s * c.shader * np.where(b.quantised > 0, c.shader_quantised, 1.0)
    slope = (k.peak_flop_per_s / AT) ** -c.matrix_slope
    units = k.peak_flop_per_s * c.matrix * slope * np.where(b.quantised > 0, c.matrix_quantised, 1.0)
    rate = (
        np.where(k.matrix > 0, units, plain) * np.where(b.sparse > 0, c.experts, 1.0) * np.where(k.cpu > 0, c.cpu, 1.0)
    )
    tokens = np.maximum(tokens, 1.0)
    flop = tokens * (2.0 * b.flop_parameters + c.attention * b.core_flop * tokens / 2.0)
    pieces = np.ceil(tokens / PIECE)
    work = flop / rate + pieces * c.piece_s
    together = (pieces + k.cards - 1.0) / (pieces * k.cards)
    work = work * (1.0 - c.split + c.split * together) + (k.cards - 1.0) * c.hop_s
    once = b.read_bytes / (k.memory_bytes_per_s * c.read)
    chunk = CHUNK * (2.0 * b.flop_parameters + c.attention * b.core_flop * WINDOW) / (k.peak_flop_per_s * c.npu)
    npu = np.ceil(tokens / CHUNK) * chunk * np.where(b.wide > 0, c.npu_wide, 1.0)
    return np.where(k.npu > 0, npu, np.maximum(work, once)) + c.step_s
