"""Gin: from files and flags to a `Run`, with every mistake said in one line before anything runs.

    run = load(["gin/recipes/quickstart.gin"], ["STEPS=200", "RUN_DIR=/data/a"], [])
    run.steps                           -> 200
    operative()                         -> the configuration as used, itself a gin file

Files, and what they include, are looked up from the working directory, then in the search paths,
then in the `gin/` that comes with flanmix. A value that is no gin literal is taken for a string, so
that `RUN_DIR=/data/a` needs no quotes inside quotes. A macro that is read and never set has the
default of the field of `Run` that bears its name; one without a default, or set to
`%gin.REQUIRED`, is asked for.
"""

import argparse
import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import gin
from flanmix.errors import UserError, nearest
from flanmix.learn.loss import LossConfig
from flanmix.learn.optimizer import Adafactor, AdamW
from flanmix.learn.schedule import Schedule
from flanmix.model.decoder import DecoderConfig
from flanmix.model.t5 import T5Config
from flanmix.registry.paths import gin_root
from flanmix.train.settings import MACROS, Evaluation, MeshConfig, Run

CONFIGURABLES = (
    Run,
    Evaluation,
    MeshConfig,
    T5Config,
    DecoderConfig,
    Adafactor,
    AdamW,
    Schedule,
    LossConfig,
)

_search: list[Path] = []  # where gin's file reader looks, as the last `load` was told


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
        UserError: an unknown name, a missing file or value, or a value out of its range.
    """
    _register()
    gin.clear_config(clear_constants=False)
    _search[:] = [Path(p).expanduser() for text in search_paths for p in text.split(",") if p]
    try:
        texts = [text for file in files for text in _texts(gin.parse_config_file(file))]
        for binding in bindings:
            texts.append(_quoted(binding))
            gin.parse_config(texts[-1])
        _complete_macros("\n".join(texts))
        return gin.get_configurable("Run")()
    except UserError:
        raise
    except Exception as error:  # gin raises whatever it or a configurable meets, with notes added
        raise UserError(_one_line(error)) from error


def from_text(text: str) -> Run:
    """Returns the run whose operative configuration is `text`, as a checkpoint holds it."""
    _register()
    gin.clear_config(clear_constants=False)
    try:
        gin.parse_config(text)
        return gin.get_configurable("Run")()
    except Exception as error:
        raise UserError(f"its configuration can't be used here: {_one_line(error)}") from error


def operative() -> str:
    """Returns the configuration as it was used by the last `load`, as a gin file."""
    text = gin.operative_config_str(max_line_length=100)
    # gin notes in which macro a value was read; kept, it would bind stronger than T5Config.x = ...
    return re.sub(r"^(# Parameters for )?[A-Z_]+/(?=\w+[.:])", r"\1", text, flags=re.MULTILINE)


@functools.cache
def _register() -> None:
    for kind in CONFIGURABLES:
        gin.external_configurable(kind, name=kind.__name__)
    # Ours alone: gin's own look for a Python package of the folder's name too, and complain.
    readers: list[Any] = gin.config._FILE_READERS
    readers[:] = [(_open, lambda path: _found(path) is not None)]


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


def _texts(parsed: gin.config.ParsedConfigFileIncludesAndImports) -> Iterator[str]:
    """Yields the text of a file, and of all that it includes."""
    with _open(parsed.filename) as file:
        yield file.read()
    for included in parsed.includes:
        yield from _texts(included)


def _complete_macros(text: str) -> None:
    """Gives the macros that nobody sets their defaults, those of `Run`.

    Raises:
        UserError: a macro that nobody reads, which gin would let pass, or one without a value.
    """
    text = re.sub(r"#.*$", "", text, flags=re.MULTILINE)
    config = re.sub(r"^#.*$", "", gin.config_str(), flags=re.MULTILINE)
    defined = set(re.findall(r"^([A-Za-z_]\w*) =", config, flags=re.MULTILINE))
    unset = set(re.findall(r"^(\w+) = \\?\s*%gin\.REQUIRED", config, flags=re.MULTILINE))
    read = set(re.findall(r"%([A-Za-z_]\w*)(?![\w.])", text))
    for name in sorted(defined - read - set(MACROS)):
        raise UserError(f"gin name '{name}' is unknown{nearest(name, read | set(MACROS))}")
    if "Run.run_dir" not in config:
        raise UserError("the gin files describe no run: include one of gin/runs/")
    missing = []
    for name in sorted((read - defined) | unset):
        spec = Run.__dataclass_fields__.get(name.lower())
        if name in unset or spec is None or spec.default is dataclasses.MISSING:
            missing.append(name)
        else:
            gin.bind_parameter(f"{name}/gin.macro.value", spec.default)
    if missing:
        example = f"--gin.{missing[0]}=..."
        raise UserError(f"no value for {', '.join(missing)}: give it with {example} or in gin")


def _one_line(error: Exception) -> str:
    """Returns gin's message without its notes, and with the nearest name where one is unknown."""
    text = str(error).strip()
    place = re.search(r'In file "([^"]*)", line (\d+)', text)
    where = f" ({place[1]}, line {place[2]})" if place else ""
    text = re.split(r"\n\s*(?:In |\^)", text)[0]
    names = [kind.__name__ for kind in CONFIGURABLES]
    if match := re.search(r"No configurable matching (?:reference )?'@?([\w./]+)", text):
        return f"gin name '{match[1]}' is unknown{nearest(match[1], names)}{where}"
    if match := re.search(r"Configurable '(\w+)' doesn't have a parameter named '(\w+)'", text):
        kind = next(k for k in CONFIGURABLES if k.__name__ == match[1])
        near = nearest(match[2], kind.__dataclass_fields__)
        return f"gin name '{match[1]}.{match[2]}' is unknown{near}{where}"
    if match := re.search(r"Unable to open file: (\S+)\. Searched", text):
        return _missing_file(match[1]) + where
    if match := re.search(r"In call to configurable '(\w+)'", str(error)):
        text = text if isinstance(error, ValueError) else f"{match[1]}: {text}"
    if isinstance(error, SyntaxError):
        file = f" ({error.filename}, line {error.lineno})" if error.filename else ""
        return f"gin can't read {(error.text or '').strip()!r}: {error.msg}{file}"
    return text + where
