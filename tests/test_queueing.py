"""Queueing: closed forms against a replay of every event, the replay against a loop over steps, limiting cases.

Tolerances say what was reached on the grids below (worst case, rounded up), not what one would wish.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutline.core.errors import CutlineError
from cutline.physics.queueing import AffineStep, closed_loop, open_loop
from cutline.serve.replay import simulate

DENSE = AffineStep(0.008, 2e-5, 2e-8, 4e-5)
"""Like an 8B model on one data-centre part: rounded, for tests only."""
LONG = AffineStep(0.010, 1e-4, 2e-7, 2e-5)
"""Decoding dominated by its KV cache."""


def spread(mean, n, seed):
    """Uniform lengths, from half to one and a half of the mean: cv 0.29."""
    return np.random.default_rng(seed).integers(mean // 2, mean * 3 // 2, n)


def loop(step_s, sent_s, inputs, outputs, slots, kv_tokens, budget):
    """The server, one step at a time."""
    n, now, done = len(inputs), 0.0, 0
    queue, running, prompts = list(range(n)), {}, {}
    first, end = np.zeros(n), np.zeros(n)
    while done < n:
        while queue and sent_s[queue[0]] <= now and len(running) + len(prompts) < slots:
            held = sum(inputs[i] + outputs[i] for i in [*running, *prompts, queue[0]])
            if held > kv_tokens:
                break
            prompts[queue[0]] = inputs[queue[0]]
            queue.pop(0)
        if not running and not prompts:
            now = sent_s[queue[0]]
            continue
        room = budget
        for i in prompts:
            taken = min(room, prompts[i])
            prompts[i] -= taken
            room -= taken
        now += step_s(len(running), sum(inputs[i] + made for i, made in running.items()), budget - room)
        for i in running:
            running[i] += 1
        for i in [i for i, left in prompts.items() if not left]:
            del prompts[i]
            first[i], running[i] = now, 1
        for i in [i for i, made in running.items() if made >= outputs[i]]:
            del running[i]
            end[i], done = now, done + 1
    return first - sent_s, end


# the replay


@pytest.mark.parametrize("seed", range(12))
def test_replay_equals_a_loop_over_steps(seed):
    rng = np.random.default_rng(seed)
    n = 40
    inputs, outputs = rng.integers(1, 300, n), rng.integers(0, 60, n)
    sent = np.sort(rng.uniform(0, rng.choice([3.0, 10.0, 40.0]), n))
    limits = int(rng.integers(1, 9)), int(rng.integers(400, 2000)), 64
    ttft, end = loop(DENSE, sent, inputs, outputs, *limits)
    got = simulate(
        DENSE, input_tokens=inputs, output_tokens=outputs, requests=n, sent_s=sent,
        slots=limits[0], kv_tokens=limits[1], budget=limits[2],
    )  # fmt: skip
    np.testing.assert_allclose(got.ttft_s, ttft, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(got.end_s, end, rtol=1e-9)


@pytest.mark.parametrize("how", [{"concurrency": 16}, {"rate_per_s": 4.0}])
def test_tokens_are_conserved_and_littles_law_holds(how):
    inputs, outputs = spread(1024, 500, 1), spread(200, 500, 2)
    seen = simulate(DENSE, input_tokens=inputs, output_tokens=outputs, requests=500, budget=2048, slots=32, **how)
    assert seen.prompt_tokens == inputs.sum()
    assert seen.output_tokens == outputs.sum()
    whole = seen.end_s.max()
    assert seen.batch == pytest.approx((seen.end_s - seen.admitted_s).sum() / whole, rel=1e-9)
    decoding = (seen.end_s - seen.sent_s - seen.ttft_s).sum()
    assert seen.decoding == pytest.approx(decoding / whole, rel=1e-9)
    assert seen.output_tokens_per_s == pytest.approx(outputs.sum() / whole)
    assert 0 < seen.busy_share <= 1 + 1e-12


def test_same_seed_same_bytes():
    a, b, c = (
        simulate(DENSE, input_tokens=500, output_tokens=50, requests=200, rate_per_s=5.0, budget=512, seed=s)
        for s in (3, 3, 4)
    )
    assert a.end_s.tobytes() == b.end_s.tobytes() != c.end_s.tobytes()
    drawn = simulate(
        DENSE, input_tokens=500, output_tokens=50, requests=200, rate_per_s=5.0, budget=512,
        seed=np.random.default_rng(3),
    )  # fmt: skip
    assert drawn.end_s.tobytes() == a.end_s.tobytes()


def test_no_output_tokens_ends_with_the_prompt():
    seen = simulate(DENSE, input_tokens=100, output_tokens=[0, 1], requests=2, concurrency=1, budget=100)
    np.testing.assert_allclose(seen.end_s - seen.sent_s, seen.ttft_s)
    assert np.isnan(seen.tpot_s).all()
    assert seen.output_tokens == 1


def test_warmup_leaves_out_both_ends():
    seen = simulate(DENSE, input_tokens=100, output_tokens=20, requests=50, rate_per_s=1.0, budget=100, warmup=0.1)
    assert seen.kept.sum() == 40
    assert not seen.kept[np.argmin(seen.end_s)]
    assert not seen.kept[np.argmax(seen.end_s)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concurrency": 1, "rate_per_s": 1.0}, "give one of concurrency, rate_per_s and sent_s"),
        ({}, "give one of concurrency, rate_per_s and sent_s"),
        ({"sent_s": [1.0, 0.5]}, r"sent_s\[1\] must be at least 0; got -0.5"),
        ({"sent_s": [1.0]}, "sent_s must have one time for each of the 2 requests"),
        ({"concurrency": 1, "input_tokens": [1, 2, 3]}, "input_tokens must be one number or one for each of the 2"),
        ({"concurrency": 1, "input_tokens": 1.5}, "input_tokens must be whole numbers"),
        ({"concurrency": 1, "input_tokens": 0}, "input_tokens must be at least 1; got 0"),
        ({"concurrency": 1, "kv_tokens": 19}, "kv_tokens must be at least 20; got 19"),
        ({"concurrency": 1, "warmup": 0.5}, "warmup must be below 0.5; got 0.5"),
    ],
)
def test_what_a_replay_refuses(change, message):
    base = {"input_tokens": 10, "output_tokens": 10, "requests": 2, "budget": 10}
    with pytest.raises(CutlineError, match=message):
        simulate(DENSE, **(base | change))


small = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(small, small, st.integers(1, 12), st.integers(1, 30), st.floats(1.0, 3.0))
def test_faster_steps_never_end_later(inputs, outputs, clients, requests, slower):
    """Closed loop: the order of events does not depend on the clock."""
    how = {"input_tokens": inputs, "output_tokens": outputs, "concurrency": clients, "requests": requests, "budget": 32}
    fast = simulate(DENSE, **how)
    slow = simulate(AffineStep(DENSE.base_s * slower, DENSE.decode_s, DENSE.context_s * slower, DENSE.prompt_s), **how)
    assert (fast.end_s <= slow.end_s * (1 + 1e-12)).all()


@settings(max_examples=60, deadline=None)
@given(small, small, st.integers(1, 8), st.integers(1, 30))
def test_more_slots_never_end_the_benchmark_later_where_a_step_costs_the_same(inputs, outputs, slots, requests):
    """With a base cost only, a fuller step costs nothing; otherwise a thinner batch can end sooner."""
    how = {"input_tokens": inputs, "output_tokens": outputs, "concurrency": 16, "requests": requests, "budget": 64}
    few, more = (simulate(AffineStep(0.01, 0.0, 0.0, 0.0), slots=s, **how) for s in (slots, slots + 1))
    assert more.end_s.max() <= few.end_s.max() * (1 + 1e-12)


# closed loop

LENGTHS = [(1024, 128), (1024, 1024), (128, 1024), (8192, 256)]


def closed_errors(fixed):
    for clients in (1, 8, 64, 256):
        for inputs, outputs in LENGTHS:
            for budget in (2048, 8192):
                n = 10 * clients
                seen = simulate(
                    DENSE, requests=n, concurrency=clients, budget=budget,
                    input_tokens=inputs if fixed else spread(inputs, n, 3),
                    output_tokens=outputs if fixed else spread(outputs, n, 4),
                )  # fmt: skip
                said = closed_loop(
                    DENSE, input_tokens=inputs, output_tokens=outputs, concurrency=clients, requests_per_client=10,
                    budget=budget, fixed_lengths=fixed,
                )  # fmt: skip
                later = seen.ttft_s[seen.sent_s > 0]
                yield [
                    float(said.tpot_s / seen.tpot_s.mean() - 1),
                    float(said.ttft_s / seen.ttft_s.mean() - 1),
                    float(said.ttft_steady_s / later.mean() - 1),
                ]


def test_closed_loop_of_fixed_lengths_is_nearly_exact():
    tpot, ttft, steady = np.abs(list(closed_errors(True))).max(axis=0)
    assert (tpot < 0.015, ttft < 0.01, steady < 0.005) == (True, True, True), (tpot, ttft, steady)


def test_closed_loop_of_random_lengths():
    """Worst where prompts take all of the budget and no more: what waits there is noise of the lengths."""
    errors = np.abs(list(closed_errors(False)))
    tpot, ttft, steady = errors.max(axis=0)
    assert (tpot < 0.05, ttft < 0.30, steady < 0.45) == (True, True, True), (tpot, ttft, steady)
    assert (np.median(errors, axis=0) < [0.01, 0.05, 0.06]).all(), np.median(errors, axis=0)


def test_one_client_waits_for_its_own_prefill_only():
    for inputs, chunks in ((1000, 1), (4000, 4), (4001, 5)):
        how = {"input_tokens": inputs, "output_tokens": 10, "concurrency": 1, "budget": 1000}
        said, seen = closed_loop(DENSE, requests_per_client=4, **how), simulate(DENSE, requests=4, **how)
        own = chunks * DENSE.base_s + inputs * DENSE.prompt_s
        assert float(said.ttft_s) == pytest.approx(own)
        assert seen.ttft_s == pytest.approx(own)
        assert float(said.tpot_s) == pytest.approx(seen.tpot_s.mean(), rel=1e-9)


@pytest.mark.parametrize("limit", [{"slots": 16}, {"kv_tokens": 16 * 1536.0}])
def test_more_clients_than_places_wait(limit):
    how = {"input_tokens": 1024, "output_tokens": 512, "concurrency": 64, "budget": 4096} | limit
    said, seen = closed_loop(DENSE, requests_per_client=10, **how), simulate(DENSE, requests=640, **how)
    assert float(said.batch) == 16
    assert float(said.tpot_s) == pytest.approx(seen.tpot_s.mean(), rel=0.03)
    assert float(said.ttft_s) == pytest.approx(seen.ttft_s.mean(), rel=0.05)
    assert float(said.requests_per_s) * 512 == pytest.approx(seen.output_tokens_per_s, rel=0.03)


def test_a_flood_is_half_the_burst():
    """One request per client, prompts only: the research note's C S / 2."""
    said = closed_loop(
        AffineStep(1e-9, 0, 0, 1e-4), input_tokens=1000, output_tokens=1, concurrency=100, requests_per_client=1,
        budget=1000,
    )  # fmt: skip
    assert float(said.ttft_s) == pytest.approx(101 * 0.1 / 2, rel=1e-3)
    assert math.isnan(said.tpot_s)


