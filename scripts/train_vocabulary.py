r"""Trains a SentencePiece vocabulary on a mixture's training text, as a run would sample it.

    flanmix prepare real_small --store STORE
    python scripts/train_vocabulary.py real_small --store STORE --size 8000 --output my.model
    flanmix train ... --gin.VOCABULARY="'my.model'"

The text is the mixture's first samples at its own rates, each rendered in the template that a run
with the same seed would draw, inputs and targets; few-shot exemplars are left out. Nothing of
validation or test is read. Ids are those of T5 (padding 0, end 1, unknown 2, no beginning), nothing
is normalised, and what has no piece is spelled in bytes, so that any text comes back as it went in.
Line breaks and the frame of an options block are pieces of their own.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import sentencepiece

from flanmix.data.mixing import SampleOrder
from flanmix.data.render import draw, render
from flanmix.data.store.store import Store
from flanmix.errors import UserError
from flanmix.registry.catalogue import default_catalogue
from flanmix.registry.mixture import Mixture, resolve

SYMBOLS = ["\nOptions:\n-", "Options:\n-", "\n\n", "\n-", "\n"]


def texts(mixture: Mixture, store: Store, samples: int, seed: int) -> Iterator[str]:
    """Inputs and targets of the first samples."""
    readers = [store.open(task.spec, "train") for task in mixture.tasks]
    rates = [task.rate for task in mixture.tasks]
    order = SampleOrder(rates, [len(reader) for reader in readers], mixture.names, seed)
    for number in range(samples):
        sample = order.sample(number)
        task, record = mixture.tasks[sample.task], readers[sample.task][sample.index]
        drawn = draw(task.spec, record, task.templates, seed, sample.epoch)
        if drawn is not None:
            pair = render(task.spec, record, drawn[0], reference=drawn[1])
            yield pair.inputs
            yield pair.targets


def train(lines: Iterator[str], size: int, symbols: list[str], **options: object) -> bytes:
    """A unigram model of the text, serialized; `options` are SentencePiece's, beyond ours."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        model_type="unigram",
        vocab_size=size,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=symbols,
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("mixture", metavar="MIXTURE")
    parser.add_argument("--store", required=True, metavar="DIR", help="where it has been prepared")
    parser.add_argument("--output", required=True, metavar="FILE", help="the model to write")
    parser.add_argument("--size", type=int, default=8000, metavar="N", help="pieces (8000)")
    parser.add_argument("--samples", type=int, default=60_000, metavar="N", help="examples read")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the run's seed (0)")
    args = parser.parse_args()
    store, catalogue = Store(args.store), default_catalogue()
    mixture = resolve(
        catalogue.mixture(args.mixture), catalogue, lambda spec: store.count(spec, "train")
    )
    model = train(texts(mixture, store, args.samples, args.seed), args.size, SYMBOLS)
    Path(args.output).write_bytes(model)
    print(f"{args.output}: {args.size} pieces, {len(model)} bytes")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"train_vocabulary: {error}")
