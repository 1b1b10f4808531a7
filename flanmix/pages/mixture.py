"""The mixture card as a page: what it shows, and the page itself.

    view(card).tasks[0]
    ->  {"task": "rte", "cluster": "nli", "examples": "2,290", "capped at": "–", ...}

The page has the totals, bars by cluster (share of examples, of tokens, of loss), every task, and
what is shared with test records, where that was measured (flanmix/pages/against.py).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flanmix.pages.against import AgainstView
from flanmix.pages.against import view as against_view
from flanmix.pages.charts import Bar, BarChart, Series, bar_chart, scale
from flanmix.pages.rendering import figure, render
from flanmix.pages.text import card_notes

if TYPE_CHECKING:
    from flanmix.audit.mixture_card import MixtureCard, MixtureRow


@dataclass(frozen=True)
class MixtureView:
    """What the page shows.

    Attributes:
        name: the mixture.
        totals: name and value of what sums it up.
        absent: the tasks that are not prepared, where others are.
        for_evaluation: the tasks that have no training split.
        clusters: the shares of each cluster, in percent, the largest first.
        tasks: the rows of the table, from a column's name to a text; all have the same columns.
        against: None where nothing was compared.
        notes: what is cut, what waits, and where exemplars are fewer than asked for.
    """

    name: str
    totals: tuple[tuple[str, str], ...]
    absent: tuple[str, ...]
    for_evaluation: tuple[str, ...]
    clusters: BarChart
    tasks: tuple[dict[str, str], ...]
    against: AgainstView | None
    notes: tuple[str, ...]


def page(card: "MixtureCard") -> str:
    """Returns the HTML page of a card."""
    return render("mixture.html.j2", card=view(card))


def view(card: "MixtureCard") -> MixtureView:
    """Returns what the page of a card shows."""
    return MixtureView(
        name=card.name,
        totals=tuple(_totals(card)),
        absent=card.absent,
        for_evaluation=card.for_evaluation,
        clusters=_clusters(card),
        notes=tuple(card_notes(card)),
        tasks=tuple(_cells(task, card) for task in card.tasks),
        against=None if card.against is None else against_view(card.against),
    )


def _totals(card: "MixtureCard") -> list[tuple[str, str]]:
    examples = [task.examples for task in card.tasks if task.examples is not None]
    epochs = [t.epochs_per_million for t in card.tasks if t.epochs_per_million is not None]
    totals = [
        ("tasks", str(len(card.tasks))),
        ("clusters", str(len({task.cluster for task in card.tasks}))),
        ("training records", f"{sum(examples):,}" if examples else "not prepared"),
        ("total rate", f"{card.total_rate:,.6g}"),
        ("tasks capped", str(sum(task.capped_at is not None for task in card.tasks))),
    ]
    if epochs:
        totals.append(("epochs per million examples", f"{min(epochs):.3g} to {max(epochs):.3g}"))
    if card.vocabulary is not None:
        share = 100 * (card.unknown_share or 0.0)
        totals.append((f"unknown tokens ({card.vocabulary})", f"{share:.3g}%"))
    return totals


def _clusters(card: "MixtureCard") -> BarChart:
    sums: dict[str, list[float]] = {}
    for task in card.tasks:
        shares = (task.share, task.share_of_tokens or 0.0, task.share_of_loss or 0.0)
        there = sums.setdefault(task.cluster, [0.0, 0.0, 0.0])
        sums[task.cluster] = [a + b for a, b in zip(there, shares, strict=True)]
    kinds = ["examples"] if card.vocabulary is None else ["examples", "tokens", "loss"]
    bars = [
        Bar(cluster, tuple(100 * share for share in shares[: len(kinds)]))
        for cluster, shares in sorted(sums.items(), key=lambda item: -item[1][0])
    ]
    series = [Series(kind, f"share of {kind}") for kind in kinds]
    longest = max(value for bar in bars for value in bar.values if value is not None)
    return bar_chart(bars, series, marks=scale(longest))


def _cells(task: "MixtureRow", card: "MixtureCard") -> dict[str, str]:
    def percent(share: float | None, form: str = ".2f") -> str:
        return figure(None if share is None else 100 * share, form)

    cells = {
        "task": task.name,
        "cluster": task.cluster,
        "examples": figure(task.examples, ",d"),
        "capped at": figure(task.capped_at, ",d"),
        "rate": figure(task.rate, ",.4g"),
        "share %": percent(task.share),
        "epochs": figure(task.epochs_per_million, ",.3g"),
        "templates": str(task.templates),
        "loss weight": figure(task.loss_weight, ",.4g"),
        "inputs": figure(task.inputs_tokens, ",.1f"),
        "targets": figure(task.targets_tokens, ",.1f"),
        "tokens %": percent(task.share_of_tokens),
        "loss %": percent(task.share_of_loss),
        "unknown %": percent(task.unknown_share, ".3f"),
    }
    if card.reading is not None:
        cells["cut in %"] = percent(task.inputs_truncated, ".1f")
        cells["cut out %"] = percent(task.targets_truncated, ".1f")
        cells["unseen %"] = percent(task.unseen_share, ".1f")
    if any(row.few_shot for row in card.tasks):
        cells["exemplars"] = str(task.few_shot)
        cells["fewer %"] = percent(task.fewer_exemplars, ".1f")
    return cells
