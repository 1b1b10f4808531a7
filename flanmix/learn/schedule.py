"""The learning rate as a function of the step, which counts from 0.

`rate` is the peak. Before `warmup` the rate rises linearly, and the first step already moves:
rate * (step + 1) / warmup. After it:

    constant   rate
    linear     down to `final` at `steps`, in a line
    cosine     down to `final` at `steps`, along half a cosine
    rsqrt      T5's own: rate / sqrt(max(step, warmup)), flat before `warmup` instead of rising;
               the paper pre-trains with rate 1.0, warmup 10,000: 0.01 for the first 10,000 steps

    Schedule(kind="linear", rate=1.0, warmup=2, steps=6)   ->  0.5, 1, 1, 0.75, 0.5, 0.25, 0, 0
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from flanmix.fields import by_macro, check_choice, check_range, check_types

KINDS = ("constant", "rsqrt", "linear", "cosine")


@dataclass(frozen=True)
class Schedule:
    """A learning rate schedule; see the module for the kinds.

    Attributes:
        kind: constant, rsqrt, linear or cosine.
        rate: the peak; of rsqrt, the numerator.
        warmup: steps in which the rate rises to the peak; of rsqrt, in which it stays.
        steps: where linear and cosine reach `final`.
        final: the last rate of linear and cosine.
    """

    kind: str = "constant"
    rate: float = by_macro("LEARNING_RATE", default=1e-3)
    warmup: int = by_macro("WARMUP", default=0)
    steps: int | None = None
    final: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        check_choice(self, "kind", KINDS)
        check_range(self, 0, "rate", "final", "warmup", "steps")
        if self.kind in ("linear", "cosine") and (self.steps is None or self.steps <= self.warmup):
            raise ValueError(
                f"Schedule.steps is {self.steps}: {self.kind} needs more steps than its warmup "
                f"of {self.warmup}"
            )

    def __call__(self, step: Int[Array, ""] | int) -> Float[Array, ""]:
        """Returns the rate of update number `step`."""
        step = jnp.asarray(step, jnp.float32)
        if self.kind == "rsqrt":
            return self.rate / jnp.sqrt(jnp.maximum(step, max(self.warmup, 1)))
        rise = jnp.minimum(1.0, (step + 1) / max(self.warmup, 1))
        if self.kind == "constant":
            return self.rate * rise
        assert self.steps is not None  # __post_init__ saw to it
        done = jnp.clip((step - self.warmup) / (self.steps - self.warmup), 0.0, 1.0)
        left = 1 - done if self.kind == "linear" else 0.5 * (1 + jnp.cos(jnp.pi * done))
        return rise * (self.final + (self.rate - self.final) * left)
