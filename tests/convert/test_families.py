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
        T5Config(**T5, num_encoder_layers=3, mlp="relu", tied_head=True),
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
