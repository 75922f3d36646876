"""The record `Model`: the shape of one transformer, and how many parameters that shape has."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from cutline.core.errors import CutlineError
from cutline.facts import reader

SWITCHES = ("gated", "tied", "biases", "qkv_biases", "cross", "parallel_ffn", "guidance", "eager")
"""Fields that are yes or no."""

ALWAYS = ("layers", "hidden", "heads", "kv_heads", "gated", "vocab", "tied", "norms", "outer_norms")
"""Fields without which no parameter can be counted."""

SPARSE = ("experts", "experts_per_token", "expert_ffn", "shared_ffn", "dense_layers")
LATENT = ("q_rank", "kv_rank", "nope_dim", "rope_dim", "value_dim")
INDEXER = ("index_heads", "index_dim", "index_topk")
TOGETHER = {
    "experts": SPARSE,
    "kv_rank": LATENT,
    "index_topk": INDEXER,
    "window": ("window", "window_layers"),
    "linear_layers": ("linear_heads", "linear_head_dim", "linear_key_heads", "state_dim", "linear_parameters"),
    "patch_space": ("stride_time", "stride_space", "patch_time", "frames", "height", "width"),
}
"""Fields that mean something only together: who gives the first must give all."""


@dataclass(frozen=True)
class Model:
    """Shape of one decoder-only or diffusion transformer. Widths and ranks are in elements, lengths in tokens.

    A field that the model has no use for is 0: a dense model has `experts` 0, a model without multi-head
    latent attention (MLA) has `kv_rank` 0, a model that attends to everything has `window` 0.
    """

    name: str
    kind: str
    """dense, moe or dit (a diffusion transformer)"""
    layers: int
    """transformer layers"""
    hidden: int
    """width of the residual stream"""
    heads: int
    """query heads"""
    kv_heads: int
    """key and value heads; `heads` where every query head has its own"""
    head_dim: int
    """width of one query or key head; with MLA `nope_dim` + `rope_dim`"""
    ffn: int
    """inner width of the dense feed-forward block; 0 if no layer has one"""
    gated: bool
    """three matrices per feed-forward block instead of two"""
    vocab: int
    """rows of the embedding table as trained, padding included"""
    tied: bool
    """the output head is the embedding table"""
    norms: int
    """width-`hidden` norm vectors per layer"""
    outer_norms: int
    """width-`hidden` norm vectors outside of the layers"""
    positions: int = 0
    """rows of a learned position table"""
    biases: bool = False
    """every linear layer but the head has a bias"""
    qkv_biases: bool = False
    """only query, key and value have a bias"""
    context: int = 0
    """sequence length of pre-training, 0 where nobody says; of a file, the longest sequence that it allows"""
    experts: int = 0
    """routed experts per sparse layer"""
    experts_per_token: int = 0
    """routed experts that one token visits"""
    expert_ffn: int = 0
    """inner width of one routed expert"""
    shared_ffn: int = 0
    """inner width of all shared experts of a sparse layer together"""
    dense_layers: int = 0
    """layers with a dense feed-forward block in a sparse model"""
    q_rank: int = 0
    """MLA: latent rank of the query; 0 if it is not compressed"""
    kv_rank: int = 0
    """MLA: latent rank of key and value"""
    nope_dim: int = 0
    """MLA: width of a head without rotary part"""
    rope_dim: int = 0
    """MLA: rotary width of a head"""
    value_dim: int = 0
    """MLA: width of a value head"""
    index_heads: int = 0
    """sparse attention: heads of the indexer"""
    index_dim: int = 0
    """sparse attention: width of an indexer head"""
    index_topk: int = 0
    """sparse attention: tokens that one query keeps"""
    window: int = 0
    """width of the attention window, in tokens"""
    window_layers: int = 0
    """layers that attend only within `window`"""
    mtp_layers: int = 0
    """multi-token-prediction layers, in no count of this module"""
    attention_layers: int = 0
    """blocks with softmax attention, where blocks are counted one by one; 0 is all but the linear ones"""
    moe_layers: int = 0
    """blocks with routed experts, where blocks are counted one by one; 0 is all but the dense ones"""
    latent_dim: int = 0
    """width in which routed experts work; 0 is `hidden`"""
    expert_groups: int = 0
    """groups of experts that one token may reach; 0 is no limit"""
    eager: bool = False
    """the activation between a feed-forward block's matrices is not one that libraries fuse"""
    linear_layers: int = 0
    """layers whose mixer is linear attention or a state space"""
    linear_heads: int = 0
    """value heads of a linear mixer"""
    linear_head_dim: int = 0
    """width of one value head of a linear mixer"""
    linear_key_heads: int = 0
    """heads or groups of its keys and queries"""
    linear_parameters: int = 0
    """parameters of one linear mixer"""
    state_dim: int = 0
    """width of one of its keys"""
    stride_time: int = 0
    """frames per latent frame of a video autoencoder"""
    stride_space: int = 0
    """pixels per latent pixel, each way"""
    patch_time: int = 0
    """latent frames of one patch"""
    patch_space: int = 0
    """latent pixels of one patch, each way"""
    text_tokens: int = 0
    """length of the text that conditions a clip"""
    cross: bool = False
    """text enters by cross-attention in every layer; else it joins the sequence"""
    joint_layers: int = 0
    """layers with separate weights for text and image"""
    parallel_ffn: bool = False
    """attention and feed-forward run side by side in the other layers"""
    encoder_parameters: int = 0
    """parameters of the frozen text encoders"""
    sampling_steps: int = 0
    """usual steps of sampling"""
    guidance: bool = False
    """a sampling step takes two passes"""
    fps: int = 0
    """frames per second of the usual clip"""
    frames: int = 0
    """frames of the usual clip"""
    height: int = 0
    """pixels of the usual clip"""
    width: int = 0
    """pixels of the usual clip"""
    other_parameters: int = 0
    """parameters that the fields above do not give, such as query and key norms"""
    published_parameters: float | None = None
    """what the maker says"""
    published_active: float | None = None
    """parameters used per token, as the maker says"""
    tokens: float | None = None
    """training tokens"""
    sources: tuple[str, ...] = ()
    """ids of the sources of these numbers; empty for a model read from a file"""

    @property
    def latent(self) -> bool:
        """True for multi-head latent attention."""
        return self.kv_rank > 0

    @property
    def sparse_layers(self) -> int:
        """Layers with routed experts."""
        return (self.moe_layers or self.layers - self.dense_layers) if self.experts else 0

    @property
    def softmax_layers(self) -> int:
        """Layers with softmax attention."""
        return self.attention_layers or self.layers - self.linear_layers


