"""Mixed fleets: fleets and files, links, layers on stages, shares of the batch, bounds, and what must not change an answer."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutline.core.errors import CutlineError, DataError
from cutline.facts.models import model
from cutline.plan import accuracy, express, fitting, mixed, mixed_run, run, sides, stages
from cutline.plan.express_shape import Skip
from cutline.plan.fleet import fleet, read_fleet
from cutline.plan.job import job
from cutline.plan.links import way_between
from cutline.plan.search import search
from cutline.plan.strategy import divisors

SMALL = "gpt2"


def asked(text, name="llama-7b", batch=256, **ask):
    return mixed.mixed(model(name), fleet(text), global_batch=batch, **ask)


# fleets and files


def test_an_empty_group_changes_nothing_and_equal_groups_are_one():
    assert fleet("64 x A800 + 0 x H20") == fleet("64 x A800") == fleet("32 x A800 + 32 x a800")
    with pytest.raises(CutlineError, match="has no chips"):
        fleet("0 x A800 + 0 x H20")


FILE = """
[[group]]
chip = "A800"
chips = 64
network = "200 Gb/s per chip"
memory = "40 GB"
rent = "1.1 USD/h"

[[group]]
chip = "H20"
chips = 32
precision = "fp8"
stack = "megatron-core"

