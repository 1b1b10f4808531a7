"""Opening checkpoints: which one is the newest complete one is decided here, once.

    opened = open_checkpoint("runs/a")      # under the mesh that is set
    opened.step, opened.run["mixture"]      -> 700, "pocket_train"
    opened.params, opened.model()           # its parameters, and the model that has them

    opened = open_checkpoint("runs/a/checkpoints", state=abstract_state)
    opened.state, opened.position           # to go on with

A checkpoint counts as complete when its document has its digest, its arrays are there, and each
adds up to its checksum. One that does not is named in a warning, and the one before it is opened;
step, run record and arrays of the object that is returned are always those of one and the same
checkpoint.
Arrays are read straight to the devices of the mesh that is set, whatever mesh wrote them.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from flanmix.console import warn
from flanmix.errors import UserError
from flanmix.learn.integrity import (
    FORMAT,
    TOKENIZER,
    check_same,
    describe_arrays,
    orbax,
    path_of,
    placed,
    read_document,
    reason_of,
    saved_steps,
)
from flanmix.learn.step import TrainState
from flanmix.model.api import MODELS, Compute, LanguageModel, ModelConfig
from flanmix.model.lora import Lora, is_adapter, merged, with_adapters
from flanmix.model.params import merge, part_of, split, union, upgraded_path
from flanmix.registry.paths import check_local

PyTree = Any
Run = Mapping[str, Any]
_PARAMS = "params/"


@dataclass(frozen=True)
class OpenCheckpoint:
    """A checkpoint that was read and found complete.

    Attributes:
        folder: where it is.
        step: the training step.
        run: the run record: configuration, model, data, tasks, what it was trained on.
        params: the parameters, nested dicts of arrays on the mesh that was set; adapters are merged
            into their kernels, but in a state.
        missing: paths of parameters that it lacks and that were filled in.
        state: the training state, if one was asked for.
        position: i64 data position of all streams, if it has one.
        damaged: folders of newer checkpoints that are not complete.
    """

    folder: Path
    step: int
    run: Run
    params: PyTree
    missing: tuple[str, ...] = ()
    state: TrainState | None = None
    position: np.ndarray | None = None
    damaged: tuple[Path, ...] = ()

    @property
    def tokenizer(self) -> Path | None:
        """The folder of the tokenizer that the checkpoint carries, if it does."""
        folder = self.folder / TOKENIZER
        return folder if folder.is_dir() else None

    def model(
        self, config: ModelConfig | None = None, compute: Compute | None = None
    ) -> LanguageModel:
        """Returns the model with these parameters.

        Args:
            config: its configuration; the recorded one if not given.
            compute: how it computes; the default if not given.
        """
        compute = Compute() if compute is None else compute
        abstract = _abstract(recorded_model(self.run) if config is None else config, compute)
        return merge(split(abstract)[0], self.params)


def open_checkpoint(
    source: str | Path,
    *,
    state: TrainState | None = None,
    params: PyTree = None,
    fill: Callable[[], PyTree] | None = None,
    model_of: Callable[[Run], ModelConfig] | None = None,
    upgrade: Callable[[Run], Run] | None = None,
    compute: Compute | None = None,
) -> OpenCheckpoint:
    """Opens the newest complete checkpoint of a source.

    Args:
        source: a checkpoint, a folder of them, or a run's folder.
        state: shapes, types and shardings of a training state, as `jax.eval_shape` gives them under
            the mesh that is set, to restore all of it.
        params: the same of parameters; left out, they are those of the recorded model.
        fill: makes the parameters that the checkpoint lacks; those that it has and `params` lacks
            are then left out. Without it, either is an error.
        model_of: the model's configuration of a run record, where the recorded one is not used; for
            what an error says, also where `state` or `params` are given.
        upgrade: completes the run record of an older form.
        compute: says the type of the parameters, where `params` does not.

    Raises:
        UserError: there is no checkpoint, none is complete, or it is of another model.
    """
    check_local(source, "the checkpoint")
    source = Path(source).expanduser().absolute()
    candidates = _checkpoints_in(source)
    wanted = _Wanted(state, params, fill, model_of or recorded_model, upgrade, compute or Compute())
    damaged: list[Path] = []
    for folder in candidates:
        try:
            return replace(_open(folder, wanted), damaged=tuple(damaged))
        except UserError:
            raise
        except Exception as error:  # Orbax, TensorStore and JSON fail in their own ways
            warn(f"checkpoint {folder} is damaged: {reason_of(error)}")
            damaged.append(folder)
    if damaged:
        raise UserError(
            f"none of the {len(damaged)} checkpoints in {source} can be read: name another one, or "
            "begin anew in another RUN_DIR"
        )
    if (source / "config.json").is_file():
        raise UserError(
            f"{source} is a folder of others and no checkpoint: flanmix convert from-hf makes one"
        )
    raise UserError(f"there is no checkpoint in {source}: name a run's folder, or one of its steps")


def newest_record(source: Path) -> Run:
    """Returns the run record of a source's newest checkpoint, no array read; empty if none has one.

    For what may be asked before a checkpoint is opened; `open_checkpoint` says what is wrong.
    """
    for folder in _checkpoints_in(source):
        try:
            return read_document(folder)["run"]
        except (OSError, ValueError, KeyError):
            continue
    return {}


def newest_tokenizer(source: Path) -> Path | None:
    """Returns the tokenizer's folder of a source's newest checkpoint that carries one."""
    folders = (folder / TOKENIZER for folder in _checkpoints_in(source))
    return next((folder for folder in folders if folder.is_dir()), None)


def set_aside(folders: Sequence[Path]) -> None:
    """Renames damaged checkpoints to `damaged-STEP`, so that their steps can be saved again."""
    if jax.process_index() == 0:
        for folder in folders:
            aside = folder.with_name(f"damaged-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(folder, aside)


def describe_model(config: ModelConfig) -> dict[str, Any]:
    """Returns what a run record says of a model: `{"kind": "T5Config", "d_model": 512, ...}`."""
    return {"kind": type(config).__name__, **asdict(config)}  # pyrefly: ignore[bad-argument-type]


def recorded_model(run: Run) -> ModelConfig:
    """Returns the model's configuration that a run record describes.

    Raises:
        UserError: the record has none, or one that this version can't make.
    """
    if "model" not in run:
        raise UserError("the checkpoint does not say what model it has: an older flanmix wrote it")
    fields = dict(run["model"])
    try:
        return MODELS[fields.pop("kind")](**fields)
    except (TypeError, ValueError) as error:
        raise UserError(f"the checkpoint's model can't be made here: {error}") from error


def recorded_compute(run: Run) -> Compute:
    """Returns how the run that wrote a record computed; the default where it does not say.

    Raises:
        UserError: the record has what this version does not know.
    """
    try:
        return Compute(**run.get("compute", {}))
    except (TypeError, ValueError) as error:
        raise UserError(f"the checkpoint's way to compute can't be used here: {error}") from error


def recorded_lora(run: Run) -> Lora | None:
    """Returns the adapters that a run record describes; None where it has none."""
    return Lora(**run["lora"]) if "lora" in run else None


# ---- reading -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wanted:
    """What `open_checkpoint` was asked for."""

    state: TrainState | None
    params: PyTree
    fill: Callable[[], PyTree] | None
    model_of: Callable[[Run], ModelConfig]
    upgrade: Callable[[Run], Run] | None
    compute: Compute

    def abstract_params(self, run: Run) -> PyTree:
        """Shapes, types and shardings of the parameters to read."""
        if self.state is not None:
            return union(self.state.params, self.state.frozen)
        if self.params is None:
            return split(_abstract(self.model_of(run), self.compute, recorded_lora(run)))[1]
        if (lora := recorded_lora(run)) is None:
            return self.params
        adapted = split(_abstract(self.model_of(run), self.compute, lora), is_adapter)[1]
        return union(self.params, adapted)

    def differences(self, run: Run) -> str:
        """Says which fields of the model differ from the recorded one's and may decide shapes."""
        if "model" not in run:
            return ""
        there, here = run["model"], describe_model(self.model_of(run))
        if there["kind"] != here["kind"]:
            return f"the model is {there['kind']} there and {here['kind']} here; "
        names = [name for name in here if name in there and there[name] != here[name]]
        shaping = [name for name in names if not isinstance(here[name], float)]  # no dropout
        return "".join(f"{n} is {there[n]} there and {here[n]} here; " for n in shaping)


