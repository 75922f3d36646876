"""Rank and memory: is the best measured strategy among the first, and are bytes right where a source measured them?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cutline.core.errors import DataError
from cutline.core.numerics import Array
from cutline.facts import reader
from cutline.plan import constants as table
from cutline.plan import express, machine, memory
from cutline.plan.columns import Rates, Shape, Strategy
from cutline.plan.express import Job
from cutline.plan.express_shape import Skip, shape
from cutline.plan.stacks import stack_of

FEWEST = 4
"""Strategies of one job from which on it says something that the best is among three."""
MEMORY = reader.DATA / "measurements_memory.csv"


def sets(jobs: list[Job]) -> list[list[int]]:
    """Return the indices of rows that are one job under different strategies: same source, stack, fleet, shape, batch.

    Rows of one strategy are one row, its fastest; sets of fewer than FEWEST strategies are left out.
    """
    found: dict[Any, dict[Any, int]] = {}
    for i, j in enumerate(jobs):
        shape = tuple(sorted(j.shape.items()))
        key = (j.source, j.stack.name, j.chip, j.chips, j.precision, j.recipe, j.tokens, shape)
        one = found.setdefault(key, {})
        strategy = tuple(sorted(j.strategy.items()))
        if strategy not in one or j.measured_step_s < jobs[one[strategy]].measured_step_s:
            one[strategy] = i
    return [list(one.values()) for one in found.values() if len(one) >= FEWEST]


def ranks(jobs: list[Job], step_s: Array) -> list[dict[str, Any]]:
    """Return per group how predicted and measured order agree.

    Returns
    -------
    list of dict
        `group`, `sets`, `strategies` on average, `first` and `among_three` (shares of the sets whose best measured strategy the
        prediction puts first, and among its first three), `regret` (mean time of the predicted best over the measured best, less 1).
    """
    rows: dict[str, list[tuple[int, int, float]]] = {}
    measured = np.array([j.measured_step_s for j in jobs])
    for some in sets(jobs):
        order = np.argsort(step_s[some], kind="stable")
        best = int(np.argmin(measured[some]))
        place = int(np.flatnonzero(order == best)[0]) + 1
        regret = float(measured[some][order[0]] / measured[some].min() - 1.0)
        rows.setdefault(jobs[some[0]].group, []).append((len(some), place, regret))
    return [
        {
            "group": group, "sets": len(found), "strategies": float(np.mean([n for n, _, _ in found])),
            "first": float(np.mean([p == 1 for _, p, _ in found])), "among_three": float(np.mean([p <= 3 for _, p, _ in found])),
            "regret": float(np.mean([r for _, _, r in found])),
        }
        for group, found in sorted(rows.items())
    ]  # fmt: skip


def memory_rows(path: Path | None = None) -> list[dict[str, Any]]:
    """Return predicted beside measured bytes of the fullest chip for every row of a table of memory.

    `allocated` rows are what tensors hold, so the driver's share and the allocator's rounding are left out; `reserved` rows hold
    both. Micro-batches that a source does not print are 1.

    Raises
    ------
    DataError
        If a row names a kind other than allocated or reserved.
    """
    path = path or MEMORY
    out = []
    for line, row in reader.rows(path):
        if row["kind"] not in ("allocated", "reserved"):
            raise DataError(path.name, line, f"kind must be allocated or reserved; got '{row['kind']}'")
        try:
            predicted = _bytes(row)
        except Skip as why:
            raise DataError(path.name, line, str(why)) from None
        measured = float(row["value"]) * 2.0**30
        out.append(
            {"id": row["id"], "source": row["source"], "model": row["model"], "chip": row["chip"], "kind": row["kind"],
             "predicted_bytes": predicted, "measured_bytes": measured, "error": predicted / measured - 1.0}
        )  # fmt: skip
    return out


def _bytes(row: dict[str, str]) -> float:
    """Return the predicted bytes of one row, as its kind counts them."""
    assumed: list[str] = []
    part = express.part_of(row | {"chip_memory_gb": ""}, assumed)
    dense = row | {"metric": "", "note": row["note"], "arch": ""}
    shape_of_row = Shape(**shape(dense, assumed))
    compiled = "compile" in row["note"] and "no compile" not in row["note"]
    stack = stack_of(row["framework"], "compile" if compiled else "", part.text("family"), row["date"])
    narrow = "fp8" if "fp8" in row["precision"] or "float8" in row["precision"] else "bf16"
    rates: Rates = machine.rates(part, narrow, float(row["n_chips"]), balanced=True)
    tp, pp, cp, dp = (float(row[k] or 1) for k in ("tp", "pp", "cp", "dp"))
    micro = float(row["micro_batch"] or 1)
    layers = float(shape_of_row.layers)
    zero, _ = express.zero_of(row, stack)
    again = express.recompute_columns(
        "selective" if "selective" in row["recompute"] else "full" if "full" in row["recompute"] else "none"
    )
    s = Strategy(
        tp=tp, cp=cp, pp=pp, vpp=float(row["vpp"] or 1), dp=dp, micro_batch=micro,
        micro_batches=max(1.0, float(row["global_batch_seqs"] or dp) / dp / micro), zero=zero, shard=dp * cp,
        sequence_parallel=float(tp > 1), ep=float(row["ep"] or 1), **again, **express.layout_columns(layers, pp),
    )  # fmt: skip
    c = table.constants(stack, part.text("family"), narrow)
    found = {k: float(np.ravel(v)[0]) for k, v in memory.training_bytes(shape_of_row, rates, c, s).items()}
    total = found["memory_bytes"]
    if row["kind"] == "allocated":
        rounding = (found["activations_bytes"] + found["logits_bytes"]) * (1.0 - 1.0 / memory.FRAGMENTATION)
        total -= memory.RESERVE_BYTES + rounding
    return total
