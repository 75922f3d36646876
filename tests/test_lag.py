"""The lag's rules: published figures on published scores, a made-up lag that is known, and what must hold for any scores."""

import csv
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutline.core.errors import CutlineError
from cutline.outlook import lag
from cutline.outlook.lag import MONTH_DAYS, Group

SCORES = Path(__file__).parents[2] / "shared" / "data" / "eci_scores.csv"
published = pytest.mark.skipif(not SCORES.exists(), reason="the table of published scores is not beside the checkout")
CHINA = ("country_group", "US", "China")
OPEN = ("open_closed", "closed", "open")
GPT4 = "2023-03-14"


def day(text):
    return float((date.fromisoformat(text) - date(1970, 1, 1)).days)


def group(vintage, column, value):
    """(models, standard errors, names) of one side; a score without an interval has no error."""
    with SCORES.open(encoding="utf-8") as handle:
        rows = [r for r in csv.DictReader(handle) if r["snapshot"] == vintage and r[column] == value]
    rows = [r for r in rows if r["release_date"] and r["eci"]]
    number = np.array([[float(r[k] or "nan") for k in ("eci", "eci_ci_low", "eci_ci_high")] for r in rows])
    error = np.nan_to_num((number[:, 2] - number[:, 1]) / 2 / 1.6449)
    return Group(np.array([day(r["release_date"]) for r in rows]), number[:, 0]), error, [r["model"] for r in rows]


def pair(vintage, sides):
    column, *values = sides
    return [group(vintage, column, value)[0] for value in values]


def drawn(vintage, sides, draws=300, seed=1):
    """Independent normal draws with the published widths."""
    column, *values = sides
    chance = np.random.default_rng(seed)
    found = [group(vintage, column, value)[:2] for value in values]
    return [Group(g.day, g.score + error * chance.standard_normal((draws, g.day.size))) for g, error in found]


# published scores: oracles 7, 10, 11, 12, 13, 14 and 22 of the research note


@published
@pytest.mark.parametrize(
    ("vintage", "tolerance", "h1", "h2"),
    [
        ("2026-10-01", 0, 7.43, 7.01),
        ("2026-10-01", 1, 6.2, None),
        ("2026-08-11", 0, 8.25, 7.52),
        ("2025-12-19", 0, 7.89, 7.47),
        ("2025-12-19", 1, 6.0, 6.8),
    ],
)
def test_china_behind_the_us(vintage, tolerance, h1, h2):
    sides, window = pair(vintage, CHINA), (day("2023-06-01"), day(vintage), tolerance)
    assert lag.daily(*sides, *window).months == pytest.approx(h1, abs=0.05)
    if h2:
        assert lag.level(*sides, *window).months == pytest.approx(h2, abs=0.05)


@published
@pytest.mark.parametrize(
    ("vintage", "last", "matched_only", "median", "counts", "shortest", "longest"),
    [
        ("2026-10-01", 6.9, 7.2, 6.8, (17, 6), 4.2, 18.2),
        ("2026-08-11", 5.2, 7.8, 7.1, (16, 4), 4.3, 18.2),
        ("2025-12-19", 8.1, 7.2, 7.1, (9, 5), 3.5, 18.2),
    ],
)
def test_milestones_of_the_us(vintage, last, matched_only, median, counts, shortest, longest):
    sides = pair(vintage, CHINA)
    got = lag.milestones(*sides, day("2023-01-01"), day(vintage))
    assert got.matched_months == pytest.approx(matched_only, abs=0.05)
    assert got.median_months == pytest.approx(median, abs=0.05)
    assert (got.matched, got.censored) == counts
    months = [w.months for w in got.waits if w.matched]
    assert (min(months), max(months)) == pytest.approx((shortest, longest), abs=0.05)
    assert lag.daily(*sides, day("2023-06-01"), day(vintage)).last_months == pytest.approx(last, abs=0.05)


@published
def test_what_is_not_matched_makes_the_mean_longer():
    got = lag.milestones(*pair("2026-10-01", CHINA), day("2023-01-01"), day("2026-10-01"))
    assert got.mean_months == pytest.approx(8.2, abs=0.05)
    waiting = [w for w in got.waits if not w.matched]
    assert (waiting[0].score, waiting[-1].score) == pytest.approx((159.1, 167.4), abs=0.06)
    assert waiting[0].months == pytest.approx(6.9, abs=0.05)


