"""Everything that a run is told, as one frozen object: what the gin files say, checked.

`Run` is what `gin/runs/*.gin` bind: each macro of the command line (`STEPS`, `MIXTURE`, ...) is one
field of it, and what has parts of its own (model, optimizer, schedule, mesh) is an object.

    Run(run_dir="runs/a", store="runs/store", mixture="pocket", steps=200, batch_size=32, ...)
"""

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import jax

from flanmix.data.loader import LoaderConfig
from flanmix.data.tokens import Architecture
from flanmix.errors import UserError
from flanmix.learn.loss import LossConfig
from flanmix.learn.optimizer import Adafactor, AdamW
from flanmix.learn.schedule import Schedule
from flanmix.model.decoder import DecoderConfig
from flanmix.model.sharding import make_mesh
from flanmix.model.t5 import T5Config

# Every run recipe understands these names; each is a field of `Run`.
MACROS = (
    "RUN_DIR",
    "STORE",
    "DATA_DIR",
    "MIXTURE",
    "SEED",
    "STEPS",
    "BATCH_SIZE",
    "INPUTS_LENGTH",
    "TARGETS_LENGTH",
    "STREAMS",
    "CHECKPOINT_EVERY",
    "EVAL_EVERY",
    "INITIALIZE_FROM",
    "ALLOW_MISSING",
    "VOCABULARY",
    "MODEL",
)


@dataclass(frozen=True)
class MeshConfig:
    """Sizes of the mesh's axes; -1, for one of them, is what the others leave of the devices."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        sizes = (self.data, self.fsdp, self.tensor)
        if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
            raise ValueError(
                f"MeshConfig is data={self.data}, fsdp={self.fsdp}, tensor={self.tensor}: sizes "
                "are at least 1, and one of them may be -1"
            )

    def sizes(self, devices: int) -> tuple[int, int, int]:
        """Returns the three sizes on so many devices."""
        given = (self.data, self.fsdp, self.tensor)
        rest = max(1, devices // math.prod(size for size in given if size != -1))
        data, fsdp, tensor = (rest if size == -1 else size for size in given)
        return data, fsdp, tensor

    def build(self) -> jax.sharding.Mesh:
        """Returns the mesh over all devices.

        Raises:
            UserError: the sizes' product is not the number of devices.
        """
        return make_mesh(*self.sizes(jax.device_count()))


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated, while training and after it.

    Attributes:
        groups: name of a group of scores -> the mixture whose tasks and templates it holds; nothing
            is evaluated where there is none.
        examples: at most so many records of each task; None for all.
        selection: at most so many validation records choose a task's best template; 0: none do.
        before: whether the model is also scored as it was before the first step.
        batch_size: rows of a batch; None for the training's.
    """

    groups: Mapping[str, str] = field(default_factory=dict)
    examples: int | None = None
    selection: int = 0
    before: bool = False
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("examples", self.examples), ("batch_size", self.batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"Evaluation.{name} is {value}: must be at least 1")
        if self.selection < 0:
            raise ValueError(f"Evaluation.selection is {self.selection}: must not be negative")


