"""Reads the keys of one Hugging Face configuration, checks each, and remembers which were read."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

from cutline.core.errors import CutlineError

SAME = (
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    ("hidden_size", "n_embd", "d_model", "n_embed"),
    ("num_attention_heads", "n_head", "n_heads"),
    ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num"),
    ("head_dim", "kv_channels", "attention_head_dim"),
    ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size"),
    ("vocab_size", "padded_vocab_size"),
    ("max_position_embeddings", "n_positions", "max_seq_len", "model_max_length", "seq_length"),
    ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts"),
    ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk", "moe_k"),
    ("n_shared_experts", "num_shared_expert", "num_shared_experts", "moe_num_shared_experts"),
    ("num_nextn_predict_layers", "num_mtp_layers"),
    ("n_group", "num_expert_group"),
)
"""Names of one thing in different families and versions; the first is what this module calls it."""

MOST = 10**9
"""No size or count of a model is larger; a number above it is a slip."""

SPELLINGS = {names[0]: names for names in SAME}

SUSPECT = re.compile(
    r"attn|attention|head|kv|lora|mla|mtp|window|linear|^index|indexer|compress|sparse|sinks|ssm|mamba|conv"
    r"|expert|moe|ffn|mlp|latent|shared|layer_types|layers_block|block_configs|hybrid|no_rope|gate$|bias|alibi|qk"
)
"""Keys that may change the shape."""

HARMLESS = frozenset(
    """
    _attn_implementation _attn_implementation_autoset apply_query_key_layer_scaling attention_dropout
    attention_multiplier attention_probs_dropout_prob attention_softmax_in_fp32 attn_dropout_prob
    attn_implementation attn_logit_softcapping attn_pdrop attn_scale attn_temperature_tuning
    bias_dropout_fusion clip_qkv enable_attention_fp32_softmax indexer_rope_interleave max_window_layers
    moe_capacity moe_drop_tokens moe_gate moe_norm_min moe_random_routing_dropped_token moe_renormalize
    moe_router_dtype offset_alibi output_attentions output_router_logits query_pre_attn_scalar
    router_aux_loss_coef router_jitter_noise scale_attention_softmax_in_fp32 scale_attn_weights
    skip_bias_add
    """.split()
)
"""Keys that look suspect and change no shape."""


class Keys:
    """A configuration with the defaults of its family; remembers what was read."""

    def __init__(self, config: Mapping[str, Any], defaults: Mapping[str, Any], file: str, family: str) -> None:
        self.config, self.defaults, self.file, self.family = config, defaults, file, family
        self.used: dict[str, Any] = {}
        self.assumed: dict[str, Any] = {}

    def bad(self, key: str, rule: str, value: Any, cure: str = "") -> CutlineError:
        """Return the error that says which key of which file breaks which rule."""
        return CutlineError(f"{self.file}: key '{key}' must be {rule}; got {short(value)}{'; ' + cure if cure else ''}")

    def raw(self, key: str) -> Any:
        """Return the value under any of the key's spellings, else the family's default, else None.

        A null in the file is None and not the default: `"sliding_window": null` says that there is none.
        """
        found = {k: self.config[k] for k in SPELLINGS.get(key, (key,)) if k in self.config}
        self.used |= found
        stated = {k: value for k, value in found.items() if value is not None}
        for other, value in stated.items():
            first = next(iter(stated))
            if other != first and value != stated[first]:  # NaN differs from itself
                raise self.bad(other, f"the same as '{first}', {short(stated[first])}", value, "keep one of the two")
        if found:
            return next(iter(stated.values()), None)
        default = self.defaults.get(key)
        if default is not None:
            self.assumed[key] = default
        return default

    def spelling(self, key: str) -> str:
        """Return the name under which the file has this key."""
        return next((k for k in SPELLINGS.get(key, (key,)) if k in self.config), key)

    def number(self, key: str, low: int = 1) -> int:
        """Return a whole number of at least `low`; the key must be in the file or have a default."""
        value = self.raw(key)
        if value is None:
            raise CutlineError(
                f"{self.file}: key '{key}' is missing or null, and model_type '{self.family}' has no default "
                "for it; add it"
            )
        return self.whole(key, value, low)

    def whole(self, key: str, value: Any, low: int) -> int:
        """Return `value` if it is a whole number from `low` to `MOST`."""
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise self.bad(self.spelling(key), f"a whole number of at least {low}", value)
        if value > MOST:
            raise self.bad(self.spelling(key), f"at most {MOST:,}", value)
        return value

    def optional(self, key: str, low: int = 0) -> int:
        """Return a whole number, or 0 where the key is absent or null."""
        value = self.raw(key)
        return 0 if value is None else self.whole(key, value, low)

    def flag(self, key: str) -> bool:
        """Return true or false; absent means false."""
        value = self.raw(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.bad(self.spelling(key), "true or false", value)
        return value

    def listed(self, key: str, kind: type, length: int | None = None) -> list[Any] | None:
        """Return a list whose members are all of one kind, or None where the key is absent, null or empty."""
        value = self.raw(key)
        if value is None or value == []:
            return None
        if not isinstance(value, list) or not all(isinstance(v, kind) for v in value):
            raise self.bad(self.spelling(key), f"a list of {'words' if kind is str else 'whole numbers'}", value)
        if length is not None and len(value) != length:
            raise self.bad(self.spelling(key), f"a list of {length}, one per layer", value)
        return value

    def uniform(self, key: str) -> int:
        """Return a whole number that the file may repeat once per layer."""
        value = self.raw(key)
        if isinstance(value, list) and value:
            if len(set(map(str, value))) > 1:
                raise self.bad(
                    self.spelling(key), "the same in every layer", value, "Cutline holds one shape per layer"
                )
            return self.whole(key, value[0], 0)
        return self.optional(key)

    def must_be(self, key: str, wanted: Any) -> None:
        """Refuse any value but `wanted`; absent and null are fine."""
        value = self.raw(key)
        if value is not None and value != wanted:
            raise self.bad(self.spelling(key), short(wanted), value, "Cutline cannot hold the other kind")

    def refuse_rest(self) -> None:
        """Refuse keys that nobody read and that may change the shape."""
        for key, value in self.config.items():
            if value and key not in self.used and key not in HARMLESS and SUSPECT.search(key):
                known = [*self.used, *(name for names in SAME for name in names)]
                close = difflib.get_close_matches(key, known, n=1, cutoff=0.85)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                raise CutlineError(
                    f"{self.file}: key '{key}' is not known for model_type '{self.family}' and may change "
                    f"the shape; got {short(value)}{hint}"
                )


def short(value: Any) -> str:
    """Return the value as JSON of a bearable length."""
    text = json.dumps(value, default=repr, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
