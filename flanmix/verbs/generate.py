r"""`flanmix generate --checkpoint DIR`: text from a checkpoint.

    flanmix generate --checkpoint runs/a --prompt "Is 7 even?" "What is 2 + 3?"
      prompt    Is 7 even?
      text      no

      prompt    What is 2 + 3?
      text      5
    flanmix generate --checkpoint runs/a/checkpoints/400 --input prompts.txt --json
    cat questions.txt | flanmix generate --checkpoint runs/a

A file, or stdin where nothing else is asked, has one prompt a line. One that ends in `.jsonl`, or
whose first line is such an object, has one JSON object a line, `{"prompt": "two\nlines"}`, or one
JSON text: so a prompt may have line breaks.

A checkpoint knows its configuration: the model, the lengths and the vocabulary are those of its
training. Decoding is greedy. A prompt that is too long is truncated as in training, with a warning.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

from flanmix.console import print_json, printable, warn
from flanmix.errors import UserError
from flanmix.train.generation import generate
from flanmix.verbs.old_runs import upgraded_record

_STDIN = "-"
_HOW = "give --prompt TEXT, or --input FILE or stdin with one prompt a line"


class Prompt(NamedTuple):
    """A prompt, and what it is called in a message."""

    text: str
    name: str


def main(args: argparse.Namespace) -> int:
    """Runs the verb: prints every prompt with its text, in order.

    Raises:
        UserError: for no prompt, an unreadable file, or no checkpoint.
    """
    prompts = _prompts(args)
    answers = generate(args.checkpoint, [p.text for p in prompts], upgrade=upgraded_record)
    for prompt, answer in zip(prompts, answers, strict=True):
        if answer.truncated:
            warn(f"{prompt.name} is too long and was truncated")
    both = [(prompt.text, answer.text) for prompt, answer in zip(prompts, answers, strict=True)]
    if args.json:
        print_json([{"prompt": prompt, "text": text} for prompt, text in both])
    else:
        pairs = (_part("prompt", prompt) + _part("text", text) for prompt, text in both)
        print("\n\n".join("\n".join(lines) for lines in pairs))
    return 0


def _part(name: str, text: str) -> list[str]:
    """A labelled text, as `flanmix show` prints one."""
    first, *rest = printable(text).split("\n")
    lines = [f"  {name:<9} {first}", *(f"  {'':<9} {line}" for line in rest)]
    return [line.rstrip() for line in lines]


# ---- prompts -----------------------------------------------------------------------------------


def _prompts(args: argparse.Namespace) -> list[Prompt]:
    """The prompts of the flags in their order, then those of the file or of stdin."""
    prompts = [Prompt(text, f"prompt {n}") for n, text in enumerate(args.prompt, start=1)]
    for prompt in prompts:
        if not prompt.text.strip():
            raise UserError(f"{prompt.name} is blank")
    if args.input is not None:
        prompts += read_prompts(args.input)
    elif not prompts:
        if sys.stdin is None or sys.stdin.isatty():
            raise UserError(f"no prompt: {_HOW}")
        prompts = read_prompts(_STDIN)
    return prompts


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
    return [
        Prompt(
            _from_json(line, f"line {number} of {place}") if in_json else line,
            f"the prompt of line {number} of {place}",
        )
        for number, line in numbered
    ]


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


def _from_json(line: str, place: str) -> str:
    """The prompt of a line of JSON."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise UserError(f"{place} is no JSON: {error}") from error
    text = value.get("prompt") if isinstance(value, dict) else value
    if not isinstance(text, str) or not text.strip():
        raise UserError(f'{place} has no prompt: write {{"prompt": "..."}}, with a text')
    return text
