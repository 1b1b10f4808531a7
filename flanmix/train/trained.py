"""What a checkpoint was trained with, from the one object that opened it.

opened = open_checkpoint("runs/a")
vocabulary = trained_vocabulary(opened)      # an error if the file has changed since
chat = trained_chat(opened, vocabulary)      # None for a model of plain text
lengths = trained_lengths(opened)            # Lengths(144, 24, "encoder_decoder")
at_hand("/data/smollm2", Path("runs/a"))     # that folder, or runs/a's own copy once it is gone
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flanmix.console import say
from flanmix.data.chat.format import CHAT, PLAIN, ChatFormat, recorded_chat, vocabulary_chat
from flanmix.data.separator import separator_of
from flanmix.data.tokens import Lengths
from flanmix.data.vocabulary import Vocabulary, load_vocabulary
from flanmix.errors import UserError
from flanmix.learn.checkpoint import OpenCheckpoint, newest_tokenizer, recorded_model
from flanmix.train.data import chat_format
from flanmix.train.run_record import vocabulary_digest
from flanmix.train.settings import Run

# Inputs and targets of a model that was not trained here: prompts as long as most are.
UNTRAINED = (1024, 256)
BUILT_IN = ("byte", "pocket")  # names of vocabularies that are no paths


def trained_vocabulary(opened: OpenCheckpoint, name: str | None = None) -> Vocabulary:
    """Returns the vocabulary that a model was trained with.

    Args:
        opened: its checkpoint.
        name: where the vocabulary is now; if not given, or not there, the one that the checkpoint
            carries, else where it was then.

    Raises:
        UserError: it can't be read, or is not the one that the model was trained with.
    """
    if name is None:
        carried = opened.tokenizer
        if carried is None and "vocabulary" not in opened.run:
            raise UserError(f"{opened.folder} carries no tokenizer: name a VOCABULARY")
        name = opened.run["vocabulary"] if carried is None else str(carried)
    vocabulary = load_vocabulary(at_hand(name, opened.folder))
    trained = opened.run.get("data", {}).get("vocabulary")
    if trained is not None and vocabulary_digest(vocabulary) != trained:
        raise UserError(
            f"vocabulary '{name}' is not the one that {opened.folder} was trained with: its pieces "
            "differ; put the file back that the run had"
        )
    return vocabulary


def at_hand(vocabulary: str, source: Path) -> str:
    """Returns a vocabulary's name, or where a source's checkpoint has it if its files are gone."""
    if vocabulary in BUILT_IN or Path(vocabulary).expanduser().exists():
        return vocabulary
    carried = newest_tokenizer(source)
    if carried is None:
        return vocabulary
    say(f"vocabulary '{vocabulary}' is gone: takes the one in {carried}")
    return str(carried)


def trained_chat(opened: OpenCheckpoint, vocabulary: Vocabulary) -> ChatFormat | None:
    """Returns the chat format that a model was trained in; None for plain text.

    Args:
        opened: its checkpoint.
        vocabulary: its vocabulary.
    """
    return recorded_chat(opened.run.get("chat"), vocabulary, str(opened.folder))


def evaluated_chat(run: Run, opened: OpenCheckpoint, vocabulary: Vocabulary) -> ChatFormat | None:
    """Returns the chat format to evaluate a model in: its training's; the run's for another's.

    Args:
        run: the evaluation.
        opened: the checkpoint.
        vocabulary: its vocabulary.

    Raises:
        UserError: the run's format is a chat and the vocabulary has no chat template.
    """
    if "BATCH_SIZE" not in opened.run.get("data", {}):  # it was not trained here
        return chat_format(run.data, vocabulary, run.model.architecture)
    trained = trained_chat(opened, vocabulary)
    if (trained is not None) != (run.data.format == CHAT):
        say(f"asks in the format of the training: {PLAIN if trained is None else CHAT}")
    return trained


def asked_chat(opened: OpenCheckpoint, vocabulary: Vocabulary) -> ChatFormat:
    """Returns the chat format to talk with a model in: its training's, else its tokenizer's.

    Args:
        opened: its checkpoint.
        vocabulary: its vocabulary.

    Raises:
        UserError: it is a decoder, and neither has a chat template.
    """
    if (trained := trained_chat(opened, vocabulary)) is not None:
        return trained
    architecture = recorded_model(opened.run).architecture
    place = opened.tokenizer or opened.run.get("vocabulary", "byte")
    if (found := vocabulary_chat(place, vocabulary, architecture)) is None:
        raise UserError(
            f"{opened.folder} has no chat template: its tokenizer has none, and it was trained in "
            "plain text; leave --chat out"
        )
    return found


def trained_lengths(opened: OpenCheckpoint) -> Lengths:
    """Returns the lengths of rows that a model was trained on, and its architecture.

    Of a pretrained model that was only converted nobody has said them: it gets `UNTRAINED`.
    """
    inputs, targets = opened.run.get("lengths", UNTRAINED)
    architecture = recorded_model(opened.run).architecture
    return Lengths(inputs, targets, architecture, _separator(opened.run, architecture))


def as_trained(run: Run, record: Mapping[str, Any]) -> Run:
    """Returns a run with the separator of a checkpoint's training, where the run says none.

    Args:
        run: the run.
        record: the checkpoint's run record; empty if there is no checkpoint.
    """
    if run.data.separator is not None or run.loader.lengths.two_sided:
        return run
    separator = _separator(record, run.model.architecture)
    return replace(run, data=replace(run.data, separator=separator))


def _separator(record: Mapping[str, Any], architecture: str) -> str:
    """The separator of a model's training; that of its architecture if it was not trained here."""
    data = record.get("data", {})
    # Records of before there was a separator do not name it.
    said = data.get("SEPARATOR", "") if "BATCH_SIZE" in data else None
    return separator_of(architecture, said)
