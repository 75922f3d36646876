"""One item, one buyer, one day: the verdict with its basis, margins, flips, conditions and warnings, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from cutline.core.errors import CutlineError
from cutline.facts.law import LAYERS, Bound, Dated, Test
from cutline.law.cases import Cases, cases
from cutline.law.day import STALE_DAYS, Day, Parties, day_of, name_of
from cutline.law.licence import STRICT, Licence, Subject, confidence, licence
from cutline.law.limits import COLUMN, RATIO, met
from cutline.law.measures import QUANTITIES, Measure, Part, exactly

NOT_ADVICE = "not legal advice; a classification is the exporter's own, or a ruling of BIS"
CLASSES = ("3A090.a", "3A090.b", "3A090.c", "4E091")
"""What a test can make of an item, strictest first."""
FORMS = {"chip": ("chip", "board", "server"), "memory": ("memory",), "weights": ("weights",)}


def rule(
    part: Part,
    to: str,
    *,
    on: date,
    known: date | None = None,
    layer: str = "as_enforced",
    reforms: tuple[str, ...] = (),
    form: str = "",
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
    **parties
        `headquarters`, `parent`, `origin` (codes), `name`, `end_use`, `listed`, `listed_share`.

    Returns
    -------
    dict
        `meets`, `paragraphs`, `eccn_candidates`, `licence_required` (None if that cannot be told), `policy`,
        `exceptions`, `conditions`, `margins`, `flips`, `basis`, `layer`, `warnings`, and what they were asked about.

    Raises
    ------
    CutlineError
        A day before the first rule, an unknown layer or reform.
    """
    day = day_of(on, known, layer, reforms)
    who = Parties(to, **parties)
    answer = _verdict(part, who, day, form)
    other = next(name for name in LAYERS if name != layer)
    twin = _verdict(part, who, day_of(on, known, other, reforms), form)
    keys = ("meets", "licence_required", "policy", "exceptions")
    answer["other_layer"] = {"layer": other, "same": all(answer[k] == twin[k] for k in keys)} | {
        k: twin[k] for k in keys
    }
    answer["warnings"] += _stale(day)
    return answer


def _verdict(part: Part, parties: Parties, day: Day, form: str) -> dict[str, Any]:
    tests: tuple[Test, ...] = day.rows("test")
    rows = cases(part, tests)
    outcomes, which = outcomes_of(rows, tests, part, parties, day)
    first = outcomes[0]
    classes = {o["meets"] for o in outcomes}
    needs = {o["licence"].required for o in outcomes}
    sure = frozenset.intersection(*(o["met"] for o in outcomes))
    maybe = frozenset.union(*(o["met"] for o in outcomes))
    strictest = max(outcomes, key=_weight)
    free: Licence = strictest["licence"]
    required = first["licence"].required if len(needs) == 1 else None
    reasons = _tests_behind(tests, part, parties, day)
    shown = [t for t in tests if (t.meets or t.id in reasons) and _applies(t, part)]
    answer = {
        "item": part.name,
        "form": part.form,
        "to": parties.destination,
        "parties": _said(parties),
        "on": day.on.isoformat(),
        "known": None if day.known == date.max else day.known.isoformat(),
        "layer": day.layer,
        "reforms": list(day.reforms),
        "meets": classes.pop() if len(classes) == 1 else "undetermined",
        "paragraphs": [t.id for t in tests if t.id in sure and (t.meets or t.id in reasons)],
        "possible": sorted({o["meets"] for o in outcomes}),
        "eccn_candidates": eccns(day, part, maybe, outcomes, form),
        "licence_required": required,
        "policy": _policy(outcomes, required),
        "exceptions": _exceptions(outcomes),
        "conditions": list(free.conditions),
        "spared_by": next((o["licence"].spared.id for o in outcomes if o["licence"].spared), None),
        "quantities": quantities(part, shown),
        "margins": margins(part, shown),
        "flips": flips(rows, outcomes, which, part, tests, parties, day),
        "basis": basis(day, part, sure, maybe, tuple(t for t in tests if _applies(t, part)), reasons, free),
        "beside": [_row(day, b, id=b.id, kind=b.kind) for b in free.beside],
        "warnings": _warnings(part, day, free, required, {c for t in shown for c in _columns(t)}),
    }
    return answer


