"""SeqIO both ways: the text on its path is ours, record by record, and its tasks are read here."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flanmix.data.loader import Loader, LoaderConfig
from flanmix.data.render import TextExample, draw, eligible_templates, render
from flanmix.data.sources.quiet_tensorflow import import_seqio
from flanmix.data.sources.records import canonical_records, raw_records, source_files
from flanmix.data.store.prepare import prepare_task
from flanmix.data.store.store import Store
from flanmix.data.vocabulary import load_vocabulary
from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.mixture import Mixture, MixtureSpec, MixtureTask, resolve
from flanmix.registry.paths import tasks_root
from flanmix.registry.task import Source, TaskSpec
from flanmix.registry.template import Template
from flanmix.seqio_export import register
from flanmix.seqio_export.register import register_mixture, register_task
from tests.conftest import ROOT
from tests.data.tasks import toy

CATALOGUE = Catalogue([tasks_root()])
SHIPPED = set(CATALOGUE.names())
# Of every shape: fixed and per-record options, several references, ragged lists, mappings.
REAL = ["rte", "winogrande", "arc_easy", "wmt16_translate_deen", "bool_q", "natural_questions"]
REAL += ["dart", "copa", "cosmos_qa", "openbookqa"]
REAL = [name for name in REAL if name in SHIPPED]
LIMIT = 25
# What an example carries besides SeqIO's features.
EXTRA = ("inputs_pretokenized", "targets_pretokenized", "task", "template", "record")
EXTRA += ("options", "references")


@pytest.fixture(scope="module")
def seqio():
    return import_seqio()


@pytest.fixture
def registries(seqio) -> Iterator[None]:
    """Empty registries, as they are in a new program."""
    kept = dict(seqio.TaskRegistry._REGISTRY), dict(seqio.MixtureRegistry._REGISTRY)
    yield
    seqio.TaskRegistry._REGISTRY, seqio.MixtureRegistry._REGISTRY = kept


@pytest.fixture
def features(seqio, registries: None):
    feature = seqio.Feature(seqio.ByteVocabulary(), add_eos=True)
    return {"inputs": feature, "targets": feature}


@pytest.fixture
def tfds(shared_data: Path) -> str:
    return str(shared_data / "tfds")


def ours(spec: TaskSpec, split: str, data_dir: str | None, seed: int = 0) -> list[TextExample]:
    pairs = []
    for record in canonical_records(spec, split, data_dir=data_dir, limit=LIMIT):
        drawn = draw(spec, record, range(len(spec.templates)), seed, 0)
        if drawn is not None:
            pairs.append(render(spec, record, drawn[0], reference=drawn[1]))
    return pairs


def theirs(task, split: str, count: int | None = LIMIT, **settings) -> list[TextExample]:
    dataset = task.get_dataset(None, split, **{"shuffle": False, **settings})
    return [pair_of(row) for row in itertools.islice(dataset.as_numpy_iterator(), count)]


def pair_of(row: dict) -> TextExample:
    return TextExample.of_pair(
        inputs=row["inputs_pretokenized"].decode(),
        targets=row["targets_pretokenized"].decode(),
        task=row["task"].decode(),
        template=int(row["template"]),
        record=row["record"].decode(),
        options=tuple(text.decode() for text in row["options"]),
        references=tuple(text.decode() for text in row["references"]),
    )


# Away from us: our tasks in SeqIO


@pytest.mark.parametrize("name", REAL)
def test_the_text_of_a_real_task_is_ours(name: str, features, tfds: str):
    spec = CATALOGUE.task(name)
    task = register_task(spec, features, data_dir=tfds)
    wanted = ours(spec, "test", tfds)
    assert len(wanted) > 10
    assert theirs(task, "test", len(wanted)) == wanted


def test_tokens_are_the_texts_with_an_end(features, tfds: str):
    spec = CATALOGUE.task("rte")
    task = register_task(spec, features, data_dir=tfds)
    row = next(task.get_dataset(None, "validation", shuffle=False).as_numpy_iterator())
    vocabulary = features["inputs"].vocabulary
    for name in ("inputs", "targets"):
        assert row[name][-1] == vocabulary.eos_id
        assert vocabulary.decode(row[name][:-1].tolist()).encode() == row[f"{name}_pretokenized"]
    trimmed = task.get_dataset({"inputs": 20, "targets": 4}, "validation", shuffle=False)
    row = next(trimmed.as_numpy_iterator())
    assert (len(row["inputs"]), row["inputs"][-1]) == (20, vocabulary.eos_id)


def test_order_and_shards_do_not_change_the_text(seqio, features, tfds: str):
    spec = CATALOGUE.task("copa")
    task = register_task(spec, features, data_dir=tfds, seed=7)
    records = list(canonical_records(spec, "test", data_dir=tfds))
    assert task.num_input_examples("test") == len(records)
    straight = theirs(task, "test", None)
    assert [pair.record for pair in straight] == [record.id for record in records]
    shuffled = theirs(task, "test", None, shuffle=True, seed=3)
    assert shuffled != straight
    by_record = {pair.record: pair for pair in straight}
    assert {pair.record: pair for pair in shuffled} == by_record
    shards = [theirs(task, "test", None, shard_info=seqio.ShardInfo(i, 2)) for i in range(2)]
    assert {pair.record: pair for shard in shards for pair in shard} == by_record
    assert abs(len(shards[0]) - len(shards[1])) <= 1


@pytest.mark.parametrize("name", sorted(SHIPPED & {"who_is_there", "world_facts", "food_mood"}))
def test_the_text_of_a_pocket_task_is_ours(name: str, features):
    spec = CATALOGUE.task(name)
    wanted = ours(spec, "train", None, seed=5)
    assert theirs(register_task(spec, features, seed=5), "train") == wanted
    for template in (0, len(spec.templates) - 1):
        task = register_task(spec, features, template=template)
        assert task.name == f"{name}.template_{template}"
        records = canonical_records(spec, "train", limit=LIMIT)
        wanted = [render(spec, r, template) for r in records if fits(spec, r, template)]
        assert theirs(task, "train", len(wanted)) == wanted


def fits(spec: TaskSpec, record, template: int) -> bool:
    return bool(eligible_templates(spec, record, (template,)))


HARD = [
    "{answer} {{",
    "\x00",
    "\U0001f600",
    "שלום עולם",
    "a\u2028b\r\n\tc",
    '"\\"',
    "x" * 1_000_000,
]


def test_hard_texts_and_optional_fields(tmp_path: Path, features):
    rows = [{"question": text, "answer": [text, "b"], "hint": ""} for text in HARD]
    rows[1]["hint"] = "a {hint}"
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    spec = toy(
        tmp_path,
        splits={"train": "train.jsonl"},
        fields={"question": "question", "hint": "hint"},
        optional=("hint",),
        templates=(Template("{question}"), Template("{hint}: {question}")),
    )
    wanted = ours(spec, "train", None)
    assert len(wanted) == len(HARD)
    assert theirs(register_task(spec, features), "train", None) == wanted
    hinted = theirs(register_task(spec, features, template=1), "train", None)
    assert [pair.record for pair in hinted] == ["train-1"]


def test_registering_again_is_idle_and_another_is_an_error(seqio, features):
    spec = CATALOGUE.task(min(CATALOGUE.expand("pocket")))
    task = register_task(spec, features)
    assert register_task(spec, features) is task
    assert seqio.TaskRegistry.get(spec.name) is task
    for changes in ({"seed": 1}, {"templates": [0]}):
        with pytest.raises(UserError, match=f"'{spec.name}' is registered with SeqIO already"):
            register_task(spec, features, **changes)
    with pytest.raises(UserError, match="registered with SeqIO already"):
        register_task(dataclasses.replace(spec, version=spec.version + 1), features)
    assert register_task(spec, features, name="mine", seed=1).name == "mine"
    with pytest.raises(UserError, match="has templates 0 to 9, not \\[10\\]"):
        register_task(spec, features, template=10)
    seqio.TaskRegistry.remove(spec.name)
    assert register_task(spec, features) is not task


def test_registering_opens_no_dataset(features):
    missing = dataclasses.replace(CATALOGUE.task("rte"), name="gone")
    task = register_task(missing, features, data_dir="/nowhere")
    assert set(task.splits) == {"train", "validation", "test"}


def test_a_mixture_has_the_same_tasks_at_the_same_rates(seqio, features, tfds: str):
    counts = {"rte": 2290, "copa": 350, "bool_q": 2200}
    spec = MixtureSpec("three", tuple(counts), cap=2250, temperature=2.0, rates={"copa": 12.5})
    resolved = resolve(spec, CATALOGUE, lambda task: counts[task.name])
    mixture = register_mixture(resolved, features, data_dir=tfds)
    assert seqio.MixtureRegistry.get("three") is mixture
    rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
    assert rates == {task.spec.name: task.rate for task in resolved.tasks}
    assert rates["copa"] == 12.5
    assert register_mixture(resolved, features, data_dir=tfds) is mixture
    dataset = mixture.get_dataset(
        None, "train", num_epochs=None, shuffle=False, passthrough_features=list(EXTRA)
    )
    seen = [pair_of(row) for row in itertools.islice(dataset.as_numpy_iterator(), 60)]
    assert {pair.task for pair in seen} == set(counts)
    pairs = [pair for name in counts for pair in ours(CATALOGUE.task(name), "train", tfds)]
    wanted = {(pair.task, pair.record): pair for pair in pairs}
    assert all(wanted[p.task, p.record] == p for p in seen if (p.task, p.record) in wanted)
    with pytest.raises(UserError, match="'three' is registered with SeqIO already"):
        register_mixture(
            dataclasses.replace(resolved, tasks=resolved.tasks[:2]), features, data_dir=tfds
        )


def test_a_mixture_with_some_templates_and_one_with_exemplars(features):
    name = min(CATALOGUE.expand("pocket"))
    spec = MixtureSpec("some", (name,), templates=(1, 3))
    mixture = register_mixture(resolve(spec, CATALOGUE, lambda task: 10), features)
    (task,) = mixture.tasks
    assert task.name == f"some.{name}"
    assert {pair.template for pair in theirs(task, "train")} == {1, 3}
    shots = dataclasses.replace(spec, name="shots", few_shot=2, few_shot_share=0.5)
    with pytest.raises(UserError, match="mixture 'shots' shows exemplars"):
        register_mixture(resolve(shots, CATALOGUE, lambda task: 10), features)


def scores(task, predictions: Sequence[str] | None = None) -> dict:
    rows = list(task.get_dataset(None, "train", shuffle=False).as_numpy_iterator())
    texts = [row["targets_pretokenized"].decode() for row in rows]
    post = task.postprocess_fn
    targets = [post(t, example=r, is_target=True) for t, r in zip(texts, rows, strict=True)]
    guesses = predictions or texts
    guesses = [post(g, example=r, is_target=False) for g, r in zip(guesses, rows, strict=True)]
    found = [function(targets, guesses) for function in task.metric_fns]
    return {key: float(value) for row in found for key, value in row.items()}


def test_metrics_are_t5s(tmp_path: Path, features):
    metrics = pytest.importorskip("t5.evaluation.metrics")
    rows = [{"question": f"{i}?", "answer": [f"the {i}", f"no {i}"]} for i in range(4)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    spec = toy(tmp_path, splits={"train": "train.jsonl"}, metrics=("squad", "trivia_qa"))
    task = register_task(spec, features, template=0)
    assert task.metric_fns == [metrics.squad, metrics.trivia_qa]
    assert scores(task) == {"em": 100.0, "f1": 100.0}
    assert scores(task, ["No 0.", "1", "a", "b"])["em"] == 50.0
    spec = dataclasses.replace(spec, metrics=("exact_match", "squad", "rouge"))
    several = scores(register_task(spec, features, name="several", template=0))
    assert (several["sequence_accuracy"], several["em"]) == (100.0, 100.0)
    assert set(several) == {"sequence_accuracy", "em", "f1", "rouge1", "rouge2", "rougeLsum"}


def test_metrics_of_labels(tmp_path: Path, features):
    rows = [{"question": f"{i}?", "answer": i % 3} for i in range(6)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    spec = toy(
        tmp_path,
        kind="classification",
        splits={"train": "train.jsonl"},
        options=("a", "b", "c"),
        metrics=("macro_f1",),
    )
    task = register_task(spec, features, template=0)
    assert list(scores(task).values()) == [100.0]
    assert 0 < next(iter(scores(task, ["a", "b", "x", "a", "b", "c"]).values())) < 100


def test_without_t5_metrics_say_how_to_get_it(
    tmp_path: Path, features, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "train.jsonl").write_text('{"question": "a", "answer": "b"}')
    for module in ("t5", "t5.evaluation", "t5.evaluation.metrics"):
        monkeypatch.setitem(sys.modules, module, None)
    task = register_task(toy(tmp_path, splits={"train": "train.jsonl"}), features, template=0)
    with pytest.raises(UserError, match=r"pip install --no-deps t5==0\.9\.4"):
        scores(task)


# Towards us: TFDS and foreign SeqIO tasks


def test_tfds_records_are_the_datasets(tfds: str):
    import tensorflow_datasets

    spec = CATALOGUE.task("arc_easy")
    name = spec.source.location
    loaded = tensorflow_datasets.load(name, data_dir=tfds, split=spec.splits["test"])
    wanted = [str(row["question"]) for row in loaded.take(30).as_numpy_iterator()]
    rows = itertools.islice(raw_records(spec, "test", data_dir=tfds), 30)
    assert [str(row["question"]) for _, row in rows] == wanted
    described = source_files(spec, tfds)[name]
    assert described.name == "dataset_info.json" and described.is_file()


def sliced(spec: TaskSpec, expression: str, location: str | None = None) -> TaskSpec:
    source = Source("tfds", location or spec.source.location)
    return dataclasses.replace(spec, splits={"train": expression}, source=source)


def test_a_slice_longer_than_the_data_is_clamped(tfds: str):
    spec = CATALOGUE.task("cb")
    warnings: list[str] = []

    def count(expression: str) -> int:
        rows = raw_records(sliced(spec, expression), "train", data_dir=tfds, warn=warnings.append)
        return len(list(rows))

    assert count("train[:30000]") == 64
    assert count("train[-200:]") == 64
    assert len(warnings) == 2
    assert "task 'cb': split train[-200:] asks for more than the 64 rows" in warnings[1]
    assert count("train[:-14]") == 50
    assert count("train[:50%]+validation[:6]") == 38
    assert count("train") == 64
    assert len(warnings) == 2


@pytest.mark.parametrize(
    ("expression", "location", "says"),
    [
        ("train[:-64]", None, r"split train \(train\[:-64\] of tfds .*\) is empty"),
        ("trein", None, "has no split 'trein'; did you mean 'train'"),
        ("train", "super_glue/cbb:1.0.2", "TFDS dataset super_glue/cbb:1.0.2 is not in .*data_dir"),
        ("train", "super_gluee/cb:1.0.2", "TFDS dataset super_gluee/cb:1.0.2 is not in .*"),
        ("train", "super_glue/cb:0.0.1", "TFDS dataset super_glue/cb:0.0.1 is not in .*"),
        ("train", "newsroom:1.0.0", "have to be fetched by hand; put them into .*manual: You sh.*"),
        ("train", "coqa:1.0.0", "is not in .*: not downloaded; fetch it with --download"),
    ],
)
def test_a_tfds_mistake_is_one_line(tfds: str, expression: str, location: str | None, says: str):
    spec = sliced(CATALOGUE.task("cb"), expression, location)
    with pytest.raises(UserError, match=f"task 'cb': .*{says}") as caught:
        list(canonical_records(spec, "train", data_dir=tfds, warn=lambda message: None))
    assert "\n" not in str(caught.value)


FOREIGN = """
import functools
import seqio
import tensorflow as tf

