"""What tasks share: the same as by brute force, whatever the hashes, the chunks and the order."""

import random
import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.audit.overlap import ngram_index as grams
from flanmix.audit.overlap import words
from flanmix.audit.overlap.overlap import HeldOut, Overlap, compare
from flanmix.registry.record import Record
from flanmix.registry.same_text import folded

Tasks = Mapping[str, Sequence[Record]]


# ---- brute force: records are lists of lists of words, runs are found by looking everywhere ------


def plain_words(text: str) -> list[str]:
    """Character by character: letters and digits join, marks stay with the word before them."""
    found: list[str] = []
    before = ""
    for char in folded(text):
        if char.isalnum() and re.fullmatch(f"[{words.UNSPACED}]", char):
            found.append(char)
            before = "unspaced"
        elif char.isalnum() and before != "spaced":
            found.append(char)
            before = "spaced"
        elif char.isalnum() or (before == "spaced" and is_mark(char)):
            found[-1] += char
        else:
            before = ""
    return found


def is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M" and char <= "\uffff"


def fields(record: Record) -> list[list[str]]:
    return [found for text in record.fields.values() if (found := plain_words(text))]


def texts_of(record: Record) -> list[list[str]]:
    more = [] if record.options else [record.rationale, *record.answers]
    return fields(record) + [found for text in more if (found := plain_words(text))]


def is_contained(mine: list[list[str]], there: list[list[str]]) -> bool:
    running = [word for text in there for word in text]
    places = range(len(running))
    return max(map(len, mine), default=0) >= 3 and all(
        any(running[i : i + len(field)] == field for i in places) for field in mine
    )


def longest_run(one: list[list[str]], other: list[list[str]]) -> int:
    best = 0
    for a in one:
        for b in other:
            ends = [0] * (len(b) + 1)
            for word in a:
                ends = [0] + [ends[j] + 1 if b[j] == word else 0 for j in range(len(b))]
                best = max(best, *ends)
    return best


def brute(tests: Tasks, training: Tasks) -> tuple[dict, dict, dict]:
    """Returns counts by test task, by pair with the worst's records and length; the contained."""
    rows, pairs, whole_of = {}, {}, {}
    for other, held in tests.items():
        flags = {}
        for task, seen in training.items():
            worst = []
            flags[task] = []
            for record in held:
                mine = fields(record)
                duplicate = thirteen = eight = whole = False
                for there in seen:
                    run = longest_run(texts_of(record), texts_of(there))
                    same = bool(mine) and sorted(mine) == sorted(fields(there))
                    within = same or is_contained(mine, texts_of(there))
                    duplicate |= same
                    thirteen |= run >= 13
                    eight |= run >= 8
                    whole |= within
                    if within or run >= 8:
                        run = max(run, *map(len, mine)) if within else run
                        key = (-run, len(record.id), record.id, len(there.id), there.id)
                        worst.append(key)
                flags[task].append((duplicate, thirteen, eight, whole))
            if worst:
                run, _, mine, _, there = min(worst)
                counts = tuple(map(sum, zip(*flags[task], strict=True)))
                pairs[task, other] = (*counts[:3], mine, there, -run)
                whole_of[task, other] = counts[3]
        met = zip(*flags.values(), strict=True)
        total = [[any(column) for column in zip(*row, strict=True)] for row in met]
        rows[other] = (len(held), *(sum(row[i] for row in total) for i in range(3)))
        whole_of[other] = sum(row[3] for row in total)
    return rows, pairs, whole_of


def figures(overlap: Overlap) -> tuple[dict, dict]:
    rows = {t.name: (t.records, t.duplicates, t.shared_13, t.shared_8) for t in overlap.tasks}
    pairs = {
        (p.task, p.other): (
            *(p.duplicates, p.shared_13, p.shared_8),
            *(p.worst.record, p.worst.train_record, len(p.worst.words.split())),
        )
        for p in overlap.pairs
    }
    return rows, pairs


