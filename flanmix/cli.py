"""The command line: declares verbs and flags; a verb's module is imported only when it runs.

    flanmix tasks --json                         -> flanmix.verbs.tasks.main(args)
    flanmix train --gin_file=F --gin.STEPS=200   -> args.gin_file = ["F"],
                                                    args.gin_bindings = ["STEPS=200"]

Exit codes: 0 done, 1 looked and found problems, 2 the user's mistake (one line on stderr),
3 trained and saved but not evaluated, 130 interrupted.
"""

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flanmix.errors import UserError, nearest

_GIN = "--gin."
_PATHS = {"DIR", "FILE", "RUN_DIR", "V", "SRC", "DST"}  # what stands for a path in a flag's help
# What the system refuses whatever the program does: said in one line, as the user's to mend.
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are UserErrors, and which takes no abbreviated flags."""

    def __init__(self, **settings: object) -> None:
        super().__init__(allow_abbrev=False, **settings)  # pyrefly: ignore

    def error(self, message: str) -> None:  # pyrefly: ignore
        raise UserError(f"{self.prog.removeprefix('flanmix ')}: {message} (see {self.prog} --help)")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _json(parser: _Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document, not text")


def _tasks(parser: _Parser) -> None:
    parser.add_argument("--collection", metavar="C", help="only this collection")
    parser.add_argument("--cluster", metavar="K", help="only this cluster")
    _json(parser)


def _mixtures(parser: _Parser) -> None:
    _json(parser)


def _check(parser: _Parser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="tasks or mixtures; all if none")
    parser.add_argument("--store", metavar="DIR", help="check the prepared records too")
    parser.add_argument(
        "--vocabulary", metavar="V", help="say what this one loses: byte, pocket, a file, a folder"
    )
    _json(parser)


def _show(parser: _Parser) -> None:
    parser.add_argument("task", metavar="TASK")
    parser.add_argument("--split", default="train", metavar="S", help="train, validation or test")
    parser.add_argument("-n", type=_positive, default=3, metavar="N", help="how many examples")
    parser.add_argument("--template", type=_count, metavar="I", help="only this template (from 0)")
    parser.add_argument("--few_shot", type=_count, default=0, metavar="K", help="exemplars before")
    parser.add_argument("--seed", type=_count, default=0, metavar="S", help="of order and template")
    parser.add_argument("--store", metavar="DIR", help="read prepared records, not the source")
    parser.add_argument("--tokens", action="store_true", help="each token and whether it has loss")
    parser.add_argument(
        "--architecture",
        choices=("encoder_decoder", "causal", "prefix"),
        help="what reads the tokens: encoder_decoder; of a chat: causal",
    )
    parser.add_argument(
        "--separator", metavar="TEXT", help="between inputs and targets of a decoder; a newline"
    )
    parser.add_argument(
        "--format",
        choices=("plain", "chat"),
        default="plain",
        help="chat: as a conversation in the vocabulary's chat template",
    )
    parser.add_argument("--system", metavar="TEXT", help="the system message of a chat")
    parser.add_argument("--chat_template", metavar="FILE", help="another template: a Jinja file")
    _vocabulary(parser)
    _json(parser)


def _vocabulary(parser: _Parser, default: str | None = "pocket") -> None:
    parser.add_argument(
        "--vocabulary",
        default=default,
        metavar="V",
        help="byte, pocket, a SentencePiece file, a tokenizer.json or a folder with one",
    )


def _prepare(parser: _Parser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="tasks or mixtures")
    parser.add_argument("--store", required=True, metavar="DIR", help="where prepared records go")
    parser.add_argument("--data_dir", metavar="DIR", help="where TFDS finds its datasets")
    parser.add_argument("--limit", type=_positive, metavar="N", help="at most N records a split")
    parser.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes")
    parser.add_argument(
        "--download", action="store_true", help="fetch datasets that are not in DATA_DIR into it"
    )
    _json(parser)


def _mixture(parser: _Parser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--store", metavar="DIR", help="count and measure the prepared records")
    parser.add_argument("--against", metavar="OTHER", help="what test records of OTHER are shared")
    parser.add_argument("--html", metavar="FILE", help="write the card as a page of its own")
    parser.add_argument(
        "--inputs_length", type=_positive, metavar="N", help="count what these lengths leave ..."
    )
    parser.add_argument(
        "--targets_length", type=_positive, metavar="N", help="... as encoder-decoders read them"
    )
    _vocabulary(parser, default=None)
    _gin_flags(parser, required=False)
    _json(parser)


def _gin_flags(parser: _Parser, required: bool = True) -> None:
    parser.add_argument(
        "--gin_file",
        action="append",
        default=None if required else [],
        required=required,
        metavar="F",
        help="a gin file; repeatable" if required else "count what this run's lengths leave",
    )
    parser.add_argument(
        "--gin_search_paths",
        action="append",
        default=[],
        metavar="P",
        help="folders where gin files are looked up; repeatable",
    )
    parser.epilog = "--gin.NAME=VALUE sets one gin name after the files, such as --gin.STEPS=200"


def _evaluate(parser: _Parser) -> None:
    _gin_flags(parser)
    _json(parser)


def _generate(parser: _Parser) -> None:
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help="of a run")
    parser.add_argument("--prompt", nargs="+", action="extend", default=[], metavar="TEXT")
    parser.add_argument("--input", metavar="FILE", help="one prompt a line, or JSONL; - for stdin")
    parser.add_argument(
        "--output", metavar="FILE", help="write JSONL, a line a prompt; run again to resume"
    )
    number = {"type": _number, "metavar": "X"}
    parser.add_argument("--max_new_tokens", type=_positive, metavar="N", help="of each text")
    parser.add_argument(
        "--temperature", **number, help="draw tokens; 0, the default: the likeliest"
    )
    parser.add_argument("--top_k", type=_count, metavar="K", help="draw among the K likeliest")
    parser.add_argument("--top_p", **number, help="draw among the fewest with probability X")
    parser.add_argument("--min_p", **number, help="draw among those X times as likely as the best")
    parser.add_argument("--repetition_penalty", **number, help="above 1: of tokens read already")
    parser.add_argument("--beams", type=_positive, metavar="N", help="beam search with N beams")
    parser.add_argument("--length_penalty", **number, help="of a beam search; 0.6 by default")
    parser.add_argument("--samples", type=_positive, metavar="N", help="texts of each prompt")
    parser.add_argument("--seed", type=_count, metavar="S", help="of the draws; 0 by default")
    parser.add_argument(
        "--stop", nargs="+", action="extend", metavar="TEXT", help="ends a text, and is cut off"
    )
    parser.add_argument("--logprobs", action="store_true", help="log-probability of each text")
    parser.add_argument(
        "--chat", action="store_true", help="in the chat template; on a terminal it keeps its turns"
    )
    _json(parser)


def _convert(parser: _Parser) -> None:
    parser.add_argument(
        "direction",
        choices=("from-hf", "to-hf", "from-gguf", "from-t5x"),
        metavar="DIRECTION",
        help="from-hf, to-hf, from-gguf or from-t5x",
    )
    parser.add_argument(
        "source", metavar="SRC", help="a folder, file, run or checkpoint; or org/name of a hub"
    )
    parser.add_argument("destination", metavar="DST", help="a new folder")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        metavar="TYPE",
        help="of the weights: float32 or bfloat16; to-hf keeps those that the model came in",
    )
    parser.add_argument(
        "--shard_size",
        type=_positive,
        default=5_000_000_000,
        metavar="BYTES",
        help="to-hf: most bytes of a shard of the weights",
    )
    parser.add_argument("--vocabulary", metavar="V", help="from-t5x, which brings no tokenizer")
    parser.add_argument(
        "--activation",
        choices=("gelu", "silu"),
        metavar="NAME",
        help="from-t5x: of a gated MLP, gelu (or silu, UL2's), which nothing there says",
    )
    _json(parser)


def _report(parser: _Parser) -> None:
    parser.add_argument("run_dirs", nargs="+", metavar="RUN_DIR", help="several are compared")
    parser.add_argument(
        "--html", metavar="FILE", help="not RUN_DIR/report.html, or for several ./comparison.html"
    )
    _json(parser)


def _help(parser: _Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a key, source, metric, gin name")
    parser.add_argument("--all", action="store_true", help="print docs/reference.md")
    _json(parser)
    parser.set_defaults(verbs=_verbs)


def _verbs() -> dict[str, tuple[str, str]]:
    """Each verb's summary and its flags, for the verb `help`, which stands below this module."""
    helps = {}
    for name, verb in VERBS.items():
        made = parser(name)
        made.description = None  # the summary
        helps[name] = (verb.summary, made.format_help())
    return helps


