"""Pictures of answers, as Vega-Lite through Altair: written as SVG, PNG, HTML or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cutline.core.errors import CutlineError

Answer = dict[str, Any]
KINDS = (".svg", ".png", ".html", ".json")
BLUE, RED, GREEN, GREY = "#1f5fa8", "#c2352b", "#2e7d4f", "#8a8a8a"


def target(text: str | None) -> Path | None:
    """Return where a picture goes, or None; refuse a kind that cannot be written, before any work is done."""
    if text is None:
        return None
    path = Path(text)
    if path.suffix.casefold() not in KINDS:
        raise CutlineError(f"--plot must end in {', '.join(KINDS)}; got '{text}'")
    if not path.parent.exists():
        raise CutlineError(f"--plot cannot write to '{text}': there is no folder '{path.parent}'")
    return path


def altair() -> Any:
    """Return the library that draws, or say how to get it."""
    try:
        import altair as found
    except ImportError:
        raise CutlineError("--plot needs Altair: pip install 'cutline[plot]'") from None
    return found


def save(chart: Any, path: Path) -> None:
    """Write a picture."""
    try:
        chart.save(str(path))
    except OSError as error:
        raise CutlineError(f"--plot cannot write '{path}': {error.strerror}") from None


def gap(answer: Answer, path: Path) -> None:
    """Draw the records of both groups, the lag of abilities and of compute over time, and every estimate with its interval."""
    alt = altair()
    if answer["range_months"] is None:
        raise CutlineError("--plot has nothing to draw: no rule gave a figure")
    below = _estimates(alt, answer)
    middle = _history(alt, answer)
    parts = [_records(alt, answer), *([] if middle is None else [middle]), below]
    save(alt.vconcat(*parts).resolve_scale(color="independent", strokeDash="independent"), path)


def _records(alt: Any, answer: Answer) -> Any:
    """Return the records as steps, with an arrow for each record of the leader from its day to the day it was matched."""
    last = answer["on"]
    names = [side["name"] for side in answer["groups"]]
    rows = [{"day": r["date"], "score": r["score"], "model": r["model"], "group": side["name"]} for side in answer["groups"] for r in side["records"]]  # fmt: skip
    ends = [{"day": last, "score": side["records"][-1]["score"], "model": side["records"][-1]["model"], "group": side["name"]} for side in answer["groups"]]  # fmt: skip
    theirs = answer["groups"][1]["records"]
    waits = []
    for r in answer["groups"][0]["records"]:
        match = next((t["date"] for t in theirs if t["score"] >= r["score"]), None)
        if match is None or match > r["date"]:
            waits.append({"day": r["date"], "until": match or last, "score": r["score"], "state": "open" if match is None else "matched"})  # fmt: skip
    colour = alt.Color("group:N", scale=alt.Scale(domain=names, range=[BLUE, RED]), title=None)
    x, y = (
        alt.X("day:T", title=None, axis=alt.Axis(format="%Y-%m", tickCount="year")),
        alt.Y("score:Q", title=answer["unit"], scale=alt.Scale(zero=False)),
    )
    steps = alt.Chart(alt.Data(values=rows + ends)).mark_line(interpolate="step-after").encode(x=x, y=y, color=colour)
    points = alt.Chart(alt.Data(values=rows)).mark_point(size=22, filled=True, opacity=1).encode(x=x, y=y, color=colour, tooltip=["model:N", "score:Q", "day:T"])  # fmt: skip
    dash = alt.StrokeDash("state:N", scale=alt.Scale(domain=["matched", "open"], range=[[1, 0], [3, 3]]), title="until matched")  # fmt: skip
    arrows = alt.Chart(alt.Data(values=waits)).mark_rule(color=GREY, opacity=0.7).encode(x=x, x2="until:T", y=y, strokeDash=dash)  # fmt: skip
    title = f"best so far of {names[0]} and {names[1]}; grey: how long each record of {names[0]} stood"
    return (arrows + steps + points).properties(width=620, height=260, title=title)


def _history(alt: Any, answer: Answer) -> Any:
    """Return the lag day by day, and beside the lag of abilities that of the largest known run."""
    own = {"eci": "ability", "arena": "board", "compute": "largest known run"}[answer["yardstick"]]
    kinds = {"months": own, "compute_months": "largest known run"}
    rows = [{"day": r["date"], "months": r[k], "of": name} for r in answer["history"] for k, name in kinds.items() if r[k] is not None]  # fmt: skip
    if not rows:
        return None
    there = list(dict.fromkeys(r["of"] for r in rows))
    colour = alt.Color("of:N", scale=alt.Scale(domain=there, range=[RED, GREEN][: len(there)]), title=None)
    dash = alt.StrokeDash("of:N", scale=alt.Scale(domain=there, range=[[1, 0], [6, 3]][: len(there)]), title=None)
    tolerance = answer["today"]["tolerance"] if answer["today"] else 0.0
    return (
        alt.Chart(alt.Data(values=rows)).mark_line().encode(
            x=alt.X("day:T", title=None, axis=alt.Axis(format="%Y-%m", tickCount="year")), y=alt.Y("months:Q", title="months behind"), color=colour, strokeDash=dash,
        ).properties(width=620, height=150, title=f"lag day by day by H1, tolerance {tolerance:g}: {' and '.join(there)}")
    )  # fmt: skip


def _estimates(alt: Any, answer: Answer) -> Any:
    """Return every estimate with its interval."""
    shown = [e for e in answer["estimates"] if e["months"] is not None]
    most = max(max(e["high"] or 0.0, e["months"]) for e in shown)

    def ends(e: Answer) -> Answer:
        known = e["low"] is not None
        return {"low": e["low"] if known else e["months"], "high": e["high"] if e["high"] is not None else most if known else e["months"]}  # fmt: skip

    rows = [{"rule": _named(e), "months": e["months"]} | ends(e) for e in shown]
    bars = alt.Chart(alt.Data(values=rows)).encode(y=alt.Y("rule:N", sort=[r["rule"] for r in rows], title=None))
    title = f"months that {answer['follower']} is behind, by rule; bars: 90 % of draws"
    return (
        bars.mark_rule(strokeWidth=3, color=GREY).encode(x=alt.X("low:Q", title="months"), x2="high:Q")
        + bars.mark_point(size=60, filled=True, color=RED, opacity=1).encode(x="months:Q")
    ).properties(width=620, height=20 * len(rows), title=title)


def _named(e: Answer) -> str:
    more = "" if e["tolerance"] is None else f", tolerance {e['tolerance']:g}"
    more += "" if e["confidence"] is None else f", {100 * e['confidence']:.0f} % sure"
    return f"{e['rule']}{more}"


def supply(answer: Answer, path: Path) -> None:
    """Draw a country's chips in H100 by workload, quarter by quarter, with the middle four fifths of draws."""
    alt = altair()
    rows = [{"end": q["end"], "workload": w, **{k: q[w][k] / 1e6 for k in ("p10", "p50", "p90")}} for q in answer["quarters"] for w in ("training", "prefill", "decode", "peak")]  # fmt: skip
    base = alt.Chart(alt.Data(values=rows)).encode(x=alt.X("end:T", title=None, axis=alt.Axis(format="%Y-%m", tickCount="year")))  # fmt: skip
    area = base.mark_area(opacity=0.3, color=BLUE).encode(y=alt.Y("p10:Q", title="million H100"), y2="p90:Q")
    line = base.mark_line(color=BLUE).encode(y="p50:Q")
    chart = (area + line).properties(width=150, height=180).facet(column=alt.Column("workload:N", title=None, sort=["training", "prefill", "decode", "peak"]))  # fmt: skip
    save(chart.properties(title=f"{answer['country']}: chips in service by what they are worth, up to {answer['on']}"), path)  # fmt: skip