@dataclass(frozen=True)
class Run:
    """A run: training, or evaluation of what it trained.

    Attributes:
        run_dir: where metrics, checkpoints and scores go.
        store: the folder of prepared tasks.
        mixture: the mixture, or task, that is trained on.
        steps: updates in all, those of an interrupted run included.
        batch_size: rows of a global batch.
        inputs_length: tokens of a row's inputs.
        targets_length: tokens of a row's targets.
        model: the model's shape.
        vocabulary: byte, pocket, or a SentencePiece file.
        optimizer: Adafactor or AdamW.
        schedule: the learning rate.
        loss: what is added to the cross entropy.
        mesh: how the devices are laid out.
        evaluation: what is evaluated.
        data_dir: where TFDS finds its datasets, when tasks are prepared.
        seed: of everything random.
        streams: logical streams of the data; None for as many as fit.
        pack: whether a row may hold several examples.
        microbatches: parts of a batch that are computed one after another.
        checkpoint_every: steps between checkpoints; 0 for the last one only.
        keep_last: newest checkpoints that stay.
        keep_best: best checkpoints, by mean score, that stay as well.
        eval_every: steps between evaluations; 0 for the last one only.
        initialize_from: a checkpoint, or a run's folder, that the parameters come from.
        allow_missing: whether parameters that it lacks may start anew, and tasks that are not
            prepared be left out of training and evaluation; each is said.
        multi_host: whether this is one process of several; None to look at the environment.
    """

    run_dir: str
    store: str
    mixture: str
    steps: int
    batch_size: int
    inputs_length: int
    targets_length: int
    model: T5Config | DecoderConfig
    vocabulary: str = "pocket"
    optimizer: Adafactor | AdamW = field(default_factory=Adafactor)
    schedule: Schedule = field(default_factory=Schedule)
    loss: LossConfig = field(default_factory=LossConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    evaluation: Evaluation = field(default_factory=Evaluation)
    data_dir: str | None = None
    seed: int = 0
    streams: int | None = None
    pack: bool = True
    microbatches: int = 1
    checkpoint_every: int = 1000
    keep_last: int = 3
    keep_best: int = 1
    eval_every: int = 0
    initialize_from: str | None = None
    allow_missing: bool = False
    multi_host: bool | None = None

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("batch_size", "microbatches", "keep_last"):
            if getattr(self, name) < 1:
                raise ValueError(f"{_gin_name(name)} is {getattr(self, name)}: must be at least 1")
        for name in ("steps", "checkpoint_every", "eval_every", "keep_best", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"{_gin_name(name)} is {getattr(self, name)}: must not be negative"
                )
        _ = self.loader

    @property
    def folder(self) -> Path:
        """`run_dir` as a path."""
        return Path(self.run_dir).expanduser().absolute()

    @property
    def loader(self) -> LoaderConfig:
        """What decides the batches, beside the mixture."""
        return LoaderConfig(
            batch_size=self.batch_size,
            inputs_length=self.inputs_length,
            targets_length=self.targets_length,
            seed=self.seed,
            streams=self.streams,
            architecture=typing.cast(Architecture, self.model.architecture),
            pack=self.pack,
        )

    def check_devices(self, devices: int, hosts: int) -> None:
        """Checks that the devices can share a batch.

        Raises:
            UserError: they can't; says what would do.
        """
        data, fsdp, _ = self.mesh.sizes(devices)
        rows = data * fsdp * self.microbatches
        if self.batch_size % rows:
            parts = f" and {self.microbatches} microbatches" if self.microbatches > 1 else ""
            raise UserError(
                f"BATCH_SIZE is {self.batch_size}: its rows can't be divided over {data * fsdp} "
                f"devices (data {data} x fsdp {fsdp}){parts}: choose a multiple of {rows}"
            )
        if self.loader.num_streams % hosts:
            raise UserError(
                f"STREAMS is {self.loader.num_streams}: {hosts} hosts can't share them evenly: "
                f"choose a multiple of {hosts} that divides BATCH_SIZE"
            )


def _gin_name(name: str) -> str:
    return name.upper() if name.upper() in MACROS else f"Run.{name}"


def _check_types(run: Run) -> None:
    hints = typing.get_type_hints(type(run))
    for spec in fields(run):
        value, wanted = getattr(run, spec.name), hints[spec.name]
        kinds = typing.get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
        # True is an int to Python, and hardly what anybody means by BATCH_SIZE.
        if (isinstance(value, bool) and bool not in kinds) or not isinstance(value, kinds):
            names = " or ".join("None" if k is types.NoneType else k.__name__ for k in kinds)
            raise ValueError(f"{_gin_name(spec.name)} is {value!r}: must be of type {names}")
