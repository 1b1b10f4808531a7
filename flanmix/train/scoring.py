"""Evaluation of a model in training: when it is due, and its files in the run's folder.

    tasks = planned(run, store, trained)             # unknown names are found here
    scoring = Scoring(run, tasks, store, vocabulary, graph, preemption)
    if scoring.due(step):
        mean = scoring.score(params, step)    # RUN_DIR/scores/<step>.json, RUN_DIR/scores.json

An evaluation that is there is not made again: a run that goes on finds what it has scored.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from flanmix.console import bar
from flanmix.data.store.store import Store
from flanmix.data.vocabulary import Vocabulary
from flanmix.errors import UserError
from flanmix.evaluate.evaluator import EvalTask, evaluate, plan, questions
from flanmix.evaluate.predictor import ModelPredictor
from flanmix.evaluate.scores import FOLDER, Scores, write_scores
from flanmix.registry.catalogue import default_catalogue
from flanmix.registry.mixture import resolve
from flanmix.train.hosts import Preemption
from flanmix.train.settings import Run

PyTree = Any


class _Ended(Exception):
    """The run was told to end while it evaluated."""


class Scoring:
    """The evaluations of one run; without tasks, none is ever due."""

    def __init__(
        self,
        run: Run,
        tasks: Sequence[EvalTask],
        store: Store,
        vocabulary: Vocabulary,
        graph: nnx.GraphDef,
        preemption: Preemption,
    ) -> None:
        self._run = run
        self._store = store
        self._vocabulary = vocabulary
        self._graph = graph
        self._preemption = preemption
        self._tasks = tasks

    def due(self, step: int) -> bool:
        """Whether the model of this step is to be evaluated, and has not been."""
        every, last = self._run.eval_every, self._run.steps
        wanted = step == last or (every > 0 and step % every == 0 and step > 0)
        return bool(self._tasks) and wanted and not self.done(step)

    def done(self, step: int) -> bool:
        """Whether this step's scores are there."""
        return self._path(step).exists()

    def mean(self, step: int) -> float | None:
        """The mean score of a step, if it is there."""
        return json.loads(self._path(step).read_text())["mean"] if self.done(step) else None

    def score(self, params: PyTree, step: int) -> float | None:
        """Evaluates and writes the scores; returns their mean, or None if the run is to end."""
        model = nnx.merge(self._graph, params)
        try:
            scores = score_model(
                self._run, model, self._vocabulary, self._tasks, self._store, step, self._check
            )
        except _Ended:
            return None
        if jax.process_index() == 0:
            write_scores(self._run.folder, scores)
        return scores.mean()

    def forget_after(self, step: int) -> None:
        """Removes the scores of steps that a run which goes on from `step` will take again."""
        if jax.process_index() == 0:
            for path in (self._run.folder / FOLDER).glob("*.json"):
                if int(path.stem) > step or step == 0:
                    path.unlink()

    def _check(self) -> None:
        # Hosts agree to end between steps only: on several, an evaluation runs through.
        if jax.process_count() == 1 and self._preemption.asked(0):
            raise _Ended

    def _path(self, step: int) -> Path:
        return self._run.folder / FOLDER / f"{step:09d}.json"


def score_model(
    run: Run,
    model: Any,
    vocabulary: Vocabulary,
    tasks: Sequence[EvalTask],
    store: Store,
    step: int,
    check: Callable[[], None] = lambda: None,
) -> Scores:
    """Evaluates a model as a run says, with a bar.

    Args:
        run: says the lengths, the batch and the selection.
        model: the model.
        vocabulary: the vocabulary of its training.
        tasks: what to score.
        store: where the tasks are prepared.
        step: the training step that the scores belong to.
        check: called whenever some questions are answered; what it raises ends the evaluation.
    """
    predictor = ModelPredictor(
        model,
        vocabulary,
        run.loader.lengths,
        batch_size=run.evaluation.batch_size or run.batch_size,
    )
    selection = run.evaluation.selection
    # The rate is that of all questions so far: tasks differ in it, as their answers do in length.
    with bar(questions(tasks, store, selection), "question", leave=False) as shown:

        def progress(task: str, answered: int) -> None:
            shown.set_description(f"evaluating {task}", refresh=False)
            shown.update(answered)
            check()

        return evaluate(
            predictor,
            tasks,
            store,
            step=step,
            selection=selection,
            allow_missing=run.allow_missing,
            progress=progress,
        )


def planned(run: Run, store: Store, trained: Mapping[str, str] | None) -> list[EvalTask]:
    """Returns what the run's groups of evaluation hold; its mixture where there are none.

    Args:
        run: the run.
        store: where the tasks are prepared.
        trained: tasks that the model has been trained on, with their clusters; None if unknown.

    Raises:
        UserError: a mixture is unknown, or a task is not prepared and ALLOW_MISSING is not set.
    """
    named = run.evaluation.groups or {run.mixture: run.mixture}
    catalogue = default_catalogue()
    groups = {
        group: resolve(catalogue.mixture(name), catalogue, lambda spec: store.count(spec, "train"))
        for group, name in named.items()
    }
    tasks = plan(groups, run.evaluation.examples, trained)
    absent = [t.spec.name for t in tasks if store.count(t.spec, t.split) is None]
    if absent and not run.allow_missing:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        names = " ".join(named.values())
        raise UserError(
            f"no records to evaluate of {', '.join(absent[:3])}{more} in store {store.root}: "
            f"run flanmix prepare {names} --store {run.store}"
        )
    return tasks
