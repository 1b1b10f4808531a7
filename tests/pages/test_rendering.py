"""Templates: what they print is escaped, a missing name is an error, and Jinja2 comes in late."""

import subprocess
import sys
from importlib import resources

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix.pages.charts import BarChart
from flanmix.pages.mixture import MixtureView
from flanmix.pages.rendering import figure, render
from tests.conftest import ROOT
from tests.pages.reader import Page

NOTHING = BarChart((), "", (), ())


def card(text: str) -> MixtureView:
    return MixtureView(
        text, ((text, text),), (text,), (text,), NOTHING, ({text: text},), None, (text,)
    )


@given(st.text())
def test_any_text_is_shown_as_text(text: str) -> None:
    tags = Page(render("mixture.html.j2", card=card("plain"))).tags
    page = Page(render("mixture.html.j2", card=card(f"<b>{text}</b>\"'&amp;")))
    assert page.tags == tags


def test_a_missing_name_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("task_templates.html.j2")  # it would be an empty page
    with pytest.raises(jinja2.UndefinedError):
        render("mixture.html.j2", card={"name": "a"})


def test_every_template_carries_the_one_stylesheet() -> None:
    style = resources.files("flanmix.pages").joinpath("style.css").read_text(encoding="utf-8")
    assert style in render("mixture.html.j2", card=card("a"))
    folder = resources.files("flanmix.pages").joinpath("templates")
    for template in folder.iterdir():
        text = template.read_text(encoding="utf-8")
        assert "<style" not in text.replace("<style>\n{{ style }}</style>", "")
        assert "|safe" not in text.replace(" ", "")
        assert "autoescape" not in text


def test_a_colour_has_one_name_for_light_and_dark() -> None:
    style = resources.files("flanmix.pages").joinpath("style.css").read_text(encoding="utf-8")
    light, dark = (part.split("}")[0] for part in style.split(":root {")[1:])
    names = [line.split(":")[0].strip() for line in light.split(";") if "--" in line]
    assert len(names) == len(set(names)) == light.count("#")
    assert [line.split(":")[0].strip() for line in dark.split(";") if "--" in line] == names
    assert style.count("#") == 2 * len(names)
    assert {part.split(")")[0] for part in style.split("var(")[1:]} - set(names) == {"--shade, 0%"}


def test_a_number_that_is_not_there_is_a_dash() -> None:
    assert [figure(None), figure(0.0), figure(1234, ",d")] == ["–", "0.0", "1,234"]


def test_jinja2_is_imported_only_to_write_a_page() -> None:
    verbs = ["report", "mixture", "train", "evaluate"]
    program = "".join(f"import flanmix.verbs.{verb}\n" for verb in verbs)
    program += (
        "import sys, flanmix.cli, flanmix.pages.task_templates\n"
        "assert not {'jinja2', 'markupsafe'} & set(sys.modules)\n"
        "from flanmix.pages.rendering import render\n"
        "render('task_templates.html.j2', collections=())\n"
        "assert 'jinja2' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
