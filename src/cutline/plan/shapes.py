"""From a catalogue model to the columns of the cost model: decoders of every kind, and clips of diffusion transformers."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from cutline.core.errors import CutlineError
from cutline.facts.models import Model, parameters
from cutline.plan.columns import Shape

LEAD_SHARE = 0.25
"""Dense layers of a sparse model lead if they are fewer than this share of its layers; else they alternate."""


class Clip(NamedTuple):
    """What a diffusion transformer is trained on or draws: one image if there is one frame."""

    frames: int
    height: int
    width: int


def clip_of(model: Model, text: str | None = None) -> Clip:
    """Read `frames x height x width`, such as `81x720x1280`; the model's usual clip if there is no text.

    Raises
    ------
    CutlineError
        If the model draws no clips, or the text does not parse.
    """
    if not model.patch_space:
        raise CutlineError(f"{model.name} draws no images or clips; --clip is for diffusion transformers")
    if text is None:
        return Clip(model.frames, model.height, model.width)
    match = re.fullmatch(r"\s*(\d{1,5})\s*[xX]\s*(\d{1,5})\s*[xX]\s*(\d{1,5})\s*", text)
    if not match or not all(int(n) for n in match.groups()):
        raise CutlineError(f"clip must be frames x height x width, such as 81x720x1280; got '{text}'")
    return Clip(*(int(n) for n in match.groups()))


def clip_tokens(model: Model, clip: Clip) -> int:
    """Return the tokens of a clip's patches; the first frame has a latent frame of its own.

    Examples
    --------
    >>> from cutline.facts.models import model
    >>> clip_tokens(model("wan-2.1-14b"), Clip(81, 720, 1280))
    75600
    """
    latent = (clip.frames - 1) // model.stride_time + 1
    cell = model.stride_space * model.patch_space
    return math.ceil(latent / model.patch_time) * math.ceil(clip.height / cell) * math.ceil(clip.width / cell)


def lead_of(model: Model) -> int:
    """Return the dense layers in front of a sparse model's others."""
    few = model.dense_layers < LEAD_SHARE * model.layers
    return model.dense_layers if model.experts and few and not model.moe_layers else 0


def shape_of(model: Model, seq: int, mtp: bool = False) -> Shape:
    """Return the columns of a catalogue model at a sequence length.

    Parameters
    ----------
    seq : int
        Tokens of one sequence; of a diffusion transformer, the patches of one clip.
    mtp : bool
        Train the model's multi-token-prediction layers too.
    """
    m = model
    clip = m.kind == "dit"
    joined = m.text_tokens if clip and not m.cross else 0
    heavy = 0.0
    if clip:
        count = parameters(m)
        heavy = (m.other_parameters + m.joint_layers * (count.attention_layer + count.ffn_layer)) / m.layers
    return Shape(
        layers=m.layers, hidden=m.hidden, heads=m.heads, kv_heads=m.kv_heads, head_dim=m.head_dim, ffn=m.ffn,
        gated=float(m.gated), vocab=m.vocab, tied=float(m.tied), positions=m.positions, seq=seq + joined,
        attention_layers=m.attention_layers or -1.0, dense_layers=m.dense_layers, lead=lead_of(m),
        moe_layers=m.sparse_layers, experts=m.experts, topk=m.experts_per_token, expert_ffn=m.expert_ffn,
        shared_ffn=m.shared_ffn, latent_dim=m.latent_dim, eager=float(m.eager), expert_groups=m.expert_groups, q_rank=m.q_rank, kv_rank=m.kv_rank,
        rope_dim=m.rope_dim, nope_dim=m.nope_dim, value_dim=m.value_dim, index_heads=m.index_heads, index_dim=m.index_dim,
        index_topk=m.index_topk, window=m.window, window_layers=m.window_layers, linear_layers=m.linear_layers,
        linear_heads=m.linear_heads, linear_head_dim=m.linear_head_dim, state_dim=m.state_dim,
        linear_key_heads=m.linear_key_heads, mtp=float(m.mtp_layers) if mtp else 0.0, causal=float(not clip),
        cross_tokens=m.text_tokens if clip and m.cross else 0.0, encoder_flop=2.0 * m.encoder_parameters * m.text_tokens,
        heavy=heavy,
    )  # fmt: skip
