"""The training estimate as physics: parts, limits, what more of anything does, and published totals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutline.facts import models, reader
from cutline.plan.columns import Shape, Strategy
from cutline.plan.job import job
from cutline.plan.stacks import STACKS
from cutline.plan.strategy import Space, chunks, single
from cutline.plan.training import estimate, linear_params, model_flop

PARTS = "compute host tp cp ep fsdp bubble p2p dp optimizer overhead".split()
RATES = ("flop_per_s", "linear_flop_per_s", "memory_bytes_per_s", "up_bytes_per_s", "out_bytes_per_s")
START_UPS = ("host_layer_s", "host_micro_s", "up_hop_s", "out_hop_s", "gemm_start_s", "step_s", "broadcast_s")


def every(space):
    return Strategy.concat(list(chunks(space)))


def sample(space, n, seed=0):
    table = every(space)
    rows = np.random.default_rng(seed).choice(len(table), min(n, len(table)), replace=False)
    return table[rows]


@pytest.fixture(scope="module")
def rows(small):
    """600 strategies of all kinds: tensor, context, pipeline and interleaved, ZeRO 0 to 3, all recomputes."""
    long = Space(**(small.space.__dict__ | {"seq": 8192, "batch": 16}))
    found = Strategy.concat([sample(small.space, 400), sample(long, 200)])
    assert set(found.zero) == {0, 1, 2, 3}
    assert set(found.sequence_parallel) == set(found.selective) == {0, 1}
    assert found.cp.max() > 1 and found.vpp.max() > 1 and found.pp.max() > 2 and found.tp.max() > 8
    assert (found.shard < found.dp * found.cp).any()
    return found


@pytest.fixture(scope="module")
def cases(small, tight):
    """Each stack's constants on the small model, and the 65B model on FSDP."""
    out = {}
    for name in STACKS:
        j = job(models.model("gpt2-355m"), "16 x A100-SXM-80GB", seq=1024, global_batch=64, stack=STACKS[name])
        out[name] = (j.shape, j.rates, j.constants)
    out["65b"] = (tight.shape, tight.rates, tight.constants)
    return out


STACK_NAMES = [*STACKS, "65b"]


@pytest.mark.parametrize("name", STACK_NAMES)
def test_parts_sum_to_the_step_and_none_is_negative(cases, rows, name):
    e = estimate(*cases[name], rows)
    parts = [np.asarray(getattr(e, f"{p}_part_s"), float) * np.ones(len(rows)) for p in PARTS]
    assert {f"{p}_part_s" for p in PARTS} == {k for k in e.as_dict() if k.endswith("_part_s")}
    np.testing.assert_allclose(sum(parts), e.step_s, rtol=1e-9)
    for part, values in zip(PARTS, parts, strict=True):
        assert values.min() >= -1e-9 * e.step_s.max(), part
    assert (e.recompute_s >= 0).all()
    assert (e.recompute_s <= e.step_s).all()


@pytest.mark.parametrize("name", STACK_NAMES)
def test_memory_terms_sum_to_the_fullest_chip(cases, rows, name):
    e = estimate(*cases[name], rows)
    terms = ("weights", "gradients", "optimizer", "activations", "logits", "buffers")
    np.testing.assert_allclose(sum(getattr(e, f"{t}_bytes") for t in terms), e.memory_bytes, rtol=1e-12)
    assert all((getattr(e, f"{t}_bytes") >= 0).all() for t in terms)


@pytest.mark.parametrize("name", STACK_NAMES)
def test_twice_every_rate_halves_the_step(cases, rows, name):
    shape, rates, constants = cases[name]
    constants = constants.replace(**dict.fromkeys(START_UPS, 0.0))
    slow = estimate(shape, rates, constants, rows)
    fast = estimate(shape, rates.replace(**{r: 2 * getattr(rates, r) for r in RATES}), constants, rows)
    np.testing.assert_allclose(fast.step_s, slow.step_s / 2, rtol=1e-9)
    for part in PARTS:
        np.testing.assert_allclose(
            getattr(fast, f"{part}_part_s"),
            getattr(slow, f"{part}_part_s") / 2,
            rtol=1e-6,
            atol=1e-9 * slow.step_s.max(),
        )


