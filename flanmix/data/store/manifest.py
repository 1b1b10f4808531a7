"""What a prepared task's folder says of itself: `manifest.json`.

    {"format": 2, "task": "rte", "task_version": 1, "data_fingerprint": "6b1f...", "limit": null,
     "sources": {"train.jsonl": {"bytes": 812, "modified": 17.., "sha256": "..."}},
     "splits": {"train": {"file": "train.array_record", "records": 2290, "bytes": 393216,
                          "sha256": "..."}}}

`sources` are the files that the records came from, as far as they are known: a task whose source
has changed is prepared again. `limit` is the cap that truncated a split, or null if none was.
`format` is that of the records too (`registry/record.py`); a store of an earlier one is prepared
again. A manifest is read once, and again only where its file is another one by then.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flanmix.errors import UserError
from flanmix.registry.hints import prepare_hint

FORMAT = 2  # in 1 a record was a list of id, fields, answers and options
NAME = "manifest.json"
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Damaged(UserError):
    """Files of a task in the store that are not as they were written.

    Args:
        what: which file, and what is wrong with it.
        folder: the task's folder.
    """

    def __init__(self, what: str, folder: Path) -> None:
        super().__init__(f"{what}; delete {folder} and {prepare_hint(folder.name, folder.parent)}")
        self.what = what


@dataclass(frozen=True, slots=True)
class SplitFile:
    """One split's file: its name in the task's folder, its records, its bytes and their SHA-256.

    Raises:
        ValueError: for a value that no writer leaves.
    """

    file: str
    records: int
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        _check_count("records", self.records)
        _check_count("bytes", self.bytes)
        _check_hash(self.sha256)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that records came from; `modified` is its time stamp in nanoseconds.

    Raises:
        ValueError: for a value that no writer leaves.
    """

    bytes: int
    modified: int
    sha256: str

    def __post_init__(self) -> None:
        _check_count("bytes", self.bytes)
        if type(self.modified) is not int:
            raise ValueError(f"modified is {self.modified!r}")
        _check_hash(self.sha256)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One prepared task.

    Raises:
        ValueError: for a value that no writer leaves.
    """

    task: str
    task_version: int
    data_fingerprint: str
    splits: Mapping[str, SplitFile]
    sources: Mapping[str, SourceFile] = field(default_factory=dict)
    limit: int | None = None

    def __post_init__(self) -> None:
        if type(self.task_version) is not int:
            raise ValueError(f"task_version is {self.task_version!r}")
        if not isinstance(self.data_fingerprint, str):
            raise ValueError(f"data_fingerprint is {self.data_fingerprint!r}")
        if self.limit is not None:
            _check_count("limit", self.limit)
        for split, entry in self.splits.items():
            if entry.file != split_file(split):
                raise ValueError(f"the file of its split {split} is {entry.file!r}")

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
            known = _READ.get(path)
            status = path.stat()
            # A new manifest is written beside the one that it replaces, so it is another file.
            identity = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if known is not None and known[0] == identity:
                return known[1]
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise Damaged(f"{path} can't be read: {error}", folder) from None
        manifest = cls._parse(text, path)
        _READ[path] = (identity, manifest)
        return manifest

    @classmethod
    def _parse(cls, text: str, path: Path) -> "Manifest":
        folder = path.parent
        try:
            values = json.loads(text)
            version = values["format"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Damaged(f"{path} is corrupt", folder) from None
        if version != FORMAT:
            shown = str(version)[:40]
            raise UserError(
                f"{folder} was prepared by another version of flanmix (format {shown}, this one "
                f"reads {FORMAT}): {prepare_hint(folder.name, folder.parent)}"
            )
        try:
            manifest = cls.from_values(values)
            if manifest.task != folder.name:
                raise ValueError(f"it is of task {str(manifest.task)[:80]!r}")
        except ValueError as error:
            reason = f" ({str(error)[:200]})" if str(error) else ""
            raise Damaged(f"{path} is corrupt{reason}", folder) from None
        return manifest

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Manifest":
        """Makes a manifest of the values of its JSON.

        Raises:
            ValueError: they are no manifest's.
        """
        try:
            splits = {k: SplitFile(**v) for k, v in values["splits"].items()}
            sources = {k: SourceFile(**v) for k, v in values["sources"].items()}
            parts = {k: v for k, v in values.items() if k not in ("format", "splits", "sources")}
            return cls(**parts, splits=splits, sources=sources)
        except (KeyError, TypeError, AttributeError):
            raise ValueError from None


# What has been read: a loader asks for the manifests of thousands of tasks time and again.
_READ: dict[Path, tuple[tuple[int, ...], Manifest]] = {}


def split_file(split: str) -> str:
    """The name of a split's file in its task's folder."""
    return f"{split}.array_record"


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_count(name: str, value: object) -> None:
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is {repr(value)[:40]}: it must be a whole number from 0")


def _check_hash(value: object) -> None:
    if not isinstance(value, str) or not _SHA256.match(value):
        raise ValueError(f"sha256 is {repr(value)[:70]}")
