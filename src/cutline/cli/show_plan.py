"""Lays out the answers of `plan` and `estimate`: verdict, table, why, doubt, sources."""

from __future__ import annotations

from typing import Any

from cutline.cli import screen, words
from cutline.cli.words import digits, gibibytes, large, percent

Answer = dict[str, Any]


def plan(answer: Answer, seconds: float, sources: bool) -> None:
    """Print the answer of `cutline plan`, which took `seconds`."""
    screen.line()
    if answer["best"] is None:
        _nothing_fits(answer)
    else:
        headline(answer["best"], answer["objective"])
        screen.line()
        _plans(answer)
        screen.line("best in full: " + words.strategy_in_full(answer["best"]["strategy"]), hang=14)
        screen.line()
        _why(answer)
        _beside(answer)
    _doubt(answer)
    screen.ends(
        f"searched {words.counted(answer['searched'], 'strategy', 'strategies')}, {percent(answer['pruned'] / answer['searched'])} "
        f"ruled out by bounds, in {seconds:.1f} s",
        words.version(),
    )
    source_lines(answer, sources)


def estimate(answer: Answer, sources: bool) -> None:
    """Print the answer of `cutline estimate`."""
    best = answer["best"]
    screen.line()
    if not best["fits"]:
        need, limit = gibibytes(best["memory_bytes"]), gibibytes(best["memory_limit_bytes"])
        screen.line(
            f"Does not fit: it needs {need} GiB per chip, and a plan may fill 94 % of {limit} GiB. If it did:",
            "bold",
        )
    headline(best)
    screen.line(words.strategy_in_full(best["strategy"]))
    screen.line()
    _time_parts(best)
    screen.line()
    _memory_parts(best)
    screen.line()
    _why(answer)
    _doubt(answer)
    screen.ends("one strategy, as given", words.version())
    source_lines(answer, sources)


def headline(best: Answer, objective: str = "time", basis: bool = True) -> None:
    """Print the verdict: what it has the least of, time with its interval, speed, energy and money, with its basis or without."""
    if best["days"] is None:
        middle, low, high = (digits(best[k]) for k in ("step_s", "step_s_low", "step_s_high"))
        said = [f"{middle} s per step  ({low} to {high}, 90 %)"]
    else:
        middle, low, high = (digits(best[k]) for k in ("days", "days_low", "days_high"))
        said = [f"{middle} days  ({low} to {high}, 90 %)"]
    said += [f"{digits(best['tokens_per_s_per_chip'])} tokens/s/chip", f"MFU {percent(best['mfu'])}"]
    if best["days"] is not None:
        said += [f"{large(best['chip_hours'])} chip-hours", words.energy(best["energy_j"])]
    if not basis:
        said += [f"{large(best['cost_usd'])} USD"] if best["cost_usd"] is not None else []
        screen.items(words.LEAST[objective], said, style="bold")
        return
    screen.items(words.LEAST[objective], said, style="bold")
    if best["cost_usd"] is not None:
        screen.line(f"{large(best['cost_usd'])} USD, {best['cost_basis']}")
    elif best["days"] is not None:
        screen.line(f"cost: {best['cost_basis']}")


def _plans(answer: Answer) -> None:
    """Print the best plan and those that differ from it in kind, with what was minimised."""
    rows = []
    column = {"cost": "USD", "energy": "energy"}.get(answer["objective"], "") if answer["tokens"] is not None else ""
    for run in [answer["best"], *answer["alternatives"]]:
        time = digits(run["step_s"] if run["days"] is None else run["days"])
        memory = f"{gibibytes(run['memory_bytes'])} of {gibibytes(run['memory_limit_bytes'])} GiB"
        least = {"USD": large(run["cost_usd"] or 0), "energy": words.energy(run["energy_j"])}
        spent = [least[column]] if column else []
        limits = words.limits(run["parts_s"])
        rows.append([words.split(run["strategy"]), time, *spent, percent(run["mfu"]), memory, limits])
    unit = "days" if answer["tokens"] is not None else "s/step"
    head = ["plan", unit, *([column] if column else []), "MFU", "memory", "what limits it (share of the step)"]
    screen.columns(head, rows, right=range(1, len(head) - 1))
    if answer["objective"] != "time" and not column:
        screen.line(f"{answer['objective']} of a whole run: say --tokens")


def _why(answer: Answer) -> None:
    """Print what more of each resource would buy, and what was published."""
    gains = sorted(answer["sensitivity"].items(), key=lambda kv: -kv[1])
    short = {"scale-out network": "network", "host speed": "host"}
    said = [f"{short.get(k, k)} {percent(v, 1)}" for k, v in gains if v >= 0.0005]
    screen.items("10 % more of ... buys: ", said or ["nothing"])
    free = [f"{row['limit']} {percent(row['saves'], 0)}" for row in answer.get("lifted", ())]
    if free:
        screen.items("the best plan without a limit takes less by: ", free)
    published(answer)


