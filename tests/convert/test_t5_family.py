"""The T5 families: every released size by its shapes, and what no T5 of ours is."""

import math

import pytest

import flanmix.convert.families  # noqa: F401  # registers them
from flanmix.convert.family import FAMILIES, family_of
from flanmix.errors import UserError
from flanmix.model.t5 import T5Config
from tests.convert.tensors import foreign_shapes

UNTIED = {"tie_word_embeddings": False, "decoder_start_token_id": 0}
V1_1 = {"model_type": "t5", "vocab_size": 32128, "feed_forward_proj": "gated-gelu", **UNTIED}
V1_0 = {"model_type": "t5", "vocab_size": 32128, "decoder_start_token_id": 0}
UL2 = {**V1_1, "feed_forward_proj": "gated-silu", "is_gated_act": True, "dense_act_fn": "silu"}
MT5 = {"model_type": "mt5", "vocab_size": 250112, "feed_forward_proj": "gated-gelu", **UNTIED}
UMT5 = {**MT5, "model_type": "umt5", "vocab_size": 256384, "scalable_attention": True}
BYT5 = {**V1_1, "vocab_size": 384}


def sizes(d_model, d_kv, d_ff, heads, layers, decoder_layers=None):
    named = dict(d_model=d_model, d_kv=d_kv, d_ff=d_ff, num_heads=heads, num_layers=layers)
    return {**named, "num_decoder_layers": decoder_layers or layers}


SMALL, BASE, LARGE = (512, 64, 1024, 6, 8), (768, 64, 2048, 12, 12), (1024, 64, 2816, 16, 24)
XL, XXL = (2048, 64, 5120, 32, 24), (4096, 64, 10240, 64, 24)
# name of the release -> its config.json, parameters, tensors
RELEASED = {
    "t5-small": (V1_0 | sizes(512, 64, 2048, 8, 6), 60_506_624, 131),
    "t5-base": (V1_0 | sizes(768, 64, 3072, 12, 12), 222_903_552, 257),
    "t5-large": (V1_0 | sizes(1024, 64, 4096, 16, 24), 737_668_096, 509),
    "t5-3b": (V1_0 | sizes(1024, 128, 16384, 32, 24), 2_851_598_336, 509),
    "t5-11b": (V1_0 | sizes(1024, 128, 65536, 128, 24), 11_307_321_344, 509),
    "flan-t5-small": (V1_1 | sizes(*SMALL), 76_961_152, 190),
    "flan-t5-base": (V1_1 | sizes(*BASE), 247_577_856, 282),
    "flan-t5-large": (V1_1 | sizes(*LARGE), 783_150_080, 558),
    "flan-t5-xl": (V1_1 | sizes(*XL), 2_849_757_184, 558),
    "flan-t5-xxl": (V1_1 | sizes(*XXL), 11_135_332_352, 558),
    "ul2": (UL2 | sizes(4096, 256, 16384, 16, 32), 19_591_209_984, 742),
    "mt5-small": (MT5 | sizes(*SMALL), 300_176_768, 190),
    "mt5-base": (MT5 | sizes(*BASE), 582_401_280, 282),
    "mt5-large": (MT5 | sizes(*LARGE), 1_229_581_312, 558),
    "mt5-xl": (MT5 | sizes(*XL), 3_742_619_648, 558),
    "mt5-xxl": (MT5 | sizes(*XXL), 12_921_057_280, 558),
    "umt5-small": (UMT5 | sizes(*SMALL), 306_601_984, 204),
    "umt5-base": (UMT5 | sizes(*BASE), 592_043_520, 304),
    "umt5-xl": (UMT5 | sizes(*XL), 3_768_356_864, 604),
    "byt5-small": (BYT5 | sizes(1472, 64, 3584, 6, 12, 4), 299_637_760, 170),
    "byt5-base": (BYT5 | sizes(1536, 64, 3968, 12, 18, 6), 581_653_248, 252),
    "byt5-large": (BYT5 | sizes(1536, 64, 3840, 16, 36, 12), 1_228_183_552, 498),
    "byt5-xl": (BYT5 | sizes(2560, 64, 6720, 32, 36, 12), 3_737_801_728, 498),
    "byt5-xxl": (BYT5 | sizes(4672, 64, 12352, 64, 36, 12), 12_906_899_328, 498),
}


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_size_has_its_parameters_and_tensors(name):
    foreign, parameters, tensors = RELEASED[name]
    family = family_of(foreign)
    shapes = foreign_shapes(family, family.config(foreign))
    assert len(shapes) == tensors
    assert sum(map(math.prod, shapes.values())) == parameters
    width, inner = foreign["d_model"], foreign["num_heads"] * foreign["d_kv"]
    block = f"decoder.block.{foreign['num_decoder_layers'] - 1}.layer."
    assert shapes["shared.weight"] == (foreign["vocab_size"], width)
    assert shapes[f"{block}1.EncDecAttention.q.weight"] == (inner, width)
    assert shapes[f"{block}2.DenseReluDense.wo.weight"] == (width, foreign["d_ff"])
    table = "layer.0.SelfAttention.relative_attention_bias.weight"
    assert shapes[f"encoder.block.0.{table}"] == (32, foreign["num_heads"])
    assert (f"encoder.block.1.{table}" in shapes) == name.startswith("umt5")
    assert ("lm_head.weight" in shapes) == (not name.startswith("t5-"))


