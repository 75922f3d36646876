"""The model catalogue: every shape builds, every count agrees with what the maker published."""

import csv
import re
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutline.core.errors import CutlineError, UnknownName
from cutline.facts import models, reader
from cutline.facts.models import Model, model, parameters

CLOSE = 0.01
ROUNDED = {
    "afm-4.5b": (0.027, "the name rounds 4.62 billion down"),
    "codestral-22b": (0.012, "the name rounds 22.2 billion"),
    "cogvideox-5b": (0.111, "published by name only; of the adaLN, 0.8 billion, nobody printed the shape"),
    "deepseek-7b": (0.014, "the name rounds 6.9 billion"),
    "falcon-40b": (0.034, "the name rounds 41.3 billion"),
    "falcon-7b": (0.012, "the name rounds 6.9 billion"),
    "falcon3-7b": (0.066, "the name rounds 7.46 billion down"),
    "flux-1-dev": (0.014, "published as 12 billion; embeddings and the last layer are not counted"),
    "gemma-3n-e2b": (0.185, "the published number counts vision and audio towers"),
    "gemma-3n-e4b": (0.146, "the published number counts vision and audio towers"),
    "gemma-4-e2b": (0.093, "the published number counts vision and audio towers"),
    "gemma-4-e4b": (0.068, "the published number counts vision and audio towers"),
    "glm-130b": (0.011, "the name rounds 128.7 billion"),
    "gpt3-1.3b": (0.013, "the paper prints two digits"),
    "gpt3-13b": (0.012, "the paper prints two digits, and a width of 5140 that 40 heads of 128 do not make"),
    "gpt3-2.7b": (0.019, "the paper prints two digits"),
    "gpt3-350m": (0.017, "the paper prints two digits"),
    "hunyuanvideo-13b": (0.042, "published as over 13 billion; embeddings and the text refiner are not counted"),
    "kimi-k2": (0.014, "the paper says 1.04 trillion; the shape in config.json makes 1.026"),
    "kimi-linear-48b-a3b": (0.024, "the name rounds 49.1 billion down"),
    "lfm2-1.2b": (0.025, "the name rounds 1.17 billion"),
    "lfm2-350m": (0.013, "the name rounds 354 million"),
    "lfm2-700m": (0.061, "the name rounds 742 million down"),
    "lfm2.5-8b-a1b": (0.021, "reports repeat the number of LFM2-8B-A1B, whose table has half the rows"),
    "llama-4-scout": (0.012, "the card counts the vision tower"),
    "megatron-1.7b": (0.029, "the paper prints two digits of 1.65"),
    "megatron-2b": (0.027, "the README prints two digits of 1.745"),
    "megatron-3.6b": (0.011, "the paper prints two digits"),
    "megatron-32b": (0.017, "the README prints two digits"),
    "olmo-2-1b": (0.485, "the name counts neither embedding nor head"),
    "open-sora-2-11b": (0.077, "published by name only; the shape is that of Flux, which calls itself 12 billion"),
    "opt-1.3b": (0.013, "the paper prints two digits"),
    "opt-13b": (0.012, "the paper prints two digits"),
    "pythia-12b": (0.013, "the name rounds 11.8 billion"),
    "qwen3-1.7b": (0.013, "the card prints two digits"),
    "qwen3.5-0.8b": (0.060, "the name rounds 0.75 billion up, or counts the vision tower"),
    "qwen3.5-4b": (0.052, "the name rounds 4.2 billion down"),
    "sora-class": (0.034, "a what-if: nobody published a number, the guess is rounded"),
}
"""Models whose published number is rounded more coarsely than 1 per cent -> how far off it is, and why."""

ROUNDED_ACTIVE = {
    "glm-4.7-flash": (1.09, "the name rounds 3.26 billion, which leaves out embedding and head"),
    "qwen3-next-80b-a3b": (1.09, "the name rounds 3.25 billion, which leaves out embedding and head"),
}
"""Models whose published active number is rounded more coarsely than 3 per cent -> factor, and why."""

WHAT_IF = {"sora-class"}
"""Models of the catalogue that nobody published: every number is a guess, and says so."""

