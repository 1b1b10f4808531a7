"""Flan 2021's protocol: what is held out is held out, and the ablations differ in one thing."""

import hashlib
import itertools
import json

import pytest

from flanmix.errors import UserError
from flanmix.registry.catalogue import Catalogue
from flanmix.registry.mixture import resolve
from flanmix.registry.paths import tasks_root

CATALOGUE = Catalogue([tasks_root()])
NAMES = CATALOGUE.expand("flan2021/*")
CLUSTERS = sorted({CATALOGUE.entries[name].cluster for name in NAMES})
READING, COMMON, BOTH = "reading_comprehension", "commonsense", "read_comp_with_commonsense"
OVERLAPS = {
    READING: {BOTH},
    COMMON: {BOTH},
    BOTH: {READING, COMMON},
    "nli": {"paraphrase"},
    "paraphrase": {"nli"},
}
SPLITS = range(10)


# What the ablations were when they were keys of a mixture: a digest of tasks, rates, templates and
# loss weights, by name.
ABLATIONS = {
    "flan2021_clusters:1": "ee921299b5380a93",
    "flan2021_clusters:2": "d51b045aca582d17",
    "flan2021_clusters:3": "a3e77c9525b51e79",
    "flan2021_clusters:4": "ee9e92d9077a17c7",
    "flan2021_clusters:5": "bde445fa641f38f0",
    "flan2021_clusters:6": "2f9817e24c5a4b69",
    "flan2021_clusters:7": "efea8e051721d208",
    "flan2021_clusters": "efea8e051721d208",
    "flan2021_tasks:1": "daca0e1e1367c089",
    "flan2021_tasks:5": "246f6b089047e7dc",
    "flan2021_tasks:10": "0b42f6b86d9bf616",
    "flan2021_tasks:20": "914a1e552e1ec2b1",
    "flan2021_tasks:40": "3a720f4ff9edaecb",
    "flan2021_tasks": "75e26c0a06a24094",
    "flan2021_templates:1": "c97880fa4ea21f86",
    "flan2021_templates:2": "4f61daa99dd7cdf8",
    "flan2021_templates:4": "6d40d268242f816f",
    "flan2021_templates:7": "f23586abf2c87a60",
    "flan2021_templates": "75e26c0a06a24094",
    "flan2021_plain": "2aa81888ebbab836",
    "flan2021_names": "e9698294d9f2bdfe",
}


def clusters(names: list[str]) -> set[str]:
    return {CATALOGUE.entries[name].cluster for name in names}


def templates(mixture: str) -> set[tuple[int, ...]]:
    resolved = resolve(CATALOGUE.mixture(mixture), CATALOGUE, lambda spec: 5000)
    return {task.templates for task in resolved.tasks}


def test_the_collection_is_whole():
    assert (len(NAMES), len(CLUSTERS)) == (70, 12)
    specs = [CATALOGUE.task(name) for name in NAMES]
    assert {len(spec.templates) for spec in specs} == {10}
    assert max(len(spec.templates) - len(spec.forward_templates) for spec in specs) == 3


def test_rates_are_examples_proportional_with_a_cap():
    mixture = resolve(CATALOGUE.mixture("flan2021"), CATALOGUE, lambda spec: len(spec.name) * 500)
    assert {task.spec.name for task in mixture.tasks} == set(NAMES)
    for task in mixture.only(lambda task: task.examples).tasks:
        assert task.rate == min(3000, len(task.spec.name) * 500)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_cluster_is_held_out_with_what_overlaps(cluster: str):
    trained = CATALOGUE.expand(f"flan2021_without_{cluster}")
    held_out = {cluster} | OVERLAPS.get(cluster, set())
    assert clusters(trained) == set(CLUSTERS) - held_out
    kept = [name for name in NAMES if CATALOGUE.entries[name].cluster not in held_out]
    assert trained == kept


