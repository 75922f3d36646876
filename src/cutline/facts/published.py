"""Published whole runs: what makers said about days, hours and speed, to stand beside an estimate."""

from __future__ import annotations

import functools
from typing import Any

from cutline.core.errors import DataError
from cutline.facts import reader


@functools.cache
def runs() -> list[dict[str, str]]:
    """Return the rows of runs.csv; every source is known."""
    path = reader.DATA / "runs.csv"
    found = []
    for line, row in reader.rows(path):
        if row["source"] not in reader.sources():
            raise DataError(path.name, line, f"source '{row['source']}' is not in sources.csv")
        found.append(row)
    return found


def of(model: str, chip: str, chips: int) -> list[dict[str, Any]]:
    """Return what was published about runs of a model.

    `same` tells whether chip and count are the asked ones; `tokens` of how long a run the value is, or None.
    """
    out = []
    for row in runs():
        if reader.table("models").alias.get(row["model"].casefold(), row["model"]).casefold() != model.casefold():
            continue
        source = reader.sources()[row["source"]]
        same = row["chip"].casefold() == chip.casefold() and row["n_chips"] in ("", str(chips))
        out.append(
            {
                "metric": row["metric"],
                "value": float(row["value"]),
                "unit": row["unit"],
                "chip": row["chip"],
                "chips": int(float(row["n_chips"])) if row["n_chips"] else None,
                "tokens": float(row["tokens"]) if row["tokens"] else None,
                "same": same,
                "date": row["date"],
                "source": row["source"],
                "title": source.title,
                "url": source.url,
                "note": row["note"],
            }
        )
    return sorted(out, key=lambda r: not r["same"])
