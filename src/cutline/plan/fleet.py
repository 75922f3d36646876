"""Fleets: a tuple of groups (chip, count), read from words such as `2048 x A100-SXM-80GB`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cutline.core.errors import CutlineError
from cutline.facts import reader
from cutline.facts.chips import Chip, chip

MOST = 100_000_000
EXAMPLE = "write for example '2048 x A100-SXM-80GB'"
NUMBER = r"-?(?:\d+(?:\.\d+)?[eE][+-]?\d+|[\d.,_]+[kKM]?)"


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
    >>> [(g.chips, g.chip.name) for g in fleet("16 x h20 + 8xH20")]
    [(24, 'H20')]
    """
    found: dict[str, Group] = {}
    for part in text.split("+"):
        if not part.strip():
            raise CutlineError(f"fleet '{text}' does not parse; {EXAMPLE}")
        number, name = _split(part.strip(), text)
        count = _count(number, text)
        part_chip = chip(name)
        before = found[part_chip.name].chips if part_chip.name in found else 0
        found[part_chip.name] = Group(part_chip, before + count)
    return tuple(found.values())


def _split(part: str, whole: str) -> tuple[str, str]:
    """Return count and chip of a group as words; a name that begins with digits (`4090`) is a name."""
    known = reader.table("chips").alias
    if part.casefold() in known:
        return "1", part
    if re.fullmatch(rf"{NUMBER}(\s*[xX×*])?", part):
        raise CutlineError(f"fleet '{whole}' names no chip; {EXAMPLE}")
    match = re.fullmatch(rf"({NUMBER})\s*[xX×*]\s*(\S.*)", part)
    if match:
        if re.fullmatch(rf"{NUMBER}(\s*[xX×*])?", match[2]) and match[2].casefold() not in known:
            raise CutlineError(f"fleet '{whole}' names no chip; {EXAMPLE}")
        if "e" in match[1].casefold():
            digits = f"{float(match[1]):.0f}" if 1 <= float(match[1]) <= MOST else "2048"
            raise CutlineError(f"fleet '{whole}': write the count in digits, such as '{digits} x {match[2]}'")
        return match[1], match[2]
    match = re.fullmatch(rf"({NUMBER})\s*(\S.*)", part)
    if match and match[2].casefold() in known:
        raise CutlineError(f"fleet '{whole}' lacks the x between count and chip; write '{match[1]} x {match[2]}'")
    return "1", part


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
