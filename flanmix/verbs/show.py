r"""`flanmix show`: rendered examples of a task, as a model will see them.

    rte, template 3, train-17
      inputs    It rains.
                Does it follow that it is wet?
      targets   yes
      options   yes | no

With a store the records are the prepared ones; without, they come straight from the source where
that is cheap (files, and generators beside the card). Record, template and exemplars are drawn as
the loader draws them. With `--tokens`, tokens with loss stand in brackets: [▁yes] [</s>]; they are
an encoder-decoder's two sides, or with `--architecture causal` a decoder's sequence, with its start
token and separator. With `--format chat` an example is a conversation in the chat template of the
vocabulary (`flanmix/data/chat/format.py`).
Control characters are shown as `\x00`.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flanmix.console import print_json, printable
from flanmix.data.preview import preview
from flanmix.data.render import TextExample
from flanmix.data.store.store import Store
from flanmix.errors import UserError
from flanmix.registry.catalogue import default_catalogue

if TYPE_CHECKING:
    from flanmix.data.tokens import Architecture


def main(args: argparse.Namespace) -> int:
    """Runs the verb; flags as in cli.py."""
    task = default_catalogue().task(args.task)
    examples = preview(
        task,
        count=args.n,
        split=args.split,
        template=args.template,
        few_shot=args.few_shot,
        seed=args.seed,
        store=None if args.store is None else Store.existing(args.store),
    )
    answers = [example.targets for example in examples]
    examples = _formatted(examples, args)
    rows = [_row(example) for example in examples]
    if args.tokens:
        tokens = _tokens(examples, args)
        rows = [{**row, **extra} for row, extra in zip(rows, tokens, strict=True)]
    if args.json:
        print_json(rows)
    else:
        shown = zip(rows, examples, answers, strict=True)
        print("\n\n".join(_text(row, example, answer) for row, example, answer in shown))
    return 0


def _formatted(examples: list[TextExample], args: argparse.Namespace) -> list[TextExample]:
    """The examples in the format that was asked for."""
    if args.format == "plain":
        if args.system is not None or args.chat_template is not None:
            raise UserError("show: --system and --chat_template go with --format chat")
        return examples
    from flanmix.data.chat.format import open_chat
    from flanmix.data.vocabulary import load_vocabulary

    chat = open_chat(
        args.vocabulary,
        load_vocabulary(args.vocabulary),
        _architecture(args),
        system=args.system,
        template=args.chat_template,
    )
    return [chat.example(example) for example in examples]


def _architecture(args: argparse.Namespace) -> "Architecture":
    return args.architecture or ("causal" if args.format == "chat" else "encoder_decoder")


def _row(example: TextExample) -> dict[str, Any]:
    return {
        "inputs": example.inputs,
        "targets": example.targets,
        "task": example.task,
        "template": example.template,
        "record": example.record,
        "options": list(example.options),
    }


def _tokens(examples: Sequence[TextExample], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Tokens, ids and loss (0 or 1) of each, inputs first; nothing is truncated."""
    from flanmix.data.separator import separator_of
    from flanmix.data.tokens import Lengths, tokenize
    from flanmix.data.vocabulary import load_vocabulary

    vocabulary = load_vocabulary(args.vocabulary)
    try:
        separator = separator_of(_architecture(args), args.separator)
    except ValueError as error:
        raise UserError(str(error)) from None
    endless = Lengths(2**30, 2**30, _architecture(args), separator)
    start = [] if endless.two_sided or vocabulary.start_id is None else [vocabulary.start_id]
    count = len(examples)
    rows = []
    for example in tokenize(examples, [0] * count, [1.0] * count, vocabulary, endless):
        ids = [*start, *example.inputs.tolist(), *example.targets.tolist()]
        loss = [0] * (len(start) + len(example.inputs)) + (example.weights > 0).astype(int).tolist()
        rows.append({"tokens": vocabulary.pieces(ids), "ids": ids, "loss": loss})
    return rows


def _text(row: dict[str, Any], example: TextExample, answer: str) -> str:
    lines = [f"{example.task}, template {example.template}, {example.record}"]
    lines += _part("inputs", example.inputs) + _part("targets", example.targets)
    for reference in example.references:
        if reference != answer:
            lines += _part("or", reference)
    if example.options:
        lines += _part("options", " | ".join(example.options))
    if "tokens" in row:
        pieces = zip((t.replace("\n", "\\n") for t in row["tokens"]), row["loss"], strict=True)
        lines += _part(
            "tokens", " ".join(f"[{piece}]" if loss else piece for piece, loss in pieces)
        )
        count = f"{len(row['loss'])}, {sum(row['loss'])} of them with loss"
        lines += _part("", count)
    return "\n".join(lines)


def _part(name: str, text: str) -> list[str]:
    first, *rest = printable(text).split("\n")
    return [f"  {name:<9} {first}", *(f"  {'':<9} {line}".rstrip() for line in rest)]