@published
@pytest.mark.parametrize(
    ("start", "end", "months", "months_at_one", "points"),
    [
        ("2023-07-01", "2023-12-31", 6.8, 6.8, 15.9),
        ("2024-01-01", "2024-06-30", 12.6, 11.2, 7.7),
        ("2024-07-01", "2024-12-31", 9.8, 5.3, 6.5),
        ("2025-01-01", "2025-06-30", 3.8, 3.1, 5.5),
        ("2025-07-01", "2025-12-31", 6.2, 5.0, 6.1),
        ("2026-01-01", "2026-06-30", 6.8, 6.3, 9.5),
        ("2026-07-01", "2026-09-30", 5.8, 5.8, 7.0),
    ],
)
def test_by_half_year(start, end, months, months_at_one, points):
    sides, window = pair("2026-10-01", CHINA), (day(start), day(end))
    assert lag.daily(*sides, *window).months == pytest.approx(months, abs=0.06)
    assert lag.daily(*sides, *window, 1).months == pytest.approx(months_at_one, abs=0.06)
    assert lag.vertical(*sides, *window).points == pytest.approx(points, abs=0.06)


@published
def test_vertical_gap_and_the_pace():
    sides = pair("2026-10-01", CHINA)
    got = lag.vertical(*sides, day("2023-06-01"), day("2026-10-01"))
    assert got.points == pytest.approx(9.0, abs=0.05)
    assert got.points_per_year == pytest.approx(14.6, abs=0.05)
    assert got.months == pytest.approx(12 * got.points / got.points_per_year)
    assert lag.pace(sides[1])[0] == pytest.approx(17.7, abs=0.05)
    assert lag.pace(sides[0], day("2024-04-01"))[0] == pytest.approx(15.8, abs=0.05)


@published
def test_china_is_within_epochs_figure_of_january_2026():
    """7 months, 4 to 14. The longest needs DeepSeek-V2 to count as GPT-4's match: a tolerance of 0.22."""
    sides, window = pair("2025-12-19", CHINA), (day("2023-06-01"), day("2025-12-19"))
    assert all(6.0 <= lag.daily(*sides, *window, t).months <= 8.0 for t in (0, 0.22, 0.5))
    assert max(lag.daily(*sides, *window, 0.22).series) == pytest.approx(13.8, abs=0.05)
    assert max(lag.daily(*sides, *window, 0.21).series) == pytest.approx(18.2, abs=0.05)


@published
def test_open_behind_closed():
    """Epoch: 3.5 months (1.1 to 5.3) to 30 October 2025; accepted 3.0 to 4.4."""
    sides, window = pair("2025-12-02", OPEN), (day(GPT4), day("2025-10-30"))
    assert [lag.daily(*sides, *window, t).months for t in (0, 1, 3)] == pytest.approx([4.0, 3.8, 1.9], abs=0.05)
    assert [lag.level(*sides, *window, t).months for t in (0, 1)] == pytest.approx([4.4, 3.7], abs=0.05)
    assert lag.daily(*sides, *window).censored > 0, "this vintage has no GPT-4: there the open models led"
    assert 3.0 <= lag.significant(*drawn("2026-08-11", OPEN), *window).months <= 4.4


@published
def test_open_behind_closed_in_2026():
    """Epoch: 4 months and 8 points (7 to 11) for January to May 2026; accepted 4 to 6.5, and 8 to 10."""
    window = (day("2026-01-01"), day("2026-05-28"))
    assert 4.0 <= lag.significant(*drawn("2026-08-11", OPEN), *window).months <= 6.5
    sides = pair("2026-10-01", OPEN)
    assert lag.vertical(*sides, *window).points == pytest.approx(9.9, abs=0.05)
    assert [lag.daily(*sides, *window, t).months for t in (0, 1, 3)] == pytest.approx([7.0, 6.4, 4.3], abs=0.05)


