"""Whole runs: defaults named, days from steps, the published run inside the interval, what limits cost."""

import itertools
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutline.core.errors import CutlineError, UnknownName
from cutline.facts import reader
from cutline.facts.chips import chip, chips
from cutline.facts.models import model
from cutline.plan import describe, interval, machine, run
from cutline.plan.constants import table
from cutline.plan.costs import goodput
from cutline.plan.fleet import fleet
from cutline.plan.job import batch_for, job, only
from cutline.plan.search import USABLE
from cutline.plan.stacks import STACKS
from cutline.plan.strategy import Space, chunks
from cutline.plan.training import estimate

BEST = set("days days_low days_high step_s tokens_per_s_per_chip mfu memory_bytes energy_j cost_usd strategy".split())
ANSWER = set("best alternatives searched feasible published sources framework clip".split())
PLANNED = set("objective pareto nearest pruned sensitivity lifted excluded assumed".split())
TOKENS = 1.4e12


@pytest.fixture(scope="module")
def demo():
    """LLaMA-65B for 1.4 trillion tokens on 2,048 of each."""
    jobs = {c: job(model("llama-65b"), f"2048 x {c}", TOKENS) for c in ("A100-SXM-80GB", "A800-SXM-80GB", "H20")}
    return {c: (j, run.plan(j)) for c, j in jobs.items()}


# the demo


def test_the_published_run_lies_inside_the_interval(demo):
    # llama-2023 section 2.2: about 21 days and 380 tokens/s/GPU, batch of 4M tokens
    best = demo["A100-SXM-80GB"][1]["best"]
    assert best["days_low"] < 21 < best["days_high"]
    assert 350 < best["tokens_per_s_per_chip"] < 500
    published = demo["A100-SXM-80GB"][1]["published"]
    assert {(p["metric"], p["value"]) for p in published if p["same"]} >= {
        ("days", 21.0),
        ("tokens_per_s_per_chip", 380.0),
    }
    assert [p["same"] for p in published] == sorted((p["same"] for p in published), reverse=True)


def test_limits_cost_time(demo):
    days = {c: p["best"]["days"] for c, (_, p) in demo.items()}
    assert days["A100-SXM-80GB"] <= days["A800-SXM-80GB"] < days["H20"]
    assert days["A800-SXM-80GB"] < 1.2 * days["A100-SXM-80GB"]
    assert 1.2 * days["A100-SXM-80GB"] < days["H20"] < 3 * days["A100-SXM-80GB"]


def test_an_a800_is_never_faster_than_an_a100(demo):
    """The same chip with a slower link, row by row."""
    a100, a800 = demo["A100-SXM-80GB"][0], demo["A800-SXM-80GB"][0]
    space = Space(**(a100.space.__dict__ | {"chips": 64, "batch": 64}))
    for rows in chunks(space):
        rows = rows[::7]
        fast = estimate(a100.shape, a100.rates, a100.constants, rows)
        slow = estimate(a800.shape, a800.rates, a800.constants, rows)
        assert (slow.step_s >= fast.step_s * (1 - 1e-9)).all()
        np.testing.assert_allclose(slow.memory_bytes, fast.memory_bytes)


def test_the_answer_has_the_keys_of_the_contract(demo):
    for _, answer in demo.values():
        assert set(answer) >= ANSWER | PLANNED
        assert 0 <= answer["pruned"] <= answer["searched"]
        assert answer["feasible"] <= answer["searched"] - answer["pruned"]
        for plan in (answer["best"], *answer["alternatives"]):
            assert set(plan) >= BEST
        json.loads(json.dumps(answer, allow_nan=False))


