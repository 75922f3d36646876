"""The reader of fact tables: one broken file per message, the order of trust, names, speed."""

import ast
import csv
import itertools
import time
from pathlib import Path

import pytest

from cutline import plan
from cutline.core.errors import CutlineError, DataError, UnknownName
from cutline.facts import presets, reader
from cutline.facts.models import model
from cutline.facts.reader import GUESS, TRUST, Rule, Source, Table

HEADER = "name,field,item,value,unit,date,source,note\n"
GOOD = "acme-a1,memory,,80,GB,2024-03-01,acme-sheet,\n"
SCHEMA = {
    ("chips", "memory"): Rule(frozenset(), frozenset({"bytes"}), 1e8, 1e13, ""),
    ("chips", "peak"): Rule(frozenset({"bf16-dense", "fp8-dense"}), frozenset({"flop_per_s"}), 1e8, 1e18, ""),
    ("chips", "price"): Rule(frozenset({"*"}), frozenset({"usd", "usd_per_s"}), 0, 1e9, ""),
    ("chips", "aliases"): Rule(frozenset(), frozenset({"text"}), 0, 0, ""),
    ("chips", "released"): Rule(frozenset(), frozenset({"date"}), 0, 0, ""),
    ("chips", "anything"): Rule(frozenset(), frozenset({"any"}), float("-inf"), float("inf"), ""),
}
SOURCES = {
    "guess": GUESS,
    "acme-sheet": Source("acme-sheet", "sheet", "A1 data sheet", "https://acme.example/a1", "2024", "", ""),
    "acme-page": Source("acme-page", "vendor", "A1 page", "https://acme.example/", "2024", "", ""),
    "lab": Source("lab", "measured", "A lab", "https://lab.example/", "2024", "", ""),
    "sec": Source("sec", "filing", "A filing", "https://sec.example/", "2024", "", ""),
    "daily": Source("daily", "press", "A paper", "https://daily.example/", "2024", "", ""),
}


