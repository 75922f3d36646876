"""Physics: golden values worked by hand, limits, replays, and the contract that every function broadcasts."""

import inspect
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutline.physics import collectives, experts, kernels, pipelines, power
from cutline.physics.collectives import alltoall_s, gather_s, send_s
from cutline.physics.experts import distinct, dropped_share, expected_maximum, slowest_rank
from cutline.physics.kernels import (
    flash_attention_s,
    gemm_s,
    grouped_gemm_s,
    scan_flop,
    stream_s,
    unfused_attention_s,
)
from cutline.physics.pipelines import bubble_share, in_flight, pipeline_s
from cutline.physics.power import draw_w, goodput, power_capped_fraction

rate = st.floats(1e9, 1e15)
size = st.floats(1.0, 1e11)
members = st.sampled_from([1, 2, 3, 4, 8, 16, 64, 512])

PUBLIC = [
    f for module in (collectives, experts, kernels, pipelines, power)
    for name, f in inspect.getmembers(module, inspect.isfunction)
    if f.__module__ == module.__name__ and not name.startswith("_")
]  # fmt: skip

# one lawful range per parameter name; whole numbers where the thing is a count
RANGES = {
    "size_bytes": (1.0, 1e10), "n": (1, 64), "inside": (1, 8), "up_bytes_per_s": (1e9, 1e12), "out_bytes_per_s": (1e9, 1e11),
    "up_hop_s": (0.0, 1e-5), "out_hop_s": (0.0, 1e-4), "bytes_per_s": (1e9, 1e12), "hop_s": (0.0, 1e-4), "m": (1, 8192),
    "k": (1, 8192), "flop_per_s": (1e12, 1e15), "memory_bytes_per_s": (1e11, 1e13), "units": (0, 200),
    "element_bytes": (0.5, 4.0), "tail": (0.0, 1.0), "ramp_k": (0.0, 500.0), "start_s": (0.0, 1e-5), "tokens": (1, 65536),
    "keys": (1, 65536), "heads": (1, 128), "head_dim": (16, 256), "ramp_keys": (0.0, 1000.0), "head_dim_power": (0.0, 1.0),
    "causal": (0.5, 1.0), "passes": (1.0, 8.0), "micro_batches": (1, 512), "slowest_s": (1e-3, 1.0), "sum_s": (1.0, 8.0),
    "interleave": (1, 8), "stage": (0, 3), "pp": (4, 16), "reference": (0.3, 0.85), "j_per_flop": (1e-13, 1e-11),
    "reference_j_per_flop": (1e-13, 1e-11), "exponent": (0.1, 0.6), "ceiling": (0.9, 1.0), "chips": (1, 100000),
    "power_w": (50.0, 1500.0), "time_s": (1.0, 1e7), "server_factor": (1.0, 2.0), "pue": (1.0, 2.0), "limit_w": (50.0, 1500.0),
    "idle_w": (5.0, 200.0), "busy": (0.0, 1.0), "busy_share": (0.3, 1.0), "failures_per_chip_s": (0.0, 1e-8),
    "pair_share": (0.1, 1.0), "checkpoint_s": (0.0, 100.0), "restart_s": (0.0, 1000.0), "up_bytes": (0.0, 1e9),
    "out_bytes": (0.0, 1e9), "value_dim": (0, 256), "pairs": (0, 65536), "groups": (1, 256), "apart": (0.0, 1.0),
    "state_dim": (16, 256), "chunk": (16, 256), "schedule": (0, 3), "forward_s": (1e-3, 1.0), "backward_s": (1.0, 2.0),
    "weight_s": (0.0, 1.0), "experts": (1, 512), "ranks": (1, 64), "spread": (0.0, 1.5), "capacity": (0.0, 2.0),
    "places": (1, 64), "copies": (1, 16),
}  # fmt: skip


def drawn(rng, name, shape):
    low, high = RANGES[name]
    if isinstance(low, int):
        return rng.integers(low, high, shape, endpoint=True)
    return rng.uniform(low, high, shape)


# contract


