"""What a checkpoint was trained with, from the one object that opened it.

opened = open_checkpoint("runs/a")
vocabulary = trained_vocabulary(opened)      # an error if the file has changed since
lengths = trained_lengths(opened)            # Lengths(144, 24, "encoder_decoder")
"""

from flanmix.data.tokens import Lengths
from flanmix.data.vocabulary import Vocabulary, load_vocabulary
from flanmix.errors import UserError
from flanmix.learn.checkpoint import OpenCheckpoint, recorded_model
from flanmix.train.run_record import vocabulary_digest


def trained_vocabulary(opened: OpenCheckpoint, name: str | None = None) -> Vocabulary:
    """Returns the vocabulary that a model was trained with.

    Args:
        opened: its checkpoint.
        name: where the vocabulary is now; where it was then if not given.

    Raises:
        UserError: it can't be read, or is not the one that the model was trained with.
    """
    name = opened.run["vocabulary"] if name is None else name
    vocabulary = load_vocabulary(name)
    if vocabulary_digest(vocabulary) != opened.run["data"]["vocabulary"]:
        raise UserError(
            f"vocabulary '{name}' is not the one that {opened.folder} was trained with: its pieces "
            "differ; put the file back that the run had"
        )
    return vocabulary


def trained_lengths(opened: OpenCheckpoint) -> Lengths:
    """Returns the lengths of rows that a model was trained on, and its architecture."""
    inputs, targets = opened.run["lengths"]
    return Lengths(inputs, targets, recorded_model(opened.run).architecture)
