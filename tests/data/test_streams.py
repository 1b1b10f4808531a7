"""Streams: rows from samples, each exactly once, and a state that brings back the same rows."""

import grain
import numpy as np
import pytest

from flanmix.data.examples import ExampleReader
from flanmix.data.packing import POOL
from flanmix.data.streams import STATE_WIDTH, HostRows, Stream, check_states, new_states
from flanmix.data.tokens import Lengths
from flanmix.data.vocabulary import ByteVocabulary
from flanmix.errors import UserError
from flanmix.registry.mixture import Mixture, MixtureTask
from flanmix.registry.record import Record
from tests.data.small_mixture import prepare, specs
from tests.data.unpacking import unpack


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("store"))


def reader(small, lengths=None, **options):
    mixture, store = small
    return ExampleReader(mixture, store, ByteVocabulary(), lengths or Lengths(256, 48), **options)


@pytest.mark.parametrize("pack", [True, False])
def test_rows_hold_the_streams_samples_each_once(small, pack):
    read = reader(small)
    stream = iter(Stream(read, 1, 4, pack))
    assert isinstance(stream, grain.DatasetIterator)
    rows = [next(stream) for _ in range(40)]
    batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    packed = [e for row in unpack(batch, read.lengths) for e in row]
    state = stream.get_state()["stream"]
    pending = {int(number) for number in state[1:] if number >= 0}
    done = [k for k in range(state[0]) if k not in pending]
    expected = read.read([1 + 4 * k for k in done])
    assert len(packed) == len(done) == batch["row_stats"][:, 0].sum()

    def key(example):
        arrays = (example.inputs, example.targets, example.weights)
        return (*(array.tobytes() for array in arrays), example.task)

    assert sorted(map(key, packed)) == sorted(map(key, expected))
    assert len(pending) <= POOL
    if not pack:
        assert not pending and (batch["row_stats"][:, 0] == 1).all()
        assert [key(e) for e in packed] == [key(e) for e in expected]


def test_an_example_does_not_depend_on_its_batch(small):
    numbers = list(range(0, 300, 7))
    together = reader(small).read(numbers)
    for number, example in zip(numbers, together, strict=True):
        (alone,) = reader(small).read([number])
        assert np.array_equal(alone.inputs, example.inputs)
        assert np.array_equal(alone.targets, example.targets)
        assert np.array_equal(alone.weights, example.weights)
        assert alone[3:] == example[3:]


@pytest.mark.parametrize("pack", [True, False])
def test_a_state_brings_back_the_same_rows(small, pack):
    lengths = Lengths(256, 48)
    stream = iter(Stream(reader(small), 2, 4, pack))
    states, rows = [], []
    for _ in range(30):
        states.append(stream.get_state())
        rows.append(next(stream))
    for start in (0, 1, 13, 29):
        again = iter(Stream(reader(small, lengths), 2, 4, pack))
        again.set_state(states[start])
        assert np.array_equal(again.get_state()["stream"], states[start]["stream"])
        for row in rows[start:]:
            got = next(again)
            assert all(np.array_equal(got[name], row[name]) for name in row)


def test_oldest_first_bounds_how_long_an_example_waits(small):
    stream = iter(Stream(reader(small), 0, 1, True))
    for _ in range(60):
        before = stream.get_state()["stream"]
        next(stream)
        after = stream.get_state()["stream"]
        oldest = before[1] if before[1] >= 0 else before[0]
        assert oldest not in after[1:]


def test_a_host_stacks_its_streams_in_order(small):
    read = reader(small)
    alone = [iter(Stream(read, number, 4, True)) for number in (2, 3)]
    host = iter(HostRows([Stream(read, number, 4, True) for number in (2, 3)], 3))
    for _ in range(3):
        batch = next(host)
        expected = [next(stream) for stream in alone for _ in range(3)]
        for name, values in batch.items():
            assert np.array_equal(values, np.stack([row[name] for row in expected]))