@pytest.mark.parametrize("function", PUBLIC, ids=lambda f: f.__name__)
@given(seed=st.integers(0, 2**32 - 1))
def test_array_call_equals_scalar_calls(function, seed):
    rng = np.random.default_rng(seed)
    columns = {p: drawn(rng, p, 7) for p in inspect.signature(function).parameters}
    got = function(**columns)
    assert got.shape == (7,)
    one_by_one = [float(function(**{p: v[i].item() for p, v in columns.items()})) for i in range(7)]
    np.testing.assert_allclose(got, one_by_one, rtol=1e-12)
    assert np.isfinite(got).all()
    assert (got >= 0).all()


@pytest.mark.parametrize("function", PUBLIC, ids=lambda f: f.__name__)
def test_leading_axes_belong_to_the_caller(function):
    rng = np.random.default_rng(0)
    names = list(inspect.signature(function).parameters)
    shapes = [(5, 1), (3,), ()]
    columns = {p: drawn(rng, p, shapes[i % 3]) for i, p in enumerate(names)}
    got = function(**columns)
    assert got.shape == np.broadcast_shapes(*(np.shape(v) for v in columns.values()))
    before = {p: np.copy(v) for p, v in columns.items()}
    function(**columns)
    assert all((before[p] == columns[p]).all() for p in names), "arguments were changed"


# collectives


def test_gather_golden():
    # ring all-gather moves (n - 1) / n of the buffer over every link (nccl-tests, PERFORMANCE.md):
    # 8 GB over 8 chips at 450 GB/s: 7/8 x 8e9 / 450e9 = 15.5556 ms, and log2(8) = 3 starts of 6 us
    assert gather_s(8e9, 8, 8, 450e9, 50e9, 6e-6, 17e-6) == pytest.approx(15.55556e-3 + 18e-6, rel=1e-6)
    # two domains of 8: the network carries 15/16 x 8e9 over eight ports of 50 GB/s = 18.75 ms
    assert gather_s(8e9, 16, 8, 450e9, 50e9, 6e-6, 17e-6) == pytest.approx(18.75e-3 + 18e-6 + 17e-6, rel=1e-9)
    # one member per domain: no fast links help, 15/16 x 8e9 / 50e9 = 150 ms
    assert gather_s(8e9, 16, 1, 450e9, 50e9) == pytest.approx(0.15, rel=1e-12)
    # fast ports outside: inside, 14 of 16 sixteenths go over a chip's links, for two arrive from the other domain
    assert gather_s(8e9, 16, 8, 1e9, 1e30) == pytest.approx(7.0, rel=1e-12)


def ring_gather(n, chunk_s):
    """Replay a ring: in each of n - 1 rounds every member hands on the piece it got last."""
    held = [{i} for i in range(n)]
    passing, rounds = list(range(n)), 0
    while any(len(h) < n for h in held):
        passing = [passing[(i - 1) % n] for i in range(n)]
        for mine, piece in zip(held, passing, strict=True):
            mine.add(piece)
        rounds += 1
    return rounds * chunk_s


@pytest.mark.parametrize("n", [1, 2, 3, 8, 13])
def test_gather_equals_a_replayed_ring(n):
    assert gather_s(1e9, n, n, 1e11, 1.0) == pytest.approx(ring_gather(n, 1e9 / n / 1e11), rel=1e-12)


@given(size, rate, rate)
def test_one_member_or_no_bytes_cost_nothing(size_bytes, up, out):
    assert gather_s(size_bytes, 1, 1, up, out, 1e-5, 1e-5) == 0.0
    assert gather_s(size_bytes, 1, 8, up, out, 1e-5, 1e-5) == 0.0
    assert gather_s(0.0, 64, 8, up, out) == 0.0
    assert send_s(0.0, up) == 0.0


@given(size, st.integers(2, 72), rate)
def test_inside_one_domain_the_network_does_not_count(size_bytes, n, up):
    assert gather_s(size_bytes, n, n, up, 1.0) == gather_s(size_bytes, n, n, up, 1e30)


