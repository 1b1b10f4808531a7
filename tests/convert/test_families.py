"""Every family: its tensors are the model's parameters, and its configurations come back."""

import jax
import numpy as np
import pytest

import flanmix.convert.families  # noqa: F401  # registers them
from flanmix.convert.family import FAMILIES, family_of
from flanmix.convert.loading import abstract_params, read_params
from flanmix.errors import UserError
from flanmix.model.api import Compute
from flanmix.model.decoder import DecoderConfig
from flanmix.model.t5 import T5Config
from tests.convert.tensors import DictSource, foreign_shapes

DECODER = dict(vocab_size=64, d_model=16, d_ff=24, num_heads=4, head_dim=4, num_layers=3)
LLAMA3 = dict(rope_scaling="llama3", rope_factor=8.0, rope_theta=5e5, rope_length=16)
YARN = dict(rope_scaling="yarn", rope_factor=4.0, rope_high_turns=32.0, rope_length=16)
GEMMA = dict(
    num_kv_heads=2,
    mlp="geglu",
    tied_head=True,
    norm_plus_one=True,
    post_norms=True,
    scaled_embedding=True,
    window=5,
)
T5 = dict(vocab_size=64, d_model=16, d_ff=24, num_heads=4, head_dim=4, num_decoder_layers=2)
CONFIGS = {
    "Llama": [
        DecoderConfig(**DECODER, num_kv_heads=2),
        DecoderConfig(**DECODER, num_kv_heads=4, tied_head=True),
        DecoderConfig(**DECODER, num_kv_heads=4, **LLAMA3),
        DecoderConfig(**DECODER, num_kv_heads=4, rope_scaling="linear", rope_factor=2.0),
    ],
    "Mistral": [
        DecoderConfig(**DECODER, num_kv_heads=2),
        DecoderConfig(**DECODER, num_kv_heads=2, window=5),
    ],
    "Qwen2": [
        DecoderConfig(**DECODER, num_kv_heads=2, qkv_bias=True, **YARN),
        DecoderConfig(**DECODER, num_kv_heads=4, qkv_bias=True, window=5, window_pattern="gll"),
    ],
    "Qwen3": [DecoderConfig(**DECODER, num_kv_heads=2, qk_norm=True)],
    "Gemma2": [
        DecoderConfig(**DECODER, **GEMMA, window_pattern="lg", attention_cap=50.0, logit_cap=30.0),
        DecoderConfig(**DECODER, **{**GEMMA, "window": None}, query_width=9),
    ],
    "Gemma3": [
        DecoderConfig(
            **DECODER,
            **GEMMA,
            qk_norm=True,
            window_pattern="llg",
            local_rope_theta=1e4,
            rope_theta=1e6,
            rope_scaling="linear",
            rope_factor=8.0,
        ),
    ],
    "T5": [
        T5Config(**T5, num_encoder_layers=3),
        T5Config(**T5, num_encoder_layers=3, mlp="relu", tied_head=True, dropout_rate=0.0),
        T5Config(**T5, num_encoder_layers=2, mlp="swiglu", max_distance=100, norm_epsilon=1e-5),
    ],
    "MT5": [T5Config(**T5, num_encoder_layers=2)],
    "UMT5": [
        T5Config(**T5, num_encoder_layers=3, bias_per_layer=True),
        T5Config(**T5, num_encoder_layers=1, bias_per_layer=True, tied_head=True),
    ],
}
CASES = [(name, config) for name, configs in CONFIGS.items() for config in configs]


def test_every_family_is_tested():
    assert set(CONFIGS) == set(FAMILIES)


@pytest.mark.parametrize("name, config", CASES)
def test_tensors_are_the_models_parameters(name, config):
    family = FAMILIES[name]
    paths = {
        "/".join(key.key for key in path)
        for path, _ in jax.tree_util.tree_leaves_with_path(abstract_params(config, Compute()))
    }
    tensors = family.tensors(config)
    assert sorted(t.path for t in tensors) == sorted(paths)
    names = [name for t in tensors for name in t.names]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name, config", CASES)
def test_a_configuration_comes_back(name, config):
    foreign = FAMILIES[name].foreign_config(config)
    assert family_of(foreign) is FAMILIES[name]
    assert FAMILIES[name].config(foreign) == config


