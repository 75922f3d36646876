"""From a row of a mixed cluster to parts: one for every kind of chip on every stage, and the lanes that cross them.

Such a row names its groups in `chip` (`RTX-2080 x8+RTX-3090 x8`), and in `note` its stages: `layers per stage [12, 14]` and
`replicas 1 x (RTX-3090 TP8)+1 x (RTX-2080 TP8) | 2 x (Titan-RTX TP8)`. A lane is one replica of every stage, in the order printed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from cutline.plan import machine
from cutline.plan.express_shape import Row, Skip

if TYPE_CHECKING:
    from cutline.plan.express import Job

LAYERS = re.compile(r"layers per stage \[([\d, ]+)\]")
REPLICAS = re.compile(r"replicas:? ([^;]+)")
REPLICA = re.compile(r"(\d+) x \(([\w -]+?) TP(\d+)\)")
RATE = re.compile(r"([\w-]+) ([\d.]+) GB/s")


class Stage:
    """Layers of one stage, and the chip and tensor-parallel ranks of each of its replicas."""

    def __init__(self, layers: int, replicas: list[tuple[str, int]]) -> None:
        self.layers, self.replicas = layers, replicas


def is_mixed(row: Row) -> bool:
    """Return whether a row is of chips of several kinds."""
    return "+" in row.get("chip", "")


def stages_of(row: Row, layers: int) -> list[Stage]:
    """Return the stages that a row's note spells out; where it counts embedding and head as layers, these are taken off."""
    note = row.get("note", "")
    counts, placed = LAYERS.search(note), REPLICAS.search(note)
    if counts is None or placed is None:
        raise Skip("a row of several kinds of chips must say 'layers per stage [...]' and 'replicas ...' in note")
    deep = [int(n) for n in counts[1].split(",")]
    if sum(deep) == layers + 2:
        deep[0] -= 1
        deep[-1] -= 1
    if sum(deep) != layers:
        raise Skip(f"layers per stage sum to {sum(deep)}, but the model has {layers}")
    stages = []
    for n, text in zip(deep, placed[1].split("|"), strict=False):
        found = REPLICA.findall(text)
        stages.append(Stage(n, [(name, int(tp)) for count, name, tp in found for _ in range(int(count))]))
    lanes = {len(s.replicas) for s in stages}
    if len(stages) != len(deep) or len(lanes) != 1 or lanes == {0}:
        raise Skip("every stage must have as many replicas as the others")
    return stages


def rates_given(row: Row) -> dict[str, float]:
    """Return the rate inside a server by kind of chip, where a row gives it: `RTX-3090 1.33 GB/s, ...`. [bytes/s]"""
    return {name: float(rate) * 1e9 for name, rate in RATE.findall(row.get("interconnect_scaleup", ""))}


def lay_out(job: Job, row: Row, part_job: dict[str, Job]) -> None:
    """Give a job its parts and lanes; `part_job` has the whole row on each kind of chip alone.

    A part is one stage on one kind of chip: its layers, one stage, as many data-parallel ranks as there are lanes. The first
    stage holds the embedding, the last one the head.
    """
    stages = stages_of(row, int(job.shape["layers"]))
    lanes = len(stages[0].replicas)
    places: dict[tuple[int, str, int], int] = {}
    job.lanes = [[] for _ in range(lanes)]
    reached = rates_given(row)
    micro = job.strategy["micro_batch"]
    for k, stage in enumerate(stages):
        for lane, (name, tp) in enumerate(stage.replicas):
            key = (k, name, tp)
            if key not in places:
                places[key] = len(job.parts)
                base = part_job[name]
                last, first = k == len(stages) - 1, k == 0
                table = job.shape["vocab"] * job.shape["hidden"] / stage.layers
                shape = base.shape | {"layers": float(stage.layers), "heavy": table * (first and not last)}
                shape |= {
                    "vocab": job.shape["vocab"] if last else 0.0,
                    "tied": float(not (first and last) or job.shape["tied"]),
                }
                strategy = base.strategy | {
                    "tp": float(tp), "cp": 1.0, "pp": 1.0, "vpp": 1.0, "dp": float(lanes), "shard": float(lanes), "micro_batch": micro,
                    "micro_batches": job.tokens / job.shape["seq"] / lanes / micro, "sequence_parallel": 0.0,
                } | dict.fromkeys(("first", "middle", "last"), float(stage.layers))  # fmt: skip
                rates = dict(base.rates)
                if name in reached:
                    rates |= {"up_bytes_per_s": reached[name] / machine.REACHED, "domain": float(tp), "pair_share": 1.0}
                job.parts.append(replace(base, shape=shape, strategy=strategy, rates=rates, parts=[], lanes=[]))
            job.lanes[lane].append(places[key])
