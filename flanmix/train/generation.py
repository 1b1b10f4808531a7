"""Text from a checkpoint: prompts in, answers out.

    generate("runs/a", ["What is 2 + 3?"])  ->  [Answer(text="5", truncated=False)]
    generate("runs/a", ["Once"], Sampling(temperature=0.8, samples=4))[0].samples

    writer = open_writer("runs/a", Sampling())       # for more than one call
    writer.answers(["What is 2 + 3?"]);  for text in writer.stream("What is 2 + 3?"): ...

What is needed besides is the checkpoint's own: model, lengths and vocabulary.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from flanmix.data.chat.turns import ASSISTANT
from flanmix.data.render import TextExample
from flanmix.errors import UserError
from flanmix.evaluate.predictor import Answer, ModelPredictor
from flanmix.evaluate.sampling import GREEDY, Sampling
from flanmix.learn.checkpoint import open_checkpoint, recorded_compute
from flanmix.learn.integrity import saved_digest
from flanmix.model.sharding import make_mesh
from flanmix.registry.record import Message
from flanmix.train.trained import asked_chat, trained_chat, trained_lengths, trained_vocabulary

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
        """Returns the ids of the last of turns, and whether it is too long and was truncated.

        Args:
            turns: the user's and the model's in alternation. Plain text has none: the last one
                alone is read.
        """
        return self.predictor.prompt(TextExample.of_pair(turns[-1], ""))

    def chat_ids(self, turns: Sequence[str]) -> tuple[np.ndarray, bool]:
        """Returns the ids of a chat's turns, and whether they are too long.

        Of turns that are too long they are all the ids; of one alone, what is left when it is
        truncated as in training.

        Args:
            turns: the user's and the model's in alternation; the first and the last are the user's.

        Raises:
            UserError: the model has no chat format, or its template refuses them.
        """
        chat = self.predictor.chat
        if chat is None:
            raise UserError("the model was not opened to chat")
        roles = itertools.cycle(("user", ASSISTANT))
        messages = [Message(role, text) for role, text in zip(roles, turns, strict=False)]
        ids = chat.prompt_ids(messages, now=datetime.now())
        if len(ids) <= self.predictor.lengths.longest_inputs:
            return ids, False
        return (ids, True) if len(turns) > 1 else self.ids(turns)

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
    chat: bool = False,
    rows: int = ROWS,
    upgrade: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> Writer:
    """Opens a checkpoint to write with its model, on all devices of this machine.

    Args:
        source: a run's folder (its newest complete checkpoint), or one of its checkpoints.
        sampling: how text is generated.
        scored: whether answers have log-probabilities.
        chat: whether prompts are the user's turns even if the model was not trained so, in the chat
            template of its tokenizer.
        rows: texts that are decoded together.
        upgrade: completes the run record of an older form.

    Raises:
        UserError: if there is no checkpoint, its vocabulary has changed, or it has no chat
            template and needs one.
    """
    devices = jax.local_device_count()
    mesh = make_mesh(fsdp=devices, devices=jax.local_devices())
    with jax.set_mesh(mesh):
        opened = open_checkpoint(source, upgrade=upgrade)
        vocabulary = trained_vocabulary(opened)
        predictor = ModelPredictor(
            opened.model(compute=recorded_compute(opened.run)),
            vocabulary,
            trained_lengths(opened),
            batch_size=math.ceil(rows / devices) * devices,
            sampling=sampling,
            scored=scored,
            chat=asked_chat(opened, vocabulary) if chat else trained_chat(opened, vocabulary),
        )
    return Writer(predictor, mesh, saved_digest(opened.folder))


def generate(
    source: str | Path,
    prompts: Sequence[str],
    sampling: Sampling = GREEDY,
    *,
    scored: bool = False,
    chat: bool = False,
    upgrade: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> list[Answer]:
    """Answers prompts with a checkpoint's model, on all devices of this machine.

    The model, its lengths and its vocabulary are those of its training.

    Args:
        source: a run's folder (its newest complete checkpoint), or one of its checkpoints.
        prompts: at least one.
        sampling: how text is generated; greedily if not given.
        scored: whether answers have log-probabilities.
        chat: as `open_writer` has it.
        upgrade: completes the run record of an older form.

    Raises:
        UserError: if there is no checkpoint, or its vocabulary has changed.
    """
    rows = min(len(prompts) * max(sampling.samples, sampling.beams), ROWS)
    writer = open_writer(source, sampling, scored=scored, chat=chat, rows=rows, upgrade=upgrade)
    return writer.answers(prompts)
