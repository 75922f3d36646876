"""Tables and pictures of docs/gap.md."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cutline.facts import outlook
from cutline.outlook import claims, lag
from cutline.outlook.gap import gap
from cutline.outlook.lag import MONTH_DAYS, Group
from cutline.outlook.sample import Ask

DOCS = Path(__file__).resolve().parent.parent / "docs"


def months(x: float | None) -> str:
    """Return months with one place."""
    return "-" if x is None else f"{x:.1f}"


def _row(answer: dict[str, Any], rule: str, tolerance: float | None = None) -> dict[str, Any]:
    return next(r for r in answer["estimates"] if r["rule"] == rule and r["tolerance"] == tolerance)


def vintages_table() -> str:
    """Return China behind the US by rule, one line a vintage, each up to its own day."""
    lines = [
        "| vintage | models US, China | H1, tol. 0 | H1, tol. 1 | H2, tol. 0 | H3 | matched, open | V | points | last day |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for v in outlook.vintages():
        a = gap(Ask("china", "us", vintage=v.vintage, on=v.vintage))
        h3, vertical = _row(a, "H3", 0.0), _row(a, "V")
        sizes = ", ".join(str(side["models"]) for side in a["groups"])
        figures = [months(_row(a, r, t)["months"]) for r, t in (("H1", 0.0), ("H1", 1.0), ("H2", 0.0))]
        lines.append(
            f"| {v.vintage} | {sizes} | {' | '.join(figures)} | {months(h3['months'])} | {h3['matched']}, {h3['censored']} | "
            f"{months(vertical['months'])} | {vertical['points']:.1f} | {months(a['today']['months'])} |"
        )
    return "\n".join(lines)


def published_table() -> str:
    """Return published lags beside those of the engine, each with the command that gives it."""
    asked: tuple[tuple[str, str, Ask, list[tuple[str, float | None, float | None]]], ...] = (
        ("China behind US, Epoch AI, 2026-01", "7 (4 to 14)", Ask("china", "us", vintage="2025-12-19"), [("H1", 1.0, None), ("H1", 0.0, None)]),
        ("open behind closed, Epoch AI, 2025-10-30", "3.5 (1.1 to 5.3), 7 points", Ask("open", "closed", vintage="2025-12-19", on="2025-10-30"), [("H2", 1.0, None), ("V", None, None)]),
        (
            "open behind closed, Epoch AI, 2026-01 to 05", "4, 8 points (7 to 11)", Ask("open", "closed", vintage="2026-08-11", on="2026-05-28", since="2026-01-01"),
            [("H4", None, 0.95), ("V", None, None)],
        ),
    )  # fmt: skip
    lines = ["| published | its figure | Cutline | by | command |", "|---|---|---|---|---|"]
    for what, figure, ask, rules in asked:
        rows = [
            next(r for r in gap(ask)["estimates"] if (r["rule"], r["tolerance"], r["confidence"]) == key)
            for key in rules
        ]
        said = ", ".join(f"{r['points']:.1f} points" if r["rule"] == "V" else months(r["months"]) for r in rows)
        by = ", ".join(f"{r['rule']}{_tolerance(r)}{'' if r['confidence'] is None else ' 95 %'}" for r in rows)
        lines.append(f"| {what} | {figure} | {said} | {by} | `{command(ask)}` |")
    near = Ask("DeepSeek", "us", vintage="2026-08-11", on="2026-05-01")
    today = gap(near)["today"]
    lines.append(
        f"| DeepSeek V4 Pro, CAISI, 2026-05-01 | about 8 | {months(today['months'])} | last day, H1 tol. 1 | `{command(near)}` |"
    )
    return "\n".join(lines)


def _tolerance(r: dict[str, Any]) -> str:
    return "" if r["tolerance"] is None else f" tol. {r['tolerance']:g}"


def command(ask: Ask) -> str:
    """Return the command line of a question."""
    options = "".join(f" --{k} {getattr(ask, k)}" for k in ("vintage", "since", "on") if getattr(ask, k))
    return f"cutline gap {ask.follower} {ask.leader}{options}"


def size_table() -> str:
    """Return what H1 reads of made-up groups whose true lag is known."""
    lines = ["| true lag | 130 and 130 models | 130 and 50 models | 130 and 50, at one size |", "|---|---|---|---|"]
    for true in (3.0, 7.0, 12.0):
        found: list[list[float]] = [[], [], []]
        for seed in range(60):
            for place, few in ((0, 130), (1, 50)):
                sides = lag.synthetic(true, 130, few, 1.5, seed)
                window = (15 * MONTH_DAYS, 36 * MONTH_DAYS)
                got = lag.daily(*sides, *window)
                found[place].append(got.months if isinstance(got, lag.Lag) else np.nan)
                if place:
                    same = lag.size_corrected(*sides, *window, subsamples=40, seed=seed)
                    found[2].append(same.months if isinstance(same, lag.Lag) else np.nan)
        lines.append(f"| {true:.0f} | " + " | ".join(months(float(np.nanmean(x))) for x in found) + " |")
    return "\n".join(lines)


def claims_table() -> str:
    """Return every claim with its verdict."""
    from cutline.cli.show_gap import figure

    lines = ["| claim | said | its figure | computed | verdict | why |", "|---|---|---|---|---|---|"]
    for r in claims.check():
        lines.append(f"| `{r['id']}` {r['claim']} | {r['said']} | {r['claimed']} | {figure(r)} | {r['verdict']} | {r['why']} |")  # fmt: skip
    return "\n".join(lines)


def scenarios_table() -> str:
    """Return the shipped scenarios at two days."""
    from cutline.outlook import scenario, scenario_run

    lines = [
        "| scenario | end of | fleets, M H100 | ratio of largest runs | months by compute | by the index |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("central", "cautious", "expansive", "rule-a-year-earlier", "h20-never-stopped", "line-tpp-2400"):
        fans = scenario_run.run(scenario.read(name))["fans"]
        for day in ("2027-12-31", "2030-12-31"):
            at = {k: next(r for r in rows if r["day"] == day) for k, rows in fans.items()}
            fleets = ", ".join(f"{at[f'{side}_fleet']['p50'] / 1e6:.1f}" for side in ("leader", "follower"))
            ends = [
                f"{at[k]['p50']:.0f} ({at[k]['p10']:.0f} to {at[k]['p90']:.0f})"
                for k in ("ratio", "lag_compute", "lag_index")
            ]
            lines.append(f"| {name if day.startswith('2027') else ''} | {day[:4]} | {fleets} | {' | '.join(ends)} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "gap_vintages": vintages_table, "gap_published": published_table, "gap_size": size_table, "claims": claims_table, "gap_scenarios": scenarios_table,
}  # fmt: skip


def picture() -> None:
    """Draw how each rule reads two made-up groups, and the answers of three commands."""
    rules()
    for words in (
        ["gap", "china", "us", "--plot", "docs/gap.svg"],
        ["supply", "--country", "CN", "--plot", "docs/supply.svg"],
        ["scenario", "central", "--plot", "docs/scenario.svg"],
    ):
        subprocess.run([sys.executable, "-m", "cutline", *words], cwd=DOCS.parent, check=True, stdout=subprocess.DEVNULL, env=os.environ)  # fmt: skip


def rules() -> None:
    """Draw the rules on two made-up groups."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "cutline"
    import matplotlib.pyplot as plt

    ours = Group(np.array([0.0, 5.0, 11.0, 18.0, 23.0]), np.array([100.0, 108.0, 118.0, 126.0, 133.0]))
    theirs = Group(np.array([3.0, 9.0, 14.0, 20.0]), np.array([96.0, 106.0, 113.0, 121.0]))
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 6.4), layout="constrained", sharex=True, sharey=True)
    for axis in axes.flat:
        for group, name, colour in ((ours, "leader", "#1f5fa8"), (theirs, "follower", "#c2352b")):
            axis.step([*group.day, 26.0], [*group.score, group.score[-1]], where="post", color=colour, label=name)
            axis.plot(group.day, group.score, "o", color=colour, markersize=4)
        axis.set_xlim(0, 26)
    _daily(axes[0, 0])
    _level(axes[0, 1], ours, theirs)
    _milestone(axes[1, 0], ours, theirs)
    _vertical(axes[1, 1])
    axes[0, 0].legend(loc="upper left", fontsize=8, frameon=False)
    for axis in axes[1]:
        axis.set_xlabel("months")
    for axis in axes[:, 0]:
        axis.set_ylabel("score")
    figure.savefig(DOCS / "gap-rules.svg", metadata={"Date": None})
    plt.close(figure)


