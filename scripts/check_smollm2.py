"""Holds our computation of a pretrained decoder against transformers', on the same folder.

    scripts/get_smollm2.sh models/smollm2
    python scripts/check_smollm2.py models/smollm2 --store store --texts documents.jsonl \
      --peer_python PYTHON        # of an environment with torch and transformers

Everything in f32, plain text with a newline as the separator. The peer is given the very ids: what
is compared is the computation. Printed beside their aims, and exit code 1 if one is missed:

    logits                the largest difference, on documents and on rendered questions
    greedy text           of 20 rendered questions, 32 tokens each: how many are equal
    log-likelihoods       of every option of 500 PIQA and 300 SNLI questions: the largest
                          difference, and both accuracies
    bits per byte         of 100 kB of the documents
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

QUESTIONS = {"piqa": 500, "snli": 300}
SPLITS = ("test", "validation", "train")
NEW_TOKENS = 32
TEXT_BYTES = 100_000
PEER = """
import json, sys
import numpy as np, torch
from transformers import AutoModelForCausalLM
folder, work, new = sys.argv[1], sys.argv[2], int(sys.argv[3])
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
rows = json.load(open(work + "/rows.json"))
out = {}
def forward(ids):
    width = max(map(len, ids))
    tokens = torch.tensor([i + [0] * (width - len(i)) for i in ids])
    mask = torch.tensor([[1] * len(i) + [0] * (width - len(i)) for i in ids])
    with torch.no_grad():
        return model(input_ids=tokens, attention_mask=mask).logits
logits = [forward([ids])[0].numpy() for ids in rows["logits"]]
np.savez(work + "/logits.npz", *logits)
out["greedy"] = []
for ids in rows["greedy"]:
    with torch.no_grad():
        made = model.generate(torch.tensor([ids]), max_new_tokens=new, do_sample=False)
    out["greedy"].append(made[0, len(ids):].tolist())
def summed(pairs):
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
    found = [0.0] * len(pairs)
    for first in range(0, len(order), 16):
        chosen = order[first:first + 16]
        p = torch.log_softmax(forward([pairs[i][0] + pairs[i][1] for i in chosen]).double(), -1)
        for row, i in enumerate(chosen):
            context, option = pairs[i]
            at = torch.arange(len(context) - 1, len(context) + len(option) - 1)
            found[i] = float(p[row, at, torch.tensor(option)].sum())
    return found
out["options"] = summed(rows["options"])
out["windows"] = summed(rows["windows"])
json.dump(out, open(work + "/out.json", "w"))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", required=True, help="where piqa and snli are prepared")
    parser.add_argument("--texts", required=True, type=Path)
    parser.add_argument("--peer_python", required=True)
    args = parser.parse_args()
    ours = Ours(args.folder, args.store, args.texts)
    rows = {
        "logits": ours.sequences,
        "greedy": ours.prompts,
        "options": [pair for task in ours.options.values() for q in task for pair in q],
        "windows": ours.windows,
    }
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "rows.json").write_text(json.dumps(rows))
        command = [args.peer_python, "-c", PEER, str(args.folder), work, str(NEW_TOKENS)]
        subprocess.run(command, check=True)
        theirs = json.loads((Path(work) / "out.json").read_text())
        with np.load(Path(work) / "logits.npz") as stored:
            logits = [stored[name] for name in stored.files]
    return 0 if report(ours, theirs, logits) else 1


