"""What `prepare` shows on stderr: a bar on a terminal, and a line for each task that is done.

prepared sst: train 5,000, test 500 (0.4 MB)
flanmix: failed: task 'mine': file train.jsonl is missing from ...
1 prepared (5,500 records in 0.3 s, 18,333/s), 0 up to date, 2 failed
1 task needs a dataset that is not in data:
task  dataset               what is missing  what to do
rte   super_glue/rte:1.0.2  not downloaded   --download
to download, run: flanmix prepare mine rte sst --store store --data_dir data --download
failed: mine
"""

import sys
import time
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from flanmix.data.store.manifest import SplitFile
from flanmix.data.store.workers import Missing

_MB = 1e6


class Progress:
    """A bar with a rate on a terminal, and a line for each task that is done.

    Args:
        tasks: how many there are.
    """

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

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _say(self, line: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(line, file=sys.stderr)

    def records(self, count: int) -> None:
        """Counts records."""
        self._count += count
        rate = self._count / max(time.monotonic() - self._started, 1e-6)
        self._bar.set_postfix_str(f"{self._count:,} records, {rate:,.0f}/s")

    def warned(self, message: str) -> None:
        """Shows a warning."""
        self._say(f"flanmix: warning: {message}")

    def prepared(self, task: str, written: Mapping[str, SplitFile]) -> None:
        """Shows a task that was written."""
        splits = ", ".join(f"{split} {entry.records:,}" for split, entry in written.items())
        size = sum(entry.bytes for entry in written.values()) / _MB
        self._say(f"prepared {task}: {splits} ({size:.1f} MB)")
        self._bar.update()

    def skipped(self) -> None:
        """Counts a task that was up to date."""
        self._bar.update()

    def failed(self, task: str, error: str) -> None:
        """Shows a task that failed."""
        named = error if f"'{task}'" in error else f"task '{task}': {error}"
        self._say(f"flanmix: failed: {named}")
        self._bar.update()

    def waiting(self, tasks: Sequence[str]) -> None:
        """Shows which tasks another process is preparing."""
        self._say(f"waiting for another process, which is preparing {', '.join(tasks)}")

    def finish(self, prepared: int, skipped: int, failed: int) -> None:
        """Shows how many tasks were prepared and skipped, and how many failed."""
        seconds = time.monotonic() - self._started
        rate = self._count / max(seconds, 1e-6)
        self._say(
            f"{prepared} prepared ({self._count:,} records in {seconds:.1f} s, {rate:,.0f}/s), "
            f"{skipped} up to date, {failed} failed"
        )

    def failures(self, tasks: Sequence[str]) -> None:
        """Shows the names of the tasks that failed."""
        self._say("failed: " + ", ".join(tasks))

    def missing(self, tasks: Mapping[str, Missing], command: str) -> None:
        """Shows which datasets have to be fetched, as one table, and how.

        Args:
            tasks: what each task misses.
            command: the command that was given.
        """
        for line in missing_table(tasks, command):
            self._say(line)


def missing_table(tasks: Mapping[str, Missing], command: str) -> list[str]:
    """The lines of `Progress.missing`."""
    rows = [("task", "dataset", "what is missing", "what to do")]
    notes: dict[str, int] = {}
    for task, missing in sorted(tasks.items()):
        todo = "--download"
        if missing.by_hand:
            note = notes.setdefault(missing.by_hand, len(notes) + 1)
            todo = f"note {note}, then --download"
        rows.append((task, missing.dataset, missing.reason, todo))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    folder = next(iter(tasks.values())).folder
    told = [
        f"note {number}: into {folder}/downloads/manual: {text}" for text, number in notes.items()
    ]
    several = "tasks need datasets that are" if len(tasks) > 1 else "task needs a dataset that is"
    return [
        f"{len(tasks)} {several} not in {folder}:",
        *table,
        *told,
        f"to download, run: {command} --download",
    ]