def contained(overlap: Overlap) -> dict:
    """By test task and by pair."""
    whole = {(pair.task, pair.other): pair.contained for pair in overlap.pairs}
    return {**{task.name: task.contained for task in overlap.tasks}, **whole}


def all_figures(overlap: Overlap) -> tuple[dict, dict, dict]:
    return (*figures(overlap), contained(overlap))


def measured(tests: Tasks, training: Tasks, chunk: int = 1 << 20) -> Overlap:
    return compare(HeldOut(tests.items(), chunk=chunk), training.items(), chunk=chunk)


# ---- texts that share a lot: pieces of a few common ones, with strange letters between -----------

ALPHABET = ["a", "B", "ß", "ΑΣ", "x1", "é", "٣", "_", "-", "東京", "İ", "\x1c", "\ud800", "…"]
COMMON = [" ".join(random.Random(seed).choices("pqrstuv", k=40)) for seed in range(3)]
COMMON += ["p q " * 20, "p " * 40]


@st.composite
def pieces(draw: st.DrawFn) -> str:
    source = draw(st.sampled_from(COMMON)).split()
    start = draw(st.integers(0, 30))
    return " ".join(source[start : start + draw(st.integers(1, 20))])


texts = st.lists(
    st.one_of(pieces(), st.lists(st.sampled_from(ALPHABET), max_size=4).map("".join)), max_size=4
).map(" ".join)


@st.composite
def tasks(draw: st.DrawFn, split: str) -> dict[str, list[Record]]:
    found = {}
    for name in draw(st.lists(st.sampled_from("klm"), min_size=1, max_size=3, unique=True)):
        rows = draw(st.lists(st.lists(texts, min_size=1, max_size=3), max_size=4))
        answers = draw(st.lists(texts, min_size=1, max_size=2))
        found[name] = [
            Record(f"{split}-{i}", dict(zip("abc", row, strict=False)), *draw(answered(answers)))
            for i, row in enumerate(rows)
        ]
    return found


def answered(answers: list[str]) -> st.SearchStrategy[tuple]:
    """Options and one of them, or answers with a rationale or without."""
    return st.one_of(
        st.just((("yes",), ("yes", "no"))),
        st.just((tuple(answers),)),
        st.just((tuple(answers[:1]), (), (), answers[-1])),
    )


@settings(max_examples=150, deadline=None)
@given(tasks("test"), tasks("train"), st.sampled_from([1, 50, 1 << 20]))
def test_as_by_brute_force(tests: Tasks, training: Tasks, chunk: int) -> None:
    assert all_figures(measured(tests, training, chunk)) == brute(tests, training)


@settings(max_examples=60, deadline=None)
@given(tasks("test"), tasks("train"), st.sampled_from([0, 1, 6]))
def test_hashes_that_collide_change_nothing(tests: Tasks, training: Tasks, bits: int) -> None:
    scattered, record_hash = grams._scattered, "flanmix.audit.overlap.overlap._hash"
    narrow = np.uint64(((1 << bits) - 1) << (64 - bits))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grams, "_scattered", lambda values: scattered(values) & narrow)
        patch.setattr(record_hash, lambda content: len(content) % 2)
        patch.setattr("flanmix.audit.overlap.contained._ODD", np.uint64(0))
        assert all_figures(measured(tests, training)) == brute(tests, training)


@settings(max_examples=60, deadline=None)
@given(tasks("test"), tasks("train"), st.randoms(use_true_random=False))
def test_order_and_chunks_change_nothing(
    tests: Tasks, training: Tasks, chance: random.Random
) -> None:
    expected = measured(tests, training)
    for chunk in (1, 30):
        shuffled = [
            {name: chance.sample(rows, len(rows)) for name, rows in side.items()}
            for side in (tests, training)
        ]
        found = measured(*shuffled, chunk)
        assert found == expected


@given(st.text())
def test_words_are_runs_of_letters_and_digits(text: str) -> None:
    assert words.words(text) == plain_words(text)


