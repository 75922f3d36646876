"""Drawing clips with a diffusion transformer: the fewest chips that hold it, and the time, money and energy of one clip."""

from __future__ import annotations

from typing import Any

from cutline.core.errors import CutlineError
from cutline.facts.models import Model, parameters
from cutline.facts.reader import evidences
from cutline.plan.costs import busy_power_w, price_of
from cutline.plan.explain import sampling
from cutline.plan.fleet import Fleet
from cutline.plan.job import job
from cutline.plan.provenance import sources_of
from cutline.plan.shapes import clip_tokens
from cutline.plan.strategy import divisors

LIVE = 14.0
"""Bytes of activations that one token of one layer keeps at once in a forward pass, over 2 bytes x hidden: queries, keys, values, the
feed-forward block's inner width and the residual (counted from the layer)."""
USABLE = 0.92
BUSY = 0.9
"""Share of the time in which products run while a clip is drawn (guess)."""


def draw(model: Model, fleet: Fleet, clip: str | None, money: str = "rent") -> dict[str, Any]:
    """Return how a fleet draws clips: every number of chips that divides the model's heads, with memory and time.

    Raises
    ------
    CutlineError
        If the model draws no clips, the clip does not parse, or the fleet has several kinds.
    """
    if model.kind != "dit":
        raise CutlineError(f"{model.name} draws no images or clips; --clip is for diffusion transformers")
    j = job(model, fleet.groups[0] if len(fleet) == 1 else _one(fleet), clip=clip)
    assert j.clip is not None
    part, n = j.group.chip, j.group.chips
    counts = [d for d in divisors(model.heads) if d <= min(n, 16)]
    found = sampling(j, counts)
    tokens = clip_tokens(model, j.clip) + (0 if model.cross else model.text_tokens)
    weights = 2.0 * parameters(model).total
    memory = float(j.rates.memory_bytes)
    ways = []
    price = price_of(part, money)
    watts = float(busy_power_w(part, BUSY))
    for way in found["ways"]:
        k = way["chips"]
        live = LIVE * 2.0 * tokens / k * model.hidden
        whole, shared = weights + live, weights / k + live
        how = "whole" if whole <= USABLE * memory else "sharded" if shared <= USABLE * memory else "does not fit"
        usd = None if price.usd_per_s is None else (price.usd_per_s + price.usd_per_j * watts) * k * way["clip_s"]
        ways.append(
            {
                "chips": k, "clip_s": way["clip_s"], "weights": how, "memory_bytes": whole if how == "whole" else shared, "cost_usd": usd,
                "energy_j": watts * k * way["clip_s"] if watts == watts else None, "clips_per_hour": 3600.0 / way["clip_s"] * (n // k),
            }
        )  # fmt: skip
    fits = [w for w in ways if w["weights"] != "does not fit"]
    return {
        "model": model.name, "chip": part.name, "chips": n, "clip": list(j.clip), "tokens": tokens, "steps": found["steps"],
        "passes_per_step": found["passes_per_step"], "memory_limit_bytes": memory, "fewest_chips": fits[0]["chips"] if fits else None,
        "best": min(fits, key=lambda w: w["clip_s"]) if fits else None, "ways": ways, "cost_basis": price.basis,
        "published": published(model.name, part.name, j.clip), "assumed": [a for a in j.assumed if not a.startswith(("software", "batch", "network"))],
        "sources": sources_of(j),
    }  # fmt: skip


def _one(fleet: Fleet) -> Any:
    names = " + ".join(f"{g.chips} x {g.label}" for g in fleet)
    raise CutlineError(f"a clip is drawn on one kind of chip; got {names}; ask for each kind alone")


def published(model: str, part: str, clip: tuple[int, int, int]) -> list[dict[str, Any]]:
    """Return measured times of this clip on this part, end to end, text encoder and autoencoder included."""
    size = "x".join(str(n) for n in clip)
    out = []
    for item, claim in evidences("clip_seconds").items():
        words = item.split()
        if words[0] == model and words[1] == size and words[2] == part:
            out.append(
                {
                    "what": item,
                    "chips": int(words[3].removeprefix("x")),
                    "clip_s": float(claim.value),
                    "source": claim.source.id,
                    "title": claim.source.title,
                }
            )
    return sorted(out, key=lambda r: (r["chips"], r["clip_s"]))
