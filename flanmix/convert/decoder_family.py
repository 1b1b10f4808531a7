"""What the families of decoders share: fields of a `config.json` both ways, and names of tensors.

    needed(foreign, "hidden_size")                        # or one line that names it
    refuse(foreign, {"hidden_act": ("silu", "swish")})    # a value that nothing here computes
    decoder(foreign, mlp="swiglu", **rope_fields(foreign))   -> DecoderConfig(...)
    document(config, "llama", "LlamaForCausalLM")         -> {"model_type": "llama", ...}
    decoder_tensors(config)                               -> [Tensor("embedding/table", ...), ...]

Transformers 5 writes `rope_parameters`, earlier versions `rope_theta` and `rope_scaling`; both are
read, and the earlier form is written, which every version reads. A field that is left out has the
value that `transformers` gives it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flanmix.convert.family import Tensor
from flanmix.errors import UserError
from flanmix.fields import checked_values
from flanmix.model.api import ModelConfig
from flanmix.model.decoder import DecoderConfig
from flanmix.model.rope import Rope
from flanmix.model.window import local_layers, pattern_of

SLIDING, FULL = "sliding_attention", "full_attention"

# kind of scaling -> (its fields that must be there, those that may be)
_ROPE_FIELDS = {
    "default": ((), ()),
    "linear": (("factor",), ()),
    "llama3": (("factor", "low_freq_factor", "high_freq_factor"), ()),
    "yarn": (("factor",), ("beta_fast", "beta_slow", "attention_factor", "truncate")),
}
_ROPE_ALWAYS = {"rope_type", "type", "rope_theta", "partial_rotary_factor"}
_ROPE_LENGTH = "original_max_position_embeddings"

# ---- fields of a config.json ---------------------------------------------------------------------


def needed(foreign: Mapping[str, Any], name: str) -> Any:
    """Returns a field that must be there.

    Raises:
        UserError: it is not; names it.
    """
    if foreign.get(name) is None:
        kind = foreign.get("model_type")
        raise UserError(f"config.json lacks {name}, which every model of type {kind!r} must have")
    return foreign[name]


def refuse(foreign: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]]) -> None:
    """Checks fields that change what a model computes, and of which not every value is computed.

    Args:
        foreign: a `config.json`.
        allowed: field -> the values that it may have, where it is there.

    Raises:
        UserError: it has another; names the field and the value.
    """
    for name, values in allowed.items():
        if name in foreign and foreign[name] not in values:
            known = " or ".join(map(repr, values))
            raise UserError(
                f"config.json: {name} is {foreign[name]!r}, which flanmix's decoder does not "
                f"compute; it must be {known}"
            )


def decoder(foreign: Mapping[str, Any], **fields: Any) -> DecoderConfig:
    """Returns our configuration: the sizes of a `config.json`, and the fields given.

    Raises:
        UserError: a size is missing, or a value is none that the field may have.
    """
    refuse(foreign, {"partial_rotary_factor": (1, None), "quantization_config": (None,)})
    heads = needed(foreign, "num_attention_heads")
    width = needed(foreign, "hidden_size")
    given = dict(
        vocab_size=needed(foreign, "vocab_size"),
        d_model=width,
        d_ff=needed(foreign, "intermediate_size"),
        num_heads=heads,
        num_kv_heads=foreign.get("num_key_value_heads") or heads,
        num_layers=needed(foreign, "num_hidden_layers"),
        norm_epsilon=foreign.get("rms_norm_eps", 1e-6),
        **fields,
    )
    try:
        given = checked_values(DecoderConfig, given)
        head_dim = foreign.get("head_dim") or width // max(1, heads)
        return DecoderConfig(**checked_values(DecoderConfig, given | {"head_dim": head_dim}))
    except ValueError as error:
        raise UserError(f"config.json: {error}") from None


def document(config: DecoderConfig, model_type: str, architecture: str) -> dict[str, Any]:
    """Returns the fields that every decoder's `config.json` has."""
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "num_hidden_layers": config.num_layers,
        "tie_word_embeddings": config.tied_head,
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_theta,
        "rope_scaling": _scaling_document(config),
    }


