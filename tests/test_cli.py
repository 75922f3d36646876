"""The command line: every command, JSON as Python returns it, one line per refused input, a light start."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cutline import __version__, data_version
from cutline.cli import catalogue, measuring, screen, show_plan
from cutline.cli.words import counted
from cutline.core.errors import CutlineError
from cutline.facts.models import model
from cutline.formats.huggingface import read_config
from cutline.plan import accuracy, run
from cutline.plan.stacks import STACKS

CONFIG = Path(__file__).parent / "configs" / "qwen2.5-0.5b.json"
MIXED = "8 x H20 + 8 x L4"
PLAN = ["plan", "gpt2", "--on", "8 x A100-SXM-80GB"]
ESTIMATE = ["estimate", "llama-7b", "--on", "8 x A100-SXM-80GB", "--global-batch", "64"]
COMMANDS = ("plan", "estimate", "chips", "chip", "models", "model", "accuracy", "calibrate")
BESIDE = {"sizing": None, "compare": [], "ramp": None, "precision_effect": None, "sampling": None}
"""What `plan` adds to the answer of `run.plan`, where nobody asks for it."""
STACK = 'name = "mine"\nbase = "torchtitan"\ncalibrated_on = []\n\n[multipliers]\ncompute = 1.25\n'


@pytest.fixture(scope="session")
def rows():
    """Rows of the catalogue that a test may save as somebody's own measurements: one stack, short."""
    return [r for r in accuracy.load() if r["group"] == "korthikanti-2022"]


@pytest.fixture
def own(tmp_path, rows):
    """A file of measurements of one stack."""
    return saved(tmp_path / "own.csv", rows)


def saved(path, rows):
    columns = [c for c in rows[0] if not c.startswith("_")]
    with path.open("w", encoding="utf-8", newline="") as handle:
        out = csv.DictWriter(handle, columns, extrasaction="ignore", lineterminator="\n")
        out.writeheader()
        out.writerows(rows)
    return path


def plain(answer):
    """Return an answer as JSON brings it back."""
    return json.loads(json.dumps(answer, allow_nan=False))


def strict(text):
    """Read JSON and refuse the words NaN and Infinity, which are not JSON."""

    def refuse(word):
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


# ---- every command answers


@pytest.mark.parametrize(
    "words",
    [
        [*PLAN, "--tokens", "10B", "--sources"],
        [*PLAN, "--objective", "energy", "--seq", "1k", "--batch-tokens", "512k", "--top", "1"],
        ["plan", str(CONFIG), "--on", "8 x H100-SXM-80GB", "--stack", "torchtitan", "--precision", "FP8"],
        ["plan", "llama-65b", "--on", "1024 x H20", "--network", "200 Gb/s per chip", "--tokens", "1.4T"],
        [*ESTIMATE, "--tp", "2", "--pp", "2", "--recompute", "3", "--micro-batch", "2"],
        [*ESTIMATE, "--zero", "3", "--recompute", "full"],
        ["plan", "mixtral-8x7b", "--on", "64 x H100-SXM-80GB", "--routing", "balanced", "--top", "2"],
        ["plan", "wan-2.1-1.3b", "--on", "8 x H100-SXM-80GB", "--clips", "1M", "--top", "2"],
        [*PLAN, "--compare", "A800-SXM-80GB,H20", "--tokens", "10B", "--ramp", "256k, 512k from 1B"],
        [*PLAN, "--days", "0.1", "--framework", "any"],
        ["plan", "--on", "64 x H100-SXM-80GB", "--chinchilla", "--flop", "1e21"],
        ["plan", "llama-7b", "--on", "64 x H100-SXM-80GB", "--precision", "fp8", "--money", "own"],
        [
            "estimate",
            "mixtral-8x7b",
            "--on",
            "64 x H100",
            "--ep",
            "8",
            "--zero",
            "1",
            "--pp",
            "2",
            "--global-batch",
            "64",
        ],
        ["chips"],
        ["chips", "--maker", "huawei"],
        ["chip", "h20"],
        ["models"],
        ["model", "deepseek-v3"],
        ["model", str(CONFIG)],
        ["accuracy"],
    ],
    ids=lambda words: " ".join(words[:1] + words[4:6]) if len(words) > 3 else " ".join(words)[:12],
)
def test_command_answers_within_100_columns(cli, words):
    code, out, err = cli(*words)
    assert (code, err) == (0, "")
    assert f"cutline {__version__}, facts of {data_version}" in out
    wide = [line for line in out.splitlines() if len(line) > 100 and "http" not in line]
    assert not wide
    assert "…" not in out, "a cell was cut"
    assert not set("│┃━─╭") & set(out), "a box was drawn"


def test_plan_says_verdict_table_why_doubt_sources_in_this_order(cli):
    _, out, _ = cli("plan", "llama-65b", "--on", "2048 x A100-SXM-80GB", "--tokens", "1.4T")
    order = [
        "days  (",
        "USD",
        "what limits it",
        "best in full",
        "10 % more of",
        "published: 21 days, 380 tokens/s/chip",
    ]
    order += ["for: llama-65b", "assumed:", "searched", "sources:", "--sources lists them"]
    places = [out.find(words) for words in order]
    assert -1 not in places and places == sorted(places)


def test_plan_on_other_chips_says_that_the_published_run_was_not_on_these(cli):
    _, out, _ = cli("plan", "llama-65b", "--on", "2048 x H20", "--tokens", "1.4T")
    assert "published on 2,048 x A100-SXM-80GB, not on these chips: 21 days" in out
    assert "guesses (" in out


def test_sources_lists_every_fact_with_its_address(cli):
    answer = run.plan(run.job(model("gpt2"), "8 x A100-SXM-80GB", 1e10))
    _, out, _ = cli(*PLAN, "--tokens", "10B", "--sources")
    for fact in answer["sources"]:
        assert fact["what"] in out and fact["url"] in out


