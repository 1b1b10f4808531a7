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
from typing import Any

import jax

from flanmix.data.store import Store
from flanmix.evaluate.scores import Scores, TaskScores
from flanmix.run import configuration, hosts
from flanmix.run.record import trained_tasks
from flanmix.run.restored import restored_model, trained_vocabulary
from flanmix.run.scoring import planned, score_model
from flanmix.run.settings import Run
from flanmix.run.table import print_json, table

_SEEN = {"": "", "cluster": "its cluster", "task": "the task", "unknown": "unknown"}


def main(args: argparse.Namespace) -> int:
    """Runs the verb: prints the scores, as JSON or as a table.

    Raises:
        UserError: for a mistake in the gin files, no checkpoint, or a task that is not prepared.
    """
    run = configuration.from_flags(args)
    hosts.join(run.multi_host)
    with jax.set_mesh(run.mesh.build()):
        scores = score_checkpoint(run, checkpoint_of(run))
    if jax.process_index() == 0:
        if args.json:
            print_json(scores.to_json())
        else:
            print(shown(scores))
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


def shown(scores: Scores) -> str:
    """The scores as plain text: a line a task, then clusters, groups and the mean."""
    header = [
        *("task", "cluster", "trained on", "metric", "baseline"),
        *("mean", "median", "best", "records"),
    ]
    parts = [table(header, [_row(name, task) for name, task in scores.tasks.items()])]
    parts.append(table(["cluster", "mean"], [[*item] for item in scores.clusters().items()]))
    groups = [[name, *_group(scores.group(name))] for name in scores.groups]
    parts.append(table(["group", "accuracy", "majority", "mean"], groups))
    if (mean := scores.mean()) is not None:
        parts.append(f"step {scores.step}, mean over {len(scores.tasks)} tasks: {mean:.2f}")
    if scores.missing:
        parts.append(f"not prepared, and left out: {', '.join(scores.missing)}")
    return "\n\n".join(parts)


def _row(name: str, task: TaskScores) -> list[Any]:
    key = task.primary or next(iter(task.mean()))
    best = task.best.metrics[key] if task.best else None
    return [
        *(name, task.cluster, _SEEN[task.seen], key, task.baseline.get(key)),
        *(task.mean()[key], task.median()[key], best, task.examples),
    ]


def _group(group: dict[str, Any]) -> list[float | None]:
    return [group["accuracy"], group["majority"], group["mean"]]
