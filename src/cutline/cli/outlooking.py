"""Commands on the gap: `gap`, `ability`, `supply`, `scenario`, `claims`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from cutline.cli import inputs
from cutline.core.errors import CutlineError

Json = Annotated[bool, typer.Option("--json", help="Print the same content as JSON.")]
Plot = Annotated[
    str | None,
    typer.Option("--plot", metavar="FILE", help="Draw the answer too: .svg, .png, .html or .json (Vega-Lite)."),
]
Draws = Annotated[str | None, typer.Option(metavar="N", help="Draws of what is not known.")]
Seed = Annotated[str, typer.Option(metavar="N", help="Seed of the draws: the same seed gives the same numbers.")]
Day = Annotated[str | None, typer.Option("--on", metavar="DATE", help="Day asked, YYYY-MM-DD.")]


def day(text: str | None, option: str) -> str | None:
    """Read an ISO day, or None."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        raise CutlineError(f"{option} must be a day such as 2026-06-30; got '{text}'") from None


def _file(text: str | None, option: str) -> Path | None:
    if text is None:
        return None
    path = Path(text)
    if not path.is_file():
        raise CutlineError(f"{option}: there is no file '{text}'")
    return path


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(w.strip() for w in (text or "").split(",") if w.strip())


def _points(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e6:
        raise CutlineError(f"--tolerance must be a number of points of at least 0; got '{text}'")
    return found


def _seed(text: str) -> int:
    if not text.strip().isdigit():
        raise CutlineError(f"--seed must be a whole number of at least 0; got '{text}'")
    return int(text)


def gap(
    follower: Annotated[
        str, typer.Argument(metavar="FOLLOWER", help="Group that is behind, such as china or open.", show_default=False)
    ],
    leader: Annotated[
        str, typer.Argument(metavar="LEADER", help="Group ahead, such as us, us-closed or OpenAI.", show_default=False)
    ],
    rule: Annotated[
        str, typer.Option(metavar="NAMES", help="H1 daily, H2 level, H3 milestone, H4 significant, V vertical, or all.")
    ] = "all",
    on: Day = None,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="First day that counts; 2023-06-01 unless given.")
    ] = None,
    vintage: Annotated[
        str | None, typer.Option(metavar="DATE", help="State of the index; the newest unless given.")
    ] = None,
    tolerance: Annotated[
        str | None, typer.Option(metavar="POINTS", help="Difference that does not count; several unless given.")
    ] = None,
    yardstick: Annotated[str, typer.Option(metavar="NAME", help="eci, arena (with --board) or compute.")] = "eci",
    dates: Annotated[
        str, typer.Option(metavar="RULE", help="Days of release: vintage, announced or available.")
    ] = "vintage",
    without: Annotated[str | None, typer.Option(metavar="NAMES", help="Makers or groups to leave out.")] = None,
    benchmarks: Annotated[
        str, typer.Option(metavar="SET", help="all, optimized (labs optimise for them) or unoptimized.")
    ] = "all",
    intervals: Annotated[
        str, typer.Option(metavar="KIND", help="published, or a refit that draws models, rows or benchmarks.")
    ] = "published",
    board: Annotated[str | None, typer.Option(metavar="FILE", help="Dated boards, for the yardstick arena.")] = None,
    index: Annotated[str | None, typer.Option(metavar="FILE", help="An index of your own, in Epoch AI's form.")] = None,
    runs: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A table of training runs in Epoch AI's form, for the yardstick compute."),
    ] = None,
    draws: Draws = None,
    seed: Seed = "1",
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Say how many months one group of models is behind another.

    Every rule side by side: the range over them first, the sampling interval of each second. Groups are countries (us, china, other),
    open or closed weights, models trained on restricted chips, several joined (china-open), or a maker.
    """
    from cutline.cli import plots, screen, show_gap
    from cutline.outlook import gap as rooms
    from cutline.outlook.sample import RULES, Ask

    target = plots.target(plot)
    rules = RULES if rule.strip().casefold() == "all" else tuple(dict.fromkeys(r.upper() for r in _words(rule)))
    if not rules:
        raise CutlineError(f"--rule must be all or some of {', '.join(RULES)}; got '{rule}'")
    allowed = None if tolerance is None else _points(tolerance)
    ask = Ask(
        follower, leader, yardstick.strip().casefold(), day(vintage, "--vintage"), day(on, "--on"), day(since, "--since"), rules, allowed, dates,
        _words(without), benchmarks, intervals, inputs.whole(draws or "300", "--draws", 1e4), _seed(seed),
        _file(board, "--board"), _file(index, "--index"), _file(runs, "--runs"),
    )  # fmt: skip
    with screen.progress("drawing"):
        answer = rooms.gap(ask)
    if target is not None:
        plots.gap(answer | {"history": rooms.history(ask)}, target)
    screen.print_json(answer) if json else show_gap.gap(answer)


def ability(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="Model of the index, such as DeepSeek-V3.", show_default=False),
    ] = None,
    scores: Annotated[
        str | None, typer.Option(metavar="FILE", help="Scores of your own models: model, benchmark, score.")
    ] = None,
    intervals: Annotated[
        str, typer.Option(metavar="KIND", help="What the bootstrap draws: models, rows or benchmarks.")
    ] = "models",
    draws: Draws = None,
    seed: Seed = "1",
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Print a model's ability: its index value by vintage, our own fit, its scores, who was there first.

    With --scores it puts models of your own on the scale of the index.
    """
    from cutline.cli import plots, screen, show_gap
    from cutline.outlook import ability as rooms

    target = plots.target(plot)

    if (model is None) == (scores is None):
        raise CutlineError("ability needs a model, or --scores with a file of scores of your own; give one of the two")
    path = _file(scores, "--scores")
    if path is not None and target is not None:
        raise CutlineError("--plot draws one model of the index; leave it out with --scores")
    if path is not None:
        rows = rooms.abilities_of(path)
        screen.print_json(rows) if json else show_gap.abilities(rows)
        return
    with screen.progress("fitting"):
        kind = inputs.one_of(intervals, "--intervals", ("models", "rows", "benchmarks"))
        answer = rooms.ability(str(model), inputs.whole(draws or "200", "--draws", 1e4), _seed(seed), kind)
    if target is not None:
        plots.ability(answer, target)
    screen.print_json(answer) if json else show_gap.ability(answer)


