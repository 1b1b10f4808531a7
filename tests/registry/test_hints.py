"""The hint is a command that can be pasted into a shell."""

import shlex

from hypothesis import given
from hypothesis import strategies as st

from flanmix.registry.hints import prepare_hint

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1)


def test_the_hint():
    assert prepare_hint("rte", "runs/store") == "run: flanmix prepare rte --store runs/store"
    assert prepare_hint(["a", "b/c"]) == "run: flanmix prepare a b/c --store DIR"
    assert prepare_hint("a", "s", "~/d").endswith("--store s --data_dir '~/d'")


@given(st.lists(NAMES, min_size=1), NAMES, NAMES)
def test_a_shell_reads_it_back(names: list[str], store: str, data_dir: str):
    command = prepare_hint(names, store, data_dir).removeprefix("run: ")
    assert shlex.split(command) == [
        *("flanmix", "prepare", *names),
        *("--store", store, "--data_dir", data_dir),
    ]
