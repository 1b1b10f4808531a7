"""A `tokenizer.json`, by the `tokenizers` library.

    vocabulary = TokenizerJsonVocabulary(Path("smollm2/tokenizer.json"), read_settings("smollm2"))
    vocabulary.eos_id, vocabulary.start_id       ->  2, None
    vocabulary.special_tokens["<|im_start|>"]    ->  1
    vocabulary.encode("<|im_start|>")            ->  [44, 108, 306, 79, 3738, 108, 46]   # as text

The library finds added tokens wherever a text spells them, and a Unigram model its control pieces
too. So texts are encoded by a copy of the tokenizer in which every control token has another
spelling, one that no text has; the ids stay. Tokens that are added and do not control (Gemma's
runs of newlines) are found as before.

Whether a text begins with BOS is what `add_bos_token` says, or else what the tokenizer's own
post-processor does. What it adds at the end is EOS where no file names one.
"""

import functools
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flanmix.data.tokenizers.ids import encodable, kept_ids, rows_for
from flanmix.data.tokenizers.settings import FILES, TokenizerSettings, read_json
from flanmix.errors import UserError

_PROBE = "a"  # a text to see what the post-processor adds around it


class TokenizerJsonVocabulary:
    """The tokenizer of a `tokenizer.json`.

    Args:
        path: the file.
        settings: what the files beside it say.

    Raises:
        UserError: the file is missing or damaged, or nothing says which token ends a text.
    """

    def __init__(self, path: Path, settings: TokenizerSettings) -> None:
        self.path = path
        self._file = path.absolute()  # the working directory may change
        document = read_json(path)
        if not document:
            raise UserError(f"vocabulary '{path}' cannot be read (no such file, or it is empty)")
        try:
            self._pieces = _pieces(document)
            controls = _controls(document, settings, self._pieces)
            encoder = _without_controls(document, set(controls))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"vocabulary '{path}' is no tokenizer.json, or is damaged ({error!r})"
            ) from None
        self._encoder = _loaded(json.dumps(encoder), path)
        self.size: int = len(self._pieces)
        self.special_tokens: Mapping[str, int] = controls
        self._set_roles(document, settings)

    def _set_roles(self, document: Mapping[str, Any], settings: TokenizerSettings) -> None:
        """Finds padding, EOS, BOS and the unknown piece."""
        ids = {piece: number for number, piece in enumerate(self._pieces) if piece is not None}
        before, after = self._added_around()

        def find(role: str) -> int | None:
            spelling = settings.tokens.get(role)
            return None if spelling is None else ids.get(spelling)

        ends = [number for number in settings.generation_end_ids if 0 <= number < self.size]
        named = [find("eos"), *ends, *after]
        known = [number for number in named if number is not None]
        if not known:
            raise UserError(
                f"vocabulary '{self.path}': nothing says which token ends a text: name it as "
                '"eos_token" in a tokenizer_config.json beside it'
            )
        self.eos_id: int = known[0]
        self.end_ids: tuple[int, ...] = tuple(dict.fromkeys((self.eos_id, *ends)))
        padding = (document.get("padding") or {}).get("pad_id")
        padding = padding if find("pad") is None else find("pad")
        # A piece of text that serves as padding is not dropped where a model writes it.
        self.pad_id: int | None = padding if padding in self.special_tokens.values() else None
        bos = find("bos")
        self.bos_id: int | None = before[0] if bos is None and before else bos
        adds_bos = bool(before) if settings.add_bos is None else settings.add_bos
        self.start_id: int | None = self.bos_id if adds_bos else None
        if settings.add_bos is None and before:
            self.start_id = before[0]
        self.unk_id: int | None = _unknown(document["model"], ids)

    def _added_around(self) -> tuple[list[int], list[int]]:
        """The ids that the post-processor puts before and behind a text."""
        bare = self._whole.encode(_PROBE, add_special_tokens=False).ids
        full = self._whole.encode(_PROBE, add_special_tokens=True).ids
        for start in range(len(full) - len(bare) + 1) if bare else ():
            if full[start : start + len(bare)] == bare:
                return full[:start], full[start + len(bare) :]
        return [], []

    @functools.cached_property
    def _whole(self) -> Any:
        """The tokenizer as it is in the file."""
        return _loaded(self._file.read_text(encoding="utf-8"), self.path)

    def __repr__(self) -> str:
        return f"TokenizerJsonVocabulary({str(self.path)!r})"

    @property
    def padded_size(self) -> int:
        """Rows of an embedding table."""
        return rows_for(self.size)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without BOS and EOS."""
        return self.encode_batch([text])[0].tolist()

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of many texts, each an i32 array."""
        encode = self._encoder.encode_batch_fast  # without offsets, which nothing here reads
        try:
            encoded = encode(list(texts), add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):
            encoded = encode([encodable(text) for text in texts], add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in encoded]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids up to the first that ends a text."""
        return self._whole.decode(kept_ids(ids, self), skip_special_tokens=False)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The tokens as the file spells them (byte-level ones write a space as `Ġ`)."""
        table, size = self._pieces, self.size
        return [
            (table[number] if 0 <= number < size else None) or f"<{number}>"
            for number in map(int, ids)
        ]

    def files(self) -> Mapping[str, bytes | Path]:
        """The file, and what lies beside it of the tokenizer."""
        folder = self._file.parent
        beside = {name: folder / name for name in FILES if (folder / name).is_file()}
        return {**beside, "tokenizer.json": self._file}


