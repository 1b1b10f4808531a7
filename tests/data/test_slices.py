"""Split expressions mean what they mean to Python's slices, and never reach beyond the data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.data.sources.slices import clamped_expression, parse_split, sliced

BOUND = st.one_of(st.none(), st.integers(-30, 30))


def take(expression: str, count: int) -> tuple[list[int], list[str]]:
    warnings: list[str] = []
    return list(sliced(lambda name: range(count), expression, warnings.append)), warnings


@given(start=BOUND, stop=BOUND, count=st.integers(0, 20))
def test_a_slice_is_pythons(start: int | None, stop: int | None, count: int):
    text = ":".join("" if bound is None else str(bound) for bound in (start, stop))
    rows, warnings = take(f"train[{text}]", count)
    assert rows == list(range(count))[start:stop]
    beyond = [bound for bound in (start, stop) if bound is not None and abs(bound) > count]
    if rows:
        assert len(warnings) == bool(beyond), "a clamped slice says so, once"


@given(start=BOUND, stop=BOUND, count=st.integers(1, 20))
def test_a_clamped_expression_lies_within_the_data(start, stop, count: int):
    text = ":".join("" if bound is None else str(bound) for bound in (start, stop))
    clamped = clamped_expression(f"train[{text}]", lambda name: count, lambda message: None)
    wanted = list(range(count))[start:stop]
    assert (take(clamped, count) if clamped else ([], [])) == (wanted, [])


def test_percents_are_rounded_to_rows():
    assert take("train[:80%]", 7) == (list(range(6)), [])
    assert take("train[-20%:]", 10) == ([8, 9], [])
    assert take("train[:50%]+train[50%:]", 9)[0] == list(range(9))


def test_the_warning_is_one_line_with_what_was_asked_and_what_there_is():
    rows, warnings = take("train[-200:]", 64)
    assert rows == list(range(64))
    assert warnings == [
        "split train[-200:] asks for more than the 64 rows of train: clamped to train[0:64]"
    ]


def test_a_slice_from_the_front_reads_no_further():
    def rows(name: str):
        yield from range(5)
        raise AssertionError("read beyond the slice")

    assert list(sliced(rows, "train[2:5]", pytest.fail)) == [2, 3, 4]


def test_an_empty_part_is_left_out():
    clamped = clamped_expression("a[:-5]+b", lambda name: 5, lambda message: None)
    assert clamped == "b"


def test_file_names_keep_their_plus_signs():
    assert parse_split("a+b.jsonl[1:]")[0].name == "a+b.jsonl"


@pytest.mark.parametrize("expression", ["train[", "train[1]", "train[a:2]", "[:3]", "", "a++b"])
def test_a_malformed_split_is_named(expression: str):
    with pytest.raises(ValueError, match=r"split '.*'"):
        parse_split(expression)


@pytest.mark.parametrize("expression", ["train[:3shard]", "all", "train[7shard]"])
def test_what_only_tfds_understands_is_left_to_it(expression: str):
    assert clamped_expression(expression, lambda name: None, pytest.fail) == expression
