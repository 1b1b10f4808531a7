"""Fields of settings: their short names on the command line, and the values that they may have.

    @dataclass(frozen=True)
    class Schedule:
        rate: float = by_macro("LEARNING_RATE", default=1e-3)     # --gin.LEARNING_RATE=0.01

        def __post_init__(self) -> None:
            check_types(self)                        # Schedule.rate is '0.1': must be of type float
            check_range(self, 0, "rate")             # Schedule.rate is -1: must not be negative
            check_interval(self, "[0, 1)", "decay")  # Schedule.decay is 1: must be in [0, 1)

Every check raises a `ValueError` of one line that names class, field and value, and passes over a
field that is None. A whole number is a float too; True is no number, and NaN and infinity are none.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from flanmix.errors import nearest

_MACRO = "macro"
_ELSEWHERE = "elsewhere"


def by_macro(macro: str, *, decides_batches: bool = True, **default: Any) -> Any:
    """Declares a field that the command line sets by a name of its own.

    Args:
        macro: the name, as in `--gin.NAME=VALUE`.
        decides_batches: for a field of `DataConfig`, whether batches depend on it; a run can then
            only go on with the same value.
        **default: `default=` or `default_factory=`, as `dataclasses.field` takes them.
    """
    metadata = {_MACRO: macro, _ELSEWHERE: not decides_batches}
    return dataclasses.field(metadata=metadata, **default)


def macros(kinds: Iterable[type]) -> Iterator[tuple[str, type, dataclasses.Field]]:
    """Yields (macro, class, field) of all fields of the classes that have a short name."""
    for kind in filter(dataclasses.is_dataclass, kinds):
        for declared in dataclasses.fields(kind):
            if macro := declared.metadata.get(_MACRO):
                yield macro, kind, declared


def gin_name(config: Any, name: str) -> str:
    """Returns the name by which a user sets a field: its macro, or `Class.field`."""
    macro = config.__dataclass_fields__[name].metadata.get(_MACRO)
    return macro or f"{type(config).__name__}.{name}"


def decides_batches(declared: dataclasses.Field) -> bool:
    """Whether batches depend on a field of `DataConfig`; see `by_macro`."""
    return not declared.metadata.get(_ELSEWHERE)


# ---- checks --------------------------------------------------------------------------------------


def check_types(config: Any) -> None:
    """Checks the fields of a dataclass against their annotations.

    Raises:
        ValueError: names the field and the value.
    """
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    checked_values(type(config), values)


def checked_values(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Checks values that a dataclass is to be made of against its annotations.

    Returns:
        The values; a whole number where a float is wanted is one.

    Raises:
        ValueError: names the field and the value.
    """
    try:
        hints = typing.get_type_hints(kind)
    except NameError:  # a plugin's names that stand under TYPE_CHECKING
        return dict(values)
    fitting = {}
    for name, value in values.items():
        wanted = hints.get(name, Any)
        if not _fits(value, wanted):
            said = f"{kind.__name__}.{name} is {_shown(value)}"
            if isinstance(value, float) and _fits(0.0, wanted):
                raise ValueError(f"{said}: must be a finite number")
            raise ValueError(f"{said}: must be of type {_words(wanted)}{_hint(value, wanted)}")
        whole = type(value) is int and not _fits("", wanted) and _fits(0.5, wanted)
        fitting[name] = float(value) if whole else value
    return fitting


def check_range(config: Any, least: int, *names: str) -> None:
    """Checks that fields are at least so much.

    Raises:
        ValueError: names the field and the value.
    """
    must = f"be at least {least}" if least else "not be negative"
    _check(config, names, lambda value: value >= least, must)


def check_interval(config: Any, interval: str, *names: str) -> None:
    """Checks that fields are in an interval, such as `[0, 1)` or `(0, inf)`.

    Raises:
        ValueError: names the field and the value.
    """
    low, high = (float(end) for end in interval[1:-1].split(","))

    def inside(value: float) -> bool:
        above = value > low or (interval[0] == "[" and value == low)
        return above and (value < high or (interval[-1] == "]" and value == high))

    must = f"be more than {low:g}" if interval.endswith("inf)") else f"be in {interval}"
    _check(config, names, inside, must)


def check_choice(config: Any, name: str, known: Collection[str]) -> None:
    """Checks a field that names something.

    Raises:
        ValueError: it is unknown; says the field and the value.
    """
    listed = f"be one of {', '.join(repr(k) for k in known)}{nearest(getattr(config, name), known)}"
    _check(config, (name,), lambda value: value in known, listed)


def _check(config: Any, names: Iterable[str], right: Callable[[Any], bool], must: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and not right(value):
            raise ValueError(f"{type(config).__name__}.{name} is {value!r}: must {must}")


# ---- annotations ---------------------------------------------------------------------------------


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value is of an annotated type; whatever is no type is fitted by all."""
    origin, inside = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, kind) for kind in inside)
    if origin is typing.Literal:
        return any(value == known and type(value) is type(known) for known in inside)
    if wanted is None:
        return value is None
    kind = origin or wanted
    if not isinstance(kind, type):
        return True
    if getattr(kind, "_is_protocol", False):  # whatever has its methods, and is no class itself
        known = getattr(kind, "_is_runtime_protocol", False)
        return not isinstance(value, type) and (not known or isinstance(value, kind))
    if kind in (int, float):
        if isinstance(value, bool):  # an int to Python, and hardly what anybody means by STEPS
            return False
        return isinstance(value, int) or (isinstance(value, kind) and math.isfinite(value))
    if kind is Sequence and isinstance(value, str):  # one name, where a list of them is meant
        return False
    return isinstance(value, kind) and _holds(value, inside)


def _holds(value: Any, inside: Sequence[Any]) -> bool:
    """Whether a container's items are of the types in the brackets of its annotation."""
    if isinstance(value, Mapping) and len(inside) == 2:
        return all(_fits(k, inside[0]) and _fits(v, inside[1]) for k, v in value.items())
    if isinstance(value, tuple) and inside and inside[-1] is not ...:
        return len(value) == len(inside) and all(map(_fits, value, inside))
    if isinstance(value, Collection) and not isinstance(value, str) and inside:
        return all(_fits(item, inside[0]) for item in value)
    return True


def _words(wanted: Any) -> str:
    """The name of an annotated type, as a message says it."""
    inside = typing.get_args(wanted)
    if typing.get_origin(wanted) in (types.UnionType, typing.Union):
        return " or ".join(_words(kind) for kind in inside)
    if wanted in (None, types.NoneType):
        return "None"
    if inside:
        name = getattr(typing.get_origin(wanted), "__name__", str(wanted))
        return f"{name}[{', '.join(_words(kind) for kind in inside)}]"
    return getattr(wanted, "__name__", repr(wanted))


def _shown(value: Any) -> str:
    """A value as gin's user wrote it."""
    return f"@{value.__name__}" if isinstance(value, types.FunctionType | type) else repr(value)


def _hint(value: Any, wanted: Any) -> str:
    """What to do about a value of the wrong type, where that can be told."""
    if isinstance(value, types.FunctionType | type):
        return f"; write {_shown(value)}()"
    if isinstance(value, str):
        if value in {getattr(kind, "__name__", "") for kind in typing.get_args(wanted)}:
            return f"; write @{value}()"
        for read in (int, float):
            try:
                number = read(value)
            except ValueError:
                continue
            if _fits(number, wanted):
                return f"; write {number!r}, without quotes"
    return ""
