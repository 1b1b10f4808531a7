"""Tasks that a SeqIO program has registered.

    source: {seqio: "my.tasks:my_task"}          what a task makes: {"inputs": .., "targets": ..}
    source: {seqio: "my.tasks:my_task@source"}   the raw examples of the task's source

`my.tasks` is imported first, from the working directory, the card's folder or what is installed;
without it the task must have been registered already. A task's features are texts here: the
pretokenized text where there is one, else its ids, decoded. So a card that takes `inputs` and
`targets` as they are, with the template "{inputs}", trains a foreign task.

The other direction, our tasks in SeqIO's registries, is `seqio_export`.
"""

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flanmix.data.sources.api import Located, register_source
from flanmix.data.sources.quiet_tensorflow import import_seqio, located, plain, plain_rows
from flanmix.data.sources.slices import Warn, sliced
from flanmix.errors import UserError, nearest
from flanmix.registry.task import TaskSpec

if TYPE_CHECKING:
    import seqio

_SOURCE = "@source"


class SeqioSource:
    """A task in SeqIO's registry."""

    cheap = False
    own_splits = False
    settings = ()

    def files(self, task: TaskSpec, data_dir: str | Path | None) -> dict[str, Path]:
        """None is known: a SeqIO task may read anything."""
        return {}

    def rows(
        self,
        task: TaskSpec,
        split: str,
        expression: str,
        *,
        data_dir: str | Path | None,
        warn: Warn,
    ) -> Iterator[Located]:
        """Yields what the task or its source makes of one of its splits, sliced."""

        def rows() -> Iterator[Mapping[str, Any]]:
            foreign, raw = foreign_task(task)
            yield from sliced(lambda name: _foreign_rows(foreign, raw, name), expression, warn)

        return located(task, expression, rows())


def foreign_task(task: TaskSpec) -> "tuple[seqio.Task, bool]":
    """Finds the SeqIO task that a card names; True means that its source's examples are wanted.

    Raises:
        UserError: when its module can't be imported or there is no such task.
    """
    seqio = import_seqio()
    location = task.source.location
    raw = location.endswith(_SOURCE)
    module, _, name = location.removesuffix(_SOURCE).rpartition(":")
    if module:
        _import_module(task, module)
    if name in seqio.MixtureRegistry.names():
        members = ", ".join(task.name for task in seqio.MixtureRegistry.get(name).tasks)
        raise UserError(
            f"task '{task.name}': '{name}' is a SeqIO mixture; make a card for each of its tasks "
            f"({members}) and mix those"
        )
    if name not in seqio.TaskRegistry.names():
        near = nearest(name, seqio.TaskRegistry.names())
        hint = "" if module else "; name the module that registers it: my.module:task"
        raise UserError(f"task '{task.name}': SeqIO has no task '{name}'{near}{hint}")
    return seqio.TaskRegistry.get(name), raw


def _import_module(task: TaskSpec, module: str) -> None:
    before = list(sys.path)
    sys.path[:0] = [str(Path.cwd()), *([str(task.folder)] if task.folder else [])]
    try:
        importlib.import_module(module)
    except Exception as error:
        raise UserError(
            f"task '{task.name}': module {module} fails to import: {error!r}"
        ) from error
    finally:
        sys.path[:] = before


def _foreign_rows(task: "seqio.Task", raw: bool, split: str) -> Iterator[Mapping[str, Any]]:
    if split not in task.splits:
        known = ", ".join(task.splits)
        raise UserError(f"SeqIO task '{task.name}' has no split '{split}': {known}")
    if raw:
        yield from plain_rows(task.source, split)
        return
    dataset = task.get_dataset(
        sequence_length=None, split=split, shuffle=False, seed=0, try_in_mem_cache=False
    )
    for example in dataset.as_numpy_iterator():
        row = dict(plain(example))
        for name, feature in task.output_features.items():
            row[name] = _text(row, name, feature)
        yield row


def _text(row: Mapping[str, Any], name: str, feature: "seqio.Feature") -> Any:
    """A feature of a foreign example as text: as it was before tokenizing, or its ids decoded."""
    if f"{name}_pretokenized" in row:
        return row[f"{name}_pretokenized"]
    value = row[name]
    if getattr(getattr(value, "dtype", None), "kind", "") in "iu" and feature.rank == 1:
        return feature.vocabulary.decode([int(number) for number in value])
    return value


register_source("seqio", SeqioSource())
