"""`flanmix mixture`: the mixture card, what a model will really see.

    task  cluster  examples  capped at  rate  share %  epochs/M  templates  in  out  tokens %  ...
    rte   nli          2290          -  2290      3.1      13.6         10  78  2.0       2.9

The columns are explained in flanmix/audit/mixture_card.py. With the lengths of a run, or its gin
file (`--gin_file=RUN_DIR/config.gin`, which also gives vocabulary, seed, streams and store), tokens
and loss are what those lengths leave. With `--against OTHER` the card also says what the training
records share with OTHER's test records (flanmix/audit/against.py):

    training task  test task  duplicates  %     contained  %     13-grams  %     8-grams  %  ...
    snli           rte                 0  0.00          1  0.36         2  0.72        5  1.81
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flanmix.audit.mixture_card import MixtureCard, Reading, make_card
from flanmix.console import print_json, say
from flanmix.errors import UserError
from flanmix.pages.against import left_out
from flanmix.pages.text import mixture_text
from flanmix.registry.catalogue import default_catalogue
from flanmix.registry.hints import prepare_hint

if TYPE_CHECKING:
    from flanmix.data.store.store import Store
    from flanmix.train.settings import Run


def main(args: argparse.Namespace) -> int:
    """Runs the verb; flags as in cli.py."""
    catalogue = default_catalogue()
    run = _run(args)
    folder = args.store if args.store is not None or run is None else run.data.store
    vocabulary = args.vocabulary or ("pocket" if run is None else run.data.vocabulary)
    store = _open(folder)
    card = make_card(args.name, catalogue, store, vocabulary, _reading(args, run))
    if args.against is not None:
        from flanmix.audit.against import measure_against

        if args.html is not None:
            _write_page(args.html, card)  # what can't be written is said now, not in minutes
        against = measure_against(args.name, args.against, catalogue, store)
        card = replace(card, against=against)
    for message in _warnings(card):
        say(message)
    if args.html is not None:
        _write_page(args.html, card)
        say(f"wrote {args.html}")
    if args.json:
        print_json(card.to_json())
    else:
        print(mixture_text(card))
    return 0


def _run(args: argparse.Namespace) -> "Run | None":
    """The run that the gin flags describe, of this mixture; None without a gin file."""
    if not args.gin_file:
        if args.gin_bindings:
            raise UserError(f"--gin.{args.gin_bindings[0]} changes a gin file: give one")
        return None
    from flanmix.verbs import gin_config

    # The run is of this mixture and store, and a card needs no value for RUN_DIR in the files.
    values = {"RUN_DIR": ".", "MIXTURE": args.name, "STORE": args.store}
    said = {binding.partition("=")[0].strip() for binding in args.gin_bindings}
    given = [f"{k}={v!r}" for k, v in values.items() if v is not None and k not in said]
    return gin_config.load(args.gin_file, [*given, *args.gin_bindings], args.gin_search_paths)


def _reading(args: argparse.Namespace, run: "Run | None") -> Reading | None:
    """How a run reads the mixture, by its gin files or its lengths; None without either."""
    lengths = (args.inputs_length, args.targets_length)
    if run is not None:
        if lengths != (None, None):
            raise UserError(
                "--gin_file has the lengths: leave out --inputs_length and --targets_length, or "
                "change them with --gin.INPUTS_LENGTH=N"
            )
        loader = run.loader
        return Reading(
            loader.inputs_length,
            loader.targets_length,
            loader.architecture,
            seed=loader.seed,
            streams=loader.num_streams,
            packed=loader.pack,
            separator=loader.lengths.separator,
            format=run.data.format,
            system=run.data.system,
            chat_template=run.data.chat_template,
        )
    if lengths == (None, None):
        return None
    if None in lengths:
        raise UserError("--inputs_length and --targets_length go together: give both")
    if args.store is None:
        raise UserError("lengths are counted in prepared records: say where with --store DIR")
    return Reading(*lengths)


def _write_page(path: str, card: MixtureCard) -> None:
    from flanmix.pages.mixture import page

    try:
        Path(path).write_text(page(card), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}") from None


def _warnings(card: MixtureCard) -> Iterator[str]:
    hint = f"{prepare_hint(card.name)}, then look with --store DIR"
    if card.for_evaluation:
        yield f"without a training split, and not on the card: {', '.join(card.for_evaluation)}"
    if card.absent:
        yield f"not prepared, and not on the card: {', '.join(card.absent)}; {hint}"
    if card.against is not None:
        yield from left_out(card.against)
    if any(task.examples is None for task in card.tasks):
        yield f"nothing is prepared, so rates and shares are not yet what they will be; {hint}"


def _open(folder: str | None) -> "Store | None":
    if folder is None:
        return None
    from flanmix.data.store.store import Store

    return Store.existing(Path(folder).expanduser())
