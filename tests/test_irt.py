"""The index of capability: stored scores, files of others, the fit against what was published, its intervals."""

import time
from pathlib import Path

import numpy as np
import pytest

from cutline.core.errors import CutlineError, DataError, UnknownName
from cutline.facts import outlook
from cutline.outlook import irt

VINTAGE = "2026-08-11"
ROWS = outlook.scores(VINTAGE)
MODEL, BENCHMARK = [r.model for r in ROWS], [r.benchmark for r in ROWS]
SCORE = np.array([r.score for r in ROWS])
PUBLISHED = {r.model: r for r in outlook.index(VINTAGE)}
SMALL = (["a", "a", "b", "b", "c", "c"], ["x", "y"] * 3, [0.9, 0.7, 0.6, 0.2, 0.4, 0.1])


@pytest.fixture(scope="module")
def fit():
    return irt.of_vintage(VINTAGE)


@pytest.fixture(scope="module")
def scaled(fit):
    return irt.scaled(fit)


# stored tables


def test_tables_hold_what_was_published():
    assert len(ROWS) == 2249
    assert len(set(MODEL)) == 222
    assert len(set(BENCHMARK)) == 57
    rows = {v.vintage: len(outlook.index(v.vintage)) for v in outlook.vintages()}
    assert list(rows) == sorted(rows)
    assert list(rows.values()) == [117, 140, 135, 153, 174, 222, 104]
    assert [v.vintage for v in outlook.vintages() if v.scored] == [VINTAGE]
    assert set(MODEL) == set(PUBLISHED)
    assert set(BENCHMARK) == set(outlook.released()) == {i.benchmark for i in outlook.items(VINTAGE)}


def test_every_maker_is_in_the_table_with_its_group():
    group = {o.org: o.country_group for o in outlook.organisations()}
    used = set()
    for vintage in outlook.vintages():
        for row in outlook.index(vintage.vintage):
            assert row.country_group == (group[row.org] if row.org else ""), row
            assert row.weights in ("open", "closed", "")
            used.add(row.org)
    assert used - {""} == set(group)
    assert sorted(group) == list(group)


@pytest.mark.parametrize("read", [outlook.scores, outlook.index, outlook.items])
def test_an_unknown_vintage_lists_those_that_exist(read):
    with pytest.raises(DataError, match=rf"no vintage '2027-01-01'; there are .*{VINTAGE}"):
        read("2027-01-01")


# oracles


def test_objective(fit):
    assert fit.objective == pytest.approx(13.0414, abs=0.0005)
    assert fit.difficulty[fit.benchmarks.index("Winogrande")] == 0
    assert fit.slope[fit.benchmarks.index("Winogrande")] == 1


def test_all_published_values(scaled):
    assert scaled.models == tuple(sorted(PUBLISHED))
    want = np.array([PUBLISHED[m].eci for m in scaled.models])
    off = abs(scaled.eci - want)
    assert off.max() < 0.25
    assert off[want > 110].max() < 0.05
    assert off.mean() < 0.03
    assert scaled.eci[scaled.models.index("GPT-5")] == 150
    assert scaled.eci[scaled.models.index("Claude 3.5 Sonnet")] == 130


@pytest.mark.parametrize(
    ("benchmark", "edi", "slope"),
    [
        ("GPQA diamond", 135.87, 0.1179),
        ("SWE-Bench verified", 136.32, 0.0709),
        ("FrontierMath-Tier-4-v2-Private", 156.94, 0.2861),
        ("HLE", 159.61, 0.1396),
        ("METR Time Horizons", 135.93, 0.0590),
        ("Terminal Bench", 148.71, 0.1655),
        ("ARC-AGI-2", 153.48, 0.3146),
        ("CL-bench", 181.77, 0.0457),
    ],
)
def test_published_benchmarks(scaled, benchmark, edi, slope):
    i = scaled.benchmarks.index(benchmark)
    assert scaled.edi[i] == pytest.approx(edi, abs=0.02)
    assert scaled.slope[i] == pytest.approx(slope, rel=0.005)


def test_all_published_benchmarks(scaled):
    """The published optimiser stopped a little before the minimum: 0.04 points at 110, 0.2 at 58."""
    for item in outlook.items(VINTAGE):
        i = scaled.benchmarks.index(item.benchmark)
        assert scaled.edi[i] == pytest.approx(item.edi, abs=0.06 if item.edi > 100 else 0.25)
        assert scaled.slope[i] == pytest.approx(item.slope, rel=0.005)
    i = scaled.benchmarks.index("Winogrande")
    assert scaled.slope[i] == pytest.approx(1 / scaled.unit)
    assert scaled.edi[i] == pytest.approx(scaled.offset)


