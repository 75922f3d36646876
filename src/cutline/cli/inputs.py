"""From words of the command line to arguments; refuses with the name of the option."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cutline.core.errors import CutlineError, DataError, UnknownName, suggestions
from cutline.core.units import count

if TYPE_CHECKING:
    from cutline.facts.models import Model
    from cutline.plan.fleet import Fleet
    from cutline.plan.stacks import Stack

MOST = 1e18
"""No count of a training run is larger; a number above it is a slip."""
MULTIPLIERS = (0.1, 10.0)
"""Range of a calibrated multiplier; one outside it says that the rows were not what they seemed."""


class Chosen(NamedTuple):
    """A software stack and its calibrated multipliers, as `--stack` names them."""

    stack: Stack | None
    changes: dict[str, float] | None
    about: dict[str, Any] | None
    """the content of the stack file, if it was one"""
    residual: float | None = None
    """what the calibration left on its own rows (root mean square, log)"""


def number(text: str | None, option: str, most: float = MOST) -> float | None:
    """Read a count above 0 such as `1.4T`, or None; the message of a refusal names the option.

    Examples
    --------
    >>> number("1.4T", "--tokens"), number(None, "--tokens")
    (1400000000000.0, None)
    """
    if text is None:
        return None
    found = count(text, option)
    if not math.isfinite(found) or found > most:
        raise CutlineError(f"{option} must be at most {most:.0e}; got '{text}'")
    return found


def whole(text: str, option: str, most: float = 1e12) -> int:
    """Read a whole number above 0, suffixes allowed.

    Examples
    --------
    >>> whole("4k", "--seq")
    4000
    """
    if text.strip().startswith("-"):
        raise CutlineError(f"{option} must be a whole number above 0; got '{text}'")
    found = number(text, option)
    assert found is not None
    if found % 1:
        raise CutlineError(f"{option} must be a whole number; got '{text}'")
    if found > most:
        raise CutlineError(f"{option} must be at most {most:,.0f}; got '{text}'")
    return int(found)


def decimal(text: str | None, option: str) -> float | None:
    """Read a number above 0 with decimals, powers of ten and suffixes, such as `30`, `1.25` or `3.8e25`; or None.

    Examples
    --------
    >>> decimal("3.8e25", "--flop"), decimal("0.5", "--days")
    (3.8e+25, 0.5)
    """
    if text is None:
        return None
    try:
        found = float(text)
    except ValueError:
        found = count(text, option)
    if not math.isfinite(found) or found <= 0:
        raise CutlineError(f"{option} must be a number above 0; got '{text}'")
    return found


def share(text: str | None, option: str) -> float | None:
    """Read a share from 0 to 2, or `balanced` for 0; or None.

    Examples
    --------
    >>> share("balanced", "--routing"), share("0.2", "--routing")
    (0.0, 0.2)
    """
    if text is None:
        return None
    if text.strip().casefold() == "balanced":
        return 0.0
    try:
        found = float(text)
    except ValueError:
        raise CutlineError(f"{option} must be balanced or a share such as 0.2; got '{text}'") from None
    if not 0 <= found <= 2:
        raise CutlineError(f"{option} must be between 0 and 2; got '{text}'")
    return found


def names(text: str | None, option: str) -> list[str]:
    """Read a list of parts joined by commas; every one is known.

    Examples
    --------
    >>> names("h20, A100-SXM-80GB", "--compare")
    ['H20', 'A100-SXM-80GB']
    """
    from cutline.facts.chips import chip

    if text is None:
        return []
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise CutlineError(f"{option} must name parts joined by commas, such as A800,H20; got '{text}'")
    return [chip(name).name for name in found]


def one_of(text: str, option: str, allowed: tuple[str, ...]) -> str:
    """Return the one of `allowed` that `text` spells, in any case."""
    word = text.strip().casefold()
    if word not in allowed:
        close = suggestions(word, allowed, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise CutlineError(f"{option} must be one of {', '.join(allowed)}; got '{text}'{hint}")
    return word


def model_named(name: str) -> Model:
    """Return the catalogue's model `name`, or the one that a `config.json` or its folder describes."""
    from cutline.facts.models import model

    if is_file(name):
        from cutline.formats.huggingface import read_config

        return read_config(name)
    return model(name)


def is_file(name: str) -> bool:
    """Return whether `name` means a configuration file and not a model of the catalogue."""
    from cutline.facts import reader

    if not name.strip():
        raise CutlineError(f"MODEL must be a model's name or the path of a config.json; got '{name}'")
    try:
        reader.table("models").resolve(name)
    except UnknownName:
        return name.casefold().endswith(".json") or Path(name).exists()
    return False


