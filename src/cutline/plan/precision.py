"""Number formats as training recipes: which products run narrow, what is kept wide, and what is known of the loss."""

from __future__ import annotations

from dataclasses import dataclass

from cutline.core.errors import CutlineError
from cutline.facts.reader import Claim, evidence


@dataclass(frozen=True)
class Recipe:
    """One way to train in a number format. Attention, head, router and embeddings stay in 16 bits in all of them;
    masters and moments stay in 32 bits."""

    name: str
    peak: str  # the format whose peak rate and width the linear layers have
    about: str
    recipe: str = ""  # scope of constants, where it is not the format's own
    narrow_share: float = 1.0  # share of the linear layers that run narrow
    narrow_weight_gradient: float = 1.0
    dispatch_bytes: float = 2.0  # per element sent to an expert
    loss: tuple[str, str] | None = None  # item and words of the evidence `loss_gap`


RECIPES = {
    r.name: r
    for r in (
        Recipe("bf16", "bf16", "16-bit products, 32-bit masters"),
        Recipe("fp16", "fp16", "16-bit products with loss scaling, 32-bit masters"),
        Recipe("tf32", "tf32", "19-bit products of 32-bit numbers"),
        Recipe("fp32", "fp32", "32-bit products"),
        Recipe("fp8", "fp8", "FP8 with one scale per tensor", loss=("fp8 tensorwise against bf16", "below about 1 %")),
        Recipe("fp8-rowwise", "fp8", "FP8 with a scale per row and column", recipe="fp8-rowwise"),
        Recipe(
            "fp8-block", "fp8", "FP8 with scales per 1 x 128 and 128 x 128 block; tokens go to experts in FP8",
            dispatch_bytes=1.03125, loss=("fp8 block against bf16", "below 0.25 %"),
        ),
        Recipe("mxfp8", "mxfp8", "FP8 with a scale per 32 elements", loss=("mxfp8 against bf16 8b 15t", "within 0.5 % of perplexity")),
        Recipe(
            "nvfp4", "nvfp4", "FP4 with a scale per 16 elements; 16 % of the linear layers stay in 16 bits",
            narrow_share=0.84, loss=("nvfp4 against bf16 8b 1t", "1 to slightly above 1.5 %"),
        ),
        Recipe("int8", "int8", "INT8 forward and input gradients, 16-bit weight gradients", narrow_weight_gradient=0.0),
    )
}  # fmt: skip
"""Recipes by the name that `--precision` takes. NVFP4: nvfp4-pretraining; FP8 blocks: deepseek-v3-paper; INT8: switchback."""


def recipe(name: str) -> Recipe:
    """Return a recipe, or say which there are."""
    if name not in RECIPES:
        raise CutlineError(f"precision must be one of {', '.join(RECIPES)}; got '{name}'")
    return RECIPES[name]


def known_of_loss(r: Recipe) -> tuple[str, Claim | None]:
    """Return what is known about the loss of a recipe against BF16, and where it was read.

    Examples
    --------
    >>> known_of_loss(RECIPES["int8"])[0]
    'nothing is known about the loss of this recipe at scale'
    """
    if r.peak in ("bf16", "fp16", "tf32", "fp32"):
        return "", None
    if r.loss is None:
        return "nothing is known about the loss of this recipe at scale", None
    item, words = r.loss
    return f"relative gap of the loss {words}", evidence("loss_gap", item)
