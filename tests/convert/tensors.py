"""Tensors in memory, as a source of any family."""

import jax
import numpy as np

from flanmix.convert.family import Family
from flanmix.convert.loading import abstract_params
from flanmix.convert.source import Index
from flanmix.model.api import Compute, ModelConfig


class DictSource:
    """Random f32 tensors of given shapes, or given tensors."""

    place = "memory"

    def __init__(self, shapes, tensors=None):
        rng = np.random.default_rng(0)
        self.shapes = dict(shapes)
        self.tensors = tensors or {
            name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
        }

    def read(self, name: str, index: Index) -> np.ndarray:
        return self.tensors[name][index]


def foreign_shapes(family: Family, config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shapes that a family's tensors have in a folder of others."""
    ours = {
        "/".join(key.key for key in path): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(abstract_params(config, Compute()))
    }
    shapes = {}
    for tensor in family.tensors(config):
        shape = ours[tensor.path][1:] if tensor.stacked else ours[tensor.path]
        shapes |= dict.fromkeys(tensor.names, shape[::-1] if tensor.transposed else shape)
    return shapes
