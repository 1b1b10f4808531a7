"""Our tasks and mixtures in SeqIO's registries.

    features = {"inputs": seqio.Feature(vocabulary), "targets": seqio.Feature(vocabulary)}
    task = register_task(spec, features, data_dir="data")       # SeqIO draws the template as we do
    task = register_task(spec, features, template=3)            # or one template: "rte.template_3"
    mixture = register_mixture(resolved, features)              # the same tasks at the same rates
    seqio.get_mixture_or_task("rte").get_dataset(...)           # like any other

A TFDS task reads through `TfdsDataSource`, others through `FunctionDataSource`; each record gets
the id that it has in a store, is made canonical and rendered in its first epoch's template, then
tokenized. So the text is ours, record by record, whatever the order or the shard. An example also
carries `task`, `template`, `record`, `options` and `references`, and the task t5's own metrics,
where t5 is installed. In the code, `spec` is a task of ours and `task` one of SeqIO's.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flanmix import console
from flanmix.data.canonical import canonicalize
from flanmix.data.render import TextExample, draw, eligible_templates, render
from flanmix.data.sources.quiet_tensorflow import import_seqio, plain
from flanmix.data.sources.records import canonical_records
from flanmix.data.sources.slices import Warn
from flanmix.data.sources.tfds import tfds_source
from flanmix.errors import UserError
from flanmix.registry.mixture import Mixture
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec
from flanmix.seqio_export.scoring import scoring

if TYPE_CHECKING:
    import seqio
    import tensorflow as tf

Features = Mapping[str, "seqio.Feature"]

# What we registered under a name, and the settings that it was made with.
_TASKS: "dict[str, tuple[seqio.Task, object]]" = {}
_MIXTURES: "dict[str, tuple[seqio.Mixture, object]]" = {}


def register_task(
    spec: TaskSpec,
    output_features: Features,
    *,
    name: str | None = None,
    template: int | None = None,
    templates: Sequence[int] | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    warn: Warn = console.warn,
) -> "seqio.Task":
    """Registers a task with SeqIO; again with the same arguments, it returns the same task.

    Args:
        spec: the task.
        output_features: SeqIO's features `inputs` and `targets`, with their vocabulary.
        name: its name there; the task's own if not given, with the template's number if that is.
        template: use this template alone.
        templates: draw the template among these; all if not given.
        seed: of the draw, as in a run.
        data_dir: where TFDS finds its datasets.
        warn: callback for each slice that was clamped, a line.

    Raises:
        UserError: when the name is taken by another task, the template or the dataset is unknown.
    """
    seqio = import_seqio()
    chosen = tuple(range(len(spec.templates))) if templates is None else tuple(templates)
    chosen = chosen if template is None else (template,)
    if not chosen or not set(chosen) <= set(range(len(spec.templates))):
        last = len(spec.templates) - 1
        raise UserError(f"task '{spec.name}' has templates 0 to {last}, not {list(chosen)}")
    name = name or (spec.name if template is None else f"{spec.name}.template_{template}")
    settings = (spec.fingerprint(), template, chosen, seed, str(data_dir), dict(output_features))
    there = _registered(seqio.TaskRegistry, _TASKS, name, settings)
    if there is not None:
        return there
    task = seqio.TaskRegistry.add(
        name,
        source=_source(spec, data_dir, warn),
        preprocessors=[
            functools.partial(
                _rendered, spec=spec, templates=chosen, draw_seed=seed if template is None else None
            ),
            seqio.preprocessors.tokenize,
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features=dict(output_features),
        **scoring(spec),
    )
    _TASKS[name] = task, settings
    return task


def register_mixture(
    mixture: Mixture,
    output_features: Features,
    *,
    seed: int = 0,
    data_dir: str | Path | None = None,
    warn: Warn = console.warn,
) -> "seqio.Mixture":
    """Registers a resolved mixture and its tasks, at the same rates; arguments as above.

    A task of which the mixture uses only some templates is named `<mixture>.<task>`. Loss weights,
    the mixture's and the records', are the trainer's business and not in SeqIO.

    Raises:
        UserError: when a name is taken by something else, or the mixture has exemplars: SeqIO reads
            record by record and has nowhere to take them from.
    """
    seqio = import_seqio()
    if shown := [task.spec.name for task in mixture.tasks if task.few_shot]:
        raise UserError(
            f"mixture '{mixture.name}' shows exemplars ({shown[0]}), which SeqIO can't; "
            "register one without few_shot"
        )
    rates = []
    for task in mixture.tasks:
        whole = task.templates == tuple(range(len(task.spec.templates)))
        registered = register_task(
            task.spec,
            output_features,
            name=task.spec.name if whole else f"{mixture.name}.{task.spec.name}",
            templates=task.templates,
            seed=seed,
            data_dir=data_dir,
            warn=warn,
        )
        rates.append((registered.name, task.rate))
    settings = (tuple(rates), seed, str(data_dir), dict(output_features))
    there = _registered(seqio.MixtureRegistry, _MIXTURES, mixture.name, settings)
    if there is not None:
        return there
    made = seqio.MixtureRegistry.add(mixture.name, rates)
    _MIXTURES[mixture.name] = made, settings
    return made


def _registered(registry: Any, ours: Mapping[str, tuple[Any, object]], name: str, settings: object):
    """What is registered under the name, if it is ours with the same settings; None if nothing."""
    if name not in registry.names():
        return None
    provider, known = ours.get(name, (None, None))
    if registry.get(name) is not provider or known != settings:
        raise UserError(
            f"'{name}' is registered with SeqIO already, as something else or with other settings; "
            "give it another name"
        )
    return provider


# Sources: every example is {"record": its id, ...}


def _source(spec: TaskSpec, data_dir: str | Path | None, warn: Warn) -> "seqio.DataSource":
    if spec.source.kind == "tfds":
        return tfds_source(spec, data_dir, warn, _numbered_tfds())
    import tensorflow as tf

    def dataset_fn(split: str, shuffle_files: bool, seed: int | None = None) -> "tf.data.Dataset":
        def rows() -> Iterator[bytes]:
            for record in canonical_records(spec, split, data_dir=data_dir, warn=warn):
                yield record.to_bytes()

        signature = tf.TensorSpec((), tf.string)
        dataset = tf.data.Dataset.from_generator(rows, output_signature=signature)
        return dataset.map(lambda row: {"canonical": row})

    splits = tuple(split for split, expression in spec.splits.items() if expression)
    return import_seqio().FunctionDataSource(dataset_fn, splits)


@functools.cache
def _numbered_tfds() -> "type[seqio.TfdsDataSource]":
    """TfdsDataSource with its examples numbered as in a store: `{"record": ..., "raw": ...}`.

    The number counts over all of the split, so files are read in order and from the first one;
    SeqIO still shuffles examples and shards by them.
    """
    import seqio
    import tensorflow as tf

    class NumberedTfdsDataSource(seqio.TfdsDataSource):
        def get_dataset(
            self, split="train", shuffle=True, seed=None, shard_info=None, **unused: object
        ) -> "tf.data.Dataset":
            dataset = super().get_dataset(split, shuffle=False).enumerate()
            if shard_info is not None:
                dataset = dataset.shard(shard_info.num_shards, shard_info.index)

            def name(number: "tf.Tensor", raw: Any) -> dict[str, Any]:
                return {
                    "record": tf.strings.join([split, "-", tf.strings.as_string(number)]),
                    "raw": raw,
                }

            return dataset.map(name)

        def list_shards(self, split: str) -> Sequence[str]:  # pyrefly: ignore
            return [split]

    return NumberedTfdsDataSource


# Preprocessing: canonical, rendered


def _rendered(
    dataset: "tf.data.Dataset",
    *,
    spec: TaskSpec,
    templates: tuple[int, ...],
    draw_seed: int | None,
) -> "tf.data.Dataset":
    """Turns the source's examples into text pairs; a record that fits no template gives none.

    SeqIO would fill an argument named `seed` with its own.
    """
    import tensorflow as tf

    structure = dataset.element_spec
    texts = ("inputs", "targets", "task", "template", "record")

    def render_flat(*flat: "tf.Tensor") -> list:
        example = tf.nest.pack_sequence_as(structure, flat, expand_composites=True)
        pairs = list(_pairs(spec, _records(spec, _as_numpy(example)), templates, draw_seed))
        columns = [tf.constant([_bytes(getattr(p, c)) for p in pairs], tf.string) for c in texts]
        for name in ("options", "references"):
            rows = [[_bytes(text) for text in getattr(pair, name)] for pair in pairs]
            columns.append(tf.constant([text for row in rows for text in row], tf.string))
            columns.append(tf.constant([len(row) for row in rows], tf.int64))
        return columns

    def render_example(example: Any) -> "tf.data.Dataset":
        flat = tf.nest.flatten(example, expand_composites=True)
        types = [tf.string] * len(texts) + [tf.string, tf.int64] * 2
        columns = tf.py_function(render_flat, flat, types)
        for column in columns:
            column.set_shape((None,))
        *head, options, options_sizes, references, references_sizes = columns
        ragged = tf.RaggedTensor.from_row_lengths  # pyrefly: ignore
        features = dict(zip(texts, head, strict=True))
        features["template"] = tf.strings.to_number(features["template"], tf.int32)
        features["options"] = ragged(options, options_sizes)
        features["references"] = ragged(references, references_sizes)
        return tf.data.Dataset.from_tensor_slices(features)

    # Not interleaved: the order is the source's.
    return dataset.flat_map(render_example)


def _as_numpy(example: Any) -> Mapping[str, Any]:
    import tensorflow as tf

    def numpy(tensor: Any) -> Any:
        return tensor if hasattr(tensor, "to_list") else tensor.numpy()

    return plain(tf.nest.map_structure(numpy, example))


def _records(spec: TaskSpec, example: Mapping[str, Any]) -> list[Record]:
    if "canonical" in example:
        return [Record.from_bytes(example["canonical"])]
    return canonicalize(spec, example["raw"], example["record"].decode())


def _pairs(
    spec: TaskSpec, records: Sequence[Record], templates: tuple[int, ...], seed: int | None
) -> Iterator[TextExample]:
    """Renders as a run's first epoch does; without a seed, in the one template, as evaluation."""
    for record in records:
        if seed is None:
            if eligible_templates(spec, record, templates):
                yield render(spec, record, templates[0])
        elif (drawn := draw(spec, record, templates, seed, epoch=0)) is not None:
            template, reference = drawn
            yield render(spec, record, template, reference=reference)


def _bytes(value: str | int) -> bytes:
    """UTF-8; a lone surrogate, which SeqIO's tokenizers can't hold, becomes a question mark."""
    return str(value).encode("utf-8", errors="replace")