def written(tmp_path, text, name="chips.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def claims(tmp_path, *lines, head=HEADER):
    return reader.read_claims(written(tmp_path, head + "".join(lines)), "chips", SCHEMA, SOURCES)


def problem(call, *args):
    with pytest.raises(DataError) as error:
        call(*args)
    text = str(error.value)
    assert "\n" not in text
    return text


# one broken file per message

BROKEN = [
    (
        "name,field,value\n",
        "chips.csv:1: columns must be name,field,item,value,unit,date,source,note; got name,field,value",
    ),
    (HEADER + GOOD + "acme-a1,memory,,80\n", "chips.csv:3: 4 cells; the header has 8"),
    (HEADER + GOOD + "\n", "chips.csv:3: 0 cells; the header has 8"),
    (
        HEADER + "acme-a1,wings,,2,1,2024,acme-sheet,\n",
        "chips.csv:2: acme-a1.wings: field 'wings' is not in schema.csv for chips",
    ),
    (
        HEADER + "acme-a1,peak,bf16,310,TFLOP/s,2024,acme-sheet,\n",
        "chips.csv:2: acme-a1.peak bf16: item 'bf16' is not one of bf16-dense, fp8-dense",
    ),
    (
        HEADER + "acme-b2,memory,,80,Gib,2024,acme-sheet,\n",
        "chips.csv:2: acme-b2.memory: unit 'Gib' is not known; write GiB",
    ),
    (
        HEADER + "acme-b2,memory,,80,furlong,2024,acme-sheet,\n",
        "chips.csv:2: acme-b2.memory: unit 'furlong' is not known; see cutline.core.units.UNITS",
    ),
    (
        HEADER + "acme-b2,memory,,80,GB/s,2024,acme-sheet,\n",
        "chips.csv:2: acme-b2.memory: unit 'GB/s' measures bytes_per_s; this field wants bytes",
    ),
    (
        HEADER + "acme-b2,memory,,80,TB,2024,acme-sheet,\n",
        "chips.csv:2: acme-b2.memory: 80 TB is outside 1e+08 to 1e+13 bytes",
    ),
    (
        HEADER + "acme-b2,memory,,-80,GB,2024,acme-sheet,\n",
        "chips.csv:2: acme-b2.memory: -80 GB is outside 1e+08 to 1e+13 bytes",
    ),
    (
        HEADER + "acme-b2,memory,,,GB,2024,acme-sheet,\n",
        "chips.csv:2: acme-b2.memory: value is empty; leave a missing fact out",
    ),
    (
        HEADER + "acme-b2,memory,,nan,GB,2024,acme-sheet,\n",
        "chips.csv:2: acme-b2.memory: 'nan' is not a finite number; leave a missing fact out",
    ),
    (
        HEADER + "acme-b2,memory,,much,GB,2024,acme-sheet,\n",
        "chips.csv:2: acme-b2.memory: 'much' is not a number in GB",
    ),
    (
        HEADER + "acme-b2,memory,,80,GB,2024-13-01,acme-sheet,\n",
        "chips.csv:2: acme-b2.memory: date '2024-13-01' is not YYYY, YYYY-MM or YYYY-MM-DD",
    ),
    (
        HEADER + "acme-b2,memory,,80,GB,March 2024,acme-sheet,\n",
        "chips.csv:2: acme-b2.memory: date 'March 2024' is not YYYY, YYYY-MM or YYYY-MM-DD",
    ),
    (
        HEADER + "acme-b2,released,,soon,,2024,acme-sheet,\n",
        "chips.csv:2: acme-b2.released: 'soon' is not YYYY, YYYY-MM or YYYY-MM-DD",
    ),
    (
        HEADER + "acme-b2,memory,,80,GB,2024,rumour,\n",
        "chips.csv:2: acme-b2.memory: source 'rumour' is not in sources.csv; add it there or write guess",
    ),
    (HEADER + GOOD + GOOD, "chips.csv:3: acme-a1.memory: this claim is listed twice"),
    (
        HEADER.encode() + b"acme-\xff,memory,,80,GB,2024,acme-sheet,\n",
        "chips.csv: not UTF-8 text; save it as UTF-8",
    ),
    ("", "chips.csv: the file is empty; the first line must name the columns"),
    (
        HEADER + 'acme-a1,memory,,80,GB,2024,acme-sheet,"open\n',
        "chips.csv:2: not readable as CSV: unexpected end of data",
    ),
]


@pytest.mark.parametrize(("text", "message"), BROKEN, ids=[m.partition(": ")[2][:40] for _, m in BROKEN])
def test_a_broken_fact_file_says_file_line_and_cure(tmp_path, text, message):
    assert problem(reader.read_claims, written(tmp_path, text), "chips", SCHEMA, SOURCES) == message


def test_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "none.csv"
    assert (
        problem(reader.read_claims, path, "chips", SCHEMA, SOURCES)
        == f"{path}: cannot be read: No such file or directory"
    )


SOURCE_HEADER = "id,tier,title,url,date,licence,note\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a,blog,T,https://x,2024,,\n", "sources.csv:2: tier 'blog' is not one of " + ", ".join(TRUST)),
        (
            "a,press,T,https://x,2024,,\na,press,T,https://y,2024,,\n",
            "sources.csv:3: source 'a' is listed twice",
        ),
        ("guess,guess,T,https://x,2024,,\n", "sources.csv:2: source 'guess' is listed twice"),
        ("a,press,T,,2024,,\n", "sources.csv:2: source 'a' needs a title, and an address or a note"),
        ("a,press,,https://x,2024,,\n", "sources.csv:2: source 'a' needs a title, and an address or a note"),
        ("a,press,T\n", "sources.csv:2: 3 cells; the header has 7"),
    ],
)
def test_a_broken_source_list(tmp_path, lines, message):
    assert problem(reader.read_sources, written(tmp_path, SOURCE_HEADER + lines, "sources.csv")) == message


def test_a_source_may_have_a_note_instead_of_an_address(tmp_path):
    found = reader.read_sources(written(tmp_path, SOURCE_HEADER + "a,press,T,,2024,,a printed book\n", "sources.csv"))
    assert set(found) == {"guess", "a"}
    assert found["guess"].tier == "guess"


def test_a_byte_order_mark_is_read_over(tmp_path):
    """Spreadsheets write one in front of UTF-8."""
    path = written(tmp_path, b"\xef\xbb\xbf" + (HEADER + GOOD).encode())
    assert len(reader.read_claims(path, "chips", SCHEMA, SOURCES)) == 1


