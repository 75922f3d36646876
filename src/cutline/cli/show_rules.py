"""Lays out the answers of `rule`, `rules`, `line` and `design`: verdict, table, why, doubt, sources."""

from __future__ import annotations

from typing import Any

from cutline.cli import screen, words

Answer = dict[str, Any]
UNITS = {"tpp": "", "pd": "", "area_mm2": " mm2", "io_gb_per_s": " GB/s", "interconnect_gb_per_s": " GB/s",
    "memory_gb_per_s": " GB/s", "stack_mm2": " mm2", "training_flop": " FLOP", "tops": ""}  # fmt: skip
NAMES = {
    "tpp": "TPP",
    "area_mm2": "die area",
    "io_gb_per_s": "transfer rate",
    "interconnect_gb_per_s": "interconnect",
    "memory_gb_per_s": "memory rate",
    "stack_mm2": "package area",
    "training_flop": "operations",
    "tops": "TOPS",
    "datacenter": "data centre",
    "reading": "package or card",
    "presumption": "presumption on the fabricator",
}
"""Columns of items as words."""
SHORT = {
    "tpp": "TPP",
    "pd": "PD",
    "io": "I/O",
    "memory + io": "sum",
    "memory + interconnect": "sum",
    "training_flop": "operations",
}
"""Quantities of comparisons as words, where the rule file's own name is not one."""
CURES = {
    "tpp": "--tpp or --peak",
    "area_mm2": "--die-area",
    "io_gb_per_s": "--io-bandwidth",
    "memory_gb_per_s": "--memory-bandwidth",
    "datacenter": "--datacenter or --no-datacenter",
}
"""Options that settle what is not known."""
BRIEFLY = {
    "policy of denial": "denied",
    "presumption of denial": "denial",
    "case-by-case": "case by case",
    "not published": "not published",
    "presumption of approval": "approval",
}
"""Review policies in a word or two."""
NEEDS = {True: "required", False: "free", None: "open"}
MOST_NUMBERS = 4
"""Candidates for the ECCN that a line shows; --json has all."""
FORM = {"chip": "chip, board or server", "memory": "memory", "weights": "model weights"}


def number(value: float | None) -> str:
    """Write a number as the rules do, with as many digits as it has, at most seven.

    Examples
    --------
    >>> number(2395.2), number(4800.0), number(None), number(2.909091)
    ('2,395.2', '4,800', 'open', '2.909')
    """
    if value is None:
        return "open"
    if abs(value) >= 1e9:
        return f"{value:.4g}"
    text = f"{value:,.3f}".rstrip("0").rstrip(".")
    return text or "0"


def verdict(answer: Answer) -> None:
    """Print the answer of `cutline rule`."""
    screen.line()
    screen.line(f"{answer['item']} {asked(answer)}: {answer['verdict']}.", "bold", hang=2)
    if answer["without_reforms"] is not None:
        plain = answer["without_reforms"]
        same = all(answer[k] == plain[k] for k in plain)
        needs = {True: "a licence is required", False: "no licence is required", None: "it cannot be decided"}[
            plain["licence_required"]
        ]
        screen.line(
            "without the bill: the same"
            if same
            else f"without the bill: {needs}, meets {plain['meets']}, review: {plain['policy']}",
            hang=2,
        )
    screen.line()
    _facts(answer)
    _margins(answer)
    screen.line()
    _licence(answer)
    _flips(answer)
    _beside(answer)
    screen.line()
    _doubt(answer)


def _facts(answer: Answer) -> None:
    """Print what was measured, how, and from where."""
    rows = []
    for q in answer["quantities"]:
        text = number(q["low"]) if q["low"] == q["high"] else f"{number(q['low'])} to {number(q['high'])}"
        if q["low"] == 0 and q["high"] is None:
            text = "not known"
        sources = ", ".join(f"{s['id']} ({s['tier']})" for s in q["sources"])
        said = q["says"] if q["says"] not in ("given", "not known") else ""
        blank = "no source found" if q["says"] == "not known" else "given"
        rows.append([NAMES[q["quantity"]], text + (UNITS[q["quantity"]] if text != "not known" else ""), "; ".join(filter(None, (said, sources)))  or blank])  # fmt: skip
    screen.columns(["measured", "", "from"], [[*r] for r in rows], right=(1,))
    screen.line()


