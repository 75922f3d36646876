"""One reader per family of Hugging Face configurations: keys in, fields of `Model` out.

What the configuration does not say comes from the family's modelling code in transformers 5.23: which linear
layers have a bias, how many norms a layer has and how wide they are, what else carries parameters.
"""

from __future__ import annotations

from collections.abc import Callable

from cutline.formats import huggingface_hybrids as hybrids
from cutline.formats.huggingface_keys import Keys
from cutline.formats.huggingface_parts import (
    Shape,
    base,
    deepseek_experts,
    latent,
    layer_norm,
    output_biases,
    query_key_norms,
    routed,
    unwindowed,
    windows,
    with_ffn,
)


def gpt2(k: Keys) -> Shape:
    """GPT-2, and StarCoder 1, which is GPT-2 with one key and value head."""
    k.must_be("add_cross_attention", False)
    shape = layer_norm(base(k), 2, 1) | {"gated": False, "biases": True}
    shape["positions"] = shape["context"]
    if k.flag("multi_query"):
        shape["kv_heads"] = 1
    return with_ffn(k, shape, k.optional("intermediate_size", 1) or 4 * shape["hidden"])


def gpt_neox(k: Keys) -> Shape:
    """GPT-NeoX and Pythia."""
    k.must_be("attention_bias", True)
    return with_ffn(k, layer_norm(base(k)) | {"gated": False, "biases": True})


def opt(k: Keys) -> Shape:
    """OPT: learned positions with two spare rows."""
    for key, wanted in (("enable_bias", True), ("layer_norm_elementwise_affine", True)):
        k.must_be(key, wanted)
    shape = base(k)
    k.must_be("word_embed_proj_dim", shape["hidden"])
    last = k.flag("do_layer_norm_before") and not k.flag("_remove_final_layer_norm")
    shape = layer_norm(shape, 2, int(last)) | {"gated": False, "biases": True}
    return with_ffn(k, shape | {"positions": shape["context"] + 2})


def bloom(k: Keys) -> Shape:
    """BLOOM: ALiBi, and a norm after the embedding."""
    shape = layer_norm(base(k), 2, 2) | {"gated": False, "biases": True}
    return with_ffn(k, shape, 4 * shape["hidden"])


def mpt(k: Keys) -> Shape:
    """MPT; its attention keys lie in `attn_config`."""
    inner = k.raw("attn_config") or {}
    if not isinstance(inner, dict):
        raise k.bad("attn_config", "an object", inner)
    a = Keys(inner, {"attn_type": "multihead_attention", "alibi": True}, f"{k.file}: attn_config", k.family)
    a.must_be("qk_ln", False)
    shape = base(k)
    kind = a.raw("attn_type")
    if kind == "multiquery_attention":
        shape["kv_heads"] = 1
    elif kind == "grouped_query_attention":
        shape["kv_heads"] = a.number("kv_n_heads")
    elif kind != "multihead_attention":
        raise a.bad("attn_type", "multihead_attention, multiquery_attention or grouped_query_attention", kind)
    placed = a.flag("alibi") or a.flag("rope")
    for known in ("attn_impl", "alibi_bias_max", "attn_uses_sequence_id"):
        a.raw(known)
    a.refuse_rest()
    shape["positions"] = shape["context"] if k.flag("learned_pos_emb") and not placed else 0
    if not k.flag("no_bias"):
        shape = layer_norm(shape) | {"biases": True}
    return with_ffn(k, shape | {"gated": False}, k.number("expansion_ratio") * shape["hidden"])


def falcon(k: Keys) -> Shape:
    """Falcon: one norm per layer in the 7B, two in the 40B and the 180B."""
    new = k.flag("new_decoder_architecture")
    many = k.flag("multi_query")
    parallel, biases, two = (
        k.flag("parallel_attn"),
        k.flag("bias"),
        k.optional("num_ln_in_parallel_attn") or 2,
    )
    k.raw("alibi")
    shape = base(k)
    if not new:
        shape["kv_heads"] = 1 if many else shape["heads"]
    norms = two if new else 1 if parallel else 2
    shape = layer_norm(shape, norms, 1) | {"gated": False, "biases": biases}
    return with_ffn(k, shape, k.optional("intermediate_size", 1) or 4 * shape["hidden"])


