"""Claims on the gap in months, each on the oldest stored vintage of the index and on the newest, with the models of the claim's day."""

from __future__ import annotations

from datetime import date

from cutline.facts import outlook
from cutline.outlook.claims import Finding, claim
from cutline.outlook.compute import compute_lag
from cutline.outlook.entries import day_number
from cutline.outlook.gap import gap
from cutline.outlook.lag import MONTH_DAYS
from cutline.outlook.sample import NEWEST, Ask

SAID = "2025-01-09"
"""Day for which the two claims of January 2025 are asked: after DeepSeek-V3, before R1."""


def vintages(said: str) -> list[str]:
    """Return the vintage to ask of a claim's day: the last one before it, or the oldest there is; and the newest."""
    known = [v.vintage for v in outlook.vintages() if v.vintage != NEWEST]
    before = [v for v in known if v <= said]
    return [before[-1] if before else known[0], NEWEST]


def _sources(used: list[str]) -> list[str]:
    return [v.source for v in outlook.vintages() if v.vintage in used]


def _old(used: list[str], said: str) -> str:
    return "" if used[0] <= said else f"; no vintage is from before the claim, the oldest is of {used[0]}"


def ahead(follower: str, leader: str, on: str, vintage: str) -> tuple[float, float | None, float | None]:
    """Return by how many points the leader's best model is better on a day, with its 90 % interval. [points]"""
    row = gap(Ask(follower, leader, vintage=vintage, on=on, since=on, rules=("V",)))["estimates"][0]
    return row["last_points"], row.get("points_low"), row.get("points_high")


def on_day(follower: str, leader: str, on: str, vintage: str, tolerance: float = 0.0) -> dict[str, float | None]:
    """Return how long ago the leader first had what the follower has on a day: months, low, high."""
    found = gap(Ask(follower, leader, vintage=vintage, on=on, rules=(), tolerance=tolerance))["today"]
    assert isinstance(found, dict)
    return found


@claim(
    "lag-open", "2025-01", "China's best models are level with the best open US models", "level, 0 points",
    f"cutline gap china us-open --on {SAID}",
    unit="points",
)  # fmt: skip
def _open() -> Finding:
    used = vintages(SAID)
    found = {v: ahead("china", "us-open", SAID, v) for v in used}
    points, low, high = found[NEWEST]
    level = low is not None and high is not None and low <= 0 <= high
    why = "index points by which the best open US model is ahead (below 0: behind): " + ", ".join(f"{p:+.1f} on the vintage {v}" for v, (p, _, _) in found.items())  # fmt: skip
    verdict = "supported" if level else "in part" if points < 0 else "not supported"
    return Finding(verdict, why + _old(used, SAID), points, low, high, _sources(used))


@claim(
    "lag-closed", "2025-01", "and about one year behind the best closed ones", "12 months",
    f"cutline gap china us-closed --on {SAID} --tolerance 0",
    unit="months",
)  # fmt: skip
def _closed() -> Finding:
    used = vintages(SAID)
    today = {v: on_day("china", "us-closed", SAID, v) for v in used}
    year = gap(Ask("china", "us-closed", vintage=NEWEST, on="2024-12-31", since="2024-01-01", rules=("H1",), tolerance=0.0))["estimates"][0]["months"]  # fmt: skip
    found = today[NEWEST]
    inside = found["low"] is not None and found["high"] is not None and found["low"] <= 12 <= found["high"]
    verdict = "supported" if inside else "in part" if year >= 9 else "not supported"
    why = (
        f"on {SAID}, by H1 at tolerance 0, " + ", ".join(f"{t['months']:.1f} months on the vintage {v}" for v, t in today.items()) + f"; the mean over the days of 2024 is {year:.1f}"
    )  # fmt: skip
    return Finding(verdict, why + _old(used, SAID), found["months"], found["low"], found["high"], _sources(used))


@claim(
    "lag-2-3-years", "2024-05", "the US is two to three years ahead", "24 to 36 months",
    "cutline gap china us --on 2024-05-31 --tolerance 0",
    unit="months",
)  # fmt: skip
def _years() -> Finding:
    on = "2024-05-31"
    used = vintages(on)
    today = {v: on_day("china", "us", on, v) for v in used}
    waits = {v: standing(on, v) for v in used}
    _, months, matched = waits[NEWEST]
    runs = [compute_lag("US", "China", date.fromisoformat(on), s).months for s in (True, False)]
    inside = [24 <= m <= 36 for m in runs]
    by_run = (
        "inside the claim"
        if all(inside)
        else "outside the claim"
        if not any(inside)
        else "inside the claim by one of the two"
    )
    why = (
        f"on {on} the best Chinese model was where the US had been {today[NEWEST]['months']:.1f} months before at least, as no older model of the US is dated; the longest wait of a record that stood that day was "
        + ", ".join(f"{m:.1f} months on the vintage {v} ({name}{'' if done else ', not matched yet'})" for v, (name, m, done) in waits.items())
        + f"; by the largest known training run {runs[0]:.1f} months, {runs[1]:.1f} without speculative entries: {by_run}"
    )  # fmt: skip
    verdict = "supported" if months >= 24 else "in part" if all(inside) else "not supported"
    low = today[NEWEST]["months"]
    return Finding(
        verdict,
        why + _old(used, on),
        months,
        low,
        None if not matched else max(months, low or 0.0),
        [*_sources(used), "epoch-notable"],
    )


def standing(on: str, vintage: str) -> tuple[str, float, bool]:
    """Return the US record that stood on a day and waited longest for China in the end: model, months, whether it is matched."""
    answer = gap(Ask("china", "us", vintage=vintage, rules=()))
    ours, theirs = (side["records"] for side in answer["groups"])
    last = day_number(answer["on"])
    found = []
    for r in ours:
        match = next((t["date"] for t in theirs if t["score"] >= r["score"]), None)
        if r["date"] <= on and (match is None or match > on):
            end = last if match is None else day_number(match)
            found.append((r["model"], (end - day_number(r["date"])) / MONTH_DAYS, match is not None))
    return max(found, key=lambda f: f[1])


@claim(
    "lag-closable", "2024-03", "the gap can be closed in one to two years", "0 months by 2026-03",
    "cutline gap china us --on 2026-03-31",
    unit="months",
)  # fmt: skip
def _closable() -> Finding:
    days = ("2024-03-31", "2025-03-31", "2026-03-31")
    found = {d: on_day("china", "us", d, NEWEST, 1.0) for d in days}
    points = {d: ahead("china", "us", d, NEWEST) for d in days}
    last = found[days[-1]]
    closed = points[days[-1]][1] is not None and (points[days[-1]][1] or 0.0) <= 0
    why = (
        "months behind by H1 at tolerance 1: " + ", ".join(f"{f['months']:.1f} on {d}" for d, f in found.items()) + "; index points behind: "
        + ", ".join(f"{p[0]:.1f}" for p in points.values()) + f" on the same days; vintage {NEWEST}"
    )  # fmt: skip
    return Finding(
        "supported" if closed else "not supported", why, last["months"], last["low"], last["high"], _sources([NEWEST])
    )
