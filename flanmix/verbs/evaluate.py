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

from flanmix.console import is_first_host, print_json
from flanmix.evaluate.evaluator import with_seen
from flanmix.evaluate.scores import Scores
from flanmix.learn.checkpoint import open_checkpoint
from flanmix.pages.text import scores_text
from flanmix.train import hosts
from flanmix.train.data import open_store
from flanmix.train.files import CHECKPOINTS
from flanmix.train.scoring import configured_tasks, score_model
from flanmix.train.settings import Run
from flanmix.train.trained import trained_vocabulary
from flanmix.verbs import gin_config


def main(args: argparse.Namespace) -> int:
    """Runs the verb: prints the scores, as JSON or as a table.

    Raises:
        UserError: for a mistake in the gin files, no checkpoint, or a task that is not prepared.
    """
    run = gin_config.from_flags(args)
    hosts.join(run.mesh.multi_host)
    run.check_evaluation_devices(jax.device_count())
    with jax.set_mesh(run.mesh.build()):
        scores = score_checkpoint(run, checkpoint_of(run))
    if is_first_host():
        if args.json:
            print_json(scores.to_json())
        else:
            print(scores_text(scores))
    return 0


def checkpoint_of(run: Run) -> Path:
    """Returns where the checkpoint is that the verb evaluates."""
    initial = run.checkpoints.initialize_from
    if initial is not None and not (run.folder / CHECKPOINTS).is_dir():
        return Path(initial)
    return run.folder


def score_checkpoint(run: Run, source: Path) -> Scores:
    """Evaluates the newest complete checkpoint of a source on the mesh that is set.

    Raises:
        UserError: if there is no checkpoint, or a task is not prepared.
    """
    store = open_store(run.data)
    tasks = configured_tasks(run.data, run.evaluation, store)
    opened = open_checkpoint(source, model_of=lambda _: run.model, compute=run.compute)
    vocabulary = trained_vocabulary(opened, run.data.vocabulary)
    return score_model(
        run,
        opened.model(run.model, run.compute),
        vocabulary,
        with_seen(tasks, opened.run.get("trained")),
        store,
        opened.step,
    )
