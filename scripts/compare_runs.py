"""Says whether two training runs are equal, bit for bit: what a refactor has to show.

    python scripts/compare_runs.py runs/before runs/after
    ->  metrics     equal      700 lines, without tokens_per_second
        scores      equal      97 entries
        parameters  equal      24 arrays of step 700, by path
        optimizer   DIFFERENT  decoder/0/v_row/head: "float32[1024] 93" and "float32[1024] 94"
        position    equal      16 streams

What is compared: every line of metrics.jsonl (losses, batch hashes, rates) but its one figure that
depends on the clock; scores.json; the newest checkpoint's parameters and optimizer arrays, by the
checksums in its `run/metadata`; and the position of the data. Where arrays were renamed, the sets
of their types, shapes and checksums are compared without the paths, and the line says so. Exits
with 1 at a difference; each line names the first one.
"""

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLOCK = "tokens_per_second"


@dataclass(frozen=True)
class Verdict:
    """Whether one part of two runs is equal, and what was compared or is the first difference."""

    part: str
    equal: bool
    detail: str

    def __str__(self) -> str:
        return f"{self.part:<10}  {'equal' if self.equal else 'DIFFERENT':<9}  {self.detail}"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs=2, type=Path, metavar="RUN_DIR")
    verdicts = compare(*parser.parse_args(argv).runs)
    print(*verdicts, sep="\n")
    return 0 if all(verdict.equal for verdict in verdicts) else 1


def compare(before: Path, after: Path) -> list[Verdict]:
    """Returns one verdict for each part of two run folders."""
    lines = [metrics(run) for run in (before, after)]
    scores = [document(run / "scores.json") for run in (before, after)]
    steps, saved = zip(*(newest_checkpoint(run) for run in (before, after)), strict=True)
    same_step = steps[0] == steps[1]
    verdicts = [
        _verdict("metrics", *lines, f"{len(lines[0])} lines, without {CLOCK}"),
        _verdict("scores", *scores, f"{_leaves(scores[0])} entries"),
    ]
    prefixes = {path.partition("/")[0] for checkpoint in saved for path in checkpoint["arrays"]}
    for prefix in sorted(prefixes, key=lambda prefix: (prefix != "params", prefix)):
        part = "parameters" if prefix == "params" else prefix
        sides = [arrays(checkpoint, f"{prefix}/") for checkpoint in saved]
        if same_step:
            verdicts.append(compare_arrays(part, *sides, steps[0]))
        else:
            verdicts.append(Verdict(part, False, f"of step {steps[0]} and of step {steps[1]}"))
    positions = [checkpoint["position"] or [] for checkpoint in saved]
    verdicts.append(_verdict("position", *positions, f"{len(positions[0])} streams"))
    return verdicts


def metrics(run: Path) -> list[dict[str, Any]]:
    """Returns the run's metrics, line by line, without what depends on the clock."""
    lines = [json.loads(line) for line in read(run / "metrics.jsonl").splitlines()]
    return [{key: value for key, value in line.items() if key != CLOCK} for line in lines]


def newest_checkpoint(run: Path) -> tuple[int, dict[str, Any]]:
    """Returns the step of the newest checkpoint, and what it says of itself."""
    folder = run / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    steps = [int(name) for name in names if name.isdecimal()]
    if not steps:
        sys.exit(f"{run} has no checkpoint")
    return max(steps), document(folder / str(max(steps)) / "run" / "metadata")


def arrays(checkpoint: dict[str, Any], prefix: str) -> dict[str, str]:
    """Returns path -> "type[shape] checksum" of the arrays under a prefix."""
    described = checkpoint["arrays"].items()
    return {
        path.removeprefix(prefix): f"{dtype}{shape} {checksum}"
        for path, (dtype, shape, checksum) in described
        if path.startswith(prefix)
    }


def compare_arrays(part: str, a: dict[str, str], b: dict[str, str], step: int) -> Verdict:
    """Compares arrays by path or, where paths were renamed, as multisets without the paths."""
    if a.keys() == b.keys():
        return _verdict(part, a, b, f"{len(a)} arrays of step {step}, by path")
    renamed = next(path for path in [*a, *b] if path not in a or path not in b)
    for side, other in ((a, b), (b, a)):
        if odd := Counter(side.values()) - Counter(other.values()):
            path = next(path for path, array in side.items() if array in odd)
            return Verdict(part, False, f"paths differ, and {path} ({side[path]}) is in one alone")
    detail = f"{len(a)} arrays of step {step}, without their paths: {renamed} is in one alone"
    return Verdict(part, True, detail)


def _verdict(part: str, a: Any, b: Any, compared: str) -> Verdict:
    found = difference(a, b)
    return Verdict(part, found is None, compared if found is None else found)


def difference(a: Any, b: Any, at: str = "") -> str | None:
    """Returns where two JSON documents differ first and how, or None if they are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(key for key in b if key not in a)]:
            here = f"{at}/{key}" if at else str(key)
            if key not in a or key not in b:
                return f"{here} is in the {'first' if key in a else 'second'} alone"
            if found := difference(a[key], b[key], here):
                return found
        return None
    if isinstance(a, list) and isinstance(b, list):
        for number, (x, y) in enumerate(zip(a, b, strict=False)):
            if found := difference(x, y, f"{at}[{_name(x, number)}]"):
                return found
        return None if len(a) == len(b) else f"{at or 'length'}: {len(a)} and {len(b)} entries"
    # As text, so that 1 is not 1.0 and NaN is NaN.
    a, b = json.dumps(a), json.dumps(b)
    return None if a == b else f"{at}: {a[:120]} and {b[:120]}"


def _name(entry: Any, number: int) -> str:
    return f"step {entry['step']}" if isinstance(entry, dict) and "step" in entry else str(number)


def _leaves(tree: Any) -> int:
    if isinstance(tree, dict | list):
        return sum(map(_leaves, tree.values() if isinstance(tree, dict) else tree))
    return 1


def document(path: Path) -> dict[str, Any]:
    """Returns a JSON document."""
    return json.loads(read(path))


def read(path: Path) -> str:
    """Returns a file's text, or ends with a line that says that it is missing."""
    if not path.is_file():
        sys.exit(f"{path} is missing: not a run that has ended")
    return path.read_text()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