# ---- planted -------------------------------------------------------------------------------------


def record(name: str, *fields: str) -> Record:
    return Record(name, {f"field{i}": text for i, text in enumerate(fields)}, ("x",))


def sentence(seed: int, count: int) -> list[str]:
    chance = random.Random(seed)
    return ["".join(chance.choices("abcdefghijklmnopqrst", k=6)) for _ in range(count)]


def test_the_example_of_the_docstring() -> None:
    tests = [
        record("test-0", "Why? The cat sat on the mat, ALL DAY LONG!"),
        record("test-1", "say the cat sat on the mat all day long and slept"),
        record("test-2", "The cat sat on the mat."),
    ]
    training = [record("train-0", "Say: the cat sat on the mat all day long, and slept.")]
    overlap = measured({"cats": tests}, {"pets": training})
    assert figures(overlap)[0] == {"cats": (3, 1, 0, 2)}
    (pair,) = overlap.pairs
    assert (pair.task, pair.other) == ("pets", "cats")
    assert (pair.worst.record, pair.worst.train_record) == ("test-1", "train-0")
    assert pair.worst.words == "say the cat sat on the mat all day long and slept"


@pytest.mark.parametrize(
    ("shared", "counts"), [(7, (0, 0)), (8, (0, 1)), (12, (0, 1)), (13, (1, 1)), (40, (1, 1))]
)
def test_a_planted_run_is_found_among_many(shared: int, counts: tuple[int, int]) -> None:
    planted = sentence(10_000, shared)
    training = [record(f"train-{i}", " ".join(sentence(i, 60))) for i in range(300)]
    training[123] = record(
        "train-123", " ".join([*sentence(10_001, 30), *planted, *sentence(10_002, 30)])
    )
    tests = [record(f"test-{i}", " ".join(sentence(1000 + i, 60))) for i in range(300)]
    tests[45] = record("test-45", "One field.", ", ".join([*planted, *sentence(10_003, 9)]).upper())
    overlap = measured({"t": tests}, {"a": training, "b": training[:100]}, chunk=2000)
    assert figures(overlap)[0] == {"t": (300, 0, *counts)}
    assert [
        (p.task, p.worst.record, p.worst.train_record, p.worst.words) for p in overlap.pairs
    ] == [("a", "test-45", "train-123", " ".join(planted))] * (shared >= 8)


def test_a_run_does_not_cross_fields_or_records() -> None:
    whole = sentence(0, 16)
    one = [record("train-0", " ".join(whole))]
    halves = [" ".join(whole[:7]), " ".join(whole[7:14])]
    overlap = measured({"t": [record("test-0", *halves)]}, {"a": one})
    assert figures(overlap)[0] == {"t": (1, 0, 0, 0)}
    apart = [record("test-0", halves[0]), record("test-1", halves[1])]
    overlap = measured({"t": apart}, {"a": one})
    assert figures(overlap)[0] == {"t": (2, 0, 0, 0)}
    assert measured({"t": one}, {"a": apart}).pairs == ()


def test_thirteen_words_are_in_one_place() -> None:
    """Two runs of eight that overlap in a training record, but stand apart in the test record."""
    whole = sentence(0, 13)
    split = " ".join([*whole[:8], "between", *whole[5:]])
    both = measured({"t": [record("test-0", split)]}, {"a": [record("train-0", " ".join(whole))]})
    assert figures(both)[0] == {"t": (1, 0, 0, 1)}


def test_duplicates_have_the_same_fields_whatever_they_are_called() -> None:
    training = [record("train-12", "It rains.", "", "Wet!"), record("train-9", "wet", "IT rains")]
    tests = [
        record("test-10", "it rains", "wet"),
        record("test-9", "wet, it - rains", "!"),
        record("test-8", "...", "?"),
        record("test-7", "wet", "it rains", "wet"),
        Record("test-11", {"question": "Wet?", "context": "(It rains)"}, ("y",), ("y", "n")),
    ]
    overlap = measured({"t": tests}, {"a": [*training, record("train-3", "!")]})
    assert figures(overlap) == (
        {"t": (5, 2, 0, 0)},
        {("a", "t"): (2, 0, 0, "test-9", "train-9", 3)},  # contained: fields run together
    )
    assert contained(overlap) == {"t": 3, ("a", "t"): 3}


