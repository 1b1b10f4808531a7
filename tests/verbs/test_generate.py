"""`flanmix generate`: prompts and mistakes; tests/verbs/test_evaluate.py asks a trained model."""

import pytest

from flanmix import cli
from flanmix.errors import UserError
from flanmix.verbs.generate import read_prompts


def test_prompts_are_lines(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("one\r\n\n  two {x}\n\u2028three\n".encode())
    assert read_prompts(path) == ["one", "  two {x}", "\u2028three"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_file_without_prompts_is_refused(tmp_path, content):
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        read_prompts(path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no prompt"),
        (["--input", "nowhere.txt"], "can't be read"),
        (["--prompt", "x"], "there is no checkpoint"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["generate", "--checkpoint", str(tmp_path), *flags]) == 2
    said = capsys.readouterr().err
    assert said.startswith("flanmix: ")
    assert said.count("\n") == 1
    assert message in said
