"""The reference: every name that a user writes, its type, default and meaning, from the code.

    find("AdamW.weight_decay")
    ->  [Entry("AdamW.weight_decay", "gin name", "number", "0.01", "times the learning rate, ...")]

Keys are those of the dataclasses that hold them, sources, metrics, models and losses those of their
tables (plugins' too), gin names those that gin is given. What each means is said in the docstrings,
under `Attributes:` for a field and `Settings:` for a source's setting, and nowhere else. An entry
whose docstring says nothing has an empty text, and `undocumented` names it.
"""

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flanmix.data.sources import api
from flanmix.errors import UserError, nearest
from flanmix.evaluate.metrics import METRICS
from flanmix.fields import macros
from flanmix.registry import card
from flanmix.registry.mixture import MixtureSpec, mixture_keys
from flanmix.registry.task import TaskSpec
from flanmix.registry.template import Template
from flanmix.verbs.gin_config import configurables

Style = Literal["yaml", "gin"]

# What the sections are called, in their order; `Entry.kind` is one of them in the singular.
SECTIONS = {
    "task key": "Keys of a task",
    "template key": "Keys of a template",
    "mixture key": "Keys of a mixture",
    "source": "Sources",
    "source setting": "Settings of sources",
    "metric": "Metrics",
    "gin macro": "Short gin names",
    "gin class": "Gin classes",
    "gin name": "Gin names",
}

_HEADING = re.compile(r"^(Args|Attributes|Raises|Returns|Settings|Yields):$", re.MULTILINE)
_ITEM = re.compile(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)
_WORDS = {str: "text", int: "whole number", float: "number", Any: "any value"}
_NAMES: dict[Style, dict[Any, str]] = {
    "yaml": {None: "null", True: "true", False: "false"},
    "gin": {None: "None", True: "True", False: "False"},
}


@dataclass(frozen=True)
class Entry:
    """What the reference says of one name.

    Attributes:
        name: as the user writes it; a field of a gin class, or a setting, with its owner in front.
        kind: what it is the name of, a key of `SECTIONS` (or "verb").
        type: which values it takes, in words; empty where it takes none.
        default: the value where none is given; None where one must be, or where it takes none.
        text: what it means; empty where no docstring says it.
        details: more lines, such as a source's contract.
    """

    name: str
    kind: str
    type: str
    default: str | None
    text: str
    details: str = ""

    def to_json(self) -> dict[str, Any]:
        """The document that `--json` prints."""
        text = "\n\n".join(filter(None, (self.text, self.details)))
        return {
            "name": self.name,
            "kind": self.kind,
            "type": self.type,
            "default": self.default,
            "text": text,
        }


def entries() -> list[Entry]:
    """Returns the whole reference, section by section."""
    return [
        *_task_keys(),
        *_fields(Template, "template key", "yaml"),
        *(e for e in _fields(MixtureSpec, "mixture key", "yaml") if e.name in mixture_keys()),
        *_sources(),
        *_metrics(),
        *_macros(),
        *_gin_names(),
    ]


def find(name: str, known: list[Entry]) -> list[Entry]:
    """Returns the entries of a name, those of a field's name without its class among them.

    Raises:
        UserError: there is none; says the nearest name.
    """
    for same in (str, str.casefold):
        exact = [e for e in known if same(e.name) == same(name)]
        fields = [e for e in known if same(e.name.rpartition(".")[2]) == same(name)]
        if found := exact + [e for e in fields if e not in exact]:
            return found
    names = {n for e in known for n in (e.name, e.name.rpartition(".")[2])}
    raise UserError(f"the reference has no '{name}'{nearest(name, sorted(names))}")


def undocumented(known: list[Entry]) -> list[str]:
    """Returns the names of the entries whose docstring says nothing."""
    return [f"{entry.kind} {entry.name}" for entry in known if not entry.text]


# ---- docstrings and types ----------------------------------------------------------------------


def parts(thing: Any) -> tuple[str, dict[str, str]]:
    """Returns a docstring's prose, and name -> meaning of its `Attributes:` and `Settings:`."""
    doc = inspect.cleandoc(thing.__doc__ or "")
    if inspect.isclass(thing) and doc.startswith(f"{thing.__name__}("):
        doc = ""  # made by `dataclass`, where nobody wrote one
    prose, *rest = _HEADING.split(doc)
    bodies = zip(rest[::2], rest[1::2], strict=True)
    said = "\n".join(body for heading, body in bodies if heading in ("Attributes", "Settings"))
    return prose.strip(), {name: " ".join(text.split()) for name, text in _ITEM.findall(said)}