@published
def test_o3_waited_until_kimi_k2_5():
    leader, follower = pair("2026-10-01", CHINA)
    names = group("2026-10-01", *CHINA[:2])[2]
    o3 = leader.score[names.index("o3")]
    wait = next(w for w in lag.milestones(leader, follower, 0, day("2026-10-01")).waits if w.score == o3)
    assert wait.matched
    assert wait.months == pytest.approx(9.4, abs=0.05)
    assert wait.day + wait.months * MONTH_DAYS == pytest.approx(day("2026-01-27"))
    then = lag.milestones(leader, follower, 0, day("2025-12-31"))
    assert not next(w for w in then.waits if w.score == o3).matched


@published
def test_first_chinese_model_at_the_level_of_gpt_4():
    """May 2024, 14 months, within the tolerance that this takes."""
    got = lag.milestones(*pair("2025-12-19", CHINA), day(GPT4), day("2025-12-19"), 0.22)
    assert got.waits[0].day == day(GPT4)
    assert got.waits[0].months == pytest.approx(13.8, abs=0.05)


@published
def test_records():
    leader, follower = pair("2026-10-01", CHINA)
    assert (leader.day[lag.records(leader)] >= day(GPT4)).sum() == 22
    names = group("2026-10-01", "country_group", "China")[2]
    found = [names[i] for i in lag.records(follower)]
    assert len(found) == 24
    plain = [name.casefold().replace(" ", "-") for name in found[-5:]]
    assert plain == ["kimi-k2.5", "glm-5.1", "kimi-k2.6", "qwen3.7-max", "kimi-k3"]


@published
@pytest.mark.parametrize(
    ("rule", "low", "high"), [("daily", 5.1, 8.8), ("level", 5.2, 8.6), ("vertical", 7.1, 10.9), ("last", 5.3, 9.7)]
)
def test_intervals_from_draws(rule, low, high):
    sides, window = drawn("2026-10-01", CHINA), (day("2023-06-01"), day("2026-10-01"))
    if rule == "last":
        got = tuple(np.quantile(lag.daily(*sides, *window).series[:, -1], [0.05, 0.95]))
    else:
        answer = getattr(lag, rule)(*sides, *window)
        got = answer.low, answer.high
    assert got == pytest.approx((low, high), abs=0.5)


@published
def test_the_longest_list_corrected_for_its_length():
    sides, window = pair("2026-08-11", CHINA), (day("2023-06-01"), day("2026-08-11"))
    plain, fair = lag.daily(*sides, *window), lag.size_corrected(*sides, *window, seed=1)
    assert [g.day.size for g in sides] == [138, 54]
    assert plain.months - fair.months == pytest.approx(2.4, abs=0.3), "more than the 1.1 of made-up lists"


# a lag that is known: oracle 8


def recovered(months, leader_models, follower_models, noise, runs=150):
    pairs = [lag.synthetic(months, leader_models, follower_models, noise, seed) for seed in range(runs)]
    return np.mean([lag.daily(*p, max(12 * MONTH_DAYS, p[1].day.min()), 36 * MONTH_DAYS).months for p in pairs])


@pytest.mark.parametrize(("true", "equal", "unequal"), [(3, 3.0, 4.1), (7, 6.9, 8.1), (12, 11.9, 13.0)])
def test_a_known_lag_is_recovered_and_fewer_models_look_later(true, equal, unequal):
    assert recovered(true, 130, 130, 1.5) == pytest.approx(equal, abs=0.2)
    assert recovered(true, 130, 50, 1.5) == pytest.approx(unequal, abs=0.2)


@pytest.mark.parametrize(("noise", "equal", "unequal"), [(0, 7.0, 7.8), (3, 6.9, 8.4)])
def test_noise_adds_to_the_bias_of_size(noise, equal, unequal):
    assert recovered(7, 130, 130, noise) == pytest.approx(equal, abs=0.2)
    assert recovered(7, 130, 50, noise) == pytest.approx(unequal, abs=0.2)


def test_equal_sizes_take_the_bias_away():
    window = (12 * MONTH_DAYS, 36 * MONTH_DAYS)
    pairs = [lag.synthetic(7, 130, 50, 1.5, seed) for seed in range(60)]
    got = [lag.size_corrected(*p, *window, subsamples=50, seed=seed).months for seed, p in enumerate(pairs)]
    assert np.mean(got) == pytest.approx(7.0, abs=0.3)