def test_one_unknown_per_model_with_published_items():
    models, eci = irt.abilities_given(outlook.items(VINTAGE), MODEL, BENCHMARK, SCORE)
    want = np.array([PUBLISHED[m].eci for m in models])
    assert abs(eci - want)[want > 110].max() < 0.03
    assert abs(eci - want).max() < 3.2  # a model with four scores near the floor


def test_top_of_the_list(scaled):
    best = np.argsort(-scaled.eci)[:3]
    assert [scaled.models[i] for i in best] == ["GPT-5.6 Sol", "Claude Fable 5", "GPT-5.5 Pro"]
    np.testing.assert_allclose(scaled.eci[best], [161.65, 161.53, 161.49], atol=0.02)


@pytest.mark.slow
def test_intervals_are_as_wide_as_the_published_ones():
    draws = irt.bootstrap(MODEL, BENCHMARK, SCORE, draws=500, seed=1)
    low, high = draws.interval()
    found = [i for i, m in enumerate(draws.models) if PUBLISHED[m].low is not None]
    want = np.array([PUBLISHED[draws.models[i]].high - PUBLISHED[draws.models[i]].low for i in found])
    width = (high - low)[found]
    assert 0.95 < width.mean() / want.mean() < 1.1
    assert np.corrcoef(width, want)[0, 1] > 0.97
    for name, ends in {"GPT-5.6 Sol": (159.11, 164.85), "GPT-5.5 Pro": (158.57, 164.64)}.items():
        i = draws.models.index(name)
        np.testing.assert_allclose((low[i], high[i]), ends, atol=0.6)


@pytest.mark.skip(reason="the scores of April 2026 are not stored, so offset 111.12098 and unit 20.14565 cannot be had")
def test_scale_of_april_2026():
    """The published scale of another vintage."""


# the fit itself


def test_a_start_and_the_order_of_rows_do_not_move_the_minimum(fit):
    order = np.random.default_rng(3).permutation(len(SCORE))
    other = irt.fit([MODEL[i] for i in order], [BENCHMARK[i] for i in order], SCORE[order])
    np.testing.assert_array_equal(other.capability, fit.capability)
    warm = irt.fit(MODEL, BENCHMARK, SCORE, start=fit)
    assert warm.steps < fit.steps
    np.testing.assert_allclose(warm.capability, fit.capability, atol=1e-4)


def test_the_gradient_is_zero_at_the_minimum():
    """Against differences of the objective, written out once more; difficulty as the penalty sees it."""
    model, benchmark, score = SMALL
    got = irt.fit(model, benchmark, score)
    x = np.concatenate([got.capability - got.location, got.difficulty - got.location, got.slope[1:]])

    def objective(x):
        c, d, a = dict(zip("abc", x[:3], strict=True)), {"x": x[3], "y": x[4]}, {"x": 1.0, "y": x[5]}
        off = [1 / (1 + np.exp(-a[b] * (c[m] - d[b]))) - s for m, b, s in zip(model, benchmark, score, strict=True)]
        return np.sum(np.square(off)) + 0.1 * np.sum(x**2) / 6

    assert objective(x) == pytest.approx(got.objective, rel=1e-9)
    for step in 1e-4 * np.eye(6):
        assert abs(objective(x + step) - objective(x - step)) / 2e-4 < 1e-5


def test_known_parameters_come_back():
    rng = np.random.default_rng(5)
    c, d, a = rng.normal(0, 1.5, 40), rng.normal(0, 1.5, 15), rng.uniform(0.5, 3, 15)
    a[0], d[0] = 1.0, 0.0
    m, b = (i.ravel() for i in np.indices((40, 15)))
    y = 1 / (1 + np.exp(-a[b] * (c[m] - d[b])))
    got = irt.fit([f"m{i:02}" for i in m], [f"b{i:02}" for i in b], y, fixed="b00", penalty=1e-6)
    inside = abs(c) < 2.5
    np.testing.assert_allclose(got.capability[inside], c[inside], atol=0.05)
    np.testing.assert_allclose(got.slope, a, rtol=0.05)


def test_no_parameter_leaves_its_bounds():
    got = irt.fit(["a", "a", "b", "b"], ["x", "y"] * 2, [1, 1, 0, 0], penalty=0.0)
    assert (abs(got.capability - got.location) <= 30).all()
    assert (got.slope <= irt.STEEPEST).all()