@given(size, members, members, rate, rate, st.floats(1.0, 10.0))
def test_collectives_scale_and_more_bandwidth_is_never_slower(size_bytes, n, inside, up, out, more):
    at = gather_s(size_bytes, n, inside, up, out, 1e-6, 1e-5)
    assert gather_s(size_bytes, n, inside, up * more, out, 1e-6, 1e-5) <= at * (1 + 1e-12)
    assert gather_s(size_bytes, n, inside, up, out * more, 1e-6, 1e-5) <= at * (1 + 1e-12)
    assert gather_s(size_bytes * more, n, inside, up, out, 1e-6, 1e-5) >= at * (1 - 1e-12)
    np.testing.assert_allclose(
        gather_s(size_bytes, n, inside, 2 * up, 2 * out),
        gather_s(size_bytes, n, inside, up, out) / 2,
        rtol=1e-12,
    )


@given(size, rate, st.floats(0.0, 1e-3))
def test_send_golden(size_bytes, bandwidth, hop):
    assert send_s(size_bytes, bandwidth, hop) == pytest.approx(size_bytes / bandwidth + hop, rel=1e-12)
    assert send_s(size_bytes, 2 * bandwidth) == pytest.approx(send_s(size_bytes, bandwidth) / 2, rel=1e-12)


# kernels


def test_gemm_golden():
    # 2 m n k flop = 2 x 8192^3 = 1.0995e12; / 250e12 = 4.39805 ms, far above 0.27 ms of memory traffic
    assert gemm_s(8192, 8192, 8192, 250e12, 1.5e12) == pytest.approx(4.39805e-3, rel=1e-5)
    # half a wave of 108 tiles of 128 x 256 out of 8192^2 / 32768 = 2048 tiles: 1 + 54 / 2048
    assert gemm_s(8192, 8192, 8192, 250e12, 1e30, 108) == pytest.approx(4.398047e-3 * (1 + 54 / 2048), rel=1e-6)
    # a fill of 100 deep on 1000: 10 % more
    assert gemm_s(4096, 4096, 1000, 1e14, 1e30, ramp_k=100) == pytest.approx(2 * 4096**2 * 1000 * 1.1 / 1e14, rel=1e-12)
    # one row: a matrix-vector product waits for the 2 x 4096^2 bytes of the matrix
    assert gemm_s(1, 4096, 4096, 1e30, 1e12) == pytest.approx(2 * (4096**2 + 2 * 4096) / 1e12, rel=1e-12)
    # nothing but the start
    assert gemm_s(1, 1, 1, 1e30, 1e30, start_s=6e-6) == pytest.approx(6e-6, rel=1e-9)


dims = st.integers(1, 16384)


@given(dims, dims, dims, rate, rate, st.integers(0, 200))
def test_gemm_is_at_least_its_flop_and_its_bytes(m, n, k, flop, memory, units):
    got = gemm_s(m, n, k, flop, memory, units, ramp_k=100)
    assert got >= 2.0 * m * n * k / flop * (1 - 1e-12)
    assert got >= 2.0 * (m * k + k * n + m * n) / memory * (1 - 1e-12)
    np.testing.assert_allclose(gemm_s(m, n, k, 2 * flop, 2 * memory, units, ramp_k=100), got / 2, rtol=1e-12)


@given(dims, dims, dims, rate, rate, st.floats(1.0, 10.0))
def test_gemm_grows_with_work_and_shrinks_with_rates(m, n, k, flop, memory, more):
    at = gemm_s(m, n, k, flop, memory, 108, ramp_k=100)
    assert gemm_s(2 * m, n, k, flop, memory, 108, ramp_k=100) >= at
    assert gemm_s(m, n, 2 * k, flop, memory, 108, ramp_k=100) >= at
    assert gemm_s(m, n, k, flop * more, memory, 108, ramp_k=100) <= at * (1 + 1e-12)
    assert gemm_s(m, n, k, flop, memory * more, 108, ramp_k=100) <= at * (1 + 1e-12)
    assert gemm_s(m, n, k, flop, memory, 108, ramp_k=100, element_bytes=1.0) <= at


