"""One training step: a pure function (state, batch) -> (state, sums).

The loss is the sum over the global batch's target positions, divided once by the global sum of
their weights; so k microbatches are one batch, and 8 devices are one, whatever the split of the
tokens among them. Randomness is a function of the seed and the step (and the microbatch): the state
holds no generator.

    state = new_state(params, optimizer)
    step = jax.jit(partial(train_step, forward=..., optimizer=..., ...), donate_argnums=0)
    state, sums = step(state, batch)
"""

# B batch rows, T target positions, K tasks, M microbatches.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, Shaped

from flanmix.learn.loss import LossConfig, token_losses
from flanmix.learn.optimizer import apply_updates, settle_shardings
from flanmix.learn.sums import TaskSums, task_sums
from flanmix.model.sharding import spec

_STEPS = 7  # any number: the branch of the seed that steps draw from

PyTree = Any
Batch = Mapping[str, Array]
# (parameters, batch, dropout key) -> logits [B, T, V]
Forward = Callable[[PyTree, Batch, Key[Array, ""]], Float[Array, "B T V"]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything that a step changes; `step` counts the updates made."""

    step: Int[Array, ""]
    params: PyTree
    opt_state: PyTree


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StepSums:
    """What a step tells about its global batch."""

    tasks: TaskSums
    encoder_tokens: Int[
        Array, ""
    ]  # positions that are not padding; 0 for a model without an encoder
    decoder_tokens: Int[Array, ""]
    row_stats: Int[Array, "4"]  # examples, inputs_trimmed, targets_trimmed, unknown_tokens
    gradient_norm: Float[Array, ""]
    parameter_norm: Float[Array, ""]  # after the update: a number only if every parameter is one
    learning_rate: Float[Array, ""]


def new_state(params: PyTree, optimizer: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first step."""
    opt_state = settle_shardings(optimizer, optimizer.init(params), params)
    return TrainState(jnp.zeros((), jnp.int32), params, opt_state)


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    forward: Forward,
    optimizer: optax.GradientTransformation,
    schedule: Callable[[Array], Array],
    loss: LossConfig,
    num_tasks: int,
    seed: int,
    microbatches: int = 1,
) -> tuple[TrainState, StepSums]:
    """Returns the state after one update, and the sums of the batch as it was before."""
    # A fold of its own, so that no step's key is one of those that drew the parameters.
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _STEPS), state.step)
    gradients, sums = gradient_sums(
        state.params,
        batch,
        key,
        forward=forward,
        loss=loss,
        num_tasks=num_tasks,
        microbatches=microbatches,
    )
    total = jnp.sum(sums.weight_K)
    scale = 1 / jnp.where(total > 0, total, 1)
    gradients = jax.tree.map(lambda g: g * scale, gradients)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    rate = schedule(state.step)
    params = apply_updates(state.params, updates, rate)
    counted = StepSums(
        tasks=sums,
        encoder_tokens=_filled(batch.get("encoder_segment_ids")),
        decoder_tokens=_filled(batch.get("decoder_segment_ids")),
        row_stats=jnp.sum(batch["row_stats"], axis=0),
        gradient_norm=optax.global_norm(gradients),
        parameter_norm=optax.global_norm(params),
        learning_rate=rate,
    )
    return TrainState(state.step + 1, params, opt_state), counted


def gradient_sums(
    params: PyTree,
    batch: Batch,
    key: Key[Array, ""],
    *,
    forward: Forward,
    loss: LossConfig,
    num_tasks: int,
    microbatches: int = 1,
) -> tuple[PyTree, TaskSums]:
    """Returns the gradient of the summed loss, and the sums; neither is divided by anything."""
    batch = {name: feature for name, feature in batch.items() if name != "row_stats"}

    def loss_sum(params: PyTree, part: Batch, key: Key[Array, ""]):
        logits_BTV = forward(params, part, key)
        losses = token_losses(logits_BTV, part["decoder_target_tokens"], loss)
        weights_BT = part["decoder_loss_weights"]
        total = jnp.sum((losses.cross_entropy_BT + losses.z_loss_BT) * weights_BT)
        return total, task_sums(losses, weights_BT, part["decoder_task_ids"], num_tasks)

    gradient = jax.grad(loss_sum, has_aux=True)
    if microbatches == 1:
        return gradient(params, batch, key)

    def add(carry, part_and_number):
        part, number = part_and_number
        new = gradient(params, part, jax.random.fold_in(key, number))
        return jax.tree.map(lambda a, b: a + b, carry, new), None

    zeros = jax.tree.map(jnp.zeros_like, params), TaskSums.zeros(num_tasks)
    parts = jax.tree.map(lambda x: _cut(x, microbatches), batch)
    return jax.lax.scan(add, zeros, (parts, jnp.arange(microbatches)))[0]


def _cut(x_BT: Shaped[Array, "B T"], microbatches: int) -> Shaped[Array, "M b T"]:
    """Cuts every device's own rows, so that no row moves to another device."""
    rows, *rest = x_BT.shape
    shape = (rows // microbatches, microbatches, *rest)
    names = ("batch", *(None,) * (len(shape) - 1))
    x = jax.lax.reshape(x_BT, shape, out_sharding=spec(*names, sizes=shape))
    return jnp.swapaxes(x, 0, 1)


def _filled(segments_BT: Int[Array, "B T"] | None) -> Int[Array, ""]:
    return jnp.int32(0) if segments_BT is None else jnp.sum(segments_BT > 0)
