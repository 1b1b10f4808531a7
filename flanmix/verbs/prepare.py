"""`flanmix prepare NAME... --store DIR`: raw records into the store, once.

    flanmix prepare pocket --store store
    prepared sst: train 5,000, test 500 (0.4 MB)

What is there and unchanged is skipped, so that an interrupted run is completed by running it again.
A task that fails is named with its reason and does not stop the others; the exit code is then 2.
Only a full disk stops everything. Nothing is downloaded without `--download`: what would have to be
is one table at the end.
"""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

from flanmix.data.store.prepare import prepare
from flanmix.data.store.store import Store
from flanmix.errors import UserError
from flanmix.registry.catalogue import default_catalogue


def main(args: argparse.Namespace) -> int:
    """Runs the verb; returns 2 if a task failed.

    Raises:
        UserError: for an unknown name, a store that can't be written, or a full disk.
    """
    catalogue = default_catalogue()
    catalogue.expand_all(args.names)  # before a folder is made
    store = Store(args.store)
    _check_writable(store.root)
    missing = args.data_dir is not None and not Path(args.data_dir).is_dir()
    if missing and (not args.download or Path(args.data_dir).exists()):
        raise UserError(f"--data_dir {args.data_dir} is no folder")
    # TensorFlow, where a source needs it, has much to say that is nobody's concern here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    summary = prepare(
        args.names,
        store,
        catalogue=catalogue,
        data_dir=args.data_dir,
        limit=args.limit,
        workers=args.workers,
        download=args.download,
    )
    if args.json:
        print(json.dumps(asdict(summary), indent=1))
    return 2 if summary.failed else 0


def _check_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--store {root} can't be made: {error.strerror}") from None
    if not os.access(root, os.W_OK):
        raise UserError(f"--store {root} can't be written: choose another folder")
