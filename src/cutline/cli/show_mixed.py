"""Lays out the answer of `plan` and `estimate` on a fleet of several kinds: verdict, who does what, instead, why, doubt, sources."""

from __future__ import annotations

from typing import Any

from cutline.cli import screen, show_plan, words
from cutline.cli.words import digits, gibibytes, large, percent

Answer = dict[str, Any]


def plan(answer: Answer, seconds: float, sources: bool) -> None:
    """Print the answer of `cutline plan` on a mixed fleet, which took `seconds`."""
    screen.line()
    best = answer["best"]
    if best is None:
        screen.line("Nothing fits: neither a group alone, nor replicas on several, nor one pipeline over them.", "bold")
        for row in answer["groups"]:
            screen.line(f"{row['group']}: no plan for this batch fits on {words.counted(row['chips'], 'chip')} alone")
        screen.line()
    else:
        show_plan.headline(best, basis=False)
        screen.line()
        _roles(answer)
        screen.line()
        _instead(answer)
        screen.line()
        _why(answer)
    _doubt(answer)
    screen.ends(_searched(answer, seconds), words.version())
    source_lines(answer, sources)


def estimate(answer: Answer, sources: bool) -> None:
    """Print the answer of `cutline estimate` on a mixed fleet."""
    best = answer["best"]
    screen.line()
    if not best["fits"]:
        screen.line("Does not fit: a plan may fill 94 % of a chip's memory. If it did:", "bold")
    show_plan.headline(best, basis=False)
    screen.line()
    _roles(answer)
    screen.line()
    for p in best["parties"]:
        step = p["step_s"]
        rows = [[words.PARTS[k], f"{v:.4f}", percent(v / step, 1)] for k, v in p["parts_s"].items() if v > 0]
        rows.append(["step", f"{step:.4f}", percent(1.0, 1)])
        if p["waits"] > 5e-4:
            rows.append(["waits for the others", f"{best['step_s'] - step:.4f}", ""])
        screen.columns([" + ".join(p["groups"]), "s", "share", ""], [[*r, ""] for r in rows], right=(1, 2))
        screen.line()
    _links(answer)
    _doubt(answer)
    screen.ends("one plan, as given", words.version())
    source_lines(answer, sources)


def _searched(answer: Answer, seconds: float) -> str:
    """Say what was searched, and whether anything was left open."""
    if answer["best"] is None:
        return f"every way to share out the groups, in {seconds:.1f} s"
    gap = answer["best"]["step_s"] / answer["bound_step_s"] - 1.0
    if answer["closed"]:
        return f"every way to share out the groups; the search is closed, in {seconds:.1f} s"
    return f"search left open: no plan is more than {percent(gap / (1 + gap))} faster, in {seconds:.1f} s"


def _roles(answer: Answer) -> None:
    """Print what each group does."""
    best = answer["best"]
    rows = []
    for r in best["roles"]:
        part = f"{r['sequences']:,} of {answer['global_batch']:,}"
        if r["role"] == "stages":
            part = f"layers {_layers(r['layers'])}"
        elif r["role"] != "whole replicas":
            part = f"{r['role']}, layers {_layers(r['layers'])}"
        room = f"{gibibytes(r['memory_bytes'])} of {gibibytes(r['memory_limit_bytes'])} GiB"
        rows.append([r["group"], f"{r['chips']:,}", part, room, percent(r["waits"]), words.split(r["strategy"])])
    for name in best["idle"]:
        chips = next(g["chips"] for g in answer["groups"] if g["group"] == name)
        rows.append([name, f"{chips:,}", "idle", "", "", ""])
    does = "sequences" if all(r["role"] == "whole replicas" for r in best["roles"]) else "does"
    screen.columns(
        ["group", "chips", does, "memory", "waits", "strategy"],
        rows,
        right=(1, 2, 3, 4) if does == "sequences" else (1, 3, 4),
    )
    for r in best["roles"]:
        full = words.strategy_in_full(r["strategy"])
        screen.line(f"{r['group']}: {full}", hang=len(r["group"]) + 2)
    piped = [p for p in best["parties"] if p["wave"]]
    for p in piped:
        screen.line(
            f"pipeline over {' and '.join(p['groups'])}: {words.counted(p['micro_batches'], 'wave')} of {words.counted(p['wave'], 'sequence')}, "
            f"1F1B; {words.limits(p['parts_s'])}",
            hang=10,
        )


def _layers(layers: list[int]) -> str:
    """Write the layers of stages, equal ones once.

    Examples
    --------
    >>> _layers([30]), _layers([10, 10, 9])
    ('30', '2 x 10, 9')
    """
    runs: list[list[int]] = []
    for n in layers:
        if runs and runs[-1][1] == n:
            runs[-1][0] += 1
        else:
            runs.append([1, n])
    return ", ".join(f"{k} x {n}" if k > 1 else f"{n}" for k, n in runs)


