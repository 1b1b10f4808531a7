"""Registries refuse what is ambiguous, and plugins register from outside the package."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanmix import plugins
from flanmix.errors import UserError
from flanmix.plugins import Registry
from tests.conftest import ROOT


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory of its own; what was imported there is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    modules = set(sys.modules)
    plugins.load_plugins.cache_clear()
    yield tmp_path
    plugins.load_plugins.cache_clear()
    for name in set(sys.modules) - modules:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


def load(monkeypatch, names: str) -> None:
    monkeypatch.setenv(plugins.VARIABLE, names)
    plugins.load_plugins()


@given(st.dictionaries(st.text(), st.integers()))
def test_a_registry_is_a_mapping_in_the_order_of_registration(things):
    table: Registry[int] = Registry("number")
    for name, thing in things.items():
        assert table.register(name, thing) == thing
    assert list(table.items()) == list(things.items())
    assert dict(table) == things
    assert all(name in table and table.get(name) == thing for name, thing in things.items())


@given(st.text())
def test_an_unknown_name_is_a_user_error_on_one_line(name):
    table: Registry[int] = Registry("number")
    table.register("one" * 40, 1)
    assert name not in table
    assert table.get(name) is None
    assert table.get(name, 7) == 7
    with pytest.raises(UserError, match=r"^number .* is unknown") as caught:
        table[name]
    assert "\n" not in str(caught.value)


def test_the_nearest_name_is_named():
    table: Registry[int] = Registry("model")
    table.register("T5Config", 1)
    with pytest.raises(UserError, match="model 'T5Confg' is unknown; did you mean 'T5Config'"):
        table["T5Confg"]


def test_a_second_registration_is_refused_unless_it_is_of_the_same_thing():
    table: Registry[object] = Registry("metric")
    first = object()
    table.register("f1", first)
    assert table.register("f1", first) is first
    with pytest.raises(UserError, match=r"metric 'f1' is registered already.*another name"):
        table.register("f1", object())
    assert table["f1"] is first


def test_plugins_of_the_variable_are_imported_from_the_working_directory(folder, monkeypatch):
    (folder / "flanmix_test_one.py").write_text("import sys\nsys.flanmix_test_order = ['one']\n")
    (folder / "flanmix_test_kit").mkdir()
    (folder / "flanmix_test_kit" / "two.py").write_text("import sys\nsys.flanmix_test_order += [2]")
    load(monkeypatch, " flanmix_test_one, flanmix_test_kit.two ,")
    assert sys.flanmix_test_order == ["one", 2]
    del sys.flanmix_test_order
    plugins.load_plugins()  # once a process


def test_the_working_directory_hides_no_library(folder, monkeypatch):
    (folder / "flanmix_test_three.py").write_text("")
    (folder / "yaml.py").write_text("raise RuntimeError\n")
    load(monkeypatch, "flanmix_test_three,yaml")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "plugin 'flanmix_test_bad' (named in FLANMIX_PLUGINS) is not found: install it"),
        ("import flanmix_test_missing", "ModuleNotFoundError: No module named 'flanmix_test_mis"),
        ("1 / 0", "can't be imported: ZeroDivisionError: division by zero"),
        ("def f(:", "can't be imported: SyntaxError"),
        (
            "from flanmix.plugins import Registry\nr = Registry('m')\n"
            "r.register('x', 1)\nr.register('x', 2)",
            "(named in FLANMIX_PLUGINS) can't be imported: m 'x' is registered already, as 1",
        ),
    ],
)
def test_a_plugin_that_fails_is_one_line(folder, monkeypatch, source, said):
    if source is not None:
        (folder / "flanmix_test_bad.py").write_text(source)
    with pytest.raises(UserError) as caught:
        load(monkeypatch, "flanmix_test_bad")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_module_of_a_package_that_exists_is_not_found(folder, monkeypatch):
    with pytest.raises(UserError, match=r"plugin 'flanmix\.absent' .* is not found"):
        load(monkeypatch, "flanmix.absent")


def test_installed_plugins_are_imported(folder, monkeypatch):
    """A distribution that names an entry point of the group, as an installed package does."""
    info = folder / "flanmix_test_lab-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flanmix-test-lab\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\nlab = flanmix_test_lab\n")
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    with pytest.raises(UserError, match=r"'lab' .*entry point of flanmix\.plugins, flanmix_te"):
        load(monkeypatch, "")
    (folder / "flanmix_test_lab.py").write_text("import sys\nsys.flanmix_test_lab = 1\n")
    importlib.invalidate_caches()
    plugins.load_plugins()
    assert sys.flanmix_test_lab == 1
    del sys.flanmix_test_lab


def test_a_process_elsewhere_finds_the_plugin(tmp_path):
    (tmp_path / "flanmix_test_far.py").write_text("print('registered')\n")
    program = "from flanmix.plugins import load_plugins as f; f(); f()"
    env = {**os.environ, "PYTHONPATH": str(ROOT), plugins.VARIABLE: "flanmix_test_far"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "registered\n"), done.stderr
