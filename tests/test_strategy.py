"""Every legal split and no other: the enumeration against plain nested loops, and one strategy spelled out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutline.core.errors import CutlineError
from cutline.plan.columns import Strategy
from cutline.plan.strategy import CHUNK, FIELDS, SHORTEST_SLICE, Space, chunks, divisors, layouts, single


def space(chips=8, layers=6, batch=8, **changes):
    plain = dict(heads=8, ffn=48, vocab=1000, seq=2 * SHORTEST_SLICE, domain=4)
    return Space(chips=chips, layers=layers, batch=batch, **(plain | changes))


def every(s):
    found = list(chunks(s))
    return Strategy.concat(found) if found else None


DENSE = FIELDS[: FIELDS.index("last") + 1]
"""The fields of a plain space; the others are 0, or 1 for ranks."""


def as_tuples(table, names=DENSE):
    if table is None:
        return []
    columns = table.as_dict()
    return [tuple(float(v) for v in row) for row in zip(*(columns[n] for n in names), strict=True)]


# the loops below know only the docstrings of `layouts` and `chunks`


def stages(layers, pp, vpp):
    """(first, middle, last) for three stages and more, or one."""
    if pp == 1:
        return [(layers, layers, layers)] if vpp == 1 else []
    found = []
    least = -(-layers // pp)
    for middle in (least, least + 1):
        for first in range(1, middle + 1):
            for last in range(1, first + 1):
                if first + (pp - 2) * middle + last != layers or first - last > 1:
                    continue
                even = first == last and first in (middle, middle - 1)
                if vpp == 1 or (middle % vpp == 0 and even and last >= vpp):
                    found.append((first, middle, last))
    for full in range(1, layers + 1) if layers % pp else ():
        last = layers - full * (pp - 1)
        if 1 <= last < full and (full - 1) * pp < layers + 1 <= full * pp and full % vpp == 0:
            found.append((full, full, last))  # the loss has the room of one layer on the last stage
    return list(dict.fromkeys(found))


def loops(s, want):
    """Every legal strategy with a pipeline depth for which `want` is true."""
    found = []
    for tp in range(1, s.chips + 1):
        for cp in range(1, s.chips + 1):
            for pp in range(1, s.layers + 1):
                if s.chips % (tp * cp * pp) or s.heads % tp or s.ffn % tp or not want(pp):
                    continue
                if cp > 1 and (s.seq % (2 * cp) or s.seq / cp < SHORTEST_SLICE):
                    continue
                dp = s.chips // (tp * cp * pp)
                if s.batch % dp:
                    continue
                ranks = dp * cp
                sharding = [(0, ranks)]
                if ranks > 1:
                    sharding += [(z, ranks) for z in ((1,) if pp > 1 else (1, 2, 3))]
                    inside = max(d for d in range(1, ranks + 1) if ranks % d == 0 and d <= max(1, s.domain // tp))
                    if pp == 1 and 1 < inside < ranks:
                        sharding.append((3, inside))
                for micro in range(1, min(64, s.batch // dp) + 1):
                    if s.batch // dp % micro:
                        continue
                    count = s.batch // dp // micro
                    for vpp in range(1, s.layers + 2):
                        if vpp > 1 and count % pp:
                            continue
                        for first, middle, last in stages(s.layers, pp, vpp):
                            deep = max(first, middle, last) if pp != 2 else max(first, last)
                            for zero, shard in sharding:
                                for sequence in (0, 1) if tp > 1 else (0,):
                                    for selective, full in [
                                        (0, 0),
                                        (1, 0),
                                        *((0, n / deep) for n in range(1, deep + 1)),
                                    ]:
                                        found.append(
                                            (tp, cp, pp, vpp, dp, micro, count, zero, shard, sequence, selective, full,
                                             first, middle, last)
                                        )  # fmt: skip
    return found


@pytest.mark.parametrize("batch", [8, 12])
@pytest.mark.parametrize("layers", [4, 6, 7])
@pytest.mark.parametrize("chips", [1, 2, 4, 6, 8, 12])
def test_enumeration_equals_plain_loops(chips, layers, batch):
    s = space(chips, layers, batch)
    got = [t for t in as_tuples(every(s)) if t[2] != 2]
    wanted = loops(s, lambda pp: pp != 2)
    assert len(got) == len(set(got)) == len(wanted)
    assert set(got) == {tuple(map(float, t)) for t in wanted}


@pytest.mark.parametrize(("chips", "layers", "batch"), [(4, 6, 8), (8, 7, 8), (12, 4, 12), (64, 12, 64), (16, 80, 32)])
def test_counts_of_larger_spaces_equal_plain_loops(chips, layers, batch):
    s = space(chips, layers, batch, heads=16, ffn=64, domain=8)
    assert sum(t[2] != 2 for t in as_tuples(every(s))) == len(loops(s, lambda pp: pp != 2))


@pytest.mark.parametrize("layers", [6, 7, 8])
def test_two_stages_equal_plain_loops(layers):
    s = space(4, layers, 8)

    def without_middle(t):
        *start, full, first, _, last = map(float, t)
        return (*start, round(full * max(first, last), 6), first, last)

    got = [without_middle(t) for t in as_tuples(every(s)) if t[2] == 2]
    wanted = {without_middle(t) for t in loops(s, lambda pp: pp == 2)}
    assert set(got) == wanted
    assert len(got) == len(wanted)


@pytest.mark.parametrize(("chips", "layers", "batch"), [(8, 6, 8), (12, 7, 24), (64, 24, 128), (48, 30, 96)])
def test_every_row_is_lawful(chips, layers, batch):
    s = space(chips, layers, batch, heads=16, ffn=64, domain=8)
    t = every(s)
    assert (t.tp * t.cp * t.pp * t.dp == chips).all()
    assert (t.dp * t.micro_batch * t.micro_batches == batch).all()
    assert (s.heads % t.tp == 0).all() and (s.ffn % t.tp == 0).all()
    assert (np.where(t.pp == 1, t.first, t.first + t.last + np.maximum(t.pp - 2, 0) * t.middle) == layers).all()
    assert (np.minimum(t.first, t.last) >= 1).all() and (t.last <= t.first).all() and (t.first <= t.middle).all()
    assert ((t.vpp == 1) | (t.micro_batches % t.pp == 0)).all()
    assert ((t.sequence_parallel == 0) | (t.tp > 1)).all()
    assert ((t.zero < 2) | (t.pp == 1)).all()
    assert ((t.dp * t.cp) % t.shard == 0).all()
    assert ((t.shard == t.dp * t.cp) | (t.zero == 3)).all()
    assert ((t.selective == 0) | (t.full == 0)).all()
    assert ((t.full >= 0) & (t.full <= 1)).all()
    assert len(set(as_tuples(t))) == len(t)


def test_chunks_bound_their_rows_and_lose_none():
    s = space(64, 80, 512, heads=64, ffn=1024, domain=8)
    sizes = [len(c) for c in chunks(s)]
    assert len(sizes) > 1
    assert max(sizes) <= CHUNK
    whole = as_tuples(every(s))
    assert len(set(whole)) == len(whole) == sum(sizes)


@pytest.mark.parametrize(
    "fixed",
    [
        {"tp": 2}, {"pp": 3}, {"dp": 2, "tp": 2}, {"micro_batch": 2}, {"zero": 3}, {"zero": 1, "pp": 2}, {"selective": 1},
        {"full": 1}, {"vpp": 2}, {"sequence_parallel": 0}, {"shard": 4, "zero": 3}, {"cp": 2}, {"first": 2},
    ],
)  # fmt: skip
def test_fixed_fields_restrict_and_nothing_else(fixed):
    s = space(12, 6, 24)
    free = as_tuples(every(s))
    at = [FIELDS.index(name) for name in fixed]
    wanted = {t for t in free if all(t[i] == v for i, v in zip(at, fixed.values(), strict=True))}
    got = as_tuples(every(space(12, 6, 24, fixed=tuple(fixed.items()))))
    assert wanted
    assert set(got) == wanted


def test_sequence_parallelism_is_asked_for_only_where_there_are_tensor_parallel_ranks():
    s = every(space(12, 6, 24, fixed=(("sequence_parallel", 1.0),)))
    np.testing.assert_array_equal(s.sequence_parallel, s.tp > 1)
    assert set(s.tp) == {1.0, 2.0, 4.0}


def test_fixed_fields_that_nothing_meets_leave_nothing():
    assert every(space(fixed=(("tp", 5.0),))) is None
    assert every(space(layers=6, fixed=(("pp", 8.0),))) is None


def test_allowed_zero_stages_restrict():
    assert set(every(space(zero=(0, 1))).zero) == {0.0, 1.0}


@pytest.mark.parametrize(("chips", "batch"), [(0, 8), (8, 0), (-1, 8)])
def test_no_chips_or_no_batch_is_refused(chips, batch):
    with pytest.raises(CutlineError, match=f"^chips and batch must be at least 1; got {chips} and {batch}$"):
        list(chunks(space(chips, 6, batch)))


# layouts


@pytest.mark.parametrize(
    ("layers", "pp", "vpp", "ways"),
    [
        (80, 1, 1, [(80, 80, 80)]),
        (80, 1, 2, []),
        (80, 8, 1, [(10, 10, 10), (7, 11, 7)]),
        (126, 16, 1, [(7, 8, 7), (8, 8, 6)]),
        (126, 8, 1, [(15, 16, 15), (12, 17, 12), (16, 16, 14)]),
        (80, 8, 10, [(10, 10, 10)]),
        (80, 8, 3, []),
        (78, 4, 20, [(20, 20, 18)]),
        (94, 4, 2, [(23, 24, 23), (24, 24, 22)]),
        (61, 16, 4, [(4, 4, 1)]),
        (13, 4, 1, [(3, 4, 2), (2, 5, 1), (4, 4, 1)]),
        (4, 4, 1, [(1, 1, 1)]),
        (3, 4, 1, []),
    ],
)
def test_layouts(layers, pp, vpp, ways):
    assert layouts(layers, pp, vpp) == ways


@given(st.integers(1, 200), st.integers(3, 64), st.integers(1, 8))
def test_layouts_hold_all_layers_and_the_loop_agrees(layers, pp, vpp):
    ways = layouts(layers, pp, vpp)
    assert ways == stages(layers, pp, vpp)
    for first, middle, last in ways:
        assert first + (pp - 2) * middle + last == layers


@given(st.integers(1, 5000))
def test_divisors(n):
    assert divisors(n) == [d for d in range(1, n + 1) if n % d == 0]


# one strategy spelled out


def test_single_completes_what_is_not_said():
    s = single(space(8, 6, 8), {"tp": 2})
    row = s.row()
    assert len(s) == 1
    assert {k: row[k] for k in ("tp", "cp", "pp", "vpp", "dp", "micro_batch", "micro_batches", "zero", "shard")} == {
        "tp": 2, "cp": 1, "pp": 1, "vpp": 1, "dp": 4, "micro_batch": 1, "micro_batches": 2, "zero": 1, "shard": 4,
    }  # fmt: skip
    assert row["sequence_parallel"] == 1
    assert (row["first"], row["middle"], row["last"]) == (6, 6, 6)
    assert single(space(8, 6, 8), {"dp": 8, "sequence_parallel": 1}).row()["sequence_parallel"] == 0


def test_single_is_a_row_of_the_enumeration():
    s = space(12, 6, 24)
    table = set(as_tuples(every(s)))
    for given_ in (
        {"tp": 4},
        {"pp": 3, "micro_batch": 2},
        {"pp": 3, "vpp": 2},
        {"zero": 3, "cp": 2},
        {"full": 0.5},
    ):
        assert as_tuples(single(s, given_))[0] in table, given_


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tp": 3}, "tp x cp x pp must divide the chips: 3 x 1 x 1 = 3 does not divide 8"),
        ({"tp": 2, "dp": 2}, "tp x cp x pp x dp must equal the chips: 2 x 1 x 1 x 2 = 4, not 8"),
        ({"dp": 0}, "dp must be a whole number of at least 1; got 0"),
        ({"pp": 8}, "pp must be at most the number of layers; got pp 8 for 6 layers"),
        (
            {"micro_batch": 3},
            "dp x micro-batch must divide the global batch: 8 x 3 = 24 does not divide 8 sequences",
        ),
        (
            {"pp": 2, "vpp": 5},
            "vpp 5 does not fit 6 layers on 2 stages; it must divide the layers of a stage",
        ),
        ({"vpp": 2}, "vpp 2 does not fit 6 layers on 1 stages; it must divide the layers of a stage"),
        (
            {"pp": 2, "vpp": 3, "micro_batch": 2},
            "interleaving needs micro-batches in multiples of pp; got 1 micro-batches and pp 2",
        ),
    ],
)
def test_an_impossible_strategy_names_the_rule_and_the_numbers(changes, message):
    with pytest.raises(CutlineError) as error:
        single(space(8, 6, 8), changes)
    assert str(error.value) == message


def test_tp_must_divide_heads_and_width():
    with pytest.raises(
        CutlineError, match=r"^tp must divide heads and feed-forward width; got tp 16, 8 heads, width 48$"
    ):
        single(space(16, 6, 16), {"tp": 16})
    with pytest.raises(
        CutlineError, match=r"^tp must divide heads and feed-forward width; got tp 4, 8 heads, width 6$"
    ):
        single(space(16, 6, 16, ffn=6), {"tp": 4})


def test_cp_must_divide_the_sequence():
    with pytest.raises(CutlineError, match=r"^cp must divide the sequence; got cp 4 for 2050 tokens$"):
        single(space(8, 6, 8, seq=2050), {"cp": 4})


def test_layers_that_cannot_be_laid():
    with pytest.raises(CutlineError, match=r"^9 layers cannot be laid on 6 stages; use at most 5 stages$"):
        single(space(6, 9, 8), {"pp": 6})


@pytest.mark.parametrize(
    "changes",
    [
        {"tp": 0},
        {"pp": 0},
        {"cp": 0},
        {"micro_batch": 0},
        {"vpp": 0},
        {"tp": -1},
        {"tp": 1.5},
        {"zero": 7},
        {"full": 3},
        {"shard": 3},
    ],
    ids=str,
)
def test_sizes_that_are_no_sizes_are_refused(changes):
    with pytest.raises(CutlineError):
        single(space(8, 6, 8), changes)