def nemotron(k: Keys) -> Shape:
    """Nemotron-3, Nemotron-4 and Minitron: squared ReLU, LayerNorm with a bias."""
    shape = with_ffn(k, layer_norm(base(k)) | {"gated": False})
    return output_biases(k, shape, k.flag("attention_bias"), k.flag("mlp_bias"))


def phi(k: Keys) -> Shape:
    """Phi-1, Phi-1.5 and Phi-2: attention and feed-forward behind one norm, a bias on the head."""
    k.must_be("qk_layernorm", False)
    shape = with_ffn(k, layer_norm(base(k), 1, 1) | {"gated": False, "biases": True})
    return shape | {"other_parameters": shape["vocab"]}


def llama(k: Keys) -> Shape:
    """Llama and what follows it."""
    return output_biases(k, with_ffn(k, base(k)), k.flag("attention_bias"), k.flag("mlp_bias"))


def smollm3(k: Keys) -> Shape:
    """SmolLM3: Llama with some layers without rotary positions."""
    for key in ("no_rope_layers", "no_rope_layer_interval"):
        k.raw(key)
    shape = llama(k)
    return windows(k, shape, lambda i: False) if k.flag("use_sliding_window") else unwindowed(k, shape)


def mistral(k: Keys) -> Shape:
    """Mistral, Ministral and Phi-3: Llama with a window on every layer."""
    return windows(k, with_ffn(k, base(k)), lambda i: True)


def mixtral(k: Keys) -> Shape:
    """Mixtral: every layer sparse."""
    return routed(k, windows(k, base(k), lambda i: True), k.number("intermediate_size"))


def granite_moe(k: Keys) -> Shape:
    """Granite 3 MoE: every layer sparse."""
    return routed(k, output_biases(k, base(k), k.flag("attention_bias")), k.number("intermediate_size"))


def olmo(k: Keys) -> Shape:
    """OLMo: norms without weights."""
    return llama(k) | {"norms": 0, "outer_norms": 0}


def olmo2(k: Keys) -> Shape:
    """OLMo 2: norms behind the blocks, and on query and key at full width."""
    return query_key_norms(llama(k), whole=True)


def olmoe(k: Keys) -> Shape:
    """OLMoE: every layer sparse, norms on query and key at full width."""
    shape = query_key_norms(output_biases(k, base(k), k.flag("attention_bias")), whole=True)
    return routed(k, shape, k.number("intermediate_size"))


