"""T5X checkpoints, in every layout, give the parameters that the same tensors give otherwise."""

import itertools

import jax
import ml_dtypes
import msgpack
import numpy as np
import pytest

import flanmix.convert.families  # noqa: F401  # registers them
from flanmix.convert.family import family_of
from flanmix.convert.loading import read_params
from flanmix.convert.t5x import open_t5x
from flanmix.errors import UserError
from flanmix.model.api import Compute
from tests.convert.t5x_checkpoints import inline, parameters, write_msgpack, write_orbax
from tests.convert.tensors import DictSource, foreign_shapes

SIZES = dict(vocab_size=24, d_model=16, d_kv=3, d_ff=20, num_heads=4, num_layers=3)
V1_1 = dict(SIZES, model_type="t5", num_decoder_layers=2, feed_forward_proj="gated-gelu")
KINDS = {
    "1_1": dict(V1_1, tie_word_embeddings=False),
    "1_0": dict(V1_1, tie_word_embeddings=True, feed_forward_proj="relu"),
    "umt5": dict(V1_1, tie_word_embeddings=False, model_type="umt5"),
}


def weights_of(foreign, dtype=np.float32):
    """Drawn tensors of a model, under transformers' names."""
    family = family_of(foreign)
    shapes = foreign_shapes(family, family.config(foreign))
    return {name: array.astype(dtype) for name, array in DictSource(shapes).tensors.items()}


def as_params(foreign, source):
    family = family_of(foreign)
    return read_params(family, family.config(foreign), source, Compute())


WRITERS = {
    "msgpack": write_msgpack,
    "orbax": write_orbax,
    "folders": lambda folder, found: write_orbax(folder, found, database=False),
}


@pytest.mark.parametrize(
    ("kind", "writer", "scanned", "heads_apart"),
    [
        ("1_1", "msgpack", False, False),
        ("1_1", "orbax", False, False),
        ("1_0", "folders", False, False),
        ("1_0", "msgpack", False, True),
        ("umt5", "msgpack", True, True),
        ("umt5", "orbax", True, True),
        ("umt5", "orbax", False, True),
    ],
)
def test_every_layout_gives_the_same_parameters(tmp_path, kind, writer, scanned, heads_apart):
    foreign = KINDS[kind]
    weights = weights_of(foreign)
    found = parameters(weights, foreign, scanned=scanned, heads_apart=heads_apart)
    WRITERS[writer](tmp_path / "checkpoint_7", found)
    inferred, source = open_t5x(tmp_path / "checkpoint_7")
    assert {key: inferred[key] for key in foreign} == foreign
    expected = DictSource({name: array.shape for name, array in weights.items()}, weights)
    assert source.shapes == expected.shapes
    got, want = as_params(inferred, source), as_params(foreign, expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("scanned", "heads_apart"), [(False, False), (False, True), (True, True)])
def test_a_part_is_the_part_of_the_whole(tmp_path, scanned, heads_apart):
    """Also where it begins or ends within a head."""
    weights = weights_of(KINDS["umt5"])
    found = parameters(weights, KINDS["umt5"], scanned=scanned, heads_apart=heads_apart)
    write_msgpack(tmp_path, found)
    source = open_t5x(tmp_path)[1]
    parts = [slice(None), slice(0, 1), slice(2, 7), slice(4, None)]
    for name, array in weights.items():
        for index in itertools.product(parts, repeat=array.ndim):
            np.testing.assert_array_equal(source.read(name, index), array[index])


@pytest.mark.parametrize("writer", WRITERS)
def test_half_precision_is_read_as_it_stands(tmp_path, writer):
    weights = weights_of(KINDS["1_1"], ml_dtypes.bfloat16)
    WRITERS[writer](tmp_path / "c", parameters(weights, KINDS["1_1"]))
    source = open_t5x(tmp_path / "c")[1]
    for name, array in weights.items():
        found = source.read(name, (slice(None),) * array.ndim)
        assert found.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(found, array)


def refuse(folder, message):
    with pytest.raises(UserError, match=message):
        source = open_t5x(folder)[1]
        for name, shape in source.shapes.items():
            source.read(name, tuple(slice(n) for n in shape))


def test_what_is_not_whole_is_an_error_and_no_zeros(tmp_path):
    found = parameters(weights_of(KINDS["1_1"]), KINDS["1_1"])
    write_msgpack(tmp_path / "a", found)
    (tmp_path / "a" / "target.token_embedder.embedding" / "0.1").unlink()
    refuse(tmp_path / "a", r"T5X array token_embedder/embedding can't be read")
    write_msgpack(tmp_path / "b", found)
    (tmp_path / "b" / "target.token_embedder.embedding" / ".zarray").unlink()
    refuse(tmp_path / "b", r"embedding lacks \.zarray")
    packed = (tmp_path / "b" / "checkpoint").read_bytes()
    (tmp_path / "b" / "checkpoint").write_bytes(packed[: len(packed) // 2])
    refuse(tmp_path / "b", r"checkpoint can't be read as Flax's msgpack")
    write_orbax(tmp_path / "d", found)
    for data in (tmp_path / "d" / "state").rglob("d/*"):
        data.write_bytes(data.read_bytes()[:100])
    refuse(tmp_path / "d", r"T5X array|manifest\.ocdbt can't be read")


def test_a_name_that_leads_elsewhere_is_refused(tmp_path):
    found = parameters(weights_of(KINDS["1_1"]), KINDS["1_1"])
    write_msgpack(tmp_path / "other", found)
    for place in ("../other/{}", "/etc/{}", "..", ""):
        store = {"driver": "file", "path": place}
        write_msgpack(
            tmp_path / "c",
            found,
            spec=lambda name, store=store: {
                "driver": "zarr",
                "kvstore": {**store, "path": store["path"].format(name)},
            },
        )
        refuse(tmp_path / "c", r"names no folder beside it")


def test_what_is_no_t5_is_named(tmp_path):
    found = parameters(weights_of(KINDS["1_1"]), KINDS["1_1"])
    write_msgpack(tmp_path / "a", found | {"decoder/layers_0/gate/kernel": np.ones((2, 2))})
    refuse(tmp_path / "a", r"decoder/layers_0/gate/kernel is no parameter of a T5")
    decoder = {path: array for path, array in found.items() if not path.startswith("encoder/")}
    write_msgpack(tmp_path / "b", decoder)
    refuse(tmp_path / "b", r"has nothing that would be encoder\.block\.0")
    write_msgpack(tmp_path / "c", found | {"token_embedder/embedding": np.ones(5, np.float32)})
    refuse(tmp_path / "c", r"token_embedder/embedding has shape \(5,\)")


def test_what_is_no_checkpoint_says_where_one_is(tmp_path):
    refuse(tmp_path, r"is no T5X checkpoint: it has neither")
    refuse(tmp_path / "nowhere", r"is no T5X checkpoint")
    for step in (90, 100):
        (tmp_path / f"checkpoint_{step}").mkdir()
    refuse(tmp_path, r"name one, such as .*checkpoint_100")
    (tmp_path / "checkpoint").write_bytes(b'model_checkpoint_path: "model.ckpt-1"')
    refuse(tmp_path, r"is a TensorFlow checkpoint")
    leaf = inline(np.zeros((2, 2), np.uint16))
    tree = {"target": {"token_embedder": {"embedding": leaf}}}
    (tmp_path / "checkpoint").write_bytes(msgpack.packb({"version": 2, "optimizer": tree}))
    refuse(tmp_path, r"bfloat16 written as uint16")