class Parameters(NamedTuple):
    """Numbers of parameters of a model, all integers.

    The layer parts are of one layer, without the norms over `hidden`: `norms` counts those of all layers.
    """

    embedding: int
    """token table and learned positions"""
    attention_layer: int
    """attention of one layer, with MLA's inner norms and the sparse-attention indexer"""
    ffn_layer: int
    """feed-forward block of one dense layer; 0 if there is none"""
    moe_layer: int
    """router, routed and shared experts of one sparse layer; 0 if there is none"""
    moe_layer_active: int
    """what one token uses of `moe_layer`: the whole router, its experts, the shared experts"""
    norms: int
    """all norm vectors over `hidden`"""
    head: int
    """output head; 0 if tied"""
    other: int
    """`other_parameters` of the model"""
    total: int
    active: int
    """`total` less the experts that a token does not visit; embedding and head count in full"""


def model(name: str) -> Model:
    """Return one model of the catalogue.

    Parameters
    ----------
    name : str
        Usual name or alias, in any case.

    Raises
    ------
    UnknownName
        If the catalogue has no such model; says what comes close.
    CutlineError
        If the catalogue lacks a shape without which the model cannot be counted.

    Notes
    -----
    Takes the most trusted claim of every field; `sources` lists the ids of those claims.

    Examples
    --------
    >>> model("GPT-3").layers
    96
    """
    table = reader.table("models")
    name = table.resolve(name)
    best = {field: table.best(name, field) for field, _ in table.claims(name)}
    values: dict[str, Any] = {field: claim.value for field, claim in best.items() if claim is not None}
    values["published_parameters"] = values.pop("parameters", None)
    values["published_active"] = values.pop("active", None)
    wanted = {f.name for f in fields(Model)} | {"parameters", "active"}
    used = dict.fromkeys(c.source.id for f, c in best.items() if c is not None and f in wanted)
    return build(name, values, tuple(used), "models.csv")