# open loop


def open_errors(shares, seeds=(1,), requests=4000):
    for step in (DENSE, LONG):
        for inputs, outputs in LENGTHS:
            for budget, slots, fixed in ((2048, 16, True), (8192, 16, False), (2048, 256, False), (8192, 256, True)):
                how = {"budget": budget, "slots": slots}
                cv = 0.0 if fixed else 1 / math.sqrt(12)
                mean = {"input_tokens": inputs, "output_tokens": outputs, "input_cv": cv, "output_cv": cv}
                capacity = float(open_loop(step, rate_per_s=0.0, **mean, **how).capacity_per_s)
                for share in shares:
                    said = open_loop(step, rate_per_s=share * capacity, **mean, **how)
                    runs = [
                        simulate(
                            step, requests=requests, rate_per_s=share * capacity, seed=s, warmup=0.05,
                            input_tokens=inputs if fixed else spread(inputs, requests, s + 10),
                            output_tokens=outputs if fixed else spread(outputs, requests, s + 20), **how,
                        )
                        for s in seeds
                    ]  # fmt: skip
                    tpot, ttft = (np.concatenate([getattr(r, x)[r.kept] for r in runs]) for x in ("tpot_s", "ttft_s"))
                    levels = (0.5, 0.9, 0.99)
                    yield [
                        float(said.tpot_s / tpot.mean() - 1),
                        *(said.tpot_quantile_s / np.quantile(tpot, levels) - 1),
                        float(said.ttft_s / ttft.mean() - 1),
                        *(said.ttft_quantile_s / np.quantile(ttft, levels) - 1),
                    ]


