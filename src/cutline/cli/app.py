"""The list of commands. Each is a function of another module; its docstring is its help text."""

from __future__ import annotations

from typing import Annotated

import typer

from cutline.cli import catalogue, measuring, outlooking, planning, ruling, serving

app = typer.Typer(
    name="cutline",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)
app.command()(planning.plan)
app.command()(planning.estimate)
app.command()(serving.serve)
app.command()(serving.run)
app.command()(catalogue.chips)
app.command()(catalogue.chip)
app.command()(catalogue.models)
app.command()(catalogue.model)
app.command()(ruling.rule)
app.command()(ruling.rules)
app.command()(ruling.line)
app.command()(ruling.design)
app.command()(outlooking.gap)
app.command()(outlooking.ability)
app.command()(outlooking.supply)
app.command()(outlooking.scenario)
app.command()(outlooking.claims)
app.command()(measuring.accuracy)
app.command()(measuring.calibrate)


def _version(asked: bool) -> None:
    if asked:
        from cutline.cli.words import version

        print(version())
        raise typer.Exit()


@app.callback()
def cutline(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """AI under chip limits: what the law of a day allows, what a run takes and what a fleet serves, every input with its source.

    Start with: cutline plan llama-65b --on "2048 x A100-SXM-80GB" --tokens 1.4T
    or with:    cutline rule H20 --to CN --on 2025-05-01
    """
