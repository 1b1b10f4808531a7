"""YAML is read whole: no key is lost, and no alias multiplies."""

from pathlib import Path

import pytest

from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.yaml_file import read_yaml
from tests.registry.cards import CARD, write_card


def body(tmp_path: Path, text: str) -> dict:
    (tmp_path / "a.yaml").write_text(text)
    return read_yaml(tmp_path / "a.yaml")


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        body(tmp_path, text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "key", "first", "second"),
    [
        ("options: [a, b]\nkind: x\noptions: [b, a]\n", "options", 1, 3),
        ("m: {cap: 1,\n  cap: 2}\n", "cap", 1, 2),
        ("a:\n  - b: 1\n    c: {d: 1, e: {f: 1, f: 1}}\n", "f", 3, 3),
        ("labels: {yes: a,\n true: b}\n", "true", 1, 2),
        ("labels: {1: a,\n 1.0: b}\n", "1.0", 1, 2),
        ("'a': 1\na: 1\n", "a", 1, 2),
        ("x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x\n", "<<", 3, 4),
        ("x: &x {a: 1,\n  a: 2}\ny: *x\n", "a", 1, 2),
    ],
)
def test_a_key_that_is_given_twice_names_both_lines(tmp_path: Path, text, key, first, second):
    said = refusal(tmp_path, text)
    assert f"a.yaml line {second}: key '{key}' is given twice" in said
    assert f"in line {first} and in line {second}" in said


def test_keys_that_are_not_the_same_and_merged_ones_are_read(tmp_path: Path):
    assert body(tmp_path, "1: a\n'1': b\n") == {1: "a", "1": "b"}
    text = "x: &x {a: 1, b: 1}\ny: {<<: *x, b: 2}\nz: {<<: [*x, {c: 3}]}\n"
    assert body(tmp_path, text)["y"] == {"a": 1, "b": 2}
    assert body(tmp_path, text)["z"] == {"a": 1, "b": 1, "c": 3}


def test_a_card_and_a_mixture_that_give_a_key_twice_are_refused(tmp_path: Path):
    write_card(tmp_path, "mine/nli/toy", CARD.format(name="toy") + 'options: ["no", "yes"]\n')
    with pytest.raises(UserError, match=r"toy.yaml line \d+: key 'options' is given twice"):
        Catalogue([tmp_path]).task("toy")
    (tmp_path / "mine" / "mixtures.yaml").write_text(
        "m: {tasks: [toy]}\nm: {tasks: [toy], cap: 1}\n"
    )
    with pytest.raises(UserError, match=r"mixtures.yaml line 2: key 'm' is given twice"):
        Catalogue([tmp_path]).mixture_names()


def test_a_mixture_of_the_same_name_elsewhere_names_both_files(tmp_path: Path):
    for collection in ("one", "two"):
        write_card(tmp_path, f"{collection}/nli/{collection}_task")
        (tmp_path / collection / "mixtures.yaml").write_text(f"m: {{tasks: [{collection}_task]}}\n")
    with pytest.raises(
        UserError, match=r"'m' of .*two/mixtures.yaml is in .*one/mixtures.yaml too"
    ):
        Catalogue([tmp_path]).mixture_names()


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
MERGES = "a0: &a0 {k: v}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
)


@pytest.mark.parametrize("text", [BOMB, MERGES])
def test_aliases_that_multiply_are_refused_at_once(tmp_path: Path, text: str):
    assert len(text) < 700
    assert "aliases (*name) repeat more than 10,000 values" in refusal(tmp_path, text)


@pytest.mark.parametrize("text", ["[" * 20_000, "a: " + "{a: " * 20_000, "a: &a [*a]\n"])
def test_depth_without_end_is_refused(tmp_path: Path, text: str):
    assert " line 1: " in refusal(tmp_path, text)


def test_aliases_that_repeat_a_little_are_read(tmp_path: Path):
    text = "x: &x [1, 2]\ny: [*x, *x]\n"
    assert body(tmp_path, text) == {"x": [1, 2], "y": [[1, 2], [1, 2]]}
    assert "can't be read" in refusal(tmp_path, "a: 2020-99-99\n")
