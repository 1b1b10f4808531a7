r"""What a vocabulary loses of a task's templates.

    vocabulary_loss(task, load_vocabulary("t5_32000.model"))
    -> VocabularyLoss(task="rte", unknown_share=0.031, collapsed_pairs=0)

T5's vocabulary has no line break, no brace and no tilde: the first is read as a space, the others
as the unknown token. Templates that differ in nothing else are then one template. What counts are
the templates' own characters, in inputs and targets: not the records', nor the lines of {options}.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from flanmix.data.vocabulary import Vocabulary
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import Template


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
