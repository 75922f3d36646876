"""What a run costs beside its steps: failures, energy, money, each from cited numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cutline.core.numerics import Array
from cutline.facts import reader
from cutline.facts.chips import Chip
from cutline.facts.reader import Claim, evidence
from cutline.physics import power
from cutline.plan.columns import Estimate

if TYPE_CHECKING:
    from cutline.plan.job import Job

DAY = 86400.0
CHECKPOINT_S = 30.0
"""Time that one checkpoint blocks a job (guess: asynchronous writes leave a device-to-host copy)."""
IDLE_SHARE = 0.17
"""Idle power of a chip over its limit (A100 with a context 70 of 400 W, H100 140 of 700 W: evidence.csv)."""
SERVER_SHARE = 0.5
"""Price of a server's other parts and network over that of its chips (guess)."""
HOST_SHARE = 0.63
"""Power of hosts, fans and network of a server over that of its chips, from evidence.csv: an HGX H100 server
draws 0.76 of its rated 10.2 kW at work, eight chips 0.85 of their 700 W."""


def goodput(chips: int) -> float:
    """Return the share of a long run on `chips` chips that makes progress."""
    failures = evidence("failures_per_chip_day", "llama3-405b H100 unexpected").value / DAY
    restart = evidence("restart_interval", "skt B200").value
    return float(power.goodput(chips, failures, CHECKPOINT_S, restart))


def power_w(j: Job, e: Estimate) -> Array:
    """Return the mean power of one chip with its share of the server and the site. [W]"""
    return busy_power_w(j.group.chip, (e.compute_part_s + 0.5 * (e.tp_part_s + e.dp_part_s + e.fsdp_part_s)) / e.step_s)


def busy_power_w(part: Chip, busy: Array | float) -> Array:
    """Return the mean power of one chip that computes this share of the time, with its share of server and site. [W]"""
    limit = part.get("power", default=math.nan)
    share = evidence("training_power_fraction", "A100-SXM-40GB gemm").value
    chip_w = power.draw_w(limit, IDLE_SHARE * limit, np.clip(busy, 0.0, 1.0), share)
    return np.asarray(chip_w * (1.0 + HOST_SHARE) * evidence("pue", "aws").value)


def _latest(part: Chip, item: str) -> Claim | None:
    """Return what the user says; else the middle claim of the latest year that has any: prices age, so dates count before tiers."""
    own = part.facts.get(("price", item))
    if own is not None and own.source.tier == "given":
        return own
    claims = reader.table("chips").facts.get(part.name, {}).get(("price", item), [])
    year = max((c.date[:4] for c in claims), default="")
    latest = sorted((c for c in claims if c.date[:4] == year), key=lambda c: float(c.value))
    return latest[(len(latest) - 1) // 2] if latest else None


class Price(NamedTuple):
    """What a chip costs while it runs, and where that was read."""

    usd_per_s: float | None  # per chip, without energy; None if no price is known
    usd_per_j: float  # energy at the meter; 0 where the rent holds it
    basis: str
    claims: list[Claim]

    @property
    def owned(self) -> bool:
        """True where the chips are bought, so that energy is paid beside them."""
        return self.usd_per_j > 0


def prices(j: Job) -> Price:
    """Return the price of a job's chips on the basis that it asks for."""
    return price_of(j.group.chip, j.money)


def price_of(part: Chip, money: str) -> Price:
    """Return the price of a part on a basis, `rent` or `own`; on the other where only that is known."""
    rent, buy = _latest(part, "rent"), _latest(part, "buy")
    if buy is not None and (money == "own" or rent is None):
        years, energy = evidence("amortisation_years", "amazon"), evidence("electricity_price", "us industrial")
        per_s = float(buy.value) * (1 + SERVER_SHARE) / (years.value * 365 * DAY)
        lead = "no rent is known; " if money == "rent" else ""
        words = (
            f"{lead}owned: bought at {buy.printed} ({buy.date}, {buy.source.title}), half as much again for the server, "
            f"over {years.value:g} years, plus energy at {energy.printed}"
        )
        return Price(per_s, float(energy.value), words, [buy, years, energy])
    if rent is not None:
        words = f"rented at {rent.printed} per chip ({', '.join(filter(None, (rent.date, rent.source.title)))})"
        return Price(float(rent.value), 0.0, words, [rent])
    return Price(None, 0.0, "no price of this part is known", [])
