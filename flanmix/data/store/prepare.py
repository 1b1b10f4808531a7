"""Preparing tasks: each one's source is read once, and all its splits go into the store together.

    prepare_task(task, Store("store"))      -> {"train": SplitFile("train.array_record", 2290, ...)}
    prepare(["pocket"], Store("store"))     -> Summary(prepared=[...], skipped=[...], failed=[...])

A task that is up to date is left alone (`prepare_task` returns None), so that an interrupted run is
completed by running it again. A task that fails is named with its reason and stops no other; only a
full disk stops everything.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flanmix import console
from flanmix.data.sources.records import canonical_records, source_files
from flanmix.data.sources.slices import Warn
from flanmix.data.store.manifest import SplitFile
from flanmix.data.store.progress import Progress
from flanmix.data.store.store import Store, StoreFull
from flanmix.data.store.workers import Event, OnEvent, Outcome, Records, Warned, in_processes
from flanmix.errors import UserError
from flanmix.plugins import load_plugins
from flanmix.registry.catalogue import Catalogue, default_catalogue
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

_REPORT_EVERY = 0.2


def prepare_task(
    task: TaskSpec,
    store: Store,
    *,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    warn: Warn = console.warn,
    progress: Callable[[int], None] = lambda records: None,
) -> Mapping[str, SplitFile] | None:
    """Writes a task's records into the store, unless they are there already.

    Args:
        task: the task.
        store: where to.
        data_dir: where TFDS finds its datasets, and files that are not beside their card are.
        limit: at most so many records a split.
        warn: callback for each slice that was clamped, a line.
        progress: callback a few times a second with how many records came since.

    Returns:
        what was written, by split; None if the task was up to date.

    Raises:
        StoreFull: if the disk is full.
        UserError: if the source, a record or the store is wrong; the store stays as it was.
    """
    sources = source_files(task, data_dir)
    if store.is_current(task, sources, limit):
        return None
    written = {}
    with store.preparing(task) as writing:
        for split, expression in task.splits.items():
            if expression:
                records = canonical_records(task, split, data_dir=data_dir, limit=limit, warn=warn)
                written[split] = writing.write(split, _reported(records, progress))
        truncated = any(entry.records == limit for entry in written.values())
        writing.set_sources(sources, limit if truncated else None)
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


# ---- several tasks -----------------------------------------------------------------------------


@dataclass
class Summary:
    """What became of the tasks: the document of `flanmix prepare --json`.

    Attributes:
        prepared: task, split, records and bytes of each split that was written.
        skipped: names of the tasks that were up to date.
        failed: task and error of the others.
    """

    prepared: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)


def prepare(
    names: Sequence[str],
    store: Store,
    *,
    catalogue: Catalogue | None = None,
    data_dir: str | None = None,
    limit: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Summary:
    """Prepares whatever the names stand for.

    Args:
        names: tasks, mixtures, collections, `collection/cluster` or globs.
        store: where to.
        catalogue: where the names are looked up; the default one if None.
        data_dir: where TFDS finds its datasets, and files that are not beside their card are.
        limit: at most so many records a split.
        workers: how many tasks are prepared at once, each in a process.
        progress: shows what happens; a bar and a line for each task on stderr if None.

    Raises:
        UserError: for an unknown name.
        StoreFull: if the disk is full.
    """
    catalogue = catalogue or default_catalogue()
    summary = Summary()
    tasks = []
    chosen = catalogue.expand_all(names)
    for name in chosen:
        try:
            tasks.append(catalogue.task(name))
        except UserError as error:
            summary.failed.append({"task": name, "error": str(error)})
    job = PrepareJob(str(store.root), data_dir, limit)
    with progress or Progress(len(chosen)) as shown:
        for failure in summary.failed:
            shown.failed(failure["task"], failure["error"])

        def note(event: Event) -> None:
            _note(event, summary, shown)

        if workers > 1:
            in_processes(job, tasks, workers, note)
        else:
            for task in tasks:
                note(job(task, note))
        # Workers finish in any order; the summary does not depend on it.
        summary.prepared.sort(key=lambda row: row["task"])
        summary.skipped.sort()
        summary.failed.sort(key=lambda row: row["task"])
        done = {row["task"] for row in summary.prepared}
        failed = [row["task"] for row in summary.failed]
        shown.finish(len(done), len(summary.skipped), failed)
    return summary


def _note(event: Event, summary: Summary, progress: Progress) -> None:
    """Takes an event into the summary, and shows it."""
    if isinstance(event, Records):
        progress.records(event.count)
    elif isinstance(event, Warned):
        progress.warned(event.message)
    elif event.full:
        raise StoreFull(event.error or "")
    elif event.error is not None:
        summary.failed.append({"task": event.task, "error": event.error})
        progress.failed(event.task, event.error)
    elif event.written is None:
        summary.skipped.append(event.task)
        progress.skipped()
    else:
        for split, entry in event.written.items():
            row = {"task": event.task, "split": split}
            summary.prepared.append({**row, "records": entry.records, "bytes": entry.bytes})
        progress.prepared(event.task, event.written)


@dataclass(frozen=True)
class PrepareJob:
    """What to do with each task; goes to the worker processes as it is."""

    store: str
    data_dir: str | None
    limit: int | None

    def __call__(self, task: TaskSpec, on_event: OnEvent) -> Outcome:
        """Prepares one task; `on_event` takes what happens meanwhile. Never raises for a task."""
        try:
            load_plugins()  # a worker is a new process, and a task's source may be a plugin's
            written = prepare_task(
                task,
                Store(self.store),
                data_dir=self.data_dir,
                limit=self.limit,
                warn=lambda message: on_event(Warned(message)),
                progress=lambda count: on_event(Records(count)),
            )
        except StoreFull as error:
            return Outcome(task.name, error=str(error), full=True)
        except UserError as error:
            return Outcome(task.name, error=str(error))
        except Exception as error:  # a broken dataset fails in its library's own way
            reason = " ".join(str(error).split())[:500]
            message = f"task '{task.name}': {type(error).__name__}: {reason}"
            return Outcome(task.name, error=message)
        return Outcome(task.name, written=written)
