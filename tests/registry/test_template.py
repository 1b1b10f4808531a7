"""Substitution is one pass; a template that shows the answer cannot exist."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.registry.template import Template, choices_sentence, options_block


@given(a=st.text(), b=st.text(), answer=st.text())
def test_what_a_record_holds_is_text_and_nothing_else(a: str, b: str, answer: str):
    template = Template("1 {a} 2 {b} 3 {{a}} 4 {a}", "<{answer}>")
    values = {"a": a, "b": b, "answer": answer}
    assert template.render_inputs(values) == "1 " + a + " 2 " + b + " 3 {a} 4 " + a
    assert template.render_targets(values) == "<" + answer + ">"


@pytest.mark.parametrize(
    "text", ["{b} {answer}", "\x00\U0001f600 שלום {", "{{a}}", "x" * 1_000_000]
)
def test_hard_texts_pass_unharmed(text: str):
    template = Template("say {a}.")
    assert template.render_inputs({"a": text, "b": "no", "answer": "no"}) == f"say {text}."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"inputs": "is it {answer}?"}, "shows {answer}"),
        ({"inputs": "{a}", "targets": "{a}"}, "lacks {answer}"),
        ({"inputs": "{a}", "targets": "{answer}", "inverted": True}, "still {answer}"),
        ({"inputs": "{a", "targets": "{answer}"}, "a lone '{'"),
        ({"inputs": "a}", "targets": "{answer}"}, "a lone '}'"),
        ({"inputs": "{a b}", "targets": "{answer}"}, "no field name"),
        ({"inputs": "{}", "targets": "{answer}"}, "no field name"),
        ({"inputs": " ", "targets": "{answer}"}, "must be a text"),
        ({"inputs": "a", "targets": "{answer} of {options}"}, "lists the options"),
        ({"inputs": "{answer}", "targets": "fixed", "inverted": True}, "no field"),
    ],
)
def test_a_bad_template_says_why(body: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Template(**body)


def test_options_are_written_as_a_block_and_in_a_sentence():
    assert options_block(("yes", "no")) == "Options:\n- yes\n- no"
    assert choices_sentence(("a",)) == "a"
    assert choices_sentence(("a", "b", "c")) == "a, b or c"
