"""The mixture card's page: the card's own figures, on a scale that holds them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.audit.against import Against
from flanmix.audit.mixture_card import MixtureCard, MixtureRow
from flanmix.audit.overlap.overlap import Overlap, PairOverlap, TaskOverlap, Worst
from flanmix.pages.mixture import page, view
from tests.pages.reader import Page

SHARES = st.lists(st.floats(1e-3, 1), min_size=1, max_size=12)


def row(name: str, cluster: str, share: float, **more: float) -> MixtureRow:
    return MixtureRow(name, "mine", cluster, None, None, 1.0, share, None, 1, (0,), 1.0, **more)


@given(SHARES)
def test_a_cluster_has_the_sum_of_its_tasks_shares(weights: list[float]) -> None:
    shares = [weight / sum(weights) for weight in weights]
    rows = tuple(row(f"t{i}", f"c{i % 3}", share) for i, share in enumerate(shares))
    chart = view(MixtureCard("m", rows, 1.0, None)).clusters
    assert [series.name for series in chart.key] == ["share of examples"]
    values = {shown.name: shown.values[0] for shown in chart.rows}
    for number in range(min(3, len(rows))):
        assert values[f"c{number}"] == pytest.approx(100 * sum(shares[number::3]))
    assert list(values.values()) == sorted(values.values(), reverse=True)
    top = float(chart.marks[-1].text)
    for shown in chart.rows:
        assert shown.boxes[0].width == pytest.approx(100 * shown.values[0] / top)
        assert shown.values[0] <= top + 1e-9


def test_with_a_vocabulary_there_are_three_shares() -> None:
    measured = {"share_of_tokens": 0.25, "share_of_loss": 0.75, "unknown_share": 0.5}
    rows = (row("a", "c", 1.0, **measured),)
    shown = view(MixtureCard("m", rows, 1.0, "<byte>"))
    assert shown.clusters.rows[0].values == (100, 25, 75)
    assert shown.tasks[0]["loss %"] == "75.00"
    assert "unknown tokens (<byte>)" in Page(page(MixtureCard("m", rows, 1.0, "<byte>"))).texts


@pytest.mark.parametrize("count", [0, 1, 203])
def test_the_worst_pairs_are_shown_and_the_others_counted(count: int) -> None:
    worst = Worst("test-1", "train-2", " ".join(f"<w{i}>" for i in range(50)))
    pairs = tuple(PairOverlap("a", "b", 0, 1, 1234, worst) for _ in range(count))
    against = Against("<b>", ("test",), Overlap((TaskOverlap("b", 2468, 0, 1, 1234),), pairs))
    card = MixtureCard("m", (row("a", "c", 1.0),), 1.0, None, against=against)
    shown = Page(page(card))
    assert "Against <b>" in shown.texts
    assert "1,234 (50.00%)" in shown.texts
    assert shown.texts.count("50 words of test-1 and train-2") == min(count, 200)
    assert ("No pair of tasks shares 8 words in a row or a record." in shown.texts) == (count == 0)
    assert ("The worst 200 are shown; 3 more share something." in shown.text) == (count == 203)