def build(name: str, values: dict[str, Any], sources: tuple[str, ...], where: str) -> Model:
    """Make a Model of field values, or say which shape is missing from `where` or contradicts another.

    Parameters
    ----------
    name : str
        What messages call the model.
    values : dict
        Field of Model -> number or text; fields that Model does not have are left aside.
    sources : tuple of str
        Ids of the sources of the values.
    where : str
        File that holds the values, for messages.

    Raises
    ------
    CutlineError
        In one sentence: the model, the field, the rule, the value, the cure.
    """
    kept = {f.name: values[f.name] for f in fields(Model) if values.get(f.name) is not None}
    for field, number in kept.items():
        if field in SWITCHES:
            kept[field] = bool(number)
        elif not isinstance(number, str) and not field.startswith("published") and field != "tokens":
            if number != int(number) or number < 0:
                raise CutlineError(f"{where}: {name}.{field} must be a whole number from 0 up; got {number:g}")
            kept[field] = int(number)
    kind = "moe" if kept.get("experts") else "dit" if kept.get("patch_space") else "dense"
    if kind == "dit":  # no vocabulary, no head: a projection to pixels is in `other_parameters`
        kept |= {"vocab": 0, "tied": True}
    if kept.setdefault("kind", kind) != kind:
        lacks = "patches" if kept["kind"] == "dit" else "experts"
        rule = {"moe": "moe, for it has experts", "dit": "dit, for it has patches"}.get(
            kind, f"dense, for it has no {lacks}; add them"
        )
        raise CutlineError(f"{where}: {name}.kind must be {rule}; got {kept['kind']}")
    needed = [*ALWAYS, "nope_dim" if kept.get("kv_rank") else "head_dim"]
    needed += [field for first, group in TOGETHER.items() if kept.get(first) for field in group]
    for field in needed:
        if field not in kept:
            raise missing(where, name, field)
    if kept.get("kv_rank"):
        kept["head_dim"] = kept["nope_dim"] + kept["rope_dim"]
    if kept["kind"] != "moe" or kept["dense_layers"]:
        if not kept.get("ffn"):
            raise missing(where, name, "ffn")
    kept.setdefault("ffn", 0)
    if kept["kind"] != "moe":
        kept["dense_layers"] = kept["layers"]
    for low, high in (
        ("dense_layers", "layers"),
        ("window_layers", "layers"),
        ("linear_layers", "layers"),
        ("attention_layers", "layers"),
        ("moe_layers", "layers"),
        ("joint_layers", "layers"),
        ("experts_per_token", "experts"),
        ("kv_heads", "heads"),
    ):
        if kept.get(low, 0) > kept.get(high, 0):
            raise CutlineError(
                f"{where}: {name}.{low} must be at most its {high}, {kept.get(high, 0)}; got {kept[low]}"
            )
    if kept["heads"] % kept["kv_heads"]:
        rule = f"a multiple of its kv_heads, {kept['kv_heads']}"
        raise CutlineError(f"{where}: {name}.heads must be {rule}; got {kept['heads']}")
    return Model(name=name, sources=sources, **kept)


