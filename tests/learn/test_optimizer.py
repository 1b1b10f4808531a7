"""Optimizers against the formulas of their papers, written out in numpy, one matrix at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.learn.optimizer import Adafactor, AdamW, apply_updates
from flanmix.model.api import Compute
from flanmix.model.params import Declaration, declarations, merge, split
from flanmix.model.t5 import T5Config
from tests.model import tiny

RATE = 0.1
DECLARED = {
    "stack": {
        "big": Declaration(stacked=True, decays=True),
        "small": Declaration(stacked=True, decays=True),
        "scale": Declaration(stacked=True, decays=False),
    },
    "table": Declaration(stacked=False, decays=True),
    "norm": Declaration(stacked=False, decays=False),
    "bias": Declaration(stacked=False, decays=False),
}


def params_and_gradients(steps=3):
    """A stack of three layers, each with a matrix that is factored and one too small, and
    vectors."""
    rng = np.random.default_rng(1)
    shapes = {
        "stack": {"big": (3, 128, 160), "small": (3, 4, 200), "scale": (3, 128)},
        "table": (130, 128),
        "norm": (128,),
    }

    def draw(scale):
        return jax.tree.map(
            lambda s: rng.normal(size=s).astype(np.float32) * scale,
            shapes,
            is_leaf=lambda x: isinstance(x, tuple),
        )

    params = draw(0.5)
    # Layers of very different sizes: taken together they would be clipped and scaled otherwise.
    scales = np.float32([1e-4, 1, 30])
    params["stack"] = jax.tree.map(lambda p: (p.T * scales).T, params["stack"])
    gradients = [draw(10.0**-i) for i in range(steps)]
    for gradient in gradients:
        gradient["stack"]["big"][1] *= 100
    for tree, scale in zip([params, *gradients], [0.5, 10.0, 1.0, 0.1], strict=False):
        tree["bias"] = np.float32(scale * np.random.default_rng(2).normal(size=(16, 4)))
    return params, gradients


def adafactor_of_one(p, gradients, rate=RATE):
    """Algorithms 4 and 5 of Shazeer and Stern for one parameter, with T5X's constants, in
    float64."""
    p = p.astype(np.float64)
    factored = p.ndim == 2 and min(p.shape) >= 128
    v = np.zeros_like(p)
    row, column = np.zeros(p.shape[:1]), np.zeros(p.shape[1:])
    for t, g in enumerate(gradients, start=1):
        g = g.astype(np.float64)
        beta = 1 - t**-0.8
        square = g * g + 1e-30
        if factored:
            row = beta * row + (1 - beta) * square.mean(1)
            column = beta * column + (1 - beta) * square.mean(0)
            v = np.outer(row, column) / row.mean()
        else:
            v = beta * v + (1 - beta) * square
        u = g / np.sqrt(v)
        u = u / max(1.0, np.sqrt((u * u).mean()))
        p = p - rate * max(1e-3, np.sqrt((p * p).mean())) * u
    return p


def adamw_of_one(p, gradients, decay, rate=RATE, b1=0.9, b2=0.95):
    p = p.astype(np.float64)
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gradients, start=1):
        g = g.astype(np.float64)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        u = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
        p = p - rate * (u + decay * p)
    return p


def close(result, expected):
    """Equal to float32's rounding of a few steps, on the scale of the whole matrix."""
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def run(optimizer, params, gradients, declared=DECLARED):
    transform = optimizer.build(declared)
    params = jax.tree.map(jnp.array, params)
    state = transform.init(params)
    for gradient in gradients:
        updates, state = jax.jit(transform.update)(gradient, state, params)
        params = apply_updates(params, updates, RATE)
    return params


def test_adafactor_equals_the_paper_layer_by_layer():
    params, gradients = params_and_gradients()
    result = run(Adafactor(), params, gradients)
    for name, stacked in params["stack"].items():
        for layer in range(3):
            one = [g["stack"][name][layer] for g in gradients]
            expected = adafactor_of_one(stacked[layer], one)
            close(result["stack"][name][layer], expected)
    for name in ("table", "norm", "bias"):
        expected = adafactor_of_one(params[name], [g[name] for g in gradients])
        close(result[name], expected)


def test_adafactor_factors_large_matrices_only():
    params, _ = params_and_gradients()
    state = Adafactor().build(DECLARED).init(jax.tree.map(jnp.array, params))
    assert set(state) == {"3", "rest"}
    sizes = {x.shape for x in jax.tree.leaves(state) if x.size > 3}
    assert sizes == {(3, 128), (3, 160), (3, 4, 200), (130,), (128,), (16, 4)}


def test_adamw_equals_the_paper_and_spares_what_does_not_decay():
    params, gradients = params_and_gradients()
    result = run(AdamW(b2=0.95, weight_decay=0.3, clip_norm=None), params, gradients)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        keys = [key.key for key in path]
        pick = lambda tree, keys=keys: tree[keys[0]][keys[1]] if len(keys) > 1 else tree[keys[0]]  # noqa: E731
        decay = 0.3 if pick(DECLARED).decays else 0.0
        expected = adamw_of_one(leaf, [pick(g) for g in gradients], decay)
        close(pick(result), expected)


