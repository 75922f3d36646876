"""Lays out the answers of `serve` and `run`."""

from __future__ import annotations

import math
from typing import Any

from cutline.cli import screen, show_plan, words
from cutline.cli.words import digits, gibibytes, large, percent

Answer = dict[str, Any]


def time_of(seconds: float) -> str:
    """Write a short time.

    Examples
    --------
    >>> time_of(0.0123), time_of(2.345), time_of(754.0)
    ('12.3 ms', '2.35 s', '12.6 min')
    """
    if seconds < 1.0:
        return f"{digits(1e3 * seconds)} ms"
    return f"{digits(seconds)} s" if seconds < 120 else f"{digits(seconds / 60)} min"


def serve(answer: Answer, seconds: float, sources: bool) -> None:
    """Print the answer of `cutline serve`, which took `seconds`."""
    screen.line()
    best = answer["best"]
    if best is None:
        _nothing(answer)
    else:
        _headline(best)
        screen.line()
        _plans(answer)
        screen.line()
        screen.line(f"binds: {best['binds']}", hang=7)
        if answer["pareto"]:
            screen.line()
            _front(answer)
        screen.line()
    _doubt(answer)
    found = (
        f"searched {answer['searched']:,} layouts and loads, {answer['feasible']:,} keep the limits, in {seconds:.1f} s"
    )
    screen.ends(found, words.version())
    _sources(answer, sources)


def _headline(best: Answer) -> None:
    first, each = best["ttft_s"], best["tpot_s"]
    said = [
        f"{digits(best['tokens_per_s_per_chip'])} tokens/s/chip", f"{digits(best['tokens_per_s_per_user'])} tokens/s for a user",
        f"{digits(best['tokens_per_s'])} tokens/s on {words.counted(best['chips'], 'chip')}",
    ]  # fmt: skip
    screen.items("", said, style="bold")
    screen.columns(
        ["", "half of all", "9 of 10", "99 of 100", ""],
        [
            ["first token", *(time_of(first[k]) for k in ("p50", "p90", "p99")), ""],
            [
                "each token",
                *(time_of(each[k]) for k in ("p50", "p90", "p99")),
                f"model's own doubt {time_of(best['tpot_s_low'])} to {time_of(best['tpot_s_high'])}, 90 %",
            ],
        ],
        right=(1, 2, 3),
    )
    cost = (
        "no price of these parts is known"
        if best["cost_usd_per_million_tokens"] is None
        else f"{digits(best['cost_usd_per_million_tokens'])} USD a million tokens"
    )
    power = (
        "power not known" if best["energy_j_per_token"] is None else f"{digits(best['energy_j_per_token'])} J a token"
    )
    screen.items("", [cost, power])


ROLE = {"together": "both", "prompts": "prompts", "decoding": "decoding"}


def layout(row: Answer) -> str:
    """Write a layout in the field's words."""
    said = [f"tp {row['tp']}"]
    said += [f"dp {row['dp']}"] if row["dp"] > 1 else []
    said += [f"ep {row['ep']}"] if row["ep"] > 1 else []
    said += [f"pp {row['pp']}"] if row["pp"] > 1 else []
    return "  ".join(said)


def _plans(answer: Answer) -> None:
    """Print the best plan's pools, and the other plans a line each."""
    rows = []
    for n, plan in enumerate([answer["best"], *answer["alternatives"]]):
        for k, pool in enumerate(plan["configuration"]):
            last = k == len(plan["configuration"]) - 1
            rows.append(
                [
                    str(n + 1) if k == 0 else "", f"{pool['replicas']:,} x {pool['chips']:,} {pool['group']}", ROLE[pool["role"]], layout(pool),
                    f"{pool['batch']:,}" if pool["role"] != "prompts" else "", digits(plan["tokens_per_s_per_chip"]) if last else "",
                    time_of(plan["tpot_s"]["p50"]) if last else "", time_of(plan["ttft_s"]["p50"]) if last else "", "",
                ]
            )  # fmt: skip
    screen.columns(
        ["", "replicas", "does", "layout", "at once", "tok/s/chip", "token", "first", ""], rows, right=(4, 5, 6, 7)
    )


HIGH, WIDE = 9, 64


