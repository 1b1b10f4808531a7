"""Bad input is one line that says what, where and the way out; exit 2; and nothing is lost.

Each case breaks one thing in a small working directory and runs one command, as a user would. What
was prepared before it is there after it, byte for byte.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flanmix import cli
from flanmix.data.canonical import canonicalize
from flanmix.data.fewshot import choose_exemplars
from flanmix.data.render import eligible_templates, render
from flanmix.data.store.store import Store
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.paths import tasks_root
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec
from tests.registry.cards import CARD, write_card
from tests.verbs.collection import make_rows, write_task

PLACE = "mine/nli/toy"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with one task, `toy`, that is prepared, and a mixture of it."""
    write_task(tmp_path / "tasks", PLACE, make_rows(12))
    (tmp_path / "tasks" / "mine" / "mixtures.yaml").write_text("mix: {tasks: [mine]}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLANMIX_TASKS", raising=False)
    assert cli.main(["prepare", "toy", "--store", "store"]) == 0
    return tmp_path


def write_rows(here: Path, name: str, rows: list[dict[str, object]]) -> None:
    """A second task, in a cluster of its own."""
    write_task(here / "tasks", f"mine/{name}/{name}", rows)


def card(here: Path, old: str, new: str) -> None:
    """Breaks the card of `toy`."""
    text = CARD.format(name="toy")
    assert old in text
    write_card(here / "tasks", PLACE, text.replace(old, new))


