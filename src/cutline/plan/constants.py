"""From scopes to numbers: which fitted or cited constant applies to a chip family and a software stack.

`constants.csv` lists each constant by scope, with its prior (and its source), how doubtful the prior is, the
value fitted on all measurements, and the value fitted without each group of measurements (the blind columns).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from cutline.core.errors import CutlineError, DataError
from cutline.facts import reader
from cutline.plan.columns import Constants
from cutline.plan.stacks import STACKS, Stack

HEADER = ["name", "scope", "transform", "prior", "doubt", "source", "note", "shipped"]
FIELDS = tuple(f.name for f in fields(Constants))


CALIBRATED: dict[str, tuple[float, tuple[str, ...]]] = {
    "compute": (0.025, ("compute",)),
    "communication": (0.125, ("communication",)),
    "host": (0.25, ("host_layer_s", "host_micro_s")),
    "step": (0.4, ("step_s",)),
    "elementwise": (0.1, ("elementwise", "permute_passes", "router_passes", "scan_passes", "logit_bytes")),
}
"""The five factors that a user's own measured steps may move: doubt (log) and the constants they multiply."""


def multiplied(c: Constants, factors: dict[str, Any]) -> Constants:
    """Return constants with the factors of CALIBRATED applied."""
    return c.replace(
        **{field: getattr(c, field) * factor for name, factor in factors.items() for field in CALIBRATED[name][1]}
    )


@dataclass(frozen=True)
class Row:
    """One constant in one scope; `prior` None centres it on the next wider scope."""

    name: str
    scope: str
    transform: str  # log, logit or fixed
    prior: float | None
    doubt: float  # standard deviation in the transformed unit
    source: str
    note: str
    values: dict[str, float]  # "shipped" and one per group left out


@functools.cache
def table() -> dict[tuple[str, str], Row]:
    """Return (name, scope) -> Row of the training constants, checked."""
    return read(reader.DATA / "constants.csv", FIELDS)


def read(path: Path, fields_: tuple[str, ...]) -> dict[tuple[str, str], Row]:
    """Return (name, scope) -> Row of a file of constants; every field must have a row of the widest scope."""
    found: dict[tuple[str, str], Row] = {}
    for line, row in reader.rows(path):
        name, scope = row["name"], row["scope"]
        if name not in fields_:
            raise DataError(path.name, line, f"'{name}' is not a field of the constants of this file")
        if row["transform"] not in ("log", "logit", "fixed"):
            raise DataError(path.name, line, f"{name}: transform '{row['transform']}' is not log, logit or fixed")
        if row["source"] and row["source"] not in reader.sources():
            raise DataError(path.name, line, f"{name}: source '{row['source']}' is not in sources.csv")
        if (name, scope) in found:
            raise DataError(path.name, line, f"{name} is listed twice for scope '{scope}'")
        values = {k: float(v) for k, v in row.items() if k not in HEADER[:-1] and v}
        prior = float(row["prior"]) if row["prior"] else None
        if prior is None and not scope:
            raise DataError(path.name, line, f"{name}: the widest scope needs a prior")
        found[name, scope] = Row(
            name, scope, row["transform"], prior, float(row["doubt"] or 0), row["source"], row["note"], values
        )
    missing = [f for f in fields_ if (f, "") not in found]
    if missing:
        raise DataError(path.name, None, f"no widest scope for {', '.join(missing)}")
    return found


def scopes(stack: Stack, family: str, precision: str, recipe: str = "") -> tuple[str, ...]:
    """Return the scopes that apply to a stack on a chip family, narrowest first; '' is the widest."""
    fmt = recipe or precision
    attention = attention_kernel(stack, family)
    return (
        f"stack {stack.name}",
        f"kind {stack.kind}",
        f"format {family} {fmt}",
        f"format {fmt}",
        f"attention {family} {attention}",
        f"family {family}",
        f"attention {attention}",
        "loss fused" if stack.fused_loss else "loss unfused",
        "tp overlapped" if stack.tp_overlapped else "tp plain",
        f"dispatch {family} {stack.dispatcher}",
        f"dispatch {stack.dispatcher}",
        "",
    )