def test_stream_golden():
    assert stream_s(1.5e12, 3e12) == 0.5
    assert stream_s(0.0, 3e12) == 0.0
    assert stream_s(7e9, 6e12) == stream_s(7e9, 3e12) / 2


def test_flash_attention_golden():
    # flashattention-2 section 4.1: 4 x seq^2 x head_dim x heads flop, halved by the causal mask
    # 4 x 8192^2 x 128 x 32 / 2 = 5.4976e11 flop; at 200 TFLOP/s 2.74878 ms
    assert flash_attention_s(8192, 8192, 32, 128, 200e12) == pytest.approx(2.748779e-3, rel=1e-6)
    assert flash_attention_s(8192, 8192, 32, 128, 200e12, causal=1.0) == pytest.approx(2 * 2.748779e-3, rel=1e-6)
    # at the ramp length half of the rate
    assert flash_attention_s(8192, 512, 32, 128, 200e12, 512.0) == pytest.approx(
        2 * flash_attention_s(8192, 512, 32, 128, 200e12), rel=1e-12
    )
    # heads of 32 at power 0.5: half of the rate; heads of 256 no faster than 128
    assert flash_attention_s(64, 64, 4, 32, 1e12, head_dim_power=0.5) == pytest.approx(
        2 * flash_attention_s(64, 64, 4, 32, 1e12), rel=1e-12
    )
    assert flash_attention_s(64, 64, 4, 256, 1e12, head_dim_power=0.5) == flash_attention_s(64, 64, 4, 256, 1e12)


def test_unfused_attention_golden():
    # two products over the full square, 4 t s a d = 4 x 2048^2 x 16 x 64 = 1.71799e10 flop, and six trips of
    # two bytes per score: 12 x 2048^2 x 16 = 8.05306e8 bytes
    got = unfused_attention_s(2048, 2048, 16, 64, 1e14, 1e12)
    assert got == pytest.approx(1.717987e10 / 1e14 + 8.053064e8 / 1e12, rel=1e-6)


@given(dims, dims, st.integers(1, 128), st.sampled_from([64, 80, 128]), rate, rate)
def test_attention_halves_with_twice_the_rates_and_flash_is_never_slower(tokens, keys, heads, width, flop, memory):
    flash = flash_attention_s(tokens, keys, heads, width, flop, 500.0, 0.2)
    plain = unfused_attention_s(tokens, keys, heads, width, flop, memory)
    np.testing.assert_allclose(
        flash_attention_s(tokens, keys, heads, width, 2 * flop, 500.0, 0.2), flash / 2, rtol=1e-12
    )
    np.testing.assert_allclose(
        unfused_attention_s(tokens, keys, heads, width, 2 * flop, 2 * memory), plain / 2, rtol=1e-12
    )
    assert flash_attention_s(tokens, keys, heads, width, flop) < plain


def test_attention_with_other_values_and_other_pairs():
    # value heads of 64 beside query heads of 192, as wide as two of 128 together: 2 x 192 flop per pair and head
    plain = flash_attention_s(4096, 4096, 16, 192, 1e14)
    assert flash_attention_s(4096, 4096, 16, 192, 1e14, value_dim=64) == pytest.approx(
        plain * (192 + 64) / 384, rel=1e-12
    )
    assert flash_attention_s(4096, 4096, 16, 192, 1e14, value_dim=192) == plain
    # a window, or tokens that an indexer keeps: the flop of the pairs, at the rate of the whole length
    assert flash_attention_s(4096, 4096, 16, 192, 1e14, 500.0, pairs=512) == pytest.approx(
        flash_attention_s(4096, 4096, 16, 192, 1e14, 500.0) * 512 / 2048, rel=1e-12
    )
    assert flash_attention_s(4096, 4096, 16, 192, 1e14, pairs=2048) == plain


