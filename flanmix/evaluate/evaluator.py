"""The evaluator: tasks in, scores per template, task, cluster and group out.

    tasks = eval_tasks(groups={"seen": mixture, "unseen": other}, limit=100)
    scores = evaluate(ModelPredictor(model, vocabulary, lengths), tasks, store, step=200)
    scores.to_json()                       -> what scores.json holds
    write_scores(run_dir, scores)          -> RUN_DIR/scores/000000200.json, RUN_DIR/scores.json

Every template that is not inverted is scored by itself, on the same records, without exemplars.
Classification is by rank: the likeliest option is the answer (`accuracy` by summed log-likelihoods,
`accuracy_normalized` by their mean over tokens). Options that are the same tokens are no answer: a
question whose right option can't be told from a wrong one counts as wrong, and a template that has
no other question has no score. Generation is greedy. A task that several groups name is computed
once, in the union of their templates.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from flanmix.data.randomness import fold
from flanmix.data.store.reader import RecordReader
from flanmix.data.store.store import Store
from flanmix.errors import UserError
from flanmix.evaluate import metrics
from flanmix.evaluate.asking import Answered, ask
from flanmix.evaluate.baselines import copies, majority
from flanmix.evaluate.predictor import Predictor
from flanmix.evaluate.scores import Best, Figures, Sample, Scores, Seen, TaskScores
from flanmix.registry.mixture import Mixture
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

# callback(task, answered): the task's name, and its questions answered since the last call.
Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class EvalTask:
    """A task to score.

    Attributes:
        spec: the task.
        templates: numbers of the templates, none of them inverted.
        split: which records.
        limit: how many of them, drawn once and for all; None for all.
        groups: the groups that it belongs to, each with its templates.
        seen: what of it the model has been trained on.

    Raises:
        ValueError: for no template, or an inverted one.
    """

    spec: TaskSpec
    templates: tuple[int, ...]
    split: str = "test"
    limit: int | None = None
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    seen: Seen = "unknown"

    def __post_init__(self) -> None:
        forward = self.spec.forward_templates
        if not self.templates or not set(self.templates) <= set(forward):
            raise ValueError(
                f"task '{self.spec.name}': templates is {list(self.templates)}: at least one of "
                f"{list(forward)}, which are not inverted"
            )
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit}: at least 1, or None for all")


# Asks a task's question for given records in given templates.
_Ask = Callable[[Sequence[Record], Sequence[int]], dict[int, Answered]]


def eval_tasks(
    groups: Mapping[str, Mixture],
    limit: int | None = None,
    trained: Mapping[str, str] | None = None,
) -> list[EvalTask]:
    """Works out what to score for groups of tasks: each mixture's tasks and templates, once.

    A task is scored on its test split, or on validation where it has no test split.

    Args:
        groups: mixtures by the name of their group.
        limit: most records of a task.
        trained: tasks that the model has been trained on, with their clusters; None if unknown.

    Raises:
        UserError: for a task that has neither split, or only inverted templates here.
    """
    tasks: dict[str, EvalTask] = {}
    for group, mixture in groups.items():
        for member in mixture.tasks:
            spec = member.spec
            forward = tuple(i for i in member.templates if i in spec.forward_templates)
            if not forward:
                raise UserError(
                    f"mixture '{mixture.name}': all templates of task '{spec.name}' in it are "
                    "inverted, and those are not scored; name another"
                )
            new = EvalTask(spec, forward, spec.scored_split, limit, seen=_seen(spec, trained))
            task = tasks.get(spec.name) or new
            union = tuple(sorted({*task.templates, *forward}))
            named = {**task.groups, group: forward}
            tasks[spec.name] = replace(task, templates=union, groups=named)
    return [tasks[name] for name in sorted(tasks)]


def with_seen(
    tasks: Sequence[EvalTask],
    trained: Mapping[str, str] | None,
    elsewhere: Sequence[str] | None = (),
) -> list[EvalTask]:
    """Returns the tasks with what the model has been trained on.

    Args:
        tasks: the tasks.
        trained: as in `eval_tasks`.
        elsewhere: tasks and clusters that others have trained it on; None if that is unknown: then
            nothing is known of any task that is not in `trained`.
    """
    return [replace(task, seen=_seen(task.spec, trained, elsewhere)) for task in tasks]


def _seen(
    spec: TaskSpec, trained: Mapping[str, str] | None, elsewhere: Sequence[str] | None = ()
) -> Seen:
    if trained is None:
        return "unknown"
    if spec.name in trained or spec.name in (elsewhere or ()):
        return "task"
    if elsewhere is None:
        return "unknown"
    return "cluster" if spec.cluster in (*trained.values(), *elsewhere) else "neither"


def evaluate(
    predictor: Predictor,
    tasks: Sequence[EvalTask],
    store: Store,
    *,
    step: int = 0,
    selection: int = 0,
    num_samples: int = 3,
    allow_missing: bool = False,
    progress: Progress = lambda task, answered: None,
) -> Scores:
    """Scores tasks.

    Args:
        predictor: what answers.
        tasks: what to score, each name once.
        store: where the tasks are prepared.
        step: the training step that the scores belong to.
        selection: most validation records that choose a task's best template; 0 for no choice.
        num_samples: questions of each task that are kept with their answers.
        allow_missing: whether a task that is not in the store is left out and listed; a store that
            is out of date or corrupt is an error in any case.
        progress: called with each task's name and 0 before it is scored, then with the number of
            questions answered since; see `questions` for how many there will be.

    Raises:
        UserError: for a task whose records are missing, out of date or corrupt.
    """
    scored: dict[str, TaskScores] = {}
    groups: dict[str, dict[str, tuple[int, ...]]] = {}
    samples: list[Sample] = []
    missing = []
    for task in tasks:
        name = task.spec.name
        if allow_missing and store.count(task.spec, task.split) is None:
            missing.append(name)
            continue
        progress(name, 0)
        put = partial(ask, predictor, task.spec, report=partial(progress, name))
        scored[name], kept = _score_task(put, task, store, selection, num_samples)
        samples += kept
        for group, templates in task.groups.items():
            groups.setdefault(group, {})[name] = templates
    return Scores(step, scored, groups, missing, samples)


def questions(tasks: Sequence[EvalTask], store: Store, selection: int = 0) -> int:
    """At most how many questions `evaluate` will ask: those that fit no template are not asked."""
    total = 0
    for task in tasks:
        for split, limit in ((task.split, task.limit), *_selects(task, store, selection)):
            count = store.count(task.spec, split) or 0
            total += len(task.templates) * (count if limit is None else min(limit, count))
    return total


def _selects(task: EvalTask, store: Store, selection: int) -> Iterator[tuple[str, int]]:
    """The split that chooses the task's best template, if that is wanted and there is one."""
    if selection and task.split != "validation" and store.count(task.spec, "validation"):
        yield "validation", selection


