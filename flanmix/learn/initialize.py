"""Parameters, and what a run said of itself, from the checkpoints of another run.

    params, missing = load_params(Path("runs/a"), abstract_params)   # its newest whole checkpoint
    load_run(Path("runs/a"))["configuration"]                        # the gin text that made it

Damage is seen as in a run's own checkpoints: the newest whole one is read.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from flanmix.console import warn
from flanmix.errors import UserError
from flanmix.learn.checkpoint import saved_steps
from flanmix.learn.integrity import (
    check_same,
    describe_arrays,
    orbax,
    path_of,
    placed,
    read_document,
    reason_of,
)

PyTree = Any
_PARAMS = "params/"


def load_params(
    source: Path, abstract: PyTree, *, fill: Callable[[], PyTree] | None = None
) -> tuple[PyTree, list[str]]:
    """Returns a checkpoint's parameters, and the paths of those that it lacks.

    Args:
        source: a checkpoint, a folder of them (the newest whole one is read), or a run's folder.
        abstract: shapes, types and shardings of the parameters, as `jax.eval_shape` gives them.
        fill: makes the parameters that the checkpoint lacks; those that it has and the model lacks
            are then left out. Without it, either is an error.

    Raises:
        UserError: there is no checkpoint, none is whole, or it is of another model.
    """
    source = Path(source).expanduser().absolute()
    for folder in (candidates := _checkpoints_in(source)):
        try:
            return _read_params(folder, abstract, fill)
        except UserError:
            raise
        except Exception as error:
            warn(f"checkpoint {folder} is damaged: {reason_of(error)}")
    if candidates:
        raise UserError(f"none of the {len(candidates)} checkpoints in {source} can be read")
    raise UserError(f"there is no checkpoint in {source}: name a run's folder, or one of its steps")


def load_run(source: Path) -> dict[str, Any]:
    """Returns what a run stored with its newest readable checkpoint: configuration, tasks, step.

    Raises:
        UserError: there is no checkpoint, or its record can't be read.
    """
    source = Path(source).expanduser().absolute()
    for folder in _checkpoints_in(source):
        try:
            body = read_document(folder)
        except (OSError, ValueError, KeyError):
            continue
        return {**body["run"], "step": body["step"]}
    raise UserError(f"there is no checkpoint in {source}: name a run's folder, or one of its steps")


def _checkpoints_in(source: Path) -> list[Path]:
    if (source / "params").is_dir():
        return [source]
    folder = source / "checkpoints" if (source / "checkpoints").is_dir() else source
    return [folder / str(step) for step in saved_steps(folder)]


def _read_params(
    folder: Path, abstract: PyTree, fill: Callable[[], PyTree] | None
) -> tuple[PyTree, list[str]]:
    ocp = orbax()
    described = read_document(folder)["arrays"]
    saved = {p.removeprefix(_PARAMS): a for p, a in described.items() if p.startswith(_PARAMS)}
    wanted = describe_arrays(abstract, checksums=False)
    shared = {path for path in wanted if path in saved}
    checked = shared if fill else {*saved, *wanted}
    there, here = ({p: side[p] for p in checked if p in side} for side in (saved, wanted))
    check_same(there, here, folder)
    abstract_leaves = jax.tree_util.tree_leaves_with_path(placed(abstract))
    target = _nested({path_of(p): leaf for p, leaf in abstract_leaves if path_of(p) in shared})
    restore = ocp.args.PyTreeRestore(
        item=target,
        restore_args=ocp.checkpoint_utils.construct_restore_args(target),
        partial_restore=True,
    )
    loaded = ocp.PyTreeCheckpointer().restore(folder / "params", args=restore)
    arrays = {path_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(loaded)}
    if describe_arrays(arrays, checksums=True) != {path: saved[path] for path in shared}:
        raise ValueError("its arrays do not add up to their checksums")
    missing = sorted(set(wanted) - shared)
    if missing and fill is not None:
        fresh = jax.tree_util.tree_leaves_with_path(fill())
        arrays |= {path_of(path): leaf for path, leaf in fresh if path_of(path) in missing}
    return jax.tree.map_with_path(lambda path, _: arrays[path_of(path)], abstract), missing


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {"a": {"b": x}} of {"a/b": x}."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *folders, name = path.split("/")
        inside = tree
        for folder in folders:
            inside = inside.setdefault(folder, {})
        inside[name] = leaf
    return tree
