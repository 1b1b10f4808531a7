"""Every hardware file against the machine that it is for, which need not be here.

The machine's devices and hosts stand in the file's first line; the mesh is abstract. Every size of
model and every recipe is crossed with every machine: the devices share the batch, the hosts share
the streams, and the mesh shards the parameters.
"""

import functools
import re

import jax
import pytest

from flanmix import cli
from flanmix.errors import UserError
from flanmix.model.decoder import DecoderConfig
from flanmix.model.sharding import abstract_mesh, replicated
from flanmix.model.t5 import T5Config
from flanmix.registry.paths import gin_root
from flanmix.train import hosts
from flanmix.train.replicated import check_replicated
from flanmix.train.settings import MeshConfig
from flanmix.verbs import gin_config

MACHINES = {  # devices, hosts
    "cpu": [(1, 1)],
    "default": [(1, 1), (8, 1)],
    "gpu": [(1, 1), (4, 1), (8, 1)],
    "tpu_v5e_8": [(8, 1)],
    "tpu_v4_128": [(64, 16)],
    "tpu_v5p_128": [(64, 16)],
    "tpu_v5e_256": [(256, 64)],
}
CROSSED = [(name, *machine) for name, machines in MACHINES.items() for machine in machines]
MODELS = sorted(path.stem for path in (gin_root() / "models").glob("*.gin"))
RECIPES = sorted(path.stem for path in (gin_root() / "recipes").glob("*.gin"))
RUN = ["RUN_DIR=a", "STORE=s", "MIXTURE=pocket", "STEPS=1", "INPUTS_LENGTH=64", "TARGETS_LENGTH=32"]


def run_of(*names, batch_size=256, given=()):
    """The run of gin files, by their names below `gin/`."""
    files = [f"gin/{name}.gin" for name in names]
    return gin_config.load(files, [f"BATCH_SIZE={batch_size}", *given], [])


def abstract_params(config):
    return jax.eval_shape(lambda: config.init(jax.random.key(0)))


@functools.cache
def share_of(config, data, fsdp, tensor):
    """The share of a model's parameters that is whole on every device of a mesh."""
    with jax.sharding.use_abstract_mesh(abstract_mesh(data, fsdp, tensor)):
        return replicated(abstract_params(config)).share


def test_every_file_is_here_with_its_machine():
    files = {path.stem: path.read_text() for path in (gin_root() / "hardware").glob("*.gin")}
    assert set(files) == set(MACHINES)
    for name, text in files.items():
        (devices, host_count), *_ = MACHINES[name]
        if host_count > 1:
            assert re.search(rf"{devices} chips .*, on {host_count} hosts", text), name
            assert run_of("runs/instruct", "models/t5_tiny", f"hardware/{name}", given=RUN).mesh
        assert ("multi_host = True" in text) == (host_count > 1)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("name", "devices", "host_count"), CROSSED)
def test_every_model_has_a_batch_and_a_mesh_on_every_machine(model, name, devices, host_count):
    files = ("runs/instruct", f"models/{model}", f"hardware/{name}")
    run = run_of(*files, given=RUN)
    run.check_devices(devices, host_count)
    data, fsdp, tensor = run.mesh.sizes(devices)
    streams = run.loader.num_streams
    assert data * fsdp * tensor == devices
    assert 256 % streams == 0 and streams % host_count == 0
    # With the smallest batch that the mesh can divide, too.
    run_of(*files, given=RUN, batch_size=data * fsdp).check_devices(devices, host_count)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("name", "devices", "host_count"), CROSSED)
def test_every_recipe_runs_on_every_machine(recipe, name, devices, host_count):
    files = (f"recipes/{recipe}", f"hardware/{name}")
    run = run_of(*files)
    data, fsdp, _ = run.mesh.sizes(devices)
    if (run.evaluation.batch_size or 0) % (data * fsdp):  # it was chosen for a small machine
        with pytest.raises(UserError, match="EVAL_BATCH_SIZE is"):
            run.check_devices(devices, host_count)
        run = run_of(*files, given=[f"EVAL_BATCH_SIZE={run.data.batch_size}"])
    run.check_devices(devices, host_count)


