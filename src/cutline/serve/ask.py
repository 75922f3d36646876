"""A question of serving as numbers: model, chips, formats, load and limits, with every default named."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cutline.core.errors import CutlineError
from cutline.core.numerics import above, at_least
from cutline.facts.chips import Chip
from cutline.facts.models import Model, parameters
from cutline.plan.fleet import Fleet, Group
from cutline.serve import constants as table
from cutline.serve import formats
from cutline.serve.body import body, other_bytes
from cutline.serve.columns import Body, Constants, Engine, Formats, Rates
from cutline.serve.engines import ENGINES, Kind
from cutline.serve.predict import rates

OBJECTIVES = ("throughput", "cost", "energy", "chips", "speed")
WEIGHTS = ("bf16", "fp8", "int8", "nvfp4", "mxfp4", "int4")


@dataclass
class Side:
    """One kind of chips of a fleet, as numbers for this question."""

    group: Group
    formats: formats.Choice
    columns: Formats
    rates: Rates
    constants: Constants
    engine: Kind
    memory: Engine

    @property
    def chip(self) -> Chip:
        """The part."""
        return self.group.chip


@dataclass
class Question:
    """Model, chips and load."""

    model: Model
    sides: list[Side]
    body: Body
    other: float  # bytes that are kept and not read
    input: float
    output: float
    rate: float | None = None  # requests a second
    concurrency: float | None = None  # clients in a loop
    ttft_s: float | None = None
    tpot_s: float | None = None
    cached: float = 0.0
    drafts: float = 0.0
    accepted: float = 0.0
    objective: str = "throughput"
    money: str = "rent"
    assumed: list[str] = field(default_factory=list)


def question(
    model: Model,
    fleet: Fleet,
    *,
    input_tokens: float,
    output_tokens: float,
    rate: float | None = None,
    concurrency: float | None = None,
    ttft_s: float | None = None,
    tpot_s: float | None = None,
    cached: float = 0.0,
    drafts: float = 0.0,
    acceptance: float | None = None,
    weights: str | None = None,
    cache: str | None = None,
    engine: str | None = None,
    launch: str | None = None,
    objective: str = "throughput",
    money: str = "rent",
) -> Question:
    """Turn a question into numbers; every default that was used is named in `assumed`.

    Parameters
    ----------
    rate, concurrency : float, optional
        Requests a second that arrive at random, or clients that each wait for their answer. Neither: as many as pay.
    cached : float
        Share of the prompts' tokens that are found in the prefix cache.
    drafts, acceptance : float
        Tokens proposed beside each step's own, and the share of the first one that is right; a later one needs all before it.
    weights, cache : str, optional
        Number formats; as the checkpoint is published, where the chip multiplies it.

    Raises
    ------
    CutlineError
        If a number is out of range, a word is not known, or a chip lacks a fact.
    """
    assumed: list[str] = []
    at_least(1, input_tokens=input_tokens, output_tokens=output_tokens)
    for name, value in (("rate", rate), ("concurrency", concurrency), ("ttft", ttft_s), ("tpot", tpot_s)):
        if value is not None:
            above(0, **{name: value})
    if rate is not None and concurrency is not None:
        raise CutlineError("rate and concurrency each say the load; give one of them")
    if not 0 <= cached < 1:
        raise CutlineError(f"cached must be a share from 0 to below 1; got {cached:g}")
    if objective not in OBJECTIVES:
        raise CutlineError(f"objective must be one of {', '.join(OBJECTIVES)}; got '{objective}'")
    if model.kind == "dit":
        raise CutlineError(
            f"{model.name} draws clips; ask `cutline serve {model.name} --clip 81x720x1280`, without lengths"
        )
    if objective == "chips" and rate is None and concurrency is None:
        raise CutlineError("objective chips is the fewest for a load; say rate or concurrency")
    if money not in ("rent", "own"):
        raise CutlineError(f"money must be rent or own; got '{money}'")
    if acceptance is not None and not drafts:
        raise CutlineError("acceptance is of drafts; say how many with drafts")
    right = 0.0
    if drafts:
        right = 0.85 if acceptance is None else acceptance
        if not 0 <= right <= 1:
            raise CutlineError(f"acceptance must be a share from 0 to 1; got {right:g}")
        if acceptance is None:
            assumed.append(
                "85 % of drafted tokens right: DeepSeek-V3's second token, 85 to 90 % (--acceptance names another)"
            )
    accepted = sum(right**k for k in range(1, int(drafts) + 1))
    sides = [_side(model, g, fleet, weights, cache, engine, launch, assumed) for g in fleet]
    return Question(
        model, sides, body(model, draft=drafts > 0), other_bytes(model), input_tokens, output_tokens, rate, concurrency, ttft_s, tpot_s, cached,
        drafts, accepted, objective, money, assumed,
    )  # fmt: skip


def _side(
    model: Model,
    group: Group,
    fleet: Fleet,
    weights: str | None,
    cache: str | None,
    engine: str | None,
    launch: str | None,
    assumed: list[str],
) -> Side:
    """Return one kind of chips as numbers."""
    part = group.chip
    kind = _engine(part, engine)
    choice = chosen(model, part, weights, cache, assumed)
    if launch not in (None, "graph", "eager"):
        raise CutlineError(f"launch must be graph or eager; got '{launch}'")
    how = launch or kind.launch
    if launch is None and how == "eager":
        assumed.append(
            f"{part.name}: the host launches every kernel, as published runs of {kind.name} did (--launch graph: captured)"
        )
    return Side(
        group, choice, formats.columns(choice, part), rates(part, group.chips), table.constants(part.text("family"), kind.name, how), kind,
        kind.columns(),
    )  # fmt: skip


def _engine(part: Chip, name: str | None) -> Kind:
    """Return the engine asked for, or the usual one of a part."""
    if name is not None:
        if name not in ENGINES:
            raise CutlineError(f"engine must be one of {', '.join(ENGINES)}; got '{name}'")
        ascend = part.text("family").startswith("ascend")
        if (name in ("vllm-ascend", "mindie") and not ascend) or (name == "trtllm" and part.text("maker") != "NVIDIA"):
            raise CutlineError(f"engine {name} does not run on {part.name}")
        return ENGINES[name]
    return ENGINES["vllm-ascend" if part.text("family").startswith("ascend") else "vllm"]


def chosen(model: Model, part: Chip, weights: str | None, cache: str | None, assumed: list[str]) -> formats.Choice:
    """Return the formats on a part: as asked, else as published, else the nearest that it multiplies."""
    if weights is not None and weights not in WEIGHTS:
        raise CutlineError(f"weights must be one of {', '.join(WEIGHTS)}; got '{weights}'")
    if cache is not None and cache not in ("bf16", "fp8", "int8"):
        raise CutlineError(f"cache must be bf16, fp8 or int8; got '{cache}'")
    found = weights or formats.published(model.name)
    if weights is None:
        if found == "fp8" and ("peak", "fp8-dense") not in part.facts and ("peak", "int8-dense") in part.facts:
            found = "int8"
            assumed.append(f"{part.name}: weights and products in int8, for it has no FP8 products")
        else:
            assumed.append(f"{part.name}: weights in {found}, as published (--weights names another)")
    narrow_only = found in ("mxfp4", "nvfp4", "int4") and bool(model.experts)
    wide = "bf16" if narrow_only else found
    if formats.rate_of(part, found)[1] > formats.BITS[found][1] and weights is not None:
        assumed.append(f"{part.name}: has no products in {found}; weights are stored so and multiplied in 16 bits")
    kept = cache or "bf16"
    if cache is None:
        assumed.append("keys and values in bf16 (--cache fp8 halves them)")
    return formats.Choice(wide, wide, found, kept, found)


def weights_bytes(q: Question, side: Side) -> float:
    """Return the bytes of all weights in a side's formats."""
    f, b = side.columns, q.body
    return float(
        b.attention_parameters * f.attention_bytes + b.dense_parameters * f.dense_bytes + b.expert_parameters * f.expert_bytes
        + b.head_parameters * f.head_bytes + q.other
    )  # fmt: skip


def described(q: Question) -> dict[str, Any]:
    """Return the question in plain numbers."""
    return {
        "model": q.model.name, "parameters": parameters(q.model).total, "active": parameters(q.model).active,
        "groups": [
            {"group": s.group.label, "chip": s.chip.name, "chips": s.group.chips, "engine": s.engine.name, "weights": s.formats.label, "cache": s.formats.cache}
            for s in q.sides
        ],
        "input": q.input, "output": q.output, "rate_per_s": q.rate, "concurrency": q.concurrency, "ttft_limit_s": q.ttft_s,
        "tpot_limit_s": q.tpot_s, "cached": q.cached, "drafts": q.drafts, "accepted": q.accepted, "objective": q.objective,
    }  # fmt: skip
