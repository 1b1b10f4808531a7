"""What a prepared task's folder says of itself: `manifest.json`.

    {"format": 2, "task": "rte", "task_version": 1, "data_fingerprint": "6b1f...", "limit": null,
     "sources": {"train.jsonl": {"bytes": 812, "modified": 17.., "sha256": "..."}},
     "splits": {"train": {"file": "train.array_record", "records": 2290, "bytes": 393216,
                          "sha256": "..."}}}

`sources` are the files that the records came from, as far as they are known: a task whose source
has changed is prepared again. `limit` is the cap that truncated a split, or null if none was.
`format` is that of the records too (`registry/record.py`); a store of an earlier one is prepared
again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flanmix.errors import UserError
from flanmix.registry.hints import prepare_hint

FORMAT = 2  # in 1 a record was a list of id, fields, answers and options
NAME = "manifest.json"


@dataclass(frozen=True)
class SplitFile:
    """One split's file: its name in the task's folder, its records, its bytes and their SHA-256."""

    file: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SourceFile:
    """A file that records came from; `modified` is its time stamp in nanoseconds."""

    bytes: int
    modified: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """One prepared task."""

    task: str
    task_version: int
    data_fingerprint: str
    splits: Mapping[str, SplitFile]
    sources: Mapping[str, SourceFile] = field(default_factory=dict)
    limit: int | None = None

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """Reads a task folder's manifest; None if there is no such folder or no manifest in it.

        Raises:
            UserError: if it can't be read, or another version of flanmix wrote it.
        """
        path = folder / NAME
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} can't be read: {error}; {damage_hint(folder)}") from None
        try:
            values = json.loads(text)
            version = values.pop("format")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f"{path} is corrupt; {damage_hint(folder)}") from None
        if version != FORMAT:
            raise UserError(
                f"{folder} was prepared by another version of flanmix (format {version}, this one "
                f"reads {FORMAT}): {prepare_hint(folder.name, folder.parent)}"
            )
        return cls._from_values(values, path)

    @classmethod
    def _from_values(cls, values: dict[str, Any], path: Path) -> "Manifest":
        try:
            values["splits"] = {k: SplitFile(**v) for k, v in values["splits"].items()}
            values["sources"] = {k: SourceFile(**v) for k, v in values["sources"].items()}
            return cls(**values)
        except (KeyError, TypeError, AttributeError):
            raise UserError(f"{path} is corrupt; {damage_hint(path.parent)}") from None


def damage_hint(folder: Path) -> str:
    """What to do about a damaged task folder."""
    return f"delete {folder} and {prepare_hint(folder.name, folder.parent)}"


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_sources(files: Mapping[str, Path]) -> dict[str, SourceFile]:
    """Describes source files as they are now, for the manifest; those that are missing are not."""
    described = {}
    for name, path in files.items():
        if path.is_file():
            status = path.stat()
            described[name] = SourceFile(status.st_size, status.st_mtime_ns, sha256(path))
    return described


def sources_changed(recorded: Mapping[str, SourceFile], files: Mapping[str, Path]) -> bool:
    """Whether a source file that is still there differs from what was recorded.

    A store outlives its sources: files that are gone change nothing. The hash is computed only
    where the time stamp differs and the size does not.
    """
    for name, path in files.items():
        if not path.is_file():
            continue
        known = recorded.get(name)
        status = path.stat()
        if known is None or known.bytes != status.st_size:
            return True
        if known.modified != status.st_mtime_ns and known.sha256 != sha256(path):
            return True
    return False
