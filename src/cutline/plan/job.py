"""A question as numbers: model, chips, batch, format and stack, with every default named."""

from __future__ import annotations

from dataclasses import dataclass, field

from cutline.core.errors import CutlineError
from cutline.core.numerics import above
from cutline.facts import reader
from cutline.facts.models import Model
from cutline.plan import constants as table
from cutline.plan import machine
from cutline.plan.columns import Constants, Rates, Shape
from cutline.plan.fleet import Group, fleet, one_group
from cutline.plan.stacks import STACKS, Stack
from cutline.plan.strategy import Space, divisors

LONGEST = 8192
"""Sequence of a pre-training whose length is not published (guess: usual for models of 2024 and 2025)."""


@dataclass
class Job:
    """A question as numbers: a model on one group of chips, with everything that physics needs."""

    model: Model
    group: Group
    tokens: float | None
    seq: int
    batch: int  # sequences
    precision: str
    stack: Stack
    shape: Shape
    rates: Rates
    constants: Constants
    assumed: list[str] = field(default_factory=list)
    calibrated: bool = False
    money: str = "rent"
    residual: float | None = None  # what a calibration left on its own rows; None without one

    @property
    def space(self) -> Space:
        """What bounds the strategies of this job."""
        m = self.model
        return Space(
            self.group.chips, m.layers, m.heads, m.ffn, m.vocab, self.batch, self.seq, int(self.rates.domain),
            zero=self.stack.zeros, models_split=self.stack.models_split, interleaves=self.stack.interleaves,
            stages_with_fsdp=self.stack.gather_once,
        )  # fmt: skip


def batch_for(tokens_per_step: float, seq: int, chips: int) -> int:
    """Return the sequences of one step: within a tenth of the wanted tokens, divisible as the chips are.

    Keeps the largest odd divisor of `chips`, then the largest power of two, of which a multiple lies within 10 %.

    Examples
    --------
    >>> batch_for(4e6, 2048, 2048), batch_for(4e6, 2048, 1000), batch_for(2e6, 2048, 992), batch_for(2048, 2048, 64)
    (2048, 2000, 992, 1)
    """
    wanted = tokens_per_step / seq
    if wanted < 1.5:
        return 1
    for odd in reversed([d for d in divisors(chips) if d % 2]):
        for k in range(20, -1, -1):
            near = max(1, round(wanted / (odd << k))) * (odd << k)
            if abs(near - wanted) <= 0.1 * wanted:
                return near
    return round(wanted)


def job(
    model: Model,
    on: str,
    tokens: float | None = None,
    seq: int | None = None,
    batch_tokens: float | None = None,
    global_batch: int | None = None,
    precision: str = "bf16",
    stack: Stack | None = None,
    changes: dict[str, float] | None = None,
    network: str | None = None,
    money: str = "rent",
    residual: float | None = None,
) -> Job:
    """Turn a question into numbers; every default that was used is named in `assumed`.

    Raises
    ------
    CutlineError
        If the model is sparse (not modelled yet), the fleet has several kinds, or a fact is missing.
    """
    assumed: list[str] = []
    above(0, **{k: v for k, v in (("tokens", tokens), ("batch_tokens", batch_tokens)) if v is not None})
    if money not in ("rent", "own"):
        raise CutlineError(f"money must be rent or own; got '{money}'")
    group = one_group(fleet(on))
    if model.kind != "dense" or model.experts or model.latent:
        raise CutlineError(
            f"{model.name} is a sparse or latent-attention model, which the training estimate does not cover yet; "
            "take a dense model"
        )
    if seq is None:
        published = bool(model.sources and model.context)  # a config.json gives only the longest context served
        seq = model.context if published else min(model.context or LONGEST, LONGEST)
        assumed.append(f"sequence {seq}: " + ("as pre-trained" if published else "usual (--seq names another)"))
    if seq < 1:
        raise CutlineError(f"seq must be at least 1; got {seq}")
    if global_batch is None:
        if batch_tokens is None:
            claim = reader.table("models").best(model.name, "batch_tokens") if model.sources else None
            batch_tokens = float(claim.value) if claim else 4e6
            assumed.append(
                f"batch {batch_tokens / 1e6:g}M tokens: " + ("as published" if claim else "usual for pre-training")
            )
        global_batch = batch_for(batch_tokens, seq, group.chips)
    if stack is None:
        stack = STACKS["typical"]
        assumed.append("software stack: the middle of all measured ones (--stack names one)")
    if model.window and model.window < seq:
        assumed.append(f"windowed attention ({model.window} tokens) counted as full attention")
    rates = machine.rates(group.chip, precision, group.chips, _network(group, network, assumed))
    constants = table.constants(stack, group.chip.text("family"), precision, changes=changes)
    constants = machine.power_scaled(constants, *machine.power_factor_inputs(group.chip))
    constants = Constants(**{k: float(v) for k, v in constants.as_dict().items()})
    shape = shape_of(model, seq)
    return Job(
        model, group, tokens, seq, global_batch, precision, stack, shape, rates, constants, assumed, bool(changes), money, residual
    )  # fmt: skip


def shape_of(model: Model, seq: int) -> Shape:
    """Return the columns of a catalogue model at a sequence length."""
    return Shape(
        layers=model.layers, hidden=model.hidden, heads=model.heads, kv_heads=model.kv_heads, head_dim=model.head_dim,
        ffn=model.ffn, gated=float(model.gated), vocab=model.vocab, tied=float(model.tied), positions=model.positions, seq=seq,
    )  # fmt: skip


def _network(group: Group, network: str | None, assumed: list[str]) -> float | None:
    """Return the network rate per chip that the user named; None takes the usual one. [bytes/s]"""
    if network:
        rate = machine.network_bytes_per_s(network, group.chip.get("node", default=8.0))
        if rate is None:
            raise CutlineError(f"network '{network}' does not parse; write '400 Gb/s per chip' or '8x200 Gb/s'")
        return rate
    if group.chips > machine.scale_up(group.chip, group.chips)[0]:
        claim = group.chip.facts.get(("link", "scale-out"))
        usual = f"{claim.printed} per chip, usual for the part" if claim else "100 Gb/s per chip (guess)"
        assumed.append(f"network {usual} (--network names another)")
    return None
