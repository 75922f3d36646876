"""The working behind a verdict: what was measured, each comparison with its margin, each step with its citation."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from cutline.facts.law import Bound, Dated, Test
from cutline.law.day import Day
from cutline.law.licence import Licence
from cutline.law.limits import COLUMN, RATIO
from cutline.law.measures import Measure, Part, exactly


def columns_of(test: Test) -> set[str]:
    """Return the columns of `Items` that a test compares."""
    return {c for b in test.asks for q in b.quantities for c in RATIO.get(q, (COLUMN.get(q, q),))}


def applies(test: Test, part: Part) -> bool:
    """Return whether an item has what a test compares: a chip has no package area of memory, weights have no TPP."""
    return columns_of(test) <= set(part.measures)


def quantities(part: Part, shown: Iterable[Test]) -> list[dict[str, Any]]:
    """Return what was measured of the item: value or interval, how, and from which claims."""
    found = []
    used = {c for t in shown for c in columns_of(t)}
    for name, measure in part.measures.items():
        if name not in used:
            continue
        found.append(
            {
                "quantity": name,
                "low": float(measure.low),
                "high": None if measure.high is None else float(measure.high),
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
                "open": [{"value": float(v), "why": why} for v, why in measure.open],
                "disputed": [{"value": float(v), "source": why} for v, why in measure.disputed],
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
                    "limit": float(bound.limit),
                    "value": float(low) if known else None,
                    "low": float(low),
                    "high": None if high is None else float(high),
                    "margin": float(low / bound.limit - 1) if known else None,
                    "holds": _holds(bound, low, high),
                }
            )
    return found


def _holds(bound: Bound, low: Decimal, high: Decimal | None) -> bool | None:
    """Return whether a comparison holds; None if the interval lies on both sides of the limit."""
    strict = bound.operator in (">", "<=")
    above = low > bound.limit if strict else low >= bound.limit
    below = high is not None and (high <= bound.limit if strict else high < bound.limit)
    if not above and not below:
        return None
    return above if bound.operator in (">=", ">") else below


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


def basis(
    day: Day,
    sure: frozenset[str],
    maybe: frozenset[str],
    tests: tuple[Test, ...],
    reasons: frozenset[str],
    found: Licence,
    part: Part,
) -> list[dict[str, Any]]:
    """Return the steps that lead to the answer, each with its citation, layer and confidence."""
    excluding = {other for t in tests for other in t.unless}
    steps = [
        {"step": "measured", "says": q["says"], "what": q["quantity"]} for q in quantities(part, tests) if q["says"]
    ]
    for test in tests:
        if test.id in maybe and (test.meets or test.id in reasons or test.id in excluding):
            kind = "meets" if test.id in sure else "may meet"
            steps.append(row_of(day, test, step=kind, what=test.id))
    if not any(s["step"] != "measured" for s in steps):
        steps.append({"step": "meets", "what": "none", "says": "no test of the day is met"})
    for row, party in found.reasons:
        steps.append(row_of(day, row, step="licence", what=f"{row.id} ({party})", kind=row.kind))
    if not found.reasons:
        steps.append(
            {"step": "licence", "what": "none", "says": "no requirement of the day reaches this item and buyer"}
        )
    if found.spared is not None:
        steps.append(row_of(day, found.spared, step="spared", what=found.spared.id))
    for relief in found.exceptions:
        steps.append(row_of(day, relief, step="exception", what=relief.id))
    for policy in found.policies:
        steps.append(row_of(day, policy, step="review", what=policy.policy))
    return steps


def row_of(day: Day, row: Dated, **what: str) -> dict[str, Any]:
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
        "confidence": day.confidence(row),
        "note": row.note,
    }
