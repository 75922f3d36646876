"""Claims of the press: all of the list, each with a verdict that its figures bear out, the same through command and Python."""

import json
import re
from pathlib import Path

import pytest

from cutline.core.errors import CutlineError
from cutline.outlook import claims

LIST = Path(__file__).parents[2] / "shared" / "claims.md"


@pytest.fixture(scope="module")
def found():
    return {r["id"]: r for r in claims.check()}


@pytest.mark.skipif(not LIST.exists(), reason="the list of claims is not beside the checkout")
def test_every_claim_of_the_list_is_there(found):
    wanted = re.findall(r"^\| ([a-z0-9-]+) \| \d", LIST.read_text(encoding="utf-8"), re.M)
    assert len(wanted) == 27 and set(wanted) == set(found)


def test_every_claim_has_a_verdict_and_a_reason(found):
    for r in found.values():
        assert r["verdict"] in claims.VERDICTS and len(r["why"]) > 30
        assert (r["verdict"] == "cannot be checked") <= (r["computed"] is None)
        if r["low"] is not None and r["high"] is not None:
            assert r["low"] - 1e-9 <= r["computed"] <= r["high"] + 1e-9, r["id"]
    json.dumps(list(found.values()), allow_nan=False)


@pytest.mark.parametrize(
    ("id", "verdict", "low", "high"),
    [
        ("llama-21-days", "supported", 15, 25),
        ("rule-2022", "supported", 2, 2),
        ("h20-allowed", "supported", None, None),
        ("cut-line", "not supported", 367, 367),  # A800 free from 2022-10-21 to 2023-10-22
        ("gpt2-gpt4", "supported", 10_900, 10_980),
        ("deepseek-v3", "supported", 10, 13),
        ("lag-open", "supported", -3, 0),
        ("lag-closed", "in part", 3.8, 4.0),
        ("lag-2-3-years", "not supported", 18.1, 18.3),
        ("lag-closable", "not supported", 6, 9),
        ("unified-network", "cannot be checked", None, None),
    ],
)
def test_verdicts(found, id, verdict, low, high):
    row = found[id]
    assert row["verdict"] == verdict
    if low is None:
        assert row["computed"] is None
    else:
        assert low <= row["computed"] <= high


def test_both_vintages_are_named(found):
    for id in ("lag-open", "lag-closed", "lag-2-3-years"):
        assert "2025-12-02" in found[id]["why"] and "2026-10-01" in found[id]["why"]
        assert "no vintage is from before the claim" in found[id]["why"]


def test_command_and_python_say_the_same(cli, found):
    (row,) = json.loads(cli("claims", "lag-closed", "--json")[1])
    assert row == json.loads(json.dumps(found["lag-closed"]))
    text = cli("claims", "lag-closed")[1]
    assert "In part." in text and "12 months" in text and "epoch-eci-2026-10-01" in text


def test_a_claim_that_is_not_there():
    with pytest.raises(CutlineError, match="Did you mean lag-closed"):
        claims.check("lag-close")


def test_a_claim_is_computed_and_not_written_down(monkeypatch):
    """With another catalogue of runs the figure is another."""
    from cutline.facts import supply

    rows = tuple(r._replace(flop=2 * r.flop) if r.model == "GPT-4" and r.flop else r for r in supply.runs())
    monkeypatch.setattr(supply, "runs", lambda: rows)
    (row,) = claims.check("gpt2-gpt4")
    assert row["computed"] == pytest.approx(2 * 10937.5)


@pytest.mark.parametrize(
    ("name", "answer", "id", "verdict"),
    [
        ("ahead", (-20.0, -25.0, -15.0), "lag-open", "in part"),  # ahead, and not level
        ("ahead", (9.0, 5.0, 12.0), "lag-open", "not supported"),
        ("on_day", {"months": 12.0, "low": 10.0, "high": 14.0}, "lag-closed", "supported"),
        ("ahead", (-1.0, -3.0, 0.5), "lag-closable", "supported"),
        ("standing", ("X", 30.0, True), "lag-2-3-years", "supported"),
    ],
)
def test_other_figures_give_other_verdicts(monkeypatch, name, answer, id, verdict):
    from cutline.outlook import claims_lag

    monkeypatch.setattr(claims_lag, name, lambda *rest: answer)
    (row,) = claims.check(id)
    assert row["verdict"] == verdict


@pytest.mark.parametrize(
    ("free", "id", "verdict"),
    [
        (True, "rule-2022", "not supported"),
        (None, "rule-2022", "not supported"),
        (True, "rule-2023", "not supported"),
        (False, "h20-allowed", "not supported"),
    ],
)
def test_another_law_gives_another_verdict(monkeypatch, free, id, verdict):
    monkeypatch.setattr(claims, "free", lambda *rest: free)
    (row,) = claims.check(id)
    assert row["verdict"] == verdict or (id == "rule-2023" and row["verdict"] == "in part" and row["computed"] > 40)
    assert not re.search("needed for A800", row["why"])