REACHED = {
    0.1: [[0.05, 0.08, 0.12, 0.12, 0.08, 0.15, 0.20, 0.30], [0.01, 0.02, 0.02, 0.02, 0.01, 0.04, 0.04, 0.14]],
    0.5: [[0.05, 0.05, 0.10, 0.16, 0.13, 0.22, 0.15, 0.25], [0.02, 0.02, 0.03, 0.06, 0.05, 0.05, 0.05, 0.12]],
    0.7: [[0.08, 0.08, 0.12, 0.18, 0.20, 0.27, 0.30, 0.40], [0.03, 0.03, 0.05, 0.07, 0.10, 0.07, 0.10, 0.16]],
    0.85: [[0.15, 0.15, 0.22, 0.27, 0.27, 0.22, 0.26, 0.55], [0.05, 0.05, 0.07, 0.10, 0.12, 0.09, 0.12, 0.25]],
}
"""Share of capacity -> error of TPOT mean, p50, p90, p99 and TTFT mean, p50, p90, p99: nine cases in ten, the median case.

Reached here: half to nine tenths of these. The tenth case can be far off: TTFT p90 by a factor of 5 where one request in ten
waits for a slot, so that the quantile stands on the edge of a cliff; TPOT p99 by 70 % where prompts of 8,192 meet 16 slots.
"""


