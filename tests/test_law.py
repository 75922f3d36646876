"""Export rules: every boundary on both sides, every date on both days, what is not known, and physics-like properties."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutline.core.errors import CutlineError, DataError, UnknownName
from cutline.facts import law as facts
from cutline.facts.law import LAYERS, read_bound, read_file
from cutline.law.day import Day, country, day_of, first_day
from cutline.law.foundry import Die, presumption
from cutline.law.licence import STRICT
from cutline.law.limits import Items, reaches
from cutline.law.line import line
from cutline.law.measures import chip, imagined, interval
from cutline.law.screen import every_part, screen, screen_parts
from cutline.law.verdict import history, rule

TODAY = date(2026, 10, 1)
EVERY = [
    (table, row)
    for found in (facts.law().tables, *facts.law().reforms.values())
    for table, entries in found.items() if table != "instrument"
    for row in entries
]  # fmt: skip


def day(text):
    return date.fromisoformat(text)


def asked(part, to="CN", on="2026-10-01", **more):
    return rule(chip(part) if isinstance(part, str) else part, to, on=day(on), **more)


def made(tpp, area, memory=300, io=64, datacenter=True, **more):
    return imagined(tpp=tpp, die_area=area, memory_bandwidth=memory, io_bandwidth=io, datacenter=datacenter, **more)


# ---- parameters


@pytest.mark.parametrize("table, row", EVERY, ids=lambda v: v if isinstance(v, str) else f"{v.id} {v.start}")
def test_every_row_has_a_source_that_resolves(table, row):
    act = facts.law().instruments[row.source]
    assert act.url.startswith("http") or act.citation, act.id
    assert act.known and act.title and act.summary
    assert (row.confidence or act.confidence) in facts.CONFIDENCE and act.read in facts.READ
    if row.ended_by:
        assert facts.law().instruments[row.ended_by].known <= row.until


def test_every_act_says_where_it_was_read():
    for act in facts.law().instruments.values():
        assert act.read in facts.READ and act.confidence in facts.CONFIDENCE, act.id
        assert act.citation or act.url, act.id
        assert act.until is None or act.effective is None or act.until >= act.effective, act.id


def test_no_country_is_typed_into_code():
    import ast
    from pathlib import Path

    codes = set(facts.country_names())
    for path in Path(facts.__file__).parents[1].joinpath("law").glob("*.py"):
        found = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
        assert not {c for c in found if isinstance(c, str) and c in codes} - {"US", "CN"}, path.name


@pytest.mark.parametrize(
    "text, says",
    [
        ("[[test]]\nid = 'x'\nfrom = 2024-01-01\nsource = 'a'\nask = []\n", "x.toml:5: key 'ask' is not known in test; it must be"),
        ("[[tests]]\nid = 'x'\n", "x.toml:1: table 'tests' is not known; it must be one of instrument"),
        ("[test]\nid = 'x'\n", "x.toml:1: write [[test]], with two brackets"),
        ("[[test]]\nid = 'x'\nsource = 'a'\n", "x.toml:1: test needs the key 'from'"),
        ("[[test]]\nid = 'x'\nfrom = '2024'\nsource = 'a'\n", "x.toml:3: from must be a date such as 2023-11-17; got '2024'"),
        ("[[test]]\nid = 'x'\nfrom = 2024-01-01\nsource = 'a'\nasks = ['tpp => 1']\n", "x.toml:5: 'tpp => 1' is not a comparison"),
        ("[[test]]\nid = 'x'\nfrom = 2024-01-01\nsource = 'a'\nlayer = 'law'\n", "x.toml:5: layer must be one of text, as_enforced"),
        ("[[test]]\nid = 'x'\nfrom = 2024-01-01\nsource = 'a'\ndatacenter = 'no'\n", "x.toml:5: datacenter must be true or false"),
        ("[[test]]\nid = 1\n", "x.toml:2: id must be text; got '1'"),
        ("[[test]]\nid = 'x'\nasks = 'tpp >= 1'\n", "x.toml:3: asks must be a list of texts"),
        ("[[test]\nid = 'x'\n", "x.toml:1: not readable as TOML"),
    ],
    ids=["key", "table", "brackets", "missing", "date", "bound", "layer", "flag", "text", "list", "syntax"],
)  # fmt: skip
def test_a_malformed_rule_file_is_refused_with_its_line(tmp_path, text, says):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(DataError, match="^" + says.replace("[", r"\[").replace("(", r"\(")):
        read_file(path)


ACT = facts.Instrument("a", "rule", "A", "US", day("2024-01-01"), "document", "high", "s", citation="1 FR 1")


def built(table, *rows):
    return facts.build({"instrument": (ACT,), table: rows}, {})


def test_rows_that_do_not_fit_each_other_are_refused():
    good = facts.Test("x", day("2024-01-01"), "a", asks=(read_bound("tpp >= 1"),))
    built("test", good)
    for row, says in (
        (facts.Test("x", day("2024-01-01"), "b"), "test 'x': source 'b' is not an \\[\\[instrument\\]\\]"),
        (
            facts.Test("x", day("2024-01-01"), "a", until=day("2023-01-01")),
            "until 2023-01-01 must be after from 2024-01-01",
        ),
        (facts.Test("x", day("2024-01-01"), "a", unless=("y",)), "no \\[\\[test\\]\\] is called 'y'"),
    ):
        with pytest.raises(CutlineError, match=says):
            built("test", row)
    with pytest.raises(CutlineError, match="'Q:9' is neither a country code nor a"):
        built("requirement", facts.Requirement("r", day("2024-01-01"), "a", to=("Q:9",)))
    with pytest.raises(CutlineError, match="no \\[\\[test\\]\\] begins with '3A999'"):
        built("requirement", facts.Requirement("r", day("2024-01-01"), "a", items=("3A999",)))
    with pytest.raises(CutlineError, match="listed twice from 2024-01-01"):
        built("test", good, good)
    with pytest.raises(CutlineError, match="instrument 'a' is listed twice"):
        facts.build({"instrument": (ACT, ACT)}, {})


# ---- boundaries of the parametric tests


@pytest.mark.parametrize(
    "tpp, area, paragraphs",
    [
        ("4800", "10000", ["3A090.a.1"]),
        ("4799.99", "10000", []),
        ("4800", "800", ["3A090.a.1", "3A090.a.2"]),
        ("1600", "270", ["3A090.a.2"]),  # density 5.926
        ("1599.99", "270", []),
        ("1776", "300", ["3A090.a.2"]),  # density exactly 5.92
        ("1775.9999", "300", ["3A090.b.2"]),
        ("1600", "500", ["3A090.b.2"]),  # density exactly 3.2
        ("1600", "500.0001", []),
        ("2400", "1500", ["3A090.b.1"]),  # density exactly 1.6
        ("2400", "1500.0001", []),
        ("2399.99", "1400", []),
        ("2400", "750", ["3A090.b.1", "3A090.b.2"]),
        ("2096", "670", []),  # Wormhole, density 3.128
        ("2096", "655", ["3A090.b.2"]),  # density exactly 3.2
        ("2399.9999", "750", []),  # 3.2 x 750 = 2,400: the part just below both lines
        ("4799.99", "3000", []),  # density 1.59999...
        ("4799.99", "2999", ["3A090.b.1"]),
        ("4736", "800", ["3A090.a.2"]),  # density exactly 5.92 above 2,400
        ("4735.9999", "800", ["3A090.b.1", "3A090.b.2"]),
    ],
)
def test_lines_of_2023_on_both_sides(tpp, area, paragraphs):
    answer = asked(made(tpp, area))
    assert answer["paragraphs"] == paragraphs
    assert answer["licence_required"] is bool(paragraphs)
    assert asked(made(tpp, area), "DE")["licence_required"] is False


@pytest.mark.parametrize(
    "tpp, io, meets",
    [("4800", "600", "3A090.a"), ("4799.99", "600", "none"), ("4800", "599.99", "none"), ("15832", "589", "none")],
)
def test_lines_of_2022_on_both_sides(tpp, io, meets):
    answer = asked(made(tpp, 800, io=io), on="2023-11-16")
    assert answer["meets"] == meets and answer["licence_required"] is (meets != "none")


def test_note_2_frees_what_is_not_for_data_centres_below_4800_alone():
    assert asked(made("4799.99", 400, datacenter=False))["meets"] == "none"
    assert asked(made("4799.99", 400, datacenter=True))["meets"] == "3A090.a"
    assert asked(made("4800", 400, datacenter=False))["meets"] == "3A090.a"


@pytest.mark.parametrize(
    "tpp, memory, policy",
    [
        ("20999.99", "6499.99", "case-by-case"),
        ("21000", "6499.99", "presumption of denial"),
        ("20999.99", "6500", "presumption of denial"),
    ],
)
def test_review_of_2026_on_both_sides_and_on_both_days(tpp, memory, policy):
    part = made(tpp, 800, memory=memory, sold_in_us=True)
    assert asked(part, on="2026-01-15")["policy"] == policy
    assert asked(part, on="2026-01-14")["policy"] == "presumption of denial"
    assert asked(part, on="2026-01-15", origin="TW")["policy"] == "presumption of denial"
    assert asked(part, "IR", on="2026-01-15")["policy"] == "policy of denial"
    assert asked(part, "SG", on="2026-01-15", parent="CN")["policy"] == "presumption of denial"
    assert asked(made(tpp, 800, memory=memory, sold_in_us=False), on="2026-01-15")["policy"] == "presumption of denial"


@pytest.mark.parametrize("name", ["letter 2025-04 memory", "letter 2025-04 io", "letter 2025-04 sum"])
def test_letters_of_2025_on_both_sides_by_maker(name):
    high, low = {
        "letter 2025-04 memory": ((1400, 64), (1399.99, 64)),
        "letter 2025-04 io": ((100, 1100), (100, 1099.99)),
        "letter 2025-04 sum": ((1300, 400), (1300, 399.99)),
    }[name]
    for maker in ("NVIDIA", "AMD", "Intel"):
        assert asked(made(1000, 800, *high, maker=maker))["paragraphs"] == [name]
        assert asked(made(1000, 800, *low, maker=maker))["licence_required"] is False
    assert asked(made(1000, 800, *high, maker="Qualcomm"))["licence_required"] is False
    assert asked(made(1000, 800, *high, maker="NVIDIA"), on="2025-04-08")["licence_required"] is False
    assert asked(made(1000, 800, *high, maker="NVIDIA"), "SG")["licence_required"] is False
    assert asked(made(1000, 800, *high, maker="NVIDIA"), "SG", headquarters="CN")["licence_required"] is True


@pytest.mark.parametrize(
    "rate, required, exceptions",
    [("200", False, []), ("200.01", True, ["HBM"]), ("329.99", True, ["HBM"]), ("330", True, [])],
)
def test_memory_density_exactly_2_and_3_3(rate, required, exceptions):
    stack = imagined("stack", memory_bandwidth=rate, stack_area=100)
    answer = asked(stack)
    assert (answer["licence_required"], answer["exceptions"]) == (required, exceptions)
    assert answer["meets"] == ("3A090.c" if required else "none")
    assert asked(stack, on="2024-12-01")["licence_required"] is False
    assert asked(stack, "VN")["licence_required"] is False
    assert asked(stack, "VN", parent="MO")["licence_required"] is required


@pytest.mark.parametrize(
    "tpp, memory, tariff",
    [(14000, 4800, False), (14000.01, 4800, True), (17499.99, 4999.99, True), (17500, 4800, False), (15000, 4500, False),
     (15000, 5000, False), (20800, 6000, False), (20900, 6000, True), (21100, 6000, False), (20900, 5800, False)],
)  # fmt: skip
def test_tariff_bands_are_open_on_both_sides(tpp, memory, tariff):
    found = asked(made(tpp, 800, memory=memory), on="2026-01-15")["beside"]
    assert any(b["kind"] == "tariff" for b in found) is tariff
    assert not any(b["kind"] == "tariff" for b in asked(made(tpp, 800, memory=memory), on="2026-01-14")["beside"])


def test_weights_are_controlled_by_the_text_alone():
    for flop, text in (("1e26", True), ("9.999e25", False)):
        weights = imagined("weights", training_flop=flop)
        assert asked(weights, "DE", layer="text")["licence_required"] is text
        assert asked(weights, "DE")["licence_required"] is False
        assert asked(weights, "DE", layer="text", on="2025-01-12")["licence_required"] is False
        assert asked(weights, "US", layer="text")["licence_required"] is False


# ---- named parts


@pytest.mark.parametrize(
    "name, meets, paragraphs",
    [
        ("A40", "3A090.b", ["3A090.b.2"]),  # TPP 2,395.2
        ("A30", "3A090.b", ["3A090.b.1"]),  # density 3.196, not rounded to 3.2
        ("A10", "none", []),
        ("L20", "none", []),
        ("L2", "none", []),
        ("L4", "3A090.a", ["3A090.a.2"]),
        ("L40", "3A090.b", ["3A090.b.1", "3A090.b.2"]),
        ("RTX-4090", "3A090.a", ["3A090.a.1", "3A090.a.2"]),
        ("RTX-4090D", "none", []),
        ("H20", "none", []),
        ("A800", "3A090.a", ["3A090.a.1", "3A090.a.2"]),
    ],
)
def test_parts_near_a_line(name, meets, paragraphs):
    answer = asked(name, on="2024-01-01")
    assert (answer["meets"], answer["paragraphs"]) == (meets, paragraphs)


@pytest.mark.parametrize(
    "name, free, caught",
    [("A100", "", "2022-08-26"), ("H100", "", "2022-08-26"), ("A800", "2023-10-22", "2023-10-23"), ("H800", "2023-10-22", "2023-10-23"),
     ("L40", "2023-11-16", "2023-11-17"), ("RTX-4090", "2023-11-16", "2023-11-17"), ("L4", "2023-11-16", "2023-11-17"),
     ("H20", "2025-04-08", "2025-04-09"), ("HBM3", "2024-12-01", "2024-12-02"), ("MI308X", "", "2025-04-09")],
)  # fmt: skip
def test_first_day_of_a_requirement_for_china(name, free, caught):
    if free:
        assert asked(name, on=free)["licence_required"] is False
    answer = asked(name, on=caught)
    assert answer["licence_required"] is True
    assert answer["basis"] and all(s.get("citation") for s in answer["basis"] if s["step"] not in ("measured",))


def test_the_verdicts_that_a_compliance_engineer_asks_for():
    h20 = asked("H20", on="2025-05-01")
    assert (h20["meets"], h20["licence_required"], h20["policy"]) == ("none", True, "not published")
    assert any(s["confidence"] == "low" and s["step"] == "licence" for s in h20["basis"] if "confidence" in s)
    mi325 = asked("MI325X")
    assert mi325["policy"] == "case-by-case" and sum("letters" not in c for c in mi325["conditions"]) == 7
    assert any(b["kind"] == "tariff" for b in mi325["beside"])
    assert asked("Gaudi3")["policy"] == "presumption of denial"
    assert asked("H100", "IL")["licence_required"] is False
    assert asked("H100", "SG")["licence_required"] is False
    assert asked("H100", "SG", parent="CN")["policy"] == "presumption of denial"
    assert asked("L40", "SG", parent="CN")["licence_required"] is True  # headquarters count for .b as well
    assert asked("H100", "MO")["policy"] == "case-by-case"
    assert asked("RTX-4090D", "RU")["policy"] == "policy of denial"
    assert asked("H20", "CN", on="2024-01-01", end_use="supercomputer")["licence_required"] is True
    assert "EAR99" not in asked("H20")["eccn_candidates"]


def test_hong_kong_is_china_and_macau_is_not():
    for on in ("2022-10-21", "2023-01-16", "2026-10-01"):
        assert asked("A100", "HK", on=on)["licence_required"] is True
    assert asked("A100", "MO", on="2023-01-16")["licence_required"] is False
    assert asked("A100", "MO", on="2023-01-17")["licence_required"] is True
    assert "MO" not in day_of(TODAY).group("D:5") and day_of(TODAY).country("HK") == "CN"


def test_the_emirates_before_and_after_2026_07_10():
    assert asked("L40", "AE", on="2026-07-09")["exceptions"] == ["ACA"]
    assert asked("H100", "AE", on="2026-07-09")["policy"] == "presumption of approval"
    after = asked("H100", "AE", on="2026-07-10")
    assert after["licence_required"] is True and after["policy"] == "not published"
    for name in ("Microsoft", "uae government", "G42"):
        assert asked("H100", "AE", on="2026-07-10", name=name)["licence_required"] is False
        assert asked("H100", "AE", on="2026-07-09", name=name)["licence_required"] is True
    assert asked("H100", "AE", on="2027-04-06", name="G42")["licence_required"] is False
    assert asked("H100", "AE", on="2027-04-07", name="G42")["licence_required"] is True
    assert asked("B200-SXM", "AE", on="2026-07-10", parent="CN")["policy"] == "presumption of denial"


def test_cambodia_leaves_d5_and_stays_in_d1():
    assert asked("H100", "KH", on="2026-02-02")["policy"] == "presumption of denial"
    assert asked("H100", "KH", on="2026-02-03")["policy"] == "presumption of approval"
    assert asked("H100", "TH", on="2026-02-02", parent="KH")["licence_required"] is True
    assert asked("H100", "TH", on="2026-02-03", parent="KH")["licence_required"] is False


def test_two_layers_and_two_times_of_the_worldwide_rule():
    for to in ("IN", "DE"):
        assert asked("H100", to, on="2025-06-01")["licence_required"] is False
        assert asked("H100", to, on="2025-06-01", layer="text")["licence_required"] is True
        assert asked("H100", to, on="2025-01-12", layer="text")["licence_required"] is False
        # on the day before BIS said that it would not enforce the rule, one had to expect it
        assert asked("H100", to, on="2025-06-01", known=day("2025-05-12"))["licence_required"] is True
        assert asked("H100", to, on="2025-06-01", known=day("2025-05-13"))["licence_required"] is False
    assert asked("H100", "DE", on="2025-06-01", layer="text")["exceptions"] == ["AIA", "ACM", "LPP"]
    assert not asked("H100", "DE", on="2025-06-01")["other_layer"]["same"]


def test_a_letter_counts_from_the_day_it_was_known():
    for known, required in (("2025-04-14", False), ("2025-04-15", True)):
        assert asked("H20", on="2025-04-20", known=day(known))["licence_required"] is required


def test_affiliates_rule_and_its_suspension():
    share = {"listed_share": 50.0}
    for on, text, enforced in (
        ("2025-09-28", False, False), ("2025-09-29", True, True), ("2025-11-09", True, True), ("2025-11-10", False, False),
        ("2026-11-09", False, False), ("2026-11-10", True, False), ("2027-01-09", True, False), ("2027-01-10", True, True),
    ):  # fmt: skip
        assert asked("L2", "DE", on=on, layer="text", **share)["licence_required"] is text, on
        assert asked("L2", "DE", on=on, **share)["licence_required"] is enforced, on
        assert asked("L2", "DE", on=on, layer="text", listed_share=49.99)["licence_required"] is False
        assert asked("L2", "DE", on=on, listed=True)["licence_required"] is True
    # before the suspension was known, the rule was to stay
    assert asked("L2", "DE", on="2026-06-01", known=day("2025-11-09"), **share)["licence_required"] is True


def test_foundry_presumption_by_day_count_and_designer():
    def held(on, *die):
        found = presumption(day_of(day(on)), Die(*die))
        return None if found is None else found["presumed"]

    few = Decimal("29.99e9")
    assert presumption(day_of(day("2025-01-15")), Die()) is None
    assert held("2025-01-16", few, True, "other", "fabricator") is False
    assert held("2025-01-16", Decimal("30e9"), True, "other", "fabricator") is True
    assert held("2025-01-16", few, True, "other", "other") is True
    for year, count, presumed in (
        (2026, 34, True), (2027, 34, False), (2027, 35, True), (2028, 34, None), (2028, 40, True), (2029, 39, False), (2029, 40, True),
    ):  # fmt: skip
        assert held(f"{year}-06-01", Decimal(count) * 10**9, False, "other", "approved OSAT") is presumed
    assert held("2027-06-01", Decimal("34e9"), True, "other", "fabricator") is True  # HBM
    big = Decimal("90e9")
    assert held("2026-12-31", big, True, "authorised", "other") is False
    assert held("2027-01-01", big, True, "authorised", "other") is None
    assert held("2027-01-01", big, True, "approved", "other") is False
    assert held("2025-06-01", None, None, "other", "") is None
    with pytest.raises(CutlineError, match="designer must be one of approved, authorised, other; got 'mine'"):
        presumption(day_of(TODAY), Die(designer="mine"))


@pytest.mark.parametrize(
    "name, reform, required",
    [
        ("H20", "safe-chips", None),
        ("H200", "safe-chips", True),
        ("L20", "safe-chips", False),
        ("L20", "ai-overwatch", False),
    ],
)
def test_bills_count_only_where_they_are_switched_on(name, reform, required):
    part = chip(name)
    plain = rule(part, "RU" if required is None else "CN", on=TODAY)
    with_bill = rule(part, "CN", on=TODAY, reforms=(reform,))
    assert not any("bill" in s.get("source", "") for s in plain["basis"])
    bill = [s for s in with_bill["basis"] if "bill" in s.get("source", "") and s["step"] == "licence"]
    assert bool(bill) is (required is not False)
    if required is None:  # whether the host bus counts as interconnect decides: 4,900 or 5,026 against 5,000
        where = [f for f in with_bill["flips"] if "S. 3374" in str(f)] or with_bill["quantities"]
        assert any(q["open"] for q in where if isinstance(q, dict) and "open" in q)
    if name == "H200":
        assert with_bill["policy"] == "policy of denial"


# ---- dates


STARTS = sorted(
    {(t, r.id, r.start, r.layer) for t, r in EVERY if t in facts.law().tables and r in facts.law().tables[t]}
)


@pytest.mark.parametrize("table, name, start, layer", STARTS, ids=str)
def test_every_row_begins_on_its_day_and_not_before(table, name, start, layer):
    def inside(on):
        found = [r for n in LAYERS if layer in ("", n) for r in Day(on, date.max, n).rows(table)]
        return any(r.id == name and r.start == start and r.layer == layer for r in found)

    rows = [r for r in facts.law().tables[table] if (r.id, r.start, r.layer) == (name, start, layer)]
    begun = any(r.until is None or r.until > start for r in rows)
    assert not inside(start - timedelta(days=1))
    assert inside(start) is begun


ENDS = sorted({(t, r.id, r.until, r.layer) for t, r in EVERY if r.until is not None and r.until > r.start})


@pytest.mark.parametrize("table, name, until, layer", ENDS, ids=str)
def test_every_row_ends_on_its_day_and_not_before(table, name, until, layer):
    def inside(on):
        found = Day(on, date.max, layer or "as_enforced").rows(table)
        return any(r.id == name and r.until == until for r in found)

    assert inside(until - timedelta(days=1)) and not inside(until)


def test_45_destinations_and_the_groups_of_one_snapshot():
    d = day_of(day("2026-07-23"))
    left = (d.group("D:1") | d.group("D:4") | d.group("D:5")) - (d.group("A:5") | d.group("A:6"))
    assert len(left) == 45 and {"CN", "MO", "SA", "VN", "KZ"} <= left and not {"IL", "CY", "AE", "TW"} & left
    assert [len(d.group(g)) for g in ("D:1", "D:4", "D:5", "A:5", "A:6", "AIA")] == [
        24,
        21,
        22,
        38,
        8,
        18,
    ]


def test_a_stale_layer_raises_an_alarm_after_45_days():
    newest = day_of(TODAY).newest()
    fresh, old = (asked("H20", on=(newest + timedelta(days=n)).isoformat())["warnings"] for n in (45, 46))
    assert not any(w.startswith("stale") for w in fresh) and any(w.startswith("stale: the newest source") for w in old)


# ---- what is not known


def test_a_missing_area_names_where_the_answer_flips():
    answer = asked(imagined(tpp=1936, memory_bandwidth=300, io_bandwidth=64, datacenter=True))
    assert answer["meets"] == "undetermined" and answer["licence_required"] is None
    found = [(f["meets"], round(f["from"], 2), f["to"] and round(f["to"], 2)) for f in answer["flips"]]
    assert found == [(["3A090.a"], 0, 327.03), (["3A090.b"], 327.03, 605.0), (["none"], 605.0, None)]


def test_an_unknown_flag_or_rate_is_never_free():
    assert asked(imagined(tpp=2000, die_area=300, memory_bandwidth=1, io_bandwidth=1))["licence_required"] is None
    assert asked(imagined(tpp=9000, memory_bandwidth=1, io_bandwidth=1))["licence_required"] is True
    assert asked(imagined(tpp=9000, die_area=100), on="2022-11-01")["licence_required"] is None  # transfer rate
    assert asked(imagined(tpp=9000, die_area=100), "DE")["licence_required"] is False
    assert asked(imagined(tpp=100, die_area=100, maker="NVIDIA", datacenter=True))["licence_required"] is None  # memory
    for part in every_part():
        if not part.measures.get("tpp", interval(0, "x")).exact:
            assert rule(part, "CN", on=TODAY)["licence_required"] is not False, part.name


def test_a_losing_claim_that_would_change_the_answer_is_named():
    for name in ("MI308X", "A30", "H20", "B30A"):
        for f in asked(name, on="2024-06-01")["flips"]:
            assert f["meets"] and f["quantity"]


QUANTITY = st.floats(1, 20000).map(lambda x: round(x, 2))


@settings(max_examples=60)
@given(
    tpp=QUANTITY, area=st.floats(10, 3000), memory=QUANTITY, io=QUANTITY, flag=st.booleans(), low=st.floats(0.1, 0.99)
)
def test_what_is_possible_covers_every_value_of_an_interval(tpp, area, memory, io, flag, low):
    area = round(area, 3)
    ends = f"{round(low * area, 3)}..{area}"
    open_ = asked(
        imagined(tpp=tpp, die_area=ends, memory_bandwidth=memory, io_bandwidth=io, datacenter=flag, maker="NVIDIA")
    )
    for share in (low, (1 + low) / 2, 1.0):
        sure = asked(made(tpp, max(round(share * area, 3), round(low * area, 3)), memory, io, flag, maker="NVIDIA"))
        assert sure["meets"] in open_["possible"]
        assert open_["licence_required"] in (None, sure["licence_required"])


@settings(max_examples=60)
@given(tpp=QUANTITY, area=st.floats(10, 3000), memory=QUANTITY, io=QUANTITY, flag=st.booleans(), more=st.floats(1, 5),
       which=st.sampled_from(["tpp", "memory", "io"]), on=st.sampled_from(["2022-11-01", "2024-01-01", "2026-10-01"]))  # fmt: skip
def test_more_of_anything_never_frees(tpp, area, memory, io, flag, more, which, on):
    values = {"tpp": tpp, "memory": memory, "io": io}
    bigger = values | {which: round(values[which] * more, 2)}
    one, two = (
        asked(made(v["tpp"], round(area, 2), v["memory"], v["io"], flag, maker="NVIDIA"), on=on)
        for v in (values, bigger)
    )
    assert two["licence_required"] or not one["licence_required"]


# ---- many at once


def columns(seed, n):
    rng = np.random.default_rng(seed)
    grid = np.array([1599.99, 1600, 2399.99, 2400, 4799.99, 4800])
    tpp = np.where(rng.random(n) < 0.5, rng.uniform(100, 9000, n).round(2), rng.choice(grid, n))
    ratio = np.where(rng.random(n) < 0.5, rng.uniform(0.5, 12, n), rng.choice([1.6, 3.2, 5.92], n))
    return Items(
        tpp,
        (tpp / ratio).round(6),
        rng.uniform(32, 2000, n).round(1),
        rng.uniform(100, 8000, n).round(1),
        rng.random(n) < 0.7,
    )


@pytest.mark.parametrize("on", ["2022-11-01", "2023-12-01", "2026-10-01"])
def test_columns_equal_one_by_one(on):
    items = columns(1, 120)
    found = screen(items, "CN", on=day(on), maker="NVIDIA")
    for i in range(len(items)):
        r = items.row(i)
        part = made(
            repr(r["tpp"]),
            repr(r["area_mm2"]),
            repr(r["memory_gb_per_s"]),
            repr(r["io_gb_per_s"]),
            r["datacenter"],
            maker="NVIDIA",
        )
        answer = rule(part, "CN", on=day(on))
        assert (found.meets[i], found.licence_required[i]) == (answer["meets"], answer["licence_required"])
        assert found.policy[i] == (answer["policy"] if answer["licence_required"] else "")


@pytest.mark.parametrize(
    "to, on",
    [("CN", "2022-11-01"), ("CN", "2024-01-01"), ("CN", "2025-05-01"), ("VN", "2026-10-01"), ("DE", "2026-10-01")],
)
def test_the_line_separates_what_is_free(to, on):
    items = columns(2, 4000)
    for one in line(to, on=day(on))["lines"]:
        maker = one["makers"][0] if one["makers"] else ""
        mine = items[np.asarray(items.datacenter) == one["datacenter"]]
        free = ~screen(mine, to, on=day(on), maker=maker).licence_required
        below = np.zeros(len(mine), bool)
        for corner in one["corners"]:
            inside = np.ones(len(mine), bool)
            for axis, column in (("tpp", mine.tpp), ("io", mine.io_gb_per_s), ("memory", mine.memory_gb_per_s)):
                if corner[axis] is not None:
                    inside &= column < corner[axis]
            if corner["pd"] is not None:
                inside &= ~reaches([mine.tpp], Decimal(str(corner["pd"])), mine.area_mm2)
            below |= inside
        for cut in one["sums"]:
            below &= mine.memory_gb_per_s + mine.io_gb_per_s < cut["limit"]
        np.testing.assert_array_equal(free, below)


def test_the_whole_catalogue_is_screened():
    rows = screen_parts(every_part(), "CN", on=TODAY)["rows"]
    assert len(rows) == len(every_part())
    kinds = {r["item"]: r["licence_required"] for r in rows}
    assert kinds["A100-SXM-80GB"] is True and kinds["RTX-4090D"] is False and kinds["MTT-S4000"] is None


def test_ties_are_decided_in_decimals():
    area = np.array([300.0, 0.3, 123.456, 0.0])
    exact = np.array([float(Decimal("5.92") * Decimal(repr(float(a)))) for a in area])
    assert reaches([exact], Decimal("5.92"), area).tolist() == [True, True, True, False]
    assert reaches([np.array([0.1]), np.array([0.2])], Decimal("0.3")).tolist() == [True]
    assert reaches([np.array([0.1]), np.array([0.2])], Decimal("0.3"), strict=True).tolist() == [False]


# ---- what is measured


def test_measures_follow_the_definitions():
    assert chip("A40").measures["tpp"].low == Decimal("2395.2")
    assert chip("MI250X").measures["area_mm2"].low == 1448
    assert chip("MI355X").measures["tpp"].low == 60000  # FP6 at the rate of FP4
    assert chip("Groq-LPU-v1").measures["memory_gb_per_s"].low == 0  # SRAM is not DRAM
    assert chip("L4").measures["io_gb_per_s"].low == 63  # no link of its own
    assert chip("Gaudi2-HL-225B").measures["io_gb_per_s"].low < 600 <= chip("Gaudi2").measures["io_gb_per_s"].low
    trainium = chip("Trainium1").measures["tpp"]
    assert (trainium.low, [v for v, _ in trainium.open]) == (Decimal("3610"), [Decimal("6080")])
    assert chip("RTX-6000-Ada").datacenter is None and chip("RTX-4090").datacenter is False
    assert imagined(tpp=3000, planar=True, datacenter=True).measures["area_mm2"].low == 0
    assert (
        asked(imagined(tpp=3000, planar=True, datacenter=True, memory_bandwidth=1, io_bandwidth=1))["meets"] == "none"
    )
    assert imagined(peaks={"fp16-sparse": 296}).measures["tpp"].low == 2368
    assert imagined(peaks={"fp16": 148, "fp8": 296}).measures["tpp"].low == 2368


# ---- bad input


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: imagined(die_area=300), "imagined chip has no peak rate: give tpp, or peaks such as fp16=148"),
        (lambda: made(1000, 0), "die area .mm2. must be above 0; got '0'"),
        (lambda: made(-1, 100), "tpp must be at least 0; got '-1'"),
        (lambda: made("lots", 100), "tpp must be a number; got 'lots'"),
        (lambda: made("nan", 100), "tpp must be a finite number; got 'nan'"),
        (lambda: made("4799.9999999999999", 100), "tpp must have at most 15 digits"),
        (lambda: made(1000, "400..300"), "die area .mm2. must be a number, or two such as 300..400; got '400..300'"),
        (lambda: imagined(peaks={"fp16": 100, "fp16-sparse": 90}), "peak fp16-sparse must be at least the dense 100; got 90"),
        (lambda: imagined(peaks={"fp5": 1}), "peaks: format must be one of fp64"),
        (lambda: imagined(tpp=1, peaks={"fp16": 1}), "give tpp or peaks, not both"),
        (lambda: imagined(tpp=1, die_area=3, planar=True), "give a die area or planar, not both"),
        (lambda: imagined(stack_area=100), "a memory stack needs its memory bandwidth"),
        (lambda: asked("H20", on="2022-08-25"), "on must be 2022-08-26 or later, the day of the first rule"),
        (lambda: asked("H20", layer="spirit"), "layer must be one of text, as_enforced; got 'spirit'"),
        (lambda: asked("H20", reforms=("gain",)), "no reform named 'gain'. Did you mean gain-ai"),
        (lambda: country("Germny", "--to"), "no country named 'Germny' .--to.. Did you mean Germany"),
        (lambda: country("ZZ", "--to"), "no country named 'ZZ' .--to.. Write an ISO"),
        (lambda: chip("H21"), "no chip named 'H21'"),
        (lambda: read_bound("tpp is large"), "'tpp is large' is not a comparison such as 'tpp >= 4800'"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_sentence(call, says):
    with pytest.raises(CutlineError, match=says):
        call()


def test_a_reform_file_of_a_user(tmp_path):
    path = tmp_path / "line-2400.toml"
    path.write_text(
        '[[instrument]]\nid = "mine"\nkind = "bill"\ntitle = "A line at 2,000"\njurisdiction = "US"\nknown = 2024-01-01\n'
        'read = "memory"\nconfidence = "low"\nsummary = "what if"\ncitation = "mine"\n\n'
        '[[test]]\nid = "2000"\nfrom = 2024-01-01\nsource = "mine"\nasks = ["tpp >= 2000"]\n\n'
        '[[requirement]]\nid = "2000"\nkind = "bill"\nitems = ["2000"]\nto = ["China"]\nfrom = 2024-01-01\nsource = "mine"\n'
    )
    name = facts.reform(str(path))
    assert asked("H20", on="2024-06-01", reforms=(name,))["licence_required"] is True
    assert asked("H20", on="2024-06-01")["licence_required"] is False
    path.write_text(path.read_text().replace('"China"', '"Chine"'))
    with pytest.raises(
        DataError, match=r"line-2400\.toml: requirement '2000': 'Chine' is neither a country code nor a"
    ):
        facts.reform(str(path))
    with pytest.raises(UnknownName):
        facts.reform("nothing")


def test_layers_and_first_day():
    assert LAYERS == ("text", "as_enforced") and first_day() == day("2022-08-26")


# ---- what reviewers found


@pytest.mark.parametrize("parent", ["CN", "MO", "BY"])
def test_exceptions_do_not_reach_buyers_with_their_seat_in_macau_or_d5(parent):
    part = made(6000, 800)
    answer = asked(part, "SG", on="2026-06-01", layer="text", parent=parent)
    assert answer["licence_required"] is True and answer["exceptions"] == []
    other = made(4900, 800, datacenter=False)
    assert asked(other, "JP", on="2026-06-01", layer="text", parent=parent)["exceptions"] == ["NAC"]
    for layer in LAYERS:
        for name in ("UAE Government", "G42"):
            assert asked(part, "AE", on="2026-08-01", layer=layer, name=name, parent=parent)["licence_required"] is True


def test_allied_exception_by_place_and_by_seat():
    h100 = {"on": "2025-06-01", "layer": "text"}
    assert "AIA" in asked("H100", "DE", **h100)["exceptions"]
    assert "AIA" not in asked("H100", "DE", headquarters="IN", **h100)["exceptions"]
    assert "AIA" not in asked("H100", "IN", headquarters="US", **h100)["exceptions"]
    weights = imagined(training_flop="1e26")
    assert asked(weights, "IN", **h100)["policy"] == "presumption of denial"
    abroad = asked(weights, "IN", headquarters="US", **h100)
    assert abroad["exceptions"] == ["AIA"] and abroad["policy"] == "not published"
    assert not any("790 million" in c for c in asked("H100", "DE", **h100)["conditions"])
    assert any("790 million" in c for c in asked("H100", "IN", **h100)["conditions"])


def test_what_one_had_to_expect_before_the_rule_was_given_up():
    before = {"on": "2025-06-01", "known": day("2025-05-12")}
    text, enforced = (asked("H100", "DE", layer=layer, **before) for layer in LAYERS)
    assert [text[k] for k in ("policy", "exceptions")] == [enforced[k] for k in ("policy", "exceptions")]
    assert asked(imagined(training_flop="1e26"), "IN", **before)["licence_required"] is True


def test_nothing_is_exported_to_the_united_states():
    for to in ("US", "PR", "GU"):
        for layer in LAYERS:
            assert asked("H100", to, headquarters="CN", layer=layer)["licence_required"] is False
    assert asked("H200", "CN", origin="PR")["policy"] == asked("H200", "CN")["policy"] == "case-by-case"


def test_an_interval_holds_its_ends():
    for more in ({"tpp": "4700..4800", "die_area": 3000}, {"tpp": 2000, "die_area": "625..1000"}):
        part = imagined(**more, memory_bandwidth=300, io_bandwidth=64, datacenter=True)
        assert asked(part)["licence_required"] is None
    part = imagined(
        tpp=1000, die_area=800, memory_bandwidth="1000..1400", io_bandwidth=64, datacenter=True, maker="NVIDIA"
    )
    assert asked(part)["licence_required"] is None


def test_parts_that_are_not_known_to_be_sold_have_both_policies():
    assert asked("TPU-v4")["policy"] == "presumption of denial or case-by-case"
    assert asked(made(9000, 800))["policy"] == "presumption of denial or case-by-case"
    assert asked("Groq-3-LPU")["policy"] == "presumption of denial"  # came out after the rule
    assert asked("A800")["policy"] == "presumption of denial"


def test_a_guess_must_not_free_a_part():
    answer = asked("Wormhole-n150")
    assert answer["licence_required"] is None and set(answer["possible"]) == {"3A090.b", "none"}
    assert any("is a guess" in f["says"] for f in answer["flips"]) and answer["policy"] != "no licence required"


def test_a_card_of_several_packages_is_read_both_ways():
    answer = asked("Cloud-AI-100-Ultra")
    assert {f["says"] for f in answer["flips"] if f["quantity"] == "reading"} == {
        "by package",
        "the card as a whole, 4 packages",
    }


def test_the_presumption_decides_the_verdict():
    part = made(2000, 900)
    caught = rule(part, "CN", on=TODAY, die=Die(Decimal("60e9"), True, "other", "fabricator"))
    assert (caught["meets"], caught["licence_required"]) == ("3A090.a", True) and caught["foundry"]["presumed"] is True
    free = rule(part, "CN", on=TODAY, die=Die(Decimal("20e9"), True, "other", "fabricator"))
    assert free["licence_required"] is False and free["foundry"]["presumed"] is False
    open_ = rule(part, "CN", on=TODAY, die=Die(None, True, "other", "fabricator"))
    assert open_["licence_required"] is None and any(f["quantity"] == "presumption" for f in open_["flips"])


def test_more_dates_that_reviewers_asked_for():
    assert asked("L2", "MO", on="2023-01-16", end_use="supercomputer")["licence_required"] is False
    assert asked("L2", "MO", on="2023-01-17", end_use="supercomputer")["licence_required"] is True
    assert asked("L2", "NI", on="2024-03-14", end_use="military")["licence_required"] is False
    assert asked("L2", "NI", on="2024-03-15", end_use="military")["licence_required"] is True
    assert asked("L2", "SY", on="2025-09-01")["policy"] == "policy of denial"
    assert asked("L2", "SY", on="2025-09-02")["policy"] == "presumption of approval"
    assert asked("MI308X", on="2025-04-20", known=day("2025-04-15"))["licence_required"] is False
    assert asked("MI308X", on="2025-04-20", known=day("2025-04-16"))["licence_required"] is True
    like_h20 = made(2000, 800, memory=4500, maker="NVIDIA")
    assert asked(like_h20, on="2025-04-20", known=day("2025-04-15"))["licence_required"] is True
    il, de = (asked("H100", to, on="2024-01-01", parent="CN")["policy"] for to in ("IL", "DE"))
    assert il == de == "case-by-case"
    assert asked("RTX-4090", "CN", on="2025-06-01", layer="text")["policy"] == "presumption of denial"
    assert asked("RTX-4090", "CN", on="2025-06-01")["policy"] == "case-by-case"
    assert asked("MI250X", "CN", layer="text")["policy"] == "case-by-case"


def test_history_agrees_with_single_days():
    for name in ("A800", "H20", "L40", "MTT-S4000", "Gaudi3"):
        spans = history(chip(name), "CN", on=TODAY)
        assert spans[0]["from"] == "2022-08-26" and spans[-1]["until"] is None
        for span in spans:
            first = day(span["from"])
            last = day(span["until"]) - timedelta(days=1) if span["until"] else TODAY
            for on in (first, last):
                answer = rule(chip(name), "CN", on=on)
                assert all(answer[k] == span[k] for k in ("verdict", "meets", "licence_required", "policy"))


PLACES = (
    "CN",
    "HK",
    "MO",
    "AE",
    "SA",
    "VN",
    "KH",
    "NI",
    "CY",
    "IL",
    "DE",
    "IN",
    "SG",
    "TW",
    "RU",
    "IR",
    "SY",
    "US",
    "PR",
    "JP",
)
SEATS = ("", "CN", "MO", "US", "DE", "IN", "KH", "RU", "IL")


@settings(max_examples=80)
@given(
    tpp=QUANTITY, area=st.floats(50, 2000), memory=QUANTITY, io=QUANTITY, flag=st.sampled_from([True, False, None]),
    maker=st.sampled_from(["", "NVIDIA", "Huawei"]), to=st.sampled_from(PLACES), hq=st.sampled_from(SEATS), parent=st.sampled_from(SEATS),
    origin=st.sampled_from(["US", "TW"]), offset=st.integers(0, 1900), layer=st.sampled_from(LAYERS),
    reform=st.sampled_from(["", "safe-chips", "ai-overwatch-senate"]), share=st.sampled_from([0.0, 60.0]),
)  # fmt: skip
def test_any_question_has_an_answer_that_holds_together(
    tpp, area, memory, io, flag, maker, to, hq, parent, origin, offset, layer, reform, share
):
    on = first_day() + timedelta(days=offset)
    part = made(tpp, round(area, 2), memory, io, flag, maker=maker)
    reforms = (reform,) if reform else ()
    who = {"headquarters": hq, "parent": parent, "origin": origin, "listed_share": share}
    answer = rule(part, to, on=on, layer=layer, reforms=reforms, **who)
    assert answer["meets"] in {*answer["possible"], "undetermined"}
    if answer["licence_required"] is False:
        assert answer["policy"] == "no licence required" and not answer["exceptions"]
    elif answer["licence_required"]:
        assert set(answer["policy"].split(" or ")) <= set(STRICT) and "licence required" in answer["verdict"]
    else:
        assert flag is None and answer["flips"]
    controlled = {"3A090.a", "3A090.b"} >= set(answer["possible"])
    abroad = to not in ("US", "PR")
    if controlled and abroad and {hq, parent} & {"CN", "MO"} and on >= day("2023-11-17"):
        assert answer["licence_required"] is True
    if flag is not None:
        items = Items(
            *(np.array([float(x)]) for x in (tpp, round(area, 2), io, memory)), np.array([flag]), interconnect_gb_per_s=np.array([0.0])
        )  # fmt: skip
        if not reform:
            found = screen(items, to, on=on, layer=layer, maker=maker, **who)
            assert found.licence_required[0] == answer["licence_required"] and found.meets[0] == answer["meets"]
