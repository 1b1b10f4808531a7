r"""Chat templates as programs: Jinja, without a way out of it and with an end to it.

    program = Program("{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}{% endfor %}")
    program.render({"messages": [{"role": "user", "content": " Hi "}]})     -> "<|user|>Hi"

A template is a stranger's code. What it may do is listed, and all else is refused: the filters and
tests of `filters.py`; the methods of texts, mappings and loops in `allowed.py`, and what a
namespace holds; the functions `namespace`, `range`, `dict`, `raise_exception` and `strftime_now`.
It reads no file and no other template. All that it does is counted (`budget.py`). To that end its
syntax tree is changed before it is compiled, since Jinja intercepts only some of its operations:

    {% for x in y %}    y is counted round by round      a ~ b, [a], {a: b}, a == b, y[1:]   counted
    text                is counted where it is put out   {{ a }}                             counted

Blocks are trimmed as the field does it (`trim_blocks`, `lstrip_blocks`), and `{% generation %}`,
which tells what a model has written, `break` and `continue` are known.
"""

import operator
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, NoReturn

from jinja2 import Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from flanmix.data.chat.allowed import LOOP, MAPPING, TEXT
from flanmix.data.chat.budget import Budget
from flanmix.data.chat.clock import DAY
from flanmix.data.chat.filters import FILTERS, TESTS, join, replaced
from flanmix.errors import UserError

_LONGEST = 1_000_000  # characters of a template
_LARGEST = 2**63
_DEEPEST = 40  # macros that call one another
# Filters that a template can't name, since their names are no words of Jinja's.
_ROUNDS, _USED, _JOINED, _MARK = "rounds!", "used!", "joined!", "mark!"
_REFUSED = (
    nodes.Block,
    nodes.CallBlock,
    nodes.Extends,
    nodes.FilterBlock,
    nodes.FromImport,
    nodes.Import,
    nodes.Include,
    nodes.ScopedEvalContextModifier,
)


class TemplateRefusal(Exception):
    """A template calls `raise_exception`: it does not take these messages."""


