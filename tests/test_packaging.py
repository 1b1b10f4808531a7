"""An installed flanmix finds its tasks and gin files; the pins and the packaging agree."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from scripts import check_dependencies
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


BUILD = {"setuptools", "wheel"}
# What t5 asks for and the pinned list leaves out; its head says why.
T5_ALONE = {"mesh-tensorflow", "pandas", "seqio-nightly", "tfds-nightly", "transformers"}
# Builds use what is installed, and nothing else.
OFFLINE = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, in which a build may leave its files."""
    folder = tmp_path_factory.mktemp("source")
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
            copy = folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of the checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    run("-c", build, cwd=source)
    return next(folder.glob("flanmix-*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """The wheel that is built from the sdist."""
    run("-m", "pip", "wheel", *OFFLINE, "--wheel-dir", sdist.parent, sdist, cwd=sdist.parent)
    return next(sdist.parent.glob("flanmix-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """A folder into which the sdist's wheel is installed."""
    folder = wheel.parent
    run("-m", "pip", "install", *OFFLINE, "--target", folder / "site", wheel, cwd=folder)
    return folder / "site"


def test_the_sdist_holds_all_that_is_needed_to_test_it(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("LICENSE", "CHANGELOG.md", "requirements.txt", "requirements-train.txt"):
        assert name in names
    for folder in ("docs", "gin", "scripts", "tasks", "tests"):
        listed = subprocess.run(
            ["git", "ls-files", folder], capture_output=True, text=True, cwd=ROOT, check=True
        ).stdout.split()
        assert {name for name in listed if (ROOT / name).is_file()} <= names
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_sdist_makes_the_same_wheel_as_the_checkout(
    source: Path, wheel: Path, tmp_path: Path
) -> None:
    run("-m", "pip", "wheel", *OFFLINE, "--wheel-dir", tmp_path, source, cwd=tmp_path)
    straight = next(tmp_path.glob("flanmix-*.whl"))
    made = []
    for path in (straight, wheel):
        with zipfile.ZipFile(path) as archive:
            made.append({entry.filename: entry.CRC for entry in archive.infolist()})
    assert made[0].keys() == made[1].keys()
    assert {n: c for n, c in made[0].items() if n.endswith(".py")}.items() <= made[1].items()
    assert "flanmix/py.typed" in made[1]


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = message_from_string(archive.read(info).decode())
        folder = info.removesuffix("METADATA")
        license_ = archive.read(f"{folder}licenses/LICENSE").decode()
        commands = archive.read(f"{folder}entry_points.txt").decode()
    assert license_ == (ROOT / "LICENSE").read_text()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "flanmix = flanmix.cli:console" in commands
    asked = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    plain = {r.name for r in asked if "extra" not in str(r.marker)}
    assert {"jax", "seqio"} <= plain and not {"t5", "pytest", "torch"} & plain
    assert set(metadata.get_all("Provides-Extra")) == {"dev", "tpu", "gpu", "bench"}


def test_the_pythons_are_the_same_everywhere() -> None:
    """requires-python, the classifiers and the workflow name the same Pythons."""
    listed = (ROOT / "pyproject.toml").read_text()
    allowed = SpecifierSet(re.search(r'requires-python = "(.+)"', listed)[1])
    classified = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', listed)
    assert classified == [v for v in (f"3.{n}" for n in range(30)) if f"{v}.1" in allowed]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    assert workflow["jobs"]["suite"]["strategy"]["matrix"]["python"] == classified


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


def test_an_installed_flanmix_writes_pages(installed: Path, tmp_path: Path) -> None:
    pages = Path("flanmix", "pages")
    shipped = {
        p.relative_to(ROOT) for p in (ROOT / pages).rglob("*") if p.suffix in (".j2", ".css")
    }
    assert len(shipped) > 5
    found = (installed / pages).rglob("*")
    assert {p.relative_to(installed) for p in found if p.suffix in (".j2", ".css")} == shipped
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0, "target_tokens": 5}\n')
    made = []
    for root in (installed, ROOT):
        run("-m", "flanmix", "report", tmp_path, cwd=tmp_path, PYTHONPATH=str(root))
        made.append((tmp_path / "report.html").read_text())
    assert made[0] == made[1]
    assert "Training loss" in made[0]


def pinned_lines(name: str = "requirements.txt") -> list[str]:
    """The lines of a pinned list."""
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pins(name: str = "requirements.txt") -> dict[str, list[str]]:
    """A pinned list: name -> versions, one or one for each range of Pythons."""
    found: dict[str, list[str]] = {}
    for line in pinned_lines(name):
        package, version = re.fullmatch(r"([a-z0-9.-]+)==([^; ]+)(; .+)?", line).groups()[:2]
        found.setdefault(package, []).append(version)
    return found


def asked_for(names: set[str]) -> Iterator[str]:
    """Yields all that the packages ask for, and what that asks for, on any of our Pythons."""
    waiting = [Requirement(name) for name in sorted(names)]
    done = set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), {"", *requirement.extras}
        if (name, *sorted(extras)) in done:
            continue
        done.add((name, *sorted(extras)))
        yield name
        try:
            more = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for found in map(Requirement, more):
            settings = (
                {"extra": extra, "python_version": v, "python_full_version": f"{v}.1"}
                for extra in extras
                for v in ("3.11", "3.12", "3.13")
            )
            if found.marker is None or any(map(found.marker.evaluate, settings)):
                waiting.append(found)


def test_the_pins_are_a_plain_list_without_the_nightlies() -> None:
    found = pins()
    assert found["t5"] == ["0.9.4"]
    assert found["jax"][0] == "0.10.2"
    assert found["jax"][1].startswith("0.12.")
    assert not {"seqio-nightly", "tfds-nightly", "mesh-tensorflow"} & set(found)
    assert "://" not in (ROOT / "requirements.txt").read_text()


def test_the_pinned_list_is_complete_and_has_nothing_else() -> None:
    required, extras = check_dependencies.ranges()
    needed = set(asked_for({*required, *extras["dev"], "t5", *BUILD}))
    assert needed - set(pins()) == T5_ALONE
    assert set(pins()) <= needed


def test_the_list_for_training_is_part_of_the_pinned_list() -> None:
    """The same pins and markers, in the same order; all that they ask for and no TensorFlow."""
    lines = pinned_lines("requirements-train.txt")
    assert lines == [line for line in pinned_lines() if line in lines]
    train = set(pins("requirements-train.txt"))
    whole = [line for line in pinned_lines() if line.partition("==")[0] in train]
    assert lines == whole
    assert set(asked_for(train)) == train
    assert not train & {"seqio", "t5", "tensorflow", "tensorflow-datasets", "keras", "clu", "h5py"}
