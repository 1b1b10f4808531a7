"""SeqIO, TFDS and TensorFlow, imported quietly, off the accelerators, and only when they are used.

    seqio = import_seqio()          # ten seconds and a gigabyte, the first time
    plain({"a": ragged})            -> {"a": [[1], [2, 3]]}

Only the sources `tfds` and `seqio` and the export to SeqIO call this.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flanmix.data.sources.api import Located
from flanmix.errors import UserError
from flanmix.registry.task import TaskSpec

if TYPE_CHECKING:
    import seqio


def import_seqio() -> ModuleType:
    """Imports SeqIO, with TensorFlow quiet and off the accelerators; returns the module."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with contextlib.nullcontext() if "tensorflow" in sys.modules else _quiet():
            import seqio
            import tensorflow as tf
    except ImportError as error:
        raise UserError(
            f"TFDS and SeqIO sources need packages that can't be imported ({error}): "
            "pip install seqio tensorflow tensorflow-datasets"
        ) from error
    import absl.logging

    absl.logging.set_verbosity(absl.logging.ERROR)
    import_tfds()
    # The accelerators are JAX's; TensorFlow would take all of their memory.
    for kind in ("GPU", "TPU"):
        try:
            tf.config.set_visible_devices([], kind)
        except (RuntimeError, ValueError):  # The program has used TensorFlow before us.
            break
    return seqio


def import_tfds() -> ModuleType:
    """Imports TFDS, which asks no server unasked; without TensorFlow, which it imports to read."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core.utils import gcs_utils
    except ImportError as error:
        raise UserError(
            f"TFDS sources need a package that can't be imported ({error}): "
            "pip install tensorflow tensorflow-datasets"
        ) from error
    # Its bucket of prepared datasets: TFDS itself no longer asks it, and other versions shall not.
    gcs_utils._is_gcs_disabled = True
    # What it retries a few times and then gives up is reported once, as a failed task's reason.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    return tfds


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps native code off stderr: TensorFlow greets there before it reads its log level."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def located(
    task: TaskSpec, expression: str, rows: Iterable[Mapping[str, Any]]
) -> Iterator[Located]:
    """Yields rows with where they are; whatever fails on the way is one line.

    Raises:
        UserError: the dataset can't be read.
    """
    name = f"{task.source.location} {expression}"
    try:
        for number, row in enumerate(rows):
            yield f"row {number} of {name}", row
    except (UserError, MemoryError):
        raise
    except Exception as error:  # every builder and preprocessor fails in its own way
        raise UserError(f"task '{task.name}': {name} can't be read: {brief(error)}") from error


def brief(error: Exception) -> str:
    """An error as one short line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:300]}"


def plain(value: Any) -> Any:
    """A NumPy example as plain values: ragged arrays as lists, the rest as it is."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value.to_list() if hasattr(value, "to_list") else value


def plain_rows(source: "seqio.DataSource", split: str) -> Iterator[Mapping[str, Any]]:
    """Yields the examples of a SeqIO source, in its order, as plain values."""
    for example in source.get_dataset(split, shuffle=False).as_numpy_iterator():
        yield plain(example)
