"""Readers of configurations whose layers differ in kind: linear attention or state spaces beside softmax attention.

What one linear mixer carries comes from the modelling code in transformers 5.24.
"""

from __future__ import annotations

from cutline.formats.huggingface_keys import Keys
from cutline.formats.huggingface_parts import Shape, base, deepseek_experts, latent, routed, with_ffn

BLOCKS = {"mamba": "M", "linear_attention": "M", "attention": "*", "full_attention": "*", "moe": "E", "mlp": "-"}
"""Kinds of a Nemotron-H block: words of the list, old and new -> letter of the pattern."""


def kinds(k: Keys, layers: int, usual: list[str] | None = None) -> list[str]:
    """Return `linear_attention` or `full_attention` for every layer."""
    found = k.listed("layer_types", str, layers) or usual
    if found is None:
        raise k.bad("layer_types", "there, for it says which layers have linear attention", None)
    for kind in found:
        if kind not in ("linear_attention", "full_attention"):
            cure = "Cutline cannot hold the other kinds"
            raise k.bad("layer_types", "made of linear_attention and full_attention", kind, cure)
    return found


def mixed(shape: Shape, found: list[str]) -> Shape:
    """Count the layers of either kind."""
    full = found.count("full_attention")
    return shape | {"attention_layers": full, "linear_layers": len(found) - full}


def qwen3_next(k: Keys) -> Shape:
    """Qwen3-Next: gated delta nets, every fourth layer gated softmax attention; a shared expert behind a gate."""
    k.must_be("use_sliding_window", False)
    k.must_be("attention_bias", False)
    shape = base(k)
    layers, hidden = shape["layers"], shape["hidden"]
    every, step = k.number("full_attention_interval"), k.number("decoder_sparse_step")
    usual = ["linear_attention" if (i + 1) % every else "full_attention" for i in range(layers)]
    shape = mixed(shape, kinds(k, layers, usual))
    keys, values = k.number("linear_num_key_heads"), k.number("linear_num_value_heads")
    key, value = k.number("linear_key_head_dim"), k.number("linear_value_head_dim")
    inner, across = values * value, 2 * keys * key
    mixer = hidden * (across + 2 * inner + 2 * values) + (across + inner) * k.number("linear_conv_kernel_dim")
    shape |= {
        "linear_heads": values,
        "linear_head_dim": value,
        "linear_key_heads": keys,
        "state_dim": key,
        "linear_parameters": mixer + inner * hidden + 2 * values + value,  # output, decay and step, norm
    }
    gate = hidden * shape["heads"] * shape["head_dim"]
    shape["other_parameters"] = shape["attention_layers"] * (gate + 2 * shape["head_dim"])
    only = k.listed("mlp_only_layers", int) or []
    dense = sum(i in only or (i + 1) % step != 0 for i in range(layers))
    shape["other_parameters"] += (layers - dense) * hidden
    return routed(k, shape, k.number("moe_intermediate_size"), k.number("shared_expert_intermediate_size"), dense)


def kimi_linear(k: Keys) -> Shape:
    """Kimi Linear: delta attention with a gate per channel, every fourth layer latent attention without positions."""
    for key in ("mla_use_nope", "moe_router_activation_func"):
        k.raw(key)
    for key, wanted in (
        ("mla_use_output_gate", False),
        ("routed_expert_hidden_size", None),
        ("latent_moe_use_norm", None),
    ):
        k.must_be(key, wanted)
    inner = k.raw("linear_attn_config")
    if not isinstance(inner, dict):
        raise k.bad("linear_attn_config", "an object", inner)
    a = Keys(inner, {}, f"{k.file}: linear_attn_config", k.family)
    shape = deepseek_experts(k, latent(k), corrected=True)
    full, linear = (a.listed(key, int) or [] for key in ("full_attn_layers", "kda_layers"))
    if sorted(full + linear) != list(range(1, shape["layers"] + 1)):
        raise a.bad("kda_layers", f"with full_attn_layers each of the layers 1 to {shape['layers']} once", linear)
    heads, width, conv = a.number("num_heads"), a.number("head_dim"), a.number("short_conv_kernel_size")
    a.refuse_rest()
    hidden, across = shape["hidden"], heads * width
    mixer = 4 * hidden * across + 3 * across * conv  # query, key, value, output; convolutions
    mixer += 2 * width * (hidden + across) + hidden * heads + across + heads + width  # decay, gate, step, biases, norm
    return shape | {
        "attention_layers": len(full),
        "linear_layers": len(linear),
        "linear_heads": heads,
        "linear_head_dim": width,
        "linear_key_heads": heads,
        "state_dim": width,
        "linear_parameters": mixer,
    }


