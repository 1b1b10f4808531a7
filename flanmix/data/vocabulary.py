"""Vocabularies: text to ids and back, without TensorFlow.

    load_vocabulary("byte")              bytes with SeqIO's ids: pad 0, eos 1, byte b is b + 3
    load_vocabulary("pocket")            the small SentencePiece model of the pocket collection
    load_vocabulary("my/sp.model")       any SentencePiece model, by itself
    load_vocabulary("my/tokenizer.json") a tokenizer of the `tokenizers` library
    load_vocabulary("my/folder")         that of a Hugging Face folder, or one that a checkpoint has

    byte.encode("hi") -> [107, 108];  byte.decode([107, 108, 1, 50]) -> "hi"

What is special about a tokenizer is read from its files (`flanmix/data/tokenizers/`), none of it is
assumed: padding may be any id or none, several ids may end a text, and a sequence may begin with
BOS or with its text. Text that spells a control token is text: `encode` never gives one.

`encode` adds neither BOS nor EOS. `decode` stops at the first id that ends a text, drops padding
and control tokens, shows what is unknown, and never raises, whatever ids a model has made. Ids from
`size` on (rows that only pad the embedding table to a multiple of 128) decode as unknown, or as
nothing where the vocabulary has no unknown piece.
"""

import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from flanmix.data.tokenizers.byte import ByteVocabulary
from flanmix.data.tokenizers.folder import open_folder
from flanmix.data.tokenizers.sentencepiece_model import SentencePieceVocabulary
from flanmix.data.tokenizers.settings import read_settings
from flanmix.data.tokenizers.tokenizer_json import TokenizerJsonVocabulary
from flanmix.registry.paths import tasks_root

__all__ = ["ByteVocabulary", "SentencePieceVocabulary", "Vocabulary", "load_vocabulary"]


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
    def unk_id(self) -> int | None:
        """Id of what the vocabulary cannot hold; None where it holds every text."""

    @property
    def bos_id(self) -> int | None:
        """Id of the token BOS, whether or not sequences begin with it; None where there is none."""

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

    def files(self) -> Mapping[str, bytes | Path]:
        """What a folder must hold for `load_vocabulary` to give this vocabulary: name -> content.

        The files as they came, by their paths; or bytes, where there are none.
        """


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
        name: `byte`, `pocket`, the path of a SentencePiece model or of a tokenizer.json, or that of
            a folder with one and the settings beside it.

    Raises:
        UserError: if it cannot be read.
    """
    if name == "byte":
        return ByteVocabulary()
    path = _pocket_model() if name == "pocket" else Path(name).expanduser()
    if path.is_dir():
        return open_folder(path)
    if path.suffix == ".json":
        return TokenizerJsonVocabulary(path, read_settings(path.parent))
    return SentencePieceVocabulary(path)
