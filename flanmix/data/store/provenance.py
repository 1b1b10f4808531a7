"""The files that a task's records came from: what they were, and whether they still are.

    seen = signatures({"train.jsonl": path})        # before they are read
    described = describe(files, seen, "rte")        # after it: for the manifest
    differing(described, files)                     -> None; or "train.jsonl", once it is another

The hash that a manifest keeps must be that of the file that was read. So a file that is another one
by the end, or code that is not what this process has loaded, is an error and no hash.
"""

from collections.abc import Mapping
from pathlib import Path

from flanmix.data.store.manifest import SourceFile, sha256
from flanmix.errors import UserError
from flanmix.registry.user_code import loaded_hash

Signature = tuple[int, ...]


def signatures(files: Mapping[str, Path]) -> dict[str, Signature | None]:
    """What tells each file from one that replaces or changes it; None for one that is missing."""
    found: dict[str, Signature | None] = {}
    for name, path in files.items():
        try:
            status = path.stat()
        except OSError:
            found[name] = None
        else:
            times = (status.st_mtime_ns, status.st_ctime_ns)
            found[name] = (status.st_dev, status.st_ino, status.st_size, *times)
    return found


def describe(
    files: Mapping[str, Path], seen: Mapping[str, Signature | None], task: str
) -> dict[str, SourceFile]:
    """Describes source files for the manifest, without those that are missing.

    Args:
        files: the files by name.
        seen: their signatures from before they were read.
        task: whose they are, for the message.

    Raises:
        UserError: one has changed since.
    """
    described = {}
    for name, path in files.items():
        if path.is_file():
            status = path.stat()
            entry = SourceFile(status.st_size, status.st_mtime_ns, sha256(path))
            described[name] = entry
            if loaded_hash(path) not in (None, entry.sha256):
                raise _changed(path, task)
    for name, signature in signatures(files).items():
        if signature != seen[name]:
            raise _changed(files[name], task)
    return described


def _changed(path: Path, task: str) -> UserError:
    return UserError(
        f"task '{task}': {path} changed while it was being prepared, so that its records may be of "
        "both versions: run the same command again"
    )


def differing(recorded: Mapping[str, SourceFile], files: Mapping[str, Path]) -> str | None:
    """The name of a source file that is still there and differs from what was recorded, or None.

    A store outlives its sources: files that are gone change nothing. The hash is computed only
    where the time stamp differs and the size does not.
    """
    for name, path in files.items():
        if not path.is_file():
            continue
        known = recorded.get(name)
        status = path.stat()
        if known is None or known.bytes != status.st_size:
            return name
        if known.modified != status.st_mtime_ns and known.sha256 != sha256(path):
            return name
    return None
