"""What several test files share: the `--regen` option, repeatable Hypothesis, the command line, and one small job."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings

from cutline.cli import main
from cutline.facts.models import model
from cutline.plan.columns import Constants, Rates, Shape
from cutline.plan.job import job
from cutline.plan.stacks import STACKS
from cutline.plan.strategy import Space

settings.register_profile("cutline", deadline=None, max_examples=50, derandomize=True, database=None)
settings.load_profile("cutline")


def pytest_addoption(parser):
    parser.addoption("--regen", action="store_true", help="rewrite tests/golden/*.csv; review the diff")


@pytest.fixture
def regen(request):
    """True if golden files are to be rewritten."""
    return request.config.getoption("--regen")


@dataclass(frozen=True)
class Case:
    """What `estimate` and `search` take, and the space of all strategies."""

    shape: Shape
    rates: Rates
    constants: Constants
    space: Space


@pytest.fixture(scope="session")
def small():
    """A 24-layer model of 350M parameters on 16 A100 in two servers: every kind of split exists."""
    j = job(model("gpt2-355m"), "16 x A100-SXM-80GB", seq=1024, global_batch=64, stack=STACKS["megatron-core"])
    space = Space(16, 24, 16, 4096, 50304, 64, 1024, domain=8)
    return Case(j.shape, j.rates, j.constants, space)


@pytest.fixture(scope="session")
def tight():
    """A 65B model on 64 H100: most splits do not fit."""
    j = job(model("llama-65b"), "64 x H100-SXM-80GB", seq=2048, global_batch=256, stack=STACKS["torchtitan"])
    return Case(j.shape, j.rates, j.constants, j.space)


@pytest.fixture
def cli(capsys):
    """Run one command; return (exit code, stdout, stderr)."""

    def call(*words):
        code = main([str(w) for w in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call