def missing(where: str, name: str, field: str) -> CutlineError:
    """Return the error for a shape that nobody gave."""
    return CutlineError(f"{where}: {name} has no {field}, so it cannot be counted; add a row for it, with its source")


def parameters(model: Model) -> Parameters:
    """Count the parameters of a model, part by part.

    Parameters
    ----------
    model : Model
        From the catalogue or from a configuration file.

    Returns
    -------
    Parameters
        Integers; `total` is the embedding, every layer, the norms, the head and the rest.

    Notes
    -----
    By convention multi-token-prediction layers and vision towers are not counted. `active` keeps the
    embedding and the head; some makers leave one or both out (OpenAI the embedding, for gpt-oss), so that
    their number is smaller. Latent attention follows deepseek-v2-paper; the indexer, DeepSeek-V3.2's code.

    Examples
    --------
    >>> small = Model("toy", "dense", 2, 64, 4, 4, 16, 256, False, 1000, True, 2, 1, dense_layers=2)
    >>> count = parameters(small)
    >>> count.attention_layer, count.ffn_layer, count.total
    (16384, 32768, 162624)
    """
    m = model
    embedding = (m.vocab + m.positions) * m.hidden
    attention = latent_attention(m) if m.latent else grouped_attention(m)
    attention += indexer(m)

    def block(width: int) -> int:
        """One feed-forward block of this inner width."""
        matrices = 2 + m.gated
        return matrices * m.hidden * width + m.biases * ((1 + m.gated) * width + m.hidden)

    ffn = block(m.ffn) if m.ffn else 0
    moe = moe_active = 0
    if m.experts:
        always = (m.hidden + m.biases) * m.experts + (block(m.shared_ffn) if m.shared_ffn else 0)
        always += 2 * m.hidden * m.latent_dim
        one = block(m.expert_ffn) if not m.latent_dim else (2 + m.gated) * m.latent_dim * m.expert_ffn
        moe = always + m.experts * one
        moe_active = always + m.experts_per_token * one
    norms = (m.layers * m.norms + m.outer_norms) * m.hidden
    head = 0 if m.tied else m.vocab * m.hidden
    total = (
        embedding
        + m.softmax_layers * attention * (1 + m.cross)
        + m.linear_layers * m.linear_parameters
        + m.dense_layers * ffn
        + m.joint_layers * (attention + ffn)
        + m.sparse_layers * moe
        + norms
        + head
        + m.other_parameters
    )
    active = total - m.sparse_layers * (moe - moe_active)
    return Parameters(embedding, attention, ffn, moe, moe_active, norms, head, m.other_parameters, total, active)


def grouped_attention(m: Model) -> int:
    """Parameters of query, key, value and output of one layer; multi-head is `kv_heads` = `heads`."""
    query, key_value = m.heads * m.head_dim, m.kv_heads * m.head_dim
    inputs = query + 2 * key_value
    biases = inputs * (m.biases or m.qkv_biases) + m.hidden * m.biases
    return m.hidden * inputs + query * m.hidden + biases


def latent_attention(m: Model) -> int:
    """Parameters of multi-head latent attention of one layer, its two inner norms included."""
    query = m.heads * (m.nope_dim + m.rope_dim)
    down = m.hidden * m.q_rank + m.q_rank + m.q_rank * query if m.q_rank else m.hidden * query
    key_value = m.hidden * (m.kv_rank + m.rope_dim) + m.kv_rank
    up = m.kv_rank * m.heads * (m.nope_dim + m.value_dim)
    return down + key_value + up + m.heads * m.value_dim * m.hidden


def indexer(m: Model) -> int:
    """Parameters of the sparse-attention indexer of one layer: query, key, its norm, head weights."""
    query = (m.q_rank or m.hidden) * m.index_heads * m.index_dim
    return query + (m.hidden + 2) * m.index_dim + m.hidden * m.index_heads
