"""Preparing tasks: each one's source is read once, and all its splits go into the store together.

    prepare_task(task, Store("store"))      -> {"train": SplitFile("train.array_record", 2290, ...)}
    prepare(["pocket"], Store("store"))     -> Summary(prepared=[...], skipped=[...], failed=[...])

A task that is up to date is left alone (`prepare_task` returns None), so that an interrupted run is
completed by running it again. A task that fails is named with its reason and stops no other; only a
full disk stops everything.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flanmix import console
from flanmix.data.sources.api import Fetching, source_of
from flanmix.data.sources.datasets import MissingDataset
from flanmix.data.sources.records import drawn_records, source_files
from flanmix.data.sources.slices import Warn
from flanmix.data.store.locking import TaskBusy
from flanmix.data.store.manifest import SplitFile
from flanmix.data.store.progress import Progress
from flanmix.data.store.store import Store, StoreFull
from flanmix.data.store.workers import (
    Event,
    Missing,
    OnEvent,
    Outcome,
    Records,
    Warned,
    in_processes,
)
from flanmix.errors import UserError
from flanmix.plugins import load_plugins
from flanmix.registry.catalogue import Catalogue, default_catalogue
from flanmix.registry.hints import prepare_hint
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec
from flanmix.registry.user_code import forget_changed

_REPORT_EVERY = 0.2


def prepare_task(
    task: TaskSpec,
    store: Store,
    *,
    data_dir: str | Path | None = None,
    limit: int | None = None,
    wait: bool = False,
    download: bool = False,
    warn: Warn = console.warn,
    progress: Callable[[int], None] = lambda records: None,
) -> Mapping[str, SplitFile] | None:
    """Writes a task's records into the store, unless they are there already.

    Args:
        task: the task.
        store: where to.
        data_dir: where TFDS finds its datasets, and files that are not beside their card are.
        limit: at most so many records a split, drawn by the task's name.
        wait: whether to wait for another process that is preparing it, which may then have done so.
        download: whether a dataset that is not in `data_dir` is fetched into it.
        warn: callback for each warning, a line.
        progress: callback a few times a second with how many records came since.

    Returns:
        what was written, by split; None if the task was up to date.

    Raises:
        TaskBusy: another process is preparing it, and `wait` is not set.
        StoreFull: if the disk is full.
        UserError: if the source, a record or the store is wrong; the store stays as it was.
    """
    forget_changed()
    sources = source_files(task, data_dir)
    if store.is_current(task, sources, limit):
        return None
    with store.claimed(task, wait=wait):
        # Another process may have just prepared it, or what a killed one left was put in place.
        if store.is_current(task, sources, limit):
            return None
        if damage := store.damage(task):
            warn(f"{damage}: it is prepared again")
        reader = source_of(task)
        if download and isinstance(reader, Fetching):
            reader.fetch(task, data_dir)
            sources = source_files(task, data_dir)
        with store.writing(task) as writing:
            writing.set_sources(sources)
            written = {}
            for split, expression in task.splits.items():
                if expression:
                    records = drawn_records(task, split, limit, data_dir=data_dir, warn=warn)
                    written[split] = writing.write(split, _reported(records, progress))
            truncated = any(entry.records == limit for entry in written.values())
            writing.limit = limit if truncated else None
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
    download: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Prepares whatever the names stand for.

    What another process is preparing is left for last: then it is waited for.

    Args:
        names: tasks, mixtures, collections, `collection/cluster` or globs.
        store: where to.
        catalogue: where the names are looked up; the default one if None.
        data_dir: where TFDS finds its datasets, and files that are not beside their card are.
        limit: at most so many records a split.
        workers: how many tasks are prepared at once, each in a process.
        download: whether datasets that are not in `data_dir` are fetched into it.
        progress: shows what happens; a bar and a line for each task on stderr if None.

    Raises:
        UserError: for an unknown name.
        StoreFull: if the disk is full.
    """
    catalogue = catalogue or default_catalogue()
    tasks, broken = [], []
    chosen = catalogue.expand_all(names)
    for name in chosen:
        try:
            tasks.append(catalogue.task(name))
        except UserError as error:
            broken.append(Outcome(name, error=str(error)))
    job = PrepareJob(str(store.root), data_dir, limit, download)
    with progress or Progress(len(chosen)) as shown:
        notes = _Notes(shown)
        for outcome in broken:
            notes.add(outcome)
        _run(job, tasks, workers, notes)
        if busy := notes.busy:
            shown.waiting(sorted(busy))
            _run(replace(job, wait=True), [t for t in tasks if t.name in busy], workers, notes)
        summary = notes.summary()
        failed = [row["task"] for row in summary.failed if row["task"] not in notes.missing]
        done = {row["task"] for row in summary.prepared}
        shown.finish(len(done), len(summary.skipped), len(summary.failed))
        if notes.missing:
            command = prepare_hint(names, store.root, data_dir).removeprefix("run: ")
            shown.missing(notes.missing, command + (f" --limit {limit}" if limit else ""))
        if failed:
            shown.failures(failed)
    return summary