def test_the_rows_are_over_all_training_tasks_and_the_worst_pair_is_first() -> None:
    tests = [record(f"test-{i}", " ".join(sentence(i, 20))) for i in range(4)]
    training = {
        "eight": [record("train-0", " ".join(sentence(0, 20)[3:11]))],
        "same": [record("train-1", " ".join(sentence(1, 20)))],
        "both": [record(f"train-{i}", " ".join(sentence(i, 15))) for i in range(1, 3)],
        "none": [record("train-0", "Nothing of all that, in any of these words here.")],
    }
    overlap = measured({"t": tests, "empty": []}, training)
    assert figures(overlap)[0] == {"t": (4, 1, 2, 3), "empty": (0, 0, 0, 0)}
    assert [pair.task for pair in overlap.pairs] == ["both", "same", "eight"]


def test_records_that_are_all_alike_stay_cheap() -> None:
    alike = " ".join(sentence(0, 30))
    tests = [record(f"test-{i}", alike, f"number {i}") for i in range(3000)]
    training = [record(f"train-{i}", alike, f"numeral {i}") for i in range(3000)]
    overlap = measured({"t": tests}, {"a": training}, chunk=100_000)
    assert figures(overlap) == (
        {"t": (3000, 0, 3000, 3000)},
        {("a", "t"): (0, 3000, 3000, "test-0", "train-0", 30)},
    )


# ---- memory --------------------------------------------------------------------------------------


def test_the_training_side_is_never_held() -> None:
    """Records pass by in chunks: no more than one chunk's are alive at a time, however many."""
    alive: set[int] = set()
    most = 0

    class Tracked(Record):
        def __del__(self) -> None:
            alive.discard(id(self))

    def endless():
        nonlocal most
        for i in range(2000):
            made = Tracked(f"train-{i}", {"text": " ".join(sentence(i % 7, 50))}, ("x",))
            alive.add(id(made))
            most = max(most, len(alive))
            yield made

    counted: list[int] = []
    held_out = HeldOut({"t": [record("test-0", " ".join(sentence(0, 50)))]}.items())
    overlap = compare(
        held_out, [("a", endless())], chunk=3500, progress=lambda task, n: counted.append(n)
    )
    assert sum(counted) == 2000
    assert max(counted) <= 10
    assert most <= 2 * max(counted) + 2
    assert figures(overlap)[0] == {"t": (1, 1, 1, 1)}


# ---- what stands whole in a training record ------------------------------------------------------

ASKED, ANSWERED = "Who wrote the novel Ulysses?", "James Joyce of Dublin wrote it in Paris"
LONG = " ".join(sentence(77, 20))
ZH = "今天天气很好我们去公园散步"


def generated(name: str, answer: str, *fields: str) -> Record:
    return Record(name, {f"field{i}": text for i, text in enumerate(fields)}, (answer,))


