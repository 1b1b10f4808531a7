"""A run's own step, with the real models: eight devices and two microbatches are one of each."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from flanmix.learn.loss import CrossEntropy
from flanmix.learn.optimizer import Adafactor, AdamW
from flanmix.learn.schedule import Schedule
from flanmix.model.api import Compute
from flanmix.model.sharding import batch_sharding, make_mesh
from flanmix.train.learner import build_learner
from flanmix.train.settings import TrainConfig
from tests.model import tiny

ROWS = 4  # of each kind of row
T5 = (tiny.t5_config(dropout_rate=0.0), tiny.t5_batch(tiny.T5_PACKED[:2] * ROWS))
DECODER = (
    tiny.decoder_config(prefix=True, positions="relative"),
    tiny.decoder_batch(tiny.DECODER_PACKED[:2] * ROWS),
)
TRAIN = TrainConfig(
    steps=2, schedule=Schedule(rate=0.05), loss=CrossEntropy(z_loss=1e-3, label_smoothing=0.1)
)


def with_tasks(batch):
    """The batch with what the step counts: rows of three tasks."""
    rows, length = batch["decoder_target_tokens"].shape
    tasks = np.broadcast_to((np.arange(rows) % 3)[:, None], (rows, length))
    return {
        **batch,
        "decoder_task_ids": tasks.astype(np.int32),
        "row_stats": np.ones((rows, 4), np.int32),
    }


def two_steps(config, train, batch, mesh):
    """Parameters, optimizer's state and sums of two steps from scratch."""
    with jax.set_mesh(mesh):
        learner = build_learner(config, Compute(), train, num_tasks=3)
        state, sums = learner.init(), []
        placed = jax.device_put(with_tasks(batch), batch_sharding(mesh))
        for _ in range(2):
            state, metrics = learner.step(state, placed)
            sums.append(metrics)
        assert learner.step._cache_size() == 1, "the state's types changed between steps"
        return jax.device_get((state, sums))


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), a, b)


def test_microbatches_of_packed_rows_are_one_batch():
    mesh = make_mesh(devices=jax.devices()[:1])
    one = two_steps(T5[0], TRAIN, T5[1], mesh)
    assert_close(two_steps(T5[0], replace(TRAIN, microbatches=4), T5[1], mesh), one)


@pytest.mark.multidevice
@pytest.mark.parametrize(
    ("kind", "optimizer", "shape"),
    [
        (T5, Adafactor(min_dim_size_to_factor=8), (2, 2, 2)),
        # A large eps: Adam divides by the gradient, so a vanishing one is rounding made large.
        (DECODER, AdamW(eps=1e-3), (1, 4, 2)),
    ],
    ids=["t5", "decoder"],
)
def test_eight_devices_with_microbatches_are_one_without(kind, optimizer, shape):
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    config, batch = kind
    train = replace(TRAIN, optimizer=optimizer)
    one = two_steps(config, train, batch, make_mesh(devices=jax.devices()[:1]))
    split = replace(train, microbatches=2)
    assert_close(two_steps(config, split, batch, make_mesh(*shape)), one)
