"""The target is the option that the card's words say, whatever the source's types, or one line."""

import csv
import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.data.canonical import RecordError, canonicalize
from flanmix.data.sources.records import canonical_records
from flanmix.errors import UserError
from flanmix.registry.card import load_card
from flanmix.registry.task import Source, TaskSpec
from flanmix.registry.template import Template
from tests.data.tasks import toy

YES, TRUTH, STARS = ("no", "yes"), ("true", "false"), ("1", "2", "3", "4", "5")
THREE, COUNT, YEARS, BITS = ("yes", "maybe", "no"), ("0", "1", "2"), ("2019", "2020"), ("1", "0")


def task(options: tuple[str, ...] | None = YES, form: str | None = None, **more: Any) -> TaskSpec:
    """A classification task; without options, each record brings its own."""
    parts: dict[str, Any] = {"options": options} if options else {"option_fields": ("a", "b", "c")}
    parts |= {"kind": "classification", "metrics": ("accuracy",)}
    parts["templates"] = (Template("{question} {options}"),)
    return toy(**parts, answer_form=form, **more)


def meant(spec: TaskSpec, value: Any, **more: Any) -> str:
    raw = {"question": "So?", "answer": value, **more}
    return canonicalize(spec, raw, "train-0")[0].answers[0]


def refusal(spec: TaskSpec, value: Any, **more: Any) -> str:
    with pytest.raises(RecordError, match=r"^task 'toy', record train-0: ") as caught:
        meant(spec, value, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Options, form, first index, an answer as JSON has it, and the option that it means: None if it has
# to be refused.
TABLE = [
    (YES, None, 0, 0, "no"),
    (YES, None, 0, 1, "yes"),
    (YES, None, 0, 1.0, "yes"),
    (YES, None, 0, True, "yes"),
    (YES, None, 0, False, "no"),
    (YES, None, 0, "yes", "yes"),
    (YES, None, 0, 2, None),
    (YES, None, 0, -1, None),
    (YES, None, 0, 1.5, None),
    (YES, None, 0, 10**30, None),
    (YES, None, 0, "perhaps", None),
    (YES, "text", 0, 1, None),
    (YES, "text", 0, True, "yes"),
    (YES, "text", 0, "no", "no"),
    (YES, "index", 0, 1, "yes"),
    (YES, "index", 0, True, None),
    (YES, "index", 0, "yes", None),
    (YES, "index", 1, 1, "no"),
    (YES, "index", 1, 2, "yes"),
    (YES, "index", 1, 0, None),
    (TRUTH, None, 0, True, "true"),
    (TRUTH, None, 0, False, "false"),
    (TRUTH, None, 0, 1, "false"),
    (TRUTH, None, 0, 0, "true"),
    (("True", "False"), None, 0, True, "True"),
    (("FALSE", "TRUE"), None, 0, False, "FALSE"),
    (THREE, None, 0, True, "yes"),
    (THREE, None, 0, False, "no"),
    (THREE, None, 0, 1, "maybe"),
    (("good", "bad"), None, 0, True, None),
    (("good", "bad"), None, 0, 1, "bad"),
    (STARS, None, 0, 1, None),
    (STARS, None, 0, 5, None),
    (STARS, None, 0, 0, None),
    (STARS, None, 0, 3.0, None),
    (STARS, None, 0, True, None),
    (STARS, "text", 0, 1, "1"),
    (STARS, "text", 0, 5.0, "5"),
    (STARS, "text", 0, 0, None),
    (STARS, "text", 0, 1.5, None),
    (STARS, "index", 0, 1, "2"),
    (STARS, "index", 0, 5, None),
    (STARS, "index", 1, 1, "1"),
    (STARS, "index", 1, 5, "5"),
    (BITS, None, 0, 1, None),
    (BITS, None, 0, False, None),
    (BITS, "text", 0, 1, "1"),
    (BITS, "index", 0, 1, "0"),
    (COUNT, None, 0, 2, "2"),
    (COUNT, "index", 0, 2, "2"),
    (COUNT, "text", 0, 2.0, "2"),
    (COUNT, None, 0, 3, None),
    (YEARS, None, 0, 2020, "2020"),
    (YEARS, None, 0, 1, "2020"),
    (YEARS, "text", 0, 1, None),
    (("0.5", "1.5"), None, 0, 1.5, "1.5"),
]


def as_table(value: Any) -> list[str]:
    """An answer as programs write it into a CSV or TSV."""
    spellings = [str(value)] if not isinstance(value, str) else [value]
    if isinstance(value, bool):
        spellings += [str(value).lower(), str(value).upper()]
    return spellings + [f" {spelled} " for spelled in spellings]


def as_arrays(value: Any) -> list[Any]:
    """An answer as TFDS gives it."""
    if isinstance(value, bool):
        return [np.bool_(value), np.array(value)]
    if isinstance(value, int) and abs(value) < 2**31:
        return [np.int64(value), np.int32(value), np.array(value), np.float32(value)]
    if isinstance(value, float):
        return [np.float32(value), np.float64(value)]
    return [str(value).encode()]


@pytest.mark.parametrize("options, form, first, value, expected", TABLE)
def test_an_answer_means_the_same_in_every_source(
    tmp_path: Path,
    options: tuple[str, ...],
    form: str | None,
    first: int,
    value: Any,
    expected: str | None,
):
    spec = task(options, form, answer_first=first, folder=tmp_path)
    for spelled in [value, *as_table(value), *as_arrays(value)]:
        if expected is None:
            refusal(spec, spelled)
        else:
            assert meant(spec, spelled) == expected, repr(spelled)
    lines = {"jsonl": [json.dumps({"question": "So?", "answer": value})]}
    for kind, delimiter in (("csv", ","), ("tsv", "\t")):
        text = io.StringIO()
        writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        writer.writerows([["question", "answer"], ["So?", value]])
        lines[kind] = [text.getvalue()]
    for kind, text in lines.items():
        (tmp_path / f"rows.{kind}").write_text("\n".join(text))
        source = {"source": Source(kind, "."), "splits": {"train": f"rows.{kind}"}}
        read = canonical_records(dataclasses.replace(spec, **source), "train")
        if expected is None:
            with pytest.raises(UserError, match=r"record train-0: .*the answer"):
                list(read)
        else:
            assert [record.answers for record in read] == [(expected,)]


# Options of each record, form, and what an answer means.
VARYING = [
    (("4", "2", "3"), None, 2, None),
    (("4", "2", "3"), "text", 2, "2"),
    (("4", "2", "3"), "index", 2, "3"),
    ((10, 20, 30), None, 2, None),
    ((10, 20, 30), None, 20, None),
    ((10, 20, 30), "text", 20, "20"),
    ((10, 20, 30), "index", 2, "30"),
    ((0, 1, 2), None, 2, "2"),
    (("ant", "bee", "cow"), None, 2, "cow"),
    (("ant", "bee", "cow"), None, "bee", "bee"),
    (("ant", "bee", "4"), None, 1, None),
    (("ant", "bee", "4"), None, "bee", "bee"),
    (("Yes", "No", "?"), None, True, "Yes"),
    (("ant", "bee", "cow"), None, True, None),
]


@pytest.mark.parametrize("options, form, value, expected", VARYING)
def test_options_of_each_record_are_read_alike(options: Any, form: Any, value: Any, expected: Any):
    own = dict(zip("abc", options, strict=True))
    for spelled in [value, *as_table(value), *as_arrays(value)]:
        for choices in (own, {key: str(option) for key, option in own.items()}):
            if expected is None:
                refusal(task(None, form), spelled, **choices)
            else:
                assert meant(task(None, form), spelled, **choices) == expected


def test_what_a_number_could_be_says_how_to_choose():
    said = refusal(task(STARS), 3)
    assert "is 3, which may be the text or the number of one of ['1', '2', '3', '4', '5']" in said
    assert said.endswith(
        "write answer: {text: answer}, {index: answer} or {index: answer, first: 1}"
    )
    assert "which is no whole number" in refusal(task(), 1.5)
    assert "the truth value true, and ['good', 'bad'] has no pair" in refusal(
        task(("good", "bad")), True
    )


@pytest.mark.parametrize("value", [None, math.nan, np.float32("nan"), math.inf, -math.inf, "", " "])
@pytest.mark.parametrize("form", [None, "index", "text"])
def test_what_is_absent_or_infinite_is_no_answer(value: Any, form: str | None):
    assert "answer" in refusal(task(YES, form), value)


def labelled(tmp_path: Path, labels: str, options: str) -> TaskSpec:
    path = tmp_path / "mine" / "qa" / "toy.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        'name: toy\nversion: 1\nkind: classification\nsource: {jsonl: "."}\n'
        "splits: {train: t.jsonl}\nfields: [question]\nanswer: answer\nmetrics: [accuracy]\n"
        f'templates: [{{inputs: "{{question}}"}}]\noptions: {options}\nlabels: {labels}\n'
    )
    return load_card(path)


