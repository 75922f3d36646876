"""Lays out the answers of `scenario`."""

from __future__ import annotations

from typing import Any

from cutline.cli import screen, words
from cutline.cli.words import digits, large

Answer = dict[str, Any]
NAMES = {"lag_measured": "from the measured lag on", "lag_compute": "by compute", "lag_index": "by the index"}
HEADS = {"lag_measured": "from measured", "lag_compute": "by compute", "lag_index": "by the index"}


def months(row: Answer) -> str:
    """Write months with the middle four fifths of draws."""
    low, middle, high = (round(row[k]) for k in ("p10", "p50", "p90"))
    return f"{middle} ({low} to {high})"


def scenario(answer: Answer) -> None:
    """Print the answer of `cutline scenario`."""
    fans = answer["fans"]
    last = {k: rows[-1] for k, rows in fans.items()}
    screen.line()
    names = {k: name for k, name in NAMES.items() if k in fans}
    said = ", ".join(f"{months(last[k])} {name}" for k, name in names.items())
    sides = answer["sides"]
    screen.line(f"{answer['name']}: months that {sides['follower']} is behind {sides['leader']} on {answer['until']}, 80 %: {said}", "bold", hang=2)  # fmt: skip
    if answer["about"]:
        screen.line(answer["about"].strip(), hang=0)
    screen.line()
    ends = [r["day"] for r in fans["ratio"]]
    shown = sorted({*(i for i, day in enumerate(ends) if day.endswith("12-31")), len(ends) - 1})

    def row(i: int) -> list[str]:
        fleets, runs = ([fans[f"{side}_{k}"][i]["p50"] for side in ("leader", "follower")] for k in ("fleet", "run"))
        return [
            ends[i][:7], " : ".join(digits(x / 1e6) for x in fleets), " : ".join(f"{x:.1e}" for x in runs), digits(fans["ratio"][i]["p50"]),
            *(months(fans[k][i]) for k in names),
        ]  # fmt: skip

    both = f"{sides['leader']} : {sides['follower']}"
    heads = ["end of", f"M H100, {both}", f"FLOP, {both}", "ratio", *(HEADS[k] for k in names)]
    screen.columns(heads, [row(i) for i in shown], right=range(1, len(heads) - 1))
    screen.line()
    _tornado(answer)
    _models(answer)
    _passes(answer)
    screen.line()
    _doubt(answer)


def _tornado(answer: Answer) -> None:
    screen.line("what moves it (months at the 10 and 90 % end of one input, all others in the middle)")
    names = [k for k in NAMES if k in answer["fans"]]
    screen.columns(
        ["input", *(HEADS[k] for k in names), ""],
        [[r["input"], *(f"{r[k]['low']:.1f} to {r[k]['high']:.1f}" for k in names), ""] for r in answer["tornado"][:8]],
        right=range(1, len(names) + 1),
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
    history = ", ".join(f"{answer['sides'][side]} to {day}" for side, day in answer["history"].items() if day >= "2023")
    if history:
        early = f"; besides, before that day: {', '.join(answer['early'])}" if answer["early"] else ""
        screen.line(f"counted: {history}, with makers' targets where nothing is counted yet{early}", hang=2)
    screen.line(f"guesses: {', '.join(r['input'] for r in answer['assumed'])} (--json has their ranges and notes)", hang=2)  # fmt: skip
    screen.ends(f"{answer['draws']:,} draws, seed {answer['seed']}", words.version())
    screen.line("sources: " + ", ".join(answer["sources"]), hang=2)


def backtest(answer: Answer) -> None:
    """Print what a scenario of the end of 2024 said of what came."""
    screen.line()
    counts = ", ".join(f"{HEADS.get(k, k)} {x['inside']} of {x['of']}" for k, x in answer["inside"].items())
    screen.line(f"Inside the 80 % band of what was known by {answer['known']}: {counts}", "bold", hang=2)
    screen.line()

    def row(r: Answer) -> list[str]:
        big = r["high"] > 1e15
        came = "not published" if r["came"] is None else f"{r['came']:.1e}" if big else digits(r["came"])
        ends = [f"{r[k]:.1e}" if big else digits(r[k]) for k in ("low", "high")]
        what = f"lag, {HEADS[r['bridge']]}" if r["bridge"] else r["what"]
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