def test_numbers_of_a_plan_belong_together(demo):
    for name, (j, answer) in demo.items():
        best = answer["best"]
        assert 0 < best["days_low"] < best["days"] < best["days_high"]
        assert best["step_s_low"] < best["step_s"] < best["step_s_high"]
        assert best["days_low"] / best["days"] == pytest.approx(best["step_s_low"] / best["step_s"], rel=1e-9)
        # days: tokens over tokens of a step, times the step, over the share of time that makes progress
        steps = TOKENS / (j.batch * j.seq)
        assert best["days"] == pytest.approx(steps * best["step_s"] / goodput(2048) / 86400, rel=1e-9)
        assert best["tokens_per_s_per_chip"] == pytest.approx(j.batch * j.seq / best["step_s"] / 2048, rel=1e-9)
        assert best["chip_hours"] == pytest.approx(best["days"] * 24 * 2048, rel=1e-9)
        assert 0 < best["mfu"] < 0.95
        assert best["memory_bytes"] <= USABLE * best["memory_limit_bytes"]
        assert best["cost_usd"] > 0
        watts = best["energy_j"] / (best["days"] * 86400 * 2048)
        limit = j.group.chip.get("power")
        assert 0.3 * limit < watts < 2.2 * limit, name
        split = best["strategy"]
        assert split["tp"] * split["cp"] * split["pp"] * split["dp"] == 2048
        assert split["dp"] * split["micro_batch"] * split["micro_batches"] == j.batch
        assert sum(best["parts_s"].values()) == pytest.approx(best["step_s"], rel=1e-9)


def test_alternatives_differ_in_kind_and_come_best_first(demo):
    for _, answer in demo.values():
        plans = [answer["best"], *answer["alternatives"]]
        assert len(plans) == 5
        kinds = {(*tuple(p["strategy"][k] for k in ("tp", "cp", "pp")), p["strategy"]["zero"] == 3) for p in plans}
        assert len(kinds) == len(plans)
        steps = [p["step_s"] for p in plans]
        assert steps == sorted(steps)


def test_the_front_falls_in_memory_as_it_grows_in_time(demo):
    for _, answer in demo.values():
        front = answer["pareto"]
        assert front[0]["step_s"] == pytest.approx(answer["best"]["step_s"], rel=1e-12)
        assert all(
            a["step_s"] < b["step_s"] and a["memory_bytes"] > b["memory_bytes"] for a, b in itertools.pairwise(front)
        )


def test_top_limits_the_list():
    j = job(model("llama-7b"), "8 x A100-SXM-80GB", 1e9)
    assert run.plan(j, top=1)["alternatives"] == []
    assert len(run.plan(j, top=3)["alternatives"]) == 2
    with pytest.raises(CutlineError, match=r"^top must be at least 1; got 0$"):
        run.plan(j, top=0)


def test_every_source_of_an_answer_can_be_looked_up(demo):
    for _, answer in demo.values():
        assert len(answer["sources"]) > 8
        for fact in answer["sources"]:
            assert fact["source"] and fact["title"] and (fact["url"] or fact["note"] or fact["source"] == "guess"), fact


def test_ten_percent_more_of_a_resource_gains_at_most_ten_percent(demo):
    for _, answer in demo.values():
        gains = answer["sensitivity"]
        assert set(gains) == {"compute", "scale-up link", "scale-out network", "memory rate", "host speed"}
        assert all(-1e-9 <= g <= 1 - 1 / 1.1 + 1e-9 for g in gains.values())
        assert 0.02 < sum(gains.values()) <= 1 - 1 / 1.1 + 1e-2
        assert max(gains, key=gains.get) == "compute"


def test_lifting_a_limit_never_costs_time_and_is_named_where_it_saves(demo):
    for _, answer in demo.values():
        saves = [row["saves"] for row in answer["lifted"]]
        assert saves == sorted(saves, reverse=True) and all(0.01 <= s < 1 for s in saves)
        for row in answer["lifted"]:
            assert row["step_s"] == pytest.approx(answer["best"]["step_s"] * (1 - row["saves"]), rel=1e-9)
        by_limit = {row["limit"]: row["saves"] for row in answer["lifted"]}
        assert by_limit.get("memory 10 % larger", 0.0) <= by_limit.get("memory without end", 0.0) + 1e-9


def test_what_a_framework_lacks_is_named_with_its_source_and_any_lacks_nothing():
    ask = {"model": model("llama-7b"), "on": "8 x A100-SXM-80GB"}
    lacks = {f: run.plan(job(**ask, framework=f), why=False)["excluded"] for f in ("torchtitan", "deepspeed", "any")}
    assert lacks["any"] == []
    assert {"DualPipe", "optimizer states on the host"} <= {row["what"] for row in lacks["torchtitan"]}
    for name in ("torchtitan", "deepspeed"):
        assert all(row["why"] and row["source"] in reader.sources() for row in lacks[name])


