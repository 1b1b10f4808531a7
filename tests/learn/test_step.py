"""The step: microbatches, devices, normalisation, and randomness as a function of the step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.learn.loss import CrossEntropy, token_losses
from flanmix.learn.optimizer import Adafactor, AdamW
from flanmix.learn.schedule import Schedule
from flanmix.learn.step import gradient_sums, new_state, train_step
from flanmix.learn.sums import task_sums
from flanmix.model.params import Declaration, part_of, union
from flanmix.model.sharding import batch_sharding, make_mesh, spec

VOCABULARY, WIDTH, LAYERS, ROWS, LENGTH = 16, 8, 2, 8, 6
DECLARED = {
    "embedding": Declaration(stacked=False, decays=True),
    "layers": {"kernel": Declaration(stacked=True, decays=True)},
}


def forward(params, batch, rng):
    """A model of bag-of-prefix sums, with stacked layers."""
    embedded = (
        params["embedding"]
        .at[batch["decoder_input_tokens"]]
        .get(out_sharding=spec("batch", None, None))
    )
    x = jnp.cumsum(embedded, axis=1)

    def layer(x, kernel):
        out = spec("batch", None, None)
        return x + jnp.tanh(jnp.einsum("btd,de->bte", x, kernel, out_sharding=out)), None

    x, _ = jax.lax.scan(layer, x, params["layers"]["kernel"])
    return jnp.einsum(
        "btd,vd->btv", x, params["embedding"], out_sharding=spec("batch", None, "vocab")
    )


def loss_of(forward, config=None):
    """The cross entropy of a forward function, as a training step takes it."""
    config = config or CrossEntropy()

    def loss_fn(params, batch, rng):
        losses = token_losses(forward(params, batch, rng), batch["decoder_target_tokens"], config)
        weights = batch["decoder_loss_weights"]
        total = jnp.sum((losses.cross_entropy_BT + losses.z_loss_BT) * weights)
        return total, task_sums(losses, weights, batch["decoder_task_ids"], 4)

    return loss_fn


def init():
    rng = np.random.default_rng(0)
    table = jnp.array(rng.normal(size=(VOCABULARY, WIDTH)).astype(np.float32))
    kernel = jnp.array(rng.normal(size=(LAYERS, WIDTH, WIDTH)).astype(np.float32))
    if (sharding := spec("vocab", "embed")) is not None:
        table = jax.reshard(table, sharding)
        kernel = jax.reshard(kernel, spec(None, "embed", "mlp"))
    return {"embedding": table, "layers": {"kernel": kernel}}


def make_batch():
    """Rows of unequal numbers of target tokens, some of them empty, with unequal task weights."""
    rng = np.random.default_rng(1)
    lengths = np.array([6, 1, 0, 5, 2, 6, 0, 3])
    bears = (np.arange(LENGTH)[None] < lengths[:, None]).astype(np.float32)
    tokens = rng.integers(1, VOCABULARY, (2, ROWS, LENGTH)).astype(np.int32)
    tasks = np.broadcast_to((np.arange(ROWS) % 3)[:, None], (ROWS, LENGTH)).astype(np.int32)
    return {
        "decoder_input_tokens": tokens[0],
        "decoder_target_tokens": tokens[1],
        "decoder_loss_weights": bears * (1 + (tasks == 2)).astype(np.float32),
        "decoder_task_ids": tasks,
        "decoder_segment_ids": bears.astype(np.int32),
        "row_stats": np.tile(np.array([[2, 1, 0, 3]], np.int32), (ROWS, 1)),
    }


def one_run(optimizer, microbatches=1, steps=3, mesh=None, forward=forward, batch=None, seed=0):
    """Some steps; returns the parameters and the sums of each step on the host."""
    step = partial(
        train_step,
        loss_fn=loss_of(forward, CrossEntropy(z_loss=1e-3, label_smoothing=0.1)),
        optimizer=optimizer.build(DECLARED),
        schedule=Schedule(rate=0.05),
        seed=seed,
        microbatches=microbatches,
    )
    mesh = mesh or make_mesh(devices=jax.devices()[:1])
    with jax.set_mesh(mesh):
        step = jax.jit(step, donate_argnums=0)
        state = new_state(init(), optimizer.build(DECLARED))
        batch = jax.device_put(batch or make_batch(), batch_sharding(mesh))
        sums = []
        for _ in range(steps):
            state, out = step(state, batch)
            sums.append(jax.device_get(out))
        assert step._cache_size() <= 1, "the state's type changed between steps"
        return jax.device_get(state.params), sums


def assert_same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), a, b)


@pytest.mark.parametrize("microbatches", [2, 4, 8])
def test_microbatches_are_one_batch(microbatches):
    assert_same(one_run(AdamW(), microbatches), one_run(AdamW()))


@pytest.mark.multidevice
@pytest.mark.parametrize("optimizer", [Adafactor(min_dim_size_to_factor=4), AdamW()])
@pytest.mark.parametrize("shape", [(8, 1, 1), (1, 4, 2)])
def test_eight_devices_are_one(optimizer, shape):
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    microbatches = ROWS // (shape[0] * shape[1])
    mesh = make_mesh(*shape)
    assert_same(one_run(optimizer, mesh=mesh), one_run(optimizer))
    assert_same(one_run(optimizer, microbatches, mesh=mesh), one_run(optimizer))


def test_the_loss_is_divided_by_the_global_weight():
    """Gradients of sums are those of single rows added up, whatever their numbers of tokens."""
    sums_of = jax.jit(partial(gradient_sums, loss_of(forward)))
    batch, rng = make_batch(), jax.random.key(0)
    with jax.set_mesh(make_mesh(devices=jax.devices()[:1])):
        whole, sums = sums_of(init(), batch, rng)
        rows = [
            sums_of(init(), {k: v[i : i + 1] for k, v in batch.items()}, rng)[0]
            for i in range(ROWS)
        ]
    assert_same(whole, jax.tree.map(lambda *g: sum(g), *rows))
    assert float(sums.weight) == batch["decoder_loss_weights"].sum()


def test_counters_cover_the_batch():
    _, sums = one_run(AdamW(), steps=1)
    batch = make_batch()
    np.testing.assert_array_equal(sums[0].row_stats, [16, 8, 0, 24])
    assert sums[0].encoder_tokens == 0
    assert sums[0].decoder_tokens == (batch["decoder_segment_ids"] > 0).sum()
    assert sums[0].sums.tokens_K.sum() == (batch["decoder_loss_weights"] > 0).sum()


def test_frozen_parameters_are_seen_and_stay():
    """A step on one part of the parameters is the step on all of them, the rest held still."""
    mesh = make_mesh(devices=jax.devices()[:1])
    batch = jax.device_put(make_batch(), batch_sharding(mesh))
    optimizer = AdamW(clip_norm=None).build({"layers": DECLARED["layers"]})
    whole = AdamW(clip_norm=None).build(DECLARED)
    with jax.set_mesh(mesh):
        params = init()
        trained, frozen = (
            part_of(params, {"layers": DECLARED["layers"]}),
            {"embedding": params["embedding"]},
        )
        settings = {"loss_fn": loss_of(forward), "schedule": Schedule(rate=0.05), "seed": 0}
        state = new_state(trained, optimizer, frozen)
        state, _ = train_step(state, batch, optimizer=optimizer, **settings)
        other, _ = train_step(new_state(params, whole), batch, optimizer=whole, **settings)
        assert_same(state.params["layers"], other.params["layers"])
        assert_same(state.frozen, frozen)
        assert "embedding" not in state.params and len(jax.tree.leaves(state.opt_state)) < len(
            jax.tree.leaves(other.opt_state)
        )
        assert_same(union(state.params, state.frozen)["embedding"], params["embedding"])


def test_a_batch_without_targets_changes_nothing_but_the_step():
    batch = make_batch() | {"decoder_loss_weights": np.zeros((ROWS, LENGTH), np.float32)}
    params, sums = one_run(AdamW(weight_decay=0.0), batch=batch)
    assert [float(s.gradient_norm) for s in sums] == [0, 0, 0]
    assert_same(params, one_run(AdamW(), steps=0)[0])


def test_randomness_is_a_function_of_seed_step_and_microbatch():
    def noise(params, batch, rng):
        shape = (*batch["decoder_input_tokens"].shape, VOCABULARY)
        return jax.random.normal(rng, shape) + 0.0 * params["embedding"].sum()

    def losses(seed, microbatches):
        _, sums = one_run(AdamW(), microbatches, steps=2, forward=noise, seed=seed)
        return [float(s.sums.cross_entropy_K.sum()) for s in sums]

    first = losses(seed=0, microbatches=2)
    assert losses(seed=0, microbatches=2) == first
    assert len({*first, *losses(seed=1, microbatches=2), *losses(seed=0, microbatches=1)}) == 6
