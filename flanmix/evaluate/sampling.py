"""How new tokens are chosen: the likeliest one, or one that is drawn from those that filters leave.

    Sampling()                                          # greedy
    Sampling(temperature=0.7, top_p=0.9, seed=1)        # one text
    Sampling(temperature=1.0, top_k=40, samples=4)      # four texts a prompt
    Sampling(beams=4, length_penalty=0.6)               # the best of a beam search

    token_B = choose(logits_BV, seen_BV, keys_B, sampling)

The order is that of `transformers`: the penalty of repetition, the temperature, top-k, top-p,
min-p. A token is drawn by the Gumbel-max trick: the greatest of the logits with noise. The noise of
a row is a function of the seed, the prompt's own ids, the sample's number and the step, and of
nothing else: a prompt gives the same text whatever is beside it.

    logits   2.0  1.0  0.0  -3.0       top_k=3 leaves 2.0 1.0 0.0, of probabilities .67 .24 .09
    top_p=0.8                          leaves 2.0 1.0: the fewest that have .8 together
    min_p=0.5                          leaves 2.0: the others have less than half of its probability

Tokens that are equally likely as the last one that a filter leaves are left too.
"""

# B rows, V vocabulary.

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from flanmix.fields import check_interval, check_range, check_types
from flanmix.model.sharding import constrain

_SEEDS = 2**32
_BITS = 31  # of a float that is not negative