def _abstract(config: ModelConfig, compute: Compute, lora: Lora | None = None) -> LanguageModel:
    def made(rng: Key[Array, ""]) -> LanguageModel:
        model = config.init(rng, compute)
        return model if lora is None else with_adapters(model, lora, rng)

    return jax.eval_shape(made, jax.random.key(0))


def _checkpoints_in(source: Path) -> list[Path]:
    if (source / "params").is_dir():
        return [source]
    folder = source / "checkpoints" if (source / "checkpoints").is_dir() else source
    return [folder / str(step) for step in saved_steps(folder)]


def _open(folder: Path, wanted: _Wanted) -> OpenCheckpoint:
    body = read_document(folder)
    if wanted.state is not None:
        _check_state(folder, body, wanted)
    run = body["run"] if wanted.upgrade is None else wanted.upgrade(body["run"])
    params, missing = _read_params(folder, body, run, wanted)
    lora = recorded_lora(run)
    if wanted.state is None and lora is not None:
        params = jax.jit(lambda adapted: merged(adapted, lora))(params)
    position = body["position"]
    opened = OpenCheckpoint(
        folder=folder,
        step=body["step"],
        run=run,
        params=params,
        missing=missing,
        position=None if position is None else np.array(position, np.int64),
    )
    if wanted.state is None:
        return opened
    return replace(opened, state=_read_state(folder, body, wanted.state, params))


