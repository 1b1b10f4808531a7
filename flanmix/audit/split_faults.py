"""What is wrong with a split as a whole, where each of its records is as it should be.

    faults = SplitFaults(task, answered)       # one for each split; `answered` is for all of a task
    faults.add(record)                         # record by record
    faults.problems()
    -> ["split test has one answer alone, 'no', in 100 records", ...]

One answer alone teaches and measures nothing. The same question with two answers is noise in one of
them; questions are compared over all splits of a task, as far as its templates show them. ROUGE
knows the letters a to z and digits, and scores other writing 0 whatever is said.
"""

import hashlib
import re
from collections.abc import MutableMapping

from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

_FEWEST = 3  # records of a split that may be expected to have more than one answer
_UNREAD = 0.05  # share of answers that ROUGE can't read, from which on it is said
_READ = re.compile(r"[a-z0-9]", re.IGNORECASE | re.ASCII)

# The question's digest -> the first record that asks it, and its answer.
Answered = MutableMapping[bytes, tuple[str, str]]


class SplitFaults:
    """Collects over the records of a split what only many of them together show.

    Args:
        task: the task.
        split: the split.
        answered: the questions of the task's splits before; added to.
    """

    def __init__(self, task: TaskSpec, split: str, answered: Answered) -> None:
        self._task, self._split, self._answered = task, split, answered
        forward = [task.templates[number].input_fields for number in task.forward_templates]
        self._shown = sorted(frozenset().union(*forward) & set(task.fields))
        self._records = self._unread = self._others = 0
        self._answers: set[str] = set()
        self._other = ""

    def add(self, record: Record) -> None:
        """Takes a record in."""
        self._records += 1
        if not record.answers:
            return
        answer = record.answers[0]
        if len(self._answers) < 2:
            self._answers.add(answer)
        self._unread += not any(map(_mostly_read, record.answers))
        if not self._task.has_options:
            return
        question = "\x1f".join([*(record.fields.get(name, "") for name in self._shown)])
        options = "\x1f".join(sorted(record.options))
        digest = hashlib.blake2b(f"{question}\x1e{options}".encode("utf-8", "surrogatepass"))
        first, said = self._answered.setdefault(digest.digest()[:16], (record.id, answer))
        if said != answer:
            self._others += 1
            self._other = self._other or f"{record.id} '{answer[:40]}', {first} '{said[:40]}'"

    def problems(self) -> list[str]:
        """What is wrong, a line each."""
        found = []
        if self._task.has_options and len(self._answers) == 1 and self._records >= _FEWEST:
            (only,) = self._answers
            found.append(
                f"split {self._split} has one answer alone, '{only[:80]}', in {self._records} "
                "records"
            )
        if self._others:
            found.append(
                f"split {self._split}: {self._others} records ask what another one asks and have "
                f"another answer: {self._other}"
            )
        if "rouge" in self._task.metrics and self._unread > _UNREAD * self._records:
            found.append(
                f"split {self._split}: metric 'rouge' reads Latin letters and digits alone, which "
                f"{self._unread} of {self._records} answers are not: use rouge_unicode"
            )
        return found


def _mostly_read(text: str) -> bool:
    """Whether at least half of a text's letters and digits are those that ROUGE knows."""
    letters = sum(character.isalnum() for character in text)
    return 2 * len(_READ.findall(text)) >= letters
