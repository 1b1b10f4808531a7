"""Plain text by its bits per byte: what a model has forgotten of language, as a number.

    score_text(model, vocabulary, lengths, read_texts(Path("documents.jsonl"), 100_000), 8)
    ->  TextScore(bits=71204.5, bytes=98112, tokens=24007)          .bits_per_byte -> 0.726

A document is one sequence, begun as training begins one. It is cut into windows of a row's length,
and every token but the sequence's first is predicted once, from what comes before it in its window:

    sequence   s a b c d e f g h     (s starts; rows of 4)
    windows    s a b c | d e f g     read
               a b c d | e f g h     predicted

Windows are packed like examples. Bits are summed over the predicted tokens and divided by the bytes
of the text that they stand for, so that tokenizers of any size compare. Where nothing starts a
sequence, a document's first token is not predicted, and its bytes do not count.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flanmix.data.tokens import Lengths
from flanmix.data.vocabulary import Vocabulary
from flanmix.errors import UserError
from flanmix.evaluate.batches import check_ids, fixed_batches, to_devices
from flanmix.evaluate.rank import target_log_likelihoods
from flanmix.model.api import LanguageModel

_FIELD = "text"


@dataclass(frozen=True)
class TextScore:
    """What a text costs a model.

    Attributes:
        bits: sum of -log2 p over the predicted tokens.
        bytes: UTF-8 bytes of the text that they stand for.
        tokens: how many there are.
    """

    bits: float
    bytes: int
    tokens: int

    @property
    def bits_per_byte(self) -> float:
        """Bits of a byte, on average; lower is better."""
        return self.bits / self.bytes

    def to_json(self) -> dict[str, float]:
        """Returns what `scores.json` holds of it."""
        return {"bits_per_byte": self.bits_per_byte, "bytes": self.bytes, "tokens": self.tokens}


def read_texts(path: Path, most_bytes: int) -> list[str]:
    """Reads documents from the beginning of a file, until they have so many bytes.

    Args:
        path: JSONL with a field `text`, or any other file: one document.
        most_bytes: UTF-8 bytes that are read; the last document is cut there.

    Raises:
        UserError: the file can't be read, has a line without a text, or no text at all.
    """
    texts, left = [], most_bytes
    for text in _documents(path):
        data = text.encode("utf-8", "replace")
        if data.strip():
            texts.append(data[:left].decode("utf-8", "ignore"))
            left -= len(data)
        if left <= 0:
            break
    if not texts:
        raise UserError(f"{path} has no text")
    return texts


def _documents(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            if path.suffix != ".jsonl":
                yield file.read()
                return
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _text(line, f"{path}, line {number}")
    except OSError as error:
        raise UserError(f"text {path} can't be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text (byte {error.start})") from None


def _text(line: str, place: str) -> str:
    try:
        document = json.loads(line)
    except ValueError as error:
        raise UserError(f"{place} is no JSON: {error}") from None
    text = document.get(_FIELD) if isinstance(document, dict) else None
    if not isinstance(text, str):
        raise UserError(f'{place} has no text: write {{"{_FIELD}": "..."}}')
    return text


def score_text(
    model: LanguageModel,
    vocabulary: Vocabulary,
    lengths: Lengths,
    texts: Sequence[str],
    batch_size: int,
    report: Callable[[int], None] = lambda rows: None,
) -> TextScore:
    """Scores documents.

    Args:
        model: a decoder-only model.
        vocabulary: the vocabulary of its training.
        lengths: of its rows.
        texts: the documents.
        batch_size: rows computed together.
        report: called with how many rows were computed since it was called last.

    Raises:
        UserError: the model is an encoder-decoder, or an id is beyond its own.
    """
    if lengths.two_sided:
        raise UserError(
            "bits per byte of a text are of decoder-only models: an encoder-decoder does not "
            "continue a text; leave Evaluation.texts out"
        )
    ids = vocabulary.encode_batch(texts)
    check_ids(ids, model.config.vocab_size)
    rows = _rows(ids, vocabulary.start_id, lengths)
    if not rows["decoder_segment_ids"].any():
        raise UserError("the texts have no token that is predicted: give longer ones")
    nats, tokens = 0.0, 0
    for batch in fixed_batches(rows, batch_size):
        likelihood = np.asarray(target_log_likelihoods(model, to_devices(batch)), np.float64)
        predicted = batch["decoder_segment_ids"] > 0
        nats -= likelihood[predicted].sum()
        tokens += int(predicted.sum())
        report(batch_size)
    counted = sum(_predicted_bytes(t, own, vocabulary) for t, own in zip(texts, ids, strict=True))
    return TextScore(nats / math.log(2), counted, tokens)


def number_of_rows(vocabulary: Vocabulary, lengths: Lengths, texts: Sequence[str]) -> int:
    """Returns how many rows the documents take."""
    ids = vocabulary.encode_batch(texts)
    return len(_rows(ids, vocabulary.start_id, lengths)["decoder_segment_ids"])


def _rows(ids: Sequence[np.ndarray], start_id: int | None, lengths: Lengths) -> dict:
    """The windows of all documents, packed in their order; features [R, T]."""
    length = lengths.row_capacity[0]
    begin = np.array([] if start_id is None else [start_id], np.int32)
    rows: list[list[np.ndarray]] = [[]]
    left = length
    for own in ids:
        sequence = np.concatenate([begin, own])
        for first in range(0, len(sequence) - 1, length):
            window = sequence[first : first + length + 1]
            if len(window) - 1 > left:
                rows.append([])
                left = length
            rows[-1].append(window)
            left -= len(window) - 1
    features = ("input_tokens", "target_tokens", "segment_ids", "positions")
    made = {f"decoder_{name}": np.zeros((len(rows), length), np.int32) for name in features}
    for number, windows in enumerate(rows):
        at = 0
        for segment, window in enumerate(windows, start=1):
            here = slice(at, at + len(window) - 1)
            made["decoder_input_tokens"][number, here] = window[:-1]
            made["decoder_target_tokens"][number, here] = window[1:]
            made["decoder_segment_ids"][number, here] = segment
            made["decoder_positions"][number, here] = np.arange(len(window) - 1)
            at = here.stop
    if lengths.architecture == "prefix":
        made["decoder_prefix"] = np.zeros((len(rows), length), np.int32)
    return made


def _predicted_bytes(text: str, ids: np.ndarray, vocabulary: Vocabulary) -> int:
    """The bytes of a document that its predicted tokens stand for."""
    size = len(text.encode("utf-8", "replace"))
    if vocabulary.start_id is not None or not len(ids):
        return size
    first = vocabulary.decode(ids[:1])
    return size - len(first.encode()) if first and text.startswith(first) else size
