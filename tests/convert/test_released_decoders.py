"""Released decoders by the `config.json` that they came with: parameters and names, no weights."""

import pytest

import flanmix.convert.families  # noqa: F401  # registers them
from flanmix.convert.family import family_of
from flanmix.model.decoder import DecoderConfig
from tests.convert.tensors import foreign_shapes
from tests.model.test_sharding import GIN_MODELS, read_gin

LLAMA = {"model_type": "llama", "rms_norm_eps": 1e-5, "hidden_act": "silu"}
LLAMA3 = LLAMA | {"vocab_size": 128256, "num_key_value_heads": 8, "rope_theta": 500000.0}
TURNS = {
    "rope_type": "llama3",
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
SMOLLM2 = LLAMA | {"vocab_size": 49152, "tie_word_embeddings": True, "rope_theta": 100000}
QWEN = {
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "rope_theta": 1000000.0,
    "use_sliding_window": False,
}
QWEN2 = QWEN | {"model_type": "qwen2", "sliding_window": 32768}
QWEN3 = QWEN | {"model_type": "qwen3", "vocab_size": 151936, "rope_scaling": None, "head_dim": 128}
MISTRAL = {"model_type": "mistral", "rms_norm_eps": 1e-5, "hidden_act": "silu"}
GEMMA2 = {
    "model_type": "gemma2",
    "vocab_size": 256000,
    "hidden_activation": "gelu_pytorch_tanh",
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "rope_theta": 10000.0,
    "sliding_window": 4096,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "attention_bias": False,
}
GEMMA3 = {
    "model_type": "gemma3_text",
    "hidden_activation": "gelu_pytorch_tanh",
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "rope_theta": 1000000,
    "rope_local_base_freq": 10000,
    "sliding_window_pattern": 6,
}
GLOBAL_OF_26 = (5, 11, 17, 23)


def sizes(width, inner, layers, heads, shared=None, **more):
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    found = dict(zip(names, (width, inner, layers, heads), strict=True)) | more
    return found if shared is None else found | {"num_key_value_heads": shared}


# name -> (config.json, parameters, tensors)
RELEASED = {
    "Llama 2 7B": (
        LLAMA | sizes(4096, 11008, 32, 32, 32, vocab_size=32000),
        6_738_415_616,
        291,
    ),
    "Llama 3.1 8B": (
        LLAMA3 | sizes(4096, 14336, 32, 32, rope_scaling=TURNS | {"factor": 8.0}),
        8_030_261_248,
        291,
    ),
    "Llama 3.2 1B": (
        LLAMA3
        | sizes(2048, 8192, 16, 32, head_dim=64, rope_scaling=TURNS | {"factor": 32.0})
        | {"tie_word_embeddings": True},
        1_235_814_400,
        146,
    ),
    "Llama 3.2 3B": (
        LLAMA3
        | sizes(3072, 8192, 28, 24, head_dim=128, rope_scaling=TURNS | {"factor": 32.0})
        | {"tie_word_embeddings": True},
        3_212_749_824,
        254,
    ),
    "SmolLM2 135M": (SMOLLM2 | sizes(576, 1536, 30, 9, 3), 134_515_008, 272),
    "SmolLM2 360M": (SMOLLM2 | sizes(960, 2560, 32, 15, 5), 361_821_120, 290),
    "SmolLM2 1.7B": (
        SMOLLM2 | sizes(2048, 8192, 24, 32, 32, rope_theta=130000),
        1_711_376_384,
        218,
    ),
    "Qwen2.5 0.5B": (
        QWEN2
        | sizes(896, 4864, 24, 14, 2, vocab_size=151936, max_window_layers=24)
        | {"tie_word_embeddings": True},
        494_032_768,
        290,
    ),
    "Qwen2.5 7B": (
        QWEN2 | sizes(3584, 18944, 28, 28, 4, vocab_size=152064, max_window_layers=28),
        7_615_616_512,
        339,
    ),
    "Qwen3 0.6B": (
        QWEN3 | sizes(1024, 3072, 28, 16, 8, tie_word_embeddings=True),
        596_049_920,
        310,
    ),
    "Qwen3 8B": (QWEN3 | sizes(4096, 12288, 36, 32, 8), 8_190_735_360, 399),
    "Mistral 7B v0.1": (
        MISTRAL | sizes(4096, 14336, 32, 32, 8, vocab_size=32000, sliding_window=4096),
        7_241_732_096,
        291,
    ),
    "Mistral 7B v0.3": (
        MISTRAL
        | sizes(4096, 14336, 32, 32, 8, vocab_size=32768, sliding_window=None)
        | {"rope_theta": 1000000.0},
        7_248_023_552,
        291,
    ),
    "Gemma 2 2B": (GEMMA2 | sizes(2304, 9216, 26, 8, 4), 2_614_341_888, 288),
    "Gemma 2 9B": (GEMMA2 | sizes(3584, 14336, 42, 16, 8), 9_241_705_984, 464),
    "Gemma 3 1B": (
        GEMMA3 | sizes(1152, 6912, 26, 4, 1, vocab_size=262144, sliding_window=512),
        999_885_952,
        340,
    ),
    "Gemma 3 4B": (
        GEMMA3
        | sizes(2560, 10240, 34, 8, 4, vocab_size=262208, sliding_window=1024)
        | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        3_880_263_168,
        444,
    ),
}


def config_of(name: str) -> DecoderConfig:
    foreign = RELEASED[name][0]
    return family_of(foreign).config(foreign)


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_model_has_its_parameters_and_tensors(name):
    foreign, parameters, tensors = RELEASED[name]
    shapes = foreign_shapes(family_of(foreign), config_of(name))
    assert len(shapes) == tensors
    count = 0
    for shape in shapes.values():
        count += shape[0] * (shape[1] if len(shape) > 1 else 1)
    assert count == parameters


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_models_configuration_comes_back(name):
    family, config = family_of(RELEASED[name][0]), config_of(name)
    assert family.config(family.foreign_config(config)) == config


def test_what_a_released_model_computes():
    """A few that the weights' shapes do not show."""
    llama = config_of("Llama 3.2 1B")
    assert (llama.rope_scaling, llama.rope_factor, llama.rope_length) == ("llama3", 32.0, 8192)
    assert config_of("Mistral 7B v0.1").window == 4096
    assert config_of("Mistral 7B v0.3").window is None
    assert config_of("Qwen2.5 7B").window is None
    gemma2 = config_of("Gemma 2 9B")
    assert (gemma2.window_pattern, gemma2.attention_cap, gemma2.logit_cap) == ("lg", 50.0, 30.0)
    gemma3 = config_of("Gemma 3 1B")
    kinds = gemma3.kinds()
    assert tuple(layer for layer in range(26) if not kinds[layer]) == GLOBAL_OF_26
    assert (gemma3.rope_theta, gemma3.local_rope_theta) == (1e6, 1e4)
    assert (gemma3.window, gemma3.attention_cap, gemma3.rope_scaling) == (512, None, "none")
    assert config_of("Gemma 3 4B").rope_scaling == "linear"


def test_the_gin_file_of_llama_is_the_released_model():
    assert read_gin(GIN_MODELS / "decoder_1b.gin")[0] == config_of("Llama 3.2 1B")