@pytest.mark.slow
@pytest.mark.parametrize("share", list(REACHED))
def test_open_loop_against_the_replay(share):
    errors = np.abs(list(open_errors([share])))
    most, median = np.quantile(errors, 0.9, axis=0), np.median(errors, axis=0)
    assert (most <= REACHED[share][0]).all(), most
    assert (median <= REACHED[share][1]).all(), median


def test_rate_to_zero_is_a_request_alone():
    said = open_loop(DENSE, input_tokens=5000, output_tokens=101, rate_per_s=[0.0, 1e-9], budget=2048)
    own = 3 * DENSE.base_s + 5000 * DENSE.prompt_s
    alone = DENSE.base_s + DENSE.decode_s + DENSE.context_s * 5050.5
    np.testing.assert_allclose(said.ttft_s, own, rtol=1e-6)
    np.testing.assert_allclose(said.tpot_s, alone, rtol=1e-6)
    np.testing.assert_allclose(said.ttft_quantile_s, own, rtol=1e-4)
    np.testing.assert_allclose(said.tpot_quantile_s, alone, rtol=1e-4)


def test_above_capacity_is_unstable():
    how = {"input_tokens": 1024, "output_tokens": 256, "budget": 2048, "slots": 64}
    capacity = float(open_loop(DENSE, rate_per_s=1.0, **how).capacity_per_s)
    said = open_loop(DENSE, rate_per_s=np.array([0.99, 1.0, 1.01]) * capacity, **how)
    assert said.stable.tolist() == [True, False, False]
    assert np.isfinite(said.ttft_s).tolist() == [True, False, False]
    assert np.isinf(said.ttft_quantile_s[2]).all()
    assert np.isfinite(said.tpot_quantile_s).all()
    late = [
        simulate(DENSE, requests=n, rate_per_s=1.3 * capacity, seed=1, **how).ttft_s[-100:].mean() for n in (2000, 4000)
    ]
    assert late[1] > 1.5 * late[0]
    full = closed_loop(DENSE, concurrency=64, requests_per_client=100, fixed_lengths=True, **how)
    assert float(full.requests_per_s) == pytest.approx(capacity)


