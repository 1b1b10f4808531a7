"""Rotary position embeddings: pairs of dimensions turned by their positions (Su et al., 2021).

    rope = Rope(500000.0, "llama3", factor=32.0, low_turns=1.0, high_turns=4.0, length=8192)
    rope.frequencies(64)                            # f32 [32], radians a position
    turned(q_BTHK, positions_BT, rope.frequencies(64), rope.magnitude)

A model that was trained on texts of some length and then made to read longer ones turns slower, by
a factor. How often a pair turns within the length of the first training decides:

    none      every pair keeps its frequency
    linear    all turn slower by the factor (Chen et al., 2023)
    llama3    those of at most `low_turns` turns do, those of at least `high_turns` keep theirs, and
              between them the mean is weighted by the turns (Llama 3.1)
    yarn      as llama3, but weighted by the number of the pair, and sines and cosines are larger by
              0.1 ln(factor) + 1 (Peng et al., 2023, 3.2 and 3.4)
"""

# B batch, T positions, H heads, K width of a head, R pairs of dimensions (K / 2).

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

SCALINGS = ("none", "linear", "llama3", "yarn")


@dataclass(frozen=True)
class Rope:
    """How fast each pair turns.

    Attributes:
        theta: base of the wavelengths.
        scaling: a name of `SCALINGS`.
        factor: how much slower.
        low_turns: pairs of at most so many turns within `length` are the slower ones.
        high_turns: pairs of at least so many turns keep their frequency.
        length: of the texts of the first training.
    """

    theta: float
    scaling: str = "none"
    factor: float = 1.0
    low_turns: float = 1.0
    high_turns: float = 4.0
    length: int = 8192

    def frequencies(self, width: int) -> Float[Array, " R"]:
        """Returns the radians that each pair turns by from a position to the next."""
        half = width // 2
        frequency = self.theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
        if self.scaling == "none":
            return frequency
        if self.scaling == "linear":
            return frequency / self.factor
        if self.scaling == "llama3":
            turns = frequency * (self.length / (2 * math.pi))
            kept = (turns - self.low_turns) / (self.high_turns - self.low_turns)
        else:
            first = max(math.floor(self._pair(width, self.high_turns)), 0)
            last = min(math.ceil(self._pair(width, self.low_turns)), width - 1)
            pairs = jnp.arange(half, dtype=jnp.float32)
            kept = 1 - (pairs - first) / max(last - first, 1e-3)
        kept = jnp.clip(kept, 0, 1)
        return frequency * kept + frequency / self.factor * (1 - kept)

    @property
    def magnitude(self) -> float:
        """What sines and cosines are multiplied by."""
        return 0.1 * math.log(self.factor) + 1 if self.scaling == "yarn" else 1.0

    def _pair(self, width: int, turns: float) -> float:
        """The number of the pair that turns so often within the length, between the whole ones."""
        wavelength = self.length / turns
        return width * math.log(wavelength / (2 * math.pi)) / (2 * math.log(self.theta))


def check_rope(config: Any) -> None:
    """Checks the fields of a model's configuration that its `Rope` is made of.

    Raises:
        ValueError: names the field and the value.
    """
    kind = type(config).__name__
    if config.positions != "rope":
        for name, unset in (("rope_scaling", "none"), ("local_rope_theta", None)):
            if getattr(config, name) != unset:
                raise ValueError(
                    f"{kind}.{name} is {getattr(config, name)!r}: {kind}.positions must be 'rope', "
                    f"and is {config.positions!r}"
                )
        return
    if config.head_dim % 2:
        raise ValueError(f"{kind}.head_dim is {config.head_dim}: rope needs an even one")
    if config.rope_high_turns <= config.rope_low_turns:
        raise ValueError(
            f"{kind}.rope_high_turns is {config.rope_high_turns}: must be more than "
            f"rope_low_turns, which is {config.rope_low_turns}"
        )
    if config.rope_scaling == "yarn" and config.local_rope_theta is not None:
        raise ValueError(
            f"{kind}.local_rope_theta is {config.local_rope_theta}: must be None with rope_scaling "
            "'yarn'"
        )


def turned(
    x_BTHK: Float[Array, "B T H K"],
    positions_BT: Int[Array, "B T"],
    frequency_R: Float[Array, " R"],
    magnitude: float = 1.0,
) -> Float[Array, "B T H K"]:
    """Rotates each pair (i, i + K/2) by position * frequency, in f32."""
    half = x_BTHK.shape[-1] // 2
    angle = positions_BT[:, :, None, None].astype(jnp.float32) * frequency_R[None, None, None]
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    if magnitude != 1:
        sin, cos = sin * magnitude, cos * magnitude
    first, second = x_BTHK[..., :half].astype(jnp.float32), x_BTHK[..., half:].astype(jnp.float32)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x_BTHK.dtype)
