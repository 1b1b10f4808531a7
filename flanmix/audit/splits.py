"""Whether a task's split expressions can be read, and whether two of its splits share rows.

lint_splits(task of train "train[:90%]", validation "train[80%:]")
-> [Problem("toy", None, None, "splits train and validation share rows: ...")]
"""

from itertools import combinations

from flanmix.audit.lint import Problem
from flanmix.data.sources.api import SOURCES
from flanmix.data.sources.slices import Part, parse_split
from flanmix.registry.task import TaskSpec


def lint_splits(task: TaskSpec) -> list[Problem]:
    """Malformed split expressions, and splits that share rows."""
    parts: dict[str, tuple[Part, ...]] = {}
    messages = []
    reader = SOURCES.get(task.source.kind)
    own = reader is not None and reader.own_splits
    for split, expression in task.splits.items():
        try:
            parts[split] = parse_split(expression) if expression else ()
        except ValueError as error:
            # A library has more forms than ours; whatever they are, it reads them.
            if own:
                messages.append(f"{split}: {error}")
    for (one, its), (other, theirs) in combinations(parts.items(), 2):
        if any(_overlap(a, b) for a in its for b in theirs):
            both = f"{task.splits[one]} and {task.splits[other]}"
            messages.append(f"splits {one} and {other} share rows: {both}")
    return [Problem(task.name, None, None, message) for message in messages]


def _overlap(one: Part, other: Part) -> bool:
    """Whether two parts share rows in every dataset that is large enough."""
    large = 10**9
    (a, b), (c, d) = (part.range(large, lambda message: None) for part in (one, other))
    return one.name == other.name and max(a, c) < min(b, d)
