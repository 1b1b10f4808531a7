"""Talking on a terminal: turns, and texts that grow."""

import builtins

import numpy as np
import pytest

from flanmix.verbs.conversation import converse, settled


@pytest.fixture
def talk(monkeypatch, capsys):
    """Types lines; the model's ids are the letters of all turns, and it says the last turn back."""

    def run(*typed, keeps_turns=False, longest=100, stops=()):
        lines = iter(typed)

        def type_line(prompt):
            try:
                return next(lines)
            except StopIteration:
                raise EOFError from None

        asked = []

        def ids_of(turns):
            ids = np.array([ord(letter) for letter in "|".join(turns)])
            return ids[:longest], len(ids) > longest

        def stream(ids):
            asked.append("".join(map(chr, ids)))
            answer = asked[-1].rpartition("|")[2].upper()
            for length in range(1, len(answer) + 1):
                yield answer[:length]

        monkeypatch.setattr(builtins, "input", type_line)
        converse(ids_of, stream, keeps_turns=keeps_turns, stops=stops)
        return asked, capsys.readouterr().out

    return run


def test_each_prompt_stands_alone(talk):
    asked, out = talk("ab", " ", "cd")
    assert asked == ["ab", "cd"]
    assert out == "AB\nCD\n\n"


def test_a_chat_keeps_its_turns_and_leaves_the_oldest_out(talk):
    asked, _ = talk("ab", "cd", "ef", keeps_turns=True)
    assert asked == ["ab", "ab|AB|cd", "ab|AB|cd|CD|ef"]
    asked, _ = talk("ab", "cd", "ef", keeps_turns=True, longest=8)
    assert asked == ["ab", "ab|AB|cd", "cd|CD|ef"]


def test_what_is_too_long_is_truncated(talk):
    asked, _ = talk("a" * 9, "b", longest=8, keeps_turns=True)
    assert asked == ["a" * 8, "b"]


def test_control_characters_are_shown_and_not_obeyed(talk):
    assert talk("a\x1b[2J")[1] == "A\\x1b[2J\n\n"


@pytest.mark.parametrize(
    ("text", "stops", "left"),
    [
        ("one", ("\n\n",), "one"),
        ("one\n", ("\n\n",), "one"),
        ("one\n ", ("\n\n",), "one\n "),
        ("Question", ("Question:", "Q:"), ""),
        ("caf\ufffd", (), "caf"),
    ],
)
def test_only_what_cannot_change_is_shown(text, stops, left):
    assert settled(text, stops) == left
