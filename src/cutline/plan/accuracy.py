"""How right: every measured row that can be expressed, predicted, with its interval and error.

Rows of a source that took part in the fit are predicted with constants fitted without that source (blind);
rows of any other table are predicted as shipped, which is just as blind.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cutline.core.errors import CutlineError, DataError
from cutline.core.numerics import Array
from cutline.facts import reader
from cutline.plan import constants as table
from cutline.plan import express, fitting, interval, ranking
from cutline.plan.express import Job
from cutline.plan.express_shape import Skip

CATALOGUE = reader.DATA / "measurements_training.csv"
NOT_FITTED = {
    "bigscience": "V100; the page warns of 40 % between identical runs",
    "jax-toolbox": "sharding is described by other axes",
    "maxtext-tpu": "TPU slices; sharding and recompute come from scripts beside the table",
    "nemo-a100": "layouts are not printed beside the figures",
    "mt-nlg": "micro-batch is not printed",
    "whole-runs": "one scorable row",
    "libai": "chip is not stated",
    "simumax": "kept as a test: models cut to 4 to 12 layers, on a stack that Megatron-LM's other tables measure",
    "sailor": "mixed clusters, and one of three servers",
    "wan": "four rows, without micro-batch and recompute",
    "vtrain-one-node": "does not look like raw timings: an additive formula reproduces it almost exactly",
}
"""Groups that are scored but that no constant was fitted to, with the reason. Groups with fewer than six
scorable rows are left out of the fit as well."""


def load(path: Path | None = None) -> list[dict[str, str]]:
    """Read a table of measurements; the catalogue's own unless a file is given.

    Raises
    ------
    DataError
        If the file cannot be read, or a needed column is missing.
    """
    path = path or CATALOGUE
    rows: list[dict[str, str]] = []
    seen: dict[str, int] = {}
    for line, row in reader.rows(path):
        if not rows:
            express.check_columns(list(row), path.name)
        first = seen.setdefault(row["id"], line)
        if first != line:
            raise DataError(path.name, line, f"id '{row['id']}' stands in line {first} too; give each row its own")
        row["_line"] = str(line)
        rows.append(row)
    if not rows:
        raise DataError(path.name, None, "the file holds no measurements")
    return rows


def _as_known(row: dict[str, str], known: dict[str, str] | None) -> dict[str, str]:
    """Return a row of a table without the column `fault` with what the catalogue knows of it.

    The catalogue knows the row if id, metric and value agree; it adds its fault and fills blank cells.
    """
    if known is None or "fault" in row or any(row.get(k, "") != known[k] for k in ("metric", "value")):
        return row
    return row | {k: v for k, v in known.items() if not row.get(k)}


def expressed(rows: list[dict[str, str]], file: str) -> tuple[list[Job], list[dict[str, str]]]:
    """Express rows as jobs; return them and, with its reason, every row that was skipped."""
    jobs, skipped = [], []
    known = {} if file == CATALOGUE.name else {r["id"]: r for r in load()}
    for given in rows:
        row = _as_known(given, known.get(given["id"]))
        try:
            jobs.append(express.express(row))
            continue
        except Skip as reason:
            why = str(reason)
        except DataError:
            raise
        except CutlineError as error:
            why = f"line {row['_line']}: {error}"
        skipped.append(_skipped(row["id"], row.get("source", ""), express.group(row), why))
    if not jobs:
        raise DataError(
            file, None, f"none of {len(rows)} rows can be expressed; the first says: {skipped[0]['reason']}"
        )
    return jobs, skipped


def _skipped(name: str, source: str, group: str, reason: str) -> dict[str, str]:
    return {"id": name, "source": source, "group": group, "reason": reason}


def features(jobs: list[Job], without: str) -> Array:
    """Return the interval's features of each job; a mixed cluster counts as its first part."""
    jobs = [j.parts[0] if j.parts else j for j in jobs]
    _, rates, _ = fitting.columns_of(jobs)
    loose = [float(len(j.loose)) for j in jobs]
    unmeasured = [table.unmeasured(j.stack, j.family, without) for j in jobs]
    own, reference, _ = np.array([j.power for j in jobs], float).T
    return interval.features(rates, loose, unmeasured, own, reference)


