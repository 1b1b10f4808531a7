r"""What a vocabulary loses of a task's templates and options.

    vocabulary_loss(task, load_vocabulary("t5_32000.model"))
    -> VocabularyLoss(task="rte", unknown_share=0.031, collapsed_pairs=0)

    option_problems(task, load_vocabulary("t5_32000.model"))
    -> [Problem("layout", None, None, "options 'a\\nb' and 'a b' are the same ids ...")]

T5's vocabulary has no line break, no brace and no tilde: the first is read as a space, the others
as the unknown token. Templates that differ in nothing else are then one template. What counts are
the templates' own characters, in inputs and targets: not the records', nor the lines of {options}.

Options that differ in nothing that the vocabulary has are the same ids: a model learns them as one,
and no score can tell them apart. That is a problem of the task, as `flanmix check` has it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flanmix.audit.lint import Problem
from flanmix.data.store.store import Store
from flanmix.data.vocabulary import Vocabulary
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import ANSWER, Template

_BATCH = 256  # records that are read at a time


@dataclass(frozen=True)
class VocabularyLoss:
    """What a vocabulary loses of one task.

    Attributes:
        task: the task's name.
        unknown_share: share of the templates' own characters, 0 to 1, that do not come back as they
            were: unknown ones, and those that are read as another, such as line breaks.
        collapsed_pairs: pairs of templates that differ and that the vocabulary makes the same.
    """

    task: str
    unknown_share: float
    collapsed_pairs: int


def vocabulary_loss(task: TaskSpec, vocabulary: Vocabulary) -> VocabularyLoss:
    """Returns what a vocabulary loses of a task's templates."""
    own = Counter(char for template in task.templates for text in _own(template) for char in text)
    lost = _lost(set(own), vocabulary)
    share = sum(own[char] for char in lost) / max(own.total(), 1)
    return VocabularyLoss(task.name, share, _collapsed_pairs(task, vocabulary))


def _own(template: Template) -> Iterator[str]:
    """Both sides of a template without what is put in."""
    nothing = dict.fromkeys(template.fields, "")
    yield template.render_inputs(nothing)
    yield template.render_targets(nothing)


def _lost(characters: set[str], vocabulary: Vocabulary) -> set[str]:
    """Those characters that do not come back as they were."""
    blank = {char for char in characters if char.isspace()}
    held = {char for char in characters - blank if _comes_back(char, vocabulary)}
    if held:  # white space means something only between two others
        beside = min(held)
        held |= {char for char in blank if _comes_back(f"{beside}{char}{beside}", vocabulary)}
    return characters - held


def _comes_back(text: str, vocabulary: Vocabulary) -> bool:
    return vocabulary.decode(vocabulary.encode(text)) == text


def _collapsed_pairs(task: TaskSpec, vocabulary: Vocabulary) -> int:
    """Pairs that differ as texts and not as ids; every field stands for itself by its name."""
    texts = set()
    for template in task.templates:
        names = {name: name for name in template.fields}
        texts.add((template.render_inputs(names), template.render_targets(names)))
    ids = Counter(tuple(tuple(vocabulary.encode(side)) for side in text) for text in texts)
    return sum(count * (count - 1) // 2 for count in ids.values())


# ---- options -----------------------------------------------------------------------------------


def option_problems(
    task: TaskSpec, vocabulary: Vocabulary, store: Store | None = None
) -> list[Problem]:
    """Returns which options of a task are the same ids in a vocabulary.

    Options that every record has itself are looked at in the store, if there is one: of each split
    the first record is named that has two of the same ids, and the others are counted.
    """
    if task.options:
        found: dict[tuple[str, ...], None] = {}  # in order, each once
        for number in task.forward_templates:
            template = task.templates[number]
            names = {name: name for name in template.fields}
            texts = [template.render_targets({**names, ANSWER: option}) for option in task.options]
            found.update(dict.fromkeys(_same_ids(task.options, texts, vocabulary)))
        return [Problem(task.name, None, None, _message(same)) for same in found]
    manifest = None if store is None or not task.has_options else store.manifest(task)
    if store is None or manifest is None:
        return []
    return [
        problem
        for split in manifest.splits
        if (problem := _split_problem(task, vocabulary, store, split))
    ]


def _split_problem(
    task: TaskSpec, vocabulary: Vocabulary, store: Store, split: str
) -> Problem | None:
    reader = store.open(task, split)
    first, count = None, 0
    for start in range(0, len(reader), _BATCH):
        for record in reader.__getitems__(range(start, min(start + _BATCH, len(reader)))):
            if same := _same_ids(record.options, record.options, vocabulary):
                count += 1
                first = first or (record.id, same[0])
    if first is None:
        return None
    message = f"{_message(first[1])}; so it is in {count} of {len(reader)} {split} records"
    return Problem(task.name, None, first[0], message)


def _same_ids(
    options: Sequence[str], texts: Sequence[str], vocabulary: Vocabulary
) -> list[tuple[str, ...]]:
    """The options whose texts are the same ids, together."""
    by_ids: dict[tuple[int, ...], list[str]] = {}
    for option, text in zip(options, texts, strict=True):
        by_ids.setdefault(tuple(vocabulary.encode(text)), []).append(option)
    return [tuple(same) for same in by_ids.values() if len(same) > 1]


def _message(same: Sequence[str]) -> str:
    *head, last = [repr(option) for option in same]
    named = f"options {', '.join(head)} and {last}"
    return f"{named} are the same ids in the vocabulary: a model learns them as one"