@pytest.mark.parametrize("resource", RATES)
@pytest.mark.parametrize("name", ["megatron-core", "torchtitan", "megatron-2021", "internevo", "65b"])
def test_more_of_a_rate_is_never_slower(cases, rows, name, resource):
    shape, rates, constants = cases[name]
    before = estimate(shape, rates, constants, rows).step_s
    # context parallelism and FSDP hide their traffic behind the same attention, each as if it were alone there;
    # less of it to hide behind can therefore cost more than it saves, by parts in ten thousand
    slack = np.where((rows.cp > 1) & (rows.zero >= 3), 1e-3, 1e-9)
    for factor in (1.1, 2.0, 100.0):
        after = estimate(shape, rates.replace(**{resource: factor * getattr(rates, resource)}), constants, rows).step_s
        assert (after <= before * (1 + slack)).all()


@pytest.mark.parametrize("name", ["megatron-core", "65b"])
def test_more_memory_never_hurts(cases, rows, name):
    shape, rates, constants = cases[name]
    before = estimate(shape, rates, constants, rows)
    after = estimate(shape, rates.replace(memory_bytes=2 * rates.memory_bytes), constants, rows)
    need = np.asarray(before.memory_bytes)
    np.testing.assert_array_equal(need, after.memory_bytes)
    assert ((need <= 2 * rates.memory_bytes) | ~(need <= rates.memory_bytes)).all()
    np.testing.assert_array_equal(after.step_s, before.step_s)


@pytest.mark.parametrize(
    "constant", ["compute", "communication", "host_layer_s", "host_micro_s", "step_s", "elementwise"]
)
@pytest.mark.parametrize("name", ["megatron-core", "torchtitan", "megatron-2021"])
def test_a_larger_cost_constant_is_never_faster(cases, rows, name, constant):
    shape, rates, constants = cases[name]
    before = estimate(shape, rates, constants, rows).step_s
    more = constants.replace(**{constant: 1.5 * getattr(constants, constant)})
    assert (estimate(shape, rates, more, rows).step_s >= before * (1 - 1e-9)).all()


# contract: rows are independent


@pytest.mark.parametrize("name", ["megatron-core", "megatron-2021", "torchtitan", "65b"])
def test_array_call_equals_single_rows(cases, rows, name):
    """Many rows go through a table of distinct layers, few rows do not: both must say the same."""
    whole = estimate(*cases[name], rows)
    assert len(rows) >= 64
    for i in range(0, len(rows), 29):
        one = estimate(*cases[name], rows[[i]]).row()
        for field, value in whole.row(i).items():
            assert one[field] == pytest.approx(value, rel=1e-12), (field, rows.row(i))


def test_a_row_of_plain_numbers_is_a_row(cases, rows):
    """Each field may be a scalar."""
    whole = estimate(*cases["torchtitan"], rows)
    for i in (0, 100, 500):
        got = estimate(*cases["torchtitan"], Strategy(**rows.row(i)))
        assert float(got.step_s) == pytest.approx(whole.step_s[i], rel=1e-12)
        assert float(got.memory_bytes) == pytest.approx(whole.memory_bytes[i], rel=1e-12)