def predict(
    jobs: list[Job], without: str, changes: dict[str, float] | None = None, residual: float | None = None
) -> tuple[Array, Array]:
    """Return the step time of each job and the half width of its interval (log). [s, 1]"""
    step_s = fitting.steps(jobs, fitting.constants_of(jobs, without, changes))
    return step_s, interval.half_width(features(jobs, without), without, residual)


def score(
    path: Path | None = None,
    calibrate: int = 0,
    changes: dict[str, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
    residual: float | None = None,
) -> dict[str, Any]:
    """Predict every row of a table and compare.

    Parameters
    ----------
    path : Path, optional
        Table with the columns of docs/measurements.md; the catalogue's own unless given.
    calibrate : int
        Fit the five factors of `fitting.CALIBRATED` on so many rows of each group, picked by
        `fitting.pick`, and score the others; 0 scores all rows blind.
    changes : dict, optional
        Multipliers from `cutline calibrate`, applied to every row.
    residual : float, optional
        What that calibration left on its own rows.

    Returns
    -------
    dict
        `rows`, `summary`, `rank`, `skipped`, `calibrated_on`; keys as in docs/json.md.
    """
    if calibrate < 0 or calibrate == 1:
        raise CutlineError(f"calibrate must be 0 or at least 2 rows; got {calibrate}")
    jobs, skipped = expressed(load(path), (path or CATALOGUE).name)
    groups = sorted({j.group for j in jobs})
    rows: list[dict[str, Any]] = []
    used: dict[str, Any] = {}
    scored: list[Job] = []
    times: list[Array] = []
    for done, group in enumerate(groups):
        members = [j for j in jobs if j.group == group]
        without = "shipped" if changes else table.blind_to(group)  # a stack file was calibrated on shipped constants
        found, left = changes, residual
        if calibrate:
            picked = fitting.pick(members, without, calibrate)
            if len(members) <= len(picked) or len(picked) < 2:
                few = f"{group} has too few rows to calibrate"
                skipped += [_skipped(j.id, j.source, group, few) for j in members]
                continue
            found = fitting.calibrate(picked, without)
            left = fitting.residual(picked, without, found)
            used[group] = {"rows": [j.id for j in picked], "multipliers": found}
            members = [j for j in members if j not in picked]
        step_s, width = predict(members, without, found, left)
        rows += [row_of(j, float(t), float(w), without) for j, t, w in zip(members, step_s, width, strict=True)]
        scored += members
        times.append(step_s)
        if progress:
            progress(done + 1, len(groups))
    rank = ranking.ranks(scored, np.concatenate(times)) if times else []
    return {"rows": rows, "summary": summary(rows), "rank": rank, "skipped": skipped, "calibrated_on": used}


def row_of(j: Job, step_s: float, width: float, without: str) -> dict[str, Any]:
    """Return one scored row, in the unit of its own metric."""
    ratio = step_s / j.measured_step_s

    def in_metric(r: float) -> float:
        """Return the metric's value for a step time of r times the measured one."""
        return j.measured * r if j.metric == "step_time_s" else j.measured / r

    ends = sorted((in_metric(ratio * np.exp(-width)), in_metric(ratio * np.exp(width))))
    return {
        "id": j.id,
        "source": j.source,
        "group": j.group,
        "metric": j.metric,
        "chip": j.chip,
        "stack": j.stack.name,
        "precision": j.precision,
        "predicted": float(in_metric(ratio)),
        "low": float(ends[0]),
        "high": float(ends[1]),
        "measured": j.measured,
        "error": float(ratio - 1.0),
        "constants": "shipped" if without == "shipped" else f"without {without}",
        "assumed": j.assumed,
    }


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return per group the errors of the step time: n, median, mean, bias, 90th percentile, share inside."""
    out = []
    for group in sorted({r["group"] for r in rows}):
        mine = [r for r in rows if r["group"] == group]
        error = np.array([r["error"] for r in mine])
        inside = [r["low"] <= r["measured"] <= r["high"] for r in mine]
        out.append(
            {
                "group": group,
                "n": len(mine),
                "median": float(np.median(abs(error))),
                "mean": float(np.mean(abs(error))),
                "bias": float(np.median(error)),
                "p90": float(np.quantile(abs(error), 0.9)),
                "inside": float(np.mean(inside)),
            }
        )
    return out
