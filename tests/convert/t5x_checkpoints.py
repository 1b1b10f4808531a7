"""Writes T5X checkpoints, as T5X writes them, from tensors under transformers' names."""

import msgpack
import numpy as np
import orbax.checkpoint
import tensorstore as ts

ATTENTIONS = {
    "encoder": [("SelfAttention", "attention", "attention")],
    "decoder": [
        ("SelfAttention", "self_attention", "self_attention"),
        ("EncDecAttention", "encoder_decoder_attention", "cross_attention"),
    ],
}


def parameters(weights, foreign, *, scanned=False, heads_apart=False):
    """T5X's parameters by their paths; `heads_apart` for kernels of three dimensions."""
    heads, found = foreign["num_heads"], {}

    def split(kernel, out):
        if not heads_apart:
            return kernel
        inner = (heads, -1, kernel.shape[1]) if out else (kernel.shape[0], heads, -1)
        return kernel.reshape(inner)

    found["token_embedder/embedding"] = weights["shared.weight"]
    if "lm_head.weight" in weights:
        found["decoder/logits_dense/kernel"] = weights["lm_head.weight"].T
    counts = {"encoder": foreign["num_layers"], "decoder": foreign["num_decoder_layers"]}
    for side, attentions in ATTENTIONS.items():
        found[f"{side}/{side}_norm/scale"] = weights[f"{side}.final_layer_norm.weight"]
        layers = []
        for number in range(counts[side]):
            block = f"{side}.block.{number}.layer"
            table = weights.get(f"{block}.0.SelfAttention.relative_attention_bias.weight")
            layer = {}
            if foreign["model_type"] == "umt5":
                layer["relpos_bias/rel_embedding"] = table.T
            elif number == 0:
                found[f"{side}/relpos_bias/rel_embedding"] = table.T
            for place, (theirs, name, norm) in enumerate(attentions):
                layer[f"pre_{norm}_layer_norm/scale"] = weights[
                    f"{block}.{place}.layer_norm.weight"
                ]
                for long, short in dict(query="q", key="k", value="v", out="o").items():
                    kernel = weights[f"{block}.{place}.{theirs}.{short}.weight"].T
                    layer[f"{name}/{long}/kernel"] = split(kernel, long == "out")
            last = len(attentions)
            layer["pre_mlp_layer_norm/scale"] = weights[f"{block}.{last}.layer_norm.weight"]
            for kernel in ("wi", "wi_0", "wi_1", "wo"):
                if (theirs := f"{block}.{last}.DenseReluDense.{kernel}.weight") in weights:
                    layer[f"mlp/{kernel}/kernel"] = weights[theirs].T
            layers.append(layer)
        for path in layers[0]:
            if scanned:
                stacked = np.stack([layer[path] for layer in layers], axis=1)
                found[f"{side}/{side}/{path}"] = stacked
            else:
                found |= {
                    f"{side}/layers_{i}/{path}": layer[path] for i, layer in enumerate(layers)
                }
    return found


def state(found, leaf=lambda name, array: array):
    """T5X's state: nested dicts with parameters, a step and slots of Adafactor."""
    tree = {"target": {}, "state": {"step": np.int32(7), "param_states": {}}}
    for path, array in found.items():
        *folders, name = path.split("/")
        here = tree["target"]
        for folder in folders:
            here = here.setdefault(folder, {})
        here[name] = leaf(f"target.{path.replace('/', '.')}", array)
    return tree


def write_orbax(folder, found, *, database=True):
    """Orbax's layout: a store in `state`, or folders of arrays there."""
    tree = state(found)
    tree["state"]["param_states"] = {"v": np.ones(3, np.float32)}
    handler = orbax.checkpoint.PyTreeCheckpointHandler(use_ocdbt=database)
    with orbax.checkpoint.Checkpointer(handler) as checkpointer:
        checkpointer.save(folder / "state", tree)


def write_msgpack(folder, found, *, small=64, spec=None):
    """The older layout: a msgpack file, and a zarr folder for each array that is not small."""
    folder.mkdir(parents=True, exist_ok=True)

    def leaf(name, array):
        if array.size <= small:
            return inline(array)
        metadata = {
            "compressor": {"id": "gzip"},
            "shape": array.shape,
            "chunks": [max(1, -(-n // 2)) for n in array.shape],
        }
        store = {"driver": "file", "path": f"{folder / name}/", "file_io_sync": False}
        zarr = {"driver": "zarr", "kvstore": store, "metadata": metadata, "dtype": array.dtype.name}
        ts.open(zarr, create=True, delete_existing=True).result().write(array).result()
        return (spec or written)(name)

    def written(name):
        # The bucket is a placeholder in T5X's own files too.
        store = {"driver": "gcs", "bucket": "t5x-dummy-bucket", "path": f"{name}/"}
        return {"driver": "zarr", "kvstore": store, "dtype": "float32"}

    tree = state(found, leaf)
    tree["state"]["step"] = inline(np.asarray(7, np.int32))
    tree["state"]["param_states"]["v"] = written("state.param_states.v")  # not there
    packed = msgpack.packb({"version": 3, "optimizer": tree}, use_bin_type=True)
    (folder / "checkpoint").write_bytes(packed)


def inline(array):
    """Flax's form of an array: shape, name of its type, bytes."""
    fields = (array.shape, array.dtype.name, np.ascontiguousarray(array).tobytes())
    return msgpack.ExtType(1, msgpack.packb(fields, use_bin_type=True))