class Ours:
    """What we compute of the folder, and the ids that the peer is asked with."""

    def __init__(self, folder: Path, store: str, texts: Path) -> None:
        import jax

        from flanmix.convert.folder import open_pretrained
        from flanmix.data.tokens import Lengths
        from flanmix.data.vocabulary import load_vocabulary
        from flanmix.evaluate.predictor import ModelPredictor
        from flanmix.evaluate.text_score import read_texts, score_text
        from flanmix.model.api import Compute
        from flanmix.model.params import merge, split

        found = open_pretrained(folder)
        abstract = jax.eval_shape(found.config.init, jax.random.key(0))
        self.model = merge(split(abstract)[0], found.params(Compute()))
        self.vocabulary = load_vocabulary(str(folder))
        lengths = Lengths(384, 128, "causal", "\n")
        self.predictor = ModelPredictor(self.model, self.vocabulary, lengths, batch_size=4)
        self.pairs = {name: rendered(name, count, store) for name, count in QUESTIONS.items()}
        first = [pair for pairs in self.pairs.values() for pair in pairs[:10]]
        self.prompts = [self.predictor.prompt(pair)[0].tolist() for pair in first]
        documents = read_texts(texts, TEXT_BYTES)
        cut = [ids[:200].tolist() for ids in self.vocabulary.encode_batch(documents[:10])]
        self.sequences = [*cut, *self.prompts[::2]]
        self.options = {name: self.asked(name) for name in QUESTIONS}
        ids = self.vocabulary.encode_batch(documents)
        windows = [own[i : i + 513].tolist() for own in ids for i in range(0, len(own) - 1, 512)]
        self.windows = [(window[:1], window[1:]) for window in windows]
        self.text = score_text(self.model, self.vocabulary, lengths, documents, 4)

    def asked(self, name: str) -> list[list[tuple[list[int], list[int]]]]:
        """The context and the option's ids, of each option of each question."""
        pairs = self.pairs[name]
        questions = self.predictor._questions(pairs, [pair.options for pair in pairs])
        return [
            [(option.inputs.tolist(), option.targets.tolist()) for option in question]
            for question in questions
        ]

    def scores(self, name: str) -> list[np.ndarray]:
        """Log-likelihoods of each question's options."""
        from flanmix.evaluate.rank import rank

        pairs = self.pairs[name]
        questions = self.predictor._questions(pairs, [pair.options for pair in pairs])
        options = dict(lengths=self.predictor.lengths, batch_size=4)
        found = rank(self.model, questions, start_id=self.vocabulary.start_id, **options)
        return [score.sums for score in found]

    def logits(self, ids: list[int]) -> np.ndarray:
        """Logits of one sequence, padded so that few shapes are compiled."""
        import jax
        import jax.numpy as jnp

        width = -(-len(ids) // 256) * 256
        tokens = jnp.zeros((1, width), jnp.int32).at[0, : len(ids)].set(jnp.array(ids))
        segments = (jnp.arange(width) < len(ids)).astype(jnp.int32)[None]
        batch = {
            "decoder_input_tokens": tokens,
            "decoder_segment_ids": segments,
            "decoder_positions": jnp.arange(width)[None] * segments,
        }
        return np.asarray(jax.jit(lambda m, b: m(b))(self.model, batch))[0, : len(ids)]

    def greedy(self) -> list[list[int]]:
        """The ids written to each prompt."""
        from flanmix.evaluate.decode import Decoding, generate

        longest = max(map(len, self.prompts))
        options = dict(end_ids=self.vocabulary.end_ids, start_id=self.vocabulary.start_id)
        decoding = Decoding(self.model, longest, NEW_TOKENS, batch_size=20, **options)
        prompts = [np.array(prompt, np.int32) for prompt in self.prompts]
        return [own.ids.tolist() for (own,) in generate(decoding, prompts)]


def rendered(name: str, count: int, store: str) -> list:
    """The first records of a task that `flanmix show --template 0` shows, split by split."""
    from flanmix.data.preview import preview
    from flanmix.data.store.store import Store
    from flanmix.registry.catalogue import default_catalogue

    task, pairs = default_catalogue().task(name), []
    for split in SPLITS:
        if left := count - len(pairs):
            pairs += preview(task, count=left, split=split, template=0, store=Store(store))
    return pairs


def report(ours: Ours, theirs: dict, logits: list[np.ndarray]) -> bool:
    """Prints what was measured; returns whether all of it is as it should be."""
    good = True

    def line(what: str, measured: str, aim: str, ok: bool) -> None:
        nonlocal good
        good &= ok
        print(f"{what:<24} {measured:<58} {aim:<16} {'ok' if ok else 'MISSED'}")

    own = [ours.logits(ids) for ids in ours.sequences]
    worst = max(np.abs(a - b).max() for a, b in zip(own, logits, strict=True))
    same = all((a.argmax(-1) == b.argmax(-1)).all() for a, b in zip(own, logits, strict=True))
    size = max(np.abs(b).max() for b in logits)
    measured = f"{worst:.1e} on logits up to {size:.1f}; argmax {'equal' if same else 'differs'}"
    line("logits", measured, "1e-3, equal", bool(worst <= 1e-3) and same)
    pairs = list(zip(ours.greedy(), theirs["greedy"], strict=True))
    equal = sum(a == b for a, b in pairs)
    line("greedy text", f"{equal} of {len(pairs)} equal", "all", equal == len(pairs))
    at = 0
    for name, pairs_of in ours.pairs.items():
        scores, right = ours.scores(name), [0, 0]
        differences = []
        for pair, sums in zip(pairs_of, scores, strict=True):
            peer = np.array(theirs["options"][at : at + len(sums)])
            at += len(sums)
            differences.append(np.abs(peer - sums).max())
            for side, found in enumerate((sums, peer)):
                right[side] += pair.options[int(np.argmax(found))] in pair.references
        accuracies = [100 * r / len(scores) for r in right]
        measured = f"{max(differences):.1e} nats; accuracy {accuracies[0]:.2f} and "
        measured += f"{accuracies[1]:.2f} on {len(scores)}"
        ok = max(differences) <= 1e-2 and abs(right[0] - right[1]) <= 1
        line(f"log-likelihoods, {name}", measured, "1e-2, equal", bool(ok))
    bits = -sum(theirs["windows"]) / np.log(2) / ours.text.bytes
    difference = abs(bits - ours.text.bits_per_byte)
    measured = f"{ours.text.bits_per_byte:.5f} and {bits:.5f}, {ours.text.bytes} bytes"
    line("bits per byte", measured, "1e-4", bool(difference <= 1e-4))
    return good


if __name__ == "__main__":
    sys.exit(main())
