"""From a row of a measurement table to the columns of the cost model, with every assumption named.

The table has the columns of docs/measurements.md; a blank cell is something that the source does not say.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field, replace

from cutline.core.errors import DataError, UnknownName
from cutline.facts import presets, reader
from cutline.facts.chips import Chip, chip
from cutline.facts.presets import Preset
from cutline.plan import constants, express_mixed, machine, memory
from cutline.plan.columns import Rates, Shape, Strategy
from cutline.plan.express_shape import Row, Skip, named, number
from cutline.plan.express_shape import shape as shape_of_row
from cutline.plan.stacks import Stack, stack_of
from cutline.plan.training import USUAL_AGE_YEARS, model_flop

LORA = re.compile(r"lora|p-?tuning|\bsft\b|fine-?tun.*packed", re.I)


CLEAR_OVERFLOW = 1.5
"""Predicted over available memory at which an unstated recompute cannot have been `none`."""

MACHINES = {
    "ascend 910b (atlas 800t a2)": ("Ascend-910B3", "Atlas 800T A2 taken as 910B3"),
    "ascend 910b (atlas 900 a2 podc)": ("Ascend-910B2", "Atlas 900 A2 taken as 910B2"),
    "ascend 910 (atlas 800)": ("Ascend-910A", "Atlas 800 taken as 910A"),
    "ascend 910/910b (machine not stated)": ("Ascend-910B3", "machine not stated, taken as 910B3"),
    "h100-sxm (hbm2e 96gb, 500w)": ("H100-SXM-96GB-500W", ""),
    "h100-sxm (hbm2e 94/95gb low tdp)": (
        "H100-SXM-96GB-500W",
        "HBM2e part of lower power taken as the 500 W one",
    ),
    "b200-sxm (power limited)": ("B200-SXM", "power limit not stated, full power assumed"),
}
"""Chips that sources name by their machine, and what is assumed. Ascend bins: docs/accuracy.md."""


@dataclass
class Job:
    """One expressed row: plain numbers for each column of the cost model, and what was assumed."""

    id: str
    source: str
    group: str
    metric: str
    measured: float
    measured_step_s: float
    stack: Stack
    chip: str
    chips: float
    precision: str
    recipe: str
    tokens: float  # of one step, over all chips
    shape: dict[str, float]
    rates: dict[str, float]
    power: tuple[float, float, float]
    strategy: dict[str, float]
    assumed: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)  # assumptions that widen the interval
    parts: list[Job] = field(default_factory=list)  # of a mixed cluster: each stage on each kind of chip
    lanes: list[list[int]] = field(default_factory=list)  # the parts that each replica crosses

    @property
    def family(self) -> str:
        """Architecture whose constants apply."""
        return chip(self.chip).text("family")


def part_of(row: Row, assumed: list[str]) -> Chip:
    """Return the chip of a row, by its name and memory, or skip the row."""
    name = row["chip"].strip()
    if name.casefold() in MACHINES:
        name, assumption = MACHINES[name.casefold()]
        if assumption:
            assumed.append(assumption)
    memory = row.get("chip_memory_gb", "").strip().removesuffix(".0")
    known = reader.table("chips").alias
    sized = f"{name}-{memory}GB".casefold()
    if memory and sized in known:
        return chip(sized)
    try:
        return chip(name)
    except UnknownName as error:
        raise Skip(str(error)) from None


def _precision(row: Row, assumed: list[str]) -> tuple[str, str]:
    text = row.get("precision", "").strip().casefold()
    if not text:
        assumed.append("precision 16-bit")
        return "bf16", ""
    note = row.get("note", "").casefold()
    precision = {"fp16": "bf16", "float16": "bf16", "bfloat16": "bf16", "fp8_block": "fp8"}.get(text, text)
    if precision not in machine.PRECISIONS:
        raise Skip(f"precision '{text}' is not modelled")
    return precision, "fp8-rowwise" if precision == "fp8" and "rowwise" in note else ""


def _recompute(row: Row, stack: Stack, assumed: list[str], loose: list[str]) -> str:
    text = row.get("recompute", "").strip().casefold()
    if not text:
        assumed.append(f"recompute {stack.recompute} (usual for {stack.name})")
        loose.append("recompute")
        return stack.recompute
    modules = re.search(r"modules ([a-z_,]+)", row.get("note", ""))
    if modules and text == "selective":
        return "modules " + modules[1]
    for known in ("selective", "full", "none"):
        if known in text:
            return known
    raise Skip(f"recompute '{text}' is not modelled")


def zero_of(row: Row, stack: Stack) -> tuple[float, float | None]:
    """ZeRO stage, and the size of the sharding group if the row names one."""
    text = row.get("zero_stage_or_sharding", "").strip()
    low = text.casefold()
    group = re.search(r"(?:over|fsdp2?|group|shard group)\s+(\d+)", low)
    size = float(group[1]) if group else None
    if not low:
        return float(stack.zero), None
    if "shard_grad_op" in low:
        return 2.0, size
    if "zero-3" in low or "zero3" in low or "fsdp" in low or "hsdp" in low:
        return 3.0, 8.0 if "hsdp" in low else size
    if "zero-2" in low or "zero2" in low:
        return 2.0, size
    if "zero-1" in low or "zero1" in low or "distributed optimizer" in low:
        return 1.0, size
    if low in ("none", "ddp", "dp"):
        return 0.0, None
    return float(stack.zero), size


def _years(date: str) -> float | None:
    """Return a date as years, its middle where only a month or a year is given."""
    match = re.match(r"(\d{4})(?:-(\d\d))?", date)
    return int(match[1]) + (int(match[2]) - 0.5 if match[2] else 6.0) / 12.0 if match else None


def _age_years(row: Row, part: Chip) -> float:
    """Return how old the part's architecture was when the row's software was released, between half a year and four."""
    first = machine.FIRST.get(part.text("family"), part.name)
    then, born = _years(row.get("date", "")), _years(chip(first).text("released"))
    return min(4.0, max(0.5, then - born)) if then and born else USUAL_AGE_YEARS


ARCHITECTURES = ("dense", "decoder", "moe", "hybrid", "dit")


def _refuse(row: Row) -> None:
    """Skip rows with data faults and those that are not the training of a decoder or clip model on chips of one kind."""
    note, name = row.get("note", ""), row.get("model", "")
    if row.get("fault", "").strip() and not row["fault"].startswith("suspect"):
        raise Skip(f"data fault: {row['fault']}")
    if "CHECK:" in note or "AS PRINTED TP*PP*CP*DP" in note:
        raise Skip("data fault: the source's own numbers contradict each other")
    if not row.get("chip", "").strip():
        raise Skip("chip is blank")
    if re.search(r"\bT5|BERT|encoder", name + note):
        raise Skip("encoder models are not modelled")
    if LORA.search(name + " " + note):
        raise Skip("adapter or packed fine-tuning is not modelled")
    if (arch := row.get("arch", "").strip()) and not arch.casefold().startswith(ARCHITECTURES):
        raise Skip(f"architecture '{arch}' is not modelled; a row may say {', '.join(ARCHITECTURES)} or nothing")


def _micro_batch(row: Row, pp: float, per_rank: float, assumed: list[str], loose: list[str]) -> float:
    micro = number(row, "micro_batch", -1.0)
    if micro < 0:
        micro = 1.0 if pp > 1 else min(4.0, max(1.0, per_rank))
        if per_rank % micro:
            micro = 1.0
        assumed.append(f"micro_batch {micro:g}")
        loose.append("micro_batch")
    return min(micro, max(per_rank, 1e-9))


def _vpp(row: Row, stack: Stack, layers: float, pp: float, micro_batches: float, assumed: list[str]) -> float:
    vpp = number(row, "vpp", -1.0)
    if vpp > 0:
        return vpp
    if pp > 1 and stack.interleave and micro_batches >= pp:
        chunks = max(1, round(layers / pp))
        vpp = float(chunks if layers % pp == 0 and chunks <= 8 else max(1, round(chunks / 2)))
        assumed.append(f"vpp {vpp:g}")
        return vpp
    if pp > 1 and "nterleaved" in row.get("note", ""):
        assumed.append("vpp 2")
        return 2.0
    return 1.0


def _sequence_parallel(row: Row, stack: Stack, tp: float, recompute: str) -> float:
    note = row.get("note", "")
    if tp == 1 or re.search(r"no sequence parallel|use_seq_parallel=(False|None)", note):
        return 0.0
    if re.search(r"sequence parallel|use_seq_parallel", note):
        return 1.0
    if stack.name == "megatron-2021":
        return float(recompute == "selective")  # the two came together (korthikanti-2022)
    return float(stack.sequence_parallel)


def recompute_columns(recompute: str) -> dict[str, float]:
    """Return the recompute columns of a row: by kind, or by Megatron-Core's module names.

    `mlp` there is the dense block, of which sparse models have few, so it counts for nothing.
    """
    if not recompute.startswith("modules "):
        return {"selective": float(recompute == "selective"), "full": float(recompute == "full")}
    modules = set(recompute.removeprefix("modules ").split(","))
    return {
        "selective": float("core_attn" in modules), "full": 0.0, "feed": float("moe" in modules),
        "light": float(bool(modules & {"layernorm", "moe_act", "mla_up_proj"})),
    }  # fmt: skip


def layout_columns(layers: float, pp: float, mtp: float = 0.0) -> dict[str, float]:
    """Return equal stages, or the nearest split with less on the last stage; prediction layers and loss stand for layers."""
    chunk = float(math.ceil((layers + mtp + 1.0) / pp))
    if mtp and pp > 1 and layers - chunk * (pp - 1) >= 1:
        return {"first": chunk, "middle": chunk, "last": layers - chunk * (pp - 1)}
    even = layers / pp
    if even % 1:
        middle = float(math.ceil(even))
        rest = layers - middle * max(pp - 2, 0)
        first, last = float(math.ceil(rest / 2)), float(math.floor(rest / 2))
        if pp > 1 and last >= 1:
            return {"first": first, "middle": middle, "last": last}
    return {"first": even, "middle": even, "last": even}


def _expert_ranks(
    row: Row, shape: dict[str, float], chips: float, pp: float, assumed: list[str], loose: list[str]
) -> float:
    """Return the expert-parallel ranks; one server's worth where a sparse row does not say."""
    if not shape.get("experts"):
        return 1.0
    ep = number(row, "ep", -1.0)
    if ep < 0:
        ep = float(math.gcd(int(shape["experts"]), int(min(8.0, chips / pp))))
        assumed.append(f"ep {ep:g}")
        loose.append("ep")
    return ep