@given(dims, dims, dims, rate, rate, st.integers(0, 200), st.floats(0.0, 1.0))
def test_one_group_is_one_product(m, n, k, flop, memory, units, apart):
    one = grouped_gemm_s(m, n, k, 1, flop, memory, units, ramp_k=100, start_s=1e-6, apart=apart)
    np.testing.assert_allclose(one, gemm_s(m, n, k, flop, memory, units, ramp_k=100, start_s=1e-6), rtol=1e-12)


def test_grouped_product_golden():
    # eight experts of 4096 rows: 2 x 8 x (4096 + 64) x 2048 x 7168 flop, for of the last tile of 128 half is empty
    flop = 2 * 8 * (4096 + 64) * 2048 * 7168
    assert grouped_gemm_s(4096, 2048, 7168, 8, 4e14, 1e30) == pytest.approx(flop / 4e14, rel=1e-9)
    # one row each: the matrices are read, 8 x 2048 x 7168 x 2 bytes and little else
    assert grouped_gemm_s(1, 2048, 7168, 8, 1e30, 1e12) == pytest.approx(
        2 * 8 * (7168 + 2048 * 7168 + 2048) / 1e12, rel=1e-9
    )
    # half a wave of 132 tiles, lost once by the whole and by every group where groups run apart
    tiles = (4096 + 64) * 2048 / (128 * 256)
    together, apart = (grouped_gemm_s(4096, 2048, 7168, 8, 4e14, 1e30, 132, apart=a) for a in (0.0, 1.0))
    assert together == pytest.approx(flop / 4e14 * (1 + 66 / tiles / 8), rel=1e-9)
    assert apart == pytest.approx(flop / 4e14 * (1 + 66 / tiles), rel=1e-9)


@given(dims, dims, dims, st.integers(1, 256), rate, rate, st.integers(0, 200), st.floats(0.0, 0.9))
def test_grouped_product_is_at_least_its_flop_and_its_bytes_and_best_in_one_kernel(
    m, n, k, groups, flop, memory, units, apart
):
    got = grouped_gemm_s(m, n, k, groups, flop, memory, units, apart=apart)
    assert got >= 2.0 * m * n * k * groups / flop * (1 - 1e-12)
    assert got >= 2.0 * groups * (m * k + k * n + m * n) / memory * (1 - 1e-12)
    assert grouped_gemm_s(m, n, k, groups, flop, memory, units, apart=apart + 0.1) >= got * (1 - 1e-12)


def test_scan_counts_what_a_chunked_mixer_multiplies():
    """Count the products of state-space duality for one head, matrix by matrix (mamba2-paper section 6)."""
    chunk, state, head, chunks = 64, 128, 32, 5
    scores = chunk * chunk * state  # C B^T, of which the causal half
    inside = chunk * chunk * head  # scores times X, of which the causal half
    states = chunk * state * head  # B^T X
    outputs = chunk * state * head  # C times the state that comes in
    flop = 2 * chunks * (scores / 2 + inside / 2 + states + outputs)
    assert scan_flop(chunk * chunks, 1, head, state, chunk) == pytest.approx(flop, rel=1e-12)
    assert scan_flop(chunk * chunks, 7, head, state, chunk) == pytest.approx(7 * flop, rel=1e-12)


# exchange and load of experts


def test_exchange_golden():
    # 1 GB at 200 GB/s inside, 0.1 GB at 40 GB/s outside: the slower one, 5 ms; and the start once
    assert alltoall_s(1e9, 1e8, 200e9, 40e9) == pytest.approx(5e-3, rel=1e-12)
    assert alltoall_s(1e9, 1e9, 200e9, 40e9) == pytest.approx(25e-3, rel=1e-12)
    assert alltoall_s(1e9, 1e8, 200e9, 40e9, 1e-5) == pytest.approx(5.01e-3, rel=1e-12)
    assert alltoall_s(0.0, 0.0, 200e9, 40e9, 1e-5) == 0.0