@pytest.mark.parametrize(
    ("labels", "options", "value", "expected"),
    [
        ("{true: good, false: bad}", "[bad, good]", True, "good"),
        ("{true: yes, false: no}", '["yes", "no"]', True, "yes"),
        ("{true: no, false: yes}", '["yes", "no"]', True, "no"),
        ('{"true": good, "false": bad}', "[bad, good]", False, "bad"),
        ("{yes: good, no: bad}", "[bad, good]", "yes", "good"),
        ("{yes: good, no: bad}", "[bad, good]", True, "good"),
        ("{1: good, 0: bad}", "[good, bad]", 1, "good"),
        ('{"1": good, "0": bad}', "[good, bad]", 0, "bad"),
        ("{-1: bad, 1: good}", "[bad, good]", -1, "bad"),
        ("{1: good, 2: bad}", "[good, bad]", 0, None),
        ("{1: good, 2: bad}", "[good, bad]", 3, None),
        ("{1: 5, 2: 10}", '["5", "10"]', 2, "10"),
        ("{0.5: bad, 1.5: good}", "[bad, good]", 1.5, "good"),
        ("{pos: good, neg: bad}", "[bad, good]", "pos", "good"),
        ("{pos: good, neg: bad}", "[bad, good]", 1, "good"),
        ("{pos: good, neg: bad}", "[bad, good]", "good", "good"),
        ("{true: good}", "[bad, good]", False, None),
    ],
)  # fmt: skip
def test_labels_are_read_alike(tmp_path: Path, labels, options, value, expected):
    spec = labelled(tmp_path, labels, options)
    for spelled in [value, *as_table(value), *as_arrays(value)]:
        if expected is None:
            refusal(spec, spelled)
        else:
            assert meant(spec, spelled) == expected, repr(spelled)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ('{1: good, "1": bad}', "labels: '1' is given twice"),
        ('{true: good, "yes": bad}', "labels: 'yes' is given twice"),
        ("{null: good}", "labels: None is no text, number or truth value"),
        ("{1: 0}", "label '1' stands for '0', which is no option"),
        ("{1: true}", "labels: True must be one of the options"),
        ("[good]", "labels is .*: it must map"),
    ],
)
def test_labels_that_say_nothing_are_one_line(tmp_path: Path, labels: str, says: str):
    with pytest.raises(UserError, match=says):
        labelled(tmp_path, labels, "[bad, good]")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("{index: label, text: label}", "answer is .*: a path, {index: path}"),
        ("{text: label, first: 1}", "answer is .*: a path"),
        ("{index: label, from: 1}", "answer is .*: a path"),
        ("{index: 1}", "answer is .*: a path"),
        ("[label]", "answer is .*: a path"),
        ("{index: label, first: true}", "answer: first is True: a whole number"),
        ("{index: label, first: -1}", "answer: first is -1: a whole number"),
        ("{index: label}\nlabels: {a: good}", "answer is an index, and labels are given"),
        ("{index: label}\nkind: generation", "answer is an index, and the task has no options"),
    ],
)
def test_a_form_of_answer_that_is_none_is_one_line(tmp_path: Path, answer: str, says: str):
    path = tmp_path / "mine" / "qa" / "toy.yaml"
    path.parent.mkdir(parents=True)
    kind = "" if "kind" in answer else "kind: classification\noptions: [bad, good]\n"
    path.write_text(
        f'name: toy\nversion: 1\nsource: {{jsonl: "."}}\nsplits: {{train: t.jsonl}}\n{kind}'
        f"fields: [question]\nanswer: {answer}\nmetrics: [accuracy]\n"
        'templates: [{inputs: "{question}"}]\n'
    )
    with pytest.raises(UserError, match=says) as caught:
        load_card(path)
    assert "\n" not in str(caught.value)


