"""TFDS datasets in the user's data folder: found without a network, fetched only when asked.

    found("glue/sst2:2.0.0", "data", owner)     -> the dataset's builder, with its splits
    found("glue/mnli:2.0.0", "data", owner)     -> MissingDataset: ... is not in data: ...
    fetch("glue/mnli:2.0.0", "data", owner)     # downloads it into data/, with a bar on a terminal

Looking for a dataset takes no TensorFlow, asks no server and leaves no file. What a failed download
leaves of its own (empty folders, a dataset begun) is removed; whole files under `downloads/` stay
for the next try.
"""

import contextlib
import hashlib
import os
import shutil
import socket
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from flanmix.data.sources.quiet_tensorflow import brief, import_tfds
from flanmix.data.store.locking import locked
from flanmix.errors import UserError

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

_SECONDS = 5  # to reach a server in
_RETRIES = 4  # of one file, some seconds together; TFDS's own ten take three minutes offline
# Datasets with a namespace (huggingface:) can't be looked up without a network.
_fetched: set[tuple[str, str | None]] = set()


class MissingDataset(UserError):
    """A dataset that has to be fetched first.

    Attributes:
        dataset: its name, with its version.
        folder: where it is not.
        reason: what is missing, in short.
        by_hand: TFDS's instructions, where files of it have to be fetched by hand; else empty.
    """

    def __init__(self, owner: str, dataset: str, folder: str, reason: str, by_hand: str) -> None:
        message = f"{owner}: TFDS dataset {dataset} is not in {folder}: {reason}"
        hint = "fetch it with --download, or give its folder with --data_dir"
        if by_hand:
            hint = "its files may have to be fetched by hand; put them into "
            hint += f"{folder}/downloads/manual: {by_hand} Then add --download"
        super().__init__(f"{message}; {hint}")
        self.dataset = dataset
        self.folder = folder
        self.reason = reason
        self.by_hand = by_hand


def found(name: str, data_dir: str | None, owner: str) -> "DatasetBuilder":
    """Returns the builder of a dataset that is in a folder.

    Args:
        name: TFDS's name, with the version.
        data_dir: the folder; TFDS's default one if None.
        owner: who needs it, for messages: `task 'rte'`.

    Raises:
        MissingDataset: it is not there.
        UserError: TFDS has no such dataset, configuration or version.
    """
    tfds = import_tfds()
    folder = data_dir or str(tfds.core.constants.DATA_DIR)
    if _namespace(tfds, name) and (name, data_dir) not in _fetched:
        raise MissingDataset(owner, name, folder, "it can't be looked up without a network", "")
    builder = _builder(tfds, name, data_dir, owner)
    if not builder.info.splits:
        by_hand = " ".join((builder.MANUAL_DOWNLOAD_INSTRUCTIONS or "").split())
        reason = "not downloaded" + (", perhaps files by hand" if by_hand else "")
        raise MissingDataset(owner, name, folder, reason, by_hand)
    return builder


def _namespace(tfds: ModuleType, name: str) -> str | None:
    try:
        return tfds.core.naming.parse_builder_name_kwargs(name)[0].namespace
    except ValueError:
        return None


def _builder(tfds: ModuleType, name: str, data_dir: str | None, owner: str) -> "DatasetBuilder":
    try:
        with _scratch():
            return tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # every mistake in a name fails in its own way
        folder = data_dir or tfds.core.constants.DATA_DIR
        raise UserError(
            f"{owner}: TFDS dataset {name} is not in {folder}, and can't be made: {brief(error)}; "
            "correct its name, or give its folder with --data_dir"
        ) from error


def fetch(name: str, data_dir: str | None, owner: str) -> None:
    """Downloads a dataset into a folder, unless it is there.

    Args:
        name: TFDS's name, with the version.
        data_dir: the folder; TFDS's default one if None.
        owner: who needs it, for messages.

    Raises:
        UserError: it can't be had; what was there stays as it was.
    """
    tfds = import_tfds()
    root = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    # One download at a time into a folder: several tasks may want the same dataset.
    with locked(_lock_of(root), name, wait=True):
        try:
            found(name, data_dir, owner)
        except MissingDataset as missing:
            _download(tfds, _builder(tfds, name, data_dir, owner), root, missing.by_hand, owner)
            _fetched.add((name, data_dir))


def _lock_of(root: Path) -> Path:
    digest = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"flanmix_downloads_{os.getuid()}_{digest}" / "lock"


def _download(
    tfds: ModuleType, builder: "DatasetBuilder", root: Path, by_hand: str, owner: str
) -> None:
    try:
        # TFDS tells of it on stdout, which is for the verb's own document.
        told = contextlib.redirect_stdout(sys.stderr)
        made = _removed_if_it_fails(root, Path(builder.data_dir).expanduser())
        with told, _scratch(), _bar(tfds), made:
            _check_reachable(builder)
            builder.download_and_prepare()
    except Exception as error:
        name = builder.info.full_name
        message = f"{owner}: TFDS dataset {name} can't be downloaded into {root}: {brief(error)}"
        if by_hand and "Manual directory" in str(error):  # some of WMT's want it, some do not
            message = (
                f"{owner}: TFDS dataset {name} is not in {root}, and its files have to be fetched "
                f"by hand; put them into {root}/downloads/manual: {by_hand}"
            )
        raise UserError(message) from error


@contextlib.contextmanager
def _scratch() -> Iterator[None]:
    """A folder for temporary files that is removed: TFDS makes one a builder and leaves it."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="flanmix_") as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


@contextlib.contextmanager
def _bar(tfds: ModuleType) -> Iterator[None]:
    """Shows TFDS's bars on a terminal, and has it give up a dead server after seconds."""
    from tensorflow_datasets.core.download import downloader

    settings = vars(downloader)
    retries = settings["MAX_RETRIES"]
    settings["MAX_RETRIES"] = _RETRIES
    if sys.stderr.isatty():
        tfds.enable_progress_bar()
    try:
        yield
    finally:
        tfds.disable_progress_bar()
        settings["MAX_RETRIES"] = retries


@contextlib.contextmanager
def _removed_if_it_fails(root: Path, folder: Path) -> Iterator[None]:
    """Removes what a download that fails has begun below `root`, and what it left empty."""
    top = root / folder.relative_to(root).parts[0] if folder.is_relative_to(root) else folder
    made = [path for path in (root, top) if not path.exists()]
    before = _folders(root)
    try:
        yield
    except BaseException:
        if top in made:
            shutil.rmtree(top, ignore_errors=True)
        for path in sorted(_folders(root) - before, reverse=True):
            if ".incomplete" in path.name and path.is_relative_to(top):
                shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                path.rmdir()  # the deepest first; one with files in it stays
        if root in made:
            with contextlib.suppress(OSError):
                root.rmdir()
        raise


def _folders(root: Path) -> set[Path]:
    return {Path(folder) / name for folder, names, _ in os.walk(root) for name in names}


def _check_reachable(builder: "DatasetBuilder") -> None:
    """Raises an OSError at once where the dataset's server can't be reached."""
    for url in list(builder.url_infos or ())[:1]:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or urllib.request.getproxies():
            return
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), timeout=_SECONDS).close()
        except OSError as error:
            raise OSError(f"{parts.hostname} can't be reached: {error}") from None
