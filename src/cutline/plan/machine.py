"""From a catalogue chip, a number format and a network to the Rates and Constants of the cost model."""

from __future__ import annotations

import math
import re

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Numbers
from cutline.facts.chips import ELEMENT_BYTES, Chip, chip
from cutline.physics.power import power_capped_fraction
from cutline.plan.columns import Constants, Rates

PRECISIONS = ("bf16", "fp16", "fp8", "mxfp8", "nvfp4", "int8", "tf32", "fp32")
BLOCK_SCALED = (
    "blackwell", "blackwell-ultra", "blackwell-rtx", "rubin", "cdna4", "cdna5", "trainium3", "ascend-950", "tpu-v8"
)  # fmt: skip
"""Families whose matrix units take MX block scales."""
REFERENCE = {
    "volta": "V100-SXM2-32GB",
    "ampere": "A100-SXM-80GB",
    "hopper": "H100-SXM-80GB",
    "blackwell": "GB200",
    "blackwell-ultra": "GB300",
    "ascend-910b": "Ascend-910B3",
}
"""Part on which a family's constants were fitted; others of the family are scaled by their power budget."""
FIRST = REFERENCE | {"ampere": "A100-SXM-40GB", "blackwell": "B200-SXM", "blackwell-ultra": "B200-SXM"}
"""Part with which a family's software began; Blackwell Ultra runs Blackwell's."""


def rates(
    part: Chip, precision: str, chips: float, out_bytes_per_s: float | None = None, balanced: bool = False
) -> Rates:
    """Return the data-sheet rates of a chip of a fleet of `chips` in a number format.

    Raises
    ------
    CutlineError
        If the format is unknown or the chip lacks a fact that the estimate needs.
    """
    if precision not in PRECISIONS:
        raise CutlineError(f"precision must be one of {', '.join(PRECISIONS)}; got '{precision}'")
    if precision == "mxfp8" and part.text("family") not in BLOCK_SCALED:
        raise CutlineError(f"{part.name} has no block-scaled (MX) products in hardware; take fp8 or bf16")
    wide = part.peak_flop_per_s(precision if precision in ("fp32", "tf32") else "bf16")
    domain, up, mesh = scale_up(part, chips)
    return Rates(
        flop_per_s=wide,
        linear_flop_per_s=part.peak_flop_per_s(precision),
        linear_bytes=ELEMENT_BYTES[precision],
        memory_bytes=dram_bytes(part),
        memory_bytes_per_s=part.get("memory_rate"),
        up_bytes_per_s=up,
        out_bytes_per_s=part.get("link", "scale-out", 12.5e9) if out_bytes_per_s is None else out_bytes_per_s,
        domain=domain,
        pair_share=1.0 / max(domain - 1.0, 1.0) if mesh else 1.0,
        units=part.get("units", default=0.0),
        host_bytes_per_s=part.get("link", "host", HOST_BYTES_PER_S),
        imbalance=0.0 if balanced else IMBALANCE,
    )


IMBALANCE = 0.15
"""Coefficient of variation of the load of one expert in training (guess: the fullest of 64 is then 1.36 times the mean,
between 1.04 of DeepSeek's loss-free balancing over a whole set and 1.5 to 1.7 with an auxiliary loss: evidence.csv)."""

HOST_BYTES_PER_S = 16e9
"""Host bus where no source gives it: PCIe 3 x16 (guess)."""


REACHED = 0.786
"""Share of a link that a collective uses, as fitted for the middle family: a rate that transfers have reached is divided by it."""
NO_PEER = 0.52
"""Rate of a host bus for cards that cannot reach each other's memory and hand data on through that of the host, over cards that
can: bus bandwidth 0.25 to 0.57 of the bus (`nopeer_busbw` in evidence.csv, geometric mean 0.41) against `REACHED`."""


def scale_up(part: Chip, chips: float) -> tuple[float, float, bool]:
    """Return (chips of one domain, rate of one chip inside it, True if a full mesh).

    Cards without links, or with links to one neighbour only, meet over the host bus of their server. A fleet
    larger than a domain of 72 or 384 uses a power of two of it, so that groups do not straddle domains.
    """
    domain, node = part.get("domain", default=1.0), part.get("node", default=8.0)
    if domain < node:
        peers = part.text("segment") != "gaming" or part.text("maker") != "NVIDIA"
        return node, part.get("link", "host", HOST_BYTES_PER_S) * (1.0 if peers else NO_PEER), False
    if chips > domain:
        domain = 2.0 ** math.floor(math.log2(domain))
    mesh = part.text("topology", "switched") == "mesh"
    return domain, part.get("link", "scale-up", part.get("link", "host", HOST_BYTES_PER_S)), mesh


