"""A plan for a mixed fleet that the user spelled out: options whose words may differ by group, as arguments of `mixed_run.estimate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cutline.cli import inputs
from cutline.core.errors import CutlineError

if TYPE_CHECKING:
    from cutline.plan.mixed import Mixed

PIPELINES = ("tp", "cp", "pp", "ep", "etp", "micro_batch", "zero", "selective", "light", "feed")
"""Fields of a strategy that a stage of a pipeline over several kinds has."""


CONTEXTS = ("ring", "all-gather", "all-to-all")
SCHEDULES = ("1f1b", "zb-h1", "zb-h2", "dualpipe")
"""Words for the columns `cp_kind` and `schedule`, in their order."""


def estimate(words: dict[str, Any]) -> None:
    """Estimate and print what the options of `cutline estimate` spell out, by their names."""
    from cutline.cli import screen, show_mixed, show_plan, whole
    from cutline.plan import run

    w, fleet = words, inputs.fleet(words["on"])
    one = len(fleet) == 1
    by_group = {k: w[k] for k in ("precision", "stack", "network")}
    of_one = by_group if one else dict.fromkeys(by_group)
    shared = {
        k: w[k]
        for k in ("tokens", "seq", "framework", "routing", "capacity", "clips", "gradients", "mtp", "clip", "money")
    }
    ask = whole.ask_of(**shared, **of_one)
    ask["global_batch"] = inputs.whole(w["global_batch"], "--global-batch") if w["global_batch"] is not None else None
    if one:
        for option in ("share", "layers", "between"):
            if w[option] is not None:
                raise CutlineError(f"--{option} is of a fleet of several kinds; got --on '{w['on']}'")
        job = whole.asked(inputs.model_named(w["model"]), fleet, ask)
        found = run.given(job, _one_kind(w, job.model.layers))
    else:
        found = answer(whole.question(w["model"], fleet, ask, by_group, w["between"]), w)
    if w["json"]:
        screen.print_json(found)
    elif one:
        show_plan.estimate(found, w["sources"])
    else:
        show_mixed.estimate(found, w["sources"])


def _one_kind(w: dict[str, Any], layers: int) -> dict[str, float]:
    """Return the columns of the strategy that options spell out for a fleet of one kind."""
    from cutline.plan.run import recompute_fields

    sizes = {k: w[k] for k in ("tp", "cp", "pp", "vpp", "dp", "ep", "etp", "micro_batch")}
    kinds = {
        "cp_kind": (w["cp_kind"], CONTEXTS),
        "schedule": (w["schedule"], SCHEDULES),
        "zero": (w["zero"], ("0", "1", "2", "3")),
    }
    switches = {"ep_hidden": w["overlap_experts"]} | {k: w[k] for k in ("offload", "graphs", "sequence_parallel")}
    chosen = _chosen(sizes, kinds, switches)
    deep = layers_per_stage(layers, int(chosen["pp"]), int(chosen["vpp"]))
    return chosen | recompute_fields(w["recompute"].strip().casefold(), deep)


def _chosen(
    sizes: dict[str, str | None], kinds: dict[str, tuple[str | None, tuple[str, ...]]], switches: dict[str, bool | None]
) -> dict[str, float]:
    """Turn the words that spell out a strategy into its columns; what nobody said is left out."""
    out = {k: float(inputs.whole(v, "--" + k.replace("_", "-"))) for k, v in sizes.items() if v is not None}
    for name, (text, known) in kinds.items():
        if text is not None:
            out[name] = float(known.index(inputs.one_of(text, "--" + name.replace("_", "-"), known)))
    return out | {k: float(v) for k, v in switches.items() if v is not None}


def layers_per_stage(layers: int, pp: int, vpp: int) -> int:
    """Return the layers of the fullest stage, to which `--recompute N` refers."""
    from cutline.plan.strategy import layouts

    ways = layouts(layers, pp, vpp)
    return max(ways[0]) if ways else -(-layers // pp)


MIXED = ("tp", "cp", "pp", "ep", "etp", "micro_batch", "vpp", "zero", "recompute")
"""Options that may say a value for each kind of chip."""
DEFAULTS = dict.fromkeys(("tp", "cp", "pp", "ep", "etp", "micro_batch", "vpp"), 1.0)
"""What a kind has of which nobody says anything."""
ONE_KIND = {"dp": None, "overlap_experts": False, "schedule": "1f1b", "cp_kind": "ring"}
"""Options of a fleet of one kind, as they are where nobody says them."""


def answer(question: Mixed, w: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of `estimate` for words such as `A800: 4, H20: 8` per option."""
    from cutline.plan import mixed_run
    from cutline.plan.run import recompute_fields

    for name, unsaid in ONE_KIND.items():
        if w[name] != unsaid:
            raise CutlineError(
                f"--{name.replace('_', '-')} is of a fleet of one kind; on several it follows, or is left out"
            )
    share, layers, said = w["share"], w["layers"], {name: w[name] for name in MIXED}
    if (share is None) == (layers is None):
        raise CutlineError("say --share for replicas on each kind, or --layers for one pipeline over all of them")
    fleet = question.fleet
    chosen = []
    for j in question.jobs:
        row: dict[str, float] = dict(DEFAULTS)
        for name, text in said.items():
            value = inputs.by_group(text, fleet, "--" + name.replace("_", "-")).get(j.group.label)
            if value is None:
                continue
            if name == "recompute":
                row |= recompute_fields(value.strip().casefold(), j.model.layers / row.get("pp", 1.0))
            elif name == "zero":
                row[name] = float(inputs.one_of(value, "--zero", ("0", "1", "2", "3")))
            else:
                row[name] = float(inputs.whole(value, "--" + name.replace("_", "-")))
        row.setdefault("zero", 1.0 if row["pp"] > 1 or layers is not None else float(min(j.stack.zero, 3)))
        chosen.append(
            row | {
                "sequence_parallel": float(j.stack.sequence_parallel or j.model.experts > 0) * (row["tp"] > 1),
                "offload": float(w["offload"]), "graphs": float(w["graphs"]),
            }
        )  # fmt: skip
    stages = _for_all(share if layers is None else layers, question, "--share" if layers is None else "--layers")
    if layers is None:
        return mixed_run.estimate(question, chosen, [inputs.whole(text, "--share") for text in stages], None)
    if w["offload"] or w["graphs"]:
        raise CutlineError("a pipeline over several kinds has no --offload and no --graphs; leave them out")
    if any(row.get("full") for row in chosen) or any(row["vpp"] > 1 for row in chosen):
        raise CutlineError(
            "in a pipeline over several kinds each stage recomputes as many layers as its memory asks for, and has one chunk; "
            "leave out --recompute full and --vpp"
        )
    split = [[inputs.whole(n, "--layers") for n in text.split()] for text in stages]
    keep = (*PIPELINES, "sequence_parallel")
    rows = [{k: v for k, v in row.items() if k in keep} for row in chosen]
    turn = list(inputs.by_group(layers, fleet, "--layers"))  # the pipeline runs as --layers names its groups
    labels = [g.label for g in fleet]
    return mixed_run.estimate(question, rows, None, split, [labels.index(name) for name in turn])


def _for_all(text: str | None, question: Mixed, option: str) -> list[str]:
    """Return what an option says of every group, in their order."""
    said = inputs.by_group(text, question.fleet, option)
    missing = [g.label for g in question.fleet if g.label not in said]
    if missing:
        example = ", ".join(f"{g.label}: ..." for g in question.fleet)
        raise CutlineError(f"{option} says nothing of {', '.join(missing)}; write '{example}'")
    return [said[g.label] for g in question.fleet]
