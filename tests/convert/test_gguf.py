"""GGUF files: their tensors, configuration and tokenizer, and what is wrong with them."""

import json
import struct

import numpy as np
import pytest

from flanmix import cli
from flanmix.convert.folder import pretrained_of
from flanmix.convert.gguf import open_gguf
from flanmix.convert.gguf_tokenizer import write_tokenizer
from flanmix.data.vocabulary import load_vocabulary
from flanmix.errors import UserError
from flanmix.learn.checkpoint import open_checkpoint
from flanmix.model.api import Compute
from tests.convert.gguf_files import SHAPE, expected, interleaved, tensors, write_gguf
from tests.data.tokenizers import CHAT, TEXTS
from tests.train.training import one_error

ROWS = 310  # at least the tokens of the tiny tokenizer


def llama(held):
    """Tensors as a Llama's file has them."""
    heads = {"attn_q.weight": SHAPE["heads"], "attn_k.weight": SHAPE["kv_heads"]}
    return {
        name: interleaved(tensor, heads[kind])
        if (kind := name.split(".", 2)[-1]) in heads
        else tensor
        for name, tensor in held.items()
    }


@pytest.fixture(scope="module")
def held():
    return tensors(ROWS)


@pytest.fixture(scope="module")
def path(tmp_path_factory, held):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", "llama", llama(held))


def test_a_llamas_tensors_are_those_of_transformers(path, held):
    config, source, _ = open_gguf(path)
    wanted = expected(held)
    assert source.shapes == {name: tensor.shape for name, tensor in wanted.items()}
    for name, tensor in wanted.items():
        index = tuple(slice(0, side) for side in tensor.shape)
        np.testing.assert_array_equal(source.read(name, index), tensor)
    found = pretrained_of({"config": config}, source, None)
    assert found.config.rope_theta == 1e5 and found.config.norm_epsilon == 1e-5
    assert found.config.tied_head and found.config.num_kv_heads == 2
    key = found.params(Compute())["layers"]["key"]["kernel"][1]
    np.testing.assert_array_equal(key, wanted["model.layers.1.self_attn.k_proj.weight"].T)
    assert config["eos_token_id"] == 2 and config["max_position_embeddings"] == 96


def test_a_qwens_rows_stay_in_order_and_its_biases_have_names(tmp_path):
    held = tensors(ROWS, biases=True)
    config, source, _ = open_gguf(write_gguf(tmp_path / "q.gguf", "qwen2", held, rule="qwen2"))
    assert config["model_type"] == "qwen2"
    wanted = expected(held)
    for name, tensor in wanted.items():
        index = tuple(slice(0, side) for side in tensor.shape)
        np.testing.assert_array_equal(source.read(name, index), tensor)
    assert "model.layers.0.self_attn.q_proj.bias" in source.shapes


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0"])
def test_what_is_quantized_is_dequantized(tmp_path, kind):
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    held = tensors(ROWS)
    _, source, _ = open_gguf(write_gguf(tmp_path / "q.gguf", "llama", llama(held), quantized=kind))
    # Blocks lie within rows, so what their order is makes no difference.
    number = GGMLQuantizationType[kind]
    for name, tensor in expected(held).items():
        index = tuple(slice(0, side) for side in tensor.shape)
        wanted = tensor
        if tensor.ndim == 2:
            wanted = dequantize(quantize(tensor, number), number).reshape(tensor.shape)
        np.testing.assert_array_equal(source.read(name, index), wanted)


def test_the_tokenizer_is_in_the_file(path, tmp_path):
    write = open_gguf(path)[2]
    write(tmp_path)
    here, there = load_vocabulary(str(tmp_path)), load_vocabulary(str(path.parent / "made"))
    for text in [text for text in TEXTS if "12" not in text]:
        assert here.encode(text) == there.encode(text)
    assert here.decode(here.encode("a 123 cat\n\n")) == "a 123 cat\n\n"
    assert here.special_tokens["<|im_end|>"] == 2 and 2 not in here.encode("<|im_end|>")
    assert here.end_ids == (2,) and here.size == there.size
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["chat_template"] == CHAT


def test_a_file_becomes_a_checkpoint(path, held, tmp_path, capsys):
    assert cli.main(["convert", "from-gguf", str(path), str(tmp_path / "model")]) == 0
    opened = open_checkpoint(tmp_path / "model")
    np.testing.assert_array_equal(opened.params["embedding"]["table"], held["token_embd.weight"])
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    ask = ["--prompt", "the cat", "--max_new_tokens", "2"]
    assert cli.main(["generate", "--checkpoint", str(tmp_path / "model"), *ask]) == 0
    assert cli.main(["convert", "to-hf", str(tmp_path / "model"), str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "tokenizer.json").is_file()


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.02, 0.3, 0.9, 0.99999])
def test_a_file_that_is_cut_off_is_one_line(path, tmp_path, capsys, share):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert cli.main(["convert", "from-gguf", str(cut), str(tmp_path / "model")]) == 2
    error = one_error(capsys.readouterr())
    assert str(cut) in error and ("cut off" in error or "no GGUF file" in error)
    assert [p.name for p in tmp_path.iterdir()] == ["cut.gguf"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"architecture": "mamba"}, r"architecture 'mamba' can't be read.*known: llama"),
        ({"rule": "gpt-4o"}, r"by the rule 'gpt-4o', which is not known"),
        ({"model": "llama"}, r"tokenizer is of kind 'llama', which can't be written exactly"),
        ({"more": "blk.0.attn_sinks.weight"}, r"has tensor 'blk\.0\.attn_sinks\.weight'"),
        ({"more": "rope_freqs.weight"}, r"rope_freqs"),
    ],
)
def test_what_cannot_be_read_exactly_is_refused(held, tmp_path, options, match):
    held = dict(held)
    if more := options.pop("more", None):
        held[more] = np.ones(4, np.float32)
    path = write_gguf(tmp_path / "odd.gguf", options.pop("architecture", "llama"), held, **options)
    with pytest.raises(UserError, match=match):
        open_gguf(path)[2](tmp_path)


def test_another_byte_order_is_named(path, tmp_path):
    big = tmp_path / "big.gguf"
    big.write_bytes(b"GGUF" + struct.pack(">I", 3) + path.read_bytes()[8:])
    with pytest.raises(UserError, match="big-endian"):
        open_gguf(big)
    with pytest.raises(UserError, match="can't be read"):
        open_gguf(tmp_path / "gone.gguf")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"tokenizer.ggml.merges", b"tokenizer.ggml.MERGES", r"lacks 'tokenizer\.ggml\.merges'"),
        (b"llama.block_count", b"llama.BLOCK_COUNT", r"lacks 'llama\.block_count'"),
        (b"<|im_end|>", b"<|im_\xff\xfe|>", r"cut off or damaged"),
    ],
)
def test_a_header_that_is_damaged_is_one_line(path, tmp_path, old, new, match):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(UserError, match=match):
        open_gguf(damaged)[2](tmp_path)


def test_a_merge_of_no_token_is_one_line(tmp_path):
    said = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": ["a", "b", "ab"],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.eos_token_id": 2,
    }
    write_tokenizer(tmp_path, said, tmp_path / "x.gguf")
    with pytest.raises(UserError, match="makes no tokenizer"):
        write_tokenizer(tmp_path, said | {"tokenizer.ggml.merges": ["a c"]}, tmp_path / "x.gguf")
    with pytest.raises(UserError, match="token 3 is special"):
        write_tokenizer(tmp_path, said | {"tokenizer.ggml.eos_token_id": 3}, tmp_path / "x.gguf")