EXACT = {
    "bloom-7b1": 7_069_016_064,
    "bloom-176b": 176_247_271_424,
    "bloomberggpt-50b": 50_558_868_480,
    "gpt-neox-20b": 20_554_567_680,
    "mpt-125m": 125_311_488,
    "mpt-350m": 355_985_408,
    "mpt-760m": 760_470_528,
    "mpt-1b": 1_315_950_592,
    "mpt-3b": 2_651_837_440,
    "mpt-13b": 12_853_954_560,
    "mpt-70b": 64_862_437_376,
    "pythia-70m": 70_426_624,
    "pythia-160m": 162_322_944,
    "pythia-410m": 405_334_016,
    "pythia-1b": 1_011_781_632,
    "pythia-1.4b": 1_414_647_808,
    "pythia-2.8b": 2_775_208_960,
    "dit-xl-2": 674_834_720,
    "wan-2.1-1.3b": 1_418_996_800,
    "wan-2.1-14b": 14_288_491_584,
}
"""Models whose makers print every digit (cards of BLOOM, the llm-foundry table for MPT, papers), or whose code was
counted matrix by matrix (DiT, Wan)."""

WANTED = """
gpt2-124m gpt2-355m gpt2-774m gpt2-1.5b gpt3-125m gpt3-350m gpt3-760m gpt3-1.3b gpt3-2.7b gpt3-6.7b gpt3-13b
gpt3-175b llama-7b llama-13b llama-33b llama-65b llama-2-7b llama-2-13b llama-2-70b llama-3-8b llama-3-70b
llama-3.1-8b llama-3.1-70b llama-3.1-405b llama-3.2-1b llama-3.2-3b llama-4-scout llama-4-maverick opt-175b
bloom-176b gpt-neox-20b pythia-12b megatron-22b megatron-1t mt-nlg-530b mpt-7b mpt-30b falcon-180b mistral-7b
mixtral-8x7b mixtral-8x22b qwen1.5-72b qwen2-72b qwen2-57b-a14b qwen2.5-72b qwen3-32b qwen3-30b-a3b
qwen3-235b-a22b deepseek-7b deepseek-67b deepseek-v2 deepseek-v3 deepseek-v3.2 glm-4-9b glm-4.5 glm-5 kimi-k2
gpt-oss-20b gpt-oss-120b gemma-7b gemma-2-27b gemma-3-27b phi-3-mini phi-4 yi-34b baichuan2-13b internlm-7b
internlm2-20b hunyuan-large minimax-m2 nemotron-4-15b nemotron-4-340b granite-3.0-8b starcoder-15b olmo-2-13b
smollm2-1.7b tinyllama-1.1b grok-1 chinchilla-70b palm-540b
qwen3-next-80b-a3b kimi-linear-48b-a3b minimax-01 nemotron-3-nano nemotron-3-super nemotron-3-ultra
dit-xl-2 sd3.5-large flux-1-dev hunyuanvideo-13b cogvideox-5b open-sora-2-11b wan-2.1-1.3b wan-2.1-14b sora-class
""".split()

NAMES = sorted(reader.table("models"))


def toy(**other) -> Model:
    """A dense model small enough to count by hand."""
    shape = {
        "layers": 2,
        "hidden": 64,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 8,
        "ffn": 100,
        "gated": True,
        "vocab": 1000,
        "tied": False,
        "norms": 2,
        "outer_norms": 1,
    }
    return models.build("toy", shape | other, (), "toy.csv")


MOE = {"experts": 6, "experts_per_token": 2, "expert_ffn": 20, "shared_ffn": 30, "dense_layers": 1}
MLA = {"q_rank": 24, "kv_rank": 16, "nope_dim": 8, "rope_dim": 4, "value_dim": 6}
LINEAR = {"linear_layers": 1, "linear_heads": 4, "linear_head_dim": 16, "linear_key_heads": 2, "state_dim": 8}
LINEAR |= {"linear_parameters": 9_999}
CLIP = {"patch_space": 2, "patch_time": 1, "stride_space": 8, "stride_time": 4, "frames": 9, "height": 64, "width": 96}


