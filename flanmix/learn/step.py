"""One training step: a pure function (state, batch) -> (state, metrics).

The loss function returns a sum over the global batch and the `Sums` that hold its weight, by which
the gradient is divided once; so k microbatches are one batch, and 8 devices are one, however the
tokens are split among them (with dropout, microbatches draw other masks). Randomness is a function
of the seed and the step (and the microbatch): the state holds no generator.

    state = new_state(params, optimizer)
    step = jax.jit(partial(train_step, loss_fn=..., optimizer=..., ...), donate_argnums=0)
    state, metrics = step(state, batch)

Parameters that are not trained are in `TrainState.frozen`: they have no gradient and no optimizer
state, and the loss function sees them among the others.
"""

# B batch rows, T target positions, M microbatches.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, Shaped

from flanmix.learn.optimizer import apply_updates, reshard_opt_state
from flanmix.learn.sums import Sums
from flanmix.model.params import union
from flanmix.model.sharding import spec

_STEPS = 7  # any number: the branch of the seed that steps draw from
ROW_STATS = 4  # examples, inputs truncated, targets truncated, unknown tokens

PyTree = Any
Batch = Mapping[str, Array]
# (all parameters, batch, rng) -> (summed loss, sums)
LossFn = Callable[[PyTree, Batch, Key[Array, ""]], tuple[Float[Array, ""], Sums]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything that a step reads and changes; `step` counts the updates made.

    Attributes:
        step: updates made.
        params: the parameters that are trained, nested dicts of arrays.
        opt_state: the optimizer's state for them.
        frozen: the parameters that are not trained, in the same form; disjoint from `params`.
    """

    step: Int[Array, ""]
    params: PyTree
    opt_state: PyTree
    frozen: PyTree


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StepMetrics:
    """What a step reports of its global batch, as sums.

    Attributes:
        sums: what the loss reports.
        encoder_tokens: positions of the encoder that are not padding; 0 without an encoder.
        decoder_tokens: positions of the decoder that are not padding.
        row_stats: examples, inputs truncated, targets truncated, unknown tokens.
        gradient_norm: of the gradient of the mean loss.
        parameter_norm: of the trained parameters after the update: finite only if all of them are.
        learning_rate: of this update.
    """

    sums: Sums
    encoder_tokens: Int[Array, ""]
    decoder_tokens: Int[Array, ""]
    row_stats: Int[Array, "4"]
    gradient_norm: Float[Array, ""]
    parameter_norm: Float[Array, ""]
    learning_rate: Float[Array, ""]


def new_state(
    params: PyTree, optimizer: optax.GradientTransformation, frozen: PyTree = None
) -> TrainState:
    """Returns the state before the first step; arguments as in `TrainState`."""
    opt_state = reshard_opt_state(optimizer, optimizer.init(params), params)
    return TrainState(jnp.zeros((), jnp.int32), params, opt_state, {} if frozen is None else frozen)


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    schedule: Callable[[Array], Array],
    seed: int,
    microbatches: int = 1,
) -> tuple[TrainState, StepMetrics]:
    """Returns the state after one update, and the metrics of the batch as it was before.

    Args:
        state: the state; donate it.
        batch: features of the global batch; the loss is given all but `row_stats` [B, 4].
        loss_fn: (all parameters, batch, rng) -> (summed loss, sums).
        optimizer: for `state.params`.
        schedule: update number -> learning rate.
        seed: of everything random.
        microbatches: parts of the batch whose gradients are computed one after another.
    """
    # A fold of its own, so that no step's key is one of those that drew the parameters.
    rng = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _STEPS), state.step)

    def loss_of(params: PyTree, part: Batch, rng: Key[Array, ""]) -> tuple[Array, Sums]:
        return loss_fn(union(params, state.frozen), part, rng)

    gradients, sums = gradient_sums(loss_of, state.params, batch, rng, microbatches)
    total = sums.weight
    scale = 1 / jnp.where(total > 0, total, 1)
    gradients = jax.tree.map(lambda g: g * scale, gradients)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    rate = schedule(state.step)
    params = apply_updates(state.params, updates, rate)
    metrics = StepMetrics(
        sums=sums,
        encoder_tokens=_filled(batch.get("encoder_segment_ids")),
        decoder_tokens=_filled(batch.get("decoder_segment_ids")),
        row_stats=_row_stats(batch.get("row_stats")),
        gradient_norm=optax.global_norm(gradients),
        parameter_norm=optax.global_norm(params),
        learning_rate=rate,
    )
    return TrainState(state.step + 1, params, opt_state, state.frozen), metrics


def gradient_sums(
    loss_fn: LossFn,
    params: PyTree,
    batch: Batch,
    rng: Key[Array, ""],
    microbatches: int = 1,
) -> tuple[PyTree, Sums]:
    """Returns the gradient of the summed loss, and the sums; neither is divided by anything.

    Args:
        loss_fn: (parameters, batch, rng) -> (summed loss, sums).
        params: what the gradient is taken with respect to.
        batch: features of the global batch.
        rng: folded with the microbatch's number, if there are several.
        microbatches: how many there are.
    """
    batch = {name: feature for name, feature in batch.items() if name != "row_stats"}
    gradient = jax.grad(loss_fn, has_aux=True)
    if microbatches == 1:
        return gradient(params, batch, rng)
    parts = jax.tree.map(lambda x: _split_rows(x, microbatches), batch)

    def add(carry: PyTree, part_and_number: tuple) -> tuple[PyTree, None]:
        part, number = part_and_number
        new = gradient(params, part, jax.random.fold_in(rng, number))
        return jax.tree.map(lambda a, b: a + b, carry, new), None

    first = jax.tree.map(lambda x: x[0], parts)
    empty = jax.tree.map(_zeros_like, jax.eval_shape(gradient, params, first, rng))
    return jax.lax.scan(add, empty, (parts, jnp.arange(microbatches)))[0]


def _zeros_like(leaf: jax.ShapeDtypeStruct) -> Array:
    sharding = leaf.sharding
    return jnp.zeros(leaf.shape, leaf.dtype, device=sharding)


def _split_rows(x_BT: Shaped[Array, "B T"], microbatches: int) -> Shaped[Array, "M b T"]:
    """Splits every device's own rows, so that no row moves to another device."""
    rows, *rest = x_BT.shape
    shape = (rows // microbatches, microbatches, *rest)
    names = ("batch", *(None,) * (len(shape) - 1))
    x = jax.lax.reshape(x_BT, shape, out_sharding=spec(*names, sizes=shape))
    return jnp.swapaxes(x, 0, 1)


def _filled(segments_BT: Int[Array, "B T"] | None) -> Int[Array, ""]:
    return jnp.int32(0) if segments_BT is None else jnp.sum(segments_BT > 0)


def _row_stats(stats_B4: Int[Array, "B 4"] | None) -> Int[Array, "4"]:
    return jnp.zeros(ROW_STATS, jnp.int32) if stats_B4 is None else jnp.sum(stats_B4, axis=0)
