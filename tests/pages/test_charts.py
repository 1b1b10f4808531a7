"""Charts: round ticks that hold every value, points inside their drawing, bars on one scale."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.pages.charts import (
    Bar,
    Line,
    Series,
    bar_chart,
    line_chart,
    scale,
    small_multiples,
    ticks,
)

HEIGHTS = st.floats(0, 1e6)


def points(path: str) -> list[tuple[float, float]]:
    assert re.fullmatch(r"M[\d.]+ [\d.]+(L[\d.]+ [\d.]+)*", path)
    return [tuple(map(float, corner.split())) for corner in path[1:].split("L")]


@given(st.floats(1e-6, 1e6))
def test_ticks_are_few_and_within(high: float) -> None:
    marks = ticks(0.0, high)
    assert marks[0] == 0.0
    assert 2 <= len(marks) <= 7
    assert marks[-1] <= high * 1.001


@given(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)))
def test_a_scale_begins_at_0_and_holds_the_highest_value(top: float) -> None:
    marks = scale(top)
    assert marks[0] == 0.0
    assert marks == sorted(set(marks))
    assert 2 <= len(marks) <= 8
    assert marks[-1] >= top


@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)), min_size=1, max_size=20))
def test_a_line_stays_in_its_drawing(heights: list[float]) -> None:
    line = Line("loss", list(enumerate(heights)))
    chart = line_chart([line], (0, len(heights) - 1))
    drawn = points(chart.curves[0].path)
    assert len(drawn) == len(heights)
    assert all(0 <= x <= 1000 and 0 <= y <= 1000 for x, y in drawn)
    assert [x for x, _ in drawn] == sorted(x for x, _ in drawn)
    assert chart.marks[0].text == "0"
    assert [chart.marks[0].at, chart.marks[-1].at] == [100, 0]


def test_a_line_chart() -> None:
    falling = Line("a", [(0, 8.0), (50, 4.0), (100, 0.0)])
    chart = line_chart([falling, Line("b", [(100, 4.0)])], (0, 100))
    assert chart.curves[0].path == "M0.0 0.0L500.0 500.0L1000.0 1000.0"
    assert chart.curves[0].dots == "M0.0 0.0h0M500.0 500.0h0M1000.0 1000.0h0"
    assert chart.curves[1].path == "M1000.0 500.0"
    assert [curve.kind for curve in chart.curves] == ["line0", "line1"]
    assert [mark.text for mark in chart.marks] == ["0", "2", "4", "6", "8"]
    assert chart.below == ("step 0", "50", "100")
    percents = line_chart([falling], (0, 100), marks=(0, 50, 100))
    assert [mark.text for mark in percents.marks] == ["0", "50", "100"]
    assert percents.curves[0].path.startswith("M0.0 920.0")


def test_a_line_of_many_points_has_no_dots() -> None:
    chart = line_chart([Line("a", [(x, 1.0) for x in range(21)])], (0, 20))
    assert chart.curves[0].dots == ""


def test_small_multiples_have_one_scale() -> None:
    lines = [Line("a", [(0, 1.0)]), Line("b", [(0, 4.0)])]
    small = small_multiples(lines, (0, 1))
    assert [points(line.curve.path) for line in small.lines] == [[(0, 750)], [(0, 0)]]
    assert [line.last for line in small.lines] == [1.0, 4.0]
    assert small.top == 4.0
    assert points(small_multiples(lines, (0, 1), top=8).lines[1].curve.path) == [(0, 500)]


def test_bars_are_on_the_scale_and_what_is_not_there_is_not_drawn() -> None:
    series = [Series("before", "step 0"), Series("after", "step 9")]
    bars = [Bar("a", (None, 20.0), 10.0), Bar("b", (None, 60.0), None, "2 tasks")]
    chart = bar_chart(bars, series, "majority", marks=(0, 20, 40))
    assert chart.key == (series[1],)
    assert chart.baseline == "majority"
    assert [[box.width for box in row.boxes] for row in chart.rows] == [[50], [100]]
    assert [row.line for row in chart.rows] == [25, None]
    assert [(mark.text, mark.at) for mark in chart.marks] == [("0", 0), ("20", 50), ("40", 100)]
    assert bar_chart([Bar("a", (1.0, 2.0))], series, "majority").baseline == ""


def test_a_bar_has_a_value_for_each_series() -> None:
    with pytest.raises(ValueError, match="argument"):
        bar_chart([Bar("a", (1.0,))], [Series("before", "x"), Series("after", "y")])
