"""YAML files of one mapping, read so that nothing in them is lost or blown up.

    read_yaml(Path("rte.yaml"))  ->  {"name": "rte", "version": 1, ...}

YAML's own reader takes the last of two equal keys, and it expands aliases of aliases without end.
Here a key that is given twice, at any depth, is an error that names both lines, and so is a file
that would be far larger expanded than written. `<<` merges another mapping, whose keys those beside
it replace.
"""

from pathlib import Path
from typing import Any

import yaml

from flanmix.errors import UserError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_REPEATED = 10_000  # nodes that a file's aliases may repeat, all together
_DEEPEST = 50


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML file that holds one mapping.

    Raises:
        UserError: when the file can't be read, holds something else, a key twice, or aliases that
            multiply.
    """
    try:
        body = _parse(path.read_text(encoding="utf-8"), path)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not YAML: {error.problem}") from error
    except ValueError as error:  # a date that there is not, bytes that are no UTF-8
        raise UserError(f"{path}: can't be read: {error}") from error
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: can't be read: {error}") from error
    if not isinstance(body, dict):
        raise UserError(f"{path}: holds no mapping of keys to values")
    return body


def _parse(text: str, path: Path) -> Any:
    _check_depth(text, path)
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        written: dict[int, int] = {}
        if _size(node, path, written, loader) - len(written) > _MOST_REPEATED:
            raise UserError(
                f"{path}: its aliases (*name) repeat more than {_MOST_REPEATED:,} values: write "
                "out what is needed"
            )
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_depth(text: str, path: Path) -> None:
    """Looks at the depth before anything walks down; composing a file is recursive."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            line = event.start_mark.line + 1
            raise UserError(f"{path} line {line}: values lie more than {_DEEPEST} deep")


def _size(node: yaml.Node, path: Path, sizes: dict[int, int], loader: Any) -> int:
    """How many nodes a node is, with its aliases written out; looks at each node once.

    Args:
        node: the node.
        path: the file, for messages.
        sizes: the size of each node that has been looked at, by identity; 0 while it is.
        loader: makes keys.
    """
    if id(node) in sizes:
        if not sizes[id(node)]:
            line = node.start_mark.line + 1
            raise UserError(f"{path} line {line}: an alias (*name) stands within what it names")
        return sizes[id(node)]
    sizes[id(node)] = 0
    inner = []
    if isinstance(node, yaml.MappingNode):
        _check_keys_once(node, path, loader)
        inner = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    sizes[id(node)] = 1 + sum(_size(part, path, sizes, loader) for part in inner)
    return sizes[id(node)]


def _check_keys_once(node: yaml.MappingNode, path: Path, loader: Any) -> None:
    lines: dict[Any, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        # As it will be in the mapping: `yes` and `true` are one key, `1` and `"1"` are two.
        name = key.value if key.tag.endswith(":merge") else loader.construct_object(key)
        line = key.start_mark.line + 1
        if name in lines:
            raise UserError(
                f"{path} line {line}: key '{key.value}' is given twice, in line {lines[name]} and "
                f"in line {line}; keep one"
            )
        lines[name] = line
