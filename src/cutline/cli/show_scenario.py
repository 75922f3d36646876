"""Lays out the answers of `scenario`."""

from __future__ import annotations

from typing import Any

from cutline.cli import screen, words
from cutline.cli.words import digits, large

Answer = dict[str, Any]
NAMES = {"lag_compute": "by compute", "lag_index": "by the index"}


def of(row: Answer, scale: float = 1.0) -> str:
    """Write a median with the middle four fifths of draws."""
    return f"{digits(row['p50'] / scale)}  ({digits(row['p10'] / scale)} to {digits(row['p90'] / scale)})"


def months(row: Answer) -> str:
    """Write months with the middle four fifths of draws."""
    return f"{row['p50']:.0f}  ({row['p10']:.0f} to {row['p90']:.0f})"


def scenario(answer: Answer) -> None:
    """Print the answer of `cutline scenario`."""
    fans = answer["fans"]
    last = {k: rows[-1] for k, rows in fans.items()}
    screen.line()
    said = [f"{months(last[k])} months {name}" for k, name in NAMES.items()]
    screen.line(f"{answer['name']}, on {answer['until']}: {' and '.join(said)}, 80 %", "bold", hang=2)
    if answer["about"]:
        screen.line(answer["about"].strip(), hang=0)
    screen.line()
    shown = [i for i, r in enumerate(fans["ratio"]) if r["day"].endswith("12-31")]
    shown = sorted({*shown, len(fans["ratio"]) - 1})
    screen.columns(
        ["end of", "fleets, M H100", "largest runs, FLOP", "ratio", "months by compute", "by the index"],
        [
            [
                fans["ratio"][i]["day"][:7],
                " : ".join(digits(fans[f"{side}_fleet"][i]["p50"] / 1e6) for side in ("leader", "follower")),
                " : ".join(f"{fans[f'{side}_run'][i]['p50']:.1e}" for side in ("leader", "follower")),
                of(fans["ratio"][i]),
                months(fans["lag_compute"][i]),
                months(fans["lag_index"][i]),
            ]
            for i in shown
        ],
        right=(1, 2, 3, 4),
    )
    screen.line()
    _tornado(answer)
    _models(answer)
    _passes(answer)
    screen.line()
    _doubt(answer)


def _tornado(answer: Answer) -> None:
    screen.line("what moves it (months at the 10 and 90 % end of one input, all others in the middle)")
    screen.columns(
        ["input", "by compute", "by the index", ""],
        [[r["input"], *(f"{r[k]['low']:.1f} to {r[k]['high']:.1f}" for k in NAMES), ""] for r in answer["tornado"][:8]],
        right=(1, 2),
    )
    screen.line()


def _models(answer: Answer) -> None:
    found = answer["models"]
    said = [f"{side} {large(found[side]['p50']['parameters'])} parameters on {large(found[side]['p50']['tokens'])} tokens, loss {found[side]['p50']['loss']:.3f}" for side in ("leader", "follower")]  # fmt: skip
    screen.line(f"the model of least loss for the largest run at the end ({found['law']}): {'; '.join(said)}", hang=2)


def _passes(answer: Answer) -> None:
    for flow, days in answer["passes"].items():
        said = f"in {words.counted(len(days), 'quarter')}, the last up to {days[-1]}" if days else "in no quarter"
        screen.line(f"the rules let {flow} through {said}", hang=2)


def _doubt(answer: Answer) -> None:
    history = ", ".join(f"{side} counted to {day}" for side, day in answer["history"].items() if day)
    if history:
        screen.line(f"chips: {history}", hang=2)
    screen.line(f"guesses: {', '.join(r['input'] for r in answer['assumed'])} (--json has their ranges and notes)", hang=2)  # fmt: skip
    screen.ends(f"{answer['draws']:,} draws, seed {answer['seed']}", words.version())
    screen.line("sources: " + ", ".join(answer["sources"]), hang=2)


def backtest(answer: Answer) -> None:
    """Print what a scenario of the end of 2024 said of what came."""
    screen.line()
    counts = ", ".join(f"{NAMES.get(k, k)} {x['inside']} of {x['of']}" for k, x in answer["inside"].items())
    screen.line(f"Inside the 80 % band of what was known by {answer['known']}: {counts}", "bold", hang=2)
    screen.line()

    def row(r: Answer) -> list[str]:
        big = r["high"] > 1e15
        came = "not published" if r["came"] is None else f"{r['came']:.1e}" if big else digits(r["came"])
        ends = [f"{r[k]:.1e}" if big else digits(r[k]) for k in ("low", "high")]
        what = f"{r['what']}, {NAMES[r['bridge']]}" if r["bridge"] else r["what"]
        return [what, r["day"], came, " to ".join(ends), {True: "yes", False: "no", None: "not counted"}[r["inside"]]]

    screen.columns(
        ["what", "day", "came", "said", "inside"],
        [row(r) for r in answer["rows"]],
        right=(2, 3),
    )
    screen.line()
    screen.line("fleets in H100 by training, runs in FLOP, lags in months (H1, tolerance 1)")
    screen.line("not blind in full: counts of chips are today's, cut at the end of 2024; the index is a vintage of 2026", hang=2)  # fmt: skip
    screen.ends(f"scenario {answer['scenario']}, index of {answer['vintage']}", words.version())
