"""Every legal way to split a training step, as columns, in chunks that bound memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cutline.core.errors import CutlineError
from cutline.core.numerics import Array
from cutline.plan.columns import Strategy

CHUNK = 1 << 15
"""Rows that are estimated at once: about 40 MB of intermediate columns."""
SHORTEST_SLICE = 4096
"""Context parallelism is tried while each rank keeps at least this many tokens of a sequence."""
FIELDS = (
    "tp cp pp vpp dp micro_batch micro_batches zero shard sequence_parallel selective full first middle last".split()
)


@dataclass(frozen=True)
class Space:
    """What bounds the strategies of a job. All sizes are counts."""

    chips: int
    layers: int
    heads: int
    ffn: int
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


def divisors(n: int) -> list[int]:
    """Return the divisors of n in order."""
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return sorted({*small, *(n // d for d in small)})


def layouts(layers: int, pp: int, vpp: int) -> list[tuple[int, int, int]]:
    """Return the ways to lay layers on stages as (first, middle, last) with vpp chunks per stage.

    Equal stages where layers divide; and the splits where the first and last stage hold less because they
    carry the embedding and the head: middle stages hold k = ceil(layers / pp) or k + 1, the ends share the
    rest, last no more than first. Interleaved stages are multiples of vpp, ends may be one chunk layer short.

    Examples
    --------
    >>> layouts(80, 8, 1), layouts(126, 16, 1)
    ([(10, 10, 10), (7, 11, 7)], [(7, 8, 7)])
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
    return list(dict.fromkeys(found))


