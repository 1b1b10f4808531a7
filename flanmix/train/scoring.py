"""Evaluation of a run: of which tasks, when in training it is due, and its files in RUN_DIR.

    tasks = configured_tasks(run.data, run.evaluation, store)     # an unknown name is an error
    runner = EvalRunner(run, tasks, store, vocabulary, preemption)
    if runner.due(step):
        mean = runner.score(model, step)    # scores/<step>.json, scores.json, eval/ for TensorBoard

Where no groups are named, a run evaluates its own mixture. An evaluation that is there is not made
again: a run that goes on finds what it has scored. One of other groups or records is not taken for
it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from flanmix.console import bar, say, warn
from flanmix.data.chat.format import ChatFormat
from flanmix.data.store.store import Store
from flanmix.data.vocabulary import Vocabulary
from flanmix.errors import UserError
from flanmix.evaluate.evaluator import EvalTask, eval_tasks, evaluate, questions
from flanmix.evaluate.predictor import ModelPredictor
from flanmix.evaluate.scores import (
    FOLDER,
    Scores,
    TaskScores,
    read_step,
    scored_steps,
    write_scores,
)
from flanmix.evaluate.text_score import number_of_rows, read_texts, score_text
from flanmix.model.api import LanguageModel
from flanmix.registry.catalogue import default_catalogue
from flanmix.registry.hints import prepare_hint
from flanmix.registry.mixture import Mixture, resolve
from flanmix.train.evaluated import described, is_of
from flanmix.train.hosts import Preemption
from flanmix.train.score_events import draw_scores
from flanmix.train.settings import DataConfig, Evaluation, Run

# Records of a task that a run scores of its own mixture, where nothing says which and how many.
OWN_EXAMPLES = 100


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
        chat: ChatFormat | None = None,
    ) -> None:
        self._run = run
        self._tasks = tasks
        self._store = store
        self._vocabulary = vocabulary
        self._preemption = preemption
        self._chat = chat
        self._evaluation = described(run, tasks, store)
        self._told = False

    def due(self, step: int) -> bool:
        """Whether the model of this step is to be evaluated, and has not been."""
        every = self._run.evaluation.every
        last = self._run.train.steps if self._run.train else 0
        wanted = step == last or (every > 0 and step % every == 0 and step > 0)
        scored = bool(self._tasks or self._run.evaluation.texts)
        return scored and wanted and not self.done(step)

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
            scores = read_step(self._run.folder, step)
        except UserError:  # made again
            return None
        if scores is None or not is_of(scores, self._evaluation, self._tasks, self._store):
            return None
        return scores

    def score(self, model: LanguageModel, step: int) -> float | None:
        """Evaluates and writes the scores; returns their mean, or None if the run is to end."""
        try:
            scores = score_model(
                self._run,
                model,
                self._vocabulary,
                self._tasks,
                self._store,
                step,
                self._check,
                chat=self._chat,
            )
        except _Stopped:
            return None
        if not self._told:  # it is the same at every step
            say_losses(scores, self._run.data)
            self._told = True
        if jax.process_index() == 0:
            keep_scores(self._run.folder, replace(scores, evaluation=self._evaluation))
        return scores.mean()

    def drop_scores_after(self, step: int) -> None:
        """Removes the scores of steps that a run which goes on from `step` will take again."""
        if jax.process_index() == 0:
            folder = self._run.folder
            gone = [there for there in scored_steps(folder) if there > step or step == 0]
            for there in gone:
                (folder / FOLDER / f"{there:09d}.json").unlink()
            if gone:
                draw_scores(folder)

    def _check(self) -> None:
        # Hosts agree to end between steps only: on several, an evaluation runs through.
        if jax.process_count() == 1 and self._preemption.asked(0):
            raise _Stopped


def keep_scores(run_dir: Path, scores: Scores) -> None:
    """Writes an evaluation into a run's folder, and what TensorBoard shows of it.

    Raises:
        UserError: what was found of this step before can't be read.
    """
    write_scores(run_dir, scores)
    draw_scores(run_dir)


def score_model(
    run: Run,
    model: LanguageModel,
    vocabulary: Vocabulary,
    tasks: Sequence[EvalTask],
    store: Store,
    step: int,
    check: Callable[[], None] = lambda: None,
    *,
    chat: ChatFormat | None = None,
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
        chat: the chat format of its training; None for plain text.
    """
    predictor = ModelPredictor(
        model,
        vocabulary,
        run.loader.lengths,
        batch_size=run.evaluation.batch_size or run.data.batch_size,
        chat=chat,
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
    return replace(scores, texts=_score_texts(run, predictor, check))


def _score_texts(
    run: Run, predictor: ModelPredictor, check: Callable[[], None]
) -> dict[str, dict[str, float]]:
    """Scores the plain texts of a run's evaluation, with a progress bar for each."""
    found = {}
    for name, path in (run.evaluation.texts or {}).items():
        texts = read_texts(Path(path).expanduser(), run.evaluation.text_bytes)
        rows = number_of_rows(predictor.vocabulary, predictor.lengths, texts)
        with bar(rows, "row", leave=False) as shown:
            shown.set_description(f"evaluating text {name}", refresh=False)

            def report(count: int, shown: tqdm = shown) -> None:
                shown.update(count)
                check()

            parts = (predictor.model, predictor.vocabulary, predictor.lengths)
            found[name] = score_text(*parts, texts, predictor.batch_size, report).to_json()
    return found


# ---- what the model did not see ----------------------------------------------------------------


def say_losses(scores: Scores, data: DataConfig) -> None:
    """Warns of what the model was not shown whole, one line a kind, naming the worst task."""
    lengths = (
        ("trimmed", "inputs were cut", f"INPUTS_LENGTH is {data.inputs_length}"),
        (
            "targets_trimmed",
            "options or answers were cut",
            f"TARGETS_LENGTH is {data.targets_length}",
        ),
        (
            "equal_options",
            "options were the same tokens",
            f"once cut, or in vocabulary '{data.vocabulary}'; where the right one can't be told "
            "from a wrong one, a question counts as wrong, and a task without any other has no "
            "score",
        ),
    )
    for share, what, why in lengths:
        if lost := [task for task in scores.tasks.values() if getattr(task, share)]:
            warn(f"{what} in {_worst(lost, share, len(scores.tasks))}: {why}")


def _worst(lost: Sequence[TaskScores], share: str, count: int) -> str:
    """How many tasks lost something, and the one that lost most."""
    worst = max(lost, key=lambda task: getattr(task, share))
    percent = getattr(worst, share)
    shown = f"{percent:.3g}" if percent < 99.5 or percent == 100 else f"{percent:.2f}"
    named = f"{shown}% of the questions of task '{worst.task}'"
    return named if count == 1 else f"{len(lost)} of {count} tasks, worst in {named}"


# ---- what is scored ----------------------------------------------------------------------------


def configured_tasks(data: DataConfig, evaluation: Evaluation, store: Store) -> list[EvalTask]:
    """Returns what a training run evaluates.

    Without groups that is its own mixture, as far as it can be scored: those tasks that have a test
    or validation split in the store, at most `OWN_EXAMPLES` records of each unless
    `Evaluation.examples` says how many.

    Args:
        data: the run's data.
        evaluation: its groups, and how many records of a task.
        store: where the tasks are prepared.

    Raises:
        UserError: a mixture of the groups is unknown or shows exemplars, or a task is not prepared
            and ALLOW_MISSING is not set.
    """
    if evaluation.groups is not None:
        return _group_tasks(evaluation.groups, data, evaluation, store)
    mixture = _resolved(data.mixture, store)
    examples = evaluation.examples or OWN_EXAMPLES
    tasks = _own_tasks(mixture, examples)
    tasks = [task for task in tasks if store.count(task.spec, task.split)]
    if tasks:
        zero_shot = ", without exemplars" if _few_shot(mixture) else ""
        say(
            f"no Evaluation.groups: evaluates its own mixture, {len(tasks)} of "
            f"{len(mixture.tasks)} tasks, at most {examples} records of each{zero_shot}"
        )
    else:
        say("no Evaluation.groups, and no task of the mixture has test records: not evaluated")
    return tasks


def asked_tasks(
    data: DataConfig, evaluation: Evaluation, store: Store, trained: str | None
) -> list[EvalTask]:
    """Returns what `flanmix evaluate` evaluates: all records, of all tasks that are asked for.

    Without groups that is MIXTURE, as far as its tasks have a test or validation split. Where it is
    the mixture that the model was trained on and shows exemplars, it is scored without, which is
    said; exemplars of any other one are an error.

    Args:
        data: the data, with the mixture.
        evaluation: the groups, and how many records of a task.
        store: where the tasks are prepared.
        trained: the mixture that the model was trained on.

    Raises:
        UserError: as `configured_tasks`, also of MIXTURE, or there is nothing to score.
    """
    if evaluation.groups:
        return _group_tasks(evaluation.groups, data, evaluation, store)
    mixture = _resolved(data.mixture, store)
    if _few_shot(mixture):
        if trained != data.mixture:
            raise _refused(mixture)
        say(f"mixture '{mixture.name}' shows exemplars in training; it is scored without them")
    tasks = _own_tasks(mixture, evaluation.examples)
    if not tasks:
        raise UserError(
            f"mixture '{mixture.name}' has nothing to score: no task with a test or validation "
            "split and a template that asks for the answer; name others in Evaluation.groups"
        )
    if skipped := sorted(set(mixture.names) - {task.spec.name for task in tasks}):
        say(f"without records or templates that are scored: {', '.join(skipped)}")
    return _prepared(tasks, data, store, [data.mixture])


def _group_tasks(
    groups: Mapping[str, str], data: DataConfig, evaluation: Evaluation, store: Store
) -> list[EvalTask]:
    """The tasks of groups that the configuration names."""
    mixtures = {group: _resolved(name, store) for group, name in groups.items()}
    for mixture in mixtures.values():
        if _few_shot(mixture):
            raise _refused(mixture)
    return _prepared(eval_tasks(mixtures, evaluation.examples), data, store, groups.values())


def _resolved(name: str, store: Store) -> Mixture:
    catalogue = default_catalogue()
    return resolve(catalogue.mixture(name), catalogue, lambda spec: store.count(spec, "train"))


def _few_shot(mixture: Mixture) -> bool:
    return any(task.few_shot for task in mixture.tasks)


def _refused(mixture: Mixture) -> UserError:
    shown = next(task for task in mixture.tasks if task.few_shot)
    return UserError(
        f"mixture '{mixture.name}' shows {shown.few_shot} exemplars (few_shot) of task "
        f"'{shown.spec.name}', and an evaluation can't show any yet: name a mixture without "
        "few_shot"
    )


def _own_tasks(mixture: Mixture, examples: int | None) -> list[EvalTask]:
    """Those tasks of a mixture that can be scored at all, as a group of its name."""
    scored = mixture.only(
        lambda task: (
            any(task.spec.splits.get(split) for split in ("test", "validation"))
            and set(task.templates) & set(task.spec.forward_templates)
        )
    )
    return eval_tasks({mixture.name: scored}, examples)


def _prepared(
    tasks: list[EvalTask], data: DataConfig, store: Store, names: Collection[str]
) -> list[EvalTask]:
    """The same tasks; an error if one is not prepared and ALLOW_MISSING is not set."""
    absent = [t.spec.name for t in tasks if store.count(t.spec, t.split) is None]
    if absent and not data.allow_missing:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        own = data.mixture in names
        instead = "" if own else f"; Evaluation.groups=None evaluates {data.mixture} instead"
        raise UserError(
            f"no records to evaluate of {', '.join(absent[:3])}{more} in store {store.root}: "
            f"{prepare_hint(names, data.store)}{instead}"
        )
    return tasks
