r"""The canonical record: what every later stage reads, whatever the source was.

    Record(id="train-17", fields={"premise": "It rains."}, answers=("yes",), options=("yes", "no"))

`fields` are the task's named strings, `answers` holds one text or, for a task with several
references, all of them, and `options` is empty for generation. On disk it is one line of JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """One canonical record; `answers` has at least one text, which is an option if there are any.

    Attributes:
        id: the record's name within its task, `<split>-<number>`.
        fields: the task's fields by name.
        answers: the answer, or all accepted references.
        options: the answer options, in label order; empty for generation.
    """

    id: str
    fields: Mapping[str, str]
    answers: tuple[str, ...]
    options: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Encodes the record as UTF-8 JSON; lone surrogates are escaped, so any text survives."""
        row = [self.id, dict(self.fields), list(self.answers), list(self.options)]
        return json.dumps(row, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Record":
        """Decodes what `to_bytes` wrote."""
        identity, fields, answers, options = json.loads(data)
        return cls(identity, fields, tuple(answers), tuple(options))
