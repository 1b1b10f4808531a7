"""Kills a training run again and again, and compares what comes out with a run that nobody killed.

    python scripts/kill_campaign.py                       # ten SIGKILLs, the quickstart, 700 steps
    python scripts/kill_campaign.py --kills 3 --steps 100 --folder /data/campaign

Both runs are processes of their own. The killed one is started again after every SIGKILL, which
falls at a random moment of its life: while it imports, compiles, trains, or writes a checkpoint. In
the end each line of metrics (the losses, the batches' hashes), the parameters, the optimizer's
state and the position of the data must be equal, bit for bit. Exits with 1 if they are not.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp

CLOCK = "tokens_per_second"  # the one figure of a line that depends on the machine's mood


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gin_file", default="gin/recipes/quickstart.gin")
    parser.add_argument("--prepare", default="pocket", help="what the recipe needs in its store")
    parser.add_argument(
        "--folder", type=Path, help="where to work; a temporary folder if not given"
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--checkpoint_every", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="kill_campaign_"))
    subprocess.run(flanmix("prepare", args.prepare, "--store", str(folder / "store")), check=True)

    started = time.monotonic()
    subprocess.run(train(args, folder, "straight"), check=True, capture_output=True)
    whole = time.monotonic() - started
    print(f"uninterrupted: {args.steps} steps in {whole:.1f} s")
    kill_and_resume(args, folder, whole)
    return compare(folder, args.steps)


def flanmix(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flanmix", *arguments]


def train(args: argparse.Namespace, folder: Path, name: str) -> list[str]:
    bindings = {
        "RUN_DIR": folder / name,
        "STORE": folder / "store",
        "STEPS": args.steps,
        "CHECKPOINT_EVERY": args.checkpoint_every,
        "CheckpointConfig.keep_best": 0,
        "Evaluation.groups": {},
    }
    flags = [f"--gin.{key}={value}" for key, value in bindings.items()]
    return flanmix("train", f"--gin_file={args.gin_file}", *flags)


def kill_and_resume(args: argparse.Namespace, folder: Path, whole: float) -> None:
    """Starts the run, and kills it at a random moment, until it has died often enough.

    A start lives for at most 0.2 of the whole run's time, and much of that is starting; should
    the run come to its end all the same, its kills do not count.
    """
    moments = random.Random(args.seed)
    kills = 0
    while kills < args.kills:
        log = (folder / "killed.log").open("w")
        process = subprocess.Popen(train(args, folder, "killed"), stdout=log, stderr=log)
        moment = moments.uniform(0.05, 0.2) * whole
        try:
            if process.wait(timeout=moment):
                sys.exit(f"the run failed by itself: see {log.name}")
            print("  it came to its end first: beginning anew")
            shutil.rmtree(folder / "killed")
            kills = 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            print(f"  killed {kills} after {moment:.1f} s: {state_of(folder / 'killed')}")
    subprocess.run(train(args, folder, "killed"), check=True, capture_output=True)


def state_of(run_dir: Path) -> str:
    lines = metrics(run_dir)
    inside = run_dir / "checkpoints"
    names = [p.name for p in inside.iterdir()] if inside.is_dir() else []
    steps = sorted(int(name) for name in names if name.isdecimal())
    half = ", one half written" if any("tmp" in name for name in names) else ""
    return f"{len(lines)} lines of metrics, checkpoints {steps}{half}"


def metrics(run_dir: Path) -> list[dict]:
    path = run_dir / "metrics.jsonl"
    texts = path.read_text().splitlines(keepends=True) if path.exists() else []
    lines = [json.loads(text) for text in texts if text.endswith("\n")]
    return [{key: value for key, value in line.items() if key != CLOCK} for line in lines]


def compare(folder: Path, step: int) -> int:
    """Compares the two runs, and prints what was compared."""
    straight, killed = folder / "straight", folder / "killed"
    lines = metrics(straight), metrics(killed)
    if lines[0] != lines[1]:
        steps = [[line["step"] for line in side] for side in lines]
        where = next((a["step"] for a, b in zip(*lines, strict=False) if a != b), "the number")
        print(f"DIFFERENT metrics, first at step {where}; steps {steps}")
        return 1
    print(f"equal: {len(lines[0])} lines of metrics, each step once, with losses and batch hashes")
    reader = ocp.StandardCheckpointer()
    for part in ("params", "optimizer"):
        sides = [
            dict(flattened(reader.restore(side / "checkpoints" / str(step) / part)))
            for side in (straight.absolute(), killed.absolute())
        ]
        if sides[0].keys() != sides[1].keys() or any(
            sides[0][name].tobytes() != sides[1][name].tobytes() for name in sides[0]
        ):
            print(f"DIFFERENT {part}")
            return 1
        count = sum(array.size for array in sides[0].values())
        print(f"equal: {part}, {len(sides[0])} arrays, {count:,} numbers, bit for bit")
    records = [
        json.loads((side / "checkpoints" / str(step) / "run" / "metadata").read_text())
        for side in (straight, killed)
    ]
    if records[0]["position"] != records[1]["position"]:
        print("DIFFERENT positions of the data")
        return 1
    print("equal: position of the data")
    return 0


def flattened(tree: object, path: str = ""):
    if isinstance(tree, dict):
        for name, inside in tree.items():
            yield from flattened(inside, f"{path}/{name}")
    elif isinstance(tree, list | tuple):
        for number, inside in enumerate(tree):
            yield from flattened(inside, f"{path}/{number}")
    elif tree is not None:
        yield path, np.asarray(tree)


if __name__ == "__main__":
    sys.exit(main())
