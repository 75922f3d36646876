"""Mixed fleets: which chips do what. Parties train whole replicas and share the batch; a party is a group or a pipeline over groups.

Every way to make parties of the groups is weighed, those with idle groups too; for each the batch is shared so that the
slowest party is as fast as can be. What cannot win by a bound is left out.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array
from cutline.facts.models import Model
from cutline.plan import layers, training
from cutline.plan.columns import Estimate, Strategy
from cutline.plan.expert_side import expert_side, without_experts
from cutline.plan.fleet import Fleet, Group
from cutline.plan.job import Job, batch_for, job
from cutline.plan.links import slowest, way_between
from cutline.plan.search import search
from cutline.plan.stages import MOST_TRIES, Pipeline, Way, best_pipeline, given_pipeline
from cutline.plan.strategy import divisors, single

MOST_GROUPS = 4
SHARES = 128
"""Parts into which the batch is cut before it is shared out, over the number of groups: 64 for two."""
COARSE = 8
"""The same for a pipeline that trains beside other parties."""
SPARE = 1.07
"""Slots of a group over the sequences it gets, at most: where its ranks do not divide them, some replicas carry one less."""
GROUP_FIELDS = ("network", "precision")
"""What the arguments of one group change in the group itself; the others go to `job.job`."""


@dataclass(frozen=True)
class Party:
    """Chips that train whole replicas together, and their share of the batch."""

    groups: tuple[int, ...]
    share: int  # sequences of one step
    step_s: float
    alone: tuple[Strategy, Estimate] | None = None
    pipeline: Pipeline | None = None

    @property
    def busy_s(self) -> float:
        """Time until gradients are summed over parties. [s]"""
        if self.pipeline is not None:
            return self.step_s - self.pipeline.parts["dp"]
        assert self.alone is not None
        e = self.alone[1]
        return self.step_s - float(e.dp_part_s[0] + e.optimizer_part_s[0])


@dataclass
class Mixed:
    """A question about several groups: the same model and batch on each, and the ways between them."""

    fleet: Fleet
    jobs: list[Job]
    batch: int
    assumed: list[str] = field(default_factory=list)
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)
    sides: dict[Any, Any] = field(default_factory=dict, repr=False)
    budget: Iterator[int] = field(default_factory=lambda: iter(range(MOST_TRIES)), repr=False)
    open_s: float = np.inf  # bound of pipelines that a search left untried

    def way(self, a: Job, b: Job) -> Way | None:
        """Return the way between the groups of two jobs."""
        key = (a.group.label, b.group.label)
        if key not in self.cache:
            self.cache[key] = way_between(self.fleet, a, b)
        found: Way | None = self.cache[key]
        return found

    def meeting(self, mine: tuple[int, ...], others: list[tuple[int, ...]]) -> Way | None:
        """Return the slowest way between a party and the others, or None if some have none."""
        ways = [self.way(self.jobs[a], self.jobs[b]) for a in mine for other in others for b in other]
        known = [w for w in ways if w is not None]
        return slowest(known) if len(known) == len(ways) else None

    def beside(self, g: int, parties: int, way: Way | None, servers: float) -> Job:
        """Return the job of a group that sums its gradients with those of other parties."""
        j = self.jobs[g]
        if parties == 1 or way is None:
            return j
        rates = j.rates.replace(
            parties=float(parties), between_bytes_per_s=way.bytes_per_s, between_hop_s=way.hop_s, other_servers=servers
        )
        return j.on(rates=rates)


@dataclass
class Split:
    """A way to make parties of groups, with the batch shared among them. `step_s` is that of the slowest party."""

    parties: list[Party]
    step_s: float
    bound_s: float = 0.0  # no split over these groups is faster

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Groups of each party."""
        return tuple(p.groups for p in self.parties)


