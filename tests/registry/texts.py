"""Texts for templates, from nothing special to what nobody expects."""

from hypothesis import strategies as st

from flanmix.registry.template import Template

_PARTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "{text}",
            "{options}",
            "{choices}",
            " ",
            "\n",
            ".",
            "?",
            "{{",
            "}}",
            "(",
            "\ue000",
            "\ue001",
        ]
    ),
    st.sampled_from(["word", "日本", "ça va\u00a0?", "שלום", "\U0001f600", "\x00"]),
)
TEXTS = st.lists(_PARTS, max_size=8).map("".join)


def template_of(text: str) -> Template:
    """The text as a template; one that is none, with its braces as text."""
    try:
        return Template(text)
    except ValueError:
        return Template("x" + text.replace("{", "{{").replace("}", "}}"))