@pytest.mark.parametrize("name, config", CASES)
def test_parameters_are_the_tensors(name, config):
    family = FAMILIES[name]
    source = DictSource(foreign_shapes(family, config))
    params = read_params(family, config, source, Compute())
    flat = {
        "/".join(key.key for key in path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    for tensor in family.tensors(config):
        ours = flat[tensor.path] if tensor.stacked else flat[tensor.path][None]
        for layer, name in zip(ours, tensor.names, strict=True):
            theirs = source.tensors[name]
            np.testing.assert_array_equal(layer, theirs.T if tensor.transposed else theirs)


def test_what_differs_is_named():
    family, config = FAMILIES["Llama"], CONFIGS["Llama"][0]
    shapes = foreign_shapes(family, config)
    lacking = {n: s for n, s in shapes.items() if n != "model.norm.weight"}
    with pytest.raises(UserError, match=r"lacks tensor 'model\.norm\.weight'"):
        read_params(family, config, DictSource(lacking), Compute())
    with pytest.raises(UserError, match=r"has tensor 'more\.weight'"):
        read_params(family, config, DictSource(shapes | {"more.weight": (2,)}), Compute())
    with pytest.raises(UserError, match=r"norm\.weight has shape \(17,\).* has \(16,\)"):
        read_params(family, config, DictSource(shapes | {"model.norm.weight": (17,)}), Compute())


def test_another_architecture_is_named():
    with pytest.raises(UserError, match=r"model_type is 'lama'.*did you mean 'llama'"):
        family_of({"model_type": "lama"})


SIZES = dict(
    vocab_size=64,
    hidden_size=16,
    intermediate_size=24,
    num_attention_heads=4,
    num_key_value_heads=2,
    num_hidden_layers=2,
)
LINEAR = {"rope_type": "linear", "factor": 2.0}
REFUSED = [
    ("llama", {"attention_bias": True}, "attention_bias is True"),
    ("llama", {"mlp_bias": True}, "mlp_bias is True"),
    ("llama", {"hidden_act": "gelu"}, "hidden_act is 'gelu'.*'silu'"),
    ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
    ("llama", {"quantization_config": {"bits": 4}}, "quantization_config is .*4"),
    ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type 'dynamic'.*llama3"),
    (
        "llama",
        {"rope_parameters": {"rope_type": "linear"}},
        "rope_parameters.*'linear' lacks factor",
    ),
    ("llama", {"rope_scaling": LINEAR | {"mrope": [1]}}, r"rope_scaling has mrope \[1\]"),
    ("llama", {"hidden_size": None}, "lacks hidden_size.*'llama'"),
    ("llama", {"hidden_size": "16"}, "d_model is '16'"),
    ("llama", {"num_key_value_heads": 3}, "num_kv_heads is 3"),
    ("mistral", {"layer_types": ["full_attention"] * 2}, "layer_types is"),
    ("qwen2", {"layer_types": ["full_attention", "linear_attention"]}, "'linear_attention'.* 1"),
    ("qwen2", {"layer_types": ["full_attention"]}, "1 layers.*num_hidden_layers is 2"),
    ("qwen2", {"layer_types": ["sliding_attention"] * 2}, "no sliding_window"),
    (
        "qwen2",
        {"rope_scaling": {"type": "yarn", "factor": 4.0, "attention_factor": 1.5}},
        "lacks max_position_embeddings",
    ),
    ("qwen3", {"attention_bias": True}, "attention_bias is True"),
    ("qwen3_moe", {"num_experts": 8}, "model_type is 'qwen3_moe'.*'qwen3'"),
    ("gemma2", {"hidden_activation": "gelu"}, "hidden_activation is 'gelu'"),
    ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
    (
        "gemma3_text",
        {"rope_parameters": {"sliding_attention": LINEAR}},
        r"rope_parameters\.sliding_attention has rope_type 'linear'",
    ),
    ("gemma3", {}, "model_type is 'gemma3'.*'gemma3_text'"),
]


@pytest.mark.parametrize("model_type, fields, message", REFUSED)
def test_what_is_not_computed_is_refused_by_name(model_type, fields, message):
    foreign = {"model_type": model_type} | SIZES | fields
    with pytest.raises(UserError, match=message):
        family_of(foreign).config(foreign)


def test_a_yarn_of_another_size_is_refused():
    yarn = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    foreign = {"model_type": "qwen2"} | SIZES
    exact = {"attention_factor": 1.1386294361119891}
    for scaling in (yarn, yarn | exact):
        config = FAMILIES["Qwen2"].config(foreign | {"rope_scaling": scaling})
        assert (config.rope_low_turns, config.rope_high_turns) == (1.0, 32.0)
    with pytest.raises(UserError, match=r"attention_factor 1\.5.*1\.13863"):
        other = {"rope_scaling": yarn | {"attention_factor": 1.5}}
        FAMILIES["Qwen2"].config(foreign | other)


@pytest.mark.parametrize("name", ["Llama", "Gemma3"])
def test_both_forms_of_a_rotations_fields_are_read(name):
    """Transformers 5 puts them into `rope_parameters`; what we write is the earlier form."""
    old = FAMILIES[name].foreign_config(CONFIGS[name][-1])
    new = dict(old)
    base, scaling = new.pop("rope_theta"), new.pop("rope_scaling")
    parameters = scaling | {"rope_theta": base}
    if name == "Gemma3":
        local = {"rope_type": "default", "rope_theta": new.pop("rope_local_base_freq")}
        parameters = {"full_attention": parameters, "sliding_attention": local}
    assert FAMILIES[name].config(new | {"rope_parameters": parameters}) == CONFIGS[name][-1]


def test_what_a_family_has_not_is_not_written():
    config = DecoderConfig(**DECODER, num_kv_heads=2, qk_norm=True)
    with pytest.raises(UserError, match=r"DecoderConfig\.qk_norm is True.*'llama'"):
        FAMILIES["Llama"].foreign_config(config)
    with pytest.raises(UserError, match=r"DecoderConfig\.prefix is True"):
        FAMILIES["Llama"].foreign_config(DecoderConfig(**DECODER, num_kv_heads=2, prefix=True))
