"""Known sites: the table, the day on which one counts, what is counted once, what it is worth beside the flows."""

from datetime import date, timedelta
from itertools import pairwise

import pytest

from cutline.core.errors import CutlineError, DataError
from cutline.facts import reader
from cutline.facts import supply as facts
from cutline.outlook import sites, supply
from cutline.outlook.equivalents import WORKLOADS, worth

ON = date(2025, 12, 31)


def site(**changes):
    """Return a site of 1,000 H20 in China since 2024-06-15, with changes."""
    plain = facts.Site(
        "one", "", "CN", "existing", "2024-06-15", "H20", 1000.0, "", None, None, "confirmed", "", "epoch-gpu-clusters", ""
    )  # fmt: skip
    return plain._replace(**changes)


def names(rows, on=ON, country="CN", **more):
    return [k.site.name for k in sites.known_sites(country, on, sites=tuple(rows), **more)]


# the day


@pytest.mark.parametrize(
    ("since", "first"),
    [
        ("2024-06-15", date(2024, 6, 15)),
        ("2024-02", date(2024, 2, 29)),
        ("2024-12", date(2024, 12, 31)),
        ("2024", date(2024, 12, 31)),
        ("", date(2026, 4, 24)),
    ],
)
def test_a_site_counts_on_the_day_it_opens_and_not_the_day_before(since, first):
    """A month or a year from its last day; without any the day of the source."""
    rows = [site(since=since)]
    assert names(rows, first) == ["one"]
    assert names(rows, first - timedelta(1)) == []


@pytest.mark.parametrize("status", ["planned", "decommissioned"])
def test_what_is_planned_or_gone_never_counts(status):
    assert names([site(status=status)], date(2100, 1, 1)) == []
    assert names([site(status=status, since="")], date(2100, 1, 1)) == []


def test_only_the_country_and_the_words_asked_for():
    rows = [site(), site(name="two", country="US"), site(name="three", certainty="derived")]
    assert names(rows) == ["one"]
    assert names(rows, country="US") == ["two"]
    assert names(rows, sure=("derived",)) == ["three"]
    with pytest.raises(CutlineError, match=r"sure must be among confirmed, .*; got 'surely'"):
        sites.known_sites("CN", ON, ("surely",))


def test_a_part_counts_only_while_its_whole_does_not():
    rows = [site(part_of="two"), site(name="two", since="2025-02-01", chips=3000.0)]
    assert names(rows, date(2025, 1, 31)) == ["one"]
    assert names(rows, date(2025, 2, 1)) == ["two"]
    assert names([rows[0], rows[1]._replace(certainty="analyst")]) == ["one"]


# what it is worth


def test_both_chips_count_by_what_they_are_worth():
    (got,) = sites.known_sites("CN", ON, sites=(site(second_chip="A800-SXM-80GB", second_chips=10.0),))
    for workload in WORKLOADS:
        want = 1000 * getattr(worth("H20"), workload) + 10 * getattr(worth("A800-SXM-80GB"), workload)
        assert got.h100e[workload] == pytest.approx(want)
    assert got.guessed == ()


def test_a_printed_worth_is_by_peak_and_a_guess_for_the_others():
    (got,) = sites.known_sites("CN", ON, sites=(site(chip="", chips=None, h100e=500.0),))
    assert got.h100e == dict.fromkeys(WORKLOADS, 500.0)
    assert got.guessed == ("training", "prefill", "decode")


def test_what_has_no_rate_is_known_and_worth_nothing():
    rows = (site(chip=""), site(name="two", chip="Enflame-S60"))
    assert [k.h100e for k in sites.known_sites("CN", ON, sites=rows)] == [None, None]


@pytest.mark.parametrize("country", ["CN", "US"])
def test_sums_agree(country):
    rows = sites.known_sites(country, ON)
    got = sites.summary(country, ON, 1e6)
    assert got["count"] == len(rows) == len({k.site.name for k in rows})
    assert got["chips"] == sum((k.site.chips or 0) + (k.site.second_chips or 0) for k in rows)
    for workload in WORKLOADS:
        assert got["h100e"][workload] == pytest.approx(sum(k.h100e[workload] for k in rows if k.h100e))
    assert got["share_of_stock"] == pytest.approx(got["h100e"]["peak"] / 1e6)
    with_chip = sum(bool(k.site.chip) and k.h100e is not None for k in rows)
    assert got["without_chip"] + got["without_worth"] + with_chip == got["count"]
    worths = [r["h100e"] for r in got["largest"]]
    assert worths == sorted(worths, reverse=True) and len(worths) <= 5
    assert sum(worths) <= got["h100e"]["peak"]


def test_more_days_more_sites():
    days = [date(2022, 1, 1), date(2023, 12, 31), date(2024, 12, 31), ON]
    peaks = [sites.summary("US", day, 0.0)["h100e"]["peak"] for day in days]
    assert peaks == sorted(peaks) and peaks[0] < peaks[-1]
    assert sites.summary("US", ON, 0.0)["share_of_stock"] is None
    assert sites.summary("ZZ", ON, 1.0)["count"] == 0