def checked(
    read: Callable[[Mapping[str, Any]], DecoderConfig],
    config: DecoderConfig,
    written: dict[str, Any],
) -> dict[str, Any]:
    """Returns a `config.json` that was written if its family reads the same model from it.

    Raises:
        UserError: it does not; names a field that no model of the family has so.
    """
    back = read(written)
    for field in dataclasses.fields(DecoderConfig):
        value = getattr(config, field.name)
        # What is dropped in training is no part of a model of others.
        if field.name != "dropout_rate" and getattr(back, field.name) != value:
            raise UserError(
                f"DecoderConfig.{field.name} is {value!r}, which no model of type "
                f"{written['model_type']!r} has"
            )
    return written


# ---- rotary positions ----------------------------------------------------------------------------


def rope_fields(
    foreign: Mapping[str, Any], theta: float = 10000.0, within: str | None = None
) -> dict[str, Any]:
    """Returns the fields `rope_...` of our configuration.

    Args:
        foreign: a `config.json`.
        theta: the base where it says none.
        within: the kind of layers whose entry counts, where `rope_parameters` has one for each.

    Raises:
        UserError: the scaling is of a kind or has a field that is not computed; names it.
    """
    place = "rope_scaling" if foreign.get("rope_scaling") else "rope_parameters"
    found = foreign.get(place) or {}
    if within is not None and within in found:
        place, found = f"{place}.{within}", found[within]
    kind = found.get("rope_type", found.get("type", "default"))
    if kind not in _ROPE_FIELDS:
        raise UserError(
            f"config.json: {place} has rope_type {kind!r}, which flanmix's decoder does not "
            f"compute; known: {', '.join(_ROPE_FIELDS)}"
        )
    must, may = _ROPE_FIELDS[kind]
    for name, value in found.items():
        known = {*must, *may, *_ROPE_ALWAYS, _ROPE_LENGTH}
        if value is not None and name not in known:
            raise UserError(
                f"config.json: {place} has {name} {value!r}, which flanmix's decoder does not "
                f"compute for rope_type {kind!r}"
            )
    for name in must:
        if found.get(name) is None:
            raise UserError(f"config.json: {place} of rope_type {kind!r} lacks {name}")
    refuse(found, {"partial_rotary_factor": (1, None), "truncate": (True, None)})
    base = found.get("rope_theta") or foreign.get("rope_theta") or theta
    fields: dict[str, Any] = {"rope_theta": base}
    if kind != "default":
        fields |= {"rope_scaling": kind, "rope_factor": found["factor"]}
    if kind in ("llama3", "yarn"):
        low, high = ("low_freq_factor", "high_freq_factor")
        turns = (found[low], found[high]) if kind == "llama3" else _betas(found)
        fields |= {"rope_low_turns": turns[0], "rope_high_turns": turns[1]}
        length = foreign.get(_ROPE_LENGTH) or found.get(_ROPE_LENGTH)
        fields["rope_length"] = length or needed(foreign, "max_position_embeddings")
    if (given := found.get("attention_factor")) is not None:
        computed = Rope(1.0, kind, fields["rope_factor"]).magnitude
        if not np.isclose(given, computed, rtol=1e-6):
            raise UserError(
                f"config.json: {place} has attention_factor {given!r}, which flanmix's decoder "
                f"does not compute; by the factor it is {computed:.6g}"
            )
    return fields


def _betas(found: Mapping[str, Any]) -> tuple[float, float]:
    return found.get("beta_slow") or 1.0, found.get("beta_fast") or 32.0


def _scaling_document(config: DecoderConfig) -> dict[str, Any] | None:
    kind = config.rope_scaling
    if kind == "none":
        return None
    low, high = ("low_freq_factor", "high_freq_factor")
    if kind == "yarn":
        low, high = ("beta_slow", "beta_fast")
    turns = {low: config.rope_low_turns, high: config.rope_high_turns}
    length = {_ROPE_LENGTH: config.rope_length}
    own = {} if kind == "linear" else turns | length
    return {"rope_type": kind, "factor": config.rope_factor, **own}


