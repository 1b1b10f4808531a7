"""The bar of an evaluation: how many questions are answered, of which task, and how fast.

    with QuestionBar(tasks, store, selection) as bar:
        evaluate(predictor, tasks, store, selection=selection, progress=bar)
    evaluating snli:  41%|####      | 6144/15003 [00:38<00:55, 161question/s]

The rate is that of all questions so far; tasks differ in it, as their answers do in length.
"""

import sys
from collections.abc import Sequence

import jax
from tqdm import tqdm

from flanmix.data.store import Store
from flanmix.evaluate.evaluator import EvalTask, questions


class QuestionBar:
    """A bar on stderr that goes away when the evaluation is done; `evaluate` calls it."""

    def __init__(self, tasks: Sequence[EvalTask], store: Store, selection: int) -> None:
        self._bar = tqdm(
            total=questions(tasks, store, selection),
            unit="question",
            file=sys.stderr,
            leave=False,
            disable=jax.process_index() != 0,
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 10.0,
        )

    def __enter__(self) -> "QuestionBar":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def __call__(self, task: str, answered: int) -> None:
        """Counts questions that were answered."""
        self._bar.set_description(f"evaluating {task}", refresh=False)
        self._bar.update(answered)
