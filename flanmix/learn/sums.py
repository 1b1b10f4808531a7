"""What a loss reports of a batch: sums and weights per task, never a mean.

`Sums` is what every loss returns beside its value: a pytree that merges by adding leaf by leaf, in
any grouping, so that microbatches, devices and steps add up to the same table. `TaskSums` is that
of a loss over target tokens. A mean is taken in one place only, by `means`, where it is written
out.

    task ids (0, 0, 1), losses (1., 2., 5.), weights (1, 1, 0)
    ->  cross_entropy (3., 0.), weight (2., 0.)
"""

# B batch rows, T target positions, K tasks of the mixture.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from flanmix.model.sharding import spec


@runtime_checkable
class Sums(Protocol):
    """What a loss reports of a batch: a pytree of arrays that merges by adding leaf by leaf."""

    @property
    def weight(self) -> Float[Array, ""]:
        """What the summed loss and its gradient are divided by, once, over the global batch."""
        ...

    def means(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns the figures of a metrics line, from sums on the host.

        `loss` is required; `target_tokens`, `accuracy` and `tasks` (figures by the name of each
        task that the batch held) where they have a meaning.
        """
        ...


class TokenLosses(NamedTuple):
    """What each target position gives, not yet weighted."""

    cross_entropy_BT: Float[Array, "B T"]
    z_loss_BT: Float[Array, "B T"]
    correct_BT: Bool[Array, "B T"]  # the target has a higher logit than every other token


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TaskSums:
    """Sums over target positions for each task of the mixture, in the mixture's order."""

    cross_entropy_K: Float[Array, " K"]
    z_loss_K: Float[Array, " K"]
    weight_K: Float[Array, " K"]
    tokens_K: Int[Array, " K"]  # positions whose weight is not 0
    correct_K: Int[Array, " K"]  # of those, where the target's logit is the highest, alone

    @property
    def weight(self) -> Float[Array, ""]:
        """The sum of the loss weights of all target positions."""
        return jnp.sum(self.weight_K)

    def __add__(self, other: "TaskSums") -> "TaskSums":
        """Merges two tables."""
        return jax.tree.map(lambda a, b: a + b, self, other)

    def means(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns the means of all tasks, and under `tasks` those of each task that is there.

        `loss` is the mean over target tokens, weighted by the tasks' loss weights; accuracy is of
        the single next token, 0 to 1.
        """
        host = jax.tree.map(np.asarray, self)
        weight = float(host.weight_K.sum(dtype=np.float64))
        tokens = int(host.tokens_K.sum())
        figures = {
            "loss": _ratio(host.cross_entropy_K.sum(dtype=np.float64), weight),
            "accuracy": _ratio(host.correct_K.sum(), tokens),
            "target_tokens": tokens,
            "tasks": {
                names[k]: {
                    "loss": _ratio(host.cross_entropy_K[k], host.weight_K[k]),
                    "accuracy": _ratio(host.correct_K[k], host.tokens_K[k]),
                    "target_tokens": int(host.tokens_K[k]),
                }
                for k in np.flatnonzero(host.tokens_K).tolist()
            },
        }
        if host.z_loss_K.any():
            figures["z_loss"] = _ratio(host.z_loss_K.sum(dtype=np.float64), weight)
        return figures


def task_sums(
    losses: TokenLosses,
    weights_BT: Float[Array, "B T"],
    tasks_BT: Int[Array, "B T"],
    num_tasks: int,
) -> TaskSums:
    """Adds up the positions of each task; a position whose weight is 0 adds nothing."""
    counted_BT = weights_BT != 0

    def total(values_BT: Array) -> Array:
        table_K = jnp.zeros(num_tasks, values_BT.dtype)
        return table_K.at[tasks_BT].add(values_BT, mode="drop", out_sharding=spec())

    return TaskSums(
        cross_entropy_K=total(losses.cross_entropy_BT * weights_BT),
        z_loss_K=total(losses.z_loss_BT * weights_BT),
        weight_K=total(weights_BT),
        tokens_K=total(counted_BT.astype(jnp.int32)),
        correct_K=total((losses.correct_BT & counted_BT).astype(jnp.int32)),
    )


def _ratio(total: float, weight: float) -> float:
    return float(total) / float(weight) if weight else 0.0