@given(size, size, rate, rate, st.floats(1.0, 10.0))
def test_exchange_grows_with_bytes_and_shrinks_with_rates(up_bytes, out_bytes, up, out, more):
    at = alltoall_s(up_bytes, out_bytes, up, out, 1e-5)
    assert alltoall_s(up_bytes * more, out_bytes, up, out, 1e-5) >= at
    assert alltoall_s(up_bytes, out_bytes * more, up, out, 1e-5) >= at
    assert alltoall_s(up_bytes, out_bytes, up * more, out, 1e-5) <= at
    assert alltoall_s(up_bytes, out_bytes, up, out * more, 1e-5) <= at
    np.testing.assert_allclose(
        alltoall_s(up_bytes, out_bytes, 2 * up, 2 * out), alltoall_s(up_bytes, out_bytes, up, out) / 2, rtol=1e-12
    )


AXIS = np.linspace(-9.0, 9.0, 36_001)
BELL = np.exp(-0.5 * AXIS**2) / np.sqrt(2 * np.pi)
BELOW = np.cumsum(BELL) * (AXIS[1] - AXIS[0])


@pytest.mark.parametrize("n", [2, 3, 8, 16, 64, 256])
def test_expected_maximum_is_that_of_the_integral(n):
    exact = np.sum(AXIS * n * BELL * BELOW ** (n - 1)) * (AXIS[1] - AXIS[0])
    assert expected_maximum(n) == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("capacity", [0.8, 1.0, 1.25, 2.0])
def test_dropped_share_is_that_of_the_integral(spread, capacity):
    over = np.maximum(1.0 + spread * AXIS - capacity, 0.0)
    exact = np.sum(over * BELL) * (AXIS[1] - AXIS[0])
    assert dropped_share(spread, capacity) == pytest.approx(exact, abs=0.001 * spread)


def test_balance_and_one_rank_lose_nothing():
    assert slowest_rank(256, 64, 0.0) == slowest_rank(256, 1, 0.5) == 1.0
    assert dropped_share(0.5, 0.0) == 0.0
    assert dropped_share(0.0, [1.0, 1.25]).tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


@given(st.integers(1, 512), members, st.floats(0.0, 1.5), st.floats(1.0, 3.0))
def test_load_grows_with_ranks_and_spread_and_stops_at_the_capacity(count, ranks, spread, capacity):
    at = slowest_rank(count, ranks, spread)
    assert at >= 1.0
    assert slowest_rank(count, 2 * ranks, spread) >= at
    assert slowest_rank(count, ranks, spread + 0.1) >= at
    assert slowest_rank(2 * count, ranks, spread) <= at
    assert slowest_rank(count, ranks, spread, capacity) == min(at, capacity)
    assert dropped_share(spread, capacity + 0.1) <= dropped_share(spread, capacity) + 1e-12


@pytest.mark.parametrize(("places", "copies"), [(1, 4), (2, 3), (4, 2), (3, 5)])
def test_distinct_places_counted_one_by_one(places, copies):
    ways = list(itertools.product(range(places), repeat=copies))
    assert distinct(places, copies) == pytest.approx(sum(len(set(w)) for w in ways) / len(ways), rel=1e-12)


@given(st.integers(1, 512), st.integers(1, 64))
def test_distinct_is_at_most_either(places, copies):
    assert 1.0 - 1e-9 <= distinct(places, copies) <= min(places, copies) + 1e-9


# pipelines


def replay(forward, backward, m):
    """Run 1F1B: each stage warms up, alternates, drains. Return (time of the step, most in flight by stage)."""
    pp = len(forward)
    plans = []
    for i in range(pp):
        warm = min(pp - i - 1, m)
        steady = [x for j in range(m - warm) for x in (("F", warm + j), ("B", j))]
        plans.append([("F", j) for j in range(warm)] + steady + [("B", j) for j in range(m - warm, m)])
    done, at, clock = {}, [0] * pp, [0.0] * pp
    held, most = [0] * pp, [0] * pp
    while any(at[i] < len(plans[i]) for i in range(pp)):
        for i in range(pp):
            while at[i] < len(plans[i]):
                phase, j = plans[i][at[i]]
                last = i == pp - 1
                before = ("F", i - 1, j) if phase == "F" else ("F", i, j) if last else ("B", i + 1, j)
                first = phase == "F" and i == 0
                if not first and before not in done:
                    break
                ready = 0.0 if first else done[before]
                clock[i] = max(clock[i], ready) + (forward if phase == "F" else backward)[i]
                done[phase, i, j] = clock[i]
                held[i] += 1 if phase == "F" else -1
                most[i] = max(most[i], held[i])
                at[i] += 1
    return max(clock), most