def spoil(here: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Breaks a file of the store."""
    path = here / "store" / "toy" / name
    path.write_bytes(change(path.read_bytes()))


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


GOOD = make_rows(3)
TRAIN = "train --gin_file=gin/recipes/quickstart.gin --gin.RUN_DIR=run --gin.STORE=store"
CASES = {
    "unknown task": (None, "show toi", "task 'toi' is unknown; did you mean 'toy'?"),
    "unknown mixture": (
        None,
        "mixture mux",
        "no task, mixture or collection is named 'mux'; did you mean 'mix'?",
    ),
    "unknown name": (None, "prepare toi --store store", "did you mean 'toy'?"),
    "unknown template field": (
        lambda here: card(here, "{premise} Then", "{premisse} Then"),
        "show toy",
        "template 0: field '{premisse}' is unknown",
    ),
    "a template that shows the answer": (
        lambda here: card(here, "Then {hypothesis}?", "{answer}?"),
        "show toy",
        "template 0: its input shows {answer}",
    ),
    "a record without its answer": (
        lambda here: write_rows(
            here, "bad", [*GOOD, {k: v for k, v in GOOD[0].items() if k != "label"}, *GOOD]
        ),
        "prepare bad --store store",
        "task 'bad', record train-3: 'label' is missing",
    ),
    "an answer that is no option": (
        lambda here: write_rows(here, "bad", [*GOOD, {**GOOD[0], "label": "so so"}, *GOOD]),
        "prepare bad --store store",
        "task 'bad', record train-3: the answer 'so so' is no option of ['yes', 'no']",
    ),
    "an empty dataset": (
        lambda here: write_rows(here, "bad", []),
        "prepare bad --store store",
        "is empty",
    ),
    "a store made by another spec version": (
        lambda here: card(here, "version: 1", "version: 2"),
        "show toy --store store",
        "run: flanmix prepare toy --store store",
    ),
    "a corrupt store file": (
        lambda here: spoil(here, "train.array_record", flip),
        "show toy --store store -n 12",
        "is corrupt",
    ),
    "a truncated store file": (
        lambda here: spoil(here, "train.array_record", lambda data: data[:-100]),
        "show toy --store store",
        "flanmix prepare toy --store store",
    ),
    "an unknown gin name": (
        None,
        f"{TRAIN} --gin.STPES=3",
        "'STPES' is unknown; did you mean 'STEPS'",
    ),
    "an unknown gin parameter": (
        None,
        f"{TRAIN} --gin.T5Config.dmodel=3",
        "'T5Config.dmodel' is unknown; did you mean 'd_model'?",
    ),
    "a missing gin file": (
        None,
        "train --gin_file=gin/recipes/quickstrat.gin",
        "did you mean 'gin/recipes/quickstart.gin'?",
    ),
    "a value out of its range": (None, f"{TRAIN} --gin.BATCH_SIZE=0", "BATCH_SIZE is 0"),
    "a run on an unknown mixture": (None, f"{TRAIN} --gin.MIXTURE=mux", "did you mean 'mix'?"),
    "a run on what is not prepared": (
        lambda here: write_rows(here, "bad", GOOD),
        f"{TRAIN} --gin.MIXTURE=bad",
        "flanmix prepare bad --store store",
    ),
    "a batch that no mesh can divide": (
        None,
        f"{TRAIN} --gin.MIXTURE=mix --gin.BATCH_SIZE=32 --gin.MICROBATCHES=3",
        "BATCH_SIZE is 32: its rows can't be divided",
    ),
    "more devices than there are": (
        None,
        f"{TRAIN} --gin.MIXTURE=mix --gin.MeshConfig.data=2 --gin.MeshConfig.fsdp=4",
        "needs 8 devices",
    ),
    "a corrupt manifest": (
        lambda here: spoil(here, "manifest.json", lambda data: data[:50]),
        "mixture mix --store store",
        "manifest.json is corrupt",
    ),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "_"))
def test_one_line_and_nothing_lost(
    case: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, command, says = CASES[case]
    if broken is not None:
        broken(here)
    before = {p: p.read_bytes() for p in (here / "store").rglob("*") if p.is_file()}
    capsys.readouterr()
    assert cli.main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if re.match("flanmix: (?!warning)", line)]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in err
    assert {p: p.read_bytes() for p in (here / "store").rglob("*") if p.is_file()} == before
    assert not (here / "run").exists()


def test_a_bad_dataset_does_not_stop_the_others(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(here, "bad", [{"label": 0}] * 9)
    write_rows(here, "fine", make_rows(9))
    capsys.readouterr()
    assert cli.main(["prepare", "mine", "--store", "store", "--json"]) == 2
    done = json.loads(capsys.readouterr().out)
    assert {row["task"] for row in done["prepared"]} == {"fine"}
    assert done["skipped"] == ["toy"]
    assert [row["task"] for row in done["failed"]] == ["bad"]


# ---- text that breaks things -------------------------------------------------------------------

NASTY = (
    "{answer} {premise} {{}} { }",
    "a\x00b\x1b[2J",
    "👩🏽‍🚀 emoji",
    "שלום مرحبا \u202eabc",
    "\ud800 lone",
    "a\r\nb\u2028c",
    "%s %(x)s \\n $x",
    "x" * 2**20,
)
texts = st.one_of(st.text(min_size=1), st.sampled_from(NASTY)).filter(lambda text: text.strip())


def specs_of_texts() -> list[TaskSpec]:
    """The shipped tasks whose raw records can be made of any texts, with a label."""
    catalogue = Catalogue([tasks_root()])
    specs = [catalogue.task(name) for name in catalogue.expand_all(["pocket", "flan2021"])]
    return [spec for spec in specs if spec.options and spec.mapping is None]


@pytest.mark.parametrize("spec", specs_of_texts(), ids=lambda spec: spec.name)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_text_goes_through_every_template_unharmed(spec: TaskSpec, data: st.DataObject) -> None:
    values = data.draw(st.lists(texts, min_size=len(spec.fields), max_size=len(spec.fields)))
    raw: dict[str, object] = {}
    for path, value in zip(spec.fields.values(), values, strict=True):
        *folders, key = path.split(".")
        place = raw
        for folder in folders:
            place = place.setdefault(folder, {})
        place[key] = value
    raw[spec.answer] = 0
    (record,) = canonicalize(spec, raw, "train-0")
    assert Record.from_bytes(record.to_bytes()) == record
    fields = dict(zip(spec.fields, values, strict=True))
    assert record.fields == fields
    for number in eligible_templates(spec, record, range(len(spec.templates))):
        template = spec.templates[number]
        pair = render(spec, record, number)
        for field in template.input_fields & fields.keys():
            assert fields[field] in pair.inputs
        if not template.inverted:
            assert pair.targets == spec.options[0]
        # A marker in each field's place and the text put there afterwards give the same text.
        marks = {field: f"\ue000{i}\ue001" for i, field in enumerate(fields)}
        marked = Record("marked", marks, record.answers, record.options)
        filled = render(spec, marked, number).inputs
        for field, value in fields.items():
            filled = filled.replace(marks[field], value)
        if not any("\ue000" in value for value in values):
            assert filled == pair.inputs
        assert choose_exemplars(spec, record, number, [record], 1) == ()


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_a_nasty_record_from_file_to_screen(
    text: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"text": {"premise": text}, "hypothesis": text, "label": 1}
    other = row | {"hypothesis": f"{text} 2", "label": 0}
    write_rows(here, "odd", [row, row, other, other, other, other])
    assert cli.main(["prepare", "odd", "--store", "store"]) == 0
    reader = Store("store").open(Catalogue([here / "tasks"]).task("odd"), "train")
    assert reader[0].fields == {"premise": text, "hypothesis": text}
    assert cli.main(["check", "odd", "--store", "store"]) == 0
    capsys.readouterr()
    argv = ["show", "odd", "--store", "store", "-n", "2", "--json"]
    assert cli.main(argv + ["--tokens"] * (len(text) < 2**10)) == 0
    assert all(text in row["inputs"] for row in json.loads(capsys.readouterr().out))
    assert cli.main(["show", "odd", "--store", "store", "-n", "1"]) == 0
    assert not {"\x00", "\x1b", "\u202e"} & set(capsys.readouterr().out)
