"""Gin: from files and flags to a `Run`, with every user error in one line before anything runs.

    run = load(["gin/recipes/quickstart.gin"], ["STEPS=200", "RUN_DIR=/data/a"], [])
    run.train.steps                     -> 200
    operative()                         -> the configuration as used, itself a gin file

Files, and what they include, are looked up from the working directory, then in the search paths,
then in the `gin/` that comes with flanmix. A value that is no gin literal is taken for a string, so
that `RUN_DIR=/data/a` needs no quotes inside quotes. Short names such as STEPS are macros that the
settings declare (`by_macro`); `gin_names` binds them to their fields, so that no gin file lists
them. One that nobody sets has the default of its field; one without a default, or set to
`%gin.REQUIRED`, is asked for. Every model and loss of the tables is a gin name, those of plugins
too; their values are checked against the types that they declare.
"""

import argparse
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import gin
from flanmix.console import say
from flanmix.errors import UserError, nearest
from flanmix.fields import checked_values
from flanmix.learn.loss import LOSSES
from flanmix.learn.optimizer import Adafactor, AdamW
from flanmix.learn.schedule import Schedule
from flanmix.model import decoder, t5  # noqa: F401  # they register themselves
from flanmix.model.api import MODELS, Compute
from flanmix.model.lora import Lora
from flanmix.registry.paths import gin_root
from flanmix.train.files import CHECKPOINTS, METRICS
from flanmix.train.settings import PARTS, Run
from flanmix.verbs.gin_names import Names
from flanmix.verbs.gin_pretrained import pretrained_text
from flanmix.verbs.gin_statements import check_twice, read, read_text

_search: list[Path] = []  # where gin's file reader looks, as the last `load` was given
_registered: set[type] = set()


def configurables() -> list[type]:
    """Returns every class that is a gin name."""
    return [
        *PARTS,
        Compute,
        Adafactor,
        AdamW,
        Schedule,
        Lora,
        *MODELS.values(),
        *LOSSES.values(),
    ]


def from_flags(args: argparse.Namespace) -> Run:
    """Returns the run that a verb's gin flags describe; see `load`."""
    return load(args.gin_file, args.gin_bindings, args.gin_search_paths)


def load(files: Sequence[str], bindings: Sequence[str], search_paths: Sequence[str]) -> Run:
    """Returns the run that gin files and bindings describe.

    Args:
        files: gin files; what a later one says holds.
        bindings: `NAME=VALUE`, after the files.
        search_paths: folders to look the files up in; one may hold several with commas.

    Raises:
        UserError: an unknown name, a missing file or value, a value of the wrong type or out of its
            range, a name that is bound twice in one place, or one that nothing reads.
    """
    _register()
    gin.clear_config(clear_constants=False)
    names = None
    _search[:] = [Path(p).expanduser() for text in search_paths for p in text.split(",") if p]
    try:
        flags = [_quoted(binding) for binding in bindings]
        _parse(files, flags)
        statements = read(files, flags, _open)
        check_twice(statements)
        if text := pretrained_text(statements):
            gin.clear_config(clear_constants=False)
            gin.parse_config(text)
            _parse(files, flags)
            statements = [*read_text(text, "INITIALIZE_FROM"), *statements]
        names = Names(statements, configurables())
        names.bind()
        run = gin.get_configurable("Run")()
        names.check_read()
        return run
    except UserError:
        raise
    except Exception as error:  # gin raises whatever it or a configurable meets, with notes added
        text = _one_line(error)
        found = re.match(r"(\w+\.\w+) is (\S+)(?=: must)", text)
        if found and names is not None:
            text = names.spoken(*found.groups()) + text[found.end() :]
        raise UserError(text) from error


def _parse(files: Sequence[str], flags: Sequence[str]) -> None:
    for file in files:
        gin.parse_config_file(file)
        _stay_in_its_folder(file)
    for flag in flags:
        gin.parse_config(flag)


def operative() -> str:
    """Returns the configuration as it was used by the last `load`, as a gin file.

    Without ALLOW_CHANGES: a yes is for the start that it was given to.
    """
    text = gin.operative_config_str(max_line_length=100)
    text = re.sub(r"^(ALLOW_CHANGES|.*\.allow_changes) = .*\n", "", text, flags=re.MULTILINE)
    # gin notes in which macro a value was read; kept, it would bind stronger than T5Config.x = ...
    return re.sub(r"^(# Parameters for )?[A-Z_]+/(?=\w+[.:])", r"\1", text, flags=re.MULTILINE)


def _register() -> None:
    for kind in configurables():
        if kind not in _registered:
            gin.external_configurable(_checked(kind), name=kind.__name__)
            _registered.add(kind)
    # Ours alone: gin's own look for a Python package of the folder's name too, and complain.
    readers: list[Any] = gin.config._FILE_READERS
    readers[:] = [(_open, lambda path: _found(path) is not None)]


