"""What a framework can run: which strategies it offers, and why it refuses the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cutline.core.errors import CutlineError
from cutline.plan.stacks import Stack
from cutline.plan.strategy import Space


@dataclass(frozen=True)
class Framework:
    """Strategies that one framework offers, as the fields of `Space` spell them. Read in its released package."""

    name: str
    version: str
    source: str
    zero: tuple[int, ...] = (0, 1, 2, 3)
    models_split: bool = True  # tensor and pipeline parallelism
    interleaves: bool = True
    stages_with_fsdp: bool = False
    schedules: tuple[int, ...] = (0,)
    cp_kinds: tuple[int, ...] = (0,)
    etp: bool = True  # experts may be split by tensor parallelism
    modules: bool = False
    mixed: bool = False
    offload: tuple[int, ...] = (0,)
    graphs: tuple[int, ...] = (0,)
    ep_hidden: tuple[int, ...] = (0,)


FRAMEWORKS = {
    f.name: f
    for f in (
        Framework(
            "megatron", "Megatron-Core 0.16", "pypi-megatron-core", zero=(0, 1, 3), cp_kinds=(0, 1, 2), modules=True,
            offload=(0, 1), graphs=(0, 1), ep_hidden=(0, 1),
        ),
        Framework(
            "torchtitan", "torchtitan 0.3", "pypi-torchtitan", zero=(2, 3), stages_with_fsdp=True, schedules=(0, 1), etp=False,
        ),
        Framework(
            "deepspeed", "DeepSpeed 0.19", "pypi-deepspeed", zero=(0, 1, 2, 3), interleaves=False, cp_kinds=(2,), offload=(0, 1),
        ),
        Framework(
            "any", "no framework: whatever is known to work somewhere", "", stages_with_fsdp=True, schedules=(0, 1, 2, 3),
            cp_kinds=(0, 1, 2), modules=True, mixed=True, offload=(0, 1), graphs=(0, 1), ep_hidden=(0, 1),
        ),
    )
}  # fmt: skip

WORDS = {
    "zero": ("ZeRO 0", "ZeRO 1", "ZeRO 2", "ZeRO 3 (FSDP)"),
    "schedules": ("1F1B", "zero bubble H1", "zero bubble H2", "DualPipe"),
    "cp_kinds": ("ring context parallelism", "context parallelism by all-gather", "context parallelism by all-to-all"),
    "offload": ("", "optimizer states on the host"),
    "graphs": ("", "launch graphs"),
    "ep_hidden": ("", "expert exchanges beside another micro-batch"),
    "models_split": ("", "tensor and pipeline parallelism"),
    "interleaves": ("", "several chunks per stage"),
    "stages_with_fsdp": ("", "ZeRO 3 with pipeline stages"),
    "etp": ("", "experts split by tensor parallelism"),
    "modules": ("", "recompute of single modules"),
    "mixed": ("", "modules beside layers in full"),
}
"""What each offer is called, by its value."""


def framework_of(stack: Stack, name: str | None) -> Framework:
    """Return the framework that a user names; else what the stack's own offers, as its documentation says.

    Raises
    ------
    CutlineError
        If there is no such framework.
    """
    if name is not None:
        if name not in FRAMEWORKS:
            raise CutlineError(f"framework must be one of {', '.join(FRAMEWORKS)}; got '{name}'")
        return FRAMEWORKS[name]
    if stack.framework in FRAMEWORKS:
        base = FRAMEWORKS[stack.framework]
    else:  # a stack of its own kind: what its documentation says, and nothing beyond
        base = Framework(stack.name, stack.about, "")
    return replace(
        base, zero=tuple(z for z in stack.zeros if z in base.zero), models_split=stack.models_split, interleaves=stack.interleaves and base.interleaves,
        stages_with_fsdp=stack.gather_once,
    )  # fmt: skip


def offered(space: Space, framework: Framework) -> Space:
    """Return a space with what a framework offers."""
    return replace(
        space, zero=framework.zero, models_split=framework.models_split, interleaves=framework.interleaves,
        stages_with_fsdp=framework.stages_with_fsdp, schedules=framework.schedules, cp_kinds=framework.cp_kinds,
        modules=framework.modules, mixed=framework.mixed, offload=framework.offload, graphs=framework.graphs,
        ep_hidden=framework.ep_hidden, etp=framework.etp,
    )  # fmt: skip


def excluded(framework: Framework, space: Space) -> list[dict[str, str]]:
    """Return what a framework does not offer that another does, with the reason, for the axes that a job has.

    Examples
    --------
    >>> space = Space(8, 32, 32, 128, 1000, 8, 4096)
    >>> [row["what"] for row in excluded(FRAMEWORKS["megatron"], space)][:2]
    ['ZeRO 2', 'zero bubble H1']
    """
    out = []
    every = FRAMEWORKS["any"]
    for field, words in WORDS.items():
        if field in ("ep_hidden", "etp") and not space.experts:
            continue
        mine, all_of = (_as_tuple(getattr(f, field)) for f in (framework, every))
        for value in all_of:
            if value not in mine and words[value]:
                out.append(
                    {"what": words[value], "why": f"{framework.version} does not offer it", "source": framework.source}
                )
    return out


def _as_tuple(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else tuple(range(int(value) + 1))


def refusal(framework: Framework, chosen: dict[str, float], space: Space) -> str | None:
    """Return why a framework cannot run a strategy that a user spelled out, or None."""
    asked = {
        "zero": chosen.get("zero"), "schedules": chosen.get("schedule"), "offload": chosen.get("offload"),
        "graphs": chosen.get("graphs"), "ep_hidden": chosen.get("ep_hidden"),
        "cp_kinds": chosen.get("cp_kind") if chosen.get("cp", 1) > 1 else None,
        "models_split": float(chosen.get("tp", 1) * chosen.get("pp", 1) > 1),
        "interleaves": float(chosen.get("vpp", 1) > 1), "etp": float(chosen.get("etp", 1) > 1),
        "modules": float(max(chosen.get("light", 0), chosen.get("feed", 0)) > 0),
        "stages_with_fsdp": float(chosen.get("zero", 0) >= 2 and chosen.get("pp", 1) > 1),
    }  # fmt: skip
    for field, value in asked.items():
        if value is not None and int(value) not in _as_tuple(getattr(framework, field)):
            return f"{framework.version} does not offer {WORDS[field][int(value)]}; --framework any estimates it all the same"
    return None
