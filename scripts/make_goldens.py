"""Writes tests/golden/*.npz: what transformers and torch compute, for tests that need neither.

    pip install -e .[bench] && python scripts/make_goldens.py

Each model's file holds its configuration (`config`, JSON for our dataclass), its weights by their
names in transformers (`weights/...`), the tokens and lengths of three examples of unequal length in
a padded batch, and the logits. `optimizer.npz` holds parameters, the gradients of two steps, and
the parameters after each step:

    params/NAME, grads_0/NAME, grads_1/NAME         a stack of layers, a matrix, two vectors
    adafactor_factored/STEP/NAME                    transformers: all matrices are factored
    adafactor_whole/STEP/NAME                       the paper's formula: nothing is factored
    adamw/STEP/NAME                                 torch
    hyper                                           JSON: what both optimizers were set to
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.models.t5.modeling_t5 import T5Attention
from transformers.optimization import Adafactor

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
INPUT_LENGTHS, TARGET_LENGTHS = (40, 17, 5), (12, 3, 9)
VOCABULARY = 64


def redraw(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Draws all weights anew, norms too, so that logits are of order one; returns them by name."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.normal_(1.0, 0.1)
            else:
                parameter.normal_(0.0, parameter.shape[-1] ** -0.5)
    return {f"weights/{name}": p.detach().numpy() for name, p in model.named_parameters()}


def tokens(lengths: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Drawn tokens [B, T], padded on the right with 0, and the mask of those drawn."""
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    drawn = np.random.default_rng(seed).integers(1, VOCABULARY, mask.shape)
    return np.where(mask, drawn, 0), mask.astype(np.int64)


def save(name: str, arrays: dict[str, np.ndarray], **facts) -> None:
    path = GOLDEN / f"{name}.npz"
    notes = {key: np.array(json.dumps(value)) for key, value in facts.items()}
    np.savez_compressed(path, **arrays, **notes)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def t5(name: str, version: dict, ours: dict) -> None:
    config = transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=6,
        d_ff=48,
        num_heads=4,
        num_layers=2,
        num_decoder_layers=2,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=16,
        **version,
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    if not version["tie_word_embeddings"]:  # the library ties them in any case
        model.lm_head = torch.nn.Linear(config.d_model, VOCABULARY, bias=False)
    arrays = redraw(model)
    inputs, input_mask = tokens(INPUT_LENGTHS, seed=1)
    targets, target_mask = tokens(TARGET_LENGTHS, seed=2)
    shifted = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    with torch.no_grad():
        logits = model(
            input_ids=torch.tensor(inputs),
            attention_mask=torch.tensor(input_mask),
            decoder_input_ids=torch.tensor(shifted),
            decoder_attention_mask=torch.tensor(target_mask),
        ).logits
    distances = np.arange(-300, 301)
    for direction, bidirectional in (("both", True), ("past", False)):
        buckets = T5Attention._relative_position_bucket(
            torch.tensor(distances), bidirectional, num_buckets=32, max_distance=128
        )
        arrays[f"buckets/{direction}"] = buckets.numpy()
    arrays |= {"inputs": inputs, "targets": targets, "logits": logits.numpy()}
    arrays |= {"input_lengths": INPUT_LENGTHS, "target_lengths": TARGET_LENGTHS}
    sizes = dict(vocab_size=VOCABULARY, d_model=32, head_dim=6, d_ff=48, num_heads=4)
    layers = dict(num_encoder_layers=2, num_decoder_layers=2, num_buckets=8, max_distance=16)
    save(name, arrays, config={**sizes, **layers, **ours})


def llama() -> None:
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
        rms_norm_eps=1e-5,
        max_position_embeddings=64,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    arrays = redraw(model)
    ids, mask = tokens(INPUT_LENGTHS, seed=3)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits
    arrays |= {"tokens": ids, "lengths": INPUT_LENGTHS, "logits": logits.numpy()}
    sizes = dict(vocab_size=VOCABULARY, d_model=32, d_ff=48, num_layers=2, num_heads=4)
    kind = dict(num_kv_heads=2, head_dim=6, norm_epsilon=1e-5, rope_theta=10000.0)
    save("llama", arrays, config={**sizes, **kind})


