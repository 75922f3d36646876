"""Fits constants to measured step times: all of them for shipping, a few of them to calibrate one stack.

Weighted maximum a posteriori: a smooth-L1 loss on the log of predicted over measured time, and a normal
prior on every constant in its transformed unit (log, or logit for shares).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from cutline.core.numerics import Array
from cutline.plan import constants as table
from cutline.plan import machine
from cutline.plan.columns import Constants, Estimate, Rates, Shape, Strategy
from cutline.plan.express import Job
from cutline.plan.training import estimate, matured, message_s

SCALE = 0.06
"""Residual scale of the log step time: what the best model of these tables leaves."""
MOST_PER_GROUP = 40.0
"""A source of measurements counts as at most this many rows: rows of one table share their doubts."""


def forward(x: Any, transform: str) -> Any:
    """Transform a constant into the unit in which its prior is normal."""
    x = np.asarray(x, float)
    return np.log(x) if transform == "log" else np.log(x / (1.0 - x))


def back(y: Any, transform: str) -> Any:
    """Undo `forward`."""
    return np.exp(y) if transform == "log" else 1.0 / (1.0 + np.exp(-np.asarray(y)))


def flat(jobs: list[Job]) -> list[Job]:
    """Return the jobs, those of a mixed cluster as their parts."""
    return [part for j in jobs for part in (j.parts or [j])]


def columns_of(jobs: list[Job]) -> tuple[Shape, Rates, Strategy]:
    """Return the columns of many expressed rows."""

    def stack(kind: Any, key: str) -> Any:
        rows = [getattr(j, key) for j in flat(jobs)]
        return kind(**{f.name: np.array([r.get(f.name, f.default) for r in rows], float) for f in fields(kind)})

    return stack(Shape, "shape"), stack(Rates, "rates"), stack(Strategy, "strategy")


def predict(jobs: list[Job], constants: Constants) -> Estimate:
    """Estimate expressed rows, or their parts, under constants that have one value for each."""
    shape, rates, strategy = columns_of(jobs)
    return estimate(shape, rates, _scaled(jobs, constants), strategy)


def _scaled(jobs: list[Job], constants: Constants) -> Constants:
    """Return constants by the power budget of each row or part."""
    power = np.array([j.power for j in flat(jobs)], float).T
    return machine.power_scaled(constants, *power)


def steps(jobs: list[Job], constants: Constants) -> Array:
    """Return the step time of expressed rows under constants that have one value for each row or part. [s]

    On a mixed cluster every replica of a stage takes its own time; a lane is paced by its slowest stage, the step by the slowest lane,
    and then all wait for gradients.
    """
    e = predict(jobs, constants)
    if not any(j.parts for j in jobs):
        return np.asarray(e.step_s)
    shape, rates, s = columns_of(jobs)
    c = matured(_scaled(jobs, constants), rates)
    slot = (
        e.compute_part_s + e.host_part_s + e.tp_part_s + e.cp_part_s + e.ep_part_s + e.fsdp_part_s
    ) / s.micro_batches
    message = message_s(shape, rates, c, s.replace(pp=np.full(len(s), 2.0))) * (1.0 - c.p2p_overlap)
    out, place = [], 0
    for j in jobs:
        if not j.parts:
            out.append(float(e.step_s[place]))
            place += 1
            continue
        mine = slice(place, place + len(j.parts))
        place += len(j.parts)
        m, times = j.parts[0].strategy["micro_batches"], slot[mine]
        lanes = []
        for lane in j.lanes:
            stages = times[lane]
            sends = (2.0 * m + 2.0 * (len(lane) - 1)) * message[mine][lane].max() if len(lane) > 1 else 0.0
            lanes.append(m * stages.max() + stages.sum() - stages.max() + sends)
        busy, at = max(lanes), mine.start
        servers = max(j.chips / j.parts[0].rates["domain"], 1.0)
        overhead = c.step_s[at] + busy * c.straggler[at] * np.log2(servers)
        out.append(float(busy + (e.dp_part_s + e.optimizer_part_s)[mine].max() + overhead))
    return np.array(out)


def constants_of(jobs: list[Job], without: str = "shipped", changes: dict[str, float] | None = None) -> Constants:
    """Return the constants of many rows, one row each."""
    return table.stacked(
        [table.constants(j.stack, j.family, j.precision, j.recipe, without, changes) for j in flat(jobs)]
    )


def weights(jobs: list[Job]) -> Array:
    """Return the square root of each row's weight."""
    groups = [table.source_of(j.group) for j in jobs]
    count = {g: groups.count(g) for g in set(groups)}
    return np.array([np.sqrt(min(1.0, MOST_PER_GROUP / count[g])) for g in groups])


