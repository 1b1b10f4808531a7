"""Measures the overlap: CPU-seconds a million records of either side, and peak memory.

    python scripts/bench_overlap.py --store store --mixture flan2021 --records 1000000
    python scripts/bench_overlap.py --synthetic 1000000 --test_records 200000

With a store, the mixture's training records are compared with its own test records, and read again
as tasks of other names until there are so many. The synthetic sides have words of a Zipf law, 20 to
180 a record, and every hundredth training record holds 20 words of a test record; a tenth of the
training side is written into a temporary store and read ten times. CPU seconds hold everything from
the store's files to the counts, in one process of one thread; writing the synthetic store is not in
them.
"""

import argparse
import itertools
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flanmix.audit.overlap.overlap import HeldOut, compare
from flanmix.data.store.store import Store
from flanmix.registry.catalogue import default_catalogue
from flanmix.registry.record import Record
from flanmix.registry.task import Source, TaskSpec
from flanmix.registry.template import Template

_ROUNDS = 10
_VOCABULARY = 300_000

Side = list[tuple[str, Any]]


def main() -> None:
    args = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        if args.synthetic:
            tests, training = _synthetic(Path(folder), args.synthetic, args.test_records)
            wanted = args.synthetic
        else:
            tests, training = _prepared(Store(args.store), args.mixture)
            wanted = args.records
        report = _measure(tests, list(_repeated(training, wanted)))
    if args.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:40} {value:,.2f}" if isinstance(value, float) else f"{name:40} {value:,}")


def _measure(tests: Side, training: Side) -> dict[str, float]:
    base = _peak_mb()
    held_out, index_cpu = _cpu(lambda: HeldOut(tests))
    indexed = _peak_mb()
    overlap, compare_cpu = _cpu(lambda: compare(held_out, training))
    test_records = len(held_out.text.ids)
    records = sum(len(reader) for _, reader in training)
    words = int((held_out.text.numbers_W > 0).sum())
    return {
        "test_records": test_records,
        "test_words": words,
        "training_tasks": len(training),
        "training_records": records,
        "index_cpu_s": index_cpu,
        "index_cpu_s_a_million_records": 1e6 * index_cpu / test_records,
        "compare_cpu_s": compare_cpu,
        "compare_cpu_s_a_million_records": 1e6 * compare_cpu / records,
        "peak_mb": _peak_mb(),
        "peak_mb_after_indexing": indexed,
        "bytes_a_test_word_at_the_peak": 2**20 * (_peak_mb() - base) / words,
        "pairs": len(overlap.pairs),
        "test_records_that_share_8_words": sum(task.shared_8 for task in overlap.tasks),
        "test_records_that_share_13_words": sum(task.shared_13 for task in overlap.tasks),
    }


def _cpu(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def _repeated(training: Side, records: int) -> Iterator[tuple[str, Any]]:
    """The tasks again and again, until they have so many records; at least once."""
    total = 0
    for round_number in itertools.count():
        if round_number and total >= records:
            return
        for name, reader in training:
            total += len(reader)
            yield f"{name}-{round_number}", reader


def _prepared(store: Store, mixture: str) -> tuple[Side, Side]:
    catalogue = default_catalogue()
    specs = [catalogue.task(name) for name in catalogue.expand(mixture)]
    splits = [next(s for s in ("test", "validation") if spec.splits.get(s)) for spec in specs]
    tests = [(s.name, store.open(s, split)) for s, split in zip(specs, splits, strict=True)]
    return tests, [(s.name, store.open(s, "train")) for s in specs if s.splits.get("train")]


def _synthetic(folder: Path, records: int, test_records: int) -> tuple[Side, Side]:
    chance = np.random.default_rng(0)
    spec = TaskSpec(
        name="synthetic",
        collection="synthetic",
        cluster="synthetic",
        version=1,
        kind="generation",
        source=Source("jsonl", "."),
        splits={"train": "train.jsonl", "test": "test.jsonl"},
        fields={"text": "text"},
        answer="answer",
        templates=(Template("{text}"),),
        metrics=("exact_match",),
    )
    store = Store(folder)
    planted: list[str] = []

    def texts(split: str, count: int) -> Iterator[Record]:
        for i in range(count):
            size = chance.integers(20, 181)
            ranks = np.exp(chance.random(size) * np.log(_VOCABULARY)).astype(int).tolist()
            found = [f"{'word' * (rank > 200)}{rank:x}" for rank in ranks]
            if split == "test":
                planted.append(" ".join(found[:20]))
            elif i % 100 == 0:
                found += planted[i % len(planted)].split()
            yield Record(f"{split}-{i}", {"text": " ".join(found) + "."}, ("yes",))

    store.write(spec, "test", texts("test", test_records))
    store.write(spec, "train", texts("train", records // _ROUNDS))
    return [("test", store.open(spec, "test"))], [("train", store.open(spec, "train"))]


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="store", help="a prepared store")
    parser.add_argument("--mixture", default="flan2021")
    parser.add_argument("--records", type=int, default=0, help="repeat the training side to these")
    parser.add_argument("--synthetic", type=int, default=0, help="so many made-up records instead")
    parser.add_argument("--test_records", type=int, default=200_000, help="of the made-up test")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
