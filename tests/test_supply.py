"""Stocks of chips: published totals, the law of the day, draws, service life, what a chip is worth."""

from datetime import date, timedelta

import numpy as np
import pytest

from cutline.core.errors import CutlineError, DataError
from cutline.facts import supply as facts
from cutline.outlook import supply
from cutline.outlook.equivalents import WORKLOADS, utilisation, worth

ON = date(2026, 6, 30)
USED = tuple(f for f in facts.flows() if f.use)


def flow(**changes):
    """Return an exact flow of 1,000 H20 in 2024 to China, with changes."""
    plain = facts.Flow(
        "H20", "CN", "sale", date(2024, 1, 1), date(2024, 12, 31), 1000.0, 1000.0, 1000.0, 1.0, 1.0, 1.0, "exact", False, "own", True,
        "guess", "",
    )  # fmt: skip
    return plain._replace(**changes)


def arrived(flows, on=ON, draws=500, **wanted):
    """Return the median of what arrived, over keys and quarters."""
    rows = supply.draw(
        "CN", on, draws, 1, tuple(f for f in flows if all(getattr(f, k) == v for k, v in wanted.items()))
    )
    return float(np.median(rows.arrived.sum((1, 2))))


# published totals


def test_h20_of_2024_is_what_analysts_say():
    """Epoch AI 958,410; SemiAnalysis 1,000,000."""
    got = arrived(USED, on=date(2024, 12, 31), chip="H20")
    assert got == pytest.approx(958410, rel=0.03)
    assert got == pytest.approx(1.0e6, rel=0.1)


def test_ascend_of_2025_is_what_idc_counts():
    """812,000 parts; SemiAnalysis has 805,000 packages."""
    got = sum(f.units for f in USED if f.chip.startswith("Ascend") and f.start.year == f.end.year == 2025)
    assert got == pytest.approx(812000, rel=0.02)


def test_totals_by_owner_stay_below_all_sales():
    """Epoch AI: five owners in the US and China, by chip, hold no more than was sold in all."""
    for chip in ("A100-SXM-80GB", "B200-SXM", "B300-SXM", "H100-SXM-80GB"):
        owned = sum(f.units for f in USED if f.chip == chip and f.source == "epoch-chip-counts" and f.kind == "sale")
        every = sum(
            f.units for f in facts.flows() if f.chip == chip and f.country == "WW" and f.note.find("cumulative") >= 0
        )
        assert 0.3 * every < owned < every, chip


def test_sums_of_years_are_the_cumulative_rows():
    for chip, total in (("H20", 1489899), ("A800-SXM-80GB", 121421), ("H800-SXM-80GB", 115430)):
        rows = [f for f in USED if f.chip == chip and f.country == "CN"]
        assert sum(f.units for f in rows) == pytest.approx(total, rel=1e-4)
        assert len({f.series for f in rows}) == 1, "years of one table err together"


def test_omdia_and_epoch_agree_on_h800():
    omdia = next(f.units for f in facts.flows() if f.chip == "H800-SXM-80GB" and f.units == 125000)
    row = next(f for f in USED if f.chip == "H800-SXM-80GB")
    assert row.low < omdia < row.high


def test_dies_of_tsmc_make_as_many_packages_as_published():
    """2.9 million dies are about 1.45 million packages of two dies at zero loss; with loss they are fewer."""
    row = next(f for f in facts.flows() if f.units == 2.9e6)
    assert not row.use and row.per_chip == 2
    none = supply.units(row._replace(good_low=1.0, good_high=1.0), 10, 0)
    assert none == pytest.approx(np.full(10, 1.45e6))
    some = supply.units(row, 1000, 0)
    assert (some <= 1.45e6).all() and np.median(some) == pytest.approx(1.45e6 * (0.6 * 0.95) ** 0.5, rel=0.05)


# the law


@pytest.mark.parametrize(
    ("chip", "day", "state"),
    [
        ("A800-SXM-80GB", date(2023, 6, 1), "free"),
        ("A800-SXM-80GB", date(2023, 11, 16), "not legal"),
        ("A800-SXM-80GB", date(2023, 11, 17), "not legal"),
        ("A800-SXM-80GB", date(2024, 2, 1), "not legal"),
        ("H20", date(2025, 4, 8), "free"),
        ("H20", date(2025, 4, 9), "not legal"),
        ("A100-SXM-80GB", date(2022, 8, 25), "free"),
        ("A100-SXM-80GB", date(2022, 8, 26), "not legal"),
    ],
)
def test_the_law_room_says_what_counts_as_legal(chip, day, state):
    got = supply.draw("CN", ON, 2, 0, (flow(chip=chip, start=day, end=day),))
    assert [k.state for k in got.keys] == [state]


def test_a_flow_over_the_day_of_a_rule_is_split():
    got = supply.draw("CN", ON, 2, 0, (flow(start=date(2025, 4, 4), end=date(2025, 4, 13)),))
    parts = {k.state: got.arrived[0, i].sum() for i, k in enumerate(got.keys)}
    assert parts == {"free": pytest.approx(500), "not legal": pytest.approx(500)}


