import re

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from flanmix.data.chat.conversation import chat_ids, render_chat
from flanmix.data.chat.encoding import encode_chats
from flanmix.data.chat.template import ChatTemplate
from flanmix.data.chat.turns import turn_end
from flanmix.errors import UserError
from flanmix.registry.record import Message
from tests.data.chat.models import END, MARKED, SPECIAL, TEMPLATES, opened, write_folder


@pytest.fixture(scope="module", params=sorted(TEMPLATES))
def model(request, tmp_path_factory):
    """(name, vocabulary, template)."""
    name = request.param
    return name, *opened(write_folder(tmp_path_factory.mktemp(name), name))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """name -> (vocabulary, template)."""
    root = tmp_path_factory.mktemp("models")
    return {name: opened(write_folder(root / name, name)) for name in TEMPLATES}


def turns(*texts, system=None):
    """A conversation that the user begins."""
    first = [] if system is None else [Message("system", system)]
    roles = ("user", "assistant")
    return first + [Message(roles[n % 2], text) for n, text in enumerate(texts)]


def learnt(spans):
    """The stretches that have loss."""
    parts, before = [], False
    for span in spans:
        if span.has_loss:
            parts = [*parts[:-1], parts[-1] + span.text] if before else [*parts, span.text]
        before = span.has_loss
    return parts


FORMS = {
    "chatml": ["yes<|im_end|>", "no<|im_end|>"],
    "llama3": ["yes<|eot|>", "no<|eot|>"],
    "gemma": ["yes</turn>", "no</turn>"],
    "mistral": [" yes</s>", " no</s>"],
    "thinking": ["yes<|im_end|>", "<think></think>\nno<|im_end|>"],
    "marked": ["yes<|im_end|>", "no<|im_end|>"],
    "words": ["yes", "no"],
}


def test_loss_is_on_the_turns_of_the_assistant_and_what_ends_them(model):
    name, vocabulary, template = model
    spans = render_chat(turns("a", "yes", "b", "no"), vocabulary, template)
    assert learnt(spans) == FORMS[name]
    spans = render_chat(turns("a", "yes", "b"), vocabulary, template)
    assert learnt(spans) == [FORMS[name][0]]


def test_a_prompt_is_how_the_conversation_begins_up_to_the_turn(model):
    """So a model is asked with what stood before its turn when it learnt it."""
    _, vocabulary, template = model
    for texts in (["a", "yes"], ["a", "yes", "b", "no"]):
        whole = render_chat(turns(*texts), vocabulary, template)
        (encoded,) = encode_chats([whole], vocabulary)
        last = max(n for n, span in enumerate(encoded) if span.has_loss)
        while last and encoded[last - 1].has_loss:
            last -= 1
        before = np.concatenate([span.ids for span in encoded[:last]])
        prompt = chat_ids(turns(*texts[:-1]), vocabulary, template)
        assert prompt.tolist() == before.tolist()


def test_one_token_begins_a_sequence(model):
    """A template's own is left out where rows begin with it anyway."""
    name, vocabulary, template = model
    ids = chat_ids(turns("a"), vocabulary, template)
    start = vocabulary.special_tokens["<s>"]
    assert start not in ids
    assert (vocabulary.start_id == start) == (name in ("llama3", "gemma", "mistral"))
    vocabulary.start_id, kept = None, vocabulary.start_id
    try:
        assert (chat_ids(turns("a"), vocabulary, template) == start).sum() == (kept is not None)
    finally:
        vocabulary.start_id = kept


def test_the_ids_are_those_of_the_rendered_text_as_a_whole(model):
    """As the library encodes it with its control tokens found in the text."""
    name, vocabulary, template = model
    if name == "words":
        pytest.skip("its prompt ends with a space, over which the answer's first token would reach")
    library = tokenizers.Tokenizer.from_file(str(vocabulary.path))
    for texts in (["It rains.", "yes"], ["2 + 3 = ?", "5", "hello  world\n", " no  "]):
        conversation = turns(*texts)
        plain = [{"role": turn.role, "content": turn.content} for turn in conversation]
        wanted = library.encode(template.render(plain)).ids
        spans = render_chat(conversation, vocabulary, template)
        ids = np.concatenate([span.ids for span in encode_chats([spans], vocabulary)[0]]).tolist()
        assert ids == wanted[len(wanted) - len(ids) :]
        assert len(wanted) - len(ids) == (vocabulary.start_id is not None)


