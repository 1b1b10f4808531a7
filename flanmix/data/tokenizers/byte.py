"""UTF-8 bytes as tokens, with the ids of `seqio.ByteVocabulary()` and of ByT5.

ByteVocabulary().encode("hi")  ->  [107, 108]        # pad 0, eos 1, unk 2, byte b is b + 3
byt5(125).size                 ->  384               # <extra_id_0> is 259, as in ByT5's folders

Every text is bytes, so nothing is unknown.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flanmix.data.tokenizers.ids import kept_ids, rows_for

_BYTES = 256
_OFFSET = 3
_SPECIAL = {"<pad>": 0, "</s>": 1, "<unk>": 2}


@dataclass(frozen=True)
class ByteVocabulary:
    """UTF-8 bytes; holds every text."""

    size: int = _BYTES + _OFFSET
    pad_id: int | None = 0
    eos_id: int = 1
    unk_id: int | None = 2
    bos_id: int | None = None
    start_id: int | None = 0
    end_ids: tuple[int, ...] = (1,)
    special_tokens: Mapping[str, int] = field(default_factory=lambda: dict(_SPECIAL), compare=False)

    @property
    def padded_size(self) -> int:
        """Rows of an embedding table."""
        return rows_for(self.size)

    def encode(self, text: str) -> list[int]:
        """One id a byte."""
        return self.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """One id a byte, each text an i32 array."""
        encoded = [text.encode("utf-8", "replace") for text in texts]
        return [np.frombuffer(data, np.uint8).astype(np.int32) + _OFFSET for data in encoded]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the bytes; what is no UTF-8 is left out."""
        kept = [number - _OFFSET for number in kept_ids(ids, self) if number >= _OFFSET]
        return bytes(kept).decode("utf-8", "ignore")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The character of a printable ASCII byte, else `<0x0A>` or the special id's name."""
        special = {number: name for name, number in self.special_tokens.items()}
        return [special.get(int(number)) or self._piece(int(number)) for number in ids]

    def files(self) -> Mapping[str, bytes | Path]:
        """The settings of a ByT5 tokenizer with as many extra ids."""
        settings = {
            "tokenizer_class": "ByT5Tokenizer",
            "extra_ids": self.size - _BYTES - _OFFSET,
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
        }
        return {"tokenizer_config.json": json.dumps(settings, indent=1).encode()}

    def _piece(self, number: int) -> str:
        byte = number - _OFFSET
        if not 0 <= byte < _BYTES:
            return "<unk>"
        return chr(byte) if 0x21 <= byte < 0x7F else f"<0x{byte:02X}>"


def byt5(extra_ids: int) -> ByteVocabulary:
    """Bytes with ByT5's sentinels after them."""
    first = _BYTES + _OFFSET
    sentinels = {f"<extra_id_{number}>": first + number for number in range(extra_ids)}
    return ByteVocabulary(size=first + extra_ids, special_tokens={**_SPECIAL, **sentinels})
