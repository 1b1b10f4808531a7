"""The filters and tests that chat templates use, each within the rendering's budget.

    {{ message.content | trim }}    {{ tools | tojson(indent=2) }}    {% if x is string %}

Only these exist in a template. They are written here, and are not Jinja's own, since all of their
work has to be counted (`Budget`): they take the template's context first, which has the budget.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jinja2 import Undefined, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.tests import TESTS as _JINJA_TESTS

_LARGEST_INDENT = 16


def _items(context: Any, values: Any) -> list[Any]:
    """The values as a list, counted."""
    return list(context.budget.counted(values))


def _getter(context: Any, path: Any) -> Callable[[Any], Any]:
    """Returns what reads an attribute, or `a.b`, by the sandbox's own rules."""
    names = path.split(".") if isinstance(path, str) else [path]

    def read(value: Any) -> Any:
        for name in names:
            context.budget.spend(1)
            value = context.environment.getitem(value, name)
        return value

    return read


def _length(context: Any, value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else len(_items(context, value))


def _first(context: Any, value: Any) -> Any:
    return next(iter(value), context.environment.undefined("nothing is first in an empty list"))


def _last(context: Any, value: Any) -> Any:
    items = _items(context, value)
    return items[-1] if items else context.environment.undefined("nothing is last in an empty list")


def join(context: Any, value: Any, d: str = "", attribute: Any = None) -> str:
    """The texts of the values with `d` between them."""
    items = _items(context, value)
    if attribute is not None:
        items = [_getter(context, attribute)(item) for item in items]
    texts = [context.budget.text(item) for item in items]
    context.budget.spend(len(texts) * (1 + len(d)))
    return d.join(texts)


def _replace(context: Any, value: Any, old: str, new: str, count: int = -1) -> str:
    text = context.budget.text(value)
    return replaced(context, text, old, new, count)


def replaced(context: Any, text: str, old: str, new: str, count: int = -1) -> str:
    """`str.replace`, whose result is counted before it is made."""
    found = text.count(old) if count is None or count < 0 else min(text.count(old), count)
    context.budget.spend(found * (1 + len(new)))
    return text.replace(old, new, -1 if count is None else count)


def _default(context: Any, value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    missing = isinstance(value, Undefined) or (boolean and not value)
    return default_value if missing else value


def _tojson(
    context: Any,
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    context.budget.spend(len(context.budget.text(value)))
    if indent is not None and not 0 <= indent <= _LARGEST_INDENT:
        raise SecurityError(f"it asks for an indent of {indent}")
    pair = None if separators is None else tuple(separators)
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=pair, sort_keys=sort_keys
    )


def _pairs(context: Any, value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Undefined):
        return []
    if not isinstance(value, Mapping):
        raise TypeError(f"items of a {type(value).__name__}")
    return list(value.items())


def _dictsort(context: Any, value: Any, case_sensitive: bool = False) -> list[tuple[Any, Any]]:
    return sorted(_pairs(context, value), key=lambda pair: _folded(pair[0], case_sensitive))


def _sort(
    context: Any,
    value: Any,
    reverse: bool = False,
    case_sensitive: bool = False,
    attribute: Any = None,
) -> list[Any]:
    read = (lambda item: item) if attribute is None else _getter(context, attribute)
    items = _items(context, value)
    context.budget.spend(len(items) * len(items).bit_length())
    return sorted(items, key=lambda item: _folded(read(item), case_sensitive), reverse=reverse)


def _unique(context: Any, value: Any) -> list[Any]:
    return list(dict.fromkeys(_items(context, value)))


def _folded(value: Any, case_sensitive: bool) -> Any:
    return value.lower() if isinstance(value, str) and not case_sensitive else value


def _map(context: Any, value: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
    if "attribute" in kwargs:
        read, default = _getter(context, kwargs["attribute"]), kwargs.get("default")
        for item in context.budget.counted(value):
            found = read(item)
            yield default if isinstance(found, Undefined) and "default" in kwargs else found
        return
    name, *rest = args
    for item in context.budget.counted(value):
        yield context.environment.call_filter(name, item, rest, kwargs, context=context)


def _selected(by_attribute: bool, wanted: bool) -> Callable[..., Iterator[Any]]:
    """Returns `select`, `reject`, `selectattr` or `rejectattr`."""

    def select(context: Any, value: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        read = (lambda item: item) if not by_attribute else _getter(context, args[0])
        args = args[1:] if by_attribute else args
        call = context.environment.call_test
        for item in context.budget.counted(value):
            read_item = read(item)
            if args:
                passes = call(args[0], read_item, args[1:], kwargs, context=context)
            else:
                passes = bool(read_item)
            if passes == wanted:
                yield item

    return select


def _number(kind: type) -> Callable[..., Any]:
    def read(context: Any, value: Any, default: Any = 0) -> Any:
        try:
            return kind(value)
        except (TypeError, ValueError, OverflowError):
            return kind(default)

    return read


_FILTERS: dict[str, Callable[..., Any]] = {
    "abs": lambda context, value: abs(value),
    "capitalize": lambda context, value: context.budget.text(value).capitalize(),
    "default": _default,
    "dictsort": _dictsort,
    "first": _first,
    "float": _number(float),
    "int": _number(int),
    "items": _pairs,
    "join": join,
    "last": _last,
    "length": _length,
    "list": _items,
    "lower": lambda context, value: context.budget.text(value).lower(),
    "map": _map,
    "max": lambda context, value: max(_items(context, value)),
    "min": lambda context, value: min(_items(context, value)),
    "reject": _selected(by_attribute=False, wanted=False),
    "rejectattr": _selected(by_attribute=True, wanted=False),
    "replace": _replace,
    "reverse": lambda context, value: (
        value[::-1] if isinstance(value, str | list) else list(reversed(_items(context, value)))
    ),
    "round": lambda context, value, precision=0: round(value, precision),
    "safe": lambda context, value: value,
    "select": _selected(by_attribute=False, wanted=True),
    "selectattr": _selected(by_attribute=True, wanted=True),
    "sort": _sort,
    "string": lambda context, value: context.budget.text(value),
    "title": lambda context, value: context.budget.text(value).title(),
    "tojson": _tojson,
    "trim": lambda context, value, chars=None: context.budget.text(value).strip(chars),
    "unique": _unique,
    "upper": lambda context, value: context.budget.text(value).upper(),
}
_FILTERS |= {"count": _FILTERS["length"], "d": _FILTERS["default"]}

# They look at a value, and take no time; the others of Jinja's compare two.
_QUICK = (
    "boolean",
    "defined",
    "false",
    "float",
    "integer",
    "iterable",
    "mapping",
    "none",
    "number",
    "sameas",
    "sequence",
    "string",
    "true",
    "undefined",
)


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a filter that counts what it is given and what it makes."""

    @pass_context
    def counted(context: Context, *args: Any, **kwargs: Any) -> Any:
        budget: Any = context.budget  # pyrefly: ignore
        for value in (*args, *kwargs.values()):
            budget.use(value)
        return budget.use(function(context, *args, **kwargs))

    return counted


def _compared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a test that counts what it compares."""

    @pass_context
    def compared(context: Context, *args: Any) -> Any:
        budget: Any = context.budget  # pyrefly: ignore
        for value in args:
            budget.use(value)
        return function(*args)

    return compared


FILTERS: Mapping[str, Callable[..., Any]] = {n: _counted(f) for n, f in _FILTERS.items()}
TESTS: Mapping[str, Callable[..., Any]] = {
    **{name: _JINJA_TESTS[name] for name in _QUICK},
    # Jinja's own would format a text that has a percent sign.
    "even": lambda value: isinstance(value, int) and value % 2 == 0,
    "odd": lambda value: isinstance(value, int) and value % 2 == 1,
} | {
    name: _compared(_JINJA_TESTS[name])
    for name in (
        *("==", "eq", "equalto", "!=", "ne", "<", "lt", "lessthan", "<=", "le"),
        *(">", "gt", "greaterthan", ">=", "ge", "in"),
    )
}
