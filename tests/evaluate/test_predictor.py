"""How a model is asked: one context for all options, as training has it; and equal options."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.data.render import TextExample
from flanmix.data.tokens import Lengths, tokenize
from flanmix.data.vocabulary import ByteVocabulary, load_vocabulary
from flanmix.errors import UserError
from flanmix.evaluate import predictor as predictor_module
from flanmix.evaluate.decode import Generated
from flanmix.evaluate.predictor import ModelPredictor
from flanmix.evaluate.rank import OptionScores
from flanmix.evaluate.sampling import Sampling
from tests.evaluate.models import ARCHITECTURES, tiny_model

VOCABULARY = ByteVocabulary()


class Narrow(ByteVocabulary):
    """A vocabulary that has the letters alone: everything else is its unknown piece."""

    def encode_batch(self, texts):
        letters = "abcdefghijklmnopqrstuvwxyz"
        return [np.array([4 + letters.find(c) for c in text], np.int32) for text in texts]


def asked(pairs, lengths, vocabulary=VOCABULARY):
    """The questions that a model would be given to rank, and the choices."""
    seen = []

    def first(model, questions, **_):
        seen.extend(questions)
        return [OptionScores(-np.arange(len(q)), np.ones(len(q))) for q in questions]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor_module, "rank", first)
        choices = ModelPredictor(None, vocabulary, lengths).rank(pairs)
    return seen, choices


def prompted(pairs, lengths):
    """The prompts that a model would be given to answer, and the answers."""
    seen = []

    def nothing(decoding, prompts, **_):
        seen.extend(prompts)
        return [[Generated(np.zeros(0, np.int32))] for _ in prompts]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor_module, "generate", nothing)
        answers = ModelPredictor(None, VOCABULARY, lengths).generate(pairs)
    return seen, answers


def trained(pair, lengths):
    (example,) = tokenize([pair], [0], [1.0], VOCABULARY, lengths)
    return example


@given(
    st.sampled_from(ARCHITECTURES),
    st.text(max_size=60),
    st.lists(st.text(max_size=30), min_size=2, max_size=5, unique=True),
    st.integers(2, 24),
    st.integers(2, 16),
)
@settings(deadline=None)
def test_all_options_of_a_question_are_compared_after_one_context(
    architecture, inputs, options, most, least
):
    lengths = Lengths(most, least, architecture)
    pair = TextExample.of_pair(inputs, options[0], options=tuple(options))
    ((question,), (choice,)) = asked([pair], lengths)
    assert len({option.inputs.tobytes() for option in question}) == 1
    assert {option.inputs_truncated for option in question} == {choice.truncated}
    for option in question:
        size = np.array(option.size(lengths.two_sided))
        assert (size <= lengths.row_capacity).all()
    # The context is the one that training has beside the longest option: no option has less.
    alone = [
        trained(TextExample.of_pair(inputs, option), lengths).inputs.tolist() for option in options
    ]
    assert question[0].inputs.tolist() == min(alone, key=len)
    whole = len(VOCABULARY.encode(inputs)) + lengths.two_sided
    assert choice.truncated == (len(question[0].inputs) < whole)
    assert [option.targets.tolist() for option in question] == [
        trained(TextExample.of_pair(inputs, option), lengths).targets.tolist() for option in options
    ]


@pytest.mark.parametrize(("architecture", "kept"), zip(ARCHITECTURES, (64, 72, 72), strict=True))
def test_a_long_input_is_cut_once_a_question(architecture, kept):
    options = ("yes", "no", "it is impossible to say")
    pair = TextExample.of_pair("x" * 120, "yes", options=options)
    ((question,), (choice,)) = asked([pair], Lengths(64, 32, architecture))
    assert [len(option.inputs) for option in question] == [kept] * 3
    assert choice.truncated and not choice.targets_truncated


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("target", ["yes", "x" * 31, "x" * 32, "x" * 90])
@pytest.mark.parametrize("count", [10, 63, 64, 92, 93, 120])
def test_a_prompt_keeps_what_training_kept(architecture, target, count):
    lengths = Lengths(64, 32, architecture)
    pair = TextExample.of_pair("x" * count, target, references=(target,))
    ((prompt,), (answer,)) = prompted([pair], lengths)
    example = trained(pair, lengths)
    assert prompt.tolist() == example.inputs.tolist()
    assert answer.truncated == example.inputs_truncated
    assert answer.targets_truncated == (len(target) > 31)


@pytest.mark.parametrize(("architecture", "most"), zip(ARCHITECTURES, (63, 95, 95), strict=True))
def test_a_prompt_without_a_reference_loses_only_what_training_always_cuts(architecture, most):
    lengths = Lengths(64, 32, architecture)
    pairs = [TextExample.of_pair("x" * count, "") for count in (most, most + 1)]
    prompts, answers = prompted(pairs, lengths)
    assert [len(prompt) for prompt in prompts] == [lengths.longest_inputs] * 2
    assert [answer.truncated for answer in answers] == [False, True]


@pytest.mark.parametrize("count", [0, 10, 63, 64, 92, 93, 120])
def test_the_separator_ends_what_is_asked_as_it_ends_what_was_learnt(count):
    lengths = Lengths(64, 32, "causal", "\n")
    pair = TextExample.of_pair("x" * count, "yes", options=("yes", "no"), references=("yes",))
    ((question,), _), ((prompt,), _) = asked([pair], lengths), prompted([pair], lengths)
    example = trained(pair, lengths)
    assert prompt.tolist() == example.inputs.tolist() == question[0].inputs.tolist()
    assert prompt.tolist()[-1:] == ([ord("\n") + 3] if count else [])


def test_of_several_references_the_longest_says_what_is_kept():
    pair = TextExample.of_pair("x" * 90, "a", references=("a", "b" * 20))
    ((prompt,), (answer,)) = prompted([pair], Lengths(64, 32, "causal"))
    assert len(prompt) == 96 - 21
    assert not answer.targets_truncated


@pytest.mark.parametrize(
    ("options", "first_equal"),
    [
        (("no", "yes"), ()),
        (("😀", "😢", "😡"), (0, 0, 0)),
        (("no", "1", "2"), (0, 1, 1)),
        (("abcdefgh", "abcdefgz", "abc"), (0, 0, 2)),  # the same once they are cut
    ],
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_options_of_the_same_tokens_are_named(options, first_equal, architecture):
    pair = TextExample.of_pair("x" * 30, options[0], options=options)
    (_, (choice,)) = asked([pair], Lengths(8, 6, architecture), Narrow())
    assert choice.first_equal == first_equal


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_id_that_the_model_lacks_is_one_line(architecture):
    model = tiny_model(architecture)  # of 32 ids; the letter x is 123 among bytes
    predictor = ModelPredictor(model, VOCABULARY, Lengths(16, 8, architecture), batch_size=1)
    pair = TextExample.of_pair("x", "y", options=("y", "z"))
    for ask in (predictor.rank, predictor.generate):
        with pytest.raises(UserError, match=r"has an id 12\d, and the model's are 0 to 31"):
            ask([pair])


def test_t5_has_no_faces_and_no_line_breaks(shared_data):
    model = shared_data / "tokenizers" / "t5_32000.model"
    if not model.exists():
        pytest.skip(f"T5's vocabulary is not among the real data: {model.name}")
    pairs = [
        TextExample.of_pair("Which?", options[0], options=options)
        for options in (("😀", "😢", "😡"), ("a\nb", "a b"), ("no", "yes"))
    ]
    _, choices = asked(pairs, Lengths(64, 16), load_vocabulary(str(model)))
    assert [choice.first_equal for choice in choices] == [(0, 0, 0), (0, 0), ()]


@pytest.mark.parametrize(
    ("written", "stops", "text", "count"),
    [
        ("one\n\ntwo", ("\n\n",), "one", 5),
        ("one. two; three", (";", "."), "one", 4),
        ("ab", ("c",), "ab", None),
        ("caf\u00e9 au lait", ("\u00e9",), "caf", 5),  # two bytes
    ],
)
def test_a_text_ends_before_its_first_stop_string(written, stops, text, count):
    ids = np.array(VOCABULARY.encode(written), np.int32)
    asked = []

    def generated(decoding, prompts, *, ends, report):
        asked.append(ends(ids))
        return [[Generated(ids, -1.5), Generated(np.array([VOCABULARY.eos_id]))] for _ in prompts]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor_module, "generate", generated)
        predictor = ModelPredictor(
            None, VOCABULARY, Lengths(32, 16, "causal"), sampling=Sampling(stop=stops)
        )
        ((first, second),) = predictor.write([ids])
    assert asked == [count]
    assert first == (text, -1.5)
    assert second == ("", None)