def _beside(answer: Answer) -> None:
    """Print what stands beside the plan: other chips, a ramp, a narrow format's saving, how the size was settled, a drawing."""
    if answer.get("compare"):
        said = []
        for row in answer["compare"]:
            best = row["best"]
            time = best and (
                f"{digits(best['days'])} days" if best["days"] is not None else f"{digits(best['step_s'])} s"
            )
            said.append(
                f"{row['chip']} {time} (x {row['times']:.2f})"
                if best and row["times"]
                else f"{row['chip']}: {row['why']}"
                if not best
                else f"{row['chip']} {time}"
            )
        screen.items("same job:  ", said)
    effect = answer.get("precision_effect")
    if effect:
        saves = [
            f"{what} {percent(abs(effect[what]))} {'more' if effect[what] < 0 else 'less'}"
            for what in ("time", "energy")
            if effect[what] is not None
        ]
        against = f"against bf16: {', '.join(saves)}; " if saves else ""
        where = f" ({effect['source']['title']})" if effect["source"] else ""
        screen.line(f"{answer['precision']} {against}{effect['loss']}{where}", hang=6)
    ramp = answer.get("ramp")
    if ramp:
        steps = ", ".join(
            f"{words.plain(p['batch_tokens'])} from {words.plain(p['from_tokens'])}: {digits(p['days'])}"
            for p in ramp["phases"]
        )
        more = (
            f", {percent(round(ramp['more'], 3) + 0.0, 1)} more than at the full batch"
            if ramp["more"] is not None
            else ""
        )
        screen.line(f"with the batch ramp {digits(ramp['days'])} days{more} (days by phase: {steps})", hang=6)
    size = answer.get("sizing")
    if size:
        screen.line(
            f"size: {large(size['parameters'])} active parameters on {words.plain(size['tokens'])} tokens, {digits(size['tokens_per_parameter'])} per parameter; "
            f"loss {size['loss']:.3f} by {size['source']} ({size['replication']}), {size['loss_by_other_law']['loss']:.3f} by the other law; "
            f"least loss for this size's compute at {words.plain(size['best_tokens'])} tokens",
            hang=6,
        )
    drawn = answer.get("sampling")
    if drawn:
        ways = ", ".join(f"{digits(w['clip_s'])} s on {words.counted(w['chips'], 'chip')}" for w in drawn["ways"])
        screen.line(
            f"one clip of {drawn['steps']} steps with {words.counted(drawn['passes_per_step'], 'pass', 'passes')} each is drawn in {ways}",
            hang=6,
        )


def published(answer: Answer) -> None:
    """Print what makers said about runs of this model: on the same fleet, else on others."""
    rows = answer["published"]
    fleets: dict[tuple[str, Any], list[Answer]] = {}
    for row in [r for r in rows if r["same"]] or rows:
        if row["metric"] in words.PUBLISHED:
            fleets.setdefault((row["chip"], row["chips"]), []).append(row)
    order = list(words.PUBLISHED)
    best_first = sorted(fleets.items(), key=lambda kv: min(order.index(r["metric"]) for r in kv[1]))
    for (chip, chips), said in best_first[:2]:
        said.sort(key=lambda r: order.index(r["metric"]))
        said = [r for r in said if r["metric"] in order[:2]] or said
        numbers = _numbers(said[:2], answer["tokens"])
        origin = "; ".join(dict.fromkeys(f"{r['title']}, {r['date']}" for r in said[:2]))
        fleet = f"{chips:,} x {chip}" if chips else chip
        where = "" if said[0]["same"] else f" on {fleet}, not on these chips"
        screen.line(f"published{where}: {numbers} ({origin})", hang=11)
    if not best_first:
        screen.line(f"published: nothing about a run of {answer['model']} is in the catalogue")


def _numbers(rows: list[Answer], asked: float | None) -> str:
    """Return published values; those of a run of other tokens than the asked ones name their tokens."""
    out = ""
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        out += words.published(row)
        if row["tokens"] not in (None, asked) and not (after and after["tokens"] == row["tokens"]):
            out += f" for {words.plain(row['tokens'])} tokens"
        out += ", " if after else ""
    return out


