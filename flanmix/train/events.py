"""What a run tells while it trains: `metrics.jsonl`, TensorBoard events, and a bar on stderr.

    {"step": 7, "loss": 2.31, "accuracy": 0.44, "target_tokens": 913, "batch_hash": "9f2c...",
     "learning_rate": 0.001, "gradient_norm": 0.8, "parameter_norm": 91.2,
     "encoder_fill": 0.97, "decoder_fill": 0.93,
     "examples": 61, "inputs_trimmed": 0, "targets_trimmed": 0, "unknown_tokens": 2,
     "tokens_per_second": 24100.0, "tasks": {"sst": {"loss": 1.9, ...}}, "epochs": {"sst": 0.31}}

A line a step, for the batch before its update. `tasks` and `epochs` name the tasks that the batch
holds. `*_fill` is the share of positions that are not padding. A run that goes on from step N drops
what an interrupted one wrote after N, so that each step is there once, in order; what depends
on the clock is `tokens_per_second` alone.
"""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flanmix.console import bar
from flanmix.errors import UserError
from flanmix.learn.step import StepMetrics
from flanmix.train.files import METRICS

_POINTS = 2000  # of a curve in TensorBoard
_COUNTERS = ("examples", "inputs_trimmed", "targets_trimmed", "unknown_tokens")


class NotFinite(UserError):
    """A step's loss, gradient or new parameters are no numbers: training can't go on."""


@dataclass(frozen=True)
class StepInfo:
    """What the host knows of a step when it hands the batch to the devices.

    Attributes:
        step: its number, from 1.
        batch_hash: gives the hash of the global batch, when the step is written down.
        epochs: how often each task's records have been drawn.
        encoder_positions: positions of the global batch's inputs, padding included; 0 for none.
        decoder_positions: the same of the decoder's.
    """

    step: int
    batch_hash: Callable[[], str]
    epochs: dict[str, float]
    encoder_positions: int
    decoder_positions: int


def line_of(
    info: StepInfo, metrics: StepMetrics, names: Sequence[str], seconds: float
) -> dict[str, Any]:
    """Returns the step's line; waits for the devices.

    Args:
        info: what the host knows of the step.
        metrics: what the step reports.
        names: the mixture's tasks, in order.
        seconds: since the step before was done.

    Raises:
        NotFinite: the loss, the gradient or the new parameters are NaN or infinite.
    """
    metrics = jax.device_get(metrics)
    figures = metrics.sums.means(names)
    norms = {
        "gradient_norm": float(metrics.gradient_norm),
        "parameter_norm": float(metrics.parameter_norm),
    }
    if not all(math.isfinite(figure) for figure in (figures["loss"], *norms.values())):
        _stop(info.step, figures, norms)
    tokens = int(metrics.encoder_tokens) + int(metrics.decoder_tokens)
    tasks = figures.pop("tasks", {})
    line = {"step": info.step, **figures, "batch_hash": info.batch_hash()}
    line |= {"learning_rate": float(metrics.learning_rate), **norms}
    if info.encoder_positions:
        line["encoder_fill"] = int(metrics.encoder_tokens) / info.encoder_positions
    line["decoder_fill"] = int(metrics.decoder_tokens) / info.decoder_positions
    line |= {name: int(n) for name, n in zip(_COUNTERS, metrics.row_stats, strict=True)}
    line["tokens_per_second"] = round(tokens / seconds, 1)
    line["tasks"] = tasks
    line["epochs"] = {name: info.epochs[name] for name in tasks}
    return line


def _stop(step: int, figures: dict[str, Any], norms: dict[str, float]) -> None:
    tasks = figures.get("tasks", {})
    bad = [name for name, task in tasks.items() if not math.isfinite(task["loss"])]
    where = f" (of tasks {', '.join(bad)})" if bad else ""
    raise NotFinite(
        f"step {step} has loss {figures['loss']:.4g}{where}, gradient norm "
        f"{norms['gradient_norm']:.4g} and, after it, parameter norm "
        f"{norms['parameter_norm']:.4g}; the tasks in its batch: {', '.join(tasks)}"
    )


