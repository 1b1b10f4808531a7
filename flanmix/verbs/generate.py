r"""`flanmix generate --checkpoint DIR`: text from a checkpoint.

    flanmix generate --checkpoint runs/a --prompt "Is 7 even?" "What is 2 + 3?"
      prompt    Is 7 even?
      text      no

      prompt    What is 2 + 3?
      text      5
    flanmix generate --checkpoint runs/a/checkpoints/400 --input prompts.txt --json
    flanmix generate --checkpoint runs/a --input prompts.jsonl --output texts.jsonl
    flanmix generate --checkpoint runs/a --prompt "Once" --temperature 0.8 --samples 3
    cat questions.txt | flanmix generate --checkpoint runs/a
    flanmix generate --checkpoint runs/a                    # on a terminal: talks
    flanmix generate --checkpoint runs/a --chat             # each turn sees those before it

A file, or stdin where nothing else is asked, has one prompt a line, or JSONL
(`flanmix.verbs.prompts`); with `--output` what else a line of JSON has is kept.

A checkpoint knows its configuration: the model, the lengths, the vocabulary and the format are
those of its training; with `--chat`, prompts are the user's turns in the tokenizer's chat template
whatever it was trained in. Decoding is greedy unless a flag says otherwise;
`flanmix.evaluate.sampling` says what the flags mean. A prompt that is too long is truncated as in
training, with a warning.
"""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from flanmix.console import print_json, printable, say, warn
from flanmix.errors import UserError
from flanmix.evaluate.predictor import Answer
from flanmix.evaluate.sampling import Sampling
from flanmix.train.generation import generate, open_writer
from flanmix.train.generation_file import generate_file
from flanmix.verbs.conversation import converse
from flanmix.verbs.old_runs import upgraded_record
from flanmix.verbs.prompts import Prompt, asked, is_terminal


def main(args: argparse.Namespace) -> int:
    """Runs the verb: prints every prompt with its text, in order.

    Raises:
        UserError: for no prompt, an unreadable file, settings that do not go together, or no
            checkpoint.
    """
    sampling = _sampling(args)
    if args.output is not None and args.json:
        raise UserError("generate: --output writes JSONL already: leave --json out")
    if is_terminal() and not (args.prompt or args.input or args.output or args.json):
        _talk(args, sampling)
        return 0
    prompts = asked(args.prompt, args.input)
    if args.output is not None:
        _write(args, sampling, prompts)
        return 0
    options = dict(scored=args.logprobs, chat=args.chat, upgrade=upgraded_record)
    answers = generate(args.checkpoint, [p.text for p in prompts], sampling, **options)
    both = list(zip(prompts, answers, strict=True))
    for prompt, answer in both:
        _warn_if_truncated(prompt, answer)
    if args.json:
        print_json([{"prompt": p.text, **_answer(answer, sampling)} for p, answer in both])
    else:
        parts = (_part("prompt", p.text) + _texts(answer) for p, answer in both)
        print("\n\n".join("\n".join(lines) for lines in parts))
    return 0


def _sampling(args: argparse.Namespace) -> Sampling:
    """The settings of the flags that were given.

    Raises:
        UserError: they are not possible; names the flag.
    """
    names = [declared.name for declared in fields(Sampling)]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    given |= {"stop": tuple(given.get("stop", ()))}
    try:
        return Sampling(**given)
    except ValueError as error:
        raise UserError(f"generate: {str(error).replace('Sampling.', '--')}") from error


def _write(args: argparse.Namespace, sampling: Sampling, prompts: list[Prompt]) -> None:
    """Writes the texts into a file."""
    options = dict(scored=args.logprobs, chat=args.chat, upgrade=upgraded_record)
    writer = open_writer(args.checkpoint, sampling, **options)

    def row_of(number: int, answer: Answer) -> dict[str, Any]:
        prompt = prompts[number]
        _warn_if_truncated(prompt, answer)
        return {**prompt.others, "prompt": prompt.text, **_answer(answer, sampling)}

    path = Path(args.output).expanduser()
    done = generate_file(writer, [prompt.text for prompt in prompts], path, row_of)
    there = f", {done} of them already there" if done else ""
    say(f"{path} has the texts of {len(prompts)} prompts{there}")


def _talk(args: argparse.Namespace, sampling: Sampling) -> None:
    """Talks on the terminal."""
    if sampling.samples > 1 or sampling.beams > 1:
        raise UserError("generate: on a terminal there is one text at a time: no samples, no beams")
    options = dict(chat=args.chat, upgrade=upgraded_record)
    writer = open_writer(args.checkpoint, sampling, rows=1, **options)
    ids_of = writer.chat_ids if args.chat else writer.ids
    converse(ids_of, writer.stream, keeps_turns=args.chat, stops=sampling.stop)


def _warn_if_truncated(prompt: Prompt, answer: Answer) -> None:
    if answer.truncated:
        warn(f"{prompt.name} is too long and was truncated")


def _answer(answer: Answer, sampling: Sampling) -> dict[str, Any]:
    """What JSON says of an answer; log-probabilities and samples where they were asked for."""
    samples = [_known(text=own.text, logprob=own.logprob) for own in answer.samples]
    first = samples[0] if samples else {"text": answer.text}
    return {**first, "samples": samples} if sampling.samples > 1 else first


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _texts(answer: Answer) -> list[str]:
    """The lines of an answer's texts."""
    lines = []
    for own in answer.samples:
        lines += _part("text", own.text)
        lines += [] if own.logprob is None else _part("logprob", f"{own.logprob:.4f}")
    return lines or _part("text", answer.text)


def _part(name: str, text: str) -> list[str]:
    """A labelled text, as `flanmix show` prints one."""
    first, *rest = printable(text).split("\n")
    lines = [f"  {name:<9} {first}", *(f"  {'':<9} {line}" for line in rest)]
    return [line.rstrip() for line in lines]