def qwen(k: Keys) -> Shape:
    """Qwen 1: its `intermediate_size` is that of gate and up together."""
    k.must_be("no_bias", True)
    k.raw("use_logn_attn")
    return with_ffn(k, base(k), k.number("intermediate_size") // 2) | {"qkv_biases": True}


def qwen_windows(k: Keys, shape: Shape) -> Shape:
    """Qwen states a window and usually switches it off."""
    if not k.flag("use_sliding_window"):
        return unwindowed(k, shape)
    above = k.optional("max_window_layers")
    return windows(k, shape, lambda i: i >= above)


def qwen2(k: Keys) -> Shape:
    """Qwen 1.5, Qwen2 and Qwen2.5."""
    return qwen_windows(k, with_ffn(k, base(k))) | {"qkv_biases": True}


def qwen3(k: Keys) -> Shape:
    """Qwen3: norms on query and key."""
    shape = output_biases(k, with_ffn(k, base(k)), k.flag("attention_bias"))
    return query_key_norms(qwen_windows(k, shape))


def qwen_experts(k: Keys, shape: Shape, shared: int) -> Shape:
    """Which layers of a Qwen MoE are sparse."""
    k.must_be("use_sliding_window", False)
    layers, step = shape["layers"], k.number("decoder_sparse_step")
    only = k.listed("mlp_only_layers", int) or []
    dense = sum(i in only or (i + 1) % step != 0 for i in range(layers))
    return routed(k, unwindowed(k, shape), k.number("moe_intermediate_size"), shared, dense)


def qwen2_moe(k: Keys) -> Shape:
    """Qwen1.5-MoE and Qwen2-57B-A14B: a shared expert behind a gate of its own."""
    shape = base(k) | {"qkv_biases": k.flag("qkv_bias")}
    shape = qwen_experts(k, shape, k.number("shared_expert_intermediate_size"))
    shape["other_parameters"] += (shape["layers"] - shape["dense_layers"]) * shape["hidden"]
    return shape


def qwen3_moe(k: Keys) -> Shape:
    """Qwen3 MoE: no shared expert."""
    k.must_be("use_qk_norm", True)
    shape = query_key_norms(output_biases(k, base(k), k.flag("attention_bias")))
    return qwen_experts(k, shape, 0)


def deepseek_v2(k: Keys) -> Shape:
    """DeepSeek-V2."""
    return deepseek_experts(k, latent(k), corrected=k.raw("topk_method") == "noaux_tc")


def deepseek_v3(k: Keys) -> Shape:
    """DeepSeek-V3 and R1, Kimi K2."""
    return deepseek_experts(k, latent(k), corrected=True)


def deepseek_v32(k: Keys) -> Shape:
    """DeepSeek-V3.2 and GLM-5: V3 with an indexer that picks which tokens to attend to."""
    for key in ("layer_types", "indexer_types"):
        found = k.listed(key, str) or []
        if set(found) - {"full", "indexed_attention", "deepseek_sparse_attention"}:
            cure = "Cutline holds one shape per layer"
            raise k.bad(key, "the same in every layer", sorted(set(found)), cure)
    k.must_be("index_topk_freq", 1)
    k.must_be("index_topk_pattern", None)
    return deepseek_v3(k) | {
        "index_heads": k.number("index_n_heads"),
        "index_dim": k.number("index_head_dim"),
        "index_topk": k.number("index_topk"),
    }


def chatglm(k: Keys) -> Shape:
    """ChatGLM2, ChatGLM3 and GLM-4-9B under their own keys."""
    k.must_be("add_bias_linear", False)
    k.must_be("post_layer_norm", True)
    many = k.flag("multi_query_attention")
    shape = with_ffn(k, base(k)) | {"qkv_biases": k.flag("add_qkv_bias")}
    return shape if many else shape | {"kv_heads": shape["heads"]}


def glm(k: Keys) -> Shape:
    """GLM-4-9B and GLM-Edge in transformers' own layout."""
    return with_ffn(k, base(k)) | {"qkv_biases": k.flag("attention_bias")}


def glm4(k: Keys) -> Shape:
    """GLM-4-0414: norms before and behind each block."""
    return glm(k) | {"norms": 4}


def glm4_moe(k: Keys) -> Shape:
    """GLM-4.5 and later 4.x."""
    shape = base(k) | {"qkv_biases": k.flag("attention_bias")}
    shape["mtp_layers"] = k.optional("num_nextn_predict_layers")
    return deepseek_experts(k, query_key_norms(shape) if k.flag("use_qk_norm") else shape, corrected=True)


def gpt_oss(k: Keys) -> Shape:
    """gpt-oss: biases everywhere, the experts' and the router's included, a sink per head, a clamped SwiGLU."""
    k.must_be("attention_bias", True)
    shape = windows(k, base(k), lambda i: i % 2 == 0) | {"biases": True, "eager": True}
    shape["other_parameters"] += shape["layers"] * shape["heads"]
    return routed(k, shape, k.number("intermediate_size"))


def gemma(k: Keys) -> Shape:
    """Gemma 1."""
    return output_biases(k, with_ffn(k, base(k)), k.flag("attention_bias"))


def gemma2(k: Keys) -> Shape:
    """Gemma 2: norms before and behind each block, a window on every second layer."""
    return windows(k, gemma(k), lambda i: i % 2 == 0) | {"norms": 4}


def gemma3(k: Keys) -> Shape:
    """Gemma 3, text only: five windowed layers, then one without; norms on query and key."""
    k.must_be("use_bidirectional_attention", False)
    every = k.optional("sliding_window_pattern", 1) or k.optional("_sliding_window_pattern", 1) or 6
    k.raw("_sliding_window_pattern")
    return query_key_norms(windows(k, gemma(k), lambda i: (i + 1) % every != 0) | {"norms": 4})


def ernie_moe(k: Keys) -> Shape:
    """ERNIE 4.5: sparse from one layer to another, perhaps not every one between."""
    shape = output_biases(k, base(k), k.flag("use_bias"), k.flag("use_bias"))
    layers, step = shape["layers"], k.number("moe_layer_interval")
    start, end = k.number("moe_layer_start_index", 0), k.number("moe_layer_end_index", -1)
    last = layers - 1 if end == -1 else end
    dense = sum(not (start <= i <= last and (i + 1) % step == 0) for i in range(layers))
    width = k.number("moe_intermediate_size")
    shape |= {"mtp_layers": k.optional("num_nextn_predict_layers")}
    shape = routed(k, shape, width, width * k.optional("n_shared_experts"), dense)
    if k.flag("moe_use_aux_free"):
        shape["other_parameters"] += (layers - dense) * shape["experts"]
    return shape


def llama4(k: Keys) -> Shape:
    """Llama 4, text only: one shared expert, chunked attention on the layers with rotary positions."""
    k.raw("use_qk_norm")  # its norm carries no weights
    shape = base(k)
    layers, step = shape["layers"], k.number("interleave_moe_layer_step")
    sparse = k.listed("moe_layers", int)
    count = len(set(sparse)) if sparse else len(range(step - 1, layers, step))
    every = k.number("no_rope_layer_interval")
    rotary = k.listed("no_rope_layers", int, layers) or [int((i + 1) % every != 0) for i in range(layers)]
    width = k.number("intermediate_size")
    shape = windows(k, shape, lambda i: bool(rotary[i]), "attention_chunk_size")
    shape["ffn"] = k.number("intermediate_size_mlp")
    return routed(k, output_biases(k, shape, k.flag("attention_bias")), width, width, layers - count)


def starcoder2(k: Keys) -> Shape:
    """StarCoder 2."""
    k.must_be("mlp_type", "default")
    shape = with_ffn(k, layer_norm(base(k)) | {"gated": False, "biases": k.flag("use_bias")})
    return windows(k, shape, lambda i: True)


def hunyuan_dense(k: Keys) -> Shape:
    """Hunyuan dense models: norms on query and key."""
    k.must_be("use_cla", False)
    k.raw("cla_share_factor")
    shape = output_biases(k, with_ffn(k, base(k)), k.flag("attention_bias"), k.flag("mlp_bias"))
    return query_key_norms(shape) if k.flag("use_qk_norm") else shape


def hunyuan_moe(k: Keys) -> Shape:
    """Hunyuan MoE, such as A13B: shared experts beside routed ones."""
    shape = hunyuan_dense(k)
    k.must_be("use_mixed_mlp_moe", True)
    width = k.uniform("moe_intermediate_size") or shape["ffn"]
    shared = width * k.uniform("n_shared_experts")
    return routed(k, shape, width, shared, k.optional("moe_layer_num_skipped"))


def minimax_m2(k: Keys) -> Shape:
    """MiniMax-M2: softmax attention in every layer, norms on query and key at full width."""
    if set(k.listed("attn_type_list", int) or []) - {1}:
        raise k.bad("attn_type_list", "1 in every layer", 0, "Cutline cannot hold linear attention")
    k.must_be("qk_norm_type", "per_layer")
    k.must_be("use_qk_norm", True)
    for key in ("mtp_transformer_layers", "use_mtp"):
        k.raw(key)
    shape = query_key_norms(base(k), whole=True) | {"mtp_layers": k.optional("num_mtp_modules")}
    shape = routed(k, shape, k.number("intermediate_size"), k.optional("shared_intermediate_size"))
    if k.flag("use_routing_bias"):
        shape["other_parameters"] += shape["layers"] * shape["experts"]
    return shape


def baichuan(k: Keys) -> Shape:
    """Baichuan 1 and 2."""
    return with_ffn(k, base(k))


def internlm(k: Keys) -> Shape:
    """InternLM 1 and 2; `bias` is on query, key, value and output."""
    return output_biases(k, with_ffn(k, base(k)), k.flag("bias"))


def seed_oss(k: Keys) -> Shape:
    """Seed-OSS: biases on query, key and value, perhaps on the output."""
    shape = with_ffn(k, base(k))
    if k.flag("attention_out_bias"):
        return output_biases(k, shape, k.flag("attention_bias"), k.flag("mlp_bias"))
    k.must_be("mlp_bias", False)
    return shape | {"qkv_biases": k.flag("attention_bias")}


FAMILIES: dict[str, Callable[[Keys], Shape]] = {
    "baichuan": baichuan,
    "bloom": bloom,
    "chatglm": chatglm,
    "deepseek_v2": deepseek_v2,
    "deepseek_v3": deepseek_v3,
    "deepseek_v32": deepseek_v32,
    "ernie4_5_moe": ernie_moe,
    "falcon": falcon,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3_text": gemma3,
    "glm": glm,
    "glm4": glm4,
    "glm4_moe": glm4_moe,
    "glm_moe_dsa": deepseek_v32,
    "gpt2": gpt2,
    "gpt_bigcode": gpt2,
    "gpt_neox": gpt_neox,
    "gpt_oss": gpt_oss,
    "granite": llama,
    "granitemoe": granite_moe,
    "hunyuan": hunyuan_moe,
    "hunyuan_v1_dense": hunyuan_dense,
    "hunyuan_v1_moe": hunyuan_moe,
    "internlm": internlm,
    "internlm2": internlm,
    "kimi_k2": deepseek_v3,
    "kimi_linear": hybrids.kimi_linear,
    "llama": llama,
    "llama4_text": llama4,
    "minimax": hybrids.minimax,
    "minimax_m1": hybrids.minimax,
    "minimax_m2": minimax_m2,
    "minimax_text_01": hybrids.minimax,
    "ministral": mistral,
    "mistral": mistral,
    "mixtral": mixtral,
    "mpt": mpt,
    "nemotron": nemotron,
    "nemotron_h": hybrids.nemotron_h,
    "olmo": olmo,
    "olmo2": olmo2,
    "olmoe": olmoe,
    "opt": opt,
    "phi": phi,
    "phi3": mistral,
    "qwen": qwen,
    "qwen2": qwen2,
    "qwen2_moe": qwen2_moe,
    "qwen3": qwen3,
    "qwen3_moe": qwen3_moe,
    "qwen3_next": hybrids.qwen3_next,
    "seed_oss": seed_oss,
    "smollm3": smollm3,
    "starcoder2": starcoder2,
}
"""model_type -> its reader."""

REFUSED = {
    "deepseek_v4": "compressed sparse attention and hyper-connections",
    "falcon_h1": "state-space (Mamba) layers",
    "falcon_mamba": "state-space (Mamba) layers",
    "gemma3n": "per-layer embeddings and shared key and value layers",
    "gemma4": "layers of two head widths",
    "gemma4_text": "layers of two head widths",
    "granitemoehybrid": "state-space (Mamba) layers",
    "jamba": "state-space (Mamba) layers",
    "kimi_k3": "linear attention",
    "lfm2": "convolution layers",
    "mamba": "state-space (Mamba) layers",
    "mamba2": "state-space (Mamba) layers",
    "mimo_v2_flash": "layers with different numbers of key and value heads",
    "minimax_m3": "block-sparse attention",
    "nemotron-nas": "layers of different widths",
    "qwen3_5": "linear attention",
    "qwen3_5_moe": "linear attention",
    "qwen3_5_moe_text": "linear attention",
    "qwen3_5_text": "linear attention",
    "rwkv": "linear attention",
    "t5": "an encoder beside the decoder",
    "bert": "an encoder and no decoder",
}
"""Families that the fields of `Model` cannot hold -> what it is that does not fit."""
