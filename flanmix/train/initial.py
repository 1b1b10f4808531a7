"""What a new run begins with: a checkpoint's parameters, or those of a pretrained model.

    initial = initial_parameters(run, learner)         # None: all is new
    initial.params                                     # on the mesh that is set
    initial.inherited                                  -> {"trained": {...}, "foreign": {...}, ...}

What a checkpoint or a folder says of the parameters goes on into the run's own record: what they
were trained on, as far as that is known, and the documents that a folder for others is made of.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flanmix.console import say
from flanmix.convert.folder import Pretrained, is_pretrained, open_pretrained
from flanmix.convert.loading import read_params
from flanmix.data.vocabulary import Vocabulary
from flanmix.errors import UserError, nearest
from flanmix.fields import gin_name
from flanmix.learn.checkpoint import open_checkpoint
from flanmix.model.api import ModelConfig
from flanmix.model.params import part_of
from flanmix.registry.catalogue import default_catalogue
from flanmix.train.learner import Learner, params_of
from flanmix.train.settings import CheckpointConfig, Run

PyTree = Any
# What of a run record goes on into that of a run that begins with its parameters.
INHERITED = ("trained", "pretrained", "foreign")
_FREE = {"dropout_rate", "prefix"}  # what may differ from the folder's configuration


@dataclass(frozen=True)
class Initial:
    """Parameters to begin with.

    Attributes:
        params: nested dicts of arrays.
        inherited: what is known of them; see `INHERITED`.
    """

    params: PyTree
    inherited: Mapping[str, Any]


def initial_parameters(run: Run, learner: Learner) -> Initial | None:
    """Returns the parameters that INITIALIZE_FROM names; None where a run has none.

    Raises:
        UserError: there are none, they are damaged, or of another model.
    """
    source = run.checkpoints.initialize_from
    if source is None:
        return None
    if is_pretrained(source):
        return _pretrained(run, open_pretrained(source))
    fill = _new(learner) if run.checkpoints.allow_missing else None
    opened = open_checkpoint(
        source, params=learner.abstract_base, fill=fill, model_of=lambda _: run.model
    )
    new = f"; new: {', '.join(opened.missing)}" if opened.missing else ""
    say(f"parameters from {source}{new}")
    return Initial(opened.params, {k: opened.run[k] for k in INHERITED if k in opened.run})


def _new(learner: Learner) -> Callable[[], PyTree]:
    """Returns what makes the parameters of a new base model."""
    return lambda: part_of(params_of(learner.init()), learner.abstract_base)


def _pretrained(run: Run, found: Pretrained) -> Initial:
    _check_same(run.model, found)
    params = read_params(found.family, run.model, found.source, run.compute)
    say(f"parameters from {found.source.place}")
    return Initial(params, inherited_from(found))


def inherited_from(found: Pretrained) -> dict[str, Any]:
    """Returns what a run record says of the parameters of a pretrained model."""
    pretrained = {"source": found.source.place, "on": None}  # nobody has said it
    return {"trained": {}, "pretrained": pretrained, "foreign": dict(found.foreign)}


def declared(inherited: Mapping[str, Any], config: CheckpointConfig) -> dict[str, Any]:
    """Returns the same with what PRETRAINED_ON says, where it is given.

    Raises:
        UserError: it names what is neither a task nor a cluster.
    """
    on = config.pretrained_on
    if on is None:
        return dict(inherited)
    check_seen(on)
    pretrained = inherited.get("pretrained", {"source": config.initialize_from})
    return {**inherited, "pretrained": {**pretrained, "on": list(on)}}


def check_seen(names: Sequence[str]) -> None:
    """Checks that each name is one of a task or of a cluster.

    Raises:
        UserError: one is not; says which is nearest.
    """
    catalogue = default_catalogue()
    known = {*catalogue.entries, *(entry.cluster for entry in catalogue.entries.values())}
    for name in names:
        if name not in known:
            raise UserError(
                f"PRETRAINED_ON has '{name}', which is neither a task nor a cluster"
                f"{nearest(name, known)}"
            )


def check_rows(vocabulary: Vocabulary, config: ModelConfig, place: str) -> None:
    """Checks that a pretrained model's embedding has a row for each token; says those without one.

    Raises:
        UserError: it has fewer.
    """
    rows = config.vocab_size
    if vocabulary.size > rows:
        raise UserError(
            f"{place}: its tokenizer has {vocabulary.size} ids, and its table of embeddings "
            f"{rows} rows: they are not of one model"
        )
    if vocabulary.size < rows:
        say(f"{rows - vocabulary.size} of {rows} rows of the embedding have no token")


def _check_same(config: ModelConfig, found: Pretrained) -> None:
    """Checks that a run's model computes what the folder's does.

    Raises:
        UserError: names the first field that differs.
    """
    if type(config) is not type(found.config):
        raise UserError(
            f"MODEL is a {type(config).__name__}, and {found.source.place} holds a "
            f"{type(found.config).__name__}: leave MODEL out, and the folder decides"
        )
    for declared in dataclasses.fields(config):  # pyrefly: ignore[bad-argument-type]
        here, there = getattr(config, declared.name), getattr(found.config, declared.name)
        if here != there and declared.name not in _FREE:
            raise UserError(
                f"{gin_name(config, declared.name)} is {here}, and by the config.json of "
                f"{found.source.place} it is {there}: leave MODEL out, and the folder decides"
            )
