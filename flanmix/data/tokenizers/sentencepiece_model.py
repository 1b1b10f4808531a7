"""SentencePiece models, alone or in a Hugging Face folder, by the `sentencepiece` library.

    SentencePieceVocabulary("t5_32000.model").encode("That is good.")   ->  [466, 19, 207, 5]
    SentencePieceVocabulary("flan-t5-small/spiece.model", read_settings("flan-t5-small"))
        .special_tokens["<extra_id_0>"]                                 ->  32099

Without settings the model's own ids are all there is. Settings add tokens behind them: those that a
folder lists, and T5's sentinels, of which the last one comes first. All that is added is control.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flanmix.data.tokenizers.ids import encodable, is_control, kept_ids, rows_for
from flanmix.data.tokenizers.settings import FILES, TokenizerSettings
from flanmix.errors import UserError

_PIECES, _PIECE, _KIND = (
    1,
    1,
    3,
)  # fields of ModelProto and SentencePiece (sentencepiece_model.proto)
_CONTROL = 3
_DELIMITED = 2  # wire type
_T5_EXTRA_IDS = 100  # transformers' T5Tokenizer has as many where nothing is said


class SentencePieceVocabulary:
    """A SentencePiece model.

    Args:
        path: the `.model` file.
        settings: what its folder says; None for a model by itself.

    Raises:
        UserError: if the file is missing, is no SentencePiece model, or has no EOS.
    """

    def __init__(
        self, path: str | os.PathLike[str], settings: TokenizerSettings | None = None
    ) -> None:
        self.path = Path(path)
        self._file = self.path.absolute()  # the working directory may change
        self._has_folder = settings is not None
        settings = settings or TokenizerSettings()
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise UserError(
                f"vocabulary '{path}' cannot be read ({error.strerror}): name 'byte', 'pocket', a "
                "SentencePiece .model file, a tokenizer.json or a folder that holds one"
            ) from None
        self._processor = processor = _processor(data, path)
        own = processor.GetPieceSize()
        controls = {processor.IdToPiece(i): i for i in range(own) if processor.IsControl(i)}
        if matched := [i for i in range(own) if _is_matched_control(processor, i)]:
            # Such pieces are found in text wherever it spells them; control pieces never are.
            controls |= {processor.IdToPiece(i).removeprefix("▁"): i for i in matched}
            self._encoder = _processor(_as_controls(data, set(matched)), path)
        else:
            self._encoder = processor
        self._added = {n: text for n, text in _added(settings, own).items() if n >= own}
        self.size: int = max([own - 1, *self._added]) + 1
        named = {text: number for number, text in self._added.items()}
        self.special_tokens: Mapping[str, int] = controls | named
        self._set_roles(settings)

    def _set_roles(self, settings: TokenizerSettings) -> None:
        """Finds padding, EOS, BOS and the unknown piece: by the folder's word, else the model's."""
        processor = self._processor

        def find(role: str, own: int) -> int | None:
            spelling = settings.tokens.get(role)
            if spelling in self.special_tokens:
                return self.special_tokens[spelling]
            return own if own >= 0 else None

        # Without padding of its own the model may have any piece there, such as <unk>.
        self.pad_id: int | None = find("pad", processor.pad_id())
        self.unk_id: int | None = processor.unk_id()
        self.bos_id: int | None = find("bos", processor.bos_id())
        eos = find("eos", processor.eos_id())
        if eos is None:
            raise UserError(
                f"vocabulary '{self.path}' has no end-of-sequence piece: train it with one"
            )
        self.eos_id: int = eos
        others = (number for number in settings.generation_end_ids if number < self.size)
        self.end_ids: tuple[int, ...] = tuple(dict.fromkeys((eos, *others)))
        self.start_id: int | None = 0 if self.bos_id is None else self.bos_id
        if settings.add_bos is False:
            self.start_id = None

    def __repr__(self) -> str:
        return f"SentencePieceVocabulary({str(self.path)!r})"

    @property
    def padded_size(self) -> int:
        """Rows of an embedding table."""
        return rows_for(self.size)

    def encode(self, text: str) -> list[int]:
        """Ids of the text's pieces."""
        return self.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of many texts, each an i32 array."""
        options = {"num_threads": 1, "out_type": "numpy"}
        try:
            return self._encoder.Encode(list(texts), **options)
        except (UnicodeEncodeError, TypeError):
            return self._encoder.Encode([encodable(text) for text in texts], **options)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the pieces up to the first EOS."""
        return self._processor.Decode([n for n in kept_ids(ids, self) if n not in self._added])

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The pieces as the model spells them (`▁` is a space)."""
        own, unknown = self._processor.GetPieceSize(), self._processor.unk_id()
        return [
            self._added.get(number)
            or self._processor.IdToPiece(number if 0 <= number < own else unknown)
            for number in map(int, ids)
        ]

    def files(self) -> Mapping[str, bytes | Path]:
        """The model, and what its folder says of it."""
        folder = self._file.parent
        names = [name for name in FILES if self._has_folder and (folder / name).is_file()]
        return {self._file.name: self._file, **{name: folder / name for name in names}}


def _processor(data: bytes, path: str | os.PathLike[str]) -> Any:
    from sentencepiece import SentencePieceProcessor

    processor: Any = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(data)
    except RuntimeError:
        processor = None
    if processor is None or not processor.GetPieceSize():
        raise UserError(f"vocabulary '{path}' is no SentencePiece model, or is damaged")
    return processor


def _added(settings: TokenizerSettings, own: int) -> dict[int, str]:
    """The tokens that a folder has beside its model's `own`."""
    count = settings.extra_ids
    if count is None:
        count = _T5_EXTRA_IDS if settings.kind.startswith("T5Tokenizer") else 0
    sentinels = {own + count - 1 - number: f"<extra_id_{number}>" for number in range(count)}
    return {**sentinels, **settings.added}


def _is_matched_control(processor: Any, number: int) -> bool:
    """Whether a piece is spelled as control tokens are, and text that spells it would give it."""
    plain = processor.IsControl(number) or processor.IsUnknown(number) or processor.IsByte(number)
    return not plain and is_control(processor.IdToPiece(number))


# ---- the model's file --------------------------------------------------------------------------


def _as_controls(data: bytes, numbers: set[int]) -> bytes:
    """The model with these pieces as control pieces, by the wire format of protocol buffers."""
    parts, number = [], 0
    for field, start, body, stop in _fields(data):
        if field != _PIECES:
            parts.append(data[start:stop])
            continue
        piece = data[body:stop]
        if number in numbers:
            kept = [piece[a:b] for name, a, _, b in _fields(piece) if name != _KIND]
            piece = b"".join([*kept, bytes([_KIND << 3, _CONTROL])])
        parts.append(bytes([_PIECES << 3 | _DELIMITED]) + _varint(len(piece)) + piece)
        number += 1
    return b"".join(parts)


def _fields(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yields each field of a message: its number, where it starts, its content and its end."""
    at = 0
    while at < len(data):
        start = at
        key, at = _read_varint(data, at)
        body = at
        match key & 7:
            case 0:
                _, at = _read_varint(data, at)
            case 1:
                at += 8
            case 2:
                size, body = _read_varint(data, at)
                at = body + size
            case _:
                at += 4
        yield key >> 3, start, body, at


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
