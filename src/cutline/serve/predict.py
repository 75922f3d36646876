"""Predict expressed rows: columns for all of them at once, and for rows without a layout the best one that fits."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np

from cutline.core.numerics import Array
from cutline.facts.chips import Chip, chip
from cutline.plan import machine
from cutline.plan.constants import constants as training
from cutline.plan.stacks import STACKS
from cutline.serve import constants as table
from cutline.serve import formats
from cutline.serve.body import body, other_bytes
from cutline.serve.closed import closed, saturated
from cutline.serve.columns import Body, Constants, Engine, Formats, Layout, Load, Rates
from cutline.serve.express import Ask
from cutline.serve.express_served import chips_of

MOST_TP = 16.0
NVLINK = 450e9


def rates(part: Chip, chips: float) -> Rates:
    """Return the rates of a chip in a fleet of so many."""
    domain, up, mesh = machine.scale_up(part, chips)
    up = up / max(domain - 1.0, 1.0) if mesh else up
    return Rates(
        memory_bytes=machine.dram_bytes(part), memory_bytes_per_s=part.get("memory_rate"), up_bytes_per_s=up,
        out_bytes_per_s=part.get("link", "scale-out", 12.5e9), domain=domain, sustained=sustained(part.name),
    )  # fmt: skip


@functools.cache
def sustained(name: str) -> float:
    """Return what a part's power budget leaves of large products, over what that of its family's part of reference leaves.

    H20 has a seventh of the peak at nearly the power of an H100, and keeps its clock; see `physics.power`.
    """
    part = chip(name)
    c = training(STACKS["typical"], part.text("family"), "bf16")
    scaled = machine.power_scaled(c, *machine.power_factor_inputs(part))
    return float(scaled.gemm_gain / c.gemm_gain)


@dataclass
class Table:
    """Columns of many rows, and which row each belongs to."""

    asks: list[Ask]
    at: Array  # row of `asks` of each column entry
    body: Body
    formats: Formats
    layout: Layout
    rates: Rates
    engine: Engine
    load: Load
    other: Array
    replicas: Array
    chips: Array
    sent: Array
    flood: Array
    metric: Array
    spans: list[tuple[int, int]]

    @property
    def keys(self) -> list[tuple[str, str, str]]:
        """(family, engine, launch) of each entry: what picks its constants."""
        return [
            (a.chip.text("family"), a.engine.name, launch_of(a)) for a in (self.asks[i] for i in self.at.astype(int))
        ]


def launch_of(ask: Ask) -> str:
    """Return how kernels are launched: as the engine does, by the host where a row says so."""
    words = ask.row.get("note", "").casefold()
    if "enforce-eager" in words or "launch eager" in words:
        return "eager"
    if "launch graph" in words:
        return "graph"
    return ask.engine.launch


def layouts_of(ask: Ask) -> list[dict[str, float]]:
    """Return the layouts to try: the row's own, else all tp and pp in powers of two that its chips allow."""
    if ask.layout:
        return [ask.layout]
    n, out = ask.chips, []
    for tp in (1.0, 2.0, 4.0, 8.0, 16.0):
        for pp in (1.0, 2.0, 4.0):
            if n % (tp * pp) == 0 and tp <= MOST_TP:
                out.append({"tp": tp, "dp": 1.0, "pp": pp, "ep": 1.0})
    if ask.model.experts:
        out += [
            {"tp": 1.0, "dp": dp, "pp": 1.0, "ep": dp} for dp in (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 72.0) if n % dp == 0
        ]
    return out or [{"tp": n, "dp": 1.0, "pp": 1.0, "ep": 1.0}]


def columns(asks: list[Ask]) -> Table:
    """Return the columns of many rows, one entry for each layout to try."""
    at, rows = [], []
    for i, ask in enumerate(asks):
        for lay in layouts_of(ask):
            at.append(i)
            rows.append(_entry(ask, lay))
    stack: dict[str, Any] = {}
    for name, kind in (
        ("body", Body),
        ("formats", Formats),
        ("layout", Layout),
        ("rates", Rates),
        ("engine", Engine),
        ("load", Load),
    ):
        stack[name] = kind(**{f.name: np.array([getattr(r[name], f.name) for r in rows], float) for f in fields(kind)})
    numbers: dict[str, Any] = {k: np.array([r[k] for r in rows], float) for k in ("other", "replicas", "chips", "sent")}
    flood = np.array([asks[i].kind in ("offline", "flood") for i in at])
    metric = np.array([STATIC if asks[i].kind == "static" else METRICS.index(asks[i].metric) for i in at])
    ends = np.searchsorted(at, np.arange(len(asks) + 1))
    spans = [(int(a), int(b)) for a, b in pairwise(ends)]
    return Table(asks, np.array(at, float), **(stack | numbers), flood=flood, metric=metric, spans=spans)


def _entry(ask: Ask, lay: dict[str, float]) -> dict[str, Any]:
    wide = lay["tp"] * lay["dp"] * lay["pp"]
    replicas = max(1.0, ask.chips // wide)
    load = ask.load
    fmt = formats.columns(ask.formats, ask.chip)
    return {
        "body": body(ask.model), "formats": fmt, "layout": Layout(**lay), "rates": rates(ask.chip, ask.chips), "engine": ask.engine.columns(),
        "load": Load(
            load["concurrency"] / replicas, load["input"], load["output"], load.get("cached", 0.0), load.get("waves", 10.0),
            load.get("drafts", 0.0), load.get("accepted", 0.0), load.get("longest", 0.0),
            load.get("lasts_s", 0.0),
        ),
        "other": other_bytes(ask.model), "replicas": replicas, "chips": chips_of(ask), "sent": load.get("sent", load["concurrency"]) / replicas,
    }  # fmt: skip


def constants_of(t: Table, without: str = "shipped", changes: dict[str, float] | None = None) -> Constants:
    """Return the constants of every entry."""
    cache: dict[tuple[str, str, str], Constants] = {}
    parts = []
    for key in t.keys:
        if key not in cache:
            cache[key] = table.constants(*key, without, changes)
        parts.append(cache[key])
    return table.stacked(parts)


METRICS = ("ttft_ms", "tpot_ms", "total_output_tok_s", "decode_tok_s", "prefill_tok_s")
STATIC = len(METRICS)
"""Place of the first token of a prompt run alone, without a server: its products, one reading of the weights, its launches."""


def predict(t: Table, c: Constants) -> Array:
    """Return the predicted value of each row in the unit of its metric."""
    args = (t.body, t.formats, t.layout, t.rates, c, t.engine, t.other)
    served = closed(t.load, *args)
    rate = served.tokens_per_s
    if t.flood.any():
        full = saturated(t.load.replace(concurrency=np.where(t.flood, t.sent, t.load.concurrency)), *args)
        rate = np.where(t.flood, full.tokens_per_s, rate)
    share = t.chips / (t.layout.tp * t.layout.dp * t.layout.pp)
    rate = rate * share
    prefill = share * t.load.input / np.maximum(served.prompt_s, 1e-12)
    values = np.stack(
        [
            1e3 * served.ttft_s,
            1e3 * served.tpot_s,
            rate,
            np.where(t.load.concurrency <= 1.0, 1.0 / served.tpot_s, rate),
            prefill,
            1e3 * (served.prompt_s + served.step.total_s - served.step.host_s),
        ]
    )
    value = values[t.metric, np.arange(len(t.at))]
    good = np.where(served.fits, rate, -1.0 / (1.0 + rate))
    best = np.array([a + int(np.argmax(good[a:b])) if b > a + 1 else a for a, b in t.spans])
    return np.asarray(value[best])