def test_more_freedom_is_never_slower():
    ask = {"model": model("llama-2-13b"), "on": "64 x A100-SXM-80GB", "tokens": 1e12}
    steps = {
        f: run.plan(job(**ask, framework=f), why=False)["best"]["step_s"] for f in ("megatron", "torchtitan", "any")
    }
    assert steps["any"] <= min(steps.values()) * (1 + 1e-12)


def test_more_chips_take_fewer_days_and_not_fewer_chip_hours():
    plans = [run.plan(job(model("llama-2-13b"), f"{n} x A100-SXM-80GB", 1e12))["best"] for n in (64, 256, 1024)]
    assert plans[0]["days"] > plans[1]["days"] > plans[2]["days"]
    assert plans[0]["chip_hours"] <= plans[1]["chip_hours"] <= plans[2]["chip_hours"]


# questions


def test_every_default_is_named():
    j = job(model("llama-65b"), "2048 x A100-SXM-80GB", TOKENS)
    text = "; ".join(j.assumed)
    for words in (
        "sequence 2048: as pre-trained",
        "batch 4M tokens",
        "software stack: ",
        "network 200 Gb/s per chip",
    ):
        assert words in text
    assert (j.seq, j.batch, j.stack.name, j.precision) == (2048, 2048, "typical", "bf16")


def test_nothing_is_assumed_where_all_is_said():
    j = job(
        model("llama-65b"), "2048 x A100-SXM-80GB", TOKENS, seq=4096, global_batch=1024, stack=STACKS["megatron-core"],
        network="400 Gb/s per chip",
    )  # fmt: skip
    assert j.assumed == []
    assert j.rates.out_bytes_per_s == 50e9
    assert (j.seq, j.batch) == (4096, 1024)
    # one server needs no network
    assert not any("network" in a for a in job(model("llama-7b"), "8 x A100-SXM-80GB").assumed)


def test_guesses_about_experts_and_clips_are_named():
    text = "; ".join(job(model("deepseek-v3"), "2048 x H800-SXM-80GB").assumed)
    assert "routing: load of an expert varies by " in text and "(guess; --routing names another)" in text
    assert "multi-token prediction trained (--no-mtp leaves it out)" in text
    said = job(model("mixtral-8x7b"), "8 x H100-SXM-80GB", imbalance=0.0).assumed
    assert "routing: balanced" in said
    said = job(model("mixtral-8x7b"), "8 x H100-SXM-80GB", imbalance=0.3, capacity=1.25).assumed
    assert any("varies by 30%, and beyond 1.25 times the mean it drops, 3.4% of all" in s for s in said)
    clips = job(model("wan-2.1-1.3b"), "8 x H100-SXM-80GB")
    assert "clips of 81 frames, " in "; ".join(clips.assumed) and clips.clip == (81, 480, 832)
    assert (clips.seq, clips.batch) == (21 * 30 * 52, 64)