VOCABULARY = seqio.ByteVocabulary()
FEATURES = {
    "inputs": seqio.Feature(VOCABULARY, add_eos=True),
    "targets": seqio.Feature(VOCABULARY, add_eos=True),
}

def rows(split, shuffle_files, seed=None):
    number = {"train": 7, "test": 3}[split]
    return tf.data.Dataset.from_tensor_slices(
        {"q": [f"{split} {i} é {{x}}" for i in range(number)], "a": [str(i) for i in range(number)]}
    )

def ask(ds):
    return ds.map(lambda row: {"inputs": "ask: " + row["q"], "targets": row["a"]})

for name, copies in (("foreign_text", True), ("foreign_ids", False)):
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(rows, ["train", "test"]),
        preprocessors=[
            ask,
            functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=copies),
            seqio.preprocessors.append_eos,
        ],
        output_features=FEATURES,
    )
seqio.MixtureRegistry.add("foreign_mix", [("foreign_text", 1), ("foreign_ids", 2)])
"""


@pytest.fixture
def foreign(tmp_path: Path, registries: None) -> Iterator[TaskSpec]:
    (tmp_path / "their_tasks.py").write_text(FOREIGN)
    yield toy(
        tmp_path,
        source=Source("seqio", "their_tasks:foreign_text"),
        splits={"train": "train[:-2]", "test": "test"},
        fields={"inputs": "inputs"},
        answer="targets",
        templates=(Template("{inputs}"),),
    )
    sys.modules.pop("their_tasks", None)


HELPED = """
import seqio, tensorflow as tf
from words import WORD