def test_correction_of_equal_sizes_changes_nothing():
    p, window = lag.synthetic(7, 60, 60, 1.5, 3), (400.0, 1000.0)
    assert lag.size_corrected(*p, *window, subsamples=5, seed=0).months == pytest.approx(lag.daily(*p, *window).months)


# what must hold for any scores

DAYS, POINTS = st.integers(0, 1000), st.integers(0, 60)
MODELS = st.lists(st.tuples(DAYS, POINTS), min_size=5, max_size=25)


def made(models, shift_days=0.0):
    return Group(np.array([d + shift_days for d, _ in models], float), np.array([s for _, s in models], float))


def started(leader, follower):
    """Both groups with a model on day 0, the leader's at the bottom."""
    return made([(0, -1.0), *leader]), made([(0, 0.0), *follower])


def figures(leader, follower, start=0.0, end=1000.0, tolerance=0.0):
    """Months by H1, H2 and H3; a rule that has no figure gives its reason."""
    asked = (leader, follower, start, end, tolerance)
    h3 = lag.milestones(leader, follower, -1e9, end, tolerance)
    found = [lag.daily(*asked), lag.level(*asked)]
    return [f.reason if isinstance(f, lag.Unknown) else f.months for f in found] + [
        h3.reason if isinstance(h3, lag.Unknown) else (h3.mean_months, h3.matched_months)
    ]


def same(a, b, tolerance=1e-9):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x == y if isinstance(x, str) else x == pytest.approx(y, abs=tolerance)


@given(MODELS, st.integers(0, 24))
def test_a_follower_that_is_later_is_behind_by_as_much(models, months):
    """The leader's own models, some months later: every rule adds these months."""
    leader, shift_days = made([(0, 0), *models]), months * MONTH_DAYS
    follower = Group(leader.day + shift_days, leader.score)
    still, moved = lag.daily(leader, leader, 0, 1000), lag.daily(leader, follower, shift_days, 1000 + shift_days)
    assert moved.months == pytest.approx(still.months + months)
    got = lag.milestones(leader, follower, 0, 2000)
    assert [w.months for w in got.waits] == pytest.approx([months] * len(got.waits))
    assert got.mean_months == pytest.approx(months)
    if lag.records(leader).size > 1:
        assert lag.level(leader, follower, shift_days, 2000).months == pytest.approx(months)
        assert lag.vertical(leader, follower, shift_days, 2000).points >= 0


@given(MODELS, MODELS, st.integers(1, 24))
def test_shifting_any_follower_shifts_what_lies_behind(one, other, months):
    """Where the leader was there on all days, and the follower came later to all levels and records."""
    leader, follower = started(one, [(d, s / 3) for d, s in other])
    later = Group(follower.day + months * MONTH_DAYS, follower.score)
    end = 1000 + months * MONTH_DAYS
    first = lag.daily(leader, follower, 0, 1000)
    if not first.censored:
        second = lag.daily(leader, later, months * MONTH_DAYS, end)
        assert second.months == pytest.approx(first.months + months)
    h2 = [lag.level(leader, f, s, e) for f, s, e in ((follower, 0, 1000), (later, months * MONTH_DAYS, end))]
    if not any(isinstance(h, lag.Unknown) or h.censored for h in h2):
        assert h2[1].months == pytest.approx(h2[0].months + months)
    h3 = [lag.milestones(leader, f, -1, e) for f, e in ((follower, 1000), (later, end))]
    if not any(isinstance(h, lag.Unknown) for h in h3):
        for a, b in zip(h3[0].waits, h3[1].waits, strict=True):
            assert a.matched == b.matched
            if a.months > 0:
                assert b.months == pytest.approx(a.months + months)


