"""Training compute: three readings of a run, growth of the largest, lag of largest runs; figures of research against ours."""

from datetime import date

import pytest

from cutline.core.errors import CutlineError, DataError, UnknownName
from cutline.facts import reader, supply
from cutline.outlook import compute

DAY = date(2026, 8, 7)


@pytest.mark.parametrize(
    ("large", "small", "ratio", "within"),
    [
        ("GPT-4", "GPT-2 (1.5B)", 10938, 0.001),
        ("Llama 3.1-405B", "DeepSeek-V3", 11.5, 0.01),
    ],
)
def test_ratios_of_runs_are_those_of_the_press(large, small, ratio, within):
    found = supply.run_named(large).flop / supply.run_named(small).flop
    assert found == pytest.approx(ratio, rel=within)


@pytest.mark.parametrize(
    ("asked", "since", "until", "per_year", "within"),
    [
        ({}, date(2018, 1, 1), date(2024, 5, 31), 4.99, 0.05),
        ({"domain": "Language", "group": "-China"}, date(2020, 1, 1), date(2026, 12, 31), 5.1, 0.05),
        ({"domain": "Language", "group": "China"}, date(2021, 10, 1), date(2026, 12, 31), 2.5, 0.1),
    ],
)
def test_the_largest_runs_grow_as_published(asked, since, until, per_year, within):
    """Oracle 9: 5x a year for all to 2024-05, 5.1x for language outside of China, 2.4x to 2.6x in China."""
    got = compute.growth(compute.known_runs(**asked), since, until)
    assert got.per_year == pytest.approx(per_year, rel=within)
    assert got.low < got.per_year < got.high


def test_deepseek_v3_three_ways():
    """Oracle 20: 6ND of 37 billion active parameters and 14.8 trillion tokens is 3.29e24 flop, as Epoch's 3.3e24."""
    got = compute.training_flop("DeepSeek-V3")
    assert got.published_flop == pytest.approx(3.3e24)
    assert got.six_nd_flop == pytest.approx(3.29e24, rel=0.02)
    assert got.shape_flop == pytest.approx(3.29e24, rel=0.15), "attention over the whole sequence is more than 6ND"
    assert got.hardware_flop == pytest.approx(3.3e24, rel=0.5)
    assert got.disagreement == max(got[1:5]) / min(got[1:5])


def test_hours_and_money_of_deepseek_v3():
    """2.788 million H800-hours, at 2 dollars an hour, are 5.576 million dollars."""
    from cutline.facts import published

    hours = next(float(r["value"]) for r in published.runs() if r["id"] == "deepseek-v3-hours-2")
    assert 2.0 * hours == pytest.approx(5.576e6)


