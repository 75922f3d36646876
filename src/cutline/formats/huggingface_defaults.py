"""What Hugging Face configuration classes assume where a file is silent, one `model_type` per entry.

Read in the classes of transformers 5.23. `baichuan`, `chatglm`, `hunyuan`, `internlm`, `internlm2`, `kimi_k2`,
`kimi_linear`, `minimax_m1`, `minimax_text_01` and `qwen` have none there: what stands here for them is only what their makers' code takes for granted. No
default stands for the number of layers and the width: a file that lacks them describes no model.
"""

import json
from typing import Any

TABLE = """
baichuan tie_word_embeddings=false
bloom vocab_size=250880 tie_word_embeddings=true
chatglm tie_word_embeddings=false
deepseek_v2 vocab_size=102400 intermediate_size=11008 num_attention_heads=32
  max_position_embeddings=2048 tie_word_embeddings=false n_routed_experts=64 n_shared_experts=2
  moe_intermediate_size=1407 kv_lora_rank=512 q_lora_rank=1536 qk_nope_head_dim=128 qk_rope_head_dim=64
  v_head_dim=128
deepseek_v3 vocab_size=129280 intermediate_size=18432 moe_intermediate_size=2048
  num_attention_heads=128 n_shared_experts=1 n_routed_experts=256 num_experts_per_tok=8 kv_lora_rank=512
  q_lora_rank=1536 qk_rope_head_dim=64 qk_nope_head_dim=128 v_head_dim=128 first_k_dense_replace=3
  max_position_embeddings=4096 tie_word_embeddings=false num_nextn_predict_layers=1
  n_group=8 topk_group=4
deepseek_v32 vocab_size=129280 intermediate_size=18432 moe_intermediate_size=2048
  num_attention_heads=128 n_shared_experts=1 n_routed_experts=256 num_experts_per_tok=8 kv_lora_rank=512
  q_lora_rank=1536 qk_rope_head_dim=64 qk_nope_head_dim=128 v_head_dim=128 first_k_dense_replace=3
  max_position_embeddings=163840 tie_word_embeddings=false index_topk=2048 index_head_dim=128
  index_n_heads=64 n_group=8 topk_group=4
ernie4_5_moe vocab_size=103424 intermediate_size=12288 num_attention_heads=20 num_key_value_heads=4
  max_position_embeddings=131072 tie_word_embeddings=true moe_intermediate_size=1536 num_experts_per_tok=6
  n_routed_experts=64 n_shared_experts=2 moe_layer_start_index=1 moe_layer_end_index=-1 moe_layer_interval=1
  moe_use_aux_free=true
falcon vocab_size=65024 num_attention_heads=71 max_position_embeddings=2048 tie_word_embeddings=true
  multi_query=true parallel_attn=true
gemma vocab_size=256000 max_position_embeddings=8192 tie_word_embeddings=true head_dim=256
  intermediate_size=24576 num_attention_heads=16 num_key_value_heads=16
gemma2 vocab_size=256000 max_position_embeddings=8192 tie_word_embeddings=true head_dim=256
  intermediate_size=9216 num_attention_heads=8 num_key_value_heads=4 sliding_window=4096
gemma3_text vocab_size=262208 max_position_embeddings=131072 tie_word_embeddings=true head_dim=256
  intermediate_size=9216 num_attention_heads=8 num_key_value_heads=4 sliding_window=4096
glm vocab_size=151552 intermediate_size=13696 num_attention_heads=32 num_key_value_heads=2 head_dim=128
  max_position_embeddings=131072 tie_word_embeddings=false attention_bias=true
glm4 vocab_size=151552 intermediate_size=13696 num_attention_heads=32 num_key_value_heads=2
  head_dim=128 max_position_embeddings=131072 tie_word_embeddings=false attention_bias=true
glm4_moe vocab_size=151552 intermediate_size=10944 num_attention_heads=96 num_key_value_heads=8
  max_position_embeddings=131072 tie_word_embeddings=false moe_intermediate_size=1408 num_experts_per_tok=8
  n_shared_experts=1 n_routed_experts=128 first_k_dense_replace=1 num_nextn_predict_layers=1
glm_moe_dsa vocab_size=154880 intermediate_size=12288 moe_intermediate_size=2048
  num_attention_heads=64 n_shared_experts=1 n_routed_experts=256 num_experts_per_tok=8 kv_lora_rank=512
  q_lora_rank=2048 qk_rope_head_dim=64 qk_nope_head_dim=192 v_head_dim=256 first_k_dense_replace=3
  max_position_embeddings=202752 tie_word_embeddings=false index_topk=2048 index_head_dim=128
  index_n_heads=32
gpt2 vocab_size=50257 max_position_embeddings=1024 num_attention_heads=12 tie_word_embeddings=true
gpt_bigcode vocab_size=50257 max_position_embeddings=1024 num_attention_heads=12
  tie_word_embeddings=true multi_query=true
gpt_neox vocab_size=50432 intermediate_size=24576 num_attention_heads=64
  max_position_embeddings=2048 tie_word_embeddings=false attention_bias=true
gpt_oss vocab_size=201088 intermediate_size=2880 num_attention_heads=64 num_key_value_heads=8
  head_dim=64 max_position_embeddings=131072 tie_word_embeddings=false sliding_window=128
  n_routed_experts=128 num_experts_per_tok=4 attention_bias=true
granite vocab_size=32000 intermediate_size=11008 num_attention_heads=32 max_position_embeddings=2048
  tie_word_embeddings=false
granitemoe vocab_size=32000 intermediate_size=11008 num_attention_heads=32
  max_position_embeddings=2048 tie_word_embeddings=false n_routed_experts=8 num_experts_per_tok=2
hunyuan vocab_size=290943 intermediate_size=11008 num_attention_heads=32
  max_position_embeddings=2048 tie_word_embeddings=false use_qk_norm=false
hunyuan_v1_dense vocab_size=290943 intermediate_size=11008 num_attention_heads=32
  max_position_embeddings=2048 tie_word_embeddings=false use_qk_norm=true
hunyuan_v1_moe vocab_size=290943 intermediate_size=11008 num_attention_heads=32
  max_position_embeddings=2048 tie_word_embeddings=false use_qk_norm=true n_routed_experts=1
  num_experts_per_tok=1 n_shared_experts=1
internlm tie_word_embeddings=false bias=true max_position_embeddings=2048
internlm2 tie_word_embeddings=false bias=true max_position_embeddings=2048
kimi_k2 vocab_size=129280 intermediate_size=18432 moe_intermediate_size=2048
  num_attention_heads=128 n_shared_experts=1 n_routed_experts=256 num_experts_per_tok=8 kv_lora_rank=512
  q_lora_rank=1536 qk_rope_head_dim=64 qk_nope_head_dim=128 v_head_dim=128 first_k_dense_replace=3
  max_position_embeddings=4096 tie_word_embeddings=false
kimi_linear tie_word_embeddings=false
llama vocab_size=32000 intermediate_size=11008 num_attention_heads=32 max_position_embeddings=2048
  tie_word_embeddings=false
llama4_text vocab_size=202048 intermediate_size=8192 intermediate_size_mlp=16384
  num_attention_heads=40 num_key_value_heads=8 head_dim=128 max_position_embeddings=131072
  tie_word_embeddings=false num_experts_per_tok=1 n_routed_experts=16 interleave_moe_layer_step=1
  no_rope_layer_interval=4 attention_chunk_size=8192
minimax vocab_size=32000 intermediate_size=14336 num_attention_heads=32 num_key_value_heads=8
  max_position_embeddings=131072 tie_word_embeddings=false n_routed_experts=8 num_experts_per_tok=2
minimax_m1 tie_word_embeddings=false
minimax_m2 tie_word_embeddings=false
minimax_text_01 tie_word_embeddings=false
ministral vocab_size=32000 intermediate_size=14336 num_attention_heads=32
  max_position_embeddings=131072 tie_word_embeddings=false num_key_value_heads=8 sliding_window=4096
mistral vocab_size=32000 intermediate_size=14336 num_attention_heads=32
  max_position_embeddings=131072 tie_word_embeddings=false num_key_value_heads=8 sliding_window=4096
mixtral vocab_size=32000 intermediate_size=14336 num_attention_heads=32
  max_position_embeddings=131072 tie_word_embeddings=false num_key_value_heads=8 n_routed_experts=8
  num_experts_per_tok=2
mpt vocab_size=50368 num_attention_heads=16 max_position_embeddings=2048 expansion_ratio=4
  tie_word_embeddings=true learned_pos_emb=true no_bias=true
nemotron tie_word_embeddings=false
nemotron_h vocab_size=131072 intermediate_size=21504 num_attention_heads=32 num_key_value_heads=8
  head_dim=128 max_position_embeddings=4096 tie_word_embeddings=false ssm_state_size=128
  mamba_num_heads=128 mamba_head_dim=64 n_groups=8 conv_kernel=4 use_conv_bias=true n_routed_experts=8
  n_shared_experts=1 moe_intermediate_size=7688 moe_shared_expert_intermediate_size=7688
  num_experts_per_tok=2
olmo vocab_size=50304 intermediate_size=11008 num_attention_heads=32 max_position_embeddings=2048
  tie_word_embeddings=false
olmo2 vocab_size=50304 intermediate_size=11008 num_attention_heads=32 max_position_embeddings=2048
  tie_word_embeddings=false
olmoe vocab_size=50304 intermediate_size=2048 num_attention_heads=16 max_position_embeddings=4096
  tie_word_embeddings=false n_routed_experts=64 num_experts_per_tok=8
opt vocab_size=50272 intermediate_size=3072 num_attention_heads=12 max_position_embeddings=2048
  tie_word_embeddings=true do_layer_norm_before=true
phi vocab_size=51200 intermediate_size=8192 num_attention_heads=32 max_position_embeddings=2048
  tie_word_embeddings=false
phi3 vocab_size=32064 intermediate_size=8192 num_attention_heads=32 max_position_embeddings=4096
  tie_word_embeddings=false
qwen tie_word_embeddings=false
qwen2 vocab_size=151936 max_position_embeddings=32768 use_sliding_window=false sliding_window=4096
  intermediate_size=22016 num_attention_heads=32 num_key_value_heads=32 max_window_layers=28
qwen2_moe vocab_size=151936 max_position_embeddings=32768 use_sliding_window=false
  sliding_window=4096 intermediate_size=5632 num_attention_heads=16 num_key_value_heads=16
  decoder_sparse_step=1 moe_intermediate_size=1408 shared_expert_intermediate_size=5632
  num_experts_per_tok=4 n_routed_experts=60 qkv_bias=true
qwen3 vocab_size=151936 max_position_embeddings=32768 use_sliding_window=false sliding_window=4096
  intermediate_size=22016 num_attention_heads=32 num_key_value_heads=32 head_dim=128 max_window_layers=28
qwen3_moe vocab_size=151936 max_position_embeddings=32768 use_sliding_window=false
  sliding_window=4096 intermediate_size=6144 num_attention_heads=32 num_key_value_heads=4
  decoder_sparse_step=1 moe_intermediate_size=768 num_experts_per_tok=8 n_routed_experts=128
qwen3_next vocab_size=151936 intermediate_size=5632 num_attention_heads=16 num_key_value_heads=2
  head_dim=256 max_position_embeddings=32768 tie_word_embeddings=false linear_conv_kernel_dim=4
  linear_key_head_dim=128 linear_value_head_dim=128 linear_num_key_heads=16 linear_num_value_heads=32
  decoder_sparse_step=1 moe_intermediate_size=512 shared_expert_intermediate_size=512
  num_experts_per_tok=10 n_routed_experts=512 full_attention_interval=4
seed_oss vocab_size=155136 intermediate_size=27648 num_attention_heads=80 num_key_value_heads=8
  head_dim=128 max_position_embeddings=524288 tie_word_embeddings=false attention_bias=true
smollm3 vocab_size=128256 intermediate_size=11008 num_attention_heads=16 num_key_value_heads=4
  max_position_embeddings=32768 tie_word_embeddings=true
starcoder2 vocab_size=49152 intermediate_size=12288 num_attention_heads=24 num_key_value_heads=2
  max_position_embeddings=4096 tie_word_embeddings=true use_bias=true
"""


def read(table: str) -> dict[str, dict[str, Any]]:
    """Return model_type -> key -> default; an entry starts at the margin and may go on in indented lines."""
    found: dict[str, dict[str, Any]] = {}
    for entry in table.strip().replace("\n  ", " ").splitlines():
        family, *pairs = entry.split()
        found[family] = {key: json.loads(value) for key, value in (pair.split("=") for pair in pairs)}
    return found


DEFAULTS = read(TABLE)
