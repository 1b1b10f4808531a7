r"""The terminal: tables and JSON on stdout, the log and progress bars on stderr.

    table(["task", "rate"], [["rte", 2290], ["boolq", 3000.5]])
    ->  task     rate
        rte      2290
        boolq  3000.5

    warn("split a was clamped")          ->  flanmix: warning: split a was clamped
    with bar(4096, "question") as shown: shown.update(32)
    ->  41%|####      | 1679/4096 [00:10<00:15, 161question/s]

Messages go through the logger `flanmix`, so that a program that imports the package can route or
silence them; the command line sends them to stderr, one line each, from the first host only.
Numbers stand at the right of their column, texts at the left. On a terminal a bar is drawn twice a
second; in a log, every ten seconds.
"""

import json
import logging
import sys
from collections.abc import Sequence
from typing import TextIO

from tqdm import tqdm

Cell = str | int | float | None

_LOG = logging.getLogger("flanmix")


# ---- messages ----------------------------------------------------------------------------------


def say(message: str) -> None:
    """Logs a message, as one line."""
    _LOG.info(" ".join(message.split()))


def warn(message: str) -> None:
    """Logs a warning, as one line."""
    _LOG.warning(" ".join(message.split()))


class _Stderr(logging.StreamHandler):
    """Writes to whatever is `sys.stderr` now, above a bar if one is drawn there."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # pyrefly: ignore[bad-override]
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line on the first host."""
        if is_first_host():
            kind = "warning: " if record.levelno >= logging.WARNING else ""
            tqdm.write(f"flanmix: {kind}{record.getMessage()}", file=sys.stderr)
            sys.stderr.flush()


def log_to_stderr() -> None:
    """Sends the package's messages to stderr; the command line does so once."""
    if not any(isinstance(handler, _Stderr) for handler in _LOG.handlers):
        _LOG.addHandler(_Stderr())
        _LOG.setLevel(logging.INFO)
        _LOG.propagate = False


def is_first_host() -> bool:
    """Whether this process is the one that talks, where several train together."""
    # Verbs that never import JAX run on one host, and must not take its accelerator for a line.
    jax = sys.modules.get("jax")
    return jax is None or jax.process_index() == 0


def bar(total: int, unit: str, *, initial: int = 0, leave: bool = True) -> tqdm:
    """Returns a progress bar of the first host; the others' is silent.

    Args:
        total: how many units there are.
        unit: what is counted, in the singular.
        initial: how many of them are done already.
        leave: whether the bar stays on the screen when it is closed.
    """
    return tqdm(
        total=total,
        initial=initial,
        unit=unit,
        file=sys.stderr,
        leave=leave,
        disable=not is_first_host(),
        dynamic_ncols=True,
        mininterval=0.5 if sys.stderr.isatty() else 10.0,
    )


# ---- output ------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Returns lines of columns; a column of numbers is set to the right, None is shown as `-`."""
    texts = [list(header), *([_text(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    right = [
        any(cell is not None for cell in cells) and not any(isinstance(cell, str) for cell in cells)
        for cells in columns
    ]
    lines = []
    for row in texts:
        cells = zip(row, widths, right, strict=True)
        lines.append("  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in cells).rstrip())
    return "\n".join(lines)


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def print_json(document: object) -> None:
    """Prints a verb's one JSON document; a terminal that has no Unicode gets escapes."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(document, ensure_ascii=not unicode, indent=1))


def printable(text: str) -> str:
    r"""Returns the text with control characters, which a terminal would obey, written as `\x1b`."""
    shown = (c if c in "\n\t" or c.isprintable() else _escape(c) for c in text)
    return "".join(shown)


def _escape(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
