"""Writes tests/golden/decoders/*.npz: what transformers computes with tiny decoders of each family.

    pip install torch transformers && python scripts/make_decoder_goldens.py

A file holds the model's `config.json` (`config`), its weights one after another, of numbers that
float16 has (`weights`), with their names and shapes (`shapes`), three texts of unequal lengths
(`tokens`, `lengths`) with the `logits` of all their positions, computed as a padded batch, and for
three prompts (`prompts`, `prompt_lengths`) the tokens that greedy decoding continues them with
(`greedy`). Texts and continuations are longer than the windows and than the length that a scaled
rotation was trained on, and caps are low, so that all of it counts.
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden" / "decoders"
VOCABULARY = 48
LENGTHS, PROMPT_LENGTHS, NEW = (40, 17, 5), (11, 6, 3), 64
WINDOW, TRAINED = 8, 16  # tokens

SIZES = dict(
    vocab_size=VOCABULARY,
    hidden_size=24,
    intermediate_size=32,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    attn_implementation="eager",
    pad_token_id=0,
)
GEMMA = dict(head_dim=8, query_pre_attn_scalar=5, sliding_window=WINDOW)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
YARN = dict(rope_type="yarn", factor=4.0)
LENGTH = dict(original_max_position_embeddings=TRAINED)

# name -> (class of the configuration, its fields besides the sizes)
MODELS = {
    "llama3": (
        transformers.LlamaConfig,
        dict(num_hidden_layers=2, rope_parameters=LLAMA3 | LENGTH | {"rope_theta": 500.0}),
    ),
    "llama_linear": (
        transformers.LlamaConfig,
        dict(
            num_hidden_layers=2,
            tie_word_embeddings=True,
            rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=100.0),
        ),
    ),
    "mistral": (
        transformers.MistralConfig,
        dict(num_hidden_layers=2, sliding_window=WINDOW, head_dim=8),
    ),
    "qwen2": (
        transformers.Qwen2Config,
        dict(
            num_hidden_layers=3,
            use_sliding_window=True,
            sliding_window=WINDOW,
            max_window_layers=1,
            tie_word_embeddings=True,
        ),
    ),
    "qwen2_yarn": (
        transformers.Qwen2Config,
        dict(num_hidden_layers=2, rope_parameters=YARN | LENGTH | {"rope_theta": 300.0}),
    ),
    "qwen3": (transformers.Qwen3Config, dict(num_hidden_layers=2, head_dim=8)),
    "gemma2": (
        transformers.Gemma2Config,
        dict(num_hidden_layers=3, attn_logit_softcapping=2.0, final_logit_softcapping=3.0, **GEMMA),
    ),
    "gemma3": (
        transformers.Gemma3TextConfig,
        dict(
            num_hidden_layers=7,
            rope_parameters={
                "full_attention": dict(rope_type="linear", factor=4.0, rope_theta=400.0),
                "sliding_attention": dict(rope_type="default", rope_theta=50.0),
            },
            **GEMMA,
        ),
    ),
}


def redraw(model: torch.nn.Module, seed: int) -> dict[str, np.ndarray]:
    """Draws all weights anew, so that all of them count; returns them by name, as float16."""
    draw = np.random.default_rng(seed).normal
    around = 0.0 if model.config.model_type.startswith("gemma") else 1.0
    weights = {}
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        if name.endswith("bias"):
            drawn = draw(0, 0.5, shape)
        elif parameter.ndim == 1:
            drawn = draw(around, 0.2, shape)
        else:
            drawn = draw(0, shape[-1] ** -0.5, shape)
        weights[name] = drawn.astype(np.float16)
        parameter.data = torch.tensor(weights[name].astype(np.float32))
    return weights


def texts(lengths: tuple[int, ...], seed: int) -> np.ndarray:
    """Drawn tokens, padded on the right with 0."""
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return np.where(mask, np.random.default_rng(seed).integers(1, VOCABULARY, mask.shape), 0)


def continued(model: torch.nn.Module, prompt: np.ndarray) -> tuple[list[int], float]:
    """Greedy tokens, each from a pass over all before it, and the least lead of a best logit."""
    tokens, margin = list(prompt), np.inf
    for _ in range(NEW):
        logits = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
        second, best = np.sort(logits.numpy())[-2:]
        margin = min(margin, best - second)
        tokens.append(int(logits.argmax()))
    return tokens[len(prompt) :], float(margin)


def write(name: str, kind: type, fields: dict) -> None:
    config = kind(**SIZES, **fields)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    tokens, prompts = texts(LENGTHS, 3), texts(PROMPT_LENGTHS, 4)
    mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    for seed in range(20):  # until no token is chosen by a hair
        weights = redraw(model, seed)
        rows = zip(prompts, PROMPT_LENGTHS, strict=True)
        found = [continued(model, prompt[:length]) for prompt, length in rows]
        if (margin := min(m for _, m in found)) > 1e-3:
            break
    else:
        raise SystemExit(f"{name}: no seed gives clear choices")
    padded = dict(input_ids=torch.tensor(tokens), attention_mask=torch.tensor(mask).long())
    logits = model(**padded).logits.numpy()[mask]
    path = GOLDEN / f"{name}.npz"
    np.savez_compressed(
        path,
        weights=np.concatenate([weight.ravel() for weight in weights.values()]),
        shapes=np.array(json.dumps({name: w.shape for name, w in weights.items()})),
        config=np.array(json.dumps(config.to_diff_dict() | {"model_type": config.model_type})),
        tokens=tokens.astype(np.int32),
        lengths=LENGTHS,
        logits=logits,
        prompts=prompts.astype(np.int32),
        prompt_lengths=PROMPT_LENGTHS,
        greedy=np.array([tokens for tokens, _ in found], np.int32),
    )
    size = path.stat().st_size / 1000
    print(
        f"{path.name}: {size:.0f} kB, logits {logits.std():.2f}, margin {margin:.4f}, seed {seed}"
    )


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for name, (kind, fields) in MODELS.items():
            write(name, kind, fields)