def test_six_nd_agrees_with_the_table():
    """Of a hundred runs, the median of 6ND by the published number is 1 within 2 %."""
    got = [compute.training_flop(r) for r in supply.runs()]
    ratio = sorted(r.six_nd_flop / r.published_flop for r in got if r.six_nd_flop and r.published_flop)
    assert len(ratio) > 90
    assert ratio[len(ratio) // 2] == pytest.approx(1.0, abs=0.02)


def test_the_largest_runs_by_country():
    """Oracle 21, from other code: US 5.0e26 since 2025-07-09; China 2.505e25 since 2024-10-28, before it 7.85e24 and 3.9e24."""
    us = compute.records("US", DAY)[-1]
    assert (us.date, us.flop) == (date(2025, 7, 9), pytest.approx(5.0e26))
    last = [(r.date, r.flop) for r in compute.records("China", DAY)[-3:]]
    assert last == [
        (date(2024, 2, 23), pytest.approx(3.9e24)),
        (date(2024, 9, 19), pytest.approx(7.85e24, rel=1e-3)),
        (date(2024, 10, 28), pytest.approx(2.505e25)),
    ]


@pytest.mark.parametrize(
    ("on", "speculative", "months", "ratio"),
    [
        (date(2025, 1, 9), True, 13.1, 2.0),
        (date(2025, 1, 9), False, 5.6, None),
        (date(2025, 6, 30), True, 18.8, 15),
        (date(2026, 7, 1), True, 30.8, 20),
        (date(2024, 5, 31), True, 14.6, None),
        (date(2024, 5, 31), False, 33, None),
    ],
)
def test_the_lag_of_largest_runs(on, speculative, months, ratio):
    got = compute.compute_lag("US", "China", on, speculative)
    assert got.months == pytest.approx(months, abs=0.15)
    assert ratio is None or got.ratio == pytest.approx(ratio, rel=0.02)


def test_who_leads_has_a_negative_lag():
    one = compute.compute_lag("US", "China", date(2025, 1, 9))
    other = compute.compute_lag("China", "US", date(2025, 1, 9))
    assert other.months == -one.months
    assert other.ratio == pytest.approx(1 / one.ratio)


def test_the_running_top_is_a_brute_force_count():
    rows = compute.known_runs(group="China")
    kept = set(compute.leading(rows, 3))
    for run in rows:
        before = [r.flop for r in rows if (r.date, r.model) < (run.date, run.model)]
        assert (run in kept) == (sum(f > run.flop for f in before) < 3)


def test_hardware_without_a_plan_takes_the_guess(monkeypatch):
    def no_plan(name):
        raise CutlineError("no plan fits")

    monkeypatch.setattr(compute, "utilisation", no_plan)
    got = compute.training_flop(supply.run_named("Llama 3.1-405B"))
    assert (got.utilisation, got.utilisation_from) == (compute.MFU, "guess")
    assert got.hardware_flop == pytest.approx(16384 * 2142 * 3600 * 989.5e12 * compute.MFU, rel=1e-3)


def test_growth_is_the_same_for_the_same_seed():
    rows = compute.known_runs(group="US")
    days = date(2018, 1, 1), date(2024, 1, 1)
    assert compute.growth(rows, *days, seed=3) == compute.growth(rows, *days, seed=3)


def test_a_planted_growth_is_found():
    row = supply.run_named("GPT-4")
    rows = tuple(
        row._replace(model=str(y), date=date(y, 1, 1), flop=1e20 * 4.0 ** (y - 2015)) for y in range(2015, 2025)
    )
    got = compute.growth(rows, date(2015, 1, 1), date(2025, 1, 1), top=1)
    assert got.per_year == pytest.approx(4.0, rel=1e-3)
    assert got.runs == 10


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: compute.training_flop("GPT-44"), "no run named 'GPT-44'"),
        (lambda: compute.known_runs(group="Mars"), "group must be one of"),
        (lambda: compute.leading((), 0), "top must be at least 1; got 0"),
        (lambda: compute.growth((), date(2020, 1, 1), date(2021, 1, 1)), "growth needs three runs"),
        (lambda: compute.compute_lag("US", "China", date(1999, 1, 1)), "no run of US with known compute by 1999-01-01"),
    ],
)
def test_errors_say_what_is_wrong(call, says):
    with pytest.raises(CutlineError, match=says):
        call()


def test_names_come_close():
    with pytest.raises(UnknownName, match="Did you mean"):
        supply.run_named("DeepSeek-V33")


# the table


def test_runs_are_by_date_and_their_hardware_is_known():
    rows = supply.runs()
    assert [r.date for r in rows] == sorted(r.date for r in rows)
    assert rows[0].date >= date(2012, 1, 1)
    assert set(supply.hardware()) <= {h for r in rows for h in r.hardware}
    assert all("CC BY" in reader.sources()[r.source].licence for r in rows)


GOOD = "m,o,US,2024-01-01,1e24,Likely,NVIDIA A100,8,24,open,Language,epoch-notable"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("1e24", "-1", "flop must be at least 0"),
        ("1e24", "nan", "flop must be at least 0; got nan"),
        ("1e24", "many", "flop must be a number"),
        ("Likely", "likly", "confidence must be one of"),
        ("2024-01-01", "2024-13-01", "date must be a day"),
        ("epoch-notable", "nowhere", "source 'nowhere' is not in sources.csv"),
        ("1e24,Likely,NVIDIA A100", ",Likely,", "a run needs flop or hardware"),
        ("US", "Mars", "country_group must be one of"),
    ],
)
def test_bad_runs_are_refused_with_their_line(tmp_path, old, new, says):
    path = tmp_path / "runs.csv"
    path.write_text(",".join(supply.RUN_COLUMNS) + "\n" + GOOD.replace(old, new, 1) + "\n")
    with pytest.raises(DataError, match=f"runs.csv:2: {says}"):
        supply.read_runs(path)
