"""The tokenizer of a folder, as Hugging Face's have it and as a checkpoint carries it.

    open_folder(Path("smollm2"))        its tokenizer.json
    open_folder(Path("t5-v1_1-small"))  its spiece.model, with the sentinels of its settings
    open_folder(Path("byt5-small"))     bytes: it has settings alone

`tokenizer.json` comes first where there are both, as in `transformers`.
"""

from pathlib import Path

from flanmix.data.tokenizers.byte import ByteVocabulary, byt5
from flanmix.data.tokenizers.sentencepiece_model import SentencePieceVocabulary
from flanmix.data.tokenizers.settings import read_settings
from flanmix.data.tokenizers.tokenizer_json import TokenizerJsonVocabulary
from flanmix.errors import UserError

_MODELS = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model", "sentencepiece.model")
_BYT5_EXTRA_IDS = 125  # transformers' ByT5Tokenizer has as many where nothing is said

Opened = ByteVocabulary | SentencePieceVocabulary | TokenizerJsonVocabulary


def open_folder(folder: Path) -> Opened:
    """Opens the tokenizer of a folder.

    Raises:
        UserError: there is none, or its files can't be read.
    """
    if (folder / "tokenizer.json").is_file():
        return TokenizerJsonVocabulary(folder / "tokenizer.json", read_settings(folder))
    settings = read_settings(folder)
    if settings.kind.startswith("ByT5Tokenizer"):
        count = settings.extra_ids
        return byt5(_BYT5_EXTRA_IDS if count is None else count)
    models = sorted(path.name for path in folder.glob("*.model"))
    known = [name for name in _MODELS if name in models] or models
    if known[1:] and known[0] not in _MODELS:
        raise UserError(
            f"the folder '{folder}' holds several tokenizers ({', '.join(known)}): name one of them"
        )
    if known:
        alone = not (folder / "tokenizer_config.json").exists()
        return SentencePieceVocabulary(folder / known[0], None if alone else settings)
    raise UserError(
        f"the folder '{folder}' holds no tokenizer: no tokenizer.json and no SentencePiece .model"
    )
