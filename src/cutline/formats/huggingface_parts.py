"""What several readers of Hugging Face configurations share: widths, biases, norms, windows, experts, latent attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cutline.core.errors import CutlineError
from cutline.formats.huggingface_keys import Keys

Shape = dict[str, Any]


def base(k: Keys) -> Shape:
    """What nearly all families share: widths, grouped heads, two norms per layer, a gated feed-forward."""
    hidden, heads = k.number("hidden_size"), k.number("num_attention_heads")
    kv_heads = k.optional("num_key_value_heads", 1) or heads
    if heads % kv_heads:
        raise k.bad(k.spelling("num_attention_heads"), f"a multiple of num_key_value_heads, {kv_heads}", heads)
    head_dim = k.optional("head_dim", 1)
    if not head_dim and hidden % heads:
        rule = f"a multiple of num_attention_heads, {heads}, where head_dim is absent"
        raise k.bad(k.spelling("hidden_size"), rule, hidden, "add head_dim")
    return {
        "layers": k.number("num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim or hidden // heads,
        "ffn": k.optional("intermediate_size", 1),
        "gated": True,
        "vocab": k.number("vocab_size"),
        "tied": k.flag("tie_word_embeddings"),
        "norms": 2,
        "outer_norms": 1,
        "context": k.optional("max_position_embeddings", 1),
        "other_parameters": 0,
    }


def with_ffn(k: Keys, shape: Shape, width: int | None = None) -> Shape:
    """Demand the width of the feed-forward block."""
    shape["ffn"] = width or k.number("intermediate_size")
    return shape


def output_biases(k: Keys, shape: Shape, attention: bool, mlp: bool = False) -> Shape:
    """Biases on query, key, value and output, or on the feed-forward block, or on both."""
    layers, hidden = shape["layers"], shape["hidden"]
    if attention and mlp:
        shape["biases"] = True
    elif attention:
        shape["qkv_biases"] = True
        shape["other_parameters"] += layers * hidden
    elif mlp:
        shape["other_parameters"] += layers * ((1 + shape["gated"]) * shape["ffn"] + hidden)
    return shape


def query_key_norms(shape: Shape, whole: bool = False) -> Shape:
    """Norms on query and key: one head wide, or as wide as all heads together."""
    heads = shape["heads"] + shape["kv_heads"] if whole else 2
    shape["other_parameters"] += shape["layers"] * heads * shape["head_dim"]
    return shape


def windows(k: Keys, shape: Shape, default: Callable[[int], bool], key: str = "sliding_window") -> Shape:
    """Attention windows: `layer_types` says which layers, else the family's rule `default(layer)`."""
    window = k.optional(key, 1)
    types = k.listed("layer_types", str, shape["layers"])
    known = {"full_attention": False, "sliding_attention": True, "chunked_attention": True}
    for found in types or []:
        if found not in known:
            raise k.bad("layer_types", f"made of {', '.join(known)}", found, "Cutline cannot hold the other kinds")
    narrow = [known[t] for t in types] if types else [default(i) for i in range(shape["layers"])]
    if window and any(narrow):
        shape |= {"window": window, "window_layers": sum(narrow)}
    elif types and any(narrow):
        raise CutlineError(f"{k.file}: key '{key}' is missing, yet layer_types has windowed layers; add it")
    return shape


def unwindowed(k: Keys, shape: Shape) -> Shape:
    """The file states windows and switches them off."""
    for key in ("sliding_window", "max_window_layers", "use_sliding_window"):
        k.raw(key)
    for found in k.listed("layer_types", str, shape["layers"]) or []:
        if found != "full_attention":
            raise k.bad("layer_types", "full_attention in every layer", found, "set use_sliding_window")
    return shape


def layer_norm(shape: Shape, norms: int = 2, outer: int = 1) -> Shape:
    """LayerNorm with a bias: two vectors per norm. `norms` per layer, `outer` outside of the layers."""
    return shape | {"norms": 2 * norms, "outer_norms": 2 * outer}


def routed(k: Keys, shape: Shape, width: int, shared: int = 0, dense: int = 0) -> Shape:
    """Routed experts of this width, and shared experts of this width together."""
    shape |= {
        "experts": k.number("n_routed_experts"),
        "experts_per_token": k.uniform("num_experts_per_tok"),
        "expert_ffn": width,
        "shared_ffn": shared,
        "dense_layers": dense,
    }
    if not 1 <= shape["experts_per_token"] <= shape["experts"]:
        rule = f"from 1 to the number of experts, {shape['experts']}"
        raise k.bad(k.spelling("num_experts_per_tok"), rule, k.raw("num_experts_per_tok"))
    groups, reached = k.optional("n_group"), k.optional("topk_group")
    if 0 < reached < groups and k.raw("topk_method") != "greedy":
        shape["expert_groups"] = reached
    if not dense:
        shape["ffn"] = 0
    return shape


def dense_first(k: Keys, layers: int) -> int:
    """Number of dense layers of a DeepSeek-like model."""
    types = k.listed("mlp_layer_types", str, layers)
    freq = k.raw("moe_layer_freq")
    first = k.optional("first_k_dense_replace")
    if first > layers:
        raise k.bad("first_k_dense_replace", f"at most num_hidden_layers, {layers}", first)
    if types:
        return types.count("dense")
    if isinstance(freq, list):
        return (k.listed("moe_layer_freq", int, layers) or []).count(0)
    every = 1 if freq is None else k.whole("moe_layer_freq", freq, 1)
    return sum(i < first or i % every != 0 for i in range(layers))


def deepseek_experts(k: Keys, shape: Shape, corrected: bool) -> Shape:
    """Routed and shared experts behind some dense layers; `corrected` routers carry a bias per expert."""
    width = k.number("moe_intermediate_size")
    shape = routed(k, shape, width, width * k.optional("n_shared_experts"), dense_first(k, shape["layers"]))
    if corrected:
        shape["other_parameters"] += (shape["layers"] - shape["dense_layers"]) * shape["experts"]
    return shape


def latent(k: Keys) -> Shape:
    """Multi-head latent attention."""
    k.must_be("attention_bias", False)
    k.raw("head_dim")
    shape = base(k)
    shape |= {
        "kv_heads": shape["heads"],
        "q_rank": k.optional("q_lora_rank", 1),
        "kv_rank": k.number("kv_lora_rank"),
        "nope_dim": k.number("qk_nope_head_dim"),
        "rope_dim": k.number("qk_rope_head_dim"),
        "value_dim": k.number("v_head_dim"),
        "mtp_layers": k.optional("num_nextn_predict_layers"),
    }
    k.must_be("qk_head_dim", shape["nope_dim"] + shape["rope_dim"])
    return shape
