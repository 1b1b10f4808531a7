r"""A model's chat template: which file has it, and a conversation through it as one text.

    template = find_template("models/smollm2")           # its tokenizer_config.json's
    template.render([{"role": "user", "content": "Hi"}], add_generation_prompt=True)
    -> "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"

A template is `chat_template.jinja` beside the tokenizer or, where there is none, `chat_template` in
its `tokenizer_config.json`: a text, or a list of named ones, of which `default` is taken. The files
also say how `bos_token`, `eos_token` and the like, which a template may put in, are spelled.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flanmix.data.chat.clock import DAY
from flanmix.errors import UserError

if TYPE_CHECKING:
    from flanmix.data.chat.sandbox import Program

JINJA = "chat_template.jinja"
_CONFIG = "tokenizer_config.json"
_TOKENS = "special_tokens_map.json"
_LARGEST_FILE = 16 * 2**20


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template.

    Attributes:
        text: its Jinja.
        tokens: spellings of the tokens that it may put in, by name, such as `bos_token`.
        place: the file that has it, for messages.
    """

    text: str
    tokens: Mapping[str, str] = field(default_factory=dict)
    place: str = "given"

    @cached_property
    def program(self) -> "Program":
        """The template, compiled.

        Raises:
            UserError: it can't be.
        """
        from flanmix.data.chat.sandbox import Program  # with Jinja, which plain text needs not

        try:
            return Program(self.text)
        except UserError as error:
            raise self.fault(error) from None

    def render(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        add_generation_prompt: bool = False,
        marks: tuple[str, str] = ("", ""),
        now: datetime = DAY,
    ) -> str:
        """Returns a conversation as the template writes it.

        Args:
            messages: mappings of `role` and `content`.
            add_generation_prompt: whether it ends with what comes before an assistant's turn.
            marks: what stands before and after each `{% generation %}` block.
            now: the day that the template is told, if it asks.

        Raises:
            UserError: the template fails, does not end, or refuses the messages.
        """
        values = {
            "messages": list(messages),
            "add_generation_prompt": add_generation_prompt,
            "tools": None,  # as the field does, which calls templates with all three
            "documents": None,
            **self.tokens,
        }
        try:
            return self.program.render(values, marks=marks, now=now)
        except UserError as error:
            raise self.fault(error) from None

    def fault(self, what: object) -> UserError:
        """Returns an error that names the template's file."""
        return UserError(f"chat template {self.place}: {what}")


def find_template(vocabulary: str, given: str | None = None) -> ChatTemplate | None:
    """Returns the chat template of a vocabulary, or the one that is given; None if there is none.

    Args:
        vocabulary: `byte`, `pocket`, or the path of a tokenizer's folder or file.
        given: a file of Jinja to take instead of the tokenizer's own.

    Raises:
        UserError: a file can't be read, or has several templates and no default.
    """
    path = Path(vocabulary).expanduser()
    folder = path if path.is_dir() else path.parent
    named = vocabulary not in ("byte", "pocket") and path.exists()
    config = _read_json(folder / _CONFIG) if named else {}
    tokens = _spellings(_read_json(folder / _TOKENS)) if named else {}
    tokens |= _spellings(config)
    if given is not None:
        return ChatTemplate(_read_text(Path(given).expanduser()), tokens, given)
    if named and (own := folder / JINJA).is_file():
        return ChatTemplate(_read_text(own), tokens, str(own))
    written = config.get("chat_template")
    if written is None:
        return None
    place = str(folder / _CONFIG)
    return ChatTemplate(_default(written, place), tokens, place)


def _default(written: Any, place: str) -> str:
    """The text of a configuration's template, or of the default one of several."""
    if isinstance(written, list):
        try:
            named = {one["name"]: one["template"] for one in written}
        except (TypeError, KeyError):
            named = {}
        if "default" not in named:
            known = ", ".join(map(str, named)) or "none that has a name"
            raise UserError(
                f"{place} has several chat templates ({known}) and no default: put one into a file "
                "and name it in CHAT_TEMPLATE"
            )
        written = named["default"]
    if not isinstance(written, str):
        raise UserError(f"{place}: chat_template is a {type(written).__name__}, not a text")
    return written


def _spellings(config: Mapping[str, Any]) -> dict[str, str]:
    """The spellings of named tokens: a text each, or a mapping that has it as `content`."""
    found = {}
    for name, value in config.items():
        spelling = value.get("content") if isinstance(value, Mapping) else value
        if name.endswith("_token") and isinstance(spelling, str):
            found[name] = spelling
    return found


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object; nothing where there is no file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(_read_text(path))
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is no JSON object")
    return value


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise UserError(f"{path} has more than {_LARGEST_FILE} bytes: it is no chat template")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"chat template {path} can't be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"chat template {path} is no UTF-8 text") from None