TINY = V1_1 | sizes(16, 4, 24, 3, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_kv": None}, r"lacks d_kv"),
        ({"num_layers": None}, r"lacks num_layers"),
        ({"feed_forward_proj": "gelu"}, r"feed_forward_proj is 'gelu'.*known: relu, gated-gelu"),
        ({"feed_forward_proj": "gated-relu"}, r"feed_forward_proj is 'gated-relu'"),
        ({"dense_act_fn": "gelu"}, r"dense_act_fn is 'gelu', and by feed_forward_proj"),
        ({"is_gated_act": False}, r"is_gated_act is False"),
        ({"decoder_start_token_id": 2}, r"decoder_start_token_id is 2, .* only where it is 0"),
        ({"architectures": ["T5EncoderModel"]}, r"architectures is \['T5EncoderModel'\]"),
        ({"is_encoder_decoder": False}, r"is_encoder_decoder is False"),
        ({"tie_encoder_decoder": True}, r"tie_encoder_decoder is True"),
        ({"quantization_config": {"bits": 4}}, r"quantization_config is .* only without it"),
        ({"relative_attention_num_buckets": 6}, r"num_buckets is 6"),
        ({"d_ff": 0}, r"d_ff is 0"),
    ],
)
def test_what_our_model_does_not_do_is_named(changes, message):
    FAMILIES["T5"].config(TINY)
    with pytest.raises(UserError, match=message):
        FAMILIES["T5"].config(TINY | changes)


def test_a_head_is_tied_where_it_scales_its_input():
    """transformers 5 writes tie_word_embeddings = true whether the head is tied or not."""
    saved = {"tie_word_embeddings": True, "scale_decoder_outputs": False}
    for name in ("T5", "UMT5"):
        family = FAMILIES[name]
        assert not family.config(TINY | {"tie_word_embeddings": False}).tied_head
        assert not family.config(TINY | saved).tied_head
        assert family.config(TINY | {"tie_word_embeddings": None}).tied_head
        assert family.config(TINY | saved | {"scale_decoder_outputs": True}).tied_head
    assert not FAMILIES["MT5"].config(TINY | {"tie_word_embeddings": True}).tied_head


def test_layers_of_the_decoder_are_the_encoders_where_nothing_is_said():
    assert FAMILIES["T5"].config(TINY | {"num_decoder_layers": None}).num_decoder_layers == 2
    assert FAMILIES["T5"].config(TINY | {"num_decoder_layers": 1}).num_decoder_layers == 1


def test_the_rate_of_dropout_is_the_folders():
    assert FAMILIES["T5"].config(TINY).dropout_rate == T5Config().dropout_rate
    assert FAMILIES["T5"].config(TINY | {"dropout_rate": 0.05}).dropout_rate == 0.05


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("T5", {"bias_per_layer": True}, r"bias_per_layer is True, .*'t5' it is False"),
        ("UMT5", {}, r"bias_per_layer is False, .*'umt5' it is True"),
        ("MT5", {"tied_head": True}, r"tied_head is True, .*'mt5'"),
    ],
)
def test_what_a_family_cannot_write_is_named(name, fields, message):
    with pytest.raises(UserError, match=message):
        FAMILIES[name].foreign_config(T5Config(**fields))
