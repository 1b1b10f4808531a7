r"""Prompts from the command line: texts, files and stdin.

    asked(["What is 2 + 3?"], None)     ->  [Prompt("What is 2 + 3?", name="prompt 1")]
    read_prompts("prompts.txt")         ->  one a line
    read_prompts("prompts.jsonl")       ->  {"prompt": "two\nlines", "id": 7} a line, or a JSON text

A file that ends in `.jsonl`, or whose first line is such an object, has JSON in every line: so a
prompt may have line breaks. Blank lines are none.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flanmix.errors import UserError

_STDIN = "-"
_HOW = "give --prompt TEXT, or --input FILE or stdin with one prompt a line"


@dataclass(frozen=True)
class Prompt:
    """A prompt.

    Attributes:
        text: what is asked.
        name: what it is called in a message.
        others: what else its line of JSON has.
    """

    text: str
    name: str
    others: dict[str, Any] = field(default_factory=dict)


def asked(texts: Sequence[str], source: str | None) -> list[Prompt]:
    """Returns the prompts of the flags in their order, then those of a file or of stdin.

    Args:
        texts: prompts that were given as they are.
        source: the file; `-` for stdin; None: stdin, if there are no texts.

    Raises:
        UserError: there are none, or one is blank; see also `read_prompts`.
    """
    prompts = [Prompt(text, f"prompt {n}") for n, text in enumerate(texts, start=1)]
    for prompt in prompts:
        if not prompt.text.strip():
            raise UserError(f"{prompt.name} is blank")
    if source is not None:
        prompts += read_prompts(source)
    elif not prompts:
        if sys.stdin is None or is_terminal():
            raise UserError(f"no prompt: {_HOW}")
        prompts = read_prompts(_STDIN)
    return prompts


def is_terminal() -> bool:
    """Whether somebody can type prompts."""
    return sys.stdin is not None and sys.stdin.isatty()


def read_prompts(source: str | Path) -> list[Prompt]:
    """The prompts of a file, one a line; lines that are blank are none.

    Args:
        source: the file; `-` for stdin.

    Raises:
        UserError: it can't be read as UTF-8 text, has a line that is no prompt, or none that is.
    """
    place = "stdin" if str(source) == _STDIN else str(source)
    lines = [line.removesuffix("\r") for line in _text(source, place).split("\n")]
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise UserError(f"no prompt: {place} has none; {_HOW}")
    in_json = place.endswith(".jsonl") or _is_object(numbered[0][1])
    prompts = []
    for number, line in numbered:
        name = f"the prompt of line {number} of {place}"
        text, others = line, {}
        if in_json:
            text, others = _from_json(line, f"line {number} of {place}")
        prompts.append(Prompt(text, name, others))
    return prompts


def _text(source: str | Path, place: str) -> str:
    try:
        if str(source) == _STDIN:
            data = sys.stdin.buffer.read()
        else:
            data = Path(source).expanduser().read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"no prompt: {place} can't be read ({reason}); {_HOW}") from error
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"line {line} of {place} is no UTF-8 text (byte {error.start} of the file)"
        ) from error


def _is_object(line: str) -> bool:
    try:
        value = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict) and "prompt" in value


def _from_json(line: str, place: str) -> tuple[str, dict[str, Any]]:
    """The prompt of a line of JSON, and what else it has."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise UserError(f"{place} is no JSON: {error}") from error
    text = value.get("prompt") if isinstance(value, dict) else value
    if not isinstance(text, str) or not text.strip():
        raise UserError(f'{place} has no prompt: write {{"prompt": "..."}}, with a text')
    others = value if isinstance(value, dict) else {}
    return text, {name: other for name, other in others.items() if name != "prompt"}