def supply(
    country: Annotated[str, typer.Option(metavar="CODE", help="CN or US: where the owners of the chips are.")] = "CN",
    on: Day = None,
    draws: Draws = None,
    seed: Seed = "0",
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Print the chips that a country has in service on a day, by how they came, and what they are worth.

    Counts are in chips and in H100 by workload: training, prompts and output tokens are asked of the planner.
    """
    from cutline.cli import plots, screen, show_gap
    from cutline.facts import DATA_VERSION
    from cutline.outlook import supply as rooms

    target = plots.target(plot)
    said, code = day(on, "--on"), country.strip().upper()
    with screen.progress("drawing"):
        when = rooms.last_day(code, date.fromisoformat(DATA_VERSION)) if said is None else date.fromisoformat(said)
        answer = rooms.report(code, when, inputs.whole(draws or "2000", "--draws", 1e5), _seed(seed))
    if target is not None:
        plots.supply(answer, target)
    screen.print_json(answer) if json else show_gap.supply(answer)


def scenario(
    file: Annotated[
        str,
        typer.Argument(metavar="[FILE]", help="A YAML file, or the name of a shipped scenario.", show_default=False),
    ] = "central",
    draws: Draws = None,
    seed: Annotated[
        str | None, typer.Option(metavar="N", help="Seed of the draws; the file's own unless given.")
    ] = None,
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Compare what was known at the end of 2024 with what came.")
    ] = False,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Run a scenario of rules, supply and levers: largest runs and the lag by date, and what moves it.

    Shipped: central, cautious, expansive, rule-a-year-earlier, h20-never-stopped, line-tpp-2400, as-of-2024.
    """
    from cutline.cli import plots, screen, show_scenario
    from cutline.outlook import hindcast, scenario_run
    from cutline.outlook import scenario as reader

    target = plots.target(plot)
    many = None if draws is None else inputs.whole(draws, "--draws", 1e6)
    chosen = None if seed is None else _seed(seed)
    if backtest:
        if file != "central" or plot is not None:
            raise CutlineError("--backtest has its own scenario, as-of-2024; leave the file and --plot out")
        tested = hindcast.backtest(many or 5000, chosen or 0)
        screen.print_json(tested) if json else show_scenario.backtest(tested)
        return
    asked = reader.read(file)
    with screen.progress("drawing"):
        answer = scenario_run.run(asked, many, chosen)
    if target is not None:
        plots.fan(answer, target)
    screen.print_json(answer) if json else show_scenario.scenario(answer)


def claims(
    claim: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="A claim, such as lag-closed; all of them unless given.", show_default=False
        ),
    ] = None,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Check what the press said: the claim's figure, Cutline's own, and a verdict, each computed now."""
    from cutline.cli import plots, screen, show_gap
    from cutline.outlook import claims as rooms

    target = plots.target(plot)

    with screen.progress("checking"):
        rows = rooms.check(claim)
    if target is not None:
        plots.claims(rows, target)
    screen.print_json(rows) if json else show_gap.claims(rows, claim is not None)
