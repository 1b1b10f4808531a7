"""Tiny tokenizers of each kind, made where a test needs them."""

import json
from pathlib import Path

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}"
)
TEXTS = ["the cat sat on the mat", "a dog ran after the cat", "<tool> is 12 text\n\n"] * 20


def write_json(folder: Path, name: str, content: object) -> None:
    """Writes one of a folder's JSON files."""
    (folder / name).write_text(json.dumps(content))


def byte_level(folder: Path, *, bos: bool = False, **config: object) -> Path:
    """A folder with a byte-level BPE: special tokens 0 to 2, two more that are merely added."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    plain = [AddedToken("<tool>", lstrip=True), AddedToken("\n\n", normalized=False)]
    tokenizer.add_tokens([*plain, AddedToken("<|more|>", rstrip=True)])
    if bos:
        start = ("<|im_start|>", 1)
        tokenizer.post_processor = TemplateProcessing("<|im_start|> $A", None, [start])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>", "pad_token": None}
    said |= {"chat_template": CHAT} | config
    write_json(folder, "tokenizer_config.json", {k: v for k, v in said.items() if v is not None})
    return folder


def unigram(folder: Path) -> Path:
    """A folder with a Unigram `tokenizer.json`, whose control pieces are in its model, as T5's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁the", -3.0)]
    pieces += [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz</>"]
    tokenizer = Tokenizer(models.Unigram([*pieces, ("<extra_id_0>", 0.0)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = TemplateProcessing("$A </s>", None, [("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>", "<extra_id_0>"])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder, "tokenizer_config.json", {"pad_token": {"content": "<pad>"}})
    return folder


def sentencepiece_model(path: Path, **options: object) -> Path:
    """A SentencePiece model of 20 pieces; T5's special ids if not otherwise said."""
    import sentencepiece

    path.parent.mkdir(parents=True, exist_ok=True)
    ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "vocab_size": 20}
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(TEXTS[:2] * 20),
        model_prefix=str(path.with_suffix("")),
        minloglevel=2,
        num_threads=1,
        **{**ids, **options},
    )
    return path