LAGS = {"lag_compute": "by compute", "lag_index": "by the index", "lag_measured": "from the measured"}


def fan(answer: Answer, path: Path) -> None:
    """Draw a scenario: fans of both fleets, both largest runs, the lag by both bridges, and what moves it."""
    alt = altair()
    fleets = _band(alt, answer, {"leader_fleet": "leader", "follower_fleet": "follower"}, "fleet, H100", True)
    runs = _band(alt, answer, {"leader_run": "leader", "follower_run": "follower"}, "largest run, FLOP", True)
    lags = _band(alt, answer, {k: name for k, name in LAGS.items() if k in answer["fans"]}, "lag, months", False)
    both = alt.vconcat(alt.hconcat(fleets, runs, lags).resolve_scale(color="independent"), _tornado(alt, answer))
    save(both.properties(title=f"{answer['name']}: middle and 80 % of {answer['draws']:,} draws"), path)


def _band(alt: Any, answer: Answer, names: dict[str, str], title: str, log: bool) -> Any:
    rows = [p | {"of": name} for key, name in names.items() for p in answer["fans"][key]]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("day:T", title=None, axis=alt.Axis(format="%Y", tickCount="year"))
    )
    scale = alt.Scale(type="log") if log else alt.Scale(zero=True)
    axis = alt.Axis(format="~e", tickCount=5) if log else alt.Axis()
    colour = alt.Color("of:N", title=None, sort=list(names.values()), scale=alt.Scale(domain=list(names.values()), range=[BLUE, RED, GREEN][: len(names)]), legend=alt.Legend(orient="top"))  # fmt: skip
    area = base.mark_area(opacity=0.25).encode(y=alt.Y("p10:Q", title=title, scale=scale, axis=axis), y2="p90:Q", color=colour)  # fmt: skip
    line = base.mark_line().encode(y=alt.Y("p50:Q", scale=scale), color=colour)
    return (area + line).properties(width=230, height=200)


