"""Lays out the answers of `gap`, `ability`, `supply` and `claims`."""

from __future__ import annotations

from typing import Any

from cutline.cli import screen, words
from cutline.cli.words import digits

Answer = dict[str, Any]
RULES = {"H1": "daily", "H2": "level", "H3": "milestone", "H4": "significant", "V": "vertical"}
WORKLOADS = ("peak", "training", "prefill", "decode")


def months(x: float | None) -> str:
    """Write months with one place.

    Examples
    --------
    >>> months(6.94), months(None)
    ('6.9', '-')
    """
    return "-" if x is None else f"{x + 0.0:.1f}".replace("-0.0", "0.0")


def span(row: Answer, low: str = "low", high: str = "high") -> str:
    """Write an interval; an end that is not known is open."""
    if row.get(low) is None and row.get(high) is None:
        return ""
    return f"{months(row.get(low))} to {months(row.get(high)) if row.get(high) is not None else '...'}"


def gap(answer: Answer) -> None:
    """Print the answer of `cutline gap`."""
    screen.line()
    _verdict(answer)
    screen.line()
    rows = [r for r in answer["estimates"] if r["months"] is not None]
    if rows:
        _estimates(rows, answer["unit"])
    for why in dict.fromkeys(r["why"] for r in answer["estimates"] if r["months"] is None):
        names = dict.fromkeys(r["rule"] for r in answer["estimates"] if r["months"] is None and r["why"] == why)
        screen.line(f"no figure by {', '.join(names)}: {why}", hang=2)
    _why(answer)
    screen.line()
    _doubt(answer)
    screen.ends(f"index of {answer['vintage']}, models up to {answer['on']}" if answer["yardstick"] == "eci" else f"{answer['yardstick']}, up to {answer['on']}", words.version())  # fmt: skip
    screen.line("sources: " + ", ".join(answer["sources"]), hang=2)


def _verdict(answer: Answer) -> None:
    low, high = answer["range_months"] or (None, None)
    if low is None or high is None:
        screen.line(
            "No figure: " + (answer["estimates"][0]["why"] if answer["estimates"] else "no rule was asked"), "bold"
        )
        return
    ends = f"{months(low)} to {months(high)}" if months(low) != months(high) else months(low)
    ahead = f"it is {months(-high)} to {months(-low)} months ahead by definition"
    said = f"{ends} months by definition" if high > 0.05 else ahead
    today = answer["today"]
    if today is not None and any(r["rule"] == "H1" for r in answer["estimates"]):
        inside = f" ({span(today)}, 90 %)" if span(today) else ""
        by = f" on the last day by H1, tolerance {today['tolerance']:g}"
        said += f"; {months(today['months'])}{inside}{by}" if today["points"] > 0 else f"; {-today['points']:.1f} {answer['unit']} ahead on the last day"  # fmt: skip
    screen.line(f"{answer['follower']} behind {answer['leader']}: {said}", "bold", hang=2)


def _estimates(rows: list[Answer], unit: str) -> None:
    def named(r: Answer) -> str:
        more = f", tolerance {r['tolerance']:g}" if r["tolerance"] is not None else ""
        more += f", {100 * r['confidence']:.0f} % sure" if r["confidence"] is not None else ""
        return f"{r['rule']} {RULES[r['rule']]}{more}"

    def aside(r: Answer) -> str:
        if r["rule"] == "V":
            return f"{r['points']:.1f} {unit} at {r['points_per_year']:.1f} a year"
        if r["rule"] == "H3":
            said = f"matched ones alone {months(r['matched_months'])}, median {months(r['median_months'])}"
        else:
            place = "last day" if r["rule"] != "H2" else "top level"
            said = "" if r["last_months"] is None else f"{place} {months(r['last_months'])}"
        return said + (", not in the range" if r["why"] else "")

    screen.columns(
        ["rule", "months", "90 %", "matched", "open", ""],
        [[named(r), months(r["months"]), span(r), f"{r['matched']:,}" if r["rule"] != "V" else "", f"{r['censored']:,}" if r["rule"] != "V" else "", aside(r)] for r in rows],
        right=(1, 3, 4),
    )  # fmt: skip


def _why(answer: Answer) -> None:
    screen.line()
    for side in answer["groups"]:
        best = side["best"]
        if best is not None:
            screen.line(
                f"best of {side['name']}: {best['model']}, {best['score']:.1f}, {best['date']}  ({side['models']} models)"
            )
    unmatched = answer["open"]
    if unmatched:
        first = unmatched[0]
        screen.line(f"not matched yet: {', '.join(r['model'] for r in unmatched[:4])}{f' and {len(unmatched) - 4} more' if len(unmatched) > 4 else ''}; the oldest waits {months(first['months'])} months", hang=2)  # fmt: skip
    moved = [r for r in answer["without"] if r["months"] is not None][:4]
    if moved:
        screen.line(f"without {', '.join(f'''{r['maker']} {months(r['months'])}''' for r in moved)}  (base {months(moved[0]['base'])})", hang=2)  # fmt: skip
    run = answer["compute"]
    if run is not None:
        behind, ratio = ("behind", run["ratio"]) if run["months"] >= 0 else ("ahead", 1 / run["ratio"])
        screen.line(f"largest known training run: {months(abs(run['months']))} months {behind}, {digits(ratio)} times {'smaller' if behind == 'behind' else 'larger'} ({run['follower']} against {run['leader']}); {months(abs(run['months_without_speculative']))} without speculative entries", hang=2)  # fmt: skip
        grown = [
            f"{r['group']} {r['per_year']:.1f} times a year ({r['low']:.1f} to {r['high']:.1f})" for r in run["growth"]
        ]
        if grown:
            screen.line(
                f"largest language models by compute grow: {', '.join(grown)}, since {run['growth'][0]['since'][:7]}",
                hang=2,
            )


