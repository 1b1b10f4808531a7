"""The data of a run: its mixture's prepared tasks, its vocabulary, and a loader over them.

data = open_data(config, model_config)
data.mixture.names, data.absent        -> ("rte", "snli"), ("anli",)
next(data.loader)                      -> this host's rows of the next batch
"""

from dataclasses import dataclass
from pathlib import Path

import jax

from flanmix.console import say, warn
from flanmix.data.chat.format import CHAT, ChatFormat, open_chat
from flanmix.data.loader import Loader
from flanmix.data.separator import separator_ids
from flanmix.data.store.store import Store
from flanmix.data.tokens import Lengths
from flanmix.data.vocabulary import Vocabulary, load_vocabulary
from flanmix.errors import UserError
from flanmix.model.api import ModelConfig
from flanmix.registry.catalogue import default_catalogue
from flanmix.registry.hints import prepare_hint
from flanmix.registry.mixture import Mixture, resolve
from flanmix.train.settings import DataConfig


@dataclass(frozen=True)
class Data:
    """Where batches come from.

    Attributes:
        mixture: what is trained on.
        absent: names of the tasks of the mixture that are not prepared.
        store: where its tasks are prepared.
        vocabulary: the vocabulary.
        loader: this host's loader.
        chat: the chat format that records are put in; None for plain text.
    """

    mixture: Mixture
    absent: tuple[str, ...]
    store: Store
    vocabulary: Vocabulary
    loader: Loader
    chat: ChatFormat | None = None


def open_data(config: DataConfig, model: ModelConfig) -> Data:
    """Opens the mixture's prepared tasks.

    Args:
        config: the data.
        model: what reads it.

    Raises:
        UserError: an unknown name, a task that is not prepared, or too small a model's vocabulary.
    """
    catalogue = default_catalogue()
    store = open_store(config)
    spec = catalogue.mixture(config.mixture)
    declared = resolve(spec, catalogue, lambda task: store.count(task, "train"))
    mixture, absent = trained_part(config, declared)
    vocabulary = load_vocabulary(config.vocabulary)
    if model.vocab_size < vocabulary.size:
        raise UserError(
            f"{type(model).__name__}.vocab_size is {model.vocab_size}, and vocabulary "
            f"'{config.vocabulary}' has {vocabulary.size} ids: make it {vocabulary.padded_size}"
        )
    settings = config.loader(model.architecture)
    _check_separator(config, settings.lengths, vocabulary)
    chat = chat_format(config, vocabulary, model.architecture)
    loader = Loader(
        settings,
        mixture,
        store,
        vocabulary,
        chat=chat,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    return Data(mixture, absent, store, vocabulary, loader, chat)


def chat_format(config: DataConfig, vocabulary: Vocabulary, architecture: str) -> ChatFormat | None:
    """Returns the chat format of the configuration; None for plain text.

    Raises:
        UserError: a decoder's vocabulary has no chat template, or it is none.
    """
    if config.format != CHAT:
        return None
    return open_chat(
        config.vocabulary,
        vocabulary,
        architecture,
        system=config.system,
        template=config.chat_template,
    )


def _check_separator(config: DataConfig, lengths: Lengths, vocabulary: Vocabulary) -> None:
    """Says so if the vocabulary has no tokens for the separator.

    Raises:
        UserError: it leaves the inputs no room.
    """
    ids = separator_ids(vocabulary, lengths.separator)
    if len(ids) >= lengths.inputs:
        raise UserError(
            f"SEPARATOR is {lengths.separator!r}, {len(ids)} tokens of '{config.vocabulary}': "
            f"INPUTS_LENGTH={lengths.inputs} has no room for more"
        )
    if lengths.separator and not len(ids):
        warn(
            f"vocabulary '{config.vocabulary}' has no token for the separator "
            f"{lengths.separator!r}: nothing stands between inputs and targets; another SEPARATOR "
            "would"
        )


def open_store(config: DataConfig) -> Store:
    """Returns the store that the configuration names."""
    return Store(Path(config.store).expanduser())


def trained_part(config: DataConfig, declared: Mixture) -> tuple[Mixture, tuple[str, ...]]:
    """Returns the part of a mixture that can be trained on, and the names of what is not prepared.

    Tasks that have no training split at all are for evaluation; they are left out, and named.

    Raises:
        UserError: tasks are not prepared and ALLOW_MISSING is not set, or none is.
    """
    parts = declared.parts()
    prepared, absent = parts.prepared, parts.absent.names
    if names := parts.for_evaluation.names:
        say(f"without a training split, and not trained on: {', '.join(names)}")
    if not absent:
        return prepared, ()
    if config.allow_missing and prepared.tasks:
        say(f"not prepared, and left out: {', '.join(absent)}")
        return prepared, absent
    leave = "; ALLOW_MISSING=True trains without them" if prepared.tasks else ""
    raise UserError(
        f"no training records of {', '.join(absent)} in store {config.store}: "
        f"{prepare_hint(config.mixture, config.store, config.data_dir)}{leave}"
    )
