"""`flanmix tasks`: lists tasks, from their cards alone.

    task  collection  cluster  kind            source                      templates  inverted  ...
    rte   flan2021    nli      classification  tfds:super_glue/rte:1.0.2          10         3  ...

A card that can't be read is named on stderr and left out; it takes no other task down.
"""

import argparse
from typing import Any

from flanmix.console import print_json, say, table
from flanmix.errors import UserError, nearest
from flanmix.registry.catalogue import default_catalogue
from flanmix.registry.task import SPLITS, TaskSpec


def main(args: argparse.Namespace) -> int:
    """Runs the verb; flags as in cli.py."""
    specs = _chosen(args.collection, args.cluster)
    if args.json:
        print_json([_row(spec) for spec in specs])
        return 0
    header = ["task", "collection", "cluster", "kind", "source", "templates", "inverted", "splits"]
    rows = []
    for spec in specs:
        row = _row(spec)
        splits = " ".join(split for split in SPLITS if spec.splits.get(split))
        rows.append([*list(row.values())[:-1], splits])
    print(table(header, rows))
    return 0


def _chosen(collection: str | None, cluster: str | None) -> list[TaskSpec]:
    """The tasks of a collection and a cluster, either of which may be None for any."""
    catalogue = default_catalogue()
    places = {name: path.parts[-3:-1] for name, path in catalogue.paths.items()}
    for index, wanted, what in ((0, collection, "collection"), (1, cluster, "cluster")):
        known = sorted({place[index] for place in places.values()})
        if wanted is not None and wanted not in known:
            way_out = nearest(wanted, known) or f"; there are: {', '.join(known)}"
            raise UserError(f"{what} '{wanted}' is unknown{way_out}")
        if wanted is not None:
            places = {name: place for name, place in places.items() if place[index] == wanted}
    specs = []
    for name in places:
        try:
            specs.append(catalogue.task(name))
        except UserError as error:
            say(f"left out: {error}")
    return specs


def _row(spec: TaskSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "collection": spec.collection,
        "cluster": spec.cluster,
        "kind": spec.kind,
        "source": f"{spec.source.kind}:{spec.source.location}",
        "templates": len(spec.templates),
        "inverted": len(spec.templates) - len(spec.forward_templates),
        "splits": {split: spec.splits.get(split) or None for split in SPLITS},
    }