def _doubt(answer: Answer) -> None:
    size = answer["size_corrected"]
    if size is not None and size["models"][0] != size["models"][1]:
        screen.line(f"with as many models on both sides ({size['models'][0]} and {size['models'][1]} scored): {months(size['months'])}, a low end", hang=2)  # fmt: skip
    for side in answer["groups"]:
        chips = side["chips"]
        if chips and (chips["restricted"] or "restricted" in side["name"]):
            screen.line(f"chips of {side['name']}'s models: {chips['restricted']} restricted, {chips['other']} other, {chips['unknown']} unknown")  # fmt: skip
    for note in answer["notes"]:
        screen.line(f"note: {note}", hang=2)


def ability(answer: Answer) -> None:
    """Print the answer of `cutline ability`."""
    screen.line()
    last = answer["vintages"][-1]
    inside = f"  ({last['low']:.1f} to {last['high']:.1f}, 90 %)" if last["low"] is not None else ""
    screen.line(
        f"{answer['model']}: {last['eci']:.1f} index points{inside}, place {last['rank']} of {last['of']}",
        "bold",
    )
    days = " or ".join(answer["dates"]) + (" (by vintage)" if len(answer["dates"]) > 1 else "")
    known = {k: answer[k] or f"{k} not known" for k in ("org", "country", "weights")}
    screen.line(f"{', '.join(known.values())}, released {days or 'on a day not known'}", hang=2)
    screen.line()
    screen.columns(
        ["vintage", "index", "90 %", "place", ""],
        [[v["vintage"], f"{v['eci']:.1f}", span(v), f"{v['rank']} of {v['of']}", ""] for v in answer["vintages"]],
        right=(1, 3),
    )
    fit = answer["fit"]
    if fit is not None:
        screen.line()
        screen.line(
            f"our fit of {fit['vintage']}: {fit['eci']:.1f}  ({fit['low']:.1f} to {fit['high']:.1f}, {fit['draws']} draws of {fit['by']})"
        )
        screen.columns(
            ["benchmark", "score", "expected", "difficulty", ""],
            [[s["benchmark"], f"{s['score']:.2f}", f"{s['expected']:.2f}", f"{s['difficulty']:.1f}", ""] for s in fit["scores"]],
            right=(1, 2, 3),
        )  # fmt: skip
    if answer["near"]:
        screen.line()
        screen.columns(
            ["first to reach it", "model", "day", "index", "months before"],
            [
                [r["group"], r["model"], r["date"], f"{r['eci']:.1f}", months(r["months_before"])]
                for r in answer["near"]
            ],
            right=(3,),
        )
    run = answer["compute"]
    if run is not None:
        named = {
            "published_flop": "published",
            "six_nd_flop": "6ND",
            "shape_flop": "shape",
            "hardware_flop": "chips x time x utilisation",
        }
        said = [f"{name} {run[key]:.2g}" for key, name in named.items() if run[key]]
        screen.line()
        screen.line(
            f"training compute, FLOP: {', '.join(said)}; they differ by a factor of {run['disagreement']:.2g}", hang=2
        )
    screen.line()
    screen.ends("sources: " + ", ".join(answer["sources"]), words.version())


def abilities(rows: list[Answer]) -> None:
    """Print index values of a user's own models."""
    screen.line()
    screen.columns(
        ["model", "index", "scores"], [[r["model"], f"{r['eci']:.1f}", str(r["scores"])] for r in rows], right=(1,)
    )
    for r in rows:
        for note in r["notes"]:
            screen.line(f"{r['model']}: {note}", hang=2)
    screen.ends(f"on the difficulties of the index of {rows[0]['vintage']}", words.version())
    if rows[0]["left_out"]:
        screen.line(f"not in the index, left out: {', '.join(rows[0]['left_out'])}", hang=2)


