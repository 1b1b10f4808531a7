"""Partitions by logical name, and models that trace for meshes of devices that are not here."""

import ast
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from flanmix.errors import UserError
from flanmix.model.api import MODELS, Compute
from flanmix.model.sharding import AXES, abstract_mesh, constrain, make_mesh, spec

ROOT = Path(__file__).resolve().parents[2]
GIN_MODELS = ROOT / "gin" / "models"


def test_names_become_partitions():
    assert spec("batch", None) is None  # no mesh is set
    assert constrain(jnp.ones(3), "batch").shape == (3,)
    with jax.sharding.use_abstract_mesh(abstract_mesh(2, 4, 8)):
        assert spec("batch", None, "heads") == P(("data", "fsdp"), None, "tensor")
        assert spec("embed", "mlp", sizes=(16, 24)) == P("fsdp", "tensor")
        assert spec("embed", "heads", sizes=(16, 12)) == P("fsdp", None)
        with pytest.raises(ValueError, match="twice"):
            spec("batch", "embed")
        with pytest.raises(ValueError, match="2 logical names"):
            spec("embed", "mlp", sizes=(1, 2, 3))
        with pytest.raises(UserError, match=r"batch of 12 rows .* multiple of 8"):
            spec("batch", None, sizes=(12, 5))


def test_a_mesh_takes_all_devices():
    assert make_mesh(jax.device_count()).axis_names == AXES
    with pytest.raises(UserError, match="data=3 x fsdp=5 x tensor=1 needs 15 devices"):
        make_mesh(3, 5, 1)


def test_no_other_file_of_the_package_names_a_mesh_axis():
    for path in (ROOT / "flanmix" / "model").glob("*.py"):
        if path.name != "sharding.py":
            assert not re.search(r"[\"'](data|fsdp|tensor)[\"']", path.read_text("utf-8")), path


def read_gin(path: Path):
    """What a model's file binds: its configuration, and how it computes."""
    text = path.read_text("utf-8")
    name = re.search(r"^MODEL = @(\w+)\(\)$", text, re.MULTILINE).group(1)
    bound = {name: {}, "Compute": {}}
    for kind, field, value in re.findall(r"^(\w+)\.(\w+) = (.+)$", text, re.MULTILINE):
        bound[kind][field] = ast.literal_eval(value)
    return MODELS[name](**bound[name]), Compute(**bound["Compute"])


def count_of(path: Path) -> int:
    """The parameters that a model's file names in its header."""
    text = path.read_text("utf-8")
    return int(re.search(r"([\d,]+) parameters", text).group(1).replace(",", ""))


def abstract_batch(config, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
    sides = {"decoder": 128}
    if config.architecture == "encoder_decoder":
        sides["encoder"] = 256
    names = ("input_tokens", "segment_ids", "positions")
    return {
        f"{side}_{name}": jax.ShapeDtypeStruct((rows, length), jnp.int32)
        for side, length in sides.items()
        for name in names
    }


@pytest.mark.parametrize("path", sorted(GIN_MODELS.glob("*.gin")), ids=lambda path: path.stem)
def test_every_size_counts_and_lowers_for_a_pod(path):
    """Forward and backward type-check with explicit axes, without one device of the pod."""
    (config, compute), count = read_gin(path), count_of(path)
    mesh = abstract_mesh(2, 16, 4)
    with jax.sharding.use_abstract_mesh(mesh):
        model = jax.eval_shape(lambda: config.init(jax.random.key(0), compute))
        assert sum(leaf.size for leaf in jax.tree.leaves(model)) == count
        sharded = sum(leaf.size for leaf in jax.tree.leaves(model) if leaf.sharding.spec != P())
        assert sharded > 0.99 * count
        batch = abstract_batch(config, rows=64)
        gradients = jax.jit(jax.grad(lambda model, batch: model(batch).std()))
        gradients.trace(model, batch).lower(lowering_platforms=("tpu",))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("t5_small", 76_961_152),
        ("t5_base", 247_577_856),
        ("t5_xxl", 11_135_332_352),
        ("decoder_8b", 8_030_261_248),
    ],
)
def test_published_sizes(name, count):
    assert count_of(GIN_MODELS / f"{name}.gin") == count