[[between]]
groups = ["A800", "H20"]
network = "50 Gb/s per chip"
"""


def written(tmp_path, text):
    path = tmp_path / "fleet.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_what_differs_from_the_catalogue(tmp_path):
    found = read_fleet(written(tmp_path, FILE))
    q = mixed.mixed(model("llama-7b"), found, global_batch=256)
    old, new = q.jobs
    assert old.rates.memory_bytes == 40 * 2**30 and new.rates.memory_bytes == 96 * 2**30
    assert old.rates.out_bytes_per_s == 25e9 and new.precision == "fp8" and new.stack.name == "megatron-core"
    assert q.way(old, new).bytes_per_s == 6.25e9
    answer = mixed_run.plan(q)
    assert any(row["tier"] == "given" and row["value"] == "40 GB" for row in answer["sources"])


def test_groups_of_one_part_that_differ_are_two(tmp_path):
    text = '[[group]]\nchip = "H20"\nchips = 8\n[[group]]\nchip = "H20"\nchips = 16\nnetwork = "100 Gb/s per chip"\n'
    assert [g.label for g in read_fleet(written(tmp_path, text))] == ["H20", "H20 (2)"]
    same = text.replace('network = "100 Gb/s per chip"\n', "")
    assert [(g.label, g.chips) for g in read_fleet(written(tmp_path, same))] == [("H20", 24)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("chips = 64", "chips = -1", "group 1: chips must be a whole number of at least 0, without quotes; got -1"),
        ("chips = 64", 'chips = "64"', "group 1: chips must be a whole number of at least 0, without quotes; got '64'"),
        ("chips = 64\n", "", "group 1: key 'chips' is missing"),
        ('chip = "A800"', 'chip = "A8000"', "group 1: no chip named 'A8000'. Did you mean A6000"),
        ("memory =", "memroy =", "group 1: key 'memroy' is not one of .*; did you mean memory?"),
        ('"40 GB"', '"40 GB/s"', "group 1: memory must be such as .* .unit 'GB/s' measures bytes_per_s; this field wants bytes"),
        ('"40 GB"', '"much GB"', "group 1: memory must be such as .* .'much' is not a number in GB"),
        ('"200 Gb/s per chip"', "200", "group 1: network must be text in quotes; got 200"),
        ('["A800", "H20"]', '["A800", "L4"]', "between 1: no group is named 'L4'; groups are A800-SXM-80GB, H20"),
        ('["A800", "H20"]', '["A800"]', "between 1: groups must name two groups"),
        ("[[between]]", "[[links]]", "the file: key 'links' is not one of group, between"),
        ('network = "50 Gb/s per chip"', 'transport = "pigeon"', "transport must be one of direct, host, none; got 'pigeon'"),
        ("[[group]]", "[[group", "not readable as TOML"),
    ],
)  # fmt: skip
def test_a_broken_file_gets_one_sentence(tmp_path, old, new, message):
    with pytest.raises(CutlineError, match=message):
        read_fleet(written(tmp_path, FILE.replace(old, new, 1)))


# links


def between(text, **changes):
    q = asked(text)
    return way_between(replace(q.fleet, **changes), *q.jobs)


def test_one_maker_meets_at_the_slower_network():
    assert between("64 x A800 + 64 x H20").bytes_per_s == 25e9
    assert between("64 x H20 + 64 x H800").bytes_per_s == 50e9


def test_makers_without_a_common_library_meet_in_host_memory():
    way = between("64 x H800 + 64 x Ascend-910B2")
    assert way.bytes_per_s == 1.073e9 and "host memory" in way.says
    bridged = between("64 x A800 + 64 x MLU590", links=())
    assert bridged.bytes_per_s == 25e9 and bridged.hop_s > 9e-3 and "FlagCX" in bridged.says


def test_groups_without_a_link_train_alone(tmp_path):
    text = FILE.replace('network = "50 Gb/s per chip"', 'transport = "none"').replace("40 GB", "80 GB")
    q = mixed.mixed(model("llama-7b"), read_fleet(written(tmp_path, text)), global_batch=256)
    found = mixed.splits(q)
    assert all(len(s.parties) == 1 and len(s.parties[0].groups) == 1 for s in found)
    assert mixed.even(q) is None


# layers on stages


@st.composite
def tables(draw):
    """Times of a few stages by layers: convex, some layers do not fit."""
    p, n = draw(st.integers(1, 3)), draw(st.integers(3, 7))
    rows = []
    for _ in range(p):
        base, step = draw(st.floats(0, 2)), draw(st.floats(0.1, 3))
        more = sorted(draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
        row = np.concatenate([[np.inf], base + np.cumsum(step + np.array(more))])
        row[draw(st.integers(2, n + 1)) :] = np.inf
        rows.append(row)
    return np.array(rows)


@settings(max_examples=200, deadline=None)
@given(tables(), st.integers(1, 20))
def test_layers_are_laid_as_brute_force_lays_them(rows, waves):
    p, n = len(rows), rows.shape[1] - 1
    best = np.inf
    for split in itertools.product(range(1, n + 1), repeat=p):
        if sum(split) == n and np.isfinite(rows[np.arange(p), list(split)]).all():
            stage = rows[np.arange(p), list(split)]
            best = min(best, float((waves - 1) * stage.max() + stage.sum()))
    found = stages.lay(rows, n, waves)
    if np.isfinite(best):
        assert found is not None and found[0] == pytest.approx(best, rel=1e-9)
        assert found[1].sum() == n
    else:
        assert found is None


def whole_search(jobs, way, share):
    """Every combination laid out: no bound, no row left out."""
    best = np.inf
    for wave in divisors(share):
        all_sides = [sides.side(j, wave) for j in jobs]
        if any(o is None for o in all_sides):
            continue
        rows = [[(o, i) for i in range(len(o)) if o.strategy.pp[i] <= jobs[0].shape.layers] for o in all_sides]
        for turn in itertools.permutations(range(len(jobs))):
            for picked in itertools.product(*rows):
                segments = [picked[g] for g in turn]
                links = [way(jobs[a], jobs[b]) for a, b in itertools.pairwise(turn)]
                found = stages._try(segments, [jobs[g] for g in turn], links, wave, share // wave, np.inf, {})
                best = min(best, np.inf if found is None else found.step_s)
    return best


@pytest.mark.parametrize("text", ["2 x A800 + 2 x H20", "2 x V100 + 4 x A100"])
def test_the_best_pipeline_is_that_of_brute_force(text):
    q = asked(text, SMALL, batch=4, precision="fp16", framework="deepspeed")
    found, bound = stages.best_pipeline(q.jobs, q.way, 4)
    assert found.step_s == pytest.approx(whole_search(q.jobs, q.way, 4), rel=1e-9)
    assert bound == found.step_s
    assert sum(found.parts.values()) == pytest.approx(found.step_s)
    assert sum(n for seg in found.segments for n in seg.layers) == q.jobs[0].shape.layers


def test_a_pipeline_keeps_within_every_memory():
    q = asked("16 x RTX-4090 + 16 x A100-SXM-80GB", "llama-13b", batch=32)
    found, _ = stages.best_pipeline(q.jobs, q.way, 32)
    for seg in found.segments:
        assert seg.memory_bytes <= 0.94 * float(seg.job.rates.memory_bytes) * (1 + 1e-9)
    small, large = sorted(found.segments, key=lambda seg: float(seg.job.rates.memory_bytes))
    assert sum(small.layers) < sum(large.layers)


def test_a_pipeline_over_two_halves_is_that_of_the_whole():
    """Equal groups: the same stages as one group has, and no slower than its best plan of that kind."""
    whole = job(model("llama-13b"), "64 x A100-SXM-80GB", global_batch=64)
    half = job(model("llama-13b"), "32 x A100-SXM-80GB", global_batch=64)
    way = stages.Way(float(half.rates.out_bytes_per_s), float(half.constants.out_hop_s), "")
    twin = half.on(group=replace(half.group, name="twin"))
    found, _ = stages.best_pipeline([half, twin], lambda a, b: way, 64)
    best = np.inf
    for pp in (2, 4, 8):
        space = replace(
            whole.space, fixed=(("pp", pp), ("vpp", 1), ("schedule", 0), ("offload", 0), ("graphs", 0)), zero=(0, 1)
        )
        one = search(whole.shape, whole.rates, whole.constants, space, most_kinds=1, front=False).best
        best = min(best, np.inf if one is None else float(one[1].step_s[0]))
    assert found.step_s == pytest.approx(best, rel=0.02)


# shares of the batch


def test_partitions_are_counted_by_bell():
    assert [len(list(mixed.partitions(tuple(range(n))))) for n in range(6)] == [1, 1, 2, 5, 15, 52]


def test_shares_are_those_of_brute_force():
    q = asked("16 x A800 + 16 x H20", batch=64)
    parties = [(0,), (1,)]
    found = mixed.share_out(q, parties)
    tables_ = [mixed._table(q, p, parties) for p in parties]
    time = [[None, *(t(n) for n in range(1, 64))] for t in tables_]
    room = [[min((x.step_s for x in row[n:] if x), default=np.inf) for n in range(64)] for row in time]
    best = min(max(room[0][n], room[1][64 - n]) for n in range(1, 64))
    assert found.step_s == pytest.approx(best, rel=1e-9)
    assert sum(p.share for p in found.parties) == 64


FLEETS = ["16 x A800 + 16 x H20", "64 x V100 + 32 x A100", "32 x H800 + 64 x Ascend-910B2", "8 x A800 + 24 x H20"]


@pytest.mark.parametrize("text", FLEETS)
def test_order_does_not_matter_and_nothing_beats_the_bound(text):
    turned = " + ".join(reversed(text.split(" + ")))
    one, other = (asked(t, batch=128, precision="fp16") for t in (text, turned))
    a, b = mixed.splits(one), mixed.splits(other)
    assert a[0].step_s == pytest.approx(b[0].step_s, rel=1e-9)
    assert all(s.step_s >= mixed.bound_s(one, tuple(g for p in s.parties for g in p.groups)) for s in a)
    alone = [p.step_s for g in (0, 1) if (p := mixed.alone(one, g)) is not None]
    assert a[0].step_s <= min(alone)
    naive = mixed.even(one)
    assert naive is None or a[0].step_s <= naive.step_s * (1 + 1e-9)


def test_two_equal_groups_are_nearly_as_fast_as_one():
    """Apart they exchange gradients as two parties; together as one: the same data over the same ports."""
    q = asked("32 x A100-SXM-80GB + 32 x A100-SXM-40GB", batch=128)
    twin = q.jobs[0].on(group=replace(q.jobs[0].group, name="twin"))
    q.jobs = [q.jobs[0], twin]
    whole = job(model("llama-7b"), "64 x A100-SXM-80GB", global_batch=128)
    best = search(whole.shape, whole.rates, whole.constants, whole.space, most_kinds=1, front=False).best
    found = mixed.splits(q)[0]
    assert found.step_s == pytest.approx(float(best[1].step_s[0]), rel=0.03)


def test_a_slow_part_is_left_idle():
    q = asked("64 x A100 + 1 x T4", batch=64, precision="fp16")
    answer = mixed_run.plan(q)
    assert answer["best"]["idle"] == ["T4"] and any("left idle" in w for w in answer["why"])


def test_a_faster_link_is_never_worse():
    slow, fast = (
        mixed_run.plan(
            mixed.mixed(model("llama-7b"), replace(fleet("16 x A800 + 16 x H20"), links=links), global_batch=64)
        )
        for links in (
            tuple(mixed_links("1 Gb/s per chip")),
            tuple(mixed_links("400 Gb/s per chip")),
        )
    )
    assert slow["best"]["step_s"] >= fast["best"]["step_s"] * (1 - 1e-9)
    assert all(-1e-9 <= a["link_cost"] < 1 for a in (slow, fast))


def mixed_links(rate):
    from cutline.plan.fleet import Link

    return [Link(frozenset(("A800-SXM-80GB", "H20")), rate)]


def test_the_answer_sums_up():
    answer = mixed_run.plan(asked("32 x A800 + 32 x H20", tokens=1e11, batch=256))
    best = answer["best"]
    assert sum(p["sequences"] for p in best["parties"]) == 256
    for p in best["parties"]:
        assert sum(p["parts_s"].values()) == pytest.approx(p["step_s"])
        assert p["step_s"] <= best["step_s"]
    assert best["days_low"] < best["days"] < best["days_high"]
    assert best["tokens_per_s_per_chip"] * 64 * best["step_s"] == pytest.approx(256 * answer["seq"])
    assert answer["bound_step_s"] <= best["step_s"] and answer["closed"]
    assert {r["group"] for r in answer["one_more_node"]} == {"A800-SXM-80GB", "H20"}


def test_formats_by_group_say_what_follows():
    q = mixed.mixed(model("llama-7b"), fleet("16 x A800 + 16 x H20"), {"H20": {"precision": "fp8"}}, global_batch=64)
    answer = mixed_run.plan(q)
    assert answer["numerics"]["formats"] == {"A800-SXM-80GB": "bf16", "H20": "fp8"}
    assert mixed_run.plan(asked("16 x A800 + 16 x H20", batch=64))["numerics"] is None


def test_three_kinds_have_a_plan_and_a_bound():
    q = asked("32 x A800 + 32 x H20 + 32 x V100", batch=128, precision="fp16")
    answer = mixed_run.plan(q)
    pairs = [asked(t, batch=128, precision="fp16") for t in ("32 x A800 + 32 x H20", "32 x A800 + 32 x V100")]
    assert answer["best"]["step_s"] <= min(mixed.splits(p)[0].step_s for p in pairs) * 1.02
    assert answer["bound_step_s"] <= answer["best"]["step_s"]


# measured rows of mixed clusters

ROW = {
    "id": "x", "source": "s", "group": "mine", "model": "OPT-350M", "arch": "dense", "layers": "24", "hidden": "1024", "heads": "16",
    "vocab": "50272", "seq_len": "2048", "n_chips": "32", "chips_per_node": "8", "framework": "Megatron-DeepSpeed", "precision": "bf16",
    "tp": "8", "pp": "2", "dp": "2", "micro_batch": "2", "global_batch_seqs": "64", "recompute": "none", "zero_stage_or_sharding": "none",
    "metric": "step_time_s", "value": "10", "date": "2025",
}  # fmt: skip


def steps_of(row):
    jobs = [express.express(row)]
    return float(fitting.steps(jobs, fitting.constants_of(jobs))[0])


def test_a_mixed_row_of_one_kind_is_nearly_its_uniform_row():
    note = "layers per stage [12, 12]; replicas 2 x (A100-SXM-80GB TP8) | 2 x (A100-SXM-80GB TP8)"
    one = steps_of(ROW | {"chip": "A100-SXM-80GB", "vpp": "1"})
    other = steps_of(ROW | {"chip": "A100-SXM-80GB x16+A100-SXM-80GB x16", "note": note})
    assert other == pytest.approx(one, rel=0.05)


def test_the_slowest_replica_paces_a_mixed_row():
    names = ["A100-SXM-80GB", "V100-SXM2-32GB"]

    def row(first, second):
        note = f"layers per stage [12, 12]; replicas 2 x ({first} TP8) | 1 x ({first} TP8)+1 x ({second} TP8)"
        return steps_of(ROW | {"chip": f"{first} x24+{second} x8", "note": note, "precision": "fp16"})

    fast, slow = row(names[0], names[0]), row(names[0], names[1])
    assert slow > 1.3 * fast


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ("", "must say 'layers per stage"),
        ("layers per stage [12, 13]; replicas 1 x (H20 TP8) | 1 x (H20 TP8)", "sum to 25, but the model has 24"),
        ("layers per stage [12, 12]; replicas 2 x (H20 TP8) | 1 x (A800 TP8)", "as many replicas as the others"),
    ],
)
def test_a_mixed_row_that_does_not_spell_out_its_stages_is_skipped(note, message):
    with pytest.raises(Skip, match=message):
        express.express(ROW | {"chip": "H20 x16+A800 x16", "note": note})


def test_mixed_clusters_meet_their_bar():
    """Blind within 20 % in the median, without a profile of the machines; calibrated on five within 12 %."""
    rows = [r for r in accuracy.load() if r["group"] == "sailor" or r["id"].startswith("sail-")]
    jobs = [j for j in accuracy.expressed(rows, "catalogue")[0] if j.parts]
    without = "shipped"
    error = np.abs(fitting.steps(jobs, fitting.constants_of(jobs, without)) / [j.measured_step_s for j in jobs] - 1)
    assert len(jobs) == 8 and np.median(error) < 0.20
    picked = fitting.pick(jobs, without, 5)
    rest = [j for j in jobs if j not in picked]
    found = fitting.steps(rest, fitting.constants_of(rest, without, fitting.calibrate(picked, without)))
    assert np.median(np.abs(found / [j.measured_step_s for j in rest] - 1)) < 0.12


# experts on one kind


def test_experts_apart_hold_together():
    """The side of the layers alone, a link without end, and experts that cost nothing are limits of one another."""
    q = asked("16 x H800 + 16 x H20", "qwen3-30b-a3b", batch=128)
    a, b = q.jobs
    found, bound = mixed._experts_apart(q, a, b, 128, np.inf)
    assert found is not None and bound <= found.step_s
    seg = found.segments[0]
    assert seg.partner is not None and sum(seg.layers) == a.shape.layers
    assert seg.partner["memory_bytes"] <= 0.94 * float(b.rates.memory_bytes)
    assert found.step_s >= mixed.bound_s(q, (0, 1))
    slow = stages.Way(1e9, 0.0, "")
    fast = stages.Way(1e15, 0.0, "")
    steps = []
    for way in (slow, fast):
        q.cache["H800-SXM-80GB", "H20"] = way
        q.sides.clear()
        steps.append(mixed._experts_apart(q, a, b, 128, np.inf)[0].step_s)
    assert steps[0] > found.step_s >= steps[1]
    lone = mixed.without_experts(a)
    assert float(training_params(lone)) < 0.2 * float(training_params(a))


def training_params(j):
    from cutline.plan import layers

    block = layers.layer_params(j.shape, layers.mixes(j.shape)[0])
    return block.split + block.experts


def test_an_answer_says_who_runs_the_experts():
    q = asked("16 x H800 + 16 x H20", "qwen3-30b-a3b", batch=128)
    found, _ = mixed._experts_apart(q, *q.jobs, 128, np.inf)
    split = mixed.Split([mixed.Party((0, 1), 128, found.step_s, pipeline=found)], found.step_s)
    best = mixed_run.describe(q, split)
    assert [r["role"] for r in best["roles"]] == ["all but experts", "experts"]
    assert best["how"] == "experts on one kind, all else on H800-SXM-80GB"
    assert all(0 <= r["waits"] < 1 for r in best["roles"])
    assert best["roles"][1]["strategy"]["ep"] * best["roles"][1]["strategy"]["pp"] <= 16


# what a first user tried


def test_idle_chips_do_not_fail_and_do_not_slow_the_run():
    many = mixed_run.plan(asked("1024 x A800 + 100000 x H20", batch=2048, tokens=1e12))["best"]
    alone = run.plan(job(model("llama-7b"), "1024 x A800", global_batch=2048, tokens=1e12), 1)["best"]
    assert many["idle"] == ["H20"]
    assert (many["goodput"], many["days"]) == (pytest.approx(alone["goodput"]), pytest.approx(alone["days"]))


def test_the_interval_of_replicas_is_that_of_their_parties():
    both = mixed_run.plan(asked("64 x A800 + 8 x H20", batch=2048))["best"]
    pace = max(both["parties"], key=lambda p: p["sequences"])
    single = run.plan(job(model("llama-7b"), "64 x A800"), 1)["best"]
    width = single["step_s_low"] / single["step_s"]
    assert both["step_s_low"] >= pace["step_s"] * width * (1 - 1e-9)


def test_a_part_without_bf16_runs_fp16_and_says_so():
    answer = mixed_run.plan(asked("8 x V100-SXM2-32GB + 8 x A100-SXM-80GB"))
    assert [g["precision"] for g in answer["groups"]] == ["fp16", "bf16"]
    assert answer["numerics"] is not None and any("no bf16" in a for a in answer["assumed"])


def test_shares_that_ranks_do_not_divide_take_empty_places():
    q = asked("64 x A800 + 64 x H20")
    chosen = [
        {"tp": 1.0, "cp": 1.0, "pp": 1.0, "micro_batch": 5.0, "light": 1.0, "offload": 1.0},
        {"tp": 1.0, "cp": 1.0, "pp": 1.0, "micro_batch": 1.0, "light": 1.0},
    ]
    found = mixed.given(q, chosen, [q.batch - 800, 800], None)
    rows = mixed_run.describe(q, found)["roles"]
    assert (
        rows[0]["sequences"] == q.batch - 800
        and rows[0]["slots"] % (64 * 5) == 0
        and rows[0]["slots"] >= rows[0]["sequences"]
    )


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ('rent = "1.5 USD"', "rent must be above 0"),
        ('rent = "-1 USD/h"', "rent must be above 0"),
        ('rent = "1.1"', "rent needs a unit"),
        ('network = "1e9 Gb/s per chip"', "network must be whole Gb/s"),
        ('network = "1,600 Gb/s per chip"', "network must be whole Gb/s"),
        ("node = 0", "node must be such as 8"),
    ],
)
def test_a_fleet_file_refuses_what_it_cannot_read(tmp_path, key, says):
    path = tmp_path / "fleet.toml"
    path.write_text(f'[[group]]\nchip = "A800"\nchips = 64\n{key}\n')
    with pytest.raises(DataError, match=says):
        read_fleet(path)


def test_islands_of_one_chip_stay_apart_where_a_file_says_so(tmp_path):
    path = tmp_path / "fleet.toml"
    group = '[[group]]\nchip = "A800"\nchips = 64\n'
    path.write_text(group + group + '[[between]]\ngroups = ["A800", "A800 (2)"]\ntransport = "none"\n')
    found = read_fleet(path)
    assert [g.label for g in found] == ["A800-SXM-80GB", "A800-SXM-80GB (2)"]
    path.write_text(group + group)
    assert len(read_fleet(path)) == 1
    path.write_text(group + group + 2 * '[[between]]\ngroups = ["A800", "A800 (2)"]\n')
    with pytest.raises(DataError, match="joined twice"):
        read_fleet(path)
