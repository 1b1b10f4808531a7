"""Sources of tensors: what a file format must offer so that its weights can be read.

    source.shapes                     -> {"model.embed_tokens.weight": (49152, 576), ...}
    source.read("model.embed_tokens.weight", (slice(0, 100), slice(None)))
                                      -> f32 or bf16 [100, 576]

A safetensors folder, a GGUF file and a T5X checkpoint are sources; all of them name tensors as
`transformers` does. Only the part that is asked for is read.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

Index = tuple[slice, ...]


class TensorSource(Protocol):
    """Tensors by name.

    Attributes:
        place: what it is called in a message: the folder or file.
        shapes: the shape of every tensor.
    """

    place: str
    shapes: Mapping[str, tuple[int, ...]]

    def read(self, name: str, index: Index) -> np.ndarray:
        """Returns a part of a tensor, of the type that it is stored in.

        Args:
            name: of the tensor.
            index: a slice of each dimension.

        Raises:
            UserError: the bytes are not there.
        """
        ...