def _check_state(folder: Path, body: Mapping[str, Any], wanted: _Wanted) -> None:
    """Checks that a training state can be restored from a checkpoint.

    Raises:
        UserError: it is of another model or optimizer, or of another form.
    """
    if body.get("format") != FORMAT:
        raise UserError(
            f"{folder} was written by an older flanmix, whose optimizer's state is of another "
            "form: choose another RUN_DIR, with INITIALIZE_FROM to begin with its parameters"
        )
    abstract, run = wanted.state, body["run"]
    assert abstract is not None
    parts = {"params": union(abstract.params, abstract.frozen), "optimizer": abstract.opt_state}
    here = describe_arrays(parts, checksums=False)
    check_same(body["arrays"], here, folder, lambda: wanted.differences(run))


def _read_state(
    folder: Path, body: Mapping[str, Any], abstract: TrainState, params: PyTree
) -> TrainState:
    ocp = orbax()
    reader = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
    args = ocp.args.Composite(optimizer=ocp.args.StandardRestore(placed(abstract.opt_state)))
    opt_state = reader.restore(folder, args=args)["optimizer"]
    read = {"optimizer": opt_state}
    saved = {path: array for path, array in body["arrays"].items() if not path.startswith(_PARAMS)}
    _check_sums(describe_arrays(read, checksums=True), saved)
    step = jax.device_put(np.int32(body["step"]), placed(abstract.step).sharding)
    trained, frozen = (part_of(params, like) for like in (abstract.params, abstract.frozen))
    return TrainState(step, trained, opt_state, frozen)


def _read_params(
    folder: Path, body: Mapping[str, Any], run: Run, asked: _Wanted
) -> tuple[PyTree, tuple[str, ...]]:
    ocp, abstract, fill = orbax(), asked.abstract_params(run), asked.fill
    # Path now -> path in the file, which in the first format had other names.
    names = {_new_path(path, body): path for path in _paths(body)}
    saved = {path: body["arrays"][_PARAMS + old] for path, old in names.items()}
    leaves = {path_of(p): x for p, x in jax.tree_util.tree_leaves_with_path(placed(abstract))}
    wanted = describe_arrays(abstract, checksums=False)
    shared = {path for path in wanted if path in saved}
    checked = shared if fill else {*saved, *wanted}
    there, here = ({p: side[p] for p in checked if p in side} for side in (saved, wanted))
    check_same(_as_wanted(there, here), here, folder, lambda: asked.differences(run))
    target = _nested({names[path]: _as_saved(leaves[path], saved[path]) for path in shared})
    restore = ocp.args.PyTreeRestore(
        item=target,
        restore_args=ocp.checkpoint_utils.construct_restore_args(target),
        partial_restore=True,
    )
    loaded = ocp.PyTreeCheckpointer().restore(folder / "params", args=restore)
    read = {path_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(loaded)}
    arrays = {path: read[names[path]] for path in shared}
    _check_sums(describe_arrays(arrays, checksums=True), {path: saved[path] for path in shared})
    arrays = {path: leaf.astype(leaves[path].dtype) for path, leaf in arrays.items()}
    missing = sorted(set(wanted) - shared)
    if missing and fill is not None:
        fresh = jax.tree_util.tree_leaves_with_path(fill())
        arrays |= {path_of(path): leaf for path, leaf in fresh if path_of(path) in missing}
    params = jax.tree.map_with_path(lambda path, _: arrays[path_of(path)], abstract)
    return params, tuple(missing)


def _paths(body: Mapping[str, Any]) -> list[str]:
    return [path.removeprefix(_PARAMS) for path in body["arrays"] if path.startswith(_PARAMS)]


def _new_path(path: str, body: Mapping[str, Any]) -> str:
    return path if body.get("format") == FORMAT else upgraded_path(path)


def _as_wanted(saved: Mapping[str, list], wanted: Mapping[str, list]) -> dict[str, list]:
    """What is saved, its floats named as those that they are converted to, of whatever width."""

    def is_float(array: list) -> bool:
        return jnp.issubdtype(jnp.dtype(array[0]), jnp.floating)

    return {
        path: [wanted[path][0], array[1]]
        if path in wanted and is_float(array) and is_float(wanted[path])
        else array
        for path, array in saved.items()
    }


def _as_saved(leaf: jax.ShapeDtypeStruct, saved: list) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(saved[0]), sharding=leaf.sharding)


def _check_sums(read: Mapping[str, list], saved: Mapping[str, list]) -> None:
    if read != saved:
        raise ValueError("its arrays do not add up to their checksums")


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
