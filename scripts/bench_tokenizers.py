r"""Measures encoding: `encode_batch` beside the tokenizer's own library, in CPU seconds.

    python scripts/bench_tokenizers.py --texts ../shared/data/text/documents.jsonl \\
        smollm2 t5_32000.model

Prints megabytes of text a CPU second, of both, and whether the ids are the same. The library is
asked as its users ask it: `Tokenizer.encode_batch`, or `SentencePieceProcessor.Encode`, each
followed by what makes arrays of its lists.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from flanmix.data.tokenizers.tokenizer_json import TokenizerJsonVocabulary
from flanmix.data.vocabulary import Vocabulary, load_vocabulary

BATCH = 64  # texts a call, as the loader reads ahead

Encode = Callable[[Sequence[str]], list[np.ndarray]]


def main() -> None:
    """Prints a line for each tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vocabularies", nargs="+", metavar="V")
    parser.add_argument("--texts", required=True, help="JSONL with a key `text`")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with open(args.texts, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in itertools.islice(lines, args.count)]
    size = sum(len(text.encode()) for text in texts) / 1e6
    for name in args.vocabularies:
        vocabulary = load_vocabulary(name)
        encoders = {"flanmix": vocabulary.encode_batch, "library": library(vocabulary)}
        seconds = {who: [] for who in encoders}
        ids = {}
        for _ in range(args.repeats):
            for who, encode in encoders.items():
                ids[who], spent = measured(encode, texts)
                seconds[who].append(spent)
        same = all(map(np.array_equal, ids["flanmix"], ids["library"]))
        rates = {who: f"{size / min(spent):.2f} MB/CPU s" for who, spent in seconds.items()}
        print(json.dumps({"vocabulary": name, **rates, "same_ids": same}))


def measured(encode: Encode, texts: Sequence[str]) -> tuple[list[np.ndarray], float]:
    """Returns the ids, and the CPU seconds of all threads."""
    start = time.process_time()
    batches = [encode(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
    return [ids for batch in batches for ids in batch], time.process_time() - start


def library(vocabulary: Vocabulary) -> Encode:
    """Returns the library's own way to encode many texts."""
    path = next(iter(vocabulary.files().values()))
    if isinstance(vocabulary, TokenizerJsonVocabulary):
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(vocabulary.path))
        return lambda texts: [
            np.array(encoding.ids, np.int32)
            for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)
        ]
    from sentencepiece import SentencePieceProcessor

    if not isinstance(path, Path):
        raise SystemExit("bytes have no library")
    processor = SentencePieceProcessor(model_file=str(path))  # pyrefly: ignore
    return lambda texts: [
        np.array(ids, np.int32)
        for ids in processor.Encode(list(texts), num_threads=1)  # pyrefly: ignore
    ]


if __name__ == "__main__":
    main()
