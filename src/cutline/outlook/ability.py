"""One model's ability: its value in every vintage, what its own scores say, who had it before and after, and its compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cutline.core.errors import CutlineError, suggestions
from cutline.facts import outlook, supply
from cutline.facts.outlook import Standing
from cutline.outlook import irt
from cutline.outlook.compute import training_flop
from cutline.outlook.entries import day_number
from cutline.outlook.lag import MONTH_DAYS
from cutline.outlook.sample import FEWEST_SCORES


def called(row: Standing) -> str:
    """Return the name of a model: its full one where the vintage has it, which tells versions of one model apart."""
    return row.name or row.model


def resolve(name: str) -> str:
    """Return a model as the index spells it, any case.

    Raises
    ------
    CutlineError
        With the names that come close.
    """
    known: dict[str, str] = {}
    for v in outlook.vintages():
        for r in outlook.index(v.vintage):
            known.setdefault(called(r).casefold(), called(r))
    key = name.strip().casefold()
    if not key:
        raise CutlineError("the model is blank; name one, such as DeepSeek-V3")
    if key in known:
        return known[key]
    close = suggestions(key, known, 3)
    hint = f" Did you mean {', '.join(known[c] for c in close)}?" if close else ""
    raise CutlineError(f"no model of the index is called '{name}'.{hint}")


def ability(name: str, draws: int = 200, seed: int = 1, by: str = "models") -> dict[str, Any]:
    """Return what is known of a model's ability; keys as in docs/json.md.

    Parameters
    ----------
    name : str
        Model, as the index spells it.
    draws, seed, by
        Of the bootstrap of the newest vintage whose scores are stored; see `irt.bootstrap`.
    """
    model = resolve(name)
    rows = [(v, r) for v in outlook.vintages() for r in outlook.index(v.vintage) if called(r) == model]
    last = rows[-1][1]
    scored = [v.vintage for v in outlook.vintages() if v.scored][-1]
    return {
        "model": model, "org": last.org, "country": last.country_group, "weights": last.weights,
        "dates": sorted({r.date for _, r in rows if r.date}),
        "vintages": [{"vintage": v.vintage, "eci": r.eci, "low": r.low, "high": r.high, "rank": _rank(r), "of": len(outlook.index(v.vintage))} for v, r in rows],
        "fit": _fit(next((r.model for r in outlook.index(scored) if called(r) == model), ""), scored, draws, seed, by), "near": _near(last), "compute": _compute(model), "sources": [v.source for v, _ in rows],
    }  # fmt: skip


def _rank(row: Standing) -> int:
    return 1 + sum(r.eci > row.eci for r in outlook.index(row.vintage))


def _fit(model: str, vintage: str, draws: int, seed: int, by: str) -> dict[str, Any] | None:
    """Return the value of our own fit with its interval, and each score beside what the fit expects."""
    rows = outlook.scores(vintage)
    own = [s for s in rows if s.model == model]
    if not own:
        return None
    columns = [s.model for s in rows], [s.benchmark for s in rows], [s.score for s in rows]
    fit = irt.fit(*columns)
    scale = irt.scaled(fit)
    found = irt.bootstrap(*columns, draws=draws, seed=seed, by=by)
    low, high = (float(end[found.models.index(model)]) for end in found.interval())
    item = {b: i for i, b in enumerate(scale.benchmarks)}
    value = float(scale.eci[scale.models.index(model)])
    expected = {s.benchmark: 1.0 / (1.0 + np.exp(-scale.slope[item[s.benchmark]] * (value - scale.edi[item[s.benchmark]]))) for s in own}  # fmt: skip
    scores = [
        {"benchmark": s.benchmark, "score": s.score, "expected": float(expected[s.benchmark]), "difficulty": float(scale.edi[item[s.benchmark]])} for s in own
    ]  # fmt: skip
    return {"vintage": vintage, "eci": value, "low": low, "high": high, "draws": draws, "by": by, "scores": sorted(scores, key=lambda s: s["difficulty"])}  # fmt: skip


def _near(row: Standing) -> list[dict[str, Any]]:
    """Return which model first reached this one's value, by group of countries."""
    out = []
    for group in ("US", "China", "Other"):
        reached = [r for r in outlook.index(row.vintage) if r.country_group == group and r.date and r.eci >= row.eci]
        if reached:
            first = min(reached, key=lambda r: (r.date, -r.eci))
            months = (day_number(row.date) - day_number(first.date)) / MONTH_DAYS if row.date else None
            out.append({"group": group, "model": first.name or first.model, "date": first.date, "eci": first.eci, "months_before": months})  # fmt: skip
    return out


def _compute(model: str) -> dict[str, Any] | None:
    """Return the readings of a model's training compute, if its run is in the table."""
    if model.casefold() not in {r.model.casefold() for r in supply.runs()}:
        return None
    got = training_flop(model)
    return {
        k: getattr(got, k) for k in ("published_flop", "six_nd_flop", "shape_flop", "hardware_flop", "disagreement")
    }


def abilities_of(path: Path, vintage: str | None = None) -> list[dict[str, Any]]:
    """Return the index values of a user's models, from their scores on benchmarks of a vintage.

    Parameters
    ----------
    path : Path
        CSV with columns model, benchmark and score (0 to 1).
    vintage : str, optional
        Whose published difficulties and slopes are used; the newest that is stored unless given.
    """
    of = vintage or [v.vintage for v in outlook.vintages() if v.scored][-1]
    items = outlook.items(of)
    known = {i.benchmark for i in items}
    rows = outlook.read_scores(path)
    usable = [s for s in rows if s.benchmark in known]
    if not usable:
        raise CutlineError(
            f"{path.name} has no benchmark of the index; there are {', '.join(sorted(known)[:8])} and others"
        )
    models, eci = irt.abilities_given(
        items, [s.model for s in usable], [s.benchmark for s in usable], [s.score for s in usable]
    )
    left = sorted({s.benchmark for s in rows} - known)
    found = []
    for m, e in zip(models, eci, strict=True):
        mine = [s.score for s in usable if s.model == m]
        why = []
        if all(x >= 1 - irt.EDGE for x in mine) or all(x <= irt.EDGE for x in mine):
            why.append("every score is at an end of its scale, which bounds the value on one side only")
        if len(mine) < FEWEST_SCORES:
            why.append(f"fewer than {FEWEST_SCORES} scores; the index would not list it")
        found.append({"model": m, "eci": float(e), "scores": len(mine), "notes": why, "left_out": left, "vintage": of})
    return found
