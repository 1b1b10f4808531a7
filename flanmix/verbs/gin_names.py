"""Which gin names a run reads: its classes, the short names of their fields, and what nobody reads.

A short name (`by_macro`) and the field that it sets are one setting: the last that is given holds,
files before flags, whichever of the two names it has. `LEARNING_RATE` on the command line overrides
`Schedule.rate` in a file, and the other way round. A name that several parts of a run share, such
as SEED, sets those that no later binding sets by themselves. Here gin is told so:

    names = Names(statements, configurables())
    names.bind()                     # Schedule.rate = %LEARNING_RATE, and defaults of what is unset
    names.check_read()               # AdamW.b1 has no effect: Adafactor runs
"""

import functools
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from typing import Any

import gin
from flanmix.errors import UserError, nearest
from flanmix.fields import macros
from flanmix.learn.loss import LOSSES
from flanmix.learn.optimizer import Adafactor, AdamW
from flanmix.learn.schedule import Schedule
from flanmix.model.api import MODELS
from flanmix.train.settings import PARTS, TrainConfig
from flanmix.verbs.gin_statements import Reference, Statement, last

REQUIRED = Reference("%gin.REQUIRED")


@dataclass(frozen=True)
class _Field:
    """A field with a short name; `name` is `Class.field`."""

    name: str
    kind: str
    default: Any


@dataclass
class _Read:
    """What a run reads: names of classes, names of macros, and the scopes that they are read in."""

    kinds: set[str] = field(default_factory=set)
    macros: set[str] = field(default_factory=set)
    scopes: set[str] = field(default_factory=lambda: {""})


