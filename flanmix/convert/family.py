"""Families: how the models of others map to ours, by configuration and by name of every tensor.

A family is a small module of its own that says three things of the folders that it can read:

    family = family_of({"model_type": "llama", ...})
    config = family.config({"model_type": "llama", "hidden_size": 576, ...})  # DecoderConfig(...)
    family.tensors(config)
    -> [Tensor("embedding/table", ("model.embed_tokens.weight",)),
        Tensor("layers/query/kernel", ("model.layers.0.self_attn.q_proj.weight", ...),  # a layer
               stacked=True, transposed=True), ...]                                     # each

and the way back, `family.foreign_config(config)`, from which a folder for `transformers` is
written. The same list serves both ways. Names are those of `transformers`' safetensors; other
formats (GGUF, T5X) present their tensors under these names (`flanmix.convert.source`). A family is
added by one file and one registration:

    @register_family
    class Llama: ...
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from flanmix.errors import UserError, nearest
from flanmix.model.api import ModelConfig
from flanmix.plugins import Registry


@dataclass(frozen=True)
class Tensor:
    """One parameter of ours, and the tensors of others that hold it.

    Attributes:
        path: of the parameter, such as `layers/query/kernel`.
        names: of the tensors: one, or one for each layer, in order.
        stacked: whether the parameter has a leading dimension of layers, one tensor each.
        transposed: whether a tensor is the transpose of the parameter's matrix, as of every
            `torch.nn.Linear`.
    """

    path: str
    names: tuple[str, ...]
    stacked: bool = False
    transposed: bool = False

    def __post_init__(self) -> None:
        if not self.stacked and len(self.names) != 1:
            raise ValueError(f"Tensor.names is {self.names}: one name, unless it is stacked")


class Family(Protocol):
    """The models of others that one module reads and writes.

    Attributes:
        model_types: values of `model_type` in `config.json` that are of this family.
        unread: regular expressions; tensors whose whole name one of them matches may be there and
            are left out (a copy of the embedding, a table that is computed).
    """

    model_types: tuple[str, ...]
    unread: tuple[str, ...]

    def config(self, foreign: Mapping[str, Any]) -> ModelConfig:
        """Returns our configuration of a `config.json`.

        Raises:
            UserError: the configuration asks for what our model does not have; names the field and
                its value.
        """
        ...

    def foreign_config(self, config: ModelConfig) -> dict[str, Any]:
        """Returns the `config.json` of a configuration: what `transformers` needs of its shape.

        Without what comes from the tokenizer (ids of special tokens) or the file (`torch_dtype`).

        Raises:
            UserError: no model of the family has this configuration.
        """
        ...

    def tensors(self, config: ModelConfig) -> Sequence[Tensor]:
        """Returns every parameter of our model, each once, with the tensors that hold it."""
        ...


Kind = TypeVar("Kind", bound=type)
FAMILIES: Registry[Family] = Registry("family")


def register_family(kind: Kind) -> Kind:
    """Puts a family into the table, under its class's name."""
    FAMILIES.register(kind.__name__, kind())
    return kind


def family_of(foreign: Mapping[str, Any]) -> Family:
    """Returns the family that reads a `config.json`.

    Raises:
        UserError: none does; names those that can be read.
    """
    wanted = foreign.get("model_type")
    known = [name for family in FAMILIES.values() for name in family.model_types]
    for family in FAMILIES.values():
        if wanted in family.model_types:
            return family
    raise UserError(
        f"config.json: model_type is {wanted!r}, of which no weights can be read"
        f"{nearest(str(wanted), known)}; known: {', '.join(sorted(known))}"
    )
