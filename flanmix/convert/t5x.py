"""T5X checkpoints as a source of tensors under transformers' names, and the model that they are of.

    foreign, source = open_t5x(Path("flan_t5_small/checkpoint_1198000"))
    foreign["d_kv"], foreign["feed_forward_proj"]                       -> 64, "gated-gelu"
    source.shapes["encoder.block.0.layer.0.SelfAttention.q.weight"]     -> (384, 512)
    params = read_params(family_of(foreign), config, source, compute)

T5X has no config.json: the shapes say what it would say, up to what does not show in them. There
T5's values are taken: 0.1 of dropout, a largest distance of 128, an epsilon of 1e-6, and gelu where
a branch gates. UL2 gates with silu, which the caller has to say: `foreign["feed_forward_proj"] =
"gated-silu"`.

Kernels of attentions have two dimensions or three, [D, H, K] and [H, K, D], and become matrices.
Layers stand each by itself (`encoder/layers_0/...`) or stacked at axis 1 (`encoder/encoder/...`, of
scalable_t5). There every layer has a table of position biases, and the model is an umT5.
"""

# D model width, H heads, K width of a head, L layers.

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flanmix.convert.source import Index
from flanmix.convert.t5x_files import Leaf, open_leaves
from flanmix.errors import UserError

_TABLE = "SelfAttention.relative_attention_bias.weight"
_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "out": "o"}
_SCANNED = 1  # the axis of layers
_IN_LAYER = re.compile(r"(encoder|decoder)/(?:layers_(\d+)|layers|encoder|decoder)/(.+)")
_TABLES = ("relpos_bias/rel_embedding", "relative_posemb/rel_embedding")


def _of_layers() -> dict[str, dict[str, str]]:
    """Returns of a side the names of paths within a layer: those within a block of transformers."""
    sides = {
        "encoder": [("attention", "pre_attention_layer_norm", "SelfAttention")],
        "decoder": [
            ("self_attention", "pre_self_attention_layer_norm", "SelfAttention"),
            ("encoder_decoder_attention", "pre_cross_attention_layer_norm", "EncDecAttention"),
        ],
    }
    found = {}
    for side, attentions in sides.items():
        names = found[side] = dict.fromkeys(_TABLES, f"0.{_TABLE}")
        for number, (attention, norm, theirs) in enumerate(attentions):
            names[f"{norm}/scale"] = f"{number}.layer_norm.weight"
            for projection, letter in _PROJECTIONS.items():
                names[f"{attention}/{projection}/kernel"] = f"{number}.{theirs}.{letter}.weight"
        last = len(attentions)
        names["pre_mlp_layer_norm/scale"] = f"{last}.layer_norm.weight"
        for kernel in ("wi", "wi_0", "wi_1", "wo"):
            names[f"mlp/{kernel}/kernel"] = f"{last}.DenseReluDense.{kernel}.weight"
    return found


_LAYERS = _of_layers()
_OUTSIDE = {
    "token_embedder/embedding": "shared.weight",
    "encoder/encoder_norm/scale": "encoder.final_layer_norm.weight",
    "decoder/decoder_norm/scale": "decoder.final_layer_norm.weight",
    "decoder/logits_dense/kernel": "lm_head.weight",
} | {f"{side}/{table}": f"{side}.block.0.layer.0.{_TABLE}" for side in _LAYERS for table in _TABLES}


class _Layers:
    """Reads a layer of arrays that have them all, whose layers lie in the same chunks.

    What was read last is kept with all its layers, for they are asked for one after the other.
    """

    def __init__(self) -> None:
        self._kept: tuple[Leaf, Index, np.ndarray] | None = None

    def read(self, leaf: Leaf, index: Index, layer: int) -> np.ndarray:
        """Returns a part of a layer; the index is without layers."""
        if self._kept is None or self._kept[0] is not leaf or self._kept[1] != index:
            self._kept = None  # before the next is read: the two need not fit
            every = slice(0, leaf.shape[_SCANNED])
            whole = leaf.read((*index[:_SCANNED], every, *index[_SCANNED:]))
            self._kept = leaf, index, whole
        return self._kept[2][(slice(None),) * _SCANNED + (layer,)]


@dataclass(frozen=True)
class _Tensor:
    """A tensor of transformers, as a view of an array of T5X.

    Attributes:
        leaf: the array.
        layers: reads a layer of it.
        layer: the layer that it is of, where the array has them all.
        transposed: whether the tensor is the transpose of the matrix in the array.
        merged: which dimension, of those without layers, is one with that after it; or None.
    """

    leaf: Leaf
    layers: _Layers
    layer: int | None
    transposed: bool
    merged: int | None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The array's dimensions without layers."""
        sizes = self.leaf.shape
        return sizes if self.layer is None else sizes[:_SCANNED] + sizes[_SCANNED + 1 :]

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        sizes, at = self.sizes, self.merged
        if at is not None:
            sizes = (*sizes[:at], sizes[at] * sizes[at + 1], *sizes[at + 2 :])
        return sizes[::-1] if self.transposed else sizes

    def read(self, index: Index) -> np.ndarray:
        """Returns a part of the tensor."""
        index = tuple(slice(*i.indices(n)[:2]) for i, n in zip(index, self.shape, strict=True))
        index = index[::-1] if self.transposed else index
        found = self._matrix(index)
        return found.T if self.transposed else found

    def _matrix(self, index: Index) -> np.ndarray:
        at = self.merged
        if at is None:
            return self._part(index)
        inner, wanted = self.sizes[at + 1], index[at]
        first, end = wanted.start // inner, -(-wanted.stop // inner)
        part = self._part((*index[:at], slice(first, end), slice(0, inner), *index[at + 1 :]))
        part = part.reshape(*part.shape[:at], -1, *part.shape[at + 2 :])
        within = slice(wanted.start - first * inner, wanted.stop - first * inner)
        return part[(slice(None),) * at + (within,)]

    def _part(self, index: Index) -> np.ndarray:
        if self.layer is None:
            return self.leaf.read(index)
        return self.layers.read(self.leaf, index, self.layer)


