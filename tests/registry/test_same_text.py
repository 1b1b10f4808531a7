"""What says the same is folded into one text, and only that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.registry.same_text import as_said, folded

SAME = [
    ("STRASSE", "straße"),
    ("cafe\u0301", "caf\u00e9"),
    ("cafe\u200d\u0301", "caf\u00e9"),
    ("ﬁne ２", "FINE 2"),
    ("soft\u00adhyphen zero\u200bwidth\ufeff", "softhyphen zerowidth"),
    ("ｶﾞ", "ガ"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_forms_case_and_what_can_not_be_seen(one: str, other: str):
    assert folded(one) == folded(other)
    assert as_said(f" {one}\t\n") == as_said(other)


def test_letters_digits_and_marks_stay_what_they_are():
    assert len({folded(text) for text in ["resume", "résumé", "re sume", "resume.", "2", "3"]}) == 6


@given(st.text(st.characters()))
def test_folding_again_changes_nothing(text: str):
    assert folded(folded(text)) == folded(text)
    assert as_said(as_said(text)) == as_said(text)
