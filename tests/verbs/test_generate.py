"""`flanmix generate`: prompts and mistakes; tests/verbs/test_evaluate.py asks a trained model."""

import io
import json
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix import cli
from flanmix.errors import UserError
from flanmix.evaluate.predictor import Answer, Written
from flanmix.evaluate.sampling import Sampling
from flanmix.verbs import generate as verb
from flanmix.verbs.prompts import read_prompts


def texts(source):
    return [prompt.text for prompt in read_prompts(source)]


class Stdin(io.TextIOWrapper):
    """What a pipe, or a terminal, brings."""

    def __init__(self, data, terminal=False):
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.fixture
def ask(monkeypatch, capsys):
    """Runs the verb with a model that turns a prompt's letters to capitals, cut at nine."""

    def answers(source, prompts, sampling, *, scored, chat, upgrade):
        return [Answer(prompt[:9].upper(), len(prompt) > 9) for prompt in prompts]

    monkeypatch.setattr(verb, "generate", answers)

    def run(*flags, stdin=None, terminal=False):
        if stdin is not None or terminal:
            monkeypatch.setattr(sys, "stdin", Stdin(stdin or b"", terminal))
        code = cli.main(["generate", "--checkpoint", "runs/a", *flags])
        return code, capsys.readouterr()

    return run


