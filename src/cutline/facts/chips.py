"""The record Chip: what physics needs of a part, each number with the claim it came from."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from cutline.core.errors import CutlineError
from cutline.facts import reader
from cutline.facts.reader import Claim

ELEMENT_BYTES = {
    "fp32": 4.0,
    "tf32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "mxfp8": 1.03125,
    "fp4": 0.5625,
    "nvfp4": 0.5625,
}
"""Bytes per element of a number format, scale factors of MX (1/32) and NVFP4 (1/16) blocks included."""


@dataclass(frozen=True)
class Chip:
    """One part of the catalogue. Rates are per chip and one direction, in base units."""

    name: str
    facts: dict[tuple[str, str], Claim] = field(repr=False)

    def get(self, name: str, item: str = "", default: float | None = None) -> float:
        """Return a number in base units, or `default`; without a default a missing fact is an error."""
        claim = self.facts.get((name, item))
        if claim is not None:
            return float(claim.value)
        if default is not None:
            return default
        what = f"{name} {item}".strip()
        raise CutlineError(
            f"{self.name} has no sourced '{what}', which this estimate needs; `cutline chip {self.name}` shows what is known"
        )

    def text(self, name: str, default: str = "") -> str:
        """Return a text fact, or `default`."""
        claim = self.facts.get((name, ""))
        return str(claim.value) if claim else default

    def peak_flop_per_s(self, precision: str) -> float:
        """Return the dense peak rate for matrix products in a number format. [flop/s]

        `bf16` and `fp16` stand in for each other (parts without bfloat16 train in fp16); a block format
        (`mxfp8`, `nvfp4`) uses the rate of its width. Raises CutlineError if the part cannot run the format.
        """
        for item in {
            "bf16": ("bf16", "fp16"),
            "fp16": ("fp16", "bf16"),
            "mxfp8": ("fp8",),
            "nvfp4": ("fp4",),
        }.get(precision, (precision,)):
            claim = self.facts.get(("peak", f"{item}-dense"))
            if claim is not None:
                return float(claim.value)
        offered = sorted(i.removesuffix("-dense") for f, i in self.facts if f == "peak" and i.endswith("-dense"))
        raise CutlineError(
            f"{self.name} has no dense {precision} rate in the catalogue; it has {', '.join(offered) or 'no peak at all'}"
        )

    @property
    def guesses(self) -> list[Claim]:
        """Claims of this part that are Cutline's own guesses."""
        return [c for c in self.facts.values() if c.source.id == "guess"]


@functools.cache
def chip(name: str) -> Chip:
    """Return the catalogue's part `name` (any case, aliases too) with its best claims.

    Raises
    ------
    UnknownName
        With the names that come close.
    """
    table = reader.table("chips")
    name = table.resolve(name)
    return Chip(name, {key: found[0] for key, found in table.claims(name).items()})


def chips() -> list[str]:
    """Return the names of all parts, sorted."""
    return sorted(reader.table("chips"), key=str.casefold)
