"""Partitions by logical name, and models that trace for meshes of devices that are not here."""

import ast
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from flanmix.errors import UserError
from flanmix.model.decoder import DecoderConfig
from flanmix.model.sharding import AXES, abstract_mesh, constrain, make_mesh, spec
from flanmix.model.t5 import T5Config

ROOT = Path(__file__).resolve().parents[2]
MODELS = sorted((ROOT / "gin" / "models").glob("*.gin"))


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


def test_no_other_file_of_the_room_names_a_mesh_axis():
    for path in (ROOT / "flanmix" / "model").glob("*.py"):
        if path.name != "sharding.py":
            assert not re.search(r"[\"'](data|fsdp|tensor)[\"']", path.read_text("utf-8")), path


def read_gin(path: Path):
    """The configuration that a model's file binds, and the parameters that its header names."""
    text = path.read_text("utf-8")
    bound = re.findall(r"^(\w+)\.(\w+) = (.+)$", text, re.MULTILINE)
    name = re.search(r"^MODEL = @(\w+)\(\)$", text, re.MULTILINE).group(1)
    assert {kind for kind, _, _ in bound} == {name}
    kind = {"T5Config": T5Config, "DecoderConfig": DecoderConfig}[name]
    config = kind(**{field: ast.literal_eval(value) for _, field, value in bound})
    return config, int(re.search(r"([\d,]+) parameters", text).group(1).replace(",", ""))


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


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_size_counts_and_lowers_for_a_pod(path):
    """Forward and backward type-check with explicit axes, without one device of the pod."""
    config, count = read_gin(path)
    mesh = abstract_mesh(2, 16, 4)
    with jax.sharding.use_abstract_mesh(mesh):
        model = jax.eval_shape(lambda: config.init(jax.random.key(0)))
        assert sum(leaf.size for leaf in jax.tree.leaves(model)) == count
        cut = sum(leaf.size for leaf in jax.tree.leaves(model) if leaf.sharding.spec != P())
        assert cut > 0.99 * count
        batch = abstract_batch(config, rows=64)
        gradients = jax.jit(jax.grad(lambda model, batch: model(batch).std()))
        gradients.trace(model, batch).lower(lowering_platforms=("tpu",))


def test_published_sizes():
    counts = {path.stem: read_gin(path)[1] for path in MODELS}
    assert counts["t5_small"] == 76_961_152
    assert counts["t5_base"] == 247_577_856
    assert counts["t5_xxl"] == 11_135_332_352
    assert counts["decoder_8b"] == 8_030_261_248
    names = "t5_tiny t5_small t5_base t5_large t5_xl t5_xxl decoder_tiny decoder_1b decoder_8b"
    assert set(counts) == {*names.split(), "decoder_137b"}