@dataclass
class Design:
    """Which fitted constant each row uses, for every field of Constants."""

    keys: list[tuple[str, str]]
    index: dict[str, Array]  # field -> position in `keys` per row, -1 where fixed
    fixed: Constants
    transforms: list[str]
    centre: list[tuple[float, int]]  # (prior in its transformed unit, position of the parent or -1)
    doubt: Array

    @classmethod
    def of(cls, jobs: list[Job]) -> Design:
        """Build the design of many rows from the constants table."""
        known = table.table()
        fixed = constants_of(jobs)
        wanted: dict[tuple[str, str], int] = {}

        def place(key: tuple[str, str]) -> int:
            return wanted.setdefault(key, len(wanted))

        index = {}
        for name in table.FIELDS:
            at = []
            for job in jobs:
                key = table.resolve(name, table.scopes(job.stack, job.family, job.precision, job.recipe), known)
                skip = known[key].transform == "fixed" or (name == "broadcast_s" and not job.stack.broadcast)
                at.append(-1 if skip else place(key))
            index[name] = np.array(at)
        centre, i = [], 0
        while i < len(wanted):  # parents join the list while it is walked
            row = known[list(wanted)[i]]
            if row.prior is None:
                centre.append((0.0, place(table.parent(row, known))))
            else:
                centre.append((float(forward(row.prior, row.transform)), -1))
            i += 1
        keys = list(wanted)
        return cls(
            keys,
            index,
            fixed,
            [known[k].transform for k in keys],
            centre,
            np.array([known[k].doubt for k in keys]),
        )

    def constants(self, y: Array) -> Constants:
        """Return the constants of every row at the point `y`."""
        values = np.array([back(v, t) for v, t in zip(y, self.transforms, strict=True)] + [0.0])
        changed = {}
        for name, at in self.index.items():
            if (at >= 0).any():
                changed[name] = np.where(at >= 0, values[at], getattr(self.fixed, name))
        return self.fixed.replace(**changed)

    def start(self) -> Array:
        """Return the prior means."""
        y = np.array([c for c, _ in self.centre])
        for i, (_, up) in enumerate(self.centre):
            if up >= 0:
                y[i] = y[up]
        return y

    def prior_residuals(self, y: Array) -> Array:
        """Return how far `y` is from its priors, in standard deviations."""
        mean = np.array([y[up] if up >= 0 else c for c, up in self.centre])
        return np.asarray((y - mean) / self.doubt)


def _huber(r: Array) -> Array:
    """Return what a least-squares solver must square for a smooth L1 loss of `r`."""
    return np.asarray(np.sign(r) * np.sqrt(2.0 * (np.sqrt(1.0 + r * r) - 1.0)))


def fit(jobs: list[Job], most_steps: int = 40) -> dict[tuple[str, str], float]:
    """Fit every free constant of the rows; return (name, scope) -> value.

    The pull of the priors and of the rows is as the module says. Takes some seconds for a thousand rows.
    """
    from scipy.optimize import least_squares

    design = Design.of(jobs)
    shape, rates, strategy = columns_of(jobs)
    power = np.array([j.power for j in jobs], float).T
    measured = np.log([j.measured_step_s for j in jobs])
    weight = weights(jobs)

    def residuals(y: Array) -> Array:
        c = machine.power_scaled(design.constants(y), *power)
        r = (np.log(estimate(shape, rates, c, strategy).step_s) - measured) / SCALE
        return np.concatenate([weight * _huber(r), design.prior_residuals(y)])

    found = least_squares(residuals, design.start(), method="trf", max_nfev=most_steps, x_scale="jac")
    return {k: float(back(v, t)) for k, v, t in zip(design.keys, found.x, design.transforms, strict=True)}


