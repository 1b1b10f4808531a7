"""What a run keeps about itself beside its arrays: in its checkpoints, and in its folder.

    run_record(run, mixture, absent, vocabulary, text)
    ->  {"configuration": "# gin...", "mixture": "pocket_train",
         "data": {"BATCH_SIZE": 32, "SEED": 0, ..., "vocabulary": "5ab1..."},
         "tasks": {"sst": {"version": 1, "fingerprint": "81c0...", "examples": 800, ...}, ...}}

A position of the data means something only for the data that it was a position of: everything that
decides the batches is compared when a run goes on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from flanmix.data.vocabulary import Vocabulary
from flanmix.errors import UserError
from flanmix.learn.checkpoint import saved_steps
from flanmix.learn.initialize import load_run
from flanmix.registry.mixture import Mixture
from flanmix.train.settings import Run

CONFIG = "config.gin"


def run_record(
    run: Run, mixture: Mixture, absent: Sequence[str], vocabulary: Vocabulary, text: str
) -> dict[str, Any]:
    """Returns the record.

    Args:
        run: the run.
        mixture: what it trains on.
        absent: tasks of its mixture that were not prepared, and left out.
        vocabulary: the vocabulary.
        text: the configuration as a gin file.
    """
    return {
        "configuration": text,
        "mixture": mixture.name,
        "absent": list(absent),
        "trained": {
            **_trained_before(run),
            **{task.spec.name: task.spec.cluster for task in mixture.tasks},
        },
        "data": {
            "BATCH_SIZE": run.batch_size,
            "INPUTS_LENGTH": run.inputs_length,
            "TARGETS_LENGTH": run.targets_length,
            "SEED": run.seed,
            "STREAMS": run.loader.num_streams,
            "architecture": run.model.architecture,
            "packing": run.pack,
            "vocabulary": vocabulary_digest(vocabulary),
        },
        "tasks": {
            task.spec.name: {
                "version": task.spec.version,
                "fingerprint": task.spec.fingerprint(),
                "examples": task.examples,
                "rate": task.rate,
                "templates": list(task.templates),
                "loss_weight": task.loss_weight,
                "few_shot": [task.few_shot, task.few_shot_share],
            }
            for task in mixture.tasks
        },
    }


def _trained_before(run: Run) -> dict[str, str]:
    """Tasks that the parameters had been trained on before this run, with their clusters."""
    if saved_steps(run.folder / "checkpoints"):
        return trained_tasks(run.folder) or {}
    return (trained_tasks(Path(run.initialize_from)) or {}) if run.initialize_from else {}


def trained_tasks(source: Path) -> dict[str, str] | None:
    """Tasks that a checkpoint's model has been trained on, with their clusters; None if unknown.

    Raises:
        UserError: there is no checkpoint.
    """
    return load_run(source).get("trained")


def vocabulary_digest(vocabulary: Vocabulary) -> str:
    """Returns a hash of a vocabulary's pieces, in order."""
    pieces = "\n".join(vocabulary.pieces(range(vocabulary.size)))
    return hashlib.sha256(pieces.encode()).hexdigest()[:16]


def check_unchanged(saved: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Checks that a run goes on with the data that it began with.

    Raises:
        UserError: names the first difference, and the way out.
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
    """Makes a run's folder, and writes its configuration there.

    Raises:
        UserError: there is a file in the way.
    """
    if jax.process_index() != 0:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"RUN_DIR {folder} can't be made: a file is in the way") from None
    (folder / CONFIG).write_text(text, encoding="utf-8")
