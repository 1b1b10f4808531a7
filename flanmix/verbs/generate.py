"""`flanmix generate --checkpoint DIR`: text from a checkpoint.

    flanmix generate --checkpoint runs/a --prompt "Is 7 even?" "What is 2 + 3?"
    flanmix generate --checkpoint runs/a/checkpoints/400 --input prompts.txt --json

A checkpoint knows its configuration: the model, the lengths and the vocabulary are those of its
training. Decoding is greedy. A prompt that is too long is cut as in training, and that is said.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import jax

from flanmix.console import print_json, printable, warn
from flanmix.data.render import TextPair
from flanmix.errors import UserError
from flanmix.evaluate.predictor import Answer, ModelPredictor
from flanmix.learn.initialize import load_run
from flanmix.model.sharding import make_mesh
from flanmix.train.restored import restored_model, trained_vocabulary
from flanmix.verbs import gin_config

_ROWS = 32  # prompts decoded together


def main(args: argparse.Namespace) -> int:
    """Runs the verb: prints the text of every prompt, in order.

    Raises:
        UserError: for no prompt, an unreadable file, or no checkpoint.
    """
    prompts = [*args.prompt, *(read_prompts(Path(args.input)) if args.input else ())]
    if not prompts:
        raise UserError("no prompt: give --prompt TEXT, or --input FILE with one prompt a line")
    answers = generate(Path(args.checkpoint), prompts)
    for number, answer in enumerate(answers, start=1):
        if answer.trimmed:
            warn(f"prompt {number} is too long and was truncated")
    if args.json:
        texts = zip(prompts, answers, strict=True)
        print_json([{"prompt": prompt, "text": answer.text} for prompt, answer in texts])
    else:
        for answer in answers:
            print(printable(answer.text))
    return 0


def generate(source: Path, prompts: Sequence[str]) -> list[Answer]:
    """Answers prompts with a checkpoint's model, on all devices of this machine.

    Args:
        source: a run's folder (its newest whole checkpoint), or one of its checkpoints.
        prompts: at least one.

    Raises:
        UserError: if there is no checkpoint, or its vocabulary has changed.
    """
    run = gin_config.from_text(load_run(source)["configuration"])
    devices = jax.local_device_count()
    with jax.set_mesh(make_mesh(fsdp=devices, devices=jax.local_devices())):
        predictor = ModelPredictor(
            restored_model(run, source)[0],
            trained_vocabulary(run, source),
            run.loader.lengths,
            batch_size=math.ceil(min(len(prompts), _ROWS) / devices) * devices,
        )
        return predictor.write([TextPair(prompt, "", "", 0, "") for prompt in prompts])


def read_prompts(path: Path) -> list[str]:
    """The lines of a file that are not blank.

    Raises:
        UserError: if the file can't be read as UTF-8 text, or has no such line.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(f"--input {path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--input {path} is no UTF-8 text (byte {error.start})") from error
    prompts = [line.removesuffix("\r") for line in lines if line.strip()]
    if not prompts:
        raise UserError(f"--input {path} has no prompt: one a line")
    return prompts