def test_what_is_licensed_made_at_home_or_rented_is_apart():
    rows = (
        flow(chip="H200-SXM-141GB", start=date(2026, 2, 1), end=date(2026, 3, 1), licensed=True),
        flow(chip="Ascend-910C", kind="domestic"),
        flow(chip="H100-SXM-80GB", kind="rented"),
        flow(chip="H100-SXM-80GB", kind="smuggled"),
    )
    got = supply.draw("CN", ON, 2, 0, rows)
    assert {k.kind: k.state for k in got.keys} == {
        "sale": "licensed", "domestic": "domestic", "rented": "abroad", "smuggled": "not legal",
    }  # fmt: skip
    assert got.total()[0, -1] > 2 * got.total(abroad=True)[0, -1] > 0


def test_the_law_table_is_by_quarter():
    table = supply.law_table(("H20", "H100-SXM-80GB"), "CN", date(2025, 1, 1), date(2025, 9, 30))
    assert list(table["H20"]) == [date(2025, 3, 31), date(2025, 6, 30), date(2025, 9, 30)]
    assert list(table["H20"].values()) == [1.0, pytest.approx(8 / 91), 0.0]
    assert set(table["H100-SXM-80GB"].values()) == {0.0}


def test_sales_in_the_data_were_free_on_their_days():
    got = supply.stock("CN", ON, draws=20)
    assert {k.state for k in got.rows if k.kind == "sale"} == {"free"}
    assert {k.state for k in got.rows if k.kind == "smuggled"} == {"not legal"}


# draws


def test_same_seed_same_bytes():
    one, two, other = (supply.draw("CN", ON, 50, seed) for seed in (4, 4, 5))
    assert one.held.tobytes() == two.held.tobytes()
    assert one.held.tobytes() != other.held.tobytes()


def test_draws_of_a_row_do_not_depend_on_other_rows():
    every = supply.draw("CN", ON, 50, 2, keep=True)
    alone = supply.draw("CN", ON, 50, 2, tuple(f for f in USED if f.chip == "H20"), keep=True)
    i = next(i for i, k in enumerate(every.keys) if k.chip == "H20")
    np.testing.assert_allclose(every.held[:, i, -1], alone.held[:, 0, -1])


def test_twice_the_flows_twice_the_stock():
    twice = tuple(f._replace(units=2 * f.units, low=2 * f.low, high=2 * f.high) for f in USED)
    one, two = supply.stock("CN", ON, 100), supply.stock("CN", ON, 100, flows=twice)
    for key, value in one.rows.items():
        assert two.rows[key] == pytest.approx([2 * v for v in value])
    for workload in WORKLOADS:
        assert two.h100e[workload].p50 == pytest.approx(2 * one.h100e[workload].p50)


@pytest.mark.parametrize("country", ["CN", "US"])
def test_no_stock_is_negative_and_ranges_are_in_order(country):
    got = supply.draw(country, ON, 200, 1)
    assert (got.held >= 0).all() and (got.arrived >= 0).all()
    found = supply.stock(country, ON, 200, 1)
    for value in [*found.rows.values(), *found.kinds.values(), *found.h100e.values()]:
        assert value.p10 <= value.p50 <= value.p90


def test_quantiles_of_a_row_are_those_of_the_source():
    row = next(f for f in USED if f.kind == "smuggled" and f.chip == "H100-SXM-80GB")
    got = supply.units(row, 20000, 0)
    assert np.quantile(got, (0.05, 0.5, 0.95)) == pytest.approx([10000, 140000, 400000], rel=0.06)


def test_parts_sum_to_the_whole():
    got = supply.draw("CN", ON, 20, 0)
    np.testing.assert_allclose(got.total() + got.total(abroad=True), got.held.sum(1))
    one = supply.draw("CN", ON, 20, 0, keep=True)
    np.testing.assert_allclose(one.held[:, :, -1], one.arrived.sum(2))


# out of service


def test_wear_only_takes_and_takes_more_with_age():
    kept, worn = supply.draw("CN", ON, 50, 0, keep=True), supply.draw("CN", ON, 50, 0)
    assert (worn.held <= kept.held * (1 + 1e-12)).all()
    late = supply.draw("CN", date(2036, 6, 30), 50, 0)
    assert (late.total()[:, -1] < 0.5 * kept.total()[:, -1]).mean() > 0.8


def test_half_of_the_chips_are_gone_after_the_median_life():
    got = supply.in_service(np.array([0.0, supply.LIFE_YEARS[0], 100.0]), 4001, 0)
    assert np.median(got, 0) == pytest.approx([1.0, 0.5, 0.0], abs=0.02)


def test_counted_retirements_remove_and_never_below_nothing():
    gone = flow(kind="retired", start=date(2025, 1, 1), end=date(2025, 12, 31), units=300.0, low=300.0, high=300.0)
    plain = supply.draw("CN", ON, 5, 0, (flow(),), keep=True)
    fewer = supply.draw("CN", ON, 5, 0, (flow(), gone), keep=True)
    assert plain.total()[:, -1] - fewer.total()[:, -1] == pytest.approx(np.full(5, 300))
    none = supply.draw("CN", ON, 5, 0, (flow(), gone._replace(units=9e3, low=9e3, high=9e3)), keep=True)
    assert (none.held[:, :, -1] == 0).all()


