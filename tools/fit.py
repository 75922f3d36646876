"""Fit the constants of docs/physics.md and write them into facts/data: shipped, and blind to each group.

    python tools/fit.py [--also FILE]

`--also` adds a table that is not in the repository (vTrain's several-node rows); the shipped columns were
fitted with it. Takes about a minute and a half on one core. Run it after any change to physics, stacks,
measurements or priors, and review the diff of constants.csv and interval.csv.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from cutline.facts import reader
from cutline.plan import accuracy, constants, fitting, interval
from cutline.plan.express import Job


def jobs_to_fit(also: Path | None) -> list[Job]:
    """Return the rows that constants may be fitted to."""
    rows = accuracy.load()
    if also:
        rows += [r for r in accuracy.load(also) if r["id"].startswith("vtm-")]
    jobs, _ = accuracy.expressed(rows, "measurements")
    count = Counter(j.group for j in jobs)
    return [j for j in jobs if j.group not in accuracy.NOT_FITTED and count[j.group] >= 6]


def write_constants(fits: dict[str, dict[tuple[str, str], float]]) -> None:
    """Write the fitted columns beside the priors."""
    path = reader.DATA / "constants.csv"
    rows = [row for _, row in reader.rows(path)]
    given = constants.HEADER[:-1]
    with path.open("w", encoding="utf-8", newline="") as handle:
        out = csv.writer(handle, lineterminator="\n")
        out.writerow([*given, *fits])
        for row in rows:
            key = row["name"], row["scope"]
            out.writerow([row[g] for g in given] + [f"{f[key]:.5g}" if key in f else "" for f in fits.values()])
    constants.table.cache_clear()


def write_interval(jobs: list[Job], groups: list[str]) -> None:
    """Fit the interval on blind errors, and without each group; then its quantile after calibration."""
    x, error, of, after, after_of, after_x = [], [], [], [], [], []
    for group in groups:
        mine = [j for j in jobs if j.group == group]
        source = constants.source_of(group)
        x.append(accuracy.features(mine, source))
        error.append(log_error(mine, source, None))
        of += [source] * len(mine)
        picked = fitting.pick(mine, source)
        rest = [j for j in mine if j not in picked]
        found = fitting.calibrate(picked, source)
        after.append(log_error(rest, source, found))
        after_x.append(accuracy.features(rest, source))
        after_of += [source] * len(rest)
    xs, errors, ofs = np.concatenate(x), np.concatenate(error), np.array(of)
    xs2, errors2, ofs2 = np.concatenate(after_x), np.concatenate(after), np.array(after_of)
    columns: dict[str, dict[str, float]] = {}
    for name in ["shipped", *sorted(set(of))]:
        keep, keep2 = ofs != name, ofs2 != name
        coefficients, quantile = interval.fit_scale(xs[keep], errors[keep], list(ofs[keep]))
        columns[name] = dict(zip(interval.FEATURES, coefficients, strict=True)) | {
            "quantile": quantile,
            "quantile_calibrated": interval.quantile(xs2[keep2], errors2[keep2], list(ofs2[keep2]), coefficients),
        }
    with (reader.DATA / "interval.csv").open("w", encoding="utf-8", newline="") as handle:
        out = csv.writer(handle, lineterminator="\n")
        out.writerow(["name", *columns])
        for name in (*interval.FEATURES, "quantile", "quantile_calibrated"):
            out.writerow([name, *(f"{c[name]:.4f}" for c in columns.values())])


def log_error(jobs: list[Job], without: str, changes: dict[str, float] | None) -> np.ndarray:
    """Return log predicted over measured step time."""
    e = fitting.predict(jobs, fitting.constants_of(jobs, without, changes))
    return np.log(e.step_s) - np.log([j.measured_step_s for j in jobs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--also", type=Path)
    arguments = parser.parse_args()
    if arguments.also is None and "vtrain" in next(reader.rows(reader.DATA / "constants.csv"))[1]:
        parser.error("constants.csv has a vtrain column, which needs vTrain's table: pass --also FILE")
    jobs = jobs_to_fit(arguments.also)
    groups = sorted({j.group for j in jobs})
    print(f"{len(jobs)} rows of {len(groups)} groups", file=sys.stderr)
    fits = {"shipped": fitting.fit(jobs)}
    for source in sorted({constants.source_of(g) for g in groups}):
        fits[source] = fitting.fit([j for j in jobs if constants.source_of(j.group) != source])
        print(f"without {source}: done", file=sys.stderr)
    write_constants(fits)
    write_interval(jobs, groups)


if __name__ == "__main__":
    main()