@pytest.mark.parametrize("country", ["CN", "US"])
def test_known_sites_hold_less_than_the_flows(country):
    """Two counts that share no row: sites by place, flows by owner."""
    got = supply.report(country, ON, 200)
    assert 0 < got["sites"]["h100e"]["peak"] < got["h100e"]["peak"]["p90"]


# the table


def test_the_table_is_sorted_and_every_chip_exists():
    rows = facts.sites()
    assert len(rows) > 100
    assert all(a.name < b.name for a, b in pairwise(rows))
    known = set(reader.table("chips"))
    assert {c for s in rows for c in (s.chip, s.second_chip) if c} <= known


def test_no_whole_is_part_of_its_part():
    whole = {s.name: s.part_of for s in facts.sites()}
    for name in whole:
        passed = []
        while name:
            assert name not in passed, passed
            passed.append(name)
            name = whole[name]


@pytest.mark.parametrize(
    ("day", "one"),
    [
        (date(2024, 12, 31), "xAI Colossus Memphis Phase 1"),
        (date(2025, 3, 1), "xAI Colossus Memphis Phase 2"),
        (ON, "xAI Colossus Memphis Phase 3"),
    ],
)
def test_phases_and_second_names_of_one_site_count_once(day, one):
    found = [k.site.name for k in sites.known_sites("US", day) if "Memphis" in k.site.name]
    assert found == [one]


GOOD = "one,Owner,CN,existing,2024-06,H20,1000,A800-SXM-80GB,10,,confirmed,,epoch-gpu-clusters,note"
BARE = "two,,CN,planned,,,,,,500,likely,,epoch-gpu-clusters,chip not named"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("H20", "H2000", "no chip named 'H2000'"),
        ("H20", "h20", "chip 'h20' is written H20"),
        ("A800-SXM-80GB", "A8000", "no chip named 'A8000'"),
        (",1000,", ",-5,", "chips must be at least 0; got -5"),
        (",1000,", ",many,", "chips must be a number; got 'many'"),
        (",10,", ",-1,", "second_chips must be at least 0"),
        (",1000,", ",,", "chip needs a number in chips"),
        (",10,", ",,", "second_chip needs a number in second_chips"),
        (",A800-SXM-80GB,", ",,", "second_chip and second_chips stand together"),
        (",10,,", ",10,7,", "h100e stands only where no chip is named"),
        ("2024-06", "2024-13", "since must be a day, month or year .*; got '2024-13'"),
        ("2024-06", "2023-02-29", "since must be a day, month or year .*; got '2023-02-29'"),
        ("2024-06", "June", "since must be a day, month or year .*; got 'June'"),
        (",existing,", ",existin,", "status must be one of .*did you mean existing"),
        (",CN,", ",China,", "country must be an ISO code such as CN; got 'China'"),
        ("confirmed", "sure", "certainty must be one of confirmed, likely"),
        ("epoch-gpu-clusters", "nowhere", "source 'nowhere' is not in sources.csv"),
        ("confirmed,,", "confirmed,three,", "part_of must name another site of the table; got 'three'"),
        ("confirmed,,", "confirmed,one,", "part_of must name another site"),
        ("one,", "two,", "name must be given and stand once; got 'two'"),
        ("one,", ",", "name must be given"),
    ],
)
def test_bad_sites_are_refused_with_their_line(tmp_path, old, new, says):
    path = tmp_path / "sites.csv"
    path.write_text("\n".join([",".join(facts.SITE_COLUMNS), GOOD.replace(old, new, 1), BARE, ""]))
    with pytest.raises(DataError, match=f"sites.csv:2: {says}"):
        facts.read_sites(path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (",500,", ",-500,", "h100e must be at least 0"),
        (",500,", ",,", "a site needs chips or h100e"),
        ("chip not named", "", "a site without a chip needs a note"),
    ],
)
def test_a_site_without_a_chip_is_checked_too(tmp_path, old, new, says):
    path = tmp_path / "sites.csv"
    path.write_text("\n".join([",".join(facts.SITE_COLUMNS), GOOD, BARE.replace(old, new, 1), ""]))
    with pytest.raises(DataError, match=f"sites.csv:3: {says}"):
        facts.read_sites(path)


def test_a_good_table_reads(tmp_path):
    path = tmp_path / "sites.csv"
    path.write_text("\n".join([",".join(facts.SITE_COLUMNS), GOOD, BARE, ""]))
    one, two = facts.read_sites(path)
    assert (one.chips, one.second_chips, one.h100e, one.opens) == (1000.0, 10.0, None, date(2024, 6, 30))
    assert (two.chip, two.chips, two.h100e, two.opens) == ("", None, 500.0, None)
