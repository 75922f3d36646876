"""What a release of a framework sets for a model and a chip beyond what its tables print, as dated facts."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from cutline.core.errors import DataError
from cutline.facts import reader

CAPTURED = {"none": 0.0, "router": 0.3, "part": 0.6, "full": 1.0}
"""Share of a layer's launches that captured graphs hold: router and sorting, attention too, everything (guess: a
sparse layer launches about as many kernels for attention as for routing, and the rest for experts)."""
DISPATCHERS = ("alltoall", "deepep", "hybridep")


@dataclass(frozen=True)
class Preset:
    """Settings of one model on one chip in a range of releases; None or blank applies to all."""

    stack: str
    model: str
    chip: str
    since: float
    until: float
    pp: float | None
    graphs: float
    dispatcher: str
    ep_hidden: float
    mtp: float
    ep: float | None
    recompute: str
    source: str


def release(text: str) -> float:
    """Return a container's release as a number that sorts: `26.02.01` is 26.021; 0 if there is none.

    Examples
    --------
    >>> release("NeMo container 26.02.01"), release("container 25.09"), release("Megatron-LM")
    (26.021, 25.09, 0.0)
    """
    match = re.search(r"container (\d\d)\.(\d\d)(?:\.0?(\d))?", text)
    return round(float(f"{match[1]}.{match[2]}") + 0.001 * float(match[3] or 0), 3) if match else 0.0


@functools.cache
def presets() -> tuple[Preset, ...]:
    """Return all presets in the order of the file, checked."""
    path = reader.DATA / "presets.csv"
    found = []
    for line, row in reader.rows(path):
        if row["graphs"] not in CAPTURED or row["dispatcher"] not in DISPATCHERS:
            raise DataError(
                path.name, line, f"graphs '{row['graphs']}' or dispatcher '{row['dispatcher']}' is not known"
            )
        if row["source"] not in reader.sources():
            raise DataError(path.name, line, f"source '{row['source']}' is not in sources.csv")
        found.append(
            Preset(
                row["stack"],
                row["model"],
                row["chip"],
                float(row["since"] or 0),
                float(row["until"] or 99),
                float(row["pp"]) if row["pp"] else None,
                CAPTURED[row["graphs"]],
                row["dispatcher"],
                float(row["ep_hidden"]),
                float(row["mtp"]),
                float(row["ep"]) if row["ep"] else None,
                row["recompute"],
                row["source"],
            )
        )
    return tuple(found)


def preset(stack: str, model: str, chip: str, at: float, pp: float) -> Preset | None:
    """Return the first preset that applies, or None."""
    for p in presets():
        if (p.stack, p.model) == (stack, model) and p.chip in ("", chip) and p.since <= at < p.until:
            if p.pp is None or p.pp == pp:
                return p
    return None