@dataclass(frozen=True)
class Verb:
    """What a verb does in one line, what declares its flags, and whether it takes gin."""

    summary: str
    declare: Callable[[_Parser], None]
    gin: bool = False


VERBS = {
    "tasks": Verb("lists tasks without opening any dataset", _tasks),
    "mixtures": Verb("lists mixtures", _mixtures),
    "check": Verb("lints tasks, templates and mixtures; with a store, records too", _check),
    "show": Verb("shows rendered examples of a task", _show),
    "prepare": Verb("writes a task's raw records into the store", _prepare),
    "mixture": Verb("the mixture card: what the model will really see", _mixture, gin=True),
    "train": Verb("a training run; run it again to resume", _gin_flags, gin=True),
    "evaluate": Verb("generation and rank scores of a checkpoint", _evaluate, gin=True),
    "generate": Verb("text from a checkpoint", _generate),
    "convert": Verb("weights and tokenizers of others in and out", _convert),
    "report": Verb("a page with curves and scores of a run, or of several side by side", _report),
    "help": Verb("prints the reference of a key, source, metric, gin name or verb", _help),
}


def console() -> None:
    """The entry point of the `flanmix` command."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A record may hold what the terminal's encoding cannot: shown escaped, never an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(list(argv))
        sys.stdout.flush()
        return code
    except UserError as error:
        return _mistake(str(error))
    except KeyboardInterrupt:
        print("flanmix: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output left, as in `flanmix tasks | head`; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        where = f" (at {error.filename})" if error.filename else ""
        return _mistake(f"the system refused: {error.strerror}{where}")


def _mistake(message: str) -> int:
    print(f"flanmix: {message}", file=sys.stderr)
    return 2


def _run(argv: list[str]) -> int:
    if not argv:
        raise UserError("which verb? (see flanmix --help)")
    if argv[0] in ("-h", "--help"):
        print(_overview())
        return 0
    name = argv[0]
    if name not in VERBS:
        raise UserError(f"{name!r} is not a verb{nearest(name, VERBS)} (see flanmix --help)")
    try:
        args = parse(name, argv[1:])
    except SystemExit as done:  # argparse has printed the verb's help
        return int(done.code or 0)
    # Here, since a verb's help needs neither progress bars nor plugins.
    from flanmix.console import log_to_stderr
    from flanmix.plugins import load_plugins

    log_to_stderr()
    load_plugins()
    return importlib.import_module(f"flanmix.verbs.{name}").main(args)


def parser(name: str) -> argparse.ArgumentParser:
    """Returns the parser of one verb."""
    verb = VERBS[name]
    made = _Parser(prog=f"flanmix {name}", description=verb.summary[0].upper() + verb.summary[1:])
    verb.declare(made)
    return made


def parse(name: str, argv: list[str]) -> argparse.Namespace:
    """Parses one verb's flags; each `--gin.NAME=VALUE` goes to `args.gin_bindings` as is.

    Raises:
      UserError: an unknown or malformed flag; the message names the nearest one.
    """
    made, gin = parser(name), VERBS[name].gin
    bindings = [text.removeprefix(_GIN) for text in argv if gin and text.startswith(_GIN)]
    for binding in bindings:
        if not binding.partition("=")[0].strip() or "=" not in binding:
            raise UserError(f"'{_GIN}{binding}' has no value: write {_GIN}NAME=VALUE")
    rest = [text for text in argv if not (gin and text.startswith(_GIN))]
    flags = [flag for action in made._actions for flag in action.option_strings]
    _refuse_unknown_flags(name, rest, flags)
    args = made.parse_intermixed_args(rest)
    _refuse_addresses(name, made, args)
    if gin:
        args.gin_bindings = bindings
    return args


def _refuse_unknown_flags(name: str, argv: list[str], flags: list[str]) -> None:
    for text in argv:
        if text == "--":
            return
        flag = text.partition("=")[0]
        if flag.startswith("--") and flag not in flags:
            raise UserError(f"{name}: unknown flag {flag!r}{nearest(flag, flags)}")


def _refuse_addresses(name: str, made: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    from flanmix.registry.paths import check_local  # here, since a verb's help needs none of it

    for action in made._actions:
        if action.metavar in _PATHS:
            given = getattr(args, action.dest)
            for value in given if isinstance(given, list) else [given]:
                if value is not None:
                    flag = action.option_strings[0] if action.option_strings else action.metavar
                    check_local(value, f"{name}: {flag}")


def _overview() -> str:
    lines = ["usage: flanmix VERB ...", "", "Instruction tuning in the manner of Flan, in JAX.", ""]
    width = max(map(len, VERBS))
    lines += [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    lines += [
        "",
        "flanmix VERB --help shows the flags of a verb, flanmix help NAME what a name means.",
    ]
    return "\n".join(lines)
