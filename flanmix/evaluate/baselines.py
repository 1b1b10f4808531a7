"""What can be scored without a model: the figures that a model's scores stand beside.

    majority([Record(options=("yes", "no"), answers=("yes",)), ...])  -> ["yes", "yes", ...]
    copies(spec, records)["text"]  ->  each record's field `text`, as if it were the answer

The first is for classification; the second says what a generated answer must beat.
"""

from collections import Counter
from collections.abc import Sequence

from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec


def majority(records: Sequence[Record]) -> list[str]:
    """The answer of one who always gives the option that is right most often.

    The choice is made on these very records, which makes it the best constant answer. An option
    counts by its index in the list: with fixed options that is its class, with options of each
    record's own it is the best constant index.
    """
    right = Counter(
        index
        for record in records
        for index, option in enumerate(record.options)
        if option in record.answers
    )
    index = min(right, key=lambda index: (-right[index], index))
    return [record.options[min(index, len(record.options) - 1)] for record in records]


def copies(spec: TaskSpec, records: Sequence[Record]) -> dict[str, list[str]]:
    """For each field that the scored templates show: that field of every record, as its answer."""
    shown = set().union(*(spec.templates[i].input_fields for i in spec.forward_templates))
    return {
        name: [record.fields[name] for record in records]
        for name in sorted(spec.fields)
        if name in shown
    }
