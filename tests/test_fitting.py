"""Fitting: transforms, which rows are picked, and what calibration recovers and leaves alone."""

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutline.core.errors import CutlineError
from cutline.plan import accuracy, constants, fitting
from cutline.plan.stacks import STACKS, stack_of

PARTS = [
    f"megatron-bridge-{part}"
    for part in ("h100", "blackwell", "gb300", "moe-2025", "moe-grouped", "moe-latent", "moe-hybrid", "moe-eager")
]
"""Groups that are parts of one source, of which a blind prediction leaves out all."""


@pytest.fixture(scope="module")
def jobs():
    found, _ = accuracy.expressed(accuracy.load(), "catalogue")
    return found


@pytest.fixture(scope="module")
def members(jobs):
    groups = ("internevo", "nemo-24", "korthikanti-2022", *PARTS)
    return {g: [j for j in jobs if j.group == g] for g in groups}


def measured_as(jobs, group, factors):
    """The same rows as if the model with these factors were the truth."""
    without = constants.blind_to(group)
    step = fitting.predict(jobs, fitting.constants_of(jobs, without, factors)).step_s
    return [dataclasses.replace(j, measured_step_s=float(t)) for j, t in zip(jobs, step, strict=True)]


# transforms


@given(st.floats(1e-9, 1e9))
def test_log_goes_there_and_back(x):
    assert fitting.back(fitting.forward(x, "log"), "log") == pytest.approx(x, rel=1e-9)


@given(st.floats(1e-6, 1 - 1e-6))
def test_logit_goes_there_and_back_and_stays_a_share(x):
    y = fitting.forward(x, "logit")
    assert fitting.back(y, "logit") == pytest.approx(x, rel=1e-9)
    assert 0 < fitting.back(y + 5, "logit") < 1


# which rows


@pytest.mark.parametrize("group", ["internevo", "nemo-24", *PARTS])
def test_the_pick_sees_no_measured_time(members, group):
    rows, without = members[group], constants.blind_to(group)
    picked = [j.id for j in fitting.pick(rows, without)]
    assert len(picked) == len(set(picked)) == 5
    times = [j.measured_step_s for j in rows]
    random.Random(1).shuffle(times)
    other = [dataclasses.replace(j, measured_step_s=t, measured=t) for j, t in zip(rows, times, strict=True)]
    random.Random(2).shuffle(other)
    assert [j.id for j in fitting.pick(other, without)] == picked


def test_the_pick_takes_all_of_few(members):
    rows = members["korthikanti-2022"][:4]
    assert {j.id for j in fitting.pick(rows, "korthikanti-2022")} == {j.id for j in rows}


def test_the_first_picks_do_not_depend_on_how_many(members):
    few, more = (fitting.pick(members["nemo-24"], "nemo-24", n) for n in (3, 8))
    assert [j.id for j in more[:3]] == [j.id for j in few]


# calibration


@pytest.mark.parametrize("group", ["internevo", "nemo-24", "korthikanti-2022"])
def test_without_a_bias_nothing_moves(members, group):
    rows = measured_as(fitting.pick(members[group], group), group, {})
    found = fitting.calibrate(rows, group)
    assert set(found) == set(constants.CALIBRATED)
    assert all(abs(f - 1) < 0.02 for f in found.values()), found


@pytest.mark.parametrize("factor", [0.92, 1.1])
@pytest.mark.parametrize(("group", "rows"), [("internevo", 5), ("korthikanti-2022", 5), ("nemo-24", 56)])
def test_a_known_bias_of_the_compute_is_recovered(members, group, rows, factor):
    """On five rows of nemo-24 the step constant takes most of it, for their steps are short; on all it cannot."""
    found = fitting.calibrate(measured_as(fitting.pick(members[group], group, rows), group, {"compute": factor}), group)
    assert np.log(found["compute"]) / np.log(factor) > 0.5, found


@pytest.mark.parametrize("group", ["internevo", "nemo-24", "korthikanti-2022", *PARTS])
def test_five_biased_rows_help_all_the_others(members, group):
    """Of a sparse step products are about half: five rows pull half as hard on the factor, and less is regained."""
    without = constants.blind_to(group)
    true = measured_as(members[group], group, {"compute": 1.1})
    found = fitting.calibrate(fitting.pick(true, without), without)
    rest = [j for j in true if j not in fitting.pick(true, without)]
    measured = np.array([j.measured_step_s for j in rest])
    before = abs(fitting.predict(rest, fitting.constants_of(rest, without)).step_s / measured - 1)
    after = abs(fitting.predict(rest, fitting.constants_of(rest, without, found)).step_s / measured - 1)
    assert after.mean() < (0.65 if "-moe" in group else 0.5) * before.mean()