def test_plan_without_tokens_takes_the_published_ones_or_answers_per_step(cli):
    _, out, _ = cli("plan", "llama-7b", "--on", "64 x A100-SXM-80GB")
    assert "tokens 1T: as published" in out and "days  (" in out
    _, out, _ = cli("plan", CONFIG, "--on", "8 x H100-SXM-80GB")
    assert "s per step  (" in out and "days" not in out.splitlines()[1]


def test_nothing_fits_is_an_answer(cli):
    code, out, err = cli("plan", "llama-65b", "--on", "2 x A100-SXM-80GB")
    assert (code, err) == (0, "")
    assert out.lstrip().startswith("Nothing fits: the smallest need is ")
    assert "It would fit with " in out
    code, out, _ = cli("plan", "llama-65b", "--on", "2 x A100-SXM-80GB", "--json")
    assert code == 0 and strict(out)["best"] is None


def test_estimate_that_does_not_fit_says_so_first(cli):
    code, out, _ = cli(*ESTIMATE, "--zero", "0")
    assert code == 0 and out.lstrip().startswith("Does not fit: it needs ")


def test_estimate_parts_sum_to_the_step(cli):
    _, out, _ = cli(*ESTIMATE, "--tp", "2", "--json")
    best = strict(out)["best"]
    assert sum(best["parts_s"].values()) == pytest.approx(best["step_s"])
    parts = [v for k, v in best["memory_parts_bytes"].items() if k != "memory_bytes"]
    assert sum(parts) == pytest.approx(best["memory_bytes"])


def test_chip_shows_losing_claims_below_the_one_in_use_and_marks_guesses(cli):
    _, out, _ = cli("chip", "H20", "--json")
    claims = strict(out)["claims"]
    for field in {(c["field"], c["item"]) for c in claims}:
        used = [c["used"] for c in claims if (c["field"], c["item"]) == field]
        assert used == [True] + [False] * (len(used) - 1)
    _, text, _ = cli("chip", "H20")
    assert "guess" in text and "agrees" in text


def test_config_says_which_keys_were_used_and_assumed(cli):
    _, out, _ = cli("model", CONFIG)
    assert "keys used: " in out and "hidden_size 896" in out and "assumed, as the class does:" in out


def test_rows_prints_every_row(cli, own, rows):
    _, out, _ = cli("accuracy", "--measurements", own, "--rows")
    assert all(r["id"] in out for r in rows)


# ---- JSON is what Python returns


def test_plan_json_is_the_dict_of_run_plan(cli):
    code, out, _ = cli(*PLAN, "--tokens", "10B", "--json", "--top", "3")
    assert code == 0
    assert strict(out) == plain(run.plan(run.job(model("gpt2"), "8 x A100-SXM-80GB", 1e10), 3)) | BESIDE
    wanted = {"best", "alternatives", "searched", "pruned", "feasible", "published", "lifted", "excluded", "sources"}
    assert wanted | {"framework", "clip"} <= set(strict(out))


def test_plan_of_a_config_json_is_the_dict_of_run_plan(cli):
    words = ["--on", "8 x H100-SXM-80GB", "--stack", "torchtitan", "--network", "8x400 Gb/s", "--batch-tokens", "1M"]
    _, out, _ = cli("plan", CONFIG, *words, "--json")
    fleet, network = words[1], words[5]
    job = run.job(read_config(CONFIG), fleet, stack=STACKS["torchtitan"], network=network, batch_tokens=1e6)
    assert strict(out) == plain(run.plan(job)) | BESIDE


def test_estimate_json_is_the_dict_of_run_given(cli):
    words = [
        "--tp",
        "2",
        "--pp",
        "2",
        "--micro-batch",
        "2",
        "--recompute",
        "3",
        "--no-sequence-parallel",
        "--tokens",
        "1T",
    ]
    _, out, _ = cli(*ESTIMATE, *words, "--json")
    job = run.job(model("llama-7b"), "8 x A100-SXM-80GB", 1e12, global_batch=64)
    chosen = {"tp": 2.0, "pp": 2.0, "micro_batch": 2.0, "zero": 1.0, "sequence_parallel": 0.0}
    assert strict(out) == plain(run.given(job, chosen | run.recompute_fields("3", 16)))
    assert strict(out)["best"]["strategy"]["recompute"] == "3 of 16 layers"


def test_accuracy_json_is_the_dict_of_score(cli, own):
    _, out, _ = cli("accuracy", "--measurements", own, "--json")
    assert strict(out) == plain(accuracy.score(own))
    assert {"rows", "summary", "skipped"} <= set(strict(out))


def test_calibrated_accuracy_json_is_the_dict_of_score(cli, own):
    _, out, _ = cli("accuracy", "--measurements", own, "--calibrate", "5", "--json")
    assert strict(out) == plain(accuracy.score(own, 5))


def test_catalogue_json_is_the_dict_of_its_functions(cli):
    for words, answer in (
        (["chips"], catalogue.list_of_chips()),
        (["chip", "H20"], catalogue.facts_of("chips", "h20")),
        (["models"], catalogue.list_of_models()),
        (["model", "llama-65b"], catalogue.shape_of("llama-65b")),
        (["model", str(CONFIG)], catalogue.shape_of(str(CONFIG))),
    ):
        code, out, _ = cli(*words, "--json")
        assert code == 0 and strict(out) == plain(answer)


# ---- what stands beside a plan


