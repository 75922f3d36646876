"""Scenarios: draws, rules on the past, bridges, presets, every message of the reader, and the test against what came."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutline.core.errors import CutlineError, DataError
from cutline.facts import supply as facts
from cutline.facts.reader import sources
from cutline.outlook import hindcast, scenario_rules, supply
from cutline.outlook import scenario as reader
from cutline.outlook import scenario_run as runner
from cutline.outlook.gap import gap
from cutline.outlook.sample import Ask
from cutline.outlook.scenario_values import Spread, year_of
from cutline.plan.sizing import Law, law, loss

SMALL = {
    "until": "2026-12-31",
    "leader": {"stock": [500000, 1000000], "growth": [1.5, 2.5]},
    "follower": {"stock": [20000, 60000], "flows": {"own": {"part": "Ascend-910C", "units": [100000, 300000]}}},
}
CENTRAL = reader.read("central")
REAL = reader.Rules()
FIRST, LAST = date(2023, 1, 1), date(2026, 12, 31)


def small(**over):
    """The small scenario with some tables over it."""
    return reader.build(reader._merged(SMALL, over), "small.yaml")


def end(found, fan, q="p50"):
    """The last value of a fan."""
    return found["fans"][fan][-1][q]


def asked(name, draws=200):
    """The run of a preset with few draws."""
    return runner.run(reader.read(name), draws)


@pytest.fixture(scope="module")
def central():
    return asked("central")


# draws


def test_same_seed_same_bytes(central):
    again = asked("central")
    assert json.dumps(central) == json.dumps(again)
    assert json.dumps(runner.run(CENTRAL, 200, 5)["fans"]) != json.dumps(central["fans"])


def test_the_order_of_chunks_does_not_matter():
    s, n, seed = small(), 2 * runner.CHUNK + 300, 3
    whole = runner.drawn(s, n, seed)
    for piece in (2, 0, 1):
        at, many = piece * runner.CHUNK, min(runner.CHUNK, n - piece * runner.CHUNK)
        own = runner.piece_seed(seed, piece)
        found = runner.paths(
            s, runner.Draws(many, own), {x.name: runner.past(s, x, many, own) for x in (s.leader, s.follower)}
        )
        for name, values in found.items():
            np.testing.assert_array_equal(values.T, whole[name][:, at : at + many])


def test_draws_do_not_depend_on_what_else_is_drawn():
    """One more flow, of no units, changes nothing; fewer draws are the first of many."""
    none = {"other": {"part": "H20", "units": 0}}
    plain, more = runner.drawn(small(), 300, 1), runner.drawn(small(follower={"flows": none}), 300, 1)
    few = runner.drawn(small(), 100, 1)
    for name, values in plain.items():
        np.testing.assert_array_equal(values, more[name])
        np.testing.assert_allclose(values[:, :100], few[name], rtol=1e-12)


@settings(max_examples=20)
@given(st.floats(0, 1e6), st.floats(0, 1e6), st.sampled_from(["H20", "Ascend-910C", "B200-SXM"]), st.floats(0, 1))
def test_more_chips_never_lower_the_largest_run(few, more, part, mixed):
    low, high = sorted((few, more))
    runs = []
    for units in (low, high):
        s = small(follower={"flows": {"extra": {"part": part, "units": units}}, "mixed": mixed})
        runs.append(runner.drawn(s, 20, 0)["follower_run"])
    assert (runs[1] >= runs[0] * (1 - 1e-12)).all()


def test_the_largest_run_never_falls():
    s = small(follower={"flows": {"own": {"until": "2023-12-31"}}, "stock": 1})
    runs, fleets = (runner.drawn(s, 50, 0)[f"follower_{k}"] for k in ("run", "fleet"))
    assert (np.diff(runs, axis=0) >= 0).all()
    assert (fleets[-1] < fleets[3]).all()


def test_a_range_gives_its_ends_and_shares_stay_within_0_and_1():
    z = np.array([-supply.Z90, 0, supply.Z90])
    np.testing.assert_allclose(Spread(2, 8).at(z), [2, 4, 8])
    np.testing.assert_allclose(Spread(-1, 3).at(z), [-1, 1, 3])
    spill = CENTRAL.levers["spill"].at(np.array([-9.0, 9.0]))
    assert 0 <= spill[0] and spill[1] == 1


def test_a_quarter_ends_where_the_next_one_begins():
    assert year_of(date(2025, 12, 31)) == 2026 and year_of(date(2024, 6, 30)) == 2024 + 182 / 366


# rules


def passing(part, on, **rules):
    """Whether a part needs no licence to China on a day."""
    return bool(scenario_rules.free_days(part, reader.Rules(**rules), "CN", on, on)[0])


def test_the_real_law_on_both_sides_of_a_day():
    assert passing("H20", date(2025, 4, 8)) and not passing("H20", date(2025, 4, 9))
    assert passing("A800-SXM-80GB", date(2023, 10, 22)) and not passing("A800-SXM-80GB", date(2023, 10, 23))


def test_shifted_rules_come_earlier_and_no_shift_changes_nothing():
    assert passing("H20", date(2024, 4, 7), shift_days=365) and not passing("H20", date(2024, 4, 9), shift_days=366)
    plain = scenario_rules.free_days("H20", REAL, "CN", FIRST, LAST)
    assert (plain == scenario_rules.free_days("H20", reader.Rules(shift_days=0), "CN", FIRST, LAST)).all()
    s = reader.build(
        reader._merged(reader._content(reader.FOLDER / "central.yaml", ()), {"rules": {"shift_years": 0}}), "x.yaml"
    )
    assert s.rules == CENTRAL.rules
    assert scenario_rules.history(s, s.follower) == scenario_rules.history(CENTRAL, CENTRAL.follower)


@pytest.mark.parametrize(("line", "free"), [(2368, False), (2368.5, True), (2400, True), (2300, False)])
def test_a_line_is_reached_at_its_value(line, free):
    assert passing("H20", date(2026, 10, 1), line_tpp=line) is free
    assert passing("H100-SXM-80GB", date(2026, 10, 1), line_tpp=line) is False


def test_rules_count_from_their_day():
    since = {"line_tpp": 2400.0, "since": date(2026, 10, 1)}
    assert not passing("H20", date(2026, 9, 30), **since) and passing("H20", date(2026, 10, 1), **since)
    both = scenario_rules.free_days("H20", reader.Rules(**since), "CN", date(2026, 9, 30), date(2026, 10, 1))
    assert both.tolist() == [False, True]


def test_what_was_known_freezes_the_law():
    assert passing("H20", date(2025, 6, 1), known=date(2024, 12, 31))


def test_reforms_and_free_parts_are_asked():
    assert passing("B200-SXM", date(2026, 1, 1), always_free=("B200-SXM",))
    assert passing("B200-SXM", date(2026, 1, 1), off=True)
    assert not passing("B200-SXM", date(2026, 1, 1), reforms=("gain-ai",))


def sale(**changes):
    """A flow of 1,000 H20 in the first 100 days of 2024."""
    return next(f for f in facts.flows() if f.use and f.chip == "H20")._replace(
        start=date(2024, 1, 1), end=date(2024, 4, 9), units=1000.0, low=500.0, high=2000.0, **changes
    )


def test_a_sale_loses_the_days_on_which_it_would_have_needed_a_licence():
    """Rules a year and 50 days earlier stop H20 on 2024-02-19."""
    left = scenario_rules.counterfactual(sale(), reader.Rules(shift_days=366 + 49))
    assert [(f.start, f.end, f.units, f.low, f.high) for f in left] == [
        (date(2024, 1, 1), date(2024, 2, 18), 490, 245, 980)
    ]
    assert scenario_rules.counterfactual(sale(), reader.Rules(line_tpp=1000.0)) == ()
    assert scenario_rules.counterfactual(sale(), reader.Rules(off=True)) == (sale(),)


@pytest.mark.parametrize(
    "changes", [{"kind": "smuggled"}, {"kind": "rented"}, {"kind": "domestic"}, {"licensed": True}]
)
def test_other_flows_are_untouched(changes):
    assert scenario_rules.counterfactual(sale(**changes), reader.Rules(line_tpp=0.0)) == (sale(**changes),)


def test_without_rules_the_follower_never_has_fewer_chips():
    content = reader._content(reader.FOLDER / "central.yaml", ())
    off = reader.build(reader._merged(content, {"rules": {"off": True}}), "off.yaml")
    plain, free = runner.drawn(CENTRAL, 100, 0), runner.drawn(off, 100, 0)
    assert (free["follower_fleet"] >= plain["follower_fleet"] * (1 - 1e-12)).all()
    np.testing.assert_array_equal(free["leader_fleet"], plain["leader_fleet"])


# fleets and runs


def test_the_history_is_the_stock_of_the_supply_room(central):
    for country, fan, day in (("US", "leader_fleet", date(2025, 12, 31)), ("CN", "follower_fleet", date(2025, 3, 31))):
        want = supply.stock(country, day, 500).h100e["training"].p50
        assert runner.at_day(central["fans"][fan], day)["p50"] == pytest.approx(want, rel=0.05)


def test_a_fleet_of_one_kind_does_not_feel_mixed_and_two_kinds_do():
    one = [runner.drawn(small(follower={"flows": {"own": None}, "mixed": m}), 20, 0)["follower_run"] for m in (0, 1)]
    np.testing.assert_array_equal(*one)
    two = [runner.drawn(small(follower={"mixed": m}), 20, 0)["follower_run"] for m in (0, 0.5, 1)]
    assert (two[0] < two[1]).all() and (two[1] < two[2]).all()
    d, total, largest = runner.Draws(1, 0), np.array([[10.0]]), np.array([[6.0]])
    side = small(follower={"mixed": 0}).follower
    assert runner.largest_run(side, d, total, largest) == runner.largest_run(side, d, largest, largest)


def test_the_leader_grows_after_its_history():
    s = small(leader={"stock": 1000, "growth": 2})
    rows = runner.drawn(s, 3, 0)["leader_fleet"]
    np.testing.assert_allclose(rows[3::4, 0], [2000, 4000, 8000, 16000], rtol=2e-3)


# bridges


def test_months_of_the_worked_examples():
    ten = np.array(10.0)
    for growth, months in ((4.5, 10.6), (5.0, 10.2)):
        assert float(runner.months_by_compute(ten, np.array(growth), np.array(3.0))) == pytest.approx(months, abs=0.05)
    inverse = float(runner.months_by_compute(np.array(4.9), np.array(5.0), np.array(3.0)))
    assert inverse == pytest.approx(7.0, abs=0.05)
    assert float(runner.months_by_compute(np.array(1.0), np.array(4.5), np.array(3.0))) == 0


def test_a_head_start_shortens_the_index_bridge():
    args = [np.array(x) for x in (10.0, 8.0, 11.2)]
    plain, ahead = (float(runner.months_by_index(*args, np.array(h), np.array(4.5))) for h in (0.0, 8.0))
    assert plain == pytest.approx(12 * 8 / (8 * np.log10(4.5) + 11.2))
    assert ahead == 0


@given(st.floats(1, 10), st.floats(0, 3), st.floats(0.05, 1))
def test_the_handicap_falls_with_what_one_makes_and_what_one_gets(progress, delay, own):
    def worth(own, spill):
        return float(runner.handicap(*(np.array(x) for x in (own, spill, progress, delay))))

    assert worth(1.0, 0.0) == worth(1.0, 1.0) == pytest.approx(1)
    assert worth(0.0, 1.0) == pytest.approx(progress**delay)
    assert worth(own, 0.0) == pytest.approx(1 / own)
    assert worth(own, 1.0) <= worth(own, 0.5) + 1e-9 and worth(own, 0.5) <= worth(own, 0.0) + 1e-9


def test_less_diffusion_never_shortens_the_lag():
    months = [end(runner.run(small(levers={"spill": s}), 200), "lag_compute") for s in (0.0, 0.5, 1.0)]
    assert months == sorted(months, reverse=True) and months[0] > months[2] + 0.5


def test_the_bridge_by_the_index_is_the_regression_of_its_vintage():
    """The shipped ranges are those of the engine's own regression, rounded."""
    fit = hindcast.index_bridge(date.max)
    for key, x in fit.items():
        assert reader.BRIDGE[key]["range"] == pytest.approx([x.low, x.high], abs=0.06)


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"bridge": {"frontier_growth": 0.1}}, "bridge.frontier_growth must be above 1; got 0.1"),
        ({"bridge": {"per_decade": [-1, 4]}}, "bridge.per_decade must be above 0"),
        ({"follower": {"days": 1e9}}, "follower.days must be at most 3653"),
        ({"leader": {"growth": 1e9}}, "leader.growth must be a factor of at most 20"),
        ({"follower": {"flows": {"own": {"part": "Enflame-S60", "units": 5e6}}}}, "has no 16-bit rate"),
    ],
)
def test_what_would_count_nothing_or_run_backwards(over, says):
    with pytest.raises(DataError, match=says):
        small(**over)