def test_a_slow_network_is_found_where_rows_show_it(members):
    rows = measured_as(fitting.pick(members["internevo"], "internevo"), "internevo", {"communication": 1.5})
    found = fitting.calibrate(rows, "internevo")
    assert found["communication"] > 1.1
    assert abs(found["compute"] - 1) < 0.08


def test_one_odd_row_does_not_drag_the_others(members):
    rows = measured_as(fitting.pick(members["nemo-24"], "nemo-24"), "nemo-24", {})
    rows[2] = dataclasses.replace(rows[2], measured_step_s=1.6 * rows[2].measured_step_s)
    found = fitting.calibrate(rows, "nemo-24")
    rest = members["nemo-24"]
    before = fitting.predict(rest, fitting.constants_of(rest, "nemo-24")).step_s
    after = fitting.predict(rest, fitting.constants_of(rest, "nemo-24", found)).step_s
    assert np.median(abs(after / before - 1)) < 0.05


def test_factors_multiply_what_they_name():
    base = constants.constants(STACKS["internevo"], "ampere", "bf16")
    moved = constants.multiplied(base, {name: 2.0 for name in constants.CALIBRATED})
    named = {f for _, fields in constants.CALIBRATED.values() for f in fields}
    for field in constants.FIELDS:
        assert getattr(moved, field) == getattr(base, field) * (2.0 if field in named else 1.0), field
    assert set(constants.CALIBRATED) == {"compute", "communication", "host", "step", "elementwise"}
    assert len(named) == sum(len(fields) for _, fields in constants.CALIBRATED.values()), "a constant has two factors"


# the whole fit


def test_weights_bound_what_one_source_says(jobs):
    weight = fitting.weights(jobs)
    sources = np.array([constants.source_of(j.group) for j in jobs])
    for source in set(sources):
        total = (weight[sources == source] ** 2).sum()
        assert total <= fitting.MOST_PER_GROUP * (1 + 1e-9)
        assert total == pytest.approx(min((sources == source).sum(), fitting.MOST_PER_GROUP))


def test_parts_of_one_source_are_left_out_together(jobs):
    groups = {j.group for j in jobs}
    assert set(PARTS) == {g for g in groups if g.startswith("megatron-bridge")}
    assert {constants.source_of(g) for g in PARTS} == {constants.blind_to(g) for g in PARTS} == {"megatron-bridge"}
    assert constants.source_of("vtrain-one-node") == "vtrain"
    assert constants.source_of("megatron-core-h100") == "megatron-core-h100"
    assert all(constants.source_of(g) == g for g in groups - set(PARTS) if not g.startswith("vtrain"))
    columns = {k for row in constants.table().values() for k in row.values} - {"shipped"}
    assert "megatron-bridge" in columns and columns <= {constants.source_of(g) for g in groups} | {"vtrain"}


def test_the_design_gives_the_shipped_constants_back(members):
    rows = members["internevo"]
    design = fitting.Design.of(rows)
    known = constants.table()
    y = np.array(
        [
            float(fitting.forward(constants.value(known[k], known), t))
            for k, t in zip(design.keys, design.transforms, strict=True)
        ]
    )
    got, wanted = design.constants(y), fitting.constants_of(rows)
    for field in constants.FIELDS:
        np.testing.assert_allclose(getattr(got, field), getattr(wanted, field), rtol=1e-9, err_msg=field)
    np.testing.assert_allclose(design.prior_residuals(design.start()), 0.0, atol=1e-12)


@pytest.mark.slow
def test_fitting_rows_of_the_priors_gives_the_priors(members):
    """Rows that the model itself wrote at the prior means move no constant."""
    rows = members["nemo-24"]
    design = fitting.Design.of(rows)
    shape, rates, strategy = fitting.columns_of(rows)
    power = np.array([j.power for j in rows], float).T
    c = fitting.machine.power_scaled(design.constants(design.start()), *power)
    step = fitting.estimate(shape, rates, c, strategy).step_s
    same = [dataclasses.replace(j, measured_step_s=float(t)) for j, t in zip(rows, step, strict=True)]
    found = fitting.fit(same)
    for key, y, transform in zip(design.keys, design.start(), design.transforms, strict=True):
        assert found[key] == pytest.approx(float(fitting.back(y, transform)), rel=1e-3), key


# constants


