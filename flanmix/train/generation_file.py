"""Texts for many prompts, a line each in a JSONL file that grows as they come, and is resumable.

    generate_file(writer, prompts, "out.jsonl", row_of)
    -> out.jsonl                     {"prompt": "What is 2 + 3?", "text": "5"}, a line a prompt
       out.jsonl.settings.json       the checkpoint and the settings that the file was begun with

Called again it goes on behind the lines that are there, and the file becomes what one call would
have made it: prompts are decoded in the same groups. Another checkpoint, other settings or other
prompts than those that the file was begun with are refused.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flanmix.console import bar
from flanmix.errors import UserError
from flanmix.evaluate.predictor import Answer
from flanmix.train.generation import ROWS, Writer

_GROUP = 4 * ROWS  # prompts that are decoded and written together

Row = dict[str, Any]


def generate_file(
    writer: Writer,
    prompts: Sequence[str],
    path: Path,
    row_of: Callable[[int, Answer], Row],
) -> int:
    """Writes the file, or what of it is not there yet.

    Args:
        writer: an opened checkpoint.
        prompts: all prompts.
        path: the file.
        row_of: the line of a prompt, given its number and what was written; has its `prompt`.

    Returns:
        How many lines were there already.

    Raises:
        UserError: the file was begun otherwise, or is not such a file.
    """
    done = _resumed(path, _settings(writer), prompts)
    if done == len(prompts):
        return done
    with (
        path.open("a", encoding="utf-8") as file,
        bar(len(prompts), "prompt", initial=done) as bar_,
    ):
        for first in range(done // _GROUP * _GROUP, len(prompts), _GROUP):
            group = prompts[first : first + _GROUP]
            known = max(done - first, 0)  # decoded again, so that batches are the same
            left = [known]

            def report(count: int, left: list[int] = left) -> None:
                skipped = min(count, left[0])
                left[0] -= skipped
                bar_.update(count - skipped)

            answers = writer.answers(group, report=report)
            for number, answer in enumerate(answers[known:], start=first + known):
                file.write(json.dumps(row_of(number, answer), ensure_ascii=False) + "\n")
            file.flush()
    return done


def _settings(writer: Writer) -> Row:
    """What decides the texts, and is the same in every call of a file."""
    predictor = writer.predictor
    sampling = asdict(predictor.sampling) | {"max_new_tokens": predictor.max_new_tokens}
    settings = {"checkpoint": writer.identity, **sampling, "logprobs": predictor.scored}
    return json.loads(json.dumps(settings))  # as it is read again


def _resumed(path: Path, settings: Row, prompts: Sequence[str]) -> int:
    """Checks the file that is there, cuts off a line that was not finished, and counts the others.

    Raises:
        UserError: see `generate_file`.
    """
    beside = path.with_name(f"{path.name}.settings.json")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        return 0
    anew = "name another file, or delete it to begin anew"
    try:
        begun = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(
            f"{path} is there, and {beside.name} beside it does not say how it was begun: {anew}"
        ) from None
    for name in sorted({*begun, *settings}):
        if begun.get(name) != settings.get(name):
            raise UserError(
                f"{path} was begun with {name} {begun.get(name)!r}, and here it is "
                f"{settings.get(name)!r}: {anew}"
            )
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    lines = data[:whole].decode("utf-8", "replace").split("\n")[:-1]
    for number, line in enumerate(lines):
        if number >= len(prompts) or _prompt_of(line) != prompts[number]:
            raise UserError(f"line {number + 1} of {path} is not of prompt {number + 1}: {anew}")
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
    return len(lines)


def _prompt_of(line: str) -> str | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value.get("prompt") if isinstance(value, dict) else None
