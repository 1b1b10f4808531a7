"""Optimizers against the formulas of their papers, written out in numpy, one matrix at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.learn.optimizer import Adafactor, AdamW, apply_updates

RATE = 0.1


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


def run(optimizer, params, gradients):
    transform = optimizer.build(stacks=("stack",))
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
    for name in ("table", "norm"):
        expected = adafactor_of_one(params[name], [g[name] for g in gradients])
        close(result[name], expected)


def test_adafactor_factors_large_matrices_only():
    params, _ = params_and_gradients()
    state = Adafactor().build(stacks=("stack",)).init(jax.tree.map(jnp.array, params))
    sizes = {x.shape for x in jax.tree.leaves(state) if x.size > 3}
    assert sizes == {(3, 128), (3, 160), (3, 4, 200), (130,), (128,)}


def test_adamw_equals_the_paper_and_spares_vectors():
    params, gradients = params_and_gradients()
    result = run(AdamW(b2=0.95, weight_decay=0.3, clip_norm=None), params, gradients)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        keys = [key.key for key in path]
        pick = lambda tree, keys=keys: tree[keys[0]][keys[1]] if len(keys) > 1 else tree[keys[0]]  # noqa: E731
        decay = 0.0 if keys[-1] in ("scale", "norm") else 0.3
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
