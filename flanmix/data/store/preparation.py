"""Preparing one task: its source is read once and all its splits go into the store together.

    prepare_task(spec, Store("store"))    -> {"train": SplitFile("train.array_record", 2290, ...)}

A task that is there, whole and unchanged is left alone: `prepare_task` returns None.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from flanmix import console
from flanmix.data.sources.records import canonical_records, source_files
from flanmix.data.sources.slices import Warn
from flanmix.data.store.manifest import SplitFile
from flanmix.data.store.store import Store
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

_REPORT_EVERY = 0.2


def prepare_task(
    spec: TaskSpec,
    store: Store,
    *,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    warn: Warn = console.warn,
    progress: Callable[[int], None] = lambda records: None,
) -> Mapping[str, SplitFile] | None:
    """Writes a task's records into the store, unless they are there already.

    Args:
        spec: the task.
        store: where to.
        data_dir: where TFDS finds its datasets, and files that are not beside their card are.
        limit: at most so many records a split.
        warn: is told of each slice that was clamped, in one line.
        progress: is told a few times a second how many records came since.

    Returns:
        what was written, by split; None if the task was up to date.

    Raises:
        StoreFull: if the disk is full.
        UserError: if the source, a record or the store is wrong; the store stays as it was.
    """
    sources = source_files(spec, data_dir)
    if store.is_current(spec, sources, limit):
        return None
    written = {}
    with store.preparing(spec) as writing:
        for split, expression in spec.splits.items():
            if expression:
                records = canonical_records(spec, split, data_dir=data_dir, limit=limit, warn=warn)
                written[split] = writing.write(split, _reported(records, progress))
        cut = any(entry.records == limit for entry in written.values())
        writing.came_from(sources, limit if cut else None)
    return written


def _reported(records: Iterable[Record], progress: Callable[[int], None]) -> Iterator[Record]:
    count, last = 0, time.monotonic()
    for record in records:
        yield record
        count += 1
        if time.monotonic() - last > _REPORT_EVERY:
            progress(count)
            count, last = 0, time.monotonic()
    progress(count)