def _strategy(
    row: Row, stack: Stack, shape: dict[str, float], at: Preset | None, assumed: list[str], loose: list[str]
) -> dict[str, float]:
    chips, tp, pp, cp = number(row, "n_chips"), number(row, "tp"), number(row, "pp"), number(row, "cp", 1.0)
    dp = number(row, "dp", chips / (tp * pp * cp))
    if abs(tp * pp * cp * dp - chips) > 0.5:
        raise Skip(f"tp x pp x cp x dp = {tp * pp * cp * dp:g}, but {chips:g} chips")
    per_rank = number(row, "global_batch_seqs") / dp
    micro = _micro_batch(row, pp, per_rank, assumed, loose)
    recompute = _recompute(row, stack, assumed, loose)
    layers = shape["layers"]
    vpp = _vpp(row, stack, layers, pp, per_rank / micro, assumed)
    zero, shard = zero_of(row, stack)
    ranks = dp * cp
    shard = ranks if shard is None or shard == dp else min(shard, ranks)  # FSDP shards over cp ranks too
    ep = _expert_ranks(row, shape, chips, pp, assumed, loose)
    if ep > tp * cp * dp + 0.5:
        raise Skip(f"ep {ep:g} is more than the {tp * cp * dp:g} chips of a stage")
    return {
        "tp": tp, "cp": cp, "pp": pp, "vpp": vpp, "dp": dp, "micro_batch": micro, "micro_batches": per_rank / micro,
        "zero": zero, "shard": shard, "sequence_parallel": _sequence_parallel(row, stack, tp, recompute),
        **recompute_columns(recompute), **layout_columns(layers, pp, shape.get("mtp", 0.0)), "ep": ep, "etp": 1.0,
        "cp_kind": 0.0, "schedule": 3.0 if "dualpipe" in row.get("note", "").casefold() else 0.0, "offload": 0.0,
        "ep_hidden": at.ep_hidden if at else float("dualpipe" in row.get("note", "").casefold()),
        "graphs": at.graphs if at else 0.0,
    }  # fmt: skip


