"""`flanmix report RUN_DIR`: what a run did, on one page that needs nothing beside itself."""

import argparse
from pathlib import Path

from flanmix.console import print_json
from flanmix.pages.report import write_report


def main(args: argparse.Namespace) -> int:
    """Runs the verb: writes the page and prints where it is."""
    path = write_report(Path(args.run_dir), Path(args.html) if args.html else None)
    if args.json:
        print_json(str(path))
    else:
        print(path)
    return 0
