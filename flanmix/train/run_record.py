"""What a run keeps about itself beside its arrays: in its checkpoints, and in its folder.

    run_record(run, mixture, absent, vocabulary, text, inherited={})
    ->  {"configuration": "# gin...", "model": {"kind": "T5Config", "d_model": 128, ...},
         "compute": {"dtype": "float32", ...},
         "mixture": "pocket_train", "absent": [], "trained": {"sst": "sentiment"},
         "vocabulary": "pocket", "lengths": [144, 24],
         "data": {"BATCH_SIZE": 32, "SEED": 0, ..., "vocabulary": "5ab1..."},
         "settings": {"Schedule.rate": 0.01, ...},
         "tasks": {"sst": {"version": 1, "data_fingerprint": "81c0...", "examples": 800,
                           "template_texts": ["5ab1c2d3", ...], "metrics": ["accuracy"],
                           "sha256": {"train": "90ef...", "test": "77d0..."}, ...}, ...}}

A position of the data means something only for the data that it was a position of: everything that
decides the batches is under `data` and `tasks`, made from the dataclasses that hold it, and is
compared when a run goes on, the prepared records by their files' SHA-256. `settings` are compared
too, and may change if the user says so (`flanmix.train.changes`).
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from flanmix.console import say
from flanmix.data.chat.format import PLAIN
from flanmix.data.fewshot import CHOICE
from flanmix.data.packing import DECODER_START
from flanmix.data.store.store import Store
from flanmix.data.vocabulary import Vocabulary
from flanmix.errors import UserError
from flanmix.learn.checkpoint import describe_model
from flanmix.registry.mixture import MixtureTask
from flanmix.registry.task import SPLITS
from flanmix.registry.template import Template
from flanmix.train.changes import settings_of
from flanmix.train.data import Data
from flanmix.train.files import CONFIG, earlier_config, write_whole
from flanmix.train.settings import Run


def run_record(run: Run, data: Data, text: str, inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the record, as JSON holds it.

    Args:
        run: the run.
        data: its data.
        text: the configuration as a gin file.
        inherited: what is known of the parameters that the run began with: the tasks that they
            had been `trained` on, with their clusters; where they are of others, `pretrained`, what
            is said of that, and the `foreign` documents that they came with.
    """
    mixture = data.mixture
    lora = run.train.lora if run.train else None
    two_sided = run.loader.lengths.two_sided
    trained = {task.spec.name: task.spec.cluster for task in mixture.tasks}
    chat = data.chat
    record = {
        "configuration": text,
        "model": describe_model(run.model),
        "compute": dataclasses.asdict(run.compute),
        **({"lora": dataclasses.asdict(lora)} if lora is not None else {}),
        "mixture": mixture.name,
        "absent": data.absent,
        **inherited,
        "trained": {**inherited.get("trained", {}), **trained},
        "vocabulary": run.data.vocabulary,
        "lengths": [run.data.inputs_length, run.data.targets_length],
        "data": {
            **run.data.recorded(run.model.architecture),
            "vocabulary": vocabulary_digest(data.vocabulary),
            **({"chat_template": chat.digest()} if chat else {}),
            **({"exemplars": CHOICE} if any(task.few_shot for task in mixture.tasks) else {}),
            # Earlier versions began such a vocabulary's decoder with its <s>.
            **({"decoder_start": DECODER_START} if two_sided and data.vocabulary.bos_id else {}),
        },
        **({"chat": chat.recorded()} if chat else {}),
        "settings": settings_of(run),
        "tasks": {task.spec.name: _recorded_task(task, data.store) for task in mixture.tasks},
    }
    return json.loads(json.dumps(record))


def seen_elsewhere(record: Mapping[str, Any]) -> Sequence[str] | None:
    """Returns tasks and clusters that others trained the parameters on; None where unknown."""
    return record["pretrained"]["on"] if "pretrained" in record else ()


def _recorded_task(task: MixtureTask, store: Store) -> dict[str, Any]:
    """All that a mixture says of a task, which task it is, and which records it has."""
    said = {
        declared.name: getattr(task, declared.name)
        for declared in dataclasses.fields(task)
        if declared.name != "spec"
    }
    digests = {split: store.sha256(task.spec, split) for split in SPLITS}
    return {
        "version": task.spec.version,
        "fingerprint": task.spec.fingerprint(),
        "data_fingerprint": task.spec.data_fingerprint(),
        "template_texts": [_text_digest(template) for template in task.spec.templates],
        "metrics": task.spec.metrics,
        "sha256": {split: digest for split, digest in digests.items() if digest},
        **said,
    }