def type_in_words(hint: Any, style: Style = "gin") -> str:
    """Returns which values a field takes: `int | None` is "whole number or None"."""
    if hint is None or hint is types.NoneType:
        return _NAMES[style][None]
    if hint is bool:
        return f"{_NAMES[style][True]} or {_NAMES[style][False]}"
    if hint in _WORDS:
        return _WORDS[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    inner = [type_in_words(a, style) for a in arguments if a is not ... and origin is not Literal]
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (types.UnionType, typing.Union):
        return " or ".join(inner)
    if origin in (tuple, Sequence):
        return f"list of {inner[0]}s"
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return f"mapping of {inner[0]} to {inner[1]}"
    return hint.__name__ if inspect.isclass(hint) else str(hint)


def _default(field: dataclasses.Field, style: Style) -> str | None:
    """The default as the user would write it; None where there is none."""
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING:
        return None
    if dataclasses.is_dataclass(value):
        return f"@{type(value).__name__}()"
    if value is None or isinstance(value, bool):
        return _NAMES[style][value]
    if isinstance(value, tuple):
        value = list(value)
    return value if style == "yaml" and isinstance(value, str) else repr(value)


def _fields(kind: type, section: str, style: Style, prefix: str = "") -> Iterator[Entry]:
    """The fields of a dataclass that whoever makes one gives."""
    try:
        hints = typing.get_type_hints(kind)
    except NameError:  # a plugin's annotation that only type checkers can read
        hints = {field.name: field.type for field in dataclasses.fields(kind)}
    said = parts(kind)[1]
    for field in dataclasses.fields(kind):
        if field.init:
            words = type_in_words(hints[field.name], style)
            text = said.get(field.name, "")
            yield Entry(f"{prefix}{field.name}", section, words, _default(field, style), text)


# ---- the sections ------------------------------------------------------------------------------


def _task_keys() -> Iterator[Entry]:
    fields = {entry.name: entry for entry in _fields(TaskSpec, "task key", "yaml")}
    for key in card.KEYS:
        own = fields.get(card.FIELDS.get(key, key))
        default = None if own is None or key in card.REQUIRED else own.default
        yield Entry(
            name=key,
            kind="task key",
            type=card.FORMS.get(key) or (own.type if own else ""),
            default=card.DEFAULTS.get(key, default),
            text=card.MEANINGS.get(key) or (own.text if own else ""),
        )


def _sources() -> Iterator[Entry]:
    readers = [(name, type(reader), reader) for name, reader in api.SOURCES.items()]
    for name, kind, _ in readers:
        contract = inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "")
        text = " ".join(parts(kind)[0].split())
        yield Entry(name, "source", "text: its location", None, text, contract)
    for name, kind, reader in readers:
        for setting in reader.settings:
            text = parts(kind)[1].get(setting, "")
            yield Entry(f"{name}.{setting}", "source setting", "", None, text)


def _metrics() -> Iterator[Entry]:
    for name, metric in METRICS.items():
        stands = f"`{metric.primary}` stands for it in means over tasks." if metric.primary else ""
        text = " ".join(parts(metric.function)[0].split())
        yield Entry(name, "metric", "", None, text, stands or "It is in no mean over tasks.")


def _macros() -> Iterator[Entry]:
    fields = {entry.name: entry for entry in _gin_names() if entry.kind == "gin name"}
    by_macro: dict[str, list[Entry]] = {}
    for macro, part, field in macros(configurables()):
        by_macro.setdefault(macro, []).append(fields[f"{part.__name__}.{field.name}"])
    for macro, own in by_macro.items():
        text = "; ".join(f"`{entry.name}`: {entry.text.rstrip('.')}" for entry in own)
        said = all(entry.text for entry in own)
        defaults = {entry.default for entry in own}
        each = ", ".join(f"{entry.default} of {entry.name}" for entry in own)
        default = own[0].default if len(defaults) == 1 else each
        yield Entry(macro, "gin macro", own[0].type, default, text if said else "")


def _gin_names() -> Iterator[Entry]:
    """Each class, then its fields."""
    for kind in configurables():
        fields = list(_fields(kind, "gin name", "gin", prefix=f"{kind.__name__}."))
        lines = [f"{e.name} ({e.type}; {shown_default(e)}): {e.text}" for e in fields]
        yield Entry(kind.__name__, "gin class", "", None, parts(kind)[0], "\n".join(lines))
        yield from fields


def shown_default(entry: Entry) -> str:
    """The default of a key or gin name, in words."""
    return "required" if entry.default is None else f"default {entry.default}"


def takes_value(entry: Entry) -> bool:
    """Whether the user gives it a value: a key, or a gin name that is no class."""
    return entry.kind.endswith(" key") or entry.kind in ("gin macro", "gin name")