def _margins(answer: Answer) -> None:
    """Print each test with the comparison on which it turns, and by how much the item lies above that limit."""
    from cutline.law.working import deciding

    rows = []
    maybe = {s["what"] for s in answer["basis"] if s["step"] == "may meet"}
    for test in dict.fromkeys(m["test"] for m in answer["margins"]):
        bounds = [m for m in answer["margins"] if m["test"] == test]
        m = deciding(bounds)
        has = number(m["value"]) if m["value"] is not None else f"{number(m['low'])} to {number(m['high'])}"
        mark = "meets" if test in answer["paragraphs"] else "open" if test in maybe or m["holds"] is None else ""
        if not mark and all(b["holds"] for b in bounds):
            mark = "excluded"  # by a note
        elif not mark and "<" in m["asks"] and not m["holds"]:
            mark = "lies above"
        rows.append([test, limits(bounds), f"{SHORT.get(m['quantity'], m['quantity'])} {has}", margin(m), mark])
    if rows:
        screen.columns(["test", "asks", "what decides", "margin", ""], rows, right=(3,))


def margin(m: Answer) -> str:
    """Write how far above its limit an item lies; of an interval only whether all of it lies above or below."""
    if m["margin"] is None and m["low"] >= m["limit"]:
        return "above"
    if m["margin"] is None and m["high"] is not None and m["high"] < m["limit"]:
        return "below"
    return percent(m["margin"])


def percent(margin: float | None) -> str:
    """Write how far above a limit something lies.

    Examples
    --------
    >>> percent(-0.0133), percent(208332.3), percent(None)
    ('-1.3 %', 'x 208,333', 'open')
    """
    if margin is None:
        return "open"
    return f"{100 * margin:+.1f} %" if abs(margin) < 9.995 else f"x {margin + 1:,.0f}"


def limits(bounds: list[Answer]) -> str:
    """Write the comparisons of a test, those of one quantity as one range.

    Examples
    --------
    >>> limits([{"quantity": "pd", "asks": "pd >= 1.6", "limit": 1.6}, {"quantity": "pd", "asks": "pd < 5.92", "limit": 5.92}])
    'PD 1.6 to < 5.92'
    """
    said = []
    for quantity in dict.fromkeys(b["quantity"] for b in bounds):
        name = {"memory + io": "memory + I/O"}.get(quantity, SHORT.get(quantity, quantity))
        low = [b for b in bounds if b["quantity"] == quantity and ">" in b["asks"]]
        high = [b for b in bounds if b["quantity"] == quantity and "<" in b["asks"]]
        if low and high:
            said.append(f"{name} {number(low[0]['limit'])} to < {number(high[0]['limit'])}")
        else:
            said += [f"{name} {b['asks'].removeprefix(quantity).split()[0]} {number(b['limit'])}" for b in low + high]
    return ", ".join(said)


def _licence(answer: Answer) -> None:
    """Print class, numbers, policy, exceptions and conditions."""
    meets = answer["meets"] if answer["meets"] != "undetermined" else f"undetermined: {' or '.join(answer['possible'])}"
    numbers = answer["eccn_candidates"]
    more = f" and {len(numbers) - MOST_NUMBERS} more" if len(numbers) > MOST_NUMBERS + 1 else ""
    shown = numbers[:MOST_NUMBERS] if more else numbers
    screen.line(f"meets: {meets}; candidates for the ECCN ({FORM[answer['form']]}): {', '.join(shown)}{more}", hang=2)
    words_ = {step["what"]: step["says"] for step in answer["basis"] if step["step"] == "exception"}
    spare = ", ".join(f"{name} ({words_[name]})" if name in words_ else name for name in answer["exceptions"])
    screen.line(f"review: {answer['policy']}; exceptions: {spare or 'none'}", hang=2)
    for condition in answer["conditions"]:
        screen.line(f"- {condition}", hang=2)
    if answer.get("foundry") is not None:
        found = answer["foundry"]
        held = {True: "holds", False: "is overcome", None: "cannot be decided"}[found["presumed"]]
        screen.line(f"foundry presumption {held}: {found['says']} ({found['citation']})", hang=2)
        screen.line(f"  {found['note']}" if found["note"] else "", hang=2)