def test_line_numbers_count_lines_inside_quotes(tmp_path):
    text = HEADER + 'acme-a1,memory,,80,GB,2024,acme-sheet,"two\nlines"\nacme-a1,wings,,1,1,2024,acme-sheet,\n'
    assert problem(reader.read_claims, written(tmp_path, text), "chips", SCHEMA, SOURCES).startswith("chips.csv:4: ")


def test_limits_are_inclusive(tmp_path):
    found = claims(tmp_path, "a,memory,,0.1,GB,2024,guess,\n", "a,memory,,10,TB,2024,guess,\n")
    assert [c.value for c in found] == [1e8, 1e13]


def test_a_claim_keeps_what_was_printed_and_where(tmp_path):
    claim = claims(tmp_path, GOOD)[0]
    assert (claim.value, claim.printed, claim.line, claim.source.id) == (80e9, "80 GB", 2, "acme-sheet")


def test_any_takes_every_unit_and_text(tmp_path):
    found = claims(tmp_path, "a,anything,,7,GB,2024,guess,\n", "a,anything,,word,text,2024,guess,\n")
    assert [c.value for c in found] == [7e9, "word"]


def test_a_star_allows_every_item(tmp_path):
    assert claims(tmp_path, "a,price,cloud x,2,USD/h,2024,guess,\n")[0].item == "cloud x"


# order of trust


def best(tmp_path, *lines):
    table = Table("chip", claims(tmp_path, *lines))
    ranked = table.claims("a")["memory", ""]
    assert table.best("a", "memory") is ranked[0]
    return [int(c.value / 1e9) for c in ranked]


def line(value, date, source):
    return f"a,memory,,{value},GB,{date},{source},\n"


def test_tiers_come_in_the_written_order(tmp_path):
    worst_first = ["guess", "daily", "sec", "lab", "acme-page", "acme-sheet"]
    rows = [line(n, "2024", s) for n, s in enumerate(worst_first, 1)]
    assert best(tmp_path, *rows) == [6, 5, 4, 3, 2, 1]
    assert best(tmp_path, *reversed(rows)) == [6, 5, 4, 3, 2, 1]


def test_a_better_tier_beats_a_later_date(tmp_path):
    assert best(tmp_path, line(1, "2020", "acme-sheet"), line(2, "2026-11-01", "daily")) == [1, 2]


def test_within_a_tier_the_later_date_wins(tmp_path):
    assert best(tmp_path, line(1, "2024-03", "daily"), line(2, "2023-12-31", "daily"), line(3, "", "daily")) == [
        1,
        2,
        3,
    ]


def test_within_a_date_the_later_line_wins_and_losers_stay(tmp_path):
    assert best(tmp_path, line(1, "2024", "daily"), line(2, "2024", "daily"), line(3, "2024", "daily")) == [
        3,
        2,
        1,
    ]


def test_a_fact_that_nobody_states_is_none(tmp_path):
    assert Table("chip", claims(tmp_path, GOOD)).best("acme-a1", "peak", "bf16-dense") is None


# names


def test_names_and_aliases_are_found_in_any_case(tmp_path):
    table = Table("chip", claims(tmp_path, GOOD, "acme-a1,aliases,,A One; a-1,,2024,guess,\n"))
    assert {table.resolve(n) for n in ("acme-a1", "ACME-A1", " a one ", "A-1")} == {"acme-a1"}
    assert list(table) == ["acme-a1"]
    assert len(table) == 1


def test_an_alias_never_hides_a_name(tmp_path):
    table = Table("chip", claims(tmp_path, GOOD, "acme-b2,aliases,,acme-a1;b,,2024,guess,\n"))
    assert table.resolve("acme-a1") == "acme-a1"
    assert table.resolve("B") == "acme-b2"


def test_an_unknown_name_gets_suggestions(tmp_path):
    with pytest.raises(UnknownName) as error:
        Table("chip", claims(tmp_path, GOOD)).resolve("acme-al")
    assert str(error.value) == "no chip named 'acme-al'. Did you mean acme-a1? `cutline chips` lists all 1."


def test_a_misspelt_alias_suggests_the_name_it_stands_for(tmp_path):
    table = Table("chip", claims(tmp_path, GOOD, "acme-a1,aliases,,wonder card,,2024,guess,\n"))
    with pytest.raises(UnknownName, match=r"no chip named 'wonder crad'\. Did you mean acme-a1\?"):
        table.resolve("wonder crad")


# the catalogue

