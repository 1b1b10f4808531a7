"""The tokenizer in a GGUF file, written as `tokenizer.json` with its settings beside it.

    write_tokenizer(folder, said, path)   # said: the header, {"tokenizer.ggml.model": "gpt2", ...}

Byte-level BPE (`gpt2`) is a list of pieces with merges; how a text is first cut into words is not
in the file, only the name of a rule (`pre`). A rule that is not known here is refused: with another
one, some texts would get other ids than the model was trained with.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flanmix.errors import UserError, nearest

_NORMAL, _CONTROL, _DEFINED = 1, 3, 4  # types of tokens
# The words of each rule, as regular expressions; None: each digit apart, then GPT-2's own words.
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_RULES: Mapping[str, str | None] = {
    "smollm": None,
    "llama-bpe": rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}{{1,3}}|{_REST}",
    "qwen2": rf"{_CONTRACTIONS}|{_LETTERS}|\p{{N}}|{_REST}",
}
_ROLES = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}


def write_tokenizer(folder: Path, said: Mapping[str, Any], path: Path) -> None:
    """Writes the files of a tokenizer.

    Args:
        folder: where to; exists.
        said: the header of the GGUF file.
        path: the file, for messages.

    Raises:
        UserError: the tokenizer is of a kind that can't be written exactly.
    """
    kind, rule = said.get("tokenizer.ggml.model"), said.get("tokenizer.ggml.pre")
    if kind != "gpt2":
        raise UserError(
            f"{path}: its tokenizer is of kind {kind!r}, which can't be written exactly: only gpt2 "
            "(byte-level BPE); take the model from its Hugging Face folder"
        )
    if rule not in _RULES:
        raise UserError(
            f"{path}: its tokenizer cuts words by the rule {rule!r}, which is not known"
            f"{nearest(str(rule), _RULES)}; known: {', '.join(_RULES)}"
        )
    try:
        tokens = said["tokenizer.ggml.tokens"]
        types = said.get("tokenizer.ggml.token_type") or [_NORMAL] * len(tokens)
        tokenizer = _built(tokens, types, said["tokenizer.ggml.merges"], rule)
    except KeyError as error:
        raise UserError(f"{path} lacks {error} in its header") from None
    except Exception as error:  # the library has no class of its own for what it refuses
        raise UserError(f"{path}: its header makes no tokenizer: {error}") from None
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {role: said.get(f"tokenizer.ggml.{key}_token_id") for role, key in _ROLES.items()}
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": bool(said.get("tokenizer.ggml.add_bos_token", False)),
        "clean_up_tokenization_spaces": False,
    }
    if odd := [n for n in ids.values() if n is not None and not 0 <= n < len(tokens)]:
        raise UserError(f"{path}: token {odd[0]} is special and not among its {len(tokens)} tokens")
    config |= {f"{role}_token": tokens[n] for role, n in ids.items() if n is not None}
    if template := said.get("tokenizer.chat_template"):
        config["chat_template"] = template
    ends = [ids["eos"], said.get("tokenizer.ggml.eot_token_id")]
    ends = list(dict.fromkeys(number for number in ends if number is not None))
    generation = {f"{role}_token_id": ids[role] for role in ("bos", "pad") if ids[role] is not None}
    generation["eos_token_id"] = ends[0] if len(ends) == 1 else ends
    _write(folder / "tokenizer_config.json", config)
    _write(folder / "generation_config.json", generation)


def _built(tokens: list[str], types: list[int], merges: list[str], rule: str) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    tokenizer: Any = Tokenizer(models.BPE({t: n for n, t in enumerate(tokens)}, pairs))
    words = _RULES[rule]
    if words is None:
        first = pre_tokenizers.Digits(individual_digits=True)
    else:
        first = pre_tokenizers.Split(Regex(words), "isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words is None)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    added = {n: token for n, token in enumerate(tokens) if types[n] in (_CONTROL, _DEFINED)}
    for number, token in added.items():
        special = types[number] == _CONTROL
        tokenizer.add_tokens([AddedToken(token, special=special, normalized=False)])
    return tokenizer


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