def test_prompts_are_lines(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("one\r\n\n  two {x}\n\u2028three\n".encode())
    assert texts(path) == ["one", "  two {x}", "\u2028three"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_file_without_prompts_is_refused(tmp_path, content):
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        read_prompts(path)


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4))
def test_any_text_is_a_prompt_in_json(tmp_path_factory, prompts):
    path = tmp_path_factory.mktemp("prompts") / "asked.jsonl"
    lines = [json.dumps(text if i % 2 else {"prompt": text}) for i, text in enumerate(prompts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert texts(path) == prompts
    other = path.with_suffix(".txt")  # the first line says what it is
    other.write_text("\n\n" + "\n".join(lines), encoding="utf-8")
    assert texts(other) == prompts


def test_text_that_looks_like_json_is_text(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text('"quoted"\n{"prompt": "x"}\n{x}\n')
    assert texts(path) == ['"quoted"', '{"prompt": "x"}', "{x}"]
    path.write_text('{"text": "x"}\n')
    assert texts(path) == ['{"text": "x"}']


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.jsonl", b'{"prompt": "x"}\n\nnot json\n', "line 3 of p.jsonl is no JSON"),
        ("p.jsonl", b'{"prompt": "x"}\n{"text": "y"}\n', "line 2 of p.jsonl has no prompt"),
        ("p.jsonl", b'{"prompt": 7}\n', "line 1 of p.jsonl has no prompt"),
        ("p.jsonl", b'{"prompt": " "}\n', "line 1 of p.jsonl has no prompt"),
        ("p.jsonl", b"[1]\n", "line 1 of p.jsonl has no prompt"),
        ("p.txt", b'{"prompt": "x"}\nplain\n', "line 2 of p.txt is no JSON"),
        ("p.txt", b"one\ntwo \xff\n", "line 2 of p.txt is no UTF-8 text (byte 8 of the file)"),
    ],
)
def test_a_line_that_is_no_prompt_is_named(tmp_path, monkeypatch, ask, name, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    code, said = ask("--input", name)
    assert code == 2
    assert said.err.startswith(f"flanmix: {message}")
    assert said.err.count("\n") == 1


def test_every_prompt_is_printed_with_its_text(ask):
    code, said = ask("--prompt", "a", "b\nc\x1b")
    assert code == 0
    assert said.out.splitlines() == [
        "  prompt    a",
        "  text      A",
        "",
        "  prompt    b",
        "            c\\x1b",
        "  text      B",
        "            C\\x1b",
    ]


@pytest.mark.parametrize("flags", [[], ["--input", "-"]])
def test_prompts_come_from_stdin(ask, flags):
    code, said = ask(*flags, "--json", stdin=b'{"prompt": "a\\nb"}\n"c"\n')
    assert code == 0
    assert json.loads(said.out) == [
        {"prompt": "a\nb", "text": "A\nB"},
        {"prompt": "c", "text": "C"},
    ]
    code, said = ask(*flags, "--json", stdin="b\u00e9\n".encode())
    assert json.loads(said.out) == [{"prompt": "b\u00e9", "text": "B\u00c9"}]


def test_flags_come_before_the_file_and_stdin_is_then_left_alone(ask, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("from a file\n\nb\n")
    code, said = ask("--input", str(path), "--prompt", "a", "0123456789", "--json", stdin=b"never")
    assert code == 0
    asked = [row["prompt"] for row in json.loads(said.out)]
    assert asked == ["a", "0123456789", "from a file", "b"]
    assert said.err.splitlines() == [
        "flanmix: warning: prompt 2 is too long and was truncated",
        f"flanmix: warning: the prompt of line 1 of {path} is too long and was truncated",
    ]


def test_flags_become_settings_and_what_was_asked_for_is_printed(monkeypatch, capsys):
    asked = []

    def answers(source, prompts, sampling, *, scored, chat, upgrade):
        asked.append((sampling, scored))
        return [Answer("x", samples=(Written("x", -0.5), Written("y", -1.0)))]

    monkeypatch.setattr(verb, "generate", answers)
    flags = "--temperature 0.5 --top_k 7 --top_p 0.9 --min_p 0.1 --samples 2 --seed 3 --logprobs"
    flags += " --repetition_penalty 1.2 --max_new_tokens 9 --stop A B"
    command = ["generate", "--checkpoint", "runs/a", "--prompt", "p", *flags.split()]
    assert cli.main([*command, "--json"]) == 0
    wanted = Sampling(
        temperature=0.5,
        top_k=7,
        top_p=0.9,
        min_p=0.1,
        samples=2,
        seed=3,
        repetition_penalty=1.2,
        max_new_tokens=9,
        stop=("A", "B"),
    )
    assert asked == [(wanted, True)]
    samples = [{"text": "x", "logprob": -0.5}, {"text": "y", "logprob": -1.0}]
    assert json.loads(capsys.readouterr().out) == [
        {"prompt": "p", **samples[0], "samples": samples}
    ]
    assert cli.main(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        "  prompt    p",
        "  text      x",
        "  logprob   -0.5000",
        "  text      y",
        "  logprob   -1.0000",
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--top_p", "0.9"], "generate: --top_p is 0.9: must come with a temperature"),
        (["--temperature", "x"], "generate: argument --temperature: 'x' is not a number"),
        (["--temperature", "nan"], "generate: --temperature is nan: must be a finite number"),
        (["--beams", "2", "--samples", "3"], "generate: --samples is 3: must not be more than"),
        (["--output", "o.jsonl", "--json"], "generate: --output writes JSONL already"),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(ask, flags, message):
    code, said = ask("--prompt", "a", *flags)
    assert code == 2
    assert said.err.startswith(f"flanmix: {message}")
    assert said.err.count("\n") == 1


def test_a_file_keeps_what_else_its_lines_have(tmp_path, monkeypatch):
    source, target = tmp_path / "p.jsonl", tmp_path / "folder" / "o.jsonl"
    source.write_text('{"id": 7, "prompt": "a"}\n"b"\n')

    class Writer:
        identity = "x"
        predictor = SimpleNamespace(sampling=Sampling(), max_new_tokens=8, scored=False)

        def answers(self, prompts, report):
            return [
                Answer(prompt.upper(), samples=(Written(prompt.upper()),)) for prompt in prompts
            ]

    monkeypatch.setattr(verb, "open_writer", lambda source, sampling, **_: Writer())
    command = ["generate", "--checkpoint", "runs/a", "--input", str(source)]
    assert cli.main([*command, "--output", str(target)]) == 0
    assert [json.loads(line) for line in target.read_text().splitlines()] == [
        {"id": 7, "prompt": "a", "text": "A"},
        {"prompt": "b", "text": "B"},
    ]


@pytest.mark.parametrize(
    ("flags", "settings", "message"),
    [
        (["--json"], {"terminal": True}, "no prompt: give --prompt TEXT"),
        ([], {"stdin": b"\n"}, "no prompt: stdin has none; give --prompt TEXT"),
        (["--input", "-"], {"stdin": b""}, "no prompt: stdin has none"),
        (["--prompt", "a", " "], {}, "prompt 2 is blank"),
    ],
)
def test_no_prompt_is_one_line(ask, flags, settings, message):
    code, said = ask(*flags, **settings)
    assert code == 2
    assert said.err.startswith(f"flanmix: {message}")
    assert said.err.count("\n") == 1


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
