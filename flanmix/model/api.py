"""What a model must offer, how it computes, and the table of models.

A model is a frozen dataclass, its configuration, whose `init` makes the model itself:

    config = T5Config(d_model=512)
    model = jax.jit(config.init)(jax.random.key(0))
    logits = model(batch)                                              # f32 [B, T, V]
    half = config.init(rng, Compute(dtype="bfloat16", remat="full"))   # the same parameters

Whoever trains, evaluates or generates knows the two protocols below and nothing else of a model.
One is added by a file and a registration, also from outside the package; gin then knows its name:

    @register_model
    @dataclass(frozen=True)
    class MambaConfig: ...
"""

# B batch, T decoder positions, D model width, V vocabulary.

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from flanmix.fields import by_macro, check_choice, check_types
from flanmix.model.cpu_kernels import CPU
from flanmix.model.kernels import PLAIN, Kernels
from flanmix.model.scan import REMAT
from flanmix.plugins import Registry

Batch = Mapping[str, Array]
# What decoding keeps between steps: a pytree of arrays that only its model reads.
Cache = Any

# Which features of a batch a model reads; see `ModelConfig`.
Architecture = Literal["encoder_decoder", "causal", "prefix"]

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
KERNELS: dict[str, Kernels] = {"plain": PLAIN, "cpu": CPU}
AUTO = "auto"


@dataclass(frozen=True)
class Compute:
    """How a model computes, whatever model it is; a hardware file says it once.

    Attributes:
        dtype: of activations, "float32" or "bfloat16"; softmax, norms and logits are f32 always.
        param_dtype: of parameters; they are drawn in f32.
        remat: what the backward computes again instead of keeping it: "none"; "dots", all but the
            products with kernels; "full", all but each layer's input.
        kernels: the form of the products, a name of `KERNELS`; "auto" is a backend's own where it
            has one, else "plain".
    """

    dtype: str = by_macro("DTYPE", default="float32")
    param_dtype: str = "float32"
    remat: str = by_macro("REMAT", default="none")
    kernels: str = AUTO

    def __post_init__(self) -> None:
        check_types(self)
        check_choice(self, "dtype", DTYPES)
        check_choice(self, "param_dtype", DTYPES)
        check_choice(self, "remat", REMAT)
        check_choice(self, "kernels", (AUTO, *KERNELS))

    @property
    def activations(self) -> Any:
        """The dtype of activations."""
        return DTYPES[self.dtype]

    @property
    def parameters(self) -> Any:
        """The dtype of parameters."""
        return DTYPES[self.param_dtype]

    @property
    def products(self) -> Kernels:
        """The form of the products on this backend."""
        name = self.kernels
        if name == AUTO:
            name = jax.default_backend() if jax.default_backend() in KERNELS else "plain"
        return KERNELS[name]


DEFAULT_COMPUTE = Compute()


@runtime_checkable
class LanguageModel(Protocol):
    """A model with its parameters: an `nnx.Module`, so a pytree, whose arrays are all parameters.

    Its parameters are made by `flanmix.model.params.parameter`, and it holds no randomness and no
    state: `dropout_rng` turns dropout on. Under a mesh, activations are sharded over the batch.

    Attributes:
        config: its configuration.
        compute: how it computes.
    """

    config: "ModelConfig"
    compute: Compute

    def __call__(
        self, batch: Batch, *, dropout_rng: Key[Array, ""] | None = None
    ) -> Float[Array, "B T V"]:
        """Returns f32 logits of the next token at every position: `logits(hidden(batch))`."""
        ...

    def hidden(
        self, batch: Batch, *, dropout_rng: Key[Array, ""] | None = None
    ) -> Float[Array, "B T D"]:
        """Returns the decoder's output after its last norm, from which a head reads.

        Args:
            batch: features of `ModelConfig.architecture`; others are ignored.
            dropout_rng: randomness of the dropout, or None for none.
        """
        ...

    def logits(self, hidden_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Returns f32 logits of hidden states, of any number of positions."""
        ...

    def prefill(self, batch: Batch, max_new_tokens: int) -> tuple[Float[Array, "B V"], Cache]:
        """Reads prompts: logits of each row's first new token, and a cache for the others.

        Args:
            batch: prompts, one a row, padded on the right. "encoder_decoder" reads the encoder's
                features alone, the others the decoder's. A row of padding gives finite logits.
            max_new_tokens: how many tokens a row may get; the cache has space for no more.
        """
        ...

    def decode_step(
        self, cache: Cache, tokens_B: Int[Array, " B"]
    ) -> tuple[Float[Array, "B V"], Cache]:
        """Reads one token a row: logits of the next, and the cache with that token.

        The shapes and types of the cache stay, so that a `lax.while_loop` can carry it. For beam
        search it has a method `take(rows_B)`, which returns the cache with the tokens of other
        rows, each of the same prompt as the row in its place.
        """
        ...


@runtime_checkable
class ModelConfig(Protocol):
    """A model's shape: a frozen dataclass of gin names, validated when it is made.

    Attributes:
        vocab_size: logits of a position; at least the vocabulary's ids.
        dropout_rate: 0 says that `dropout_rng` is not needed.
        architecture: which features of a batch the model reads, i32 [B, length] each:
            "encoder_decoder": `encoder_` and `decoder_` `input_tokens` and `segment_ids`, and where
                it is there `decoder_source_ids`, the encoder's segment that a position reads;
            "causal": `decoder_input_tokens`, `decoder_segment_ids`, `decoder_positions`;
            "prefix": these and `decoder_prefix`, 1 in the part of a segment that all of it sees.
            Segments are numbered from 1, and 0 is padding; no token sees another segment.
    """

    @property
    def vocab_size(self) -> int: ...  # noqa: D102

    @property
    def dropout_rate(self) -> float: ...  # noqa: D102

    @property
    def architecture(self) -> Architecture: ...  # noqa: D102

    def init(self, rng: Key[Array, ""], compute: Compute = DEFAULT_COMPUTE) -> LanguageModel:
        """Returns a new model, the same for the same rng; under a mesh it is sharded."""
        ...


Config = TypeVar("Config", bound=type)
MODELS: Registry[type] = Registry("model")


def register_model(kind: Config) -> Config:
    """Puts a model's configuration into the table, under its class's name."""
    MODELS.register(kind.__name__, kind)
    return kind
