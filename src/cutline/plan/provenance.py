"""Which facts a plan used, and where each was read."""

from __future__ import annotations

from cutline.facts import DATA_VERSION, reader
from cutline.facts.reader import Claim, evidence
from cutline.plan.costs import CHECKPOINT_S, SERVER_SHARE, prices
from cutline.plan.job import Job

RATES = (
    *(("peak", f"{p}-dense") for p in ("bf16", "fp16", "fp8", "fp4")),
    ("memory", ""), ("memory_rate", ""), ("link", "scale-up"), ("link", "scale-out"), ("domain", ""), ("topology", ""),
    ("units", ""), ("power", ""),
)  # fmt: skip
"""Facts of a chip that an estimate reads, if they are known."""


def sources_of(j: Job) -> list[dict[str, str]]:
    """Return every fact that a plan used: what, value as printed, date, and where it was read."""
    unused = set() if j.precision not in ("bf16", "fp16") else {("peak", "fp8-dense"), ("peak", "fp4-dense")}
    found = [c for u in RATES if u not in unused and (c := j.group.chip.facts.get(u)) is not None]
    price = prices(j)
    found += price.claims
    found += [
        evidence("failures_per_chip_day", "llama3-405b H100 unexpected"),
        evidence("restart_interval", "skt B200"),
        evidence("training_power_fraction", "A100-SXM-40GB gemm"),
        evidence("pue", "aws"),
    ]
    facts = [claim_row(c) for c in found]
    facts.append(_guess("checkpoint", f"{CHECKPOINT_S:g} s", "time that one checkpoint blocks the job"))
    if price.owned:
        facts.append(_guess("server price", f"{SERVER_SHARE:g} of its chips", "only where the chips are owned"))
    known = reader.sources()
    for at in (known[s] for s in sorted(set(j.model.sources)) if s in known):
        facts.append(_row(f"{j.model.name} shape", "", at.date, at.tier, at.id, at.title, at.url))
    fitted = "fitted on the measurements of the catalogue"
    facts.append(
        _row("constants of family and stack", "", DATA_VERSION, "measured", "tools/fit.py", fitted, "docs/physics.md")
    )
    return facts


def _guess(what: str, value: str, note: str) -> dict[str, str]:
    return _row(what, value, DATA_VERSION, "guess", "guess", reader.GUESS.title, "", note)


def _row(
    what: str, value: str, date: str, tier: str, source: str, title: str, url: str, note: str = ""
) -> dict[str, str]:
    return {
        "what": what, "value": value, "date": date, "tier": tier, "source": source, "title": title, "url": url, "note": note,
    }  # fmt: skip


def claim_row(c: Claim) -> dict[str, str]:
    """Return a claim as plain text."""
    what = f"{c.name} {c.field} {c.item}".strip()
    return _row(what, c.printed, c.date, c.source.tier, c.source.id, c.source.title, c.source.url, c.note)
