"""TensorBoard's curves of a run's scores, in RUN_DIR/eval.

    draw_scores(run_dir)    # reads RUN_DIR/scores/, writes RUN_DIR/eval/events.out.tfevents...

The points are those of `scores/`, each once, whatever was evaluated again: the file is made anew.
It has a folder of its own since TensorBoard follows only the newest file of a folder, and that is
to be the one of the training.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flanmix.evaluate.scores import read_step, scored_steps
from flanmix.train.events import board
from flanmix.train.files import SCORE_EVENTS


def draw_scores(run_dir: Path) -> None:
    """Writes the scores of all steps of a run as events, in place of those that are there."""
    folder = run_dir / SCORE_EVENTS
    if folder.is_dir():
        for path in folder.glob("events.out.tfevents.*"):
            path.unlink()
    writer = board(folder)
    for step in scored_steps(run_dir):
        for name, value in _points(read_step(run_dir, step) or {}):
            writer.add_scalar(name, value, step)
    writer.close()


def _points(document: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The name and value of everything that has a primary figure."""
    groups = {name: group["mean"] for name, group in document["groups"].items()}
    tasks = {
        name: document["tasks"][name].get(details["primary"])
        for name, details in document["details"].items()
    }
    figures = {
        "mean": document["mean"],
        **{f"group/{name}": value for name, value in groups.items()},
        **{f"cluster/{name}": value for name, value in document["clusters"].items()},
        **{f"task/{name}": value for name, value in tasks.items()},
    }
    for name, text in document.get("texts", {}).items():
        yield f"bits_per_byte/{name}", text["bits_per_byte"]
    for name, value in figures.items():
        if value is not None:
            yield f"score/{name}", value
