"""Names of what a run leaves in its folder, beside the scores (`evaluate/scores.py`)."""

METRICS = "metrics.jsonl"
CONFIG = "config.gin"
CHECKPOINTS = "checkpoints"
SCORE_EVENTS = "eval"
TRUNCATION = "truncation.json"  # what the lengths truncate of each task


def earlier_config(step: int) -> str:
    """The name of the configuration that a run had up to a step, after which it has another."""
    return f"config.{step}.gin"
