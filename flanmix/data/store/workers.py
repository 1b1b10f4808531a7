"""Tasks in several processes; one that fails, or dies, harms no other.

A worker takes one task at a time and sends events over a pipe. A worker that dies (killed for its
memory, or a library that crashes) fails the task it had, and another takes its place; the other
tasks go on. Workers end with this process, however it ends.

    in_processes(job, tasks, workers=4, on_event=print)
    -> Records(128), Warned("..."), Outcome("rte", written=...)

The standard library's `concurrent.futures` can't serve: when a process dies, its pool breaks, fails
every task that was waiting, and can't tell which one it was that died.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from flanmix.data.store.manifest import SplitFile
from flanmix.registry.task import TaskSpec

# TensorFlow does not survive a fork.
_CONTEXT = multiprocessing.get_context("spawn")
# Seconds that a worker has to clean up after itself when the run ends early.
_PATIENCE = 5


@dataclass(frozen=True)
class Missing:
    """A dataset that has to be fetched; the attributes are those of `MissingDataset`."""

    dataset: str
    folder: str
    reason: str
    by_hand: str


@dataclass(frozen=True)
class Records:
    """So many records came since the last time."""

    count: int


@dataclass(frozen=True)
class Warned:
    """A warning, one line."""

    message: str


@dataclass(frozen=True)
class Outcome:
    """A task is done: written, up to date (`written` is None), or failed with an error.

    Attributes:
        task: its name.
        written: what was written, by split.
        error: why it failed.
        full: whether the disk is full, so that no other task need be tried.
        busy: whether another process is preparing it, so that nothing was done.
        missing: the dataset that it needs, where that has to be fetched.
    """

    task: str
    written: Mapping[str, SplitFile] | None = None
    error: str | None = None
    full: bool = False
    busy: bool = False
    missing: Missing | None = None


Event = Records | Warned | Outcome
OnEvent = Callable[[Event], None]
Job = Callable[[TaskSpec, OnEvent], Outcome]


class _Worker:
    """A process with the task that it has in hand."""

    def __init__(self, job: Job, task: TaskSpec) -> None:
        self.pipe, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_work, args=(theirs, job), daemon=True)
        self.process.start()
        theirs.close()
        self.give(task)

    def give(self, task: TaskSpec) -> None:
        """Hands it a task; if it has just died, `event` will say so."""
        self.task = task.name
        with contextlib.suppress(BrokenPipeError):
            self.pipe.send(task)

    def event(self) -> Event:
        """The next event that it sends; if it has died, its task's failure."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionResetError):
            return Outcome(self.task, error=f"task '{self.task}': {self._cause_of_death()}")

    def _cause_of_death(self) -> str:
        self.process.join()
        code = self.process.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name
            hint = " (out of memory? use fewer --workers)" if -code == signal.SIGKILL else ""
            return f"its process was ended by {name}{hint}"
        return f"its process ended with exit code {code}"


def in_processes(job: Job, tasks: Sequence[TaskSpec], workers: int, on_event: OnEvent) -> None:
    """Runs `job` on every task in `workers` processes.

    Args:
        job: picklable; called with a task and a function that takes events; returns the outcome.
        tasks: the tasks.
        workers: how many processes at most.
        on_event: callback, each task's outcome last; what it raises ends the run.
    """
    waiting = list(reversed(tasks))
    busy: list[_Worker] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                busy.append(_Worker(job, waiting.pop()))
            ready = wait([worker.pipe for worker in busy])
            for worker in [worker for worker in busy if worker.pipe in ready]:
                event = worker.event()
                if isinstance(event, Outcome):
                    if waiting and worker.process.is_alive():
                        worker.give(waiting.pop())
                    else:
                        worker.pipe.close()
                        busy.remove(worker)
                on_event(event)
    finally:
        for worker in busy:
            worker.process.terminate()
        for worker in busy:
            worker.process.join(_PATIENCE)
            worker.process.kill()


def _work(pipe: Connection, job: Job) -> None:
    # An interrupt reaches every process of the terminal; the parent decides what comes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(job(task, pipe.send))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