def test_other_parts_stand_beside_the_plan(cli):
    _, out, _ = cli(*PLAN, "--tokens", "10B", "--compare", "h20,A100,A100-SXM-40GB", "--json")
    answer = strict(out)
    assert [row["chip"] for row in answer["compare"]] == ["H20", "A100-SXM-40GB"]  # the asked part is not its own rival
    for row in answer["compare"]:
        alone = strict(cli("plan", "gpt2", "--on", f"8 x {row['chip']}", "--tokens", "10B", "--json")[1])["best"]
        assert row["best"]["step_s"] == pytest.approx(alone["step_s"])
        assert row["times"] == pytest.approx(alone["step_s"] / answer["best"]["step_s"])
    _, out, _ = cli("plan", "llama-2-70b", "--on", "16 x H100-SXM-80GB", "--compare", "L4", "--json")
    (row,) = strict(out)["compare"]
    assert row["best"] is None and row["times"] is None and row["why"] == "nothing fits its memory"


def test_a_run_sized_by_days_takes_those_days(cli):
    _, out, _ = cli(*PLAN, "--days", "2", "--json")
    answer = strict(out)
    assert answer["best"]["days"] == pytest.approx(2.0, rel=1e-3)
    size = answer["sizing"]
    assert answer["tokens"] == size["tokens"] and size["days"] == 2.0 and size["law"] == "besiroglu"
    assert size["loss_by_other_law"]["law"] == "chinchilla" and size["replication"] and size["source"]
    assert 1.5 < size["loss"] < 5


def test_a_run_sized_by_flop_takes_that_flop(cli):
    _, out, _ = cli("plan", "llama-7b", "--on", "64 x A100", "--flop", "1e21", "--json")
    assert 1e21 / strict(out)["tokens"] == pytest.approx(6 * 6.74e9, rel=0.15)  # 6 N D, and attention


def test_a_law_sizes_model_and_tokens_of_a_budget(cli):
    _, out, _ = cli("plan", "--on", "1024 x H100-SXM-80GB", "--chinchilla", "--flop", "1e23", "--json")
    answer = strict(out)
    size = answer["sizing"]
    assert size["sized"] and answer["model"].startswith("decoder-") and answer["tokens"] == size["tokens"]
    assert 10 < size["tokens_per_parameter"] < 40
    assert size["tokens"] == pytest.approx(size["best_tokens"], rel=0.1)  # decoders come in steps
    assert 6 * size["parameters"] * size["tokens"] == pytest.approx(1e23, rel=0.1)
    _, out, _ = cli("plan", "llama-7b", "--on", "64 x A100", "--chinchilla", "--json")
    size = strict(out)["sizing"]
    assert size["tokens"] == size["best_tokens"] == strict(out)["tokens"]


def test_a_ramp_takes_longer_than_the_full_batch_and_its_phases_sum_to_it(cli):
    words = ["plan", "llama-7b", "--on", "64 x A100", "--tokens", "100B", "--ramp", "256k, 1M from 10B, 4M from 30B"]
    _, out, _ = cli(*words, "--json")
    answer = strict(out)
    phases = answer["ramp"]["phases"]
    assert [p["from_tokens"] for p in phases] == [0, 10e9, 30e9]
    assert sum(p["tokens"] for p in phases) == pytest.approx(100e9)
    assert sum(p["days"] for p in phases) == pytest.approx(answer["ramp"]["days"])
    assert answer["ramp"]["days"] == pytest.approx(answer["best"]["days"] * (1 + answer["ramp"]["more"]))
    assert answer["ramp"]["more"] > 0
    assert "with the batch ramp " in cli(*words)[1]


def test_a_narrow_format_says_what_it_saves_and_what_is_known_of_its_loss(cli):
    words = ["plan", "llama-7b", "--on", "64 x H100-SXM-80GB", "--tokens", "1T"]
    wide, narrow = (strict(cli(*words, "--json", "--precision", p)[1]) for p in ("bf16", "fp8-block"))
    effect = narrow["precision_effect"]
    assert wide["precision_effect"] is None
    assert 1 - narrow["best"]["step_s"] / wide["best"]["step_s"] == pytest.approx(effect["time"])
    assert 0 < effect["time"] < 0.5
    assert "loss" in effect["loss"] and effect["source"]["title"]
    assert "against bf16: time " in cli(*words, "--precision", "fp8-block")[1]


def test_a_diffusion_transformer_is_planned_in_clips_and_says_how_long_one_takes(cli):
    words = ["plan", "wan-2.1-1.3b", "--on", "8 x H100-SXM-80GB", "--clips", "1M", "--clip", "81x480x832"]
    _, out, _ = cli(*words, "--json")
    answer = strict(out)
    # 81 frames in 21 latent frames, 480 x 832 in 30 x 52 patches of 16 pixels
    assert answer["clip"] == [81, 480, 832] and answer["seq"] == 21 * 30 * 52
    assert answer["tokens"] == 1e6 * answer["seq"]
    ways = {way["chips"]: way["clip_s"] for way in answer["sampling"]["ways"]}
    assert ways[1] > ways[max(ways)] > 0
    assert "clips of" in cli(*words)[1] and "one clip of 50 steps" in cli(*words)[1]


def test_prediction_layers_can_be_left_out(cli):
    words = ["plan", "deepseek-v3", "--on", "2048 x H800-SXM-80GB", "--top", "1", "--tokens", "1T", "--json"]
    with_it, without = (strict(cli(*words, flag)[1]) for flag in ("--mtp", "--no-mtp"))
    assert without["best"]["step_s"] < with_it["best"]["step_s"]
    assert any("multi-token prediction left out" in a for a in without["assumed"])


# ---- calibration


def test_calibrate_writes_a_stack_that_every_command_takes(cli, own, rows, tmp_path):
    file = tmp_path / "mine.toml"
    code, out, err = cli("calibrate", "--measurements", own, "--save", file)
    assert (code, err) == (0, "") and "before" in out and str(file) in out
    base = accuracy.expressed(accuracy.load(own), "own.csv")[0][0].stack.name
    text = file.read_text(encoding="utf-8")
    assert 'name = "mine"' in text and f'base = "{base}"' in text and "[multipliers]" in text
    code, out, _ = cli(*PLAN, "--tokens", "10B", "--stack", file, "--json")
    answer = strict(out)
    assert code == 0 and answer["calibrated"] and answer["stack"] == base
    code, out, _ = cli(*ESTIMATE, "--stack", file)
    assert code == 0 and "(calibrated)" in out
    code, out, _ = cli("accuracy", "--measurements", own, "--stack", file)
    assert code == 0 and f"fitted on {len(rows)} of these rows" in " ".join(out.split())


