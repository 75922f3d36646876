"""The different outcomes that an item could have: what it meets, its class, and what the rules then ask for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from cutline.facts.law import Test
from cutline.law.cases import Cases
from cutline.law.day import Day, Parties
from cutline.law.licence import STRICT, Licence, Subject, licence
from cutline.law.limits import met
from cutline.law.measures import Part

CLASSES = ("3A090.a", "3A090.b", "3A090.c", "4E091")
"""What a test can make of an item, strictest first."""
PRESUMED = "3A090.a (presumed)"
"""Stands for a test that a die meets by the presumption on fabricators."""


class Outcome(NamedTuple):
    """One way in which an item could turn out."""

    met: frozenset[str]
    datacenter: bool
    meets: str
    licence: Licence

    @property
    def policies(self) -> list[str]:
        """Review policies that are possible, strictest first."""
        return self.licence.policy.split(" or ") if self.licence.policy else []

    @property
    def weight(self) -> tuple[int, int]:
        """How strict it is; larger is stricter."""
        return int(self.licence.required), -min((STRICT.index(p) for p in self.policies), default=len(STRICT))


def subject_of(part: Part) -> Subject:
    """Return what the rows ask about a part beside its quantities."""
    return Subject(part.name, part.maker, part.maker_country, part.sold_in_us, part.released)


def class_of(ids: Iterable[str], kinds: dict[str, str]) -> str:
    """Return the strictest class of the tests that are met."""
    classes = {kinds[i] for i in ids if kinds.get(i)}
    return next((c for c in CLASSES if c in classes), "none")


def outcomes_of(
    rows: Cases, tests: Iterable[Test], part: Part, parties: Parties, day: Day, presumed: bool | None = False
) -> tuple[list[Outcome], np.ndarray]:
    """Return the different outcomes of the rows of an item, and which row has which.

    With `presumed` the item counts as 3A090.a for data centres whatever it measures; None leaves both open, and the
    outcomes by presumption stand behind the others.
    """
    tests = list(tests)
    found = met(tests, rows.items)
    names = list(found)
    flags = np.broadcast_to(rows.items.datacenter, len(rows.items))
    unique, which = np.unique(np.column_stack([*found.values(), flags]), axis=0, return_inverse=True)
    kinds = {t.id: t.meets for t in tests} | {PRESUMED: "3A090.a"}
    subject = subject_of(part)

    def one(ids: frozenset[str], datacenter: bool) -> Outcome:
        return Outcome(ids, datacenter, class_of(ids, kinds), licence(day, parties, subject, ids, datacenter))

    plain = [(frozenset(n for n, yes in zip(names, row, strict=False) if yes), bool(row[-1])) for row in unique]
    outcomes = [] if presumed else [one(*p) for p in plain]
    if presumed is not False:
        outcomes += [one(ids | {PRESUMED}, True) for ids, _ in plain]
    return outcomes, which.reshape(-1)
