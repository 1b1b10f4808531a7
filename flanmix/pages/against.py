"""The section of the mixture card's page that says what is shared with test records.

A row for each test task, and one for each of the worst pairs, with the longest run that they share.
On a narrow screen rows become blocks, as those of the page's other tables do.
"""

from html import escape

from flanmix.audit.against import Against
from flanmix.pages.text import beginning, shares

STYLE = """
.pairs td:last-child, .pairs th:last-child { text-align: left; white-space: normal;
  min-width: 18rem; overflow-wrap: anywhere; }
.pairs small { color: var(--soft); display: block; }
.some { color: var(--tokens); font-weight: 600; }
@media (max-width: 44rem) {
  .pairs td:nth-child(2) { grid-column: 1 / -1; }
  .pairs td:last-child { grid-column: 1 / -1; display: block; min-width: 0; }
  .pairs td:last-child::before { display: block; }
}
"""
_PAIRS = 200
_WORDS = 40


def section(against: Against) -> str:
    """Returns the section."""
    overlap, name = against.overlap, escape(against.mixture)
    notes = (
        f"Test records of {name} that are a training record of this mixture in all their fields, "
        "or share 13, or 8, words in a row with one. Compared are words without case and signs, "
        "within one field; options and answers are left out. Training records are all those of the "
        "training splits in the store."
    )
    tasks = [
        {
            "test task": escape(task.name),
            "split": split,
            "records": f"{task.records:,}",
            **_counts((task.duplicates, task.shared_13, task.shared_8), task.records),
        }
        for task, split in zip(overlap.tasks, against.splits, strict=True)
    ]
    parts = [f"<h2>Against {name}</h2><p>{notes}</p>", _table(tasks, "shared")]
    if not overlap.pairs:
        return "".join([*parts, "<p>No pair of tasks shares 8 words in a row.</p>"])
    rest = len(overlap.pairs) - _PAIRS
    more = f" The worst {_PAIRS} are shown; {rest:,} more share something." if rest > 0 else ""
    parts.append(f"<h2>By pair of tasks</h2><p>The worst first.{more}</p>")
    return "".join([*parts, _table(_pairs(against), "pairs")])


def _pairs(against: Against) -> list[dict[str, str]]:
    sizes = {task.name: task.records for task in against.overlap.tasks}
    rows = []
    for pair in against.overlap.pairs[:_PAIRS]:
        worst = pair.worst
        records = f"{escape(worst.record)} and {escape(worst.train_record)}"
        run = f"{len(worst.words.split())} words of {records}"
        words = escape(beginning(worst.words, _WORDS))
        rows.append(
            {
                "training task": escape(pair.task),
                "test task": escape(pair.other),
                **_counts((pair.duplicates, pair.shared_13, pair.shared_8), sizes[pair.other]),
                "longest run": f"{words}<small>{run}</small>",
            }
        )
    return rows


def _counts(counts: tuple[int, int, int], records: int) -> dict[str, str]:
    names = ("duplicates", "13 words", "8 words")
    cells = shares(counts, records)
    return {
        name: f'<span class="some">{count:,} ({share:.2f}%)</span>' if count else "0"
        for name, (count, share) in zip(names, cells, strict=True)
    }


def _table(rows: list[dict[str, str]], kind: str) -> str:
    head = "".join(f"<th>{name}</th>" for name in rows[0])
    body = "".join(
        "<tr>"
        + "".join(f'<td data-name="{name}">{cell}</td>' for name, cell in row.items())
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}</tbody></table></div>"
    )