def test_one_slot_is_the_textbook_queue():
    """M/G/1: fixed lengths give M/D/1, whose mean wait is u S / (2 (1 - u))."""
    how = {"input_tokens": 1000, "output_tokens": 101, "budget": 1000, "slots": 1}
    service = DENSE.base_s * 101 + 1000 * DENSE.prompt_s + 100 * (DENSE.decode_s + DENSE.context_s * 1050.5)
    rate = 0.7 / service
    said = open_loop(DENSE, rate_per_s=rate, **how)
    wait = 0.7 * service / (2 * 0.3)
    assert float(said.utilisation) == pytest.approx(0.7)
    assert float(said.slot_wait_s) == pytest.approx(wait)
    assert float(said.ttft_s) == pytest.approx(wait + DENSE.base_s + 1000 * DENSE.prompt_s)
    seen = simulate(DENSE, requests=40_000, rate_per_s=rate, seed=2, **how)
    assert seen.ttft_s.mean() == pytest.approx(float(said.ttft_s), rel=0.03)
    assert seen.tpot_s == pytest.approx(float(said.tpot_s), rel=1e-9)


def test_no_output_tokens_is_a_queue_of_prompts():
    how = {"input_tokens": 1000, "output_tokens": 0, "budget": 1000}
    service = DENSE.base_s + 1000 * DENSE.prompt_s
    said = open_loop(DENSE, rate_per_s=0.6 / service, **how)
    assert math.isnan(said.tpot_s)
    assert np.isnan(said.tpot_quantile_s).all()
    assert float(said.decoding) == 0
    seen = simulate(DENSE, requests=20_000, rate_per_s=0.6 / service, seed=2, **how)
    assert float(said.ttft_s) == pytest.approx(seen.ttft_s.mean(), rel=0.35)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10_000), st.integers(0, 2_000), st.integers(1, 600), st.floats(0.0, 0.95))
def test_open_loop_is_in_order(inputs, outputs, slots, share):
    how = {"input_tokens": inputs, "output_tokens": outputs, "budget": 2048}
    capacity = open_loop(DENSE, rate_per_s=0.0, slots=np.array([slots, slots + 1]), **how).capacity_per_s
    assert capacity[1] >= capacity[0] * (1 - 1e-12)
    said = open_loop(DENSE, rate_per_s=capacity[0] * share * np.array([0.9, 1.0]), slots=slots, **how)
    assert (np.diff(said.ttft_quantile_s, axis=-1) >= -1e-9).all()
    assert said.ttft_s[1] >= said.ttft_s[0] * (1 - 1e-6)
    if outputs > 1:
        assert (np.diff(said.tpot_quantile_s, axis=-1) >= -1e-9).all()
        assert said.tpot_s[1] >= said.tpot_s[0] * (1 - 1e-9)


def test_array_calls_equal_scalar_calls():
    inputs, outputs, budget = np.array([100, 1000, 9000]), np.array([1, 100, 400]), np.array([512, 2048, 8192])
    load = np.array([0.5, 1.0, 50.0])
    got = open_loop(DENSE, input_tokens=inputs, output_tokens=outputs, rate_per_s=load, budget=budget, slots=64)
    closed = closed_loop(
        DENSE, input_tokens=inputs, output_tokens=outputs, concurrency=[1, 8, 99], requests_per_client=3, budget=budget
    )
    for i in range(3):
        own = {"input_tokens": inputs[i], "output_tokens": outputs[i], "budget": budget[i]}
        for name, value in open_loop(DENSE, rate_per_s=load[i], slots=64, **own)._asdict().items():
            np.testing.assert_array_equal(getattr(got, name)[i], value, err_msg=name)
        one = closed_loop(DENSE, concurrency=[1, 8, 99][i], requests_per_client=3, **own)
        for name, value in one._asdict().items():
            np.testing.assert_array_equal(getattr(closed, name)[i], value, err_msg=name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_tokens": 0}, "input_tokens must be at least 1; got 0"),
        ({"rate_per_s": math.nan}, "rate_per_s must be at least 0; got nan"),
        ({"slots": 0}, "slots must be at least 1; got 0"),
        ({"quantiles": [0.5, 1.0]}, r"1 - quantiles\[1\] must be above 0; got 0.0"),
    ],
)
def test_what_open_loop_refuses(change, message):
    base = {"input_tokens": 10, "output_tokens": 10, "rate_per_s": 1.0, "budget": 10}
    with pytest.raises(CutlineError, match=message):
        open_loop(DENSE, **(base | change))
