"""Writes tests/golden/decoding.npz: what transformers generates with the models of make_goldens.py.

    pip install -e .[bench] && python scripts/make_decoding_goldens.py

The weights are read from tests/golden/t5_1_1.npz and llama.npz. For each of the two, NAME, and each
of its three examples, I, as a prompt (Llama's behind a first token 0):

    NAME/greedy/I               64 tokens, none of which ends a text
    NAME/repetition/I           12 tokens with repetition_penalty=1.5
    NAME/beams/I, NAME/scores/I the 4 best texts of 4 beams [4, 12], padded with -1 after one of
                                `ends`, without length penalty; their log-probabilities

And of logits [8, 64] what the temperature and the filters leave, `filtered`: -inf where nothing.
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.generation import logits_process

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
ENDS = [5, 9, 17, 33]
FILTERS = dict(temperature=0.7, top_k=20, top_p=0.8, min_p=0.1)
LONG, SHORT, BEAMS = 64, 12, 4


def model_of(name: str, golden: dict[str, np.ndarray]):
    """Returns transformers' model of a golden file."""
    ours = json.loads(str(golden["config"]))
    if name == "llama":
        config = transformers.LlamaConfig(
            vocab_size=ours["vocab_size"],
            hidden_size=ours["d_model"],
            intermediate_size=ours["d_ff"],
            num_hidden_layers=ours["num_layers"],
            num_attention_heads=ours["num_heads"],
            num_key_value_heads=ours["num_kv_heads"],
            head_dim=ours["head_dim"],
            rms_norm_eps=ours["norm_epsilon"],
            max_position_embeddings=256,
        )
        model = transformers.LlamaForCausalLM(config)
    else:
        config = transformers.T5Config(
            vocab_size=ours["vocab_size"],
            d_model=ours["d_model"],
            d_kv=ours["head_dim"],
            d_ff=ours["d_ff"],
            num_heads=ours["num_heads"],
            num_layers=ours["num_encoder_layers"],
            num_decoder_layers=ours["num_decoder_layers"],
            relative_attention_num_buckets=ours["num_buckets"],
            relative_attention_max_distance=ours["max_distance"],
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            decoder_start_token_id=0,
        )
        model = transformers.T5ForConditionalGeneration(config)
        model.lm_head = torch.nn.Linear(config.d_model, config.vocab_size, bias=False)
    with torch.no_grad():
        for own, parameter in model.named_parameters():
            parameter.copy_(torch.tensor(golden[f"weights/{own}"]))
    return model.eval()


def generated(name: str) -> dict[str, np.ndarray]:
    """Returns what one model generates."""
    golden = dict(np.load(GOLDEN / f"{name}.npz"))
    model = model_of(name, golden)
    tokens, lengths = ("tokens", "lengths") if name == "llama" else ("inputs", "input_lengths")
    arrays = {}
    for number, (row, length) in enumerate(zip(golden[tokens], golden[lengths], strict=True)):
        prompt = np.concatenate([[0], row[:length]]) if name == "llama" else row[:length]
        ids = torch.tensor(prompt, dtype=torch.int64)[None]
        skipped = len(prompt) if name == "llama" else 1

        def generate(ids=ids, **options):
            plain = dict(do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(ids))
            return model.generate(ids, **plain, **{"eos_token_id": None, **options})

        greedy = generate(max_new_tokens=LONG)
        repetition = generate(max_new_tokens=SHORT, repetition_penalty=1.5)
        found = generate(
            max_new_tokens=SHORT,
            eos_token_id=ENDS,
            num_beams=BEAMS,
            num_return_sequences=BEAMS,
            length_penalty=0.0,
            early_stopping="never",
            return_dict_in_generate=True,
            output_scores=True,
        )
        beams = np.full((BEAMS, SHORT), -1)
        for beam, text in enumerate(found.sequences[:, skipped:].numpy()):
            ends = np.flatnonzero(np.isin(text, ENDS))
            kept = text[: ends[0] + 1] if len(ends) else text
            beams[beam, : len(kept)] = kept
        arrays |= {
            f"{name}/greedy/{number}": greedy[0, skipped:].numpy(),
            f"{name}/repetition/{number}": repetition[0, skipped:].numpy(),
            f"{name}/beams/{number}": beams,
            f"{name}/scores/{number}": found.sequences_scores.numpy(),
        }
    return arrays


def filters() -> dict[str, np.ndarray]:
    """Returns logits, and what the library's chain makes of them."""
    logits = np.random.default_rng(5).normal(0, 2, (8, 64)).astype(np.float32)
    scores = torch.tensor(logits)
    for warper in (
        logits_process.TemperatureLogitsWarper(FILTERS["temperature"]),
        logits_process.TopKLogitsWarper(FILTERS["top_k"]),
        logits_process.TopPLogitsWarper(FILTERS["top_p"]),
        logits_process.MinPLogitsWarper(FILTERS["min_p"]),
    ):
        scores = warper(torch.zeros((8, 1), dtype=torch.int64), scores)
    return {"logits": logits, "filtered": scores.numpy()}


if __name__ == "__main__":
    found = generated("t5_1_1") | generated("llama") | filters()
    notes = {"ends": np.array(ENDS), "filters": np.array(json.dumps(FILTERS))}
    path = GOLDEN / "decoding.npz"
    np.savez_compressed(path, **found, **notes)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
