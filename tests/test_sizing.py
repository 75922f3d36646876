"""How large and on how many tokens: scaling laws, decoders of a size, ramps, and other parts for the same job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutline.core.errors import CutlineError
from cutline.facts.models import model, parameters
from cutline.facts.reader import evidence
from cutline.plan import explain, run, sizing
from cutline.plan.job import job
from cutline.plan.precision import RECIPES

LAW = sizing.law()


@pytest.mark.parametrize(
    ("name", "n", "tokens", "value"),
    [
        # by hand from the printed constants: besiroglu-2024 1.8172 + 482.01 / N^0.3478 + 2085.43 / D^0.3658
        ("besiroglu", 70e9, 1.4e12, 1.8172 + 482.01 * 70e9**-0.3478 + 2085.43 * 1.4e12**-0.3658),
        # hoffmann-2022, unrounded in its LaTeX source: 1.6934 + 406.4 / N^0.3392 + 410.7 / D^0.2849
        ("chinchilla", 70e9, 1.4e12, 1.6934 + 406.4 * 70e9**-0.3392 + 410.7 * 1.4e12**-0.2849),
    ],
)
def test_the_loss_is_that_of_the_printed_law(name, n, tokens, value):
    assert sizing.loss(sizing.law(name), n, tokens) == pytest.approx(value, rel=1e-4)


@given(st.floats(18, 27))
def test_no_other_size_has_less_loss_for_the_same_compute(exponent):
    flop = 10.0**exponent
    n = sizing.optimal_parameters(LAW, flop)
    best = sizing.loss(LAW, n, flop / (6 * n))
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert best < sizing.loss(LAW, n * factor, flop / (6 * n * factor))
    assert sizing.optimal_tokens(LAW, n) == pytest.approx(flop / (6 * n), rel=1e-9)


@given(st.floats(9.5, 12.3))
def test_decoders_have_about_the_size_asked_for(exponent):
    n = 10.0**exponent
    made = sizing.decoder(n)
    assert parameters(made).total == pytest.approx(n, rel=0.08)
    assert made.heads * made.head_dim == made.hidden and made.heads % made.kv_heads == 0


def test_an_unknown_law_names_the_known_ones():
    with pytest.raises(CutlineError, match=r"^law must be one of besiroglu, chinchilla; got 'kaplan'$"):
        sizing.law("kaplan")


# ramps


def test_a_ramp_is_read_as_batches_and_the_tokens_they_start_at():
    found = sizing.ramp("4M, 8M from 252M, 16M from 2.87T", model("llama-7b"))
    assert [(p.batch_tokens, p.start) for p in found] == [(4e6, 0), (8e6, 252e6), (16e6, 2.87e12)]


def test_published_ramps_are_those_of_their_reports():
    """llama-3-paper 3.4.1: 4M, 8M from 252M tokens, 16M from 2.87T; deepseek-v3-paper 4.2: 3072 to 15360 over 469B."""
    found = sizing.ramp("published", model("llama-3.1-405b"))
    assert [(p.batch_tokens, p.start) for p in found] == [(4e6, 0), (8e6, 252e6), (16e6, 2.87e12)]
    found = sizing.ramp("Published", model("deepseek-v3"))
    assert found[0].batch_tokens == pytest.approx(3072 * 4096) and found[-1].start == 469e9
    assert found[-1].batch_tokens == pytest.approx(15360 * 4096)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "ramp must be such as"),
        ("4M from 1B", "ramp must be such as"),
        ("4M, 8M", "ramp must be such as"),
        ("4M, 8 apples from 1B", "ramp must be such as"),
        ("4M, 2M from 1B", "batches and starts must grow"),
        ("4M, 8M from 2B, 16M from 1B", "batches and starts must grow"),
        ("published", "nothing is published about the ramp of llama-7b"),
    ],
)
def test_a_bad_ramp_says_what_is_wrong(text, words):
    with pytest.raises(CutlineError, match=words):
        sizing.ramp(text, model("llama-7b"))


def test_a_ramp_that_starts_after_the_run_is_refused():
    j = job(model("llama-7b"), "64 x A100", 1e12)
    with pytest.raises(CutlineError, match="last phase starts at 1e\\+14 tokens, after the run's 1e\\+12"):
        sizing.ramped(j, sizing.ramp("4M, 8M from 100T", j.model), {})


def test_a_ramp_of_one_phase_is_the_run_itself():
    j = job(model("llama-7b"), "64 x A100", 100e9)
    best = run.plan(j, top=1, why=False)["best"]
    got = sizing.ramped(j, sizing.ramp(f"{j.batch * j.seq}", j.model), best)
    assert got["days"] == pytest.approx(best["days"], rel=1e-9)
    assert [p["tokens"] for p in got["phases"]] == [100e9]


# deadlines


def test_more_days_buy_as_many_more_tokens_and_the_plan_takes_those_days():
    j = job(model("llama-7b"), "64 x A100", 1.0)
    one, _ = sizing.tokens_by(j, 1.0)
    assert sizing.tokens_by(j, 3.0)[0] == pytest.approx(3 * one)
    assert run.plan(j.on(tokens=one), top=1, why=False)["best"]["days"] == pytest.approx(1.0)


def test_a_model_that_does_not_fit_has_no_number_of_days():
    with pytest.raises(CutlineError, match="does not fit 8 x A100-SXM-80GB, so no number of days is enough"):
        sizing.tokens_by(job(model("llama-3.1-405b"), "8 x A100-SXM-80GB", 1.0), 30.0)


# the same job elsewhere


def test_cut_links_cost_less_than_cut_compute():
    """The A800 has the A100's peak and fewer links; the H20 the H100's memory and links and a seventh of its peak."""
    ask = {"model": model("llama-2-70b"), "tokens": 1e12}
    answer = run.plan(job(on="256 x A100-SXM-80GB", **ask), top=1, why=False)
    rows = {r["chip"]: r["times"] for r in explain.compare(answer, ask, ["A800-SXM-80GB", "H20", "H100-SXM-80GB"])}
    assert 1.0 <= rows["A800-SXM-80GB"] < 1.2 < rows["H20"]
    assert rows["H100-SXM-80GB"] < 0.6


def test_exponentials_of_a_cut_part_are_as_fast_as_before():
    """Of the H20's 148 Tflop/s attention takes a larger share than of the H100's 989: its units were cut less than its peak."""
    share = {}
    for chip in ("H100-SXM-80GB", "H20"):
        c = job(model("llama-7b"), f"8 x {chip}", 1e9).constants
        share[chip] = c.attention_fraction * c.attention_gain, c.gemm_fraction * c.gemm_gain
    (h100, h100_gemm), (h20, h20_gemm) = share["H100-SXM-80GB"], share["H20"]
    assert h100 < h100_gemm and h20 < h20_gemm
    assert h20 / h20_gemm > 1.1 * h100 / h100_gemm


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_estimated_or_refused_with_its_reason(name):
    part = "B200-SXM" if name in ("mxfp8", "nvfp4") else "H100-SXM-80GB"
    answer = run.plan(job(model("llama-7b"), f"16 x {part}", 1e9, precision=name), top=1, why=False)
    assert answer["best"]["step_s"] > 0
    if name in ("mxfp8", "nvfp4"):
        with pytest.raises(CutlineError, match=r"H100-SXM-80GB has no"):
            job(model("llama-7b"), "16 x H100-SXM-80GB", 1e9, precision=name)


@pytest.mark.parametrize("chip", ["H100-SXM-80GB", "H20"])
def test_a_clip_is_drawn_in_about_the_measured_time(chip):
    """xdit-hunyuanvideo, to which nothing was fitted; its times also hold the autoencoder, which weighs more on eight chips."""
    ways = explain.sampling(job(model("hunyuan-video"), f"8 x {chip}"))["ways"]
    assert [w["chips"] for w in ways] == [1, 8]
    for way, worst in zip(ways, (0.15, 0.35), strict=True):
        measured = float(evidence("clip_s", f"hunyuanvideo-13b {chip} {way['chips']} chips").value)
        assert -worst < way["clip_s"] / measured - 1 < 0.0, way