@pytest.mark.parametrize("kind", sorted(path.stem for path in (gin_root() / "runs").glob("*.gin")))
@pytest.mark.parametrize("name", sorted(MACHINES))
def test_every_run_of_every_model_and_recipe_is_understood_on_every_machine(kind, name, tmp_path):
    """Nothing in the files that come with flanmix is bound twice, or has no effect."""
    given = [binding for binding in RUN if kind != "evaluate" or "STEPS" not in binding]
    for model in MODELS:
        files = (f"models/{model}", f"runs/{kind}", f"hardware/{name}")
        run = run_of(*files, given=[*given, "INITIALIZE_FROM=b"])
        assert (run.train is None) == (kind == "evaluate")
    for recipe in RECIPES:  # a run's own configuration, evaluated or trained further
        trained = run_of(f"recipes/{recipe}", f"hardware/{name}")
        (tmp_path / "config.gin").write_text(gin_config.operative())
        files = [str(tmp_path / "config.gin"), f"gin/runs/{kind}.gin"]
        assert gin_config.load(files[:1], [], []) == trained
        again = gin_config.load(files, ["MIXTURE=pocket", "INITIALIZE_FROM=b"], [])
        assert (again.model, again.data.mixture) == (trained.model, "pocket")


@pytest.mark.parametrize("model", MODELS)
def test_every_machine_shards_every_model(model):
    for name, devices, _ in CROSSED:
        run = run_of("runs/instruct", f"models/{model}", f"hardware/{name}", given=RUN)
        sizes = run.mesh.sizes(devices)
        if sizes[1] * sizes[2] > 1:
            assert share_of(run.model, 1, *sizes[1:]) < 0.02, name


def test_batches_do_not_depend_on_the_hosts():
    """A pod's file says its streams; nothing asks how many hosts there are."""
    run = run_of("runs/instruct", "models/t5_tiny", "hardware/tpu_v5e_256", given=RUN)
    assert run.data.streams == run.loader.num_streams == 64
    with pytest.raises(UserError, match="128 hosts can't share them"):
        run.check_devices(256, 128)


# ---- what a mesh can't divide ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "sizes", "share"),
    [
        (T5Config(), (1, 1, 4), 0.25),  # six heads
        (T5Config(vocab_size=32100), (1, 1, 8), 0.67),
        (DecoderConfig(d_model=510), (1, 8, 1), 1.0),
        (DecoderConfig(d_model=2052), (1, 8, 1), 1.0),
        (DecoderConfig(), (2, 4, 4), 0.0),
        (DecoderConfig(), (8, 1, 1), 1.0),
    ],
)
def test_the_share_that_is_whole_on_every_device(config, sizes, share):
    assert share_of(config, *sizes) == pytest.approx(share, abs=0.01)


def checked(config, sizes, **mesh):
    with jax.sharding.use_abstract_mesh(abstract_mesh(*sizes)):
        check_replicated(MeshConfig(**mesh), abstract_params(config))


@pytest.fixture
def lines(monkeypatch):
    """The lines that are said."""
    said = []
    monkeypatch.setattr("flanmix.train.replicated.say", said.append)
    return said


def test_it_is_said_in_one_line(lines):
    checked(T5Config(), (1, 1, 4))
    (said,) = lines
    assert "25% of the parameters are whole on every device: fsdp=1 x tensor=4 can't div" in said
    assert "largest: decoder/" in said or "largest: encoder/" in said
    checked(T5Config(), (8, 1, 1))  # the batch alone is sharded: by design
    checked(DecoderConfig(), (2, 4, 4))
    assert lines == [said] and "\n" not in said


def test_it_is_refused_above_the_stated_share(lines):
    for config in (DecoderConfig(d_model=510), DecoderConfig(d_model=2052)):
        with pytest.raises(UserError, match=r"^100% of .*fsdp=8.*MeshConfig.max_replicated=1$"):
            checked(config, (1, 8, 1))
        checked(config, (1, 8, 1), max_replicated=1.0)
        assert "100% of the parameters" in lines[-1]
    with pytest.raises(UserError, match=r"^25% .*MeshConfig.max_replicated=0.2[56]$"):
        checked(T5Config(), (1, 1, 4), max_replicated=0.2)


# ---- a pod's file off the pod ------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_a_machines_file_elsewhere_is_one_line(name, monkeypatch, tmp_path, capsys):
    """It neither waits for other hosts nor leaves a traceback."""
    monkeypatch.chdir(tmp_path)
    for variable in ("JAX_COORDINATOR_ADDRESS", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(variable, raising=False)
    argv = ["train", "--gin_file=gin/recipes/quickstart.gin", "--gin.STORE=nowhere"]
    argv += [f"--gin_file=gin/hardware/{name}.gin", "--gin.BATCH_SIZE=64"]
    assert cli.main(argv) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("flanmix: ") and "\n" not in said
    if MACHINES[name][0][1] > 1:
        assert "can't join others" in said and "gin/hardware/default.gin" in said


def test_a_cluster_that_is_half_described_is_one_line(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.delenv("JAX_PROCESS_ID", raising=False)
    with pytest.raises(UserError, match="'JAX_PROCESS_ID' is not set"):
        hosts.join(None)
    monkeypatch.setenv("JAX_PROCESS_ID", "one")
    with pytest.raises(UserError, match="invalid literal"):
        hosts.join(None)