# ---- windows -------------------------------------------------------------------------------------


def window_fields(
    foreign: Mapping[str, Any], window: int | None, default: Sequence[str]
) -> dict[str, Any]:
    """Returns `window` and `window_pattern` of our configuration.

    Args:
        foreign: a `config.json`.
        window: how many tokens a local layer sees.
        default: the kind of each layer, where there are no `layer_types`.

    Raises:
        UserError: a kind of layer is unknown, there are not as many as layers, or no window is.
    """
    types = foreign.get("layer_types") or default
    for layer, kind in enumerate(types):
        if kind not in (SLIDING, FULL):
            raise UserError(
                f"config.json: layer_types has {kind!r} for layer {layer}, which flanmix's decoder "
                f"does not compute; known: {SLIDING}, {FULL}"
            )
    if len(types) != needed(foreign, "num_hidden_layers"):
        raise UserError(
            f"config.json: layer_types has {len(types)} layers, and num_hidden_layers is "
            f"{foreign['num_hidden_layers']}"
        )
    kinds = np.array([kind == SLIDING for kind in types])
    if not kinds.any():
        return {}
    if window is None:
        raise UserError(f"config.json: layer_types has {SLIDING!r}, and there is no sliding_window")
    return {"window": window, "window_pattern": pattern_of(kinds)}


def layer_types(config: DecoderConfig) -> list[str]:
    """Returns the kind of each layer as `config.json` has it."""
    if config.window is None:
        return [FULL] * config.num_layers
    kinds = local_layers(config.window_pattern, config.num_layers)
    return [SLIDING if kind else FULL for kind in kinds]


# ---- tensors -------------------------------------------------------------------------------------

_LAYER = "model.layers.{}."


def decoder_tensors(config: ModelConfig) -> Sequence[Tensor]:
    """Returns every parameter of a decoder with the tensors that hold it."""
    assert isinstance(config, DecoderConfig)
    found = [
        Tensor("embedding/table", ("model.embed_tokens.weight",)),
        Tensor("norm/scale", ("model.norm.weight",)),
    ]
    for path, name in _layer_names(config).items():
        names = tuple(_LAYER.format(layer) + name for layer in range(config.num_layers))
        transposed = path.endswith("/kernel")
        found.append(Tensor(f"layers/{path}", names, stacked=True, transposed=transposed))
    if not config.tied_head:
        found.append(Tensor("head/kernel", ("lm_head.weight",), transposed=True))
    return found


def _layer_names(config: DecoderConfig) -> dict[str, str]:
    """Path within the layers -> name within a layer."""
    names = {
        "attention_norm/scale": "input_layernorm.weight",
        "query/kernel": "self_attn.q_proj.weight",
        "key/kernel": "self_attn.k_proj.weight",
        "value/kernel": "self_attn.v_proj.weight",
        "out/kernel": "self_attn.o_proj.weight",
        "mlp_norm/scale": "post_attention_layernorm.weight",
        "mlp/wi_0/kernel": "mlp.gate_proj.weight",
        "mlp/wi_1/kernel": "mlp.up_proj.weight",
        "mlp/wo/kernel": "mlp.down_proj.weight",
    }
    if config.qkv_bias:
        projections = {"query": "q", "key": "k", "value": "v"}
        names |= {
            f"{ours}_bias/shift": f"self_attn.{o}_proj.bias" for ours, o in projections.items()
        }
    if config.qk_norm:
        names["query_norm/scale"] = "self_attn.q_norm.weight"
        names["key_norm/scale"] = "self_attn.k_norm.weight"
    if config.post_norms:  # what is after the attention is then no longer what is before the MLP
        names["attention_post_norm/scale"] = "post_attention_layernorm.weight"
        names["mlp_norm/scale"] = "pre_feedforward_layernorm.weight"
        names["mlp_post_norm/scale"] = "post_feedforward_layernorm.weight"
    return names
