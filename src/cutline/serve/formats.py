"""Number formats of a served model: bytes of each kind of weights, of the cache, and the rate of their products.

A format that a chip cannot multiply (FP8 on A100 and Ascend 910B, FP4 before Blackwell) is stored so and multiplied in 16 bits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cutline.core.errors import CutlineError
from cutline.facts.chips import Chip
from cutline.serve.columns import Formats

BITS = {
    # format: (bytes of an element with its scales, bits of the products, item of the chip's peak)
    "fp32": (4.0, 16, "fp32"), "bf16": (2.0, 16, "bf16"), "fp16": (2.0, 16, "bf16"), "fp8": (1.0, 8, "fp8"), "int8": (1.0, 8, "int8"),
    "nvfp4": (0.5625, 4, "fp4"), "mxfp4": (0.53125, 4, "fp4"), "int4": (0.5625, 16, "bf16"), "w8a16": (1.0, 16, "bf16"),
}  # fmt: skip
SPELT = (
    (r"mxfp4|mx4", "mxfp4"), (r"nvfp4|fp4", "nvfp4"), (r"w8a8|int8(?!_wo)", "int8"), (r"fp8|e4m3", "fp8"),
    (r"int4|awq|gptq|w4|4bit|uint4", "int4"), (r"bf16|fp16|bfloat16|float16|f16", "bf16"),
)  # fmt: skip


@dataclass
class Choice:
    """Formats of the parts of a model, by the names of BITS."""

    attention: str
    dense: str
    experts: str
    cache: str
    label: str
    assumed: list[str] = field(default_factory=list)


def named(text: str) -> str | None:
    """Return the format that a cell names, or None."""
    words = text.casefold()
    return next((name for pattern, name in SPELT if re.search(pattern, words)), None)


def choose(row: dict[str, str], part: Chip) -> Choice:
    """Return the formats of a row: its own words, else what the checkpoint of its model's name is published in.

    Notes
    -----
    Published four-bit checkpoints quantise products of weights and keep more: of sparse models only experts are in four bits
    (gpt-oss, Kimi-K2.5; NVIDIA's of DeepSeek and MiniMax keep attention in 16), of dense ones all layers but the head. Eight-bit
    ones quantise all layers but the head. Keys and values are kept in 16 bits unless said otherwise; TensorRT-LLM keeps eight
    where weights have eight or less.
    """
    name, note = row["model"], row["note"].casefold()
    assumed = []
    text = row["weight_precision"]
    found = named(text)
    gemm = re.search(r"gemm (\S*) moe (\S*?)(;|$)", note)
    if gemm and gemm[2]:
        found = named(gemm[2]) or found
    if found is None:
        found, why = named(name) or published(name), "as the checkpoint is published"
        if "mlperf" in note and ("peak", "fp8-dense") in part.facts:
            found, why = "fp8", "as MLPerf's submitters quantise"
        assumed.append(f"weights in {found}, {why}")
    sparse_name = bool(
        re.search(r"gpt-oss|kimi|deepseek|minimax|qwen3\.5-397|glm-5|glm-4\.[5-9]|a\d+(\.\d+)?b", name.casefold())
    )
    attention = dense = found
    if found in ("mxfp4", "nvfp4", "int4") and (sparse_name or "gpt-oss" in name.casefold()):
        attention = "bf16"
        dense = "bf16"
    cache = named(row["kv_precision"])
    if cache is None:
        narrow = "tensorrt" in row["engine"].casefold() and found in ("fp8", "nvfp4", "int8")
        cache = "fp8" if narrow else "bf16"
    return Choice(attention, dense, found, cache, found, assumed)


def published(name: str) -> str:
    """Return the format in which a model's usual checkpoint is published.

    Examples
    --------
    >>> published("deepseek-ai/DeepSeek-R1"), published("openai/gpt-oss-120b"), published("Qwen/Qwen3-8B")
    ('fp8', 'mxfp4', 'bf16')
    """
    words = name.casefold()
    for part, kept in (
        ("gpt-oss", "mxfp4"), ("kimi-k2.5", "int4"), ("kimi-k2-thinking", "int4"), ("kimi", "fp8"), ("deepseek-r1-distill", "bf16"),
        ("deepseek-v3", "fp8"), ("deepseek-r1", "fp8"), ("minimax-m2", "fp8"),
    ):  # fmt: skip
        if part in words:
            return kept
    return "bf16"


def rate_of(part: Chip, fmt: str) -> tuple[float, float]:
    """Return the dense peak with which a chip multiplies a format, and the bits of its products. [flop/s]"""
    _, bits, item = BITS[fmt]
    if fmt == "mxfp4":  # activations in eight bits where the chip has four; else in 16
        item, bits = ("fp8", 8) if ("peak", "fp4-dense") in part.facts else ("bf16", 16)
    tries = [(item, bits)]
    if bits == 8:
        tries += [("int8" if item == "fp8" and part.text("family").startswith("ascend") else item, 8)]
    for peak, width in tries:
        try:
            return part.peak_flop_per_s(peak), float(width)
        except CutlineError:
            continue
    return part.peak_flop_per_s("bf16"), 16.0


def columns(choice: Choice, part: Chip) -> Formats:
    """Return the columns of a choice on a chip."""
    attention, a_bits = rate_of(part, choice.attention)
    dense, d_bits = rate_of(part, choice.dense)
    experts, e_bits = rate_of(part, choice.experts)
    return Formats(
        BITS[choice.attention][0], BITS[choice.dense][0], BITS[choice.experts][0], 2.0, BITS[choice.cache][0],
        attention, dense, experts, part.peak_flop_per_s("bf16"), a_bits, d_bits, e_bits,
    )  # fmt: skip
