"""Eight devices compute what one does: loss, gradients and decoding, on meshes of every kind."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from flanmix.errors import UserError
from flanmix.model.sharding import batch_sharding, make_mesh, shardings
from tests.model import tiny

pytestmark = [
    pytest.mark.multidevice,
    pytest.mark.skipif(jax.device_count() < 8, reason="needs 8 devices"),
]

T5 = (tiny.t5_config(), tiny.t5_batch(tiny.T5_PACKED[:2] * 4))
DECODER = (
    tiny.decoder_config(prefix=True, positions="relative"),
    tiny.decoder_batch(tiny.DECODER_PACKED[:2] * 4),
)
# All that the families of decoders add.
FAMILY = (
    tiny.decoder_config(
        window=3,
        window_pattern="lg",
        local_rope_theta=100.0,
        qk_norm=True,
        qkv_bias=True,
        post_norms=True,
        norm_plus_one=True,
        scaled_embedding=True,
        attention_cap=2.0,
        logit_cap=3.0,
    ),
    DECODER[1],
)
MESHES = [(T5, (8, 1, 1)), (T5, (1, 8, 1)), (T5, (2, 2, 2)), (T5, (1, 1, 8))]
# On four devices the decoder's two key heads are replicated.
MESHES += [(DECODER, (2, 2, 2)), (DECODER, (1, 2, 4)), (FAMILY, (2, 2, 2)), (FAMILY, (1, 2, 4))]
# One head, or one head of keys, can't be sharded at all.
MESHES += [((replace(T5[0], num_heads=1), T5[1]), (2, 2, 2))]
MESHES += [((replace(DECODER[0], num_kv_heads=1), DECODER[1]), (2, 2, 2))]


def place(mesh, config, batch):
    """The test's parameters, sharded as `init` shards them, and the batch by rows."""
    abstract = jax.eval_shape(config.init, jax.random.key(0))
    model = jax.device_put(tiny.model_of(config), shardings(abstract, mesh))
    return model, jax.device_put(batch, batch_sharding(mesh))


def cut(shape, kind):
    config, _ = kind
    heads = f"-{config.num_heads}-{getattr(config, 'num_kv_heads', config.num_heads)}"
    return f"{config.architecture}{heads}-" + "x".join(map(str, shape))


@pytest.mark.parametrize("case, shape", MESHES, ids=[cut(shape, kind) for kind, shape in MESHES])
def test_eight_devices_equal_one(case, shape):
    config, batch = case
    expected = tiny.loss_and_gradients(tiny.model_of(config), batch)
    mesh = make_mesh(*shape)
    with jax.set_mesh(mesh):
        model, placed = place(mesh, config, batch)
        found = tiny.loss_and_gradients(model, placed)
        for leaf, parameter in zip(jax.tree.leaves(found[1]), jax.tree.leaves(model), strict=True):
            assert leaf.sharding == parameter.sharding
    tiny.assert_trees_close(found, expected)


@pytest.mark.parametrize("case", [T5, DECODER, FAMILY], ids=["t5", "decoder", "family"])
def test_decoding_on_a_mesh_equals_one_device(case):
    config, batch = case
    if config.architecture != "encoder_decoder":
        batch = tiny.decoder_batch([[6], [9]] * 4)

    def decode(model, batch):
        logits, cache = model.prefill(batch, 2)
        return model.decode_step(cache, logits.argmax(-1))[0]

    expected = jax.jit(decode)(tiny.model_of(config), batch)
    mesh = make_mesh(2, 2, 2)
    with jax.set_mesh(mesh):
        found = jax.jit(decode)(*place(mesh, config, batch))
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-5)


def test_init_and_dropout_do_not_depend_on_the_mesh():
    config, batch = tiny.decoder_config(dropout_rate=0.5), DECODER[1]
    init = jax.jit(config.init)
    dropped = jax.jit(lambda model, batch: model(batch, dropout_rng=jax.random.key(1)))
    alone = init(jax.random.key(0))
    expected = dropped(alone, batch)
    mesh = make_mesh(2, 2, 2)
    with jax.set_mesh(mesh):
        model = init(jax.random.key(0))
        tiny.assert_trees_close(model, alone, 1e-6)
        found = dropped(model, jax.device_put(batch, batch_sharding(mesh)))
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-5)


def test_a_batch_that_no_mesh_can_divide_is_one_line():
    config, batch = T5
    with jax.set_mesh(make_mesh(8, 1, 1)), pytest.raises(UserError, match="batch of 7 rows"):
        model = jax.eval_shape(config.init, jax.random.key(0))
        seven = {name: array[:7] for name, array in batch.items()}
        jax.eval_shape(lambda model, batch: model(batch), model, seven)