@pytest.mark.parametrize("name", NAMES)
def test_count_agrees_with_the_published_number(name):
    found = model(name)
    if found.published_parameters is None:
        pytest.skip("nobody published a number")
    off = abs(parameters(found).total / found.published_parameters - 1)
    tolerance, _ = ROUNDED.get(name, (CLOSE, ""))
    assert off <= tolerance


@pytest.mark.parametrize("name", ROUNDED)
def test_exceptions_are_needed_and_say_why(name):
    tolerance, reason = ROUNDED[name]
    found = model(name)
    assert CLOSE < abs(parameters(found).total / found.published_parameters - 1) <= tolerance
    assert reason


def test_nearly_all_models_have_a_published_number():
    assert sum(model(name).published_parameters is not None for name in NAMES) >= len(NAMES) - 3


@pytest.mark.parametrize("name", EXACT)
def test_count_is_exact_where_every_digit_is_published(name):
    assert parameters(model(name)).total == EXACT[name]


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_integers_and_sum_to_the_total(name):
    m = model(name)
    p = parameters(m)
    assert all(type(part) is int and part >= 0 for part in p)
    layers = m.softmax_layers * p.attention_layer * (1 + m.cross) + m.linear_layers * m.linear_parameters
    layers += m.dense_layers * p.ffn_layer + m.sparse_layers * p.moe_layer
    layers += m.joint_layers * (p.attention_layer + p.ffn_layer)
    assert p.total == p.embedding + layers + p.norms + p.head + p.other
    assert p.total - p.active == m.sparse_layers * (p.moe_layer - p.moe_layer_active)


@pytest.mark.parametrize("name", [n for n in NAMES if model(n).published_active])
def test_published_active_lies_between_without_and_with_embedding(name):
    m = model(name)
    p = parameters(m)
    factor, _ = ROUNDED_ACTIVE.get(name, (1.03, ""))
    assert p.active - p.embedding - p.head <= factor * m.published_active
    assert m.published_active <= factor * p.active


@pytest.mark.parametrize("name", ROUNDED_ACTIVE)
def test_exceptions_of_the_active_number_are_needed_and_say_why(name):
    factor, reason = ROUNDED_ACTIVE[name]
    m = model(name)
    p = parameters(m)
    assert reason
    assert 1.03 < max((p.active - p.embedding - p.head) / m.published_active, m.published_active / p.active) <= factor


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_mixes_tokens_and_feeds_forward_once(name):
    """A hybrid that counts blocks one by one has one of the two in each; every other model has both in each."""
    m = model(name)
    mixers, feeds = m.softmax_layers + m.linear_layers, m.dense_layers + m.sparse_layers
    if m.moe_layers:
        assert mixers + feeds == m.layers
    else:
        assert mixers == feeds == m.layers


def test_catalogue_has_the_models_that_people_ask_for():
    assert not set(WANTED) - set(NAMES)
    assert len(NAMES) >= 65


@pytest.mark.parametrize("name", NAMES)
def test_every_model_has_its_basics(name):
    table = reader.table("models")
    for field in ("maker", "country", "kind", "released"):
        assert table.best(name, field) is not None, field
    assert re.fullmatch("[A-Z]{2}", table.best(name, "country").value)
    assert model(name).kind == ("moe" if model(name).experts else "dit" if model(name).patch_space else "dense")
    assert re.fullmatch(r"[a-z0-9][a-z0-9.\-]*", name)


@pytest.mark.parametrize("name", NAMES)
def test_sources_of_a_model_resolve(name):
    found = model(name).sources
    assert found and len(set(found)) == len(found)
    assert set(found) <= set(reader.sources())


def test_aliases_are_unique_and_resolve():
    table = reader.table("models")
    seen = {name.casefold(): name for name in NAMES}
    for name in NAMES:
        claim = table.best(name, "aliases")
        for alias in claim.value.split(";") if claim else ():
            assert alias == alias.strip() and alias, name
            assert seen.setdefault(alias.casefold(), name) == name, f"{alias}: {name} and {seen[alias.casefold()]}"
            assert table.resolve(alias) == name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("LLaMA-65B", "llama-65b"),
        ("Meta-Llama-3.1-405B", "llama-3.1-405b"),
        ("llama3.1-405b", "llama-3.1-405b"),
        ("GPT-3 175B", "gpt3-175b"),
        ("gpt3", "gpt3-175b"),
        ("  DEEPSEEK-R1 ", "deepseek-v3"),
    ],
)
def test_usual_spellings_are_found(spelling, name):
    assert model(spelling).name == name


