"""Published statements about chips and rules: each reproduced, or listed with the reason why it is not."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import pytest

from cutline.facts import reader
from cutline.law.measures import chip
from cutline.law.verdict import rule

SHARED = Path(__file__).parents[2] / "shared" / "data" / "export_classifications.csv"
NAMES = {
    "GH200": "GH200-96GB",
    "GB200 (per GPU)": "GB200",
    "B30A (unreleased estimate)": "B30A",
    "Rubin R200 (estimate)": "Rubin-VR200",
    "Groq 3 LP30 (estimate)": "Groq-3-LPU",
    "Gaudi2 (HL-225H)": "Gaudi2",
    "Gaudi2 China (HL-225B)": "Gaudi2-HL-225B",
    "Gaudi3 (HL-325L)": "Gaudi3",
    "Gaudi3 China (HL-328/HL-388)": "Gaudi3-HL-328",
    "Ascend 910 (2019; compute die + IO die)": "Ascend-910A",
    "Ascend 910B (B2)": "Ascend-910B2",
    "MLU370-X8 card (2 chips)": "MLU370-X8",
    "Hygon DCU Z100 (Shensuan-1)": "Hygon-Z100L",
    "Iluvatar MR-V100 (Zhikai 100)": "MR-V100",
    "Kunlun 2 (R200)": "Kunlun-R200",
}
DAYS = {
    "2022-08-26 letter": "2022-08-26",
    "2022-10-07": "2022-10-21",
    "2023-10-23 letter": "2023-10-23",
    "2025-05-13 guidance": "2025-05-13",
    "CN 2026-05-15": "2026-05-15",
    "CN 2025-09-17": "2025-09-17",
    "CN 2026-01-14": "2026-01-14",
}
NOT = {
    ("BR100", "2022-10-07"): "the vendor's claim was for links that it slowed afterwards; its own sheet says 640 GB/s",
    ("Instinct MI210", "2026-01-15"): "the tracker leaves out the letters of 2025-04, which reach 1,638 GB/s of memory",
    ("A800 SXM 80GB", "2026-01-15"): "the tracker leaves out that the part must be sold in the United States",
    ("A800 PCIe 80GB", "2026-01-15"): "the tracker leaves out that the part must be sold in the United States",
    ("H800 SXM5", "2026-01-15"): "the tracker leaves out that the part must be sold in the United States",
    ("H800 PCIe", "2026-01-15"): "the tracker leaves out that the part must be sold in the United States",
    ("H20 SXM 96GB", "2026-01-15"): "the tracker puts it into 3A090.b.2; its TPP and density are below both lines",
    (
        "B30A (unreleased estimate)",
        "2026-01-15",
    ): "the tracker calls it potentially exportable; its TPP is above 21,000",
    ("Instinct MI355X", "tpp_value"): "the table stops at FP8; FP6 runs at the rate of FP4, and 6 bits count",
    ("Gaudi2 (HL-225H)", "tpp_value"): "the table's 900 TFLOP/s is in no sheet that we read; the part has 865",
    ("Trainium2", "tpp_value"): "the table leaves out TF32, whose rate is that of BF16: 19 bits count more than 16",
    ("Ascend 910C", "tpp_value"): "the table has 800 TFLOP/s; papers of the vendor have 752, twice the 376 of a 910B",
}
"""Published rows that the rules and the facts do not give, and why."""


def published():
    if not SHARED.exists():
        return []
    with SHARED.open(encoding="utf-8") as handle:
        return [r for r in csv.DictReader(handle) if r["provenance"] == "document"]


ROWS = published()
needs_shared = pytest.mark.skipif(not ROWS, reason="shared/data/export_classifications.csv is not here")


def asked(row):
    """Destination and parties of a row."""
    place = row["destination"]
    if place.startswith("United Arab"):
        return {"to": "AE"}
    if place.startswith("Singapore"):
        return {"to": "SG", "parent": "CN"}
    if "re-export from Taiwan" in place:
        return {"to": "CN", "origin": "TW"}
    return {"to": "CN"}


def verdict(row):
    name = NAMES.get(row["chip"], row["chip"])
    day = date.fromisoformat(DAYS.get(row["rule_version"], row["rule_version"]))
    return rule(chip(name), on=day, **asked(row))


def agrees(row, answer):
    """Whether a verdict says what was published."""
    said, status = row["classification"], row["licence_status"]
    required = answer["licence_required"]
    if row["rule_version"].startswith("CN"):
        return any(b["kind"] == "import" for b in answer["beside"])
    if status.startswith("BIS authorisation"):
        return any(b["id"] == "General Prohibition 10" for b in answer["beside"])
    if status.startswith("no GP10"):
        return True  # a guidance on named parts; the verdict names them
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
    if said == "covered by revised 3A090" and row["chip"] in ("L40", "GeForce RTX 4090"):
        return required is True and answer["exceptions"] == ["NAC"]
    return required is True


@needs_shared
@pytest.mark.parametrize(
    "row", [r for r in ROWS if r["rule_version"] != "tpp_value"], ids=lambda r: f"{r['chip']} {r['rule_version']}"
)
def test_published_status_is_reproduced_or_listed(row):
    found = agrees(row, verdict(row))
    listed = NOT.get((row["chip"], row["rule_version"]))
    assert found != bool(listed), listed or f"not reproduced: {row['licence_status']}"


@needs_shared
@pytest.mark.parametrize("row", [r for r in ROWS if r["rule_version"] == "tpp_value"], ids=lambda r: r["chip"])
def test_published_tpp_is_reproduced_or_listed(row):
    tpp = chip(NAMES.get(row["chip"], row["chip"])).measures["tpp"]
    wanted = float(row["classification"].removeprefix("TPP="))
    found = abs(float(tpp.low) / wanted - 1) < 0.01
    listed = NOT.get((row["chip"], "tpp_value"))
    assert found != bool(listed), listed or f"{float(tpp.low):,.0f} against {wanted:,.0f}: {tpp.says}"


@needs_shared
def test_all_published_rows_are_asked():
    assert len(ROWS) == 144


def test_listed_names_are_in_the_catalogue():
    for name in NAMES.values():
        assert reader.table("chips").resolve(name) == name