def _doubt(answer: Answer) -> None:
    """Print what was asked with its defaults, and what was assumed."""
    batch = answer["global_batch"] * answer["seq"]
    shot = answer.get("clip")
    asked = [
        f"{answer['model']} ({large(answer['parameters'])} parameters)",
        f"{answer['chips']:,} x {answer['chip']}",
        *([f"{words.plain(answer['tokens'])} tokens"] if answer["tokens"] else []),
        f"{words.counted(answer['global_batch'], 'clip' if shot else 'sequence')} of {answer['seq']:,} tokens per step ({words.plain(batch)})",
        answer["precision"],
        f"stack {answer['stack']}" + (" (calibrated)" if answer["calibrated"] else ""),
        *([f"strategies of {answer['framework']}"] if answer["framework"] != answer["stack"] else []),
    ]
    screen.line("for: " + ", ".join(asked), hang=5)
    missing: dict[str, list[str]] = {}
    for row in answer.get("excluded") or []:
        missing.setdefault(row["why"], []).append(row["what"])
    for why, what in missing.items():
        plural = why.removesuffix(" it") + " them" if len(what) > 1 else why
        screen.line(f"left out: {', '.join(what)}; {plural} (--framework any has all)", hang=10)
    assumed = list(answer["assumed"])
    best = answer["best"]
    if best and best.get("goodput"):
        assumed.append(f"failures and checkpoints take {percent(1 - best['goodput'], 1)} of the days")
    if assumed:
        screen.line("assumed: " + "; ".join(assumed), hang=9)
    screen.line()


def _nothing_fits(answer: Answer) -> None:
    """Print the nearest miss and what would make it fit."""
    near = answer["nearest"]
    need, usable = gibibytes(near["memory_bytes"]), gibibytes(near["limit_bytes"])
    how = words.strategy_in_full(near["strategy"])
    screen.line(
        f"Nothing fits: the smallest need is {need} GiB per chip ({answer['model']}, {how}); "
        f"{answer['chip']} has {usable} GiB that a plan may fill.",
        "bold",
    )
    if near["would_fit_with"]:
        screen.line("It would fit with " + ", or with ".join(near["would_fit_with"]) + ".")
    screen.line()


def _time_parts(best: Answer) -> None:
    """Print the parts of a step; they sum to it."""
    parts, step = best["parts_s"], best["step_s"]
    rows = [[words.PARTS[k], f"{v:.4f}", percent(v / step, 1)] for k, v in parts.items() if v > 0]
    rows.append(["step", f"{step:.4f}", percent(1.0, 1)])
    screen.columns(["time", "s", "share", ""], [[*r, ""] for r in rows], right=(1, 2))
    if best["recompute_s"] > 0:
        screen.line(f"of which {digits(best['recompute_s'])} s repeat forward work")


def _memory_parts(best: Answer) -> None:
    """Print the parts of the fullest chip's memory; they sum to it."""
    parts = {k.removesuffix("_bytes"): v for k, v in best["memory_parts_bytes"].items() if k != "memory_bytes"}
    parts["buffers and reserve"] = parts.pop("buffers")
    limit = best["memory_limit_bytes"]
    rows = [[k, f"{v / 2**30:.2f}", percent(v / limit, 1)] for k, v in parts.items() if v > 0]
    rows.append(["fullest chip", f"{best['memory_bytes'] / 2**30:.2f}", percent(best["memory_bytes"] / limit, 1)])
    screen.columns(["memory", "GiB", f"of {gibibytes(limit)} GiB", ""], [[*r, ""] for r in rows], right=(1, 2))


def source_lines(answer: Answer, listed: bool) -> None:
    """Print how many facts and guesses an answer rests on; all of them if `listed`."""
    facts = answer["sources"]
    guesses = [f["what"].removeprefix(answer["chip"]).strip() for f in facts if f["tier"] == "guess"]
    doubt = words.counted(len(guesses), "guess", "guesses")
    named = f" ({', '.join(guesses)})" if guesses else ""
    cure = "" if listed else ": --sources lists them"
    screen.line(f"sources: {words.counted(len(facts) - len(guesses), 'fact')}, {doubt}{named}{cure}", "dim", hang=9)
    if listed:
        screen.line()
        for fact in facts:
            source(fact)
        for row in answer["published"]:
            fleet = f"{row['chips']:,} x {row['chip']}" if row["chips"] else row["chip"]
            what = f"published {row['metric']} of {answer['model']} on {fleet}"
            value = _numbers([row], None) if row["metric"] in words.PUBLISHED else f"{row['value']:g} {row['unit']}"
            source(row | {"what": what, "value": value, "tier": "published"})


def source(fact: Answer) -> None:
    """Print one fact: what, value, date, tier; then title and note; then the address, which is never torn."""
    said = [fact["what"], fact["value"], fact["date"] or "no date", fact["tier"]]
    screen.items("", [s for s in said if s])
    about = "; ".join(s for s in (fact["title"], fact["note"]) if s)
    if about:
        screen.line("  " + about, "dim", hang=2)
    if fact["url"]:
        screen.address(fact["url"])