# what a chip is worth


def test_an_h100_is_worth_one_h100():
    assert worth("H100-SXM-80GB")[:4] == (1.0, 1.0, 1.0, 1.0)


def test_an_h20_decodes_and_does_not_train():
    got = worth("H20")
    assert got.decode > 0.5
    assert got.training < 0.3
    assert got.peak == pytest.approx(148 / 989.5, rel=0.01)


def test_what_the_planner_cannot_reckon_is_a_guess_and_named():
    got = worth("Zhenwu-810E")
    assert got.guessed == ("training", "prefill", "decode")
    assert got.training == got.peak
    assert worth("Enflame-S60") is None
    found = supply.stock("CN", ON, draws=10)
    assert found.not_converted == ("Enflame-S60",)
    assert "Zhenwu-810E" in found.guessed


def test_utilisation_is_a_share():
    for chip in ("H100-SXM-80GB", "A100-SXM-80GB", "Ascend-910C"):
        assert 0.2 < utilisation(chip) < 0.7


# errors and the table


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: supply.draw("ZZ", ON), "no chips of country 'ZZ' are known by 2026-06-30; there are flows of CN, US"),
        (lambda: supply.draw("CN", date(2000, 1, 1)), "no chips of country 'CN' are known by 2000-01-01"),
        (lambda: supply.draw("CN", ON, draws=0), "draws must be at least 1"),
        (lambda: supply.draw("CN", ON, seed=-1), "seed at least 0"),
        (
            lambda: supply.draw("CN", ON, 2).h100e("mining"),
            "workload must be one of peak, training, prefill, decode; got 'mining'",
        ),
        (lambda: worth("H2000"), "no chip named 'H2000'"),
    ],
)
def test_errors_say_what_is_wrong(call, says):
    with pytest.raises(CutlineError, match=says):
        call()


def test_rows_are_sorted_and_what_is_not_used_says_why():
    rows = facts.flows()
    keys = [(f.country, f.chip.lower(), f.start) for f in rows]
    assert keys == sorted(keys)
    assert all(f.note for f in rows)
    assert all(f.chip != facts.ANY for f in USED)
    assert all("guess" in f.note for f in USED if f.source == "guess")


def test_rows_that_are_used_do_not_count_twice():
    """No two rows of one chip, country and kind share a day, but for owners beside each other."""
    for one in USED:
        for two in USED:
            same = one is not two and one[:3] == two[:3] and one.start <= two.end and two.start <= one.end
            assert not same or (one.country == "US" and one.note.split(",")[0] != two.note.split(",")[0]), (one, two)


GOOD = "H20,CN,sale,2024-01-01,2024-12-31,1000,500,2000,1,,,lognormal,no,s,yes,epoch-chip-counts,note"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (",500,", ",5000,", "low must not be above high; got 5000 and 2000"),
        (",500,", ",-5,", "low must be at least 0; got -5"),
        (",500,", ",0,", "low must be above 0 for a lognormal"),
        (",1000,", ",3000,", "units must lie between low and high"),
        (",1000,", ",many,", "units must be a number; got 'many'"),
        ("H20", "H2000", "no chip named 'H2000'"),
        ("H20", "h20", "chip 'h20' is written H20"),
        (",sale,", ",sail,", "kind must be one of .*did you mean sale"),
        ("lognormal", "normal", "distribution must be one of lognormal, exact; got 'normal'"),
        ("lognormal", "exact", "an exact number has neither low nor high"),
        ("2024-12-31", "2023-12-31", "end must not be before start"),
        ("2024-01-01", "2024", "start must be a day such as"),
        (",1,,,", ",0.5,,,", "per_chip must be at least 1"),
        (",1,,,", ",1,0.9,0.8,", "good_low and good_high must rise within 0 to 1"),
        (",s,", ",,", "series is empty"),
        (",yes,epoch-chip-counts,note", ",no,epoch-chip-counts,", "a row that is not used needs a note"),
        ("epoch-chip-counts", "nowhere", "source 'nowhere' is not in sources.csv"),
        (",no,s", ",maybe,s", "licensed must be one of yes, no"),
    ],
)
def test_bad_flows_are_refused_with_their_line(tmp_path, old, new, says):
    path = tmp_path / "flows.csv"
    path.write_text(",".join(facts.FLOW_COLUMNS) + "\n" + GOOD.replace(old, new, 1) + "\n")
    with pytest.raises(DataError, match=f"flows.csv:2: {says}"):
        facts.read_flows(path)


def test_a_missing_median_is_the_middle_of_its_interval(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text(",".join(facts.FLOW_COLUMNS) + "\n" + GOOD.replace(",1000,", ",,", 1) + "\n")
    assert facts.read_flows(path)[0].units == pytest.approx(1000)


def test_quarters_end_on_the_day_asked_for():
    got = supply.quarters(date(2022, 1, 1), ON)
    assert got[-1] == ON and len(got) == 18
    assert all((b + timedelta(1)).day == 1 for b in got)
