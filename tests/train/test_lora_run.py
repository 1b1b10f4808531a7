"""Runs with adapters: they alone are trained, and whoever opens the checkpoint gets one model."""

import json

import jax
import numpy as np
import pytest

from flanmix import cli
from flanmix.learn.checkpoint import newest_record, open_checkpoint
from flanmix.model.lora import is_adapter
from flanmix.model.sharding import make_mesh
from tests.train.training import one_error

LORA = ("TrainConfig.lora=@Lora()", "Lora.rank=2", "INITIALIZE_FROM=straight")


def opened(folder):
    with jax.set_mesh(make_mesh(devices=jax.devices()[:1])):
        return open_checkpoint(folder)


@pytest.fixture
def tuned(straight, train, workplace):
    """The lines of a run of six steps whose adapters begin with another run's parameters."""
    if not (workplace.folder / "adapted").exists():
        code, said = train("adapted", *LORA)
        assert code == 0, said.err
    return workplace.lines("adapted")


def test_the_adapters_alone_are_trained(tuned, workplace):
    folder = workplace.folder
    assert [line["step"] for line in tuned] == [1, 2, 3, 4, 5, 6]
    record = newest_record(folder / "adapted")
    assert record["lora"]["rank"] == 2
    document = json.loads((folder / "adapted/checkpoints/6/run/metadata").read_text())
    arrays = document["arrays"]
    saved = {path.removeprefix("params/") for path in arrays if path.startswith("params/")}
    base = {path: value for path, value in _paths(opened(folder / "straight").params).items()}
    assert saved - set(base) == {path for path in saved if is_adapter(path)} != set()
    optimized = [path for path in arrays if path.startswith("optimizer/") and "kernel" in path]
    assert not optimized
    # Nothing but what has an adapter differs, and that does.
    merged = _paths(opened(folder / "adapted").params)
    changed = {path for path in base if not np.array_equal(base[path], merged[path])}
    assert changed == {path for path in base if f"{path.rpartition('/')[0]}/adapter/a" in saved}


def test_a_run_with_adapters_goes_on_as_if_it_had_not_stopped(tuned, train, workplace):
    assert train("adapted_parts", *LORA, "STEPS=3")[0] == 0
    code, said = train("adapted_parts", *LORA)
    assert code == 0 and "going on from step 3" in said.err
    assert workplace.lines("adapted_parts") == tuned
    there, here = (
        _paths(opened(workplace.folder / r).params) for r in ("adapted", "adapted_parts")
    )
    jax.tree.map(np.testing.assert_array_equal, there, here)
    code, said = train("adapted_parts", *LORA, "Lora.alpha=32.0", "STEPS=8")
    assert code == 2 and "Lora.alpha: 16.0 -> 32.0" in one_error(said)


def test_it_is_asked_and_evaluated_as_one_model(tuned, train, workplace, capfd):
    flags = ["--gin_file", str(workplace.folder / "adapted" / "config.gin")]
    assert cli.main(["evaluate", *flags, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["tasks"]
    source = str(workplace.folder / "adapted")
    assert cli.main(["generate", "--checkpoint", source, "--prompt", "2 + 3?", "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)) == 1
    # Its parameters are a plain model's to whoever begins with them.
    code, said = train("after_adapted", "INITIALIZE_FROM=adapted", "STEPS=1")
    assert code == 0, said.err
    assert "lora" not in newest_record(workplace.folder / "after_adapted")


def test_a_target_that_is_none_is_one_line(train):
    code, said = train("adapted_nowhere", "TrainConfig.lora=@Lora()", "Lora.targets=nothing")
    assert code == 2
    assert "Lora.targets is 'nothing': it matches none of" in one_error(said)


def _paths(tree):
    return {
        "/".join(key.key for key in path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
