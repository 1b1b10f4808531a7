"""The product with a kernel, the module that holds one, and heads split off and merged.

    wi = Linear(rng, Dim(512, "embed"), Dim(2048, "mlp"), std=0.04, compute=compute, num_layers=8)
    wi.kernel                                    # f32 [8, 512, 2048], sharded over embed and mlp
    wi(x_BTD)                                    # within `scan_layers`: [B, T, 2048], sharded

Kernels are matrices, stacked over layers, so that an optimizer that factors second moments sees one
matrix a layer. A product is computed in the dtype of the activations. Whatever has this module's
`__call__` can stand in its place, such as a quantized kernel. `flanmix.model.lora` adds adapters.
"""

# B batch, T positions, D width of the input, F width of the result, H heads, K width of a head.

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from flanmix.model.api import Compute
from flanmix.model.params import normal, parameter
from flanmix.model.scan import PRODUCT
from flanmix.model.sharding import constrain, spec


@dataclass(frozen=True)
class Dim:
    """One side of a kernel.

    Attributes:
        size: its length.
        name: its logical name.
        parts: in how many parts it may be sharded; heads are not divided among devices.
    """

    size: int
    name: str
    parts: int | None = None

    @property
    def divisor(self) -> int:
        """The number that a mesh axis must divide to shard this dimension."""
        return self.size if self.parts is None else self.parts

    @property
    def activation(self) -> str | None:
        """The logical name of this dimension in activations, whose width is replicated."""
        return None if self.name == "embed" else self.name


def product(
    x_BTD: Float[Array, "B T D"],
    kernel_DF: Float[Array, "D F"],
    result: Dim,
    compute: Compute,
    dtype: DTypeLike | None = None,
) -> Float[Array, "B T F"]:
    """Multiplies activations by a kernel, in the dtype of the activations.

    Args:
        x_BTD: activations.
        kernel_DF: a kernel of any dtype.
        result: the last dimension of the result.
        compute: says which form of the product.
        dtype: of the result, where it is not that of x.
    """
    out = spec("batch", None, result.activation, sizes=(None, None, result.divisor))
    y_BTF = compute.products.matmul(x_BTD, kernel_DF.astype(x_BTD.dtype), out, dtype or x_BTD.dtype)
    return checkpoint_name(y_BTF, PRODUCT)


class Linear(nnx.Module):
    """One kernel [L, D, F], stacked over layers, or [D, F]; it may have an adapter beside it."""

    def __init__(
        self,
        rng: Key[Array, ""],
        inputs: Dim,
        outputs: Dim,
        *,
        std: float,
        compute: Compute,
        num_layers: int | None = None,
    ) -> None:
        stacked = num_layers is not None
        layers, unnamed = ((num_layers,), (None,)) if stacked else ((), ())
        kernel = normal(
            rng,
            (*layers, inputs.size, outputs.size),
            std,
            *unnamed,
            inputs.name,
            outputs.name,
            dtype=compute.parameters,
            parts=(*layers, inputs.divisor, outputs.divisor),
        )
        self.kernel = parameter(kernel, stacked=stacked, decays=True)
        self.adapter: Adapter | None = nnx.data(None)
        self.num_layers = num_layers
        self.inputs = inputs
        self.outputs = outputs
        self.compute = compute

    def __call__(
        self, x_BTD: Float[Array, "B T D"], dtype: DTypeLike | None = None
    ) -> Float[Array, "B T F"]:
        """Returns x @ kernel of one layer; in `dtype`, where it is not that of x."""
        y_BTF = product(x_BTD, self.kernel[...], self.outputs, self.compute, dtype)
        return y_BTF if self.adapter is None else y_BTF + self.adapter(x_BTD, dtype)


class Adapter(nnx.Module):
    """Two matrices [L, D, R] and [L, R, F], whose product is added to a kernel's result."""

    def __init__(self, rng: Key[Array, ""], beside: Linear, rank: int, scale: float) -> None:
        layers, width = beside.num_layers, beside.inputs
        assert layers is not None
        bound = width.size**-0.5
        parts = (layers, width.divisor, rank)
        a_LDR = jax.random.uniform(
            rng,
            (layers, width.size, rank),
            minval=-bound,
            maxval=bound,
            out_sharding=spec(None, width.name, None, sizes=parts),
        )
        shape = (layers, rank, beside.outputs.size)
        sides = (None, None, beside.outputs.name)
        b_LRF = constrain(jnp.zeros(shape), *sides, sizes=(*shape[:2], beside.outputs.divisor))
        self.a = parameter(a_LDR, stacked=True, decays=True)
        self.b = parameter(b_LRF, stacked=True, decays=True)
        self.scale = scale
        self.rank = Dim(rank, "embed")  # replicated in activations
        self.outputs = beside.outputs
        self.compute = beside.compute

    def __call__(
        self, x_BTD: Float[Array, "B T D"], dtype: DTypeLike | None = None
    ) -> Float[Array, "B T F"]:
        """Returns scale x a b of one layer."""
        h_BTR = product(x_BTD, self.a[...], self.rank, self.compute)
        return self.scale * product(h_BTR, self.b[...], self.outputs, self.compute, dtype)


class Bias(nnx.Module):
    """A vector [L, F] to be added to a product, stacked over layers."""

    def __init__(self, outputs: Dim, *, compute: Compute, num_layers: int) -> None:
        zeros = jnp.zeros((num_layers, outputs.size), compute.parameters)
        sizes = (num_layers, outputs.divisor)
        shift = constrain(zeros, None, outputs.name, sizes=sizes)
        self.shift = parameter(shift, stacked=True, decays=False)

    def __call__(self, y_BTF: Float[Array, "B T F"]) -> Float[Array, "B T F"]:
        """Returns the product with the bias of one layer."""
        return y_BTF + self.shift[...][None, None].astype(y_BTF.dtype)


def split_heads(y_BTF: Float[Array, "B T F"], num_heads: int) -> Float[Array, "B T H K"]:
    """Returns the heads of a projection."""
    y_BTHK = y_BTF.reshape(*y_BTF.shape[:2], num_heads, -1)
    # Of one head alone the reshape would shard the width, over which queries meet keys.
    return constrain(y_BTHK, "batch", None, "heads", None) if num_heads == 1 else y_BTHK


def merge_heads(y_BTHK: Float[Array, "B T H K"]) -> Float[Array, "B T F"]:
    """Returns all heads side by side, to be projected."""
    return y_BTHK.reshape(*y_BTHK.shape[:2], -1)
