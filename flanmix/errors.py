"""The one exception for a user error, and the nearest valid name for it.

A `UserError` holds one line: what is wrong, where (file, task, template, record), and a hint.
The command line prints it as `flanmix: ...` on stderr and exits with 2, without a traceback:

    raise UserError(f"task 'rtee' is unknown{nearest('rtee', names)}")
    -> flanmix: task 'rtee' is unknown; did you mean 'rte'?
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """An error that the user can mend; its message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` for the closest valid name, or nothing if none is near."""
    found = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean '{found[0]}'?" if found else ""
