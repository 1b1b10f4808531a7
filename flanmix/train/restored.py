"""The model of a checkpoint, for the verbs that only ask it.

    with jax.set_mesh(mesh):
        model, step = restored_model(run, Path("runs/a"))

The parameters are read straight to their places on the mesh that is set, whatever mesh wrote them.
"""

from pathlib import Path
from typing import Any

import jax
from flax import nnx

from flanmix.data.vocabulary import Vocabulary, load_vocabulary
from flanmix.errors import UserError
from flanmix.learn.initialize import load_params, load_run
from flanmix.train.run_record import vocabulary_digest
from flanmix.train.settings import Run


def restored_model(run: Run, source: Path) -> tuple[Any, int]:
    """Returns a checkpoint's model and its step.

    Args:
        run: says the model's shape.
        source: a run's folder (its newest whole checkpoint), or one of its checkpoints.

    Raises:
        UserError: if there is no checkpoint, or it is of another model.
    """
    abstract = jax.eval_shape(run.model.init, jax.random.key(0))
    graph, params = nnx.split(abstract, nnx.Param)
    step = int(load_run(source)["step"])
    loaded, _ = load_params(source, nnx.to_pure_dict(params))
    return nnx.merge(graph, loaded), step


def trained_vocabulary(run: Run, source: Path) -> Vocabulary:
    """Returns the run's vocabulary.

    Raises:
        UserError: if it is not the one that the checkpoint was trained with.
    """
    vocabulary = load_vocabulary(run.vocabulary)
    trained_with = load_run(source)["data"]["vocabulary"]
    if vocabulary_digest(vocabulary) != trained_with:
        raise UserError(
            f"vocabulary '{run.vocabulary}' is not the one that {source} was trained with: its "
            "pieces differ; put the file back that the run had"
        )
    return vocabulary
