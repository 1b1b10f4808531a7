"""What a run is configured with: frozen dataclasses, one for each part that is read.

    Run(
        run_dir="runs/a",
        data=DataConfig(store="store", mixture="pocket", batch_size=32, inputs_length=128, ...),
        model=T5Config(...),
        train=TrainConfig(steps=200, schedule=Schedule(rate=0.01)),
    )

`Run` holds the parts, and whoever works takes the part that it reads. Every class here is a gin
name. A field that a command line sets by a short name of its own says so where it is declared:
`by_macro("BATCH_SIZE")` makes `--gin.BATCH_SIZE=32` set `DataConfig.batch_size`. The list of these
names, the gin bindings, and what a run record keeps of the data are all made from the dataclasses
(`flanmix.fields`, which also checks them).
"""

import dataclasses
import inspect
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax

from flanmix.data.chat.format import CHAT, PLAIN
from flanmix.data.loader import LoaderConfig
from flanmix.data.tokens import Architecture
from flanmix.errors import UserError
from flanmix.fields import (
    by_macro,
    check_choice,
    check_interval,
    check_range,
    check_types,
    decides_batches,
    gin_name,
)
from flanmix.learn.loss import CrossEntropy, Loss
from flanmix.learn.optimizer import Adafactor, AdamW
from flanmix.learn.schedule import Schedule
from flanmix.model.api import Compute, ModelConfig
from flanmix.model.lora import Lora
from flanmix.model.sharding import make_mesh
from flanmix.registry.paths import address


def check_paths(config: Any, *names: str) -> None:
    """Checks that fields are None or paths, and no addresses such as `gs://bucket/store`.

    Raises:
        ValueError: names the field and the value.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and (why := address(value)):
            raise ValueError(f"{gin_name(config, name)} is '{value}': {why}")


EVERYTHING = ".*"
DEFAULT_VOCABULARY = "pocket"
SEEDS = "[0, 9223372036854775807]"  # what JAX takes


@dataclass(frozen=True)
class DataConfig:
    """What decides the batches, and where records and vocabulary are.

    Attributes:
        store: the folder of prepared tasks.
        mixture: the mixture, or task, that is trained on.
        batch_size: rows of a global batch.
        inputs_length: tokens of a row's inputs.
        targets_length: tokens of a row's targets; a decoder-only row has the sum of both.
        vocabulary: byte, pocket, a SentencePiece file, a tokenizer.json or a folder with one; if
            not given, that of INITIALIZE_FROM.
        seed: of the order of records, the choice of templates and exemplars.
        streams: logical streams of the data; None for gcd(batch_size, 16).
        pack: whether a row may hold several examples.
        data_dir: where TFDS finds its datasets, for the hint when tasks are not prepared.
        allow_missing: whether tasks that are not prepared are left out, and named, or an error.
        separator: text between inputs and targets of a decoder-only row; None for a newline, '' for
            nothing. An encoder-decoder has none.
        format: `plain`, or `chat`: the inputs are the user's turn in the model's chat template, the
            targets the assistant's; records with messages of their own keep their turns.
        system: what a conversation begins with that has no system message; None for nothing.
        chat_template: a file of Jinja to take instead of the vocabulary's own template.
    """

    store: str = by_macro("STORE", decides_batches=False)
    mixture: str = by_macro("MIXTURE", decides_batches=False)  # the record has its tasks
    batch_size: int = by_macro("BATCH_SIZE")
    inputs_length: int = by_macro("INPUTS_LENGTH")
    targets_length: int = by_macro("TARGETS_LENGTH")
    # What the record has of it is its hash.
    vocabulary: str = by_macro("VOCABULARY", decides_batches=False, default=DEFAULT_VOCABULARY)
    seed: int = by_macro("SEED", default=0)
    streams: int | None = by_macro("STREAMS", default=None)
    pack: bool = True
    data_dir: str | None = by_macro("DATA_DIR", decides_batches=False, default=None)
    allow_missing: bool = by_macro("ALLOW_MISSING", decides_batches=False, default=False)
    separator: str | None = by_macro("SEPARATOR", decides_batches=False, default=None)  # see below
    format: str = by_macro("FORMAT", default=PLAIN)
    system: str | None = by_macro("SYSTEM", default=None)
    chat_template: str | None = by_macro("CHAT_TEMPLATE", decides_batches=False, default=None)

    def __post_init__(self) -> None:
        check_types(self)
        check_paths(self, "store", "vocabulary", "data_dir", "chat_template")
        check_choice(self, "format", (PLAIN, CHAT))
        if self.format != CHAT and (named := self.system or self.chat_template) is not None:
            name = "SYSTEM" if named == self.system else "CHAT_TEMPLATE"
            raise ValueError(f"{name} is {named!r}: it is read with FORMAT='{CHAT}' only")
        check_range(self, 1, "batch_size", "streams")
        check_range(self, 2, "inputs_length", "targets_length")
        check_interval(self, SEEDS, "seed")
        _ = self.loader("causal" if self.separator else "encoder_decoder")

    def loader(self, architecture: str) -> LoaderConfig:
        """Returns the loader's configuration for a model's architecture."""
        return LoaderConfig(
            batch_size=self.batch_size,
            inputs_length=self.inputs_length,
            targets_length=self.targets_length,
            seed=self.seed,
            streams=self.streams,
            architecture=typing.cast(Architecture, architecture),
            pack=self.pack,
            separator=self.separator,
        )

    def recorded(self, architecture: str) -> dict[str, Any]:
        """Returns what a run can't change when it goes on, by the names that users set."""
        values = {
            gin_name(self, declared.name): getattr(self, declared.name)
            for declared in dataclasses.fields(self)
            if decides_batches(declared)
        }
        loader = self.loader(architecture)
        values |= {gin_name(self, "streams"): loader.num_streams, "architecture": architecture}
        if not loader.lengths.two_sided:  # the one that is meant where none is said
            values[gin_name(self, "separator")] = loader.lengths.separator
        return values


