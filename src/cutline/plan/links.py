"""Ways between groups of chips: what carries data from one kind to another, and how fast."""

from __future__ import annotations

from cutline.core.errors import CutlineError
from cutline.facts.reader import evidence
from cutline.plan import machine
from cutline.plan.fleet import Fleet, Group, Link
from cutline.plan.job import Job
from cutline.plan.stages import Way


def way_between(fleet: Fleet, a: Job, b: Job) -> Way | None:
    """Return the way between two groups, or None where a fleet file says that there is none.

    Notes
    -----
    Parts of one maker share a collective library and meet at the slower of their network ports. Between two makers a library
    may bridge (FlagCX; each message starts late, `crossvendor_start` in evidence.csv). Else data is staged in the memory of
    the hosts, and one process moves as much as one stream of TCP does (`gloo_rate`). A fleet file names rate and transport.
    """
    said = _said(fleet, a.group, b.group)
    if said is not None and said.transport == "none":
        return None
    rate = min(float(a.rates.out_bytes_per_s), float(b.rates.out_bytes_per_s))
    hop = max(float(a.constants.out_hop_s), float(b.constants.out_hop_s))
    words = "the slower network of both"
    if said is not None and said.network is not None:
        found = machine.network_bytes_per_s(said.network, min(j.group.chip.get("node", default=8.0) for j in (a, b)))
        if found is None:
            raise CutlineError(
                f"between: network '{said.network}' does not parse; write '200 Gb/s per chip' or '8x200 Gb/s'"
            )
        rate, words = found, f"{said.network}, as given"
    makers = {j.group.chip.text("maker") for j in (a, b)}
    transport = said.transport if said is not None and said.transport else ""
    if len(makers) == 1 and transport != "host":
        return Way(rate, hop, words)
    if transport == "direct" or (not transport and makers <= BRIDGED):
        start = float(evidence("crossvendor_start", "A800 C550").value)
        return Way(rate, hop + start, f"{words}, by a library that bridges makers (FlagCX)")
    relay = float(evidence("gloo_rate", "one process pair").value)
    slow = min(rate, relay, *(j.group.chip.get("link", "host", machine.HOST_BYTES_PER_S) for j in (a, b)))
    cause = "as given" if transport == "host" else "for want of a library of both makers"
    return Way(slow, hop + RELAY_S, f"staged in host memory, {cause}")


BRIDGED = frozenset(("NVIDIA", "AMD", "Iluvatar CoreX", "Cambricon", "MetaX", "Kunlunxin", "Hygon", "Moore Threads"))
"""Makers between whose chips FlagCX sends directly; Huawei's HCCL is not among them (flagcx-readme)."""
RELAY_S = 1e-3
"""Start of one message that two hosts hand on (guess: two copies and a TCP round trip)."""


def _said(fleet: Fleet, a: Group, b: Group) -> Link | None:
    """Return what a fleet file says of the way between two groups."""
    names = {a.label, b.label}
    return next((link for link in fleet.links if link.groups == names), None)


def slowest(ways: list[Way]) -> Way:
    """Return the slowest of several ways."""
    return min(ways, key=lambda w: w.bytes_per_s)._replace(hop_s=max(w.hop_s for w in ways))
