"""The table of embeddings: tokens to activations, and hidden states to logits where it is the head.

embedding = Embedding(rng, vocab_size=32128, width=512, std=1.0, compute=compute)
embedding(tokens_BT)            -> [B, T, 512], in the dtype of activations
embedding.logits(hidden_BTD)    -> f32 [B, T, 32128]
"""

# B batch, T positions, D model width, V vocabulary.

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from flanmix.model.api import Compute
from flanmix.model.linear import Dim, product
from flanmix.model.params import normal, parameter
from flanmix.model.sharding import constrain, spec


class Embedding(nnx.Module):
    """A table [V, D]."""

    def __init__(
        self, rng: Key[Array, ""], vocab_size: int, width: int, *, std: float, compute: Compute
    ) -> None:
        shape = (vocab_size, width)
        table = normal(rng, shape, std, "vocab", "embed", dtype=compute.parameters)
        self.table = parameter(table, stacked=False, decays=True)
        self.compute = compute

    def __call__(self, tokens_BT: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Looks tokens up; the table's width is gathered first: only the vocabulary is sharded."""
        table_VD = constrain(self.table[...], "vocab", None)
        out = spec("batch", None, None)
        x_BTD = table_VD.at[tokens_BT].get(out_sharding=out, mode="clip")
        return x_BTD.astype(self.compute.activations)

    def logits(self, hidden_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Returns f32 products with every token's embedding."""
        table_VD = self.table[...]
        vocabulary = Dim(table_VD.shape[0], "vocab")
        return product(hidden_BTD, table_VD.T, vocabulary, self.compute, jnp.float32)