def test_unknown_name_says_what_comes_close():
    with pytest.raises(UnknownName, match=r"no model named 'llama-66b'\. Did you mean llama-65b"):
        model("llama-66b")


def test_file_is_sorted_and_repeats_nothing():
    with (reader.DATA / "models.csv").open(encoding="utf-8", newline="") as handle:
        rows = [tuple(row.values()) for row in csv.DictReader(handle)]
    assert [row[:2] for row in rows] == sorted(row[:2] for row in rows)
    assert len({row[:4] + row[6:7] for row in rows}) == len(rows)


def test_guesses_are_few_and_explained():
    table = reader.table("models")
    guesses = [c for n in NAMES for found in table.claims(n).values() for c in found if c.source.id == "guess"]
    assert all(c.note for c in guesses)
    of = [model(c.name) for c in guesses if c.name not in WHAT_IF]
    assert sum(m.kind != "dit" for m in of) <= 20
    assert sum(m.kind == "dit" for m in of) <= 35
    assert all("what-if" in c.note for c in guesses if c.name in WHAT_IF)


# --- the count, by hand


def test_grouped_attention_by_hand():
    p = parameters(toy())
    assert p.attention_layer == 64 * 32 + 2 * 64 * 16 + 32 * 64  # query, key and value, output
    assert p.ffn_layer == 3 * 64 * 100
    assert p.norms == (2 * 2 + 1) * 64
    assert p.embedding == p.head == 1000 * 64
    assert p.total == p.active == 128_000 + 2 * (6_144 + 19_200) + 320


def test_biases_by_hand():
    plain, qkv, every = (parameters(toy(**b)) for b in ({}, {"qkv_biases": 1}, {"biases": 1}))
    assert qkv.attention_layer - plain.attention_layer == 32 + 16 + 16
    assert every.attention_layer - plain.attention_layer == 32 + 16 + 16 + 64
    assert qkv.ffn_layer == plain.ffn_layer
    assert every.ffn_layer - plain.ffn_layer == 100 + 100 + 64


def test_gate_ties_and_positions_by_hand():
    assert parameters(toy(gated=0)).ffn_layer == 2 * 64 * 100
    assert parameters(toy(tied=1)).head == 0
    assert parameters(toy(positions=50)).embedding == 1050 * 64
    assert parameters(toy(other_parameters=7)).total == parameters(toy()).total + 7


def test_experts_by_hand():
    p = parameters(toy(**MOE))
    assert p.moe_layer == 64 * 6 + 6 * 3 * 64 * 20 + 3 * 64 * 30  # router, routed, shared
    assert p.moe_layer_active == 64 * 6 + 2 * 3 * 64 * 20 + 3 * 64 * 30
    assert p.total == 128_000 + 2 * 6_144 + 19_200 + p.moe_layer + 320
    assert p.active == p.total - 4 * 3 * 64 * 20
    biased = parameters(toy(**MOE, biases=1))
    assert biased.moe_layer - p.moe_layer == 6 + 6 * (20 + 20 + 64) + (30 + 30 + 64)


def test_experts_without_dense_layers_need_no_ffn():
    p = parameters(toy(**MOE | {"dense_layers": 0, "shared_ffn": 0}, ffn=None))
    assert p.ffn_layer == 0
    assert p.moe_layer == 64 * 6 + 6 * 3 * 64 * 20


def test_latent_attention_by_hand():
    query = 64 * 24 + 24 + 24 * 4 * 12
    key_value = 64 * (16 + 4) + 16 + 16 * 4 * (8 + 6)
    output = 4 * 6 * 64
    assert parameters(toy(**MLA, kv_heads=4)).attention_layer == query + key_value + output
    direct = parameters(toy(**MLA | {"q_rank": 0}, kv_heads=4))
    assert direct.attention_layer == 64 * 4 * 12 + key_value + output