def test_a_fit_is_quick():
    """An order of magnitude only: 0.02 s on an idle core."""
    best = min(_seconds(lambda: irt.fit(MODEL, BENCHMARK, SCORE)) for _ in range(3))
    assert best < 0.3


def _seconds(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@pytest.mark.parametrize("by", ["models", "rows", "benchmarks"])
def test_the_same_seed_gives_the_same_bytes(by):
    ask = {"draws": 3, "by": by}
    one, two = (irt.bootstrap(MODEL, BENCHMARK, SCORE, seed=7, **ask) for _ in range(2))
    assert one.eci.tobytes() == two.eci.tobytes()
    other = irt.bootstrap(MODEL, BENCHMARK, SCORE, seed=np.random.default_rng(8), **ask)
    assert one.eci.tobytes() != other.eci.tobytes()
    for name, value in (irt.LOW, irt.HIGH):
        assert (one.eci[:, one.models.index(name)] == value).all()
    assert one.seen.all() or by != "models"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (([], [], []), "of one length, at least 1; got 0, 0, 0"),
        ((["a"], ["x", "y"], [0.1, 0.2]), "of one length, at least 1; got 1, 2, 2"),
        ((["a", ""], ["x", "y"], [0.1, 0.2]), r"model\[1\] is blank; group by a column"),
        ((["a", "b"], ["x", ""], [0.1, 0.2]), r"benchmark\[1\] is blank"),
        ((["a", "b"], ["x", "y"], [0.1, 1.2]), r"score\[1\] must be from 0 to 1; got 1.2"),
        ((["a", "b"], ["x", "y"], [np.nan, 0.2]), r"score\[0\] must be from 0 to 1; got nan"),
        ((["a", "a"], ["x", "x"], [0.1, 0.2]), "'a' has two scores on 'x'; keep one"),
    ],
)
def test_rows_that_cannot_be_fitted(ask, message):
    with pytest.raises(CutlineError, match=message):
        irt.fit(*ask)


def test_names_and_numbers_that_are_refused():
    with pytest.raises(UnknownName, match="no benchmark named 'z'"):
        irt.fit(*SMALL, fixed="z")
    with pytest.raises(CutlineError, match="penalty must be at least 0"):
        irt.fit(*SMALL, penalty=-1)
    got = irt.fit(*SMALL)
    with pytest.raises(UnknownName, match=r"no model named 'Claude 3\.5 Sonnet'"):
        irt.scaled(got)
    with pytest.raises(CutlineError, match="must differ in capability and in value"):
        irt.scaled(got, ("a", 1.0), ("a", 2.0))
    with pytest.raises(CutlineError, match="by must be models, rows or benchmarks; got 'row'"):
        irt.bootstrap(*SMALL, by="row")
    with pytest.raises(CutlineError, match="draws must be at least 1"):
        irt.bootstrap(*SMALL, draws=0)
    with pytest.raises(CutlineError, match="benchmark 'y' has no item"):
        irt.abilities_given([("x", 130, 0.1)], *SMALL)
    with pytest.raises(CutlineError, match="slope of 'y' must be above 0"):
        irt.abilities_given([("x", 130, 0.1), ("y", 130, 0)], *SMALL)


# files of others

EPOCH = "model_id,benchmark_id,performance,benchmark,optimized,model,Model,model_group\n"


