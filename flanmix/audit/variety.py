"""Whether the templates of a task are as many wordings as they are templates.

    variety_faults(templates)
    -> [(3, "is like template 1: 83 % of their text is the same (at most 70 %)"),
        (None, "7 of its 10 templates open with 'classify' (at most 5)")]

Ten near copies teach a model one instruction ten times. Templates are compared as a vocabulary
without line breaks sees them, T5's for one: white space collapsed, and fields without their names.
All of this is for collections of wordings: a task with a few templates, such as a first draft or
what passes a SeqIO task on, is not measured.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from itertools import combinations

from flanmix.audit.spacing import FIELD_MARK, marked, without_names
from flanmix.registry.template import Template

# Fewer templates are no collection, whose parts could be spread in any way.
FEWEST = 4

# How much of two texts may be the same, by the blocks that they share in order. Above, a reader
# sees the second as the first with some words replaced. Templates written one by one are below:
# two of Flan 2021's share at most 0.64.
MOST_ALIKE = 0.7
# A short request has few ways to be said ("Translate into German: ..." and "Put into German: ...")
# and changes with where its field stands; up to this length only a copy is too much.
SHORT = 56
MOST_ALIKE_SHORT = 0.92

# What moves whole clauses keeps little in order, and is found by runs of words: copied are at least
# half of the shorter one's, and more than one phrase that two wordings may well share.
RUN = 3
MOST_SHARED = 0.5
FEWEST_SHARED = 5

# The longest text is at least this many times as long as the shortest: else a model learns where
# the text stands, and a prompt of another length is new to it.
LEAST_SPREAD = 1.5
# Openings, the first two words or fields, that differ, as a share of the templates; and the share
# that may open with one and the same word or field.
LEAST_OPENINGS = 0.6
MOST_OPENED_ALIKE = 0.5


class _Wording:
    """A template's input as a vocabulary without line breaks sees it."""

    def __init__(self, template: Template) -> None:
        self.text = without_names(marked(template.render_inputs, template.input_fields))

    @cached_property
    def runs(self) -> frozenset[tuple[str, ...]]:
        """Runs of words that no field interrupts."""
        words = (re.findall(r"\w+", part.lower()) for part in self.text.split(FIELD_MARK))
        return frozenset(
            tuple(part[i : i + RUN]) for part in words for i in range(len(part) - RUN + 1)
        )

    @cached_property
    def opening(self) -> list[str]:
        """The first two words or fields."""
        return re.findall(rf"\w+|{FIELD_MARK}", self.text.lower())[:2]


def variety_faults(templates: Sequence[Template]) -> list[tuple[int | None, str]]:
    """Returns (template, message) of what makes them too much the same; None is all of them."""
    if len(templates) < FEWEST:
        return []
    wordings = [_Wording(template) for template in templates]
    return [*_alike(wordings), *((None, message) for message in _spread(wordings))]


def _alike(wordings: Sequence[_Wording]) -> Iterator[tuple[int, str]]:
    for (i, one), (j, other) in combinations(enumerate(wordings), 2):
        limit = MOST_ALIKE
        if max(len(one.text), len(other.text)) <= SHORT:
            limit = MOST_ALIKE_SHORT
        if one.text == other.text:
            yield j, f"is template {i} again, but for line breaks and fields"
        elif (same := _sameness(one.text, other.text, limit)) > limit:
            yield (
                j,
                f"is like template {i}: {same:.0%} of their text is the same, at most {limit:.0%}",
            )
        elif (shared := len(one.runs & other.runs)) >= FEWEST_SHARED:
            fewer = min(len(one.runs), len(other.runs))
            if shared >= MOST_SHARED * fewer:
                message = f"has {shared} of {fewer} runs of {RUN} words with template {i}"
                yield j, f"{message}: at most {MOST_SHARED:.0%}"


def _sameness(one: str, other: str, limit: float) -> float:
    """The share of both texts in blocks that they have in common, or an upper bound of it."""
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    for bound in (matcher.real_quick_ratio, matcher.quick_ratio):
        if (share := bound()) <= limit:
            return share
    return matcher.ratio()


def _spread(wordings: Sequence[_Wording]) -> Iterator[str]:
    count = len(wordings)
    lengths = sorted(len(wording.text) for wording in wordings)
    if lengths[-1] < LEAST_SPREAD * lengths[0]:
        yield (
            f"its templates are all of a length, {lengths[0]} to {lengths[-1]} characters: the "
            f"longest should have {LEAST_SPREAD:g} times as many as the shortest"
        )
    openings = {tuple(wording.opening) for wording in wordings}
    if len(openings) < (least := math.ceil(LEAST_OPENINGS * count)):
        yield f"its {count} templates open in {len(openings)} ways: at least {least}"
    ((word, times),) = Counter(w.opening[0] for w in wordings if w.opening).most_common(1) or [
        ("", 0)
    ]
    if times > (most := math.floor(MOST_OPENED_ALIKE * count)):
        with_ = "a field" if word == FIELD_MARK else f"'{word}'"
        yield f"{times} of its {count} templates open with {with_}: at most {most}"
    if len({wording.text[-1] for wording in wordings}) == 1:
        end = wordings[0].text[-1]
        with_ = "a field" if end == FIELD_MARK else f"'{end}'"
        yield f"all of its templates end with {with_}"