def test_without_tokens_there_are_no_days_but_a_step():
    best = run.plan(job(model("llama-7b"), "8 x A100-SXM-80GB"))["best"]
    assert best["days"] is best["energy_j"] is best["cost_usd"] is None
    assert best["step_s"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "fp8"}, "A100-SXM-80GB has no dense fp8 rate in the catalogue; it has bf16, "),
        (
            {"precision": "fp12"},
            "precision must be one of bf16, fp16, tf32, fp32, fp8, fp8-rowwise, fp8-block, mxfp8, nvfp4, int8; got 'fp12'",
        ),
        ({"seq": 0}, "seq must be at least 1; got 0"),
        (
            {"on": "8 x A100-SXM-80GB + 8 x H20"},
            "a job runs on one kind of chip; got 8 x A100-SXM-80GB + 8 x H20; cutline.plan.mixed and `cutline plan` take",
        ),
        ({"network": "fast"}, "network 'fast' does not parse; write '400 Gb/s per chip' or '8x200 Gb/s'"),
        ({"on": "eight A100"}, "no chip named 'eight A100'."),
        ({"on": "0 x H20"}, "fleet '0 x H20': chips must be a whole number of at least 1; got 0"),
        ({"on": "1.5 x H20"}, "fleet '1.5 x H20': chips must be a whole number of at least 1; got 1.5"),
        ({"on": "-8 x H20"}, "fleet '-8 x H20': chips must be a whole number of at least 1; got -8"),
        ({"on": ""}, "fleet '' does not parse; write for example '2048 x A100-SXM-80GB'"),
        ({"on": "2048"}, "fleet '2048' names no chip; write for example '2048 x A100-SXM-80GB'"),
    ],
)
def test_a_question_that_makes_no_sense_gets_one_sentence(changes, message):
    with pytest.raises(CutlineError) as error:
        job(model("llama-65b"), **({"on": "8 x A100-SXM-80GB"} | changes))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("llama-65b", {"imbalance": 0.2}, "llama-65b has no experts; --routing and --capacity are for sparse models"),
        ("llama-65b", {"capacity": 1.25}, "llama-65b has no experts; --routing and --capacity are for sparse models"),
        ("mixtral-8x7b", {"capacity": 0.5}, "capacity must be at least 1, or 0 to drop nothing; got 0.5"),
        ("llama-7b", {"batch_tokens": 100.0}, "a batch must be at least one sequence of 2048 tokens; got 100"),
        ("mixtral-8x7b", {"capacity": -1.0}, "capacity must be at least 0; got -1.0"),
        (
            "llama-65b",
            {"clip": "81x720x1280"},
            "llama-65b draws no images or clips; --clip is for diffusion transformers",
        ),
        (
            "llama-65b",
            {"clips": 1e6},
            "llama-65b is trained on tokens, not on clips; --clips is for diffusion transformers",
        ),
        (
            "wan-2.1-1.3b",
            {"clip": "0x720x1280"},
            "clip must be frames x height x width, such as 81x720x1280; got '0x720x1280'",
        ),
        ("llama-65b", {"gradients": "fp8"}, "gradients must be bf16 or fp32; got 'fp8'"),
        ("llama-65b", {"money": "lease"}, "money must be rent or own; got 'lease'"),
        (
            "llama-65b",
            {"framework": "megatrn"},
            "framework must be one of megatron, torchtitan, deepspeed, any; got 'megatrn'",
        ),
    ],
)
def test_an_option_that_does_not_fit_the_model_gets_one_sentence(name, changes, message):
    with pytest.raises(CutlineError) as error:
        job(model(name), "8 x H100-SXM-80GB", **changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_an_unknown_chip_gets_suggestions():
    with pytest.raises(UnknownName, match=r"Did you mean A100-SXM-80GB"):
        job(model("llama-65b"), "8 x A100-SMX-80GB")


@pytest.mark.parametrize(
    "changes",
    [{"tokens": -1.0}, {"tokens": float("nan")}, {"batch_tokens": -4e6}, {"batch_tokens": 0.0}],
    ids=str,
)
def test_sizes_that_are_no_sizes_are_refused(changes):
    with pytest.raises(CutlineError):
        job(model("llama-7b"), "8 x A100-SXM-80GB", **changes)


# fleets


def test_fleets_join_groups_of_one_chip():
    groups = fleet("1k x a100-sxm-80gb + 24 x H20 + 8 × h20")
    assert [(g.chips, g.chip.name) for g in groups] == [(1000, "A100-SXM-80GB"), (32, chip("H20").name)]
    assert only(fleet("H20")).chips == 1


# batches


@given(st.floats(1.0, 1e5), st.integers(1, 8192))
def test_batches_are_whole_near_and_divisible(wanted, chips):
    got = batch_for(wanted * 2048, 2048, chips)
    assert got >= 1
    assert isinstance(got, int)
    possible = abs(round(wanted) - wanted) <= 0.1 * wanted
    if possible and wanted >= 1.5:
        assert abs(got - wanted) <= 0.1 * wanted * (1 + 1e-9)
    else:
        assert abs(got - wanted) <= 0.5 + 1e-9


@given(st.integers(0, 12), st.integers(1, 64))
def test_a_batch_that_the_chips_divide_is_taken_as_it_is(power, times):
    chips = 2**power
    assert batch_for(chips * times * 4096.0, 4096, chips) % chips == 0


@given(st.integers(1, 4096), st.floats(2.0, 1e4))
def test_a_batch_keeps_the_odd_part_of_the_chips_and_then_powers_of_two(chips, wanted):
    got = batch_for(wanted * 1024, 1024, chips)

    def reachable(unit):
        return any(m and abs(m - wanted) <= 0.1 * wanted for m in (wanted // unit * unit, wanted // unit * unit + unit))

    odd = [d for d in range(1, chips + 1, 2) if chips % d == 0 and reachable(d)]
    if odd:
        assert got % odd[-1] == 0
        power = max(k for k in range(14) if reachable(odd[-1] << k))
        assert got % (odd[-1] << power) == 0


# one given strategy


def test_a_given_strategy_has_the_keys_of_a_plan_and_its_memory():
    j = job(model("llama-7b"), "8 x A100-SXM-80GB", 1e11)
    answer = run.given(j, {"tp": 2, "micro_batch": 1, "full": 1.0})
    assert set(answer) >= ANSWER
    best = answer["best"]
    assert set(best) >= BEST | {"fits", "memory_parts_bytes", "parts_s"}
    assert best["strategy"]["recompute"] == "full"
    parts = {k: v for k, v in best["memory_parts_bytes"].items() if k != "memory_bytes"}
    assert sum(parts.values()) == pytest.approx(best["memory_bytes"], rel=1e-9)
    json.loads(json.dumps(answer, allow_nan=False))


def test_the_best_plan_given_back_costs_the_same(demo):
    j, answer = demo["A100-SXM-80GB"]
    split = answer["best"]["strategy"]
    chosen = {k: split[k] for k in ("tp", "cp", "pp", "vpp", "micro_batch", "zero", "shard", "sequence_parallel")}
    chosen |= run.recompute_fields(
        split["recompute"].split()[0], max(split[f"layers_{k}"] for k in ("first", "middle", "last"))
    )
    assert run.given(j, chosen)["best"]["step_s"] == pytest.approx(answer["best"]["step_s"], rel=1e-9)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("none", (0.0, 0.0)), ("selective", (1.0, 0.0)), ("full", (0.0, 1.0)), ("0", (0.0, 0.0)), ("5", (0.0, 0.5)),
        ("10", (0.0, 1.0)),
    ],
)  # fmt: skip
def test_recompute_words(text, fields):
    found = run.recompute_fields(text, 10)
    assert (found["selective"], found["full"]) == fields


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("selective", {"selective"}),
        ("light", {"light"}),
        ("selective+light", {"selective", "light"}),
        ("selective + light + feed", {"selective", "light", "feed"}),
        ("none", set()),
        ("full", set()),
    ],
)
def test_recompute_of_modules(text, modules):
    found = run.recompute_fields(text, 10)
    assert {name for name in describe.MODULES if found[name]} == modules


