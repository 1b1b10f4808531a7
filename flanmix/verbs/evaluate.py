"""`flanmix evaluate --gin_file=F`: the scores of a run's newest checkpoint.

    flanmix evaluate --gin_file=runs/a/config.gin                    # what the run itself evaluates
    flanmix evaluate --gin_file=gin/runs/evaluate.gin --gin.MIXTURE=held_out ...

The checkpoint is INITIALIZE_FROM where that is given and RUN_DIR has none, as for training. Where
the files name no groups, the run's mixture is evaluated. Nothing is written: `scores.json` stays
what the training left. A task that is not prepared is an error, or with ALLOW_MISSING left out and
listed.
"""

import argparse
from pathlib import Path

import jax

from flanmix.console import print_json
from flanmix.data.store.store import Store
from flanmix.evaluate.scores import Scores
from flanmix.pages.text import scores_text
from flanmix.train import hosts
from flanmix.train.restored import restored_model, trained_vocabulary
from flanmix.train.run_record import trained_tasks
from flanmix.train.scoring import planned, score_model
from flanmix.train.settings import Run
from flanmix.verbs import gin_config


def main(args: argparse.Namespace) -> int:
    """Runs the verb: prints the scores, as JSON or as a table.

    Raises:
        UserError: for a mistake in the gin files, no checkpoint, or a task that is not prepared.
    """
    run = gin_config.from_flags(args)
    hosts.join(run.multi_host)
    with jax.set_mesh(run.mesh.build()):
        scores = score_checkpoint(run, checkpoint_of(run))
    if jax.process_index() == 0:
        if args.json:
            print_json(scores.to_json())
        else:
            print(scores_text(scores))
    return 0


def checkpoint_of(run: Run) -> Path:
    """Returns where the checkpoint is that the verb evaluates."""
    if run.initialize_from is not None and not (run.folder / "checkpoints").is_dir():
        return Path(run.initialize_from)
    return run.folder


def score_checkpoint(run: Run, source: Path) -> Scores:
    """Evaluates a checkpoint on the mesh that is set.

    Raises:
        UserError: if there is no checkpoint, or a task is not prepared.
    """
    store = Store(Path(run.store).expanduser())
    tasks = planned(run, store, trained_tasks(source))
    vocabulary = trained_vocabulary(run, source)
    model, step = restored_model(run, source)
    return score_model(run, model, vocabulary, tasks, store, step)