def test_a_key_that_stands_twice(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("base: central\nuntil: 2027\nuntil: 2029\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"twice\.yaml:1: key 'until' stands twice"):
        reader.read(str(path))


def test_halving_times_are_growth():
    s = small(levers={"halving_months": [5, 14]})
    assert (s.levers["algorithms"].low, s.levers["algorithms"].high) == pytest.approx((2 ** (12 / 14), 2 ** (12 / 5)))
    assert small(levers={"halving_months": 8}).levers["algorithms"].low == pytest.approx(2.83, abs=0.005)


def test_the_scaling_laws_of_the_house():
    """gap.md's oracle: 1.9366 by Hoffmann with rounded parameters, 1.9739 by the replication with the long ones."""
    assert loss(law("besiroglu"), 70e9, 1.4e12) == pytest.approx(1.9739, abs=5e-5)
    assert loss(Law("", 1.69, 406.4, 410.7, 0.34, 0.28, "", ""), 70e9, 1.4e12) == pytest.approx(1.9366, abs=5e-5)
    assert small(scaling="hoffmann").scaling == "chinchilla"


def test_models_are_the_best_for_their_run(central):
    for side in ("leader", "follower"):
        for row in central["models"][side].values():
            assert 6 * row["parameters"] * row["tokens"] == pytest.approx(row["flop"])
            other = loss(law(), row["parameters"] * 1.3, row["tokens"] / 1.3)
            assert row["loss"] < other
    losses = [central["models"][s]["p50"]["loss"] for s in ("leader", "follower")]
    assert losses[0] < losses[1]


# what a run hands on


def test_a_run_is_plain_and_complete(central):
    json.dumps(central, allow_nan=False)
    assert set(central["fans"]) == set(runner.FANS)
    for rows in central["fans"].values():
        assert [r["day"] for r in rows][:: len(rows) - 1] == ["2023-03-31", "2030-12-31"]
        for r in rows:
            assert r["p10"] <= r["p25"] <= r["p50"] <= r["p75"] <= r["p90"]
    assert set(central["sources"]) <= set(sources())
    assert central["range_months"][0] < central["range_months"][1]
    assert central["passes"] == {"h20": [], "mi308": []}
    assert central["history"] == {"leader": "2025-12-31", "follower": "2026-06-30"}


def test_the_tornado_moves_one_input_at_a_time(central):
    rows = {r["input"]: r for r in central["tornado"]}
    widths = [max(abs(r[k]["high"] - r[k]["low"]) for k in runner.LAGS) for r in central["tornado"]]
    assert widths == sorted(widths, reverse=True)
    assert rows["leader.share"]["lag_compute"]["high"] > rows["leader.share"]["lag_compute"]["low"]
    assert rows["follower.history"]["lag_index"]["high"] < rows["follower.history"]["lag_index"]["low"]
    assert rows["levers.spill"]["lag_index"]["high"] == rows["levers.spill"]["lag_index"]["low"]
    assert not any(name.endswith("h20.units") for name in rows)


def test_an_input_at_its_end_is_where_the_formula_puts_it():
    s = small()
    rows = {r["input"]: r["lag_compute"] for r in runner.tornado(s, 0)}
    wide = np.log(s.leader.share.high / s.leader.share.low) * 2 * runner.Z80 / (2 * supply.Z90)
    progress = np.sqrt(s.levers["algorithms"].low * s.levers["algorithms"].high) * np.sqrt(20)
    assert rows["leader.share"]["high"] - rows["leader.share"]["low"] == pytest.approx(12 * wide / np.log(progress))


# presets


@pytest.mark.parametrize("name", reader.presets())
def test_presets_run_and_say_where_numbers_are_from(name):
    s = reader.read(name)
    found = runner.run(s, 100)
    assert found["name"] == name and found["about"]
    for key, x in s.inputs().items():
        assert x.source or x.low == x.high, key
    assert np.isfinite(found["range_months"]).all()


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("cautious", False),
        ("expansive", True),
        ("rule-a-year-earlier", False),
        ("h20-never-stopped", True),
        ("line-tpp-2400", True),
    ],
)
def test_what_ifs_differ_from_central_in_their_direction(name, more, central):
    other = asked(name)
    for fan, up in (
        ("follower_fleet", more),
        ("follower_run", more),
        ("lag_compute", not more),
        ("lag_index", not more),
    ):
        assert (end(other, fan) > end(central, fan)) is up, fan
    assert end(other, "leader_run") == end(central, "leader_run")


