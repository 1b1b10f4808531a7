"""Evaluation of a model in training: when it is due, and its files in the run's folder.

    tasks = configured_tasks(run.data, run.evaluation, store)     # an unknown name is an error
    runner = EvalRunner(run, tasks, store, vocabulary, preemption)
    if runner.due(step):
        mean = runner.score(model, step)    # RUN_DIR/scores/<step>.json, RUN_DIR/scores.json

An evaluation that is there is not made again: a run that goes on finds what it has scored. One of
other groups or records is not taken for it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from flanmix.console import bar
from flanmix.data.store.store import Store
from flanmix.data.vocabulary import Vocabulary
from flanmix.errors import UserError
from flanmix.evaluate.evaluator import EvalTask, eval_tasks, evaluate, questions
from flanmix.evaluate.predictor import ModelPredictor
from flanmix.evaluate.scores import FOLDER, Scores, write_scores
from flanmix.model.api import LanguageModel
from flanmix.registry.catalogue import default_catalogue
from flanmix.registry.hints import prepare_hint
from flanmix.registry.mixture import resolve
from flanmix.train.evaluated import described, is_of
from flanmix.train.hosts import Preemption
from flanmix.train.settings import DataConfig, Evaluation, Run


class _Stopped(Exception):
    """The run was asked to end while it evaluated."""


class EvalRunner:
    """The evaluations of one training run; without tasks, none is ever due."""

    def __init__(
        self,
        run: Run,
        tasks: Sequence[EvalTask],
        store: Store,
        vocabulary: Vocabulary,
        preemption: Preemption,
    ) -> None:
        self._run = run
        self._tasks = tasks
        self._store = store
        self._vocabulary = vocabulary
        self._preemption = preemption
        self._evaluation = described(run, tasks, store)

    def due(self, step: int) -> bool:
        """Whether the model of this step is to be evaluated, and has not been."""
        every = self._run.evaluation.every
        last = self._run.train.steps if self._run.train else 0
        wanted = step == last or (every > 0 and step % every == 0 and step > 0)
        return bool(self._tasks) and wanted and not self.done(step)

    def done(self, step: int) -> bool:
        """Whether this step's scores are there, and are of what the run evaluates now."""
        return self._scores(step) is not None

    def mean(self, step: int) -> float | None:
        """The mean score of a step, if it is there."""
        scores = self._scores(step)
        return None if scores is None else scores["mean"]

    def _scores(self, step: int) -> dict[str, Any] | None:
        """The scores of a step, if they are there and of what the run evaluates now."""
        try:
            scores = json.loads(self._path(step).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        same = is_of(scores, self._evaluation, self._tasks, self._store)
        return scores if same else None

    def score(self, model: LanguageModel, step: int) -> float | None:
        """Evaluates and writes the scores; returns their mean, or None if the run is to end."""
        try:
            scores = score_model(
                self._run, model, self._vocabulary, self._tasks, self._store, step, self._check
            )
        except _Stopped:
            return None
        if jax.process_index() == 0:
            write_scores(self._run.folder, replace(scores, evaluation=self._evaluation))
        return scores.mean()

    def drop_scores_after(self, step: int) -> None:
        """Removes the scores of steps that a run which goes on from `step` will take again."""
        if jax.process_index() == 0:
            for path in (self._run.folder / FOLDER).glob("*.json"):
                if int(path.stem) > step or step == 0:
                    path.unlink()

    def _check(self) -> None:
        # Hosts agree to end between steps only: on several, an evaluation runs through.
        if jax.process_count() == 1 and self._preemption.asked(0):
            raise _Stopped

    def _path(self, step: int) -> Path:
        return self._run.folder / FOLDER / f"{step:09d}.json"


def score_model(
    run: Run,
    model: LanguageModel,
    vocabulary: Vocabulary,
    tasks: Sequence[EvalTask],
    store: Store,
    step: int,
    check: Callable[[], None] = lambda: None,
) -> Scores:
    """Evaluates a model as a run says, with a progress bar.

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
        batch_size=run.evaluation.batch_size or run.data.batch_size,
    )
    selection = run.evaluation.selection
    # The rate is that of all questions so far: tasks differ in it, as their answers do in length.
    with bar(questions(tasks, store, selection), "question", leave=False) as shown:

        def progress(task: str, answered: int) -> None:
            shown.set_description(f"evaluating {task}", refresh=False)
            shown.update(answered)
            check()

        scores = evaluate(
            predictor,
            tasks,
            store,
            step=step,
            selection=selection,
            allow_missing=run.data.allow_missing,
            progress=progress,
        )
    return replace(scores, evaluation=described(run, tasks, store))


def configured_tasks(data: DataConfig, evaluation: Evaluation, store: Store) -> list[EvalTask]:
    """Returns what the groups of an evaluation hold; the run's mixture where there are none.

    Args:
        data: the run's data.
        evaluation: its groups, and how many records of a task.
        store: where the tasks are prepared.

    Raises:
        UserError: a mixture is unknown, or a task is not prepared and ALLOW_MISSING is not set.
    """
    named = evaluation.groups or {data.mixture: data.mixture}
    catalogue = default_catalogue()
    groups = {
        group: resolve(catalogue.mixture(name), catalogue, lambda spec: store.count(spec, "train"))
        for group, name in named.items()
    }
    tasks = eval_tasks(groups, evaluation.examples)
    absent = [t.spec.name for t in tasks if store.count(t.spec, t.split) is None]
    if absent and not data.allow_missing:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise UserError(
            f"no records to evaluate of {', '.join(absent[:3])}{more} in store {store.root}: "
            f"{prepare_hint(named.values(), data.store)}"
        )
    return tasks