@given(st.integers(1, 8), st.integers(1, 32), st.floats(0.1, 10.0))
def test_equal_stages_take_what_a_replayed_pipeline_takes(pp, m, stage_s):
    step, _ = replay([stage_s / 3] * pp, [2 * stage_s / 3] * pp, m)
    assert pipeline_s(m, stage_s, pp * stage_s) == pytest.approx(step, rel=1e-9)


@given(st.lists(st.floats(0.8, 1.2), min_size=1, max_size=8), st.integers(1, 32))
def test_unequal_stages_take_at_most_the_closed_form(stages, m):
    """The closed form is an upper bound; with stages 20 % off the middle it is at most 15 % too long."""
    step, _ = replay([t / 3 for t in stages], [2 * t / 3 for t in stages], m)
    closed = float(pipeline_s(m, max(stages), sum(stages)))
    assert 0.85 * closed <= step <= closed * (1 + 1e-9)


def test_a_short_stage_beside_a_long_one_hides_behind_it():
    """Why it is no lower bound: the short stage's work fits into the long one's, nothing waits."""
    step, _ = replay([1.0, 0.1], [2.0, 0.2], 4)
    assert step == pytest.approx(12.0)
    assert pipeline_s(4, 3.0, 3.3) == pytest.approx(12.3)


def test_pipeline_golden_and_limits():
    # narayanan-2021 section 2.2: (m + p - 1) t, with bubble (p - 1) / (v m) of the ideal time
    assert pipeline_s(8, 1.0, 4.0) == 11.0
    assert pipeline_s(8, 1.0, 4.0, 2) == 9.5
    assert pipeline_s(8, 1.0, 1.0) == 8.0
    assert pipeline_s(1, 1.0, 4.0) == 4.0


@given(st.integers(1, 8), st.integers(1, 24))
def test_in_flight_equals_a_replayed_pipeline(pp, m):
    _, most = replay([1.0] * pp, [2.0] * pp, m)
    assert in_flight(np.arange(pp), pp, m).tolist() == most


def test_in_flight_of_interleaved_stages():
    # korthikanti-2022 section 4.2.3: the first stage holds L (1 + (p - 1) / (p m)) layers, that is
    # p (1 + (p - 1) / (p v)) micro-batches of a stage
    for pp, v in ((4, 2), (8, 3), (35, 3)):
        assert in_flight(0, pp, 10_000, v) == pytest.approx(pp * (1 + (pp - 1) / (pp * v)))
    assert in_flight(0, 1, 100, 1) == 1.0


def test_schedules_golden():
    """Bubbles and memory of zero-bubble-paper and of deepseek-v3-report table 2, F = W = 1 and B = 2 with W in it."""
    # 1F1B (p - 1)(F + B); ZB-H1 (p - 1)(F + B - 2 W); ZB-H2 (p - 1)(F + B - 3 W); DualPipe (p / 2 - 1)(F + 2 B - 3 W)
    share = bubble_share([0, 1, 2, 3], 8, 1.0, 2.0, 1.0)
    assert (share * 7 * 3).tolist() == pytest.approx([21.0, 7.0, 0.0, 6.0])
    assert in_flight(0, 8, 100, 1, [0, 1, 2, 3]).tolist() == [8.0, 8.0, 15.0, 8.0]
    assert in_flight(7, 8, 100, 1, [0, 1, 2, 3]).tolist() == [1.0] * 4  # DualPipe: a rank has both, together pp + 1
    assert in_flight(0, 8, 6, 1, [0, 1, 2, 3]).tolist() == [6.0] * 4


