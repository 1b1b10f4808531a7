"""Measures how soon flanmix starts: its help, and a run's first finished step.

    flanmix prepare pocket --store runs/store
    python scripts/bench_start.py --store runs/store

A run is started as a user starts it; when its first line of metrics is there, the process's CPU
time (user and system, of all threads) and peak memory are read, and the run is killed. The least
of `--rounds` counts: other work on the machine only adds. Whether TensorFlow is loaded is seen in
the libraries that the process has mapped. Linux only: it reads /proc.
"""

import argparse
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gin_file", default="gin/recipes/quickstart.gin")
    parser.add_argument("--store", default="runs/store")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    flanmix = [sys.executable, "-m", "flanmix"]
    wall, cpu = min(help_seconds([*flanmix, "--help"]) for _ in range(args.rounds))
    print(f"flanmix --help: {wall:.2f} s, {cpu:.2f} CPU-s")
    train = [*flanmix, "train", f"--gin_file={args.gin_file}", f"--gin.STORE={args.store}"]
    cpu, wall, peak, tensorflow = min(first_step(train) for _ in range(args.rounds))
    print(
        f"first finished step of {args.gin_file}: {cpu:.1f} CPU-s, {wall:.1f} s, {peak:.2f} GB at "
        f"the peak, TensorFlow {'is' if tensorflow else 'is not'} loaded"
    )


def help_seconds(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def first_step(command: list[str]) -> tuple[float, float, float, bool]:
    """CPU-s, seconds and GB until a run's first line of metrics; whether TensorFlow is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        metrics = Path(folder) / "run" / "metrics.jsonl"
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, f"--gin.RUN_DIR={metrics.parent}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        proc = Path("/proc") / str(process.pid)
        while not (metrics.exists() and metrics.stat().st_size):
            if process.poll() is not None:
                sys.exit(process.stderr.read().decode().splitlines()[-1])
            time.sleep(0.01)
        wall = time.perf_counter() - started
        ticks = (proc / "stat").read_text().rpartition(")")[2].split()[11:13]
        cpu = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        peak = int(re.search(r"VmHWM:\s*(\d+)", (proc / "status").read_text())[1]) * 1024 / 1e9
        tensorflow = "tensorflow" in (proc / "maps").read_text()
        process.send_signal(signal.SIGKILL)
        process.wait()
    return cpu, wall, peak, tensorflow


if __name__ == "__main__":
    main()