def mixed(
    model: Model,
    fleet: Fleet,
    given: dict[str, dict[str, Any]] | None = None,
    global_batch: int | None = None,
    batch_tokens: float | None = None,
    **ask: Any,
) -> Mixed:
    """Return a question about several groups.

    Parameters
    ----------
    given : dict
        By label of a group, what is its own: network, precision, and arguments of `job.job` such as stack.
    **ask
        Arguments of `job.job` that all groups share.

    Raises
    ------
    CutlineError
        More than four groups, or what `job.job` refuses, with the group's name.
    """
    if len(fleet) > MOST_GROUPS:
        raise CutlineError(
            f"a plan takes at most {MOST_GROUPS} kinds of chips; got {len(fleet)}; leave out the smallest"
        )
    own = given or {}
    fleet = replace(fleet, groups=tuple(_with(g, own.get(g.label, {})) for g in fleet))
    rest = {g.label: {k: v for k, v in own.get(g.label, {}).items() if k not in GROUP_FIELDS} for g in fleet}
    lead = max(fleet, key=lambda g: g.chips)
    whole = replace(lead, chips=2 ** int(math.log2(fleet.chips)))
    first = job(model, whole, global_batch=global_batch, batch_tokens=batch_tokens, **(ask | rest[lead.label]))
    jobs, assumed = [], []
    for g in fleet:
        try:
            same = {"global_batch": first.batch, "seq": ask.get("seq") or first.seq}
            j = job(model, g, **(ask | same | rest[g.label]))
        except CutlineError as error:
            raise CutlineError(f"{g.label}: {error}") from None
        assumed += [f"{g.label}: {a}" if a.startswith(("network", "software")) else a for a in j.assumed]
        jobs.append(j)
    batch = [a for a in first.assumed if a.startswith(("batch", "sequence"))]
    return Mixed(fleet, jobs, first.batch, list(dict.fromkeys([*batch, *assumed])))


def _with(g: Group, given: dict[str, Any]) -> Group:
    """Return a group with what the command says of it in place of what its file says."""
    return replace(g, **{k: v for k, v in given.items() if k in GROUP_FIELDS})


def partitions(items: tuple[int, ...]) -> Iterator[list[tuple[int, ...]]]:
    """Yield every way to make parties of some items, each once.

    Examples
    --------
    >>> list(partitions((0, 1)))
    [[(0,), (1,)], [(0, 1)]]
    """
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for parts in partitions(rest):
        yield [(first,), *parts]
        for k in range(len(parts)):
            yield [*parts[:k], (first, *parts[k]), *parts[k + 1 :]]


def splits(q: Mixed, progress: Callable[[int], None] | None = None) -> list[Split]:
    """Return the best split of every way to make parties that a bound does not rule out, fastest first.

    The parties of one group each come first: they are quick to find, and bound what pipelines must beat.
    """
    every = range(len(q.jobs))
    ways = [p for n in range(1, len(q.jobs) + 1) for some in combinations(every, n) for p in partitions(some)]
    ways.sort(key=lambda p: (max(len(party) for party in p), -sum(len(party) for party in p)))
    found: list[Split] = []
    best = np.inf
    for parties in ways:
        floor = bound_s(q, tuple(g for party in parties for g in party))
        single = len(parties) == 1 and len(parties[0]) == 1
        if floor >= best and not single:
            continue
        split = share_out(q, parties, best)
        if split is not None:
            split.bound_s = floor
            found.append(split)
            best = min(best, split.step_s)
        if progress:
            progress(len(found))
    return sorted(found, key=lambda s: s.step_s)


