"""How right: every measured row of serving that can be expressed, predicted blind or after five rows of its group.

Blind means that no row of the same source had a part in the constants: those of `serving_constants.csv` fitted without it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cutline.core.errors import CutlineError, DataError
from cutline.core.numerics import Array
from cutline.facts import reader
from cutline.serve import express, faults, fitting, interval
from cutline.serve.express import Ask, Skip
from cutline.serve.fitting import Problem

CATALOGUE = reader.DATA / "measurements_serving.csv"
GATED = (
    "time per output token", "time to first token", "offline tables, TensorRT-LLM", "MLPerf Offline", "llama.cpp decode",
    "llama.cpp prefill, one device", "phone NPU decode", "Ascend",
)  # fmt: skip
"""Families that have a bar; the others are reported."""


def load(path: Path | None = None) -> list[tuple[int, dict[str, str]]]:
    """Read a table of measured serving with its lines; the catalogue's own unless a file is given.

    Raises
    ------
    DataError
        If the file cannot be read, or a needed column is missing.
    """
    path = path or CATALOGUE
    rows: list[tuple[int, dict[str, str]]] = []
    for line, row in reader.rows(path):
        if not rows:
            missing = [c for c in express.COLUMNS if c not in row]
            if missing:
                raise DataError(
                    path.name,
                    1,
                    f"column {', '.join(missing)} is missing; docs/measurements.md has the columns of serving",
                )
        row.setdefault("engine_version", "")
        rows.append((line, row))
    if not rows:
        raise DataError(path.name, None, "the file holds no measurements")
    return rows


def expressed(rows: list[tuple[int, dict[str, str]]], file: str) -> tuple[list[Ask], list[dict[str, str]]]:
    """Express rows; return them, faults marked, and every row that was skipped with its reason."""
    asks, skipped = [], []
    for line, row in rows:
        try:
            asks.append(express.express(row, line))
        except (Skip, CutlineError) as why:
            skipped.append(
                {
                    "id": row.get("id") or f"line-{line}",
                    "source": row["source"],
                    "group": express.group_of(row["source"]),
                    "reason": str(why),
                }
            )
    if not asks:
        raise DataError(
            file, None, f"none of {len(rows)} rows can be expressed; the first says: {skipped[0]['reason']}"
        )
    faults.mark(asks)
    return asks, skipped


def score(
    path: Path | None = None,
    calibrate: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Predict every row of a table and compare.

    Parameters
    ----------
    path : Path, optional
        Table with the columns of docs/measurements.md, part "Serving"; the catalogue's own unless given.
    calibrate : int
        Fit factors on so many rows of each source, engine and chip, and score the others; 0 scores all blind.

    Returns
    -------
    dict
        `rows`, `summary`, `skipped`, `answered`; keys as in docs/json.md.
    """
    if calibrate < 0 or calibrate == 1:
        raise CutlineError(f"calibrate must be 0 or at least 2 rows; got {calibrate}")
    given = load(path)
    asks, skipped = expressed(given, (path or CATALOGUE).name)
    if calibrate:
        rows, few = _calibrated(asks, calibrate, progress)
        skipped = skipped + few
    else:
        rows = _blind(asks, progress)
    return {
        "kind": "inference", "rows": rows, "summary": summary(rows), "rank": [], "skipped": skipped, "calibrated_on": {},
        "answered": 1.0 - len([s for s in skipped if "too few" not in s["reason"]]) / len(given),
    }  # fmt: skip


def blind_to(group: str, local: bool) -> str:
    """Return the column of constants that no row of a source had a part in."""
    from cutline.serve import constants
    from cutline.serve import local as local_room

    table = local_room.table() if local else constants.table()
    return group if any(group in row.values for row in table.values()) else "shipped"


