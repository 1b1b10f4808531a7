"""Renders a Jinja2 template of this package as one HTML page that needs nothing else.

    render("mixture.html.j2", card=...)  ->  "<!doctype html>..."

Everything that a template prints is escaped, the stylesheet is written into the page, and a name
that a template uses and the caller did not give is an error. Jinja2 is imported when the first page
is rendered, so that importing this package costs nothing.
"""

import os
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flanmix.errors import UserError

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(template: str, **view: Any) -> str:
    """Returns the page.

    Args:
        template: the name of a file in `templates/`.
        view: what the template shows.
    """
    from markupsafe import Markup

    style = resources.files("flanmix.pages").joinpath("style.css").read_text(encoding="utf-8")
    return _environment().get_template(template).render(view, style=Markup(style))


def write_page(text: str, path: Path) -> Path:
    """Writes a page and returns its path; whoever reads it sees the old one or the new one.

    Raises:
        UserError: it can't be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"the page {path} can't be written: {error.strerror}") from error
    return path


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("flanmix.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["figure"] = figure
    environment.filters["breakable"] = breakable
    return environment


def figure(value: float | None, form: str = ".1f") -> str:
    """A number as text, and a dash where there is none."""
    return "–" if value is None else format(value, form)


def breakable(name: str) -> "Markup":
    """A task's name that a narrow column breaks after its underscores, and not within a word."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))
