"""The mixture card as one HTML page that needs nothing else: no script, no font, no network.

The page has the totals, bars by cluster (share of examples, of tokens, of loss), every task, and
what is shared with test records, where that was measured (flanmix/pages/against.py). On
a narrow screen each task's row becomes a block with its column names beside the figures.
"""

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flanmix.audit.mixture_card import MixtureCard, MixtureRow

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --soft: #667085; --line: #e4e7ec; --page: #fcfcfd;
  --examples: #3b6fb6; --tokens: #d98a29; --loss: #3f9a6b; --track: #eef0f4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --soft: #98a2b3; --line: #2c323c;
  --page: #14171c; --examples: #6b9be0; --tokens: #e3a552; --loss: #63be8f; --track: #23282f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 3rem; background: var(--page);
  color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
p { color: var(--soft); max-width: 46rem; margin: .4rem 0; }
.totals { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .6rem;
  margin: 0; }
.totals div { border: 1px solid var(--line); border-radius: 8px; padding: .6rem .8rem; }
.totals dt { color: var(--soft); font-size: .8rem; }
.totals dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.cluster { display: grid; grid-template-columns: minmax(6rem, 12rem) 1fr; gap: .2rem .8rem;
  align-items: center; padding: .35rem 0; border-top: 1px solid var(--line); }
.bar { display: grid; grid-template-columns: 1fr 3.6rem; gap: .5rem; align-items: center;
  font-size: .8rem; font-variant-numeric: tabular-nums; text-align: right; }
.bar i { display: block; height: .55rem; border-radius: 3px; min-width: 1px; }
.bar span { background: var(--track); border-radius: 3px; }
.examples { background: var(--examples); } .tokens { background: var(--tokens); }
.loss { background: var(--loss); }
.key i { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px;
  margin: 0 .35rem 0 .9rem; } .key i:first-child { margin-left: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: .8rem; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
@media (max-width: 44rem) {
  thead { display: none; }
  tr { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1rem; padding: .6rem 0;
    border-bottom: 1px solid var(--line); }
  td, td:first-child, td:nth-child(2) { border: 0; padding: .1rem 0; display: flex;
    justify-content: space-between; gap: .6rem; white-space: normal; overflow-wrap: anywhere; }
  td::before { content: attr(data-name); color: var(--soft); white-space: nowrap; }
  td:first-child { grid-column: 1 / -1; font-weight: 600; }
  td:first-child::before { content: none; }
}
"""


def page(card: "MixtureCard") -> str:
    """Returns the whole page."""
    name, style = escape(card.name), _STYLE
    sections = [_totals(card), _clusters(card), _tasks(card)]
    if card.against is not None:
        from flanmix.pages.against import STYLE, section

        style += STYLE
        sections.append(section(card.against))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}: mixture card</title><style>{style}</style></head>\n"
        f"<body><h1>Mixture {name}</h1>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def _totals(card: "MixtureCard") -> str:
    examples = [task.examples for task in card.tasks if task.examples is not None]
    epochs = [t.epochs_per_million for t in card.tasks if t.epochs_per_million is not None]
    figures = [
        ("tasks", str(len(card.tasks))),
        ("clusters", str(len({task.cluster for task in card.tasks}))),
        ("training records", f"{sum(examples):,}" if examples else "not prepared"),
        ("total rate", f"{card.total_rate:,.6g}"),
        ("tasks capped", str(sum(task.capped_at is not None for task in card.tasks))),
    ]
    if epochs:
        figures.append(("epochs a million examples", f"{min(epochs):.3g} to {max(epochs):.3g}"))
    if card.vocabulary is not None:
        share = 100 * (card.unknown_share or 0.0)
        figures.append((f"unknown tokens ({escape(card.vocabulary)})", f"{share:.3g}%"))
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)
    notes = [
        ("Not prepared, and not in these figures", card.absent),
        ("Without a training split", card.for_evaluation),
    ]
    lines = "".join(f"<p>{note}: {escape(', '.join(names))}.</p>" for note, names in notes if names)
    return f'<dl class="totals">{items}</dl>{lines}'


def _clusters(card: "MixtureCard") -> str:
    sums: dict[str, list[float]] = {}
    for task in card.tasks:
        shares = (task.share, task.share_of_tokens or 0.0, task.share_of_loss or 0.0)
        there = sums.setdefault(task.cluster, [0.0, 0.0, 0.0])
        sums[task.cluster] = [a + b for a, b in zip(there, shares, strict=True)]
    kinds = ["examples"] if card.vocabulary is None else ["examples", "tokens", "loss"]
    longest = max(max(shares) for shares in sums.values())
    rows = []
    for cluster, shares in sorted(sums.items(), key=lambda item: -item[1][0]):
        bars = "".join(
            f'<div class="bar"><span><i class="{kind}" style="width:{100 * share / longest:.2f}%">'
            f"</i></span>{100 * share:.1f}%</div>"
            for kind, share in zip(kinds, shares, strict=False)
        )
        rows.append(f'<div class="cluster"><div>{escape(cluster)}</div><div>{bars}</div></div>')
    key = "".join(f'<i class="{kind}"></i>share of {kind}' for kind in kinds)
    return f'<h2>By cluster</h2><p class="key">{key}</p>{"".join(rows)}'


def _tasks(card: "MixtureCard") -> str:
    names = list(_cells(card.tasks[0]))
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-name="{name}">{text}</td>' for name, text in _cells(task).items())
        + "</tr>\n"
        for task in card.tasks
    )
    note = (
        "Epochs are passes over a task's records in a million examples: a run of N examples makes "
        "N / 1,000,000 times as many. Tokens are means of a sample, end of sequence included."
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"
    return f'<h2>Tasks</h2><p>{note}</p><div class="wide">{table}</div>'


def _cells(task: "MixtureRow") -> dict[str, str]:
    def show(value: float | None, form: str = ",.4g", factor: float = 1) -> str:
        return "–" if value is None else format(value * factor, form)

    return {
        "task": escape(task.name),
        "cluster": escape(task.cluster),
        "examples": show(task.examples, ",d"),
        "capped at": show(task.capped_at, ",d"),
        "rate": show(task.rate),
        "share %": show(task.share, ".2f", 100),
        "epochs": show(task.epochs_per_million, ",.3g"),
        "templates": str(task.templates),
        "loss weight": show(task.loss_weight),
        "inputs": show(task.inputs_tokens, ",.1f"),
        "targets": show(task.targets_tokens, ",.1f"),
        "tokens %": show(task.share_of_tokens, ".2f", 100),
        "loss %": show(task.share_of_loss, ".2f", 100),
        "unknown %": show(task.unknown_share, ".3f", 100),
    }
