import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.data.chat.format import ChatFormat, open_chat, recorded_chat
from flanmix.data.chat.template import ChatTemplate, find_template
from flanmix.data.render import Span, TextExample
from flanmix.data.tokens import Lengths, build_question, tokenize, two_sides
from flanmix.data.vocabulary import load_vocabulary
from flanmix.errors import UserError
from flanmix.registry.record import Message
from tests.data.chat.models import TEMPLATES, opened, write_folder

PAIR = TextExample.of_pair("It rains. Wet?", "yes", task="t", record="r", options=("yes", "no"))
TALK = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
WIDE = Lengths(10_000, 10_000, "causal")


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    """name -> a chat format."""
    root = tmp_path_factory.mktemp("models")
    return {name: ChatFormat(*opened(write_folder(root / name, name))) for name in TEMPLATES}


def ids_of(chat, example, lengths=WIDE):
    return tokenize([example], [0], [1.0], chat.vocabulary, lengths)[0]


def test_inputs_are_the_users_turn_and_targets_the_assistants(chats):
    example = chats["chatml"].example(PAIR)
    start = "<|im_start|>"
    assert example.inputs == f"{start}user\nIt rains. Wet?<|im_end|>\n{start}assistant\n"
    assert example.spans[-2:] == (
        Span("yes", True, content=True),
        Span("<|im_end|>", True, control=True),
    )
    assert (example.task, example.record, example.options) == ("t", "r", ("yes", "no"))


def test_a_system_message_stands_first_unless_there_is_one(chats):
    chat = dataclasses.replace(chats["chatml"], system="Be brief.")
    assert chat.example(PAIR).inputs.startswith("<|im_start|>system\nBe brief.<|im_end|>")
    own = (Message("system", "Mine."), *TALK)
    text = chat.example(dataclasses.replace(PAIR, messages=own)).inputs
    assert "Mine." in text
    assert "Be brief." not in text


def test_a_conversation_of_its_own_keeps_its_turns(chats):
    chat = chats["chatml"]
    whole = (*TALK, Message("assistant", "d"))
    example = chat.example(dataclasses.replace(PAIR, messages=whole))
    assert [span.text for span in example.spans if span.has_loss and span.content] == ["b", "d"]
    # It is asked for its last answer, by the whole conversation before it.
    for messages in (whole, TALK):
        asked = chat.answered(dataclasses.replace(PAIR, messages=messages), "e")
        assert [s.text for s in asked.spans if s.has_loss] == ["e", "<|im_end|>"]
        assert [s.text for s in asked.spans if s.content] == ["a", "b", "c", "e"]


def test_a_conversation_without_an_answer_is_an_error(chats):
    with pytest.raises(UserError, match=r"task 't', record r: .* no turn of the assistant's"):
        chats["chatml"].example(dataclasses.replace(PAIR, messages=TALK[:1]))
    with pytest.raises(UserError, match=r"task 't', record r: chat template .*take turns"):
        chats["gemma"].example(dataclasses.replace(PAIR, messages=(*TALK[1:], *TALK)))


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_what_ends_a_turn_takes_the_place_of_eos(chats, name):
    chat = chats[name]
    example = ids_of(chat, chat.example(PAIR))
    end = chat.end_ids[0]
    assert example.targets[-1] == end
    assert (example.targets == end).sum() == 1
    assert example.weights.tolist() == [1.0] * len(example.targets)
    assert end in chat.vocabulary.end_ids
    assert chat.vocabulary.decode(example.targets).strip().endswith("yes")


def test_an_empty_answer_is_its_end(chats):
    for name, chat in chats.items():
        example = ids_of(chat, chat.example(TextExample.of_pair("a", "")))
        assert example.targets[-1] == chat.end_ids[0], name
        assert example.weights[-1] == 1.0


def test_a_template_may_end_turns_with_a_token_that_does_not_end_texts(tmp_path):
    """That one is learnt, and ends what the model writes."""
    folder = write_folder(tmp_path, "chatml", eos_token="</s>")
    vocabulary, template = opened(folder)
    chat = ChatFormat(vocabulary, template)
    own, eos = (vocabulary.special_tokens[token] for token in ("<|im_end|>", "</s>"))
    assert chat.end_ids == (own, eos)
    assert ids_of(chat, chat.example(PAIR)).targets[-1] == own


def is_within(ids, others):
    """Whether all ids are among the others, in order."""
    rest = iter(others.tolist())
    return all(number in rest for number in ids.tolist())


# ---- lengths -----------------------------------------------------------------------------------


@given(
    texts=st.lists(st.text("ab <|>", min_size=1, max_size=40), min_size=1, max_size=3),
    inputs=st.integers(2, 40),
    targets=st.integers(2, 20),
    name=st.sampled_from(["chatml", "llama3", "gemma", "mistral"]),
)
def test_what_is_too_long_is_cut_where_messages_say_it(chats, texts, inputs, targets, name):
    chat = chats[name]
    user, answer = " ".join(texts), texts[-1]
    example = chat.example(TextExample.of_pair(user, answer))
    lengths = Lengths(inputs, targets, "causal")
    ((read, _),) = two_sides([example], chat.vocabulary, False)
    whole, cut = ids_of(chat, example), ids_of(chat, example, lengths)
    assert sum(cut.size(False)) <= inputs + targets
    assert cut.targets[-1] == whole.targets[-1]
    assert cut.inputs_truncated == (len(cut.inputs) < len(whole.inputs))
    fixed = read.ids[~read.content]
    if len(fixed) < len(cut.inputs):  # the form is there
        assert is_within(fixed, cut.inputs)
        assert is_within(cut.inputs, read.ids)
        numbers = set(chat.vocabulary.special_tokens.values())
        controls = [n for n in cut.inputs if n in numbers]
        assert controls == [n for n in whole.inputs if n in numbers]


