"""A run with FORMAT = 'chat', from its records to the text that its checkpoint writes."""

import json

import pytest

import flanmix
from flanmix import cli
from flanmix.data.vocabulary import load_vocabulary
from flanmix.evaluate.predictor import ModelPredictor
from flanmix.learn.checkpoint import newest_record
from flanmix.train.generation import open_writer
from tests.data.chat.models import TEMPLATES, write_folder
from tests.train.training import one_error

CARD = """
name: talk
version: 1
kind: generation
source: {jsonl: "."}
splits: {train: "talk.jsonl[:-4]", test: "talk.jsonl[-4:]"}
fields: {text: text}
answer: answer
messages: turns
templates:
  - {inputs: "Repeat: {text}"}
metrics: [exact_match]
"""
DECODER = [
    "MODEL=@DecoderConfig()",
    "DecoderConfig.vocab_size=384",
    "DecoderConfig.d_model=16",
    "DecoderConfig.d_ff=32",
    "DecoderConfig.num_heads=2",
    "DecoderConfig.num_kv_heads=2",
    "DecoderConfig.head_dim=8",
    "DecoderConfig.num_layers=1",
]


@pytest.fixture
def chat(train, workplace):
    """Trains a decoder in chat format; (run_dir, more gin) -> (exit code, what was printed)."""
    folder = write_folder(workplace.folder / "model", "chatml")

    def run(run_dir, *gin):
        usual = [*DECODER, f"VOCABULARY={folder}", "FORMAT=chat", "STEPS=2"]
        said = {binding.partition("=")[0] for binding in gin}
        return train(run_dir, *(b for b in usual if b.partition("=")[0] not in said), *gin)

    return run


@pytest.fixture
def asked(monkeypatch):
    """The prompts that models are asked with, as they are asked."""
    prompts = []
    write = ModelPredictor.write

    def spied(self, given, **options):
        prompts.extend(given)
        return write(self, given, **options)

    monkeypatch.setattr(ModelPredictor, "write", spied)
    return prompts


ASKED = "<|im_start|>userĊab<|im_end|>Ċ<|im_start|>assistantĊ"
SYSTEM = "<|im_start|>systemĊBeĠbrief.<|im_end|>Ċ"


def test_a_run_asks_as_it_was_trained(chat, workplace, asked):
    """Its checkpoint needs neither the tokenizer's folder nor a flag to be asked in its format."""
    code, said = chat("chat/a", "SYSTEM=Be brief.", "EVAL_EVERY=1", "EVAL_EXAMPLES=2")
    assert code == 0, said.err
    record = newest_record(workplace.folder / "chat/a")
    assert (record["data"]["FORMAT"], record["data"]["SYSTEM"]) == ("chat", "Be brief.")
    pieces = load_vocabulary(str(workplace.folder / "model")).pieces
    for more in ({}, {"chat": True}):
        flanmix.generate(str(workplace.folder / "chat/a"), ["ab"], **more)
        assert "".join(pieces(asked.pop())) == SYSTEM + ASKED
    asked.clear()
    flags = ["--gin_file", str(workplace.folder / "chat/a/config.gin")]
    assert cli.main(["evaluate", *flags]) == 0
    assert asked
    for prompt in asked:
        text = "".join(pieces(prompt))
        assert text.startswith(f"{SYSTEM}<|im_start|>user")
        assert text.endswith("<|im_end|>Ċ<|im_start|>assistantĊ")


def test_a_model_of_plain_text_may_be_talked_to_in_its_template(chat, workplace, asked):
    code, said = chat("chat/plain", "FORMAT=plain", "STEPS=1")
    assert code == 0, said.err
    source = str(workplace.folder / "chat/plain")
    pieces = load_vocabulary(str(workplace.folder / "model")).pieces
    flanmix.generate(source, ["ab"])
    assert "".join(pieces(asked.pop())) == "abĊ"
    flanmix.generate(source, ["ab"], chat=True)
    assert "".join(pieces(asked.pop())) == ASKED
    writer = open_writer(source, chat=True)
    turns, too_long = writer.chat_ids(["ab", "cd", "ab"])
    assert not too_long
    wanted = ASKED + "cd<|im_end|>Ċ" + ASKED
    assert "".join(pieces(turns)) == wanted


def test_a_run_goes_on_in_its_format_alone(chat, train, workplace):
    code, said = chat("chat/b")
    assert code == 0, said.err
    straight = workplace.lines("chat/b")
    code, said = chat("chat/b", "FORMAT=plain")
    assert code == 2
    assert "FORMAT was chat and is plain" in one_error(said)
    other = workplace.folder / "other.jinja"
    other.write_text(TEMPLATES["words"])
    code, said = chat("chat/b", f"CHAT_TEMPLATE={other}")
    assert code == 2
    assert "the chat template was another one" in one_error(said)
    code, said = chat("chat/b", "STEPS=3")
    assert code == 0, said.err
    assert workplace.lines("chat/b")[:2] == straight


def test_what_a_format_needs_is_said_before_anything_is_trained(train, chat, workplace):
    code, said = train("chat/c", *DECODER, "FORMAT=chat")
    assert code == 2
    assert "CHAT_TEMPLATE" in one_error(said)
    code, said = train("chat/c", "SYSTEM=x")
    assert code == 2
    assert "SYSTEM is 'x': it is read with FORMAT='chat' only" in one_error(said)
    endless = workplace.folder / "endless.jinja"
    endless.write_text("{% for i in range(10**9) %}{% endfor %}")
    code, said = chat("chat/c", f"CHAT_TEMPLATE={endless}")
    assert code == 2
    assert f"chat template {endless}: refused: it loops too often" in one_error(said)
    assert not (workplace.folder / "chat/c").exists()


def test_show_marks_what_bears_loss(workplace, monkeypatch, capsys):
    """A record's own conversation keeps its turns."""
    folder = write_folder(workplace.folder / "model", "chatml")
    place = workplace.folder / "shown" / "mine" / "talk"
    place.mkdir(parents=True, exist_ok=True)
    (place / "talk.yaml").write_text(CARD)
    turns = [{"role": r, "content": r[0] * 3} for r in ("user", "assistant", "user", "assistant")]
    rows = [{"text": f"{n}", "answer": f"{n}", "turns": turns} for n in range(8)]
    (place / "talk.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("FLANMIX_TASKS", str(workplace.folder / "shown"))
    show = ["show", "talk", "-n", "1", "--tokens", "--vocabulary", str(folder), "--format", "chat"]
    assert cli.main([*show, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    shown = "".join(
        f"[{token}]" if loss else token
        for token, loss in zip(row["tokens"], row["loss"], strict=True)
    )
    learnt = shown.replace("][", "").split("[")[1:]
    assert [part.split("]")[0] for part in learnt] == ["aaa<|im_end|>"] * 2
    assert row["targets"] == (
        "aaa<|im_end|>\n<|im_start|>user\nuuu<|im_end|>\n<|im_start|>assistant\naaa<|im_end|>"
    )
    assert cli.main([*show, "--system", "Sss"]) == 0
    text = capsys.readouterr().out
    assert "<|im_start|>system\n            Sss<|im_end|>" in text
    assert cli.main(["show", "talk", "--system", "S"]) == 2
    assert "--format chat" in capsys.readouterr().err
