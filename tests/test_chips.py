"""The chip catalogue: is every fact plausible, and are the known traps avoided?"""

import csv
import re

import pytest

from cutline.facts import reader

# FP8 is twice BF16 on parts with FP8 matrix units; these differ, for the reason given.
FP8_EXCEPTIONS = {
    "Arc-Pro-B60": "FP8 is stored, products run at the 16-bit rate",
    "Ascend-950DT": "the vendor's table prints 919 against 2 x 486",
    "Blackhole-p150": "block formats change the ratio",
    "Gaudi3": "FP8 and BF16 share one rate",
    "Inferentia2": "FP8 runs at the BF16 rate",
    "L40S": "the sheet prints 733 against 2 x 362.05",
    "Rubin-VR200": "FP8 grew more than BF16",
    "TPU-v5p": "no FP8 units: FP8 runs at the BF16 rate",
    "TPU-v6e": "no FP8 units: FP8 runs at the BF16 rate",
    "Trainium1": "FP8 runs at the BF16 rate",
    "Trainium2": "the vendor prints 1,299 against 2 x 667",
    "Trainium3": "the vendor prints 2,517, about 3.75 x BF16",
}
# INT8 is twice the 16-bit rate with the same width of accumulate; these differ.
INT8_EXCEPTIONS = {
    "B300-SXM": "Blackwell Ultra gave up INT8",
    "GB300": "Blackwell Ultra gave up INT8",
    "Cloud-AI-100-Ultra": "three times FP16 as printed",
    "Groq-LPU-v1": "four times FP16, rounded",
    "Hygon-K100-AI": "392 against 2 x 192 as printed",
    "Kunlun-K200": "four times FP16 as printed",
    "L40S": "the sheet prints 733 against 2 x 362.05",
    "MI100": "CDNA runs INT8 at the FP16 rate",
    "MI210": "CDNA 2 runs INT8 at the FP16 rate",
    "MI250": "CDNA 2 runs INT8 at the FP16 rate",
    "MI250X": "CDNA 2 runs INT8 at the FP16 rate",
    "MLU370-S4": "256 against 96 as printed, scaled",
    "MLU370-X4": "256 against 96 as printed",
    "MLU370-X8": "256 against 96 as printed",
    "MR-V100": "four times FP16 as printed",
    "RX-7900XTX": "RDNA 3 runs INT8 at the FP16 rate",
    "TPU-v3": "no INT8 units; two pages print 123 and 140",
    "TPU-v4": "no INT8 units",
    "TPU-v4i": "no INT8 units",
}
TF32_EXCEPTIONS = {
    "B300-SXM": "printed as 1.1 PFLOP/s",
    "Enflame-T20": "TF32 shares the 16-bit rate",
    "Gaudi3": "TF32 is a quarter of BF16",
    "Inferentia2": "TF32 shares the BF16 rate",
    "L40S": "183 against 362.05 / 2 as printed",
    "MI250X": "no TF32; a list enters the FP32 matrix rate",
    "Trainium1": "TF32 shares the BF16 rate",
    "Trainium2": "TF32 shares the BF16 rate",
    "Trainium3": "TF32 shares the BF16 rate",
}
SPARSE_EXCEPTIONS = {
    "B300-SXM": "FP4 gains less from sparsity",
    "Rubin-CPX": "FP4 gains less from sparsity",
    "Rubin-VR200": "50 for inference against 35 dense",
    "Jetson-AGX-Orin-32GB": "the sparse figure counts the DLA too",
    "Jetson-AGX-Orin-64GB": "the sparse figure counts the DLA too",
    "L40S": "the sheet rounds 724 to 733",
    "RTX-PRO-6000": "headline clock against the vendor's tool",
    "Trainium2": "sparsity of 4:1",
    "Trainium3": "sparsity of 4:1",
}
# one direction; the sheets print the sum of both ways
NVLINK = {
    "A100-SXM-40GB": 300e9,
    "A100-SXM-80GB": 300e9,
    "A800-SXM-80GB": 200e9,
    "H100-SXM-80GB": 450e9,
    "H800-SXM-80GB": 200e9,
    "H20": 450e9,
    "H200-SXM-141GB": 450e9,
    "B200-SXM": 900e9,
    "GB200": 900e9,
    "V100-SXM2-32GB": 150e9,
}
NAMED_IN_PRESS = ["A100", "H100", "A800", "H800", "H20", "Ascend 910B2", "Ascend 910B3"]
MAIN = """
V100-SXM2-16GB V100-SXM2-32GB V100-PCIe-32GB T4 A100-SXM-40GB A100-SXM-80GB A100-PCIe-40GB A100-PCIe-80GB
A800-SXM-80GB A800-PCIe-80GB A30 A10 A40 L4 L40 L40S L20 H100-SXM-80GB H100-PCIe-80GB H100-NVL-94GB
H100-SXM-96GB-500W H800-SXM-80GB H800-PCIe-80GB H20 H20-141GB H200-SXM-141GB H200-NVL-141GB GH200-96GB B100
B200-SXM GB200 B300-SXM GB300 MI250X MI300X MI325X MI350X MI355X TPU-v4 TPU-v5e TPU-v5p TPU-v6e TPU-v7
Trainium2 Trainium3 Gaudi2 Gaudi3 Ascend-910A Ascend-910B1 Ascend-910B2 Ascend-910B3 Ascend-910B4 Ascend-910C
MTT-S5000
""".split()
SEGMENTS = {"datacentre", "workstation", "gaming", "laptop", "phone", "edge", "memory"}
TOPOLOGIES = {"switched", "mesh", "ring", "torus", "none"}
BITS = {"fp64": 64, "tf32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "fp6": 6, "fp4": 4, "int4": 4}


@pytest.fixture(scope="module")
def chips():
    return reader.table("chips")


def value(chips, name, field, item=""):
    claim = chips.best(name, field, item)
    return claim.value if claim else None


def wrong_ratios(chips, top, bottoms, ratio, tolerance=0.01):
    """Return the parts whose peak `top` is not `ratio` times the first known of `bottoms`."""
    found = set()
    for name in chips:
        above = value(chips, name, "peak", top)
        below = next((v for b in bottoms if (v := value(chips, name, "peak", b))), None)
        if above and below and abs(above / (ratio * below) - 1) > tolerance:
            found.add(name)
    return found


def total_processing_performance(chips, name):
    """Bit width times dense TOP/s, the largest over the formats (tensor FP64 and FP32 left out)."""
    return max(bits * v / 1e12 for kind, bits in BITS.items() if (v := value(chips, name, "peak", f"{kind}-dense")))


def test_the_catalogue_is_wide(chips):
    assert len(chips) >= 200
    assert sum(value(chips, n, "segment") == "datacentre" for n in chips) >= 120


def test_every_source_resolves_and_every_source_is_used(chips):
    known = reader.sources()
    used = {c.source.id for n in chips for found in chips.claims(n).values() for c in found}
    assert used <= set(known)
    with (reader.DATA / "chips.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {r["source"] for r in rows} == used


def test_rows_are_sorted():
    with (reader.DATA / "chips.csv").open(encoding="utf-8", newline="") as handle:
        keys = [(r["name"], r["field"], r["item"]) for r in csv.DictReader(handle)]
    assert keys == sorted(keys)


@pytest.mark.parametrize("name", NAMED_IN_PRESS)
def test_chips_named_in_press_claims_resolve(chips, name):
    assert chips.resolve(name)


def test_bare_names_mean_the_usual_part(chips):
    assert chips.resolve("A100") == "A100-SXM-80GB"
    assert chips.resolve("V100") == "V100-SXM2-32GB"
    assert chips.resolve("h100") == "H100-SXM-80GB"
    assert chips.resolve("H20-96GB") == "H20"


def test_no_name_hides_the_910b_sub_model(chips):
    for name in ("910B", "Ascend 910B", "Ascend-910B"):
        with pytest.raises(reader.UnknownName):
            chips.resolve(name)


def test_aliases_are_unique(chips):
    seen = {}
    for name in chips:
        for claim in chips.claims(name).get(("aliases", ""), []):
            for alias in claim.value.split(";"):
                key = alias.strip().casefold()
                assert key, f"{name} has an empty alias"
                assert seen.setdefault(key, name) == name, f"{alias} names {name} and {seen[key]}"
        assert seen.setdefault(name.casefold(), name) == name


def test_every_part_says_what_it_is(chips):
    for name in chips:
        for field in ("maker", "country", "segment", "family", "released"):
            if field == "released" and value(chips, name, "segment") != "datacentre":
                continue
            assert value(chips, name, field), f"{name} lacks {field}"
        assert re.fullmatch("[A-Z]{2}", value(chips, name, "country"))
        assert value(chips, name, "segment") in SEGMENTS
        assert value(chips, name, "topology") in TOPOLOGIES | {None}


@pytest.mark.parametrize("name", MAIN)
def test_main_parts_have_what_physics_needs(chips, name):
    assert value(chips, name, "peak", "bf16-dense") or value(chips, name, "peak", "fp16-dense")
    for field, item in (
        ("memory", ""), ("memory_rate", ""), ("power", ""), ("link", "scale-up"), ("link", "scale-out"),
        ("domain", ""), ("topology", ""), ("node", ""), ("released", ""),
    ):  # fmt: skip
        assert value(chips, name, field, item) is not None, f"{name} lacks {field} {item}"


def test_fp8_is_twice_bf16(chips):
    assert wrong_ratios(chips, "fp8-dense", ["bf16-dense"], 2) == set(FP8_EXCEPTIONS)


def test_int8_is_twice_the_16_bit_rate(chips):
    bottoms = ["fp16-dense-acc16", "fp16-dense", "bf16-dense"]
    assert wrong_ratios(chips, "int8-dense", bottoms, 2) == set(INT8_EXCEPTIONS)


def test_tf32_is_half_of_bf16(chips):
    assert wrong_ratios(chips, "tf32-dense", ["bf16-dense"], 0.5) == set(TF32_EXCEPTIONS)


def test_sparse_is_twice_dense(chips):
    found = set()
    for kind in ("fp16", "bf16", "fp8", "fp4", "int8"):
        found |= wrong_ratios(chips, f"{kind}-sparse", [f"{kind}-dense"], 2)
    assert found == set(SPARSE_EXCEPTIONS)


def test_geforce_halves_fp16_with_fp32_accumulate(chips):
    found = 0
    for name in chips:
        fast, safe = value(chips, name, "peak", "fp16-dense-acc16"), value(chips, name, "peak", "fp16-dense")
        if fast and safe:
            assert fast == pytest.approx(2 * safe, rel=0.011), name
            found += 1
    assert found >= 10


def test_memory_agrees_with_the_name(chips):
    for name in chips:
        match = re.search(r"-(\d+)GB", name)
        if match:
            assert value(chips, name, "memory") / 1e9 == pytest.approx(float(match[1]), rel=0.08), name


def test_memory_can_be_read_in_a_plausible_time(chips):
    for name in chips:
        size, rate = value(chips, name, "memory"), value(chips, name, "memory_rate")
        if size and rate and value(chips, name, "segment") == "datacentre":
            low = 1e-6 if size < 2e9 else 0.005  # on-chip SRAM against HBM, GDDR and LPDDR
            most = 4.0 if (value(chips, name, "memory_type") or "").startswith("DDR") else 1.0  # modules of a processor
            assert low < size / rate < most, f"{name}: {size / rate:.4f} s"


def test_intensity_is_in_range(chips):
    for name in chips:
        peak = value(chips, name, "peak", "bf16-dense") or value(chips, name, "peak", "fp16-dense")
        rate = value(chips, name, "memory_rate")
        if peak and rate:
            assert 2 < peak / rate < 1500, f"{name}: {peak / rate:.0f} flop per byte"


@pytest.mark.parametrize("name, rate", NVLINK.items())
def test_scale_up_counts_one_direction(chips, name, rate):
    for claim in chips.claims(name)["link", "scale-up"]:
        assert claim.value == pytest.approx(rate, rel=0.01)


def test_a_910b_server_is_a_mesh_and_a_910c_supernode_is_switched(chips):
    assert value(chips, "Ascend-910B2", "link", "scale-up") == pytest.approx(196e9)
    assert value(chips, "Ascend-910B2", "topology") == "mesh"
    assert value(chips, "Ascend-910C", "topology") == "switched"
    assert value(chips, "Ascend-910C", "domain") == 384


def test_the_network_is_not_faster_than_the_scale_up_link(chips):
    for name in chips:
        up, out = value(chips, name, "link", "scale-up"), value(chips, name, "link", "scale-out")
        if up and out:
            assert out <= up, name


def test_a_part_without_links_is_its_own_domain(chips):
    for name in chips:
        if value(chips, name, "topology") == "none":
            assert value(chips, name, "domain") in (1, None), name
        elif value(chips, name, "topology"):
            assert value(chips, name, "domain") is None or value(chips, name, "domain") >= 1, name


def test_export_parts_stay_under_the_line_that_they_were_made_for(chips):
    assert total_processing_performance(chips, "A100-SXM-80GB") >= 4800
    assert total_processing_performance(chips, "A800-SXM-80GB") >= 4800
    assert total_processing_performance(chips, "H100-SXM-80GB") >= 4800
    assert total_processing_performance(chips, "H20") < 4800
    assert total_processing_performance(chips, "L20") < 2400
    assert total_processing_performance(chips, "L2") < 1600
    assert value(chips, "A800-SXM-80GB", "peak", "bf16-dense") == pytest.approx(
        value(chips, "A100-SXM-80GB", "peak", "bf16-dense"), rel=0.01
    )


def test_known_sheet_values(chips):
    assert value(chips, "H20", "memory_rate") == pytest.approx(4.0e12)
    assert value(chips, "H20", "peak", "bf16-dense") == pytest.approx(148e12)
    assert value(chips, "H100-SXM-80GB", "peak", "bf16-dense") == pytest.approx(989.5e12, rel=0.001)
    assert value(chips, "H200-SXM-141GB", "memory_rate") == pytest.approx(4.8e12)
    assert value(chips, "H100-SXM-96GB-500W", "memory_rate") == pytest.approx(2.4e12)
    assert value(chips, "Ascend-910B3", "peak", "fp16-dense") == pytest.approx(313e12)
    assert value(chips, "C550", "memory_rate") == pytest.approx(1.8e12)


def test_prices_are_dated_and_include_the_press_claim(chips):
    for name in chips:
        for (field, item), found in chips.claims(name).items():
            if field == "price":
                assert all(c.date for c in found), f"{name} {item}"
                assert all(c.value > 0 for c in found)
    bought = chips.claims("H100")["price", "buy"]
    assert any(c.value == 30000 and c.date.startswith("2023") and c.source.tier == "press" for c in bought)


def test_few_claims_per_fact(chips):
    for name in chips:
        for (field, item), found in chips.claims(name).items():
            if field != "price":
                assert len(found) <= 4, f"{name} {field} {item}"


def test_guesses_say_why(chips):
    silent = [
        f"{n} {f} {i}"
        for n in chips
        for (f, i), found in chips.claims(n).items()
        for c in found
        if c.source.id == "guess" and not c.note
    ]
    assert not silent