def _flips(answer: Answer) -> None:
    """Print where the answer turns."""
    for f in answer["flips"]:
        name, unit = NAMES[f["quantity"]], UNITS.get(f["quantity"], "")
        span = (
            f"{number(f['from'])}{unit}" if f["from"] == f["to"] else f"{number(f['from'])} to {number(f['to'])}{unit}"
        )
        if f["quantity"] in ("reading", "presumption", "datacenter"):
            where = f"{name}: {f['says']}"
        elif f["says"]:
            where = f"{name} {span}, {f['says']}"
        else:
            below, above = ("up to", "above") if f["quantity"] in ("area_mm2", "stack_mm2") else ("below", "from")
            ends = [f"{above} {number(f['from'])}{unit}"] if f["from"] else []
            ends += [f"{below} {number(f['to'])}{unit}"] if f["to"] is not None else []
            where = f"{name} {' and '.join(ends) or 'any'}"
        needs = NEEDS[f["licence_required"]]
        screen.line(f"flips: {f['when']}{where}: {' or '.join(f['meets'])}, licence {needs}", hang=7)
    cures = dict.fromkeys(CURES[f["quantity"]] for f in answer["flips"] if f["quantity"] in CURES)
    if cures and answer["licence_required"] is None:
        screen.line(f"settle it with {', '.join(cures)}", hang=7)


def _beside(answer: Answer) -> None:
    """Print what stands beside the licence: tariffs, guidance, the importing side."""
    for b in answer["beside"]:
        sure = "" if b["confidence"] == "high" else f", {b['confidence']} confidence"
        screen.line(f"{b['kind']}: {b['says']} ({b['citation']}{sure})", hang=2)


def _doubt(answer: Answer) -> None:
    """Print layers, basis and warnings."""
    other = answer["other_layer"]
    if other["same"]:
        screen.line(f"layer {answer['layer']}; {other['layer']} says the same")
    else:
        needs = {True: "licence required", False: "no licence required", None: "undetermined"}[
            other["licence_required"]
        ]
        policy = f", {other['policy']}" if other["licence_required"] else ""
        spare = f", exceptions {', '.join(other['exceptions'])}" if other["exceptions"] else ""
        screen.line(f"layer {answer['layer']}; {other['layer']} differs: {needs}{policy}{spare}", hang=2)
    cited: dict[str, str] = {}
    for step in answer["basis"]:
        for part in step.get("citation", "").split("; "):
            if part and (part not in cited or step["confidence"] == "high"):
                cited[part] = "" if step["confidence"] == "high" else f" ({step['confidence']} confidence)"
    if cited:
        screen.line("basis: " + "; ".join(c + sure for c, sure in cited.items()), hang=7)
    warnings(answer)
    screen.ends("--worksheet: the working; --json: all of it; words: docs/glossary.md", words.version())


def table(answer: Answer) -> None:
    """Print short verdicts of many parts."""
    screen.line()
    rows = []
    counts: dict[str, int] = {}
    for r in answer["rows"]:
        needs = NEEDS[r["licence_required"]]
        counts[needs] = counts.get(needs, 0) + 1
        review = " or ".join(BRIEFLY.get(p, p) for p in r["policy"].split(" or ")) if r["licence_required"] else ""
        if r["licence_required"] is None:
            review = "not known: " + ", ".join(NAMES[m] for m in r["missing"]) if r["missing"] else "see flips"
        spare = f" ({', '.join(r['exceptions'])})" if r["exceptions"] and r["licence_required"] else ""
        tpp = number(r["tpp"] if r["tpp"] is None else round(r["tpp"], 1))
        meets = r["meets"] if r["meets"] != "undetermined" else "open"
        rows.append([r["item"], tpp, meets, needs, beyond(r["nearest"]), review + spare])
    screen.columns(
        ["part", "TPP", "meets", "licence", "nearest limit", "review"],
        rows,
        right=(1,),
    )
    screen.line()
    said = ", ".join(f"{n} {word}" for word, n in sorted(counts.items(), key=lambda kv: -kv[1]))
    screen.line(f"{asked(answer)}, layer {answer['layer']}: {said}", "bold", hang=2)
    screen.line(
        "review: denied (policy), denial or approval (presumption), exceptions behind it; or what is not known. --json says at which value an open "
        "answer flips."
    )
    warnings(answer)
    screen.line(words.version(), "dim")


