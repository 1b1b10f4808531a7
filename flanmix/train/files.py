"""Names of what a run leaves in its folder, beside the scores (`evaluate/scores.py`)."""

METRICS = "metrics.jsonl"
CONFIG = "config.gin"
CHECKPOINTS = "checkpoints"
SCORE_EVENTS = "eval"