@given(st.integers(2, 64), st.floats(0.1, 1.0), st.floats(0.5, 1.0), st.floats(0.0, 0.5))
def test_no_schedule_idles_longer_than_1f1b(pp, forward, inputs, weights):
    plain, h1, h2, dual = bubble_share([0, 1, 2, 3], pp, forward, inputs + weights, weights)
    assert 1.0 == plain >= h1 >= h2 >= 0.0
    assert 0.0 <= dual <= plain


# power, energy, goodput

share = st.floats(0.2, 0.92)


@given(share, st.floats(1e-14, 1e-10), st.floats(0.1, 0.6))
def test_the_reference_part_returns_its_own_share(reference, budget, exponent):
    assert power_capped_fraction(reference, budget, budget, exponent, 0.93) == pytest.approx(reference, rel=1e-9)


@given(share, st.floats(0.01, 100.0), st.floats(0.1, 0.6), st.floats(1.0, 2.0))
def test_more_power_sustains_more_but_never_beyond_the_ceiling(reference, ratio, exponent, more):
    at = power_capped_fraction(reference, ratio, 1.0, exponent, 0.93)
    assert 0 < at <= 0.93
    assert power_capped_fraction(reference, ratio * more, 1.0, exponent, 0.93) >= at * (1 - 1e-12)


def test_a_part_with_much_power_for_its_rate_runs_at_the_ceiling():
    # far below the ceiling the share follows (power / peak)^exponent
    assert power_capped_fraction(0.2, 2.0, 1.0, 0.4, 0.93) == pytest.approx(0.2 * 2**0.4, rel=1e-3)
    assert power_capped_fraction(0.6, 1e6, 1.0, 0.4, 0.93) == pytest.approx(0.93, rel=1e-3)


def test_draw_runs_from_idle_to_its_share_of_the_limit():
    assert draw_w(400.0, 60.0, 0.0, 0.9) == 60.0
    assert draw_w(400.0, 60.0, 1.0, 0.9) == 360.0
    assert draw_w(400.0, 60.0, 0.5, 0.9) == 210.0
    assert draw_w(100.0, 95.0, 1.0, 0.9) == 95.0  # idle above the busy share: never below idle


def test_goodput_golden_and_interval():
    # 16,384 chips, one failure per chip in 3 years: rate = 16384 / 94608000 = 1.73178e-4 / s
    # lost: sqrt(2 x 30 x rate) = 0.101935 and 600 x rate = 0.103907; 1 / 1.205842 = 0.829296
    assert goodput(16384, 1 / 94_608_000, 30.0, 600.0) == pytest.approx(0.829296, rel=1e-5)
    # young-1974: of all intervals T, checkpoint / T + T rate / 2 is least at sqrt(2 checkpoint / rate)
    rate_s, checkpoint = 1e-5, 30.0
    every = np.linspace(100, 20_000, 200_000)
    least = (checkpoint / every + every * rate_s / 2).min()
    assert 1 / goodput(1, rate_s, checkpoint, 0.0) - 1 == pytest.approx(least, rel=1e-6)


@given(st.integers(1, 10**6), st.floats(0.0, 1e-7), st.floats(0.0, 600.0), st.floats(0.0, 3600.0))
def test_goodput_is_a_share_that_falls_with_chips(chips, failures, checkpoint, restart):
    at = goodput(chips, failures, checkpoint, restart)
    assert 0 < at <= 1
    assert goodput(2 * chips, failures, checkpoint, restart) <= at
    assert goodput(chips, 0.0, checkpoint, restart) == 1.0


def test_a_mesh_offers_only_the_links_of_its_members():
    """Seven links in a full mesh of eight: two members share one of them, all eight use all."""
    switched = collectives.gather_s(8e9, np.array([2, 4, 8]), 8, 196e9, 25e9)
    mesh = collectives.gather_s(8e9, np.array([2, 4, 8]), 8, 196e9, 25e9, pair_share=1 / 7)
    np.testing.assert_allclose(mesh / switched, [7.0, 7.0 / 3.0, 1.0])
