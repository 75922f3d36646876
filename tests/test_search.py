"""The search against brute force over the same strategies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Case
from cutline.core.errors import CutlineError
from cutline.facts.models import model
from cutline.plan import memory, run
from cutline.plan.columns import Estimate, Strategy
from cutline.plan.job import job
from cutline.plan.search import USABLE, _edge, kind_of, most_zero, pareto_front, search
from cutline.plan.strategy import chunks, cores, expand, inners, kinds
from cutline.plan.training import estimate, floor_s


def brute(case):
    """All strategies, their estimates, and which fit."""
    parts = [(s, estimate(case.shape, case.rates, case.constants, s)) for s in chunks(case.space)]
    s, e = Strategy.concat([p[0] for p in parts]), Estimate.concat([p[1] for p in parts])
    return s, e, e.memory_bytes <= USABLE * case.rates.memory_bytes


def front_of(points):
    """Rows that no other row equals or beats everywhere, by comparing each with each."""
    kept = []
    for i, p in enumerate(points):
        beaten = any((q <= p).all() and ((q < p).any() or j < i) for j, q in enumerate(points) if j != i)
        if not beaten:
            kept.append(i)
    return kept


def found_in(case, objective=None):
    return search(case.shape, case.rates, case.constants, case.space, objective)


@pytest.mark.parametrize("name", ["small", "tight"])
def test_the_best_is_the_best_of_all(name, request):
    case = request.getfixturevalue(name)
    s, e, fits = brute(case)
    found = found_in(case)
    assert found.searched == len(s)
    assert found.feasible == fits.sum()
    assert 0 < found.feasible
    best_s, best_e = found.best
    assert best_e.step_s[0] == pytest.approx(e.step_s[fits].min(), rel=1e-12)
    again = estimate(case.shape, case.rates, case.constants, best_s)
    assert again.step_s[0] == pytest.approx(best_e.step_s[0], rel=1e-12)
    assert again.memory_bytes[0] <= USABLE * case.rates.memory_bytes


def test_some_of_the_tight_job_does_not_fit(tight):
    found = found_in(tight)
    assert found.feasible < found.searched
    _, e, fits = brute(tight)
    assert e.step_s.min() < e.step_s[fits].min(), "memory does not bind; choose a harder case"


@pytest.mark.parametrize("name", ["small", "tight"])
def test_kinds_are_the_best_of_each_kind_best_first(name, request):
    case = request.getfixturevalue(name)
    s, e, fits = brute(case)
    kinds_s, kinds_e = found_in(case).kinds
    kinds = kind_of(kinds_s)
    assert len(set(kinds)) == len(kinds)
    assert set(kinds) == set(kind_of(s)[fits])
    assert (np.diff(kinds_e.step_s) >= 0).all()
    for kind, step in zip(kinds, kinds_e.step_s, strict=True):
        assert step == pytest.approx(e.step_s[fits & (kind_of(s) == kind)].min(), rel=1e-12)


def test_kinds_tell_splits_apart():
    def kind(**c):
        plain = dict.fromkeys("tp cp pp vpp dp micro_batch micro_batches shard first middle last".split(), 1)
        plain |= dict.fromkeys("zero sequence_parallel selective full".split(), 0)
        return float(kind_of(Strategy(**{k: np.array([v], float) for k, v in (plain | c).items()}))[0])

    different = [
        kind(),
        kind(tp=2),
        kind(pp=2),
        kind(cp=2),
        kind(zero=3),
        kind(pp=2, cp=2),
        kind(tp=2, pp=2),
        kind(tp=2, zero=3),
    ]
    assert len(set(different)) == len(different)
    assert kind(zero=1) == kind(zero=2) == kind(micro_batch=4) == kind()


@pytest.mark.parametrize("name", ["small", "tight"])
def test_the_pareto_front_of_time_and_memory_is_exact(name, request):
    case = request.getfixturevalue(name)
    _, e, fits = brute(case)
    points = np.unique(np.stack([e.step_s, e.memory_bytes], axis=-1)[fits], axis=0)
    by_time = points[np.lexsort(points.T[::-1])]
    least = np.minimum.accumulate(np.concatenate([[np.inf], by_time[:-1, 1]]))
    wanted = by_time[by_time[:, 1] < least]
    _, front = found_in(case).pareto
    got = np.stack([front.step_s, front.memory_bytes], axis=-1)
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def fewest_stages(s, e):
    """An objective that pulls against time and memory."""
    return np.asarray(s.pp * 1000.0 + s.tp + 1e-3 * e.step_s)


def test_an_objective_is_minimised_over_what_fits(tight):
    s, e, fits = brute(tight)
    found = found_in(tight, fewest_stages)
    assert fewest_stages(*found.best)[0] == pytest.approx(fewest_stages(s, e)[fits].min(), rel=1e-12)
    values = fewest_stages(*found.kinds)
    assert (np.diff(values) >= 0).all()


def test_the_pareto_front_counts_the_objective_too(tight):
    s, e, fits = brute(tight)
    rows = np.flatnonzero(fits)[:: max(1, fits.sum() // 1500)]

    points = np.stack([e.step_s[rows], e.memory_bytes[rows], fewest_stages(s[rows], e[rows])], axis=-1)
    front_s, front_e = found_in(tight, fewest_stages).pareto
    front = np.stack([front_e.step_s, front_e.memory_bytes, fewest_stages(front_s, front_e)], axis=-1)
    for p in points:
        assert (front <= p * (1 + 1e-12)).all(axis=1).any(), "a row that fits is neither on the front nor beaten by it"


def test_more_memory_never_makes_the_best_slower(tight):
    last = np.inf
    for factor in (0.6, 0.8, 1.0, 1.5, 4.0):
        rates = tight.rates.replace(memory_bytes=factor * tight.rates.memory_bytes)
        found = search(tight.shape, rates, tight.constants, tight.space)
        if found.best is not None:
            step = float(found.best[1].step_s[0])
            assert step <= last * (1 + 1e-12)
            last = step
    assert np.isfinite(last)


def test_where_nothing_fits_the_nearest_needs_least(tight):
    rates = tight.rates.replace(memory_bytes=4e9)
    found = search(tight.shape, rates, tight.constants, tight.space)
    assert (found.best, found.kinds, found.pareto, found.feasible) == (None, None, None, 0)
    _, e, _ = brute(tight)
    assert found.nearest[1].memory_bytes[0] == pytest.approx(e.memory_bytes.min(), rel=1e-12)
    assert len(found.nearest[0]) == 1


def test_progress_counts_up_to_what_was_searched(tight):
    seen = []
    found = search(tight.shape, tight.rates, tight.constants, tight.space, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == found.searched


# the front itself

points = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=40)


@given(points)
def test_the_front_equals_comparing_each_with_each(rows):
    table = np.array(rows, float)
    assert np.flatnonzero(pareto_front(table)).tolist() == front_of(table)


@given(points)
def test_every_row_is_on_the_front_or_beaten_by_it(rows):
    table = np.array(rows, float)
    front = table[pareto_front(table)]
    assert len(np.unique(front, axis=0)) == len(front)
    for row in table:
        assert (front <= row).all(axis=1).any()


# objectives of a whole run


@pytest.fixture(scope="module")
def plans():
    j = job(model("llama-2-13b"), "64 x A100-SXM-80GB", tokens=1e11, batch_tokens=1e6)
    return {o: run.plan(j, objective=o)["best"] for o in ("time", "cost", "energy")}


def test_each_objective_is_best_at_what_it_minimises(plans):
    for objective, key in (("time", "days"), ("cost", "cost_usd"), ("energy", "energy_j")):
        values = {o: p[key] for o, p in plans.items()}
        assert values[objective] <= min(values.values()) * (1 + 1e-9), values


def test_an_unknown_objective_and_a_cost_without_price_are_refused():
    j = job(model("llama-2-13b"), "64 x A100-SXM-80GB", tokens=1e11)
    with pytest.raises(CutlineError, match=r"^objective must be one of time, cost, energy; got 'glory'$"):
        run.plan(j, objective="glory")
    j.group = type(j.group)(
        type(j.group.chip)("toy", {k: v for k, v in j.group.chip.facts.items() if k[0] != "price"}), 64
    )
    with pytest.raises(
        CutlineError,
        match=r"^no price of toy is known, so cost cannot be the objective; take time or energy$",
    ):
        run.objective_of(j, "cost")


# the wide space: sparse models, every schedule, modules, offload, graphs


@pytest.fixture(scope="module")
def wide():
    """A sparse model on eight chips with everything on offer: half a million strategies, most of which do not fit."""
    j = job(model("qwen3-30b-a3b"), "8 x A100-SXM-80GB", 1e9, seq=4096, global_batch=16, framework="any")
    return Case(j.shape, j.rates, j.constants, j.space)


@pytest.fixture(scope="module")
def clips():
    """A diffusion transformer on eight chips: context parallelism of every kind."""
    j = job(model("wan-2.1-1.3b"), "8 x H20", seq=32760, global_batch=8, framework="any")
    return Case(j.shape, j.rates, j.constants, j.space)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wide", "clips"])
def test_bounds_lose_nothing(name, request):
    """The best, the first kinds and the front are those of brute force, though most strategies are never estimated."""
    case = request.getfixturevalue(name)
    s, e, fits = brute(case)
    found = search(case.shape, case.rates, case.constants, case.space, most_kinds=4)
    assert found.searched == len(s)
    assert found.pruned < found.searched
    assert found.feasible < fits.sum()  # most of what fits was never timed
    assert found.best[1].step_s[0] == pytest.approx(e.step_s[fits].min(), rel=1e-12)
    kinds = kind_of(s)
    best = sorted(e.step_s[fits & (kinds == k)].min() for k in set(kinds[fits]))[:4]
    np.testing.assert_allclose(found.kinds[1].step_s, best, rtol=1e-12)
    points = np.stack([e.step_s, e.memory_bytes], axis=-1)[fits]
    np.testing.assert_allclose(
        np.stack([found.pareto[1].step_s, found.pareto[1].memory_bytes], axis=-1), points[_edge(*points.T)], rtol=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wide", "clips"])
def test_bounds_are_below_every_strategy_of_their_core(name, request):
    case = request.getfixturevalue(name)
    core = cores(case.space)
    time_s, compute_s, forward_s = floor_s(case.shape, case.rates, case.constants, core)
    need = memory.floor_bytes(case.shape, case.rates, case.constants, core, most_zero(case.space, core), True)
    named, of = kinds(case.space, core)
    for i in np.random.default_rng(0).choice(len(core), 60, replace=False):
        for _, s in expand(case.space, core[[i]], inners(case.space, named[of[i]])):
            e = estimate(case.shape, case.rates, case.constants, s)
            assert (e.step_s >= (time_s[i] + s.full * forward_s[i]) * (1 - 1e-9)).all()
            assert (e.compute_part_s >= compute_s[i] * (1 - 1e-9)).all()
            assert (e.memory_bytes >= need[i] * (1 - 1e-9)).all()


@pytest.mark.parametrize("objective", ["energy", "cost"])
def test_bounds_hold_for_other_objectives(objective):
    j = job(model("llama-3.1-8b"), "8 x A100-SXM-80GB", 1e9, global_batch=16)
    goal = run.objective_of(j, objective)
    every = search(j.shape, j.rates, j.constants, j.space, goal)
    some = search(j.shape, j.rates, j.constants, j.space, goal, most_kinds=3)
    assert some.pruned >= every.pruned
    np.testing.assert_allclose(goal(*some.best), goal(*every.best), rtol=1e-12)
    np.testing.assert_allclose(some.kinds[1].step_s, every.kinds[1].step_s[:3], rtol=1e-12)
    assert len(some.pareto[0]) == len(every.pareto[0])


@pytest.mark.parametrize("framework", [None, "any"])
def test_a_search_for_less_than_some_time_finds_the_same_best_or_nothing_better(framework):
    j = job(model("llama-3.1-8b"), "16 x A100-SXM-80GB", 1e9, global_batch=32, framework=framework)
    best = search(j.shape, j.rates, j.constants, j.space, most_kinds=1, front=False).best
    least = float(best[1].step_s[0])
    for factor in (1.5, 1.0):
        found = search(
            j.shape, j.rates, j.constants, j.space, most_kinds=1, front=False, at_most=factor * least * (1 + 1e-12)
        )
        assert found.best[1].step_s[0] == least
    half = search(j.shape, j.rates, j.constants, j.space, most_kinds=1, front=False, at_most=0.5 * least)
    assert half.best is None or half.best[1].step_s[0] >= least
    assert half.feasible < found.feasible and half.nearest is None  # nothing is said about what fits
