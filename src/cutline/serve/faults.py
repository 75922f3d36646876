"""What cannot be a measurement of what its row states: repeats, loads that no chip could carry, hidden speculation.

Each rule looks at rows and data sheets, never at a prediction of this model.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from cutline.core.errors import CutlineError
from cutline.facts.models import parameters
from cutline.serve import formats
from cutline.serve.express import Ask

MOST_OF_PEAK = 0.75
"""Prompts and outputs of a run may take this share of the peak of its chips at most: no published run of a dense model reaches more."""
FALLS = 0.92
"""A time per token falls below this share only where more than one token came of a step."""


def mark(asks: list[Ask]) -> None:
    """Give rows their faults."""
    repeated(asks)
    by_run: dict[tuple[Any, ...], dict[str, Ask]] = defaultdict(dict)
    for ask in asks:
        by_run[_run(ask)][ask.metric] = ask
    for ask in asks:
        if ask.fault or ask.kind not in ("served", "disagg"):
            continue
        if ask.metric == "tpot_ms" and (share := _of_peak(ask)) > MOST_OF_PEAK:
            _both(
                by_run[_run(ask)],
                f"its prompts alone would take {100 * share:.0f} % of the peak: cached, or fewer at once",
            )
        elif ask.layout and ask.kind == "served" and _weights(ask) > 0.97:
            _both(by_run[_run(ask)], "weights do not fit the chips that it names")
    _speculation(asks, by_run)
    _local(asks)


def repeated(asks: list[Ask]) -> None:
    """Mark rows that hold the same measurement again: equal value, metric, model, lengths, load."""
    seen: dict[tuple[Any, ...], Ask] = {}
    for ask in asks:
        r = ask.row
        key = (
            r["device"], r["model"], r["engine"], r["metric"], r["value"], r["batch_or_concurrency"], r["input_len"], r["output_len"],
        )  # fmt: skip
        first = seen.setdefault(key, ask)
        if first is not ask and not ask.fault:
            ask.fault = f"repeats {first.id}"


def _run(ask: Ask) -> tuple[Any, ...]:
    r = ask.row
    return (
        ask.kind, r["device"], r["n_devices"], r["engine"], r["engine_version"], r["model"], r["weight_precision"], r["tp"], r["ep"],
        r["batch_or_concurrency"], r["input_len"], r["output_len"], r["note"], r["source"],
    )  # fmt: skip


def _both(run: dict[str, Ask], fault: str) -> None:
    for ask in run.values():
        ask.fault = ask.fault or fault


def _of_peak(ask: Ask) -> float:
    """Return the share of the peak that the products of prompts and outputs of a run take, by its time per token."""
    p = parameters(ask.model)
    try:
        peak = max(formats.rate_of(ask.chip, f)[0] for f in (ask.formats.dense, ask.formats.experts))
    except CutlineError:
        return 0.0
    each = (1.0 + ask.load["input"] * (1.0 - ask.load.get("cached", 0.0)) / ask.load["output"]) * 2.0 * p.active
    rate = ask.load["concurrency"] / (1e-3 * ask.measured)
    return each * rate / (peak * ask.chips)


def _weights(ask: Ask) -> float:
    """Return the share of all memory that the weights alone fill."""
    from cutline.plan.machine import dram_bytes

    p = parameters(ask.model)
    size = p.total * formats.BITS[ask.formats.experts][0]
    return size / (ask.chips * dram_bytes(ask.chip))


def _local(asks: list[Ask]) -> None:
    """Mark prompts that ran far below their own quantised twin, and models that a machine must have swapped."""
    twins: dict[tuple[Any, ...], float] = {}
    for ask in asks:
        if ask.kind == "edge" and ask.metric == "prefill_tok_s" and ask.load["bits"] < 6:
            twins[ask.row["device"], ask.chips, ask.model.name, ask.load["input"]] = ask.measured
    for ask in asks:
        if ask.kind != "edge" or ask.fault:
            continue
        twin = twins.get((ask.row["device"], ask.chips, ask.model.name, ask.load["input"]))
        if ask.metric == "prefill_tok_s" and ask.load["bits"] > 12 and twin and ask.measured < 0.25 * twin:
            ask.fault = "a quarter of the rate of its own quantised twin, or less: not the same kernels"
        size = parameters(ask.model).total * ask.load["bits"] / 8.0
        if ask.chip.text("maker") == "Apple" and size > MOST_OF_RAM * _ram(ask):
            ask.fault = "the weights exceed what macOS lets a GPU hold of this memory: swapped"


MOST_OF_RAM = 0.75
"""Share of the memory of a Mac that its GPU may hold by default (llama.cpp discussion 2182: 2/3 to 3/4)."""


def _ram(ask: Ask) -> float:
    """Return the memory that a row's machine has: as its name says, else the part's largest. [bytes]"""
    said = re.search(r"(\d+) ?GB", ask.row["device"])
    return float(said[1]) * 2.0**30 if said else ask.chip.get("memory", default=1e15)


def _speculation(asks: list[Ask], by_run: dict[tuple[Any, ...], dict[str, Ask]]) -> None:
    """Mark runs in a sweep whose time per token falls with longer outputs, or with more requests: then a step brings several tokens."""
    sweeps: dict[tuple[Any, ...], list[Ask]] = defaultdict(list)
    for ask in asks:
        if ask.group == "silicon" and ask.kind == "served" and ask.metric == "tpot_ms" and not ask.fault:
            r = ask.row
            note = r["note"].split("; measured")[0]
            sweeps[
                r["device"],
                r["engine"],
                r["engine_version"],
                r["model"],
                r["weight_precision"],
                str(ask.layout),
                r["input_len"],
                note,
            ].append(ask)
    for members in sweeps.values():
        for a in members:
            for b in members:
                longer = (
                    b.load["output"] > 2.0 * a.load["output"] and a.load["concurrency"] == b.load["concurrency"] <= 8.0
                )
                fuller = b.load["concurrency"] > a.load["concurrency"] and b.load["output"] == a.load["output"]
                if (longer and b.measured < FALLS * a.measured) or (fuller and b.measured < 0.85 * a.measured):
                    _both(
                        by_run[_run(b if longer else a)],
                        "" if not longer else "its time per token falls with longer outputs: hidden speculation",
                    )
