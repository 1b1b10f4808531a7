"""Low-rank adapters (Hu et al., 2022): small trained matrices beside kernels that stay as they are.

    model = with_adapters(model, Lora(rank=8, alpha=16), rng)     # y = x W + (16 / 8) (x A) B
    split(model, is_adapter)       # trained: layers/query/adapter/a [L, D, 8], .../b [L, 8, F], ...
    merged(params, lora)           # W + (16 / 8) A B, and no adapters: a plain model's parameters

A is drawn from U(-1/sqrt(D), 1/sqrt(D)) and B is zero, so that a new adapter changes nothing. The
kernels of layers get adapters, embedding and head get none. The paths of the kernels stay.
"""

# L layers, D width of the input, F width of the result, R rank.

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Key

from flanmix.errors import UserError
from flanmix.fields import check_interval, check_range, check_types
from flanmix.model.linear import Adapter, Linear
from flanmix.model.params import Params
from flanmix.model.sharding import spec_of

_NAMED = {
    "attention": r".*/(query|key|value|out)",
    "all": r".*",
}
_ADAPTER = "adapter"


@dataclass(frozen=True)
class Lora:
    """Adapters, and where they are.

    Attributes:
        rank: their inner width.
        alpha: their strength; what they add is scaled by alpha / rank.
        targets: "attention", "all" (attention and MLP), or a regular expression of the whole path
            of a layer's matrix, such as `layers/(query|value)`.
        rank_stabilized: scaled by alpha / sqrt(rank) instead (Kalajdzievski, 2023).
    """

    rank: int = 8
    alpha: float = 16.0
    targets: str = "all"
    rank_stabilized: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, 1, "rank")
        check_interval(self, "(0, inf)", "alpha")
        try:
            re.compile(self.targets)
        except re.error as error:
            raise ValueError(
                f"Lora.targets is {self.targets!r}: 'attention', 'all' or a regular expression "
                f"({error})"
            ) from None

    @property
    def scale(self) -> float:
        """What the adapters' product is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rank_stabilized else self.rank)


def with_adapters(model: Any, lora: Lora, rng: Key[Array, ""]) -> Any:
    """Gives the matrices of a model's layers adapters; returns the same model.

    Args:
        model: a model, concrete or traced.
        lora: which, and their rank.
        rng: randomness of what is drawn.

    Raises:
        UserError: `lora.targets` matches no matrix of a layer.
    """
    pattern = re.compile(_NAMED.get(lora.targets, lora.targets))
    found = [(path, linear) for path, linear in _linears(model, "") if pattern.fullmatch(path)]
    if not found:
        known = ", ".join(path for path, _ in _linears(model, ""))
        raise UserError(f"Lora.targets is {lora.targets!r}: it matches none of {known}")
    for number, (_, linear) in enumerate(found):
        linear.adapter = Adapter(jax.random.fold_in(rng, number), linear, lora.rank, lora.scale)
    return model


def _linears(module: Any, path: str) -> Iterator[tuple[str, Linear]]:
    """The matrices of a model's layers, with their paths."""
    for name, value in sorted(vars(module).items()):
        if isinstance(value, Linear):
            if value.num_layers is not None:
                yield f"{path}{name}", value
        elif isinstance(value, nnx.Module):
            yield from _linears(value, f"{path}{name}/")


def is_adapter(path: str) -> bool:
    """Returns whether a parameter, by its path, is an adapter's."""
    return path.split("/")[-2:-1] == [_ADAPTER]


def merged(params: Params, lora: Lora) -> Params:
    """Returns the parameters of the plain model that computes the same."""
    whole: Params = {
        name: merged(inside, lora) if isinstance(inside, dict) else inside
        for name, inside in params.items()
        if name != _ADAPTER
    }
    if _ADAPTER in params:
        a, b = (params[_ADAPTER][name].astype(jnp.float32) for name in ("a", "b"))
        kernel = whole["kernel"]
        added = jnp.einsum("ldr,lrf->ldf", a, b, out_sharding=spec_of(kernel))
        whole["kernel"] = (kernel.astype(jnp.float32) + lora.scale * added).astype(kernel.dtype)
    return whole