def test_indexer_by_hand():
    indexer = {"index_heads": 3, "index_dim": 5, "index_topk": 99}
    with_it, without = (parameters(toy(**MLA, kv_heads=4, **more)) for more in (indexer, {}))
    assert with_it.attention_layer - without.attention_layer == 24 * 3 * 5 + 64 * 5 + 2 * 5 + 64 * 3


def test_linear_mixers_by_hand():
    p = parameters(toy(**LINEAR))
    assert toy(**LINEAR).softmax_layers == 1
    assert p.total == 128_000 + 6_144 + 9_999 + 2 * 19_200 + 320
    assert parameters(toy(**LINEAR | {"linear_layers": 2})).total == 128_000 + 2 * 9_999 + 2 * 19_200 + 320


def test_blocks_counted_one_by_one_by_hand():
    """Five blocks of one norm each: two linear mixers, one of softmax attention, two of experts."""
    blocks = {"layers": 5, "linear_layers": 2, "attention_layers": 1, "moe_layers": 2, "dense_layers": 0, "norms": 1}
    p = parameters(toy(**MOE | LINEAR | blocks))
    assert p.total == 128_000 + 2 * 9_999 + 6_144 + 2 * p.moe_layer + (5 + 1) * 64
    assert p.total - p.active == 2 * 4 * 3 * 64 * 20


def test_latent_experts_by_hand():
    """Routed experts work at another width; router and shared expert at the model's, and two projections lie between."""
    p = parameters(toy(**MOE, latent_dim=16))
    always = 64 * 6 + 3 * 64 * 30 + 2 * 64 * 16
    assert p.moe_layer == always + 6 * 3 * 16 * 20
    assert p.moe_layer_active == always + 2 * 3 * 16 * 20


def test_diffusion_transformer_by_hand():
    plain = toy(**CLIP, vocab=None, tied=None)
    p = parameters(plain)
    assert (plain.kind, plain.vocab, plain.tied) == ("dit", 0, True)
    assert p.embedding == p.head == 0
    assert p.total == p.active == 2 * (6_144 + 19_200) + 320
    assert parameters(replace(plain, cross=True)).total == p.total + 2 * 6_144
    assert parameters(replace(plain, joint_layers=1)).total == p.total + 6_144 + 19_200
    assert parameters(replace(plain, encoder_parameters=10**9)) == p  # frozen, and not part of the model


@pytest.mark.parametrize("more", [{"expert_groups": 2}, {"eager": 1}])
def test_what_changes_no_count(more):
    assert parameters(toy(**MOE, **more)) == parameters(toy(**MOE))


def test_prediction_layers_are_not_counted():
    assert parameters(toy(mtp_layers=3)) == parameters(toy())


sizes = st.integers(1, 50)


@given(sizes, sizes, st.booleans())
def test_tying_saves_the_head_and_layers_add_up(layers, vocab, gated):
    one = replace(toy(gated=gated), layers=layers, dense_layers=layers, vocab=vocab)
    more = replace(one, layers=layers + 1, dense_layers=layers + 1)
    p, q = parameters(one), parameters(more)
    assert q.total - p.total == p.attention_layer + p.ffn_layer + 2 * 64
    assert p.total - parameters(replace(one, tied=True)).total == vocab * 64


@given(st.integers(1, 6), st.integers(0, 2))
def test_visiting_every_expert_makes_all_active(visited, dense):
    p = parameters(toy(**MOE | {"experts_per_token": visited, "dense_layers": dense}))
    assert p.active <= p.total
    assert (p.active == p.total) == (visited == 6 or dense == 2)


# --- what a shape may not be


@pytest.mark.parametrize("field", [*models.ALWAYS, "head_dim", "ffn"])
def test_missing_shape_names_model_field_and_cure(field):
    with pytest.raises(CutlineError) as error:
        toy(**{field: None})
    assert str(error.value) == (
        f"toy.csv: toy has no {field}, so it cannot be counted; add a row for it, with its source"
    )


