"""The commands `plan` and `estimate`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cutline.cli import inputs
from cutline.core.errors import CutlineError

if TYPE_CHECKING:
    from cutline.plan.fleet import Fleet

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A model's usual name, or the path of a config.json.")]
MaybeModel = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]", help="A model's usual name, or the path of a config.json; --chinchilla sizes one."
    ),
]
On = Annotated[
    str,
    typer.Option(
        "--on", help="The fleet, such as '2048 x A100-SXM-80GB' or '512 x A800 + 512 x H20', or a fleet file (.toml).",
        metavar="FLEET",
    ),
]  # fmt: skip
Tokens = Annotated[
    str | None,
    typer.Option("--tokens", help="Training tokens, such as 1.4T; as published if left out.", metavar="N"),
]
Seq = Annotated[
    str | None, typer.Option("--seq", help="Tokens of one sequence; as pre-trained if left out.", metavar="N")
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="Recipe of the linear layers: bf16 (if left out), fp16, fp8, fp8-rowwise, fp8-block, mxfp8, nvfp4, int8, tf32, fp32; by group as 'fp8, A800: bf16'.",
        metavar="NAME",
    ),
]
StackName = Annotated[
    str | None,
    typer.Option("--stack", help="Software stack by name, or a file of `cutline calibrate`.", metavar="NAME|FILE"),
]
FrameworkName = Annotated[
    str | None,
    typer.Option(
        "--framework", help="Whose strategies are legal: megatron, torchtitan, deepspeed, any; the stack's if left out.",
        metavar="NAME",
    ),
]  # fmt: skip
Network = Annotated[
    str | None,
    typer.Option("--network", help="Network, such as '400 Gb/s per chip' or '8x200 Gb/s'.", metavar="RATE"),
]
Money = Annotated[str, typer.Option("--money", help="Whether chips are rented or owned: rent, own.", metavar="NAME")]
Routing = Annotated[
    str | None,
    typer.Option(
        "--routing", help="Load of an expert varies by this share; 'balanced' or 0 is forced balance.", metavar="SHARE"
    ),
]
Capacity = Annotated[
    str | None,
    typer.Option("--capacity", help="Load over the mean at which an expert drops tokens, 1 or more.", metavar="X"),
]
Mtp = Annotated[bool, typer.Option("--mtp/--no-mtp", help="Train multi-token-prediction layers, if the model has any.")]
ClipSize = Annotated[
    str | None,
    typer.Option("--clip", help="Frames x height x width of a clip, such as 81x720x1280.", metavar="FxHxW"),
]
Clips = Annotated[str | None, typer.Option("--clips", help="Clips of the whole run, in place of tokens.", metavar="N")]
Gradients = Annotated[
    str | None, typer.Option("--gradients", help="Width in which gradients are reduced: bf16, fp32.", metavar="NAME")
]
Json = Annotated[bool, typer.Option("--json", help="Print the same content as JSON.")]
Sources = Annotated[bool, typer.Option("--sources", help="List every fact with value, date, tier, title and address.")]
Count = Annotated[str, typer.Option(metavar="N")]
OverlapExpertsOption = Annotated[
    bool, typer.Option("--overlap-experts", help="Run exchanges beside another micro-batch.")
]
GlobalBatchOption = Annotated[
    str | None, typer.Option(help="Sequences of one step; 4M tokens if left out.", metavar="N")
]
RecomputeOption = Annotated[
    str,
    typer.Option(
        help="none, full, a number of layers per stage, or modules joined by +: selective, light, feed.",
        metavar="NAME|N",
    ),
]
ZeroOption = Annotated[
    str | None, typer.Option(help="ZeRO stage, 0 to 3; 3 is FSDP; as usual for the stack if left out.", metavar="N")
]
SequenceParallelOption = Annotated[
    bool | None,
    typer.Option(help="Share out what lies between tensor-parallel blocks; as usual for the stack if left out."),
]
TpOption = Annotated[str, typer.Option(help="Tensor-parallel ranks.", metavar="N")]
CpOption = Annotated[str, typer.Option(help="Context-parallel ranks.", metavar="N")]
CpKindOption = Annotated[str, typer.Option(help="ring, all-gather or all-to-all.", metavar="NAME")]
PpOption = Annotated[str, typer.Option(help="Pipeline stages.", metavar="N")]
VppOption = Annotated[str, typer.Option(help="Chunks per stage; 1 is plain 1F1B.", metavar="N")]
ScheduleOption = Annotated[str, typer.Option(help="1f1b, zb-h1, zb-h2 or dualpipe.", metavar="NAME")]
DpOption = Annotated[str | None, typer.Option(help="Data-parallel ranks; what is left of the fleet.", metavar="N")]
EpOption = Annotated[str, typer.Option(help="Expert-parallel ranks.", metavar="N")]
EtpOption = Annotated[str, typer.Option(help="Tensor-parallel ranks of one expert: 1 or as --tp.", metavar="N")]
MicroBatchOption = Annotated[str, typer.Option(help="Sequences of one micro-batch.", metavar="N")]
OffloadOption = Annotated[bool, typer.Option("--offload", help="Keep optimizer states on the host.")]
GraphsOption = Annotated[bool, typer.Option("--graphs", help="Capture kernel launches in graphs.")]


BatchTokens = Annotated[str | None, typer.Option(help="Tokens of one step; 4M if left out.", metavar="N")]
Top = Annotated[str, typer.Option(help="How many plans to show.", metavar="N")]
Objective = Annotated[str, typer.Option(help="What to minimise: time, cost or energy.", metavar="NAME")]
Compare = Annotated[str | None, typer.Option(help="The same job on other parts, such as A800,H20.", metavar="CHIPS")]
Days = Annotated[str | None, typer.Option(help="As many tokens as so many days allow.", metavar="N")]
Flop = Annotated[str | None, typer.Option(help="As many tokens as this model flop buys.", metavar="N")]
Chinchilla = Annotated[
    bool, typer.Option("--chinchilla", help="Tokens, or model and tokens, of least loss for the compute.")
]
Law = Annotated[str, typer.Option(help="Scaling law: besiroglu or chinchilla.", metavar="NAME")]
Ramp = Annotated[
    str | None, typer.Option(help="Batch ramp, such as '4M, 8M from 252M', or 'published'.", metavar="TEXT")
]
Between = Annotated[
    str | None,
    typer.Option(
        help="Link between groups of chips: a rate such as '100 Gb/s per chip', host, direct or none.", metavar="WAY"
    ),
]

ShareOption = Annotated[
    str | None,
    typer.Option(
        "--share", help="Sequences of a step for each kind of chip, such as 'A800: 1280, H20: 768'.", metavar="LIST"
    ),
]
LayersOption = Annotated[
    str | None,
    typer.Option(
        "--layers",
        help="Layers of each stage of one pipeline over all kinds, such as 'A800: 25 25, H20: 30'.",
        metavar="LIST",
    ),
]


def plan(
    on: On,
    model: MaybeModel = None,
    tokens: Tokens = None,
    seq: Seq = None,
    batch_tokens: BatchTokens = None,
    precision: Precision = None,
    top: Top = "5",
    objective: Objective = "time",
    stack: StackName = None,
    framework: FrameworkName = None,
    network: Network = None,
    money: Money = "rent",
    compare: Compare = None,
    days: Days = None,
    flop: Flop = None,
    chinchilla: Chinchilla = False,
    law: Law = "besiroglu",
    ramp: Ramp = None,
    routing: Routing = None,
    capacity: Capacity = None,
    mtp: Mtp = True,
    clip: ClipSize = None,
    clips: Clips = None,
    gradients: Gradients = None,
    between: Between = None,
    sources: Sources = False,
    json: Json = False,
) -> None:
    """Find the best way to train a model on a fleet.

    Prints days with an interval, memory, energy and money, what limits the run, and what was published. On a fleet of
    several kinds of chips it prints which kind does what.
    """
    started = time.perf_counter()
    from cutline.cli import screen, whole
    from cutline.plan import run

    fleet = inputs.fleet(on)
    by_group = {"precision": precision, "stack": stack, "network": network}
    of_one = by_group if len(fleet) == 1 else dict.fromkeys(by_group)
    ask = whole.ask_of(
        tokens, seq, of_one["precision"], of_one["stack"], of_one["network"], framework, routing, capacity, clips, gradients,
        mtp=mtp, clip=clip, money=money, batch_tokens=inputs.number(batch_tokens, "--batch-tokens", 1e12),
    )  # fmt: skip
    goal = inputs.one_of(objective, "--objective", ("time", "cost", "energy"))
    if len(fleet) > 1:
        alone = {
            "--compare": compare,
            "--days": days,
            "--flop": flop,
            "--ramp": ramp,
            "--chinchilla": chinchilla or None,
            "--top": top if top != "5" else None,
        }
        _plan_mixed(model, fleet, ask, by_group, between, goal, alone, started, sources, json)
        return
    if between is not None:
        raise CutlineError(f"--between is of a fleet of several kinds; got --on '{on}'")
    most, parts = inputs.whole(top, "--top", 1000), inputs.names(compare, "--compare")
    wanted = whole.Wanted(inputs.decimal(days, "--days"), inputs.decimal(flop, "--flop"), chinchilla, law)
    with screen.progress("searching") as tick:
        job, sizing = whole.sized(model, fleet, ask, wanted)
        answer = run.plan(job, most, goal, tick) | {"sizing": sizing}
        answer |= whole.beside(job, answer, whole.arguments(ask, job), parts, ramp)
    _show(answer, time.perf_counter() - started, sources, json)


def estimate(
    model: ModelName,
    on: On,
    tp: TpOption = "1",
    cp: CpOption = "1",
    cp_kind: CpKindOption = "ring",
    pp: PpOption = "1",
    vpp: VppOption = "1",
    schedule: ScheduleOption = "1f1b",
    dp: DpOption = None,
    ep: EpOption = "1",
    etp: EtpOption = "1",
    overlap_experts: OverlapExpertsOption = False,
    micro_batch: MicroBatchOption = "1",
    global_batch: GlobalBatchOption = None,
    seq: Seq = None,
    recompute: RecomputeOption = "none",
    zero: ZeroOption = None,
    sequence_parallel: SequenceParallelOption = None,
    offload: OffloadOption = False,
    graphs: GraphsOption = False,
    precision: Precision = None,
    tokens: Tokens = None,
    stack: StackName = None,
    framework: FrameworkName = None,
    network: Network = None,
    money: Money = "rent",
    routing: Routing = None,
    capacity: Capacity = None,
    mtp: Mtp = True,
    clip: ClipSize = None,
    clips: Clips = None,
    gradients: Gradients = None,
    share: ShareOption = None,
    layers: LayersOption = None,
    between: Between = None,
    sources: Sources = False,
    json: Json = False,
) -> None:
    """Estimate one given strategy.

    Prints where the time of a step goes, and what fills the fullest chip. On a fleet of several kinds of chips every option of
    the strategy may say a value for each kind, such as --tp "A800: 4, H20: 8".
    """
    words = locals()
    from cutline.cli import given

    given.estimate(words)


def _plan_mixed(
    model: str | None,
    fleet: Fleet,
    ask: dict[str, Any],
    by_group: dict[str, str | None],
    between: str | None,
    goal: str,
    alone: dict[str, Any],
    started: float,
    sources: bool,
    json: bool,
) -> None:
    """Plan a fleet of several kinds and print the answer; `alone` are options of fleets of one kind."""
    from cutline.cli import screen, whole
    from cutline.plan import mixed_run

    for option, value in alone.items():
        if value is not None:
            raise CutlineError(f"{option} is of a fleet of one kind; leave it out, or plan each kind alone")
    with screen.progress("searching") as tick:
        answer = mixed_run.plan(whole.question(model, fleet, ask, by_group, between), goal, tick)
    _show(answer, time.perf_counter() - started, sources, json)


def _show(answer: dict[str, Any], seconds: float, sources: bool, json: bool) -> None:
    """Print the answer of `plan`, as JSON or laid out: one with groups is of a mixed fleet."""
    from cutline.cli import screen, show_mixed, show_plan

    if json:
        screen.print_json(answer)
    elif "groups" in answer:
        show_mixed.plan(answer, seconds, sources)
    else:
        show_plan.plan(answer, seconds, sources)