def dram_bytes(part: Chip) -> float:
    """Return the memory of a part: DRAM comes in binary sizes, so a printed `80 GB` is 80 GiB. [bytes]

    The driver of an A100-80GB lists 81,920 MiB. Sources print GB or GiB for the same stacks; a comparison of
    parts must not hang on that.
    """
    claim = part.facts.get(("memory", ""))
    binary = 2.0**30 / 1e9 if claim is not None and claim.printed.endswith(" GB") else 1.0
    return part.get("memory") * binary


def power_factor_inputs(part: Chip) -> tuple[float, float, float]:
    """Return power over peak of a part and of its family's reference [J/flop], and its peak per unit over theirs. [1]

    The last is 1 where a source does not give the units.
    """
    if not {("peak", "bf16-dense"), ("peak", "fp16-dense")} & part.facts.keys():
        return 1.0, 1.0, 1.0  # a part without 16-bit products is not like its family
    peak = part.peak_flop_per_s("bf16")
    own = part.get("power", default=0.0) / peak
    name = REFERENCE.get(part.text("family"))
    if name is None or own == 0.0:
        return 1.0, 1.0, 1.0
    reference = chip(name)
    theirs = reference.peak_flop_per_s("bf16")
    units, their_units = part.get("units", default=0.0), reference.get("units", default=0.0)
    density = (peak / units) / (theirs / their_units) if units and their_units else 1.0
    return own, reference.get("power") / theirs, density


def power_scaled(c: Constants, own: Numbers, reference: Numbers, density: Numbers = 1.0) -> Constants:
    """Return constants whose compute shares are those of a part of another power budget and tensor density.

    Fused attention takes the time of its products and, beyond that, of its exponentials. These run on the units,
    not on the matrix peak: a part whose peak was cut and whose units were not (H20) does them as fast as before.
    """
    sustained = np.minimum(c.gemm_fraction * c.gemm_gain, 0.99 * c.ceiling)
    scale = power_capped_fraction(sustained, own, reference, c.power_exponent, c.ceiling) / sustained
    inverse = 1.0 / (c.attention_fraction * c.attention_gain)
    beside = np.maximum(inverse - 1.0 / sustained, 0.0)
    attention = 1.0 / ((inverse - beside) / scale + beside * density)
    return c.replace(gemm_gain=c.gemm_gain * scale, attention_gain=attention / c.attention_fraction)


NETWORK = re.compile(r"(?:[1-9]\d*\s*x\s*)?[1-9]\d*\s*Gb/s(?:\s+per\s+(?:chip|GPU|NPU|server|node))?")


def network_said(text: str, what: str) -> str:
    """Return a user's words for a network if they say a rate without doubt; `what` names them in a refusal."""
    if not NETWORK.fullmatch(text.strip()):
        raise CutlineError(
            f"{what} must be whole Gb/s above 0 in one direction, such as '400 Gb/s per chip' or '8x200 Gb/s' per server; got '{text}'"
        )
    return text


def network_bytes_per_s(text: str, chips_per_node: float) -> float | None:
    """Read a network rate per chip from words such as '8x200 Gb/s' or '400 Gb/s per GPU'; None if there is none.

    Examples
    --------
    >>> network_bytes_per_s("InfiniBand HDR 8x200 Gb/s (Selene)", 8) / 1e9
    25.0
    >>> network_bytes_per_s("RDMA 400 Gb/s per GPU", 8) / 1e9
    50.0
    >>> network_bytes_per_s("RoCE 1600 Gb/s node-node", 8) / 1e9
    25.0
    """
    many = re.search(r"(\d+)\s*x\s*(\d+(?:\.\d+)?)\s*Gb/s", text)
    if many:
        return float(many[1]) * float(many[2]) * 1e9 / 8 / chips_per_node
    one = re.search(r"(\d+(?:\.\d+)?)\s*Gb/s", text)
    if not one:
        return None
    if float(one[1]) <= 0:
        return None
    each = float(one[1]) * 1e9 / 8
    return each if re.search(r"per (GPU|chip|NPU)", text) else each / chips_per_node