@dataclass(frozen=True)
class Sampling:
    """How text is generated.

    Attributes:
        temperature: divides the logits; 0 is greedy: always the likeliest token.
        top_k: draws among so many of the likeliest tokens; 0: among all.
        top_p: draws among the fewest tokens that have this probability together (Holtzman et al.,
            2020); 1: among all.
        min_p: draws among tokens that are at least so likely as a share of the likeliest one; 0:
            among all.
        repetition_penalty: divides positive logits of tokens that the decoder has read, and
            multiplies negative ones (Keskar et al., 2019); 1: none.
        beams: hypotheses of a beam search; 1: none.
        length_penalty: alpha of a beam search, ((5 + length) / 6) ** alpha; 0: none.
        samples: texts of a prompt; in a beam search, the best so many.
        seed: of the draws.
        stop: texts that end a text, and are cut off with all that follows.
        max_new_tokens: most tokens of a text; None: as many as targets had in training.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    beams: int = 1
    length_penalty: float = 0.6
    samples: int = 1
    seed: int = 0
    stop: tuple[str, ...] = ()
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, 0, "temperature", "top_k", "length_penalty")
        check_range(self, 1, "beams", "samples", "max_new_tokens")
        check_interval(self, "(0, 1]", "top_p")
        check_interval(self, "[0, 1]", "min_p")
        check_interval(self, "(0, inf)", "repetition_penalty")
        if not 0 <= self.seed < _SEEDS:
            raise ValueError(f"Sampling.seed is {self.seed}: must be from 0 to {_SEEDS - 1}")
        if "" in self.stop:
            raise ValueError("Sampling.stop is '': must be a text that is not empty")
        self._check_together()

    def _check_together(self) -> None:
        """Refuses what would have no effect."""
        drawn = {"top_k": self.top_k > 0, "top_p": self.top_p < 1, "min_p": self.min_p > 0}
        for name, given in drawn.items():
            if given and not self.temperature:
                raise ValueError(
                    f"Sampling.{name} is {getattr(self, name)}: must come with a temperature, such "
                    "as 1.0; without one the likeliest token is always taken"
                )
        if self.beams > 1:
            if self.temperature or self.repetition_penalty != 1:
                name = "temperature" if self.temperature else "repetition_penalty"
                raise ValueError(f"Sampling.{name} is {getattr(self, name)}: beams have none")
            if self.samples > self.beams:
                raise ValueError(
                    f"Sampling.samples is {self.samples}: must not be more than beams, {self.beams}"
                )
        elif self.samples > 1 and not self.temperature:
            raise ValueError(
                f"Sampling.samples is {self.samples}: must come with a temperature, such as 1.0; "
                "without one all of them are the same"
            )

    @property
    def rule(self) -> "Sampling":
        """What a compiled function depends on: these settings without seed, number and ends."""
        return replace(
            self,
            samples=1,
            seed=0,
            stop=(),
            max_new_tokens=None,
            length_penalty=self.length_penalty if self.beams > 1 else 0.0,
        )


GREEDY = Sampling()


def row_seeds(sampling: Sampling, prompts: Sequence[np.ndarray], samples: Sequence[int]) -> Array:
    """Returns the randomness of rows: u32 [B, 4], for `row_keys`.

    Args:
        sampling: has the seed.
        prompts: the ids of each row's prompt.
        samples: number of each row's sample.
    """
    seeds = np.zeros((len(prompts), 4), np.uint32)
    for row, (prompt, sample) in enumerate(zip(prompts, samples, strict=True)):
        digest = hashlib.blake2b(np.asarray(prompt, "<i4").tobytes(), digest_size=8).digest()
        seeds[row] = sampling.seed, *np.frombuffer(digest, "<u4"), sample
    return seeds  # pyrefly: ignore[bad-return]


def row_keys(seeds_B4: Int[Array, "B 4"], step: Int[Array, ""]) -> Key[Array, " B"]:
    """Returns the key of each row at a step."""

    def key(seeds: Array) -> Array:
        made = jax.random.key(seeds[0])
        for number in (seeds[1], seeds[2], seeds[3], step):
            made = jax.random.fold_in(made, number)
        return made

    return jax.vmap(key)(constrain(seeds_B4, None, None))


def choose(
    logits_BV: Float[Array, "B V"],
    seen_BV: Bool[Array, "B V"] | None,
    keys_B: Key[Array, " B"] | None,
    sampling: Sampling,
) -> Int[Array, " B"]:
    """Chooses a token of each row.

    Args:
        logits_BV: f32 logits.
        seen_BV: where a token was read already; needed for the penalty of repetition.
        keys_B: randomness of each row; needed where there is a temperature.
        sampling: the settings.
    """
    scores_BV = logits_BV
    if seen_BV is not None or sampling.temperature:  # these need whole rows
        scores_BV = constrain(scores_BV, "batch", None)
    if seen_BV is not None:
        scores_BV = jnp.where(seen_BV, penalized(scores_BV, sampling.repetition_penalty), scores_BV)
    if sampling.temperature:
        scores_BV = filtered(scores_BV, sampling)
        vocabulary = scores_BV.shape[-1]
        noise_BV = jax.vmap(lambda key: jax.random.gumbel(key, (vocabulary,)))(keys_B)
        scores_BV = scores_BV + constrain(noise_BV, "batch", None)
    return constrain(likeliest(scores_BV), "batch")


def likeliest(scores_BV: Float[Array, "B V"]) -> Int[Array, " B"]:
    """Returns the first of each row's greatest scores; as argmax, in a tenth of a CPU's time."""
    last = scores_BV.shape[-1] - 1
    best_B1 = scores_BV.max(-1, keepdims=True)
    numbers_1V = jnp.arange(last + 1, dtype=jnp.int32)[None]
    return jnp.where(scores_BV == best_B1, numbers_1V, last).min(-1)


def logprob_of(logits_BV: Float[Array, "B V"], token_B: Int[Array, " B"]) -> Float[Array, " B"]:
    """Returns the log-probability of one token a row.

    Of the model's own logits, it is before any penalty, temperature or filter.
    """
    logits_BV = constrain(logits_BV, "batch", None)
    chosen_BV = jnp.arange(logits_BV.shape[-1])[None] == token_B[:, None]
    top_B = logits_BV.max(-1)
    total_B = jnp.exp(logits_BV - top_B[:, None]).sum(-1)
    return jnp.where(chosen_BV, logits_BV, 0).sum(-1) - top_B - jnp.log(total_B)


def penalized(logits_BV: Float[Array, "B V"], penalty: float) -> Float[Array, "B V"]:
    """Returns logits made less likely: divided where positive, multiplied where negative."""
    return jnp.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty)


def filtered(logits_BV: Float[Array, "B V"], sampling: Sampling) -> Float[Array, "B V"]:
    """Returns the logits from which a token is drawn: -inf where a filter leaves none."""
    logits_BV = logits_BV / sampling.temperature
    if 0 < sampling.top_k < logits_BV.shape[-1]:
        least_B1 = jax.lax.top_k(logits_BV, sampling.top_k)[0][:, -1:]
        logits_BV = jnp.where(logits_BV >= least_B1, logits_BV, -jnp.inf)
    if sampling.top_p < 1:
        logits_BV = jnp.where(_nucleus(logits_BV, sampling.top_p), logits_BV, -jnp.inf)
    if sampling.min_p > 0:
        least_B1 = logits_BV.max(-1, keepdims=True) + jnp.log(sampling.min_p)
        logits_BV = jnp.where(logits_BV >= least_B1, logits_BV, -jnp.inf)
    return logits_BV


def _nucleus(logits_BV: Float[Array, "B V"], share: float) -> Bool[Array, "B V"]:
    """Returns the fewest tokens that have a share of the probability together.

    These are all tokens above a threshold, which is found by bisection, without sorting: floats
    that are not negative are in the order of their bits as whole numbers.
    """
    probabilities_BV = jax.nn.softmax(logits_BV, axis=-1)
    bits_BV = jax.lax.bitcast_convert_type(probabilities_BV, jnp.int32)

    def narrowed(_: Int[Array, ""], bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low_B1, high_B1 = bounds
        middle_B1 = low_B1 + (high_B1 - low_B1) // 2
        above_BV = jnp.where(bits_BV >= middle_B1, probabilities_BV, 0)
        enough_B1 = above_BV.sum(-1, keepdims=True) >= share
        return (
            jnp.where(enough_B1, middle_B1, low_B1),
            jnp.where(enough_B1, high_B1, middle_B1),
        )

    # Tokens from `low` on have enough, those from `high` on have not.
    high_B1 = bits_BV.max(-1, keepdims=True) + 1
    low_B1, _ = jax.lax.fori_loop(0, _BITS, narrowed, (jnp.zeros_like(high_B1), high_B1))
    return bits_BV >= low_B1