def _run(job: "PrepareJob", tasks: Sequence[TaskSpec], workers: int, notes: "_Notes") -> None:
    if workers > 1:
        in_processes(job, tasks, workers, notes.add)
    else:
        for task in tasks:
            notes.add(job(task, notes.add))


class _Notes:
    """Takes what happens into a summary, and shows it."""

    def __init__(self, progress: Progress) -> None:
        self.busy: set[str] = set()
        self.missing: dict[str, Missing] = {}
        self._progress = progress
        self._summary = Summary()

    def add(self, event: Event) -> None:
        """Takes an event."""
        if isinstance(event, Records):
            self._progress.records(event.count)
        elif isinstance(event, Warned):
            self._progress.warned(event.message)
        elif event.full:
            raise StoreFull(event.error or "")
        elif event.busy:
            self.busy.add(event.task)
        elif event.error is not None:
            self._failed(event.task, event.error, event.missing)
        elif event.written is None:
            self._summary.skipped.append(event.task)
            self._progress.skipped()
        else:
            for split, entry in event.written.items():
                row = {"task": event.task, "split": split}
                row |= {"records": entry.records, "bytes": entry.bytes}
                self._summary.prepared.append(row)
            self._progress.prepared(event.task, event.written)

    def _failed(self, task: str, error: str, missing: Missing | None) -> None:
        self._summary.failed.append({"task": task, "error": error})
        if missing is None:
            self._progress.failed(task, error)
        else:
            self.missing[task] = missing
            self._progress.skipped()

    def summary(self) -> Summary:
        """The summary; workers finish in any order, and it does not depend on it."""
        self._summary.prepared.sort(key=lambda row: row["task"])
        self._summary.skipped.sort()
        self._summary.failed.sort(key=lambda row: row["task"])
        return self._summary


@dataclass(frozen=True)
class PrepareJob:
    """What to do with each task; goes to the worker processes as it is."""

    store: str
    data_dir: str | None
    limit: int | None
    download: bool = False
    wait: bool = False

    def __call__(self, task: TaskSpec, on_event: OnEvent) -> Outcome:
        """Prepares one task; `on_event` takes what happens meanwhile. Never raises for a task."""
        try:
            load_plugins()  # a worker is a new process, and a task's source may be a plugin's
            written = prepare_task(
                task,
                Store(self.store),
                data_dir=self.data_dir,
                limit=self.limit,
                wait=self.wait,
                download=self.download,
                warn=lambda message: on_event(Warned(message)),
                progress=lambda count: on_event(Records(count)),
            )
        except TaskBusy:
            return Outcome(task.name, busy=True)
        except MissingDataset as error:
            missing = Missing(error.dataset, error.folder, error.reason, error.by_hand)
            return Outcome(task.name, error=str(error), missing=missing)
        except StoreFull as error:
            return Outcome(task.name, error=str(error), full=True)
        except UserError as error:
            return Outcome(task.name, error=str(error))
        except Exception as error:  # a broken dataset fails in its library's own way
            reason = " ".join(str(error).split())[:500]
            message = f"task '{task.name}': {type(error).__name__}: {reason}"
            return Outcome(task.name, error=message)
        return Outcome(task.name, written=written)
