"""The commands `rule`, `rules`, `line` and `design`: text, JSON as Python returns it, one line per refused input."""

from __future__ import annotations

import json
from datetime import date

import pytest

from cutline import __version__, data_version
from cutline.cli import ruling
from cutline.facts import law
from cutline.facts.chips import chip as catalogue
from cutline.facts.models import model
from cutline.law.line import line
from cutline.law.measures import chip, imagined
from cutline.law.screen import every_part, screen_parts
from cutline.law.verdict import history, rule
from cutline.plan.decode import decode, kv_bytes_per_token
from cutline.plan.design import Design, built, design, limits_of
from cutline.plan.job import job

H20 = ["rule", "H20", "--to", "CN", "--on", "2025-05-01"]
WHO = dict.fromkeys(("headquarters", "parent", "name", "end_use"), "") | {
    "origin": "US",
    "listed": False,
    "listed_share": 0.0,
}
KEYS = {
    "meets", "paragraphs", "eccn_candidates", "licence_required", "policy", "exceptions", "conditions", "margins", "flips", "basis",
    "layer", "warnings",
}  # fmt: skip


def plain(answer):
    return json.loads(json.dumps(answer, allow_nan=False))


@pytest.mark.parametrize(
    "words",
    [
        H20,
        ["rule", "MTT-S4000", "--to", "China"],
        ["rule", "A100", "--to", "Macau", "--on", "2023-01-17", "--form", "board"],
        ["rule", "L40", "--to", "SG", "--parent-hq", "CN", "--hq", "SG", "--from", "TW"],
        ["rule", "H100", "--to", "AE", "--party", "Microsoft"],
        ["rule", "H20", "--to", "CN", "--reform", "safe-chips"],
        ["rule", "HBM2", "--to", "CN"],
        ["rule", "H20", "--to", "RU", "--listed-share", "60 %"],
        ["rule", "--tpp", "1936", "--die-area", "250..700", "--datacenter", "--to", "CN", "--maker", "NVIDIA"],
        ["rule", "--peak", "fp8-sparse=600", "--memory-bandwidth", "900", "--io-bandwidth", "64", "--to", "VN"],
        ["rule", "--training-flop", "2e26", "--to", "DE", "--layer", "text"],
        ["rule", "H20", "--to", "CN", "--transistors", "29e9", "--packaged-by", "fabricator", "--hbm"],
        ["rule", "H20", "--to", "CN", "--known", "2025-04-10", "--on", "2025-04-12"],
        ["rule", "--all", "--to", "CN", "--on", "2026-10-01"],
        ["rules"],
        ["rules", "--on", "2024-01-01", "--kind", "rule"],
        ["line", "--to", "CN", "--on", "2025-05-01"],
        ["line", "--to", "Russia"],
        ["design", "--to", "CN", "--on", "2024-06-01", "--for", "decode llama-3-8b", "--compare", "H20,A800"],
        ["design", "--to", "RU", "--for", "decode llama-3-8b"],
    ],
    ids=lambda words: " ".join(words[:4]),
)
def test_command_answers_within_100_columns(cli, words):
    code, out, err = cli(*words)
    assert (code, err) == (0, "")
    assert f"cutline {__version__}, facts of {data_version}" in out
    assert "not legal advice" in " ".join(out.casefold().split())
    assert not [row for row in out.splitlines() if len(row) > 100 and "http" not in row]
    assert "…" not in out, "a cell was cut"


def test_rule_json_is_the_dict_of_the_verdict(cli):
    code, out, _ = cli(*H20, "--json")
    answer = json.loads(out)
    assert code == 0 and answer == plain(rule(chip("H20"), "CN", on=date(2025, 5, 1), **WHO))
    assert set(answer) >= KEYS
    _, out, _ = cli("rule", "--tpp", "1936", "--die-area", "294", "--to", "CN", "--on", "2026-01-01", "--json")
    assert json.loads(out) == plain(rule(imagined(tpp="1936", die_area="294"), "CN", on=date(2026, 1, 1), **WHO))


