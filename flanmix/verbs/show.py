r"""`flanmix show`: rendered examples of a task, as a model will see them.

    rte, template 3, train-17
      inputs    It rains.
                Does it follow that it is wet?
      targets   yes
      options   yes | no

With a store the records are the prepared ones; without, they come straight from the source where
that is cheap (files, and generators beside the card). Record, template and exemplars are drawn as
the loader draws them. With `--tokens`, what bears loss stands in brackets: [▁yes] [</s>].
Control characters are shown as `\x00`.
"""

import argparse
import random
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from flanmix.console import print_json, printable
from flanmix.data.fewshot import exemplars
from flanmix.data.randomness import fold
from flanmix.data.render import TextPair, draw, render
from flanmix.errors import UserError
from flanmix.registry.catalogue import default_catalogue
from flanmix.registry.record import Record
from flanmix.registry.task import TaskSpec

_CHEAP = ("jsonl", "tsv", "csv", "python")
_POOL = 2000  # records read from a source without a store: enough to choose from, soon read


def main(args: argparse.Namespace) -> int:
    """Runs the verb; flags as in cli.py."""
    spec = default_catalogue().task(args.task)
    _check(spec, args.split, args.template)
    pairs = _pairs(spec, args)
    rows = [_row(pair) for pair in pairs]
    if args.tokens:
        tokens = _tokens(pairs, args.vocabulary)
        rows = [{**row, **extra} for row, extra in zip(rows, tokens, strict=True)]
    if args.json:
        print_json(rows)
    else:
        print("\n\n".join(_text(row, pair) for row, pair in zip(rows, pairs, strict=True)))
    return 0


def _check(spec: TaskSpec, split: str, template: int | None) -> None:
    known = [name for name, expression in spec.splits.items() if expression]
    if split not in known:
        raise UserError(f"task '{spec.name}' has no split '{split}': it has {', '.join(known)}")
    if template is not None and template >= len(spec.templates):
        last = len(spec.templates) - 1
        raise UserError(
            f"task '{spec.name}' has no template {template}: they count from 0 to {last}"
        )


# ---- records -----------------------------------------------------------------------------------


def _read(
    spec: TaskSpec, split: str, store: str | None
) -> tuple[int, Callable[[list[int]], list[Record]]]:
    """How many records a split has, and a function that reads some by their places."""
    if store is not None:
        from flanmix.data.store.store import Store

        reader = Store(store).open(spec, split)
        return len(reader), reader.__getitems__
    if spec.source.kind not in _CHEAP:
        raise UserError(
            f"task '{spec.name}' reads from {spec.source.kind}: run flanmix prepare {spec.name} "
            f"--store DIR, then show it with --store DIR"
        )
    from flanmix.data.sources.records import canonical_records

    pool = list(islice(canonical_records(spec, split), _POOL))
    return len(pool), lambda places: [pool[place] for place in places]


def _pairs(spec: TaskSpec, args: argparse.Namespace) -> list[TextPair]:
    """The examples to show, drawn by the seed."""
    size, read = _read(spec, args.split, args.store)
    train = (size, read)
    if args.few_shot and args.split != "train":
        train = _read(spec, "train", args.store)
    order = list(range(size))
    random.Random(fold(args.seed, "show", spec.name)).shuffle(order)
    wanted = range(len(spec.templates)) if args.template is None else (args.template,)
    pairs: list[TextPair] = []
    for place in order:
        record = read([place])[0]
        drawn = draw(spec, record, wanted, args.seed, 0)
        if drawn is None:
            continue
        template, reference = drawn
        shown: tuple[Record, ...] = ()
        if args.few_shot:
            shown = exemplars(
                spec,
                record,
                template,
                args.few_shot,
                read=train[1],
                size=train[0],
                seed=args.seed,
                exclude=place if args.split == "train" else None,
            )
        pairs.append(render(spec, record, template, reference=reference, exemplars=shown))
        if len(pairs) == args.n:
            break
    if not pairs:
        raise UserError(f"task '{spec.name}', split {args.split}: no record fits these templates")
    return pairs


# ---- what is printed ---------------------------------------------------------------------------


def _row(pair: TextPair) -> dict[str, Any]:
    return {
        "inputs": pair.inputs,
        "targets": pair.targets,
        "task": pair.task,
        "template": pair.template,
        "record": pair.record,
        "options": list(pair.options),
    }


def _tokens(pairs: Sequence[TextPair], name: str) -> list[dict[str, Any]]:
    """Tokens, ids and loss (0 or 1) of each pair, inputs first; EOS on both, nothing trimmed."""
    from flanmix.data.tokens import Lengths, tokenize
    from flanmix.data.vocabulary import load_vocabulary

    vocabulary = load_vocabulary(name)
    endless = Lengths(2**30, 2**30)
    rows = []
    for example in tokenize(pairs, [0] * len(pairs), [1.0] * len(pairs), vocabulary, endless):
        ids = [*example.inputs.tolist(), *example.targets.tolist()]
        loss = [0] * len(example.inputs) + [1] * len(example.targets)
        rows.append({"tokens": vocabulary.pieces(ids), "ids": ids, "loss": loss})
    return rows


def _text(row: dict[str, Any], pair: TextPair) -> str:
    lines = [f"{pair.task}, template {pair.template}, {pair.record}"]
    lines += _part("inputs", pair.inputs) + _part("targets", pair.targets)
    for reference in pair.references:
        if reference != pair.targets:
            lines += _part("or", reference)
    if pair.options:
        lines += _part("options", " | ".join(pair.options))
    if "tokens" in row:
        pieces = zip((t.replace("\n", "\\n") for t in row["tokens"]), row["loss"], strict=True)
        lines += _part(
            "tokens", " ".join(f"[{piece}]" if loss else piece for piece, loss in pieces)
        )
        count = f"{len(row['loss'])}, {sum(row['loss'])} of them bear loss"
        lines += _part("", count)
    return "\n".join(lines)


def _part(name: str, text: str) -> list[str]:
    first, *rest = printable(text).split("\n")
    return [f"  {name:<9} {first}", *(f"  {'':<9} {line}".rstrip() for line in rest)]