def outcomes_of(
    rows: Cases, tests: Iterable[Test], part: Part, parties: Parties, day: Day
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return the different outcomes of the rows of an item, and which row has which."""
    found = met(tests, rows.items)
    names = list(found)
    flags = np.broadcast_to(rows.items.datacenter, len(rows.items))
    matrix = np.column_stack([*found.values(), flags]) if names else flags[:, None]
    unique, which = np.unique(matrix, axis=0, return_inverse=True)
    meets = {t.id: t.meets for t in day.rows("test")}
    subject = _subject(part)
    outcomes = []
    for row in unique:
        ids = frozenset(n for n, yes in zip(names, row, strict=False) if yes)
        classes = {meets[i] for i in ids if meets[i]}
        outcomes.append(
            {
                "met": ids,
                "datacenter": bool(row[-1]),
                "meets": next((c for c in CLASSES if c in classes), "none"),
                "licence": licence(day, parties, subject, ids, bool(row[-1])),
            }
        )
    return outcomes, which.reshape(-1)


def _subject(part: Part) -> Subject:
    return Subject(part.name, part.maker, part.maker_country, part.sold_in_us, part.released)


def _policies(found: Licence) -> list[str]:
    """Return the review policies that are possible for one outcome, strictest first."""
    return found.policy.split(" or ") if found.policy else []


def _weight(outcome: dict[str, Any]) -> tuple[int, int]:
    """Return how strict an outcome is."""
    found: Licence = outcome["licence"]
    return (int(found.required), -min((STRICT.index(p) for p in _policies(found)), default=len(STRICT)))


def _policy(outcomes: list[dict[str, Any]], required: bool | None) -> str:
    """Return the review policy, or all that are possible."""
    if required is False:
        return "no licence required"
    found = {p for o in outcomes if o["licence"].required for p in _policies(o["licence"])}
    return " or ".join(sorted(found, key=STRICT.index))


def _exceptions(outcomes: list[dict[str, Any]]) -> list[str]:
    """Return the exceptions that are there in every outcome that needs a licence."""
    needing = [[r.id for r in o["licence"].exceptions if not r.parties] for o in outcomes if o["licence"].required]
    if not needing:
        return []
    return list(dict.fromkeys(i for i in needing[0] if all(i in n for n in needing)))


def eccns(day: Day, part: Part, maybe: frozenset[str], outcomes: list[dict[str, Any]], form: str) -> list[str]:
    """Return the numbers under which the item may be classified, by its form; the strictest class comes first."""
    forms = (form,) if form else FORMS[part.form]
    found: list[str] = []
    for kind in (*CLASSES, "none"):
        if kind not in {o["meets"] for o in outcomes}:
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


def _columns(test: Test) -> set[str]:
    """Return the columns of `Items` that a test compares."""
    return {c for b in test.asks for q in b.quantities for c in RATIO.get(q, (COLUMN.get(q, q),))}


def _applies(test: Test, part: Part) -> bool:
    """Return whether an item has what a test compares: a chip has no package area of memory, weights have no TPP."""
    return _columns(test) <= set(part.measures)


def quantities(part: Part, shown: Iterable[Test]) -> list[dict[str, Any]]:
    """Return what was measured of the item: value or interval, how, and from which claims."""
    found = []
    used = {c for t in shown for c in _columns(t)}
    for name, measure in part.measures.items():
        if name not in used:
            continue
        found.append(
            {
                "quantity": name,
                "low": _plain(measure.low),
                "high": None if measure.high is None else _plain(measure.high),
                "says": measure.says,
                "sources": [
                    {
                        "id": c.source.id,
                        "tier": c.source.tier,
                        "title": c.source.title,
                        "url": c.source.url,
                        "note": c.note,
                    }
                    for c in measure.claims
                ],
                "open": [{"value": _plain(v), "why": why} for v, why in measure.open],
                "disputed": [{"value": _plain(v), "source": why} for v, why in measure.disputed],
            }
        )
    return found


def value_of(part: Part, bound: Bound) -> tuple[Decimal, Decimal | None]:
    """Return what an item has of the quantity of a bound: low and high, None without an upper end."""
    if bound.quantity in RATIO:
        upper, lower = (part.measures.get(c, exactly(Decimal(0))) for c in RATIO[bound.quantity])
        return _ratio(upper, lower)
    parts = [part.measures.get(COLUMN[q], exactly(Decimal(0))) for q in bound.quantities]
    lows, highs = sum((p.low for p in parts), Decimal(0)), [p.high for p in parts]
    return lows, None if None in highs else sum((h for h in highs if h is not None), Decimal(0))


def _ratio(upper: Measure, lower: Measure) -> tuple[Decimal, Decimal | None]:
    if lower.high == 0 and lower.exact:
        return Decimal(0), Decimal(0)
    low = upper.low / lower.high if lower.high else Decimal(0)
    high = upper.high / lower.low if lower.low and upper.high is not None else None
    return low, high


def margins(part: Part, tests: Iterable[Test]) -> list[dict[str, Any]]:
    """Return for each comparison of each test: the limit, what the item has, and by how much that lies above it."""
    found = []
    for test in tests:
        for bound in test.asks:
            if not bound.limit:
                continue
            low, high = value_of(part, bound)
            known = high is not None and low == high
            found.append(
                {
                    "test": test.id,
                    "asks": str(bound),
                    "quantity": bound.quantity,
                    "limit": _plain(bound.limit),
                    "value": _plain(low) if known else None,
                    "low": _plain(low),
                    "high": None if high is None else _plain(high),
                    "margin": float(low / bound.limit - 1) if known else None,
                }
            )
    return found


def deciding(bounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the comparison on which a test turns: the farthest missed, or of those held the closest.

    An upper limit is missed from above, so its margin counts the other way.
    """

    def slack(m: dict[str, Any]) -> float:
        upper = "<" in m["asks"]
        if m["low"] >= m["limit"]:
            beyond = m["low"] / m["limit"] - 1
        elif m["high"] is not None and m["high"] < m["limit"]:
            beyond = m["high"] / m["limit"] - 1
        else:
            return -1e9  # open: nothing else decides
        return float(-beyond if upper else beyond)

    return min(bounds, key=slack)


def flips(
    rows: Cases, outcomes: list[dict[str, Any]], which: np.ndarray, part: Part, tests: tuple[Test, ...],
    parties: Parties, day: Day,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return where the answer turns: by stretches of what is not known, and by sources that say something else."""
    found = []
    for name, stretches in rows.stretches.items():
        runs: list[dict[str, Any]] = []
        for place, stretch in enumerate(stretches):
            here = [outcomes[i] for i in np.unique(which[rows.picked[name] == place])]
            row = {
                "quantity": name,
                "from": _plain(stretch.low),
                "to": None if stretch.high is None else _plain(stretch.high),
                "says": stretch.says,
                "meets": sorted({o["meets"] for o in here}),
                "licence_required": _one({o["licence"].required for o in here}),
            }
            same = (
                runs and not stretch.says and all(runs[-1][k] == row[k] for k in ("meets", "licence_required", "says"))
            )
            if same:
                runs[-1]["to"] = row["to"]
            else:
                runs.append(row)
        if len({(tuple(r["meets"]), r["licence_required"]) for r in runs}) > 1:
            found += runs
    return found + _disputes(part, tests, parties, day, outcomes)


def _disputes(
    part: Part, tests: tuple[Test, ...], parties: Parties, day: Day, outcomes: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return which losing claims would change the answer."""
    before = ({o["meets"] for o in outcomes}, _one({o["licence"].required for o in outcomes}))
    found = []
    for name, measure in part.measures.items():
        for value, source in measure.disputed:
            other = replace(part, measures={**part.measures, name: exactly(value)})
            here, _ = outcomes_of(cases(other, tests), tests, other, parties, day)
            after = ({o["meets"] for o in here}, _one({o["licence"].required for o in here}))
            if after != before:
                found.append(
                    {
                        "quantity": name, "from": _plain(value), "to": _plain(value), "says": f"claim of {source}",
                        "meets": sorted(after[0]), "licence_required": after[1],
                    }
                )  # fmt: skip
    return found


def _one(found: set[bool]) -> bool | None:
    return next(iter(found)) if len(found) == 1 else None


def basis(
    day: Day, part: Part, sure: frozenset[str], maybe: frozenset[str], tests: tuple[Test, ...], reasons: frozenset[str],
    found: Licence,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the steps that lead to the answer, each with its citation, layer and confidence."""
    excluding = {other for t in tests for other in t.unless}
    steps = [{"step": "measured", "says": q["says"], "what": q["quantity"]} for q in quantities(part, tests)]
    for test in tests:
        if test.id in maybe and (test.meets or test.id in reasons or test.id in excluding):
            kind = "meets" if test.id in sure else "may meet"
            steps.append(_row(day, test, step=kind, what=test.id))
    if not any(s["step"] != "measured" for s in steps):
        steps.append({"step": "meets", "what": "none", "says": "no test of the day is met"})
    for row, party in found.reasons:
        steps.append(_row(day, row, step="licence", what=f"{row.id} ({party})"))
    if not found.reasons:
        steps.append(
            {"step": "licence", "what": "none", "says": "no requirement of the day reaches this item and buyer"}
        )
    if found.spared is not None:
        steps.append(_row(day, found.spared, step="spared", what=found.spared.id))
    for relief in found.exceptions:
        steps.append(_row(day, relief, step="exception", what=relief.id))
    for policy in found.policies:
        steps.append(_row(day, policy, step="review", what=policy.policy))
    return steps


def _row(day: Day, row: Dated, **what: str) -> dict[str, Any]:
    """Return a row of the rules as plain data."""
    act = day.act(row)
    return what | {
        "says": row.says or row.id,
        "citation": "; ".join(c for c in (row.cite, act.cited) if c),
        "source": act.id,
        "url": act.url,
        "from": row.start.isoformat(),
        "known": act.known.isoformat(),
        "layer": row.layer or "both",
        "confidence": confidence(day, [row]),
        "note": row.note,
    }


def _tests_behind(tests: tuple[Test, ...], part: Part, parties: Parties, day: Day) -> frozenset[str]:
    """Return the tests that meet no paragraph, but on which a requirement or a policy for this buyer turns."""
    subject = _subject(part)
    every = frozenset(t.id for t in tests)
    found = licence(day, parties, subject, every, bool(part.datacenter or part.datacenter is None))
    rows = [row for row, _ in found.reasons]
    asked = [i for row in rows for i in row.items] + [i for p in found.policies for i in p.items]
    return frozenset(t.id for t in tests if not t.meets and any(t.id.startswith(i) for i in asked))


def _said(parties: Parties) -> dict[str, Any]:
    """Return what is known of the buyer."""
    said = {
        "destination": name_of(parties.destination), "headquarters": parties.headquarters, "parent": parties.parent,
        "origin": parties.origin, "name": parties.name, "end_use": parties.end_use, "listed": parties.listed,
        "listed_share": parties.listed_share,
    }  # fmt: skip
    return {k: v for k, v in said.items() if v}


def _warnings(part: Part, day: Day, found: Licence, required: bool | None, used: set[str]) -> list[str]:
    """Return what a reader must know beside the verdict."""
    said = [NOT_ADVICE, *part.notes]
    low = [row for row, _ in found.reasons if day.confidence(row) == "low"]
    for row in low:
        said.append(f"low confidence: {row.id}: {row.note or day.act(row).cited}")
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
        said.append("company letters are not counted: they bind named makers, and the maker is not given")
    return said


def _stale(day: Day) -> list[str]:
    """Return the alarm if the newest thing read of a layer is too old for the day."""
    newest = day.newest()
    if (day.on - newest).days <= STALE_DAYS:
        return []
    return [
        f"stale: the newest source of layer {day.layer} is of {newest}, {(day.on - newest).days} days before {day.on}; "
        "look for newer acts"
    ]


def _plain(value: Decimal) -> float:
    return float(value)


def check_parties(parties: dict[str, Any]) -> None:
    """Refuse what cannot be said of a buyer: a share outside of 0 to 100 %."""
    share = parties.get("listed_share", 0)
    if not 0 <= share <= 100:
        raise CutlineError(f"listed share must be between 0 and 100; got {share}")
