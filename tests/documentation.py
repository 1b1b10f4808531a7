"""Pages that are tested: their files are written, their commands are run.

A fenced block with `file=PATH` is a file. A block of `console` is a session: commands after `$ `,
and under each what it prints on stdout, with `...` for what differs; a command with nothing under
it may print anything. `needs=WORD` marks a session that only some machines can run.
"""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from flanmix import cli
from flanmix.registry import user_code as code

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its attributes and its text."""

    language: str
    attributes: dict[str, str]
    text: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [
        Block(language, dict(word.split("=", 1) for word in rest.split()), text)
        for language, rest, text in _BLOCK.findall(page)
    ]


def files(page: str) -> dict[str, str]:
    """The files that a page shows; of one that it shows twice, the last."""
    return {b.attributes["file"]: b.text for b in blocks(page) if "file" in b.attributes}


def write(name: str, text: str) -> None:
    """Writes a file below the working directory."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def commands(page: str) -> list[list[str]]:
    """The arguments of each `flanmix` command of a page's blocks."""
    lines = "\n".join(b.text for b in blocks(page)).replace("\\\n", " ")
    found = re.findall(r"^(?:\$ )?flanmix (.+)$", lines, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in found]


def walk(page: str, has: set[str], capsys: pytest.CaptureFixture[str]) -> int:
    """Writes a page's files and runs its sessions, in order; returns how many commands ran.

    Sessions that need something run where `has` holds it.
    """
    ran = 0
    for block in blocks(page):
        if "file" in block.attributes:
            write(block.attributes["file"], block.text)
        elif block.language == "console" and block.attributes.get("needs", "") in has:
            for step in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                command, _, expected = step.partition("\n")
                _run(command, expected, capsys)
                ran += 1
    return ran


def _run(command: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, *argv = map(os.path.expanduser, shlex.split(command))
    assert name == "flanmix", command
    capsys.readouterr()
    code.forget_changed()  # each command is the user's new process
    status = cli.main(argv)
    said = capsys.readouterr()
    found = re.search(r": (\d+ problems?)$", expected, re.MULTILINE)
    assert status == (1 if found else 0), f"{command}\n{said.out}{said.err}"
    if expected:
        pattern = ".*".join(re.escape(part) for part in expected.rstrip("\n").split("..."))
        assert re.fullmatch(pattern, said.out.rstrip("\n"), re.DOTALL), f"{command}\n{said.out}"
