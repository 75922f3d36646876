"""A question as numbers: model, chips, batch, format and stack, with every default named."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from cutline.core.errors import CutlineError
from cutline.core.numerics import above, at_least
from cutline.facts import reader
from cutline.facts.models import Model
from cutline.physics.experts import dropped_share
from cutline.plan import constants as table
from cutline.plan import machine
from cutline.plan.columns import Constants, Rates, Shape
from cutline.plan.fleet import Fleet, Group, fleet
from cutline.plan.frameworks import Framework, framework_of, offered
from cutline.plan.precision import recipe
from cutline.plan.shapes import Clip, clip_of, clip_tokens, shape_of
from cutline.plan.stacks import STACKS, Stack
from cutline.plan.strategy import Space, divisors

LONGEST = 8192
"""Sequence of a pre-training whose length is not published (guess: usual for models of 2024 and 2025)."""
CLIPS = 64
"""Clips of one step of a diffusion transformer (guess: the batch of the published Wan rows)."""


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
    framework: Framework
    assumed: list[str] = field(default_factory=list)
    calibrated: bool = False
    money: str = "rent"
    residual: float | None = None  # what a calibration left on its own rows; None without one
    clip: Clip | None = None  # of a diffusion transformer

    @property
    def space(self) -> Space:
        """What bounds the strategies of this job."""
        m = self.model
        plain = Space(
            self.group.chips, m.layers, m.heads, m.ffn if m.dense_layers else 0, m.vocab, self.batch, self.seq, int(self.rates.domain),
            experts=m.experts, expert_ffn=m.expert_ffn, mtp=int(self.shape.mtp),
        )  # fmt: skip
        return offered(plain, self.framework)

    def on(self, **changes: object) -> Job:
        """Return the same job with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]


def batch_for(tokens_per_step: float, seq: int, chips: int) -> int:
    """Return the sequences of one step: the wanted ones if a quarter of the chips or more divide them; else within a tenth.

    Keeps the largest odd divisor of `chips`, then the largest power of two, of which a multiple lies within 10 %.

    Examples
    --------
    >>> batch_for(4e6, 2048, 2048), batch_for(4e6, 2048, 1000), batch_for(2e6, 2048, 992), batch_for(2048, 2048, 64)
    (2048, 2000, 992, 1)
    """
    wanted = tokens_per_step / seq
    if wanted < 1.5:
        return 1
    if wanted == round(wanted) and math.gcd(round(wanted), chips) >= chips / 4:
        return round(wanted)
    for odd in reversed([d for d in divisors(chips) if d % 2]):
        for k in range(20, -1, -1):
            near = max(1, round(wanted / (odd << k))) * (odd << k)
            if abs(near - wanted) <= 0.1 * wanted:
                return near
    return round(wanted)


def job(
    model: Model,
    on: str | Group,
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
    framework: str | None = None,
    imbalance: float | None = None,
    capacity: float = 0.0,
    mtp: bool = True,
    clip: str | None = None,
    clips: float | None = None,
    gradients: str | None = None,
) -> Job:
    """Turn a question into numbers; every default that was used is named in `assumed`.

    Parameters
    ----------
    on : str or Group
        The fleet in words, or chips that the catalogue may not know. What a group says of its network, stack and precision
        comes first for precision, and last for the others.
    framework : str, optional
        Whose strategies are legal; what the stack's own framework offers unless given.
    imbalance, capacity : float, optional
        Coefficient of variation of the load of one expert (0 is forced balance), and the load at which it drops.
    mtp : bool
        Train the model's multi-token-prediction layers.
    clip, clips : optional
        Frames x height x width of a diffusion transformer's clip; how many clips a run sees, in place of tokens.
    gradients : str, optional
        Width in which gradients are reduced, `bf16` or `fp32`; as usual for the stack unless given.

    Raises
    ------
    CutlineError
        If the fleet has several kinds, a fact is missing, or an option does not fit the model.
    """
    assumed: list[str] = []
    above(
        0, **{k: v for k, v in (("tokens", tokens), ("batch_tokens", batch_tokens), ("clips", clips)) if v is not None}
    )
    if money not in ("rent", "own"):
        raise CutlineError(f"money must be rent or own; got '{money}'")
    group = on if isinstance(on, Group) else only(fleet(on))
    network, precision = network or group.network, _format(group, precision, assumed)
    seq, shot = _sequence(model, seq, clip, assumed)
    if clips is not None:
        if shot is None:
            raise CutlineError(
                f"{model.name} is trained on tokens, not on clips; --clips is for diffusion transformers"
            )
        tokens = clips * seq
    global_batch = _batch(model, seq, batch_tokens, global_batch, group.chips, shot, assumed)
    stack = _stack(stack, group, gradients, precision, assumed)
    constants = table.constants(
        stack, group.chip.text("family"), recipe(precision).peak, recipe(precision).recipe, changes=changes
    )
    constants = machine.power_scaled(constants, *machine.power_factor_inputs(group.chip))
    constants = Constants(**{k: float(v) for k, v in constants.as_dict().items()})
    rates = _rates(model, group, precision, network, imbalance, capacity, assumed)
    if model.mtp_layers:
        assumed.append(
            "multi-token prediction "
            + ("trained" if mtp else "left out")
            + (" (--no-mtp leaves it out)" if mtp else "")
        )
    shape = shape_of(model, seq, mtp)
    return Job(
        model, group, tokens, seq, global_batch, precision, stack, shape, rates, constants, framework_of(stack, framework),
        assumed, bool(changes), money, residual, shot,
    )  # fmt: skip