def test_line_and_rules_and_all_json_are_what_python_returns(cli):
    day = date(2025, 5, 1)
    assert json.loads(cli("line", "--to", "CN", "--on", "2025-05-01", "--json")[1]) == plain(line("CN", on=day))
    assert json.loads(cli("rules", "--on", "2025-05-01", "--json")[1]) == plain(ruling.timeline(day))
    found = json.loads(cli("rule", "--all", "--to", "CN", "--on", "2025-05-01", "--json")[1])
    assert found == plain(screen_parts(every_part(), "CN", on=day, **WHO))
    spans = json.loads(cli("rule", "H20", "--to", "CN", "--on", "2025-05-01", "--history", "--json")[1])["history"]
    assert spans == plain(history(chip("H20"), "CN", on=day, **WHO))


def test_the_verdict_says_first_what_decides_and_marks_low_confidence(cli):
    _, out, _ = cli(*H20)
    order = [
        "licence required, by company letter",
        "TPP",
        "3A090.a.1",
        "letter 2025-04 memory",
        "meets: none",
        "review:",
        "layer",
        "basis:",
    ]
    places = [out.find(w) for w in order]
    assert -1 not in places and places == sorted(places)
    assert "(low confidence)" in out and "not legal advice" in out and "guessed, not sourced" in out


def test_worksheet_goes_to_the_output_or_to_a_file(cli, tmp_path):
    code, out, _ = cli(*H20, "--worksheet")
    assert (
        code == 0
        and out.startswith("# H20 to China, 2025-05-01\n")
        and "| 3A090.b.1 | tpp >= 2,400 | 2,368 | -1.33 % | no | no |" in out
    )
    assert cli("rule", "H20", "--worksheet", "--to", "CN", "--on", "2025-05-01")[1] == out
    path = tmp_path / "h20.md"
    assert cli(*H20, "--worksheet", path)[0] == 0 and path.read_text() == out
    assert "not legal advice" in out and "NVIDIA 8-K 2025-04-15" in out


def test_a_file_of_chips_is_screened_row_by_row(cli, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "name,tpp,die_area_mm2,memory_gb_per_s,io_gb_per_s,datacenter,maker\n"
        "one,2399.99,750,4000,1000,yes,\ntwo,2400,750,4000,1000,yes,\nthree,2000,,300,64,yes,\nfour,1000,400,1400,64,no,NVIDIA\n"
    )
    code, out, _ = cli("rule", path, "--to", "CN", "--on", "2026-10-01", "--json")
    found = {r["item"]: (r["meets"], r["licence_required"]) for r in json.loads(out)["rows"]}
    assert code == 0 and found == {
        "one": ("none", False),
        "two": ("3A090.b", True),
        "three": ("undetermined", None),
        "four": ("none", True),
    }
    peaks = tmp_path / "peaks.csv"
    peaks.write_text("name,fp16_tflop_per_s,fp16_sparse_tflop_per_s,die_area_mm2,planar\nx,148,296,814,\ny,148,,,yes\n")
    rows = json.loads(cli("rule", peaks, "--to", "CN", "--on", "2024-06-01", "--json")[1])["rows"]
    assert [r["tpp"] for r in rows] == [2368.0, 2368.0] and [r["licence_required"] for r in rows] == [False, False]


def test_changing_a_catalogue_part_answers_what_if(cli):
    _, out, _ = cli("rule", "H20", "--tpp", "2400", "--die-area", "740", "--to", "CN", "--on", "2024-06-01", "--json")
    answer = json.loads(out)
    assert answer["meets"] == "3A090.b" and any("changed by hand" in w for w in answer["warnings"])
    _, out, _ = cli("rule", "A6000", "--no-datacenter", "--to", "CN", "--on", "2024-06-01", "--json")
    assert json.loads(out)["licence_required"] is False


def test_rules_name_every_act_and_the_reforms(cli):
    answer = json.loads(cli("rules", "--json")[1])
    assert {a["id"] for a in answer["acts"]} == set(law.law().instruments)
    assert {a["reform"] for a in answer["acts"]} - {None} == {
        n for n, t in law.law().reforms.items() if "instrument" in t
    }
    on = json.loads(cli("rules", "--on", "2023-11-16", "--json")[1])
    assert "us-2023-10-17-acs-ifr" not in {a["id"] for a in on["acts"]}


