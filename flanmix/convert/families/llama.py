"""Llama 2 and 3, and those that share its shape, such as SmolLM2."""

from collections.abc import Mapping, Sequence
from typing import Any

from flanmix.convert.decoder_family import (
    checked,
    decoder,
    decoder_tensors,
    document,
    refuse,
    rope_fields,
)
from flanmix.convert.family import Tensor, register_family
from flanmix.model.api import ModelConfig
from flanmix.model.decoder import DecoderConfig

_COMPUTED = {
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "rope_interleaved": (False, None),
}


@register_family
class Llama:
    """Llama 2 and 3, SmolLM2."""

    model_types = ("llama",)
    unread = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",)

    def config(self, foreign: Mapping[str, Any]) -> DecoderConfig:
        """Returns our configuration of a `config.json`."""
        refuse(foreign, _COMPUTED)
        tied = foreign.get("tie_word_embeddings", False)
        return decoder(foreign, mlp="swiglu", tied_head=tied, **rope_fields(foreign))

    def foreign_config(self, config: ModelConfig) -> dict[str, Any]:
        """Returns the `config.json` of a configuration."""
        assert isinstance(config, DecoderConfig)
        written = document(config, "llama", "LlamaForCausalLM") | {"hidden_act": "silu"}
        return checked(self.config, config, written)

    def tensors(self, config: ModelConfig) -> Sequence[Tensor]:
        """Returns every parameter with the tensors that hold it."""
        return decoder_tensors(config)