def _text_digest(template: Template) -> str:
    parts = json.dumps([template.inputs, template.targets, template.inverted])
    return hashlib.sha256(parts.encode()).hexdigest()[:8]


def vocabulary_digest(vocabulary: Vocabulary) -> str:
    """Returns a hash of a vocabulary's pieces, in order."""
    pieces = "\n".join(vocabulary.pieces(range(vocabulary.size)))
    return hashlib.sha256(pieces.encode()).hexdigest()[:16]


# ---- going on ----------------------------------------------------------------------------------

_EARLIER = {"FORMAT": PLAIN, "SEPARATOR": ""}  # of runs whose records do not say


def check_unchanged(saved: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Checks that a run goes on with the data that it began with.

    What differs of a task and decides no batch (its metrics, records that are only scored) is said.

    Raises:
        UserError: names the first difference, and the hint.
    """
    data = _data_difference(saved, now)
    if difference := data or _tasks_difference(saved["tasks"], now["tasks"]):
        raise UserError(
            f"the run in {folder} had other data: {difference}; put back what it had, or choose "
            f"another RUN_DIR, with INITIALIZE_FROM={folder} to begin with its parameters"
        )
    for name, task in now["tasks"].items():
        for difference in _harmless(saved["tasks"][name], task):
            say(f"task '{name}': {difference}")


def _data_difference(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    for key in now["data"]:
        old, new = saved["data"].get(key, _EARLIER.get(key)), now["data"][key]
        if old == new:
            continue
        if key == "SEPARATOR":
            return f"{key} was {old!r} and is {new!r}"
        if key == "chat_template":
            return "the chat template was another one"
        if key != "vocabulary":
            return f"{key} was {old} and is {new}"
        was, is_now = saved.get("vocabulary"), now["vocabulary"]
        if was != is_now:
            return f"VOCABULARY was '{was}' and is '{is_now}'"
        return f"the pieces of vocabulary '{is_now}' have changed"
    return ""


def _tasks_difference(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if gone := sorted(set(saved) - set(now)):
        return f"its mixture had {', '.join(gone)}"
    if new := sorted(set(now) - set(saved)):
        return f"its mixture lacked {', '.join(new)}"
    for name in now:
        if inside := _task_difference(saved[name], now[name]):
            return f"of task '{name}', {inside}"
    return ""


def _task_difference(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Says what of a task differs that decides the batches; nothing if nothing does."""
    if saved["version"] != now["version"]:
        return f"the version was {saved['version']} and is {now['version']}"
    if "data_fingerprint" not in saved:  # an earlier form, which held one hash over all of it
        if saved["fingerprint"] != now["fingerprint"]:
            return "the card was another one (its source, fields, templates or metrics)"
    elif saved["data_fingerprint"] != now["data_fingerprint"]:
        return "the card was another one (its source, splits, fields, answer, options or code)"
    for key in ("examples", "rate", "loss_weight", "few_shot", "few_shot_share", "templates"):
        if saved.get(key) != now[key]:
            return f"{key} was {saved.get(key)} and is {now[key]}"
    texts = saved.get("template_texts", now["template_texts"])
    if other := [str(i) for i in now["templates"] if texts[i] != now["template_texts"][i]]:
        return f"template {', '.join(other)} had another text"
    if _sha256(saved, "train") not in (None, _sha256(now, "train")):
        return "the prepared records of split 'train' were others, though as many"
    return ""


def _harmless(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of a task differs and decides no batch."""
    found = []
    if saved.get("metrics", now["metrics"]) != now["metrics"]:
        found.append(f"metrics were {saved['metrics']} and are {now['metrics']}")
    for split in now["sha256"]:
        if split != "train" and _sha256(saved, split) not in (None, _sha256(now, split)):
            found.append(f"the prepared records of split '{split}', which is scored, were others")
    return found


def _sha256(task: Mapping[str, Any], split: str) -> str | None:
    return task.get("sha256", {}).get(split)


def write_config(folder: Path, text: str, earlier: tuple[int, str] | None = None) -> None:
    """Writes a run's configuration into its folder.

    Args:
        folder: the run's folder.
        text: the configuration as a gin file.
        earlier: the step that the run came to with other settings, and the configuration that had
            them, which is kept beside the new one.
    """
    if jax.process_index() != 0:
        return
    if earlier is not None and not (kept := folder / earlier_config(earlier[0])).exists():
        write_whole(kept, earlier[1])
    write_whole(folder / CONFIG, text)
