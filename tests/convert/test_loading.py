"""What is read of a source: each part once, in blocks, and straight to the devices."""

import jax
import numpy as np
import pytest

from flanmix.convert import loading
from flanmix.convert.family import FAMILIES
from flanmix.convert.loading import abstract_params, read_params
from flanmix.model.api import Compute
from flanmix.model.sharding import make_mesh
from tests.convert.tensors import DictSource, foreign_shapes
from tests.convert.test_families import CASES


class CountingSource(DictSource):
    """Counts how often each element is read, and remembers the largest part."""

    def __init__(self, shapes):
        super().__init__(shapes)
        self.counts = {name: np.zeros(shape, int) for name, shape in shapes.items()}
        self.largest = 0

    def read(self, name, index):
        self.counts[name][index] += 1
        part = super().read(name, index)
        self.largest = max(self.largest, part.nbytes)
        return part


def check(name, config, mesh):
    """Reads a model's parameters; each element of the source is read once and is in its place."""
    family = FAMILIES[name]
    with jax.set_mesh(mesh):
        source = CountingSource(foreign_shapes(family, config))
        params = read_params(family, config, source, Compute())
        wanted = abstract_params(config, Compute())
    assert jax.tree.all(jax.tree.map(lambda x, y: x.sharding == y.sharding, params, wanted))
    for tensor, counts in source.counts.items():
        assert (counts == 1).all(), tensor
    leaves = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    for tensor in family.tensors(config):
        theirs = [
            source.tensors[n].T if tensor.transposed else source.tensors[n] for n in tensor.names
        ]
        wanted = np.stack(theirs) if tensor.stacked else theirs[0]
        np.testing.assert_array_equal(np.asarray(leaves[tensor.path]), wanted)
    return source, leaves


@pytest.mark.parametrize("block", [1, 300, 1 << 26])
@pytest.mark.parametrize("name, config", CASES[:3])
def test_large_parameters_are_read_in_blocks(monkeypatch, name, config, block):
    monkeypatch.setattr(loading, "_BLOCK_BYTES", block)
    source, _ = check(name, config, make_mesh(devices=jax.devices()[:1]))
    row = 4 * max(config.vocab_size, config.d_model, config.d_ff)  # a layer's tensor is read whole
    if block < 1 << 26:
        inside = 4 * config.d_model * config.d_ff
        assert source.largest <= max(block, row, inside) < 4 * config.vocab_size * config.d_model


@pytest.mark.multidevice
@pytest.mark.parametrize("block", [1, 1 << 26])
@pytest.mark.parametrize("name, config", CASES[:3])
def test_each_distinct_shard_is_read_once(monkeypatch, name, config, block):
    if jax.device_count() < 8:
        pytest.skip("needs 8 devices")
    monkeypatch.setattr(loading, "_BLOCK_BYTES", block)
    mesh = make_mesh(data=2, fsdp=2, tensor=2, devices=jax.devices()[:8])
    _, leaves = check(name, config, mesh)
    assert any(not leaf.is_fully_replicated for leaf in leaves.values())
