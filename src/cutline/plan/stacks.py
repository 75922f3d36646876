"""Software stacks: what a framework does by default, and which constants apply to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Stack:
    """Defaults of one framework of one generation: facts from its documentation, no numbers.

    A row or a user overrides any of them. `kind` is where constants come from when no measurement of this
    stack is known.
    """

    name: str
    kind: str  # megatron, megatron-core, fsdp, zero, graph, typical
    about: str
    attention: str = "fa2"  # kernel generation: unfused, fa2, cudnn, cann
    sequence_parallel: bool = True
    zero: int = 1
    grad_bytes: float = 2.0  # width in which gradients are reduced
    recompute: str = "none"  # what its published tables mean when they do not say
    dropout: bool = False
    fused_loss: bool = False
    tp_overlapped: bool = False
    interleave: bool = False  # interleaves pipeline stages when a table does not say
    per_op_recompute: bool = False  # `selective` keeps products and repeats the rest, instead of attention only
    broadcast: bool = False  # ZeRO-1 shards are sent by their owners one after the other
    gather_once: bool = False  # with pipeline stages, sharded parameters are gathered once per step
    narrow_gather: bool = False  # FP8 weights are gathered in 8 bits
    zeros: tuple[int, ...] = (0, 1, 2, 3)  # ZeRO stages that it offers
    models_split: bool = True  # offers tensor and pipeline parallelism
    interleaves: bool = True  # offers more than one chunk per stage
    dispatcher: str = "alltoall"  # how tokens reach experts: alltoall, deepep, hybridep
    keeps_gathered: bool = False  # sharded parameters stay gathered between forward and backward pass
    state_bytes: float = 12.0  # optimizer state per parameter: 32-bit masters and moments, or less
    framework: str = ""  # whose released package says what can be run: megatron, torchtitan, deepspeed


STACKS = {
    s.name: s
    for s in (
        Stack(
            "megatron-2021",
            "megatron",
            "Megatron-LM of 2021 and 2022, fp16, fused softmax",
            attention="unfused",
            sequence_parallel=False,
            zero=0,
            recompute="full",
            dropout=True,
            zeros=(0,),
        ),
        Stack(
            "megatron-deepspeed",
            "megatron",
            "Megatron-DeepSpeed",
            attention="unfused",
            sequence_parallel=False,
            zero=0,
            recompute="full",
            dropout=True,
            zeros=(0, 1),
            interleaves=False,
        ),
        Stack(
            "libai",
            "megatron",
            "LiBai on OneFlow",
            attention="unfused",
            sequence_parallel=False,
            zero=0,
            dropout=True,
            zeros=(0, 1, 2),
            interleaves=False,
        ),
        Stack(
            "megatron-core",
            "megatron-core",
            "Megatron-Core, NeMo, Megatron-Bridge with Transformer Engine",
            attention="cudnn",
            grad_bytes=4.0,
            fused_loss=True,
            tp_overlapped=True,
            interleave=True,
            zeros=(0, 1, 3),
            framework="megatron",
        ),
        Stack(
            "megatron-bridge",
            "megatron-core",
            "Megatron-Bridge performance recipes: Megatron-Core with 16-bit gradients, containers 26.02 and later",
            attention="cudnn",
            fused_loss=True,
            tp_overlapped=True,
            interleave=True,
            zeros=(0, 1, 3),
            dispatcher="hybridep",
            framework="megatron",
        ),
        Stack(
            "megatron-bridge-2025",
            "megatron-core",
            "Megatron-Bridge performance recipes, containers of 2025",
            attention="cudnn",
            fused_loss=True,
            tp_overlapped=True,
            interleave=True,
            zeros=(0, 1, 3),
            framework="megatron",
        ),
        Stack(
            "mindspeed",
            "megatron-core",
            "MindSpeed (Megatron) on Ascend",
            attention="cann",
            grad_bytes=4.0,
            fused_loss=True,
            tp_overlapped=True,
            zeros=(0, 1),
            framework="megatron",
        ),
        Stack(
            "llm-foundry",
            "fsdp",
            "MosaicML llm-foundry and Composer, PyTorch FSDP",
            zero=3,
            recompute="full",
            sequence_parallel=False,
            fused_loss=True,
            zeros=(2, 3),
            models_split=False,
        ),
        Stack(
            "torchtitan",
            "fsdp",
            "torchtitan, FSDP2, eager",
            attention="fa2",
            zero=3,
            grad_bytes=4.0,
            recompute="selective",
            per_op_recompute=True,
            gather_once=True,
            narrow_gather=True,
            zeros=(3,),
            framework="torchtitan",
        ),
        Stack(
            "torchtitan-compile",
            "fsdp",
            "torchtitan with torch.compile",
            attention="fa2",
            zero=3,
            grad_bytes=4.0,
            recompute="selective",
            per_op_recompute=True,
            gather_once=True,
            narrow_gather=True,
            zeros=(3,),
            framework="torchtitan",
        ),
        Stack(
            "fms-fsdp",
            "fsdp",
            "foundation-model-stack, FSDP with torch.compile",
            attention="fa2",
            zero=3,
            recompute="selective",
            zeros=(3,),
            models_split=False,
        ),
        Stack(
            "nemo-automodel",
            "fsdp",
            "NeMo Automodel, FSDP2",
            attention="cudnn",
            zero=3,
            grad_bytes=4.0,
            gather_once=True,
            recompute="full",
            keeps_gathered=True,
            state_bytes=4.0,
            zeros=(3,),
            dispatcher="deepep",
        ),
        Stack("internevo", "zero", "InternEvo", fused_loss=True, broadcast=True, zeros=(1,)),
        Stack(
            "deepspeed",
            "zero",
            "DeepSpeed with Hugging Face models",
            zero=3,
            recompute="full",
            zeros=(1, 2, 3),
            models_split=False,
            framework="deepspeed",
        ),
        Stack("colossal-ai", "zero", "Colossal-AI", zero=2, zeros=(0, 1, 2)),
        Stack(
            "mindformers",
            "graph",
            "MindFormers on MindSpore, Ascend",
            attention="cann",
            sequence_parallel=False,
            recompute="full",
            zeros=(0, 1),
        ),
        Stack(
            "maxtext",
            "graph",
            "MaxText, Paxml and other JAX stacks",
            attention="cudnn",
            zero=3,
            grad_bytes=4.0,
            sequence_parallel=False,
            tp_overlapped=True,
            zeros=(3,),
        ),
        Stack(
            "typical",
            "typical",
            "the middle of all measured stacks; stands in for one that Cutline has not met",
            attention="cudnn",
            grad_bytes=4.0,
            dispatcher="deepep",
            framework="megatron",
        ),
    )
}

FRAMEWORKS = (
    ("torchtitan", "torchtitan"),
    ("llm-foundry", "llm-foundry"),
    ("composer", "llm-foundry"),
    ("fms-fsdp", "fms-fsdp"),
    ("automodel", "nemo-automodel"),
    ("internevo", "internevo"),
    ("mindformers", "mindformers"),
    ("mindspore", "mindformers"),
    ("mindspeed", "mindspeed"),
    ("megatron-core", "megatron-core"),
    ("megatron-bridge", "megatron-bridge"),
    ("nemo-megatron", "megatron-2021"),
    ("nemo", "megatron-core"),
    ("deepspeed + hf", "deepspeed"),
    ("hf + deepspeed", "deepspeed"),
    ("megatron-deepspeed", "megatron-deepspeed"),
    ("megatron + deepspeed", "megatron-deepspeed"),
    ("gpt-neox", "megatron-deepspeed"),
    ("megatron", "megatron-2021"),
    ("libai", "libai"),
    ("maxtext", "maxtext"),
    ("pax", "maxtext"),
    ("jax", "maxtext"),
    ("t5x", "maxtext"),
    ("colossal", "colossal-ai"),
    ("deepspeed", "deepspeed"),
    ("fsdp", "fms-fsdp"),
)
"""Words in a framework's name, first match wins."""


def stack_of(framework: str, note: str = "", family: str = "", date: str = "") -> Stack:
    """Return the stack that a framework's name and note point to.

    Megatron-LM changed its kernels without changing its name: on chips after Ampere, or in a table of 2023 or
    later, it is Megatron-Core.
    """
    text = framework.casefold()
    for word, name in FRAMEWORKS:
        if word in text:
            if name == "torchtitan" and "compile" in note.casefold():
                name = "torchtitan-compile"
            if name == "megatron-2021" and (date >= "2023" or family not in ("", "volta", "turing", "ampere")):
                name = "megatron-core"
            if name == "megatron-bridge" and re.search(r"container 25", text):
                name = "megatron-bridge-2025"
            found = STACKS[name]
            if "async" in note.casefold().replace("asynchronous", ""):
                found = replace(found, tp_overlapped=True)
            return found
    return STACKS["typical"]