def test_the_longest_message_is_cut_first(chats):
    chat = dataclasses.replace(chats["chatml"], system="short")
    example = chat.example(TextExample.of_pair("word " * 50, "yes"))
    whole = ids_of(chat, example)
    cut = ids_of(chat, example, Lengths(len(whole.inputs) - 20, 8, "causal"))
    text = "".join(chat.vocabulary.pieces(cut.inputs))
    assert text.endswith("<|im_end|>Ċ<|im_start|>assistantĊ")
    assert "systemĊshort<|im_end|>" in text


def test_options_are_asked_after_one_context(chats):
    chat = chats["chatml"]
    answers = ["yes", "no, it is not wet " * 3]
    asked = [chat.answered(TextExample.of_pair("word " * 50, ""), text) for text in answers]
    sides = two_sides(asked, chat.vocabulary, False)
    for lengths in (WIDE, Lengths(40, 30, "causal")):
        question = build_question(sides[0][0], [t for _, t in sides], chat.vocabulary, lengths)
        assert len({option.inputs.tobytes() for option in question}) == 1
        assert all(option.targets[-1] == chat.end_ids[0] for option in question)
    # As training has it.
    trained = ids_of(chat, chat.example(TextExample.of_pair("word " * 50, answers[1])))
    assert sides[1][0].ids.tolist() == trained.inputs.tolist()


# ---- encoder-decoder ---------------------------------------------------------------------------


def test_an_encoder_decoder_reads_the_turns_joined():
    chat = open_chat("byte", load_vocabulary("byte"), "encoder_decoder", system="S")
    example = ids_of(chat, chat.example(PAIR), Lengths(99, 99))
    assert chat.vocabulary.decode(example.inputs) == "S\n\nIt rains. Wet?"
    assert chat.vocabulary.decode(example.targets) == "yes"
    talk = dataclasses.replace(PAIR, messages=(*TALK, Message("assistant", "d")))
    example = ids_of(chat, chat.example(talk), Lengths(99, 99))
    assert chat.vocabulary.decode(example.inputs) == "S\n\na\n\nb\n\nc"
    assert chat.vocabulary.decode(example.targets) == "d"
    asked = ids_of(chat, chat.answered(talk, "e"), Lengths(99, 99))
    assert asked.inputs.tolist() == example.inputs.tolist()
    assert chat.end_ids == chat.vocabulary.end_ids


# ---- files -------------------------------------------------------------------------------------


def test_a_decoder_without_a_template_is_told_the_way_out(tmp_path):
    byte = load_vocabulary("byte")
    with pytest.raises(UserError, match=r"no chat template: .*CHAT_TEMPLATE"):
        open_chat("byte", byte, "causal")
    path = tmp_path / "words.jinja"
    path.write_text(TEMPLATES["words"])
    chat = open_chat("byte", byte, "causal", template=str(path))
    example = ids_of(chat, chat.example(PAIR))
    assert byte.decode(example.inputs) == "USER: It rains. Wet?\nASSISTANT: "
    assert byte.decode(example.targets) == "yes"
    with pytest.raises(UserError, match="CHAT_TEMPLATE is of decoder-only models"):
        open_chat("byte", byte, "encoder_decoder", template=str(path))


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% if %}", "chat template .*: line 1"),
        (7, "chat_template is a int, not a text"),
        ([{"name": "tool_use", "template": "x"}], r"several chat templates \(tool_use\)"),
        ([7], "no default"),
    ],
)
def test_a_template_that_is_none_is_an_error(tmp_path, template, says):
    folder = write_folder(tmp_path, "chatml", chat_template=template)
    with pytest.raises(UserError, match=says):
        open_chat(str(folder), load_vocabulary("byte"), "causal")


def test_a_template_is_found_where_the_field_puts_it(tmp_path):
    named = [{"name": "rag", "template": "x"}, {"name": "default", "template": "of the list"}]
    folder = write_folder(tmp_path, "chatml", chat_template=named)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["bos_token"] = {"content": "<s>", "lstrip": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    template = find_template(str(folder))
    assert template.text == "of the list"
    assert template.tokens["bos_token"] == "<s>"
    (folder / "chat_template.jinja").write_text("of the file")
    for place in (folder, folder / "tokenizer.json"):
        assert find_template(str(place)).text == "of the file"
    (folder / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(UserError, match="no UTF-8 text"):
        find_template(str(folder))
    for name in ("byte", "pocket", str(tmp_path / "none")):
        assert find_template(name) is None


def test_a_record_has_all_that_is_needed_to_ask_again(chats):
    for chat in (chats["llama3"], dataclasses.replace(chats["chatml"], system="S")):
        kept = json.loads(json.dumps(chat.recorded()))
        again = recorded_chat(kept, chat.vocabulary, "runs/a")
        assert again.example(PAIR) == chat.example(PAIR)
        assert again.digest() == chat.digest()
    digests = {chat.digest() for chat in chats.values()}
    assert len(digests) == len(chats)
    assert recorded_chat(None, chats["chatml"].vocabulary, "runs/a") is None


def test_templates_are_told_the_same_day_every_day(chats):
    text = "{{ strftime_now('%Y') }}{% for m in messages %}{{ m.content }}{% endfor %}"
    template = ChatTemplate(text)
    chat = dataclasses.replace(chats["chatml"], template=template)
    assert np.array_equal(
        ids_of(chat, chat.example(PAIR)).inputs, chat.vocabulary.encode("2024It rains. Wet?")
    )
