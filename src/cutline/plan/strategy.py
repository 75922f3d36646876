"""Every legal way to split a training step: cores (how chips are shared out) times inners (how a rank works)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import NamedTuple

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array, Indices
from cutline.plan.columns import Strategy

CHUNK = 1 << 15
"""Rows that are estimated at once: about 40 MB of intermediate columns."""
SHORTEST_SLICE = 4096
"""Context parallelism is tried while each rank keeps at least this many tokens of a sequence."""
FIELDS = tuple(f.name for f in fields(Strategy))
CORE = ("tp", "cp", "cp_kind", "pp", "dp", "ep", "etp", "micro_batch", "micro_batches", "sequence_parallel")
"""Fields that say how chips and batch are shared out."""
INNER = (
    "vpp", "schedule", "first", "middle", "last", "zero", "shard", "selective", "light", "feed", "full", "offload", "graphs", "ep_hidden",
)  # fmt: skip
"""Fields that say how one rank works; `shard` stands there as 0 for all data-parallel ranks, 1 for those of one domain."""


@dataclass(frozen=True)
class Space:
    """What bounds the strategies of a job. All sizes are counts; tuples hold what is on offer, as columns spell it."""

    chips: int
    layers: int
    heads: int
    ffn: int  # 0 if no layer has a dense block
    vocab: int
    batch: int  # sequences of one step
    seq: int
    domain: int = 8
    most_micro_batch: int = 64
    zero: tuple[int, ...] = (0, 1, 2, 3)
    models_split: bool = True  # tensor and pipeline parallelism are on offer
    interleaves: bool = True
    stages_with_fsdp: bool = False  # ZeRO-3 with pipeline stages: parameters are gathered once per step
    fixed: tuple[tuple[str, float], ...] = ()  # strategy fields that the user has set
    experts: int = 0
    expert_ffn: int = 0
    mtp: int = 0  # prediction layers behind the last one
    schedules: tuple[int, ...] = (0,)
    cp_kinds: tuple[int, ...] = (0,)
    modules: bool = False  # recompute of single modules: norms and activations, feed-forward blocks
    mixed: bool = False  # n layers in full and modules in the others
    offload: tuple[int, ...] = (0,)
    graphs: tuple[int, ...] = (0,)
    ep_hidden: tuple[int, ...] = (0,)
    etp: bool = True  # experts may be split by tensor parallelism

    def allowed(self, name: str, values: list[float] | list[int] | tuple[int, ...]) -> list[float]:
        """Return the values of a field that the user has not ruled out."""
        fixed = dict(self.fixed)
        return [float(v) for v in values if name not in fixed or abs(v - fixed[name]) < 1e-9]


def divisors(n: int) -> list[int]:
    """Return the divisors of n in order."""
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return sorted({*small, *(n // d for d in small)})


def layouts(layers: int, pp: int, vpp: int, mtp: int = 0) -> list[tuple[int, int, int]]:
    """Return the ways to lay layers on stages as (first, middle, last) with vpp chunks per stage.

    Equal stages where layers divide; and the splits where the first and last stage hold less because they
    carry the embedding and the head: middle stages hold k = ceil(layers / pp) or k + 1, the ends share the
    rest, last no more than first. Interleaved stages are multiples of vpp, ends may be one chunk layer short. Where
    layers do not divide, or `mtp` prediction layers follow, also the split in which loss (as one layer) and these
    find their room on the last stage, whose last chunks are short.

    Examples
    --------
    >>> layouts(80, 8, 1), layouts(126, 16, 1), layouts(61, 16, 4)
    ([(10, 10, 10), (7, 11, 7)], [(7, 8, 7), (8, 8, 6)], [(4, 4, 1)])
    """
    if pp == 1:
        return [(layers, layers, layers)] if vpp == 1 else []
    found = []
    for k in (-(-layers // pp), -(-layers // pp) + 1):
        if k % vpp and vpp > 1:
            continue
        rest = layers - (pp - 2) * k
        last, first = rest // 2, rest - rest // 2
        if not (vpp <= last <= first <= k):
            continue
        if vpp > 1 and not (first == last == k or (first == last == k - 1)):
            continue  # Megatron interleaves equal chunks; embedding and head may stand for one layer each
        found.append((first, k if pp > 2 else first, last))  # two stages have no middle
    k = -(-(layers + mtp + 1) // pp)
    last = layers - k * (pp - 1)
    if (mtp or layers % pp) and last >= 1 and k % vpp == 0:
        found.append((k, k, last))
    return list(dict.fromkeys(found))


def cores(space: Space) -> Strategy | None:
    """Return every way to share out chips and batch, one row each, or None; other fields hold their plainest value.

    Legal: tp divides heads and the widths that it splits; tp x cp x pp x dp = chips; dp x micro_batch divides the batch;
    sequence parallelism only with tp > 1, and always there in a sparse model; ep divides the experts, and ep x etp divides
    tp x cp x dp, where etp is 1 or tp; context parallelism by all-to-all splits heads over tp x cp.
    """
    if space.chips < 1 or space.batch < 1:
        raise CutlineError(f"chips and batch must be at least 1; got {space.chips} and {space.batch}")
    rows: list[tuple[float, ...]] = []
    ranks = divisors(space.chips) if space.models_split else [1]
    for tp in space.allowed("tp", [d for d in ranks if space.heads % d == 0 and space.ffn % d == 0]):
        for cp, kind in _context(space, int(tp)):
            stages = [d for d in divisors(space.chips // int(tp * cp)) if d == 1 or space.models_split]
            for pp in space.allowed("pp", [d for d in stages if d <= space.layers]):
                dp = space.chips // int(tp * cp * pp)
                if not space.allowed("dp", [dp]) or space.batch % dp:
                    continue
                per_rank = space.batch // dp
                micros = space.allowed("micro_batch", [b for b in divisors(per_rank) if b <= space.most_micro_batch])
                parallel = _parallel(space, int(tp))
                for (ep, etp), b, q in product(_experts(space, int(tp), int(tp * cp) * dp), micros, parallel):
                    rows.append((tp, cp, kind, pp, dp, ep, etp, b, per_rank / b, q))
    if not rows:
        return None
    table = np.array(rows)
    one = np.ones(len(rows))
    given = {name: table[:, i].copy() for i, name in enumerate(CORE)}
    plain = {"vpp": one, "shard": given["dp"] * given["cp"]} | dict.fromkeys(("first", "middle", "last"), one)
    return Strategy(**{f: given.get(f, plain.get(f, 0.0 * one)) for f in FIELDS})


def _context(space: Space, tp: int) -> Iterator[tuple[float, float]]:
    """Yield (cp, kind) of context parallelism."""
    every = divisors(space.chips // tp)
    few = [
        c
        for c in every
        if c == 1 or (space.models_split and space.seq % (2 * c) == 0 and space.seq // c >= SHORTEST_SLICE)
    ]
    asked = any(name == "cp" for name, _ in space.fixed)
    for cp in space.allowed("cp", every if asked else few):
        kinds = space.cp_kinds if cp > 1 else (0,)
        for kind in space.allowed("cp_kind", kinds) if cp > 1 else [0.0]:
            if kind != 2 or space.heads % int(tp * cp) == 0:
                yield cp, kind


def _parallel(space: Space, tp: int) -> list[float]:
    if tp == 1:
        return [0.0]
    return space.allowed("sequence_parallel", [1.0] if space.experts else [0.0, 1.0])


def _experts(space: Space, tp: int, ranks: int) -> list[tuple[float, float]]:
    """Return (ep, etp) of the experts of a stage of so many ranks."""
    if not space.experts:
        return [(1.0, 1.0)]
    found = []
    for etp in space.allowed("etp", [1, tp] if space.etp and tp > 1 and space.expert_ffn % tp == 0 else [1]):
        every = [d for d in divisors(space.experts) if ranks % (d * int(etp)) == 0]
        found += [(ep, etp) for ep in space.allowed("ep", every)]
    return found


class Kind(NamedTuple):
    """What decides which inners a core has."""

    pp: int
    interleaved: bool  # micro-batches are a multiple of pp
    deep: bool  # as many micro-batches as stages
    dual: bool  # even stages, an even number of micro-batches, two per stage
    sharded: bool  # more than one data-parallel rank
    inside: bool  # some but not all of them in one domain
    spread: bool  # experts lie on several ranks


def nearest(space: Space, s: Strategy) -> Array:
    """Return the data-parallel ranks of each row that share a domain and divide all of them. [1]"""
    ranks = np.asarray(s.dp * s.cp, int)
    most = np.maximum(1, space.domain // np.asarray(s.tp, int))
    pairs = np.stack([ranks, most], axis=-1)
    unique, index = np.unique(pairs, axis=0, return_inverse=True)
    best = np.array([max(d for d in divisors(int(r)) if d <= m) for r, m in unique], float)
    return np.asarray(best[index.ravel()])


def kinds(space: Space, s: Strategy) -> tuple[list[Kind], Indices]:
    """Return the distinct kinds of some cores, and which kind each core is of."""
    pp, m = np.asarray(s.pp, int), np.asarray(s.micro_batches, int)
    ranks, near = np.asarray(s.dp * s.cp, int), nearest(space, s)
    columns = np.stack(
        [pp, m % pp == 0, m >= pp, (pp % 2 == 0) & (m % 2 == 0) & (m >= 2 * pp), ranks > 1, (near > 1) & (near < ranks), s.ep > 1],
        axis=-1,
    )  # fmt: skip
    unique, index = np.unique(columns, axis=0, return_inverse=True)
    return [Kind(int(u[0]), *(bool(v) for v in u[1:])) for u in unique], index.ravel()


def inners(space: Space, kind: Kind) -> Array:
    """Return every way in which the ranks of a kind of core may work, columns as INNER.

    Legal: stages as in `layouts`; interleaving only where micro-batches are a multiple of pp; zero-bubble schedules
    without interleaving, DualPipe with even stages and at least two micro-batches per stage; ZeRO shards over all
    data-parallel ranks, or within one domain as well (HSDP), ZeRO-2 and 3 only without pipeline stages (with them gradients of many
    micro-batches would have to be whole) unless the stack gathers once per step; recompute none, of modules, or n of the
    layers of a stage in full, for every n; exchanges hide where a rank has two micro-batches at once (one stage,
    chunks, DualPipe) and forward work is not repeated; launch graphs hold no host offload.
    """
    return _inners(replace(space, chips=1, batch=1, seq=1), kind)


@functools.lru_cache(maxsize=512)
def _inners(space: Space, kind: Kind) -> Array:
    """`inners`, kept: it does not hang on chips, batch and sequence."""
    pp = kind.pp
    with_stages = (0, 1, 3) if space.stages_with_fsdp else (0, 1)
    levels = [z for z in space.zero if pp == 1 or z in with_stages]
    shards = [(z, 0.0) for z in space.allowed("zero", levels) if z > 0 and kind.sharded]
    shards += [(z, 1.0) for z, _ in shards if z == 3 and kind.inside]
    plain = [(z, 0.0) for z in space.allowed("zero", [z for z in levels if z == 0 or not kind.sharded])][:1]
    tables = []
    for schedule, vpp, way in _pipelines(space, kind):
        repeats = _repeats(space, max(way))
        hidden = (0,) if not kind.spread else (1,) if schedule == 3 else space.ep_hidden
        together = pp == 1 or vpp > 1 or schedule == 3
        work = [
            (off, graph, hide)
            for off, graph, hide in product(
                space.allowed("offload", space.offload),
                space.allowed("graphs", space.graphs),
                space.allowed("ep_hidden", hidden),
            )
            if (together or not hide) and not (off and graph)
        ]
        if not repeats or not work or not plain + shards:
            continue
        a, b, c = (
            g.ravel() for g in np.meshgrid(*(np.arange(len(x)) for x in (plain + shards, repeats, work)), indexing="ij")
        )
        table = np.empty((len(a), len(INNER)))
        table[:, :5] = (vpp, schedule, *way)
        table[:, 5:7] = np.array(plain + shards)[a]
        table[:, 7:11] = np.array(repeats)[b]
        table[:, 11:] = np.array(work)[c]
        tables.append(table[(table[:, 13] == 0) | (table[:, 10] == 0)])
    return np.concatenate(tables) if tables else np.empty((0, len(INNER)))


def _pipelines(space: Space, kind: Kind) -> Iterator[tuple[float, float, tuple[int, int, int]]]:
    """Yield (schedule, vpp, layers on first, middle and last stage)."""
    for schedule in space.allowed("schedule", space.schedules if kind.pp > 1 else (0,)):
        if (schedule in (1, 2) and not kind.deep) or (schedule == 3 and not kind.dual):
            continue
        chunks_of = divisors_up_to(space.layers, kind.pp) if schedule == 0 else [1]
        for vpp in space.allowed("vpp", [v for v in chunks_of if v == 1 or (space.interleaves and kind.interleaved)]):
            for way in layouts(space.layers, kind.pp, int(vpp), space.mtp):
                if all(space.allowed(n, [float(x)]) for n, x in zip(("first", "middle", "last"), way, strict=True)):
                    yield schedule, vpp, way


def _repeats(space: Space, deep: int) -> list[tuple[float, float, float, float]]:
    """Return (selective, light, feed, full) of what may be recomputed on stages of so many layers."""
    modules = (
        [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 0.0), (1.0, 1.0, 1.0)] if space.modules else [(1.0, 0.0, 0.0)]
    )
    found = [(0.0, 0.0, 0.0, 0.0), *((*m, 0.0) for m in modules)]
    found += [(0.0, 0.0, 0.0, n / deep) for n in range(1, deep + 1)]
    if space.mixed:
        found += [(*m, n / deep) for m in modules for n in range(1, deep)]
    names = ("selective", "light", "feed", "full")
    return [r for r in found if all(space.allowed(n, [v]) for n, v in zip(names, r, strict=True))]


def expand(space: Space, core: Strategy, table: Array) -> Iterator[tuple[Indices, Strategy]]:
    """Yield cores of one kind crossed with their inners, `CHUNK` rows at a time, each with the rows of its cores."""
    near = nearest(space, core)
    ranks = core.dp * core.cp
    fixed = dict(space.fixed)
    at_once = max(1, CHUNK // max(1, len(table)))
    for start in range(0, len(core), at_once):
        some = np.arange(start, min(start + at_once, len(core)))
        for begin in range(0, len(table), CHUNK):
            part = table[begin : begin + CHUNK]
            i, j = np.repeat(some, len(part)), np.tile(np.arange(len(part)), len(some))
            columns = {name: getattr(core, name)[i] for name in CORE}
            columns |= {name: part[j, k] for k, name in enumerate(INNER)}
            columns["shard"] = np.where(columns["shard"] > 0, near[i], ranks[i])
            found = Strategy(**columns)
            kept = np.abs(found.shard - fixed["shard"]) < 1e-9 if "shard" in fixed else slice(None)
            yield i[kept], found[kept]


def chunks(space: Space) -> Iterator[Strategy]:
    """Yield every legal strategy of a job, at most `CHUNK` rows at a time: every core with every inner."""
    core = cores(space)
    if core is None:
        return
    named, index = kinds(space, core)
    for k, kind in enumerate(named):
        table = inners(space, kind)
        if len(table):
            yield from (part for _, part in expand(space, core[np.flatnonzero(index == k)], table) if len(part))


def divisors_up_to(layers: int, pp: int) -> list[int]:
    """Return the chunk counts per stage that any layout of `layers` on `pp` stages may have."""
    if pp == 1:
        return [1]
    return sorted({v for k in (-(-layers // pp), -(-layers // pp) + 1) for v in divisors(k)})


def _layout(layers: int, pp: int, vpp: int) -> tuple[int, int, int]:
    """Return the first layout of `layouts`; refuse what cannot be laid."""
    ways = layouts(layers, pp, vpp)
    if ways:
        return ways[0]
    if vpp > 1:
        raise CutlineError(
            f"vpp {vpp} does not fit {layers} layers on {pp} stages; it must divide the layers of a stage"
        )
    most = max(p for p in range(1, pp) if layouts(layers, p, 1))
    raise CutlineError(f"{layers} layers cannot be laid on {pp} stages; use at most {most} stages")


def _check(given: dict[str, float]) -> None:
    """Refuse sizes that are no counts, and switches outside their range."""
    switches = ("selective", "full", "sequence_parallel", "light", "feed", "offload", "graphs", "ep_hidden")
    limits = dict.fromkeys(switches, (0, 1)) | {"zero": (0, 3), "cp_kind": (0, 2), "schedule": (0, 3)}
    for name, value in given.items():
        low, high = limits.get(name, (1, float("inf")))
        if not low <= value <= high or (value % 1 and name != "full"):
            rule = f"a whole number of at least {low}" if name not in limits else f"between {low} and {high}"
            raise CutlineError(f"{name} must be {rule}; got {value:g}")


def _check_experts(space: Space, ep: int, etp: int, tp: int, ranks: int) -> None:
    """Refuse a split of experts that cannot be."""
    if not space.experts and ep * etp > 1:
        raise CutlineError(f"ep and etp split experts, which this model does not have; got ep {ep}, etp {etp}")
    if space.experts and (space.experts % ep or ranks % (ep * etp)):
        raise CutlineError(
            f"ep must divide the experts, and ep x etp the chips of a stage; got ep {ep}, etp {etp}, {space.experts} experts, {ranks} chips"
        )
    if etp not in (1, tp):
        raise CutlineError(f"etp must be 1 or tp; got etp {etp}, tp {tp}")


def _check_schedule(schedule: int, pp: int, vpp: int, micro_batches: int) -> None:
    """Refuse a schedule that these stages and micro-batches cannot run."""
    if schedule and vpp > 1:
        raise CutlineError(f"zero-bubble schedules and DualPipe have one chunk per stage; got vpp {vpp}")
    if schedule in (1, 2) and micro_batches < pp:
        raise CutlineError(f"zero-bubble schedules need as many micro-batches as stages; got {micro_batches} for {pp}")
    if schedule == 3 and (pp % 2 or micro_batches % 2 or micro_batches < 2 * pp):
        raise CutlineError(
            f"DualPipe needs even stages and an even number of micro-batches, two per stage; got pp {pp}, {micro_batches} micro-batches"
        )


def _check_split(space: Space, tp: int, cp: int, pp: int, dp: int, micro: int) -> None:
    """Refuse ranks that do not share out chips, model and batch."""
    used = tp * cp * pp
    if used * dp != space.chips:
        raise CutlineError(
            f"tp x cp x pp x dp must equal the chips: {tp} x {cp} x {pp} x {dp} = {used * dp}, not {space.chips}"
        )
    if space.seq % cp:
        raise CutlineError(f"cp must divide the sequence; got cp {cp} for {space.seq} tokens")
    if space.heads % tp or space.ffn % tp:
        raise CutlineError(
            f"tp must divide heads and feed-forward width; got tp {tp}, {space.heads} heads, width {space.ffn}"
        )
    if pp > space.layers:
        raise CutlineError(f"pp must be at most the number of layers; got pp {pp} for {space.layers} layers")
    if space.batch % (dp * micro):
        raise CutlineError(
            f"dp x micro-batch must divide the global batch: {dp} x {micro} = {dp * micro} does not divide {space.batch} sequences"
        )


def single(space: Space, given: dict[str, float]) -> Strategy:
    """Return the one strategy that a user spelled out, completed and checked.

    Raises
    ------
    CutlineError
        If a split is impossible; the message names the rule and the numbers.
    """
    g = dict.fromkeys(("tp", "cp", "pp", "vpp", "micro_batch", "zero", "ep", "etp"), 1.0) | given
    _check(g)
    tp, cp, pp, vpp, micro = (int(g[k]) for k in ("tp", "cp", "pp", "vpp", "micro_batch"))
    if space.chips % (tp * cp * pp):
        raise CutlineError(
            f"tp x cp x pp must divide the chips: {tp} x {cp} x {pp} = {tp * cp * pp} does not divide {space.chips}"
        )
    dp = int(g.get("dp", space.chips // (tp * cp * pp)))
    _check_split(space, tp, cp, pp, dp, micro)
    _check_experts(space, int(g["ep"]), int(g["etp"]), tp, tp * cp * dp)
    if g.get("cp_kind") == 2 and space.heads % (tp * cp):
        raise CutlineError(
            f"all-to-all context parallelism splits heads: {space.heads} do not divide by tp x cp = {tp * cp}"
        )
    ranks, count = dp * cp, space.batch // (dp * micro)
    if ranks % int(g.get("shard", ranks)):
        raise CutlineError(f"shard must divide dp x cp = {ranks}; got {g['shard']:g}")
    first, middle, last = _layout(space.layers, pp, vpp)
    if vpp > 1 and count % pp:
        raise CutlineError(
            f"interleaving needs micro-batches in multiples of pp; got {count} micro-batches and pp {pp}"
        )
    _check_schedule(int(g.get("schedule", 0)), pp, vpp, count)
    row = g | {
        "dp": dp,
        "micro_batches": count,
        "shard": g.get("shard", float(ranks)),
        "sequence_parallel": g.get("sequence_parallel", float(tp > 1)) * (tp > 1),
        "first": first,
        "middle": middle,
        "last": last,
    }
    return Strategy(**{f: np.array([row.get(f, 0.0)], float) for f in FIELDS})
