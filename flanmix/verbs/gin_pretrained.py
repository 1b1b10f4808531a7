"""What a run that names no MODEL takes from where its parameters come from, as gin statements.

    pretrained_text(statements)        # INITIALIZE_FROM = 'smollm2', and no MODEL
    ->  MODEL = @DecoderConfig()
        DecoderConfig.vocab_size = 49152
        ...
        VOCABULARY = '/data/smollm2'

They stand before all files, so that any of them can be overridden (DROPOUT, for one), and they are
part of the run's configuration. VOCABULARY is taken from there where nothing sets it. A run that
goes on has its own model and vocabulary: the folder may be gone by then.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from flanmix.convert.folder import is_pretrained, open_pretrained
from flanmix.errors import UserError
from flanmix.fields import gin_name
from flanmix.learn.checkpoint import newest_record, newest_tokenizer, recorded_model
from flanmix.model.api import ModelConfig
from flanmix.train.settings import DEFAULT_VOCABULARY
from flanmix.train.trained import BUILT_IN
from flanmix.verbs.gin_statements import Statement, last

_FROM = ("INITIALIZE_FROM", "CheckpointConfig.initialize_from")
_RUN_DIR = ("RUN_DIR", "Run.run_dir")
_VOCABULARY = ("VOCABULARY", "DataConfig.vocabulary")


def pretrained_text(statements: Sequence[Statement]) -> str:
    """Returns the statements that INITIALIZE_FROM stands for; empty where nothing is left out.

    Raises:
        UserError: it is neither a checkpoint nor a pretrained model.
    """
    given = {name: statement.value for (_, name), statement in last(statements).items()}
    source, own = (
        next((given[name] for name in names if isinstance(given.get(name), str)), None)
        for names in (_FROM, _RUN_DIR)
    )
    if source is None:
        return ""
    record = newest_record(Path(own).expanduser()) if own is not None else {}
    lines = []
    if "MODEL" not in given and "Run.model" not in given:
        lines += _of_model(recorded_model(record) if record else _model(source))
    if not any(name in given for name in _VOCABULARY):
        name = record.get("vocabulary", DEFAULT_VOCABULARY) if record else _tokenizer(source)
        lines.append(f"VOCABULARY = {name!r}")
    return "\n".join(lines)


def _of_model(config: ModelConfig) -> list[str]:
    kind = type(config).__name__
    lines = [f"MODEL = @{kind}()"]
    for declared in dataclasses.fields(config):  # pyrefly: ignore[bad-argument-type]
        lines.append(f"{gin_name(config, declared.name)} = {getattr(config, declared.name)!r}")
    return lines


def _model(source: str) -> ModelConfig:
    if is_pretrained(source):
        return open_pretrained(source).config
    record = newest_record(Path(source).expanduser())
    if not record:
        raise UserError(
            f"INITIALIZE_FROM is '{source}': neither a Hugging Face folder nor a checkpoint"
        )
    return recorded_model(record)


def _tokenizer(source: str) -> str:
    """Where the tokenizer is that belongs to the parameters."""
    if is_pretrained(source):
        return str(open_pretrained(source).folder)
    place = Path(source).expanduser()
    recorded = newest_record(place).get("vocabulary", DEFAULT_VOCABULARY)
    carried = None if recorded in BUILT_IN else newest_tokenizer(place)
    return recorded if carried is None else str(carried)