def _front(answer: Answer) -> None:
    """Draw the front: tokens a second for a user against tokens a second of a chip."""
    points = answer["pareto"]
    xs, ys = [p["tokens_per_s_per_user"] for p in points], [p["tokens_per_s_per_chip"] for p in points]
    low, high = math.log(min(xs)), math.log(max(xs))
    most = max(ys)
    grid = [[" "] * WIDE for _ in range(HIGH)]
    names = list(dict.fromkeys(p["group"] for p in points))
    marks = "ox+*"
    for p in points:
        span = max(high - low, 1e-9)
        col = round((math.log(p["tokens_per_s_per_user"]) - low) / span * (WIDE - 1))
        row = HIGH - 1 - round(p["tokens_per_s_per_chip"] / most * (HIGH - 1))
        grid[row][col] = marks[names.index(p["group"]) % len(marks)]
    screen.line("tokens/s of a chip against tokens/s for a user, prompts and decoding together:")
    for n, row in enumerate(grid):
        label = digits(most * (HIGH - 1 - n) / (HIGH - 1)) if n % 4 == 0 else ""
        screen.console().print(f"  {label:>8} |{''.join(row).rstrip()}", soft_wrap=True)
    screen.console().print(f"  {'':>8} +{'-' * WIDE}", soft_wrap=True)
    screen.console().print(f"  {'':>9}{digits(min(xs)):<{WIDE - 8}}{digits(max(xs)):>8}", soft_wrap=True)
    if len(names) > 1:
        screen.line(", ".join(f"{marks[i % len(marks)]} {name}" for i, name in enumerate(names)))


def _nothing(answer: Answer) -> None:
    near = answer["nearest"]
    screen.line(f"Nothing serves it so: {near['why']}.", "bold")
    for cure in near["cures"]:
        screen.line(f"- {cure}", hang=2)
    for m in near["memory"]:
        screen.line(
            f"{m['group']}: weights {gibibytes(m['weights_bytes'])} GiB of {gibibytes(m['memory_bytes'])} GiB in all",
            hang=2,
        )
    screen.line()


def _doubt(answer: Answer) -> None:
    load = f"prompts of {answer['input']:,.0f} and answers of {answer['output']:,.0f} tokens"
    if answer["rate_per_s"]:
        load += f", {digits(answer['rate_per_s'])} requests a second at random"
    elif answer["concurrency"]:
        load += f", {answer['concurrency']:,.0f} clients"
    limits = [f"first token within {time_of(answer['ttft_limit_s'])}"] if answer["ttft_limit_s"] else []
    limits += [f"each token within {time_of(answer['tpot_limit_s'])}"] if answer["tpot_limit_s"] else []
    asked = [
        f"{answer['model']} ({large(answer['parameters'])} parameters)", " + ".join(f"{g['chips']:,} x {g['group']}" for g in answer["groups"]), load,
        *limits, "for the most " + answer["objective"] if answer["objective"] in ("throughput", "speed") else f"for the least {answer['objective']}",
    ]  # fmt: skip
    screen.line("for: " + ", ".join(asked), hang=5)
    best = answer["best"]
    if best and best["cost_usd_per_million_tokens"] is not None:
        screen.line("cost: " + "; ".join(f"{k}: {v}" for k, v in best["cost_basis"].items()), hang=6)
    assumed = [*answer["assumed"], "lengths between half and one and a half times their mean"]
    screen.line("assumed: " + "; ".join(assumed), hang=9)
    screen.line()


def _sources(answer: Answer, listed: bool) -> None:
    facts = answer["sources"]
    guesses = [f["what"] for f in facts if f["tier"] == "guess"]
    cure = "" if listed else ": --sources lists them"
    names = f" ({', '.join(guesses)})" if guesses else ""
    screen.line(
        f"sources: {words.counted(len(facts) - len(guesses), 'fact')}, {words.counted(len(guesses), 'guess', 'guesses')}{names}{cure}",
        "dim",
        hang=9,
    )
    if listed:
        screen.line()
        for fact in facts:
            show_plan.source(fact)