class T5XSource:
    """The parameters of a T5X checkpoint; made by `open_t5x`."""

    def __init__(self, place: str, tensors: Mapping[str, _Tensor]) -> None:
        self.place = place
        self._tensors = tensors
        self.shapes: Mapping[str, tuple[int, ...]] = {
            name: tensor.shape for name, tensor in tensors.items()
        }

    def read(self, name: str, index: Index) -> np.ndarray:
        """Returns a part of a tensor, of the type that it is stored in.

        Raises:
            UserError: the bytes are not there.
        """
        return self._tensors[name].read(index)


def open_t5x(folder: str | Path) -> tuple[dict[str, Any], T5XSource]:
    """Opens a T5X checkpoint.

    Args:
        folder: one checkpoint, such as `checkpoint_1000000`; of whatever else is beside its
            parameters nothing is read.

    Returns:
        What its `config.json` would say, and its tensors.

    Raises:
        UserError: it is no checkpoint of T5X, or not of a T5.
    """
    folder = Path(folder)
    leaves = open_leaves(folder)
    tensors: dict[str, _Tensor] = {}
    layers = _Layers()
    for path, leaf in leaves.items():
        tensors |= _views(path, leaf, layers, folder)
    source = T5XSource(str(folder), tensors)
    return _foreign(source, _has_tables_in_layers(leaves)), source


def _views(path: str, leaf: Leaf, layers: _Layers, folder: Path) -> dict[str, _Tensor]:
    """Returns the tensors that an array of T5X holds."""
    layered = _IN_LAYER.fullmatch(path)
    side, number, inside = layered.groups() if layered else ("", None, "")
    name = _LAYERS[side].get(inside) if layered else _OUTSIDE.get(path)
    scanned = layered is not None and number is None
    if name is None:
        raise UserError(f"{folder}: {path} is no parameter of a T5")
    dimensions = len(leaf.shape) - scanned
    kernel = path.endswith("/kernel")
    transposed = kernel or path.endswith(_TABLES)
    merged = None
    if kernel and dimensions == 3:
        merged = 0 if path.endswith("/out/kernel") else 1
    if dimensions != 1 + (transposed or name == "shared.weight") + (merged is not None):
        raise UserError(f"{folder}: {path} has shape {leaf.shape}, which no parameter of T5's has")
    if layered is None:
        return {name: _Tensor(leaf, layers, None, transposed, merged)}
    block = f"{side}.block.{{}}.layer.{name}"
    if number is not None:
        return {block.format(int(number)): _Tensor(leaf, layers, None, transposed, merged)}
    return {
        block.format(layer): _Tensor(leaf, layers, layer, transposed, merged)
        for layer in range(leaf.shape[_SCANNED])
    }


# ---- the configuration that the shapes show ------------------------------------------------------


def _has_tables_in_layers(leaves: Mapping[str, Leaf]) -> bool:
    """Whether position biases are of a layer each."""
    return any(_IN_LAYER.fullmatch(path) and path.endswith(_TABLES) for path in leaves)


def _foreign(source: T5XSource, bias_per_layer: bool) -> dict[str, Any]:
    """Returns what a `config.json` would say."""
    first = "encoder.block.0.layer."
    vocab_size, d_model = _shape(source, "shared.weight")
    buckets, heads = _shape(source, f"{first}0.{_TABLE}")
    inner, _ = _shape(source, f"{first}0.SelfAttention.q.weight")
    d_ff = _shape(source, f"{first}1.DenseReluDense.wo.weight")[1]
    if inner % heads:
        raise UserError(f"{source.place}: queries of {inner} can't be of {heads} heads")
    gated = f"{first}1.DenseReluDense.wi_1.weight" in source.shapes
    name = "UMT5" if bias_per_layer else "T5"
    return {
        "architectures": [f"{name}ForConditionalGeneration"],
        "model_type": name.lower(),
        "is_encoder_decoder": True,
        "vocab_size": vocab_size,
        "d_model": d_model,
        "d_kv": inner // heads,
        "d_ff": d_ff,
        "num_heads": heads,
        "num_layers": _layers(source, "encoder"),
        "num_decoder_layers": _layers(source, "decoder"),
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu" if gated else "relu",
        "tie_word_embeddings": "lm_head.weight" not in source.shapes,
        "layer_norm_epsilon": 1e-6,
        "dropout_rate": 0.1,
        "decoder_start_token_id": 0,
    }


def _shape(source: T5XSource, name: str) -> tuple[int, ...]:
    if name not in source.shapes:
        raise UserError(f"{source.place} has nothing that would be {name}: it is no T5")
    return source.shapes[name]


def _layers(source: T5XSource, side: str) -> int:
    """Returns how many layers a side has; one that lacks some of its tensors is named later."""
    found = re.compile(rf"{side}\.block\.(\d+)\.")
    return 1 + max((int(m[1]) for name in source.shapes if (m := found.match(name))), default=-1)
