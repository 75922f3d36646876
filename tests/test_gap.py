"""The gap between groups: published figures through the catalogue, switches, thin data, files of others, bad input, command and Python alike."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cutline.core.errors import CutlineError, DataError
from cutline.facts import boards, notable, outlook, supply
from cutline.outlook import ability, entries
from cutline.outlook.gap import TOLERANCES, gap, history
from cutline.outlook.sample import INTERVALS, RULES, Ask

SHARED = Path(__file__).parents[2] / "shared" / "data"
beside = pytest.mark.skipif(not SHARED.exists(), reason="the measured tables are not beside the checkout")
CHINA = Ask("china", "us")


def row(answer, rule, tolerance=None, sure=None):
    (found,) = [
        r for r in answer["estimates"] if (r["rule"], r["tolerance"], r["confidence"]) == (rule, tolerance, sure)
    ]
    return found


@pytest.fixture(scope="module")
def china():
    return gap(CHINA)


# published figures: oracles 7, 10 to 14 and 22 of the research note


def test_china_behind_the_us(china):
    assert row(china, "H1", 0.0)["months"] == pytest.approx(7.43, abs=0.05)
    assert row(china, "H1", 1.0)["months"] == pytest.approx(6.2, abs=0.05)
    assert row(china, "H2", 0.0)["months"] == pytest.approx(7.01, abs=0.05)
    h3 = row(china, "H3", 0.0)
    assert (h3["matched"], h3["censored"]) == (17, 6)
    assert (h3["matched_months"], h3["months"]) == pytest.approx((7.2, 8.2), abs=0.05)
    assert row(china, "V")["points"] == pytest.approx(9.0, abs=0.05)
    assert china["today"]["months"] == pytest.approx(6.9, abs=0.05)
    assert china["today"]["points"] == pytest.approx(9.7, abs=0.05)
    assert (china["vintage"], china["on"]) == ("2026-10-01", "2026-10-01")


def test_the_range_over_definitions_holds_every_estimate(china):
    low, high = china["range_months"]
    months = [r["months"] for r in china["estimates"]]
    assert (low, high) == (min(months), max(months))
    assert 3 < low < 7 < high < 10
    for r in china["estimates"]:
        assert r["rule"] == "H4" or r["low"] <= r["months"] <= r["high"]


def test_records_of_both_countries(china):
    us, cn = ([r for r in side["records"] if r["date"] >= "2023-03-14"] for side in china["groups"])
    assert len(us) == 22  # GPT-4 to 2026-09-28
    assert [r["model"] for r in cn[-5:]] == ["Kimi K2.5", "GLM-5.1", "Kimi K2.6", "Qwen3.7-Max", "Kimi K3"]
    assert china["open"][0]["model"] == "GPT-5.4 Pro" and len(china["open"]) == 6


def test_the_published_mean_of_january_2026_lies_between_two_tolerances():
    """Epoch AI printed 7 months, 4 to 14, for the vintage of the turn of the year."""
    answer = gap(replace(CHINA, vintage="2025-12-19", rules=("H1",)))
    assert row(answer, "H1", 1.0)["months"] < 7.0 < row(answer, "H1", 0.0)["months"]
    assert answer["range_months"][0] > 3.5


def test_open_behind_closed():
    answer = gap(Ask("open", "closed", vintage="2025-12-19", on="2025-10-30"))
    assert 3.0 <= row(answer, "H2", 1.0)["months"] <= 4.4  # printed: 3.5 (1.1 to 5.3)
    assert row(answer, "V")["points"] == pytest.approx(7.0, abs=1.5)
    later = gap(Ask("open", "closed", vintage="2026-08-11", on="2026-05-28", since="2026-01-01"))
    assert 8.0 <= row(later, "V")["points"] <= 10.5  # printed: 8 (7 to 11)
    assert 4.0 <= row(later, "H4", sure=0.95)["months"] <= 6.5


# switches


def test_the_rule_of_dates_moves_the_day_of_o3():
    months = {
        d: gap(replace(CHINA, on="2025-12-15", dates=d, tolerance=0.0, rules=()))["today"]["months"]
        for d in entries.DATE_RULES
    }
    assert months["announced"] == pytest.approx(11.8, abs=0.05)
    assert months["available"] == months["vintage"] == pytest.approx(8.0, abs=0.05)


def test_a_wider_tolerance_never_lengthens_the_lag():
    answer = gap(replace(CHINA, rules=("H1", "H3")))
    for rule in ("H1", "H3"):
        months = [row(answer, rule, t)["months"] for t in TOLERANCES["eci"]]
        assert months == sorted(months, reverse=True)


def test_without_one_maker(china):
    found = {r["maker"]: r["months"] for r in china["without"]}
    asked = gap(replace(CHINA, without=("OpenAI",), rules=("H1",)))
    assert found["OpenAI"] == pytest.approx(row(asked, "H1", 1.0)["months"])
    assert found["OpenAI"] < china["without"][0]["base"] - 2 and china["without"][0]["maker"] == "OpenAI"
    assert max(m for r, m in found.items() if r in ("Alibaba", "Moonshot", "DeepSeek")) == found["Alibaba"]


def test_as_many_models_on_both_sides_shorten_the_lag(china):
    size = china["size_corrected"]
    assert size["models"] == [53, 45] and size["months"] < row(china, "H1", 1.0)["months"]


def test_benchmarks_that_laboratories_optimise_for_show_a_smaller_gap():
    points = {
        b: row(gap(replace(CHINA, since="2025-01-01", benchmarks=b, rules=("V",), draws=20)), "V")["points"]
        for b in ("optimized", "unoptimized")
    }
    assert points["unoptimized"] > 1.3 * points["optimized"]


def test_refitted_intervals_are_wider_by_rows_than_by_models():
    width = {}
    for kind in INTERVALS:
        r = row(
            gap(replace(CHINA, vintage="2026-08-11", intervals=kind, tolerance=0.0, rules=("H1",), draws=150)),
            "H1",
            0.0,
        )
        assert r["months"] == pytest.approx(8.25, abs=0.1)
        width[kind] = r["high"] - r["low"]
    assert width["rows"] > width["models"]


def test_the_same_seed_gives_the_same_bytes(china):
    assert json.dumps(gap(CHINA)) == json.dumps(china)
    assert json.dumps(gap(replace(CHINA, seed=2))) != json.dumps(china)


def test_a_group_that_leads_is_not_behind():
    answer = gap(Ask("china", "us-open", rules=("H2", "V")))
    assert row(answer, "H2", 0.0)["months"] < -2 and row(answer, "V")["last_points"] == pytest.approx(-7.5, abs=0.1)


def test_two_lines_on_one_axis():
    rows = history(CHINA)
    assert rows[-1]["months"] == pytest.approx(6.5, abs=0.5)
    assert rows[-1]["compute_months"] > 24 > 10 > rows[-1]["months"]
    assert [r["date"] for r in rows] == sorted(r["date"] for r in rows)


def test_the_compute_lag_stands_beside(china):
    run = gap(replace(CHINA, on="2026-07-01", rules=()))["compute"]
    assert (run["months"], run["ratio"]) == pytest.approx((30.8, 20.0), abs=0.05)
    assert gap(Ask("open", "closed", rules=()))["compute"] is None
    assert china["compute"]["leader"] == "Grok 4"
    us, cn = china["compute"]["growth"]
    assert (us["group"], cn["group"]) == ("us", "china")
    assert 2.2 <= cn["per_year"] <= 3.3 < us["per_year"] and cn["low"] < cn["per_year"] < cn["high"]


# chips


def test_models_on_restricted_chips_are_too_few_and_said_so():
    answer = gap(Ask("restricted", "unrestricted"))
    assert answer["range_months"] is None
    assert all(r["months"] is None and "restricted has 4 scored models" in r["why"] for r in answer["estimates"])
    (side,) = [s for s in gap(CHINA)["groups"] if s["name"] == "china"]
    assert side["chips"] == {"restricted": 4, "other": 1, "unknown": 40}


def test_runs_on_restricted_chips_by_compute():
    answer = gap(Ask("china-restricted", "unrestricted", yardstick="compute", since="2024-01-01", rules=("H1",)))
    assert row(answer, "H1", 0.0)["months"] > 12
    assert answer["groups"][1]["models"] >= 20


def test_hardware_in_words():
    assert entries.chips_of(["Huawei Ascend 910C"]) == entries.chips_of(["NVIDIA A800 SXM"]) == "restricted"
    assert entries.chips_of(["Google TPU v4"]) == "other"
    assert entries.chips_of([]) == "unknown"


# thin data


def test_before_there_are_five_models():
    answer = gap(replace(CHINA, on="2023-05-30"))
    assert answer["range_months"] is None and "a lag needs 5" in answer["estimates"][0]["why"]
    json.dumps(answer, allow_nan=False)


def test_few_matches_do_not_make_the_range():
    answer = gap(replace(CHINA, yardstick="compute", rules=("H1", "H3")))
    h3 = row(answer, "H3", 0.0)
    assert h3["matched"] < 5 and "too few" in h3["why"] and answer["range_months"][1] < h3["months"]
    json.dumps(answer, allow_nan=False)


# files of others


@beside
def test_a_board_of_arena():
    """First day on any board; 2026-08-22: 5.1 months on the last day, 5.6 by level, 19 points."""
    answer = gap(replace(CHINA, yardstick="arena", board=SHARED / "arena_elo_history.csv", tolerance=0.0))
    assert answer["vintage"] == "2026-08-22"
    assert row(answer, "H2", 0.0)["months"] == pytest.approx(5.6, abs=0.1)
    assert answer["today"]["months"] == pytest.approx(5.1, abs=0.05)
    assert answer["today"]["points"] == pytest.approx(19, abs=0.6)
    early = gap(replace(CHINA, yardstick="arena", board=SHARED / "arena_elo_history.csv", on="2025-02-11", rules=()))
    assert early["today"]["points"] == pytest.approx(22.6, abs=0.5)


@beside
def test_epochs_table_of_notable_models():
    read = {r.model: r for r in notable.read_notable(SHARED / "epoch_notable_models.csv")}
    for r in supply.runs():
        if r.model in ("GPT-4", "DeepSeek-V3", "Llama 3.1-405B"):
            assert (read[r.model].flop, read[r.model].date) == (r.flop, r.date)
    answer = gap(replace(CHINA, yardstick="compute", runs=SHARED / "epoch_notable_models.csv", rules=("H1",)))
    assert row(answer, "H1", 0.0)["months"] > 12


@beside
def test_an_index_of_ones_own(tmp_path):
    lines = (SHARED / "eci_scores.csv").read_text(encoding="utf-8").splitlines()
    own = tmp_path / "own.csv"
    own.write_text("\n".join([lines[0], *(r for r in lines if r.startswith("2026-10-01"))]) + "\n", encoding="utf-8")
    assert row(gap(replace(CHINA, index=own, rules=("H1",))), "H1", 0.0)["months"] == pytest.approx(7.43, abs=0.05)


BOARD = "date,model,rating,low,high,org\n2026-01-01,A,1500,1490,1510,OpenAI\n"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("rating", "points"), "no column for the rating"),
        (("1500,1490", "many,1490"), "board.csv:2: rating 'many' is not a number"),
        (("1490", "1501"), "does not hold 1500"),
        (("2026-01-01", "01.01.2026"), "is not YYYY-MM-DD"),
        (("A,", ","), "the model is blank"),
    ],
)
def test_a_board_that_is_none(tmp_path, change, says):
    path = tmp_path / "board.csv"
    path.write_text(BOARD.replace(*change), encoding="utf-8")
    with pytest.raises(DataError, match=says):
        boards.read_board(path)


RUNS = "Model,Publication date,Training compute (FLOP),Country (of organization),Confidence\nA,2026-01-01,1e25,China,Likely\n"


def test_a_table_of_runs_as_it_stands_online(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(RUNS, encoding="utf-8")
    (run,) = notable.read_notable(path)
    assert (run.model, run.flop, run.country_group, run.confidence) == ("A", 1e25, "China", "Likely")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("Publication date", "day"), "no column for the date"),
        (("1e25", "large"), "flop 'large' is not a number"),
        (("2026-01-01", "2026"), "is not YYYY-MM-DD"),
        (("Likely", "Maybe"), "confidence 'Maybe' is not one of"),
        (("\nA,", "\n,"), "the model is blank"),
    ],
)
def test_a_table_of_runs_that_is_none(tmp_path, change, says):
    path = tmp_path / "runs.csv"
    path.write_text(RUNS.replace(*change), encoding="utf-8")
    with pytest.raises(DataError, match=says):
        notable.read_notable(path)


# one model


def test_ability_of_one_model():
    found = ability.ability("deepseek-v3", draws=30)
    every = [v.vintage for v in outlook.vintages()]
    assert [v["vintage"] for v in found["vintages"]] == every[2:]  # the two before hold the version of March 2025 only
    assert max(v["eci"] for v in found["vintages"]) - min(v["eci"] for v in found["vintages"]) < 1
    assert found["fit"]["eci"] == pytest.approx(found["vintages"][-2]["eci"], abs=0.05)
    assert found["fit"]["low"] < found["fit"]["eci"] < found["fit"]["high"]
    assert found["compute"]["published_flop"] == pytest.approx(3.3e24, rel=0.05)
    assert found["near"][0]["model"] == "o1-mini" and found["near"][0]["months_before"] == pytest.approx(3.4, abs=0.1)
    with pytest.raises(CutlineError, match="Did you mean"):
        ability.ability("DeepSeek-V33")


def test_scores_at_the_end_of_their_scale_are_said(tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("model,benchmark,score\nmine,GPQA diamond,1.0\n", encoding="utf-8")
    (mine,) = ability.abilities_of(path)
    assert [n.split()[0] for n in mine["notes"]] == ["every", "fewer"] and mine["vintage"] == "2026-08-11"


def test_models_of_ones_own_on_the_scale(tmp_path):
    """The scores of a model of the index give its index value."""
    vintage = "2026-08-11"
    rows = [s for s in outlook.scores(vintage) if s.model == "GPT-5"]
    path = tmp_path / "mine.csv"
    text = "".join(f"mine,{s.benchmark},{s.score}\n" for s in rows)
    path.write_text("model,benchmark,score\n" + text + "mine,My own test,0.5\n", encoding="utf-8")
    (mine,) = ability.abilities_of(path)
    assert mine["eci"] == pytest.approx(150.0, abs=0.1) and mine["left_out"] == ["My own test"]
    path.write_text("model,benchmark,score\nmine,My own test,0.5\n", encoding="utf-8")
    with pytest.raises(CutlineError, match="no benchmark of the index"):
        ability.abilities_of(path)


# bad input


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"follower": "chine"}, "Did you mean .*china"),
        ({"leader": "us-opne"}, "no group is called 'us-opne'"),
        ({"on": "2019-01-01"}, "must not be before the first model"),
        ({"on": "2026-10-02"}, "must not be after 2026-10-01"),
        ({"follower": "us"}, "must be two groups"),
        ({"vintage": "2025-01-01"}, "no vintage '2025-01-01'; there are 2025-12-02"),
        ({"since": "2022-01-01"}, "since must not be before both groups have a model"),
        ({"since": "2026-10-02"}, "since must not be after"),
        ({"rules": ("H5",)}, "rule must be one of H1"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"yardstick": "elo"}, "yardstick must be one of"),
        ({"yardstick": "arena"}, "needs a file of dated boards"),
        ({"yardstick": "compute", "vintage": "2026-08-11"}, "vintage is of the yardstick eci"),
        ({"dates": "weights"}, "dates must be one of"),
        ({"benchmarks": "hard"}, "benchmarks must be one of"),
        ({"intervals": "wide"}, "intervals must be one of"),
        ({"intervals": "rows", "vintage": "2026-10-01"}, "they are stored of 2026-08-11"),
        ({"draws": 3}, "draws"),
        ({"without": ("Nobody",)}, "no group is called 'Nobody'"),
    ],
)
def test_what_cannot_be_asked_is_refused(change, says):
    with pytest.raises(CutlineError, match=says):
        gap(replace(CHINA, **change))


# the command


def test_command_and_python_say_the_same(cli, china):
    found = json.loads(cli("gap", "china", "us", "--json")[1])
    assert found == json.loads(json.dumps(china))
    assert {"rule", "tolerance", "months", "low", "high", "matched", "censored"} <= set(found["estimates"][0])


def test_the_screen(cli):
    text = cli("gap", "china", "us")[1]
    assert "china behind us: 4.4 to 8.2 months by definition" in text and max(map(len, text.splitlines())) <= 100
    assert "without OpenAI" in text and "largest known training run" in text
    for rule in RULES:
        assert f"{rule} " in text


@pytest.mark.parametrize("suffix", [".svg", ".png", ".html", ".json"])
def test_pictures(cli, tmp_path, suffix):
    path = tmp_path / f"gap{suffix}"
    assert cli("gap", "china", "us", "--rule", "H1", "--plot", str(path))[0] == 0
    assert path.stat().st_size > 5000
    if suffix == ".svg":
        assert "largest known run" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ["ability", "DeepSeek-V3", "--draws", "20"],
        ["ability", "Kimi K3", "--draws", "20"],
        ["supply", "--draws", "100"],
        ["claims", "lag-closed"],
        ["scenario", "central", "--draws", "100"],
        ["gap", "open", "closed", "--rule", "H1"],
    ],
)
def test_every_command_draws(cli, tmp_path, words):
    path = tmp_path / "answer.svg"
    assert cli(*words, "--plot", str(path))[0] == 0
    assert "<svg" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gap", "china", "us", "--on", "tomorrow"], "--on must be a day"),
        (["gap", "china", "us", "--plot", "gap.bmp"], "--plot must end in"),
        (["gap", "china", "us", "--plot", "nowhere/gap.svg"], "no folder 'nowhere'"),
        (["gap", "china", "us", "--board", "nowhere.csv", "--yardstick", "arena"], "there is no file"),
        (["gap", "restricted", "unrestricted", "--plot", "gap.svg"], "nothing to draw"),
        (["gap", "china", "us", "--seed", "x"], "--seed must be"),
        (["ability"], "needs a model, or --scores"),
        (["ability", ""], "the model is blank"),
        (["gap", "china", "us", "--rule", ""], "--rule must be all or some of H1"),
        (["gap", "china", "us", "--tolerance", "-1"], "of at least 0; got '-1'"),
        (["supply", "--on", "2030-01-01"], "on must not be after"),
        (["supply", "--draws", "1"], "draws must be at least 100"),
        (["supply", "--country", "FR"], "no chips of country 'FR'"),
        (["claims", "lag-opne"], "Did you mean lag-open"),
    ],
)
def test_refusals_of_the_commands(cli, words, says):
    code, _, error = cli(*words)
    assert code == 2 and says in error and "Traceback" not in error


def test_supply_on_the_screen_and_as_json(cli):
    found = json.loads(cli("supply", "--country", "CN", "--on", "2025-12-31", "--draws", "200", "--json")[1])
    assert found["h100e"]["training"]["p10"] < found["h100e"]["training"]["p50"] < found["h100e"]["training"]["p90"]
    assert found["quarters"][-1]["end"] == "2025-12-31"
    assert found["quarters"][-1]["training"]["p50"] == pytest.approx(found["h100e"]["training"]["p50"])
    assert "million H100 in training" in cli("supply", "--on", "2025-12-31", "--draws", "200")[1]