def beyond(nearest: Answer | None) -> str:
    """Write by how much a part is over or under its nearest limit."""
    if nearest is None:
        return ""
    test = nearest["test"].replace("letter 2025-04", "letter")
    return f"{test}, {percent(abs(nearest['margin'])).lstrip('+')} {'over' if nearest['margin'] >= 0 else 'under'}"


def asked(answer: Answer) -> str:
    """Write who was asked about and when."""
    parties = answer["parties"]
    said = [f"to {parties['destination']} on {answer['on']}"]
    for key, word in {
        "headquarters": "headquarters",
        "parent": "parent",
        "name": "buyer",
        "end_use": "end use",
    }.items():
        if key in parties:
            said.append(f"{word} {parties[key]}")
    if parties.get("listed"):
        said.append("listed")
    if parties.get("listed_share"):
        said.append(f"{number(parties['listed_share'])} % held by listed parties")
    if parties.get("origin", "US") != "US":
        said.append(f"from {parties['origin']}")
    if answer["known"]:
        said.append(f"as known on {answer['known']}")
    if answer["reforms"]:
        said.append(f"as if {', '.join(answer['reforms'])} were law")
    return ", ".join(said)


def warnings(answer: Answer) -> None:
    """Print warnings, one line each."""
    for warning in answer["warnings"]:
        screen.line(f"! {warning}", hang=2)


def history(answer: Answer) -> None:
    """Print how the answer changed since the first rule."""
    from cutline.law.day import name_of

    screen.line()
    screen.line(f"{answer['item']} to {name_of(answer['to'])}, from the first rule to {answer['on']}", "bold")
    screen.line()
    rows = []
    for h in answer["history"]:
        review = f"; review: {h['policy']}" if h["licence_required"] is not False else ""
        rows.append([h["from"], h["until"] or "", h["meets"], h["verdict"] + review])
    screen.columns(["from", "until", "meets", "verdict"], rows)
    screen.line()
    screen.line("`until` is the first day of the next line. Not legal advice.")
    screen.line(words.version(), "dim")


def timeline(answer: Answer) -> None:
    """Print the acts, oldest first."""
    screen.line()
    rows = []
    for a in answer["acts"]:
        name = f"--reform {a['reform']}" if a["reform"] else a["citation"] or a["title"]
        rows.append(
            [
                a["effective"] or "-",
                a["known"],
                a["kind"],
                a["read"],
                f"{a['title']}; {name}" if name != a["title"] else a["title"],
            ]
        )
    screen.columns(["in force", "known", "kind", "read as", "what"], rows)
    screen.line()
    screen.line(
        f"{words.counted(len(rows), 'act')}; read as: the document, a secondary source, or memory. Not legal advice."
    )
    screen.line(words.version(), "dim")


def line(answer: Answer) -> None:
    """Print the boundary of what is free."""
    screen.line()
    screen.line(f"Free of a licence {asked(answer)}, is what lies below all limits of one line:", "bold", hang=2)
    screen.line()
    rows = []
    for one in answer["lines"]:
        who = (", ".join(one["makers"]) or "any maker") + (", data centre" if one["datacenter"] else ", other")
        sums = "; ".join(f"{s['quantity']} {number(s['limit'])}" for s in one["sums"] if one["corners"])
        for corner in one["corners"] or [None]:
            limits = (
                ["nothing is free", "", "", ""]
                if corner is None
                else ["any" if corner[a] is None else number(corner[a]) for a in ("tpp", "pd", "io", "memory")]
            )
            rows.append([who, *limits, sums or "-"])
            who = ""
    screen.columns(["chips of", "TPP", "PD", "I/O GB/s", "memory GB/s", "sums"], rows, right=(1, 2, 3, 4))
    screen.line()
    tests = dict.fromkeys(t for one in answer["lines"] for t in one["tests"])
    screen.line(f"made by: {', '.join(tests) or 'no rule'}; PD is TPP per mm2 of non-planar logic dies", hang=9)
    screen.line(f"layer {answer['layer']}")
    warnings(answer)
    screen.line(words.version(), "dim")
