"""What a model must offer, for each of those in the table and for one from outside."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.errors import UserError
from flanmix.model import api
from flanmix.model.api import MODELS, Compute, LanguageModel, ModelConfig, register_model
from flanmix.plugins import Registry
from tests.model import tiny

CASES = {
    "T5Config": (tiny.t5_config(), tiny.t5_batch(tiny.T5_PACKED)),
    "DecoderConfig": (tiny.decoder_config(), tiny.decoder_batch(tiny.DECODER_PACKED)),
}


def test_every_model_has_its_case():
    assert set(MODELS) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_model_offers_what_the_protocols_say(name):
    config, _ = CASES[name]
    assert type(config) is MODELS[name]
    assert isinstance(config, ModelConfig)
    compute = Compute(remat="full")
    model = tiny.model_of(config, compute)
    assert isinstance(model, LanguageModel)
    assert (model.config, model.compute) == (config, compute)
    assert config.architecture in ("encoder_decoder", "causal", "prefix")


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_the_hidden_states(name):
    config, batch = CASES[name]
    model = tiny.model_of(config)
    hidden = jax.jit(lambda model, batch: model.hidden(batch))(model, batch)
    assert hidden.shape == (*batch["decoder_segment_ids"].shape, config.d_model)
    logits = jax.jit(lambda model, hidden: model.logits(hidden))(model, hidden)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, tiny.forward(model, batch), atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_cache_keeps_its_types(name):
    config, batch = CASES[name]
    for compute in (Compute(), Compute(dtype="bfloat16"), Compute(param_dtype="bfloat16")):
        model = tiny.abstract_model(config, compute)
        logits, cache = jax.eval_shape(lambda m, b: m.prefill(b, 3), model, batch)
        tokens = jax.ShapeDtypeStruct(logits.shape[:1], jnp.int32)
        again = jax.eval_shape(lambda m, c, t: m.decode_step(c, t), model, cache, tokens)
        (found, structure), (wanted, before) = map(jax.tree.flatten, (again, (logits, cache)))
        assert structure == before
        assert [(x.shape, x.dtype) for x in found] == [(x.shape, x.dtype) for x in wanted]


@pytest.mark.parametrize("name", CASES)
def test_parameters_of_another_type_are_the_same_draws(name):
    config, _ = CASES[name]
    rng = jax.random.key(3)
    full = jax.jit(config.init)(rng)
    half = jax.jit(partial(config.init, compute=Compute(param_dtype="bfloat16")))(rng)
    for a, b in zip(jax.tree.leaves(full), jax.tree.leaves(half), strict=True):
        assert b.dtype == jnp.bfloat16
        np.testing.assert_array_equal(a.astype(jnp.bfloat16), b)


def test_a_model_is_added_from_outside(monkeypatch):
    monkeypatch.setattr(api, "MODELS", Registry("model"))

    @register_model
    @dataclass(frozen=True)
    class MyConfig:
        d_model: int = 4

    assert api.MODELS["MyConfig"] is MyConfig
    with pytest.raises(UserError, match="'MyConfig' is registered already"):
        register_model(type("MyConfig", (), {}))
