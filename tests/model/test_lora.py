"""Adapters: new ones change nothing, they alone get gradients, and merged they compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.errors import UserError
from flanmix.model.api import Compute
from flanmix.model.linear import Adapter, Dim, Linear
from flanmix.model.lora import Lora, is_adapter, merged, with_adapters
from flanmix.model.params import merge, split, union
from tests.conftest import ROOT
from tests.model import tiny

LORA = Lora(rank=3, alpha=6.0)


CASES = {
    "t5": (tiny.t5_config(), tiny.t5_batch(tiny.T5_PACKED)),
    "decoder": (tiny.decoder_config(), tiny.decoder_batch(tiny.DECODER_PACKED)),
}


@pytest.fixture(params=CASES)
def case(request):
    config, batch = CASES[request.param]
    return jax.jit(config.init)(jax.random.key(0)), jax.tree.map(jnp.asarray, batch)


def adapted(model, lora=LORA):
    return jax.jit(lambda m: with_adapters(m, lora, jax.random.key(1)))(model)


def drawn(tree):
    """The same adapters, none of them zero."""
    keys = iter(jax.random.split(jax.random.key(2), 1000))
    return jax.tree.map(lambda x: 0.3 * jax.random.normal(next(keys), x.shape), tree)


def test_new_adapters_change_nothing_and_the_kernels_keep_their_paths(case):
    model, batch = case
    new = adapted(model)
    np.testing.assert_array_equal(new(batch), model(batch))
    _, adapters, rest = split(new, is_adapter)
    assert jax.tree.structure(rest) == jax.tree.structure(split(model)[1])
    for path, leaf in jax.tree_util.tree_leaves_with_path(adapters):
        name, width = path[-1].key, leaf.shape[1]
        if name == "b":
            assert not leaf.any() and width == LORA.rank
        else:
            assert 0.8 * width**-0.5 < jnp.abs(leaf).max() <= width**-0.5


def test_merged_parameters_compute_what_the_adapters_compute(case):
    model, batch = case
    graph, adapters, rest = split(adapted(model), is_adapter)
    adapters = drawn(adapters)
    wanted = merge(graph, adapters, rest)(batch)
    assert jnp.abs(wanted - model(batch)).max() > 0.1
    plain = merge(split(model)[0], merged(union(adapters, rest), LORA))
    np.testing.assert_allclose(plain(batch), wanted, atol=2e-4)


def test_only_targets_get_adapters(case):
    model, _ = case

    def names(targets):
        _, adapters, _ = split(adapted(model, Lora(targets=targets)), is_adapter)
        paths = jax.tree_util.tree_leaves_with_path(adapters)
        return {path[-3].key for path, _ in paths}

    assert names("attention") == {"query", "key", "value", "out"}
    assert names("all") > names("attention") | {"wo"}
    assert names(r".*/(query|value)") == {"query", "value"}
    with pytest.raises(UserError, match=r"'nothing': it matches none of .*query"):
        names("nothing")


@pytest.mark.parametrize(
    "field, value, why",
    [
        ("rank", 0, "Lora.rank is 0"),
        ("alpha", 0.0, "Lora.alpha is 0.0"),
        ("targets", "(", "Lora.targets is '\\('"),
    ],
)
def test_what_adapters_can_not_be_is_named(field, value, why):
    with pytest.raises(ValueError, match=why):
        Lora(**{field: value})


def test_the_scale_is_that_of_the_paper_or_rank_stabilized():
    assert Lora(rank=8, alpha=16.0).scale == 2.0
    assert Lora(rank=16, alpha=16.0, rank_stabilized=True).scale == 4.0


def test_figures_of_another_implementation():
    """y = x W^T + 2 (x A^T) B^T, as PEFT 0.21 computed it (rank 8, alpha 16)."""
    golden = np.load(ROOT / "tests" / "golden" / "lora.npz")
    w, a, b, x, y = (golden[name] for name in ("W", "A", "B", "x", "y"))
    sides = Dim(w.shape[1], "embed"), Dim(w.shape[0], "mlp")
    linear = Linear(jax.random.key(0), *sides, std=1.0, compute=Compute(), num_layers=1)
    linear.adapter = Adapter(jax.random.key(1), linear, 8, Lora(rank=8, alpha=16.0).scale)
    linear.kernel.set_value(jnp.asarray(w.T))
    linear.adapter.a.set_value(jnp.asarray(a.T))
    linear.adapter.b.set_value(jnp.asarray(b.T))
    np.testing.assert_allclose(linear(jnp.asarray(x)[None])[0], y, atol=2e-6)
