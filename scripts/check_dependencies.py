"""Holds what setup.py asks for against what the code imports: nothing unused, nothing missing.

    python scripts/check_dependencies.py        # exits 1 and says where, if there is something

deptry does the work. It reads ranges from pyproject.toml alone, and ours stand in setup.py, so it
is handed a pyproject.toml that has both. What it overlooks is named in `[tool.deptry]`, each with
its reason. The tests are not read: they may use whatever is installed.
"""

import json
import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
READ = ("flanmix", "scripts", "tasks")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "pyproject.toml"
        config.write_text(with_ranges((ROOT / "pyproject.toml").read_text()))
        command = [sys.executable, "-m", "deptry", "--config", str(config), *READ]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def ranges() -> tuple[list[str], dict[str, list[str]]]:
    """Returns what setup.py asks for: always, and for each extra."""
    with mock.patch("setuptools.setup"):
        names = runpy.run_path(str(ROOT / "setup.py"))
    return names["REQUIRED"], names["EXTRAS"]


def with_ranges(pyproject: str) -> str:
    """Puts setup.py's ranges where the text says that they are dynamic."""
    required, extras = ranges()
    lines = [f"dependencies = {json.dumps(required)}", "[project.optional-dependencies]"]
    lines += [f"{extra} = {json.dumps(more)}" for extra, more in extras.items()]
    text, count = re.subn(
        r"^dynamic = .*$", lambda _: "\n".join(lines), pyproject, flags=re.MULTILINE
    )
    assert count == 1, "pyproject.toml says `dynamic = [...]` in one line"
    return text


if __name__ == "__main__":
    sys.exit(main())
