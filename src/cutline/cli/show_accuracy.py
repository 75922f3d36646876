"""Lays out the answers of `accuracy` and `calibrate`."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from cutline.cli import screen, words
from cutline.cli.words import digits, percent

Answer = dict[str, Any]
REASONS = 12
"""Reasons that are listed one by one; the others are summed."""


def accuracy(answer: Answer, every_row: bool, stack: Answer | None) -> None:
    """Print the answer of `cutline accuracy`."""
    rows, skipped, fitted = answer["rows"], answer["skipped"], answer["calibrated_on"]
    errors = [abs(r["error"]) for r in rows]
    screen.line()
    if not rows:
        screen.line("Nothing was scored: every row was skipped.", "bold")
    else:
        inside = sum(r["low"] <= r["measured"] <= r["high"] for r in rows) / len(rows)
        screen.line(
            f"median error of the step time {percent(median(errors), 1)}, {percent(inside)} of measurements "
            f"inside the 90 % interval ({words.counted(len(rows), 'row')})",
            "bold",
        )
        screen.line()
        _summary(answer["summary"])
        _rank(answer["rank"])
    screen.line()
    _how(fitted, stack, {r["id"] for r in rows})
    if every_row:
        screen.line()
        _rows(rows)
    screen.line()
    _skipped(skipped)
    screen.line(words.version(), "dim")


def inference(answer: Answer, every_row: bool, fitted: int) -> None:
    """Print the answer of `cutline accuracy --kind inference`."""
    rows = answer["rows"]
    screen.line()
    if not rows:
        screen.line("Nothing was scored: every row was skipped.", "bold")
    else:
        good = [r for r in rows if not r["fault"]]
        inside = sum(r["low"] <= r["measured"] <= r["high"] for r in good) / max(len(good), 1)
        screen.line(
            f"{percent(answer['answered'], 1)} of the rows answered; {words.counted(len(good), 'row')} scored, {percent(inside)} of them inside the "
            f"90 % interval; {len(rows) - len(good):,} predicted and not scored, for they cannot be what they state",
            "bold",
        )
        screen.line()
        _summary(answer["summary"])
    screen.line()
    terms = "bias: median of predicted over measured less 1; p90: 90th percentile of the error"
    if fitted:
        screen.line(
            f"calibrated: {words.counted(fitted, 'row')} of each source, engine and chip were seen, and are not scored; {terms}",
            hang=2,
        )
    else:
        screen.line(f"blind: each source predicted with constants fitted without it; {terms}", hang=2)
    if every_row:
        screen.line()
        _rows(rows)
    screen.line()
    _skipped(answer["skipped"])
    screen.line(words.version(), "dim")


def _summary(summary: list[Answer]) -> None:
    table = [
        [
            s["group"],
            f"{s['n']:,}",
            *(percent(s[k], 1) for k in ("median", "mean")),
            f"{100 * s['bias']:+.1f} %",
            percent(s["p90"], 1),
            percent(s["inside"]),
            "",
        ]
        for s in summary
    ]
    screen.columns(["group", "n", "median", "mean", "bias", "p90", "inside 90 %", ""], table, right=(1, 2, 3, 4, 5, 6))


def _rank(rank: list[Answer]) -> None:
    """Say how often the best measured strategy of a job is among the first three predicted ones."""
    sets = sum(r["sets"] for r in rank)
    if not sets:
        return
    three, first = (sum(r["sets"] * r[k] for r in rank) / sets for k in ("among_three", "first"))
    screen.line()
    screen.line(
        f"rank: of {words.counted(sets, 'job')} measured under four strategies or more, the fastest is among the first three predicted in "
        f"{percent(three)}, first in {percent(first)}"
    )


def _how(fitted: Answer, stack: Answer | None, scored: set[str]) -> None:
    """Say which rows had a part in the constants."""
    terms = "bias: median of predicted over measured less 1; p90: 90th percentile of the error"
    if fitted:
        n = words.counted(len(next(iter(fitted.values()))["rows"]), "row")
        screen.line(f"calibrated: five factors fitted on {n} of each group, which are not scored; {terms}")
    elif stack:
        own = len(scored & set(stack.get("calibrated_on", [])))
        name = stack.get("name", "the file")
        screen.line(f"with the multipliers of {name} (base {stack['base']}), which were fitted on {own} of these rows")
    else:
        screen.line(f"blind: each group predicted with constants fitted without it; {terms}")


def _rows(rows: list[Answer]) -> None:
    table = [
        [
            r["id"],
            r["metric"]
            .replace("_per_s_per_chip", "/s/chip")
            .replace("_per_chip", "/chip")
            .replace("total_output", "out")
            .replace("_tok_s", " tok/s")
            .replace("_ms", " ms"),
            digits(r["predicted"]),
            f"{digits(r['low'])} to {digits(r['high'])}",
            digits(r["measured"]),
            f"{100 * r['error']:+.1f} %",
            "; ".join(r["assumed"]),
        ]
        for r in rows
    ]
    screen.columns(["id", "metric", "predicted", "90 %", "measured", "error", "assumed"], table, right=(2, 3, 4, 5))


def _skipped(skipped: list[Answer]) -> None:
    """Print how many rows were skipped, by reason; a name in a reason does not make it another one."""
    if not skipped:
        screen.line("no row was skipped")
        return
    reasons = Counter(kind_of(s["reason"]) for s in skipped)
    rows = [[f"{n:,}", reason] for reason, n in reasons.most_common(REASONS)]
    if len(reasons) > REASONS:
        rest = len(skipped) - sum(n for _, n in reasons.most_common(REASONS))
        rows.append([f"{rest:,}", f"{len(reasons) - REASONS} other reasons: --json lists every row"])
    screen.columns(["skipped", "reason"], rows, right=(0,))


def kind_of(reason: str) -> str:
    """Return a reason without what is particular to one row.

    Examples
    --------
    >>> kind_of("data fault: repeats mf-0008"), kind_of("no chip named 'X1'. Did you mean X2?")
    ('data fault: repeats ...', "no chip named '...'")
    """
    reason = re.sub(r"\. Did you mean.*|\. `cutline.*", "", re.sub(r"^line \d+: ", "", reason))
    reason = re.sub(r"(repeats|same value as) \S+.*", r"\1 ...", reason)
    if not reason.startswith("architecture"):
        reason = re.sub(r"'[^']*'", "'...'", reason)
    return re.sub(r"= \d+, but \d+", "= ..., but ...", reason)


def calibrate(answer: Answer, path: Path, asked: int | None = None) -> None:
    """Print the answer of `cutline calibrate`, which was asked to fit `asked` rows."""
    best = answer["others"] or answer["fitted"]
    which = "that were not fitted" if answer["others"] else "all of them fitted"
    number = words.counted(best["n"], "row") + (" " if answer["others"] else ", ")
    screen.line()
    before, after = (percent(best[k]["median"], 1) for k in ("before", "after"))
    screen.line(f"median error {before} before, {after} after ({number}{which})", "bold")
    if asked and asked > answer["fitted"]["n"]:
        usable = words.counted(answer["fitted"]["n"], "row")
        screen.line(f"--rows asked for {asked:,}, but only {usable} can be used")
    screen.line()
    rows = []
    for what, errors in (("fitted", answer["fitted"]), ("others", answer["others"])):
        for when in ("before", "after") if errors else ():
            e = errors[when]
            numbers = [percent(e[k], 1) for k in ("median", "mean", "worst")]
            rows.append([f"{what}, {when}", f"{errors['n']:,}", *numbers, ""])
    screen.columns(["error of the step time", "n", "median", "mean", "worst", ""], rows, right=(1, 2, 3, 4))
    screen.line()
    screen.items(f"multipliers on {answer['base']}: ", [f"{k} {v:.3f}" for k, v in answer["multipliers"].items()])
    ids = answer["calibrated_on"]
    screen.items("calibrated on: ", ids[:20] + (["..."] if len(ids) > 20 else []), "  ")
    if answer["skipped"]:
        screen.line()
        _skipped(answer["skipped"])
    screen.line()
    screen.line(f"wrote {path}; other commands take it as --stack")
    screen.line(words.version(), "dim")