def test_a_form_is_data_and_leaves_no_trace_where_it_is_not_given():
    plain = task()
    forms = [task(form="text"), task(form="index"), task(form="index", answer_first=1)]
    assert len({spec.data_fingerprint() for spec in [plain, *forms]}) == 4
    # As it was before there were forms.
    assert plain.data_fingerprint() == "9b744423bb58ea6c"


# ---- whatever the types ------------------------------------------------------------------------

OPTION_SETS = [YES, TRUTH, STARS, THREE, COUNT, YEARS, BITS, ("good", "bad"), ("a", "b", "7")]
VALUES = st.one_of(
    st.booleans(),
    st.integers(-3, 7),
    st.floats(-3, 7),
    st.sampled_from([math.nan, math.inf, None, 1.0, 2.0, 2020, 10**40, 1e300]),
    st.sampled_from([*"01234567", *TRUTH, *YES, *THREE, "TRUE", "False", " 1 ", "1.0", "2019", ""]),
    st.text(max_size=3),
    st.lists(st.integers(0, 2), max_size=2),
)


def worth(value: Any) -> float | None:
    """A number's worth, in the test's own words."""
    try:
        return None if isinstance(value, bool | list | None) else float(value)
    except ValueError:
        return None


@given(
    options=st.sampled_from(OPTION_SETS),
    form=st.sampled_from([None, "index", "text"]),
    first=st.integers(0, 1),
    value=VALUES,
    arrays=st.booleans(),
)
def test_the_target_is_what_the_card_says_or_there_is_one_line(options, form, first, value, arrays):
    first = first if form == "index" else 0
    spec = task(options, form, answer_first=first)
    given_value = as_arrays(value)[0] if arrays and isinstance(value, bool | float) else value
    try:
        target = meant(spec, given_value)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert target in options
    index, number = options.index(target), worth(value)
    said = str(value).strip().lower()
    if said in TRUTH:
        assert form != "index"
        assert target in (("yes", "true") if said == "true" else ("no", "false"))
    elif number is None:
        assert form != "index" and target == value.strip()
    elif form == "index":
        assert index + first == number
    elif form == "text":
        assert worth(target) == number
    else:  # one reading alone is possible, for every number
        readings = {i for i, option in enumerate(options) if i == number or worth(option) == number}
        assert readings == {index}
