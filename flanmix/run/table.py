"""Aligned plain-text tables, as the inspecting verbs print them.

    table(["task", "rate"], [["rte", 2290], ["boolq", 3000.5]])
    ->  task     rate
        rte      2290
        boolq  3000.5

Numbers stand at the right of their column, texts at the left.
"""

import json
import sys
from collections.abc import Sequence

Cell = str | int | float | None


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