def test_every_constant_has_a_widest_scope_and_lawful_values():
    known = constants.table()
    for (name, scope), row in known.items():
        for where, number in row.values.items():
            assert np.isfinite(number) and number >= 0, (name, scope, where)
            if row.transform == "logit":
                assert 0 < number < 1, (name, scope, where)
            if row.transform == "fixed":
                raise AssertionError(f"{name} {scope}: a fixed constant has a fitted value")
        if row.transform != "fixed":
            assert row.doubt > 0, (name, scope)


def test_fitted_values_stay_within_four_doubts_of_their_priors():
    """A constant that runs away from its prior compensates an effect that is missing."""
    known = constants.table()
    for key, row in known.items():
        if row.transform == "fixed" or row.prior is None:
            continue
        for where, number in row.values.items():
            off = float(fitting.forward(number, row.transform) - fitting.forward(row.prior, row.transform)) / row.doubt
            assert abs(off) < 4, (key, where, off)


def test_a_blind_value_never_uses_the_shipped_one():
    """Where a scope was fitted on one group only, leaving that group out gives the prior."""
    known = constants.table()
    row = known["compute", "stack internevo"]
    assert "internevo" not in row.values
    assert constants.value(row, known, "internevo") == row.prior
    assert constants.value(row, known) == row.values["shipped"] != row.prior


@pytest.mark.parametrize("stack", list(STACKS))
@pytest.mark.parametrize(
    "family", ["volta", "ampere", "hopper", "blackwell", "ascend-910a", "ascend-910b", "nobody-knows"]
)
def test_every_stack_has_all_constants_on_every_family(stack, family):
    c = constants.constants(STACKS[stack], family, "bf16")
    assert all(np.isfinite(v) for v in c.as_dict().values())
    assert 0.3 < c.gemm_fraction * c.gemm_gain < 1.0


def test_a_narrow_scope_beats_a_wide_one():
    found = constants.scopes(STACKS["torchtitan"], "hopper", "fp8", "fp8-rowwise")
    assert found[0] == "stack torchtitan"
    assert found[-1] == ""
    assert found.index("format hopper fp8-rowwise") < found.index("format fp8-rowwise") < found.index("family hopper")
    with pytest.raises(CutlineError, match=r"^constant 'glory' has no value in any of "):
        constants.resolve("glory", found, constants.table())


@pytest.mark.parametrize(
    ("framework", "note", "stack"),
    [
        ("torchtitan (FSDP2)", "", "torchtitan"), ("torchtitan", "torch.compile", "torchtitan-compile"),
        ("llm-foundry/Composer (PyTorch FSDP)", "", "llm-foundry"), ("NeMo 24.09", "", "megatron-core"),
        ("Megatron-LM", "", "megatron-2021"), ("Megatron-DeepSpeed", "", "megatron-deepspeed"),
        ("MindFormers", "", "mindformers"), ("InternEvo", "", "internevo"), ("DeepSpeed", "", "deepspeed"),
        ("home-grown", "", "typical"), ("", "", "typical"),
    ],
)  # fmt: skip
def test_frameworks_are_told_apart(framework, note, stack):
    assert stack_of(framework, note).name == stack


@pytest.mark.parametrize(
    ("family", "date", "stack"),
    [
        ("ampere", "2021-04", "megatron-2021"),
        ("ampere", "2023-02", "megatron-core"),
        ("hopper", "2022-12", "megatron-core"),
    ],
)
def test_megatron_changed_its_kernels_without_changing_its_name(family, date, stack):
    assert stack_of("Megatron-LM", "", family, date).name == stack


@pytest.mark.parametrize("group", ["internevo", "llm-foundry", "mindformers", "torchtitan"])
def test_a_blind_constant_never_reads_a_shipped_one(group, monkeypatch):
    """Scrambling every shipped value must leave every blind value as it was."""
    from dataclasses import replace

    known = constants.table()
    scrambled = {k: replace(r, values=r.values | {"shipped": 7.0} if r.values else {}) for k, r in known.items()}
    for key in known:
        assert constants.value(scrambled[key], scrambled, group) == constants.value(known[key], known, group), key


def test_no_configuration_is_picked_twice(members):
    """Rows of one configuration in two releases err together, so the second says little that the first does not."""
    group = "megatron-bridge-moe-latent"
    picked = fitting.pick(members[group], "megatron-bridge")
    keys = [(j.chip, j.precision, tuple(j.shape.items()), tuple(j.strategy.items())) for j in picked]
    assert len(set(keys)) == len(keys) == 5
    every = [(j.chip, j.precision, tuple(j.shape.items()), tuple(j.strategy.items())) for j in members[group]]
    assert len(set(every)) < len(every)