def run(answer: Answer, sources: bool) -> None:
    """Print the answer of `cutline run`."""
    screen.line()
    name = answer["machine"] if answer["cards"] == 1 else f"{answer['cards']} x {answer['machine']}"
    if answer["fits"]:
        said = [
            f"writes {digits(answer['decode_tokens_per_s'])} tokens/s  ({digits(answer['decode_low'])} to {digits(answer['decode_high'])}, 90 %)"
        ]
        if answer["prefill_tokens_per_s"] is not None:
            said.append(
                f"reads {digits(answer['prefill_tokens_per_s'])} tokens/s  ({digits(answer['prefill_low'])} to {digits(answer['prefill_high'])})"
            )
        screen.items("", said, style="bold")
        more = [f"{digits(answer['decode_tokens_per_s_at_context'])} tokens/s behind {answer['context']:,} tokens"]
        if answer["ttft_s"] is not None:
            more.append(f"first token of a prompt of {answer['prompt']:,} after {time_of(answer['ttft_s'])}")
        if answer["energy_j_per_token"] is not None:
            more.append(f"{digits(answer['energy_j_per_token'])} J a token")
        screen.items("", more)
    else:
        screen.line(f"Does not fit {name} at a context of {answer['context']:,} tokens.", "bold")
        for cure in answer["cures"]:
            screen.line(f"- {cure}", hang=2)
    screen.line()
    rows = [
        [
            "weights",
            gibibytes(answer["weights_bytes"]),
            f"{answer['quant']}, {digits(answer['bits_per_weight'])} bits each",
        ],
        [
            "keys and values",
            gibibytes(answer["cache_bytes"]),
            f"room for {answer['context']:,} tokens; {answer['most_context']:,} at most",
        ],
        ["with buffers", gibibytes(answer["need_bytes"]), ""],
        [
            "may be filled",
            gibibytes(answer["usable_bytes"]),
            f"{percent(answer['usable_share'])} of {gibibytes(answer['memory_bytes'])} GiB",
        ],
    ]
    screen.columns(["memory", "GiB", ""], rows, right=(1,))
    screen.line()
    parts = ", ".join(f"{k} {percent(v)}" for k, v in answer["binds"].items() if v > 0.005)
    screen.line(f"a token's time: {parts}", hang=16)
    for row in answer["sustained"]:
        screen.line(
            f"after minutes of work {percent(row['share'])} of the first rate ({row['what']}; {row['note']})", hang=2
        )
    if answer["assumed"]:
        screen.line("assumed: " + "; ".join(answer["assumed"]), hang=9)
    screen.line(f"for: {answer['model']} ({large(answer['parameters'])} parameters) on {name}", hang=5)
    screen.line()
    screen.line(words.version(), "dim")
    _sources(answer, sources)


def clips(answer: Answer, sources: bool) -> None:
    """Print how a fleet draws clips."""
    screen.line()
    best = answer["best"]
    size = " x ".join(str(n) for n in answer["clip"])
    if best is None:
        screen.line(f"No number of these chips holds the model and a clip of {size}.", "bold")
    else:
        said = [
            f"a clip in {time_of(best['clip_s'])} on {words.counted(best['chips'], 'chip')}",
            f"fewest chips {answer['fewest_chips']}",
        ]
        if best["cost_usd"] is not None:
            said.append(f"{digits(best['cost_usd'])} USD a clip")
        screen.items("", said, style="bold")
    screen.line()
    rows = [
        [
            f"{w['chips']}", time_of(w["clip_s"]), digits(w["clips_per_hour"]), gibibytes(w["memory_bytes"]),
            "" if w["cost_usd"] is None else digits(w["cost_usd"]), words.energy(w["energy_j"]) if w["energy_j"] else "", w["weights"],
        ]
        for w in answer["ways"]
    ]  # fmt: skip
    screen.columns(
        ["chips", "a clip", "clips/h of all", "GiB", "USD", "energy", "weights"], rows, right=(0, 1, 2, 3, 4, 5)
    )
    screen.line()
    for p in answer["published"]:
        screen.line(f"published: {time_of(p['clip_s'])} ({p['what']}; {p['title']})", hang=11)
    screen.line(
        f"for: {answer['model']}, {size} ({answer['tokens']:,} tokens), {answer['steps']} steps of {answer['passes_per_step']} passes, on "
        f"{answer['chips']:,} x {answer['chip']}; forward passes alone, without text encoder and autoencoder", hang=5
    )  # fmt: skip
    if best and best["cost_usd"] is not None:
        screen.line(f"cost: {answer['cost_basis']}", hang=6)
    if answer["assumed"]:
        screen.line("assumed: " + "; ".join(answer["assumed"]), hang=9)
    screen.line(words.version(), "dim")
    _sources(answer, sources)
