"""Cross entropy of target tokens, with label smoothing and z-loss, as sums and weights.

The form is T5X's. With e = `label_smoothing` and V tokens, the target distribution holds 1 - e on
the target and e / (V - 1) on every other token, and its entropy is subtracted, so that a perfect
model has loss 0:

    cross_entropy = -sum_v q_v log p_v - H(q),       z = z_loss * logsumexp(logits)^2

Without smoothing the first is the negative log-likelihood of the target. Both are per token;
whoever sums them weighs them by `decoder_loss_weights`, and nobody here divides: a mean is taken
where it is written out.

    two tokens of V = 4, all logits 0, weights (1, 0): cross_entropy = log 4, weight = 1, tokens = 1
"""

# B batch rows, T target positions, V vocabulary.

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


@dataclass(frozen=True)
class LossConfig:
    """What is added to the plain negative log-likelihood; T5X trains T5 1.1 with z_loss 1e-4."""

    z_loss: float = 0.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.z_loss < 0:
            raise ValueError(f"LossConfig.z_loss is {self.z_loss}: must not be negative")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                f"LossConfig.label_smoothing is {self.label_smoothing}: must be in [0, 1)"
            )


class TokenLosses(NamedTuple):
    """What each target position gives, not yet weighted."""

    cross_entropy_BT: Float[Array, "B T"]
    z_loss_BT: Float[Array, "B T"]
    correct_BT: Bool[Array, "B T"]  # no token has a higher logit than the target


class LossSums(NamedTuple):
    """Weighted sums over a batch; `tokens` and `correct` count positions whose weight is not 0."""

    cross_entropy: Float[Array, ""]
    z_loss: Float[Array, ""]
    weight: Float[Array, ""]
    tokens: Int[Array, ""]
    correct: Int[Array, ""]


def token_losses(
    logits_BTV: Float[Array, "B T V"], targets_BT: Int[Array, "B T"], config: LossConfig
) -> TokenLosses:
    """Returns the losses of every position, in f32 (T5X, `losses.py`; z-loss: Mesh TensorFlow)."""
    logits_BTV = logits_BTV.astype(jnp.float32)
    vocabulary = logits_BTV.shape[-1]
    log_z_BT = jax.nn.logsumexp(logits_BTV, axis=-1)
    # A comparison and not a gather: it stays local where the vocabulary is cut over devices.
    at_target = jnp.arange(vocabulary)[None, None, :] == targets_BT[..., None]
    target_BT = jnp.sum(jnp.where(at_target, logits_BTV, 0.0), axis=-1)
    cross_entropy_BT = log_z_BT - target_BT
    if config.label_smoothing:
        on, off = 1 - config.label_smoothing, config.label_smoothing / (vocabulary - 1)
        entropy = -(on * math.log(on) + (vocabulary - 1) * off * math.log(off))
        others_BT = jnp.sum(logits_BTV, axis=-1) - target_BT
        cross_entropy_BT = log_z_BT - on * target_BT - off * others_BT - entropy
    correct_BT = target_BT >= jnp.max(jax.lax.stop_gradient(logits_BTV), axis=-1)
    return TokenLosses(cross_entropy_BT, config.z_loss * jnp.square(log_z_BT), correct_BT)


def token_loss(
    logits_BTV: Float[Array, "B T V"],
    targets_BT: Int[Array, "B T"],
    weights_BT: Float[Array, "B T"],
    *,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
) -> LossSums:
    """Returns the weighted sums of `token_losses` over a batch."""
    losses = token_losses(logits_BTV, targets_BT, LossConfig(z_loss, label_smoothing))
    counted_BT = weights_BT != 0
    return LossSums(
        cross_entropy=jnp.sum(losses.cross_entropy_BT * weights_BT),
        z_loss=jnp.sum(losses.z_loss_BT * weights_BT),
        weight=jnp.sum(weights_BT),
        tokens=jnp.sum(counted_BT),
        correct=jnp.sum(losses.correct_BT & counted_BT),
    )
