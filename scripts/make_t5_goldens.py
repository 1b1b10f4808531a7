"""Writes tests/golden/t5_family_*.npz: what transformers computes for each kind of T5.

    pip install torch transformers==5.24 && python scripts/make_t5_goldens.py

Each file is a tiny model with drawn weights, as a folder of transformers would hold it, and what it
computes in f32:

    config                   the config.json, JSON
    weights/NAME             the tensors, in f16, which holds them exactly
    inputs, input_lengths    tokens of three examples of unequal length, padded on the right
    targets, target_lengths
    logits                   [3, T, V] of the padded batch
    greedy                   [3, 64], each row what the model says most likely after its inputs; at
                             no step are the two best logits nearer than MARGIN, and each has at
                             least DIFFERENT tokens
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
INPUT_LENGTHS, TARGET_LENGTHS = (40, 17, 5), (12, 3, 9)
STEPS, MARGIN, DIFFERENT = 64, 1e-3, 4

SIZES = dict(vocab_size=48, d_model=16, d_kv=4, d_ff=20, num_heads=3, num_layers=2)
BUCKETS = dict(relative_attention_num_buckets=8, relative_attention_max_distance=16)
SHARED = dict(layer_norm_epsilon=1e-6, dropout_rate=0.1, decoder_start_token_id=0)
# name -> (class, what its config.json says besides)
KINDS = {
    "1_0": ("T5", dict(feed_forward_proj="relu", tie_word_embeddings=True)),
    "1_1": ("T5", dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    "ul2": ("T5", dict(feed_forward_proj="gated-silu", tie_word_embeddings=False, d_kv=6)),
    "byt5": (
        "T5",
        dict(
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            num_layers=3,
            num_decoder_layers=1,
        ),
    ),
    "mt5": ("MT5", dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    "umt5": ("UMT5", dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
}


def build(kind: str, foreign: dict, seed: int) -> tuple[torch.nn.Module, dict[str, np.ndarray]]:
    """A model whose weights f16 holds, of such a scale that logits are of order one."""
    config = getattr(transformers, f"{kind}Config")(**foreign)
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
    if not foreign["tie_word_embeddings"]:  # the library ties them in any case
        model.lm_head = torch.nn.Linear(config.d_model, config.vocab_size, bias=False)
    torch.manual_seed(seed)
    # A tied head repeats what it read last, unless the layers outweigh the embedding.
    embedding = 0.1 if foreign["tie_word_embeddings"] else 1.0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                scale = 1 / embedding if name == "decoder.final_layer_norm.weight" else 1.0
                parameter.normal_(scale, 0.1 * scale)
            else:
                std = embedding if name == "shared.weight" else parameter.shape[-1] ** -0.5
                parameter.normal_(0.0, std)
            parameter.copy_(parameter.half().float())
    weights = {f"weights/{n}": p.detach().half().numpy() for n, p in model.named_parameters()}
    return model, weights


def tokens(lengths: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Drawn tokens [B, T], padded on the right with 0, and the mask of those drawn."""
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    drawn = np.random.default_rng(seed).integers(1, SIZES["vocab_size"], mask.shape)
    return np.where(mask, drawn, 0), mask.astype(np.int64)


@torch.no_grad()
def logits_of(model, inputs, input_mask, decoder_inputs, decoder_mask=None) -> np.ndarray:
    masks = dict(attention_mask=torch.tensor(input_mask))
    if decoder_mask is not None:
        masks["decoder_attention_mask"] = torch.tensor(decoder_mask)
    ids = dict(input_ids=torch.tensor(inputs), decoder_input_ids=torch.tensor(decoder_inputs))
    return model(**ids, **masks, use_cache=False).logits.numpy()


def greedy(model, inputs, input_mask) -> tuple[np.ndarray, float]:
    """The most likely tokens, each from a pass over the whole text; the smallest margin."""
    read, margin = np.zeros((len(inputs), 1), np.int64), np.inf
    for _ in range(STEPS):
        last = logits_of(model, inputs, input_mask, read)[:, -1]
        best = np.sort(last)[:, -2:]
        margin = min(margin, (best[:, 1] - best[:, 0]).min())
        read = np.concatenate([read, last.argmax(-1)[:, None]], axis=1)
    return read[:, 1:], margin


def main() -> None:
    inputs, input_mask = tokens(INPUT_LENGTHS, seed=1)
    targets, target_mask = tokens(TARGET_LENGTHS, seed=2)
    shifted = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    for number, (name, (kind, besides)) in enumerate(KINDS.items()):
        foreign = SIZES | BUCKETS | SHARED | besides
        for seed in range(100 * number, 100 * number + 50):
            model, arrays = build(kind, foreign, seed)
            found, margin = greedy(model, inputs, input_mask)
            if margin > MARGIN and min(len(set(row)) for row in found.tolist()) >= DIFFERENT:
                break
        else:
            raise ValueError(f"{name}: no seed has texts that are neither dull nor undecided")
        heading = {"architectures": [f"{kind}ForConditionalGeneration"], "model_type": kind.lower()}
        arrays |= {"inputs": inputs, "targets": targets, "greedy": found}
        arrays |= {"input_lengths": INPUT_LENGTHS, "target_lengths": TARGET_LENGTHS}
        arrays["logits"] = logits_of(model, inputs, input_mask, shifted, target_mask)
        arrays["config"] = np.array(json.dumps(heading | foreign))
        path = GOLDEN / f"t5_family_{name}.npz"
        np.savez_compressed(path, **arrays)
        size, scale = path.stat().st_size / 1000, arrays["logits"].std()
        print(f"{path.name}: {size:.0f} kB, logits of {scale:.1f}, margin {margin:.4f}")


if __name__ == "__main__":
    main()
