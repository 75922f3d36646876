"""Errors, units, columns and checks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutline.core import units
from cutline.core.columns import Columns
from cutline.core.errors import CutlineError, DataError, UnknownName, suggestions
from cutline.core.numerics import above, at_least, exposed, smooth_max

times = st.floats(0.0, 1e6, allow_subnormal=False)
positive = st.floats(1e-9, 1e6)


# units


@pytest.mark.parametrize(
    ("text", "unit", "value", "dimension"),
    [
        ("80", "GB", 80e9, "bytes"),
        ("80", "GiB", 80 * 2**30, "bytes"),
        ("1.5", "TiB", 1.5 * 2**40, "bytes"),
        ("400", "Gb/s", 50e9, "bytes_per_s"),
        ("400", "GB/s", 400e9, "bytes_per_s"),
        ("3.35", "TB/s", 3.35e12, "bytes_per_s"),
        ("312", "TFLOP/s", 312e12, "flop_per_s"),
        ("624", "TOP/s", 624e12, "flop_per_s"),
        ("3.14e23", "FLOP", 3.14e23, "flop"),
        ("400", "W", 400.0, "w"),
        ("150", "MW", 150e6, "w"),
        ("1.41", "GHz", 1.41e9, "hz"),
        ("2", "USD/h", 2 / 3600, "usd_per_s"),
        ("0.08", "USD/kWh", 0.08 / 3.6e6, "usd_per_j"),
        ("21", "day", 21 * 86400.0, "s"),
        ("27", "us", 27e-6, "s"),
        ("46", "%", 0.46, "1"),
        ("814", "mm2", 814.0, "mm2"),
        ("-3", "1", -3.0, "1"),
    ],
)
def test_units_convert_to_base_units(text, unit, value, dimension):
    number, found = units.read(text, unit)
    assert found == dimension
    assert number == pytest.approx(value, rel=1e-15)


def test_binary_and_decimal_and_bits_and_bytes_differ():
    assert units.read("1", "GiB")[0] / units.read("1", "GB")[0] == pytest.approx(1.073741824)
    assert units.read("1", "GB/s")[0] / units.read("1", "Gb/s")[0] == 8.0


def test_an_unknown_unit_that_differs_in_case_gets_the_right_spelling():
    with pytest.raises(CutlineError, match=r"^unit 'gib' is not known; write GiB$"):
        units.read("80", "gib")


def test_a_unit_whose_case_decides_lists_both_spellings():
    with pytest.raises(CutlineError, match=r"^unit 'gb/s' is not known; write GB/s or Gb/s$"):
        units.read("80", "gb/s")


def test_an_unknown_unit_points_to_the_list():
    with pytest.raises(CutlineError, match=r"^unit 'furlong' is not known; see cutline\.core\.units\.UNITS$"):
        units.read("80", "furlong")


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "NaN", "1e999"])
def test_values_that_are_not_finite_are_refused(text):
    with pytest.raises(CutlineError, match=f"^'{text}' is not a finite number; leave a missing fact out$"):
        units.read(text, "GB")


@pytest.mark.parametrize("text", ["", "eighty", "80 GB", "8,0"])
def test_values_that_are_not_numbers_are_refused(text):
    with pytest.raises(CutlineError, match=f"^'{text}' is not a number in GB$"):
        units.read(text, "GB")


@given(st.floats(1e-6, 1e15), st.sampled_from(sorted(units.UNITS)))
def test_every_unit_scales(value, unit):
    assert units.read(repr(2 * value), unit)[0] == pytest.approx(2 * units.read(repr(value), unit)[0], rel=1e-12)


# counts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.4T", 1.4e12), ("1.4t", 1.4e12), ("65B", 65e9), ("65b", 65e9), ("4M", 4e6), ("4m", 4e6), ("8k", 8e3),
        ("8K", 8e3), ("2G", 2e9), ("2048", 2048.0), (2048, 2048.0), (0.5, 0.5), (" 3 B ", 3e9), ("1_000_000", 1e6),
        ("15,000", 15000.0), ("3e11", 3e11), (1e22, 1e22),
    ],
)  # fmt: skip
def test_counts_take_suffixes(text, value):
    assert units.count(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("text", ["", "T", "four", "-4M", "1.4TB", "4 M M", "nan", "inf", "0x10", "1.2.3"])
def test_counts_that_do_not_parse_name_the_argument(text):
    with pytest.raises(CutlineError) as error:
        units.count(text, "tokens")
    assert str(error.value) == f"tokens must be a number such as 2048, 4M or 1.4T; got '{text}'"


@pytest.mark.parametrize("text", ["0", "0.0T", 0])
def test_counts_are_above_zero(text):
    with pytest.raises(CutlineError, match=f"^tokens must be above 0; got '{text}'$"):
        units.count(text, "tokens")


def test_a_count_is_finite():
    with pytest.raises(CutlineError, match=r"^tokens is too large; got '1e999'$"):
        units.count("1e999", "tokens")


@pytest.mark.parametrize("text", ["1,4T", "15,00", "1,5000", ",5"])
def test_a_decimal_comma_is_not_read_as_thousands(text):
    with pytest.raises(CutlineError, match=f"^tokens must be a number such as 2048, 4M or 1.4T; got '{text}'$"):
        units.count(text, "tokens")


# checks at the door


def test_at_least_names_the_element():
    at_least(1, n=[1, 2], m=1)
    with pytest.raises(CutlineError, match=r"^n\[1\] must be at least 1; got 0$"):
        at_least(1, n=[2, 0])
    with pytest.raises(CutlineError, match=r"^size\[1, 2\] must be at least 0; got -1\.5$"):
        at_least(0, n=3, size=[[1, 2, 3], [4, 5, -1.5]])
    with pytest.raises(CutlineError, match=r"^n must be at least 1; got 0$"):
        at_least(1, n=0)


def test_above_is_strict():
    above(0, rate=[1e-300, 1])
    with pytest.raises(CutlineError, match=r"^rate\[0\] must be above 0; got 0\.0$"):
        above(0, rate=[0.0, 1])


@pytest.mark.parametrize("check", [at_least, above])
def test_nan_fails_every_check(check):
    with pytest.raises(CutlineError, match=r"^x\[1\] must be (at least|above) 0; got nan$"):
        check(0, x=[1.0, float("nan")])


# smooth maximum and overlap


@given(times, times, st.floats(1.0, 32.0))
def test_smooth_max_lies_between_the_maximum_and_its_bound(a, b, order):
    got = float(smooth_max(a, b, order))
    top = max(a, b)
    assert top * (1 - 1e-12) <= got <= max(top * 2 ** (1 / order) * (1 + 1e-12), 1e-299)


@given(positive, positive, positive)
def test_smooth_max_is_symmetric_scales_and_grows(a, b, factor):
    assert smooth_max(a, b) == smooth_max(b, a)
    np.testing.assert_allclose(smooth_max(factor * a, factor * b), factor * smooth_max(a, b), rtol=1e-12)
    assert smooth_max(a * 1.01, b) >= smooth_max(a, b)


@given(positive)
def test_smooth_max_limits(a):
    assert smooth_max(a, 0.0) == a
    np.testing.assert_allclose(smooth_max(a, a), a * 2 ** (1 / 6), rtol=1e-12)
    np.testing.assert_allclose(smooth_max(a, 0.9 * a, 400.0), a, rtol=1e-2)
    assert smooth_max(0.0, 0.0) < 1e-290


@given(times, times, st.floats(0.0, 1.0))
def test_exposed_lies_between_what_does_not_fit_and_all_of_it(transfer, window, overlap):
    got = float(exposed(transfer, window, overlap))
    assert max(0.0, transfer - window) - 1e-9 <= got <= transfer * (1 + 1e-12)


@given(times, times)
def test_exposed_limits(transfer, window):
    assert exposed(transfer, window, 0.0) == transfer
    assert exposed(transfer, window, 1.0) == max(0.0, transfer - window)
    assert exposed(0.0, window, 0.7) == 0.0
    np.testing.assert_allclose(exposed(transfer, 0.0, 0.7), transfer)


def test_exposed_golden():
    # half of a window of 10 s hides traffic, and half of what is hidden comes back as interference
    assert exposed(2.0, 10.0, 0.5) == 1.0
    assert exposed(8.0, 10.0, 0.5) == 3.0 + 2.5


@given(times, times, st.floats(0.0, 1.0), st.floats(1.0, 2.0))
def test_exposed_never_shrinks_with_traffic_nor_grows_with_the_window(transfer, window, overlap, more):
    at = float(exposed(transfer, window, overlap))
    assert float(exposed(transfer * more, window, overlap)) >= at * (1 - 1e-12)
    assert float(exposed(transfer, window * more, overlap)) <= at * (1 + 1e-12)


# columns


@dataclass(frozen=True)
class Pair(Columns):
    a: Any
    b: Any


def test_columns_length_is_that_of_the_arrays():
    assert len(Pair(np.arange(3), 7.0)) == 3
    assert len(Pair(1.0, 2.0)) == 1
    assert len(Pair(np.empty(0), 2.0)) == 0


def test_columns_pick_rows_and_keep_scalars():
    t = Pair(np.array([1.0, 2.0, 3.0]), 7.0)
    assert t[t.a > 1].a.tolist() == [2.0, 3.0]
    assert t[t.a > 1].b == 7.0
    assert t[[2, 0]].a.tolist() == [3.0, 1.0]
    assert t[1:].a.tolist() == [2.0, 3.0]
    assert t[1].a == 2.0


def test_columns_replace_leaves_the_original():
    t = Pair(np.arange(2), 7.0)
    changed = t.replace(b=8.0)
    assert (t.b, changed.b) == (7.0, 8.0)
    assert changed.a is t.a
    with pytest.raises(AttributeError):
        t.b = 9.0


def test_columns_row_gives_plain_numbers():
    row = Pair(np.array([1, 2]), np.float64(0.5)).row(1)
    assert row == {"a": 2, "b": 0.5}
    assert {type(v) for v in row.values()} == {int, float}


def test_columns_concat_repeats_scalars_and_keeps_order():
    t = Pair.concat([Pair(np.array([1, 2]), 7), Pair(np.array([3]), 8), Pair(9, 10)])
    assert t.a.tolist() == [1, 2, 3, 9]
    assert t.b.tolist() == [7, 7, 8, 10]


@given(st.lists(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5), min_size=1, max_size=5))
def test_concat_then_slice_gives_the_parts_back(parts):
    t = Pair.concat([Pair(np.array(p), float(i)) for i, p in enumerate(parts)])
    assert len(t) == sum(map(len, parts))
    start = 0
    for i, p in enumerate(parts):
        piece = t[start : start + len(p)]
        assert piece.a.tolist() == p
        assert set(piece.b.tolist()) == {float(i)}
        start += len(p)


# names and messages


def test_suggestions_start_with_what_begins_the_same():
    known = ["A100-SXM-80GB", "A100-PCIe-80GB", "A800-SXM-80GB", "H100-SXM-80GB", "MI300X"]
    assert suggestions("a100", known)[:2] == ["A100-SXM-80GB", "A100-PCIe-80GB"]
    assert suggestions("A10O-SXM-80GB", known)[0] == "A100-SXM-80GB"
    assert len(suggestions("a", known)) <= 3
    assert suggestions("zzzzzz", known) == []
    assert suggestions("", known) == []


def test_an_unknown_name_says_what_comes_close_and_what_lists_all():
    error = UnknownName("chip", "A100-SMX", ["A100-SXM", "TPU-v5p"], "`cutline chips`")
    assert str(error) == "no chip named 'A100-SMX'. Did you mean A100-SXM? `cutline chips` lists all 2."
    assert str(UnknownName("chip", "zzz", ["V100"])) == "no chip named 'zzz'."


def test_a_data_error_says_file_and_line():
    assert str(DataError("chips.csv", 88, "bad")) == "chips.csv:88: bad"
    assert str(DataError("chips.csv", None, "bad")) == "chips.csv: bad"


def test_every_error_is_a_value_error():
    assert issubclass(UnknownName, CutlineError)
    assert issubclass(DataError, CutlineError)
    assert issubclass(CutlineError, ValueError)
