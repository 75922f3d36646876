"""From a row of a table of measured serving to numbers: what was asked of which machine, with every default named.

The columns are those of docs/measurements.md, part "Serving". A row that contradicts itself, or repeats another, carries its
fault; it is predicted and left out of the summary.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field, replace
from typing import Any

from cutline.core.errors import CutlineError
from cutline.facts import reader
from cutline.facts.chips import Chip, chip
from cutline.facts.models import Model
from cutline.serve import formats, names
from cutline.serve.engines import Kind, engine_of

Row = dict[str, str]
COLUMNS = (
    "source", "device", "n_devices", "engine", "model", "params", "weight_precision", "kv_precision", "tp", "pp", "ep",
    "batch_or_concurrency", "input_len", "output_len", "metric", "value", "note",
)  # fmt: skip
METRICS = ("ttft_ms", "tpot_ms", "total_output_tok_s", "decode_tok_s", "prefill_tok_s")
FLOOD = 1e9


@dataclass
class Ask:
    """One measured row as numbers."""

    id: str
    row: Row
    group: str  # source of measurements, left out together
    kind: str  # served, static, flood, offline, disagg, edge, npu
    chip: Chip
    chips: float
    model: Model
    engine: Kind
    formats: formats.Choice
    metric: str
    measured: float
    layout: dict[str, float] = field(default_factory=dict)  # tp, dp, pp, ep; empty where the row names none
    load: dict[str, float] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)
    loose: int = 0  # assumptions that move the answer much
    fault: str = ""
    weight: float = 1.0

    @property
    def family(self) -> str:
        """The kind of rows that are scored together."""
        return family_of(self)


class Skip(Exception):
    """Why a row cannot be expressed."""


GROUPS = (
    ("silicon_sample", "silicon"), ("TensorRT-LLM", "trtllm"), ("mlcommons", "mlperf"), ("gpustack", "gpustack"),
    ("GPU-Benchmarks-on-LLM", "llamacpp-gpu"), ("discussion 4167", "llamacpp-apple"), ("llmfit", "community"), ("qualcomm", "qualcomm"),
    ("vllm-ascend", "ascend"), ("LiteRT", "litert"), ("llama.cpp", "llamacpp-other"),
)  # fmt: skip


def group_of(source: str) -> str:
    """Return the source of measurements that a row belongs to."""
    return next((g for part, g in GROUPS if part in source), "single")


@functools.cache
def devices() -> dict[str, tuple[str, float]]:
    """Return what a device is called in tables -> the catalogue's part, and how many of it one is."""
    path = reader.DATA / "devices.csv"
    if not path.exists():
        return {}
    return {r["name"]: (r["chip"], float(r["chips_per"] or 1)) for _, r in reader.rows(path)}


def device(text: str) -> tuple[Chip, float]:
    """Return the part that a table calls `text`, and how many of it one is; Skip where it is none or two."""
    hit = devices().get(text)
    if hit is not None:
        if not hit[0]:
            raise Skip(f"device '{text}' is not one kind of chip")
        return chip(hit[0]), hit[1]
    plain = re.sub(
        r"^(NVIDIA|AMD|Apple|Qualcomm|Huawei|Intel)\s+(GeForce |Instinct |Radeon )?", "", text.replace("\u2011", "-")
    )
    for name in (text, plain, plain.replace(" ", "-"), re.sub(r"[ -]?\d+GB.*", "", plain).replace(" ", "-")):
        try:
            return chip(name), 1.0
        except CutlineError:
            continue
    raise Skip(f"device '{text}' is not in the catalogue; give a name that `cutline chips` lists")


MOST = 1e9
"""No count or length of a table is larger."""


def number(text: str) -> float | None:
    """Return the first number of a cell, or None; Skip where it is negative or beyond all measure."""
    match = re.search(r"-?\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d+)?", text or "")
    if not match:
        return None
    found = float(match[0].replace(",", ""))
    if (found < 0 and (text or "").strip().startswith("-")) or abs(found) > MOST:
        raise Skip(f"'{text}' is not a count or a length")
    return abs(found)


def value_of(text: str) -> float:
    """Return a measured value; Skip where it is not a number above 0."""
    try:
        found = float(text.replace(",", ""))
    except ValueError:
        raise Skip(f"value must be a number above 0; got '{text}'") from None
    if not 0 < found < 1e12:
        raise Skip(f"value must be above 0; got '{text}'")
    return found


