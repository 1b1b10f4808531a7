"""Gemma 2 and the text models of Gemma 3: norms on both sides, windows in most layers."""

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
from flanmix.errors import UserError
from flanmix.model.api import ModelConfig
from flanmix.model.decoder import DecoderConfig

_COMPUTED = {
    "hidden_activation": ("gelu_pytorch_tanh", None),
    "attention_bias": (False, None),
    "use_bidirectional_attention": (False, None),
}
_DEFAULTS = {"num_key_value_heads": 4, "head_dim": 256, "query_pre_attn_scalar": 256}


def _config(foreign: Mapping[str, Any], period: int, **fields: Any) -> DecoderConfig:
    """Returns our configuration, where every so many-th layer sees all tokens."""
    refuse(foreign, _COMPUTED)
    foreign = {**_DEFAULTS, **foreign}
    layers = range(needed(foreign, "num_hidden_layers"))
    types = [FULL if (layer + 1) % period == 0 else SLIDING for layer in layers]
    windows = window_fields(foreign, foreign.get("sliding_window", 4096), types)
    if not windows:
        fields["local_rope_theta"] = None
    divisor = needed(foreign, "query_pre_attn_scalar")
    return decoder(
        foreign,
        mlp="geglu",
        tied_head=foreign.get("tie_word_embeddings", True),
        norm_plus_one=True,
        post_norms=True,
        scaled_embedding=True,
        query_width=None if divisor == foreign["head_dim"] else divisor,
        **windows,
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
    written |= {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": config.query_width or config.head_dim,
        "sliding_window": config.window,
        "layer_types": layer_types(config),
        "attn_logit_softcapping": config.attention_cap,
        "final_logit_softcapping": config.logit_cap,
    }
    if config.local_rope_theta is not None:
        written["rope_local_base_freq"] = config.local_rope_theta
    return checked(read, config, written)


@register_family
class Gemma2:
    """Gemma 2."""

    model_types = ("gemma2",)
    unread = ()

    def config(self, foreign: Mapping[str, Any]) -> DecoderConfig:
        """Returns our configuration of a `config.json`."""
        caps = dict(
            attention_cap=foreign.get("attn_logit_softcapping", 50.0),
            logit_cap=foreign.get("final_logit_softcapping", 30.0),
        )
        return _config(foreign, 2, **caps, **rope_fields(foreign))

    def foreign_config(self, config: ModelConfig) -> dict[str, Any]:
        """Returns the `config.json` of a configuration."""
        return _foreign(self.config, config, "gemma2", "Gemma2ForCausalLM")

    def tensors(self, config: ModelConfig) -> Sequence[Tensor]:
        """Returns every parameter with the tensors that hold it."""
        return decoder_tensors(config)


@register_family
class Gemma3:
    """Gemma 3, the models of text alone."""

    model_types = ("gemma3_text", "gemma3")
    unread = ()

    def config(self, foreign: Mapping[str, Any]) -> DecoderConfig:
        """Returns our configuration of a `config.json`."""
        if foreign["model_type"] == "gemma3":
            raise UserError(
                "config.json: model_type is 'gemma3', a model of texts and images: load its text "
                "model with transformers (Gemma3ForCausalLM), save that, and read the folder, "
                "whose model_type is 'gemma3_text'"
            )
        return _config(
            foreign,
            foreign.get("sliding_window_pattern") or 6,
            qk_norm=True,
            attention_cap=foreign.get("attn_logit_softcapping"),
            logit_cap=foreign.get("final_logit_softcapping"),
            local_rope_theta=_local_theta(foreign),
            **rope_fields(foreign, 1e6, within=FULL),
        )

    def foreign_config(self, config: ModelConfig) -> dict[str, Any]:
        """Returns the `config.json` of a configuration."""
        return _foreign(self.config, config, "gemma3_text", "Gemma3ForCausalLM")

    def tensors(self, config: ModelConfig) -> Sequence[Tensor]:
        """Returns every parameter with the tensors that hold it."""
        return decoder_tensors(config)


def _local_theta(foreign: Mapping[str, Any]) -> float:
    local = (foreign.get("rope_parameters") or {}).get(SLIDING) or {}
    kind = local.get("rope_type", "default")
    if kind != "default":
        raise UserError(
            f"config.json: rope_parameters.{SLIDING} has rope_type {kind!r}, which flanmix's "
            "decoder does not compute; known: default"
        )
    return float(local.get("rope_theta") or foreign.get("rope_local_base_freq") or 10000.0)