CALIBRATED = {name: doubt for name, (doubt, _) in table.CALIBRATED.items()}
"""The factors that `calibrate` moves, with the doubt (log) of their blind value 1."""
COMMON = 0.10
"""Doubt (log) of a factor common to all five: the spread of the blind bias over the measured stacks."""
ROW_SCALE = 0.05
"""Residual scale of rows of one stack on one cluster."""


def pick(jobs: list[Job], without: str, n: int = 5) -> list[Job]:
    """Return the `n` rows that say most about the others, by a rule that sees no measured time.

    Each row leaves the least mean variance of the predicted steps of all rows, given how the model's own step time moves
    with the factors of CALIBRATED and the common one, and their doubts. Of rows that are one configuration (measured twice,
    or with two releases) it takes one, while there are others: they err together. Ties fall to the first id.
    """
    ordered = sorted(jobs, key=lambda j: j.id)
    same = [(j.chip, j.precision, j.recipe, tuple(j.shape.items()), tuple(j.strategy.items())) for j in ordered]
    if len(ordered) <= n:
        return ordered
    base = constants_of(ordered, without)
    t0 = np.log(steps(ordered, base))
    columns = [np.full(len(ordered), COMMON)]
    for name, doubt in CALIBRATED.items():
        moved = table.multiplied(base, {name: np.exp(0.01)})
        columns.append((np.log(steps(ordered, moved)) - t0) / 0.01 * doubt)
    jacobian = np.stack(columns, axis=-1)
    covariance = jacobian @ jacobian.T
    chosen: list[int] = []
    for _ in range(n):
        own = np.diag(covariance) + ROW_SCALE**2
        gain = (covariance**2).sum(axis=0) / own
        taken = {same[i] for i in chosen}
        gain[[k in taken for k in same]] = -1.0
        gain[chosen] = -2.0
        best = int(np.argmax(gain))
        chosen.append(best)
        covariance = covariance - np.outer(covariance[:, best], covariance[best]) / own[best]
    return [ordered[i] for i in chosen]


def calibrate(jobs: list[Job], without: str = "shipped") -> dict[str, float]:
    """Return the factors of CALIBRATED that fit a few measured steps of one stack.

    Maximum a posteriori for one factor common to all (a cluster that is slow or fast throughout) and the five beside it, so
    a factor moves only as far as the rows insist. A smooth-L1 fit comes first; from there a Cauchy loss, as wide as
    the rows then still scatter, so that one odd row of five does not drag the others.
    """
    from scipy.optimize import least_squares

    base = constants_of(jobs, without)
    measured = np.log([j.measured_step_s for j in jobs])
    names = list(CALIBRATED)
    doubt = np.array([COMMON, *CALIBRATED.values()])

    def log_error(y: Array) -> Array:
        moved = table.multiplied(base, {n: np.exp(y[0] + v) for n, v in zip(names, y[1:], strict=True)})
        return np.asarray(np.log(steps(jobs, moved)) - measured)

    def smooth_l1(y: Array) -> Array:
        return _huber(np.concatenate([log_error(y) / ROW_SCALE, y / doubt]))

    first = least_squares(smooth_l1, np.zeros(len(doubt)), max_nfev=60).x
    scale = max(ROW_SCALE, float(np.median(np.abs(log_error(first)))))

    def cauchy(y: Array) -> Array:
        r = log_error(y) / scale
        return np.concatenate([np.sign(r) * np.sqrt(np.log1p(r * r)), _huber(y / doubt)])

    found = least_squares(cauchy, first, max_nfev=60).x
    return {n: float(np.exp(found[0] + v)) for n, v in zip(names, found[1:], strict=True)}


def residual(jobs: list[Job], without: str, changes: dict[str, float]) -> float:
    """Return the root mean square of the log errors that calibration leaves on its own rows. [1]"""
    step_s = steps(jobs, constants_of(jobs, without, changes))
    return float(np.sqrt(np.mean((np.log(step_s) - np.log([j.measured_step_s for j in jobs])) ** 2)))