FEATURE = seqio.Feature(seqio.ByteVocabulary(), add_eos=True)

def rows(split, shuffle_files, seed=None):
    return tf.data.Dataset.from_tensor_slices({"inputs": [WORD], "targets": ["a"]})

seqio.TaskRegistry.add(
    "helped",
    source=seqio.FunctionDataSource(rows, ["train"]),
    preprocessors=[seqio.preprocessors.tokenize],
    output_features={"inputs": FEATURE, "targets": FEATURE},
)
"""


def helped(folder: Path, word: str, **changes: object) -> TaskSpec:
    """A task of a module beside the card, which has a helper."""
    folder.mkdir(exist_ok=True)
    (folder / "helped_tasks.py").write_text(HELPED)
    (folder / "words.py").write_text(f"WORD = '{word}'")
    parts = {
        "source": Source("seqio", "helped_tasks:helped"),
        "splits": {"train": "train"},
        "fields": {"inputs": "inputs"},
        "answer": "targets",
        "templates": (Template("{inputs}"),),
    }
    return toy(folder, **(parts | changes))


def texts(store: Store, spec: TaskSpec) -> list[str]:
    return [record.fields["inputs"] for record in store.open(spec, "train")]


def test_an_edited_module_or_its_helper_is_not_up_to_date(tmp_path: Path, registries: None):
    store, spec = Store(tmp_path / "store"), helped(tmp_path / "a", "one")
    assert prepare_task(spec, store)
    assert prepare_task(spec, store) is None
    (tmp_path / "a" / "words.py").write_text("WORD = 'two'")
    with pytest.raises(UserError, match=r"prepared by other code: .*words\.py has changed since"):
        store.open(spec, "train")
    assert prepare_task(spec, store)
    assert texts(store, spec) == ["two"]
    module = tmp_path / "a" / "helped_tasks.py"
    module.write_text(HELPED.replace("[WORD]", "[WORD + '!']"))
    assert prepare_task(spec, store)
    assert texts(store, spec) == ["two!"]


def test_an_edited_module_of_the_working_directory_is_not_up_to_date(
    tmp_path: Path, registries: None, monkeypatch: pytest.MonkeyPatch
):
    spec = dataclasses.replace(helped(tmp_path / "here", "one"), folder=tmp_path)
    monkeypatch.chdir(tmp_path / "here")
    store = Store(tmp_path / "store")
    assert prepare_task(spec, store)
    assert prepare_task(spec, store) is None
    (tmp_path / "here" / "words.py").write_text("WORD = 'two'")
    assert prepare_task(spec, store)
    assert texts(store, spec) == ["two"]


def test_two_folders_with_a_module_and_a_task_of_one_name(tmp_path: Path, registries: None):
    store = Store(tmp_path / "store")
    specs = [helped(tmp_path / name, name, name=name) for name in ("a", "b")]
    assert all(prepare_task(spec, store) for spec in specs)
    assert [texts(store, spec) for spec in specs] == [["a"], ["b"]]
    again = dataclasses.replace(specs[0], version=2)
    assert prepare_task(again, store)
    assert texts(store, again) == ["a"]


def from_task(spec: TaskSpec, location: str) -> TaskSpec:
    return dataclasses.replace(spec, source=Source("seqio", location))


@pytest.mark.parametrize("name", ["foreign_text", "foreign_ids"])
def test_a_foreign_task_is_prepared_and_passed_through(
    foreign: TaskSpec, tmp_path: Path, name: str
):
    spec = from_task(foreign, f"their_tasks:{name}")
    store = Store(tmp_path / "store")
    assert prepare_task(spec, store)
    assert (store.count(spec, "train"), store.count(spec, "test")) == (5, 3)
    pairs = [render(spec, record, 0) for record in store.open(spec, "train").__getitems__(range(5))]
    assert [p.inputs for p in pairs] == [f"ask: train {i} é {{x}}" for i in range(5)]
    assert [p.targets for p in pairs] == [str(i) for i in range(5)]
    assert prepare_task(spec, store) is None
    mixture = Mixture("foreign", (MixtureTask(spec, 1.0, 5, (0,)),))
    vocabulary = load_vocabulary("byte")
    batch = next(Loader(LoaderConfig(2, 64, 16), mixture, store, vocabulary))
    fed = vocabulary.decode(batch["encoder_input_tokens"][0].tolist())
    assert fed.startswith("ask: train ")


def test_the_raw_records_of_a_foreign_task(foreign: TaskSpec):
    spec = dataclasses.replace(
        from_task(foreign, "their_tasks:foreign_text@source"), fields={"inputs": "q"}, answer="a"
    )
    (first, *_) = canonical_records(spec, "test")
    assert (first.fields, first.answers) == ({"inputs": "test 0 é {x}"}, ("0",))


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("their_tasks:foreign_txt", "SeqIO has no task 'foreign_txt'; did you mean 'foreign_text'"),
        ("foreign_nowhere", "SeqIO has no task .*name the module that registers it"),
        ("no_such_module:x", "module no_such_module fails to import"),
        ("their_tasks:foreign_mix", "is a SeqIO mixture; .*foreign_ids"),
    ],
)
def test_a_foreign_mistake_is_one_line(foreign: TaskSpec, location: str, says: str):
    with pytest.raises(UserError, match=f"task 'toy': .*{says}"):
        list(canonical_records(from_task(foreign, location), "train"))


def test_a_foreign_task_without_the_split(foreign: TaskSpec):
    spec = dataclasses.replace(foreign, splits={"train": "validation"})
    with pytest.raises(UserError, match="has no split 'validation': train, test"):
        list(canonical_records(spec, "train"))


def test_a_foreign_task_goes_back_to_seqio(foreign: TaskSpec, features):
    task = register_task(foreign, features, name="and_back")
    assert [p.targets for p in theirs(task, "train")] == [str(i) for i in range(5)]
    assert task.name in register._TASKS


def test_prepare_keeps_tensorflow_quiet(tmp_path: Path, tfds: str):
    argv = ["prepare", "cb", "--store", str(tmp_path / "store"), "--data_dir", tfds, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "flanmix", *argv],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prepared"][0]["task"] == "cb"
    for line in done.stderr.splitlines():
        assert line.startswith(
            ("prepared cb: train", "1 prepared (", "flanmix: warning: task 'cb'")
        )