def attention_kernel(stack: Stack, family: str) -> str:
    """Return the attention kernel that a stack has on a chip family."""
    if family == "ascend-910a":
        return "unfused"  # no fused kernel before 910B
    if family.startswith("ascend") and stack.attention != "unfused":
        return "cann"
    return stack.attention


def resolve(name: str, applicable: tuple[str, ...], known: dict[tuple[str, str], Row]) -> tuple[str, str]:
    """Return the key of the narrowest scope in which a constant is known."""
    for scope in applicable:
        if (name, scope) in known:
            return name, scope
    raise CutlineError(f"constant '{name}' has no value in any of {applicable}")


def parent(row: Row, known: dict[tuple[str, str], Row]) -> tuple[str, str]:
    """Return the wider scope on which a row without its own prior is centred: the kind of its stack, or all."""
    if row.scope.startswith("stack "):
        kind = (row.name, f"kind {STACKS[row.scope.removeprefix('stack ')].kind}")
        if kind in known and known[kind].transform != "fixed":
            return kind
    return row.name, ""


def value(row: Row, known: dict[tuple[str, str], Row], without: str = "shipped") -> float:
    """Return the value fitted without a group; its prior, or its parent's value, where nothing was fitted."""
    if without in row.values:
        return row.values[without]
    return row.prior if row.prior is not None else value(known[parent(row, known)], known, without)


SOURCES = ("vtrain", "megatron-bridge")
"""Sources of which several groups of measurements are parts: one cluster, or one software."""


def source_of(group: str) -> str:
    """Return the source that a group of measurements is a part of: what is left out together in a blind prediction."""
    return next((s for s in SOURCES if group == s or group.startswith(s + "-")), group)


def blind_to(group: str) -> str:
    """Return the column of constants that no row of the source of a group of measurements had a part in."""
    source = source_of(group)
    return source if source in table()["gemm_gain", ""].values else "shipped"


def unmeasured(stack: Stack, family: str, without: str = "shipped") -> float:
    """Return the share of (chip family, stack) that no row of a fit covers: 0, 0.5 or 1."""
    known = table()
    wanted = (("gemm_fraction", f"family {family}"), ("compute", f"stack {stack.name}"))
    return sum(0.5 for key in wanted if key not in known or without not in known[key].values)


def constants(
    stack: Stack,
    family: str,
    precision: str,
    recipe: str = "",
    without: str = "shipped",
    changes: dict[str, float] | None = None,
) -> Constants:
    """Return the constants of a stack on a chip family.

    Parameters
    ----------
    stack, family, precision, recipe : see `scopes`.
    without : str
        Leave out this group of measurements (a blind prediction), or `shipped`.
    changes : dict, optional
        Calibrated factors, by the names of CALIBRATED.
    """
    known = table()
    applicable = scopes(stack, family, precision, recipe)
    found: dict[str, Any] = {n: value(known[resolve(n, applicable, known)], known, without) for n in FIELDS}
    found["unfused"] = float(attention_kernel(stack, family) == "unfused")
    found["dropout"] = float(stack.dropout)
    found["gather_once"] = float(stack.gather_once)
    found["gather_again"] = float(not stack.keeps_gathered)
    found["state_bytes"] = stack.state_bytes
    found["gather_bytes"] = 1.0 if stack.narrow_gather and precision == "fp8" and not recipe else 2.0
    found["grad_bytes"] = stack.grad_bytes
    found["deduplicate"] = float(stack.dispatcher != "alltoall")
    found["selective_products"] = 0.5 if stack.per_op_recompute else 0.0
    if not stack.broadcast:
        found["broadcast_s"] = 0.0
    return multiplied(Constants(**found), changes or {})


def stacked(parts: list[Constants]) -> Constants:
    """Return one Constants with a row per part."""
    return Constants(**{f: np.array([getattr(p, f) for p in parts], float) for f in FIELDS})
