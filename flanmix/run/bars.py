"""Bars on stderr: how far long work is, and how fast it goes.

    with QuestionBar(tasks, store, selection) as bar:
        evaluate(predictor, tasks, store, selection=selection, progress=bar)
    evaluating snli:  41%|####      | 6144/15003 [00:38<00:55, 161question/s]

On a terminal a bar is drawn twice a second; in a log, every ten seconds.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from flanmix.data.store import Store
    from flanmix.evaluate.evaluator import EvalTask


def bar(total: int, unit: str, *, initial: int = 0, leave: bool = True) -> tqdm:
    """Returns a bar of the first host; the others' is silent."""
    # Verbs that never import JAX run on one host, and must not take its accelerator for a bar.
    jax = sys.modules.get("jax")
    return tqdm(
        total=total,
        initial=initial,
        unit=unit,
        file=sys.stderr,
        leave=leave,
        disable=jax is not None and jax.process_index() != 0,
        dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 10.0,
    )


class QuestionBar:
    """The bar of an evaluation, which calls it; it goes away in the end.

    The rate is that of all questions so far: tasks differ in it, as their answers do in length.
    """

    def __init__(self, tasks: Sequence["EvalTask"], store: "Store", selection: int) -> None:
        from flanmix.evaluate.evaluator import questions

        self._bar = bar(questions(tasks, store, selection), "question", leave=False)

    def __enter__(self) -> "QuestionBar":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def __call__(self, task: str, answered: int) -> None:
        """Counts questions that were answered."""
        self._bar.set_description(f"evaluating {task}", refresh=False)
        self._bar.update(answered)
