"""Folders that are written: what came in comes out, byte by byte, and whole or not at all."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open

from flanmix.convert.family import FAMILIES
from flanmix.convert.folder import open_pretrained
from flanmix.convert.writing import family_for, stored_dtype, write_folder
from flanmix.errors import UserError
from flanmix.model.api import Compute
from tests.convert.folders import GENERATION, assert_same_bytes, tiny_llama, weights, write_model
from tests.convert.test_families import CASES

INDEX = "model.safetensors.index.json"


def written(found, folder, **options):
    """Reads the parameters of a model and writes them to a new folder."""
    params = found.params(Compute())
    write_folder(folder, params, found.config, found.foreign, {"tokenizer.json": b"{}"}, **options)
    return folder


@pytest.fixture
def found(tmp_path):
    return open_pretrained(write_model(tmp_path / "there", FAMILIES["Llama"], tiny_llama()))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name, config", CASES)
def test_the_bytes_come_back(tmp_path, name, config, dtype):
    there = write_model(tmp_path / "there", FAMILIES[name], config, dtype=dtype)
    found = open_pretrained(there)
    assert found.config == config and stored_dtype(found.foreign) == dtype
    here = written(found, tmp_path / "here", dtype=dtype)
    assert_same_bytes(weights(there), weights(here))
    assert json.loads((here / "config.json").read_text()) == dict(found.foreign["config"])
    assert json.loads((here / "generation_config.json").read_text()) == GENERATION
    assert (here / "tokenizer.json").read_bytes() == b"{}"
    assert len({path.stat().st_mode for path in here.iterdir()}) == 1  # all may be read alike


@pytest.mark.parametrize("name, config", CASES)
def test_a_model_that_was_made_here_can_be_read_again(tmp_path, name, config):
    found = open_pretrained(write_model(tmp_path / "there", FAMILIES[name], config))
    write_folder(tmp_path / "here", found.params(Compute()), config, {}, {})
    assert open_pretrained(tmp_path / "here").config == config
    assert_same_bytes(weights(tmp_path / "there"), weights(tmp_path / "here"))


def test_a_tied_head_is_not_written(found, tmp_path):
    assert found.config.tied_head
    assert "lm_head.weight" not in weights(written(found, tmp_path / "here"))


def test_shards_are_small_and_their_index_names_them(found, tmp_path):
    here = written(found, tmp_path / "here", shard_bytes=5000)
    index = json.loads((here / INDEX).read_text())
    files = sorted(set(index["weight_map"].values()))
    assert files == sorted(path.name for path in here.glob("*.safetensors")) and len(files) > 2
    there = weights(found.folder)
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in there.values())
    for file in files:
        with safe_open(here / file, "np") as shard:
            names = list(shard.keys())
            sizes = [there[name].nbytes for name in names]
            assert {index["weight_map"][name] for name in names} == {file}
            assert shard.metadata() == {"format": "pt"}  # else transformers does not take it
        assert sum(sizes) <= 5000 or len(sizes) == 1
    assert_same_bytes(there, weights(here))
    again = written(open_pretrained(here), tmp_path / "again")
    assert_same_bytes(there, weights(again))


def test_bf16_is_rounded_and_said(found, tmp_path):
    here = written(found, tmp_path / "here", dtype="bfloat16")
    assert json.loads((here / "config.json").read_text())["dtype"] == "bfloat16"
    for name, tensor in weights(here).items():
        wanted = weights(found.folder)[name].astype(tensor.dtype)
        assert tensor.dtype.name == "bfloat16"
        np.testing.assert_array_equal(tensor, wanted)


def test_what_is_there_is_kept(found, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    (here / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"here is there already: name a new folder"):
        written(found, here)
    assert [path.name for path in here.iterdir()] == ["mine.txt"]
    (here / "mine.txt").unlink()
    assert (written(found, here) / "config.json").is_file()  # an empty folder is taken


FULL = [OSError(28, "No space left"), SafetensorError("No space left")]


@pytest.mark.parametrize("error", FULL, ids=["system", "library"])
def test_a_write_that_fails_leaves_nothing(found, tmp_path, monkeypatch, error):
    def full(*_, **__):
        raise error

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"here can't be written \(No space left\)"):
        written(found, tmp_path / "here")
    assert sorted(tmp_path.iterdir()) == before


def test_a_dropout_of_its_own_keeps_no_model_from_being_written():
    config = replace(tiny_llama(), dropout_rate=0.1)
    assert family_for(config, {}) is FAMILIES["Llama"]