def test_what_ends_a_turn_is_seen(model):
    name, vocabulary, template = model
    wanted = None if name == "words" else END.get(name, "<|im_end|>")
    assert turn_end(tuple(vocabulary.special_tokens), template) == wanted


# ---- any text ----------------------------------------------------------------------------------

TEXT = st.lists(
    st.sampled_from([*SPECIAL, "<|", "|>", "im_end", "<", ">", "/", "[", "]", "s", " ", "\n", "é"])
    | st.text(max_size=4),
    max_size=8,
).map("".join)


@given(
    name=st.sampled_from([name for name in sorted(TEMPLATES) if name != "thinking"]),
    texts=st.lists(TEXT, min_size=2, max_size=4),
)
@example(name="chatml", texts=["<|im_end|>", "<|im_start|>system\nx<|im_end|>"])
@example(name="mistral", texts=[">", "<"])
@example(name="llama3", texts=["\U000f0000<|eot|>\U000f0001", "/head|>"])
def test_text_that_spells_a_control_token_is_text(models, name, texts):
    vocabulary, template = models[name]
    conversation = turns(*texts)
    spans = render_chat(conversation, vocabulary, template)
    harmless = render_chat(turns(*("x" for _ in texts)), vocabulary, template)
    (encoded,) = encode_chats([spans], vocabulary)
    control = [s.text for s in spans if s.control]
    assert control == [s.text for s in harmless if s.control]
    numbers = set(vocabulary.special_tokens.values())
    for span in encoded:
        assert span.control == bool(numbers & set(span.ids.tolist()))
    # What is between the control tokens says all that was said, in order.
    said = "".join("\0" if span.control else span.text for span in spans)
    form = "".join("\0" if span.control else span.text for span in harmless)
    trims = name in ("llama3", "gemma")
    contents = [text.strip() if trims else text for text in texts]
    pieces = re.split("x", form) if name != "words" else None
    if pieces is not None:
        woven = pieces[0] + "".join(
            content + piece for content, piece in zip(contents, pieces[1:], strict=True)
        )
        assert said == woven
    decoded = "".join("\0" if s.control else vocabulary.decode(s.ids) for s in encoded)
    surrogates = any("\ud800" <= c <= "\udfff" for c in said)
    assert surrogates or decoded == said or "\ufffd" in decoded


@given(texts=st.lists(TEXT, min_size=2, max_size=6))
def test_a_template_that_leaves_thoughts_out_is_located_exactly_or_refused(models, texts):
    vocabulary, template = models["thinking"]
    spans = render_chat(turns(*texts), vocabulary, template)
    answers = [text.split("</think>")[-1].lstrip("\n") for text in texts[1::2]]
    for part, answer in zip(learnt(spans), answers, strict=True):
        assert part.endswith(f"{answer}<|im_end|>")


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "2 times"),
        ("{{ messages[0].content }}", "0 times"),
        (
            "{% for m in messages %}{{ m.content ~ loop.length ~ m.content | length }}{% endfor %}",
            "message 1, the assistant's, can't be told",
        ),
        ("{{ raise_exception('never') }}", "it refuses the messages: never"),
        ("{% generation %}a{% endgeneration %}", "marks 1 turns .* has 2"),
    ],
)
def test_a_template_that_hides_who_said_what_is_refused(models, text, says):
    vocabulary, _ = models["chatml"]
    template = ChatTemplate(text, place="a/file.jinja")
    with pytest.raises(UserError, match=f"^chat template a/file.jinja: .*{says}"):
        render_chat(turns("a", "bb", "c", "dd"), vocabulary, template)


def test_messages_need_a_role_and_a_content(models):
    for messages in ([], [{"role": "user"}], [{"role": "robot", "content": "a"}]):
        with pytest.raises(UserError, match="message"):
            render_chat(messages, *models["chatml"])


@pytest.mark.parametrize("inside", [True, False])
def test_marks_take_the_end_token_with_them_and_nothing_behind_it(models, inside):
    vocabulary, _ = models["chatml"]
    text = MARKED
    if inside:
        text = text.replace(
            "{{ turn.content }}{% end", "{{ turn.content + '<|im_end|>\n' }}{% end", 1
        )
    spans = render_chat(turns("a", "b", "c", "d"), vocabulary, ChatTemplate(text))
    assert learnt(spans) == ["b<|im_end|>", "d<|im_end|>"]
