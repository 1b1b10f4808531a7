"""Tiny GGUF files, written by the `gguf` library."""

import json
from pathlib import Path

import numpy as np

from tests.data.tokenizers import CHAT, byte_level

SHAPE = {"width": 32, "inner": 64, "heads": 4, "kv_heads": 2, "layers": 2}
OTHER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def tensors(vocab_size: int, biases: bool = False) -> dict[str, np.ndarray]:
    """Random tensors by the names of GGUF."""
    width, inner = SHAPE["width"], SHAPE["inner"]
    kv = width // SHAPE["heads"] * SHAPE["kv_heads"]
    shapes = {"token_embd.weight": (vocab_size, width), "output_norm.weight": (width,)}
    for layer in range(SHAPE["layers"]):
        inside = {
            "attn_q.weight": (width, width),
            "attn_k.weight": (kv, width),
            "attn_v.weight": (kv, width),
            "attn_output.weight": (width, width),
            "ffn_gate.weight": (inner, width),
            "ffn_up.weight": (inner, width),
            "ffn_down.weight": (width, inner),
            "attn_norm.weight": (width,),
            "ffn_norm.weight": (width,),
        }
        if biases:
            inside |= {"attn_q.bias": (width,), "attn_k.bias": (kv,), "attn_v.bias": (kv,)}
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in inside.items()}
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}


def interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """A Llama's query or key rows in GGUF's order: row i of a head beside row i + half."""
    halves = rows.reshape(heads, 2, -1, rows.shape[-1])
    return np.stack([halves[:, 0], halves[:, 1]], axis=2).reshape(rows.shape)


def write_gguf(
    path: Path,
    architecture: str,
    held: dict[str, np.ndarray],
    *,
    quantized: str = "F32",
    rule: str = "smollm",
    model: str = "gpt2",
) -> Path:
    """Writes a file with a byte-level tokenizer; matrices of the type that is named."""
    from gguf import GGMLQuantizationType, GGUFWriter, TokenType
    from gguf.quants import quantize

    writer = GGUFWriter(path, architecture)
    writer.add_block_count(SHAPE["layers"])
    writer.add_context_length(96)
    writer.add_embedding_length(SHAPE["width"])
    writer.add_feed_forward_length(SHAPE["inner"])
    writer.add_head_count(SHAPE["heads"])
    writer.add_head_count_kv(SHAPE["kv_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100000.0)
    document = json.loads((byte_level(path.parent / "made") / "tokenizer.json").read_text())
    pieces = document["model"]["vocab"] | {t["content"]: t["id"] for t in document["added_tokens"]}
    control = {t["content"] for t in document["added_tokens"] if t["special"]}
    defined = {t["content"] for t in document["added_tokens"]} - control
    tokens = sorted(pieces, key=pieces.__getitem__)
    types = [
        TokenType.CONTROL if token in control else TokenType.USER_DEFINED if token in defined else 1
        for token in tokens
    ]
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in document["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHAT)
    kind = GGMLQuantizationType[quantized]
    for name, tensor in held.items():
        if tensor.ndim == 1 or quantized == "F32":
            writer.add_tensor(name, tensor)
        else:
            writer.add_tensor(name, quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def expected(held: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same tensors by the names of transformers."""
    found = {
        "model.embed_tokens.weight": held["token_embd.weight"],
        "model.norm.weight": held["output_norm.weight"],
    }
    for name, tensor in held.items():
        if name.startswith("blk."):
            _, layer, kind, part = name.split(".")
            found[f"model.layers.{layer}.{OTHER_NAMES[kind]}.{part}"] = tensor
    return found
