"""Llama and those that share its shape."""

from collections.abc import Mapping, Sequence
from typing import Any

from flanmix.convert.family import Tensor, register_family
from flanmix.model.api import ModelConfig
from flanmix.model.decoder import DecoderConfig

_LAYER = "model.layers.{}."
# Path within the layers -> (name within a layer, transposed).
_LAYERS = {
    "attention_norm/scale": ("input_layernorm.weight", False),
    "query/kernel": ("self_attn.q_proj.weight", True),
    "key/kernel": ("self_attn.k_proj.weight", True),
    "value/kernel": ("self_attn.v_proj.weight", True),
    "out/kernel": ("self_attn.o_proj.weight", True),
    "mlp_norm/scale": ("post_attention_layernorm.weight", False),
    "mlp/wi_0/kernel": ("mlp.gate_proj.weight", True),
    "mlp/wi_1/kernel": ("mlp.up_proj.weight", True),
    "mlp/wo/kernel": ("mlp.down_proj.weight", True),
}


@register_family
class Llama:
    """Llama 2 and 3, SmolLM2."""

    model_types = ("llama",)
    unread = (r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq",)

    def config(self, foreign: Mapping[str, Any]) -> DecoderConfig:
        """Returns our configuration of a `config.json`."""
        heads = foreign["num_attention_heads"]
        return DecoderConfig(
            vocab_size=foreign["vocab_size"],
            d_model=foreign["hidden_size"],
            d_ff=foreign["intermediate_size"],
            num_heads=heads,
            num_kv_heads=foreign.get("num_key_value_heads") or heads,
            head_dim=foreign.get("head_dim") or foreign["hidden_size"] // heads,
            num_layers=foreign["num_hidden_layers"],
            rope_theta=float(foreign.get("rope_theta", 10000.0)),
            tied_head=foreign.get("tie_word_embeddings", False),
            norm_epsilon=foreign["rms_norm_eps"],
        )

    def foreign_config(self, config: ModelConfig) -> dict[str, Any]:
        """Returns the `config.json` of a configuration."""
        assert isinstance(config, DecoderConfig)
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": config.vocab_size,
            "hidden_size": config.d_model,
            "intermediate_size": config.d_ff,
            "num_attention_heads": config.num_heads,
            "num_key_value_heads": config.num_kv_heads,
            "head_dim": config.head_dim,
            "num_hidden_layers": config.num_layers,
            "hidden_act": "silu",
            "rope_theta": config.rope_theta,
            "tie_word_embeddings": config.tied_head,
            "rms_norm_eps": config.norm_epsilon,
        }

    def tensors(self, config: ModelConfig) -> Sequence[Tensor]:
        """Returns every parameter with the tensors that hold it."""
        assert isinstance(config, DecoderConfig)
        layers = range(config.num_layers)
        found = [
            Tensor("embedding/table", ("model.embed_tokens.weight",)),
            Tensor("norm/scale", ("model.norm.weight",)),
        ]
        for path, (name, transposed) in _LAYERS.items():
            names = tuple(_LAYER.format(layer) + name for layer in layers)
            found.append(Tensor(f"layers/{path}", names, stacked=True, transposed=transposed))
        if not config.tied_head:
            found.append(Tensor("head/kernel", ("lm_head.weight",), transposed=True))
        return found
