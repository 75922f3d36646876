"""What people call models: from a repository's name, a file's or a benchmark's to the catalogue's."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import replace

from cutline.facts import reader
from cutline.facts.models import Model, model, parameters

OWNERS = r"^(meta|nvidia|qwen|google|microsoft|ibm|openai|zai|allenai|arcee-ai|mistralai|unsloth|ibm-granite)[_-]"
SPELT: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"^llama[ -]?v?(\d)[ .]?(\d)?[ -]", lambda m: f"llama-{m[1]}{'.' + m[2] if m[2] else ''}-"),
    (r"^llama (\d+b)( v2)?$", lambda m: f"llama-2-{m[1]}" if m[2] else f"llama-{m[1]}"),
    (r"^meta-llama", lambda m: "llama"),
    (r"^gemma(\d)", lambda m: f"gemma-{m[1]}"),
    (r"^falcon[ -]?v?3", lambda m: "falcon3"),
    (r"^deepseek[ -](r1|v3)\b.*", lambda m: "deepseek-v3" if m[1] == "r1" or "3.2" not in m[0] else "deepseek-v3.2"),
)
"""Spellings of families: pattern, and the catalogue's way to write it."""
SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s?([bmt])(?![a-z])(?:[-_]?a(\d+(?:\.\d+)?)b)?", re.I)


@functools.cache
def found(name: str) -> str | None:
    """Return the catalogue's name of a model that somebody calls `name`, or None.

    The owner, the way it was tuned, its quantisation and its file type are left away, a word at a time from the end.

    Examples
    --------
    >>> found("unsloth/Qwen3-8B-Instruct-Q4_K_M.gguf"), found("LLaMA v3.1 70B"), found("nobody/else")
    ('qwen3-8b', 'llama-3.1-70b', None)
    """
    text = re.sub(r"\.gguf$", "", name.strip(), flags=re.I).rsplit("/", 1)[-1].strip()
    text = re.sub(r"\(.*?\)", "", text).strip()
    hit = _spelt(text)
    stated = sized(text)
    if hit is None or stated is None:
        return hit
    size = next((total for other, total, _ in known() if other == hit), stated[0])
    return hit if 0.7 < size / stated[0] < 1.4 else None


def _spelt(text: str) -> str | None:
    """Return the catalogue's name for the longest part of a name that it knows."""
    table = reader.table("models")
    starts = [text, re.sub(OWNERS, "", text, flags=re.I)]
    starts = [
        re.sub(p, to, s.casefold()) for s in list(starts) for p, to in SPELT if re.search(p, s.casefold())
    ] + starts
    for start in starts:
        words = re.split(r"[-_: ]", start)
        for n in range(len(words), 0, -1):
            hit = table.known("-".join(words[:n]))
            if hit is not None:
                return hit
    return None


def sized(name: str, params: str = "") -> tuple[float, float] | None:
    """Return (all, active) parameters that a name or a cell such as `35B-A3B` states, or None.

    The name comes first: tables hold parsed sizes that are often those of another word.
    """
    for text in (name.rsplit("/", 1)[-1], params):
        match = SIZE.search(text.replace("_", "-"))
        if match:
            scale = {"b": 1e9, "m": 1e6, "t": 1e12}[match[2].casefold()]
            total = float(match[1]) * scale
            if total >= 2e7:
                return total, float(match[3]) * 1e9 if match[3] else total
    return None


@functools.cache
def catalogued(name: str) -> Model:
    """Return a model of the catalogue, built once."""
    return model(name)


@functools.cache
def known() -> tuple[tuple[str, float, float], ...]:
    """Return (name, all, active parameters) of every language model of the catalogue."""
    out = []
    for name in reader.table("models"):
        m = model(name)
        if m.kind != "dit":
            p = parameters(m)
            out.append((name, float(p.total), float(p.active)))
    return tuple(out)


def like(total: float, active: float) -> Model:
    """Return a model of about this size: the catalogue's nearest of its kind, its widths kept and its layers scaled."""
    sparse = active < 0.8 * total
    pool = [k for k in known() if (k[2] < 0.8 * k[1]) == sparse]
    name, size, _ = min(pool, key=lambda k: abs(k[1] / total - 1.0) + abs(k[2] / active - 1.0))
    near = model(name)
    layers = max(1, round(near.layers * total / size))
    if layers == near.layers or near.linear_layers or near.window_layers:
        return near
    dense = min(near.dense_layers, layers) if near.experts else layers
    return replace(near, name=f"like {name}", layers=layers, dense_layers=dense, attention_layers=0, moe_layers=0)