def test_calibrate_on_picked_rows_reports_the_others(cli, own, rows, tmp_path):
    code, out, _ = cli("calibrate", "--measurements", own, "--save", tmp_path / "s.toml", "--rows", "5", "--json")
    answer = strict(out)
    assert code == 0 and len(answer["calibrated_on"]) == 5
    assert answer["fitted"]["n"] + answer["others"]["n"] == len(rows)
    assert answer == plain(measuring.calibrated(own, "s", 5))


def test_a_stack_file_changes_the_answer(cli, tmp_path):
    file = tmp_path / "slow.toml"
    file.write_text(STACK, encoding="utf-8")
    step = {}
    for stack in ("torchtitan", file):
        _, out, _ = cli(*ESTIMATE, "--zero", "3", "--stack", stack, "--json")
        step[str(stack)] = strict(out)["best"]["step_s"]
    assert step[str(file)] > 1.1 * step["torchtitan"]


# ---- refused input: exit code 2, one line, the value and the cure

ON = ["--on", "8 x A100-SXM-80GB"]
BAD = {
    "unknown chip": (["plan", "gpt2", "--on", "8 x H80"], ["'H80'", "H800-SXM-80GB", "`cutline chips`"]),
    "unknown chip of chip": (["chip", "A101"], ["'A101'", "Did you mean", "`cutline chips` lists all"]),
    "unknown model": (["plan", "llama-66b", *ON], ["'llama-66b'", "llama-65b", "`cutline models`"]),
    "unknown model of model": (["model", "gpt3-175"], ["'gpt3-175'", "gpt3-175b"]),
    "unknown maker": (["chips", "--maker", "Nvida"], ["'Nvida'", "NVIDIA"]),
    "fleet": (["plan", "gpt2", "--on", "8 x"], ["'8 x'", "2048 x A100-SXM-80GB"]),
    "empty fleet": (["plan", "gpt2", "--on", ""], ["''", "does not parse", "2048 x A100-SXM-80GB"]),
    "zero chips": (["plan", "gpt2", "--on", "0 x H20"], ["at least 1", "got 0"]),
    "negative chips": (["plan", "gpt2", "--on", "-4 x H20"], ["at least 1", "got -4"]),
    "too many chips": (["plan", "gpt2", "--on", "99999999999 x H20"], ["fleet", "at most", "99999999999"]),
    "fleet without x": (["plan", "gpt2", "--on", "512 H800"], ["'512 H800'", "'512 x H800'"]),
    "fleet in powers of ten": (["plan", "gpt2", "--on", "1e6 x H20"], ["in digits", "'1000000 x H20'"]),
    "empty model": (["plan", "", *ON], ["MODEL", "''", "config.json"]),
    "empty model of model": (["model", " "], ["MODEL", "' '"]),
    "empty seq": ([*PLAN, "--seq", ""], ["--seq", "''"]),
    "empty stack": ([*PLAN, "--stack", ""], ["--stack", "''", "torchtitan"]),
    "empty batch": ([*PLAN, "--batch-tokens", ""], ["--batch-tokens", "''"]),
    "empty dp": ([*ESTIMATE, "--dp", ""], ["--dp", "''"]),
    "empty global batch": ([*ESTIMATE, "--global-batch", ""], ["--global-batch", "''"]),
    "empty calibrate": (["accuracy", "--calibrate", ""], ["--calibrate", "''"]),
    "long model": (["model", "x" * 300], ["x" * 300]),
    "mixed without a split": (["estimate", "gpt2", "--on", "8 x H20 + 8 x L4"], ["--share", "--layers"]),
    "mixed with both splits": (
        ["estimate", "gpt2", "--on", MIXED, "--share", "H20: 8, L4: 8", "--layers", "H20: 6, L4: 6"],
        ["--share", "--layers"],
    ),
    "share of one group": (["estimate", "gpt2", "--on", MIXED, "--share", "H20: 8"], ["--share says nothing of L4"]),
    "shares that do not sum up": (
        ["estimate", "gpt2", "--on", MIXED, "--share", "H20: 8, L4: 4", "--global-batch", "16"],
        ["sum to the batch of 16", "got 12"],
    ),
    "layers that do not sum up": (
        ["estimate", "gpt2", "--on", MIXED, "--layers", "H20: 6, L4: 4", "--global-batch", "16"],
        ["sum to 12", "got 10"],
    ),
    "layers of too many stages": (
        ["estimate", "gpt2", "--on", MIXED, "--layers", "H20: 3 3, L4: 6", "--global-batch", "16"],
        ["H20", "2 stages", "pp is 1"],
    ),
    "waves of different size": (
        [
            "estimate",
            "gpt2",
            "--on",
            MIXED,
            "--layers",
            "H20: 6, L4: 6",
            "--global-batch",
            "16",
            "--micro-batch",
            "H20: 2, L4: 1",
        ],
        ["as many sequences at once", "H20 16, L4 8"],
    ),
    "mixed with dp": (
        ["estimate", "gpt2", "--on", MIXED, "--share", "H20: 8, L4: 8", "--dp", "8"],
        ["--dp", "one kind"],
    ),
    "mixed with schedule": (
        ["estimate", "gpt2", "--on", MIXED, "--share", "H20: 8, L4: 8", "--schedule", "zb-h1"],
        ["--schedule", "one kind"],
    ),
    "pipeline over kinds with offload": (
        ["estimate", "gpt2", "--on", MIXED, "--layers", "H20: 6, L4: 6", "--offload"],
        ["--offload", "leave them out"],
    ),
    "mixed with top": (["plan", "gpt2", "--on", MIXED, "--top", "3"], ["--top", "one kind"]),
    "empty value of a group": (
        ["plan", "gpt2", "--on", MIXED, "--precision", "H20:"],
        ["--precision", "says nothing of H20"],
    ),
    "share of one kind": (["estimate", "gpt2", "--on", "8 x H20", "--share", "8"], ["--share", "several kinds"]),
    "mixed and compared": (
        ["plan", "gpt2", "--on", "8 x H20 + 8 x L4", "--compare", "A800"],
        ["--compare", "each kind alone"],
    ),
    "mixed and sized": (["plan", "--on", "8 x H20 + 8 x L4", "--tokens", "1B"], ["MODEL is missing"]),
    "mixed by cost": (
        ["plan", "gpt2", "--on", "8 x H20 + 8 x L4", "--objective", "cost"],
        ["planned for time", "cost"],
    ),
    "unknown group": (
        ["plan", "gpt2", "--on", "8 x H20 + 8 x L4", "--precision", "A800: fp8"],
        ["--precision", "'A800'", "H20, L4"],
    ),
    "group twice": (
        ["plan", "gpt2", "--on", "8 x H20 + 8 x L4", "--precision", "H20: fp8, H20: bf16"],
        ["--precision", "H20 twice"],
    ),
    "between one kind": (["plan", "gpt2", "--on", "8 x H20", "--between", "host"], ["--between", "'8 x H20'"]),
    "bad between": (
        ["plan", "gpt2", "--on", "8 x H20 + 8 x L4", "--between", "fast"],
        ["--between", "'fast'", "400 Gb/s"],
    ),
    "format of one group": (
        ["plan", "gpt2", "--on", "8 x H20 + 8 x A800", "--precision", "fp8"],
        ["A800-SXM-80GB", "no dense fp8 rate"],
    ),
    "five kinds": (
        ["plan", "gpt2", "--on", "8 x H20 + 8 x L4 + 8 x A800 + 8 x H800 + 8 x V100"],
        ["at most 4 kinds", "got 5"],
    ),
    "no such fleet file": (["plan", "gpt2", "--on", "nowhere.toml"], ["nowhere.toml", "cannot be read"]),
    "negative tokens": ([*PLAN, "--tokens", "-5"], ["--tokens", "'-5'", "1.4T"]),
    "zero tokens": ([*PLAN, "--tokens", "0"], ["--tokens", "above 0"]),
    "NaN tokens": ([*PLAN, "--tokens", "nan"], ["--tokens", "'nan'", "1.4T"]),
    "infinite tokens": ([*PLAN, "--tokens", "1e400"], ["--tokens", "too large", "'1e400'"]),
    "unknown suffix": ([*PLAN, "--tokens", "5X"], ["--tokens", "'5X'", "1.4T"]),
    "zero seq": ([*PLAN, "--seq", "0"], ["--seq", "above 0", "'0'"]),
    "broken seq": ([*PLAN, "--seq", "2.5"], ["--seq", "whole number", "'2.5'"]),
    "NaN batch": ([*PLAN, "--batch-tokens", "NaN"], ["--batch-tokens", "'NaN'"]),
    "top 0": ([*PLAN, "--top", "0"], ["--top", "above 0", "'0'"]),
    "objective": ([*PLAN, "--objective", "tiem"], ["'tiem'", "did you mean time"]),
    "precision": ([*PLAN, "--precision", "bf17"], ["'bf17'", "bf16"]),
    "format that the chip lacks": ([*PLAN, "--precision", "fp8"], ["A100-SXM-80GB", "fp8", "it has bf16"]),
    "chip without a peak": (["plan", "gpt2", "--on", "8 x AI200"], ["AI200", "bf16"]),
    "routing of a dense model": ([*PLAN, "--routing", "0.2"], ["gpt2", "no experts", "--routing"]),
    "capacity of a dense model": ([*PLAN, "--capacity", "1.25"], ["gpt2", "no experts", "--capacity"]),
    "routing": (["plan", "mixtral-8x7b", *ON, "--routing", "even"], ["--routing", "'even'", "balanced"]),
    "routing beyond 2": (["plan", "mixtral-8x7b", *ON, "--routing", "3"], ["--routing", "between 0 and 2", "'3'"]),
    "clip of a decoder": ([*PLAN, "--clip", "81x720x1280"], ["gpt2", "--clip", "diffusion"]),
    "clips of a decoder": ([*PLAN, "--clips", "1M"], ["gpt2", "--clips", "diffusion"]),
    "clip words": (["plan", "wan-2.1-1.3b", *ON, "--clip", "720p"], ["frames x height x width", "'720p'"]),
    "framework": ([*PLAN, "--framework", "megatrn"], ["'megatrn'", "megatron"]),
    "framework that lacks it": (
        [*ESTIMATE, "--framework", "torchtitan", "--offload"],
        ["torchtitan", "--framework any"],
    ),
    "gradients": ([*PLAN, "--gradients", "fp8"], ["gradients", "bf16 or fp32", "'fp8'"]),
    "money": ([*PLAN, "--money", "lease"], ["rent or own", "'lease'"]),
    "compare": ([*PLAN, "--compare", "H80"], ["'H80'", "H800-SXM-80GB"]),
    "empty compare": ([*PLAN, "--compare", ","], ["--compare", "','"]),
    "days": ([*PLAN, "--days", "0"], ["--days", "above 0", "'0'"]),
    "days and tokens": ([*PLAN, "--days", "3", "--tokens", "1B"], ["--tokens", "--days", "one of them"]),
    "law": ([*PLAN, "--chinchilla", "--law", "kaplan"], ["law", "besiroglu", "'kaplan'"]),
    "ramp": ([*PLAN, "--tokens", "1B", "--ramp", "4M from 1B"], ["ramp", "'4M from 1B'"]),
    "shrinking ramp": ([*PLAN, "--tokens", "1B", "--ramp", "4M, 2M from 1M"], ["ramp", "must grow"]),
    "ramp that nobody published": ([*PLAN, "--tokens", "1B", "--ramp", "published"], ["gpt2", "ramp"]),
    "ramp without tokens": ([*PLAN, "--ramp", "4M, 8M from 252M"], ["--ramp", "--tokens"]),
    "cp kind": ([*ESTIMATE, "--cp-kind", "rings"], ["--cp-kind", "'rings'", "did you mean ring"]),
    "schedule": ([*ESTIMATE, "--schedule", "gpipe"], ["--schedule", "'gpipe'", "dualpipe"]),
    "network unit": ([*PLAN, "--network", "50 GB/s"], ["--network", "'50 GB/s'", "'400 Gb/s per chip'"]),
    "zero network": ([*PLAN, "--network", "0 Gb/s"], ["--network", "above 0", "'0 Gb/s'"]),
    "network words": ([*PLAN, "--network", "fast"], ["--network", "'fast'", "Gb/s"]),
    "stack": ([*PLAN, "--stack", "torchtitn"], ["'torchtitn'", "torchtitan", "cutline calibrate"]),
    "tp": ([*ESTIMATE, "--tp", "3"], ["divide the chips", "3", "8"]),
    "dp": ([*ESTIMATE, "--tp", "2", "--dp", "2"], ["must equal the chips", "= 4, not 8"]),
    "zero tp": ([*ESTIMATE, "--tp", "0"], ["--tp", "above 0", "'0'"]),
    "batch": ([*ESTIMATE, "--micro-batch", "3"], ["must divide the global batch", "8 x 3 = 24"]),
    "vpp": ([*ESTIMATE, "--pp", "4", "--vpp", "3"], ["vpp 3", "32 layers on 4 stages", "divide"]),
    "interleaving": (
        [*ESTIMATE, "--pp", "8", "--vpp", "2", "--micro-batch", "4", "--global-batch", "16"],
        ["multiples of pp", "4 micro-batches"],
    ),
    "recompute": ([*ESTIMATE, "--recompute", "some"], ["'some'", "none, full", "selective, light, feed"]),
    "recompute layers": ([*ESTIMATE, "--pp", "4", "--recompute", "9"], ["'9'", "0 to 8"]),
    "zero stage": ([*ESTIMATE, "--zero", "4"], ["--zero", "'4'", "0, 1, 2, 3"]),
    "calibrate on one row": (["accuracy", "--calibrate", "1"], ["at least 2", "got 1"]),
    "stack of accuracy": (["accuracy", "--stack", "torchtitan"], ["'torchtitan'", ".toml"]),
    "no such measurements": (["accuracy", "--measurements", "none.csv"], ["none.csv", "No such file"]),
    "no such config": (["model", "none/config.json"], ["config.json", "no such file"]),
    "no such command": (["plann"], ["plann", "--help"]),
    "no such option": ([*PLAN, "--token", "5"], ["--token", "`cutline plan --help`"]),
    "missing model": (["plan", *ON], ["MODEL", "--chinchilla", "--days"]),
    "missing argument": (["estimate", *ON], ["MODEL", "`cutline estimate --help`"]),
    "missing option": (["plan", "gpt2"], ["--on", "`cutline plan --help`"]),
    "missing words": (["plan"], ["--on", "`cutline plan --help`"]),
    "extra word": (["chips", "H20"], ["H20", "`cutline chips --help`"]),
}


