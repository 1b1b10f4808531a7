"""Text from a checkpoint: prompts in, answers out.

    generate("runs/a", ["What is 2 + 3?"])  ->  [Answer(text="5", truncated=False)]
    generate("runs/a", ["Once"], Sampling(temperature=0.8, samples=4))[0].samples

    writer = open_writer("runs/a", Sampling())       # for more than one call
    writer.answers(["What is 2 + 3?"]);  for text in writer.stream("What is 2 + 3?"): ...

What is needed besides is the checkpoint's own: model, lengths and vocabulary.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from flanmix.data.render import TextExample
from flanmix.errors import UserError
from flanmix.evaluate.predictor import Answer, ModelPredictor
from flanmix.evaluate.sampling import GREEDY, Sampling
from flanmix.learn.checkpoint import open_checkpoint, recorded_compute
from flanmix.learn.integrity import saved_digest
from flanmix.model.sharding import make_mesh
from flanmix.train.trained import trained_lengths, trained_vocabulary

ROWS = 32  # decoded together


@dataclass(frozen=True)
class Writer:
    """A checkpoint's model, ready to write.

    Attributes:
        predictor: the model with its vocabulary.
        mesh: the devices that it is on.
        identity: of the checkpoint, which no other one has.
    """

    predictor: ModelPredictor
    mesh: Mesh
    identity: str

    def answers(
        self, prompts: Sequence[str], *, report: Callable[[int], None] = lambda count: None
    ) -> list[Answer]:
        """Answers prompts; `report` is called with how many were answered since it was last."""
        pairs = [TextExample.of_pair(prompt, "") for prompt in prompts]
        with jax.set_mesh(self.mesh):
            return self.predictor.generate(pairs, report=report)

    def ids(self, turns: Sequence[str]) -> tuple[np.ndarray, bool]:
        """Returns the ids of turns, and whether they are too long and were truncated.

        Args:
            turns: the user's and the model's in alternation. Of plain text, which has no turns, the
                last one alone is read.
        """
        return self.predictor.prompt(TextExample.of_pair(turns[-1], ""))

    def stream(self, prompt: np.ndarray) -> Iterator[str]:
        """Writes a text to the ids of a prompt; yields what there is of it after each token.

        Raises:
            UserError: the prompt is longer than inputs may be.
        """
        longest = self.predictor.lengths.longest_inputs
        if len(prompt) > longest:
            raise UserError(f"the prompt has {len(prompt)} tokens, and the model reads {longest}")
        texts = self.predictor.stream(prompt)
        while True:
            with jax.set_mesh(self.mesh):
                text = next(texts, None)
            if text is None:
                return
            yield text


def open_writer(
    source: str | Path,
    sampling: Sampling = GREEDY,
    *,
    scored: bool = False,
    rows: int = ROWS,
    upgrade: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> Writer:
    """Opens a checkpoint to write with its model, on all devices of this machine.

    Args:
        source: a run's folder (its newest complete checkpoint), or one of its checkpoints.
        sampling: how text is generated.
        scored: whether answers have log-probabilities.
        rows: texts that are decoded together.
        upgrade: completes the run record of an older form.

    Raises:
        UserError: if there is no checkpoint, or its vocabulary has changed.
    """
    devices = jax.local_device_count()
    mesh = make_mesh(fsdp=devices, devices=jax.local_devices())
    with jax.set_mesh(mesh):
        opened = open_checkpoint(source, upgrade=upgrade)
        predictor = ModelPredictor(
            opened.model(compute=recorded_compute(opened.run)),
            trained_vocabulary(opened),
            trained_lengths(opened),
            batch_size=math.ceil(rows / devices) * devices,
            sampling=sampling,
            scored=scored,
        )
    return Writer(predictor, mesh, saved_digest(opened.folder))


def generate(
    source: str | Path,
    prompts: Sequence[str],
    sampling: Sampling = GREEDY,
    *,
    scored: bool = False,
    upgrade: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> list[Answer]:
    """Answers prompts with a checkpoint's model, on all devices of this machine.

    The model, its lengths and its vocabulary are those of its training.

    Args:
        source: a run's folder (its newest complete checkpoint), or one of its checkpoints.
        prompts: at least one.
        sampling: how text is generated; greedily if not given.
        scored: whether answers have log-probabilities.
        upgrade: completes the run record of an older form.

    Raises:
        UserError: if there is no checkpoint, or its vocabulary has changed.
    """
    rows = min(len(prompts) * max(sampling.samples, sampling.beams), ROWS)
    writer = open_writer(source, sampling, scored=scored, rows=rows, upgrade=upgrade)
    return writer.answers(prompts)
