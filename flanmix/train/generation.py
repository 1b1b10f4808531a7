"""Text from a checkpoint: prompts in, answers out.

    generate("runs/a", ["What is 2 + 3?"])  ->  [Answer(text="5", truncated=False)]

What is needed besides is the checkpoint's own: model, lengths and vocabulary.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from flanmix.data.render import TextExample
from flanmix.evaluate.predictor import Answer, ModelPredictor
from flanmix.learn.checkpoint import open_checkpoint, recorded_compute
from flanmix.model.sharding import make_mesh
from flanmix.train.trained import trained_lengths, trained_vocabulary

_ROWS = 32  # prompts decoded together


def generate(
    source: str | Path,
    prompts: Sequence[str],
    *,
    upgrade: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> list[Answer]:
    """Answers prompts with a checkpoint's model, greedily, on all devices of this machine.

    The model, its lengths and its vocabulary are those of its training.

    Args:
        source: a run's folder (its newest complete checkpoint), or one of its checkpoints.
        prompts: at least one.
        upgrade: completes the run record of an older form.

    Raises:
        UserError: if there is no checkpoint, or its vocabulary has changed.
    """
    devices = jax.local_device_count()
    with jax.set_mesh(make_mesh(fsdp=devices, devices=jax.local_devices())):
        opened = open_checkpoint(source, upgrade=upgrade)
        predictor = ModelPredictor(
            opened.model(compute=recorded_compute(opened.run)),
            trained_vocabulary(opened),
            trained_lengths(opened),
            batch_size=math.ceil(min(len(prompts), _ROWS) / devices) * devices,
        )
        return predictor.generate([TextExample.of_pair(prompt, "") for prompt in prompts])