def express(row: Row) -> Job:
    """Express one row as columns of the cost model.

    Raises
    ------
    Skip
        If the row cannot be expressed (the text says why).
    CutlineError
        If a cell is malformed.
    """
    if express_mixed.is_mixed(row):
        return _express_mixed(row)
    assumed: list[str] = []
    loose: list[str] = []
    _refuse(row)
    part = part_of(row, assumed)
    if "machine not stated" in row["chip"]:
        loose.append("chip")
    stack = stack_of(row.get("framework", ""), row.get("note", ""), part.text("family"), row.get("date", ""))
    if stack.name == "typical":
        loose.append("stack")
    shape = shape_of_row(row, assumed)
    precision, recipe = _precision(row, assumed)
    if precision in ("fp32", "tf32"):
        stack = replace(stack, grad_bytes=4.0)
    m = named(row)
    at = presets.preset(
        "megatron-bridge" if stack.name.startswith("megatron-bridge") else stack.name,
        m.name if m else "",
        part.name,
        presets.release(row.get("framework", "")),
        number(row, "pp"),
    )
    if at:
        stack = replace(stack, dispatcher=at.dispatcher)
        shape["mtp"] = 0.0 if "without MTP" in row.get("note", "") else at.mtp
        given = {k: v for k, v in row.items() if v.strip()}
        set_by = {k: v for k, v in (("ep", f"{at.ep or ''}"), ("recompute", at.recompute)) if v and k not in given}
        assumed.extend(f"{k} {v} (as the release sets it)" for k, v in set_by.items())
        row = dict.fromkeys(row, "") | set_by | given
    strategy = _strategy(row, stack, shape, at, assumed, loose)
    per_node = number(row, "chips_per_node", part.get("node", default=8.0))
    out = machine.network_bytes_per_s(row.get("interconnect_scaleout", ""), per_node)
    job = Job(
        id=row["id"],
        source=row.get("source", ""),
        group=group(row),
        metric=row["metric"],
        measured=number(row, "value"),
        measured_step_s=0.0,
        stack=stack,
        chip=part.name,
        chips=number(row, "n_chips"),
        precision=precision,
        recipe=recipe,
        tokens=number(row, "global_batch_seqs") * shape["seq"],
        shape=shape,
        rates=machine.rates(part, precision, number(row, "n_chips"), out, balanced="balanced" in row.get("note", ""))
        .replace(age_years=_age_years(row, part))
        .row(),
        power=machine.power_factor_inputs(part),
        strategy=strategy,
        assumed=assumed,
        loose=loose,
    )
    _make_fit(job)
    job.measured_step_s = step_of(row, job)
    return job