TABLES = ("chips", "models", "clusters", "evidence")


def load_all():
    sources, schema = (
        reader.read_sources(reader.DATA / "sources.csv"),
        reader.read_schema(reader.DATA / "schema.csv"),
    )
    for name in TABLES:
        Table(name, reader.read_claims(reader.DATA / f"{name}.csv", name, schema, sources))


def load_plainly():
    for name in ("sources", "schema", *TABLES):
        with (reader.DATA / f"{name}.csv").open(encoding="utf-8", newline="") as handle:
            list(csv.reader(handle))


def cpu_s(call):
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def test_loading_costs_little_more_than_parsing():
    """About 3 times the bare CSV parser, 75 ms in all; a check per row that is slow would show."""
    assert cpu_s(load_all) < 12 * cpu_s(load_plainly)


@pytest.mark.parametrize("name", TABLES)
def test_every_table_of_the_catalogue_is_lawful(name):
    assert len(reader.table(name)) > 5


def test_every_source_that_is_named_resolves():
    known = set(reader.sources())
    for name in ("constants", "runs"):
        for line, row in reader.rows(reader.DATA / f"{name}.csv"):
            assert row["source"] in known or (name == "constants" and not row["source"]), f"{name}.csv:{line}"


def test_presets_name_models_and_chips_of_the_catalogue_and_a_time_that_passes():
    models, chips = reader.table("models"), reader.table("chips")
    assert len(presets.presets()) > 10
    for p in presets.presets():
        assert p.model in models and (not p.chip or p.chip in chips), p
        assert 0 <= p.since < p.until, p
        assert 0 <= p.graphs <= 1 and p.ep_hidden in (0, 1) and 0 <= p.mtp <= model(p.model).mtp_layers, p
        assert presets.preset(p.stack, p.model, p.chip or "none", p.since, p.pp or 1.0) is not None, p
    assert presets.preset("nobody", "deepseek-v3", "H100-SXM-80GB", 26.02, 1.0) is None


def test_every_rule_of_the_schema_is_used_or_has_a_table():
    tables = {table for table, _ in reader.schema()}
    assert tables == set(TABLES)


def evidence_asked_for():
    """Pairs of words that the planner hands to `evidence`, and the modules that put theirs together as they run."""
    pairs, computed = set(), set()
    for path in Path(plan.__file__).parent.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "evidence":
                if all(isinstance(a, ast.Constant) for a in call.args):
                    pairs.add(tuple(ast.literal_eval(a) for a in call.args))
                else:
                    computed.add(path.name)
    return sorted(pairs), computed


def test_every_number_that_a_run_asks_for_is_in_the_evidence():
    asked, computed = evidence_asked_for()
    assert len(asked) >= 5
    for name, item in asked:
        claim = reader.table("evidence").best(name, "value", item)
        assert claim is not None and claim.value > 0, (name, item)
    assert computed == {"precision.py", "sizing.py"}  # the next two tests ask for all of theirs


def test_every_recipe_finds_what_is_known_of_its_loss():
    from cutline.plan.precision import RECIPES, known_of_loss

    found = [known_of_loss(r)[1] for r in RECIPES.values() if r.loss]
    assert len(found) >= 4
    assert all(claim is not None and claim.value > 0 for claim in found)


def test_every_law_and_every_published_ramp_finds_its_numbers():
    from cutline.plan import sizing

    for name in sizing.LAWS:
        law = sizing.law(name)
        assert all(value > 0 for value in (law.E, law.A, law.B, law.alpha, law.beta))
    ramped = []
    for name in reader.table("models"):
        try:
            ramped.append((name, sizing.ramp("published", model(name))))
        except CutlineError as error:
            assert str(error).startswith(f"nothing is published about the ramp of {name}")
    assert {name for name, _ in ramped} == {"deepseek-v3", "llama-3.1-405b"}
    for _, phases in ramped:
        assert phases[0].start == 0.0
        assert all(a.start < b.start and a.batch_tokens < b.batch_tokens for a, b in itertools.pairwise(phases))


def test_a_missing_fact_of_a_chip_says_what_and_where():
    from cutline.facts.chips import Chip

    with pytest.raises(
        CutlineError,
        match=r"^toy has no sourced 'link scale-up', which this estimate needs; `cutline chip toy`",
    ):
        Chip("toy", {}).get("link", "scale-up")