def _score_task(
    put: _Ask, task: EvalTask, store: Store, selection: int, num_samples: int
) -> tuple[TaskScores, list[Sample]]:
    """Scores one task in all of its templates; also returns samples."""
    spec = task.spec
    records = _records(store, task, task.split, task.limit)
    answered = put(records, task.templates)
    replies = [reply for answers in answered.values() for reply in answers.replies]
    scores = TaskScores(
        task=spec.name,
        cluster=spec.cluster,
        kind=spec.kind,
        split=task.split,
        seen=task.seen,
        examples=len(records),
        primary=metrics.primary_key(spec.metrics) or ("accuracy" if spec.has_options else ""),
        templates={i: _figures(spec, a) for i, a in answered.items() if a.answerable},
        baseline=_baseline(spec, records),
        trimmed=_percent(reply.truncated for reply in replies),
        targets_trimmed=_percent(reply.targets_truncated for reply in replies),
        equal_options=_percent(reply.equal for reply in replies),
        unanswerable=_percent(reply.unanswerable for reply in replies),
    )
    for split, limit in _selects(task, store, selection):
        best = _best(put, scores, spec, _records(store, task, split, limit))
        scores = replace(scores, best=best)
    return scores, list(_samples(answered, num_samples))


def _percent(flags: Iterable[bool]) -> float:
    return 100.0 * float(np.mean([*flags]))


def _records(store: Store, task: EvalTask, split: str, limit: int | None) -> list[Record]:
    """The split's records, or `limit` of them, drawn by the task's name alone."""
    reader: RecordReader = store.open(task.spec, split)
    count = len(reader)
    if not count:
        raise UserError(f"task '{task.spec.name}' has no records in its {split} split")
    if limit is None or limit >= count:
        return reader.__getitems__(range(count))
    rng = np.random.default_rng(fold(0, "evaluate", task.spec.name, split))
    return reader.__getitems__(sorted(rng.permutation(count)[:limit].tolist()))


def _figures(spec: TaskSpec, answers: Answered) -> Figures:
    """All figures of one template; those of the accuracy always, where there are options."""
    if not spec.has_options:
        references = [pair.references for pair in answers.pairs]
        return metrics.score(spec.metrics, references, answers.texts)
    references = [record.answers for record in answers.records]
    names = [*spec.metrics, *({"accuracy"} - set(spec.metrics))]
    figures = metrics.score(names, references, answers.texts, spec.options)
    mean = metrics.accuracy(references, [reply.normalized for reply in answers.replies])["accuracy"]
    return {**figures, "accuracy_normalized": mean}


def _baseline(spec: TaskSpec, records: Sequence[Record]) -> Figures:
    """The majority class's figures, or the best that copying one field of the input reaches."""
    references = [record.answers for record in records]
    if spec.has_options:
        names = [*spec.metrics, *({"accuracy"} - set(spec.metrics))]
        return metrics.score(names, references, majority(records), spec.options)
    every = [
        metrics.score(spec.metrics, references, texts) for texts in copies(spec, records).values()
    ]
    key = metrics.primary_key(spec.metrics)
    return max(every, key=lambda figures: figures.get(key, 0.0), default={})


def _best(put: _Ask, scores: TaskScores, spec: TaskSpec, records: Sequence[Record]) -> Best | None:
    """The template with the greatest primary figure on validation records; the first of equals."""
    if not scores.primary or not scores.templates:
        return None
    answered = put(records, tuple(scores.templates))
    values = {
        number: _figures(spec, answers)[scores.primary]
        for number, answers in answered.items()
        if answers.answerable
    }
    if not values:
        return None
    chosen = min(values, key=lambda number: (-values[number], number))
    return Best(chosen, values[chosen], scores.templates[chosen])


def _samples(answered: Mapping[int, Answered], count: int) -> Iterator[Sample]:
    """Some questions, each of another template and another record as far as there are."""
    templates = list(answered)
    for number in range(count):
        answers = answered[templates[number % len(templates)]]
        if number < len(answers.pairs):
            pair, record = answers.pairs[number], answers.records[number]
            output = answers.replies[number].text
            right = output in (record.answers if record.options else pair.references)
            yield Sample(pair.task, pair.template, pair.inputs, pair.targets, output, right)
