"""Measures the loader: examples a CPU-second, fill of both sides, memory, time to the first batch.

    python scripts/bench_loader.py --store runs/quickstart/store --mixture pocket
    python scripts/bench_loader.py --synthetic 1836

All the work is one process's: reading, rendering, tokenizing, packing, stacking. CPU seconds are
of the whole process, threads included, so a busy machine does not change them much. With
`--synthetic`, a store of that many small tasks is written first, into a temporary folder.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    args = _arguments()
    before = time.process_time()
    from flanmix.data.loader import Loader, LoaderConfig
    from flanmix.data.store.store import Store
    from flanmix.data.vocabulary import load_vocabulary

    imported = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        if args.synthetic:
            mixture, store = _synthetic(Path(folder), args.synthetic)
        else:
            store = Store(args.store)
            mixture = _resolved(args.mixture, store)
        opened = time.process_time()
        config = LoaderConfig(
            args.batch_size,
            args.inputs_length,
            args.targets_length,
            architecture=args.architecture,
            pack=not args.no_packing,
        )
        base = _peak_mb()
        loader = Loader(config, mixture, store, load_vocabulary(args.vocabulary))
        next(loader)
        first = time.process_time()
        report = _measure(loader, args.batches)
        loader.close()
    report |= {
        "tasks": len(mixture.tasks),
        "import_cpu_s": imported - before,
        "resolve_cpu_s": opened - imported,
        "first_batch_cpu_s": first - opened,
        "peak_mb": _peak_mb(),
        "peak_over_import_mb": _peak_mb() - base,
        "tensorflow": "tensorflow" in sys.modules,
    }
    if args.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:24} {value:,.3f}" if isinstance(value, float) else f"{name:24} {value}")


def _measure(loader, batches: int) -> dict[str, float]:
    """Reads batches; CPU seconds are of exactly those, because the thread ahead has caught up."""
    time.sleep(2)  # the thread fills its queue, so that before and after it is as far ahead
    start_cpu, start_wall = time.process_time(), time.perf_counter()
    stats, filled, room = 0, {}, {}
    for _ in range(batches):
        batch = next(loader)
        stats = stats + batch["row_stats"].sum(axis=0)
        for side in ("encoder", "decoder"):
            if (segments := batch.get(f"{side}_segment_ids")) is not None:
                filled[side] = filled.get(side, 0) + int((segments > 0).sum())
                room[side] = room.get(side, 0) + segments.size
    time.sleep(2)
    cpu = time.process_time() - start_cpu
    examples, inputs_trimmed, targets_trimmed, unknown = (int(value) for value in stats)
    return {
        "examples_per_cpu_s": examples / cpu,
        "tokens_per_cpu_s": sum(filled.values()) / cpu,
        "examples": examples,
        "wall_s": time.perf_counter() - start_wall,
        **{f"fill_{side}": filled[side] / room[side] for side in filled},
        **{f"tokens_an_example_{side}": filled[side] / examples for side in filled},
        "inputs_trimmed": inputs_trimmed,
        "targets_trimmed": targets_trimmed,
        "unknown_tokens": unknown,
    }


def _resolved(name: str, store):
    from flanmix.registry.catalogue import default_catalogue
    from flanmix.registry.mixture import resolve

    catalogue = default_catalogue()
    return resolve(catalogue.mixture(name), catalogue, lambda spec: store.count(spec, "train"))


def _synthetic(folder: Path, tasks: int):
    """A store of many tasks of 50 records each, and their mixture at uneven rates."""
    from flanmix.data.store.store import Store
    from flanmix.registry.mixture import Mixture, MixtureTask
    from flanmix.registry.record import Record
    from flanmix.registry.task import Source, TaskSpec
    from flanmix.registry.template import Template

    store, members = Store(folder), []
    wordings = tuple(Template(f"Form {i}: {{text}}\nWhat is asked?") for i in range(10))
    for number in range(tasks):
        spec = TaskSpec(
            name=f"task{number:05d}",
            collection="synthetic",
            cluster=f"cluster{number % 60}",
            version=1,
            kind="generation",
            source=Source("jsonl", "."),
            splits={"train": "train.jsonl"},
            fields={"text": "text"},
            answer="answer",
            templates=wordings,
            metrics=("exact_match",),
        )
        records = [
            Record(
                f"train-{i}", {"text": f"{number} {i} " + "some words " * (i % 12 + 1)}, (f"{i}",)
            )
            for i in range(50)
        ]
        store.write(spec, "train", records)
        members.append(MixtureTask(spec, 1.0 + number % 97, 50, tuple(range(10))))
    return Mixture("synthetic", tuple(members)), store


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="store", help="a prepared store")
    parser.add_argument("--mixture", default="pocket")
    parser.add_argument("--synthetic", type=int, default=0, help="number of made-up tasks instead")
    parser.add_argument("--vocabulary", default="pocket")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--inputs_length", type=int, default=216)
    parser.add_argument("--targets_length", type=int, default=32)
    parser.add_argument("--architecture", default="encoder_decoder")
    parser.add_argument("--no_packing", action="store_true")
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