def chunks(space: Space) -> Iterator[Strategy]:
    """Yield every legal strategy of a job, `CHUNK` rows at a time.

    Legal: tp divides heads and feed-forward width; tp x cp x pp x dp = chips; dp x micro_batch divides the batch;
    stages as in `layouts`; interleaving only where micro-batches are a multiple of pp; sequence parallelism
    only with tp > 1; ZeRO shards over all data-parallel ranks, or within one domain as well (HSDP); recompute
    none, selective, or n of the layers of a stage in full, for every n. What the stack does not offer (ZeRO stages,
    splitting a model, interleaving) is left out. ZeRO-2 and ZeRO-3 only without pipeline
    stages (with them gradients of many micro-batches would have to be whole).
    """
    if space.chips < 1 or space.batch < 1:
        raise CutlineError(f"chips and batch must be at least 1; got {space.chips} and {space.batch}")
    fixed = dict(space.fixed)
    waiting: list[Array] = []
    rows = 0

    def allowed(name: str, values: list[int] | list[float]) -> list[float]:
        return [v for v in values if name not in fixed or abs(v - fixed[name]) < 1e-9]

    ranks = divisors(space.chips) if space.models_split else [1]
    for tp in allowed("tp", [d for d in ranks if space.heads % d == 0 and space.ffn % d == 0]):
        cps = [
            c
            for c in divisors(space.chips // int(tp))
            if c == 1 or (space.models_split and space.seq % (2 * c) == 0 and space.seq // c >= SHORTEST_SLICE)
        ]
        for cp in allowed("cp", cps if "cp" not in fixed else divisors(space.chips // int(tp))):
            stages = [d for d in divisors(space.chips // int(tp * cp)) if d == 1 or space.models_split]
            for pp in allowed("pp", [d for d in stages if d <= space.layers]):
                dp = space.chips // int(tp * cp * pp)
                if allowed("dp", [dp]) and space.batch % dp == 0:
                    for block in _blocks(space, int(tp), int(cp), int(pp), dp, allowed):
                        waiting.append(block)
                        rows += len(block)
                        if rows >= CHUNK:
                            yield from _flush(waiting)
                            waiting, rows = [], 0
    if waiting:
        yield from _flush(waiting)


def _flush(blocks: list[Array]) -> Iterator[Strategy]:
    table = np.concatenate(blocks)
    for start in range(0, len(table), CHUNK):
        part = table[start : start + CHUNK]
        yield Strategy(**{f: part[:, i].copy() for i, f in enumerate(FIELDS)})


def _blocks(space: Space, tp: int, cp: int, pp: int, dp: int, allowed) -> Iterator[Array]:  # type: ignore[no-untyped-def]
    """Yield tables of strategies for one (tp, cp, pp, dp), columns as FIELDS."""
    ranks = dp * cp
    with_stages = (0, 1, 3) if space.stages_with_fsdp else (0, 1)  # ZeRO-2 and 3 want whole models, not stages
    levels = [float(z) for z in space.zero if pp == 1 or z in with_stages]
    inside = max(d for d in divisors(ranks) if d <= max(1, space.domain // tp))
    shards = [(z, float(ranks)) for z in allowed("zero", levels) if z > 0 and ranks > 1]
    shards += [(z, float(inside)) for z, _ in shards if z == 3 and 1 < inside < ranks and ranks % inside == 0]
    plain = [(z, float(ranks)) for z in allowed("zero", [z for z in levels if z == 0 or ranks == 1])][:1]
    zeros = np.array([r for r in plain + shards if allowed("shard", [r[1]])])
    parallel = np.array(allowed("sequence_parallel", [0.0, 1.0] if tp > 1 else [0.0]) or ([0.0] if tp == 1 else []))
    per_rank = space.batch // dp
    micros = allowed("micro_batch", [b for b in divisors(per_rank) if b <= space.most_micro_batch])
    for vpp in allowed("vpp", [v for v in divisors_up_to(space.layers, pp) if v == 1 or space.interleaves]):
        ways = [
            w
            for w in layouts(space.layers, pp, int(vpp))
            if all(allowed(n, [float(x)]) for n, x in zip(("first", "middle", "last"), w, strict=True))
        ]
        fit = np.array([b for b in micros if vpp == 1 or (per_rank // int(b)) % pp == 0], float)
        if not len(fit) or not len(parallel) or not len(zeros):
            continue
        for way in ways:
            deep = max(way)
            repeats = [(0.0, 0.0), (1.0, 0.0)] + [(0.0, n / deep) for n in range(1, deep + 1)]
            repeats = [r for r in repeats if allowed("selective", [r[0]]) and allowed("full", [r[1]])]
            if not repeats:
                continue
            b, z, q, r = (
                g.ravel()
                for g in np.meshgrid(
                    np.arange(len(fit)),
                    np.arange(len(zeros)),
                    np.arange(len(parallel)),
                    np.arange(len(repeats)),
                    indexing="ij",
                )
            )
            micro, again = fit[b], np.array(repeats)[r]
            block = np.empty((len(micro), len(FIELDS)))
            block[:, :5] = (tp, cp, pp, vpp, dp)
            block[:, 5] = micro
            block[:, 6] = per_rank / micro
            block[:, 7:9] = zeros[z]
            block[:, 9] = parallel[q]
            block[:, 10:12] = again
            block[:, 12:] = way
            yield block


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
    limits = {"zero": (0, 3), "selective": (0, 1), "full": (0, 1), "sequence_parallel": (0, 1)}
    for name, value in given.items():
        low, high = limits.get(name, (1, float("inf")))
        if not low <= value <= high or (value % 1 and name != "full"):
            rule = f"a whole number of at least {low}" if name not in limits else f"between {low} and {high}"
            raise CutlineError(f"{name} must be {rule}; got {value:g}")


def single(space: Space, given: dict[str, float]) -> Strategy:
    """Return the one strategy that a user spelled out, completed and checked.

    Raises
    ------
    CutlineError
        If a split is impossible; the message names the rule and the numbers.
    """
    g = {
        "tp": 1.0,
        "cp": 1.0,
        "pp": 1.0,
        "vpp": 1.0,
        "micro_batch": 1.0,
        "zero": 1.0,
        "selective": 0.0,
        "full": 0.0,
    } | given
    _check(g)
    tp, cp, pp, vpp = (int(g[k]) for k in ("tp", "cp", "pp", "vpp"))
    used = tp * cp * pp
    if space.chips % used:
        raise CutlineError(
            f"tp x cp x pp must divide the chips: {tp} x {cp} x {pp} = {used} does not divide {space.chips}"
        )
    dp = int(g.get("dp", space.chips // used))
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
    micro = int(g["micro_batch"])
    if space.batch % (dp * micro):
        raise CutlineError(
            f"dp x micro-batch must divide the global batch: {dp} x {micro} = {dp * micro} does not divide {space.batch} sequences"
        )
    ranks = dp * cp
    if ranks % int(g.get("shard", ranks)):
        raise CutlineError(f"shard must divide dp x cp = {ranks}; got {g['shard']:g}")
    first, middle, last = _layout(space.layers, pp, vpp)
    if vpp > 1 and (space.batch // (dp * micro)) % pp:
        raise CutlineError(
            f"interleaving needs micro-batches in multiples of pp; got {space.batch // (dp * micro)} micro-batches and pp {pp}"
        )
    row = g | {
        "dp": dp,
        "micro_batches": space.batch // (dp * micro),
        "shard": g.get("shard", float(dp * cp)),
        "sequence_parallel": g.get("sequence_parallel", float(tp > 1)) * (tp > 1),
        "first": first,
        "middle": middle,
        "last": last,
    }
    return Strategy(**{f: np.array([row[f]], float) for f in FIELDS})
