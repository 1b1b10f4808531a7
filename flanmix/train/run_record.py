"""What a run keeps about itself beside its arrays: in its checkpoints, and in its folder.

    run_record(run, mixture, absent, vocabulary, text, trained_before={})
    ->  {"configuration": "# gin...", "model": {"kind": "T5Config", "d_model": 128, ...},
         "compute": {"dtype": "float32", ...},
         "mixture": "pocket_train", "absent": [], "trained": {"sst": "sentiment"},
         "vocabulary": "pocket", "lengths": [144, 24],
         "data": {"BATCH_SIZE": 32, "SEED": 0, ..., "vocabulary": "5ab1..."},
         "tasks": {"sst": {"version": 1, "fingerprint": "81c0...", "examples": 800, ...}, ...}}

A position of the data means something only for the data that it was a position of: everything that
decides the batches is under `data` and `tasks`, made from the dataclasses that hold it, and is
compared when a run goes on.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from flanmix.data.vocabulary import Vocabulary
from flanmix.errors import UserError
from flanmix.learn.checkpoint import describe_model
from flanmix.registry.mixture import Mixture, MixtureTask
from flanmix.train.files import CONFIG
from flanmix.train.settings import Run


def run_record(
    run: Run,
    mixture: Mixture,
    absent: Sequence[str],
    vocabulary: Vocabulary,
    text: str,
    trained_before: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Returns the record, as JSON holds it.

    Args:
        run: the run.
        mixture: what it trains on.
        absent: tasks of its mixture that were not prepared, and left out.
        vocabulary: the vocabulary.
        text: the configuration as a gin file.
        trained_before: tasks that the parameters had been trained on, with their clusters, as
            far as that is known.
    """
    trained = {task.spec.name: task.spec.cluster for task in mixture.tasks}
    record = {
        "configuration": text,
        "model": describe_model(run.model),
        "compute": dataclasses.asdict(run.compute),
        "mixture": mixture.name,
        "absent": absent,
        "trained": {**(trained_before or {}), **trained},
        "vocabulary": run.data.vocabulary,
        "lengths": [run.data.inputs_length, run.data.targets_length],
        "data": {
            **run.data.recorded(run.model.architecture),
            "vocabulary": vocabulary_digest(vocabulary),
        },
        "tasks": {task.spec.name: _recorded_task(task) for task in mixture.tasks},
    }
    return json.loads(json.dumps(record))


def _recorded_task(task: MixtureTask) -> dict[str, Any]:
    """All that a mixture says of a task, and which task it is."""
    said = {
        declared.name: getattr(task, declared.name)
        for declared in dataclasses.fields(task)
        if declared.name != "spec"
    }
    return {"version": task.spec.version, "fingerprint": task.spec.fingerprint(), **said}


def vocabulary_digest(vocabulary: Vocabulary) -> str:
    """Returns a hash of a vocabulary's pieces, in order."""
    pieces = "\n".join(vocabulary.pieces(range(vocabulary.size)))
    return hashlib.sha256(pieces.encode()).hexdigest()[:16]


def check_unchanged(saved: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Checks that a run goes on with the data that it began with.

    Raises:
        UserError: names the first difference, and the hint.
    """
    data = _difference(saved["data"], now["data"])
    if difference := data or _tasks_difference(saved["tasks"], now["tasks"]):
        raise UserError(
            f"the run in {folder} had other data: {difference}; choose another RUN_DIR, with "
            f"INITIALIZE_FROM={folder} to begin with its parameters"
        )


def _difference(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    for key in now:
        if saved.get(key) != now[key]:
            return f"{key} was {saved.get(key)} and is {now[key]}"
    return ""


def _tasks_difference(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if gone := sorted(set(saved) - set(now)):
        return f"its mixture had {', '.join(gone)}"
    if new := sorted(set(now) - set(saved)):
        return f"its mixture lacked {', '.join(new)}"
    for name in now:
        if inside := _difference(saved[name], now[name]):
            return f"of task '{name}', {inside}"
    return ""


def prepare_folder(folder: Path, text: str) -> None:
    """Writes a run's configuration into its folder."""
    if jax.process_index() == 0:
        (folder / CONFIG).write_text(text, encoding="utf-8")