@given(MODELS, MODELS, st.integers(-100, 100), st.sampled_from([0.0, 1.0, 3.0]))
def test_the_zero_of_the_scale_does_not_matter(one, other, points, tolerance):
    leader, follower = started(one, other)
    up = [Group(g.day, g.score + points) for g in (leader, follower)]
    # 400 levels between whole numbers: rounding must not decide which record a level belongs to
    a, b = figures(leader, follower, tolerance=tolerance), figures(*up, tolerance=tolerance)
    same(a[:1] + a[2:], b[:1] + b[2:])
    if not isinstance(a[1], str):
        assert b[1] == pytest.approx(a[1], abs=0.25)


@given(MODELS)
def test_identical_groups_are_level(models):
    """H1 then shows the age of the current record: it measures from the record's day to today."""
    both = made([(0, 0), *models])
    got = lag.milestones(both, both, -1, 1000)
    assert (got.mean_months, got.median_months, got.censored) == (0, 0, 0)
    assert not lag.vertical(both, both, 0, 1000).series.any()
    if lag.records(both).size > 1:
        assert lag.level(both, both, 0, 1000).months == 0
    on = np.arange(1001.0)
    record_days = np.sort(both.day[lag.records(both)])
    age = on - record_days[np.searchsorted(record_days, on, "right") - 1]
    assert lag.daily(both, both, 0, 1000).series == pytest.approx(age / MONTH_DAYS)


def test_identical_groups_with_a_new_record_every_day_have_no_daily_lag():
    both = made([(d, d) for d in range(300)])
    assert lag.daily(both, both, 0, 299).months == 0


@given(MODELS, MODELS)
def test_a_larger_tolerance_never_lengthens(one, other):
    leader, follower = started(one, other)
    got = [lag.daily(leader, follower, 0, 1000, t).series for t in (0.0, 0.5, 1.0, 3.0, 30.0)]
    assert all((b <= a).all() for a, b in pairwise(got))


@given(MODELS, MODELS, MODELS)
def test_more_models_of_the_follower_never_lengthen(one, other, more):
    leader, follower = started(one, other)
    _, stronger = started(one, other + more)
    assert (lag.daily(leader, stronger, 0, 1000).series <= lag.daily(leader, follower, 0, 1000).series).all()


@given(MODELS, MODELS, st.randoms(use_true_random=False))
def test_the_order_of_models_does_not_matter(one, other, chance):
    leader, follower = started(one, other)
    mixed = []
    for g in (leader, follower):
        order = list(range(g.day.size))
        chance.shuffle(order)
        mixed.append(Group(g.day[order], g.score[order]))
    same(figures(leader, follower), figures(*mixed))


@given(MODELS, MODELS)
def test_draws_equal_their_single_calls(one, other):
    leader, follower = started(one, other)
    wobble = np.array([[0.0], [1.0], [2.0]])
    drawn_leader = Group(leader.day, leader.score * (1 + wobble / 10))
    got = lag.daily(drawn_leader, follower, 0, 1000)
    single = [lag.daily(Group(leader.day, s), follower, 0, 1000) for s in drawn_leader.score]
    assert (got.series == np.stack([x.series for x in single])).all()
    assert got.low == min(x.months for x in single)
    assert got.high == max(x.months for x in single)


@given(MODELS, MODELS)
def test_without_noise_significance_is_the_daily_rule(one, other):
    leader, follower = started(one, other)
    twice = [Group(g.day, np.stack([g.score, g.score])) for g in (leader, follower)]
    assert lag.significant(*twice, 0, 1000).series.tolist() == lag.daily(leader, follower, 0, 1000).series.tolist()


def test_asking_for_more_confidence_never_lengthens():
    chance = np.random.default_rng(0)
    p = [Group(g.day, g.score + chance.normal(0, 2, (200, g.day.size))) for g in lag.synthetic(7, 60, 60, 0, 5)]
    got = [lag.significant(*p, 400, 1000, c).months for c in (0.5, 0.8, 0.95)]
    assert got == sorted(got, reverse=True)


# by hand


