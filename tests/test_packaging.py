"""An installed flanmix finds its tasks and gin files; the pins and the packaging agree."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def run(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the checkout's wheel is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    # The build's own files must not land in the checkout, so it runs on a copy of what is packaged.
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    ).stdout.split("\n")
    if not any(names):
        pytest.skip("not a git checkout: its files are not listed")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            copy = folder / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    flags = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    target = ("--target", folder / "site")
    run("-m", "pip", "install", *flags, *target, folder / "source", cwd=folder)
    return folder / "site"


def test_an_installed_flanmix_has_every_task_and_gin_file(installed: Path, tmp_path: Path) -> None:
    listing = ("-m", "flanmix", "tasks", "--json")
    there = json.loads(run(*listing, cwd=tmp_path, PYTHONPATH=str(installed)))
    here = json.loads(run(*listing, cwd=tmp_path, PYTHONPATH=str(ROOT)))
    assert there == here
    for name, pattern in (("tasks", "*.yaml"), ("tasks", "*.model"), ("tasks", "*.py")):
        shipped = {p.relative_to(ROOT / name) for p in (ROOT / name).rglob(pattern)}
        root = installed / "flanmix" / f"_{name}"
        assert {p.relative_to(root) for p in root.rglob(pattern)} == shipped
    gin = installed / "flanmix" / "_gin"
    shipped = {p.relative_to(ROOT / "gin") for p in (ROOT / "gin").rglob("*.gin")}
    assert {p.relative_to(gin) for p in gin.rglob("*.gin")} == shipped
    assert not (installed / "gin").exists()


def pins() -> dict[str, list[str]]:
    """The pinned list: name -> versions, one or one for each range of Pythons."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = re.fullmatch(r"([a-z0-9.-]+)==([^; ]+)(; .+)?", line).groups()[:2]
            found.setdefault(name, []).append(version)
    return found


def test_every_direct_dependency_is_pinned() -> None:
    listed = (ROOT / "setup.py").read_text()
    required = listed[listed.index("REQUIRED = [") : listed.index("EXTRAS =")]
    names = re.findall(r"^    ['\"]([A-Za-z0-9-]+)", required, re.MULTILINE)
    names += re.findall(r'"([a-z-]+)', re.search(r'"dev": \[(.*?)\]', listed, re.DOTALL)[1])
    assert {"jax", "grain", "seqio", "pytest", "ruff"} <= set(names)
    assert not {name.lower() for name in names} - set(pins())


def test_the_pins_are_a_plain_list_without_the_nightlies() -> None:
    found = pins()
    assert found["t5"] == ["0.9.4"]
    assert found["jax"][0] == "0.10.2"
    assert found["jax"][1].startswith("0.12.")
    assert not {"seqio-nightly", "tfds-nightly", "mesh-tensorflow"} & set(found)
    assert "://" not in (ROOT / "requirements.txt").read_text()