def _checked(kind: type) -> Callable[..., Any]:
    """Returns what makes a class of values of the types that it declares, a plugin's too."""

    def make(**values: Any) -> Any:
        return kind(**checked_values(kind, values))

    # What gin reads of it: where it comes from, and which parameters it has.
    make.__name__, make.__module__ = kind.__name__, kind.__module__
    vars(make)["__signature__"] = inspect.signature(kind)
    return make


def _candidates(path: str) -> Iterator[Path]:
    root = gin_root()
    inside = path.removeprefix("gin/")  # installed, the folder has another name
    yield Path(path).expanduser()
    yield from (folder / path for folder in _search)
    yield root / path
    yield root / inside


def _open(path: str) -> TextIO:
    found = _found(path)
    assert found is not None
    return found.open(encoding="utf-8")


def _found(path: str) -> Path | None:
    return next((p for p in _candidates(path) if p.is_file()), None)


def _missing_file(path: str) -> str:
    root = gin_root()
    known = [f"gin/{p.relative_to(root).as_posix()}" for p in sorted(root.rglob("*.gin"))]
    looked = ["the working directory", *map(str, _search), str(root)]
    return f"no gin file '{path}' in {', '.join(looked)}{nearest(path, known)}"


def _quoted(binding: str) -> str:
    name, _, value = (part.strip() for part in binding.partition("="))
    try:
        gin.config.parse_value(value)
    except Exception:  # a string that the shell left without its quotes, or a reference to nothing
        value = value if value.startswith(("@", "%")) else repr(value)
    return f"{name} = {value}"


def _stay_in_its_folder(file: str) -> None:
    """Names the folder that a run's configuration lies in as RUN_DIR, whatever it says itself.

    A run's folder that was copied or moved is a run by itself: nothing may lead from it to where it
    came from. Later files and bindings can still name another one.
    """
    found = _found(file)
    if found is None or not re.fullmatch(r"config(\.\d+)?\.gin", found.name):
        return
    folder = found.absolute().parent
    of_a_run = (folder / CHECKPOINTS).is_dir() or (folder / METRICS).is_file()
    if not of_a_run or "\n# Parameters for Run:" not in found.read_text(encoding="utf-8"):
        return  # somebody's own file of that name
    written = gin.config.query_parameter("RUN_DIR/gin.macro.value")
    if Path(written).expanduser().absolute() != folder:
        say(f"RUN_DIR is {folder}, where {found.name} lies (it was written in {written})")
    gin.bind_parameter("RUN_DIR/gin.macro.value", str(folder))


def _one_line(error: Exception) -> str:
    """Returns gin's message without its notes, and with the nearest name where one is unknown."""
    text = str(error).strip()
    found = re.search(r'In file "([^"]*)", line (\d+)', text)
    where = f" ({found[1]}, line {found[2]})" if found else ""
    text = re.split(r"\n\s*(?:In |\^)", text)[0]
    names = [kind.__name__ for kind in configurables()]
    if match := re.search(r"No configurable matching (?:reference )?'@?([\w./]+)", text):
        hint = _renamed(match[1]) or nearest(match[1], names)
        return f"gin name '{match[1]}' is unknown{hint}{where}"
    if match := re.search(r"Configurable '(\w+)' doesn't have a parameter named '(\w+)'", text):
        kind = next(k for k in configurables() if k.__name__ == match[1])
        hint = _moved(match[2]) or nearest(match[2], kind.__dataclass_fields__)
        return f"gin name '{match[1]}.{match[2]}' is unknown{hint}{where}"
    if match := re.search(r"Unable to open file: (\S+)\. Searched", text):
        return _missing_file(match[1]) + where
    if match := re.search(r"In call to configurable '(\w+)'", str(error)):
        text = text if isinstance(error, ValueError) else f"{match[1]}: {text}"
    if isinstance(error, RecursionError):
        return f"a gin file includes itself, or a name is bound to itself{where}"
    if isinstance(error, SyntaxError):
        file = f" ({error.filename}, line {error.lineno})" if error.filename else ""
        return f"gin can't read {(error.text or '').strip()!r}: {error.msg}{file}"
    return text + where


def _renamed(name: str) -> str:
    """The name of today of a class that had another one, as a hint."""
    return "; it is 'CrossEntropy' now" if name == "LossConfig" else ""


def _moved(field: str) -> str:
    """Where a field is that another class has, such as what was Run's once, as a hint."""
    found = [kind.__name__ for kind in (*PARTS, Compute) if field in kind.__dataclass_fields__]
    return f"; it is '{found[0]}.{field}'" if found else ""
