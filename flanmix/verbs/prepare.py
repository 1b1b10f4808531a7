"""`flanmix prepare NAME... --store DIR`: raw records into the store, once.

    flanmix prepare pocket --store store
    prepared sst: train 5,000, test 500 (0.4 MB)

What is there and unchanged is skipped, so that an interrupted run is mended by running it again. A
task that fails is named with its reason and does not stop the others; the exit code is then 2. Only
a full disk stops everything.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from flanmix.data.store.manifest import SplitFile
from flanmix.data.store.preparation import prepare_task
from flanmix.data.store.store import Store, StoreFull
from flanmix.data.store.workers import Event, Outcome, Records, Tell, Warned, in_processes
from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue, default_catalogue
from flanmix.registry.task import TaskSpec

_MB = 1e6


@dataclass
class Summary:
    """What a run has done: the verb's JSON document."""

    prepared: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)


def main(args: argparse.Namespace) -> int:
    """Runs the verb; returns 2 if a task failed.

    Raises:
        UserError: for an unknown name, a store that can't be written, or a full disk.
    """
    catalogue = default_catalogue()
    names = catalogue.expand_all(args.names)
    store = Store(args.store)
    _check_writable(store.root)
    if args.data_dir is not None and not Path(args.data_dir).is_dir():
        raise UserError(f"--data_dir {args.data_dir} is no folder")
    # TensorFlow, where a source needs it, has much to say that is nobody's concern here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    summary = prepare(
        catalogue, names, store, data_dir=args.data_dir, limit=args.limit, workers=args.workers
    )
    if args.json:
        print(json.dumps(asdict(summary), indent=1))
    return 2 if summary.failed else 0


def prepare(
    catalogue: Catalogue,
    names: Sequence[str],
    store: Store,
    *,
    data_dir: str | None = None,
    limit: int | None = None,
    workers: int = 1,
) -> Summary:
    """Prepares tasks by name, telling on stderr how it goes; arguments as the verb's flags.

    Raises:
        StoreFull: if the disk is full.
    """
    summary = Summary()
    specs = []
    for name in names:
        try:
            specs.append(catalogue.task(name))
        except UserError as error:
            summary.failed.append({"task": name, "error": str(error)})
    job = Job(str(store.root), data_dir, limit)
    with _Progress(len(names)) as progress:
        for failure in summary.failed:
            progress.failed(failure["task"], failure["error"])

        def tell(event: Event) -> None:
            _note(event, summary, progress)

        if workers > 1:
            in_processes(job, specs, workers, tell)
        else:
            for spec in specs:
                tell(job(spec, tell))
        # Workers finish in any order; the summary does not depend on it.
        summary.prepared.sort(key=lambda row: row["task"])
        summary.skipped.sort()
        summary.failed.sort(key=lambda row: row["task"])
        progress.finish(summary)
    return summary


def _note(event: Event, summary: Summary, progress: "_Progress") -> None:
    if isinstance(event, Records):
        progress.records(event.count)
    elif isinstance(event, Warned):
        progress.say(f"flanmix: warning: {event.message}")
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
            summary.prepared.append(
                {
                    "task": event.task,
                    "split": split,
                    "records": entry.records,
                    "bytes": entry.bytes,
                }
            )
        progress.prepared(event.task, event.written)


@dataclass(frozen=True)
class Job:
    """What to do with each task; goes to the worker processes as it is."""

    store: str
    data_dir: str | None
    limit: int | None

    def __call__(self, spec: TaskSpec, tell: Tell) -> Outcome:
        """Prepares one task; `tell` takes what happens meanwhile. Never raises for a task."""
        try:
            written = prepare_task(
                spec,
                Store(self.store),
                data_dir=self.data_dir,
                limit=self.limit,
                warn=lambda message: tell(Warned(message)),
                progress=lambda count: tell(Records(count)),
            )
        except StoreFull as error:
            return Outcome(spec.name, error=str(error), full=True)
        except UserError as error:
            return Outcome(spec.name, error=str(error))
        except Exception as error:  # A broken dataset fails in its library's own way.
            reason = " ".join(str(error).split())[:500]
            message = f"task '{spec.name}': {type(error).__name__}: {reason}"
            return Outcome(spec.name, error=message)
        return Outcome(spec.name, written=written)


def _check_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--store {root} can't be made: {error.strerror}") from None
    if not os.access(root, os.W_OK):
        raise UserError(f"--store {root} can't be written: choose another folder")


class _Progress:
    """A bar with a rate on a terminal, and a line for each task that is done."""

    def __init__(self, tasks: int) -> None:
        self._count = 0
        self._started = time.monotonic()
        self._bar = tqdm(
            total=tasks,
            unit="task",
            file=sys.stderr,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(line, file=sys.stderr)

    def records(self, count: int) -> None:
        """Counts records."""
        self._count += count
        rate = self._count / max(time.monotonic() - self._started, 1e-6)
        self._bar.set_postfix_str(f"{self._count:,} records, {rate:,.0f}/s")

    def prepared(self, task: str, written: Mapping[str, SplitFile]) -> None:
        """Tells of a task that was written."""
        splits = ", ".join(f"{split} {entry.records:,}" for split, entry in written.items())
        size = sum(entry.bytes for entry in written.values()) / _MB
        self.say(f"prepared {task}: {splits} ({size:.1f} MB)")
        self._bar.update()

    def skipped(self) -> None:
        """Counts a task that was up to date."""
        self._bar.update()

    def failed(self, task: str, error: str) -> None:
        """Tells of a task that failed."""
        named = error if f"'{task}'" in error else f"task '{task}': {error}"
        self.say(f"flanmix: failed: {named}")
        self._bar.update()

    def finish(self, summary: Summary) -> None:
        """Tells how it went, with the list of what failed."""
        done = len({row["task"] for row in summary.prepared})
        seconds = time.monotonic() - self._started
        rate = self._count / max(seconds, 1e-6)
        self.say(
            f"{done} prepared ({self._count:,} records in {seconds:.1f} s, {rate:,.0f}/s), "
            f"{len(summary.skipped)} up to date, {len(summary.failed)} failed"
        )
        if summary.failed:
            self.say("failed: " + ", ".join(row["task"] for row in summary.failed))
