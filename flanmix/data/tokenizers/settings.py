"""What the files beside a tokenizer say of it: which tokens control, which end, whether BOS leads.

    read_settings(folder).tokens      ->  {"eos": "<|im_end|>", "pad": "<|im_end|>", ...}
    read_settings(folder).add_bos     ->  False
    read_settings(folder).generation_end_ids  ->  (2,)

The files are those of Hugging Face's folders: `tokenizer_config.json`, `special_tokens_map.json`,
`added_tokens.json`, `generation_config.json` and `chat_template.jinja`. Each may lack; what none of
them says is None or empty here.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flanmix.data.tokenizers.ids import is_control
from flanmix.errors import UserError

# All that a folder may hold of its tokenizer, beside SentencePiece models.
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
_ROLES = ("eos", "bos", "pad", "unk")
_MORE = ("additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens")


@dataclass(frozen=True)
class TokenizerSettings:
    """What the files say.

    Attributes:
        tokens: `eos`, `bos`, `pad` and `unk` -> spelling, as far as they are said.
        add_bos: whether a text begins with BOS; None where it is not said.
        added: ids of tokens that are added to the model's own -> spelling.
        control: spellings of control tokens.
        generation_end_ids: the ids that end generation, as `generation_config.json` has them.
        extra_ids: how many sentinels `<extra_id_N>` there are; None where it is not said.
        kind: the class of tokenizer, such as `T5Tokenizer`.
        template: the chat template's text; empty where there is none.
    """

    tokens: Mapping[str, str] = field(default_factory=dict)
    add_bos: bool | None = None
    added: Mapping[int, str] = field(default_factory=dict)
    control: frozenset[str] = frozenset()
    generation_end_ids: tuple[int, ...] = ()
    extra_ids: int | None = None
    kind: str = ""
    template: str = ""

    def controls(self, spelling: str, *, special: bool = False) -> bool:
        """Whether a token is a control token, which no text gives.

        It is if its own file says that it is special, if these files name it, if it is spelled as
        control tokens are, or if it stands in brackets and the chat template writes it.
        """
        if special or spelling in self.control or is_control(spelling):
            return True
        bracketed = len(spelling) > 2 and spelling[0] + spelling[-1] in ("<>", "[]")
        return bracketed and spelling in self.template


def read_settings(folder: Path) -> TokenizerSettings:
    """Reads what a folder says of its tokenizer.

    Raises:
        UserError: a file is no JSON, or not of this form.
    """
    said = {**read_json(folder / "special_tokens_map.json")}
    config = read_json(folder / "tokenizer_config.json")
    said |= {name: value for name, value in config.items() if value is not None}
    generation = read_json(folder / "generation_config.json")
    try:
        decoder = said.get("added_tokens_decoder") or {}
        added = {int(number): _spelling(token) or "" for number, token in decoder.items()}
        added |= {int(n): text for text, n in read_json(folder / "added_tokens.json").items()}
        tokens = {role: _spelling(said.get(f"{role}_token")) for role in _ROLES}
        named = {spelling for spelling in _more(said) if spelling}
        named |= {
            text
            for token in decoder.values()
            if token.get("special") and (text := _spelling(token))
        }
        ends = generation.get("eos_token_id")
        return TokenizerSettings(
            tokens={role: spelling for role, spelling in tokens.items() if spelling},
            add_bos=said.get("add_bos_token"),
            added=added,
            control=frozenset(named),
            generation_end_ids=tuple(ends if isinstance(ends, list) else []) or _one(ends),
            extra_ids=said.get("extra_ids"),
            kind=said.get("tokenizer_class", ""),
            template=_template(folder, said),
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"the tokenizer's settings in {folder} (tokenizer_config.json and the files beside "
            f"it) are not of the form that they should have ({error}): fetch them again"
        ) from None


def read_json(path: Path) -> Mapping[str, Any]:
    """Returns a JSON file's object; empty where the file does not exist.

    Raises:
        UserError: it can't be read, or holds no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{path} is no JSON, or is damaged ({error}): fetch it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object: fetch it again")
    return content


def _one(value: int | None) -> tuple[int, ...]:
    return (int(value),) if isinstance(value, int) else ()


def _spelling(token: Any) -> str | None:
    """The text of a token, which is written as it is or with properties around it."""
    return token.get("content") if isinstance(token, Mapping) else token


def _more(said: Mapping[str, Any]) -> Iterator[str | None]:
    for name in _MORE:
        tokens = said.get(name) or ()
        yield from map(_spelling, tokens.values() if isinstance(tokens, Mapping) else tokens)


def _template(folder: Path, said: Mapping[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8", errors="replace")
    template = said.get("chat_template") or ""
    if isinstance(template, str):
        return template
    return "\n".join(str(named.get("template", "")) for named in template)
