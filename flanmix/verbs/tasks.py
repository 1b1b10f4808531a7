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
    tasks = _chosen(args.collection, args.cluster)
    if args.json:
        print_json([_row(task) for task in tasks])
        return 0
    header = ["task", "collection", "cluster", "kind", "source", "templates", "inverted", "splits"]
    rows = []
    for task in tasks:
        row = _row(task)
        splits = " ".join(split for split in SPLITS if task.splits.get(split))
        rows.append([*list(row.values())[:-1], splits])
    print(table(header, rows))
    return 0


def _chosen(collection: str | None, cluster: str | None) -> list[TaskSpec]:
    """The tasks of a collection and a cluster, either of which may be None for any."""
    catalogue = default_catalogue()
    entries = list(catalogue.entries.values())
    if collection is not None:
        _check_known("collection", collection, {entry.collection for entry in entries})
        entries = [entry for entry in entries if entry.collection == collection]
    if cluster is not None:
        _check_known("cluster", cluster, {entry.cluster for entry in entries})
        entries = [entry for entry in entries if entry.cluster == cluster]
    tasks = []
    for entry in entries:
        try:
            tasks.append(catalogue.task(entry.name))
        except UserError as error:
            say(f"left out: {error}")
    return tasks


def _check_known(what: str, wanted: str, names: set[str]) -> None:
    if wanted not in names:
        hint = nearest(wanted, names) or f"; there are: {', '.join(sorted(names))}"
        raise UserError(f"{what} '{wanted}' is unknown{hint}")


def _row(task: TaskSpec) -> dict[str, Any]:
    return {
        "name": task.name,
        "collection": task.collection,
        "cluster": task.cluster,
        "kind": task.kind,
        "source": f"{task.source.kind}:{task.source.location}",
        "templates": len(task.templates),
        "inverted": sum(template.inverted for template in task.templates),
        "splits": {split: task.splits.get(split) or None for split in SPLITS},
    }
