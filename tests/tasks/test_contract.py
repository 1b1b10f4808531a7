"""What every task that ships must keep, whoever wrote it: each card and mixture is discovered."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanmix.audit.lint import lint_entry
from flanmix.data.canonical import canonicalize
from flanmix.data.render import render
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.mixture import resolve
from flanmix.registry.paths import tasks_root
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

CATALOGUE = Catalogue([tasks_root()])
HARD = st.one_of(
    st.text(min_size=1),
    st.sampled_from(["{answer}", "{{", "}", "\x00", "\U0001f600", "שלום", '"quoted"', "a\n\tb"]),
)


def record_of(spec: TaskSpec, texts: list[str], answer: str) -> Record:
    fields = {name: texts[i % len(texts)] for i, name in enumerate(spec.fields)}
    if spec.options:
        return Record("train-0", fields, (spec.options[-1],), spec.options)
    options = (answer + "?", answer) if spec.has_options else ()
    return Record("train-0", fields, (answer,), options)


@pytest.mark.parametrize("name", CATALOGUE.names())
def test_a_card_has_ten_templates_at_most_three_inverted(name: str):
    spec = CATALOGUE.task(name)
    assert len(spec.templates) == 10
    assert len(spec.forward_templates) >= 7
    assert len({template.inputs for template in spec.templates}) == 10
    used = frozenset().union(*(template.fields for template in spec.templates))
    assert set(spec.fields) <= used, "a field that no template uses"


@pytest.mark.parametrize("name", CATALOGUE.names())
def test_check_finds_nothing_in_a_card(name: str):
    assert lint_entry(CATALOGUE.entries[name]) == []


@pytest.mark.parametrize("name", CATALOGUE.names())
@settings(max_examples=15, deadline=None)
@given(texts=st.lists(HARD, min_size=1, max_size=4), answer=HARD)
def test_any_text_goes_through_every_template_unharmed(name: str, texts: list[str], answer: str):
    spec = CATALOGUE.task(name)
    record = record_of(spec, texts, answer)
    record = Record.from_bytes(record.to_bytes())
    for number, template in enumerate(spec.templates):
        pair = render(spec, record, number)
        for field in template.fields & set(record.fields):
            assert record.fields[field] in pair.inputs + pair.targets
        if not template.inverted:
            assert record.answers[0] in pair.targets
            assert not record.options or pair.targets in pair.options


@pytest.mark.parametrize("name", CATALOGUE.names())
def test_a_megabyte_goes_through_every_template(name: str):
    spec = CATALOGUE.task(name)
    record = record_of(spec, ["{x} \U0001f600" * 150_000], "a")
    for number, template in enumerate(spec.templates):
        pair = render(spec, record, number)
        for field in template.fields & set(record.fields):
            assert record.fields[field] in pair.inputs + pair.targets


@pytest.mark.parametrize("name", CATALOGUE.mixture_names())
def test_a_mixture_resolves(name: str):
    mixture = resolve(CATALOGUE.mixture(name), CATALOGUE, lambda spec: 1000)
    assert mixture.total_rate > 0
    assert set(mixture.names) == set(CATALOGUE.expand(name))


def test_canonical_records_keep_hard_texts():
    for name in CATALOGUE.names():
        spec = CATALOGUE.task(name)
        if (
            spec.mapping is None
            and spec.options
            and all("." not in p for p in spec.fields.values())
        ):
            raw = {path: "{a} \x00 \U0001f600" for path in spec.fields.values()}
            (record,) = canonicalize(spec, {**raw, spec.answer: 0}, "train-0")
            assert set(record.fields.values()) == {"{a} \x00 \U0001f600"}