def written(tmp_path, text, name="given.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_scores_is_fitted_like_the_stored_ones(tmp_path, fit):
    lines = [f'm,b,{r.score},{r.benchmark},{r.optimized},"{r.model}",,"{r.model}"' for r in ROWS]
    rows = outlook.read_scores(written(tmp_path, EPOCH + "\n".join(lines) + "\n"), vintage=VINTAGE)
    assert rows == ROWS
    got = irt.fit([r.model for r in rows], [r.benchmark for r in rows], [r.score for r in rows])
    np.testing.assert_array_equal(got.capability, fit.capability)


def test_the_wrong_column_is_refused(tmp_path):
    text = EPOCH + "1,1,0.5,x,True,a,A,a\n2,1,0.6,x,True,b,,b\n3,1,0.7,x,False,c,,c\n"
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=r"given.csv:3: column 'Model' is blank in 2 rows; group by column 'model'$"):
        outlook.read_scores(path, unit="Model")
    full = written(tmp_path, text.replace(",b,,b", ",b,A,b").replace(",c,,c", ",c,B,c"))
    with pytest.raises(DataError, match=r"given.csv:3: 'A' has two scores on 'x'; keep one, or group by a finer col"):
        outlook.read_scores(full, unit="Model")
    assert [r.model for r in outlook.read_scores(path)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("model,benchmark,score\n", "the file has no rows"),
        ("benchmark,score\nx,0.5\n", ":1: there is no column 'model'; there are benchmark, score"),
        ("model,score\na,0.5\n", ":1: there is no column 'benchmark'"),
        ("model,benchmark\na,x\n", ":1: there is no column 'performance or score'"),
        ("model,benchmark,score\n,x,0.5\n", ":2: column 'model' is blank in 1 row; group by a column that names"),
        ("model,benchmark,score\na,,0.5\n", ":2: benchmark is blank"),
        ("model,benchmark,score\na,x,50%\n", ":2: score '50%' is not a number"),
        ("model,benchmark,score\na,x,nan\n", ":2: score 'nan' is not a number"),
        ("model,benchmark,score\na,x,50\n", ":2: score must be from 0 to 1; got 50"),
        ("model,benchmark,score\na,x,0.5\na,x,0.6\n", ":3: 'a' has two scores on 'x'"),
        ("model,benchmark,score,optimized\na,x,0.5,maybe\n", ":2: optimized 'maybe' is not yes or no"),
        ("model,benchmark,score\na,x\n", ":2: 2 cells; the header has 3"),
    ],
)
def test_broken_files_of_scores(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        outlook.read_scores(written(tmp_path, text))


def test_files_of_the_index_in_its_two_forms(tmp_path):
    scores = (
        "Model,Display name,eci,eci_ci_low,eci_ci_high,date,Organization,Country (of organization),Model accessibility\n"
        "GPT-5.6 Sol,GPT-5.6 Sol,161.65,159.11,164.85,2026-07-09,OpenAI,United States of America,API access\n"
        "New,New,150,,,2026-07-10,Nobody,China,Open weights (unrestricted)\n"
    )
    rows = outlook.read_index(written(tmp_path, scores), vintage=VINTAGE)
    assert rows[0] == PUBLISHED["GPT-5.6 Sol"]
    assert (rows[1].country_group, rows[1].weights, rows[1].low, rows[1].flop) == ("China", "open", None, None)
    versions = (
        "Model version,ECI Score,Release date,Organization,Country,Training compute (FLOP),Model name,Display name\n"
        "a_high,150.0,2025-08-08,OpenAI,United States of America,6.6e+25,A,A (high)\n"
        'a_low,150.0,2025-08-07,OpenAI,United States of America,,"A\n",A (low)\n'
        "b,,2025-08-07,Ant Group,,,B,B\n"
        "c,140,,Ant Group,,,C,C\n"
    )
    rows = outlook.read_index(written(tmp_path, versions), vintage="2026-04-11")
    assert [(r.model, r.date, r.country_group) for r in rows] == [("A", "2025-08-07", "US"), ("C", "", "")]


INDEX = "snapshot,model,eci,eci_ci_low,eci_ci_high,release_date,country_group,open_closed,training_compute_flop\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (INDEX, "the file has no rows"),
        ("model,date\na,2025-01-01\n", ":1: there is no column for the eci; name it eci or ECI Score"),
        ("eci\n150\n", ":1: there is no column for the model; name it model or Model or Model name"),
        (INDEX + "2026-01-01,a,,,,2025-01-01,US,open,\n", "no row has a value in column 'eci'"),
        (INDEX + "2026-01-01,,150,,,2025-01-01,US,open,\n", ":2: the model is blank"),
        (INDEX + "2026-01-01,a,high,,,2025-01-01,US,open,\n", ":2: eci 'high' is not a number"),
        (INDEX + "2026-01-01,a,150,151,152,2025-01-01,US,open,\n", ":2: interval '151' to '152' does not hold 150"),
        (INDEX + "2026-01-01,a,150,149,,2025-01-01,US,open,\n", ":2: interval '149' to '' does not hold 150"),
        (INDEX + "2026-01-01,a,150,,,1/2/2025,US,open,\n", ":2: date '1/2/2025' is not YYYY-MM-DD"),
        (INDEX + "2026-01-01,a,150,,,2025-01-01,USA,open,\n", ":2: country_group 'USA' is not one of US, China"),
        (INDEX + "2026-01-01,a,150,,,2025-01-01,US,free,\n", ":2: weights 'free' is not open or closed"),
        (INDEX + "2026-01-01,a,150,,,2025-01-01,US,open,0\n", ":2: flop must be above 0; got 0"),
        (INDEX + "d,a,150,,,,US,,\nd,a,151,,,,US,,\n", ":3: 'a' has two values, 150 and 151"),
    ],
)
def test_broken_files_of_the_index(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        outlook.read_index(written(tmp_path, text))
