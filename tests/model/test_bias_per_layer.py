"""A table of position biases in each layer computes what one for all computes, where they agree."""

import jax
import jax.numpy as jnp
import numpy as np

from flanmix.model.params import declarations, merge, split
from tests.model.tiny import T5_PACKED, abstract_model, forward, model_of, t5_batch, t5_config


def of_layers(params):
    """Parameters of the model with a table in each layer, all of them its stack's."""
    params = dict(params)
    for side in ("encoder", "decoder"):
        table = params.pop(f"{side}_bias")["table"]
        params[side] = {**params[side], "bias": {"table": jnp.stack([table] * 2)}}
    return params


def test_the_same_table_in_every_layer_is_one_for_all():
    shared, batch = model_of(t5_config()), t5_batch(T5_PACKED)
    graph, abstract, _ = split(abstract_model(t5_config(bias_per_layer=True)))
    params = of_layers(split(shared)[1])
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, abstract)
    np.testing.assert_allclose(
        forward(merge(graph, params), batch), forward(shared, batch), atol=1e-6
    )
    other = of_layers(split(shared)[1])
    other["decoder"]["bias"]["table"] = other["decoder"]["bias"]["table"].at[1].multiply(-1)
    assert np.abs(forward(merge(graph, other), batch) - forward(shared, batch)).max() > 1e-2


def test_tables_of_layers_are_a_stack_that_does_not_decay():
    declared = declarations(abstract_model(t5_config(bias_per_layer=True)))
    for side in ("encoder", "decoder"):
        assert declared[side]["bias"]["table"].stacked
        assert not declared[side]["bias"]["table"].decays
