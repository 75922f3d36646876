"""The commands `serve` and `run`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cutline.cli import inputs
from cutline.cli.planning import ClipSize, Json, ModelName, Money, On, Sources
from cutline.core.errors import CutlineError

Input = Annotated[str, typer.Option("--input", help="Tokens of a prompt.", metavar="N")]
Output = Annotated[str, typer.Option("--output", help="Tokens of an answer.", metavar="N")]
Rate = Annotated[
    str | None,
    typer.Option(help="Requests a second that arrive at random; as many as can be, if left out.", metavar="R"),
]
Clients = Annotated[
    str | None, typer.Option("--concurrency", help="Clients that each wait for their answer.", metavar="N")
]
Ttft = Annotated[
    str | None, typer.Option(help="Longest time to the first token, for nine requests of ten.", metavar="S")
]
Tpot = Annotated[str | None, typer.Option(help="Longest time per token, for nine requests of ten.", metavar="S")]
Goal = Annotated[
    str,
    typer.Option(
        "--objective",
        help="throughput (of a chip), cost, energy, chips (the fewest) or speed (for a user).",
        metavar="NAME",
    ),
]
Cached = Annotated[str, typer.Option(help="Share of prompts found in the prefix cache, 0 to 1.", metavar="SHARE")]
Drafts = Annotated[str, typer.Option(help="Tokens that a draft head proposes in each step.", metavar="N")]
Acceptance = Annotated[str | None, typer.Option(help="Share of first drafts that are right.", metavar="SHARE")]
Weights = Annotated[
    str | None,
    typer.Option(help="bf16, fp8, int8, nvfp4, mxfp4 or int4; as published if left out.", metavar="NAME"),
]
Cache = Annotated[str | None, typer.Option(help="Format of keys and values: bf16, fp8 or int8.", metavar="NAME")]
EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="vllm, sglang, trtllm, vllm-ascend, mindie or custom; the usual one if left out.",
        metavar="NAME",
    ),
]
Launch = Annotated[str | None, typer.Option(help="How kernels are launched: graph or eager.", metavar="NAME")]
Top = Annotated[str, typer.Option(help="How many plans to show.", metavar="N")]


def serve(
    model: ModelName,
    on: On,
    input: Input = "2048",
    output: Output = "512",
    rate: Rate = None,
    concurrency: Clients = None,
    ttft: Ttft = None,
    tpot: Tpot = None,
    objective: Goal = "throughput",
    cached: Cached = "0",
    drafts: Drafts = "0",
    acceptance: Acceptance = None,
    weights: Weights = None,
    cache: Cache = None,
    engine: EngineName = None,
    launch: Launch = None,
    clip: ClipSize = None,
    money: Money = "rent",
    top: Top = "5",
    sources: Sources = False,
    json: Json = False,
) -> None:
    """Find the best way to serve a model on a fleet.

    Prints tokens a second of a chip and of a user, times with quantiles, money and energy, what binds, and the front of speed against
    throughput. Fleets of two kinds may take prompts on one and decode on the other. With --clip it draws clips.
    """
    started = time.perf_counter()
    from cutline.cli import screen, show_serving
    from cutline.serve import ask, clips, run

    fleet, shape = inputs.fleet(on), inputs.model_named(model)
    if shape.kind == "dit" or clip is not None:
        said = {
            "--rate": rate, "--concurrency": concurrency, "--ttft": ttft, "--tpot": tpot, "--weights": weights, "--cache": cache, "--engine": engine,
            "--launch": launch, "--acceptance": acceptance, "--drafts": drafts if drafts != "0" else None, "--cached": cached if cached != "0" else None,
        }  # fmt: skip
        for option, value in said.items():
            if value is not None:
                raise CutlineError(f"{option} is of language models; leave it out with --clip")
        drawn = clips.draw(shape, fleet, clip, inputs.one_of(money, "--money", ("rent", "own")))
        screen.print_json(drawn) if json else show_serving.clips(drawn, sources)
        return
    with screen.progress("searching") as tick:
        question = ask.question(
            shape, fleet, input_tokens=inputs.whole(input, "--input", 1e8), output_tokens=inputs.whole(output, "--output", 1e8),
            rate=inputs.decimal(rate, "--rate"), concurrency=inputs.decimal(concurrency, "--concurrency"), ttft_s=inputs.decimal(ttft, "--ttft"),
            tpot_s=inputs.decimal(tpot, "--tpot"), cached=_share(cached, "--cached"), drafts=float(_count(drafts, "--drafts")),
            acceptance=None if acceptance is None else _share(acceptance, "--acceptance"), weights=_word(weights), cache=_word(cache),
            engine=_word(engine), launch=_word(launch), objective=objective.strip().casefold(), money=money,
        )  # fmt: skip
        answer = run.serve(question, inputs.whole(top, "--top", 100), tick)
    if json:
        screen.print_json(answer)
    else:
        show_serving.serve(answer, time.perf_counter() - started, sources)


def run(
    model: ModelName,
    on: Annotated[
        str,
        typer.Option(
            "--on",
            help="The machine, such as 'M3 Max 64GB', 'RTX 4090', '2 x RTX 3090' or 'Snapdragon 8 Elite'.",
            metavar="MACHINE",
        ),
    ],
    quant: Annotated[
        str | None,
        typer.Option(help="Quantisation, such as q4_k_m, q8_0, f16; the widest that fits if left out.", metavar="NAME"),
    ] = None,
    context: Annotated[str, typer.Option(help="Tokens that the cache has room for.", metavar="N")] = "8192",
    prompt: Annotated[str, typer.Option(help="Tokens of the prompt.", metavar="N")] = "512",
    unit: Annotated[str | None, typer.Option(help="gpu, cpu or npu; the GPU if left out.", metavar="NAME")] = None,
    cache: Annotated[str, typer.Option(help="Format of keys and values: f16, q8_0 or q4_0.", metavar="NAME")] = "f16",
    sources: Sources = False,
    json: Json = False,
) -> None:
    """Run a model for one user on a laptop, a card or a phone.

    Says whether it fits at a context, how fast it reads a prompt and writes an answer, and what would make it fit.
    """
    from cutline.cli import screen, show_serving
    from cutline.serve import local_run

    answer = local_run.run(
        inputs.model_named(model), on, _word(quant), inputs.whole(context, "--context", 1e8), inputs.whole(prompt, "--prompt", 1e8), _word(unit),
        inputs.one_of(cache, "--cache", ("f16", "q8_0", "q4_0")),
    )  # fmt: skip
    if json:
        screen.print_json(answer)
    else:
        show_serving.run(answer, sources)


def _word(text: str | None) -> str | None:
    return None if text is None else text.strip().casefold()


def _share(text: str, option: str) -> float:
    """Read a share from 0 to 1, or a percentage."""
    word = text.strip()
    try:
        found = float(word.removesuffix("%")) / (100.0 if word.endswith("%") else 1.0)
    except ValueError:
        raise CutlineError(f"{option} must be a share such as 0.5 or 50%; got '{text}'") from None
    if not 0 <= found <= 1:
        raise CutlineError(f"{option} must be between 0 and 1; got '{text}'")
    return found


def _count(text: str, option: str) -> int:
    """Read a small count, 0 allowed."""
    if not text.strip().isdigit() or int(text) > 16:
        raise CutlineError(f"{option} must be a whole number from 0 to 16; got '{text}'")
    return int(text)
