"""`flanmix evaluate --gin_file=F`: the scores of a run's newest checkpoint.

    flanmix evaluate --gin_file=runs/a/config.gin                    # what the run itself evaluates
    flanmix evaluate --gin_file=gin/runs/evaluate.gin --gin.MIXTURE=held_out ...

The checkpoint is INITIALIZE_FROM where that is given and RUN_DIR has none, as for training. Where
the files name no groups, MIXTURE is evaluated, in the test or validation splits of its tasks, held
out or not. A task that is not prepared is an error, or with ALLOW_MISSING left out and listed. So
is a mixture that shows exemplars (`few_shot`), which an evaluation can't do yet; that of the run
itself is scored without them, which is said.

What is found is kept in RUN_DIR beside the scores of the training: in `scores/`, `scores.json`,
`eval/` for TensorBoard, and on the report's page. A group that was scored at this step before is
replaced. Of a checkpoint that is not in RUN_DIR's own `checkpoints/` the scores are printed only.
"""

import argparse
import functools
import os
from pathlib import Path

import jax

from flanmix.console import is_first_host, print_json, say, warn
from flanmix.evaluate.evaluator import with_seen
from flanmix.evaluate.scores import FILE, Scores
from flanmix.learn.checkpoint import newest_record, open_checkpoint
from flanmix.pages.report import write_report
from flanmix.pages.text import scores_text
from flanmix.train import hosts
from flanmix.train.data import open_store
from flanmix.train.files import CHECKPOINTS
from flanmix.train.initial import declared
from flanmix.train.replicated import check_replicated
from flanmix.train.run_record import seen_elsewhere
from flanmix.train.scoring import asked_tasks, keep_scores, say_losses, score_model
from flanmix.train.settings import Run
from flanmix.train.trained import as_trained, evaluated_chat, trained_vocabulary
from flanmix.verbs import gin_config


def main(args: argparse.Namespace) -> int:
    """Runs the verb: prints the scores, as JSON or as a table, and keeps them.

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
        _keep(run, scores)
    return 0


def _keep(run: Run, scores: Scores) -> None:
    """Writes the scores into the run's folder, if it is its own checkpoint that was scored."""
    if not (run.folder / CHECKPOINTS).is_dir():
        say(f"the scores are not kept: the checkpoint is none of RUN_DIR {run.folder}")
    elif not os.access(run.folder, os.W_OK):
        warn(f"the scores are not kept: RUN_DIR {run.folder} can't be written")
    else:
        keep_scores(run.folder, scores)
        say(f"scores: {run.folder / FILE}, report: {write_report(run.folder)}")


def checkpoint_of(run: Run) -> Path:
    """Returns where the checkpoint is that the verb evaluates."""
    initial = run.checkpoints.initialize_from
    if initial is not None and not (run.folder / CHECKPOINTS).is_dir():
        return Path(initial)
    return run.folder


def score_checkpoint(run: Run, source: Path) -> Scores:
    """Evaluates the newest complete checkpoint of a source on the mesh that is set.

    Raises:
        UserError: if there is no checkpoint, a task is not prepared, or the mesh shards too little.
    """
    new_model = functools.partial(run.model.init, compute=run.compute)
    check_replicated(run.mesh, jax.eval_shape(new_model, jax.random.key(0)))
    store = open_store(run.data)
    tasks = asked_tasks(run.data, run.evaluation, store, newest_record(source).get("mixture"))
    opened = open_checkpoint(source, model_of=lambda _: run.model, compute=run.compute)
    vocabulary = trained_vocabulary(opened, run.data.vocabulary)
    run = as_trained(run, opened.run)
    known = declared(opened.run, run.checkpoints)
    scores = score_model(
        run,
        opened.model(run.model, run.compute),
        vocabulary,
        with_seen(tasks, known.get("trained"), seen_elsewhere(known)),
        store,
        opened.step,
        chat=evaluated_chat(run, opened, vocabulary),
    )
    say_losses(scores, run.data)
    return scores