def express(row: Row, line: int) -> Ask:
    """Return a row as numbers, or say by Skip why not."""
    if row["metric"] not in METRICS:
        raise Skip(f"metric must be one of {', '.join(METRICS)}; got '{row['metric']}'")
    value = value_of(row["value"])
    part, each = device(row["device"])
    count = number(row["n_devices"])
    ask = Ask(
        id=row.get("id") or f"line-{line}", row=row, group=row.get("group") or group_of(row["source"]), kind="", chip=part,
        chips=(count or 1.0) * each, model=_model(row), engine=engine_of(row["engine"]),
        formats=formats.choose(row, part), metric=row["metric"], measured=value,
    )  # fmt: skip
    if not count:
        ask.assumed.append("one device")
    if ask.model.name.startswith("like ") or names.found(row["model"]) is None:
        ask.assumed.append(f"shape of '{row['model']}' unknown; taken as {ask.model.name}")
        ask.loose += 1
    ask.assumed += ask.formats.assumed
    ask.kind = kind_of(ask)
    if ask.kind in ("served", "disagg", "offline", "flood", "static"):
        from cutline.serve.express_served import served

        served(ask)
    else:
        from cutline.serve.express_edge import edge

        edge(ask)
    return ask


def _model(row: Row) -> Model:
    """Return the catalogue's model of a row, or one of about its size."""
    name = names.found(row["model"])
    if name is not None:
        return names.catalogued(name)
    size = names.sized(row["model"], row.get("params", ""))
    return names.like(*(size or (8e9, 8e9)))


NPU = ("qualcomm",)
LOCAL = ("llama.cpp", "ollama", "mlx", "litert", "hipfire", "lucebox", "lm studio")


def kind_of(ask: Ask) -> str:
    """Return which model of a machine answers a row."""
    engine, note = ask.row["engine"].casefold(), ask.row["note"].casefold()
    if any(k in engine for k in NPU):
        return "npu"
    if any(k in engine for k in LOCAL) or ask.chip.text("segment") in ("phone", "laptop", "edge"):
        return "edge"
    if note.startswith("disagg") or "disaggregat" in note:
        return "disagg"
    if ask.group == "community" and ask.metric in ("decode_tok_s", "prefill_tok_s"):
        return "served"
    load = ask.row["batch_or_concurrency"].casefold()
    if "static engine" in note and ask.metric == "ttft_ms":
        return "static"
    if ask.group == "gpustack":
        return "flood"
    if "max load" in load or "mlperf" in note or (ask.metric == "total_output_tok_s" and not number(load)):
        return "offline"
    return "served"


def family_of(ask: Ask) -> str:
    """Return the kind of rows that are scored together, as in docs/accuracy.md."""
    part = ask.chip.text("family")
    if ask.group == "community":
        return f"community, {ask.kind}"
    if ask.kind == "flood":
        return "floods over HTTP"
    if part.startswith("ascend"):
        return "Ascend"
    if ask.chip.name.startswith(("H20", "H800")) and not ask.chip.name.startswith("H200"):
        return "H20 and H800"
    if ask.kind == "disagg":
        return "disaggregated"
    if ask.kind == "npu":
        where = "phone" if ask.chip.text("segment") == "phone" else "other"
        return f"{where} NPU decode" if ask.metric == "decode_tok_s" else f"{where} NPU first token"
    if ask.kind == "edge":
        if ask.metric == "decode_tok_s":
            return "llama.cpp decode" if "llama.cpp" in ask.row["engine"] else "other local engines"
        if "llama.cpp" not in ask.row["engine"]:
            return "other local engines"
        return "llama.cpp prefill, one device" if ask.chips <= 1 else "llama.cpp prefill, several devices"
    if ask.kind == "offline":
        if ask.group == "mlperf":
            scenario = "Offline" if "Offline" in ask.row["note"] else "Server and Interactive"
            return f"MLPerf {scenario}"
        return "offline tables, TensorRT-LLM"
    if ask.kind == "static":
        return "first token of a prompt alone"
    if ask.group == "silicon":
        return "time per output token" if ask.metric == "tpot_ms" else "time to first token"
    return f"served, other sources, {ask.metric}"


def copy(ask: Ask, **changes: Any) -> Ask:
    """Return an ask with changes."""
    return replace(ask, **changes)
