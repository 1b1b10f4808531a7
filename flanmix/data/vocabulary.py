"""Vocabularies: text to ids and back, without TensorFlow.

    load_vocabulary("byte")         bytes with SeqIO's ids: pad 0, eos 1, unk 2, byte b is b + 3
    load_vocabulary("pocket")       the small SentencePiece model of the pocket collection
    load_vocabulary("my/sp.model")  any SentencePiece model

    byte.encode("hi") -> [107, 108];  byte.decode([107, 108, 1, 50]) -> "hi"

`encode` adds neither BOS nor EOS. `decode` stops at the first EOS, drops the vocabulary's padding,
shows what is unknown, and never raises, whatever ids a model has made. Ids from `size` on (rows
that only pad the embedding table to a multiple of 128) decode as unknown.
"""

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from flanmix.errors import UserError
from flanmix.registry.paths import tasks_root

_LANES = 128
_BYTES = 256
_OFFSET = 3


class Vocabulary(Protocol):
    """What the loader and the evaluator need of a vocabulary."""

    @property
    def size(self) -> int:
        """Number of ids."""

    @property
    def pad_id(self) -> int | None:
        """Id of padding, which `decode` drops; None where 0, which fills rows up, is a piece."""

    @property
    def eos_id(self) -> int:
        """Id that ends a text."""

    @property
    def unk_id(self) -> int:
        """Id of what the vocabulary cannot hold."""

    @property
    def bos_id(self) -> int | None:
        """Id that begins a decoder-only sequence, or None where 0 does, as for T5 always."""

    @property
    def start_id(self) -> int | None:
        """Id that a decoder-only sequence begins with; None where it begins with its text."""

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Ids that end a text that a model writes; `eos_id`, which is trained, is the first."""

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Control tokens by their spelling: for templates and chat formats; no text gives them."""

    @property
    def padded_size(self) -> int:
        """`size` rounded up to a multiple of 128: rows of an embedding table."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without BOS and EOS."""

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of many texts, each an i32 array of its own length."""

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids up to the first EOS."""

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """A printable name for each id."""


def _until_eos(ids: Iterable[int], vocabulary: "Vocabulary") -> list[int]:
    """The ids before the first EOS, without padding, unassigned ones as unknown."""
    kept = []
    for number in ids:
        number = int(number)
        if number == vocabulary.eos_id:
            break
        if number != vocabulary.pad_id:
            kept.append(number if 0 <= number < vocabulary.size else vocabulary.unk_id)
    return kept


def _round_up(size: int) -> int:
    return -(-size // _LANES) * _LANES


def _encodable(text: str) -> str:
    """The text with lone surrogates, which UTF-8 cannot hold, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True)
class ByteVocabulary:
    """UTF-8 bytes, with the ids of `seqio.ByteVocabulary()`; holds every text."""

    size: int = _BYTES + _OFFSET
    pad_id: int | None = 0
    eos_id: int = 1
    unk_id: int = 2
    bos_id: int | None = None
    start_id: int | None = 0
    end_ids: tuple[int, ...] = (1,)
    special_tokens: Mapping[str, int] = field(default_factory=dict)

    @property
    def padded_size(self) -> int:
        """Rows of an embedding table."""
        return _round_up(self.size)

    def encode(self, text: str) -> list[int]:
        """One id a byte."""
        return self.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """One id a byte, each text an i32 array."""
        encoded = [text.encode("utf-8", "replace") for text in texts]
        return [np.frombuffer(data, np.uint8).astype(np.int32) + _OFFSET for data in encoded]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the bytes; what is no UTF-8 is left out."""
        kept = [number - _OFFSET for number in _until_eos(ids, self) if number >= _OFFSET]
        return bytes(kept).decode("utf-8", "ignore")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The character of a printable ASCII byte, else `<0x0A>` or the special id's name."""
        special = {0: "<pad>", self.eos_id: "</s>"}
        return [special.get(int(number)) or self._piece(int(number)) for number in ids]

    def _piece(self, number: int) -> str:
        byte = number - _OFFSET
        if not 0 <= byte < _BYTES:
            return "<unk>"
        return chr(byte) if 0x21 <= byte < 0x7F else f"<0x{byte:02X}>"


class SentencePieceVocabulary:
    """A SentencePiece model, by the `sentencepiece` library.

    Args:
        path: the `.model` file.

    Raises:
        UserError: if the file is missing, is no SentencePiece model, or has no EOS.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        from sentencepiece import SentencePieceProcessor

        self.path = Path(path)
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise UserError(
                f"vocabulary '{path}' cannot be read ({error.strerror}): name 'byte', 'pocket' or "
                "the path of a SentencePiece .model file"
            ) from None
        processor: Any = SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(data)
        except RuntimeError:
            processor = None
        if processor is None or not processor.GetPieceSize():
            raise UserError(f"vocabulary '{path}' is no SentencePiece model, or is damaged")
        self._processor = processor
        self.size: int = processor.GetPieceSize()
        # Without padding of its own the model may have any piece there, such as <unk>.
        self.pad_id: int | None = processor.pad_id() if processor.pad_id() >= 0 else None
        self.eos_id: int = processor.eos_id()
        self.unk_id: int = processor.unk_id()
        self.bos_id: int | None = processor.bos_id() if processor.bos_id() >= 0 else None
        if self.eos_id < 0:
            raise UserError(f"vocabulary '{path}' has no end-of-sequence piece: train it with one")
        self.start_id: int | None = 0 if self.bos_id is None else self.bos_id
        self.end_ids: tuple[int, ...] = (self.eos_id,)
        self.special_tokens: Mapping[str, int] = {}

    def __repr__(self) -> str:
        return f"SentencePieceVocabulary({str(self.path)!r})"

    @property
    def padded_size(self) -> int:
        """Rows of an embedding table."""
        return _round_up(self.size)

    def encode(self, text: str) -> list[int]:
        """Ids of the text's pieces."""
        return self.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of many texts, each an i32 array."""
        options = {"num_threads": 1, "out_type": "numpy"}
        try:
            return self._processor.Encode(list(texts), **options)
        except (UnicodeEncodeError, TypeError):
            return self._processor.Encode([_encodable(text) for text in texts], **options)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the pieces up to the first EOS."""
        return self._processor.Decode(_until_eos(ids, self))

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The pieces as the model spells them (`▁` is a space)."""
        known = [int(n) if 0 <= int(n) < self.size else self.unk_id for n in ids]
        return [self._processor.IdToPiece(number) for number in known]


def _pocket_model() -> Path:
    """`pocket/pocket.model` in the roots of tasks; the first one that has it."""
    named = [root for root in os.environ.get("FLANMIX_TASKS", "").split(os.pathsep) if root]
    roots = [*map(Path, named), Path("tasks"), tasks_root()]
    paths = [root / "pocket" / "pocket.model" for root in roots]
    return next((path for path in paths if path.is_file()), paths[-1])


@functools.cache
def load_vocabulary(name: str) -> Vocabulary:
    """The vocabulary of a name; loaded once per process.

    Args:
        name: `byte`, `pocket`, or the path of a SentencePiece model.

    Raises:
        UserError: if the model cannot be read.
    """
    if name == "byte":
        return ByteVocabulary()
    return SentencePieceVocabulary(_pocket_model() if name == "pocket" else name)
