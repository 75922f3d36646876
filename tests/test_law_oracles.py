"""Published statements about chips and rules: each reproduced, or listed with the reason why it is not.

`golden/law_published.csv` holds 144 of them: company filings, the Federal Register, press, two trackers, and the TPP
column of a public table. `why_not` says why a row is not reproduced; such a row must in truth not be.
"""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import pytest

from cutline.law.measures import chip
from cutline.law.verdict import rule

with (Path(__file__).parent / "golden" / "law_published.csv").open(encoding="utf-8") as handle:
    ROWS = list(csv.DictReader(handle))


def agrees(row, answer):
    """Whether a verdict says what was published."""
    said, status = row["says"], row["status"]
    required = answer["licence_required"]
    if row["kind"] == "import":
        return any(b["kind"] == "import" for b in answer["beside"])
    if status.startswith("BIS authorisation"):
        return any(b["id"] == "General Prohibition 10" for b in answer["beside"])
    if status.startswith("no GP10"):
        named = [b["says"] for b in answer["beside"] if b["id"] == "General Prohibition 10"]
        return all("910B, 910C and 910D presumed" in says for says in named)  # not the part of 2019
    if "controlled = " in said:
        return (answer["meets"] == "3A090.a") == said.endswith("True")
    if status == "TPP<4800":
        return answer["quantities"][0]["low"] < 4800
    if status.startswith(("no licence", "no US licence", "notification regime")):
        return required is False
    if status.startswith("Case-by-case") or ("case-by-case" in status and "denial" not in status):
        return required is True and answer["policy"] == "case-by-case"
    if status == "25% Tariff":
        return answer["policy"] == "case-by-case" and any(b["kind"] == "tariff" for b in answer["beside"])
    if status in ("Controlled", "Likely Controlled") or status.startswith("presumption of denial"):
        return required is True and answer["policy"] == "presumption of denial"
    if status == "NAC/ACA eligible":
        return "NAC" in answer["exceptions"]
    if status in ("undetermined", "Potentially Exportable", "Exportable (special exception)"):
        return required is not True
    if said == "covered by revised 3A090" and row["chip"] in ("L40", "RTX-4090"):
        return required is True and answer["exceptions"] == ["NAC"]
    return required is True


@pytest.mark.parametrize(
    "row", [r for r in ROWS if r["kind"] != "tpp"], ids=lambda r: f"{r['chip']} {r['on']} {r['status'][:12]}"
)
def test_published_status_is_reproduced_or_listed(row):
    answer = rule(
        chip(row["chip"]),
        row["to"],
        on=date.fromisoformat(row["on"]),
        parent=row["parent"],
        origin=row["origin"] or "US",
    )
    found = agrees(row, answer)
    assert found != bool(row["why_not"]), row["why_not"] or f"not reproduced: {row['status']}"


@pytest.mark.parametrize("row", [r for r in ROWS if r["kind"] == "tpp"], ids=lambda r: r["chip"])
def test_published_tpp_is_reproduced_or_listed(row):
    part = chip(row["chip"])
    tpp = part.measures["tpp"]
    read = [tpp.low, *(m["tpp"].low for _, m in part.readings)]  # a card of several packages is read both ways
    found = any(abs(float(value) / float(row["says"]) - 1) < 0.01 for value in read)
    assert found != bool(row["why_not"]), row["why_not"] or f"{float(tpp.low):,.0f} against {row['says']}: {tpp.says}"


def test_all_published_rows_are_there():
    assert len(ROWS) == 144 and all(r["source"] or r["kind"] == "status" for r in ROWS)
