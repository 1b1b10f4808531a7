"""Qwen 2 and 2.5, whose queries, keys and values have biases, and Qwen 3, with norms of heads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flanmix.convert.decoder_family import (
    FULL,
    SLIDING,
    checked,
    decoder,
    decoder_tensors,
    document,
    layer_types,
    needed,
    refuse,
    rope_fields,
    window_fields,
)
from flanmix.convert.family import Tensor, register_family
from flanmix.model.api import ModelConfig
from flanmix.model.decoder import DecoderConfig


def _config(foreign: Mapping[str, Any], **fields: Any) -> DecoderConfig:
    refuse(foreign, {"hidden_act": ("silu", "swish")})
    layers = needed(foreign, "num_hidden_layers")
    window = foreign.get("sliding_window", 4096) if foreign.get("use_sliding_window") else None
    first = layers if window is None else foreign.get("max_window_layers", 28)
    types = [SLIDING if layer >= first else FULL for layer in range(layers)]
    return decoder(
        foreign,
        mlp="swiglu",
        tied_head=foreign.get("tie_word_embeddings", False),
        **window_fields(foreign, window, types),
        **rope_fields(foreign),
        **fields,
    )


def _foreign(
    read: Callable[[Mapping[str, Any]], DecoderConfig],
    config: ModelConfig,
    model_type: str,
    architecture: str,
) -> dict[str, Any]:
    assert isinstance(config, DecoderConfig)
    written = document(config, model_type, architecture)
    written |= {"hidden_act": "silu", "layer_types": layer_types(config)}
    windows = config.window is not None
    written |= {"use_sliding_window": windows, "sliding_window": config.window}
    return checked(read, config, written)


@register_family
class Qwen2:
    """Qwen 2 and 2.5."""

    model_types = ("qwen2",)
    unread = ()

    def config(self, foreign: Mapping[str, Any]) -> DecoderConfig:
        """Returns our configuration of a `config.json`."""
        return _config(foreign, qkv_bias=True)

    def foreign_config(self, config: ModelConfig) -> dict[str, Any]:
        """Returns the `config.json` of a configuration."""
        return _foreign(self.config, config, "qwen2", "Qwen2ForCausalLM")

    def tensors(self, config: ModelConfig) -> Sequence[Tensor]:
        """Returns every parameter with the tensors that hold it."""
        return decoder_tensors(config)


@register_family
class Qwen3:
    """Qwen 3, the dense models."""

    model_types = ("qwen3",)
    unread = ()

    def config(self, foreign: Mapping[str, Any]) -> DecoderConfig:
        """Returns our configuration of a `config.json`."""
        refuse(foreign, {"attention_bias": (False, None)})
        return _config({"head_dim": 128, **foreign}, qk_norm=True)

    def foreign_config(self, config: ModelConfig) -> dict[str, Any]:
        """Returns the `config.json` of a configuration."""
        return _foreign(self.config, config, "qwen3", "Qwen3ForCausalLM")

    def tensors(self, config: ModelConfig) -> Sequence[Tensor]:
        """Returns every parameter with the tensors that hold it."""
        return decoder_tensors(config)
