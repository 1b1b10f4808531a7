"""Loss against closed forms and against sums over the vocabulary in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.learn.loss import CrossEntropy, token_losses
from flanmix.learn.sums import TaskSums, task_sums

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(3, 5, 11)).astype(np.float32) * 3
TARGETS = RNG.integers(0, 11, (3, 5)).astype(np.int32)
WEIGHTS = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0.5, 0.5]], np.float32)


class Fixed:
    """A model that gives the same logits to every batch."""

    config = compute = None

    def hidden(self, batch):
        raise NotImplementedError

    logits = prefill = decode_step = hidden

    def __call__(self, batch, *, dropout_rng):
        assert dropout_rng is None
        return jnp.array(LOGITS)


def log_softmax(logits):
    logits = logits.astype(np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_plain_loss_is_the_negative_log_likelihood():
    expected = -np.take_along_axis(log_softmax(LOGITS), TARGETS[..., None], -1)[..., 0]
    losses = token_losses(jnp.array(LOGITS), jnp.array(TARGETS), CrossEntropy())
    np.testing.assert_allclose(losses.cross_entropy_BT, expected, rtol=1e-5)
    np.testing.assert_array_equal(losses.z_loss_BT, 0)
    np.testing.assert_array_equal(losses.correct_BT, LOGITS.argmax(-1) == TARGETS)


def test_label_smoothing_is_t5x_form():
    e, size = 0.1, 11
    soft = np.full(LOGITS.shape, e / (size - 1))
    np.put_along_axis(soft, TARGETS[..., None], 1 - e, -1)
    expected = -(soft * log_softmax(LOGITS)).sum(-1) + (soft * np.log(soft)).sum(-1)
    losses = token_losses(jnp.array(LOGITS), jnp.array(TARGETS), CrossEntropy(label_smoothing=e))
    np.testing.assert_allclose(losses.cross_entropy_BT, expected, rtol=1e-4, atol=1e-5)


def test_label_smoothing_has_its_floor_at_zero():
    logits = np.log(np.array([[[0.9, 0.05, 0.05]]], np.float32))
    losses = token_losses(
        jnp.array(logits), jnp.zeros((1, 1), jnp.int32), CrossEntropy(label_smoothing=0.1)
    )
    np.testing.assert_allclose(losses.cross_entropy_BT, 0, atol=1e-6)


def test_z_loss_of_equal_logits_is_known():
    losses = token_losses(
        jnp.full((1, 1, 8), 2.0), jnp.zeros((1, 1), jnp.int32), CrossEntropy(z_loss=1e-4)
    )
    np.testing.assert_allclose(losses.z_loss_BT, 1e-4 * (2 + np.log(8)) ** 2, rtol=1e-6)


def test_sums_weigh_each_token_and_count_those_with_loss():
    expected = -np.take_along_axis(log_softmax(LOGITS), TARGETS[..., None], -1)[..., 0]
    batch = {
        "decoder_target_tokens": jnp.array(TARGETS),
        "decoder_loss_weights": jnp.array(WEIGHTS),
        "decoder_task_ids": jnp.zeros(TARGETS.shape, jnp.int32),
    }

    total, sums = CrossEntropy(z_loss=1e-3)(Fixed(), batch, dropout_rng=None, num_tasks=1)
    np.testing.assert_allclose(sums.cross_entropy_K, [(expected * WEIGHTS).sum()], rtol=1e-5)
    np.testing.assert_allclose(total, (sums.cross_entropy_K + sums.z_loss_K).sum(), rtol=1e-6)
    assert float(sums.weight) == 8.0
    assert int(sums.tokens_K.sum()) == 9
    assert int(sums.correct_K.sum()) == ((LOGITS.argmax(-1) == TARGETS) & (WEIGHTS > 0)).sum()


def test_task_sums_partition_the_batch_and_merge_by_addition():
    losses = token_losses(jnp.array(LOGITS), jnp.array(TARGETS), CrossEntropy(z_loss=1e-3))
    tasks = np.array([[0, 0, 0, 0, 0], [2, 2, 2, 1, 1], [0, 0, 0, 3, 3]], np.int32)
    whole = task_sums(losses, jnp.array(WEIGHTS), jnp.array(tasks), 5)
    rows = [
        task_sums(
            type(losses)(*(x[i : i + 1] for x in losses)),
            jnp.array(WEIGHTS[i : i + 1]),
            jnp.array(tasks[i : i + 1]),
            5,
        )
        for i in range(3)
    ]
    rows = rows[0] + (rows[1] + rows[2])
    np.testing.assert_array_equal(whole.tokens_K, [2, 2, 3, 2, 0])
    np.testing.assert_array_equal(whole.weight_K, [2, 2, 3, 1, 0])
    np.testing.assert_allclose(whole.cross_entropy_K, rows.cross_entropy_K, rtol=1e-6)
    np.testing.assert_array_equal(whole.correct_K, rows.correct_K)


def test_means_are_taken_over_weights_and_only_for_tasks_that_are_there():
    sums = TaskSums(
        *(np.array(x) for x in ([6.0, 0, 1], [0.0] * 3, [2.0, 0, 1], [4, 0, 1], [1, 0, 1]))
    )
    line = sums.means(["a", "b", "c"])
    assert line["loss"] == pytest.approx(7 / 3)
    assert line["accuracy"] == pytest.approx(2 / 5)
    assert line["target_tokens"] == 5
    assert line["tasks"] == {
        "a": {"loss": 3.0, "accuracy": 0.25, "target_tokens": 4},
        "c": {"loss": 1.0, "accuracy": 1.0, "target_tokens": 1},
    }


def test_a_batch_without_targets_has_loss_zero():
    sums = TaskSums(*(np.zeros(1) for _ in range(5)))
    assert sums.means(["a"])["loss"] == 0.0


@pytest.mark.parametrize("field", [{"z_loss": -1.0}, {"label_smoothing": 1.0}])
def test_a_bad_value_is_named(field):
    with pytest.raises(ValueError, match=rf"CrossEntropy\.{next(iter(field))} is -?1"):
        CrossEntropy(**field)


@pytest.mark.parametrize(
    ("logits", "correct"),
    [
        ([0.0, 0.0, 0.0], False),  # nothing is told apart
        ([2.0, 2.0, 1.0], False),
        ([1.0, 1.0, 2.0], False),
        ([2.0, 1.0, 1.0], True),
        ([-1.0, -2.0, -np.inf], True),
        ([np.nan, 0.0, 0.0], False),
    ],
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_tie_is_not_right(logits, correct, smoothing):
    losses = token_losses(
        jnp.array([[logits]], jnp.float32),
        jnp.zeros((1, 1), jnp.int32),
        CrossEntropy(label_smoothing=smoothing),
    )
    assert losses.correct_BT.tolist() == [[correct]]