class Names:
    """What statements bind, against what the run reads.

    Args:
        statements: all bindings, in the order in which they hold.
        kinds: every class that is a gin name.
    """

    def __init__(self, statements: Sequence[Statement], kinds: Sequence[type]) -> None:
        self._statements = statements
        self._last = last(statements)
        self._named = {r.macro for statement in statements for r in statement.reads}
        self._fields: dict[str, list[_Field]] = {}  # macro -> the fields that it sets
        for macro, kind, declared in macros(kinds):
            made = _Field(f"{kind.__name__}.{declared.name}", kind.__name__, declared.default)
            self._fields.setdefault(macro, []).append(made)
        self._macro_of = {f.name: macro for macro, fields in self._fields.items() for f in fields}
        self._read = self._reachable(statements)

    def spoken(self, name: str, value: str) -> str:
        """Returns `NAME is VALUE` as the user gave them: a field by its macro, -1.0 as -1.

        Args:
            name: `Class.field`.
            value: its value, as Python writes it.
        """
        macro = self._macro_of.get(name)
        found = self._last.get(("", name))
        if macro and (decides := self._deciding(macro, name, self._statements)):
            found, name = decides, decides.name
        while found and isinstance(found.value, Reference) and found.value.macro:
            name = found.value.macro
            found = self._last.get(("", name))
        if found and isinstance(found.value, int) and value == f"{found.value}.0":
            value = str(found.value)
        return f"{name} is {value}"

    # ---- what holds ----------------------------------------------------------------------------

    def _deciding(self, macro: str, name: str, statements: Sequence[Statement]) -> Statement | None:
        """The statement that a field with a short name has its value from: the last of either."""
        for statement in reversed(statements):
            own = statement.key == ("", name) and statement.value != Reference(f"%{macro}")
            if own or statement.key == ("", macro):
                return statement
        return None

    def _own(self, macro: str, name: str, statements: Sequence[Statement]) -> Statement | None:
        """The statement that binds the field by itself, where that is the one that holds."""
        found = self._deciding(macro, name, statements)
        return found if found and found.name == name else None

    def _reachable(self, statements: Sequence[Statement]) -> _Read:
        """What is read from `Run` on, through the references of its fields."""
        found, read = last(statements), _Read()
        by_owner: dict[str, list[Statement]] = {}
        for statement in found.values():
            by_owner.setdefault(statement.owner or statement.name, []).append(statement)

        def visit(name: str) -> None:
            for statement in by_owner.get(name, []):
                for reference in statement.reads:
                    read.scopes.add(reference.scope)
                    if reference.kind and reference.kind not in read.kinds:
                        visit_kind(reference.kind)
                    elif reference != REQUIRED and reference.macro not in read.macros | {""}:
                        visit_macro(reference.macro)

        def visit_kind(kind: str) -> None:
            read.kinds.add(kind)
            visit(kind)
            for macro, fields in self._fields.items():
                for declared in fields:
                    if declared.kind == kind and not self._own(macro, declared.name, statements):
                        visit_macro(macro)

        def visit_macro(macro: str) -> None:
            if macro not in read.macros:
                read.macros.add(macro)
                visit(macro)

        visit_kind("Run")
        return read

    # ---- binding -------------------------------------------------------------------------------

    def bind(self) -> None:
        """Tells gin which fields the short names set, and gives what nobody sets its default.

        Raises:
            UserError: a macro that nobody reads, which gin would let pass, one without a value, or
                one that differs in the same place from the field that it sets.
        """
        self._check_known()
        if ("", "Run.data") not in self._last:
            raise UserError("the gin files describe no run: include one of gin/runs/")
        missing = {
            name
            for (_, name), statement in self._last.items()
            if statement.value == REQUIRED
            and (name in self._read.macros or statement.owner in self._read.kinds)
        }
        for macro in self._fields:
            if not self._bind(macro):
                missing.add(macro)
        own = self._read.macros - set(self._fields)
        missing |= {name for name in own if ("", name) not in self._last}
        if missing:
            named = sorted(missing)
            example = f"--gin.{named[0]}=..."
            raise UserError(f"no value for {', '.join(named)}: give it with {example} or in gin")

    def _bind(self, macro: str) -> bool:
        """Binds the fields of one macro; returns whether it has the value that it needs."""
        fields = [f for f in self._fields[macro] if f.kind in self._read.kinds]
        own = {f.name: self._own(macro, f.name, self._statements) for f in fields}
        known = ("", macro) in self._last
        if not known and macro not in self._named and _alternatives(self._fields[macro]):
            # Bound, it would hold for whichever class a later file or flag chooses instead.
            return True
        if len(fields) == 1:
            self._check_agree(macro, fields[0].name)
            found = own[fields[0].name]
            if found and not any(reference.macro for reference in found.reads):
                gin.bind_parameter(f"{macro}/gin.macro.value", gin.query_parameter(found.name))
                known, own = True, {}
        for declared in fields:
            if not own.get(declared.name):
                gin.parse_config(f"{declared.name} = %{macro}")
        if known or macro not in self._read.macros:
            return True
        defaults = [f.default for f in fields if f.default is not MISSING]
        if defaults:
            gin.bind_parameter(f"{macro}/gin.macro.value", defaults[0])
        return bool(defaults)

    def _check_known(self) -> None:
        known = self._named | set(self._fields)
        for scope, name in sorted(self._last):
            if "." not in name and not scope and name not in known:
                hint = nearest(name, {n for n in known if "." not in n})
                raise UserError(f"gin name '{name}' is unknown{hint}")

    def _check_agree(self, macro: str, name: str) -> None:
        """Checks that a short name and its field have one value where one file or flag gives both.

        Raises:
            UserError: they differ.
        """
        given: dict[tuple[int, ...], dict[str, Statement]] = {}
        for statement in self._statements:
            if statement.key in (("", macro), ("", name)) and not any(
                reference.macro == macro for reference in statement.reads
            ):
                given.setdefault(statement.files, {})[statement.name] = statement
        for both in given.values():
            if len(both) == 2 and both[macro].value != both[name].value:
                a, b = both.values()
                raise UserError(
                    f"{a.name} is {a.value!r} and {b.name} is {b.value!r} ({a.place}; {b.place}): "
                    "they are two names of one setting, leave one"
                )

    # ---- what has no effect --------------------------------------------------------------------

    def check_read(self) -> None:
        """Checks that the run reads what is bound.

        On the command line everything must be read. What a file binds may also be read where that
        file ends, or one that includes it, if what comes later chose another class; and a run that
        only evaluates takes no notice of what its files say of training.

        Raises:
            UserError: a name that is not; says what runs instead.
        """
        ends = {f: i for i, s in enumerate(self._statements, start=1) for f in s.files}
        read_at = functools.cache(lambda end: self._reachable(self._statements[:end]))
        for statement in self._statements:
            if statement.files and self._of_training(statement) and not self._trains:
                continue
            reads = (self._read, *(read_at(ends[file]) for file in statement.files))
            if not any(self._reads(read, statement) for read in reads):
                raise self._no_effect(statement)

    @property
    def _trains(self) -> bool:
        return TrainConfig.__name__ in self._read.kinds

    def _reads(self, read: _Read, statement: Statement) -> bool:
        if statement.scope and statement.scope not in read.scopes:
            return False
        if statement.owner:
            return statement.owner in read.kinds
        if statement.name not in self._fields:  # a macro of the user's own, which something reads
            return True
        kinds = {declared.kind for declared in self._fields[statement.name]}
        return statement.name in read.macros or bool(kinds & read.kinds)

    def _kinds(self, statement: Statement) -> list[str]:
        """The classes that a binding is for."""
        if statement.owner:
            return [statement.owner]
        return [declared.kind for declared in self._fields.get(statement.name, [])]

    def _of_training(self, statement: Statement) -> bool:
        training = {TrainConfig.__name__, Schedule.__name__, *_optimizers(), *LOSSES}
        kinds = self._kinds(statement)
        return bool(kinds) and training.issuperset(kinds)

    def _no_effect(self, statement: Statement) -> UserError:
        kinds = self._kinds(statement)
        where = f" ({statement.place})" if statement.files else ""
        said = f"{statement.scope}/{statement.name}".removeprefix("/") + f"{where} has no effect: "
        if self._of_training(statement) and not self._trains:
            return UserError(f"{said}this run does not train")
        if statement.scope and statement.scope not in self._read.scopes:
            return UserError(f"{said}nothing is made in the scope '{statement.scope}'")
        for chooser, group in _groups().items():
            running = sorted(self._read.kinds & set(group))
            if set(kinds) <= set(group) and running:
                only = f"{chooser} = @{kinds[0]}()"
                return UserError(f"{said}{' and '.join(running)} runs; to run another: {only}")
        return UserError(
            f"{said}nothing reads it; to use it: {_owners()[kinds[0]]} = @{kinds[0]}()"
        )


def _optimizers() -> list[str]:
    return [Adafactor.__name__, AdamW.__name__]


def _groups() -> Mapping[str, Sequence[str]]:
    """Classes of which a run has one, by the name that chooses."""
    return {
        "MODEL": list(MODELS),
        "TrainConfig.optimizer": _optimizers(),
        "TrainConfig.loss": list(LOSSES),
    }


def _alternatives(fields: Sequence[_Field]) -> bool:
    """Whether these are fields of several classes of which a run has one."""
    kinds = {declared.kind for declared in fields}
    return len(kinds) > 1 and any(kinds <= set(group) for group in _groups().values())


def _owners() -> Mapping[str, str]:
    """The field that holds each class."""
    owners = {kind: chooser for chooser, group in _groups().items() for kind in group}
    for part in PARTS:
        for name, wanted in typing.get_type_hints(part).items():
            for kind in (wanted, *typing.get_args(wanted)):
                owners.setdefault(getattr(kind, "__name__", ""), f"{part.__name__}.{name}")
    return owners