def test_constants_and_rates_may_differ_by_row(cases, rows):
    shape, rates, constants = cases["megatron-core"]
    factor = np.where(np.arange(len(rows)) % 2, 1.0, 1.3)
    mixed = estimate(shape, rates, constants.replace(compute=constants.compute * factor), rows)
    plain = estimate(shape, rates, constants, rows)
    slow = estimate(shape, rates, constants.replace(compute=constants.compute * 1.3), rows)
    np.testing.assert_allclose(mixed.step_s, np.where(factor > 1, slow.step_s, plain.step_s), rtol=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(cases, rows, seed):
    order = np.random.default_rng(seed).permutation(len(rows))
    straight, shuffled = (
        estimate(*cases["megatron-core"], rows),
        estimate(*cases["megatron-core"], rows[order]),
    )
    np.testing.assert_allclose(shuffled.step_s, straight.step_s[order], rtol=1e-12)
    np.testing.assert_allclose(shuffled.memory_bytes, straight.memory_bytes[order], rtol=1e-12)


# limits


@pytest.mark.parametrize("name", STACK_NAMES)
def test_one_chip_does_not_communicate(cases, name):
    space = Space(1, 24, 16, 4096, 50304, 8, 1024, domain=8)
    e = estimate(*cases[name], every(space))
    for part in ("tp", "cp", "fsdp", "bubble", "p2p", "dp"):
        np.testing.assert_array_equal(np.asarray(getattr(e, f"{part}_part_s")) * np.ones(len(e.step_s)), 0.0)


def test_each_kind_of_parallelism_costs_only_its_own_part(small):
    shape = small.shape.replace(tied=0.0)  # a tied head on another stage has a gradient to share

    def parts(**given):
        e = estimate(shape, small.rates, small.constants, single(small.space, given))
        return {p for p in PARTS if float(np.max(getattr(e, f"{p}_part_s"))) > 0}

    base = {"compute", "host", "optimizer", "overhead"}
    assert parts(dp=16, zero=0) == base | {"dp"}
    assert parts(dp=16, zero=3) == base | {"fsdp"}
    assert parts(tp=16, zero=0) == base | {"tp"}
    assert parts(pp=8, tp=2, zero=0) == base | {"tp", "bubble", "p2p"}
    assert parts(cp=16, micro_batch=1, zero=0) >= base | {"cp", "dp"}


def test_interleaving_shrinks_the_bubble_by_the_chunks(small):
    def bubble(vpp):
        given = {"pp": 4, "dp": 4, "vpp": vpp, "micro_batch": 1}
        return float(estimate(small.shape, small.rates, small.constants, single(small.space, given)).bubble_part_s[0])

    assert bubble(3) == pytest.approx(bubble(1) / 3, rel=1e-9)
    assert bubble(6) == pytest.approx(bubble(1) / 6, rel=1e-9)


@pytest.mark.parametrize("name", STACK_NAMES)
def test_recompute_buys_memory_with_time(cases, rows, name):
    plain = rows[(rows.selective == 0) & (rows.full == 0)]
    plain = plain if len(plain) > 20 else rows.replace(selective=np.zeros(len(rows)), full=np.zeros(len(rows)))
    none = estimate(*cases[name], plain)
    some = estimate(*cases[name], plain.replace(selective=np.ones(len(plain))))
    half = estimate(*cases[name], plain.replace(full=np.full(len(plain), 0.5)))
    full = estimate(*cases[name], plain.replace(full=np.ones(len(plain))))
    assert (none.step_s <= some.step_s * (1 + 1e-9)).all()
    assert (some.step_s <= full.step_s * (1 + 1e-9)).all()
    assert (none.step_s < half.step_s).all()
    assert (half.step_s < full.step_s).all()
    np.testing.assert_array_equal(np.asarray(none.recompute_s) * np.ones(len(plain)), 0.0)
    # about a third more work for all of it: the forward pass again
    extra = full.recompute_s / np.maximum(none.compute_part_s, 1e-12)
    assert extra.max() < 0.6


# flop and parameters


def shape_of(m, seq=2048):
    return Shape(
        m.layers,
        m.hidden,
        m.heads,
        m.kv_heads,
        m.head_dim,
        m.ffn,
        float(m.gated),
        m.vocab,
        float(m.tied),
        m.positions,
        seq,
    )


def test_model_flop_of_gpt3_is_the_published_one():
    # brown-2020 table D.1: 3.14e23 flop for 175B parameters and 300B tokens
    shape = shape_of(models.model("gpt3-175b"), 2048)
    total = model_flop(shape) / 2048 * 300e9
    assert total == pytest.approx(3.14e23, rel=0.03)
    # 6 N per token, and causal attention: 6 x layers x seq x width
    n = models.parameters(models.model("gpt3-175b")).total
    assert model_flop(shape) / 2048 == pytest.approx(6 * n + 6 * 96 * 2048 * 12288, rel=0.005)


def test_flop_of_a_step_counts_every_token_once(cases, rows):
    shape, rates, constants = cases["megatron-core"]
    e = estimate(shape, rates, constants, rows)
    np.testing.assert_allclose(e.flop, model_flop(shape) * rows.dp * rows.micro_batch * rows.micro_batches, rtol=1e-12)
    peak = 16 * rates.flop_per_s
    assert (e.flop / e.step_s < peak).all(), "faster than the data sheet"


def dense():
    found = []
    for name in reader.table("models"):
        facts = reader.table("models").claims(name)
        if {("experts", ""), ("kv_rank", ""), ("linear_layers", "")} & set(facts):
            continue  # layers of several kinds have tests of their own
        found.append(name)
    return found


def test_parameters_by_shape_are_those_of_the_catalogue():
    names = dense()
    assert len(names) > 60
    for name in names:
        m = models.model(name)
        if m.kind != "dense":
            continue
        shape = shape_of(m)
        ends = (m.vocab + m.positions) * m.hidden + (0 if m.tied else m.vocab * m.hidden)
        counted = models.parameters(m)
        assert m.layers * linear_params(shape) + ends == pytest.approx(counted.total - counted.other, rel=0.01), name
