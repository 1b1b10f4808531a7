"""Writes docs/templates.html: every template of every task, on a record, for people to judge.

    python scripts/make_templates_page.py

A Flan 2021 task is shown on the hand-made records of tests/tasks/raw/<task>.json, a pocket task on
its own training records: each template on the first record that has all its fields. The page is
one file that needs nothing else, neither a script nor a font nor the network, and the same cards
and records make the same page.
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import escape
from pathlib import Path

from flanmix.data.canonical import canonicalize
from flanmix.data.render import eligible_templates, render
from flanmix.data.sources.records import canonical_records
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.paths import tasks_root
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "templates.html"
RAW = ROOT / "tests" / "tasks" / "raw"
MOST = 20  # training records of a pocket task among which each template finds one

# Characters for private use, which no record has: a filled-in text is OPEN name MIDDLE text CLOSE.
OPEN, MIDDLE, CLOSE = "\ue000", "\ue001", "\ue002"
FILLED = re.compile(f"{OPEN}(\\w+){MIDDLE}([^{OPEN}-{CLOSE}]*){CLOSE}")

STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --soft: #667085; --line: #e4e7ec; --page: #fcfcfd;
  --card: #ffffff; --field: #dfebfa; --option: #fbe8c8; --answer: #d5efdd; --badge: #7b4bb0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --soft: #98a2b3; --line: #2c323c;
  --page: #14171c; --card: #191d23; --field: #1f3a5c; --option: #55401a; --answer: #1c4a30;
  --badge: #c09be8; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
a { color: inherit; text-decoration-color: var(--soft); text-underline-offset: 3px; }
header { padding: 1.5rem 1rem 1rem; }
main { min-width: 0; padding: 0 1rem 5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; }
h2 { font-size: 1.35rem; margin: 3.5rem 0 .3rem; } main > h2:first-child { margin-top: 1.5rem; }
h3 { font-size: 1.1rem; margin: 2.6rem 0 0; padding-bottom: .3rem;
  border-bottom: 2px solid var(--line); }
h4 { font-size: 1rem; margin: 1.8rem 0 .2rem; overflow-wrap: anywhere; }
p { color: var(--soft); max-width: 46rem; margin: .3rem 0; }
mark { color: inherit; background: var(--field); border-radius: 2px; padding: .08em 0; }
mark.options { background: var(--option); }
mark.answer { background: var(--answer); }
nav { padding: .2rem 1rem 1rem; border-bottom: 1px solid var(--line); font-size: .9rem; }
nav b { display: block; margin: .9rem 0 .2rem; } nav b:first-child { margin-top: 0; }
nav summary { cursor: pointer; padding: .4rem 0; border-top: 1px solid var(--line); }
nav summary small { color: var(--soft); }
nav ul { list-style: none; margin: 0 0 .6rem; padding: 0 0 0 1rem; }
nav li a { display: block; padding: .28rem 0; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: .1rem 1.4rem; margin: 0 0 .8rem; font-size: .85rem; }
.facts div { display: flex; gap: .4rem; min-width: 0; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.template { display: grid; grid-template-columns: 1.6rem 1fr; gap: .25rem .5rem; margin: .5rem 0;
  padding: .6rem .7rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card); }
.number { color: var(--soft); font-variant-numeric: tabular-nums; grid-area: 1 / 1;
  text-decoration: none; justify-self: start; align-self: start; }
.template:has(:target) { border-color: var(--soft); }
.text, .inverted { grid-column: 2; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 0; }
.target { border-top: 1px dashed var(--line); padding-top: .3rem; }
.target::before { content: "→ "; color: var(--soft); }
.inverted { color: var(--badge); font-size: .78rem; font-weight: 600; }
.up { position: fixed; right: .8rem; bottom: .8rem; padding: .45rem .9rem; border-radius: 2rem;
  background: var(--ink); color: var(--page); text-decoration: none; font-size: .85rem; }
@media (min-width: 62rem) {
  body { display: grid; grid-template: auto auto / 17rem minmax(0, 72rem); }
  nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; border-bottom: 0;
    border-right: 1px solid var(--line); padding-top: 1.5rem; grid-area: 1 / 1 / span 2; }
  header { padding: 1.5rem 2rem 0; grid-area: 1 / 2; }
  main { padding: 0 2rem 4rem; grid-area: 2 / 2; }
  .up { display: none; }
  .template { grid-template-columns: 1.6rem minmax(0, 13fr) minmax(0, 7fr); gap: .25rem 1rem; }
  .inverted { grid-column: 2 / -1; }
  .target { grid-column: 3; border-top: 0; border-left: 1px dashed var(--line);
    padding: 0 0 0 1rem; }
}
"""

ABOUT = """<header><h1>Every template, on a record</h1>
<p>Each block is one template: its number, the input as a model reads it, and after the arrow the
target. What the template itself says is plain;
<mark class="field">a field of the record</mark>, <mark class="options">an answer option</mark> and
<mark class="answer">the answer</mark> are tinted where they are filled in. An
<span class="inverted">inverted</span> template turns the task around: it shows the answer and asks
for a field.</p></header>"""

PARTS = {
    "flan2021": (
        "Flan 2021",
        "The records are made up for this page, in the form of the datasets' own.",
    ),
    "pocket": (
        "Pocket",
        "The collection that ships with its data: each task's first training record.",
    ),
}