def test_splits_within_clusters_hold_out_one_dataset_of_each():
    ever = set()
    for number in SPLITS:
        unseen = CATALOGUE.expand(f"flan2021_unseen_{number}")
        trained = CATALOGUE.expand(f"flan2021_within_{number}")
        assert sorted(trained + unseen) == NAMES
        assert clusters(unseen) == clusters(trained) == set(CLUSTERS)
        sources = {
            CATALOGUE.task(name).source.location.split(":")[0].split("/")[0]
            for name in unseen
            if CATALOGUE.entries[name].cluster not in ("translation", "misc")
        } - {"glue", "super_glue", "gem"}  # suites of many datasets
        others = {
            CATALOGUE.task(name).source.location.split(":")[0].split("/")[0]
            for name in trained
            if CATALOGUE.entries[name].cluster not in ("translation", "misc")
        }
        assert not sources & others, "a part of a held-out dataset is trained on"
        ever |= set(unseen)
    assert ever == set(NAMES)


def test_superglue_is_held_out():
    held_out = CATALOGUE.expand("flan2021_superglue")
    assert len(held_out) == 8
    assert sorted(held_out + CATALOGUE.expand("flan2021_without_superglue")) == NAMES


def test_the_ablations_grow_and_never_see_what_they_are_tested_on():
    held_out = {"nli", "paraphrase", COMMON, BOTH, "closed_book_qa"}
    grown = [set(CATALOGUE.expand(f"flan2021_clusters:{n}")) for n in range(1, 8)]
    assert all(few < more for few, more in itertools.pairwise(grown))
    drawn = [set(CATALOGUE.expand(f"flan2021_tasks:{n}")) for n in (5, 10, 20, 40)]
    assert [len(names) for names in drawn] == [5, 10, 20, 40]
    assert all(few < more for few, more in itertools.pairwise(drawn))
    whole = set(CATALOGUE.expand("flan2021_ablation"))
    assert not clusters(sorted(grown[-1] | drawn[-1] | whole)) & held_out
    for number in (1, 2, 4, 7, 10):
        assert set(CATALOGUE.expand(f"flan2021_templates:{number}")) == whole
        assert templates(f"flan2021_templates:{number}") == {tuple(range(number))}


@pytest.mark.parametrize("mixture", ["flan2021_plain", "flan2021_names"])
def test_without_instructions_the_tasks_have_one_wording(mixture: str):
    resolved = resolve(CATALOGUE.mixture(mixture), CATALOGUE, lambda spec: 1)
    instructed = resolve(CATALOGUE.mixture("flan2021_ablation"), CATALOGUE, lambda spec: 1)
    assert [(t.spec.name, t.rate) for t in resolved.tasks] == [
        (t.spec.name, t.rate) for t in instructed.tasks
    ]
    for task in resolved.tasks:
        assert task.templates == (0,)
        assert task.spec.data_fingerprint() == CATALOGUE.task(task.spec.name).data_fingerprint()
        (template,) = task.spec.templates
        named = template.inputs.startswith(f"[{task.spec.cluster.replace('_', ' ')}: ")
        assert named == (mixture == "flan2021_names")


@pytest.mark.parametrize("name", ABLATIONS)
def test_the_ablations_are_what_they_were(name: str):
    mixture = resolve(CATALOGUE.mixture(name), CATALOGUE, lambda task: 100 + len(task.name) * 500)
    said = [
        [
            task.spec.name,
            task.rate,
            task.examples,
            task.templates,
            task.loss_weight,
            [[t.inputs, t.targets, t.inverted] for t in task.spec.templates],
        ]
        for task in mixture.tasks
    ]
    text = json.dumps([said, CATALOGUE.expand(name)])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == ABLATIONS[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flan2021_tasks:0", "flan2021_tasks:0': '0' is no number from 1"),
        ("flan2021_tasks:²", "is no number"),
        ("flan2021_clusters:", "is no number"),
        ("flan2021_plain:3", "takes nothing after a colon"),
        ("flan2021_nli:1", "no task, mixture or collection is named"),
        ("flan2021_unseen_0:1", "has no key 'transform'"),
    ],
)
def test_a_wrong_argument_is_said(name: str, message: str):
    with pytest.raises(UserError, match=message):
        resolve(CATALOGUE.mixture(name), CATALOGUE, lambda task: 1)
