"""Optimizers against steps that other implementations took (tests/golden, scripts/make_goldens.py).

Adafactor: transformers', where every matrix is factored, and the paper's formula where none is.
AdamW: torch's, which decays vectors as well; ours does not, and the difference is exact.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.learn.optimizer import Adafactor, AdamW, apply_updates
from flanmix.model.params import Declaration

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "optimizer.npz"
DECLARED = {
    "stack": Declaration(stacked=True, decays=True),
    "matrix": Declaration(stacked=False, decays=True),
    "vector": Declaration(stacked=False, decays=False),
    "small": Declaration(stacked=False, decays=False),
}
NAMES = tuple(DECLARED)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def part(golden, prefix):
    return {name: golden[f"{prefix}/{name}"] for name in NAMES}


def steps(golden, optimizer, rate):
    """Yields the parameters after each of the golden gradients."""
    transform = optimizer.build(DECLARED)
    params = jax.tree.map(jnp.array, part(golden, "params"))
    state = transform.init(params)
    for number in (0, 1):
        updates, state = transform.update(part(golden, f"grads_{number}"), state, params)
        params = apply_updates(params, updates, rate)
        yield number, params


@pytest.mark.parametrize(
    ("run", "smallest"), [("adafactor_factored", 2), ("adafactor_whole", 10_000)]
)
def test_adafactor_takes_the_same_steps(golden, run, smallest):
    hyper = json.loads(str(golden["hyper"]))["adafactor"]
    optimizer = Adafactor(
        decay_rate=hyper["decay_rate"], clip_update=hyper["clip"], min_dim_size_to_factor=smallest
    )
    for number, params in steps(golden, optimizer, hyper["learning_rate"]):
        for name in NAMES:
            expected = golden[f"{run}/{number}/{name}"]
            np.testing.assert_allclose(params[name], expected, rtol=1e-5, atol=1e-6)


def test_adamw_takes_the_same_steps(golden):
    hyper = json.loads(str(golden["hyper"]))["adamw"]
    rate = hyper.pop("learning_rate")
    kept = 1 - rate * hyper["weight_decay"]
    before = ours = part(golden, "params")
    for number, params in steps(golden, AdamW(**hyper, clip_norm=None), rate):
        torchs = part(golden, f"adamw/{number}")
        for name in ("stack", "matrix"):
            np.testing.assert_allclose(params[name], torchs[name], rtol=1e-5, atol=1e-6)
        # A vector's step is torch's without the decay, from where ours is.
        ours = {name: ours[name] + torchs[name] - kept * before[name] for name in NAMES}
        before = torchs
        for name in ("vector", "small"):
            np.testing.assert_allclose(params[name], ours[name], rtol=1e-5, atol=1e-6)
