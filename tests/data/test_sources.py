"""Raw records come from files and functions as they are, or one line says what is wrong."""

import bz2
import csv
import dataclasses
import gzip
import json
import lzma
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flanmix.data.sources import records as records_module
from flanmix.data.sources.records import (
    canonical_records,
    drawn_records,
    raw_records,
    source_files,
)
from flanmix.errors import UserError
from flanmix.registry.task import Source, TaskSpec
from tests.data.tasks import toy

ROWS = [{"question": f"what is {i}?", "answer": i} for i in range(10)]
TEXT = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("{}\x00\"',\n\r\t\u2028\U0001f600ש"))
)


def write_jsonl(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def spec(tmp_path: Path) -> TaskSpec:
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    write_jsonl(tmp_path / "test.jsonl", ROWS[:2])
    return toy(tmp_path)


def split(spec: TaskSpec, expression: str) -> TaskSpec:
    return dataclasses.replace(spec, splits={"train": expression})


def test_jsonl_becomes_numbered_records(spec: TaskSpec):
    made = list(canonical_records(spec, "train"))
    assert [record.id for record in made] == [f"train-{i}" for i in range(10)]
    assert made[3].fields == {"question": "what is 3?"}
    assert made[3].answers == ("3",)
    assert [record.id for record in canonical_records(spec, "test", limit=1)] == ["test-0"]


def test_slices_of_files(spec: TaskSpec):
    warnings: list[str] = []
    made = canonical_records(split(spec, "train.jsonl[-3:]"), "train", warn=warnings.append)
    assert [record.answers for record in made] == [("7",), ("8",), ("9",)]
    assert not warnings
    made = canonical_records(split(spec, "train.jsonl[:30]"), "train", warn=warnings.append)
    assert len(list(made)) == 10
    (warning,) = warnings
    assert warning.startswith("task 'toy': split train.jsonl[:30] asks for more than the 10 rows")


def test_a_clamped_slice_is_logged(spec: TaskSpec, logged: list[str]):
    list(canonical_records(split(spec, "train.jsonl[-30:]"), "train"))
    assert logged[0].startswith("task 'toy': split train.jsonl")


def test_files_beside_the_card_come_first_then_data_dir(spec: TaskSpec, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_jsonl(elsewhere / "train.jsonl", ROWS[:1])
    write_jsonl(elsewhere / "more.jsonl", ROWS[:4])
    assert len(list(raw_records(spec, "train", data_dir=elsewhere))) == 10
    more = split(spec, "more.jsonl")
    assert len(list(raw_records(more, "train", data_dir=elsewhere))) == 4
    assert source_files(more, elsewhere) == {"more.jsonl": elsewhere / "more.jsonl"}
    with pytest.raises(UserError, match=r"task 'toy': file more.jsonl is missing.*--data_dir"):
        list(raw_records(more, "train"))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(TEXT, min_size=1, max_size=5), escape=st.booleans())
def test_any_text_survives_jsonl(tmp_path: Path, texts: list[str], escape: bool):
    lines = [json.dumps({"question": t, "answer": "a"}, ensure_ascii=escape) for t in texts]
    (tmp_path / "train.jsonl").write_bytes("\n".join(lines).encode())
    assert [row["question"] for _, row in raw_records(toy(tmp_path), "train")] == texts


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(TEXT, min_size=1, max_size=5))
def test_any_text_survives_csv(tmp_path: Path, texts: list[str]):
    with (tmp_path / "train.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["question", "answer"]])
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([text, "a"] for text in texts)
    spec = toy(tmp_path, source=Source("csv", "."), splits={"train": "train.csv"})
    assert [row["question"] for _, row in raw_records(spec, "train")] == texts


def test_a_megabyte_survives_csv_and_tsv(tmp_path: Path):
    long = 'a "{x}" \U0001f600' * 100_000
    (tmp_path / "t.tsv").write_text(f"{long}\tyes\n")
    source = Source("tsv", ".", {"columns": ["question", "answer"]})
    spec = toy(tmp_path, source=source, splits={"train": "t.tsv"})
    assert next(canonical_records(spec, "train")).fields["question"] == long
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerow([long, "yes"])
    spec = toy(tmp_path, source=dataclasses.replace(source, kind="csv"), splits={"train": "t.csv"})
    assert next(canonical_records(spec, "train")).fields["question"] == long


def test_tsv_is_plain(tmp_path: Path):
    (tmp_path / "t.tsv").write_bytes(b'question\tanswer\n"Is it" so?\t"a"\r\n\n x\t y\n')
    spec = toy(tmp_path, source=Source("tsv", "."), splits={"train": "t.tsv"})
    rows = [row for _, row in raw_records(spec, "train")]
    assert rows == [
        {"question": '"Is it" so?', "answer": '"a"'},
        {"question": " x", "answer": " y"},
    ]


@pytest.mark.parametrize(
    ("name", "kind", "text", "says"),
    [
        ("t.jsonl", "jsonl", '{"question": "a", "answer": "b"}\n{"q', "t.jsonl line 2: not JSON"),
        ("t.jsonl", "jsonl", "[1]\n", "line 1: a list, where one object a line"),
        ("t.jsonl", "jsonl", "{}\n", "record train-0 is empty .*t.jsonl line 1"),
        (
            "t.jsonl",
            "jsonl",
            '\n{"question": "a"}\n',
            "train-0: 'answer' is missing.*line 2.*correct",
        ),
        ("t.jsonl", "jsonl", '{"question": ["a"], "answer": "b"}', "field 'question' is a list"),
        ("t.jsonl", "jsonl", '{"question": " ", "answer": "b"}', "field 'question' .* is empty"),
        ("t.jsonl", "jsonl", "", r"split train \(t.jsonl of .*\) is empty"),
        ("t.jsonl", "jsonl", "\ufeff\n \n", "is empty"),
        ("t.csv", "csv", "question,answer\na,b,c\n", "t.csv line 2: 3 fields, but 2 columns"),
        ("t.csv", "csv", 'question,answer\n"a,b\n', "line 2: not CSV"),
        ("t.csv", "csv", "question,answer\n", "is empty"),
        ("t.csv", "csv", "a,a\n1,2\n", "the header has a name twice"),
        ("t.tsv", "tsv", "question\tanswer\na\n", "t.tsv line 2: 1 fields, but 2 columns"),
        ("t.tsv", "tsv", "q\tanswer\na\tb\n", "'question' is missing from the header"),
        ("t.tsv", "tsv", "How so?\tSo.\nWhy?\tSo.\n", "line 1: 'answer' is missing from the header "
         r"\(How so\?, So.\); if this line is a record already, name the columns in the card"),
        ("t.csv", "csv", "0,1\n2,3\n", r"is missing from the header \(0, 1\)"),
        ("t.jsonl", "jsonl", '{"question": "a", "answer": "b", "answer": "c"}',
         "t.jsonl line 1: key 'answer' is given twice"),
        ("t.jsonl", "jsonl", '\n{"question": "a", "answer": "b", "more": {"x": 1, "x": 1}}',
         "t.jsonl line 2: key 'x' is given twice"),
        ("t.jsonl", "jsonl", '{"question": NaN, "answer": "b"}', "field 'question' is missing"),
        ("t.jsonl", "jsonl", '{"question": "a", "answer": -Infinity}', "the answer is infinite"),
        ("t.jsonl", "jsonl", '{"question": "a", "answer": 1e999}', "the answer is infinite"),
        ("t.tsv", "tsv", 'question\tanswer\n"So ""far"", so good"\ta\n',
         "t.tsv line 2: a field stands in quotes .* add quoted: true .* or quoted: false"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(tmp_path: Path, name: str, kind: str, text: str, says: str):
    (tmp_path / name).write_text(text, encoding="utf-8")
    spec = toy(tmp_path, source=Source(kind, "."), splits={"train": name})
    with pytest.raises(UserError, match=says) as caught:
        list(canonical_records(spec, "train"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (Source("jsnol", "."), "source 'jsnol' is unknown; did you mean 'jsonl'"),
        (Source("parquet", "."), "source 'parquet' is unknown: one of jsonl, tsv, csv, python,"),
        (Source("jsonl", ".", {"columns": ["a"]}), "source jsonl takes no 'columns'"),
        (Source("tsv", ".", {"colums": ["a"]}), "takes no 'colums'; did you mean 'columns'"),
        (Source("csv", ".", {"columns": [True]}), r"columns is \[True\]: .*a list of texts"),
    ],
)
def test_a_wrong_source_is_one_line(spec: TaskSpec, source: Source, says: str):
    wrong = dataclasses.replace(spec, source=source)
    with pytest.raises(UserError, match=f"^task 'toy': .*{says}") as caught:
        list(raw_records(wrong, "train"))
    assert "\n" not in str(caught.value)


def test_settings_are_data_and_columns_stand_where_they_always_have(spec: TaskSpec):
    def digest(**settings: object) -> str:
        source = Source("tsv", ".", settings)
        return dataclasses.replace(spec, source=source, folder=None).data_fingerprint()

    assert digest() != digest(columns=["a"]) != digest(columns=["b"])
    assert len({digest(), digest(columns=["a"]), digest(more=1), digest(more=2)}) == 4
    assert digest(columns=["question", "answer"]) == "6f81b65ca0578d63"


def test_a_file_that_is_not_utf8_is_one_line(spec: TaskSpec, tmp_path: Path):
    (tmp_path / "train.jsonl").write_bytes(b'{"question": "\xff"}')
    with pytest.raises(UserError, match=r"train.jsonl is not UTF-8 \(byte 14\)"):
        list(canonical_records(spec, "train"))


@pytest.mark.parametrize(
    ("suffix", "data", "says"),
    [
        (".gz", gzip.compress(b"{}", mtime=0), "is compressed with gzip, .* gunzip t.jsonl.gz"),
        (".bz2", bz2.compress(b"{}"), "is compressed with bzip2"),
        (".xz", lzma.compress(b"{}"), "is compressed with xz"),
        ("", gzip.compress(b"{}", mtime=0), "t.jsonl is compressed with gzip"),
        ("", b"PAR1\x15", "t.jsonl is Parquet"),
        ("", '{"question": "a"}'.encode("utf-16"), "t.jsonl is UTF-16"),
    ],
)
def test_a_file_that_is_no_text_says_what_it_is(
    tmp_path: Path, suffix: str, data: bytes, says: str
):
    (tmp_path / f"t.jsonl{suffix}").write_bytes(data)
    with pytest.raises(UserError, match=says):
        list(canonical_records(split(toy(tmp_path), f"t.jsonl{suffix}"), "train"))
    if suffix:
        with pytest.raises(UserError, match=f"t.jsonl is missing.*t.jsonl{suffix} is there: unpa"):
            list(canonical_records(split(toy(tmp_path), "t.jsonl"), "train"))


def test_quotes_of_a_spreadsheet_are_read_where_the_card_says_so(tmp_path: Path):
    (tmp_path / "t.tsv").write_text('question\tanswer\n"So ""far"",\n\tso good"\ta\n')
    spec = split(toy(tmp_path, source=Source("tsv", ".", {"quoted": True})), "t.tsv")
    assert [row for _, row in raw_records(spec, "train")] == [
        {"question": 'So "far",\n\tso good', "answer": "a"}
    ]
    (tmp_path / "t.tsv").write_text('question\tanswer\n"So ""far"""\ta\n')
    plain = dataclasses.replace(spec, source=Source("tsv", ".", {"quoted": False}))
    assert next(raw_records(plain, "train"))[1]["question"] == '"So ""far"""'
    with pytest.raises(UserError, match="quoted is 'yes': it must be true or false"):
        wrong = dataclasses.replace(spec, source=Source("tsv", ".", {"quoted": "yes"}))
        list(raw_records(wrong, "train"))


def test_a_header_that_looks_like_a_record_is_said_where_a_function_reads_it(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,1\nb,2\n")
    (tmp_path / "m.py").write_text("def rows(raw):\n    return None\n")
    spec = toy(tmp_path, source=Source("csv", "."), mapping="m.py:rows")
    warnings: list[str] = []
    list(raw_records(split(spec, "t.csv"), "train", warn=warnings.append))
    assert len(warnings) == 1 and "the header (a, 1) looks like a record" in warnings[0]


def test_columns_that_lack_what_the_card_reads_are_one_line(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a,b\n")
    spec = toy(tmp_path, source=Source("csv", ".", {"columns": ["qestion", "answer"]}))
    optional = dataclasses.replace(split(spec, "t.csv"), optional=("question",))
    with pytest.raises(UserError, match="'question' is not among the card's columns"):
        list(canonical_records(optional, "train"))


# ---- a limit -----------------------------------------------------------------------------------


def sorted_rows(folder: Path, **changes: object) -> TaskSpec:
    rows = [
        {"question": f"what is {i}?", "answer": "no" if i < 500 else "yes"} for i in range(1000)
    ]
    write_jsonl(folder / "train.jsonl", rows)
    return toy(folder, splits={"train": "train.jsonl"}, **changes)


def test_a_limit_draws_from_the_whole_split(tmp_path: Path):
    spec = sorted_rows(tmp_path)
    made = list(drawn_records(spec, "train", 100))
    numbers = [int(record.id.partition("-")[2]) for record in made]
    assert len(set(numbers)) == 100 and numbers == sorted(numbers)
    assert 30 <= sum(record.answers == ("yes",) for record in made) <= 70
    every = {record.id: record for record in canonical_records(spec, "train")}
    assert all(every[record.id] == record for record in made)
    assert list(drawn_records(spec, "train", 100)) == made
    # The few are among the many, and another task draws others.
    more = {record.id for record in drawn_records(spec, "train", 300)}
    assert {record.id for record in made} <= more
    other = dataclasses.replace(spec, name="other")
    assert [r.id for r in drawn_records(other, "train", 100)] != [r.id for r in made]
    assert list(drawn_records(spec, "train", 5000)) == list(every.values())
    assert list(drawn_records(spec, "train", None)) == list(every.values())


def test_a_limit_draws_what_a_mapping_leaves(tmp_path: Path):
    (tmp_path / "m.py").write_text(
        "def odd(raw):\n    return raw if int(raw['question'][8:-1]) % 2 else None\n"
        "def twice(raw):\n    return [raw, raw]\n"
    )
    spec = sorted_rows(tmp_path, mapping="m.py:odd")
    made = list(drawn_records(spec, "train", 100))
    assert len(made) == 100 and all(int(record.id[6:]) % 2 for record in made)
    doubled = dataclasses.replace(spec, mapping="m.py:twice")
    made = list(drawn_records(doubled, "train", 100))
    assert len(made) == 100 and 30 <= sum(record.answers == ("yes",) for record in made) <= 70
    (tmp_path / "train.jsonl").write_text("\n")
    with pytest.raises(UserError, match="is empty"):
        drawn_records(spec, "train", 100)


def test_a_huge_source_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(records_module, "_DRAWN_FROM", 50)
    warnings: list[str] = []
    made = list(drawn_records(sorted_rows(tmp_path), "train", 10, warn=warnings.append))
    assert max(int(record.id[6:]) for record in made) < 50
    assert warnings == ["task 'toy': train is drawn from its first 50 rows"]


def test_a_malformed_split_and_an_empty_slice(spec: TaskSpec):
    with pytest.raises(UserError, match=r"task 'toy': split 'train.jsonl\[' is malformed"):
        list(canonical_records(split(spec, "train.jsonl["), "train"))
    with pytest.raises(
        UserError, match=r"split train \(train.jsonl\[:-10\] of .*is empty; correct"
    ):
        list(canonical_records(split(spec, "train.jsonl[:-10]"), "train"))
    with pytest.raises(UserError, match="has no split 'validation': train, test"):
        list(canonical_records(spec, "validation"))


GENERATOR = """
from words import WORDS

def rows(split):
    for number, word in enumerate(WORDS[split]):
        yield {"question": word, "answer": number}

def fails(split):
    yield {"question": "a", "answer": "b"}
    raise KeyError(split)

def number(split):
    return 3

def texts(split):
    return ["a"]

def drop(row):
    return None
"""


@pytest.fixture
def python(tmp_path: Path) -> TaskSpec:
    (tmp_path / "generate.py").write_text(GENERATOR)
    (tmp_path / "words.py").write_text("WORDS = {'train': ['a', 'b', 'c'], 'test': ['d']}")
    splits = {"train": "train[1:]", "test": "test"}
    yield toy(tmp_path, source=Source("python", "generate.py:rows"), splits=splits)
    sys.modules.pop("words", None)


def test_a_python_function_makes_records(python: TaskSpec, tmp_path: Path):
    made = list(canonical_records(python, "train"))
    assert [(r.id, r.fields["question"]) for r in made] == [("train-0", "b"), ("train-1", "c")]
    assert set(source_files(python)) == {"generate.py", "words.py"}
    assert list(canonical_records(python, "train")) == made


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("fails", r"generate.py:fails\('train'\) fails: KeyError\('train'\)"),
        ("number", "returned a int, not an iterable"),
        ("texts", r"record train-0 is a str, not a mapping \(record 0 of .*texts\('train'\)\)"),
        ("rowz", "generate.py has no function 'rowz'; did you mean 'rows'"),
    ],
)
def test_a_broken_function_is_named(python: TaskSpec, function: str, says: str):
    broken = dataclasses.replace(
        split(python, "train"), source=Source("python", f"generate.py:{function}")
    )
    with pytest.raises(UserError, match=f"task 'toy'.*{says}"):
        list(canonical_records(broken, "train"))


def test_a_mapping_that_drops_everything_is_an_error(python: TaskSpec):
    dropped = dataclasses.replace(python, mapping="generate.py:drop")
    with pytest.raises(UserError, match=r"all 2 records were dropped by generate.py:drop"):
        list(canonical_records(dropped, "train"))