class Program:
    """A compiled template.

    Args:
        text: the template.

    Raises:
        UserError: it is no template, or uses what chat templates do not need; one line without the
            template's name, which the caller knows.
    """

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise UserError(f"it has {len(text)} characters, and a template at most {_LONGEST}")
        try:
            tree = _ENVIRONMENT.parse(text)
            self.marks_turns = any(f.name == _MARK for f in tree.find_all(nodes.Filter))
            self._template = _ENVIRONMENT.from_string(_Counted().visit(tree))
        except TemplateSyntaxError as error:
            raise UserError(f"line {error.lineno}: {_line(error.message)}") from None
        except (TemplateError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UserError(f"it can't be compiled: {_reason(error)}") from None

    def render(
        self,
        values: Mapping[str, Any],
        *,
        marks: tuple[str, str] = ("", ""),
        now: datetime = DAY,
    ) -> str:
        """Renders the template.

        Args:
            values: what it reads, by name: texts, numbers, lists and mappings.
            marks: what is put out before and after each `{% generation %}` block.
            now: what `strftime_now` tells.

        Raises:
            UserError: it fails, reaches for what it may not have, or does not end; or it refuses
                the messages (`raise_exception`). One line without the template's name.
        """
        context: Any = self._template.new_context(dict(values))
        context.marks, context.now = marks, now
        try:
            return "".join(self._template.root_render_func(context))
        except TemplateRefusal as refusal:
            raise UserError(f"it refuses the messages: {_line(refusal)}") from None
        except RecursionError:
            raise UserError("it calls itself without an end") from None
        except SecurityError as error:
            raise UserError(f"refused: {_line(error)}") from None
        except Exception as error:  # whatever a stranger's code may run into
            raise UserError(f"it fails: {_reason(error)}") from None


def _line(what: Any) -> str:
    """The text of a message, on one line, of a length that can be read."""
    return " ".join(str(what).split())[:300]


def _reason(error: Exception) -> str:
    return f"{_line(error)} ({type(error).__name__})"


# ---- the syntax tree ---------------------------------------------------------------------------


class _GenerationTag(Extension):
    """`{% generation %}...{% endgeneration %}`: what the model has written."""

    tags: ClassVar[set[str]] = {"generation"}  # pyrefly: ignore

    def parse(self, parser: Parser) -> nodes.Node:
        """Parses a block; its tag is the parser's current token."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        marks = [_filter(_MARK, nodes.Const(which, lineno=line)) for which in (0, 1)]
        opened, closed = (nodes.Output([mark], lineno=line) for mark in marks)
        return nodes.Scope([opened, *body, closed], lineno=line)


class _Counted(NodeTransformer):
    """Puts a count on each operation that the sandbox can't intercept, and refuses statements."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if isinstance(node, _REFUSED):
            kind = type(node).__name__
            raise TemplateSyntaxError(f"{kind} is refused in a chat template", node.lineno)
        return super().visit(node, *args, **kwargs)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise TemplateSyntaxError("a recursive loop is refused", node.lineno)
        self.generic_visit(node)
        node.iter = _filter(_ROUNDS, node.iter)
        return node

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:
        return nodes.Const(node.data, lineno=node.lineno)  # put out, and so counted, as a value

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(_JOINED, nodes.List(node.nodes, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _counted(node.expr)
        for operand in node.ops:
            operand.expr = _counted(operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        return _counted(node) if isinstance(node.arg, nodes.Slice) else node

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return _counted(node)

    visit_Dict = visit_List

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return node if node.ctx == "store" else _counted(node)


def _counted(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _filter(_USED, node)


def _filter(name: str, node: Any) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


@pass_context
def _rounds(context: Any, value: Any) -> Any:
    return context.budget.counted(value)


@pass_context
def _used(context: Any, value: Any) -> Any:
    return context.budget.use(value)


@pass_context
def _joined(context: Any, values: list[Any]) -> str:
    return "".join([context.budget.text(value) for value in values])


@pass_context
def _mark(context: Any, which: int) -> str:
    return context.marks[which]


@pass_context
def _put_out(context: Any, value: Any) -> str:
    return context.budget.text(value)


# ---- the environment ---------------------------------------------------------------------------


class _BoundedContext(Context):
    """What one rendering reads, and may spend."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.budget = Budget()
        self.marks = ("", "")
        self.now = DAY


def _raise_exception(message: Any = "") -> NoReturn:
    raise TemplateRefusal(message)


@pass_context
def _strftime_now(context: Any, form: str) -> str:
    if len(form) > 100:
        raise SecurityError("strftime_now has a form of more than 100 characters")
    return context.now.strftime(form)


_FUNCTIONS = {
    "namespace": Namespace,
    "dict": dict,
    "range": range,
    "raise_exception": _raise_exception,
    "strftime_now": _strftime_now,
}


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja with the attributes, calls and operators that chat templates need, and no other."""

    context_class = _BoundedContext
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def wrap_str_format(self, value: Any) -> None:
        """`str.format` is an attribute as any other, and refused."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may read it; the lists are above."""
        if isinstance(obj, str):
            return attr in TEXT
        if isinstance(obj, dict):
            return attr in MAPPING
        if isinstance(obj, LoopContext):
            return attr in LOOP
        return isinstance(obj, Namespace) and not attr.startswith("_")

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuses at once, and not when the value is used."""
        raise SecurityError(f"it reaches for '{attribute}' of a {type(obj).__name__}")

    def is_safe_callable(self, obj: Any) -> bool:
        """Whether a template may call it: what `is_safe_attribute` gave it, macros, functions."""
        if isinstance(obj, Macro) or any(obj is known for known in _FUNCTIONS.values()):
            return True
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str | dict | LoopContext):
            return self.is_safe_attribute(owner, name, obj)
        return False

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls a function within the budget."""
        budget = __context.budget
        if not isinstance(__obj, Undefined) and not __self.is_safe_callable(__obj):
            raise SecurityError(f"it calls a {type(__obj).__name__}")
        for value in (*args, *kwargs.values()):
            budget.use(value)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str):
            budget.use(owner)
            if name == "replace":
                return budget.use(replaced(__context, owner, *args))
            if name == "join":
                return join(__context, *args, d=owner)
        budget.depth += 1
        if budget.depth > _DEEPEST:
            raise SecurityError("its macros call one another without an end")
        try:
            return budget.use(__context.call(__obj, *args, **kwargs))
        finally:
            budget.depth -= 1

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Computes an operator within the budget; numbers stay within 64 bits."""
        budget = context.budget
        budget.use(left)
        budget.use(right)
        if operator in ("*", "**", "%"):
            _check_product(budget, operator, left, right)
        result = self.binop_table[operator](left, right)
        if isinstance(result, int) and abs(result) >= _LARGEST:
            raise SecurityError("a number is beyond 64 bits")
        return result


def _check_product(budget: Budget, sign: str, left: Any, right: Any) -> None:
    """Refuses what grows out of proportion to its operands, or counts it before it is made."""
    if all(isinstance(value, int | float) for value in (left, right)):
        if sign == "**" and not (abs(left) < 2**16 and abs(right) <= 64):
            raise SecurityError("a number is beyond 64 bits")
        return
    if sign != "*":
        raise SecurityError(f"'{sign}' is not of numbers")
    values, times = (right, left) if isinstance(left, int) else (left, right)
    if isinstance(times, int) and isinstance(values, str | list | tuple):
        before = budget.left
        budget.use(values)
        budget.spend((before - budget.left) * max(0, operator.index(times)))


def _environment() -> _Sandbox:
    made = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,  # else constants are computed, and uncounted, while it is compiled
        autoescape=False,
        finalize=_put_out,
        extensions=[_GenerationTag, loopcontrols],
    )
    made.filters = {
        **FILTERS,
        _ROUNDS: _rounds,
        _USED: _used,
        _JOINED: _joined,
        _MARK: _mark,
    }
    made.tests = dict(TESTS)
    made.globals = dict(_FUNCTIONS)  # pyrefly: ignore
    return made


_ENVIRONMENT = _environment()
