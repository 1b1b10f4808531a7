"""Names of what a run leaves in its folder, beside the scores (`evaluate/scores.py`)."""

import os
from pathlib import Path

METRICS = "metrics.jsonl"
CONFIG = "config.gin"
CHECKPOINTS = "checkpoints"
SCORE_EVENTS = "eval"
TRUNCATION = "truncation.json"  # what the lengths truncate of each task


def earlier_config(step: int) -> str:
    """The name of the configuration that a run had up to a step, after which it has another."""
    return f"config.{step}.gin"


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that a reader sees the old one or the new one, never half of it."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
