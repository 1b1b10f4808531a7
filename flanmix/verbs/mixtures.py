"""`flanmix mixtures`: lists mixtures and how many tasks each has.

A mixture that can't be read is named on stderr and left out.
"""

import argparse

from flanmix.console import print_json, say, table
from flanmix.errors import UserError
from flanmix.registry.catalogue import default_catalogue


def main(args: argparse.Namespace) -> int:
    """Runs the verb; flags as in cli.py."""
    catalogue = default_catalogue()
    rows: list[tuple[str, int]] = []
    for name in catalogue.mixture_names():
        try:
            rows.append((name, len(catalogue.expand(name))))
        except UserError as error:
            say(f"left out: {error}")
    if args.json:
        print_json([{"name": name, "tasks": tasks} for name, tasks in rows])
    else:
        print(table(["mixture", "tasks"], rows))
    return 0
