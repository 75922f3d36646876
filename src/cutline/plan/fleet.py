"""Fleets: groups of chips and the links between them, read from words such as `512 x A800 + 512 x H20` or from a file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cutline.core.errors import CutlineError, DataError, suggestions
from cutline.facts import reader
from cutline.facts.chips import Chip, chip
from cutline.facts.reader import Source, claim_of, plain
from cutline.plan.machine import network_said

MOST = 100_000_000
EXAMPLE = "write for example '2048 x A100-SXM-80GB'"
NUMBER = r"-?(?:\d+(?:\.\d+)?[eE][+-]?\d+|[\d.,_]+[kKM]?)"


@dataclass(frozen=True)
class Group:
    """Chips of one kind in one network, and what a fleet file says of them."""

    chip: Chip
    chips: int
    network: str | None = None  # in words, as `--network`; as usual for the part unless given
    stack: str | None = None
    precision: str | None = None
    name: str = ""
    """set where a fleet holds the same part twice"""

    @property
    def label(self) -> str:
        """What people call the group."""
        return self.name or self.chip.name

    @property
    def servers(self) -> float:
        """Servers of the group, the last one perhaps not full."""
        return math.ceil(self.chips / self.chip.get("node", default=8.0))


@dataclass(frozen=True)
class Link:
    """What a fleet file says of the way between two groups."""

    groups: frozenset[str]
    network: str | None = None  # rate of one chip, in words
    transport: str = ""  # `direct` or `host`; by the makers unless given


@dataclass(frozen=True)
class Fleet:
    """Groups of chips, and the links between them that are not the usual ones."""

    groups: tuple[Group, ...]
    links: tuple[Link, ...] = ()

    def __iter__(self) -> Iterator[Group]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def chips(self) -> int:
        """Chips of all groups."""
        return sum(g.chips for g in self.groups)


def fleet(text: str) -> Fleet:
    """Read a fleet: groups `COUNT x CHIP` joined by `+`; groups of the same chip are one group, empty ones none.

    Raises
    ------
    CutlineError
        If the text does not parse, a count is not a whole number, no chips are left, or a chip is not known.

    Examples
    --------
    >>> [(g.chips, g.chip.name) for g in fleet("16 x h20 + 8xH20 + 0 x A100")]
    [(24, 'H20')]
    """
    found = []
    parts = text.split("+")
    for part in parts:
        if not part.strip():
            raise CutlineError(f"fleet '{text}' does not parse; {EXAMPLE}")
        number, name = _split(part.strip(), text)
        count = _count(number, text, least=0 if len(parts) > 1 else 1)
        found.append(Group(chip(name), count))
    return joined(found, text)


def joined(groups: list[Group], text: str, links: tuple[Link, ...] = (), apart: bool = False) -> Fleet:
    """Return a fleet of groups: alike ones joined (unless `apart`), empty ones left out, others of the same part numbered."""
    found: dict[tuple[Any, ...], Group] = {}
    for g in groups:
        facts = tuple((k, c.value) for k, c in g.chip.facts.items())
        key = (g.chip.name, facts, g.network, g.stack, g.precision, len(found) if apart else 0)
        before = found[key].chips if key in found else 0
        found[key] = replace(g, chips=before + g.chips)
    kept = [g for g in found.values() if g.chips]
    if not kept:
        raise CutlineError(f"fleet '{text}' has no chips; {EXAMPLE}")
    total = sum(g.chips for g in kept)
    if total > MOST:
        raise CutlineError(f"fleet '{text}': at most {MOST:,} chips; got {total:,}")
    seen: dict[str, int] = {}
    for i, g in enumerate(kept):
        seen[g.chip.name] = seen.get(g.chip.name, 0) + 1
        if seen[g.chip.name] > 1:
            kept[i] = replace(g, name=f"{g.chip.name} ({seen[g.chip.name]})")
    return Fleet(tuple(kept), links)


KEYS = {
    "node": ("node", "", "1", "8"), "domain": ("domain", "", "1", "8"), "link": ("link", "scale-up", "", '"200 GB/s"'),
    "host_link": ("link", "host", "", '"32 GB/s"'), "memory": ("memory", "", "", '"64 GB"'), "power": ("power", "", "", '"400 W"'),
    "rent": ("price", "rent", "", '"1.1 USD/h"'),
}  # fmt: skip
"""Keys of a group in a fleet file that stand for facts of its chip: field, item, the unit where none is written, an example."""


def read_fleet(path: Path) -> Fleet:
    """Read a fleet file (TOML): tables `[[group]]`, and `[[between]]` for links between them. docs/fleets.md has the keys.

    Raises
    ------
    DataError
        With the file, the group, the key, the rule and the value.
    """
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(str(path), None, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(path.name, None, "not UTF-8 text; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise DataError(path.name, None, f"not readable as TOML: {error}") from None
    _keys(path, "the file", content, ("group", "between"))
    for table in ("group", "between"):
        if not isinstance(content.get(table, []), list):
            raise DataError(path.name, None, f"[{table}] must be written [[{table}]], for there may be several")
    rows = content.get("group")
    if not rows:
        raise DataError(path.name, None, "a fleet needs at least one table [[group]] with chip and chips")
    groups = []
    for number, row in enumerate(rows, 1):
        try:
            groups.append(_group(path, number, row))
        except DataError:
            raise
        except CutlineError as error:
            raise DataError(path.name, None, f"group {number}: {error}") from None
    between = content.get("between", [])
    found = joined(groups, path.name, apart=bool(between))
    known = {plain(g.label): g.label for g in found}
    links = tuple(_link(path, n, row, known) for n, row in enumerate(between, 1))
    for n, link in enumerate(links):
        if link.groups in [x.groups for x in links[:n]]:
            raise DataError(
                path.name, None, f"between {n + 1}: {' and '.join(sorted(link.groups))} are joined twice; say it once"
            )
    return replace(found, links=links)


def _keys(path: Path, what: str, row: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in row:
        if key not in known:
            close = suggestions(key, known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise DataError(path.name, None, f"{what}: key '{key}' is not one of {', '.join(known)}{hint}")


def _group(path: Path, number: int, row: dict[str, Any]) -> Group:
    """Return one group of a file."""
    _keys(path, f"group {number}", row, ("chip", "chips", "network", "stack", "precision", *KEYS))
    for key in ("chip", "chips"):
        if key not in row:
            raise CutlineError(f"key '{key}' is missing")
    if isinstance(row["chips"], bool) or not isinstance(row["chips"], int) or not 0 <= row["chips"] <= MOST:
        raise CutlineError(f"chips must be a whole number of at least 0, without quotes; got {row['chips']!r}")
    for key in ("chip", "network", "stack", "precision"):
        if key in row and not isinstance(row[key], str):
            raise CutlineError(f"{key} must be text in quotes; got {row[key]}")
    part = chip(row["chip"])
    facts = dict(part.facts)
    given = Source("fleet-file", "given", f"given in {path.name}", "", "", "", "by the user")
    for key, (field, item, unit, example) in KEYS.items():
        if key in row:
            text, _, printed = str(row[key]).strip().partition(" ")
            if not (printed or unit):
                raise CutlineError(f"{key} needs a unit, such as {example}; got {row[key]!r}")
            try:
                claim = claim_of("chips", part.name, field, item, text, printed or unit, given)
            except CutlineError as error:
                raise CutlineError(f"{key} must be such as {example}; got {row[key]!r} ({error})") from None
            if not float(claim.value) > 0 or (key == "rent" and not printed.endswith("/h")):
                raise CutlineError(f"{key} must be above 0, such as {example}; got {row[key]!r}")
            facts[field, item] = claim
    network = row.get("network")
    return Group(
        Chip(part.name, facts), row["chips"], None if network is None else network_said(network, "network"), row.get("stack"),
        row["precision"].strip().casefold() if "precision" in row else None,
    )  # fmt: skip


def _link(path: Path, number: int, row: dict[str, Any], known: dict[str, str]) -> Link:
    """Return one link of a file."""
    what = f"between {number}"
    _keys(path, what, row, ("groups", "network", "transport"))
    names = row.get("groups", [])
    found = set()
    for name in names if isinstance(names, list) else [names]:
        spelt, nth = (m[1], m[2]) if (m := re.fullmatch(r"(.*?)\s*(\(\d+\))", str(name))) else (str(name), "")
        label = known.get(plain(str(name))) or known.get(plain(f"{chip(spelt).name} {nth}"))
        if label is None:
            raise DataError(
                path.name, None, f"{what}: no group is named '{name}'; groups are {', '.join(known.values())}"
            )
        found.add(label)
    if len(found) != 2:
        raise DataError(path.name, None, f"{what}: groups must name two groups; got {names}")
    transport = row.get("transport", "")
    if transport not in ("", *TRANSPORTS):
        raise DataError(path.name, None, f"{what}: transport must be one of {', '.join(TRANSPORTS)}; got '{transport}'")
    network = row.get("network")
    if network is not None and transport == "none":
        raise DataError(path.name, None, f"{what}: transport none has no network; leave one of them out")
    if network is not None:
        try:
            network_said(network, "network")
        except CutlineError as error:
            raise DataError(path.name, None, f"{what}: {error}") from None
    return Link(frozenset(found), network, transport)


TRANSPORTS = ("direct", "host", "none")
"""Ways between two groups: from chip to chip by one library, staged through host memory, or not at all."""


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


def _count(text: str, whole: str, least: int = 1) -> int:
    scale = {"k": 1000, "K": 1000, "M": 1_000_000}.get(text[-1], 1)
    try:
        number = float(text.rstrip("kKM").replace(",", "").replace("_", "")) * scale
    except ValueError:
        raise CutlineError(f"fleet '{whole}': '{text}' is not a count; {EXAMPLE}") from None
    if number < least or number % 1:
        raise CutlineError(f"fleet '{whole}': chips must be a whole number of at least {least}; got {text}")
    if number > MOST:
        raise CutlineError(f"fleet '{whole}': at most {MOST:,} chips; got {text}")
    return int(number)
