"""Memory of the fullest chip, against the formulas of the papers it follows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutline.plan import memory
from cutline.plan.columns import Rates, Shape, Strategy
from cutline.plan.strategy import Space, chunks, single
from cutline.plan.training import estimate, linear_params

GPT = Shape(
    layers=96, hidden=12288, heads=96, kv_heads=96, head_dim=128, ffn=4 * 12288, gated=0.0, vocab=51200, tied=1.0,
    positions=2048, seq=2048,
)  # fmt: skip

CHIP = Rates(312e12, 312e12, 2.0, 80e9, 2e12, 300e9, 25e9, 8.0, 1.0, 108.0)


def strategy(**changes):
    plain = dict(
        tp=1, cp=1, pp=1, vpp=1, dp=1, micro_batch=1, micro_batches=8, zero=0, shard=1, sequence_parallel=0, selective=0,
        full=0, first=GPT.layers, middle=GPT.layers, last=GPT.layers,
    )  # fmt: skip
    return Strategy(**{k: np.array([v], float) for k, v in (plain | changes).items()})


def per_layer(constants, **changes):
    saved, again = memory.activation_bytes(GPT, CHIP, constants, strategy(**changes))
    return float(saved[0]), float(again[0])


@pytest.fixture(scope="module")
def unfused(small):
    return small.constants.replace(unfused=1.0, dropout=1.0, selective_products=0.0, gather_once=0.0, grad_bytes=2.0)


@pytest.fixture(scope="module")
def flash(unfused):
    return unfused.replace(unfused=0.0, dropout=0.0)


S, B, H, A = 2048, 1, 12288, 96  # of GPT-3


def test_activations_of_one_layer_are_those_of_korthikanti(unfused):
    # korthikanti-2022 eq. 1: s b h (34 + 5 a s / h)
    assert per_layer(unfused)[0] == pytest.approx(S * B * H * (34 + 5 * A * S / H), rel=1e-9)
    # eq. 2, tensor parallel: s b h (10 + 24 / t + 5 a s / (h t))
    assert per_layer(unfused, tp=8)[0] == pytest.approx(S * B * H * (10 + 24 / 8 + 5 * A * S / (H * 8)), rel=1e-9)
    # eq. 4, with sequence parallelism: s b h / t (34 + 5 a s / h)
    assert per_layer(unfused, tp=8, sequence_parallel=1)[0] == pytest.approx(
        S * B * H / 8 * (34 + 5 * A * S / H), rel=1e-9
    )
    # eq. 6, selective recompute: s b h x 34 / t
    assert per_layer(unfused, tp=8, sequence_parallel=1, selective=1)[0] == pytest.approx(S * B * H / 8 * 34, rel=1e-9)
    # full recompute keeps the input of a layer: 2 s b h
    assert per_layer(unfused, full=1)[0] == pytest.approx(2 * S * B * H, rel=1e-9)


def test_without_dropout_its_two_masks_are_not_kept(unfused):
    plain = unfused.replace(dropout=0.0)
    assert per_layer(unfused)[0] - per_layer(plain)[0] == pytest.approx(2 * S * B * H, rel=1e-9)


def test_fused_attention_saves_no_scores(unfused):
    fused = unfused.replace(unfused=0.0)
    assert per_layer(unfused)[0] - per_layer(fused)[0] == pytest.approx(5 * A * S * S * B, rel=1e-9)


def test_an_eight_bit_format_keeps_narrow_inputs(flash):
    """Inputs of the two first matrices and of the last one shrink to a byte; the attention output is kept twice."""
    s = strategy()
    wide, narrow = (memory.activation_bytes(GPT, CHIP.replace(linear_bytes=b), flash, s)[0][0] for b in (2.0, 1.0))
    assert wide - narrow == pytest.approx(S * B * (2 * H + 4 * H - H), rel=1e-9)


def test_grouped_heads_and_a_gate_change_what_they_should(flash):
    def layer(**changes):
        return float(memory.activation_bytes(GPT.replace(**changes), CHIP, flash, strategy())[0][0])

    # 8 key and value heads instead of 96: K and V shrink by 88 heads of 128, two bytes each
    assert layer() - layer(kv_heads=8) == pytest.approx(S * 2 * 2 * 88 * 128)
    # a gate keeps a third inner value
    assert layer(gated=1.0) - layer() == pytest.approx(S * 2 * 4 * H)


@given(st.integers(1, 16), st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4]))
def test_activations_scale_with_tokens(unfused, micro, tp, cp):
    one = per_layer(unfused, tp=tp, cp=cp)[0]
    assert per_layer(unfused, tp=tp, cp=cp, micro_batch=micro)[0] == pytest.approx(micro * one, rel=1e-12)
    assert one == pytest.approx(per_layer(unfused, tp=tp)[0] / cp, rel=1e-12)


# states


def states(shape, constants, zero, ranks):
    s = strategy(zero=zero, dp=ranks, shard=ranks, first=shape.layers, middle=shape.layers, last=shape.layers)
    found = memory.training_bytes(shape, CHIP, constants, s)
    return {k: float(v[0]) for k, v in found.items()}


def test_states_are_those_of_rajbhandari(flash):
    """rajbhandari-2020 figure 1: 7.5B parameters on 64 ranks hold 120, 31.4, 16.6 and 1.9 GB of states."""
    shape = Shape(48, 3584, 28, 28, 128, 4 * 3584, 0.0, 40_000, 1.0, 0, 1024)
    size = 48 * linear_params(shape) + 40_000 * 3584
    for zero, published in ((0, 120e9), (1, 31.4e9), (2, 16.6e9), (3, 1.88e9)):
        found = states(shape, flash, zero, 64)
        got = found["weights_bytes"] + found["gradients_bytes"] + found["optimizer_bytes"]
        assert got * 7.5e9 / size == pytest.approx(published, rel=0.01)


def test_higher_zero_stages_never_hold_more(flash):
    for ranks in (2, 8, 64):
        total = [states(GPT, flash, zero, ranks) for zero in range(4)]
        for part in ("weights_bytes", "gradients_bytes", "optimizer_bytes", "memory_bytes"):
            assert [t[part] for t in total] == sorted((t[part] for t in total), reverse=True), (ranks, part)


def test_wide_gradients_cost_two_more_bytes(flash):
    narrow, wide = (states(GPT, flash.replace(grad_bytes=b), 0, 8)["gradients_bytes"] for b in (2.0, 4.0))
    assert wide == 2 * narrow


def test_the_fullest_stage_is_reported(flash):
    """The first stage holds most activations in flight; a deep middle or a wide head can hold more."""
    plain = dict(pp=4, micro_batches=16, first=24, middle=24, last=24)

    def fullest(**changes):
        shape = GPT.replace(**{k: v for k, v in changes.items() if k in GPT.as_dict()})
        s = strategy(**(plain | {k: v for k, v in changes.items() if k not in GPT.as_dict()}))
        return {k: float(v[0]) for k, v in memory.training_bytes(shape, CHIP, flash, s).items()}

    assert fullest()["logits_bytes"] == 0.0
    assert fullest(vocab=51200 * 200, first=2, last=2, middle=46)["logits_bytes"] > 0.0
    deep = fullest(first=4, last=4, middle=44, vocab=100)
    assert deep["weights_bytes"] == pytest.approx(2 * 44 * linear_params(GPT))


def test_stages_split_weights_and_hold_what_is_in_flight(flash):
    one = memory.training_bytes(GPT, CHIP, flash, strategy())
    four = memory.training_bytes(GPT, CHIP, flash, strategy(pp=4, micro_batches=16, first=24, middle=24, last=24))
    # the first of four stages: 24 layers times four in flight are the same activations as 96 layers once
    np.testing.assert_allclose(four["activations_bytes"], one["activations_bytes"])
    embedding = (GPT.vocab + GPT.positions) * GPT.hidden
    np.testing.assert_allclose(four["weights_bytes"] - 2 * embedding, (one["weights_bytes"] - 2 * embedding) / 4)


# recompute


def recomputed(case, constants, space, **changes):
    table = Strategy.concat(list(chunks(space)))
    table = table[(table.selective == 0) & (table.full == 0)]
    deep = np.maximum(table.first, table.last)
    table = table[deep >= 4]
    ones = np.ones(len(table))
    return estimate(case.shape, case.rates, constants, table.replace(**{k: v * ones for k, v in changes.items()}))


@pytest.mark.parametrize("seq", [1024, 4096])
def test_full_recompute_holds_least_and_none_most_where_scores_are_written(small, seq):
    space = Space(**(small.space.__dict__ | {"seq": seq}))
    case = type(small)(small.shape.replace(seq=seq), small.rates, small.constants, space)
    constants = small.constants.replace(unfused=1.0)
    none, some, full = (
        recomputed(case, constants, space, **c).activations_bytes for c in ({}, {"selective": 1.0}, {"full": 1.0})
    )
    assert (full <= none * (1 + 1e-9)).all()
    assert (some <= none * (1 + 1e-9)).mean() > 0.9
    assert (full <= some * (1 + 1e-9)).all()


def test_selective_recompute_never_holds_more_than_none(small):
    constants = small.constants.replace(unfused=0.0, selective_products=0.0)
    none, some = (recomputed(small, constants, small.space, **c).activations_bytes for c in ({}, {"selective": 1.0}))
    assert (some <= none * (1 + 1e-9)).all()


def test_recomputing_one_more_layer_never_holds_more(tight):
    def held(layers):
        s = single(tight.space, {"tp": 8, "pp": 1, "full": layers / 80, "zero": 3})
        return float(estimate(tight.shape, tight.rates, tight.constants, s).activations_bytes[0])

    assert held(1) <= held(0) * (1 + 1e-9)


def test_dualpipe_holds_a_stage_from_either_end(flash):
    """deepseek-v3-paper table 2: parameters twice, activations pp + 1 where 1F1B holds pp; an end rank has embedding and head."""
    layers = 32.0
    shape = GPT.replace(layers=layers, vocab=0.0, positions=0.0)
    even = dict(pp=4.0, first=8.0, middle=8.0, last=8.0, micro_batches=64.0, dp=1.0, zero=0.0, shard=1.0)
    plain, dual = (memory.training_bytes(shape, CHIP, flash, strategy(schedule=k, **even)) for k in (0.0, 3.0))
    for part, times in (("weights_bytes", 2.0), ("gradients_bytes", 2.0), ("optimizer_bytes", 2.0)):
        assert dual[part] / plain[part] == pytest.approx(times), part
    assert dual["activations_bytes"] / plain["activations_bytes"] == pytest.approx(5 / 4, rel=0.02)
    alone, shared = (
        memory.training_bytes(shape, CHIP, flash, strategy(schedule=3.0, **even | {"zero": z})) for z in (0.0, 1.0)
    )
    assert shared["optimizer_bytes"] == pytest.approx(alone["optimizer_bytes"] / 2)  # the two copies share their states
    few = dict(even, micro_batches=2.0)
    assert (
        memory.training_bytes(shape, CHIP, flash, strategy(schedule=3.0, **few))["activations_bytes"]
        < dual["activations_bytes"]
    )
