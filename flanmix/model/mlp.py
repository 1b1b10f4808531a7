"""The MLP of a layer: two matrices around an activation, and a third where a branch gates it.

relu          y = relu(x wi_0) wo
gated_gelu    y = (gelu(x wi_0) * (x wi_1)) wo          (Shazeer, 2020; also named geglu)
swiglu        y = (silu(x wi_0) * (x wi_1)) wo
"""

# B batch, T positions, D model width, F inner width.

import functools
from collections.abc import Callable

import jax
from flax import nnx
from jaxtyping import Array, Float, Key

from flanmix.model.api import Compute
from flanmix.model.dropout import Site, dropout
from flanmix.model.linear import Dim, Linear

_gelu = functools.partial(jax.nn.gelu, approximate=True)

# name -> (activation of the first branch, whether a linear second branch multiplies it)
MLPS: dict[str, tuple[Callable[[Array], Array], bool]] = {
    "relu": (jax.nn.relu, False),
    "gated_gelu": (_gelu, True),
    "geglu": (_gelu, True),
    "swiglu": (jax.nn.silu, True),
}


class MLP(nnx.Module):
    """The matrices `wi_0`, `wi_1` (where a branch gates) and `wo`, stacked over layers."""

    def __init__(
        self,
        rng: Key[Array, ""],
        num_layers: int,
        width: int,
        inner: int,
        kind: str,
        *,
        dropout_rate: float,
        compute: Compute,
    ) -> None:
        rng_0, rng_1, rng_out = jax.random.split(rng, 3)
        outer, hidden = Dim(width, "embed"), Dim(inner, "mlp")
        linear = functools.partial(Linear, compute=compute, num_layers=num_layers)
        self.wi_0 = linear(rng_0, outer, hidden, std=width**-0.5)
        self.wi_1 = linear(rng_1, outer, hidden, std=width**-0.5) if MLPS[kind][1] else None
        self.wo = linear(rng_out, hidden, outer, std=inner**-0.5)
        self.kind = kind
        self.dropout_rate = dropout_rate

    def __call__(
        self, x_BTD: Float[Array, "B T D"], rng: Key[Array, ""] | None
    ) -> Float[Array, "B T D"]:
        """Applies one layer's MLP, with dropout on the inner values."""
        activation, _ = MLPS[self.kind]

        @functools.partial(jax.checkpoint, prevent_cse=False)  # keeps its arguments only
        def inner(branches_BTF: list[Array], wo: Linear) -> Array:
            h_BTF = activation(branches_BTF[0])
            h_BTF = h_BTF * branches_BTF[1] if len(branches_BTF) > 1 else h_BTF
            return wo(dropout(h_BTF, rng, self.dropout_rate, Site.HIDDEN))

        branches = [self.wi_0] if self.wi_1 is None else [self.wi_0, self.wi_1]
        return inner([wi(x_BTD) for wi in branches], self.wo)
