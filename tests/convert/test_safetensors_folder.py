"""Weights of a folder: only what is asked for is read, and what is damaged is found first."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from flanmix.convert.family import FAMILIES
from flanmix.convert.folder import is_pretrained, open_pretrained
from flanmix.convert.safetensors_folder import SafetensorsFolder
from flanmix.errors import UserError
from tests.convert.folders import change_json, tiny_llama, weights, write_model

INDEX = "model.safetensors.index.json"
FIRST = "model-00001-of-00002.safetensors"


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "single", FAMILIES["Llama"], tiny_llama())


@pytest.fixture
def sharded(tmp_path):
    return write_model(tmp_path / "sharded", FAMILIES["Llama"], tiny_llama(), shards=2)


def refused(folder, match):
    """Opening a folder is one line that names what is wrong, and where."""
    with pytest.raises(UserError, match=match) as caught:
        open_pretrained(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_a_part_is_read_in_its_own_type(tmp_path, dtype):
    whole = np.arange(60, dtype=np.float32).reshape(6, 10).astype(dtype)
    save_file({"table": whole, "scalar": np.ones((), dtype)}, tmp_path / "model.safetensors")
    source = SafetensorsFolder(tmp_path)
    assert source.shapes == {"table": (6, 10), "scalar": ()}
    part = source.read("table", (slice(2, 5), slice(0, 7)))
    assert part.dtype == dtype
    np.testing.assert_array_equal(part, whole[2:5, 0:7])
    assert source.read("scalar", ()) == 1


def test_shards_are_one_folder(folder, sharded):
    single, several = SafetensorsFolder(folder), SafetensorsFolder(sharded)
    assert single.shapes == several.shapes
    for name, tensor in weights(folder).items():
        index = tuple(slice(0, side) for side in tensor.shape)
        np.testing.assert_array_equal(several.read(name, index), tensor)


@pytest.mark.parametrize("kept", [0, 5, 8, 200, -1])
def test_a_truncated_file_is_found(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    refused(folder, r"model\.safetensors is damaged")


@pytest.mark.parametrize("length", [0, 3, 1 << 40, (1 << 64) - 1])
def test_a_wrong_length_of_the_header_is_found(folder, length):
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    refused(folder, r"model\.safetensors is damaged")


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b'{"a": 3}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0.0, 4.0]}}',
        b'{"a":' + b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_header_that_says_nonsense_is_found(folder, header):
    data = struct.pack("<Q", len(header)) + header + bytes(4)
    (folder / "model.safetensors").write_bytes(data)
    refused(folder, r"model\.safetensors is damaged")


def test_a_missing_shard_is_named(sharded):
    (sharded / FIRST).unlink()
    refused(sharded, rf"lacks {FIRST}")


def test_a_tensor_that_its_shard_lacks_is_named(sharded):
    files = json.loads((sharded / INDEX).read_text())["weight_map"]
    change_json(sharded / INDEX, weight_map=files | {"more.weight": FIRST})
    refused(sharded, rf"{FIRST} lacks tensor 'more\.weight'")


def test_a_tensor_in_two_shards_is_named(sharded):
    there = weights(sharded)["model.norm.weight"]
    save_file({"model.norm.weight": there}, sharded / "again.safetensors")
    files = json.loads((sharded / INDEX).read_text())["weight_map"]
    change_json(sharded / INDEX, weight_map=files | {"model.norm.weight": "again.safetensors"})
    refused(sharded, r"'model\.norm\.weight' is in .* and in ")


@pytest.mark.parametrize("file", ["../single/model.safetensors", "/etc/passwd", "..", ".", ""])
def test_an_index_stays_in_its_folder(folder, sharded, file):
    files = json.loads((sharded / INDEX).read_text())["weight_map"]
    change_json(sharded / INDEX, weight_map=files | {"model.norm.weight": file})
    refused(sharded, r"'model\.norm\.weight' into '.*', outside its folder")


@pytest.mark.parametrize(
    "index", ["{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 1}}']
)
def test_an_index_that_is_none_is_named(sharded, index):
    (sharded / INDEX).write_text(index)
    refused(sharded, r"index\.json is no index")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "last.ckpt"])
def test_what_may_hold_code_is_refused_unread(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    refused(folder, rf"{name}, which may hold code .*save_pretrained")


def test_a_folder_without_weights_is_named(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, r"has no weights")


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", "[" * 100_000])
def test_a_configuration_that_is_no_json_is_named(folder, content):
    (folder / "config.json").write_text(content)
    refused(folder, r"config\.json (can't be read as JSON|is no JSON object)")


def test_a_folder_without_a_configuration_is_named(folder):
    (folder / "config.json").unlink()
    assert not is_pretrained(folder)
    refused(folder, r"has no config\.json")


def test_quantized_weights_are_refused_by_name(folder):
    config = folder / "config.json"
    change_json(config, quantization_config=None)  # as some folders say that there are none
    open_pretrained(folder)
    change_json(config, quantization_config={"quant_method": "gptq", "bits": 4})
    refused(folder, r"quantization_config \(gptq\)")
    change_json(config, quantization_config=["?"])
    refused(folder, r"quantization_config")


@pytest.mark.parametrize(
    "fields",
    [
        {"num_attention_heads": 0, "head_dim": None},
        {"hidden_size": "16", "head_dim": None},
        {"hidden_size": None, "head_dim": None},
        {"num_hidden_layers": -1},
        {"num_hidden_layers": 2.5},
        {"vocab_size": [3]},
        {"rms_norm_eps": "small"},
        {"rope_theta": "wide"},
    ],
)
def test_a_configuration_that_makes_no_model_is_named(folder, fields):
    change_json(folder / "config.json", **fields)
    refused(folder, r"config\.json")


def test_what_a_configuration_lacks_is_named(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["hidden_size"]
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, r"config\.json lacks hidden_size, which every model of type 'llama' must have")


def test_a_name_of_a_hub_is_fetched(folder, monkeypatch, tmp_path):
    import huggingface_hub

    asked = []

    def fetched(name, *, allow_patterns):
        asked.append((name, [p for p in allow_patterns if p.endswith((".bin", ".py", "*"))]))
        return str(folder)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    assert is_pretrained("some/model") and not is_pretrained("some") and not is_pretrained("a/b/c")
    assert open_pretrained("some/model").folder == folder
    assert asked == [("some/model", [])]


def test_without_a_network_one_line_says_so(monkeypatch, tmp_path):
    import huggingface_hub

    def failing(name, *, allow_patterns):
        raise ConnectionError("no route\nto host")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", failing)
    with pytest.raises(UserError, match=r"'some/model' is no folder here.*\(no route\)"):
        open_pretrained("some/model")
