"""The T5 families: T5 (1.0, 1.1, LM-adapted, Flan-T5, UL2, Flan-UL2, ByT5), mT5 and umT5.

    T5.config({"model_type": "t5", "d_kv": 64, "feed_forward_proj": "gated-gelu", ...})
    -> T5Config(head_dim=64, mlp="gated_gelu", ...)

What of a `config.json` decides what:

feed_forward_proj       the MLP: relu, gated-gelu or gated-silu; no other is read
tie_word_embeddings     T5, umT5: true or absent is a head that is the embedding, with its input
                        scaled by d_model**-0.5. transformers 5 writes true in any case, and the
                        truth as scale_decoder_outputs, which therefore counts where it is there.
                        mT5: of no account, its head is always its own and nothing is scaled
dropout_rate            the rate to tune with, unless gin says DROPOUT: the released folders say 0.1
                        for that, also where the model was pretrained without dropout (T5 1.1)
decoder_start_token_id  0 or absent, for our decoder begins with 0, as T5's does

In umT5 every layer of both stacks has a table of position biases.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flanmix.convert.family import Tensor, register_family
from flanmix.errors import UserError
from flanmix.model.api import ModelConfig
from flanmix.model.mlp import MLPS
from flanmix.model.t5 import T5Config

# `feed_forward_proj` -> ours, and the names of its activation; gelu is the one with tanh.
_MLPS = {
    "relu": ("relu", ("relu",)),
    "gated-gelu": ("gated_gelu", ("gelu_new",)),
    "gated-gelu_new": ("gated_gelu", ("gelu_new",)),
    "gated-silu": ("swiglu", ("silu", "swish")),
    "gated-swish": ("swiglu", ("silu", "swish")),
}
_WRITTEN = {
    "relu": "relu",
    "gated_gelu": "gated-gelu",
    "geglu": "gated-gelu",
    "swiglu": "gated-silu",
}

# Our field -> theirs.
_SIZES = {
    "vocab_size": "vocab_size",
    "d_model": "d_model",
    "d_ff": "d_ff",
    "num_heads": "num_heads",
    "head_dim": "d_kv",
    "num_encoder_layers": "num_layers",
}
_BIASES = {
    "num_buckets": "relative_attention_num_buckets",
    "max_distance": "relative_attention_max_distance",
    "norm_epsilon": "layer_norm_epsilon",
    "dropout_rate": "dropout_rate",
}
# What a field says wherever it is there.
_ALWAYS = {
    "is_encoder_decoder": True,
    "is_decoder": False,
    "tie_encoder_decoder": False,
    "decoder_start_token_id": 0,
    "quantization_config": None,
}
_HEADS = ("ForConditionalGeneration", "WithLMHeadModel")
_TABLE = "SelfAttention.relative_attention_bias.weight"
_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "out": "o"}


class _Family:
    """What the three have in common; a subclass says in what it differs."""

    model_types: tuple[str, ...] = ()
    # Copies of the embedding, and a table of T5 1.0's cross-attention that nothing ever read.
    unread = (
        r"(encoder|decoder)\.embed_tokens\.weight",
        r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",
    )
    name = ""  # as in the names of transformers' classes
    default_mlp = "gated-gelu"
    bias_per_layer = False
    may_tie = True

    def config(self, foreign: Mapping[str, Any]) -> T5Config:
        """Returns our configuration of a `config.json`.

        Raises:
            UserError: a field is missing, or says what our model does not do.
        """
        _check(foreign, self.name)
        fields = {ours: foreign[theirs] for ours, theirs in _SIZES.items()}
        for ours, theirs in _BIASES.items():
            if foreign.get(theirs) is not None:
                fields[ours] = foreign[theirs]
        layers = foreign.get("num_decoder_layers")
        try:
            return T5Config(
                **fields,
                num_decoder_layers=foreign["num_layers"] if layers is None else layers,
                mlp=_mlp(foreign, self.default_mlp),
                tied_head=self.may_tie and _scales(foreign),
                bias_per_layer=self.bias_per_layer,
            )
        except ValueError as fault:
            raise UserError(f"config.json, as {fault}") from fault

    def foreign_config(self, config: ModelConfig) -> dict[str, Any]:
        """Returns the `config.json` of a configuration.

        Raises:
            UserError: no model of the family has this configuration.
        """
        assert isinstance(config, T5Config)
        if config.bias_per_layer != self.bias_per_layer:
            raise UserError(
                f"T5Config.bias_per_layer is {config.bias_per_layer}, and in model_type "
                f"'{self.model_types[0]}' it is {self.bias_per_layer}"
            )
        if config.tied_head and not self.may_tie:
            raise UserError(
                "T5Config.tied_head is True, and no model_type "
                f"'{self.model_types[0]}' scales the input of a tied head"
            )
        if config.mlp not in _WRITTEN:
            raise UserError(
                f"T5Config.mlp is '{config.mlp}', which no feed_forward_proj of a T5 is; it can be "
                f"written with {', '.join(_WRITTEN)}"
            )
        sizes = {theirs: getattr(config, ours) for ours, theirs in (_SIZES | _BIASES).items()}
        return {
            "architectures": [f"{self.name}ForConditionalGeneration"],
            "model_type": self.model_types[0],
            "is_encoder_decoder": True,
            **sizes,
            "num_decoder_layers": config.num_decoder_layers,
            "feed_forward_proj": _WRITTEN[config.mlp],
            "tie_word_embeddings": config.tied_head,
            "decoder_start_token_id": 0,
        }

    def tensors(self, config: ModelConfig) -> Sequence[Tensor]:
        """Returns every parameter with the tensors that hold it."""
        assert isinstance(config, T5Config)
        found = [Tensor("embedding/table", ("shared.weight",))]
        layers = {"encoder": config.num_encoder_layers, "decoder": config.num_decoder_layers}
        for side, count in layers.items():
            block = f"{side}.block.{{}}.layer."
            found.append(Tensor(f"{side}_norm/scale", (f"{side}.final_layer_norm.weight",)))
            if not config.bias_per_layer:
                found.append(Tensor(f"{side}_bias/table", (f"{block.format(0)}0.{_TABLE}",)))
            for path, name, transposed in _layer(side, config):
                names = tuple(block.format(layer) + name for layer in range(count))
                found.append(Tensor(f"{side}/{path}", names, stacked=True, transposed=transposed))
        if not config.tied_head:
            found.append(Tensor("head/kernel", ("lm_head.weight",), transposed=True))
        return found


@register_family
class T5(_Family):
    """T5 1.0, 1.1, LM-adapted, Flan-T5, UL2, Flan-UL2, ByT5."""

    model_types = ("t5",)
    name = "T5"
    default_mlp = "relu"


@register_family
class MT5(_Family):
    """mT5: T5 1.1 whose head is never tied."""

    model_types = ("mt5",)
    name = "MT5"
    may_tie = False


@register_family
class UMT5(_Family):
    """umT5: T5 1.1 with a table of position biases in each layer."""

    model_types = ("umt5",)
    name = "UMT5"
    bias_per_layer = True


# ---- a config.json -------------------------------------------------------------------------------


def _check(foreign: Mapping[str, Any], name: str) -> None:
    """Checks that what the fields say is what our model does."""
    for field in _SIZES.values():
        if foreign.get(field) is None:
            raise UserError(f"config.json lacks {field}, which every {name} has")
    for kind in foreign.get("architectures") or ():
        if kind not in [name + head for head in (*_HEADS, "Model")]:
            raise UserError(
                f"config.json: architectures is ['{kind}'], of which no weights can be read; what "
                f"can be read is a whole {name}{_HEADS[0]}"
            )
    for field, wanted in _ALWAYS.items():
        found = foreign.get(field)
        if found is not None and found != wanted:
            raise UserError(
                f"config.json: {field} is {found!r}, and a {name} can be read only "
                + (f"where it is {wanted!r}" if wanted is not None else "without it")
            )


def _mlp(foreign: Mapping[str, Any], default: str) -> str:
    kind = foreign.get("feed_forward_proj") or default
    if kind not in _MLPS:
        raise UserError(
            f"config.json: feed_forward_proj is {kind!r}, an MLP that is not implemented"
            f"; known: {', '.join(_MLPS)}"
        )
    ours, activations = _MLPS[kind]
    fixed = {"dense_act_fn": activations, "is_gated_act": (kind.startswith("gated-"),)}
    for field, values in fixed.items():  # where the file has them, transformers believes them
        if foreign.get(field, values[0]) not in values:
            raise UserError(
                f"config.json: {field} is {foreign[field]!r}, and by feed_forward_proj {kind!r} it "
                f"is {values[0]!r}"
            )
    return ours


def _scales(foreign: Mapping[str, Any]) -> bool:
    """Whether the head scales its input, which is whether it is the embedding."""
    scales = foreign.get("scale_decoder_outputs")
    return foreign.get("tie_word_embeddings") is not False if scales is None else bool(scales)


# ---- the tensors of a layer ----------------------------------------------------------------------


def _layer(side: str, config: T5Config) -> Iterator[tuple[str, str, bool]]:
    """Yields (path within our layers, name within a block, whether it is transposed)."""
    attentions = [("attention", "attention_norm", "SelfAttention")]
    if side == "decoder":
        attentions.append(("cross_attention", "cross_norm", "EncDecAttention"))
    for number, (ours, norm, theirs) in enumerate(attentions):
        yield f"{norm}/scale", f"{number}.layer_norm.weight", False
        for projection, letter in _PROJECTIONS.items():
            yield f"{ours}/{projection}/kernel", f"{number}.{theirs}.{letter}.weight", True
    if config.bias_per_layer:
        yield "bias/table", f"0.{_TABLE}", False
    last = len(attentions)
    yield "mlp_norm/scale", f"{last}.layer_norm.weight", False
    wi = {"wi_0": "wi_0", "wi_1": "wi_1"} if MLPS[config.mlp][1] else {"wi_0": "wi"}
    for ours, theirs in (wi | {"wo": "wo"}).items():
        yield f"mlp/{ours}/kernel", f"{last}.DenseReluDense.{theirs}.weight", True