@pytest.mark.parametrize("text", ["some", "11", "-1", "2.5", "", "selective+some", "selective+"])
def test_recompute_words_that_mean_nothing(text):
    with pytest.raises(CutlineError) as error:
        run.recompute_fields(text, 10)
    assert str(error.value) == (
        "recompute must be none, full, layers per stage (0 to 10), or modules joined by +: selective, light, feed; "
        f"got '{text}'"
    )


@pytest.mark.parametrize(
    ("full", "selective", "words"),
    [
        (0, 0, "none"),
        (0, 1, "selective"),
        (1, 0, "full"),
        (0.2, 0, "2 of 10 layers"),
        (0.2, 1, "2 of 10 layers, selective"),
    ],
)
def test_recompute_in_words(full, selective, words):
    row = dict.fromkeys("tp cp pp vpp dp micro_batch micro_batches zero shard sequence_parallel".split(), 1.0)
    row |= {"selective": selective, "full": full, "first": 10, "middle": 10, "last": 10}
    from cutline.plan.columns import Strategy

    assert describe.strategy_row(Strategy(**{k: np.array([v], float) for k, v in row.items()}))["recompute"] == words


# the whole catalogue


def finite(answer):
    """The answer as JSON without NaN; its plan keeps to the data sheet."""
    json.loads(json.dumps(answer, allow_nan=False))
    best = answer["best"]
    assert 0 < best["mfu"] < 1
    assert 0 < best["days_low"] < best["days"] < best["days_high"]
    assert best["energy_j"] is None or best["energy_j"] > 0
    assert best["cost_usd"] is None or best["cost_usd"] > 0


