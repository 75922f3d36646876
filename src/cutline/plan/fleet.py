"""Fleets: a tuple of groups (chip, count), read from words such as `2048 x A100-SXM-80GB`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cutline.core.errors import CutlineError
from cutline.facts.chips import Chip, chip

MOST = 100_000_000
EXAMPLE = "write for example '2048 x A100-SXM-80GB'"


@dataclass(frozen=True)
class Group:
    """Chips of one kind in one network."""

    chip: Chip
    chips: int


Fleet = tuple[Group, ...]


def fleet(text: str) -> Fleet:
    """Read a fleet: groups `COUNT x CHIP` joined by `+`; groups of the same chip are one group.

    Raises
    ------
    CutlineError
        If the text does not parse, a count is not a whole number above 0, or a chip is not known.

    Examples
    --------
    >>> [(g.chips, g.chip.name) for g in fleet("16 x h20 + 8 x H20")]
    [(24, 'H20')]
    """
    found: dict[str, Group] = {}
    for part in text.split("+"):
        match = re.fullmatch(r"\s*(?:(-?[\d.,_]+[kKM]?)\s*(?:x|X|×|\*)\s+)?(\S.*?)\s*", part)
        if not match:
            raise CutlineError(f"fleet '{text}' does not parse; {EXAMPLE}")
        if re.fullmatch(r"-?[\d.,_]+[kKM]?(\s*[xX×*])?", match[2]):
            raise CutlineError(f"fleet '{text}' names no chip; {EXAMPLE}")
        count = _count(match[1] or "1", text)
        part_chip = chip(match[2])
        before = found[part_chip.name].chips if part_chip.name in found else 0
        found[part_chip.name] = Group(part_chip, before + count)
    return tuple(found.values())


def _count(text: str, whole: str) -> int:
    scale = {"k": 1000, "K": 1000, "M": 1_000_000}.get(text[-1], 1)
    try:
        number = float(text.rstrip("kKM").replace(",", "").replace("_", "")) * scale
    except ValueError:
        raise CutlineError(f"fleet '{whole}': '{text}' is not a count; {EXAMPLE}") from None
    if number < 1 or number % 1:
        raise CutlineError(f"fleet '{whole}': chips must be a whole number of at least 1; got {text}")
    if number > MOST:
        raise CutlineError(f"fleet '{whole}': at most {MOST:,} chips; got {text}")
    return int(number)


def one_group(groups: Fleet) -> Group:
    """Return the only group of a fleet; a fleet of several kinds is refused with the cure."""
    if len(groups) > 1:
        names = " + ".join(f"{g.chips} x {g.chip.name}" for g in groups)
        raise CutlineError(
            f"fleets of several kinds of chips are not estimated yet; got {names}; plan each kind alone and compare"
        )
    return groups[0]
