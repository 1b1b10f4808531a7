"""A file of generated texts: a run that is interrupted and called again is one that was not."""

import json
from types import SimpleNamespace

import pytest

from flanmix.errors import UserError
from flanmix.evaluate.predictor import Answer
from flanmix.evaluate.sampling import Sampling
from flanmix.train.generation_file import _GROUP, generate_file

PROMPTS = [f"prompt {n}" for n in range(2 * _GROUP + 5)]


class Interrupted(Exception):
    """Stands for whatever stops a process."""


class Writer:
    """Answers with the number of the call's first prompt, so that groups show in the texts."""

    def __init__(self, sampling=Sampling(), identity="a", fails_at=None):  # noqa: B008
        self.predictor = SimpleNamespace(sampling=sampling, max_new_tokens=8, scored=False)
        self.identity = identity
        self.fails_at = fails_at

    def answers(self, prompts, *, report):
        if self.fails_at in prompts:
            raise Interrupted
        report(len(prompts))
        return [Answer(f"{prompt} of {prompts[0]}é\n") for prompt in prompts]


def row_of(number, answer):
    return {"prompt": PROMPTS[number], "text": answer.text}


def run(path, prompts=PROMPTS, **changes):
    return generate_file(Writer(**changes), prompts, path, row_of)


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "whole.jsonl"
    assert run(path) == 0
    return path.read_bytes()


def test_a_line_a_prompt_in_order(whole):
    rows = [json.loads(line) for line in whole.decode().splitlines()]
    assert [row["prompt"] for row in rows] == PROMPTS
    assert rows[_GROUP + 3]["text"] == f"prompt {_GROUP + 3} of prompt {_GROUP}é\n"


@pytest.mark.parametrize("kept", [0, 1, 50, 4_000, -1, -40])
def test_cut_off_anywhere_it_goes_on_to_the_same_file(tmp_path, whole, kept):
    path = tmp_path / "texts.jsonl"
    with pytest.raises(Interrupted):
        run(path, fails_at=PROMPTS[-1])
    path.write_bytes(whole[:kept] if kept else b"")
    assert run(path) == whole[:kept].count(b"\n")
    assert path.read_bytes() == whole
    assert run(path) == len(PROMPTS)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identity": "b"}, "was begun with checkpoint 'a', and here it is 'b'"),
        ({"sampling": Sampling(temperature=1.0)}, "begun with temperature 0.0, and here it is 1.0"),
        ({"sampling": Sampling(stop=("x",))}, "begun with stop"),
        ({"prompts": ["other", *PROMPTS[1:]]}, "line 1 of .* is not of prompt 1"),
        ({"prompts": PROMPTS[:3]}, "line 4 of .* is not of prompt 4"),
    ],
)
def test_another_beginning_is_refused_and_the_file_left_alone(tmp_path, changes, message):
    path = tmp_path / "texts.jsonl"
    run(path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=message):
        run(path, **changes)
    assert path.read_bytes() == before


def test_a_file_of_somebody_else_is_left_alone(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text("mine\n")
    with pytest.raises(UserError, match="does not say how it was begun"):
        run(path)
    assert path.read_text() == "mine\n"
