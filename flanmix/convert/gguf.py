"""GGUF files of the Llama and Qwen architectures as a source of tensors, dequantized.

    config, source, write_tokenizer = open_gguf(Path("smollm2.gguf"))
    config["model_type"], config["hidden_size"]                   -> "llama", 576
    source.read("model.layers.0.self_attn.q_proj.weight", index)  -> f32, as transformers has it
    write_tokenizer(folder)                                       # tokenizer.json and its settings

Reading and dequantizing are the `gguf` library's. GGUF's Llama keeps the rows of its query and key
projections in another order, two halves of each head interleaved for its own rotation; it is undone
here. Every tensor's extent is held against the file's size before anything is read.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flanmix.convert.gguf_tokenizer import write_tokenizer
from flanmix.convert.source import Index
from flanmix.errors import UserError, nearest

# GGUF's architecture -> whether the rows of q and k are interleaved.
_INTERLEAVED = {"llama": True, "qwen2": False, "qwen3": False}
_MAGIC = b"GGUF"
_LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
_OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_INSIDE = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Tables that are computed here from the configuration.
_UNREAD = {"rope_freqs.weight"}

Opened = tuple[dict[str, Any], "GGUFSource", Callable[[Path], None]]


def open_gguf(path: Path) -> Opened:
    """Opens a GGUF file.

    Returns:
        The `config.json` that the file amounts to; its tensors; and what writes its tokenizer's
        files into a folder.

    Raises:
        UserError: it is no GGUF file or is cut off, or its architecture or tokenizer is none that
            can be read.
    """
    reader, said = _reader(path)
    architecture = said.get("general.architecture")
    if architecture not in _INTERLEAVED:
        raise UserError(
            f"{path}: architecture {architecture!r} can't be read"
            f"{nearest(str(architecture), _INTERLEAVED)}; known: {', '.join(_INTERLEAVED)}"
        )
    try:
        source = GGUFSource(path, reader, said, interleaved=_INTERLEAVED[architecture])
        config = _config(said, architecture, source.shapes)
    except KeyError as error:
        raise UserError(f"{path} lacks {error} in its header") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"{path}: its header makes no model: {error}") from None
    return config, source, lambda folder: write_tokenizer(folder, said, path)


def _reader(path: Path) -> tuple[Any, dict[str, Any]]:
    """The library's reader of a file, and what the file's header says."""
    from gguf import GGUFReader
    from gguf.constants import GGML_QUANT_SIZES

    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from None
    if start[:4] != _MAGIC:
        raise UserError(f"{path} is no GGUF file")
    if int.from_bytes(start[4:8], "little") > 1 << 16:
        raise UserError(f"{path} is a big-endian GGUF file: convert it to little-endian first")
    size = path.stat().st_size
    try:
        reader = GGUFReader(path)
        for tensor in reader.tensors:
            block, block_bytes = GGML_QUANT_SIZES[tensor.tensor_type]
            if tensor.data_offset + tensor.n_elements // block * block_bytes > size:
                raise ValueError(f"tensor '{tensor.name}' ends behind the file's end")
        said = {name: field.contents() for name, field in reader.fields.items()}
    except Exception as error:  # of whatever it stumbles on in a file that is cut off
        reason = str(error) or type(error).__name__
        raise UserError(f"{path} is cut off or damaged: {reason}; fetch it again") from None
    return reader, said


def _config(
    said: Mapping[str, Any], architecture: str, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """The `config.json` of a header."""

    def own(name: str, default: Any = None) -> Any:
        key = f"{architecture}.{name}"
        return said[key] if default is None else said.get(key, default)

    heads = own("attention.head_count")
    config = {
        "model_type": architecture,
        "vocab_size": shapes["model.embed_tokens.weight"][0],
        "hidden_size": own("embedding_length"),
        "intermediate_size": own("feed_forward_length"),
        "num_hidden_layers": own("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": own("attention.head_count_kv", heads),
        "head_dim": own("attention.key_length", own("embedding_length") // heads),
        "hidden_act": "silu",
        "max_position_embeddings": own("context_length"),
        # Kept as f32 in the file, and written in decimals elsewhere.
        "rms_norm_eps": float(f"{own('attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": float(own("rope.freq_base", 10000.0)),
        "tie_word_embeddings": "lm_head.weight" not in shapes,
        "torch_dtype": "float32",
    }
    ids = {
        role: said.get(f"tokenizer.ggml.{key}_token_id")
        for role, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))
    }
    config |= {f"{role}_token_id": number for role, number in ids.items() if number is not None}
    return config | _scaling(said, architecture)


def _scaling(said: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    kind = said.get(f"{architecture}.rope.scaling.type", "none")
    if kind == "none":
        return {}
    if kind != "linear":
        raise UserError(f"the header says rope.scaling.type {kind!r}, which can't be read: linear")
    return {"rope_scaling": {"type": kind, "factor": said[f"{architecture}.rope.scaling.factor"]}}


class GGUFSource:
    """The tensors of a GGUF file, by the names of transformers' safetensors.

    Args:
        path: the file.
        reader: its reader.
        said: its header.
        interleaved: whether the rows of q and k are interleaved.

    Raises:
        UserError: a tensor that this architecture does not have, or of a type that is not read.
    """

    def __init__(
        self, path: Path, reader: Any, said: Mapping[str, Any], *, interleaved: bool
    ) -> None:
        self.place = str(path)
        self._tensors = {_name(path, t.name): t for t in reader.tensors if t.name not in _UNREAD}
        if interleaved and any(t.name in _UNREAD for t in reader.tensors):
            raise UserError(
                f"{path} scales its rotation by a table (rope_freqs), which is not read"
            )
        # GGUF counts dimensions from the fastest.
        self.shapes: Mapping[str, tuple[int, ...]] = {
            name: tuple(int(side) for side in reversed(tensor.shape))
            for name, tensor in self._tensors.items()
        }
        heads = said[f"{said['general.architecture']}.attention.head_count"]
        kv_heads = said.get(f"{said['general.architecture']}.attention.head_count_kv", heads)
        self._heads = {"q_proj": heads, "k_proj": kv_heads} if interleaved else {}
        self._last: tuple[str, np.ndarray] | None = None  # dequantized, for the next part of it

    def read(self, name: str, index: Index) -> np.ndarray:
        """Returns a part of a tensor, in f32."""
        if self._last is None or self._last[0] != name:
            self._last = name, self._whole(name)
        return self._last[1][index]

    def _whole(self, name: str) -> np.ndarray:
        from gguf.quants import dequantize

        tensor = self._tensors[name]
        try:
            whole = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        except NotImplementedError as error:
            raise UserError(
                f"{self.place}: tensor '{name}' can't be dequantized: {error}"
            ) from None
        whole = whole.reshape(self.shapes[name])
        heads = self._heads.get(name.split(".")[-2])
        if heads is None:
            return whole
        apart = whole.reshape(heads, -1, 2, *whole.shape[1:])  # pairs (i, i + half) side by side
        return apart.swapaxes(1, 2).reshape(whole.shape)


def _name(path: Path, name: str) -> str:
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    found = _LAYER.fullmatch(name)
    if found is None or found[2] not in _INSIDE:
        raise UserError(f"{path} has tensor '{name}', which models of its architecture do not have")
    return f"model.layers.{found[1]}.{_INSIDE[found[2]]}.{found[3]}"
