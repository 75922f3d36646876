"""The measured training steps and whole runs: is every row lawful?"""

import re

import pytest

from cutline.facts import reader

TRAINING = reader.DATA / "measurements_training.csv"
RUNS = reader.DATA / "runs.csv"
MEMORY = reader.DATA / "measurements_memory.csv"

COLUMNS = """
id source group date model arch params_total params_active layers hidden heads kv_heads ffn vocab experts topk
seq_len chip chip_memory_gb n_chips chips_per_node interconnect_scaleup interconnect_scaleout cluster
framework precision tp pp vpp cp ep dp zero_stage_or_sharding micro_batch global_batch_seqs recompute metric
value tokens_total mfu_reported hfu_reported measured_or_planned provenance note fault
""".split()
MEMORY_COLUMNS = """
id source model layers chip n_chips tp pp vpp cp ep dp zero_stage_or_sharding micro_batch global_batch_seqs seq_len
precision recompute framework kind value unit date note
""".split()
MEMORY_KINDS = {"allocated": "GiB", "reserved": "GiB"}
RUN_COLUMNS = "id model chip n_chips tokens tp pp dp metric value unit date source note".split()

COUNTS = """
params_total params_active layers hidden heads kv_heads ffn vocab experts topk seq_len chip_memory_gb n_chips
chips_per_node tp pp vpp cp ep dp micro_batch global_batch_seqs tokens_total
""".split()
METRICS = {"step_time_s", "tokens_per_s_per_chip", "tflops_per_chip", "mfu", "gpu_hours", "days"}
RUN_UNITS = {
    "days": "day",
    "tokens_per_s_per_chip": "tokens/s",
    "chip_hours": "h",
    "mfu": "1",
    "tflops_per_chip": "TFLOP/s",
    "step_time_s": "s",
}
PEAK = {
    "bf16": "bf16-dense",
    "fp16": "fp16-dense",
    "fp8": "fp8-dense",
    "mxfp8": "fp8-dense",
    "nvfp4": "fp4-dense",
    "fp32": "fp32-dense",
}
RECOMPUTE = {"", "none", "full", "selective"}
# the families that are left out one at a time
GROUPS = {
    "bigscience", "colossal-ai", "fms-fsdp", "gcp-recipes", "internevo", "jax-toolbox", "korthikanti-2022",
    "levanter", "libai", "llm-foundry", "maxtext-gpu", "maxtext-tpu", "megatron-bridge", "megatron-core-h100",
    "megatron-deepspeed", "megatron-sc21", "mindformers", "ml-engineering", "mt-nlg", "nanochat", "nemo-24",
    "nemo-a100", "nemo-automodel", "nemo-long", "quoted-papers", "sailor", "simumax", "torchtitan", "wan", "whole-runs",
}  # fmt: skip
# global batches that are no multiple of dp x micro-batch although the source is right
UNEVEN_BATCH: set[str] = set()


@pytest.fixture(scope="module")
def measured():
    return [row for _, row in reader.rows(TRAINING, COLUMNS)]


@pytest.fixture(scope="module")
def runs():
    return [row for _, row in reader.rows(RUNS, RUN_COLUMNS)]


@pytest.fixture(scope="module")
def used_memory():
    return [row for _, row in reader.rows(MEMORY, MEMORY_COLUMNS)]


def scored(row):
    """Rows that may be scored: no fault, or only a suspicion."""
    return not row["fault"] or row["fault"].startswith("suspect:")


def product(row, *names):
    total = 1
    for name in names:
        total *= int(row[name] or 1)
    return total


def test_header_is_as_documented(measured, runs):
    assert len(measured) > 1400 and len(runs) > 50


