"""What gin files and flags say, statement by statement: who binds what, where, and what it reads.

    read(["a.gin"], ["STEPS = 3"])
    -> [Statement("Schedule.steps", %STEPS, place="a.gin, line 7"), ..., Statement("STEPS", 3)]

Gin itself keeps the last value of a name alone. Here every statement stays, in the order in which
they hold, with the files that are included in the place of their `include`; so a name that is given
twice in one place is found, and whoever asks what is read by nobody can say where it was given.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from flanmix.errors import UserError
from gin import config_parser

_BEFORE_ALL = -1  # the number of what stands before the files


@dataclass(frozen=True)
class Reference:
    """`@Class()`, `@Class` or `%MACRO` within a value; `text` has its sign and no brackets."""

    text: str

    @property
    def macro(self) -> str:
        """The macro's name; "" for a class."""
        return self.text[1:] if self.text.startswith("%") else ""

    @property
    def kind(self) -> str:
        """The class's name, without module and scope; "" for a macro."""
        return "" if self.macro else re.split(r"[@/.]", self.text)[-1]

    @property
    def scope(self) -> str:
        """The scope in which a class is made, or a macro is looked up; mostly ""."""
        return self.text[1:].rpartition("/")[0]

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Statement:
    """One binding.

    Attributes:
        name: `MACRO` or `Class.field`, without modules.
        value: the literal, with a `Reference` for each reference in it.
        reads: the references in it.
        scope: the scope that it is bound in, mostly "".
        place: where it stands, as messages say it.
        files: the numbers of the files that it stands in, the one that includes the others first;
            none for a flag.
    """

    name: str
    value: Any
    reads: tuple[Reference, ...] = ()
    scope: str = ""
    place: str = "the command line"
    files: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What is bound: scope and name."""
        return self.scope, self.name

    @property
    def owner(self) -> str:
        """The class whose field is bound; "" for a macro."""
        return self.name.rpartition(".")[0]


class _References(config_parser.ParserDelegate):
    """Leaves references in a value as they stand."""

    def configurable_reference(  # pyrefly: ignore[bad-override]
        self, scoped_configurable_name: str, evaluate: bool
    ) -> Reference:
        return Reference(f"@{scoped_configurable_name}")

    def macro(self, macro_name: str) -> Reference:  # pyrefly: ignore[bad-override]
        return Reference(f"%{macro_name}")


class _Reader:
    """Reads files and what they include; see `read`."""

    def __init__(self, open_file: Callable[[str], TextIO]) -> None:
        self._open = open_file
        self._files = 0

    def of_file(self, path: str, includers: tuple[int, ...] = ()) -> Iterator[Statement]:
        inside = (*includers, self._files)
        self._files += 1
        with self._open(path) as source:
            for found in config_parser.ConfigParser(source, _References()):
                if isinstance(found, config_parser.IncludeStatement):
                    yield from self.of_file(found.filename, inside)
                elif isinstance(found, config_parser.BindingStatement):
                    place = f"{path}, line {found.location.line_num}"
                    yield _statement(found, place=place, files=inside)

    def of_flag(self, binding: str) -> Iterator[Statement]:
        for found in config_parser.ConfigParser(binding, _References()):
            if isinstance(found, config_parser.BindingStatement):
                yield _statement(found)


def read(
    files: Sequence[str], bindings: Sequence[str], open_file: Callable[[str], TextIO]
) -> list[Statement]:
    """Returns every binding of files and flags, those of a file that is included in its place.

    Args:
        files: gin files that gin could parse.
        bindings: the flags' bindings, which hold after the files.
        open_file: opens a file by the name that a file or flag has for it.
    """
    reader = _Reader(open_file)
    found = [statement for path in files for statement in reader.of_file(path)]
    return found + [s for binding in bindings for s in reader.of_flag(binding)]


def read_text(text: str, place: str) -> list[Statement]:
    """Returns the bindings of a text that stands before all files, and that nobody wrote there."""
    found = config_parser.ConfigParser(text, _References())
    bindings = (one for one in found if isinstance(one, config_parser.BindingStatement))
    return [_statement(one, place=place, files=(_BEFORE_ALL,)) for one in bindings]


def last(statements: Sequence[Statement]) -> Mapping[tuple[str, str], Statement]:
    """Returns the statement that holds for each (scope, name)."""
    return {statement.key: statement for statement in statements}


def check_twice(statements: Sequence[Statement]) -> None:
    """Checks that no file binds a name twice, nor the command line to two values.

    A file that includes another may bind what that one binds: that is how values are overridden.

    Raises:
        UserError: names both places.
    """
    first: dict[tuple, Statement] = {}
    for statement in statements:
        before = first.setdefault((statement.files, statement.key), statement)
        if before is statement:
            continue
        if not statement.files:
            if before.value != statement.value:
                raise UserError(
                    f"{statement.name} is given twice on the command line, as {before.value!r} "
                    f"and as {statement.value!r}: leave one"
                )
        else:
            number = statement.place.rpartition(" ")[2]
            raise UserError(
                f"{statement.name} is bound twice in one file ({before.place}, and line {number}): "
                "leave one"
            )


def _statement(binding: config_parser.BindingStatement, **placed: Any) -> Statement:
    """Returns a parsed binding as a statement, its names without modules."""
    owner = binding.selector.rpartition(".")[2]
    name = f"{owner}.{binding.arg_name}" if binding.arg_name else binding.selector
    reads = tuple(_references(binding.value))
    return Statement(name, binding.value, reads, binding.scope or "", **placed)


def _references(value: Any) -> Iterator[Reference]:
    """Yields the references of a value, and of what it contains."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, Mapping):
        for item in (*value.keys(), *value.values()):
            yield from _references(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _references(item)