def test_every_chip_gives_an_estimate_or_says_which_fact_is_missing():
    estimated = 0
    for name in chips():
        try:
            j = job(model("gpt2-355m"), f"8 x {name}", 1e10, seq=1024, global_batch=64)
        except CutlineError as error:
            assert re.match(rf"^{re.escape(name)} has no (sourced|dense) ", str(error)), error
            continue
        finite(run.given(j, {}))
        estimated += 1
    assert estimated >= 150


def test_every_model_gives_an_estimate():
    kinds = set()
    for name in reader.table("models"):
        m = model(name)
        finite(run.given(job(m, "8 x H200-SXM-141GB", 1e12), {"zero": 3.0, "full": 1.0}))
        kinds.add((m.kind, m.latent, m.linear_layers > 0, m.window > 0))
    assert {kind for kind, *_ in kinds} == {"dense", "moe", "dit"}
    assert len(kinds) >= 7  # latent, linear and windowed attention, and mixes


@pytest.mark.parametrize(
    "name", ["mixtral-8x7b", "deepseek-v2-lite", "gpt-oss-20b", "nemotron-3-nano", "wan-2.1-1.3b", "flux-1-dev"]
)
def test_models_of_every_kind_are_planned(name):
    j = job(model(name), "16 x H100-SXM-80GB", 1e11, batch_tokens=None if model(name).kind == "dit" else 1e6)
    answer = run.plan(j)
    finite(answer)
    best = answer["best"]
    assert sum(best["parts_s"].values()) == pytest.approx(best["step_s"], rel=1e-9)
    assert best["memory_bytes"] <= USABLE * best["memory_limit_bytes"]
    assert model(name).experts == 0 or model(name).experts % best["strategy"]["ep"] == 0


# nothing fits


def test_nothing_fits_is_an_answer():
    j = job(model("llama-3.1-405b"), "8 x A100-SXM-80GB", 1e12)
    answer = run.plan(j)
    assert answer["best"] is None
    assert (answer["alternatives"], answer["pareto"], answer["feasible"]) == ([], [], 0)
    nearest = answer["nearest"]
    assert nearest["memory_bytes"] > nearest["limit_bytes"]
    assert nearest["would_fit_with"]
    json.loads(json.dumps(answer, allow_nan=False))


def test_what_would_make_it_fit_makes_it_fit():
    j = job(model("llama-2-70b"), "4 x A100-SXM-80GB", 1e12)
    nearest = run.plan(j)["nearest"]
    count = next(int(c.split()[0]) for c in nearest["would_fit_with"] if c.endswith("chips of this kind"))
    more = run.plan(job(model("llama-2-70b"), f"{count} x A100-SXM-80GB", 1e12, global_batch=j.batch))
    assert more["feasible"] > 0


def test_states_on_the_host_are_a_cure_where_the_framework_has_none_and_they_make_it_fit():
    ask = {"model": model("llama-2-70b"), "on": "8 x A100-SXM-80GB", "tokens": 1e12}
    nearest = run.plan(job(**ask, framework="torchtitan"))["nearest"]
    assert any(c.startswith("optimizer states on the host") for c in nearest["would_fit_with"])
    assert run.plan(job(**ask, framework="any"), why=False)["best"]["strategy"]["offload"]


# machine


def test_a_part_with_more_power_per_flop_sustains_more():
    shares = {}
    for name in ("H100-SXM-80GB", "H20"):
        j = job(model("llama-7b"), f"8 x {name}")
        shares[name] = j.constants.gemm_fraction * j.constants.gemm_gain
    assert shares["H100-SXM-80GB"] < shares["H20"] < table()["ceiling", ""].prior