def _express_mixed(row: Row) -> Job:
    """Express a row of several kinds of chips: the whole row on each kind, then parts and lanes of it."""
    _refuse(row)
    names = [re.sub(r" x\d+$", "", part.strip()) for part in row["chip"].split("+")]
    whole = {name: express(row | {"chip": name, "chip_memory_gb": ""}) for name in dict.fromkeys(names)}
    job = replace(whole[names[0]], chip=row["chip"], parts=[], lanes=[])
    express_mixed.lay_out(job, row, whole)
    return job


def _make_fit(job: Job) -> None:
    """Change settings that the source does not state until the run fits its memory: it did run.

    First smaller micro-batches, then selective, then full recompute. Stated settings stay. The memory model
    knows neither activation offload nor 8-bit parameters, so recompute changes only on a clear overflow.
    """
    s = job.strategy
    base = constants.constants(job.stack, job.family, job.precision, job.recipe, constants.blind_to(job.group))
    shape, rates = Shape(**job.shape), Rates(**job.rates)

    def fits(slack: float) -> bool:
        need = memory.training_bytes(shape, rates, base, Strategy(**s))["memory_bytes"]
        return bool(need <= slack * rates.memory_bytes)

    before = dict(s)
    while "micro_batch" in job.loose and not fits(1.0) and s["micro_batch"] >= 2 and s["micro_batch"] % 2 == 0:
        s["micro_batch"], s["micro_batches"] = s["micro_batch"] / 2, s["micro_batches"] * 2
    for selective, full in ((1.0, 0.0), (0.0, 1.0)):
        if "recompute" in job.loose and not fits(CLEAR_OVERFLOW) and not s["full"]:
            s["selective"], s["full"] = selective, full
    if s != before:
        job.assumed.append(
            f"to fit the memory: micro_batch {s['micro_batch']:g}, recompute {'full' if s['full'] else 'selective' if s['selective'] else 'none'}"
        )


