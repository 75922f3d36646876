"""Reads a Hugging Face `config.json` into a `Model`.

Dispatches on `model_type`. Keys that the file leaves out take the default of the configuration class;
names of transformers 4 and 5 are both read; a nested `text_config` is laid over the top level. A key that the
family's reader did not read, and that looks as if it changed the shape, is refused: a wrong shape that looks
right is worse than none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cutline.core.errors import CutlineError, suggestions
from cutline.facts.models import Model, build
from cutline.formats.huggingface_defaults import DEFAULTS
from cutline.formats.huggingface_families import FAMILIES, REFUSED
from cutline.formats.huggingface_keys import Keys, short

TEXT = {
    "gemma3": "gemma3_text",
    "llama4": "llama4_text",
    "minimax_m3_vl": "minimax_m3",
    "qwen3_vl_moe_text": "qwen3_moe",
    "qwen3_vl_text": "qwen3",
}
"""model_type of a model with pictures, or of its language part -> the family that has that shape."""


class Reading(NamedTuple):
    """What was made of a configuration file."""

    model: Model
    used: dict[str, Any]
    """keys of the file that gave the shape"""
    assumed: dict[str, Any]
    """keys that the file leaves out -> the class default that was taken"""


def read_config(source: str | Path | Mapping[str, Any]) -> Model:
    """Read a Hugging Face configuration into a Model.

    Parameters
    ----------
    source : path or dict
        A `config.json`, the folder that holds it, or its content.

    Returns
    -------
    Model
        Named after the file (`tiny_config.json`), its folder, or `_name_or_path`; no sources.

    Raises
    ------
    CutlineError
        In one sentence: the file, the key, the rule, the value, the cure. Families and attention keys that
        Cutline does not know are refused, not guessed.

    Notes
    -----
    Text only: towers for pictures and sound are left out. `reading` also says which keys were used.

    Examples
    --------
    >>> tiny = {"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16, "vocab_size": 128256}
    >>> read_config(tiny | {"num_key_value_heads": 8}).head_dim
    64
    """
    return reading(source).model


def reading(source: str | Path | Mapping[str, Any]) -> Reading:
    """Read a configuration as `read_config` does; say also which keys were used, which defaults assumed."""
    config, file, name = load(source)
    nested = config.get("text_config")
    if nested is not None and not isinstance(nested, dict):
        raise CutlineError(f"{file}: key 'text_config' must be an object; got {short(nested)}")
    family = (nested or {}).get("model_type", config.get("model_type"))
    config = {k: v for k, v in config.items() if k != "text_config"} | (nested or {})
    if family is None:
        raise CutlineError(f'{file}: key \'model_type\' is missing; add it, for instance "model_type": "llama"')
    if not isinstance(family, str):
        raise CutlineError(f"{file}: key 'model_type' must be a word; got {short(family)}")
    family = TEXT.get(family, family)
    if family in REFUSED:
        line = ", ".join(f for f in FAMILIES if f[:4] == family[:4])
        hint = f"; of this line it can hold {line}" if line else ""
        raise CutlineError(
            f"{file}: model_type '{family}' is not supported: it has {REFUSED[family]}, which a Cutline "
            f"model cannot hold{hint}"
        )
    if family not in FAMILIES:
        close = suggestions(family, FAMILIES)
        hint = f" Did you mean {', '.join(close)}?" if close else ""
        raise CutlineError(f"{file}: model_type '{family}' is not known.{hint} Known: {', '.join(FAMILIES)}")
    keys = Keys(config, DEFAULTS.get(family, {}), file, family)
    shape = FAMILIES[family](keys)
    keys.refuse_rest()
    used = {k: v for k, v in keys.used.items() if v is not None}
    return Reading(build(name, shape, (), file), used, keys.assumed)


def load(source: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], str, str]:
    """Return the configuration, what messages call its file, and the model's name."""
    if isinstance(source, Mapping):
        config = dict(source)
        return config, "config.json", str(config.get("_name_or_path") or config.get("model_type") or "model")
    path = Path(source)
    if path.is_dir():
        path = path / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise CutlineError(f"{path}: no such file; give a config.json or the folder that holds it") from None
    except OSError as error:
        raise CutlineError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CutlineError(f"{path.name}: not UTF-8 text; save it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise CutlineError(f"{path.name}:{error.lineno}: not readable as JSON: {error.msg}") from None
    except (RecursionError, ValueError):
        rule = "nested too deep, or a number of too many digits"
        raise CutlineError(f"{path.name}: not readable as JSON: {rule}") from None
    if not isinstance(content, dict):
        raise CutlineError(f"{path.name}: must hold one JSON object; got {short(content)}")
    stem = path.stem.removesuffix("config").rstrip("_-.")
    return content, path.name, stem or _folder(path) or str(content.get("_name_or_path") or "config.json")


def _folder(path: Path) -> str:
    """Return the name of the file's folder, or nothing if it looks like a passing one: `x`, `tmp`, `tmpk3f2`."""
    name = path.resolve().parent.name
    return "" if len(name) < 2 or re.fullmatch(r"te?mp([._-].*|\w*\d\w*)?", name.casefold()) else name