def test_the_rules_by_hand():
    month = MONTH_DAYS
    leader = Group(month * np.array([0, 0, 0, 0, 0, 10, 30]), np.array([10.0, 9, 8, 7, 6, 20, 40]))
    follower = Group(month * np.array([5, 5, 5, 5, 5, 14]), np.array([0.0, 1, 2, 3, 10, 20]))
    got = lag.milestones(leader, follower, 0, 36 * month)
    assert [(round(w.months, 6), w.matched) for w in got.waits] == [(5, True), (4, True), (6, False)]
    assert (got.mean_months, got.matched_months) == pytest.approx(((5 + 4 + 6) / 2, 4.5))
    assert got.median_months == pytest.approx(5)
    assert lag.level(leader, follower, 5 * month, 36 * month, levels=101).months == pytest.approx((5 + 100 * 4) / 101)
    start, end = np.ceil(5 * month), np.floor(9 * month)
    got = lag.daily(leader, follower, start, end)
    assert got.months == pytest.approx((start + end) / 2 / month)
    assert got.last_months == pytest.approx(end / month)
    assert got.median_months == pytest.approx(got.months, abs=0.05)
    assert lag.vertical(leader, follower, start, end).points == pytest.approx(0)


# what has no figure, and what is refused

FIVE = made([(0, 1), (10, 2), (20, 3), (30, 4), (40, 5)])


@pytest.mark.parametrize("rule", [lag.daily, lag.level, lag.milestones, lag.vertical])
def test_thin_data_gives_a_reason(rule):
    four = Group(FIVE.day[:4], FIVE.score[:4])
    assert "the follower has 4 scored models" in rule(FIVE, four, 0, 50).reason
    assert "the leader has 4 scored models" in rule(four, FIVE, 0, 50).reason
    assert "by the end of the window" in rule(FIVE, FIVE, 0, 39).reason


def test_thin_data_gives_a_reason_with_draws_and_subsets():
    four = Group(FIVE.day[:4], FIVE.score[:4])
    assert "needs 5" in lag.size_corrected(FIVE, four, 0, 50, seed=1).reason
    assert "needs 5" in lag.significant(FIVE, four, 0, 50).reason


def test_nothing_matched_yet_gives_a_reason():
    low = Group(FIVE.day, FIVE.score - 20)
    assert lag.milestones(FIVE, low, 0, 71).reason == (
        "none of the leader's 5 records is matched yet; the oldest waits 2.3 months"
    )
    assert "no level was reached by both" in lag.level(FIVE, low, 0, 71).reason
    assert lag.daily(FIVE, low, 0, 71).last_months == pytest.approx(71 / MONTH_DAYS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lag.daily(FIVE, FIVE, -1, 50), "start must not be before the follower's first model, day 0; got -1"),
        (lambda: lag.level(FIVE, FIVE, -1, 50), "start must not be before the follower's first model, day 0; got -1"),
        (lambda: lag.daily(FIVE, FIVE, 0, 50, -0.1), "tolerance must be at least 0; got -0.1"),
        (lambda: lag.daily(FIVE, FIVE, 0, 50, float("nan")), "tolerance must be at least 0; got nan"),
        (lambda: lag.daily(FIVE, FIVE, 50, 40), "end must be at least 50; got 40"),
        (lambda: lag.level(FIVE, FIVE, 0, 50, levels=1), "levels must be at least 2; got 1"),
        (lambda: lag.significant(FIVE, FIVE, 0, 50, 1.5), "confidence must be above 0 and at most 1; got 1.5"),
        (lambda: lag.significant(FIVE, FIVE, 0, 50), "significance needs scores of shape (draws, models)"),
        (lambda: lag.vertical(made([(5, 1)] * 5), FIVE, 0, 50), "start must not be before the leader's first model"),
        (lambda: lag.daily(Group(FIVE.day, FIVE.score * np.nan), FIVE, 0, 50), "leader must have finite days"),
        (lambda: lag.daily(FIVE, Group(FIVE.day[:2], FIVE.score), 0, 50), "got (2,) and (5,)"),
        (
            lambda: lag.daily(*[Group(FIVE.day, np.stack([FIVE.score] * n)) for n in (2, 3)], 0, 50),
            "leader and follower must have the same draws; got 2 and 3",
        ),
        (lambda: lag.size_corrected(FIVE, FIVE, 0, 50, subsamples=0, seed=1), "subsamples must be at least 1; got 0"),
        (lambda: lag.synthetic(-1, 5, 5), "true_lag_months must be at least 0; got -1"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(CutlineError) as caught:
        call()
    assert message in str(caught.value)
