"""Which constant of the serving model applies to a chip family, an engine and a way to launch kernels."""

from __future__ import annotations

import functools
from dataclasses import fields
from typing import Any

import numpy as np

from cutline.facts import reader
from cutline.plan.constants import Row, read, resolve, value
from cutline.serve.columns import Constants

FIELDS = tuple(f.name for f in fields(Constants))
FACTORS: dict[str, tuple[float, tuple[str, ...], int]] = {
    # name: doubt (log), the constants that it moves, and whether a larger factor makes them larger (1) or smaller (-1)
    "host": (0.35, ("layer_s", "moe_layer_s", "special_layer_s", "step_s", "sequence_s", "hop_s", "exchange_s"), 1),
    "compute": (0.3, ("products_16", "products_8", "products_4"), -1),
    "memory": (0.15, ("read_dense", "read_experts", "read_cache"), -1),
    "first": (0.5, ("first_s", "prefill_layer_s", "connection_s"), 1),
    "own": (0.4, ("own",), 1),
    "wait": (0.5, ("wait",), 1),
}
"""The factors that measured rows of one's own may move."""


@functools.cache
def table() -> dict[tuple[str, str], Row]:
    """Return (name, scope) -> Row of the serving constants, checked."""
    return read(reader.DATA / "serving_constants.csv", FIELDS)


def scopes(family: str, engine: str, launch: str) -> tuple[str, ...]:
    """Return the scopes that apply, narrowest first; '' is the widest."""
    return f"engine {engine}", f"launch {launch}", f"family {family}", ""


@functools.cache
def keys(family: str, engine: str, launch: str) -> tuple[tuple[str, str], ...]:
    """Return the key of every constant, in the order of FIELDS."""
    known, applicable = table(), scopes(family, engine, launch)
    return tuple(resolve(n, applicable, known) for n in FIELDS)


def constants(
    family: str, engine: str, launch: str, without: str = "shipped", changes: dict[str, float] | None = None
) -> Constants:
    """Return the constants of an engine on a chip family.

    Parameters
    ----------
    launch : str
        `graph` (kernels captured) or `eager` (launched one by one).
    without : str
        Leave out this source of measurements (a blind prediction), or `shipped`.
    changes : dict, optional
        Factors by the names of FACTORS.
    """
    known = table()
    found: dict[str, Any] = {
        n: value(known[key], known, without) for n, key in zip(FIELDS, keys(family, engine, launch), strict=True)
    }
    return multiplied(Constants(**found), changes or {})


def multiplied(c: Constants, changes: dict[str, Any]) -> Constants:
    """Return constants with factors of FACTORS applied."""
    moved: dict[str, Any] = {}
    for name, factor in changes.items():
        _, touched, sign = FACTORS[name]
        for field in touched:
            moved[field] = moved.get(field, getattr(c, field)) * np.asarray(factor, float) ** sign
    return c.replace(**moved)


def stacked(parts: list[Constants]) -> Constants:
    """Return one Constants with a row per part."""
    return Constants(**{f: np.array([getattr(p, f) for p in parts], float) for f in FIELDS})
