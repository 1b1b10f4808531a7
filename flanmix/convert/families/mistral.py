"""Mistral: Llama's shape, in whose first version every layer sees a window."""

from collections.abc import Mapping, Sequence
from typing import Any

from flanmix.convert.decoder_family import (
    SLIDING,
    checked,
    decoder,
    decoder_tensors,
    document,
    needed,
    refuse,
    rope_fields,
    window_fields,
)
from flanmix.convert.family import Tensor, register_family
from flanmix.model.api import ModelConfig
from flanmix.model.decoder import DecoderConfig

# `transformers` passes over the types of single layers in a Mistral, so such a model is another.
_COMPUTED = {"hidden_act": ("silu", "swish"), "layer_types": (None,)}


@register_family
class Mistral:
    """Mistral 7B and others of its type."""

    model_types = ("mistral",)
    unread = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",)

    def config(self, foreign: Mapping[str, Any]) -> DecoderConfig:
        """Returns our configuration of a `config.json`."""
        refuse(foreign, _COMPUTED)
        window = foreign.get("sliding_window", 4096)
        local = [SLIDING] * needed(foreign, "num_hidden_layers")
        return decoder(
            {"num_key_value_heads": 8, **foreign},
            mlp="swiglu",
            tied_head=foreign.get("tie_word_embeddings", False),
            **({} if window is None else window_fields(foreign, window, local)),
            **rope_fields(foreign),
        )

    def foreign_config(self, config: ModelConfig) -> dict[str, Any]:
        """Returns the `config.json` of a configuration."""
        assert isinstance(config, DecoderConfig)
        written = document(config, "mistral", "MistralForCausalLM")
        written |= {"hidden_act": "silu", "sliding_window": config.window}
        return checked(self.config, config, written)

    def tensors(self, config: ModelConfig) -> Sequence[Tensor]:
        """Returns every parameter with the tensors that hold it."""
        return decoder_tensors(config)