@pytest.mark.parametrize(
    ("group", "field"),
    [
        (g, f)
        for g in (MOE, MLA, LINEAR, CLIP)
        for f in g
        if f not in ("experts", "kv_rank", "linear_layers", "patch_space")
    ],
)
def test_half_a_group_is_refused(group, field):
    with pytest.raises(CutlineError, match=f"toy has no {field}, so it cannot be counted"):
        toy(**group | {field: None}, kv_heads=4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kv_heads": 3}, "toy.csv: toy.heads must be a multiple of its kv_heads, 3; got 4"),
        ({"kv_heads": 8}, "toy.csv: toy.kv_heads must be at most its heads, 4; got 8"),
        ({"layers": 2.5}, "toy.csv: toy.layers must be a whole number from 0 up; got 2.5"),
        ({"hidden": -64}, "toy.csv: toy.hidden must be a whole number from 0 up; got -64"),
        ({"kind": "moe"}, "toy.csv: toy.kind must be dense, for it has no experts; add them; got moe"),
        (MOE | {"kind": "dense"}, "toy.csv: toy.kind must be moe, for it has experts; got dense"),
        ({"kind": "dit"}, "toy.csv: toy.kind must be dense, for it has no patches; add them; got dit"),
        (CLIP | {"kind": "dense"}, "toy.csv: toy.kind must be dit, for it has patches; got dense"),
        (LINEAR | {"linear_layers": 3}, "toy.csv: toy.linear_layers must be at most its layers, 2; got 3"),
        (CLIP | {"joint_layers": 3}, "toy.csv: toy.joint_layers must be at most its layers, 2; got 3"),
        ({"attention_layers": 3}, "toy.csv: toy.attention_layers must be at most its layers, 2; got 3"),
        (MOE | {"moe_layers": 3}, "toy.csv: toy.moe_layers must be at most its layers, 2; got 3"),
        (MOE | {"dense_layers": 3}, "toy.csv: toy.dense_layers must be at most its layers, 2; got 3"),
        (
            MOE | {"experts_per_token": 7},
            "toy.csv: toy.experts_per_token must be at most its experts, 6; got 7",
        ),
        (
            {"window": 8, "window_layers": 3},
            "toy.csv: toy.window_layers must be at most its layers, 2; got 3",
        ),
        (
            {"window": 8},
            "toy.csv: toy has no window_layers, so it cannot be counted; add a row for it, with its source",
        ),
        (
            {"index_topk": 8},
            "toy.csv: toy has no index_heads, so it cannot be counted; add a row for it, with its source",
        ),
    ],
)
def test_contradictions_are_refused_in_one_sentence(wrong, message):
    with pytest.raises(CutlineError) as error:
        toy(**wrong)
    assert str(error.value) == message


def test_catalogue_model_without_a_shape_is_refused_by_name(monkeypatch):
    real = reader.table("models")
    left = [c for f, cs in real.claims("llama-65b").items() for c in cs if f != ("hidden", "")]
    monkeypatch.setattr(reader, "table", lambda name: reader.Table("model", left))
    with pytest.raises(CutlineError) as error:
        model("llama-65b")
    assert str(error.value) == (
        "models.csv: llama-65b has no hidden, so it cannot be counted; add a row for it, with its source"
    )


def test_the_most_trusted_claim_is_taken_and_its_source_named(monkeypatch):
    real = reader.table("models")
    claims = [c for cs in real.claims("llama-65b").values() for c in cs]
    rumour = next(c for c in claims if c.field == "layers")._replace(value=79.0, source=reader.GUESS, line=10**6)
    monkeypatch.setattr(reader, "table", lambda name: reader.Table("model", [*claims, rumour]))
    assert model("llama-65b").layers == 80
    assert "guess" not in model("llama-65b").sources


def test_every_shape_of_the_schema_is_a_field_of_model():
    shapes = {field for (table, field), rule in reader.schema().items() if table == "models" and "1" in rule.dimensions}
    shapes -= {"batch_tokens"}  # of the training run, not of the model
    facts_only = {"conv_width", "latent_channels"}  # convolution and first projection: no cost, counted elsewhere
    assert facts_only <= shapes and not facts_only & {f.name for f in fields(Model)}
    shapes -= facts_only
    renamed = {"parameters": "published_parameters", "active": "published_active"}
    assert {renamed.get(s, s) for s in shapes} <= {f.name for f in fields(Model)}
