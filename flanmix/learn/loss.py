"""Losses, in one table; the first of them is the cross entropy of target tokens.

A loss is a frozen dataclass whose fields are gin names. Called with a model and a batch it returns
a sum, never a mean, and the batch's `Sums`, by whose weight the training step divides:

    loss = CrossEntropy(z_loss=1e-4)
    total, sums = loss(model, batch, dropout_rng=rng, num_tasks=3)
    total / sums.weight                     # what is minimised, over the global batch

A loss is added by one class and one registration, also from outside the package:

    @register_loss
    @dataclass(frozen=True)
    class Unlikelihood:
        strength: float = 1.0
        def __call__(self, model, batch, *, dropout_rng, num_tasks): ...

and a recipe names it: `TrainConfig.loss = @Unlikelihood()`.

The cross entropy has T5X's form. With e = `label_smoothing` and V tokens, the target distribution
q holds 1 - e on the target and e / (V - 1) on every other token, and its entropy is subtracted, so
that a perfect model has loss 0:

    cross_entropy = -sum_v q_v log p_v - H(q),       z = z_loss * logsumexp(logits)^2

Without smoothing the first is the negative log-likelihood of the target. Positions are weighted by
`decoder_loss_weights`.
"""

# B batch rows, T target positions, V vocabulary.

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from flanmix.fields import by_macro, check_interval, check_range, check_types
from flanmix.learn.sums import Sums, TaskSums, TokenLosses, task_sums
from flanmix.model.api import LanguageModel
from flanmix.plugins import Registry

Batch = Mapping[str, Array]


@runtime_checkable
class Loss(Protocol):
    """What a recipe may train with."""

    def __call__(
        self,
        model: LanguageModel,
        batch: Batch,
        *,
        dropout_rng: Key[Array, ""] | None,
        num_tasks: int,
    ) -> tuple[Float[Array, ""], Sums]:
        """Returns the batch's summed loss, and what it reports of the batch.

        Args:
            model: the model; gradients are taken with respect to its parameters.
            batch: the features of `flanmix.data.packing`, without `row_stats`.
            dropout_rng: randomness of the dropout; None for a model without.
            num_tasks: tasks of the mixture; `decoder_task_ids` holds their numbers.
        """
        ...


LossClass = TypeVar("LossClass", bound=type)
LOSSES: Registry[type] = Registry("loss")


def register_loss(kind: LossClass) -> LossClass:
    """Puts a loss into the table, under its class's name."""
    LOSSES.register(kind.__name__, kind)
    return kind


@register_loss
@dataclass(frozen=True)
class CrossEntropy:
    """Cross entropy of the target tokens.

    Attributes:
        z_loss: factor of the squared log-normaliser; T5X trains T5 1.1 with 1e-4.
        label_smoothing: the probability that is spread over the tokens that are not the target.
    """

    z_loss: float = 0.0
    label_smoothing: float = by_macro("LABEL_SMOOTHING", default=0.0)

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, 0, "z_loss")
        check_interval(self, "[0, 1)", "label_smoothing")

    def __call__(
        self,
        model: LanguageModel,
        batch: Batch,
        *,
        dropout_rng: Key[Array, ""] | None,
        num_tasks: int,
    ) -> tuple[Float[Array, ""], TaskSums]:
        """Returns the weighted sum over target positions, and the sums per task."""
        logits_BTV = model(batch, dropout_rng=dropout_rng)
        losses = token_losses(logits_BTV, batch["decoder_target_tokens"], self)
        weights_BT = batch["decoder_loss_weights"]
        total = jnp.sum((losses.cross_entropy_BT + losses.z_loss_BT) * weights_BT)
        return total, task_sums(losses, weights_BT, batch["decoder_task_ids"], num_tasks)


def token_losses(
    logits_BTV: Float[Array, "B T V"], targets_BT: Int[Array, "B T"], config: CrossEntropy
) -> TokenLosses:
    """Returns the losses of every position, in f32 (T5X, `losses.py`; z-loss: Mesh TensorFlow)."""
    logits_BTV = logits_BTV.astype(jnp.float32)
    vocabulary = logits_BTV.shape[-1]
    log_z_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    # A comparison and not a gather: it stays local where the vocabulary is sharded.
    at_target = jnp.arange(vocabulary)[None, None, :] == targets_BT[..., None]
    target_BT = jnp.sum(jnp.where(at_target, logits_BTV, 0.0), axis=-1)
    cross_entropy_BT = log_z_BT - target_BT
    if config.label_smoothing:
        on, off = 1 - config.label_smoothing, config.label_smoothing / (vocabulary - 1)
        entropy = -(on * math.log(on) + (vocabulary - 1) * off * math.log(off))
        others_BT = jnp.sum(logits_BTV, axis=-1) - target_BT
        cross_entropy_BT = log_z_BT - on * target_BT - off * others_BT - entropy
    # The target alone is as high as the target: a tie is not told apart, and so not right.
    as_high_BT = jnp.sum(logits_BTV >= target_BT[..., None], axis=-1)
    correct_BT = as_high_BT == 1
    return TokenLosses(cross_entropy_BT, config.z_loss * jnp.square(log_z_BT), correct_BT)
