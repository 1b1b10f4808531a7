"""`flanmix generate --checkpoint DIR`: text from a checkpoint.

    flanmix generate --checkpoint runs/a --prompt "Is 7 even?" "What is 2 + 3?"
    flanmix generate --checkpoint runs/a/checkpoints/400 --input prompts.txt --json

A checkpoint knows its configuration: the model, the lengths and the vocabulary are those of its
training. Decoding is greedy. A prompt that is too long is truncated as in training, with a warning.
"""

import argparse
from pathlib import Path

from flanmix.console import print_json, printable, warn
from flanmix.errors import UserError
from flanmix.train.generation import generate
from flanmix.verbs.old_runs import upgraded_record


def main(args: argparse.Namespace) -> int:
    """Runs the verb: prints the text of every prompt, in order.

    Raises:
        UserError: for no prompt, an unreadable file, or no checkpoint.
    """
    prompts = [*args.prompt, *(read_prompts(Path(args.input)) if args.input else ())]
    if not prompts:
        raise UserError("no prompt: give --prompt TEXT, or --input FILE with one prompt a line")
    answers = generate(args.checkpoint, prompts, upgrade=upgraded_record)
    for number, answer in enumerate(answers, start=1):
        if answer.truncated:
            warn(f"prompt {number} is too long and was truncated")
    if args.json:
        texts = zip(prompts, answers, strict=True)
        print_json([{"prompt": prompt, "text": answer.text} for prompt, answer in texts])
    else:
        for answer in answers:
            print(printable(answer.text))
    return 0


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