@pytest.mark.parametrize(
    "words, says",
    [
        (["rule", "H20"], "--to is needed: the destination, such as --to CN"),
        (["rule", "H20", "--to", "Germny"], "no country named 'Germny' (--to). Did you mean Germany"),
        (["rule", "H20", "--to", "CN", "--hq", "Mars"], "no country named 'Mars' (--hq)"),
        (["rule", "H20", "--to", "CN", "--on", "2022-08-25"], "on must be 2022-08-26 or later"),
        (["rule", "H20", "--to", "CN", "--on", "yesterday"], "--on must be a day such as 2025-05-01; got 'yesterday'"),
        (["rule", "H20", "--to", "CN", "--known", "2025-13-01"], "--known must be a day such as 2025-05-01; got '2025-13-01'"),
        (["rule", "H20", "--to", "CN", "--layer", "letter"], "--layer must be one of text, as_enforced; got 'letter'"),
        (["rule", "H20", "--to", "CN", "--reform", "gain"], "no reform named 'gain'. Did you mean gain-ai"),
        (["rule", "H20", "--to", "CN", "--end-use", "war"], "--end-use must be one of supercomputer, military; got 'war'"),
        (["rule", "H20", "--to", "CN", "--listed-share", "110"], "--listed-share must be between 0 and 100 %; got '110'"),
        (["rule", "H20", "--to", "CN", "--form", "rack"], "--form must be one of chip, board, server; got 'rack'"),
        (["rule", "H20", "--to", "CN", "--maker", "AMD"], "--maker and --us-market are for an imagined chip"),
        (["rule", "H2O", "--to", "CN"], "no chip named 'H2O'. Did you mean"),
        (["rule", "--to", "CN"], "name a CHIP, or describe one with --tpp or --peak"),
        (["rule", "--to", "CN", "--die-area", "300"], "imagined chip has no peak rate: give tpp, or peaks such as fp16=148"),
        (["rule", "--to", "CN", "--tpp", "2000", "--die-area", "0"], "die area (mm2) must be above 0; got '0'"),
        (["rule", "--to", "CN", "--peak", "fp16"], "--peak must be a format and a rate such as fp16=148; got 'fp16'"),
        (["rule", "--to", "CN", "--peak", "fp16=100", "--peak", "fp16-sparse=90"], "peak fp16-sparse must be at least the dense 100; got 90"),
        (["rule", "H20", "--to", "CN", "--all"], "--all and a file of chips are judged as they stand; leave out CHIP"),
        (["rule", "none.csv", "--to", "CN"], "none.csv: cannot be read"),
        (["rule", "H20", "--to", "CN", "--designer", "me"], "designer must be one of approved, authorised, other; got 'me'"),
        (["rules", "--kind", "decree"], "--kind must be one of"),
        (["design", "--to", "CN", "--for", "llama-3-8b"], "--for must be 'train MODEL' or 'decode MODEL'; got 'llama-3-8b'"),
        (["design", "--to", "CN", "--for", "train llama-3-8b", "--like", "RTX-4090"], "memory of RTX-4090 is GDDR6X; a design needs one of"),
        (["design", "--to", "CN", "--for", "train llama-3-8b", "--dies", "0"], "--dies must be above 0"),
    ],
    ids=lambda v: " ".join(v[-2:]) if isinstance(v, list) else None,
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(cli, words, says):
    code, out, err = cli(*words)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize(
    "text, says",
    [
        ("name,tpp,price\nx,1,2\n", "mine.csv:1: column 'price' is not known"),
        ("name,tpp\nx,1\n,2\n", "mine.csv:3: name is empty"),
        ("name,tpp,die_area_mm2\nx,1000,0\n", "mine.csv:2: die area (mm2) must be above 0; got '0'"),
        ("name,die_area_mm2\nx,100\n", "mine.csv:2: x has no peak rate"),
        ("name,tpp,datacenter\nx,1,maybe\n", "mine.csv:2: datacenter must be yes, no or empty; got 'maybe'"),
        ("name,tpp\n", "mine.csv: no chips in it"),
    ],
)
def test_a_bad_file_of_chips_is_refused_with_its_line(cli, tmp_path, text, says):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    code, _, err = cli("rule", path, "--to", "CN")
    assert code == 2 and says in err


# ---- the best chip below a line


def found(goal="decode", on=date(2024, 6, 1), **more):
    return design(model("llama-3-8b"), goal, "CN", on=on, compare=(), chips=64, **more)


def test_the_best_design_of_2023_looks_like_h20():
    best = found()["best"]
    h20 = chip("H20").measures
    assert 0.95 < float(h20["tpp"].low) / best["tpp"] <= 1.0  # just below 2,400
    assert (
        best["pd"] == pytest.approx(3.2, rel=1e-3) and float(h20["area_mm2"].low) >= best["area_mm2"]
    )  # a whole die for a sixth of it
    assert best["link_gb_per_s"] == catalogue("H20").get("link", "scale-up") / 1e9  # links are not cut
    assert best["memory_gb_per_s"] >= float(h20["memory_gb_per_s"].low)
    old = found(on=date(2022, 12, 1))["best"]
    assert 200 <= old["link_gb_per_s"] < 240 and old["tpp"] > 15000  # A800 and H800: links cut, peak kept


@pytest.mark.parametrize("on", ["2022-12-01", "2023-12-01", "2026-10-01"])
def test_a_design_is_free_and_any_step_over_the_line_is_not(on):
    day = date.fromisoformat(on)
    limits = limits_of(catalogue("H100"), 1)

    def needs(d, more=0.0):
        part = imagined(
            tpp=round(d["tpp"] + more, 2), die_area=d["area_mm2"], memory_bandwidth=round(d["memory_gb_per_s"], 3), datacenter=True,
            io_bandwidth=round(2 * (d["link_gb_per_s"] + limits.host_gb_per_s), 3), maker="NVIDIA",
        )  # fmt: skip
        return rule(part, "CN", on=day)["licence_required"]

    answer = found(on=day)
    for d in answer["designs"]:
        assert needs(d) is False
    if on > "2023":
        assert needs(answer["best"], 0.5) is True


def test_each_line_costs_something_and_the_letters_cost_decoding_most():
    train, reads = (found(goal, on=date(2026, 10, 1))["lines"] for goal in ("train", "decode"))
    share = {row["from"]: row["best"]["share"] for row in train}
    assert 1 > share["2022-10-21"] > share["2023-11-17"] >= share["2025-04-09"] > 0
    read = {row["from"]: row["best"]["share"] for row in reads}
    assert read["2023-11-17"] > share["2023-11-17"]  # the peak was cut, not the memory
    assert read["2025-04-09"] / read["2023-11-17"] < 0.5 < share["2025-04-09"] / share["2023-11-17"]


def test_two_dies_buy_peak_below_the_density_line():
    one, two = found()["best"], found(dies=2)["best"]
    assert one["tpp"] == 2399.99 and 2400 < two["tpp"] < 1.6 * 2 * 858


def test_a_design_with_the_rates_of_its_reference_is_its_reference():
    like = catalogue("H100-SXM-80GB")
    limits = limits_of(like, 1)
    tpp = float(chip(like.name).measures["tpp"].low)
    same = built(Design(tpp, 814, like.get("memory_rate") / 1e9, like.get("link", "scale-up") / 1e9), like, limits)
    for fact in (("peak", "bf16-dense"), ("memory_rate", ""), ("link", "scale-up"), ("power", "")):
        assert same.get(*fact) == pytest.approx(like.get(*fact))


def test_decoding_reads_weights_and_keys_at_the_memory_rate():
    j = job(model("llama-3-8b"), "8 x H100-SXM-80GB")
    fast = decode(j.model, j.rates, j.constants, 8192)
    double = decode(j.model, j.rates.replace(memory_bytes_per_s=2 * j.rates.memory_bytes_per_s), j.constants, 8192)
    assert fast.tokens_per_s_per_chip < double.tokens_per_s_per_chip <= 2 * fast.tokens_per_s_per_chip
    longer = decode(j.model, j.rates, j.constants, 32768)
    assert longer.tokens_per_s_per_chip < fast.tokens_per_s_per_chip and fast.step_s <= 0.05
    assert decode(j.model, j.rates.replace(memory_bytes=1e8), j.constants, 8192).tokens_per_s_per_chip == 0
    assert kv_bytes_per_token(model("llama-3-8b"), 1) == 2 * 2 * 8 * 128 * 32
    assert kv_bytes_per_token(model("deepseek-v3"), 1) == 2 * 576 * 61
