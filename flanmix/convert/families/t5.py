"""T5, versions 1.0 and 1.1, and those that share its shape."""

from collections.abc import Mapping, Sequence
from typing import Any

from flanmix.convert.family import Tensor, register_family
from flanmix.model.api import ModelConfig
from flanmix.model.t5 import T5Config

_ATTENTION = {"query": "q", "key": "k", "value": "v", "out": "o"}
_MLPS = {"relu": ("wi",), "gated_gelu": ("wi_0", "wi_1")}
_BIAS = "{}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"


@register_family
class T5:
    """T5 1.0, 1.1, LM-adapted, Flan-T5."""

    model_types = ("t5",)
    unread = (r"(encoder|decoder)\.embed_tokens\.weight",)

    def config(self, foreign: Mapping[str, Any]) -> T5Config:
        """Returns our configuration of a `config.json`."""
        kinds = {"relu": "relu", "gated-gelu": "gated_gelu"}
        return T5Config(
            vocab_size=foreign["vocab_size"],
            d_model=foreign["d_model"],
            d_ff=foreign["d_ff"],
            num_heads=foreign["num_heads"],
            head_dim=foreign["d_kv"],
            num_encoder_layers=foreign["num_layers"],
            num_decoder_layers=foreign.get("num_decoder_layers") or foreign["num_layers"],
            mlp=kinds[foreign.get("feed_forward_proj", "relu")],
            tied_head=foreign.get("tie_word_embeddings", True),
            num_buckets=foreign.get("relative_attention_num_buckets", 32),
            max_distance=foreign.get("relative_attention_max_distance", 128),
            norm_epsilon=foreign.get("layer_norm_epsilon", 1e-6),
        )

    def foreign_config(self, config: ModelConfig) -> dict[str, Any]:
        """Returns the `config.json` of a configuration."""
        assert isinstance(config, T5Config)
        return {
            "architectures": ["T5ForConditionalGeneration"],
            "model_type": "t5",
            "is_encoder_decoder": True,
            "vocab_size": config.vocab_size,
            "d_model": config.d_model,
            "d_ff": config.d_ff,
            "num_heads": config.num_heads,
            "d_kv": config.head_dim,
            "num_layers": config.num_encoder_layers,
            "num_decoder_layers": config.num_decoder_layers,
            "feed_forward_proj": config.mlp.replace("_", "-"),
            "tie_word_embeddings": config.tied_head,
            "relative_attention_num_buckets": config.num_buckets,
            "relative_attention_max_distance": config.max_distance,
            "layer_norm_epsilon": config.norm_epsilon,
            "dropout_rate": config.dropout_rate,
            "decoder_start_token_id": 0,
        }

    def tensors(self, config: ModelConfig) -> Sequence[Tensor]:
        """Returns every parameter with the tensors that hold it."""
        assert isinstance(config, T5Config)
        found = [Tensor("embedding/table", ("shared.weight",))]
        sides = {
            "encoder": (config.num_encoder_layers, ("SelfAttention",)),
            "decoder": (config.num_decoder_layers, ("SelfAttention", "EncDecAttention")),
        }
        for side, (layers, attentions) in sides.items():
            found.append(Tensor(f"{side}_bias/table", (_BIAS.format(side),)))
            found.append(Tensor(f"{side}_norm/scale", (f"{side}.final_layer_norm.weight",)))
            for path, (name, transposed) in _layer(attentions, _MLPS[config.mlp]).items():
                names = tuple(f"{side}.block.{layer}.layer.{name}" for layer in range(layers))
                found.append(Tensor(f"{side}/{path}", names, stacked=True, transposed=transposed))
        if not config.tied_head:
            found.append(Tensor("head/kernel", ("lm_head.weight",), transposed=True))
        return found


def _layer(attentions: Sequence[str], wi: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """Path within the layers of a side -> (name within a layer, transposed)."""
    found = {}
    for number, attention in enumerate(attentions):
        ours = ("attention", "cross_attention")[number]
        found[
            f"{ours.removesuffix('attention')}norm/scale" if number else "attention_norm/scale"
        ] = (
            f"{number}.layer_norm.weight",
            False,
        )
        for path, name in _ATTENTION.items():
            found[f"{ours}/{path}/kernel"] = f"{number}.{attention}.{name}.weight", True
    last = len(attentions)
    found["mlp_norm/scale"] = f"{last}.layer_norm.weight", False
    for number, name in enumerate(wi):
        path = f"mlp/wi_{number}/kernel" if len(wi) > 1 else "mlp/wi_0/kernel"
        found[path] = f"{last}.DenseReluDense.{name}.weight", True
    found["mlp/wo/kernel"] = f"{last}.DenseReluDense.wo.weight", True
    return found