def adafactor_whole(params, gradients, learning_rate: float):
    """Adafactor without factoring (Shazeer and Stern, 2018, sections 5 to 8)."""
    second = {name: np.zeros_like(p) for name, p in params.items()}
    for step, grads in enumerate(gradients, start=1):
        decay = 1 - step**-0.8
        for name, p in params.items():
            axes = (1, 2) if p.ndim == 3 else None  # in a stack each layer by itself
            second[name] = decay * second[name] + (1 - decay) * (grads[name] ** 2 + 1e-30)
            update = grads[name] / np.sqrt(second[name])
            update /= np.maximum(1.0, np.sqrt((update**2).mean(axes, keepdims=True)))
            scale = np.maximum(1e-3, np.sqrt((p**2).mean(axes, keepdims=True)))
            params = {**params, name: p - learning_rate * scale * update}
        yield params


def torch_steps(make, params, gradients):
    """Steps a torch optimizer; each layer of a stack is a parameter, as in a torch model."""
    split = {name: list(p) if p.ndim == 3 else [p] for name, p in params.items()}
    split = {n: [torch.nn.Parameter(torch.tensor(p)) for p in ps] for n, ps in split.items()}
    optimizer = make([p for parts in split.values() for p in parts])
    for grads in gradients:
        for name, parts in split.items():
            whole = grads[name] if params[name].ndim == 3 else grads[name][None]
            for part, gradient in zip(parts, whole, strict=True):
                part.grad = torch.tensor(gradient)
        optimizer.step()
        stepped = {n: np.stack([p.detach().numpy() for p in ps]) for n, ps in split.items()}
        yield {n: p.reshape(params[n].shape) for n, p in stepped.items()}


def optimizers() -> None:
    draw = np.random.default_rng(4).normal
    shapes = {"stack": (3, 12, 20), "matrix": (40, 12), "vector": (16,), "small": (16,)}
    params = {name: draw(size=shape).astype(np.float32) for name, shape in shapes.items()}
    params["small"] *= np.float32(1e-5)  # its scale is below the floor of 1e-3
    params["stack"] *= np.array([0.1, 1, 10], np.float32)[:, None, None]  # scales of their own
    gradients = [
        {name: (size * draw(size=shape)).astype(np.float32) for name, shape in shapes.items()}
        for size in (0.1, 3.0)  # the second is clipped
    ]
    hyper = {
        "adafactor": dict(learning_rate=0.01, decay_rate=0.8, clip=1.0, eps=[1e-30, 1e-3]),
        "adamw": dict(learning_rate=0.01, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1),
    }

    def adafactor(ps):
        fixed = dict(relative_step=False, scale_parameter=True, warmup_init=False)
        return Adafactor(ps, lr=0.01, decay_rate=-0.8, clip_threshold=1.0, **fixed)

    def adamw(ps):
        return torch.optim.AdamW(ps, lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)

    wide = {name: p.astype(np.float64) for name, p in params.items()}
    runs = {
        "adafactor_factored": torch_steps(adafactor, params, gradients),
        "adafactor_whole": adafactor_whole(wide, gradients, 0.01),
        "adamw": torch_steps(adamw, params, gradients),
    }
    arrays = {f"params/{name}": p for name, p in params.items()}
    for step, grads in enumerate(gradients):
        arrays |= {f"grads_{step}/{name}": g for name, g in grads.items()}
    for run, steps in runs.items():
        for step, stepped in enumerate(steps):
            arrays |= {f"{run}/{step}/{n}": p.astype(np.float32) for n, p in stepped.items()}
    save("optimizer", arrays, hyper=hyper)


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    t5("t5_1_1", dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False), {})
    tied = dict(feed_forward_proj="relu", tie_word_embeddings=True)
    t5("t5_1_0", tied, dict(mlp="relu", tied_head=True))
    llama()
    optimizers()
