"""With the same weights, the logits of transformers' T5 1.1, T5 1.0 and Llama.

The files come from scripts/make_goldens.py. Their three examples have unequal lengths; they are
compared as a padded batch, and packed into two rows.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.model.decoder import DecoderConfig
from flanmix.model.params import merge, split
from flanmix.model.positions import relative_bucket
from flanmix.model.t5 import T5Config
from tests.model.tiny import abstract_model, forward, lay_out, shift_right

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


def t5_names(relu: bool) -> dict[str, str]:
    """Our names of parameters -> theirs, where `{}` is a layer."""
    names = {"embedding/table": "shared", "head/kernel": "lm_head"}
    parts = {
        "encoder": {"attention": "0.SelfAttention", "mlp": "1.DenseReluDense"},
        "decoder": {
            "attention": "0.SelfAttention",
            "cross_attention": "1.EncDecAttention",
            "mlp": "2.DenseReluDense",
        },
    }
    for side, parts_of_a_block in parts.items():
        table = "block.0.layer.0.SelfAttention.relative_attention_bias"
        names[f"{side}_bias/table"] = f"{side}.{table}"
        names[f"{side}_norm/scale"] = f"{side}.final_layer_norm"
        for part, theirs in parts_of_a_block.items():
            block = f"{side}.block.{{}}.layer.{theirs}"
            norm = part.replace("cross_attention", "cross") + "_norm"
            names[f"{side}/{norm}/scale"] = f"{block.rpartition('.')[0]}.layer_norm"
            kernels = dict(query="q", key="k", value="v", out="o")
            if part == "mlp":
                kernels = dict(wi_0="wi" if relu else "wi_0", wi_1="wi_1", wo="wo")
            for ours, kernel in kernels.items():
                names[f"{side}/{part}/{ours}/kernel"] = f"{block}.{kernel}"
    return names


LLAMA_NAMES = {
    "embedding/table": "model.embed_tokens",
    "norm/scale": "model.norm",
    "head/kernel": "lm_head",
    "layers/attention_norm/scale": "model.layers.{}.input_layernorm",
    "layers/query/kernel": "model.layers.{}.self_attn.q_proj",
    "layers/key/kernel": "model.layers.{}.self_attn.k_proj",
    "layers/value/kernel": "model.layers.{}.self_attn.v_proj",
    "layers/out/kernel": "model.layers.{}.self_attn.o_proj",
    "layers/mlp_norm/scale": "model.layers.{}.post_attention_layernorm",
    "layers/mlp/wi_0/kernel": "model.layers.{}.mlp.gate_proj",
    "layers/mlp/wi_1/kernel": "model.layers.{}.mlp.up_proj",
    "layers/mlp/wo/kernel": "model.layers.{}.mlp.down_proj",
}


def load(config, weights, names):
    """Our model with their weights; kernels are transposed, layers stacked, and all are used."""
    used = set()
    graph, abstract, _ = split(abstract_model(config))

    def fill(path, leaf):
        ours = jax.tree_util.keystr(path, simple=True, separator="/")
        theirs = f"weights/{names[ours]}.weight"
        layers = [theirs.format(i) for i in range(leaf.shape[0])] if "{}" in theirs else [theirs]
        used.update(layers)
        arrays = [weights[name] for name in layers]
        if ours.endswith("/kernel"):
            arrays = [array.T for array in arrays]
        array = np.stack(arrays) if "{}" in theirs else arrays[0]
        assert array.shape == leaf.shape, (ours, array.shape, leaf.shape)
        return jnp.asarray(array)

    params = jax.tree.map_with_path(fill, abstract)
    assert used == {name for name in weights if name.startswith("weights/")}
    return merge(graph, params)


def read(name: str):
    golden = dict(np.load(GOLDEN / f"{name}.npz"))
    return golden, json.loads(str(golden["config"]))


def texts(tokens, lengths):
    return [row[:length] for row, length in zip(tokens, lengths, strict=True)]


def layouts(examples):
    """The examples one a row and padded, and packed in their order into two rows."""
    yield lay_out([[example] for example in examples], max(map(len, examples)))
    width = len(examples[0]) + len(examples[1]) + 3
    yield lay_out([examples[:2], examples[2:]], width)


@pytest.mark.parametrize("name", ["t5_1_1", "t5_1_0"])
def test_t5_computes_what_transformers_computes(name):
    golden, fields = read(name)
    config = T5Config(**fields)
    model = load(config, golden, t5_names(relu=config.mlp == "relu"))
    inputs = texts(golden["inputs"], golden["input_lengths"])
    targets = texts(golden["targets"], golden["target_lengths"])
    expected = np.concatenate(texts(golden["logits"], golden["target_lengths"]))
    for encoder, decoder in zip(layouts(inputs), layouts(targets), strict=True):
        batch = {"encoder_input_tokens": encoder[0], "encoder_segment_ids": encoder[1]}
        batch["decoder_input_tokens"] = shift_right(decoder[0], decoder[2])
        batch["decoder_segment_ids"] = decoder[1]
        logits = np.asarray(forward(model, batch))[decoder[1] > 0]
        np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_decoder_computes_what_llama_computes():
    golden, fields = read("llama")
    model = load(DecoderConfig(**fields), golden, LLAMA_NAMES)
    examples = texts(golden["tokens"], golden["lengths"])
    expected = np.concatenate(texts(golden["logits"], golden["lengths"]))
    for tokens, segments, positions in layouts(examples):
        batch = {"decoder_input_tokens": tokens, "decoder_segment_ids": segments}
        logits = np.asarray(forward(model, {**batch, "decoder_positions": positions}))
        np.testing.assert_allclose(logits[segments > 0], expected, atol=1e-4)


def test_buckets_of_relative_positions():
    golden, _ = read("t5_1_1")
    distance = jnp.arange(-300, 301)
    for direction, bidirectional in (("both", True), ("past", False)):
        found = relative_bucket(distance, 32, 128, bidirectional)
        np.testing.assert_array_equal(found, golden[f"buckets/{direction}"])