def _blind(asks: list[Ask], progress: Callable[[int, int], None] | None) -> list[dict[str, Any]]:
    """Return the scored rows of a blind prediction, in the order of the table."""
    done: dict[str, dict[str, Any]] = {}
    parts = [p for p in fitting.problems(asks)]
    for n, p in enumerate(parts):
        value, full = blind(p)
        for ask, x, fill in zip(p.asks, value, full, strict=True):
            done[ask.id] = row_of(
                ask, float(np.exp(x)), interval.half_width(ask, float(fill)), blind_to(ask.group, p.local)
            )
        if progress:
            progress(n + 1, len(parts))
    return [done[a.id] for a in asks]


def blind(p: Problem) -> tuple[Array, Array]:
    """Return the log of the blind prediction of every row, and how full memory is."""
    groups = np.array([blind_to(a.group, p.local) for a in p.asks])
    out = np.empty(len(p.asks))
    for without in sorted(set(groups)):
        mine = groups == without
        out[mine] = p.log_predicted(p.constants(without))[mine]
    return out, p.fill()


def _calibrated(
    asks: list[Ask], n: int, progress: Callable[[int, int], None] | None
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Return the scored rows after `n` of each source, engine, chip and family have been fitted to, and what was too few."""
    rows, few = [], []
    sets: dict[tuple[str, ...], list[Ask]] = {}
    for ask in asks:
        if not ask.fault:
            sets.setdefault((ask.family, ask.group, ask.engine.name, ask.chip.name), []).append(ask)
    for done, (key, members) in enumerate(sorted(sets.items())):
        if progress:
            progress(done + 1, len(sets))
        if len(members) < n + 3:
            few += [
                {
                    "id": a.id,
                    "source": a.row["source"],
                    "group": a.group,
                    "reason": f"too few rows of {', '.join(key)} to calibrate",
                }
                for a in members
            ]
            continue
        p = Problem(members)
        without = blind_to(key[1], p.local)
        picked = fitting.pick(p, without, n)
        value = fitting.calibrate(p, picked, without)
        left = float(np.sqrt(np.mean((value[picked] - p.measured[picked]) ** 2)))
        fill = p.fill()
        for i, ask in enumerate(members):
            if i not in picked:
                rows.append(
                    row_of(ask, float(np.exp(value[i])), interval.half_width(ask, float(fill[i]), left), without)
                )
    return rows, few


def row_of(ask: Ask, value: float, width: float, without: str) -> dict[str, Any]:
    """Return one scored row, in the unit of its own metric; the error of a rate is its own, too."""
    return {
        "id": ask.id, "source": ask.row["source"], "group": ask.group, "family": ask.family, "metric": ask.metric, "chip": ask.chip.name,
        "chips": ask.chips, "engine": ask.engine.name if ask.kind not in fitting.LOCAL else ask.row["engine"], "model": ask.model.name,
        "stack": ask.engine.name, "precision": ask.formats.label, "predicted": value, "low": value * float(np.exp(-width)),
        "high": value * float(np.exp(width)), "measured": ask.measured, "error": value / ask.measured - 1.0,
        "constants": "shipped" if without == "shipped" else f"without {without}", "assumed": ask.assumed, "fault": ask.fault,
    }  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return per family the errors of the rows without a fault: n, median, mean, bias, 90th percentile, share inside."""
    out = []
    names = sorted({r["family"] for r in rows}, key=lambda f: (GATED.index(f) if f in GATED else len(GATED), f))
    for family in names:
        mine = [r for r in rows if r["family"] == family and not r["fault"]]
        if not mine:
            continue
        error = np.array([r["error"] for r in mine])
        inside = [r["low"] <= r["measured"] <= r["high"] for r in mine]
        out.append(
            {
                "group": family, "n": len(mine), "median": float(np.median(abs(error))), "mean": float(np.mean(abs(error))),
                "bias": float(np.median(error)), "p90": float(np.quantile(abs(error), 0.9)), "inside": float(np.mean(inside)),
                "faults": sum(1 for r in rows if r["family"] == family and r["fault"]),
            }
        )  # fmt: skip
    return out