class Events:
    """The files and the bar; `step` is where the run goes on, 0 for a new one."""

    def __init__(self, folder: Path, *, step: int, steps: int) -> None:
        self._file = None
        self._board = None
        self._every = math.ceil(max(steps, 1) / _POINTS)
        self._time = time.monotonic()
        if jax.process_index() == 0:
            path = folder / METRICS
            truncate_after(path, step)
            self._file = path.open("a", encoding="utf-8")
            self._folder, self._start = folder, step
        self._bar = bar(steps, "step", initial=step)

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
        with contextlib.suppress(OSError):  # what a full disk refused has been said
            if self._board is not None:
                self._board.close()
            if self._file is not None:
                self._file.close()

    def write(self, info: StepInfo, metrics: StepMetrics, names: Sequence[str]) -> dict[str, Any]:
        """Writes a step's line when the devices have it, and returns it.

        Raises:
            NotFinite: see `line_of`; nothing is written.
            UserError: the file can't be written.
        """
        jax.block_until_ready(metrics)
        now = time.monotonic()
        line = line_of(info, metrics, names, max(now - self._time, 1e-9))
        self._time = now
        if self._file is not None:
            try:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()
            except OSError as error:
                raise UserError(
                    f"{self._file.name} can't be written ({error.strerror}): make room and run the "
                    "same command again"
                ) from error
            if info.step % self._every == 0:
                self._draw(line)
        rate = f"{line['tokens_per_second']:,.0f} tokens/s"
        self._bar.set_postfix_str(f"loss {line['loss']:.3f}, {rate}", refresh=False)
        self._bar.update()
        return line

    def restart_clock(self) -> None:
        """Leaves what happened since the last step out of its successor's rate."""
        self._time = time.monotonic()

    def sync(self) -> None:
        """Puts the lines on disk, before a checkpoint that counts on them."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        if jax.process_index() == 0:
            self._bar.write(text, file=sys.stderr)

    def _draw(self, line: dict[str, Any]) -> None:
        if self._board is None:
            self._board = board(self._folder, purge_step=self._start + 1)
        for name, value in line.items():
            if isinstance(value, int | float) and name != "step":
                self._board.add_scalar(f"train/{name}", value, line["step"])
        for task, figures in line["tasks"].items():
            self._board.add_scalar(f"loss/{task}", figures["loss"], line["step"])


def board(folder: Path, purge_step: int | None = None) -> Any:
    """Returns a writer of TensorBoard events.

    Args:
        folder: where they go.
        purge_step: what an earlier writer wrote of this step and later ones is void.
    """
    # Where torch is installed, tensorboardX would import it, for seconds and nothing of use here.
    absent = {"torch": None} if "torch" not in sys.modules else {}
    sys.modules.update(absent)  # pyrefly: ignore[no-matching-overload]
    try:
        from tensorboardX import SummaryWriter
    finally:
        for name in absent:
            del sys.modules[name]
    return SummaryWriter(str(folder), purge_step=purge_step)


def truncate_after(path: Path, step: int) -> None:
    """Removes a file's lines of later steps, and a last line that was not finished.

    Args:
        path: lines of JSON with `step`, in order; may be absent.
        step: the last step that stays.
    """
    if not path.exists():
        return
    keep = 0
    with path.open("rb") as file:
        for text in file:
            try:
                if not text.endswith(b"\n") or json.loads(text)["step"] > step:
                    break
            except (ValueError, KeyError, TypeError):
                break
            keep += len(text)
    if keep < path.stat().st_size:
        os.truncate(path, keep)


def positions(features: dict[str, np.ndarray], name: str) -> int:
    """Returns the number of positions of a feature in the global batch, 0 if it is not there."""
    return features[name].size * jax.process_count() if name in features else 0
