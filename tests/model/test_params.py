"""Parameters: what they declare, models taken apart and put together, paths of the old form."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.model.params import Declaration, declarations, merge, parameter, split, upgraded_path
from tests.model import tiny

CONFIGS = {
    "t5": tiny.t5_config(),
    "decoder": tiny.decoder_config(positions="relative"),
    "tied": tiny.decoder_config(tied_head=True),
}

# All parameters of both models before their modules had kernels, scales and tables.
OLD_T5 = """embedding head encoder_bias decoder_bias encoder_norm decoder_norm
encoder/attention_norm encoder/mlp_norm encoder/mlp/wi_0 encoder/mlp/wi_1 encoder/mlp/wo
encoder/attention/query encoder/attention/key encoder/attention/value encoder/attention/out
decoder/attention_norm decoder/cross_norm decoder/mlp_norm
decoder/attention/query decoder/attention/key decoder/attention/value decoder/attention/out
decoder/cross_attention/query decoder/cross_attention/key decoder/cross_attention/value
decoder/cross_attention/out decoder/mlp/wi_0 decoder/mlp/wi_1 decoder/mlp/wo"""
OLD_DECODER = """embedding head bias norm layers/attention_norm layers/mlp_norm layers/query
layers/key layers/value layers/out layers/mlp/wi_0 layers/mlp/wi_1 layers/mlp/wo"""


def paths(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]


@pytest.mark.parametrize(("name", "old"), [("t5", OLD_T5), ("decoder", OLD_DECODER)])
def test_every_path_of_the_old_form_has_its_new_one(name, old):
    """In their order too, so that sums over all parameters are what they were."""
    new = paths(split(tiny.abstract_model(CONFIGS[name]))[1])
    assert [upgraded_path(path) for path in sorted(old.split(), key=lambda p: p.split("/"))] == new
    assert [upgraded_path(path) for path in new] == new


@pytest.mark.parametrize("name", CONFIGS)
def test_what_parameters_declare(name):
    declared = declarations(tiny.abstract_model(CONFIGS[name]))
    leaves = jax.tree.leaves(declared)
    for path, declaration in zip(paths(declared), leaves, strict=True):
        stacked = path.startswith(("encoder/", "decoder/", "layers/"))
        decays = not re.search(r"norm/scale|bias/table", path)
        assert declaration == Declaration(stacked, decays), path


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=20, deadline=None)
@given(pattern=st.sampled_from(["", "layers", "encoder/", "decoder/mlp/wo", ".*norm", "nothing"]))
def test_split_and_merge_are_inverse(name, pattern):
    model = tiny.model_of(CONFIGS[name])
    graph, trained, frozen = split(model, lambda path: re.match(pattern, path) is not None)
    whole = set(paths(split(model)[1]))
    assert {path for path in whole if re.match(pattern, path)} == set(paths(trained))
    assert set(paths(trained)) | set(paths(frozen)) == whole
    assert not set(paths(trained)) & set(paths(frozen))
    again = merge(graph, trained, frozen)
    assert jax.tree.structure(again) == jax.tree.structure(model)
    assert declarations(again) == declarations(model)
    jax.tree.map(np.testing.assert_array_equal, again, model)


def test_split_gives_plain_dicts_of_arrays():
    graph, trained, frozen = split(tiny.model_of(CONFIGS["t5"]))
    assert frozen == {}
    assert hash(graph) == hash(split(tiny.abstract_model(CONFIGS["t5"]))[0])
    assert type(trained["encoder"]["mlp"]["wo"]) is dict
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(trained))
    assert list(jax.tree.structure(declarations(merge(graph, trained))).children()) == list(
        jax.tree.structure(trained).children()
    )


class Half(nnx.Module):
    def __init__(self):
        self.known = parameter(jnp.ones(2), stacked=False, decays=True)
        self.inner = nnx.Dict(other=nnx.Param(jnp.ones(2)))


def test_a_parameter_without_a_declaration_is_named():
    with pytest.raises(ValueError, match="parameter inner/other declares nothing"):
        declarations(Half())


class Counting(nnx.Module):
    def __init__(self):
        self.count = nnx.BatchStat(jnp.zeros(()))


def test_arrays_that_are_no_parameters_are_refused():
    with pytest.raises(ValueError, match="these are not: count"):
        split(Counting())