@pytest.mark.parametrize(
    ("test", "train"),
    [
        (record("test-0", LONG), generated("train-0", f"So: {LONG}.", "Continue.")),
        (record("test-0", ASKED), generated("train-0", ASKED, "Write a question.")),
        (generated("test-0", "Es regnet heute.", "It rains today."),
         generated("train-0", "It rains today.", "Es regnet heute.")),
        (record("test-0", ASKED), record("train-0", "A title", ASKED)),
        (record("test-0", ASKED), record("train-0", f"Quiz! {ASKED} Tell me.")),
        (record("test-0", ASKED, "Book quiz"), record("train-0", f"Book quiz: {ASKED}")),
        (record("test-0", ASKED, "Book quiz"), record("train-0", f"{ASKED} (book quiz)", "more")),
        (record("test-0", f"{ASKED} {ANSWERED}"), record("train-0", ASKED, ANSWERED)),
        (record("test-0", f"{ASKED} {ANSWERED}"), generated("train-0", ANSWERED, ASKED)),
        (record("test-0", ZH), record("train-0", f"他说{ZH}吗")),
        (record("test-0", "จะไปไหน"), record("train-0", "เขาถามว่าจะไปไหนครับ")),
        (record("test-0", ASKED), record("train-0", "x " + ASKED.replace("r", "r\u200b"))),
        (record("test-0", "Voilà un café glacé"),
         record("train-0", "x Voila\u0300 un cafe\u0301 glace\u0301")),
        (record("test-0", "ｆｕｌｌ width ｌｅｔｔｅｒｓ"),
         record("train-0", "x full WIDTH letters")),
        (record("test-0", LONG, "yes"), record("train-0", f"Yes, {LONG}")),
        (record("test-0", "the same instruction for all", "cat"),
         record("train-0", "The same instruction for all.", "A cat and a dog")),
    ],
)  # fmt: skip
def test_a_planted_text_is_contained(test: Record, train: Record) -> None:
    strange = [record(f"train-{i}", " ".join(sentence(i, 30))) for i in range(1, 40)]
    overlap = measured({"t": [test]}, {"a": [*strange, train]}, chunk=500)
    assert contained(overlap) == {"t": 1, ("a", "t"): 1}
    (pair,) = overlap.pairs
    assert (pair.worst.record, pair.worst.train_record) == ("test-0", "train-0")
    assert brute({"t": [test]}, {"a": [train]})[2] == {"t": 1, ("a", "t"): 1}


@pytest.mark.parametrize(
    ("test", "train"),
    [
        (record("test-0", "Two words"), record("train-0", "These two words stand here.")),
        (record("test-0", ASKED, "a note"), record("train-0", ASKED, "and another")),
        (record("test-0", ASKED), record("train-0", ASKED.replace("novel", "old novel"))),
        (Record("test-0", {"q": ASKED}, ("yes",), ("yes", "no")),
         Record("train-0", {"q": "Is it?"}, (ASKED,), (ASKED, "no"))),  # an option is no text
        (generated("test-0", ASKED, "Write a question."), record("train-0", ASKED)),
        (record("test-0", "art is long"), record("train-0", "part is long")),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_not_contained(test: Record, train: Record) -> None:
    assert contained(measured({"t": [test]}, {"a": [train]})) == {"t": 0}


def test_an_answer_that_is_learnt_is_found_by_its_words() -> None:
    """The test answer of a summary as a training text, and as a training answer."""
    test = generated("test-0", LONG, "Sum it up.")
    for train in (record("train-0", LONG), generated("train-0", LONG, "Write.")):
        assert figures(measured({"t": [test]}, {"a": [train]}))[0] == {"t": (1, 0, 1, 1)}
    reasoned = Record("train-0", {"q": "Why?"}, ("so",), rationale=LONG)
    assert figures(measured({"t": [test]}, {"a": [reasoned]}))[0] == {"t": (1, 0, 1, 1)}
    chosen = Record("train-0", {"q": "Which?"}, (LONG,), (LONG, "other"))
    assert figures(measured({"t": [test]}, {"a": [chosen]}))[0] == {"t": (1, 0, 0, 0)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's RAINING_in, Graz!", ["it", "s", "raining", "in", "graz"]),
        ("Straße ﬁ ２", ["strasse", "fi", "2"]),
        ("雨が降る。", ["雨", "が", "降", "る"]),
        ("ab雨cd", ["ab", "雨", "cd"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("zero\u200bwidth soft\u00adhyphen", ["zerowidth", "softhyphen"]),
        ("한국어 문장", ["한국어", "문장"]),
    ],
)
def test_words_of_many_scripts(text: str, expected: list[str]) -> None:
    assert words.words(text) == expected
