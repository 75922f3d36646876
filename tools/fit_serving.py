"""Fit the constants of docs/serving.md and write them into facts/data: shipped, and blind to each source.

    python tools/fit_serving.py [--also FILE]

`--also` adds a table that is not in the repository (the rows of aiconfigurator). Takes under a minute on one core. Run it after any
change to the serving model, engines, measurements or priors, and review the diff of serving_constants.csv,
local_constants.csv and serving_interval.csv.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

from cutline.facts import reader
from cutline.plan import constants
from cutline.serve import accuracy, fitting, interval, local
from cutline.serve import constants as served
from cutline.serve.express import Ask

FITTED = {"silicon", "trtllm", "mlperf", "ascend"}
FITTED_LOCAL = {"llamacpp-gpu", "llamacpp-apple", "llamacpp-other", "qualcomm"}
"""Sources that constants are fitted to; the others are single figures, community-submitted, or floods over HTTP."""


def to_fit(ask: Ask) -> bool:
    """Return whether a row says something of constants: without fault, its load and layout known."""
    if ask.fault or ask.loose > (1 if ask.kind == "offline" else 0):
        return False
    if ask.kind in fitting.LOCAL:
        return ask.group in FITTED_LOCAL
    return (
        ask.group in FITTED
        and ask.kind in ("served", "offline", "static")
        and ask.family != "MLPerf Server and Interactive"
    )


def write(name: str, fits: dict[str, dict[tuple[str, str], float]]) -> None:
    """Write the fitted columns beside the priors."""
    path = reader.DATA / name
    rows = [row for _, row in reader.rows(path)]
    given = constants.HEADER[:-1]
    with path.open("w", encoding="utf-8", newline="") as handle:
        out = csv.writer(handle, lineterminator="\n")
        out.writerow([*given, *fits])
        for row in rows:
            key = row["name"], row["scope"]
            out.writerow([row[g] for g in given] + [f"{f[key]:.5g}" if key in f else "" for f in fits.values()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--also", type=Path)
    arguments = parser.parse_args()
    rows = accuracy.load()
    known = {
        tuple(r.get(k, "") for k in ("source", "device", "model", "metric", "value", "input_len", "output_len"))
        for _, r in rows
    }
    if arguments.also:
        rows += [
            x for x in accuracy.load(arguments.also)
            if tuple(x[1].get(k, "") for k in ("source", "device", "model", "metric", "value", "input_len", "output_len")) not in known
        ]  # fmt: skip
    rows = [(n, r) for n, (_, r) in enumerate(rows, 2)]
    asks, _ = accuracy.expressed(rows, "measurements")
    for name, part in (("serving_constants.csv", False), ("local_constants.csv", True)):
        mine = [a for a in asks if to_fit(a) and (a.kind in fitting.LOCAL) == part]
        print(f"{len(mine)} rows for {name}", file=sys.stderr)
        fits = {"shipped": fitting.fit(fitting.Problem(mine))}
        for source in sorted({a.group for a in mine}):
            fits[source] = fitting.fit(fitting.Problem([a for a in mine if a.group != source]))
        write(name, fits)
    for cached in (served.table, served.keys, local.table, local.keys):
        cached.cache_clear()
    table = []
    for p in fitting.problems([a for a in asks if not a.fault]):
        value, fill = accuracy.blind(p)
        table += interval.table_of(p.asks, value - p.measured, fill)
    with (reader.DATA / "serving_interval.csv").open("w", encoding="utf-8", newline="") as handle:
        out = csv.writer(handle, lineterminator="\n")
        out.writerow(["family", "regime", "without", "width", "rows"])
        out.writerows([*r[:3], f"{r[3]:.4f}", r[4]] for r in table)
    print(
        f"{len(table)} widths; rows {len(asks)}; {np.mean([bool(a.fault) for a in asks]):.1%} with a fault",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