def refused(result, *parts):
    """Check exit code 2 and one line on stderr that holds every part, nothing on stdout."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n")
    assert "Traceback" not in err
    assert not [p for p in parts if p not in err], err


@pytest.mark.parametrize("name", BAD)
def test_bad_words_get_one_line(cli, name):
    words, parts = BAD[name]
    refused(cli(*words), *parts)


BAD_CONFIGS = {
    "not JSON": ("{", ["c.json:1", "JSON"]),
    "not an object": ("[1]", ["c.json", "one JSON object", "[1]"]),
    "not UTF-8": (b"\xff\xfe", ["c.json", "UTF-8"]),
    "no family": ("{}", ["model_type", "missing"]),
    "unknown family": ('{"model_type": "lama"}', ["'lama'", "Did you mean", "llama"]),
    "refused family": ('{"model_type": "mamba"}', ["'mamba'"]),
    "NaN": ('{"model_type": "llama", "hidden_size": NaN, "num_hidden_layers": 2}', ["c.json", "hidden_size", "NaN"]),
    "absurd": (
        '{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2000000000}',
        ["num_hidden_layers", "at most 1,000,000,000", "got 2000000000"],
    ),
    "word for a number": ('{"model_type": "llama", "hidden_size": "wide"}', ["hidden_size", "wide"]),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
@pytest.mark.parametrize("command", ["model", "plan"])
def test_bad_config_gets_one_line(cli, tmp_path, command, name):
    content, parts = BAD_CONFIGS[name]
    file = tmp_path / "c.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(cli(command, file, *(ON if command == "plan" else [])), *parts)


BAD_TABLES = {
    "empty": (lambda text: b"", ["own.csv", "empty"]),
    "header alone": (lambda text: text.splitlines(True)[0].encode(), ["own.csv", "no measurements"]),
    "missing column": (
        lambda text: text.replace(",tp,", ",tpp,", 1).encode(),
        ["own.csv", "tp", "docs/measurements.md"],
    ),
    "wrong width": (lambda text: (text + "a,b\n").encode(), ["own.csv:", "2 cells; the header has"]),
    "not UTF-8": (lambda text: text.encode() + b"\xff\n", ["own.csv", "UTF-8"]),
    "repeated id": (
        lambda text: (text + text.splitlines(True)[1]).encode(),
        ["own.csv:", "stands in line 2 too"],
    ),
    "open quote": (lambda text: (text + '"').encode(), ["own.csv", "CSV"]),
}


@pytest.mark.parametrize("name", BAD_TABLES)
@pytest.mark.parametrize("command", ["accuracy", "calibrate"])
def test_bad_measurements_get_one_line(cli, own, tmp_path, command, name):
    spoil, parts = BAD_TABLES[name]
    own.write_bytes(spoil(own.read_text(encoding="utf-8")))
    save = ["--save", tmp_path / "s.toml"] if command == "calibrate" else []
    refused(cli(command, "--measurements", own, *save), *parts)
    assert not (tmp_path / "s.toml").exists()


BAD_STACKS = {
    "not TOML": ("name", ["s.toml", "TOML"]),
    "not UTF-8": (b"\xff", ["s.toml", "UTF-8"]),
    "unknown key": (STACK.replace("name", "nom"), ["s.toml", "'nom'", "name, base"]),
    "no base": ("[multipliers]\n", ["s.toml", "'base'", "cutline calibrate"]),
    "unknown base": (STACK.replace("torchtitan", "mine"), ["s.toml", "'mine'", "torchtitan"]),
    "unknown multiplier": (STACK + "speed = 2\n", ["s.toml", "'speed'", "compute"]),
    "too large": (STACK.replace("1.25", "25"), ["s.toml", "compute", "below 10", "25"]),
    "NaN": (STACK.replace("1.25", "nan"), ["s.toml", "compute", "nan"]),
    "word": (STACK.replace("1.25", '"fast"'), ["s.toml", "compute", "fast"]),
    "yes or no": (STACK.replace("1.25", "true"), ["s.toml", "compute", "True"]),
    "no table": ('base = "torchtitan"\nmultipliers = 3\n', ["s.toml", "[multipliers]", "3"]),
}


@pytest.mark.parametrize("name", BAD_STACKS)
def test_bad_stack_file_gets_one_line(cli, tmp_path, name):
    content, parts = BAD_STACKS[name]
    file = tmp_path / "s.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(cli(*PLAN, "--stack", file), *parts)


def test_calibration_wants_rows_of_one_stack(cli, tmp_path, rows):
    other = rows[0] | {"id": "x-1", "framework": "torchtitan"}
    file = saved(tmp_path / "two.csv", [*rows, other])
    refused(
        cli("calibrate", "--measurements", file, "--save", tmp_path / "s.toml"),
        "two.csv", "one software stack", "torchtitan (1 row)", "framework",
    )  # fmt: skip


def test_calibration_wants_two_rows(cli, tmp_path, rows):
    file = saved(tmp_path / "one.csv", rows[:1])
    refused(cli("calibrate", "--measurements", file, "--save", tmp_path / "s.toml"), "at least 2 rows", "got 1")


def test_calibration_cannot_save_into_nothing(cli, own, tmp_path):
    refused(cli("calibrate", "--measurements", own, "--save", tmp_path / "no" / "s.toml"), "--save", "s.toml")


def test_stack_file_scores_only_rows_of_its_stack(cli, own, tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(STACK, encoding="utf-8")
    refused(cli("accuracy", "--measurements", own, "--stack", file), "torchtitan", "--measurements")
    refused(cli("accuracy", "--calibrate", "5", "--stack", file), "--stack and --calibrate")


def test_interrupt_says_so_in_one_line(cli, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "plan", stop)
    assert cli(*PLAN) == (130, "", "interrupted\n")


def test_a_message_of_several_lines_is_printed_as_one(cli, monkeypatch):
    def fail(*_, **__):
        raise CutlineError("first\nsecond")

    monkeypatch.setattr(run, "plan", fail)
    refused(cli(*PLAN), "first second")


def test_calibration_does_not_write_over_other_files(cli, own, tmp_path):
    words = ["calibrate", "--measurements", own, "--save"]
    before = own.read_bytes()
    refused(cli(*words, own), "--save", ".toml", "own.csv")
    same = own.rename(tmp_path / "own.toml")
    refused(cli("calibrate", "--measurements", same, "--save", same), "--save", "--measurements")
    assert same.read_bytes() == before
    same.rename(own)
    other = tmp_path / "pyproject.toml"
    other.write_text("[tool.x]\n", encoding="utf-8")
    refused(cli(*words, other), "--save", "would overwrite", "pyproject.toml")
    assert other.read_text(encoding="utf-8") == "[tool.x]\n"
    mine = tmp_path / "mine.toml"
    mine.write_text(STACK, encoding="utf-8")
    assert cli(*words, mine)[0] == 0 and mine.read_text(encoding="utf-8") != STACK


def test_calibration_says_if_fewer_rows_can_be_used_than_asked(cli, own, rows, tmp_path):
    words = ["calibrate", "--measurements", own, "--save", tmp_path / "s.toml", "--rows"]
    _, out, _ = cli(*words, "50")
    assert f"--rows asked for 50, but only {len(rows)} rows can be used" in out
    refused(cli(*words, "-1"), "--rows", "above 0", "'-1'")
    refused(cli(*words, ""), "--rows", "''")


# ---- what the text says and JSON need not


@pytest.mark.parametrize("chip", ["B30A", "Trainium1"])
def test_energy_of_a_part_whose_power_is_not_known(cli, chip):
    code, out, err = cli("plan", "llama-65b", "--tokens", "1.4T", "--on", f"64 x {chip}")
    assert (code, err) == (0, "")
    assert "energy not known: no power of this part" in out and "Wh" not in out


def test_published_values_say_what_they_are_for(cli):
    words = ["plan", "llama-3.1-405b", "--on", "16384 x H100", "--top", "1"]
    _, out, _ = cli(*words)
    assert "published: 30,840,000 chip-hours, MFU 41 % (Llama 3.1 model card" in out
    _, out, _ = cli(*words, "--tokens", "1T")
    assert "30,840,000 chip-hours for 15.6T tokens, MFU 41 %" in out
    _, out, _ = cli("plan", "gpt3-175b", "--on", "1024 x A100", "--top", "1")
    assert "138 TFLOP/s/chip (hardware flop), 32 s per step" in out
    _, out, _ = cli(*words, "--json")
    tokens = {p["metric"]: p["tokens"] for p in strict(out)["published"] if p["same"]}
    assert tokens == {"chip_hours": 15.6e12, "mfu": None, "tflops_per_chip": None}


def test_published_values_without_asked_tokens_say_theirs():
    row = {"metric": "days", "value": 21.0, "tokens": 1.4e12, "note": ""}
    rate = row | {"metric": "tokens_per_s_per_chip", "value": 380.0}
    assert show_plan._numbers([row, rate], None) == "21 days, 380 tokens/s/chip for 1.4T tokens"
    other = rate | {"tokens": 1e12}
    assert show_plan._numbers([row, other], 1e12) == "21 days for 1.4T tokens, 380 tokens/s/chip"


def test_objective_is_named_and_has_a_column(cli):
    words = ["plan", "llama-7b", "--on", "64 x A100", "--top", "2", "--objective"]
    _, out, _ = cli(*words, "cost")
    assert out.lstrip().startswith("least cost: ") and " USD   MFU" in out
    _, out, _ = cli(*words, "energy")
    assert out.lstrip().startswith("least energy: ") and "energy   MFU" in out and out.count(" MWh  ") == 2
    _, out, _ = cli(*words, "time")
    assert "least" not in out and " USD   MFU" not in out
    _, out, _ = cli("plan", CONFIG, "--on", "8 x H100", "--objective", "energy")
    assert "energy of a whole run: say --tokens" in out


def test_fleet_needs_no_spaces(cli):
    _, out, _ = cli("plan", "gpt2", "--on", "16xA100", "--json")
    assert (strict(out)["chips"], strict(out)["chip"]) == (16, "A100-SXM-80GB")
    _, out, _ = cli("plan", "gpt2", "--on", "4x4090", "--json")
    assert (strict(out)["chips"], strict(out)["chip"]) == (4, "RTX-4090")


def test_no_line_breaks_between_number_and_unit(capsys):
    for lead in range(70, 100):
        screen.line("x" * lead + " gradients 1 %, 80 GB, 1.99 USD/h")
        screen.columns(["a", "b"], [["x" * (lead - 20), "gradients 1 %, bubble 10 %"]])
    out = capsys.readouterr().out
    assert screen.TIE not in out and "gradients 1 %" in " ".join(out.split())
    assert not [row for row in out.splitlines() if row.strip().split(" ")[0].strip(",") in ("%", "GB", "USD/h")]


def test_makers_and_titles_of_amd_parts(cli):
    for part in ("MI50", "MI60"):
        _, out, _ = cli("chip", part, "--json")
        claims = {c["field"]: c["amount"] for c in strict(out)["claims"] if c["used"]}
        assert (claims["maker"], claims["country"]) == ("AMD", "US")
    _, out, _ = cli("chip", "MI300X", "--json")
    link = next(c for c in strict(out)["claims"] if c["what"] == "MI300X link scale-up" and c["used"])
    assert "Atlas" not in link["title"] and "network hardware" in link["title"] and "/network/README.md" in link["url"]


def test_claims_that_agree_are_not_counted_as_behind(cli):
    _, out, _ = cli("chip", "MI300X")
    claims = catalogue.facts_of("chips", "MI300X")["claims"]
    used = {(c["field"], c["item"]): c["amount"] for c in claims if c["used"]}
    agree = sum(not c["used"] and c["amount"] == used[c["field"], c["item"]] for c in claims)
    behind = len(claims) - len(used) - agree
    assert agree == out.count("    agrees ") > 0 and behind == out.count("    not used ") > 0
    said = " ".join(out.split())
    assert f"{len(used)} used, {agree} that agree, {behind} behind a more trusted or later one" in said


def test_one_of_a_thing_has_no_plural(cli):
    _, out, _ = cli("plan", "gpt2", "--on", "1 x A100", "--batch-tokens", "1024")
    assert "1 sequence of" in " ".join(out.split()) and "1 guess " in out
    assert (counted(1, "guess", "guesses"), counted(0, "guess", "guesses")) == ("1 guess", "0 guesses")


@pytest.mark.parametrize("arguments", ["chips", "chips --json", "--help", "--version"])
@pytest.mark.parametrize("target", [">/dev/full", ">&-"])
def test_output_that_cannot_be_written_gets_one_line(arguments, target):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    command = f'"{sys.executable}" -m cutline {arguments} {target}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: the answer cannot be written: ") and done.stderr.count("\n") == 1


# ---- help, version, start


def test_help_lists_every_command(cli):
    code, out, _ = cli("--help")
    assert code == 0 and all(f"\n  {name} " in out for name in COMMANDS)
    assert cli() == (0, out, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    code, out, _ = cli(command, "--help")
    assert code == 0 and "--json" in out and "..." not in out.replace("'2048 x", "")


def test_version(cli):
    assert cli("--version") == (0, f"cutline {__version__}, facts of {data_version}\n", "")


def test_help_loads_nothing_heavy():
    script = "import sys; from cutline.cli import main; main(['--help']); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "cutline.cli.app" in loaded
    heavy = {"numpy", "scipy", "rich.table", "rich.progress", "rich.console", "cutline.plan", "cutline.facts.reader"}
    assert not heavy & loaded


def test_module_is_the_command_and_its_exit_code_is_that_of_main():
    done = subprocess.run([sys.executable, "-m", "cutline", "chip", "H80"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: no chip named 'H80'.")
