"""Boards that rate models by votes (Bradley-Terry): a user's file of dated boards. None is stored: their licence is not settled."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cutline.core.errors import DataError
from cutline.facts import outlook


class Rating(NamedTuple):
    """One model on one board of one day. `low` and `high` bound the published 95 % interval, None where there is none."""

    date: str
    model: str
    rating: float
    low: float | None
    high: float | None
    org: str
    country_group: str
    weights: str
    method: str


COLUMNS: dict[str, tuple[str, ...]] = {
    "date": ("date", "snapshot", "leaderboard_publish_date"),
    "model": ("model_key", "model", "model_name", "key"),
    "rating": ("elo", "rating", "score"),
    "low": ("elo_lo", "rating_lower", "low"),
    "high": ("elo_hi", "rating_upper", "high"),
    "org": ("org", "organization", "Organization"),
    "country_group": ("country_group",),
    "weights": ("open_closed", "weights"),
    "licence": ("licence", "license", "License"),
    "method": ("method",),
}
"""Field of Rating -> what files call it, first found."""


def read_board(path: Path) -> tuple[Rating, ...]:
    """Read dated boards from a CSV file, by date.

    Parameters
    ----------
    path : Path
        One row a model and day: columns for date, model and rating; interval, maker, group of countries, weights or licence and
        method where there are any. Without a group the table of makers says where a maker is from.

    Raises
    ------
    DataError
        With file and line: a column is missing, a rating is not a number or not inside its interval, a day is not YYYY-MM-DD.
    """
    lines = list(outlook.table_rows(path, set()))
    column = {field: next((n for n in names if n in lines[0][1]), "") for field, names in COLUMNS.items()}
    for field in ("date", "model", "rating"):
        if not column[field]:
            raise DataError(path.name, 1, f"there is no column for the {field}; name it {' or '.join(COLUMNS[field])}")
    makers = {o.org: o.country_group for o in outlook.organisations()}
    found = []
    for line, row in lines:
        cell = {field: row[name] if name else "" for field, name in column.items()}
        if not cell["model"]:
            raise DataError(path.name, line, "the model is blank; every rating needs one")
        rating = outlook.number_of(path.name, line, "rating", cell["rating"])
        low, high = (outlook.number_of(path.name, line, k, cell[k]) if cell[k] else None for k in ("low", "high"))
        if low is not None and high is not None and not low <= rating <= high:
            raise DataError(path.name, line, f"interval '{cell['low']}' to '{cell['high']}' does not hold {rating:g}")
        group = cell["country_group"] or makers.get(cell["org"], "")
        found.append(
            Rating(
                outlook.day_of(path.name, line, "date", cell["date"]), cell["model"], rating, low, high, cell["org"], group,
                cell["weights"] or _weights(cell["licence"]), cell["method"],
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda r: (r.date, r.model, r.method)))


def _weights(licence: str) -> str:
    if not licence:
        return ""
    return "closed" if licence.casefold().startswith("propriet") else "open"
