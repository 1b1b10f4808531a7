r"""The canonical record: what every later stage reads, whatever the source was.

    Record(id="train-17", fields={"premise": "It rains."}, answers=("yes",), options=("yes", "no"))
    ->  {"id":"train-17","fields":{"premise":"It rains."},"answers":["yes"],"options":["yes","no"]}

`fields` are the task's named strings, `answers` holds one text or, for a task with several
references, all of them, and `options` is empty for generation. What only some records have (a
conversation, a rationale, a weight, metadata) is written where it is there. On disk a record is one
JSON object.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True)
class Message:
    """One turn of a conversation: who speaks, one of `ROLES`, and what is said."""

    role: str
    content: str


@dataclass(frozen=True)
class Record:
    """One canonical record; `answers` has at least one text, which is an option if there are any.

    Attributes:
        id: the record's name within its task, `<split>-<number>`.
        fields: the task's fields by name.
        answers: the answer, or all accepted references.
        options: the answer options, in label order; empty for generation.
        messages: a conversation, turn by turn; empty where there is none.
        rationale: the reasoning that leads to the answer; empty where there is none.
        weight: factor of the loss of its examples, finite and not negative.
        metadata: whatever else is kept of it, as JSON holds it.
    """

    id: str
    fields: Mapping[str, str]
    answers: tuple[str, ...]
    options: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()
    rationale: str = ""
    weight: float = 1.0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Encodes the record as JSON, so that any text survives, lone surrogates too."""
        row: dict[str, Any] = {"id": self.id, "fields": dict(self.fields), "answers": self.answers}
        if self.options:
            row["options"] = self.options
        if self.messages:
            row["messages"] = [asdict(message) for message in self.messages]
        if self.rationale:
            row["rationale"] = self.rationale
        if self.weight != 1.0:
            row["weight"] = self.weight
        if self.metadata:
            row["metadata"] = self.metadata
        text = json.dumps(row, separators=(",", ":"), ensure_ascii=False)
        # Not as escapes: two surrogates side by side would be read as the letter that they spell.
        return text.encode("utf-8", "surrogatepass")

    @classmethod
    def from_bytes(cls, data: bytes) -> "Record":
        """Decodes what `to_bytes` wrote.

        Raises:
            ValueError, TypeError: it wrote something else.
        """
        row = json.loads(data)
        if not isinstance(row, dict):
            raise TypeError(f"a record is a JSON object, and this is a {type(row).__name__}")
        for name in ("answers", "options"):
            row[name] = tuple(row.get(name, ()))
        if "messages" in row:
            row["messages"] = tuple(Message(**message) for message in row["messages"])
        return cls(**row)
