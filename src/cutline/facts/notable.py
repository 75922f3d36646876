"""Training runs from a file in the form of Epoch AI's tables of notable or large-scale models: the live ones, or a copy."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from cutline.core.errors import DataError
from cutline.facts import outlook, supply
from cutline.facts.supply import Training

COLUMNS: dict[str, tuple[str, ...]] = {
    "model": ("model", "Model"),
    "org": ("org", "Organization"),
    "country": ("country", "Country (of organization)", "Country"),
    "date": ("publication_date", "Publication date"),
    "flop": ("training_compute_flop", "Training compute (FLOP)"),
    "confidence": ("confidence", "Confidence"),
    "hardware": ("hardware", "Training hardware"),
    "quantity": ("hardware_quantity", "Hardware quantity"),
    "hours": ("training_time_hours", "Training time (hours)"),
    "access": ("model_accessibility", "Model accessibility"),
    "domain": ("domain", "Domain"),
}
"""Field of Training -> what files call it, first found."""


def read_notable(path: Path) -> tuple[Training, ...]:
    """Read training runs, by date; rows without compute and hardware, or without a day, are left out.

    Parameters
    ----------
    path : Path
        CSV with columns for model, publication date and training compute; the names of the live files are known.

    Raises
    ------
    DataError
        With file and line: a column is missing, a model is blank, something is not a number or a day, a confidence is not known.
    """
    lines = list(outlook.table_rows(path, set()))
    column = {field: next((n for n in names if n in lines[0][1]), "") for field, names in COLUMNS.items()}
    for field in ("model", "date", "flop"):
        if not column[field]:
            raise DataError(path.name, 1, f"there is no column for the {field}; name it {' or '.join(COLUMNS[field])}")
    found = []
    for line, row in lines:
        cell = {field: row[name] if name else "" for field, name in column.items()}
        if not cell["date"] or not (cell["flop"] or cell["hardware"]):
            continue
        if not cell["model"]:
            raise DataError(path.name, line, "the model is blank; every run needs one")
        if cell["confidence"] not in (*supply.CONFIDENCE, ""):
            raise DataError(
                path.name, line, f"confidence '{cell['confidence']}' is not one of {', '.join(supply.CONFIDENCE)}"
            )
        found.append(_run(path.name, line, cell))
    return tuple(sorted(found, key=lambda r: (r.date, r.model)))


def _run(file: str, line: int, cell: dict[str, str]) -> Training:
    def number(field: str) -> float | None:
        return outlook.number_of(file, line, field, cell[field]) if cell[field] else None

    flop, count, hours = (number(f) for f in ("flop", "quantity", "hours"))
    weights = next((w for begin, w in outlook.WEIGHTS.items() if cell["access"].startswith(begin)), "")
    return Training(
        cell["model"], cell["org"], _group(cell["country"]), date.fromisoformat(outlook.day_of(file, line, "date", cell["date"][:10])), flop,
        cell["confidence"] or "Unknown", tuple(w.strip() for w in cell["hardware"].replace(";", ",").split(",") if w.strip()),
        None if count is None else int(count), None if hours is None else 3600.0 * hours, weights,
        tuple(w.strip() for w in cell["domain"].split(",") if w.strip()), file,
    )  # fmt: skip


def _group(countries: str) -> str:
    """Return the group of countries of a cell that lists them."""
    found = {c.strip() for c in countries.split(",") if c.strip()}
    us, china = "United States of America" in found or "United States" in found, "China" in found
    if not found:
        return ""
    return "China+US" if us and china else "US" if us else "China" if china else "Other"