CLUSTERS = {
    "closed_book_qa": "Closed-book QA",
    "misc": "Miscellaneous",
    "nli": "NLI",
    "read_comp_with_commonsense": "Reading comprehension with commonsense",
}


# Records


def hand_made(spec: TaskSpec) -> Iterator[Record]:
    """The canonical records of a task's hand-made raw ones."""
    rows = json.loads((RAW / f"{spec.name}.json").read_text(encoding="utf-8"))
    for number, row in enumerate(rows):
        yield from canonicalize(spec, row, f"made-{number}")


def sample(spec: TaskSpec) -> list[Record]:
    """The records on which a task's templates are shown."""
    if spec.source.kind == "tfds":
        return list(hand_made(spec))
    return list(itertools.islice(canonical_records(spec, "train"), MOST))


def marked(record: Record) -> Record:
    """The record with every text in marks that say which place of a template it fills."""

    def mark(name: str, text: str) -> str:
        return f"{OPEN}{name}{MIDDLE}{text}{CLOSE}"

    return replace(
        record,
        fields={name: mark(name, text) for name, text in record.fields.items()},
        answers=tuple(mark("answer", text) for text in record.answers),
        options=tuple(mark("options", text) for text in record.options),
    )


def rendered(spec: TaskSpec, records: Iterable[Record]) -> Iterator[tuple[str, str]]:
    """Each template's input and target as HTML, on the first record that has its fields."""
    records = list(records)
    for number in range(len(spec.templates)):
        fitting = (r for r in records if eligible_templates(spec, r, [number]))
        record = next(fitting, None)
        if record is None:
            raise ValueError(f"task '{spec.name}', template {number}: no record has its fields")
        pair = render(spec, marked(record), number)
        yield html(pair.inputs), html(pair.targets)


def html(text: str) -> str:
    """Marked text as HTML."""
    return FILLED.sub(r'<mark class="\1" title="\1">\2</mark>', escape(text, quote=False))


# HTML


def words(name: str) -> str:
    """A cluster's name as a heading."""
    return CLUSTERS.get(name) or name.replace("_", " ").capitalize()


def facts(spec: TaskSpec, same_as: str | None) -> str:
    """What stands under a task's name."""
    if spec.options:
        options = ", ".join(spec.options)
    else:
        options = "the record's own" if spec.has_options else "none"
    inverted = sum(template.inverted for template in spec.templates)
    pairs = {
        "source": f"{spec.source.kind} {spec.source.location}",
        "kind": spec.kind,
        "options": options,
        "metrics": ", ".join(spec.metrics),
        "templates": f"{len(spec.templates)}, {inverted or 'none'} inverted",
    }
    if same_as:
        pairs["wording"] = f"that of {same_as}"
    items = "".join(
        f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs.items()
    )
    return f'<dl class="facts">{items}</dl>'


def task(spec: TaskSpec, same_as: str | None) -> str:
    """A task with all its templates."""
    blocks = [f'<h4 id="{spec.name}">{spec.name}</h4>', facts(spec, same_as)]
    for number, (inputs, targets) in enumerate(rendered(spec, sample(spec))):
        place = f"{spec.name}-{number}"
        anchor = f'<a class="number" id="{place}" href="#{place}">{number}</a>'
        badge = '<div class="inverted">inverted</div>' if spec.templates[number].inverted else ""
        blocks.append(
            f'<div class="template">{anchor}{badge}'
            f'<div class="text">{inputs}</div><div class="text target">{targets}</div></div>'
        )
    return "\n".join(blocks)


def contents(parts: dict[str, dict[str, list[TaskSpec]]]) -> str:
    """The table of contents: clusters that open on their tasks."""
    lines = ['<nav id="contents">']
    for collection, clusters in parts.items():
        lines.append(f'<b><a href="#{collection}">{PARTS[collection][0]}</a></b>')
        for cluster, specs in clusters.items():
            items = "".join(f'<li><a href="#{s.name}">{s.name}</a></li>' for s in specs)
            lines.append(
                f"<details><summary>{words(cluster)} <small>{len(specs)}</small></summary>"
                f"<ul>{items}</ul></details>"
            )
    return "\n".join([*lines, "</nav>"])


def page() -> str:
    """Returns the whole page."""
    catalogue = Catalogue([tasks_root()])
    parts: dict[str, dict[str, list[TaskSpec]]] = {}
    for collection in PARTS:
        clusters = parts[collection] = {}
        for spec in map(catalogue.task, catalogue.expand(collection)):
            clusters.setdefault(spec.cluster, []).append(spec)
        parts[collection] = dict(sorted(clusters.items()))
    body = []
    first: dict[object, str] = {}  # the first task with these templates
    for collection, clusters in parts.items():
        title, about = PARTS[collection]
        body.append(f'<h2 id="{collection}">{title}</h2><p>{about}</p>')
        for cluster, specs in clusters.items():
            body.append(f"<h3>{words(cluster)}</h3>")
            for spec in specs:
                earlier = first.setdefault(spec.templates, spec.name)
                body.append(task(spec, earlier if earlier != spec.name else None))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>flanmix: every template</title><style>{STYLE}</style></head>\n<body>\n"
        f"{ABOUT}\n{contents(parts)}\n<main>\n"
        + "\n".join(body)
        + '\n</main>\n<a class="up" href="#contents">Contents</a>\n</body></html>\n'
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {PAGE.stat().st_size / 1000:.0f} kB")
