"""From a catalogue chip, a number format and a network to the Rates and Constants of the cost model."""

from __future__ import annotations

import re

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Numbers
from cutline.facts.chips import ELEMENT_BYTES, Chip, chip
from cutline.physics.power import power_capped_fraction
from cutline.plan.columns import Constants, Rates

PRECISIONS = ("bf16", "fp16", "fp8", "mxfp8", "nvfp4", "tf32", "fp32")
REFERENCE = {
    "volta": "V100-SXM2-32GB",
    "ampere": "A100-SXM-80GB",
    "hopper": "H100-SXM-80GB",
    "blackwell": "GB200",
    "blackwell-ultra": "GB300",
    "ascend-910b": "Ascend-910B3",
}
"""Part on which a family's constants were fitted; others of the family are scaled by their power budget."""
POWER_EXPONENT = 0.4
CEILING = 0.93


def rates(part: Chip, precision: str, out_bytes_per_s: float | None = None, domain: float | None = None) -> Rates:
    """Return the data-sheet rates of a chip in a number format.

    Raises
    ------
    CutlineError
        If the format is unknown or the chip lacks a fact that the estimate needs.
    """
    if precision not in PRECISIONS:
        raise CutlineError(f"precision must be one of {', '.join(PRECISIONS)}; got '{precision}'")
    wide = part.peak_flop_per_s("bf16")
    domain = part.get("domain", default=1.0) if domain is None else domain
    topology = part.text("topology", "switched")
    up = part.get("link", "scale-up", part.get("link", "host", 16e9))
    return Rates(
        flop_per_s=wide,
        linear_flop_per_s=part.peak_flop_per_s(precision),
        linear_bytes=ELEMENT_BYTES[precision],
        memory_bytes=part.get("memory"),
        memory_bytes_per_s=part.get("memory_rate"),
        up_bytes_per_s=up,
        out_bytes_per_s=part.get("link", "scale-out", 12.5e9) if out_bytes_per_s is None else out_bytes_per_s,
        domain=domain,
        pair_share=1.0 / max(domain - 1.0, 1.0) if topology == "mesh" else 1.0,
        units=part.get("units", default=0.0),
    )


def power_factor_inputs(part: Chip) -> tuple[float, float]:
    """Return power over peak of the part and of its family's reference part. [J/flop]"""
    own = part.get("power", default=0.0) / part.peak_flop_per_s("bf16")
    name = REFERENCE.get(part.text("family"))
    if name is None or own == 0.0:
        return 1.0, 1.0
    reference = chip(name)
    return own, reference.get("power") / reference.peak_flop_per_s("bf16")


def power_scaled(c: Constants, own: Numbers, reference: Numbers) -> Constants:
    """Return constants whose compute shares are scaled to the part's power budget."""
    sustained = np.minimum(c.gemm_fraction * c.gemm_gain, 0.99 * CEILING)
    scale = power_capped_fraction(sustained, own, reference, POWER_EXPONENT, CEILING) / sustained
    return c.replace(gemm_gain=c.gemm_gain * scale, attention_gain=c.attention_gain * scale)


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