@pytest.mark.parametrize("optimizer", [Adafactor, AdamW])
def test_clipping_is_by_the_global_norm(optimizer):
    params, gradients = params_and_gradients(1)
    norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in jax.tree.leaves(gradients[0])))
    scaled = [jax.tree.map(lambda g: g * np.float32(0.5 / norm), gradients[0])]
    clipped = run(optimizer(clip_norm=0.5), params, gradients)
    plain = run(optimizer(clip_norm=None), params, scaled)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7), clipped, plain
    )


OPTIMIZERS = [Adafactor(), AdamW(weight_decay=0.3), AdamW(weight_decay=0.3, clip_norm=None)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_where_parameters_stand_changes_nothing(optimizer):
    """One level down, as a policy beside a value head, they take the same steps bit for bit."""
    params, gradients = params_and_gradients()
    top = run(optimizer, params, gradients)
    below = run(
        optimizer,
        {"policy": params},
        [{"policy": gradient} for gradient in gradients],
        {"policy": DECLARED},
    )
    jax.tree.map(np.testing.assert_array_equal, below["policy"], top)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_real_models_are_optimized_alike_one_level_down(optimizer):
    params, declared = drawn_model()
    gradients = jax.tree.map(lambda p: 1e-3 * p[::-1], params)

    def updates(params, gradients, declared):
        transform = optimizer.build(declared)
        return jax.jit(transform.update)(gradients, transform.init(params), params)[0]

    top = updates(params, gradients, declared)
    below = updates({"policy": params}, {"policy": gradients}, {"policy": declared})
    jax.tree.map(np.testing.assert_array_equal, below["policy"], top)


def drawn_model():
    """Parameters of a T5 of two and three layers, large enough to be factored."""
    sizes = dict(vocab_size=130, d_model=128, d_ff=136, num_heads=2, head_dim=64)
    config = T5Config(**sizes, num_encoder_layers=2, num_decoder_layers=3)
    abstract = jax.eval_shape(config.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    draw = lambda p: jnp.array(rng.normal(size=p.shape).astype(np.float32))  # noqa: E731
    return jax.tree.map(draw, split(abstract)[1]), declarations(abstract)


def test_the_state_has_a_group_for_each_number_of_layers():
    params, declared = drawn_model()
    assert set(Adafactor().build(declared).init(params)) == {"2", "3", "rest"}


def test_parts_of_a_model_are_optimized_alone():
    """A frozen part has no state, and the others take the steps that they would have taken."""
    params, gradients = params_and_gradients()
    only = lambda tree: {"stack": {"big": tree["stack"]["big"]}, "norm": tree["norm"]}  # noqa: E731
    both = run(Adafactor(), params, gradients)
    part = run(Adafactor(), only(params), [only(g) for g in gradients], only(DECLARED))
    jax.tree.map(np.testing.assert_array_equal, part, only(both))


@pytest.mark.parametrize("optimizer", [Adafactor(), AdamW()])
def test_other_parameters_than_declared_are_an_error_that_names_them(optimizer):
    params, gradients = params_and_gradients(1)
    transform = optimizer.build(DECLARED)
    with pytest.raises(ValueError, match="bias is declared and is none of them, norm is declared"):
        transform.init({"stack": params["stack"], "table": 0})
    with pytest.raises(ValueError, match="bias is declared and is none of them"):
        transform.init({name: p for name, p in params.items() if name != "bias"})
    with pytest.raises(ValueError, match="policy/bias declares nothing"):
        transform.init({"policy": params})
    state = transform.init(params)
    with pytest.raises(ValueError, match="policy/bias declares nothing"):
        transform.update({"policy": gradients[0]}, state, {"policy": params})


@pytest.mark.parametrize("optimizer", [Adafactor(), AdamW()])
def test_parameters_in_bfloat16_have_moments_in_f32(optimizer):
    params, gradients = params_and_gradients()
    half = jax.tree.map(lambda p: jnp.asarray(p, jnp.bfloat16), params)
    state = optimizer.build(DECLARED).init(half)
    kinds = {leaf.dtype for leaf in jax.tree.leaves(state)}
    assert kinds == {jnp.dtype("float32"), jnp.dtype("int32")}
    result = run(optimizer, half, gradients)
    assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype("bfloat16")}
    exact = run(optimizer, jax.tree.map(lambda p: np.asarray(p, np.float32), half), gradients)
    for name in ("table", "norm"):
        np.testing.assert_allclose(np.float32(result[name]), exact[name], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("config", ["t5", "decoder"])
@pytest.mark.parametrize("optimizer", [Adafactor(min_dim_size_to_factor=8), AdamW(clip_norm=None)])
def test_a_model_with_parameters_in_bfloat16_learns(config, optimizer):
    compute = Compute(param_dtype="bfloat16", dtype="bfloat16")
    config, batch = {
        "t5": (tiny.t5_config(), tiny.t5_batch(tiny.T5_PACKED)),
        "decoder": (tiny.decoder_config(), tiny.decoder_batch(tiny.DECODER_PACKED)),
    }[config]
    model = tiny.model_of(config, compute)
    graph, params, _ = split(model)
    transform = optimizer.build(declarations(model))
    state = transform.init(params)
    losses = []
    for _ in range(4):
        value, gradients = tiny.loss_and_gradients(merge(graph, params), batch)
        losses.append(float(value))
        updates, state = transform.update(split(gradients)[1], state, params)
        params = apply_updates(params, updates, 0.01)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.1