def step_of(row: Row, job: Job) -> float:
    """Return the step time that a row's metric implies. [s]"""
    metric, value = job.metric, job.measured
    if metric == "step_time_s":
        return value
    if metric == "tokens_per_s_per_chip":
        return job.tokens / (job.chips * value)
    if metric == "tflops_per_chip":
        return reported_flop(row, job) / (job.chips * value * 1e12)
    if metric == "mfu":
        return reported_flop(row, job) / (job.chips * value / 100.0 * job.rates["linear_flop_per_s"])
    raise Skip(f"metric '{metric}' is of a whole run, not of a step")


def reported_flop(row: Row, job: Job) -> float:
    """Return the flop of one step by the formula that the source uses. [flop]

    Hardware flop with full recompute where the note says so (narayanan-2021 eq. 3), else model flop without
    causal halving (korthikanti-2022 eq. A.1), or with it where the note says causal.
    """
    s = job.shape
    note = row.get("note", "")
    if s.get("experts") or s.get("kv_rank") or not s["vocab"]:
        return job.tokens / s["seq"] * float(model_flop(Shape(**s)))
    linear = s["hidden"] * s["head_dim"] * (2 * s["heads"] + 2 * s["kv_heads"]) + s["hidden"] * s["ffn"] * (
        2 + s["gated"]
    )
    attention = 2.0 * s["seq"] * s["heads"] * s["head_dim"] * (0.5 if re.search(r"causal model", note, re.I) else 1.0)
    passes = 4.0 if re.search(r"hardware", note, re.I) and job.strategy["full"] else 3.0
    per_token = s["layers"] * passes * 2.0 * (linear + attention) + 6.0 * s["vocab"] * s["hidden"]
    return job.tokens * per_token


GROUPS = {
    "lf": "llm-foundry",
    "lfold": "llm-foundry",
    "lfbr": "llm-foundry",
    "mbr": "megatron-bridge",
    "nemo": "nemo-24",
    "nemols": "nemo-long",
    "nemoa100": "nemo-a100",
    "am": "nemo-automodel",
    "tt": "torchtitan",
    "fms": "fms-fsdp",
    "ievo": "internevo",
    "vts": "vtrain-one-node",
    "vtm": "vtrain",
    "mf": "mindformers",
    "bsv100": "bigscience",
    "tpu": "maxtext-tpu",
    "jax": "jax-toolbox",
    "lib": "libai",
    "sail": "sailor",
    "mxgpu": "maxtext-gpu",
    "dit": "wan",
    "gcp": "gcp-recipes",
    "run": "whole-runs",
    "misc": "misc",
    "msc": "misc",
    "mem": "memory",
    "ep": "epoch",
}
"""Group of measurements by the prefix of an id, for tables that have no `group` column."""


def group(row: Row) -> str:
    """Return the group of a row: what is left out together in a blind prediction.

    The `group` column if there is one, else by the prefix of the id; an unknown prefix is its own group.
    """
    if row.get("group", "").strip():
        return _part(row["group"].strip(), row)
    prefix, _, rest = row["id"].partition("-")
    if prefix == "meg" and rest.isdigit():
        n = int(rest)
        names = (
            (10, "megatron-sc21"),
            (21, "megatron-core-h100"),
            (30, "korthikanti-2022"),
            (31, "megatron-sc21"),
        )
        return next((name for last, name in names if n <= last), "mt-nlg")
    return _part(GROUPS.get(prefix, prefix), row)


def _part(name: str, row: Row) -> str:
    """Return the part of Megatron-Bridge's table that a row belongs to, within which five rows can speak for the others.

    Dense rows by chip; sparse ones of 2025 together, later ones by what their layers are made of.
    """
    if name != "megatron-bridge":
        return name
    if row.get("arch", "").strip().casefold() == "moe":
        m = named(row)
        if m is None or 0 < presets.release(row.get("framework", "")) < 26:
            return name + "-moe-2025"
        return (
            name
            + "-moe-"
            + ("hybrid" if m.linear_layers else "latent" if m.latent else "eager" if m.eager else "grouped")
        )
    chip_name = row["chip"].upper()
    return name + ("-h100" if "H100" in chip_name else "-gb300" if "GB300" in chip_name else "-blackwell")


@functools.cache
def _known_columns() -> frozenset[str]:
    return frozenset(
        "id chip n_chips tp pp dp micro_batch global_batch_seqs seq_len layers hidden metric value".split()
    )


def check_columns(columns: list[str], file: str) -> None:
    """Raise DataError unless every needed column is there."""
    missing = sorted(_known_columns() - set(columns))
    if missing:
        raise DataError(file, 1, f"columns {', '.join(missing)} are missing; docs/measurements.md lists them all")
