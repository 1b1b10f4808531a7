"""Tasks and mixtures by name, from the default catalogue: the Python API's way in.

load_task("rte")                                   -> TaskSpec(...)
load_mixture("flan2021/nli")                       -> Mixture(...), its rates without counts
load_mixture("flan2021/nli", Store("store"))       -> what a run with this store trains on
"""

from typing import Protocol

from flanmix.errors import UserError
from flanmix.registry.catalogue import default_catalogue
from flanmix.registry.hints import prepare_hint
from flanmix.registry.mixture import Mixture, resolve
from flanmix.registry.task import TaskSpec


class Counts(Protocol):
    """What is asked of a store."""

    def count(self, task: TaskSpec, split: str) -> int | None:
        """How many records a split has; None where it is not prepared."""
        ...


def load_task(name: str) -> TaskSpec:
    """Returns a task.

    Raises:
        UserError: the name is unknown, or the task's declaration has a mistake.
    """
    return default_catalogue().task(name)


def load_mixture(name: str, store: Counts | None = None) -> Mixture:
    """Returns a mixture, or whatever else stands for tasks, with its rates.

    Args:
        name: a mixture, a task, a collection, `collection/cluster` or a glob.
        store: where its tasks are prepared; without one, proportional rates are all 1.

    Returns:
        With a store, the tasks that have a training split; without, all of its tasks.

    Raises:
        UserError: the name is unknown, or a task is not in the store.
    """
    catalogue = default_catalogue()
    if store is None:
        return resolve(catalogue.mixture(name), catalogue, lambda task: None)
    mixture = resolve(catalogue.mixture(name), catalogue, lambda task: store.count(task, "train"))
    prepared, absent, _ = mixture.parts()
    if absent.tasks or not prepared.tasks:
        names = ", ".join(absent.names) or "any task"
        raise UserError(f"no training records of {names}: {prepare_hint(name)}")
    return prepared