def _format(group: Group, precision: str, assumed: list[str]) -> str:
    """Return the recipe that a group runs: as it says, else as asked; fp16 where its chips have no bf16."""
    wanted = group.precision or precision
    peaks = {item for field, item in group.chip.facts if field == "peak"}
    if wanted == "bf16" and "bf16-dense" not in peaks and "fp16-dense" in peaks:
        assumed.append(f"fp16, with a scaled loss: {group.chip.name} has no bf16")
        return "fp16"
    return wanted


def _stack(stack: Stack | None, group: Group, gradients: str | None, precision: str, assumed: list[str]) -> Stack:
    """Return the software stack of a job: as asked, as the group says, or the middle of all."""
    if stack is None and group.stack is not None:
        if group.stack not in STACKS:
            raise CutlineError(f"stack must be one of {', '.join(STACKS)}; got '{group.stack}'")
        stack = STACKS[group.stack]
    if stack is None:
        stack = STACKS["typical"]
        assumed.append("software stack: the middle of all measured ones (--stack names one)")
    if gradients is None:
        return replace(stack, grad_bytes=4.0) if precision in ("fp32", "tf32") else stack
    if gradients not in ("bf16", "fp32"):
        raise CutlineError(f"gradients must be bf16 or fp32; got '{gradients}'")
    return replace(stack, grad_bytes=2.0 if gradients == "bf16" else 4.0)


def only(groups: Fleet) -> Group:
    """Return the only group of a fleet; several kinds are for `mixed.mixed`."""
    if len(groups) > 1:
        names = " + ".join(f"{g.chips} x {g.label}" for g in groups)
        raise CutlineError(
            f"a job runs on one kind of chip; got {names}; cutline.plan.mixed and `cutline plan` take fleets of several kinds"
        )
    return groups.groups[0]


def _sequence(model: Model, seq: int | None, clip: str | None, assumed: list[str]) -> tuple[int, Clip | None]:
    """Return the tokens of one sequence, and the clip that they are of, if any."""
    if model.kind == "dit" or clip is not None:
        shot = clip_of(model, clip)
        tokens = clip_tokens(model, shot)
        if seq is not None and seq != tokens:
            raise CutlineError(
                f"a clip of {shot.frames}x{shot.height}x{shot.width} is {tokens} tokens of {model.name}; got seq {seq}; "
                "leave out seq, or name another clip"
            )
        if clip is None:
            assumed.append(
                f"clips of {shot.frames} frame{'s' * (shot.frames != 1)}, {shot.height} x {shot.width}: usual (--clip names another)"
            )
        return tokens, shot
    if seq is None:
        published = bool(model.sources and model.context)  # a config.json gives only the longest context served
        seq = model.context if published else min(model.context or LONGEST, LONGEST)
        assumed.append(f"sequence {seq}: " + ("as pre-trained" if published else "usual (--seq names another)"))
    if seq < 1:
        raise CutlineError(f"seq must be at least 1; got {seq}")
    return seq, None


def _batch(
    model: Model,
    seq: int,
    batch_tokens: float | None,
    given: int | None,
    chips: int,
    shot: Clip | None,
    assumed: list[str],
) -> int:
    """Return the sequences of one step."""
    if given is not None:
        return given
    if batch_tokens is None:
        claim = reader.table("models").best(model.name, "batch_tokens") if model.sources else None
        if shot is not None and claim is None:
            wanted = max(CLIPS, chips if chips % 2 == 0 else 1)
            assumed.append(f"batch {wanted} clips: usual")
            return wanted
        batch_tokens = float(claim.value) if claim else 4e6
        found = batch_for(batch_tokens, seq, chips)
        near = "" if found * seq == batch_tokens else f", rounded to {found * seq / 1e6:.4g}M"
        assumed.append(
            f"batch {batch_tokens / 1e6:.4g}M tokens: " + ("as published" if claim else "usual for pre-training") + near
        )
        return found
    if batch_tokens < seq:
        raise CutlineError(f"a batch must be at least one sequence of {seq} tokens; got {batch_tokens:g}")
    found = batch_for(batch_tokens, seq, chips)
    if found * seq != batch_tokens:
        assumed.append(f"batch {batch_tokens:,.0f} tokens rounded to {found * seq:,}, which {chips} chips divide")
    return found


def _rates(
    model: Model,
    group: Group,
    precision: str,
    network: str | None,
    imbalance: float | None,
    capacity: float,
    assumed: list[str],
) -> Rates:
    """Return the rates of the chip, with what the recipe and the routing change."""
    r = recipe(precision)
    rates = machine.rates(group.chip, r.peak, group.chips, _network(group, network, assumed))
    rates = rates.replace(
        narrow_share=r.narrow_share, narrow_weight_gradient=r.narrow_weight_gradient, dispatch_bytes=r.dispatch_bytes
    )
    if not model.experts:
        if imbalance is not None or capacity:
            raise CutlineError(f"{model.name} has no experts; --routing and --capacity are for sparse models")
        return rates
    at_least(0, capacity=capacity)
    if 0 < capacity < 1:
        raise CutlineError(f"capacity must be at least 1, or 0 to drop nothing; got {capacity:g}")
    spread = machine.IMBALANCE if imbalance is None else imbalance
    said = f"routing: load of an expert varies by {spread:.0%}" if spread else "routing: balanced"
    if imbalance is None:
        said += " (guess; --routing names another)"
    if capacity:
        said += f", and beyond {capacity:g} times the mean it drops, {float(dropped_share(spread, capacity)):.1%} of all (MFU counts them as done)"
    assumed.append(said)
    return rates.replace(imbalance=spread, capacity=capacity)


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
