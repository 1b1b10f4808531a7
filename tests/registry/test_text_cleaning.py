import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.registry.text_cleaning import detokenize, one_line, tidy_lines, unescape

TOKENS = "it is n't 's `` '' \" , . ! ? ; -LRB- -RRB- ( ) $ 5 % ' ' dogs the a-b"
PENN = st.lists(
    st.sampled_from(
        [
            "it",
            "is",
            "n't",
            "'s",
            "``",
            "''",
            '"',
            ",",
            ".",
            "!",
            "?",
            ";",
            "-LRB-",
            "-RRB-",
            "(",
            ")",
            "$",
            "5",
            "%",
            "'",
            "'",
            "dogs",
            "the",
            "a-b",
        ]
    ),
    max_size=20,
).map(" ".join)


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("it 's `` fun '' , is n't it ?", "it's \"fun\", isn't it?"),
        ("I ' ve seen the boys ' team -LRB- twice -RRB- .", "I've seen the boys' team (twice)."),
        ('They said " no " and left .', 'They said "no" and left.'),
        ("What does `` NASA '' mean ?", 'What does "NASA" mean?'),
        ("It cost $ 5 , i.e. 3 % .", "It cost $5, i.e. 3%."),
        ("An open `` quote stays", 'An open " quote stays'),
        (
            'Nothing to do: it\'s "all right" (really).',
            'Nothing to do: it\'s "all right" (really).',
        ),
    ],
)
def test_detokenize_by_example(stored: str, text: str):
    assert detokenize(stored) == text
    assert detokenize(text) == text


def test_unescape_by_example():
    assert unescape("Titan #39;s \\$17 quot;moon quot;") == 'Titan \'s $17 "moon "'
    assert unescape("R&amp;D, AT&T &lt;b&gt;") == "R&D, AT&T <b>"
    assert unescape("item #39 of 50") == "item #39 of 50"


@given(st.text())
def test_one_line_is_one_line(text: str):
    line = one_line(text)
    assert line == line.strip() and "\n" not in line and "  " not in line
    assert one_line(line) == line


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="`'\"’"), max_size=80))
def test_no_character_but_a_space_is_lost(text: str):
    kept = detokenize(text)
    for stored, plain in (("-LRB-", "("), ("-RRB-", ")"), ("-lrb-", "("), ("-rrb-", ")")):
        text = text.replace(stored, plain)
    assert "".join(kept.split()) == "".join(text.split())


@given(PENN)
def test_words_keep_their_letters(text: str):
    def letters(value: str) -> str:
        value = value.replace("-LRB-", "").replace("-RRB-", "")
        return "".join(c for c in value if c.isalnum())

    assert letters(detokenize(text)) == letters(text)


@given(st.text())
def test_tidy_lines_keeps_the_words_and_each_lines_end(text: str):
    tidy = tidy_lines(text)
    assert tidy.split() == text.split()
    assert tidy_lines(tidy) == tidy
    assert all(line and line == one_line(line) for line in tidy.splitlines())