@pytest.mark.parametrize("table", ["measured", "runs", "used_memory"])
def test_ids_are_unique(table, request):
    ids = [row["id"] for row in request.getfixturevalue(table)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("table", ["measured", "runs", "used_memory"])
def test_sources_resolve(table, request):
    known = reader.sources()
    assert {row["source"] for row in request.getfixturevalue(table)} - set(known) == set()


def test_measurements_do_not_rest_on_guesses(measured, runs, used_memory):
    assert not [row["id"] for row in measured + runs + used_memory if row["source"] == "guess"]


def test_clusters_resolve(measured):
    known = reader.table("clusters")
    assert {row["cluster"] for row in measured if row["cluster"]} - set(known) == set()


def test_cluster_and_row_agree_on_the_family_of_chip(measured):
    known = reader.table("clusters")
    wrong = []
    for row in measured:
        if row["cluster"] and row["chip"]:
            chip = known.best(row["cluster"], "chip").value
            if chip.split("-")[:2] != row["chip"].split("-")[:2]:
                wrong.append((row["id"], row["chip"], chip))
    assert not wrong


def test_each_family_has_rows(measured):
    assert {row["group"] for row in measured} == GROUPS


def test_one_source_belongs_to_one_family(measured):
    # papers are quoted both as whole runs and as single figures
    family = {}
    for row in measured:
        family.setdefault(row["source"], set()).add(row["group"])
    assert {s: g for s, g in family.items() if len(g - {"whole-runs", "quoted-papers"}) > 1} == {}


def test_words_are_known(measured):
    assert {row["metric"] for row in measured} <= METRICS
    assert {row["precision"] for row in measured} <= {"", *PEAK}
    assert {row["recompute"] for row in measured} <= RECOMPUTE
    assert {row["measured_or_planned"] for row in measured} == {"measured"}
    assert {row["provenance"] for row in measured} == {"file"}
    assert {row["arch"] for row in measured} <= {"dense", "moe", "dit", ""}


def test_chips_resolve(measured, runs, used_memory):
    known = reader.table("chips")
    clusters = [claims["chip", ""][0].value for claims in reader.table("clusters").facts.values()]
    named = [part for row in measured + runs + used_memory if row["chip"] for part in row["chip"].split("+")]
    assert {re.sub(r" x\d+$", "", name) for name in named} | set(clusters) <= set(known)


def test_dates_are_dates(measured, runs, used_memory):
    assert not [row["id"] for row in measured + runs + used_memory if not reader.DATE.fullmatch(row["date"])]


def test_values_are_positive(measured, runs, used_memory):
    assert not [row["id"] for row in measured + runs + used_memory if not float(row["value"]) > 0]


def test_memory_is_of_whole_chips_and_fits_them(used_memory):
    chips = reader.table("chips")
    assert len(used_memory) > 30
    for row in used_memory:
        assert row["unit"] == MEMORY_KINDS.get(row["kind"]), row["id"]
        assert float(row["value"]) * 2**30 <= 1.01 * chips.best(row["chip"], "memory").value, row["id"]
        assert row["precision"] in PEAK and row["recompute"] in RECOMPUTE - {""}, row["id"]
        if all(row[name] for name in ("n_chips", "tp", "pp", "dp")):
            assert product(row, "tp", "pp", "cp", "dp") == int(row["n_chips"]), row["id"]
        if all(row[name] for name in ("dp", "micro_batch", "global_batch_seqs")):
            assert int(row["global_batch_seqs"]) % product(row, "dp", "micro_batch") == 0, row["id"]


def test_counts_are_positive_whole_numbers(measured):
    wrong = [(row["id"], name) for row in measured for name in COUNTS if row[name] and not int(row[name]) > 0]
    assert not wrong


def test_shares_are_shares(measured, runs):
    for row in measured:
        for name in ("mfu_reported", "hfu_reported"):
            assert not row[name] or 0 < float(row[name]) < 100, row["id"]
    for row in runs:
        assert row["metric"] != "mfu" or 0 < float(row["value"]) < 1, row["id"]


def test_degrees_multiply_to_the_chips(measured):
    wrong = []
    for row in measured:
        if scored(row) and row["n_chips"] and all(row[name] for name in ("tp", "pp", "dp")):
            if product(row, "tp", "pp", "cp", "dp") != int(row["n_chips"]):
                wrong.append(row["id"])
    assert not wrong


def test_batches_divide(measured):
    wrong = []
    for row in measured:
        if scored(row) and all(row[name] for name in ("dp", "micro_batch", "global_batch_seqs")):
            if int(row["global_batch_seqs"]) % product(row, "dp", "micro_batch"):
                wrong.append(row["id"])
    assert set(wrong) == UNEVEN_BATCH


def test_heads_divide(measured):
    wrong = []
    for row in measured:
        if row["heads"] and row["kv_heads"] and int(row["heads"]) % int(row["kv_heads"]):
            wrong.append(row["id"])
    assert not wrong


def test_repeats_name_a_row_of_the_same_value(measured):
    by_id = {row["id"]: row for row in measured}
    repeats = [(row, re.match(r"repeats (\S+)", row["fault"])) for row in measured]
    repeats = [(row, by_id[match[1]]) for row, match in repeats if match]
    assert len(repeats) > 30
    assert not [row["id"] for row, other in repeats if row["value"] != other["value"]]
    assert not [row["id"] for row, other in repeats if other["fault"].startswith("repeats")]


def test_printed_contradictions_are_faults(measured):
    assert not [row["id"] for row in measured if "AS PRINTED" in row["note"] and scored(row)]
    assert not [row["id"] for row in measured if "CHECK:" in row["note"] and scored(row)]


def test_filled_cells_are_filled(measured):
    """A note that says `filled: a, b from ...` names columns that hold a value."""
    wrong = []
    for row in measured:
        for part in row["note"].partition("filled: ")[2].split("; "):
            for word in re.split(r"[, ]+", part):
                if word in COLUMNS and word != "id" and not row[word]:
                    wrong.append((row["id"], word))
    assert not wrong


def test_no_step_is_faster_than_its_chip(measured):
    chips = reader.table("chips")
    wrong = []
    for row in measured:
        found = re.search(r"model_tflops_per_chip=([\d.]+)", row["note"])
        rate = row["value"] if row["metric"] == "tflops_per_chip" else found and found[1]
        if scored(row) and row["chip"] and row["precision"] and rate:
            peak = chips.best(row["chip"], "peak", PEAK[row["precision"]])
            if peak and float(rate) * 1e12 > peak.value:
                wrong.append(row["id"])
    assert not wrong


def test_runs_use_known_metrics_and_units(runs):
    assert not [row["id"] for row in runs if RUN_UNITS.get(row["metric"]) != row["unit"]]


def test_run_models_are_kebab_case(runs):
    assert not [row["id"] for row in runs if not re.fullmatch(r"[a-z0-9]+([-.][a-z0-9]+)*", row["model"])]


def test_run_degrees_divide_the_chips(runs):
    wrong = []
    for row in runs:
        if all(row[name] for name in ("n_chips", "tp", "pp", "dp")):
            if int(row["n_chips"]) % product(row, "tp", "pp", "dp"):
                wrong.append(row["id"])
    assert not wrong
