"""Predict expressed rows of local engines, all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cutline.core.numerics import Array
from cutline.serve import local
from cutline.serve.express import Ask
from cutline.serve.local import Body, LocalConstants, Machine


@dataclass
class LocalTable:
    """Columns of many rows of local engines."""

    asks: list[Ask]
    body: Body
    machine: Machine
    kinds: list[tuple[str, str]]
    input: Array
    output: Array


def unit_of(ask: Ask) -> str:
    """Return which unit of a machine ran a row: gpu, cpu or npu."""
    if ask.kind == "npu":
        return "npu"
    words = ask.row["device"].casefold()
    return "cpu" if local.is_processor(ask.chip) or " cpu" in words or words.startswith("cpu") else "gpu"


def columns(asks: list[Ask]) -> LocalTable:
    """Return the columns of many rows."""
    bodies, machines, kinds = [], [], []
    for ask in asks:
        unit = unit_of(ask)
        cache = local.gguf_bits(ask.row["kv_precision"]) or 16.0
        bodies.append(
            local.body(ask.model, ask.load["bits"], cache, unit == "npu" and ask.row["weight_precision"] == "w4")
        )
        machines.append(local.machine(ask.chip, ask.chips, unit))
        kinds.append((unit, ask.chip.text("maker")))
    body = Body(*list(np.array(bodies, float).T))
    machine = Machine(*list(np.array(machines, float).T))
    return LocalTable(
        asks, body, machine, kinds, np.array([a.load["input"] for a in asks], float), np.array([a.load["output"] for a in asks], float)
    )  # fmt: skip


def constants_of(t: LocalTable, without: str = "shipped") -> LocalConstants:
    """Return the constants of every row."""
    cache = {k: local.constants(*k, without) for k in set(t.kinds)}
    return LocalConstants(**{f: np.array([getattr(cache[k], f) for k in t.kinds], float) for f in local.FIELDS})


def predict(t: LocalTable, c: LocalConstants) -> Array:
    """Return the predicted value of each row in the unit of its metric."""
    context = t.input + 0.5 * t.output
    step = local.decode_s(t.body, t.machine, c, context)
    prompt = local.prompt_s(t.body, t.machine, c, t.input)
    out = np.empty(len(t.asks))
    for i, ask in enumerate(t.asks):
        out[i] = {
            "decode_tok_s": 1.0 / step[i], "prefill_tok_s": t.input[i] / prompt[i], "ttft_ms": 1e3 * prompt[i], "tpot_ms": 1e3 * step[i],
            "total_output_tok_s": t.output[i] / (prompt[i] + t.output[i] * step[i]),
        }[ask.metric]  # fmt: skip
    return out
