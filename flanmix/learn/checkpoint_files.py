"""Files as a part of a checkpoint, which appears with them or not at all.

    args = ocp.args.Composite(params=..., tokenizer=files_args({"tokenizer.json": b"{...}"}))
    -> STEP/tokenizer/tokenizer.json

They are read as files, by whoever finds the folder (`OpenCheckpoint.tokenizer`).
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from flanmix.learn.integrity import orbax

Files = Mapping[str, bytes | Path]


def files_args(files: Files) -> Any:
    """Returns Orbax's arguments that save files, by name, in a folder of their own."""
    return _args_class()(files)


@functools.cache
def _args_class() -> type:
    """Makes the classes that Orbax wants of a part, once it is imported."""
    ocp = orbax()

    class FilesHandler(ocp.CheckpointHandler):
        def save(self, directory: Path, args: Any) -> None:
            if jax.process_index() == 0:
                for name, content in args.files.items():
                    data = content if isinstance(content, bytes) else content.read_bytes()
                    (directory / name).write_bytes(data)

        def restore(self, directory: Path, args: Any) -> None:
            raise NotImplementedError("files are read as files")

    # Orbax wants arguments of both ways.
    @ocp.args.register_with_handler(FilesHandler, for_save=True, for_restore=True)
    @dataclasses.dataclass
    class FilesSave(ocp.args.CheckpointArgs):
        files: Files

    return FilesSave