@dataclass(frozen=True)
class TrainConfig:
    """How the parameters are trained.

    Attributes:
        steps: updates in all, those of an interrupted run included.
        optimizer: Adafactor or AdamW.
        schedule: the learning rate.
        loss: what is minimised.
        seed: of new parameters and of dropout.
        microbatches: parts of a batch whose gradients are computed one after another; the result is
            that of the whole batch, but for dropout, of which each part draws its own.
        trainable: a regular expression; parameters whose path it matches from the beginning, such
            as `decoder/.*`, are trained, the others stay frozen.
        lora: adapters, which alone are trained then, beside what `trainable` matches where that is
            set; None for none.
    """

    steps: int = by_macro("STEPS")
    optimizer: Adafactor | AdamW = field(default_factory=Adafactor)
    schedule: Schedule = field(default_factory=Schedule)
    loss: Loss = field(default_factory=CrossEntropy)
    seed: int = by_macro("SEED", default=0)
    microbatches: int = by_macro("MICROBATCHES", default=1)
    trainable: str = EVERYTHING
    lora: Lora | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, 1, "microbatches")
        try:
            inspect.signature(self.loss).bind(None, None, dropout_rng=None, num_tasks=1)
        except TypeError as error:
            raise ValueError(f"TrainConfig.loss is {self.loss!r}: no loss ({error})") from None
        check_range(self, 0, "steps")
        check_interval(self, SEEDS, "seed")


