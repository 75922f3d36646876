"""Reads the shape of the model that a row of a measurement table is about: from its cells, or from the catalogue."""

from __future__ import annotations

import math
import re

from cutline.core.errors import CutlineError
from cutline.facts.models import Model, model
from cutline.plan.shapes import shape_of

Row = dict[str, str]


class Skip(Exception):
    """A row that the model cannot express; the text says why."""


def number(row: Row, column: str, default: float | None = None) -> float:
    """Read a positive number; blank gives the default, or skips the row."""
    text = row.get(column, "").strip()
    if not text:
        if default is None:
            raise Skip(f"{column} is blank")
        return default
    try:
        found = float(text)
    except ValueError:
        raise CutlineError(f"{column} must be a number; got '{text}'") from None
    if not math.isfinite(found) or found <= 0:
        raise CutlineError(f"{column} must be above 0; got '{text}'")
    return found


def named(row: Row) -> Model | None:
    """Return the catalogue's model of a row's name, or None."""
    name = row.get("model", "").strip()
    for text in (
        name,
        re.sub(r"\s*\(.*\)", "", name).strip().replace(" ", "-"),
        re.sub(r"\s*\(.*\)", "", name).strip(),
    ):
        try:
            return model(text)
        except CutlineError:
            continue
    return None


def _catalogue_shape(row: Row, assumed: list[str]) -> dict[str, float] | None:
    """Return the shape of the named model where the row itself does not give one, or cannot: not a dense decoder."""
    printed = bool(row.get("layers", "").strip() and row.get("hidden", "").strip())
    m = named(row)
    plain = m is None or (m.kind == "dense" and not m.latent and not m.linear_layers)
    if printed and (plain or row.get("arch", "").strip().casefold() == "dense"):
        return None
    if m is None:
        raise Skip(f"layers and hidden are blank, and no model named '{row.get('model', '')}' is known")
    assumed.append(f"shape of {m.name}")
    found = shape_of(m, int(_seq(row, assumed, m.context))).row()
    layers = number(row, "layers", float(m.layers))
    if layers != m.layers:  # a model cut to fewer layers, of which one leading dense layer is left
        dense = min(m.dense_layers, 1.0 if found["lead"] else layers)
        cut = {"layers": layers, "lead": min(found["lead"], 1.0), "dense_layers": dense}
        cut["moe_layers"] = layers - cut["dense_layers"] if m.experts else 0.0
        found |= cut
    return found | {"vocab": number(row, "vocab", float(m.vocab) or -1.0) if m.vocab else 0.0}


def _seq(row: Row, assumed: list[str], context: int) -> float:
    """Return the sequence length; the model's own pre-training length where the row does not say."""
    if not row.get("seq_len", "").strip() and context:
        assumed.append(f"seq_len {context} (as pre-trained)")
        return float(context)
    return number(row, "seq_len")


def shape(row: Row, job_assumed: list[str]) -> dict[str, float]:
    """Return the columns of Shape that a row describes; what it does not say is filled and named in `job_assumed`."""
    known = _catalogue_shape(row, job_assumed)
    if known is not None:
        return known
    layers, hidden = number(row, "layers"), number(row, "hidden")
    heads = number(row, "heads", -1.0)
    if heads < 0:
        heads = max(1.0, round(hidden / 128))
        job_assumed.append(f"heads {heads:g} (of width 128)")
    head_dim = number(row, "head_dim", hidden / heads)
    kv = number(row, "kv_heads", -1.0)
    if kv < 0:
        kv = heads
        job_assumed.append("kv_heads = heads")
    llama = bool(
        re.search(
            r"llama|qwen|mistral|baichuan|internlm|\byi\b|^yi|glm|telechat|deepseek|gemma|\bphi",
            row.get("model", ""),
            re.I,
        )
    )
    ffn = number(row, "ffn", -1.0)
    if ffn < 0:
        ffn = round(8 * hidden / 3 / 256) * 256 if llama else 4 * hidden
        job_assumed.append(f"ffn {ffn:g}")
    gated = 1.0 if llama and not re.search(r"mpt|gpt", row.get("model", ""), re.I) else 0.0
    vocab = number(row, "vocab", -1.0)
    if vocab < 0:
        vocab = 51200.0
        job_assumed.append("vocab 51200")
    tied = (
        1.0 if re.search(r"gpt|mpt|bloom|megatron|^\d|qwen2?-0\.5|qwen2?\.?-1\.5", row.get("model", ""), re.I) else 0.0
    )
    params = number(row, "params_total", 0.0 + 1e-9)
    if params > 1e6 and not llama:
        base = layers * (hidden * head_dim * (2 * heads + 2 * kv)) + vocab * hidden
        plain, with_gate = (abs(base + layers * hidden * ffn * k - params) for k in (2, 3))
        gated = 1.0 if with_gate < plain else 0.0
    return dict(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv,
        head_dim=head_dim,
        ffn=ffn,
        gated=gated,
        vocab=vocab,
        tied=tied,
        positions=0.0,
        seq=number(row, "seq_len"),
        **_experts(row, layers, ffn),
    )


def _experts(row: Row, layers: float, ffn: float) -> dict[str, float]:
    """Return the sparse part of a row that prints experts and top-k; its `ffn` is that of one expert."""
    if not row.get("experts", "").strip() and row.get("arch", "").strip().casefold() != "moe":
        return {}
    return {
        "experts": number(row, "experts"), "topk": number(row, "topk"), "expert_ffn": ffn, "moe_layers": layers, "dense_layers": 0.0,
    }  # fmt: skip
