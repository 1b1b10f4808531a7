"""What a mixture's training records share with the test records of other tasks.

    measure_against("rte", "snli", catalogue, Store("store")).overlap.pairs
    -> (PairOverlap("rte", "snli", duplicates=0, shared_13=2, shared_8=5, worst=...), ...)

The measure is defined in flanmix/audit/overlap/overlap.py. On the training side are all records of
the training splits in the store, which are what a mixture draws from: a cap or a rate says how
often records are drawn, not which. On the other side is each task's test split, or its validation
split where it has no test split. Tasks that are not prepared, or have no such split, are left out
and named.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from flanmix.console import bar
from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.hints import prepare_hint
from flanmix.registry.task import TaskSpec

if TYPE_CHECKING:
    from flanmix.audit.overlap.overlap import Overlap
    from flanmix.data.store.store import Store


@dataclass(frozen=True)
class Against:
    """The overlap with what `mixture` stands for.

    Attributes:
        mixture: what is tested.
        splits: the splits of its tasks that were compared, in order.
        overlap: what is shared.
        absent: training tasks that are not prepared, and not compared.
        absent_tests: tested tasks that are not prepared, and not compared.
        without_tests: tasks of the tested mixture with neither a test nor a validation split.
    """

    mixture: str
    splits: tuple[str, ...]
    overlap: "Overlap"
    absent: tuple[str, ...] = ()
    absent_tests: tuple[str, ...] = ()
    without_tests: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The key `against` of the card's JSON."""
        from flanmix.audit.overlap.overlap import COMPARED

        tasks = [
            {"name": task.name, "split": split, **asdict(task)}
            for task, split in zip(self.overlap.tasks, self.splits, strict=True)
        ]
        return {
            "mixture": self.mixture,
            "tasks": tasks,
            "pairs": [asdict(pair) for pair in self.overlap.pairs],
            "absent": self.absent,
            "absent_tests": self.absent_tests,
            "without_tests": self.without_tests,
            "compared": COMPARED,
        }


def measure_against(name: str, other: str, catalogue: Catalogue, store: "Store | None") -> Against:
    """Measures what the training records of a mixture share with the test records of another.

    Args:
        name: the mixture that is trained on, or whatever else stands for tasks.
        other: the one that is tested on.
        catalogue: where both are looked up.
        store: where their records are.

    Raises:
        UserError: without a store, for an unknown name, and where on one of the sides no task is
            prepared.
    """
    if store is None:
        raise UserError(f"--against {other} compares prepared records: say where with --store DIR")
    from flanmix.audit.overlap.overlap import HeldOut, compare

    training = _training(name, catalogue)
    tested = _tested(other, catalogue)
    without = [spec.name for spec in _specs(other, catalogue) if _tested_split(spec) is None]
    if without and not tested:
        raise UserError(
            f"--against {other}: '{without[0]}' has neither a test nor a validation split"
        )
    training, absent = _prepared(store, name, training)
    tested, absent_tests = _prepared(store, other, tested)
    sides = [[(task, store.open(task, split)) for task, split in s] for s in (tested, training)]
    records = sum(len(reader) for side in sides for _, reader in side)
    read, seen = ([(task.name, reader) for task, reader in side] for side in sides)
    with bar(records, "record", leave=False) as progress:

        def tell(verb: str, task: str, count: int) -> None:
            progress.set_description(f"{verb} {task}", refresh=False)
            progress.update(count)

        held_out = HeldOut(read, progress=lambda task, count: tell("indexing", task, count))
        overlap = compare(
            held_out, seen, progress=lambda task, count: tell("comparing", task, count)
        )
    return Against(
        other,
        tuple(split for _, split in tested),
        overlap,
        absent=absent,
        absent_tests=absent_tests,
        without_tests=tuple(without),
    )


_Splits = Sequence[tuple[TaskSpec, str]]


def _specs(name: str, catalogue: Catalogue) -> list[TaskSpec]:
    return [catalogue.task(task) for task in catalogue.expand(name)]


def _training(name: str, catalogue: Catalogue) -> _Splits:
    """The tasks that a mixture trains on, each with its split; its card names the others."""
    return [(spec, "train") for spec in _specs(name, catalogue) if spec.splits.get("train")]


def _tested(name: str, catalogue: Catalogue) -> _Splits:
    """The tasks that are tested, each with its split."""
    specs = [(spec, _tested_split(spec)) for spec in _specs(name, catalogue)]
    return [(spec, split) for spec, split in specs if split is not None]


def _tested_split(spec: TaskSpec) -> str | None:
    return next((split for split in ("test", "validation") if spec.splits.get(split)), None)


def _prepared(store: "Store", name: str, splits: _Splits) -> tuple[_Splits, tuple[str, ...]]:
    """Those that are prepared, and the names of the others; an error if none is."""
    there = [(spec, split) for spec, split in splits if store.count(spec, split) is not None]
    found = {spec.name for spec, _ in there}
    absent = tuple(spec.name for spec, _ in splits if spec.name not in found)
    if absent and not there:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise UserError(
            f"not prepared in store {store.root}: {', '.join(absent[:3])}{more}; "
            f"{prepare_hint(name, store.root)}"
        )
    return there, absent
