"""What `prepare` shows on stderr: a bar on a terminal, and a line for each task that is done.

prepared sst: train 5,000, test 500 (0.4 MB)
flanmix: failed: task 'rte': TFDS dataset super_glue/rte:1.0.2 is not in ...
1 prepared (5,500 records in 0.3 s, 18,333/s), 0 up to date, 1 failed
"""

import sys
import time
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from flanmix.data.store.manifest import SplitFile

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

    def finish(self, prepared: int, skipped: int, failed: Sequence[str]) -> None:
        """Shows how many tasks were prepared and skipped, and the names of those that failed."""
        seconds = time.monotonic() - self._started
        rate = self._count / max(seconds, 1e-6)
        self._say(
            f"{prepared} prepared ({self._count:,} records in {seconds:.1f} s, {rate:,.0f}/s), "
            f"{skipped} up to date, {len(failed)} failed"
        )
        if failed:
            self._say("failed: " + ", ".join(failed))
