"""One item, one buyer, one day: the verdict with its basis, margins, flips, conditions and warnings, as plain data."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from cutline.core.errors import suggestions
from cutline.facts.law import LAYERS, Test
from cutline.law.cases import Cases, cases
from cutline.law.day import STALE_DAYS, Day, Parties, day_of, first_day, name_of, parties_of
from cutline.law.foundry import Die, presumption
from cutline.law.licence import STRICT, licence
from cutline.law.measures import QUANTITIES, Measure, Part, exactly
from cutline.law.outcome import CLASSES, PRESUMED, Outcome, outcomes_of, subject_of
from cutline.law.working import applies, basis, columns_of, margins, quantities, row_of

NOT_ADVICE = "not legal advice; a classification is the exporter's own, or a ruling of BIS"
FORMS = {"chip": ("chip", "board", "server"), "memory": ("memory",), "weights": ("weights",)}
DOUBT = (Decimal("0.9"), Decimal("1.1"))
"""A guess that is off by this much must not change what is free."""
BY_STANDARD = "by the standard"
"""Mark of a guess that a published standard leaves no doubt about, such as the rate of a named bus."""
SAME = ("meets", "licence_required", "policy", "exceptions")


def rule(
    part: Part,
    to: str,
    *,
    on: date,
    known: date | None = None,
    layer: str = "as_enforced",
    reforms: tuple[str, ...] = (),
    form: str = "",
    die: Die | None = None,
    **parties: Any,
) -> dict[str, Any]:
    """Return whether an item may go to a place on a day, and why.

    Parameters
    ----------
    part : Part
        From `measures.chip` or `measures.imagined`.
    to : str
        ISO 3166-1 alpha-2 code of the destination.
    on, known : date
        The day of export, and the day whose knowledge counts (all that is known, unless given).
    layer : str
        `as_enforced` or `text`; the answer says where the other one differs.
    reforms : tuple of str
        Bills to count as law.
    form : str
        chip, board or server, if only its numbers are wanted.
    die : Die, optional
        What its fabricator or packager knows, if one of them exports it.
    **parties
        `headquarters`, `parent`, `origin` (codes), `name`, `end_use`, `listed`, `listed_share`.

    Returns
    -------
    dict
        `verdict` (one sentence), `meets`, `paragraphs`, `eccn_candidates`, `licence_required` (None if that cannot be
        told), `confidence`, `policy`, `exceptions`, `conditions`, `margins`, `flips`, `basis`, `layer`, `warnings`, and
        what they were asked about. docs/json.md lists all keys.

    Raises
    ------
    CutlineError
        A day before the first rule, an unknown layer or reform.
    """
    day = day_of(on, known, layer, reforms)
    who = parties_of(to, **parties)
    answer = _verdict(part, who, day, form, die)
    other = next(name for name in LAYERS if name != layer)
    twin = _verdict(part, who, day_of(on, known, other, reforms), form, die)
    answer["other_layer"] = {"layer": other, "same": all(answer[k] == twin[k] for k in SAME)} | {
        k: twin[k] for k in SAME
    }
    answer["without_reforms"] = None
    if reforms:
        plain = _verdict(part, who, day_of(on, known, layer), form, die)
        answer["without_reforms"] = {k: plain[k] for k in SAME}
    answer["warnings"] += stale(day)
    return answer


def history(part: Part, to: str, *, on: date, **asked: Any) -> list[dict[str, Any]]:
    """Return how the answer changed since the first rule, up to a day: spans with `from`, `until` and the verdict."""
    plain = {k: v for k, v in asked.items() if k in ("known", "layer", "reforms")}
    days = day_of(on, **plain).turns()
    spans: list[dict[str, Any]] = []
    keys = ("verdict", *SAME)
    for start in [d for d in days if first_day() <= d <= on]:
        answer = rule(part, to, on=start, **asked)
        row = {k: answer[k] for k in keys}
        if spans and all(spans[-1][k] == row[k] for k in keys):
            continue
        if spans:
            spans[-1]["until"] = start.isoformat()
        spans.append({"from": start.isoformat(), "until": None} | row)
    return spans


def _verdict(part: Part, parties: Parties, day: Day, form: str, die: Die | None) -> dict[str, Any]:
    tests: tuple[Test, ...] = day.rows("test")
    rows = cases(part, tests)
    presumed = None if die is None else presumption(day, die)
    held = presumed["presumed"] if presumed else False
    outcomes, which = outcomes_of(rows, tests, part, parties, day, held)
    reasons = _tests_behind(tests, part, parties, day)
    shown = [t for t in tests if (t.meets or t.id in reasons) and applies(t, part)]
    used = {c for t in shown for c in columns_of(t)}
    turned: list[dict[str, Any]] = []
    if not any(o.licence.required for o in outcomes):
        turned, doubted = _guesses(part, tests, parties, day, used)
        outcomes = [*outcomes, *doubted]
    elif not all(o.licence.required for o in outcomes):  # a stretch that is free must not hang on a guess
        part = replace(part, measures={**part.measures, **{n: _wide(m) for n, m in _doubtful(part, used)}})
        rows = cases(part, tests)
        outcomes, which = outcomes_of(rows, tests, part, parties, day, held)
    needs = {o.licence.required for o in outcomes}
    required = needs.pop() if len(needs) == 1 else None
    if held is None and presumed is not None:
        plain = [o for o in outcomes if PRESUMED not in o.met]
        turned.append(_flip("presumption", Decimal(0), Decimal(0), f"overcome: {presumed['says']}", plain))
        turned.append(_flip("presumption", Decimal(1), Decimal(1), "holds", [o for o in outcomes if PRESUMED in o.met]))
    if not held:
        turned = flips_of(part, tests, parties, day, rows, outcomes, which) + turned
    turned += _disputes(part, tests, parties, day, outcomes)
    strictest = max(outcomes, key=lambda o: o.weight)
    classes = {o.meets for o in outcomes}
    sure = frozenset.intersection(*(o.met for o in outcomes))
    maybe = frozenset.union(*(o.met for o in outcomes))
    exceptions = _exceptions(outcomes)
    answer: dict[str, Any] = {
        "item": part.name,
        "form": part.form,
        "to": parties.destination,
        "parties": said_of(parties),
        "on": day.on.isoformat(),
        "known": None if day.known == date.max else day.known.isoformat(),
        "layer": day.layer,
        "reforms": list(day.reforms),
        "meets": classes.pop() if len(classes) == 1 else "undetermined",
        "possible": sorted({o.meets for o in outcomes}),
        "paragraphs": [t.id for t in tests if t.id in sure and (t.meets or t.id in reasons)]
        + [PRESUMED] * (PRESUMED in sure),
        "eccn_candidates": eccns(day, part, maybe, outcomes, form),
        "licence_required": required,
        "confidence": _confidence(day, strictest),
        "policy": _policy(outcomes, required),
        "exceptions": exceptions,
        "conditions": _conditions(strictest, exceptions),
        "spared_by": next((o.licence.spared.id for o in outcomes if o.licence.spared), None),
        "quantities": quantities(part, shown),
        "margins": margins(part, shown),
        "flips": turned,
        "basis": basis(day, sure, maybe, tuple(t for t in tests if applies(t, part)), reasons, strictest.licence, part),
        "beside": [row_of(day, b, id=b.id, kind=b.kind) for b in strictest.licence.beside],
        "foundry": presumed,
        "warnings": _warnings(part, parties, day, strictest, required, used),
    }
    return {"verdict": sentence(answer, strictest)} | answer


def sentence(answer: dict[str, Any], strictest: Outcome) -> str:
    """Return the verdict in one sentence: whether a licence is required, and by what."""
    if answer["licence_required"] is None:
        return "it cannot be decided whether a licence is required"
    if not answer["licence_required"]:
        freed = f": spared by {answer['spared_by']}" if answer["spared_by"] else ""
        return f"no licence required by these rules{freed}"
    rows = [row for row, _ in strictest.licence.reasons]
    kinds = {row.kind for row in rows}
    meets = " or ".join(p for p in answer["possible"] if p != "none")
    said = []
    for kind, words in {
        "embargo": next((row.id for row in rows if row.kind == "embargo"), ""),
        "listed party": "listed party",
        "end use": "by end use",
        "list": f"{meets} by presumption on its fabricator" if PRESUMED in answer["paragraphs"] else meets,
        "letter": "by company letter"
        + ("; not by the chip's parameters" if kinds == {"letter"} and meets == "" else ""),
        "bill": "by a bill that is not law",
    }.items():
        if kind in kinds:
            said.append(words)
    sure = " (low confidence)" if answer["confidence"] == "low" else ""
    spare = f"; {' or '.join(answer['exceptions'])} may spare it" if answer["exceptions"] else ""
    return f"licence required, {' and '.join(said)}{sure}{spare}"


def _confidence(day: Day, strictest: Outcome) -> str:
    """Return how sure the requirement is: that of its surest reason."""
    order = ("low", "medium", "high")
    return max((day.confidence(row) for row, _ in strictest.licence.reasons), key=order.index, default="high")


def _policy(outcomes: list[Outcome], required: bool | None) -> str:
    """Return the review policy, or all that are possible."""
    if required is False:
        return "no licence required"
    found = {p for o in outcomes if o.licence.required for p in o.policies}
    return " or ".join(sorted(found, key=STRICT.index)) or "no licence required"


def _exceptions(outcomes: list[Outcome]) -> list[str]:
    """Return the exceptions that are there in every outcome that needs a licence."""
    needing = [[r.id for r in o.licence.exceptions if not r.parties] for o in outcomes if o.licence.required]
    if not needing:
        return []
    return list(dict.fromkeys(i for i in needing[0] if all(i in n for n in needing)))


def _conditions(strictest: Outcome, exceptions: list[str]) -> list[str]:
    """Return the conditions of the policy, and of the exceptions that are offered."""
    offered = {r.id for r in strictest.licence.exceptions if r.parties or r.id in exceptions}
    names = {r.id for r in strictest.licence.exceptions}
    return [c for c in strictest.licence.conditions if (name := c.split(":")[0]) not in names or name in offered]


def eccns(day: Day, part: Part, maybe: frozenset[str], outcomes: list[Outcome], form: str) -> list[str]:
    """Return the numbers under which the item may be classified, by its form; the strictest class comes first."""
    forms = (form,) if form else FORMS[part.form]
    found: list[str] = []
    for kind in (*CLASSES, "none"):
        if kind not in {o.meets for o in outcomes}:
            continue
        rows = [r for f in forms for r in day.rows("eccn") if r.form == f]
        if kind != "none":
            found += [r.eccn for r in rows if kind in r.meets]
            continue
        left = [r.eccn for r in rows if _any(r.meets, maybe) and not _any(r.meets, frozenset(CLASSES))]
        found += left or [r.eccn for r in rows if "none" in r.meets]
    return list(dict.fromkeys(found))


def _any(wanted: tuple[str, ...], ids: frozenset[str]) -> bool:
    return any(i.startswith(w) for w in wanted for i in ids)


def flips_of(
    part: Part,
    tests: tuple[Test, ...],
    parties: Parties,
    day: Day,
    rows: Cases,
    outcomes: list[Outcome],
    which: np.ndarray,
) -> list[dict[str, Any]]:
    """Return where the answer turns: by what is not known, alone or for one value of what else is open."""
    found = flips(rows, outcomes, which)
    for why, measures in (("by package", part.measures), *part.readings) if part.readings else ():
        found += _alone(replace(part, measures=measures, readings=()), tests, parties, day, f"{why}: ")
    if found or len({o.licence.required for o in outcomes}) == 1:
        return found
    for name, measure in part.measures.items():
        if measure.exact:
            continue
        for value in filter(None, (measure.low, measure.high)):
            fixed = replace(part, measures={**part.measures, name: exactly(value)})
            found += _alone(fixed, tests, parties, day, f"if {QUANTITIES[name].split(',')[0]} is {float(value):,g}: ")
    return found


def _alone(part: Part, tests: tuple[Test, ...], parties: Parties, day: Day, when: str) -> list[dict[str, Any]]:
    """Return the flips of a part, each with the condition under which it holds."""
    rows = cases(part, tests)
    outcomes, which = outcomes_of(rows, tests, part, parties, day)
    return [f | {"when": when} for f in flips(rows, outcomes, which)]


def flips(rows: Cases, outcomes: list[Outcome], which: np.ndarray) -> list[dict[str, Any]]:
    """Return where the answer turns, by stretches of what is not known."""
    found = []
    for name, stretches in rows.stretches.items():
        runs: list[dict[str, Any]] = []
        for place, stretch in enumerate(stretches):
            here = [outcomes[i] for i in np.unique(which[rows.picked[name] == place])]
            row = _flip(name, stretch.low, stretch.high, stretch.says, here)
            if runs and not stretch.says and all(runs[-1][k] == row[k] for k in ("meets", "licence_required", "says")):
                runs[-1]["to"] = row["to"]
            else:
                runs.append(row)
        if len({(tuple(r["meets"]), r["licence_required"]) for r in runs}) > 1:
            found += runs
    return found


def _flip(name: str, low: Decimal, high: Decimal | None, says: str, here: list[Outcome]) -> dict[str, Any]:
    required = {o.licence.required for o in here}
    return {
        "quantity": name,
        "from": float(low),
        "to": None if high is None else float(high),
        "says": says,
        "when": "",
        "meets": sorted({o.meets for o in here}),
        "licence_required": required.pop() if len(required) == 1 else None,
    }


def _with(
    part: Part, name: str, measure: Measure, tests: tuple[Test, ...], parties: Parties, day: Day
) -> list[Outcome]:
    """Return the outcomes of a part with another value of one quantity."""
    other = replace(part, measures={**part.measures, name: measure})
    return outcomes_of(cases(other, tests), tests, other, parties, day)[0]


def _disputes(
    part: Part, tests: tuple[Test, ...], parties: Parties, day: Day, outcomes: list[Outcome]
) -> list[dict[str, Any]]:
    """Return which losing claims would change the answer."""
    found = []
    before = _flip("", Decimal(0), None, "", outcomes)
    for name, measure in part.measures.items():
        for value, source in measure.disputed:
            here = _with(part, name, exactly(value), tests, parties, day)
            row = _flip(name, value, value, f"claim of {source}", here)
            if any(row[k] != before[k] for k in ("meets", "licence_required")):
                found.append(row)
    return found


def _guesses(
    part: Part, tests: tuple[Test, ...], parties: Parties, day: Day, used: set[str]
) -> tuple[list[dict[str, Any]], list[Outcome]]:
    """Return the guesses that make an item free, and would not if they were off by a tenth, and what it then could be."""
    found, outcomes = [], []
    for name, measure in _doubtful(part, used):
        wide = _wide(measure)
        here = _with(part, name, wide, tests, parties, day)
        if any(o.licence.required for o in here):
            says = f"{float(measure.low):,g} is a guess; a tenth more or less of it"
            found.append(_flip(name, wide.low, wide.high, says, here))
            outcomes += here
    return found, outcomes


def _wide(measure: Measure) -> Measure:
    """Return a guess as the interval in which it may lie."""
    return replace(measure, low=measure.low * DOUBT[0], high=measure.low * DOUBT[1])


def _doubtful(part: Part, used: set[str]) -> list[tuple[str, Measure]]:
    """Return the quantities that a rule asks for and that are guesses, but for those that a standard settles."""
    return [
        (name, m)
        for name, m in part.measures.items()
        if name in used and m.exact and any(c.source.id == "guess" and BY_STANDARD not in c.note for c in m.claims)
    ]


def _tests_behind(tests: tuple[Test, ...], part: Part, parties: Parties, day: Day) -> frozenset[str]:
    """Return the tests that meet no paragraph, but on which a requirement or a policy for this buyer turns."""
    every = frozenset(t.id for t in tests)
    found = licence(day, parties, subject_of(part), every, part.datacenter is not False)
    asked = [i for row, _ in found.reasons for i in row.items] + [i for p in found.policies for i in p.items]
    return frozenset(t.id for t in tests if not t.meets and any(t.id.startswith(i) for i in asked))


def said_of(parties: Parties) -> dict[str, Any]:
    """Return what is known of the buyer."""
    said = {
        "destination": name_of(parties.destination), "headquarters": parties.headquarters, "parent": parties.parent,
        "origin": parties.origin, "name": parties.name, "end_use": parties.end_use, "listed": parties.listed,
        "listed_share": parties.listed_share,
    }  # fmt: skip
    return {k: v for k, v in said.items() if v}


def _warnings(
    part: Part, parties: Parties, day: Day, strictest: Outcome, required: bool | None, used: set[str]
) -> list[str]:
    """Return what a reader must know beside the verdict."""
    said = [NOT_ADVICE, *part.notes]
    for row, _ in strictest.licence.reasons:
        if row.note or day.confidence(row) == "low":
            said.append(
                f"{row.id}: {row.note or day.act(row).cited}"
                + (" (low confidence)" if day.confidence(row) == "low" else "")
            )
    guessed = [
        f"{QUANTITIES[n].split(',')[0]} ({c.note})"
        for n, m in part.measures.items() for c in m.claims if c.source.id == "guess" and n in used
    ]  # fmt: skip
    if guessed:
        said.append(f"guessed, not sourced: {', '.join(guessed)}")
    if required is None:
        said.append(
            "not decided: treat it as controlled until the open value is known; flips says at which value it turns"
        )
    if part.form == "chip" and not part.maker:
        said.append(LETTERS_LEFT_OUT)
    return said + about(parties, day)


LETTERS_LEFT_OUT = "company letters are not counted: they bind named makers, and the maker is not given"


def about(parties: Parties, day: Day) -> list[str]:
    """Return what was not asked of the buyer, what hangs on rules that are not sure, and which bills change nothing."""
    said = []
    if parties.name:
        said.append(
            f"'{parties.name}' was not screened: look for it in the consolidated screening list, and say --listed if it is there"
        )
        named = {p for row in day.rows("relief") for p in row.parties}
        close = suggestions(parties.name, named, 2)
        if close and parties.name.casefold() not in {n.casefold() for n in named}:
            said.append(f"names count as written; did you mean {' or '.join(close)}?")
    if parties.listed_share:
        for row in day.rows("requirement"):
            if row.kind == "listed party" and day.confidence(row) == "low":
                said.append(f"{row.id}: {row.says} (low confidence; {day.act(row).cited})")
    if parties.origin == parties.destination:
        said.append("a transfer inside one country: asked as if it were an export to it")
    for name in day.reforms:
        tables = day.law.reforms[name]
        begin = min((row.start for t, rows in tables.items() if t != "instrument" for row in rows), default=None)
        if begin is None or "requirement" not in tables:
            said.append(f"{name}: the bill asks for no licence of its own")
        elif begin > day.on:
            said.append(f"{name}: counts from its introduction on {begin}, so it changes nothing on {day.on}")
    return said


def stale(day: Day) -> list[str]:
    """Return the alarm if the newest thing read of a layer is too old for the day."""
    newest = day.newest()
    if (day.on - newest).days <= STALE_DAYS:
        return []
    return [
        f"stale: the newest source of layer {day.layer} is of {newest}, {(day.on - newest).days} days before {day.on}; "
        "look for newer acts"
    ]