def test_examples_are_drawn_at_the_rates_with_all_templates(small):
    mixture, _ = small
    examples = reader(small).read(range(3000))
    counts = np.bincount([example.task for example in examples], minlength=4)
    shares = np.array([task.rate for task in mixture.tasks]) / mixture.total_rate
    assert np.abs(counts / 3000 - shares).max() < 0.03
    texts = {ByteVocabulary().decode(e.inputs).split()[0] for e in examples if e.task == 2}
    assert texts >= {"Answer", "Treat", "Do"}
    assert {float(w) for e in examples if e.task == 1 for w in e.weights} == {0.5}


def test_another_split_takes_its_exemplars_from_training(small):
    examples = reader(small, Lengths(2000, 48), split="test").read(range(200))
    texts = [ByteVocabulary().decode(example.inputs) for example in examples]
    assert any("train" in text for text in texts)
    shown = [text for text in texts if "test" in text and "train" in text]
    assert shown and all(text.rindex("test") > text.rindex("train") for text in shown)


def test_mistakes_are_named(small, tmp_path):
    mixture, store = small
    with pytest.raises(UserError, match="no tasks"):
        reader((Mixture("none", ()), store))
    empty = specs()[1]
    store_of_empty = prepare(tmp_path)[1]
    store_of_empty.write(empty, "train", [])
    task = mixture.tasks[1]
    one = Mixture("one", (MixtureTask(empty, 1.0, 0, (0,)),))
    with pytest.raises(UserError, match="'long' has no records"):
        reader((one, store_of_empty))
    stale = Mixture("one", (MixtureTask(task.spec, 1.0, 7, (0,)),))
    with pytest.raises(UserError, match="40 records in its store"):
        reader((stale, store)).read([0])
    unfit = Mixture("one", (MixtureTask(task.spec, 1.0, 40, (2,)),))
    with pytest.raises(UserError, match=r"task 'long', record train-\d+: an optional"):
        reader((unfit, store)).read(range(40))
    absent = Mixture("one", (MixtureTask(specs()[1], 1.0, None, (0,)),))
    with pytest.raises(UserError, match="flanmix prepare long"):
        reader((absent, type(store)(tmp_path / "nothing")))
    with pytest.raises(UserError, match="no split 'validation'"):
        reader(small, split="validation")


def test_states_are_checked():
    states = new_states(4)
    assert check_states(states, 4).shape == (4, STATE_WIDTH)
    with pytest.raises(UserError, match="STREAMS=4"):
        check_states(states, 8)
    with pytest.raises(UserError, match="damaged"):
        check_states(states[:, :3], 4)
    states[0, 0] = -1
    with pytest.raises(UserError, match="damaged"):
        check_states(states, 4)


ODD = [
    "{text} {{x}} {",
    "a\0b",
    "🙂👩‍👩‍👧",
    "שלום עולם",
    "\ud83d alone",
    "\u202eright",
    "x" * 10**6,
    "\n\t",
]


@pytest.mark.parametrize("architecture", ["encoder_decoder", "causal", "prefix"])
def test_odd_texts_go_through_every_template(tmp_path, architecture):
    store = prepare(tmp_path, few_shot=0)[1]
    odd = [
        Record(f"train-{i}", {"text": text, "note": text + "."}, (ODD[i - 1] + "!",))
        for i, text in enumerate(ODD)
    ]
    spec = specs()[1]
    store.write(spec, "train", odd)
    one = Mixture("odd", (MixtureTask(spec, 1.0, len(odd), (0, 1, 2)),))
    lengths = Lengths(128, 32, architecture)
    stream = iter(Stream(reader((one, store), lengths), 0, 1, True))
    rows = [next(stream) for _ in range(200)]
    batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    assert (batch["row_stats"][:, 0] >= 1).all() and batch["row_stats"][:, 1:3].any(axis=0).all()
    vocabulary = ByteVocabulary()
    found = {vocabulary.decode(example.inputs) for row in unpack(batch, lengths) for example in row}
    for text in ODD[:6]:
        plain = text.encode("utf-8", "replace").decode()
        wanted = {f"Answer this text: {plain}", f"Do this text: {plain} ({plain}.)"}
        assert wanted <= found