def fleet(text: str) -> Fleet:
    """Return the fleet that the words of `--on` mean, or that a file describes."""
    from cutline.plan import fleet

    if text.strip().casefold().endswith(".toml"):
        return fleet.read_fleet(Path(text.strip()))
    return fleet.fleet(text)


def by_group(text: str | None, groups: Fleet, option: str) -> dict[str, str]:
    """Read a value of an option for every group: one for all, or `GROUP: VALUE` joined by commas, one without a group for the rest.

    Raises
    ------
    CutlineError
        For a group that the fleet does not have, or one named twice.
    """
    if text is None:
        return {}
    from cutline.facts.reader import plain

    labels = [g.label for g in groups]
    if len(labels) == 1 or ":" not in text:
        return dict.fromkeys(labels, text)
    found: dict[str, str] = {}
    rest = None
    known = {plain(n): g.label for g in groups for n in (g.label, g.chip.name)}
    for part in text.split(","):
        name, colon, value = part.rpartition(":")
        if not colon:
            rest = part.strip()
            continue
        label = known.get(plain(name)) or known.get(plain(_chip_name(name)))
        if label is None:
            raise CutlineError(
                f"{option} names '{name.strip()}', which is not in the fleet; groups are {', '.join(labels)}"
            )
        if label in found:
            raise CutlineError(f"{option} names {label} twice; got '{text}'")
        if not value.strip():
            raise CutlineError(f"{option} says nothing of {label}; write '{label}: VALUE'; got '{text}'")
        found[label] = value.strip()
    if rest is not None:
        found = dict.fromkeys(labels, rest) | found
    return found


def _chip_name(name: str) -> str:
    from cutline.facts.chips import chip

    try:
        return chip(name).name
    except UnknownName:
        return ""


def network(text: str | None, option: str = "--network") -> str | None:
    """Return the words of an option if they say a rate without doubt."""
    from cutline.plan.machine import network_said

    return None if text is None else network_said(text, option)


def stack_named(text: str | None) -> Chosen:
    """Return the stack of a name, or of a file that `cutline calibrate` has written."""
    from cutline.plan.stacks import STACKS

    if text is None:
        return Chosen(None, None, None)
    if not text.strip():
        raise CutlineError(
            f"--stack must be one of {', '.join(STACKS)}, or a .toml file of `cutline calibrate`; got '{text}'"
        )
    known = STACKS.get(text.strip().casefold())
    if known is not None:
        return Chosen(known, None, None)
    if text.casefold().endswith(".toml") or Path(text).exists():
        content = read_stack(Path(text))
        return Chosen(STACKS[content["base"]], content["multipliers"], content, content["residual"])
    close = suggestions(text, STACKS)
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    raise CutlineError(
        f"no stack named '{text}'.{hint} --stack takes {', '.join(STACKS)}, or a .toml file of `cutline calibrate`"
    )


def read_stack(path: Path) -> dict[str, Any]:
    """Read and check a stack file: `name`, `base`, `calibrated_on` and the table `multipliers`.

    Raises
    ------
    DataError
        With the file, the key, the rule and the value.
    """
    import tomllib

    from cutline.plan.fitting import CALIBRATED
    from cutline.plan.stacks import STACKS

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(str(path), None, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(path.name, None, "not UTF-8 text; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise DataError(path.name, None, f"not readable as TOML: {error}") from None
    keys = ("name", "base", "calibrated_on", "residual", "multipliers")
    _known_keys(path, "key", content, keys)
    for key in ("base", "multipliers"):
        if key not in content:
            raise DataError(path.name, None, f"key '{key}' is missing; `cutline calibrate` writes such files")
    if content["base"] not in STACKS:
        raise DataError(path.name, None, f"base must be one of {', '.join(STACKS)}; got '{content['base']}'")
    multipliers = content["multipliers"]
    if not isinstance(multipliers, dict):
        raise DataError(path.name, None, f"multipliers must be a table [multipliers]; got '{multipliers}'")
    _known_keys(path, "multiplier", multipliers, tuple(CALIBRATED))
    low, high = MULTIPLIERS
    for name, value in multipliers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
            rule = f"a number above {low:g} and below {high:g}"
            raise DataError(path.name, None, f"multiplier {name} must be {rule}; got {value}")
    left = content.get("residual", 0.0)
    if isinstance(left, bool) or not isinstance(left, int | float) or not 0 <= left < high:
        raise DataError(path.name, None, f"residual must be a number of at least 0 and below {high:g}; got {left}")
    return content | {"multipliers": {k: float(v) for k, v in multipliers.items()}, "residual": float(left)}


def _known_keys(path: Path, what: str, given: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            rule = f"it must be one of {', '.join(known)}"
            raise DataError(path.name, None, f"{what} '{key}' is not known; {rule}")
