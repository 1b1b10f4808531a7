r"""`flanmix help NAME`: the reference entry of a key, a source, a metric, a gin name or a verb.

    $ flanmix help AdamW.weight_decay
    AdamW.weight_decay (gin name)
      number; default 0.01
      times the learning rate, what a parameter that decays loses of itself a step.

Without a name it lists the names, section by section; `--all` prints all of them as Markdown, which
is `docs/reference.md`. A name of several things shows them all; `--json` prints the first one's
document, and the others under `also`.
"""

import argparse
import itertools
import textwrap
from collections.abc import Iterable, Sequence

from flanmix.console import print_json
from flanmix.errors import UserError
from flanmix.verbs.reference import SECTIONS, Entry, entries, find, shown_default, takes_value

_WIDTH = 80
_INTRO = """\
# Reference

Every key of a task and of a mixture, every source, metric and gin name. `flanmix help NAME` prints
one entry, and knows the verbs ([the command line](command_line.md)) too. This page is made from the
code: `flanmix help --all > docs/reference.md`.
"""


def main(args: argparse.Namespace) -> int:
    """Runs the verb; flags as in cli.py, which hands over the verbs' own help too.

    Raises:
        UserError: nothing has the name, or there is one where all are asked for.
    """
    if args.all and args.name:
        raise UserError(f"help --all prints every entry: leave out '{args.name}', or --all")
    verbs = [Entry(name, "verb", "", None, *said) for name, said in args.verbs().items()]
    known = [*verbs, *entries()]
    if args.name is None and args.json:
        print_json([entry.to_json() for entry in known])
    elif args.all:
        print(markdown(known[len(verbs) :]), end="")
    elif args.name is None:
        print(overview(known))
    else:
        first, *others = find(args.name, known)
        if args.json:
            also = {"also": [entry.to_json() for entry in others]} if others else {}
            print_json(first.to_json() | also)
        else:
            print("\n\n".join(shown(entry) for entry in (first, *others)))
    return 0


def overview(known: Sequence[Entry]) -> str:
    """The names of every section; of a gin class, without its fields."""
    lines = ["flanmix help NAME prints one entry. The names:"]
    for kind, own in _by_kind(known):
        if kind != "gin name":  # a class prints its own
            title = SECTIONS.get(kind, "Verbs")
            names = "  ".join(entry.name for entry in own)
            lines += ["", title, _wrapped(names)]
    return "\n".join(lines)


def shown(entry: Entry) -> str:
    """An entry as text."""
    lines = [f"{entry.name} ({entry.kind})"]
    if entry.type:
        more = f"; {shown_default(entry)}" if takes_value(entry) else ""
        lines.append(_wrapped(f"{entry.type}{more}"))
    lines += [_wrapped(part) for part in entry.text.split("\n\n")]
    if entry.details:
        lines += ["", *map(_indented, entry.details.splitlines())]
    return "\n".join(lines)


def _wrapped(text: str) -> str:
    room = {"initial_indent": "  ", "subsequent_indent": "  "}
    return textwrap.fill(text, _WIDTH, **room, break_long_words=False, break_on_hyphens=False)


def _indented(line: str) -> str:
    """A line of a docstring as it is; a longer one is made of a field and its meaning."""
    if len(line) <= 100:
        return f"  {line}".rstrip()
    return textwrap.fill(line, _WIDTH, initial_indent="  ", subsequent_indent="      ")


def _by_kind(known: Iterable[Entry]) -> list[tuple[str, list[Entry]]]:
    order = ["verb", *SECTIONS]
    ordered = sorted(known, key=lambda entry: order.index(entry.kind))
    return [(kind, list(own)) for kind, own in itertools.groupby(ordered, lambda e: e.kind)]


# ---- the page ------------------------------------------------------------------------------------


def markdown(known: Sequence[Entry]) -> str:
    """The page of all entries."""
    fields: dict[str, list[Entry]] = {}
    for entry in known:
        if entry.kind == "gin name":
            fields.setdefault(entry.name.partition(".")[0], []).append(entry)
    pages = [_INTRO]
    for kind, own in _by_kind(known):
        if kind != "gin name":
            pages.append(f"## {SECTIONS[kind]}\n")
            make = {"gin class": _classes, "source": _sources}.get(kind)
            pages += make(own, fields) if make else [_table(own)]
    return "\n".join(pages)


def _classes(classes: Iterable[Entry], fields: dict[str, list[Entry]]) -> list[str]:
    return [
        f"### {entry.name}\n\n{entry.text}\n\n{_table(fields.get(entry.name, []))}"
        for entry in classes
    ]


def _sources(sources: Iterable[Entry], _: object) -> list[str]:
    """Sources of one module have its contract in common."""
    pages = []
    for said, own in itertools.groupby(sources, lambda entry: (entry.text, entry.details)):
        names = ", ".join(f"`{entry.name}`" for entry in own)
        pages.append(f"### {names}\n\n{said[0]}\n\n```text\n{said[1]}\n```\n")
    return pages


def _table(own: Sequence[Entry]) -> str:
    """The columns that any of the entries has something in."""
    columns = {
        "name": [f"`{entry.name}`" for entry in own],
        "type": [entry.type for entry in own],
        "default": [_default(entry) for entry in own],
        "meaning": [" ".join(f"{entry.text} {_line(entry)}".split()) for entry in own],
    }
    there = {name: cells for name, cells in columns.items() if any(cells)}
    rows = [list(there), ["---"] * len(there), *zip(*there.values(), strict=True)]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _default(entry: Entry) -> str:
    if entry.default is None:
        return shown_default(entry) if takes_value(entry) else ""
    return f"`{entry.default}`"


def _line(entry: Entry) -> str:
    return entry.details if entry.kind == "metric" else ""