def test_a_base_is_merged_key_by_key():
    s = reader.read("cautious")
    flows = {f.name: f for f in s.follower.flows}
    assert "h200" not in flows and flows["ascend"].part == "Ascend-910C"
    assert flows["ascend"].units.high < {f.name: f for f in CENTRAL.follower.flows}["ascend"].units.high
    assert s.leader == CENTRAL.leader
    assert s.name == "cautious" and s.about != CENTRAL.about


def test_presets_ship():
    """hatchling takes every file below the package."""
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert 'packages = ["src/cutline"]' in text and "exclude" not in text
    assert {"central", "cautious", "expansive", reader.BACKTEST} <= set(reader.presets())


# what is refused


def written(tmp_path, text, name="own.yaml"):
    """The path of a file with a text."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def problem(work, *args, kind=DataError):
    """The message of what is refused."""
    with pytest.raises(kind) as error:
        work(*args)
    return str(error.value)


BAD = [
    ({"untill": 2030}, "own.yaml: the file: key 'untill' is not one of name"),
    ({"untill": 2030}, "did you mean until?"),
    ({"leader": None}, "own.yaml: key 'leader' is missing; give it a country (US or CN) or a stock"),
    ({"leader": 3}, "leader must be a table with keys country"),
    ({"leader": {"growht": 2}}, "leader: key 'growht' is not one of country, stock, growth, flows, share, days, mfu, mixed; did you mean growth?"),
    ({"leader": {"stock": None}}, "leader needs either a country (US or CN) or a stock"),
    ({"leader": {"country": "US"}}, "leader needs either a country (US or CN) or a stock"),
    ({"leader": {"stock": None, "country": "XX"}}, "leader.country must be one of CN, US; got 'XX'"),
    ({"leader": {"flows": {"a": {"part": "H20", "units": 1}}}}, "leader: growth is of the whole fleet, so flows would count twice"),
    ({"leader": {"growth": 0}}, "leader.growth must be above 0; got 0"),
    ({"leader": {"share": [0.5, 1.5]}}, "leader.share must lie from 0 to 1; got [0.5, 1.5]"),
    ({"leader": {"days": [2, 1]}}, "leader.days: a range goes from low to high; got [2, 1]"),
    ({"leader": {"days": "many"}}, "leader.days must be a number or a range such as [0.5, 2]; got 'many'"),
    ({"leader": {"days": [1, 2, 3]}}, "leader.days must be a number or a range such as [0.5, 2]; got [1, 2, 3]"),
    ({"leader": {"days": 10**400}}, "leader.days must be a number or a range such as [0.5, 2]; got 1000"),
    ({"rules": {"reforms": [["gain-ai"]]}}, "rules.reforms: '['gain-ai']' is not one of"),
    ({"leader": {"days": float("nan")}}, "leader.days must be a number or a range such as [0.5, 2]; got nan"),
    ({"leader": {"days": {"rang": [1, 2]}}}, "leader.days: key 'rang' is not one of range, source, note; did you mean range?"),
    ({"leader": {"days": {"range": 90, "source": "rumour"}}}, "leader.days: source 'rumour' is not in sources.csv; add it there or write guess"),
    ({"follower": {"flows": [1]}}, "follower.flows must be a table of flows by name; got [1]"),
    ({"follower": {"flows": {"own": {"part": None}}}}, "follower.flows.own: key 'part' is missing"),
    ({"follower": {"flows": {"own": {"part": "Ascend-910X"}}}}, "follower.flows.own.part: no chip named 'Ascend-910X'. Did you mean"),
    ({"follower": {"flows": {"own": {"units": [-1, 1]}}}}, "follower.flows.own.units must be at least 0; got [-1, 1]"),
    ({"follower": {"flows": {"own": {"legal": "sure"}}}}, "follower.flows.own.legal must be true or false; got 'sure'"),
    ({"follower": {"flows": {"own": {"since": 2025, "until": 2024}}}}, "follower.flows.own: until must not be before since; got 2024-12-31 and 2025-01-01"),
    ({"follower": {"flows": {"own": {"since": 1999}}}}, "follower.flows.own.since must be a year or a day such as 2027-06-30; got 1999"),
    ({"until": "soon"}, "until must be a year or a day such as 2027-06-30; got 'soon'"),
    ({"until": "2022-06-30"}, "until must lie from 2023-01-01 to 2060-12-31; got 2022-06-30"),
    ({"until": "2025-06-30", "leader": {"stock": None, "country": "US"}}, "until must be after 2025-12-31, the end of leader's history; got 2025-06-30"),
    ({"draws": 99}, "draws must be a whole number from 100 to 1,000,000; got 99"),
    ({"seed": -1}, "seed must be a whole number from 0 to 4,294,967,295; got -1"),
    ({"known_by": "2026-12-31"}, "known_by must not be after 2026-06-30, the end of what is counted; got 2026-12-31"),
    ({"scaling": "kaplan"}, "scaling must be one of besiroglu, chinchilla, hoffmann; got 'kaplan'"),
    ({"rules": {"layer": "rumoured"}}, "rules.layer must be one of"),
    ({"rules": {"reforms": ["gain"]}}, "rules.reforms: 'gain' is not one of"),
    ({"rules": {"reforms": ["gain"]}}, "did you mean gain-ai?"),
    ({"rules": {"reforms": "gain-ai"}}, "rules.reforms must be a list; got 'gain-ai'"),
    ({"rules": {"always_free": ["H21"]}}, "rules.always_free: no chip named 'H21'"),
    ({"rules": {"shift_years": 20}}, "rules.shift_years must be a number from -10 to 10; got 20"),
    ({"rules": {"line_tpp": "high"}}, "rules.line_tpp must be a number of at least 0; got 'high'"),
    ({"rules": {"off": 1}}, "rules.off must be true or false; got 1"),
    ({"rules": {"line": 2}}, "rules: key 'line' is not one of layer, reforms, shift_years, always_free, line_tpp, off, since; did you mean line_tpp?"),
    ({"levers": {"algorithms": 3, "halving_months": 8}}, "levers: algorithms and halving_months say the same; take one of them out"),
    ({"levers": {"algorithms": 0.5}}, "levers.algorithms must be at least 1, no progress; got 0.5"),
    ({"levers": {"spill": 1.2}}, "levers.spill must lie from 0 to 1; got [1.2, 1.2]"),
    ({"levers": {"delay_years": -1}}, "levers.delay_years must be at least 0; got [-1, -1]"),
    ({"levers": {"software": 0}}, "levers.software must be above 0; got 0"),
    ({"bridge": {"per_decad": 8}}, "bridge: key 'per_decad' is not one of per_decade"),
]  # fmt: skip


@pytest.mark.parametrize(("over", "message"), BAD)
def test_bad_values_are_refused(over, message):
    assert message in problem(reader.build, reader._merged(SMALL, over), "own.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leader: {\n", "own.yaml:2: not readable as YAML: "),
        ("leader: 2026-13-40", "own.yaml: not readable as YAML: "),
        ("- a\n- b\n", "own.yaml: a scenario is a table with keys name, about, base"),
        ("", "own.yaml: a scenario is a table with keys name, about, base"),
        ("base: centrall", "own.yaml: base 'centrall' is neither a file beside it nor one of as-of-2024, "),
        ("base: own.yaml", "own.yaml: base 'own.yaml' leads back to itself; take 'base' out of one of the files"),
        ("base: central\nleader: {days: .nan}", "own.yaml: leader.days must be a number or a range"),
        ("base: central\nknown_by: 2022-06-30", "own.yaml: known_by must lie from 2023-01-01"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, message):
    assert message in problem(reader.read, written(tmp_path, text))


def test_two_files_must_not_be_the_base_of_each_other(tmp_path):
    written(tmp_path, "base: b.yaml", "a.yaml")
    written(tmp_path, "base: a.yaml", "b.yaml")
    assert "leads back to itself" in problem(reader.read, tmp_path / "a.yaml")


def test_an_unreadable_file_and_an_unknown_name_are_refused(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_bytes(b"\xff\xfe\xfa")
    assert "not readable as YAML" in problem(reader.read, path)
    said = problem(reader.read, "centrl", kind=CutlineError)
    assert said.startswith("no scenario 'centrl': no file, and none of as-of-2024, cautious, central")
    assert said.endswith("did you mean central?")
    assert "no file" in problem(reader.read, tmp_path / "none.yaml", kind=CutlineError)


def test_words_and_numbers_of_a_file(tmp_path):
    """`off` is a key, and 1e6 a number."""
    text = "base: central\nrules: {off: true}\nfollower: {flows: {ascend: {units: [1e5, 2e5]}}}\n"
    s = reader.read(written(tmp_path, text))
    assert s.rules.off and s.name == "own"
    assert next(f for f in s.follower.flows if f.name == "ascend").units.high == 2e5


@pytest.mark.parametrize("draws", [99, 1_000_001])
def test_draws_of_a_run_are_bounded(draws):
    assert problem(runner.run, small(), draws, kind=CutlineError) == f"draws must be from 100 to 1,000,000; got {draws}"


def test_draws_without_bound_are_refused(monkeypatch):
    real = runner.drawn
    monkeypatch.setattr(runner, "drawn", lambda *rest: real(*rest) | {"leader_fleet": np.full((16, 100), np.inf)})
    said = problem(runner.run, small(), 100, kind=CutlineError)
    assert said == "leader_fleet has no finite value in some draws; narrow the ranges of growth, units and stock"


def test_a_seed_is_not_negative_and_a_fan_has_a_first_day(central):
    assert problem(runner.run, small(), 100, -1, kind=CutlineError) == "seed must be at least 0; got -1"
    said = problem(runner.at_day, central["fans"]["ratio"], date(2022, 1, 1), kind=CutlineError)
    assert said == "the scenario begins after 2022-01-01"


# what came


def test_published_runs_are_the_shares_that_presets_take():
    found = hindcast.shares(draws=300)
    assert {s.country for s in found} == {"US", "CN"}
    for s in found:
        side = CENTRAL.leader if s.country == "US" else CENTRAL.follower
        assert side.share.low <= s.p10 and s.p90 <= side.share.high
        assert s.day <= hindcast.KNOWN


def test_the_index_bridge_of_2024_is_fitted_on_models_of_its_time():
    fit = hindcast.index_bridge()
    s = reader.read(reader.BACKTEST)
    for key, x in fit.items():
        assert (s.bridge[key].low, s.bridge[key].high) == pytest.approx((x.low, x.high), abs=0.06)


def test_the_measured_line_starts_at_the_range_over_rules():
    """The files hold what `cutline gap china us` says on their days."""
    for name, day in (("central", None), (reader.BACKTEST, "2024-12-31")):
        s = reader.read(name)
        low, high = gap(Ask("china", "us", on=day))["range_months"]
        assert (s.bridge["measured"].low, s.bridge["measured"].high) == pytest.approx((low, high), abs=0.05)
        found = runner.drawn(s, 400, 0)
        at = next(i for i, e in enumerate(runner.quarters(s)) if e >= s.measured_on)
        assert np.quantile(found["lag_measured"][at], (0.05, 0.95)) == pytest.approx((low, high), rel=0.1)


def test_the_measured_line_takes_the_change_of_the_bridges():
    for weight, fan in ((0.0, "lag_index"), (1.0, "lag_compute")):
        s = small(bridge={"measured": 7, "measured_on": "2024-12-31", "blend": weight})
        found = runner.drawn(s, 100, 3)
        at = next(i for i, e in enumerate(runner.quarters(s)) if e >= s.measured_on)
        assert found["lag_measured"] == pytest.approx(7 + found[fan] - found[fan][at])
    assert "lag_measured" not in runner.run(small(), 100)["fans"]


@pytest.mark.parametrize(
    ("bridge", "says"),
    [
        ({"measured": [4, 8]}, "measured and measured_on go together"),
        ({"measured_on": "2024-12-31"}, "measured and measured_on go together"),
        ({"measured": 5, "measured_on": "2022-01-01"}, "must lie from 2023-01-01"),
        ({"measured": 5, "measured_on": "2027-01-01"}, "at most 2026-12-31"),
        ({"blend": [0, 2]}, "blend"),
    ],
)
def test_a_measured_lag_that_is_none(bridge, says):
    with pytest.raises(DataError, match=says):
        small(bridge=bridge)


def test_the_scenario_of_2024_knows_nothing_later():
    s = reader.read(reader.BACKTEST)
    assert s.rules.known == s.known_by == hindcast.KNOWN == s.leader.history == s.follower.history
    for side in (s.leader, s.follower):
        assert max(f.end for f in scenario_rules.history(s, side)) <= hindcast.KNOWN


def test_the_backtest_counts_what_is_inside_by_bridge():
    found = hindcast.backtest(300)
    rows = found["rows"]
    assert len(rows) == 14 and {r["bridge"] for r in rows} == {"", "lag_compute", "lag_index", "lag_measured"}
    censored = [r for r in rows if r["inside"] is None]
    assert [(r["what"], r["came"]) for r in censored] == [("largest run of CN", None)]
    for name, of in (("supply", 4), ("lag_compute", 3), ("lag_index", 3), ("lag_measured", 3)):
        mine = [r for r in rows if r["bridge"] == hindcast.BRIDGES[name] and r["inside"] is not None]
        assert found["inside"][name]["of"] == of == len(mine)
        assert found["inside"][name]["inside"] == sum(r["low"] <= r["came"] <= r["high"] for r in mine)