def supply(answer: Answer) -> None:
    """Print the answer of `cutline supply`."""

    total = answer["h100e"]["training"]
    screen.line()
    screen.line(f"{answer['country']} on {answer['on']}: worth {total['p50'] / 1e6:.2f} million H100 in training ({total['p10'] / 1e6:.2f} to {total['p90'] / 1e6:.2f}, 80 %)", "bold", hang=2)  # fmt: skip
    screen.line()

    def row(name: str, chips: Answer | None, worth: dict[str, Answer], key: str = "p50") -> list[str]:
        return [
            name,
            "" if chips is None else f"{chips[key] / 1e3:,.0f}",
            *(f"{worth[w][key] / 1e3:,.0f}" for w in WORKLOADS),
            "",
        ]

    worths = answer["h100e_kinds"] | {"rented": answer["abroad_h100e"]}
    rows = [row("rented abroad, apart" if k == "rented" else k, r, worths[k]) for k, r in answer["kinds"].items()]
    rows += [
        row("in the country", answer["chips"], answer["h100e"]),
        row("  80 %, from", answer["chips"], answer["h100e"], "p10"),
        row("  to", answer["chips"], answer["h100e"], "p90"),
    ]
    rows += [row("  of it not legal", None, answer["not_legal_h100e"])]
    screen.columns(["thousands", "chips", *(f"H100 by {w}" for w in WORKLOADS), ""], rows, right=(1, 2, 3, 4, 5))
    _sites(answer["sites"])
    screen.line()
    chips = answer["rows"]
    screen.columns(
        ["chip", "came by", "law of the day", "thousands", "80 %"],
        [
            [
                r["chip"],
                r["kind"],
                r["state"],
                f"{r['p50'] / 1e3:,.0f}",
                f"{r['p10'] / 1e3:,.0f} to {r['p90'] / 1e3:,.0f}",
            ]
            for r in chips
        ],
        right=(3,),
    )
    screen.line()
    if answer["guessed"]:
        screen.line("by the ratio of peaks for want of a fact: " + ", ".join(answer["guessed"]), hang=2)
    if answer["not_converted"]:
        screen.line("in no sum, as no rate is known: " + ", ".join(answer["not_converted"]), hang=2)
    screen.line("middles of draws, which do not add up to the middle of a sum")
    screen.line(
        "only what a source counts is in it: not chips from before 2022, cards without a name, smuggling of other years",
        hang=2,
    )
    if answer["planned"]:
        screen.line(f"makers' targets for the year, not counts: {', '.join(answer['planned'])}", hang=2)
    if answer["on"] > answer["counted_to"]:
        screen.line(
            f"nothing is counted after {answer['counted_to']}: what came later is missing, or is a target", hang=2
        )
    screen.ends(f"{answer['draws']:,} draws, seed {answer['seed']}; counted to {answer['counted_to']}", words.version())
    screen.line("sources: " + ", ".join(answer["sources"]), hang=2)


def _sites(found: Answer) -> None:
    if not found["count"]:
        screen.line("known sites in the country: none")
        return
    share = "" if found["share_of_stock"] is None else f", {100 * found['share_of_stock']:.0f} % of the median above"
    apart = f"; {found['without_worth']} of them in no sum" if found["without_worth"] else ""
    screen.line(f"known sites in the country: {found['count']}, worth {found['h100e']['peak'] / 1e6:.2f} million H100 by peak{share}: a floor, by place and not by owner{apart}", hang=2)  # fmt: skip


def claims(rows: list[Answer], whole: bool) -> None:
    """Print checked claims: a table, or one whole."""
    screen.line()
    if not whole:
        counts = {v: sum(r["verdict"] == v for r in rows) for v in dict.fromkeys(r["verdict"] for r in rows)}
        screen.line(", ".join(f"{n} {v}" for v, n in counts.items()), "bold")
        screen.line()
        screen.columns(
            ["id", "claimed", "computed", "verdict"],
            [[r["id"], r["claimed"], figure(r), r["verdict"]] for r in rows],
        )
        screen.line()
        screen.ends("cutline claims ID tells why", words.version())
        return
    for r in rows:
        screen.line(f"{r['verdict'].capitalize()}.", "bold")
        screen.line()
        screen.columns(
            ["", ""],
            [
                ["claim", r["claim"]],
                ["said", r["said"]],
                ["its figure", r["claimed"]],
                ["computed", figure(r)],
                ["why", r["why"]],
                ["see also", r["command"]],
            ],
        )
        screen.line()
        screen.ends("sources: " + ("; ".join(r["sources"]) or "none needed"), words.version())


def figure(row: Answer) -> str:
    """Write a computed figure with its interval and unit.

    Examples
    --------
    >>> figure({"computed": 0.164, "low": 0.13, "high": 0.2, "unit": "%"})
    '16.4 %  (13.0 to 20.0)'
    """
    if row["computed"] is None:
        return "-"
    scale = 100.0 if row["unit"].startswith("%") else 1.0
    middle = (
        f"{row['computed']:.0f}" if row["computed"] == round(row["computed"]) < 100 else digits(scale * row["computed"])
    )
    inside = ""
    if row["low"] is not None and row["high"] is not None and row["low"] < row["high"]:
        inside = f"  ({digits(scale * row['low'])} to {digits(scale * row['high'])})"
    return f"{middle} {row['unit']}".rstrip() + inside
