"""Measured serving: names, rows, faults, blind and calibrated scores, intervals."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from cutline.core.errors import DataError
from cutline.facts import reader
from cutline.serve import accuracy, constants, express, faults, fitting, interval, local, names

SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "inference_measured.csv"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the outside table of measurements is absent")

ROW = dict.fromkeys((*express.COLUMNS, "engine_version"), "") | {
    "source": "mine", "device": "NVIDIA H200 SXM 141GB", "n_devices": "8", "engine": "vLLM", "model": "Qwen/Qwen3-32B", "weight_precision": "fp8",
    "tp": "8", "batch_or_concurrency": "32", "input_len": "1024", "output_len": "1024", "metric": "tpot_ms", "value": "9.0",
}  # fmt: skip


def written(tmp_path, rows):
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as handle:
        out = csv.DictWriter(handle, fieldnames=list(ROW))
        out.writeheader()
        out.writerows(rows)
    return path


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("unsloth/Qwen3-8B-Instruct-Q4_K_M.gguf", "qwen3-8b"),
        ("LLaMA v3.1 70B", "llama-3.1-70b"),
        ("LLaMA 7B v2", "llama-2-7b"),
        ("llama2-70b-99.9", "llama-2-70b"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-v3"),
        ("DeepSeek-R1-Distill-Qwen-14B-Q4_K_M.gguf", None),  # another model of another size
        ("nobody/else", None),
    ],
)
def test_names_lead_to_the_catalogue_and_not_to_a_model_of_another_size(said, name):
    assert names.found(said) == name


def test_every_device_of_the_mapping_is_a_part():
    for said, (part, each) in express.devices().items():
        if part:
            assert reader.table("chips").known(part), said
            assert each > 0


def test_a_row_becomes_numbers_and_names_its_defaults():
    one = express.express(ROW, 2)
    assert one.layout == {"tp": 8.0, "dp": 1.0, "pp": 1.0, "ep": 1.0}
    assert (one.load["concurrency"], one.load["input"], one.load["output"]) == (32.0, 1024.0, 1024.0)
    blank = express.express(ROW | {"batch_or_concurrency": "", "input_len": "", "model": "unheard-of 13B"}, 2)
    assert len(blank.assumed) >= 3 and blank.loose >= 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metric": "smell"}, "metric must be"),
        ({"value": "0"}, "value must be above 0"),
        ({"device": "Abacus"}, "is not in the catalogue"),
    ],
)
def test_a_row_that_cannot_be_read_is_skipped_with_its_reason(change, says):
    with pytest.raises(express.Skip, match=says):
        express.express(ROW | change, 2)


def test_numbers_are_read_whole():
    assert express.express(ROW | {"value": "1,000"}, 2).measured == 1000.0
    assert express.express(ROW | {"value": "1e1"}, 2).measured == 10.0
    assert express.express(ROW | {"value": ".5"}, 2).measured == 0.5


def test_faults_are_found_without_a_prediction():
    twice = [express.express(ROW, 2), express.express(ROW, 3)]
    faults.mark(twice)
    assert [a.fault for a in twice] == ["", "repeats line-2"]
    full = express.express(
        ROW
        | {
            "n_devices": "1",
            "tp": "1",
            "batch_or_concurrency": "512",
            "input_len": "8192",
            "output_len": "128",
            "value": "5",
        },
        4,
    )
    faults.mark([full])
    assert "of the peak" in full.fault
    sweep = [
        express.express(
            ROW
            | {
                "batch_or_concurrency": "4",
                "output_len": n,
                "value": v,
                "note": "agg tp8 pp1 attn_dp1 moe_tp8 moe_ep1",
                "source": "silicon_sample",
            },
            i,
        )
        for i, (n, v) in enumerate((("1024", "9"), ("8192", "6")))
    ]
    faults.mark(sweep)
    assert "speculation" in sweep[1].fault and not sweep[0].fault


def test_the_count_of_chips_follows_the_layout_of_the_note():
    ask = express.express(
        ROW | {"n_devices": "64", "note": "agg tp8 pp1 attn_dp1 moe_tp1 moe_ep8; gemm fp8 moe fp8"}, 2
    )
    assert ask.chips == 8 and any("not 64" in a for a in ask.assumed)


def test_a_file_without_a_column_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("device,metric,value\nH20,tpot_ms,1\n")
    with pytest.raises(DataError, match="column source"):
        accuracy.load(path)


# figures; regenerate by tools/fit_serving.py, and say in the changelog why they moved

BLIND = {
    "offline tables, TensorRT-LLM": 0.15, "MLPerf Offline": 0.22, "llama.cpp decode": 0.08, "llama.cpp prefill, one device": 0.15,
    "phone NPU decode": 0.20, "Ascend": 0.20,
}  # fmt: skip


def test_the_catalogues_rows_are_answered_and_scored():
    answer = accuracy.score()
    assert answer["answered"] > 0.98
    for s in answer["summary"]:
        if s["group"] in BLIND:
            assert s["median"] < BLIND[s["group"]], s
            assert s["inside"] > 0.75, s
    assert all(r["low"] < r["predicted"] < r["high"] for r in answer["rows"])
    assert len({r["id"] for r in answer["rows"]}) == len(answer["rows"])


def test_blind_rows_use_constants_without_their_source():
    answer = accuracy.score()
    for r in answer["rows"]:
        if r["group"] in ("trtllm", "mlperf", "ascend", "llamacpp-gpu", "qualcomm"):
            assert r["constants"] == f"without {r['group']}", r


def test_calibration_is_better_than_blind_and_does_not_score_what_it_saw():
    blind = {s["group"]: s for s in accuracy.score()["summary"]}
    tuned = accuracy.score(calibrate=5)
    for s in tuned["summary"]:
        if s["group"] in ("offline tables, TensorRT-LLM", "MLPerf Offline", "llama.cpp decode"):
            assert s["median"] < blind[s["group"]]["median"]
            assert s["n"] < blind[s["group"]]["n"]


def test_picking_sees_no_measured_value():
    asks, _ = accuracy.expressed(accuracy.load(), "x")
    mine = [a for a in asks if a.family == "offline tables, TensorRT-LLM" and a.chip.name == "L40S"]
    p = fitting.Problem(mine)
    before = fitting.pick(p, "trtllm")
    p.measured = np.random.default_rng(0).permutation(p.measured)
    assert fitting.pick(p, "trtllm") == before and len(set(before)) == 5


def test_calibrated_rows_pass_near_what_was_seen():
    asks, _ = accuracy.expressed(accuracy.load(), "x")
    p = fitting.Problem([a for a in asks if a.family == "llama.cpp decode" and a.chip.name == "RTX-4090"])
    rows = fitting.pick(p, "llamacpp-gpu")
    left = fitting.calibrate(p, rows, "llamacpp-gpu")[rows] - p.measured[rows]
    was = p.log_predicted(p.constants("llamacpp-gpu"))[rows] - p.measured[rows]
    assert np.abs(left).mean() < np.abs(was).mean()


def test_a_width_without_a_chip_uses_no_row_of_it():
    known = interval.widths()
    assert ("llama.cpp decode", "", "RTX-4090") in known and ("llama.cpp decode", "", "") in known
    assert all(w > 0 for w in known.values())


@pytest.mark.parametrize("rows", [constants.table(), local.table()], ids=["served", "local"])
def test_every_constant_is_between_its_priors_bounds(rows):
    for (name, scope), row in rows.items():
        for source, x in row.values.items():
            if row.transform == "log":
                assert abs(np.log(x / row.prior)) < 4.0 * row.doubt, (name, scope, source)


@needs_shared
def test_the_bars_on_the_outside_table():
    blind = {s["group"]: s for s in accuracy.score(SHARED)["summary"]}
    tuned = {s["group"]: s for s in accuracy.score(SHARED, 5)["summary"]}
    assert blind["time per output token"]["median"] <= 0.15 and tuned["time per output token"]["median"] <= 0.09
    assert blind["time to first token"]["median"] <= 0.28 and tuned["time to first token"]["median"] <= 0.18
    for family in ("time per output token", "time to first token"):
        assert 0.85 <= blind[family]["inside"] <= 0.95
