r"""Makes `tasks/pocket/pocket.model`, the small SentencePiece vocabulary that ships.

    python scripts/make_pocket_vocabulary.py

Its pieces are the words of the rendered training records, so that a word is one token, and
SentencePiece trains their scores. Any other text comes back as it went in too: nothing is
normalised, a newline is a piece, and what has no piece is spelled in bytes. Ids are those of T5:
padding 0, end 1, unknown 2, no beginning.
"""

import contextlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import sentencepiece
from train_vocabulary import train

from flanmix.data.canonical import canonicalize
from flanmix.data.render import render
from flanmix.registry.card import load_card
from flanmix.registry.user_code import load_function

POCKET = Path(__file__).resolve().parent.parent / "tasks" / "pocket"
SIZE = 1280  # at most; it has as many pieces as there are words, characters and bytes
# Frequent line ends are pieces: an options block costs one piece an option besides its words.
SYMBOLS = ["\nOptions:\n-", "\n-", "\n"]
SPACE = "\u2581"  # SentencePiece's mark of a space
WORD = re.compile(f"{SPACE}?(?:[A-Za-z]+|[0-9]+|[^A-Za-z0-9{SPACE}])")


def texts() -> Iterator[str]:
    """Every training record, each in one of its task's templates; then every template once."""
    for path in sorted(POCKET.glob("*/*.yaml")):
        spec = load_card(path)
        records = load_function(spec.folder, spec.source.location, path.stem)("train")
        for number, raw in enumerate(records):
            for record in canonicalize(spec, raw, str(number)):
                pair = render(spec, record, number % len(spec.templates))
                yield pair.inputs
                yield pair.targets


def seeds(lines: Sequence[str]) -> str:
    """The candidate pieces with their counts, as SentencePiece reads them: words and characters."""
    counts = Counter(
        piece for line in lines for piece in WORD.findall(SPACE + line.replace(" ", SPACE))
    )
    del counts["\n"]  # one of the symbols
    for character in sorted({c for piece in counts for c in piece}):
        counts.setdefault(character, 1)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f"{piece}\t{count}\n" for piece, count in ranked)


def main() -> None:
    lines = list(texts())
    # The model holds the name of the seeds' file: a relative one, the same on every machine.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("seeds.tsv").write_text(seeds(lines), encoding="utf-8")
        model = train(
            iter(lines),
            SIZE,
            SYMBOLS,
            hard_vocab_limit=False,
            seed_sentencepieces_file="seeds.tsv",
            character_coverage=1.0,
        )
    path = POCKET / "pocket.model"
    path.write_bytes(model)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path)).get_piece_size()
    print(f"{path}: {pieces} pieces, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