@dataclass(frozen=True)
class CheckpointConfig:
    """Where parameters come from, and which checkpoints stay.

    Attributes:
        every: steps between checkpoints; 0 for the last one only.
        keep_last: newest checkpoints that stay.
        keep_best: best checkpoints, by mean score, that stay as well.
        initialize_from: a checkpoint, a run's folder, a Hugging Face folder or a name of its hub
            that the parameters come from; also MODEL and VOCABULARY, where they are not given.
        pretrained_on: tasks and clusters that the parameters of others had been trained on; None
            where that is unknown, and scores say so.
        allow_missing: whether parameters that it lacks are new, and named, or an error.
        allow_changes: whether a run goes on with other settings than it was trained with; a yes is
            for one start, and is not kept in the run's configuration.
    """

    every: int = by_macro("CHECKPOINT_EVERY", default=1000)
    keep_last: int = by_macro("KEEP_LAST", default=3)
    keep_best: int = 1
    initialize_from: str | None = by_macro("INITIALIZE_FROM", default=None)
    pretrained_on: Sequence[str] | None = by_macro("PRETRAINED_ON", default=None)
    allow_missing: bool = by_macro("ALLOW_MISSING", default=False)
    allow_changes: bool = by_macro("ALLOW_CHANGES", default=False)

    def __post_init__(self) -> None:
        check_types(self)
        check_paths(self, "initialize_from")
        check_range(self, 1, "keep_last")
        check_range(self, 0, "every", "keep_best")


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated, while training and after it.

    Attributes:
        groups: name of a group of scores -> the mixture whose tasks and templates it holds; None
            for the run's own mixture, and no group at all for no evaluation in training.
        every: steps between evaluations; 0 for the last one only.
        examples: at most so many records of each task; None for all.
        selection: at most so many validation records choose a task's best template; 0: none do.
        before: whether the model is also scored as it was before the first step.
        batch_size: rows of a batch; None for the training's.
        texts: name -> file of plain text (JSONL with a field `text`, or one document), whose bits
            per byte are scored: what a model forgets of language; for decoder-only models.
        text_bytes: at most so many bytes of each, from its beginning.
    """

    groups: Mapping[str, str] | None = None
    every: int = by_macro("EVAL_EVERY", default=0)
    examples: int | None = by_macro("EVAL_EXAMPLES", default=None)
    selection: int = 0
    before: bool = False
    batch_size: int | None = by_macro("EVAL_BATCH_SIZE", default=None)
    texts: Mapping[str, str] | None = None
    text_bytes: int = 200_000

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, 1, "examples", "batch_size", "text_bytes")
        check_range(self, 0, "selection", "every")


@dataclass(frozen=True)
class MeshConfig:
    """How the devices are laid out.

    Attributes:
        data: copies of the parameters; -1, for one of the three, is what the others leave.
        fsdp: shards of parameters and batch.
        tensor: shards of heads, of the MLP's inner dimension and of the vocabulary.
        multi_host: whether this is one process of several; None to look at the environment.
        max_replicated: the share of the parameters that may be whole on every device because `fsdp`
            and `tensor` divide none of their dimensions; 1.0 for all of them.
    """

    data: int = -1
    fsdp: int = by_macro("FSDP", default=1)
    tensor: int = by_macro("TENSOR", default=1)
    multi_host: bool | None = None
    max_replicated: float = 0.5

    def __post_init__(self) -> None:
        check_types(self)
        check_interval(self, "[0, 1]", "max_replicated")
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
class Run:
    """A run: training, or evaluation of what it trained.

    Attributes:
        run_dir: where metrics, checkpoints and scores go.
        model: the model's configuration.
        data: the data.
        train: how it is trained; None for a run that only evaluates.
        checkpoints: where parameters come from, and which checkpoints stay.
        evaluation: what is evaluated.
        mesh: how the devices are laid out.
        compute: types, rematerialisation and kernels.
    """

    run_dir: str = by_macro("RUN_DIR")
    model: ModelConfig = by_macro("MODEL")  # noqa: RUF009  # frozen, whichever it is
    data: DataConfig = field(kw_only=True)
    train: TrainConfig | None = None
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    evaluation: Evaluation = field(default_factory=Evaluation)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    compute: Compute = field(default_factory=Compute)

    def __post_init__(self) -> None:
        check_types(self)
        check_paths(self, "run_dir")
        _ = self.loader

    @property
    def folder(self) -> Path:
        """`run_dir` as a path."""
        return Path(self.run_dir).expanduser().absolute()

    @property
    def loader(self) -> LoaderConfig:
        """What decides the batches, beside the mixture."""
        return self.data.loader(self.model.architecture)

    def check_devices(self, devices: int, hosts: int) -> None:
        """Checks that the devices can share the batches, of training and of evaluation.

        Raises:
            UserError: they can't; says what would do.
        """
        self.check_evaluation_devices(devices)
        data, fsdp, _ = self.mesh.sizes(devices)
        microbatches = self.train.microbatches if self.train else 1
        rows = data * fsdp * microbatches
        if self.data.batch_size % rows:
            parts = f" and {microbatches} microbatches" if microbatches > 1 else ""
            raise UserError(
                f"BATCH_SIZE is {self.data.batch_size}: its rows can't be divided over "
                f"{data * fsdp} devices (data {data} x fsdp {fsdp}){parts}: choose a multiple of "
                f"{rows}"
            )
        if self.loader.num_streams % hosts:
            raise UserError(
                f"STREAMS is {self.loader.num_streams}: {hosts} hosts can't share them evenly: "
                f"choose a multiple of {hosts} that divides BATCH_SIZE"
            )

    def check_evaluation_devices(self, devices: int) -> None:
        """Checks that the devices can share a batch of an evaluation.

        Raises:
            UserError: they can't; says what would do.
        """
        data, fsdp, _ = self.mesh.sizes(devices)
        rows = self.evaluation.batch_size or self.data.batch_size
        if rows % (data * fsdp):
            by = self.evaluation if self.evaluation.batch_size else self.data
            raise UserError(
                f"{gin_name(by, 'batch_size')} is {rows}: its rows can't be divided over "
                f"{data * fsdp} devices (data {data} x fsdp {fsdp}): choose a multiple of "
                f"{data * fsdp}"
            )


PARTS = (Run, DataConfig, TrainConfig, CheckpointConfig, Evaluation, MeshConfig)