def _tornado(alt: Any, answer: Answer) -> Any:
    rows = [{"input": r["input"], "bridge": name, **r[key]} for r in answer["tornado"][:10] for key, name in LAGS.items() if key in r]  # fmt: skip
    order = list(dict.fromkeys(r["input"] for r in rows))
    bars = alt.Chart(alt.Data(values=rows)).mark_bar().encode(
        y=alt.Y("input:N", sort=order, title=None, axis=alt.Axis(labelLimit=260)), x=alt.X("low:Q", title="months at its 10 and 90 % ends", scale=alt.Scale(zero=False)), x2="high:Q",
        color=alt.Color("bridge:N", scale=alt.Scale(domain=list(LAGS.values()), range=[BLUE, RED, GREEN]), legend=None),
    ).properties(width=210, height=18 * len(order))  # fmt: skip
    return bars.facet(column=alt.Column("bridge:N", title=None)).resolve_scale(x="independent")


def ability(answer: Answer, path: Path) -> None:
    """Draw a model's index value by vintage, and each of its scores beside what our fit expects."""
    alt = altair()
    rows = [v | {"low": v["low"] or v["eci"], "high": v["high"] or v["eci"]} for v in answer["vintages"]]
    base = alt.Chart(alt.Data(values=rows)).encode(x=alt.X("vintage:N", title=None))
    y = alt.Y("eci:Q", title="index points", scale=alt.Scale(zero=False))
    bars = base.mark_rule(strokeWidth=3, color=GREY).encode(y=alt.Y("low:Q", title="index points"), y2="high:Q")
    left = (bars + base.mark_point(size=60, filled=True, opacity=1, color=BLUE).encode(y=y)).properties(width=260, height=260)  # fmt: skip
    if answer["fit"] is None:
        save(left.properties(title=f"{answer['model']}: its value by vintage, with 90 %"), path)
        return
    kinds = ["score", "expected"]
    points = [{"benchmark": s["benchmark"], "value": s[k], "of": k} for s in answer["fit"]["scores"] for k in kinds]
    order = [s["benchmark"] for s in answer["fit"]["scores"]]
    shape = alt.Shape("of:N", scale=alt.Scale(domain=kinds, range=["circle", "diamond"]), title=None)
    right = (
        alt.Chart(alt.Data(values=points)).mark_point(size=60, filled=True, opacity=0.9).encode(
            y=alt.Y("benchmark:N", sort=order, title=None, axis=alt.Axis(labelLimit=240)), x=alt.X("value:Q", title="score, 0 to 1; easy benchmarks first"),
            color=alt.Color("of:N", scale=alt.Scale(domain=kinds, range=[BLUE, RED]), title=None), shape=shape,
        ).properties(width=320, height=18 * len(order))
    )  # fmt: skip
    save(alt.hconcat(left, right).properties(title=f"{answer['model']}: its value by vintage with 90 %, and its scores"), path)  # fmt: skip


VERDICTS = {"supported": GREEN, "in part": "#c98a1b", "not supported": RED, "cannot be checked": GREY}


def claims(rows: list[Answer], path: Path) -> None:
    """Draw the claims by the month in which they were made, with their verdicts and the computed figures."""
    from cutline.cli.show_gap import figure

    alt = altair()
    found = [{"id": r["id"], "said": (r["said"] + "-01-01")[:7] + "-01", "verdict": r["verdict"], "text": f"{r['id']}: {figure(r)}" if r["computed"] is not None else r["id"]} for r in rows]  # fmt: skip
    order = [r["id"] for r in found]
    base = alt.Chart(alt.Data(values=found)).encode(
        x=alt.X("said:T", title="said", axis=alt.Axis(format="%Y-%m"), scale=alt.Scale(padding=20)),
        y=alt.Y("id:N", sort=order, title=None, axis=None),
    )
    colour = alt.Color("verdict:N", scale=alt.Scale(domain=list(VERDICTS), range=list(VERDICTS.values())), title=None)
    shape = alt.Shape("verdict:N", scale=alt.Scale(domain=list(VERDICTS), range=["circle", "diamond", "cross", "square"]), title=None)  # fmt: skip
    points = base.mark_point(size=70, filled=True, opacity=1).encode(color=colour, shape=shape)
    text = base.mark_text(align="left", dx=9, fontSize=11).encode(text="text:N")
    save((points + text).properties(width=760, height=20 * len(found), title="claims, and what Cutline computes"), path)