def _loaded(text: str, path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain ones
        raise UserError(
            f"vocabulary '{path}' is no tokenizer.json, or is damaged ({error})"
        ) from None


# ---- the file's content ------------------------------------------------------------------------


def _vocabulary(model: Mapping[str, Any]) -> dict[str, int]:
    """The model's pieces with their ids: a mapping, or for Unigram a list with scores."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        return {piece: number for number, (piece, _) in enumerate(vocabulary)}
    return vocabulary


def _pieces(document: Mapping[str, Any]) -> list[str | None]:
    """The spelling of every id; None for those that are not assigned."""
    spelled = {number: piece for piece, number in _vocabulary(document["model"]).items()}
    spelled |= {token["id"]: token["content"] for token in document.get("added_tokens") or ()}
    return [spelled.get(number) for number in range(max(spelled) + 1)]


def _controls(
    document: Mapping[str, Any], settings: TokenizerSettings, pieces: Sequence[str | None]
) -> dict[str, int]:
    """Control tokens by spelling: of those that are added, and those that the files name.

    An ordinary piece that serves as padding, such as `!`, stays text.
    """
    roles = set(settings.tokens.values())
    added = {
        token["content"]: token["id"]
        for token in document.get("added_tokens") or ()
        if token["content"] in roles
        or settings.controls(token["content"], special=token.get("special", False))
    }
    ids = {piece: number for number, piece in enumerate(pieces) if piece is not None}
    named = {*settings.control, *settings.tokens.values()}
    named = {spelling for spelling in named if settings.controls(spelling)}
    return added | {spelling: ids[spelling] for spelling in sorted(named & ids.keys())}


def _without_controls(document: Mapping[str, Any], controls: set[str]) -> dict[str, Any]:
    """The tokenizer with other spellings for its control tokens, and nothing added around texts."""
    secret = secrets.token_hex(16)  # so that no text spells them
    other = {spelling: f"{secret} {number}" for number, spelling in enumerate(sorted(controls))}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {**token, **plain, "content": other[token["content"]]}
        if token["content"] in other
        else token
        for token in document.get("added_tokens") or ()
    ]
    model = dict(document["model"])
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        model["vocab"] = [[other.get(piece, piece), score] for piece, score in vocabulary]
    else:
        model["vocab"] = {other.get(piece, piece): n for piece, n in vocabulary.items()}
    if model.get("unk_token") in other:
        model["unk_token"] = other[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [m for m in model["merges"] if not _touches(m, controls)]
    return {
        **document,
        "added_tokens": added,
        "model": model,
        "post_processor": None,
        "truncation": None,
        "padding": None,
    }


def _touches(merge: str | Sequence[str], controls: set[str]) -> bool:
    """Whether a merge makes or takes a control token's spelling."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left in controls or right in controls or left + right in controls


def _unknown(model: Mapping[str, Any], ids: Mapping[str, int]) -> int | None:
    """The id that the model gives for what it can't hold; None where it holds everything."""
    if model.get("unk_id") is not None:
        return model["unk_id"]
    return ids.get(model["unk_token"]) if model.get("unk_token") else None
