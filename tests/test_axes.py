"""Every axis of models and strategies held to its limiting case, to published values, and to what must not get better."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutline.core.errors import CutlineError
from cutline.facts.models import model
from cutline.plan import frameworks, layers, memory, run
from cutline.plan.columns import Strategy
from cutline.plan.job import job
from cutline.plan.shapes import Clip, clip_of, clip_tokens, shape_of
from cutline.plan.strategy import FIELDS, single
from cutline.plan.training import estimate, model_flop

NEUTRAL = {
    "grouped_gain": 1.0, "permute_passes": 0.0, "router_passes": 0.0, "host_moe_s": 0.0, "host_expert_s": 0.0, "expert_apart": 0.0,
}  # fmt: skip


def asked(name, on, **rest):
    return job(model(name), on, 1e12, framework="any", **rest)


@pytest.fixture(scope="module")
def sparse():
    """A small sparse model on two servers, forced balance."""
    return asked("qwen3-30b-a3b", "16 x H100-SXM-80GB", imbalance=0.0, seq=4096, global_batch=64)


@pytest.fixture(scope="module")
def dense():
    return asked("llama-3.1-8b", "16 x H100-SXM-80GB", seq=8192, global_batch=64)


def step(j, shape=None, rates=None, constants=None, **chosen):
    s = single(j.space, {"zero": 1.0} | {k: float(v) for k, v in chosen.items()})
    return estimate(shape or j.shape, rates or j.rates, constants or j.constants, s).row()


# experts


def test_one_expert_that_all_tokens_visit_is_a_dense_block(dense):
    shape = dense.shape
    one = shape.replace(dense_layers=0.0, moe_layers=shape.layers, experts=1.0, topk=1.0, expert_ffn=shape.ffn)
    c = dense.constants.replace(**NEUTRAL)
    for chosen in ({"dp": 16, "micro_batch": 2}, {"pp": 4, "dp": 4, "micro_batch": 1}):
        plain, sparse = (step(dense, shape=s, constants=c, **chosen) for s in (shape, one))
        # a router of one column is left, which costs three starts of a kernel and next to no work
        assert plain["step_s"] < sparse["step_s"] < 1.01 * plain["step_s"]
        assert sparse["ep_part_s"] == 0.0
        # the expert keeps a copy of its input beside the block's own
        more = sparse["activations_bytes"] - plain["activations_bytes"]
        copies = shape.layers * 8192 * chosen["micro_batch"] * shape.hidden * 2 * memory.FRAGMENTATION
        assert more == pytest.approx(copies, rel=0.01)
        assert sparse["flop"] == pytest.approx(plain["flop"], rel=1e-3)


def test_experts_on_one_rank_are_not_exchanged(sparse):
    assert step(sparse, ep=1, dp=16, micro_batch=1)["ep_part_s"] == 0.0
    assert step(sparse, ep=8, dp=16, micro_batch=1)["ep_part_s"] > 0.0


def test_ranks_that_share_experts_hold_fewer(sparse):
    many, few = (step(sparse, ep=ep, dp=16, micro_batch=1, zero=0)["weights_bytes"] for ep in (1, 16))
    block = layers.layer_params(sparse.shape, layers.mixes(sparse.shape)[0])
    assert many - few == pytest.approx(2 * sparse.shape.layers * float(block.experts) * 15 / 16, rel=1e-9)


@given(st.floats(0.01, 0.6), st.sampled_from([2, 4, 8, 16]))
def test_uneven_routing_is_never_faster_and_capacity_one_is_balance(sparse, spread, ep):
    def of(**changes):
        return step(sparse, rates=sparse.rates.replace(**changes), ep=ep, dp=16, micro_batch=1)

    even, uneven, capped = of(imbalance=0.0), of(imbalance=spread), of(imbalance=spread, capacity=1.0)
    assert uneven["step_s"] > even["step_s"]
    assert uneven["memory_bytes"] > even["memory_bytes"]
    assert capped["step_s"] == pytest.approx(even["step_s"], rel=1e-12)  # every expert is at most as full as the mean
    assert of(imbalance=0.0, capacity=1.0)["step_s"] == pytest.approx(even["step_s"], rel=1e-12)


def test_node_limited_routing_sends_less_over_the_network():
    j = asked("deepseek-v3", "256 x H800-SXM-80GB", imbalance=0.0, global_batch=1024)
    chosen = dict(pp=4, ep=64, micro_batch=1)
    limited, free = (step(j, shape=j.shape.replace(expert_groups=g), **chosen)["ep_part_s"] for g in (4.0, 0.0))
    assert limited < free
    once = step(j, constants=j.constants.replace(deduplicate=0.0), **chosen)["ep_part_s"]
    assert once > free  # every copy by itself


def test_hidden_exchanges_cost_no_more(sparse):
    shown, hidden = (step(sparse, ep=16, dp=16, micro_batch=1, ep_hidden=x) for x in (0, 1))
    assert hidden["ep_part_s"] < shown["ep_part_s"]
    assert hidden["memory_bytes"] > shown["memory_bytes"]  # two micro-batches at once


# strategies


def test_context_kinds_are_one_without_context_parallelism(dense):
    steps = [step(dense, cp=1, cp_kind=k, dp=16)["step_s"] for k in (0, 1, 2)]
    assert steps[0] == steps[1] == steps[2]
    ring, gather, exchange = (step(dense, cp=4, cp_kind=k, dp=4) for k in (0, 1, 2))
    assert ring["cp_part_s"] < gather["cp_part_s"]  # nothing hides a gather
    assert exchange["cp_part_s"] > 0.0


def test_schedules_differ_in_bubble_alone_and_in_order(dense):
    def of(schedule):
        return step(dense, pp=8, dp=2, micro_batch=1, schedule=schedule, zero=0)

    plain, h1, h2, dual = (of(k) for k in range(4))
    assert plain["bubble_part_s"] > h1["bubble_part_s"] > h2["bubble_part_s"]
    assert dual["bubble_part_s"] < plain["bubble_part_s"]
    assert h1["compute_part_s"] == plain["compute_part_s"]
    assert h1["memory_bytes"] == plain["memory_bytes"] < h2["memory_bytes"]
    assert dual["weights_bytes"] == pytest.approx(2 * plain["weights_bytes"], rel=0.6)  # two stages, but one table


def test_module_recompute_buys_memory_with_time(dense):
    none = step(dense, dp=16)
    for name in ("light", "feed", "selective"):
        some = step(dense, dp=16, **{name: 1})
        assert some["memory_bytes"] <= none["memory_bytes"]
        assert some["step_s"] > none["step_s"]
    every, full = step(dense, dp=16, light=1, feed=1, selective=1), step(dense, dp=16, full=1)
    assert full["memory_bytes"] < every["memory_bytes"] < none["memory_bytes"]


def test_offload_moves_the_optimizer_to_the_host(dense):
    here, there = (step(dense, dp=16, offload=x) for x in (0, 1))
    assert there["optimizer_bytes"] == 0.0
    assert here["memory_bytes"] - there["memory_bytes"] == pytest.approx(here["optimizer_bytes"], rel=1e-9)
    assert there["optimizer_part_s"] > here["optimizer_part_s"]
    faster = step(
        dense,
        rates=dense.rates.replace(host_bytes_per_s=1e15),
        constants=dense.constants.replace(host_adam_s=0.0),
        dp=16,
        offload=1,
    )
    assert faster["optimizer_part_s"] < 1e-3 * here["optimizer_part_s"]


def test_graphs_take_launches_away(sparse):
    eager, captured = (step(sparse, ep=16, dp=16, micro_batch=1, graphs=x) for x in (0, 1))
    assert captured["host_part_s"] < eager["host_part_s"]
    assert captured["step_s"] < eager["step_s"]


# number formats


def test_a_narrow_format_with_equal_rates_is_bf16_and_casts(dense):
    r = dense.rates.replace(linear_flop_per_s=dense.rates.flop_per_s)
    narrow = r.replace(linear_bytes=2.0 - 1e-12)
    c = dense.constants.replace(linear_gain=1.0)
    wide = step(dense, rates=r, constants=c, dp=16)["step_s"]
    assert step(dense, rates=narrow, constants=c.replace(cast_passes=0.0), dp=16)["step_s"] == pytest.approx(
        wide, rel=1e-9
    )
    assert step(dense, rates=narrow, constants=c.replace(cast_passes=1.0), dp=16)["step_s"] > wide


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_layers_kept_wide_lie_between_both_formats(dense, share, gradients):
    fast = dense.rates.replace(linear_flop_per_s=2 * dense.rates.flop_per_s, linear_bytes=1.0)
    c = dense.constants.replace(linear_gain=1.0)

    def of(share, gradients=1.0):
        return step(
            dense, rates=fast.replace(narrow_share=share, narrow_weight_gradient=gradients), constants=c, dp=16
        )["step_s"]

    slow = step(dense, constants=c, dp=16)["step_s"]
    assert of(0.0) == pytest.approx(slow, rel=1e-9)
    assert of(1.0) * (1 - 1e-9) <= of(share) <= of(0.0) * (1 + 1e-9)
    assert of(share, 1.0) * (1 - 1e-9) <= of(share, gradients) <= of(share, 0.0) * (1 + 1e-9)


def test_gradients_in_16_bits_travel_half_as_long():
    wide, narrow = (asked("llama-3.1-8b", "64 x A100-SXM-80GB", gradients=g, global_batch=64) for g in ("fp32", "bf16"))
    a, b = (step(j, dp=64, zero=0, constants=j.constants.replace(dp_overlap=0.0))["dp_part_s"] for j in (wide, narrow))
    assert a / b == pytest.approx(2.0, rel=0.02)


# kinds of models


def test_a_window_as_wide_as_the_sequence_changes_nothing():
    m = model("gemma-3-27b")
    short, long = shape_of(m, 1024), shape_of(m, 32768)
    assert layers.pairs(short) == pytest.approx(512.0)
    near = 1024 - 1024**2 / (2 * 32768)
    share = m.window_layers / m.layers
    assert layers.pairs(long) == pytest.approx(share * near + (1 - share) * 16384, rel=1e-9)


def test_latent_attention_has_the_parameters_of_its_matrices():
    m = model("deepseek-v3")
    by_hand = 7168 * 1536 + 1536 * 128 * 192 + 7168 * 576 + 512 * 128 * 256 + 128 * 128 * 7168
    assert float(layers.attention_params(shape_of(m, 4096))) == by_hand


def test_flop_of_sparse_models_are_those_that_tables_print():
    """Megatron-Bridge prints 1,298 TFLOP/s at 4,992 tokens/s for DeepSeek-V3 with its prediction layer, 729 at 31,744 for Qwen3-30B."""
    for name, mtp, printed in (("deepseek-v3", True, 1298e12 / 4992), ("qwen3-30b-a3b", False, 729e12 / 31744)):
        per_token = float(model_flop(shape_of(model(name), 4096, mtp))) / 4096
        assert per_token == pytest.approx(printed, rel=0.03), name


def test_prediction_layers_cost_a_layer_and_a_head():
    with_, without = (asked("deepseek-v3", "64 x H800-SXM-80GB", mtp=x, global_batch=64) for x in (True, False))
    a, b = (step(j, dp=64, ep=64, micro_batch=1) for j in (with_, without))
    assert 1.0 < a["step_s"] / b["step_s"] < 1.12
    assert a["memory_bytes"] > b["memory_bytes"]


@pytest.mark.parametrize(
    ("name", "clip", "tokens"),
    [
        ("wan-2.1-14b", Clip(81, 720, 1280), 75600),
        ("wan-2.1-14b", Clip(81, 480, 832), 32760),
        ("hunyuanvideo-13b", Clip(129, 720, 1280), 118800),
        ("dit-xl-2", Clip(1, 256, 256), 256),
    ],
)
def test_tokens_of_clips(name, clip, tokens):
    assert clip_tokens(model(name), clip) == tokens


def test_flop_of_an_image_transformer_are_the_published_ones():
    """dit-readme: 118.6 G multiply-adds forward for DiT-XL/2 on 256 x 256; three passes of two flop in training."""
    shape = shape_of(model("dit-xl-2"), 256)
    assert float(model_flop(shape)) == pytest.approx(3 * 2 * 118.6e9, rel=0.02)


def test_bad_clips_are_refused():
    with pytest.raises(
        CutlineError, match=r"^clip must be frames x height x width, such as 81x720x1280; got '81x720'$"
    ):
        clip_of(model("wan-2.1-14b"), "81x720")
    with pytest.raises(CutlineError, match="draws no images or clips"):
        clip_of(model("llama-65b"), "1x8x8")


# frameworks


@pytest.mark.parametrize(
    ("name", "chosen", "words"),
    [
        ("megatron", {"pp": 4, "schedule": 3}, "Megatron-Core 0.16 does not offer DualPipe"),
        ("megatron", {"zero": 2}, "Megatron-Core 0.16 does not offer ZeRO 2"),
        ("torchtitan", {"offload": 1}, "torchtitan 0.3 does not offer optimizer states on the host"),
        ("deepspeed", {"vpp": 2, "pp": 4}, "DeepSpeed 0.19 does not offer several chunks per stage"),
        ("deepspeed", {"zero": 3, "pp": 2}, "DeepSpeed 0.19 does not offer ZeRO 3 with pipeline stages"),
    ],
)
def test_what_a_framework_cannot_run_is_refused_with_the_reason(name, chosen, words):
    j = job(model("llama-3.1-8b"), "16 x H100-SXM-80GB", global_batch=64, framework=name)
    with pytest.raises(CutlineError, match=words):
        run.given(
            j,
            {"dp": 16 / chosen.get("pp", 1), "zero": 3.0 if name == "torchtitan" else 1.0}
            | {k: float(v) for k, v in chosen.items()},
        )
    free = job(model("llama-3.1-8b"), "16 x H100-SXM-80GB", global_batch=64, framework="any")
    assert frameworks.refusal(free.framework, chosen, free.space) is None


def test_what_is_left_out_is_listed_with_its_source(sparse):
    listed = frameworks.excluded(frameworks.FRAMEWORKS["megatron"], sparse.space)
    assert {"DualPipe", "zero bubble H1", "ZeRO 2"} <= {row["what"] for row in listed}
    assert all(row["source"] == "pypi-megatron-core" for row in listed)
    assert frameworks.excluded(frameworks.FRAMEWORKS["any"], sparse.space) == []


def test_an_unknown_framework_names_the_known_ones():
    with pytest.raises(
        CutlineError, match=r"^framework must be one of megatron, torchtitan, deepspeed, any; got 'megatron2'$"
    ):
        job(model("llama-3.1-8b"), "16 x H100-SXM-80GB", framework="megatron2")


# whole runs that were published


def test_deepseek_v3_on_its_own_strategy_takes_the_published_hours():
    """deepseek-v3-report: 2.664 M H800 hours of pre-training on 2,048 chips: PP 16, EP 64, ZeRO 1, DualPipe, FP8 blocks."""
    j = job(model("deepseek-v3"), "2048 x H800-SXM-80GB", 14.8e12, precision="fp8-block", framework="any")
    chosen = dict(pp=16.0, ep=64.0, micro_batch=1.0, zero=1.0, schedule=3.0, ep_hidden=1.0, light=1.0)
    assert run.given(j, chosen)["best"]["chip_hours"] == pytest.approx(2.664e6, rel=0.12)


def test_llama_3_1_405b_takes_the_published_hours():
    """llama-3.1-card: 30.84 M H100 hours on up to 16,384 chips."""
    j = job(model("llama-3.1-405b"), "16384 x H100-SXM-80GB", 15.6e12)
    assert run.plan(j, top=1, why=False)["best"]["chip_hours"] == pytest.approx(30.84e6, rel=0.12)


def test_single_spells_out_every_field(sparse):
    s = single(sparse.space, {"ep": 4.0, "tp": 2.0, "etp": 2.0})
    assert isinstance(s, Strategy)
    assert set(s.as_dict()) == set(FIELDS)
    np.testing.assert_array_equal([s.ep[0], s.etp[0], s.dp[0]], [4.0, 2.0, 8.0])


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (
            {"ep": 3},
            r"^ep must divide the experts, and ep x etp the chips of a stage; got ep 3, etp 1, 128 experts, 16 chips$",
        ),
        ({"ep": 32}, r"^ep must divide the experts"),
        ({"etp": 2}, r"^etp must be 1 or tp; got etp 2, tp 1$"),
        (
            {"pp": 4, "schedule": 3, "vpp": 2},
            r"^zero-bubble schedules and DualPipe have one chunk per stage; got vpp 2$",
        ),
        ({"pp": 4, "schedule": 3, "micro_batch": 16}, r"^DualPipe needs even stages"),
        ({"pp": 8, "schedule": 1, "micro_batch": 32}, r"^zero-bubble schedules need as many micro-batches as stages"),
    ],
)
def test_impossible_splits_of_experts_and_schedules_are_refused(sparse, chosen, words):
    with pytest.raises(CutlineError, match=words):
        single(sparse.space, {k: float(v) for k, v in chosen.items()})


def test_experts_of_a_dense_model_are_refused(dense):
    with pytest.raises(CutlineError, match="which this model does not have"):
        single(dense.space, {"ep": 2.0})
    with pytest.raises(CutlineError, match="has no experts; --routing and --capacity are for sparse models"):
        asked("llama-3.1-8b", "16 x H100-SXM-80GB", imbalance=0.2)