def minimax(k: Keys) -> Shape:
    """MiniMax-Text-01 and M1: lightning attention, every eighth layer softmax attention; every layer sparse."""
    for place in ("full_attention", "linear_attention", "mlp"):
        for factor in ("alpha", "beta"):
            k.raw(f"layernorm_{place}_{factor}")
            k.raw(f"{place.replace('attention', 'attn')}_{factor}_factor")
    k.raw("shared_moe_mode")
    if k.uniform("shared_intermediate_size"):
        raise k.bad(
            "shared_intermediate_size", "0", k.raw("shared_intermediate_size"), "Cutline cannot hold the other kind"
        )
    shape = base(k)
    numbers = k.listed("attn_type_list", int, shape["layers"])
    if k.family == "minimax" and numbers is None:
        numbers = [(i + 1) % 2 for i in range(shape["layers"])]  # the default of its class
    usual = numbers and ["full_attention" if n else "linear_attention" for n in numbers]
    shape = mixed(shape, kinds(k, shape["layers"], usual))
    inner = shape["heads"] * shape["head_dim"]
    shape |= {
        "linear_heads": shape["heads"],
        "linear_head_dim": shape["head_dim"],
        "linear_key_heads": shape["heads"],
        "state_dim": shape["head_dim"],
        "linear_parameters": 5 * shape["hidden"] * inner + inner,  # query, key, value, gate, output; norm
    }
    return routed(k, shape, k.number("intermediate_size"))


def nemotron_h(k: Keys) -> Shape:
    """Nemotron-H and Nemotron 3: blocks of one kind each, with one norm; Mamba-2 mixers, squared ReLU, no positions."""
    for key in ("use_bias", "mlp_bias", "attention_bias", "mamba_proj_bias"):
        k.must_be(key, False)
    k.must_be("mlp_hidden_act", "relu2")
    for key in ("mamba_hidden_act", "mamba_ssm_cache_dtype", "use_mamba_kernels", "moe_shared_expert_overlap"):
        k.raw(key)
    for key in ("mtp_hybrid_override_pattern", "mtp_layers_block_type"):
        k.raw(key)
    shape = base(k) | {"gated": False, "norms": 1}
    blocks = pattern(k, shape["layers"])
    heads, width = k.number("mamba_num_heads"), k.number("mamba_head_dim")
    groups, state = k.number("n_groups"), k.number("ssm_state_size")
    hidden, inner = shape["hidden"], heads * width
    convolved = inner + 2 * groups * state
    mixer = hidden * (inner + convolved + heads) + convolved * (k.number("conv_kernel") + k.flag("use_conv_bias"))
    shape |= {
        "attention_layers": blocks.count("*"),
        "linear_layers": blocks.count("M"),
        "linear_heads": heads,
        "linear_head_dim": width,
        "linear_key_heads": groups,
        "state_dim": state,
        "linear_parameters": mixer + 3 * heads + inner + inner * hidden,  # decay, skip and step, norm, output
        "mtp_layers": k.optional("num_nextn_predict_layers"),
    }
    if not {"E", "*"} <= set(blocks):
        cure = "Cutline counts blocks one by one in sparse models with attention only"
        raise k.bad("hybrid_override_pattern", "with E and * blocks", blocks, cure)
    sparse = blocks.count("E")
    shared = k.optional("moe_shared_expert_intermediate_size") * k.optional("n_shared_experts")
    shape = with_ffn(k, shape) if "-" in blocks else shape
    shape = routed(k, shape, k.number("moe_intermediate_size"), shared, blocks.count("-"))
    shape["other_parameters"] += sparse * shape["experts"]
    return shape | {"moe_layers": sparse, "latent_dim": k.optional("moe_latent_size", 1)}


def pattern(k: Keys, layers: int) -> str:
    """Return one letter of `BLOCKS` for every block."""
    text = k.raw("hybrid_override_pattern")
    words = k.listed("layers_block_type", str, layers)
    if words:
        text = "".join(BLOCKS.get(word, "?") for word in words)
    if not isinstance(text, str) or len(text) != layers or set(text) - set(BLOCKS.values()):
        raise k.bad("hybrid_override_pattern", f"{layers} letters of M, *, E and -", text)
    return text
