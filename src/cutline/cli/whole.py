"""Whole runs for the command line: which model on how many tokens, and what stands beside the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from cutline.cli import inputs
from cutline.core.errors import CutlineError

if TYPE_CHECKING:
    from cutline.facts.models import Model
    from cutline.plan.fleet import Fleet
    from cutline.plan.job import Job
    from cutline.plan.mixed import Mixed

Ask = dict[str, Any]
ROUNDS = 6
"""Times that size and speed of a model are fitted to each other; they settle within a few."""


class Wanted(NamedTuple):
    """What decides the size of a run, where tokens do not."""

    days: float | None
    flop: float | None
    chinchilla: bool
    law: str


def ask_of(
    tokens: str | None,
    seq: str | None,
    precision: str | None,
    stack: str | None,
    network: str | None,
    framework: str | None,
    routing: str | None,
    capacity: str | None,
    clips: str | None,
    gradients: str | None,
    **rest: Any,
) -> dict[str, Any]:
    """Turn the words that `plan` and `estimate` share into arguments of `job.job`, all but model and fleet."""
    chosen = inputs.stack_named(stack)
    return {
        "tokens": inputs.number(tokens, "--tokens"),
        "seq": inputs.whole(seq, "--seq", 1e8) if seq is not None else None,
        "precision": "bf16" if precision is None else precision.strip().casefold(),
        "stack": chosen.stack,
        "changes": chosen.changes,
        "residual": chosen.residual,
        "network": inputs.network(network),
        "framework": framework.strip().casefold() if framework is not None else None,
        "imbalance": inputs.share(routing, "--routing"),
        "capacity": inputs.decimal(capacity, "--capacity") or 0.0,
        "clips": inputs.number(clips, "--clips"),
        "gradients": gradients.strip().casefold() if gradients is not None else None,
    } | rest


def asked(model: Model, on: Fleet, ask: Ask) -> Job:
    """Return the job of a question; tokens are the published ones where nobody says how many."""
    from cutline.cli.words import plain
    from cutline.plan.job import job, only

    published = model.tokens if ask["tokens"] is None and ask["clips"] is None else None
    group = only(on)
    found = job(model, group, **(ask | {"tokens": ask["tokens"] or published}))
    if published:
        found.assumed.append(f"tokens {plain(published)}: as published")
    return found


def question(name: str | None, on: Fleet, ask: Ask, words: dict[str, str | None], between: str | None) -> Mixed:
    """Return the question of a mixed fleet; `words` are what the options say that may differ by group."""
    from cutline.cli.words import plain
    from cutline.plan.fleet import TRANSPORTS, Link
    from cutline.plan.mixed import mixed

    if name is None:
        raise CutlineError("MODEL is missing; on a fleet of several kinds a model is named, not sized")
    model = inputs.model_named(name)
    given: dict[str, dict[str, Any]] = {g.label: {} for g in on}
    for option, text in words.items():
        for label, value in inputs.by_group(text, on, f"--{option}").items():
            if option == "stack":
                chosen = inputs.stack_named(value)
                given[label] |= {"stack": chosen.stack, "changes": chosen.changes, "residual": chosen.residual}
            else:
                given[label][option] = inputs.network(value) if option == "network" else value.strip().casefold()
    if between is not None:
        word = between.strip().casefold()
        if word not in TRANSPORTS:
            inputs.network(between, "--between")
        said = {"transport": word} if word in TRANSPORTS else {"network": between, "transport": "direct"}
        pairs = [frozenset((a.label, b.label)) for i, a in enumerate(on.groups) for b in on.groups[i + 1 :]]
        on = replace(on, links=tuple(Link(pair, **said) for pair in pairs))
    published = model.tokens if ask["tokens"] is None and ask["clips"] is None else None
    shared = {k: v for k, v in ask.items() if k not in ("network", "precision", "stack", "changes", "residual")}
    found = mixed(model, on, given, **(shared | {"tokens": ask["tokens"] or published}))
    if published:
        found.assumed.append(f"tokens {plain(published)}: as published")
    return found


def arguments(ask: Ask, job: Job) -> Ask:
    """Return the arguments that ask the same of another part: model, tokens and batch are settled."""
    settled = {
        "model": job.model,
        "tokens": job.tokens,
        "clips": None,
        "seq": job.seq,
        "batch_tokens": None,
        "global_batch": job.batch,
    }
    return ask | settled | {"clip": "x".join(str(n) for n in job.clip) if job.clip else None}


def sized(name: str | None, on: Fleet, ask: Ask, wanted: Wanted) -> tuple[Job, dict[str, Any] | None]:
    """Return the job, its size settled, and how it was settled (None where tokens or the maker say)."""
    from cutline.plan import sizing

    if sum(x is not None for x in (wanted.days, wanted.flop, ask["tokens"], ask["clips"])) > 1:
        raise CutlineError("--tokens, --clips, --days and --flop each say how long to train; give one of them")
    if name is None:
        return _model_for(on, ask, wanted)
    model = inputs.model_named(name)
    if wanted.chinchilla:
        if any(x is not None for x in (wanted.days, wanted.flop, ask["tokens"], ask["clips"])):
            raise CutlineError(
                "--chinchilla says how long to train a named model, so it goes without --tokens, --clips, --days and "
                "--flop; leave out MODEL to have both sized"
            )
        if model.kind == "dit":
            raise CutlineError(f"--chinchilla is of text models, and {model.name} is not one; say --clips")
    if wanted.days is None and wanted.flop is None and not wanted.chinchilla:
        return asked(model, on, ask), None
    job = asked(model, on, ask | {"tokens": 1.0})
    job.assumed[:] = [a for a in job.assumed if not a.startswith("tokens ")]
    at = sizing.law(wanted.law)
    if wanted.days is not None:
        tokens, _ = sizing.tokens_by(job, wanted.days)
    elif wanted.flop is not None:
        tokens = sizing.tokens_of(job, wanted.flop)
    else:
        tokens = sizing.optimal_tokens(at, _active(model))
    return job.on(tokens=tokens), None if model.kind == "dit" else _said(at, _active(model), tokens, wanted)


def _active(model: Model) -> float:
    from cutline.facts.models import parameters

    return float(parameters(model).active)


def _model_for(on: Fleet, ask: Ask, wanted: Wanted) -> tuple[Job, dict[str, Any]]:
    """Return the job of the decoder of least loss for a budget: of flop, or of days on this fleet."""
    from cutline.facts.models import parameters
    from cutline.plan import sizing

    if not wanted.chinchilla or (wanted.days is None and wanted.flop is None):
        raise CutlineError("MODEL is missing; name one, or let --chinchilla with --days or --flop size one")
    at = sizing.law(wanted.law)
    flop = wanted.flop or 1e22
    for _ in range(ROUNDS):
        model = sizing.decoder(sizing.optimal_parameters(at, flop))
        job = asked(model, on, ask | {"tokens": 1.0, "seq": ask["seq"] or 4096})
        if wanted.days is None:
            tokens = sizing.tokens_of(job, flop)
            break
        tokens, _ = sizing.tokens_by(job, wanted.days)
        before, flop = flop, 6.0 * parameters(model).total * tokens
        if abs(flop / before - 1.0) < 0.01:
            break
    return job.on(tokens=tokens), _said(at, float(parameters(model).total), tokens, wanted) | {"sized": True}


def _said(at: Any, n: float, tokens: float, wanted: Wanted) -> dict[str, Any]:
    from cutline.plan import sizing

    other = sizing.law("chinchilla" if at.name == "besiroglu" else "besiroglu")
    return {
        "days": wanted.days, "flop": wanted.flop, "parameters": n, "tokens": tokens, "tokens_per_parameter": tokens / n,
        "law": at.name, "source": at.title, "replication": at.note, "loss": sizing.loss(at, n, tokens),
        "loss_by_other_law": {"law": other.name, "loss": sizing.loss(other, n, tokens)},
        "best_tokens": sizing.optimal_tokens(at, n),
    }  # fmt: skip


def beside(job: Job, answer: dict[str, Any], ask: Ask, parts: list[str], ramp: str | None) -> dict[str, Any]:
    """Return what stands beside a plan: other parts, a ramp, what a narrow format saves, a clip's drawing."""
    from cutline.plan import explain, sizing

    out: dict[str, Any] = {"compare": [], "ramp": None, "precision_effect": None, "sampling": None}
    if parts:
        out["compare"] = explain.compare(answer, ask, [p for p in parts if p != answer["chip"]])
    if answer["best"] is None:
        return out
    if ramp is not None:
        if job.tokens is None:
            raise CutlineError("--ramp is of a whole run; say --tokens")
        out["ramp"] = sizing.ramped(job, sizing.ramp(ramp, job.model), answer["best"])
    out["precision_effect"] = explain.saved(job, answer["best"], ask)
    if job.clip is not None:
        out["sampling"] = explain.sampling(job)
    return out
