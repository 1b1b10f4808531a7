"""Writing checkpoints: everything that a later process needs to go on as if nothing had happened.

    DIRECTORY/
      100/params/      parameters, trained and frozen   (Orbax; any later mesh can read them)
      100/optimizer/   the optimizer's state
      100/run/         JSON: step, data position, run record (configuration, model, tasks);
                       shape, type and checksum of every array
      100/tokenizer/   the files of the tokenizer, so that nothing but the checkpoint is needed

    with CheckpointWriter(directory, keep_last=3, keep_best=1, score_of=scores.get) as writer:
        writer.save(state, step=100, position=position, run={...})

A score comes after its checkpoint: a step is saved before it is evaluated. So which checkpoints are
the best ones is asked when the next one is saved and older ones go.

`save` returns when the arrays are copied and writes asynchronously; a checkpoint appears complete
or not at all. `flanmix.learn.checkpoint` reads them. The checksum is a sum of the array's bits
modulo 2^32, so that it is the same on any mesh.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flanmix.errors import UserError
from flanmix.learn.checkpoint_files import Files, files_args
from flanmix.learn.integrity import (
    FORMAT,
    TOKENIZER,
    describe_arrays,
    orbax,
    reason_of,
    saved_steps,
    with_digest,
)
from flanmix.learn.step import TrainState
from flanmix.model.params import union

PyTree = Any


class CheckpointWriter:
    """Writes the checkpoints of one run; Orbax is imported when the first one is written."""

    def __init__(
        self,
        directory: Path,
        *,
        keep_last: int = 3,
        keep_best: int = 0,
        score_of: Callable[[int], float | None] = lambda step: None,
        tokenizer: Files | None = None,
    ) -> None:
        """Names the folder, and what stays in it.

        Args:
            directory: where the checkpoints go.
            keep_last: newest checkpoints that stay.
            keep_best: checkpoints with the best scores that stay as well.
            score_of: the score of a step, as far as it is known; None if it is not.
            tokenizer: the files of the run's tokenizer, which every checkpoint carries.
        """
        self.directory = Path(directory).absolute()
        self._keep_last = keep_last
        self._best = _Best(keep_best, score_of)
        self._tokenizer = tokenizer
        self._manager = None
        self._saving: int | None = None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def save(
        self,
        state: TrainState,
        *,
        step: int,
        position: np.ndarray,
        run: Mapping[str, Any],
    ) -> None:
        """Starts to save; older checkpoints that are neither new nor good enough go.

        Raises:
            UserError: this save or the one before it failed (a full disk); older ones are complete.
        """
        import orbax.checkpoint as ocp

        params = union(state.params, state.frozen)
        parts = {"params": params, "optimizer": state.opt_state}
        body = _document(step, position, run, parts)
        self.wait()
        try:
            manager = self._open()
            self._saving = step
            manager.save(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(params),
                    optimizer=ocp.args.StandardSave(state.opt_state),
                    run=ocp.args.JsonSave(body),
                    **_carried(self._tokenizer),
                ),
                force=True,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise self._failed(error) from error

    def wait(self) -> None:
        """Waits until the last save is on disk.

        Raises:
            UserError: it failed.
        """
        if self._manager is None:
            return
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError, RuntimeError) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Waits for the last save, and lets go of the directory."""
        if self._manager is not None:
            manager, self._manager = self._manager, None
            manager.close()

    def _open(self) -> Any:
        from orbax.checkpoint import checkpoint_managers as managers

        if self._manager is None:
            ocp = orbax()
            self._manager = ocp.CheckpointManager(
                self.directory,
                item_names=("params", "optimizer", "run", TOKENIZER),
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=managers.AnyPreservationPolicy(
                        [managers.LatestN(self._keep_last), self._best]
                    ),
                    cleanup_tmp_directories=True,
                ),
            )
        return self._manager

    def _failed(self, error: Exception) -> UserError:
        """Clears what the failed save left, so that its space is free again."""
        # Its threads may still be writing: only once they have ended does what is removed stay so.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self.close()
        if jax.process_index() == 0:
            for left in self.directory.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(left, ignore_errors=True)
        good = saved_steps(self.directory)
        kept = f"that of step {good[0]} is complete" if good else "there is none before it"
        return UserError(
            f"the checkpoint of step {self._saving} could not be saved in {self.directory} "
            f"({reason_of(error)}); {kept}: make room and run the same command again"
        )


class _Best:
    """Orbax's policy of what stays: the checkpoints of the best scores that are known by now."""

    def __init__(self, count: int, score_of: Callable[[int], float | None]) -> None:
        self._count = count
        self._score_of = score_of

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Returns for each checkpoint whether it stays; of equal ones, the later."""
        scores = {info.step: self._score_of(info.step) for info in checkpoints}
        ranked = sorted((s, step) for step, s in scores.items() if s is not None)
        best = {step for _, step in ranked[max(0, len(ranked) - self._count) :]}
        return [info.step in best for info in checkpoints]


def save_params(
    folder: Path,
    params: PyTree,
    run: Mapping[str, Any],
    tokenizer: Files | None = None,
) -> None:
    """Writes a checkpoint of parameters alone, for weights that come from elsewhere.

    `open_checkpoint(folder)` reads it like any other; it has no optimizer and no data position.

    Args:
        folder: where to; must not exist.
        params: nested dicts of arrays, the parameters of the model that `run["model"]` describes.
        run: the run record, at least `model` (see `describe_model`).
        tokenizer: the files of its tokenizer, which it carries.

    Raises:
        UserError: it could not be written.
    """
    ocp = orbax()
    folder = Path(folder).absolute()
    body = _document(0, None, run, {"params": params})
    parts = dict(params=ocp.args.StandardSave(params), run=ocp.args.JsonSave(body))
    args = ocp.args.Composite(**parts, **_carried(tokenizer))
    written = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(written, ignore_errors=True)
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
            writer.save(written, args=args)
        if folder.exists():
            folder.rmdir()
        os.replace(written, folder)
    except (OSError, ValueError, RuntimeError) as error:
        shutil.rmtree(written, ignore_errors=True)
        raise UserError(f"checkpoint {folder} can't be written ({reason_of(error)})") from error


def _carried(tokenizer: Files | None) -> dict[str, Any]:
    """Orbax's arguments of the tokenizer, if there is one."""
    return {TOKENIZER: files_args(tokenizer)} if tokenizer else {}


def _document(
    step: int, position: np.ndarray | None, run: Mapping[str, Any], parts: Mapping[str, PyTree]
) -> dict[str, Any]:
    return with_digest(
        {
            "format": FORMAT,
            "step": step,
            "position": None if position is None else np.asarray(position, np.int64).tolist(),
            "run": dict(run),
            "arrays": describe_arrays(dict(parts), checksums=True),
        }
    )
