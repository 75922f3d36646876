"""The commands `plan` and `estimate`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cutline.cli import inputs

if TYPE_CHECKING:
    from cutline.plan.run import Job

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A model's usual name, or the path of a config.json.")]
On = Annotated[str, typer.Option("--on", help="The fleet, such as '2048 x A100-SXM-80GB'.", metavar="FLEET")]
Tokens = Annotated[
    str | None,
    typer.Option("--tokens", help="Training tokens, such as 1.4T; as published if left out.", metavar="N"),
]
Seq = Annotated[
    str | None, typer.Option("--seq", help="Tokens of one sequence; as pre-trained if left out.", metavar="N")
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        help="Format of the linear layers: bf16, fp16, fp8, mxfp8, nvfp4, tf32, fp32.",
        metavar="NAME",
    ),
]
StackName = Annotated[
    str | None,
    typer.Option("--stack", help="Software stack by name, or a file of `cutline calibrate`.", metavar="NAME|FILE"),
]
Network = Annotated[
    str | None,
    typer.Option("--network", help="Network, such as '400 Gb/s per chip' or '8x200 Gb/s'.", metavar="RATE"),
]
Money = Annotated[str, typer.Option("--money", help="Whether chips are rented or owned: rent, own.", metavar="NAME")]
Json = Annotated[bool, typer.Option("--json", help="Print the same content as JSON.")]
Sources = Annotated[bool, typer.Option("--sources", help="List every fact with value, date, tier, title and address.")]
Count = Annotated[str, typer.Option(metavar="N")]


def plan(
    model: ModelName,
    on: On,
    tokens: Tokens = None,
    seq: Seq = None,
    batch_tokens: Annotated[str | None, typer.Option(help="Tokens of one step; 4M if left out.", metavar="N")] = None,
    precision: Precision = "bf16",
    top: Annotated[str, typer.Option(help="How many plans to show.", metavar="N")] = "5",
    objective: Annotated[str, typer.Option(help="What to minimise: time, cost or energy.", metavar="NAME")] = "time",
    stack: StackName = None,
    network: Network = None,
    money: Money = "rent",
    sources: Sources = False,
    json: Json = False,
) -> None:
    """Find the best way to train a model on a fleet.

    Prints days with an interval, memory, energy and money, what limits the run, and what was published.
    """
    started = time.perf_counter()
    from cutline.cli import screen
    from cutline.plan import run

    most = inputs.whole(top, "--top", 1000)
    wanted = inputs.number(batch_tokens, "--batch-tokens", 1e12)
    goal = inputs.one_of(objective, "--objective", ("time", "cost", "energy"))
    job = _job(model, on, tokens, seq, precision, stack, network, money=money, batch_tokens=wanted)
    with screen.progress("searching") as tick:
        answer = run.plan(job, most, goal, tick)
    if json:
        screen.print_json(answer)
        return
    from cutline.cli import show_plan

    show_plan.plan(answer, time.perf_counter() - started, sources)


def estimate(
    model: ModelName,
    on: On,
    tp: Annotated[str, typer.Option(help="Tensor-parallel ranks.", metavar="N")] = "1",
    cp: Annotated[str, typer.Option(help="Context-parallel ranks.", metavar="N")] = "1",
    pp: Annotated[str, typer.Option(help="Pipeline stages.", metavar="N")] = "1",
    vpp: Annotated[str, typer.Option(help="Chunks per stage; 1 is plain 1F1B.", metavar="N")] = "1",
    dp: Annotated[str | None, typer.Option(help="Data-parallel ranks; what is left of the fleet.", metavar="N")] = None,
    micro_batch: Annotated[str, typer.Option(help="Sequences of one micro-batch.", metavar="N")] = "1",
    global_batch: Annotated[
        str | None, typer.Option(help="Sequences of one step; 4M tokens if left out.", metavar="N")
    ] = None,
    seq: Seq = None,
    recompute: Annotated[
        str, typer.Option(help="none, selective, full, or a number of layers per stage.", metavar="NAME|N")
    ] = "none",
    zero: Annotated[
        str | None, typer.Option(help="ZeRO stage, 0 to 3; 3 is FSDP; as usual for the stack if left out.", metavar="N")
    ] = None,
    sequence_parallel: Annotated[
        bool | None,
        typer.Option(help="Share out what lies between tensor-parallel blocks; as usual for the stack if left out."),
    ] = None,
    precision: Precision = "bf16",
    tokens: Tokens = None,
    stack: StackName = None,
    network: Network = None,
    money: Money = "rent",
    sources: Sources = False,
    json: Json = False,
) -> None:
    """Estimate one given strategy.

    Prints where the time of a step goes, and what fills the fullest chip.
    """
    from cutline.cli import screen
    from cutline.plan import run

    sizes = {"tp": tp, "cp": cp, "pp": pp, "vpp": vpp, "micro_batch": micro_batch}
    if dp is not None:
        sizes["dp"] = dp
    chosen = {name: float(inputs.whole(text, "--" + name.replace("_", "-"))) for name, text in sizes.items()}
    if zero is not None:
        chosen["zero"] = float(inputs.one_of(zero, "--zero", ("0", "1", "2", "3")))
    if sequence_parallel is not None:
        chosen["sequence_parallel"] = float(sequence_parallel)
    batch = inputs.whole(global_batch, "--global-batch") if global_batch is not None else None
    job = _job(model, on, tokens, seq, precision, stack, network, money=money, global_batch=batch)
    deep = layers_per_stage(job.model.layers, int(chosen["pp"]), int(chosen["vpp"]))
    chosen |= run.recompute_fields(recompute.strip().casefold(), deep)
    answer = run.given(job, chosen)
    if json:
        screen.print_json(answer)
        return
    from cutline.cli import show_plan

    show_plan.estimate(answer, sources)


def layers_per_stage(layers: int, pp: int, vpp: int) -> int:
    """Return the layers of the fullest stage, to which `--recompute N` refers."""
    from cutline.plan.strategy import layouts

    ways = layouts(layers, pp, vpp)
    return max(ways[0]) if ways else -(-layers // pp)


def _job(
    model: str,
    on: str,
    tokens: str | None,
    seq: str | None,
    precision: str,
    stack: str | None,
    network: str | None,
    **batch: Any,
) -> Job:
    """Turn the words that `plan` and `estimate` share into a job."""
    from cutline.cli.words import plain
    from cutline.plan import run

    wanted = inputs.number(tokens, "--tokens")
    length = inputs.whole(seq, "--seq", 1e8) if seq is not None else None
    chosen = inputs.stack_named(stack)
    shape = inputs.model_named(model)
    published = shape.tokens if wanted is None else None
    job = run.job(
        shape,
        inputs.fleet(on),
        wanted or published,
        length,
        precision=precision.strip().casefold(),
        stack=chosen.stack,
        changes=chosen.changes,
        residual=chosen.residual,
        network=inputs.network(network),
        **batch,
    )
    if published:
        job.assumed.append(f"tokens {plain(published)}: as published")
    return job