ARROW: dict[str, Any] = {"arrowstyle": "<->", "color": "black", "lw": 1.1}


def _daily(axis: Any) -> None:
    axis.set_title("H1 daily, H4 significant: on each day,\nhow long has the leader had what the follower has?", fontsize=9)  # fmt: skip
    for day, since, score in ((13.0, 5.0, 106.0), (19.0, 11.0, 113.0), (25.0, 18.0, 121.0)):
        axis.annotate("", (since, score), (day, score), arrowprops=ARROW)
        axis.plot([day, day], [96, score], ":", color="grey", linewidth=0.8)


def _level(axis: Any, ours: Group, theirs: Group) -> None:
    axis.set_title("H2 level: how much later did the follower\nreach each score?", fontsize=9)
    for score in (101.0, 105.0, 109.0, 112.0, 116.0, 120.0):
        at = [g.day[np.argmax(g.score >= score)] for g in (ours, theirs)]
        axis.annotate("", (at[0], score), (at[1], score), arrowprops=ARROW)


def _milestone(axis: Any, ours: Group, theirs: Group) -> None:
    axis.set_title("H3 milestone: how long did each record of the leader\nstand? Dashed: not matched yet, counted as censored", fontsize=9)  # fmt: skip
    for day, score in zip(ours.day, ours.score, strict=True):
        reached = theirs.score >= score
        end = float(theirs.day[np.argmax(reached)]) if reached.any() else 26.0
        axis.annotate("", (day, score), (end, score), arrowprops=ARROW | ({} if reached.any() else {"ls": "--", "arrowstyle": "-"}))  # fmt: skip


def _vertical(axis: Any) -> None:
    axis.set_title("V vertical: points between the frontiers,\nin months at the leader's pace", fontsize=9)
    for day, low, high in ((8.0, 96.0, 108.0), (13.0, 106.0, 118.0), (19.0, 113.0, 126.0), (25.0, 121.0, 133.0)):
        axis.annotate("", (day, low), (day, high), arrowprops=ARROW)