def share_out(q: Mixed, parties: list[tuple[int, ...]], at_most: float = np.inf) -> Split | None:
    """Return the parties with the batch shared so that the slowest is as fast as can be; None where none beats `at_most`.

    Notes
    -----
    Shares are multiples of a 64th of the batch (a 32nd among three groups). Of a time to beat, every party names the largest share that it
    trains faster; while these hold the whole batch, the slowest of them is the next time to beat. A party with room for more
    sequences than its share leaves some of its replicas one short.
    """
    tables = [_table(q, party, parties) for party in parties]
    if any(t is None for t in tables):
        return None
    time = [t for t in tables if t is not None]
    if len(parties) == 1:
        only = time[0](q.batch, at_most)
        return None if only is None else Split([only], only.step_s)
    unit = min(d for d in divisors(q.batch) if d >= q.batch * len(q.jobs) / SHARES)
    units = q.batch // unit
    if units < len(parties):
        return None
    best = None
    limit = at_most
    first = [t(n * unit, limit) for t, n in zip(time, _start(q, parties, unit, units), strict=True)]
    if all(first):
        best = _split([p for p in first if p is not None])
        limit = best.step_s
    floors = [bound_s(q, party) / units for party in parties]
    steps = [1 if len(party) == 1 else max(1, units // COARSE) for party in parties]
    while True:
        caps = [int(min(units - len(parties) + 1, limit / f)) for f in floors]
        tops: list[Party | None] = [None] * len(parties)
        for g in sorted(
            range(len(parties)), key=lambda g: len(parties[g])
        ):  # pipelines last: the others say what is left
            needed = units - sum(caps[h] for h in range(len(parties)) if h != g)
            tops[g] = _largest(time[g], unit, caps[g], max(needed, 1), limit, steps[g])
            found = tops[g]
            if found is None:
                return best
            caps[g] = found.share // unit
        most = [p for p in tops if p is not None]
        spare = sum(p.share for p in most) // unit - units
        if spare < 0:
            return best
        for _ in range(spare):
            slow = max((p for p in most if p.share > unit), key=lambda p: p.step_s)
            most[most.index(slow)] = replace(slow, share=slow.share - unit)
        best = _split(most)
        limit = best.step_s


def _largest(time: Any, unit: int, most: int, least: int, limit: float, step: int) -> Party | None:
    """Return the party with the largest share, a multiple of `step` units, that it trains in less than `limit`."""
    for n in range(most // step * step, least - 1, -step):
        found: Party | None = time(n * unit, limit)
        if found is not None:
            return found
    return None


def _split(parties: list[Party]) -> Split:
    return Split(parties, max(p.step_s for p in parties))


def _start(q: Mixed, parties: list[tuple[int, ...]], unit: int, units: int) -> list[int]:
    """Return first shares: by the speeds that the groups of each party have alone, at their share of the peak."""
    speed = []
    peak = np.array([j.group.chips * float(j.rates.linear_flop_per_s) for j in q.jobs])
    for party in parties:
        mine = 0.0
        for g in party:
            n = max(1, round(units * peak[g] / sum(peak[h] for p in parties for h in p))) * unit
            one = _alone(q, q.jobs[g], (g,), ((g,), 1, None, 0.0), n)
            mine += n / one.step_s if one is not None else 0.5 * q.batch / bound_s(q, (g,))
        speed.append(mine)
    guess = np.maximum(1, np.round(np.array(speed) / sum(speed) * units)).astype(int)
    while guess.sum() != units:
        guess[int(np.argmax(guess))] += int(np.sign(units - guess.sum()))
    return [int(n) for n in guess]


def _table(q: Mixed, party: tuple[int, ...], parties: list[tuple[int, ...]]) -> Any:
    """Return the function from a share and a limit to the best Party below it, or None where a way between groups is missing."""
    others = [p for p in parties if p != party]
    way = q.meeting(party, others) if others else None
    if others and way is None:
        return None
    servers = sum(q.jobs[g].group.chips / float(q.jobs[g].rates.domain) for p in others for g in p)
    jobs = [q.beside(g, len(parties), way, servers) for g in party]
    context = (party, len(parties), way, servers)
    if len(party) == 1:
        return functools.partial(_alone, q, jobs[0], party, context)
    return functools.partial(_piped, q, jobs, party, context)


def _known(q: Mixed, key: Any, limit: float, find: Callable[[], tuple[Any, float]]) -> Any:
    """Return what `find` found below a limit, or None; asks again only where an earlier limit was lower.

    `find` returns what it found, or None, and its time, or the limit.
    """
    found, time = q.cache.get(key, (None, -1.0))
    if found is None and time < limit:
        found, time = q.cache[key] = find()
    return found if found is not None and time < limit else None


def _piped(
    q: Mixed, jobs: list[Job], party: tuple[int, ...], context: Any, share: int, limit: float = np.inf
) -> Party | None:
    """Return the best pipeline over the groups of a party for a share of the batch, if it is below the limit."""
    floor = bound_s(q, party) * share / q.batch
    if floor >= limit:
        return None

    def find() -> tuple[Pipeline | None, float]:
        found, least = best_pipeline(jobs, q.way, share, limit, q.sides, q.budget)
        time = limit if found is None else found.step_s
        for a, b in itertools.permutations(jobs, 2) if len(jobs) == 2 and q.jobs[0].model.experts else ():
            other, bound = _experts_apart(q, a, b, share, time)
            least = min(least, bound)
            if other is not None:
                found, time = other, other.step_s
        q.open_s = min(q.open_s, least if least < time else np.inf)
        return found, time

    found = _known(q, (*context, share), limit, find)
    return None if found is None else Party(party, share, found.step_s, pipeline=found)


def _experts_apart(q: Mixed, a: Job, b: Job, share: int, limit: float) -> tuple[Pipeline | None, float]:
    """Return the best pipeline on group `a` whose experts lie on group `b`, if it is below the limit, and a bound on all of them."""
    way = q.way(a, b)
    if way is None:
        return None, limit
    lone = without_experts(a)
    servers = b.group.chips / float(b.rates.domain) + float(a.rates.other_servers)
    lone = lone.on(rates=lone.rates.replace(other_servers=servers))
    make = functools.partial(expert_side, a, b, way, kept=q.sides)
    return best_pipeline([lone], q.way, share, limit, None, q.budget, make)


def _alone(q: Mixed, j: Job, party: tuple[int, ...], context: Any, share: int, limit: float = np.inf) -> Party | None:
    """Return the best plan of one group for a share of the batch, if it is below the limit."""
    best: Party | None = None
    for slots in slots_for(share, j.group.chips):
        found = _known(q, (*context, slots), limit, functools.partial(_searched, j.on(batch=slots), limit))
        if found is not None:
            best = Party(party, share, float(found[1].step_s[0]), alone=found)
            limit = best.step_s
    return best


def alone(q: Mixed, g: int) -> Party | None:
    """Return the best plan of one group for the whole batch, or None where nothing fits."""
    return _alone(q, q.jobs[g], (g,), ((g,), 1, None, 0.0), q.batch)


def _searched(j: Job, limit: float) -> tuple[tuple[Strategy, Estimate] | None, float]:
    """Return the best plan of a job and its time, or None and the limit."""
    found = search(j.shape, j.rates, j.constants, j.space, most_kinds=1, front=False, at_most=limit).best
    time = limit if found is None else float(found[1].step_s[0])
    return (found, time) if time < limit else (None, limit)


def slots_for(share: int, chips: int) -> list[int]:
    """Return how many sequences the replicas of a group may have room for: the share, or a little more that odd ranks divide.

    Examples
    --------
    >>> slots_for(1248, 512), slots_for(100, 24)
    ([1248], [100, 102])
    """
    odd = chips
    while odd % 2 == 0:
        odd //= 2
    found, unit = [], odd
    while 1 < odd and unit <= share * SPARE:
        slots = -(-share // unit) * unit
        if share < slots <= share * SPARE:
            found.append(slots)
        unit *= 2
    return [share, *sorted(dict.fromkeys(found[-2:]))]


def even(q: Mixed) -> Split | None:
    """Return the naive plan: all groups train replicas and every chip gets the same share of the batch."""
    parties: list[tuple[int, ...]] = [(g,) for g in range(len(q.jobs))]
    total = q.fleet.chips
    shares = [round(q.batch * j.group.chips / total) for j in q.jobs]
    shares[int(np.argmax(shares))] += q.batch - sum(shares)
    tables = [_table(q, party, parties) for party in parties]
    if any(t is None for t in tables) or min(shares) < 1:
        return None
    unit = min(d for d in divisors(q.batch) if d >= q.batch / SHARES)
    found = []
    for table, share in zip(
        tables, shares, strict=True
    ):  # room for a little more, where its ranks do not divide the share
        rooms = [share, *(n * unit for n in range(math.ceil(share / unit), math.ceil(share * SPARE / unit) + 1))]
        known = [p for slots in rooms if (p := table(slots)) is not None]
        if not known:
            return None
        found.append(replace(min(known, key=lambda p: p.step_s), share=share))
    return _split(found)


def given(
    q: Mixed,
    chosen: list[dict[str, float]],
    shares: list[int] | None,
    layers_: list[list[int]] | None,
    order: list[int] | None = None,
) -> Split:
    """Return the split that a user spelled out: replicas on each group with these shares, or one pipeline with these layers.

    A share that the ranks of a group do not divide takes places for a few more sequences, which stay empty. `order` is that of
    the groups in the pipeline; as in the fleet unless given.

    Raises
    ------
    CutlineError
        If shares do not sum to the batch, or a strategy cannot be.
    """
    every: list[tuple[int, ...]] = [(g,) for g in range(len(q.jobs))]
    if layers_ is not None:
        turn = order or list(range(len(q.jobs)))
        found = given_pipeline(
            [q.jobs[g] for g in turn], q.way, q.batch, [chosen[g] for g in turn], [layers_[g] for g in turn]
        )
        return _split([Party(tuple(turn), q.batch, found.step_s, pipeline=found)])
    if shares is None or sum(shares) != q.batch:
        got = "none" if shares is None else f"{sum(shares)}"
        raise CutlineError(f"the shares of the groups must sum to the batch of {q.batch} sequences; got {got}")
    parties = []
    for (g,), share, c in zip(every, shares, chosen, strict=True):
        others = [p for p in every if p != (g,)]
        way = q.meeting((g,), others)
        if way is None:
            raise CutlineError(
                f"{q.jobs[g].group.label} has no link to the others, so replicas cannot sum their gradients"
            )
        servers = sum(q.jobs[h].group.chips / float(q.jobs[h].rates.domain) for p in others for h in p)
        wave = max(q.jobs[g].group.chips // (c["tp"] * c["cp"] * c["pp"]), 1.0) * c["micro_batch"]
        j = q.beside(g, len(every), way, servers).on(batch=int(math.ceil(share / wave) * wave))
        try:
            s = single(j.space, c)
        except CutlineError as error:
            raise CutlineError(f"{j.group.label}: {error}") from None
        e = training.estimate(j.shape, j.rates, j.constants, s)
        parties.append(Party((g,), share, float(e.step_s[0]), alone=(s, e)))
    return _split(parties)


def bound_s(q: Mixed, groups: tuple[int, ...]) -> float:
    """Return a time that no plan over these groups beats, whatever chip does what. [s]

    Notes
    -----
    A linear program: layers, experts and head are a fluid that any chip may take at the best rate that one chip has for it over all splits
    and micro-batches; nothing is communicated, launched, repeated or idle. Solved by HiGHS.
    """
    key = ("bound", groups)
    if key not in q.cache:
        from scipy.optimize import linprog

        tables = [_work(q, g) for g in groups]
        kinds = len(tables[0])
        k = len(groups)
        # variables: x[g, c] in batches of work of kind c, then T
        cost = np.zeros(k * kinds + 1)
        cost[-1] = 1.0
        upper = np.zeros((k, k * kinds + 1))
        for i, (g, table) in enumerate(zip(groups, tables, strict=True)):
            upper[i, i * kinds : (i + 1) * kinds] = q.batch * table
            upper[i, -1] = -q.jobs[g].group.chips
        equal = np.zeros((kinds, k * kinds + 1))
        for c in range(kinds):
            equal[c, c : k * kinds : kinds] = 1.0
        found = linprog(cost, upper, np.zeros(k), equal, np.ones(kinds), method="highs")
        q.cache[key] = float(found.fun)
    return float(q.cache[key])


def _work(q: Mixed, g: int) -> Array:
    """Return chip-seconds of one sequence in all layers without experts, in experts, and in the head, at a chip's best. [s]"""
    key = ("work", g)
    if key in q.cache:
        return np.asarray(q.cache[key])
    j = q.jobs[g]
    shape, c = j.shape, training.matured(j.constants, j.rates)
    tp = np.array([d for d in divisors(j.model.heads) if d <= 64], float)
    tp, micro = (x.ravel() for x in np.meshgrid(tp, 2.0 ** np.arange(7), indexing="ij"))
    one = np.ones(len(tp))
    plain = {f: 0.0 * one for f in ("selective", "full", "zero")} | dict.fromkeys(
        ("cp", "pp", "vpp", "dp", "micro_batches", "shard", "first", "middle", "last", "ep", "etp"), one
    )
    s = Strategy(tp=tp, micro_batch=micro, sequence_parallel=(tp > 1) * one, **plain)
    usual, lead = layers.mixes(shape)
    quiet = shape.replace(topk=0.0)

    def least(x: Any) -> float:
        return float(np.min(np.broadcast_to(x, len(tp)) * tp / micro))

    def of(mix: layers.Mix) -> Any:
        one_layer = layers.layer(quiet, j.rates, c, s, mix)
        return (
            one_layer.products + one_layer.products_backward + one_layer.attention + one_layer.attention_backward
            + (1.0 + layers.BACKWARD_STREAM) * one_layer.stream
        )  # fmt: skip

    body = (shape.layers - shape.lead) * least(of(usual))
    if np.any(np.asarray(shape.lead) > 0):
        body += shape.lead * least(of(lead))
    experts = 0.0
    if np.any(np.asarray(shape.moe_layers) > 0):
        balanced = j.rates.replace(imbalance=0.0)
        spread = s.replace(tp=one, sequence_parallel=0.0 * one)
        work = layers.routed(shape, balanced, c, spread.replace(ep=one * shape.experts)).work
        most = layers.routed(shape, balanced, c, spread).work
        each = np.minimum(work.forward + work.backward, most.forward + most.backward)
        experts = float(shape.moe_layers) * float(np.min(each / micro))
    head = float(np.min((training.ends_s(shape, j.rates, c, s, 0.0)[1]) * tp / micro))
    q.cache[key] = np.array([body, experts, head])
    return np.asarray(q.cache[key])


def batch_of(q: Mixed, tokens: float) -> int:
    """Return the sequences of one step for a number of tokens."""
    return batch_for(tokens, q.jobs[0].seq, q.fleet.chips)
