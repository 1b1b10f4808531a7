"""What a template may spend: steps of work, counted and not timed.

So a limit is the same on every machine, and a rendering stays a pure function.

    budget = Budget(1000)
    budget.spend(weight("some text", 1000))     # one step, and one more for every 16 characters
    budget.spend(10**9)                         # raises Exceeded

Every round of a loop, every call and every value that an expression reads or makes is counted, so
that time, memory and the length of the output are bounded at once.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import Undefined
from jinja2.exceptions import SecurityError

STEPS = 2_000_000
_CHARACTERS = 16  # that cost one step
_PLAIN = (str, bool, int, float, type(None), Undefined)


class Exceeded(SecurityError):
    """A template does more than it may."""


class Budget:
    """The steps that are left of one rendering.

    Args:
        steps: how many there are.
    """

    def __init__(self, steps: int = STEPS) -> None:
        self.left = steps
        self.depth = 0

    def spend(self, steps: int) -> None:
        """Takes steps off.

        Raises:
            Exceeded: there are none left.
        """
        self.left -= steps
        if self.left < 0:
            raise Exceeded("it loops too often or makes too much text, and was stopped")

    def counted(self, values: Iterable[Any]) -> Iterator[Any]:
        """Yields the values, a step each."""
        for value in values:
            self.spend(1)
            yield value

    def use(self, value: Any) -> Any:
        """Counts a value as it is read or made, and returns it."""
        self.spend(weight(value, self.left))
        return value

    def text(self, value: Any) -> str:
        """The text of a plain value, counted.

        Raises:
            SecurityError: it is none: a function, a namespace, an object.
        """
        self.spend(weight(value, self.left, strict=True))
        return value if type(value) is str else str(value)


def weight(value: Any, most: int, *, strict: bool = False) -> int:
    """Returns the steps of a value with all that it holds, shared parts as often as they appear.

    Counting ends beyond `most`, so it takes no longer than the budget allows.

    Args:
        value: the value.
        most: steps that are left.
        strict: whether all of it must be plain: texts, numbers, lists and mappings of them.

    Raises:
        SecurityError: it is strict, and a part is not.
    """
    if type(value) is str:
        return 1 + len(value) // _CHARACTERS
    total, stack = 0, [value]
    while stack and total <= most:
        part = stack.pop()
        total += 1
        if isinstance(part, str):
            total += len(part) // _CHARACTERS
        elif isinstance(part, list | tuple):
            total += len(part)  # before its parts are looked at, of which there may be too many
            stack.extend(part[: most + 1])
        elif isinstance(part, dict):
            total += len(part)
            stack.extend(part.keys())
            stack.extend(part.values())
        elif isinstance(part, range):
            total += len(part)
        elif strict and not isinstance(part, _PLAIN):
            raise SecurityError(f"it uses a {type(part).__name__} as a text")
    return total
