"""The commands `accuracy` and `calibrate`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cutline.cli import inputs
from cutline.cli.planning import Json
from cutline.core.errors import CutlineError, DataError

if TYPE_CHECKING:
    from cutline.plan.express import Job


def accuracy(
    measurements: Annotated[
        Path | None,
        typer.Option(help="Table of measured steps; the catalogue's own if left out.", metavar="FILE"),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(help="Fit five factors on N rows of each group, score the others.", metavar="N"),
    ] = None,
    kind: Annotated[
        str, typer.Option(help="What was measured: training steps, or inference (serving and local).", metavar="NAME")
    ] = "training",
    stack: Annotated[str | None, typer.Option(help="Score with a file of `cutline calibrate`.", metavar="FILE")] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Print every row.")] = False,
    json: Json = False,
) -> None:
    """Score predictions against measured steps.

    Prints the error of each group of measurements, the share inside the interval, and what was skipped.
    """
    from cutline.cli import screen
    from cutline.plan import accuracy

    fitted = inputs.whole(calibrate, "--calibrate", 1000) if calibrate is not None else 0
    if inputs.one_of(kind, "--kind", ("training", "inference")) == "inference":
        _inference(measurements, fitted, stack, rows, json)
        return
    chosen = inputs.stack_named(stack)
    if chosen.about is None and stack is not None:
        raise CutlineError(
            f"--stack must be a .toml file of `cutline calibrate`, as each row names its stack; got '{stack}'"
        )
    if chosen.about and fitted:
        raise CutlineError(f"--stack and --calibrate exclude each other; got '{stack}' and {fitted}")
    with screen.progress("scoring") as tick:
        answer = accuracy.score(measurements, fitted, chosen.changes, tick, chosen.residual)
    if chosen.about:
        _same_stack(answer, chosen.about["base"], str(stack))
    if json:
        screen.print_json(answer)
        return
    from cutline.cli import show_accuracy

    show_accuracy.accuracy(answer, rows, chosen.about)


def _inference(measurements: Path | None, fitted: int, stack: str | None, rows: bool, json: bool) -> None:
    """Score measured serving and print the answer."""
    from cutline.cli import screen, show_accuracy
    from cutline.serve import accuracy

    if stack is not None:
        raise CutlineError(f"--stack is of training steps; leave it out with --kind inference; got '{stack}'")
    with screen.progress("scoring") as tick:
        answer = accuracy.score(measurements, fitted, tick)
    if json:
        screen.print_json(answer)
    else:
        show_accuracy.inference(answer, rows, fitted)


def calibrate(
    measurements: Annotated[
        Path, typer.Option(help="Table of your own measured steps, all of one stack.", metavar="FILE")
    ],
    save: Annotated[Path, typer.Option(help="Where to write the stack file.", metavar="FILE.toml")],
    rows: Annotated[
        str | None,
        typer.Option("--rows", help="Fit on N rows picked by a fixed rule; all if left out.", metavar="N"),
    ] = None,
    json: Json = False,
) -> None:
    """Fit five factors to measured steps of one stack.

    Other commands then take the file as --stack.
    """
    from cutline.cli import screen

    most = inputs.whole(rows, "--rows", 1e6) if rows is not None else None
    _may_save(save, measurements)
    with screen.progress("fitting"):
        answer = calibrated(measurements, save.stem, most)
    write_stack(answer, save)
    if json:
        screen.print_json(answer)
        return
    from cutline.cli import show_accuracy

    show_accuracy.calibrate(answer, save, most)


def _may_save(path: Path, measurements: Path) -> None:
    """Refuse to write a stack file over anything but a stack file."""
    if path.suffix.casefold() != ".toml":
        raise CutlineError(f"--save must name a .toml file, such as mine.toml; got '{path}'")
    if not path.exists():
        return
    if measurements.exists() and path.samefile(measurements):
        raise CutlineError(f"--save must not be the file of --measurements; got '{path}' for both")
    try:
        inputs.read_stack(path)
    except DataError:
        raise CutlineError(
            f"--save would overwrite '{path}', which is no stack file of `cutline calibrate`; name another file"
        ) from None


def calibrated(path: Path, name: str, most: int | None = None) -> dict[str, Any]:
    """Fit the five factors of `fitting.CALIBRATED` to the rows of one stack.

    Parameters
    ----------
    path : Path
        Table of measurements.
    name : str
        What to call the result.
    most : int, optional
        Fit only so many rows, picked by `fitting.pick`; all of them unless given.

    Returns
    -------
    dict
        `name`, `base`, `calibrated_on` (ids), `multipliers`, `residual` (what the fit leaves, log); `fitted` and `others`, each `n` and the errors
        of the step time `before` and `after`; `skipped`.

    Raises
    ------
    CutlineError
        If rows are of several stacks, or fewer than two can be used.
    """
    from cutline.cli.words import counted
    from cutline.plan import accuracy, fitting

    jobs, skipped = accuracy.expressed(accuracy.load(path), path.name)
    found = sorted({j.stack.name for j in jobs})
    if len(found) > 1:
        counts = ", ".join(f"{s} ({counted(sum(j.stack.name == s for j in jobs), 'row')})" for s in found)
        cure = "keep rows of one in the column framework"
        raise DataError(path.name, None, f"rows must all be of one software stack; got {counts}; {cure}")
    picked = fitting.pick(jobs, "shipped", most) if most else jobs
    if len(picked) < 2:
        raise DataError(path.name, None, f"calibration needs at least 2 rows; got {len(picked)}")
    multipliers = fitting.calibrate(picked)
    ids = {j.id for j in picked}
    return {
        "name": name,
        "base": found[0],
        "calibrated_on": sorted(ids),
        "multipliers": multipliers,
        "residual": fitting.residual(picked, "shipped", multipliers),
        "fitted": _errors(picked, multipliers),
        "others": _errors([j for j in jobs if j.id not in ids], multipliers),
        "skipped": skipped,
    }


def _errors(jobs: list[Job], multipliers: dict[str, float]) -> dict[str, Any] | None:
    """Return the errors of the step time before and after calibration, or None without rows."""
    if not jobs:
        return None
    import numpy as np

    from cutline.plan import fitting

    measured = np.array([j.measured_step_s for j in jobs])
    out: dict[str, Any] = {"n": len(jobs)}
    for when, changes in (("before", None), ("after", multipliers)):
        e = fitting.predict(jobs, fitting.constants_of(jobs, "shipped", changes))
        error = abs(e.step_s / measured - 1.0)
        out[when] = {k: float(f(error)) for k, f in (("median", np.median), ("mean", np.mean), ("worst", np.max))}
    return out


def write_stack(answer: dict[str, Any], path: Path) -> None:
    """Write a stack file that `inputs.read_stack` reads."""

    def quoted(text: str) -> str:
        return json_module.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

    ids = "".join(f"  {quoted(i)},\n" for i in answer["calibrated_on"])
    lines = [
        "# Written by `cutline calibrate`; use it with --stack. Multipliers on constants of the base stack.",
        f"name = {quoted(answer['name'])}",
        f"base = {quoted(answer['base'])}",
        f"calibrated_on = [\n{ids}]",
        f"residual = {answer['residual']:.4f}",
        "",
        "[multipliers]",
        *(f"{name} = {value:.6f}" for name, value in answer["multipliers"].items()),
    ]
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(str(path), None, f"--save cannot write here: {error.strerror}") from None


def _same_stack(answer: dict[str, Any], base: str, file: str) -> None:
    """Refuse to score rows of other stacks with the multipliers of one."""
    others = sorted({r["stack"] for r in answer["rows"]} - {base})
    if others:
        raise CutlineError(
            f"{file} was calibrated for the stack {base}, but rows are of {', '.join(others)}; "
            f"give --measurements with rows of {base} alone"
        )