def _instead(answer: Answer) -> None:
    """Print what else could be done with the same chips."""
    best, unit = answer["best"], "days" if answer["tokens"] is not None else "s/step"
    base = best["step_s"]
    chips = {g["group"]: g["chips"] for g in answer["groups"]}

    def row(what: str, entry: Answer) -> list[str]:
        time = entry["days"] if unit == "days" else entry["step_s"]
        more = entry["step_s"] / base - 1.0
        return [what, digits(time), "" if abs(more) < 5e-4 else f"{100 * more:+.0f} %"]

    rows = [row(f"this plan: {best['how']}", best)]
    if answer["even"] is not None:
        rows.append(row("every chip the same share of the batch", answer["even"]))
    alone = {a["group"] for a in answer["alone"]}
    for a in answer["alternatives"]:
        single = len(a["parties"]) == 1 and len(a["parties"][0]) == 1 and a["parties"][0][0] in alone
        if not single:
            names = " beside ".join(" + ".join(p) for p in a["parties"])
            rows.append(row(f"{a['how']}: {names}", a))
    for a in answer["alone"]:
        if a["step_s"] is not None:
            rows.append(row(f"{chips[a['group']]:,} x {a['group']} alone", a))
        else:
            rows.append([f"{chips[a['group']]:,} x {a['group']} alone", "-", "no plan"])
    bound = {"step_s": answer["bound_step_s"], "days": best["days"] and best["days"] * answer["bound_step_s"] / base}
    rows.append(row("no plan can be below (all chips at their best rate, nothing sent)", bound))
    screen.columns(["instead", unit, "against it"], rows, right=(1, 2))


def _why(answer: Answer) -> None:
    """Print the reasons, what the links cost, and what one more server brings."""
    screen.line("why: " + "; ".join(answer["why"]), hang=5)
    if answer["one_more_node"]:
        said = [f"{r['chips']} more {r['group']} {percent(r['saves'], 2)}" for r in answer["one_more_node"]]
        screen.items("one more server saves: ", said)
    _links(answer)


def _links(answer: Answer) -> None:
    """Print the ways between groups, what they cost, and what follows where groups run different formats."""
    for link in answer["links"]:
        rate = f"{link['bytes_per_s'] / 1e9:.3g} GB/s a chip" if link["bytes_per_s"] else "none"
        screen.line(f"between {' and '.join(link['groups'])}: {rate} ({link['says']})", hang=8)
    if any(link["bytes_per_s"] for link in answer["links"]) and len(answer["best"]["roles"]) > 1:
        screen.line(f"an endless link between groups would save {percent(answer['link_cost'], 1)} of this plan's step")
    if answer["numerics"]:
        formats = ", ".join(f"{g} {f}" for g, f in answer["numerics"]["formats"].items())
        screen.line(f"numerics: {formats}; {answer['numerics']['says']}", hang=10)
        for loss in answer["numerics"]["loss"]:
            screen.line(f"  {loss}", hang=2)


def _doubt(answer: Answer) -> None:
    """Print what was asked with its defaults, and what was assumed."""
    batch = answer["global_batch"] * answer["seq"]
    asked = [
        f"{answer['model']} ({large(answer['parameters'])} parameters)",
        " + ".join(f"{g['chips']:,} x {g['group']}" for g in answer["groups"]),
        *([f"{words.plain(answer['tokens'])} tokens"] if answer["tokens"] else []),
        f"{words.counted(answer['global_batch'], 'sequence')} of {answer['seq']:,} tokens per step ({words.plain(batch)})",
        *dict.fromkeys(g["precision"] for g in answer["groups"]),
        "stack " + ", ".join(dict.fromkeys(g["stack"] for g in answer["groups"])),
    ]
    screen.line("for: " + ", ".join(asked), hang=5)
    assumed = list(answer["assumed"])
    best = answer["best"]
    if best and best["days"] is not None:
        screen.line("cost: " + "; ".join(f"{name}: {basis}" for name, basis in best["cost_basis"].items()), hang=6)
    if best and best.get("goodput"):
        assumed.append(f"failures and checkpoints take {percent(1 - best['goodput'], 1)} of the days")
    if assumed:
        screen.line("assumed: " + "; ".join(assumed), hang=9)
    screen.line()


def source_lines(answer: Answer, listed: bool) -> None:
    """Print how many facts and guesses the answer rests on; all of them if `listed`."""
    facts = answer["sources"]
    guesses = [f["what"] for f in facts if f["tier"] == "guess"]
    cure = "" if listed else ": --sources lists them"
    screen.line(
        f"sources: {words.counted(len(facts) - len(guesses), 'fact')}, {words.counted(len(guesses), 'guess', 'guesses')} ({', '.join(guesses)}){cure}",
        "dim",
        hang=9,
    )
    if listed:
        screen.line()
        for fact in facts:
            show_plan.source(fact)
