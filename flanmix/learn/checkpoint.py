"""Checkpoints of a run: everything that a later process needs to go on as if nothing had happened.

    DIRECTORY/
      100/params/      parameters           (Orbax; any later mesh can read them)
      100/optimizer/   the optimizer's state
      100/run/         JSON: step, position of the data, what the run adds (configuration, tasks);
                       shape, type and checksum of every array

`save` returns when the arrays are copied and writes behind the training's back; a checkpoint
appears whole or not at all. `restore` takes the newest one that is whole: a checkpoint whose files
are cut off, or whose arrays do not add up to their checksums, is set aside with a warning, and the
one before it is used. The checksum is a sum of the array's bits modulo 2^32, so that it is the
same on any mesh.

    with Checkpoints(directory, keep_last=3, keep_best=1) as checkpoints:
        found = checkpoints.restore(abstract_state)         # None if there is none
        checkpoints.save(state, step=100, position=position, run={...}, score=61.5)
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flanmix.console import warn
from flanmix.errors import UserError
from flanmix.learn.integrity import (
    check_same,
    describe_arrays,
    orbax,
    placed,
    read_document,
    reason_of,
    sealed,
)
from flanmix.learn.step import TrainState

PyTree = Any


@dataclass(frozen=True)
class Restored:
    """What a checkpoint held."""

    state: TrainState
    position: np.ndarray  # int64, of all streams of the data
    run: dict[str, Any]
    step: int


class Checkpoints:
    """The checkpoints of one run; Orbax is imported when the first one is read or written."""

    def __init__(self, directory: Path, *, keep_last: int = 3, keep_best: int = 0) -> None:
        self.directory = Path(directory).absolute()
        self._keep = keep_last, keep_best
        self._manager = None
        self._saving: int | None = None

    def __enter__(self) -> "Checkpoints":
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
        score: float | None = None,
    ) -> None:
        """Starts to save; `score` decides which checkpoints are the best ones to keep.

        Raises:
            UserError: this save or the one before it failed (a full disk); older ones are whole.
        """
        import orbax.checkpoint as ocp

        body = {
            "step": step,
            "position": np.asarray(position, np.int64).tolist(),
            "run": dict(run),
            "arrays": describe_arrays(_parts(state), checksums=True),
        }
        self.wait()
        try:
            manager = self._open()
            self._saving = step
            manager.save(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(state.params),
                    optimizer=ocp.args.StandardSave(state.opt_state),
                    run=ocp.args.JsonSave(sealed(body)),
                ),
                metrics=None if score is None else {"score": score},
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

    def restore(self, abstract: TrainState) -> Restored | None:
        """Reads the newest checkpoint that is whole, or returns None if the directory has none.

        Args:
            abstract: the state's shapes, types and shardings, as `jax.eval_shape` gives them under
                the mesh on which the run goes on.

        Raises:
            UserError: the checkpoint is of another model, or not a single one is whole.
        """
        found = saved_steps(self.directory)
        for number, step in enumerate(found):
            try:
                restored = _read(self.directory / str(step), abstract)
            except UserError:
                raise
            except Exception as error:
                warn(f"checkpoint {self.directory / str(step)} is damaged: {reason_of(error)}")
                continue
            for damaged in found[:number]:
                self._set_aside(damaged)
            return restored
        if found:
            raise UserError(
                f"none of the {len(found)} checkpoints in {self.directory} can be read: remove the "
                "folder to start anew, or choose another RUN_DIR"
            )
        return None

    def _open(self) -> Any:
        from orbax.checkpoint import checkpoint_managers as managers

        if self._manager is None:
            ocp = orbax()
            last, best = self._keep
            policies: list[Any] = [managers.LatestN(last)]
            if best:
                by_score = managers.BestN(
                    get_metric_fn=lambda metrics: metrics["score"],
                    n=best,
                    keep_checkpoints_without_metrics=False,
                )
                policies.append(by_score)
            self._manager = ocp.CheckpointManager(
                self.directory,
                item_names=("params", "optimizer", "run"),
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=managers.AnyPreservationPolicy(policies),
                    cleanup_tmp_directories=True,
                ),
            )
        return self._manager

    def _failed(self, error: Exception) -> UserError:
        """Clears what the failed save left, so that its space is free again."""
        self._manager = None
        if jax.process_index() == 0:
            for left in self.directory.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(left, ignore_errors=True)
        good = saved_steps(self.directory)
        kept = f"the checkpoint of step {good[0]} is whole" if good else "there is none before it"
        return UserError(
            f"the checkpoint of step {self._saving} could not be saved in {self.directory} "
            f"({reason_of(error)}); {kept}: make room and run the same command again"
        )

    def _set_aside(self, step: int) -> None:
        if jax.process_index() == 0:
            aside = self.directory / f"damaged-{step}"
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(self.directory / str(step), aside)


def saved_steps(directory: Path) -> list[int]:
    """Returns the steps of which `directory` has checkpoints, newest first."""
    if not directory.is_dir():
        return []
    return sorted((int(p.name) for p in directory.iterdir() if p.name.isdecimal()), reverse=True)


def _read(folder: Path, abstract: TrainState) -> Restored:
    ocp = orbax()
    body = read_document(folder)
    check_same(body["arrays"], describe_arrays(_parts(abstract), checksums=False), folder)
    reader = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
    args = ocp.args.Composite(
        params=ocp.args.StandardRestore(placed(abstract.params)),
        optimizer=ocp.args.StandardRestore(placed(abstract.opt_state)),
    )
    loaded = reader.restore(folder, args=args)
    step = jax.device_put(np.int32(body["step"]), placed(abstract.step).sharding)
    state = TrainState(step, loaded["params"], loaded["optimizer"])
    if describe_arrays(_parts(state), checksums=True) != body["arrays"]:
        raise ValueError("its arrays do not add up to their checksums")
    position = np.array(body["position"], np.int64)
    return Restored(state, position, body["run"], body["step"])


def _parts(state: TrainState) -> dict[str, PyTree]:
    return {"params": state.params, "optimizer": state.opt_state}