@pytest.mark.parametrize(
    ("text", "per_node", "gigabytes"),
    [
        ("InfiniBand HDR 8x200 Gb/s", 8, 25.0), ("4 x 100 Gb/s", 8, 6.25), ("400 Gb/s per chip", 8, 50.0),
        ("400 Gb/s per NPU", 8, 50.0), ("RoCE 1600 Gb/s", 8, 25.0), ("800 Gb/s", 1, 100.0),
    ],
)  # fmt: skip
def test_network_words(text, per_node, gigabytes):
    assert machine.network_bytes_per_s(text, per_node) == pytest.approx(gigabytes * 1e9)


@pytest.mark.parametrize("text", ["InfiniBand", "0 Gb/s", "200 GB/s", ""])
def test_network_words_without_a_rate(text):
    assert machine.network_bytes_per_s(text, 8) is None


# interval


def test_the_interval_is_wider_where_less_is_known(demo):
    zero = np.zeros(len(interval.FEATURES))
    zero[0] = 1.0

    def width(**features):
        x = zero.copy()
        for name, value in features.items():
            x[interval.FEATURES.index(name)] = value
        return float(interval.half_width(x))

    assert width() > 0
    assert width(unmeasured=1.0) > width(unmeasured=0.5) > width()
    assert width(loose=2.0) > width()
    assert width(narrow=1.0) > width()
    widths = [math.log(p["best"]["days_high"] / p["best"]["days"]) for _, p in demo.values()]
    assert all(0.03 < w < 0.6 for w in widths)


def test_the_fitted_interval_holds_nine_in_ten_of_errors_of_its_kind():
    """Errors drawn with a scale that doubles with one feature: the fit finds it, the quantile holds 90 %."""
    rng = np.random.default_rng(7)
    x = np.zeros((4000, len(interval.FEATURES)))
    x[:, 0] = 1.0
    x[:, 1] = rng.uniform(0, 1, len(x))
    scale = 0.05 * np.exp(1.0 * x[:, 1])
    error = rng.normal(0, scale)
    groups = [f"g{i % 4}" for i in range(len(x))]
    coefficients, quantile = interval.fit_scale(x, error, groups)
    assert coefficients[1] > 0.3
    inside = np.abs(error) <= quantile * np.exp(x @ coefficients)
    assert inside.mean() == pytest.approx(0.9, abs=0.005)


def test_each_group_weighs_the_same_in_the_quantile():
    x = np.zeros((110, len(interval.FEATURES)))
    x[:, 0] = 1.0
    error = np.concatenate([np.full(100, 0.01), np.full(10, 1.0)])
    zero = np.zeros(len(interval.FEATURES))
    assert interval.quantile(x, error, ["many"] * 100 + ["few"] * 10, zero) == 1.0
    assert interval.quantile(x, error, ["one"] * 110, zero) == 0.01


def test_batches_are_those_asked_for_or_said_to_be_rounded():
    """deepseek-v3-paper: 15,360 sequences; a fleet of which a quarter or more divides them runs them as they are."""
    j = job(model("deepseek-v3"), "2048 x H800-SXM-80GB")
    assert j.batch == 15360 and "batch 62.91M tokens: as published" in j.assumed
    j = job(model("llama-2-13b"), "64 x H20", batch_tokens=3e6)
    assert any(a.startswith("batch 3,000,000 tokens rounded to ") for a in j.assumed)
    j = job(model("llama-2-13b"), "64 x H20", batch_tokens=64.0 * 4096)
    assert j.batch == 64 and not any("rounded" in a for a in j.assumed)


def test_a_framework_by_default_and_by_name_offers_the_same():
    """The middle of all stacks runs what Megatron-Core offers; so its label says."""
    ask = {"model": model("llama-2-13b"), "on": "256 x A800-SXM-80GB", "tokens": 1e12}
    spaces = [job(**ask, framework=name).space for name in (None, "megatron")]
    assert spaces[0].zero == spaces[1].zero == (0, 1, 3)
