"""The loader: the same global batches on any number of hosts and after any restart, bit for bit."""

import subprocess
import sys

import numpy as np
import pytest

from flanmix.data.batch_hash import batch_hash, joined_hash, row_digests
from flanmix.data.loader import Loader, LoaderConfig
from flanmix.data.loader import global_batch as make_global
from flanmix.data.vocabulary import ByteVocabulary
from flanmix.errors import UserError
from flanmix.model.sharding import batch_sharding
from tests.conftest import ROOT
from tests.data.small_mixture import prepare

STEPS = 12


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("store"))


@pytest.fixture
def loader(small):
    """Makes loaders, and closes them."""
    made = []

    def make(index=0, count=1, **changes):
        values = {"batch_size": 8, "inputs_length": 256, "targets_length": 48} | changes
        mixture, store = small
        config = LoaderConfig(**values)
        made.append(
            Loader(
                config,
                mixture,
                store,
                ByteVocabulary(),
                process_index=index,
                process_count=count,
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


def join(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def equal(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        assert np.array_equal(left[name], right[name]), name


@pytest.mark.parametrize("architecture", ["encoder_decoder", "prefix"])
@pytest.mark.parametrize("pack", [True, False])
def test_any_number_of_hosts_gives_the_same_batches(loader, architecture, pack):
    options = {"architecture": architecture, "pack": pack}
    whole = loader(**options)
    hosts = {n: [loader(i, n, **options) for i in range(n)] for n in (2, 4)}
    for _ in range(STEPS):
        batch = next(whole)
        for parts in hosts.values():
            local = [next(part) for part in parts]
            equal(join(local), batch)
            digests = [digest for part in local for digest in row_digests(part)]
            assert joined_hash(digests) == batch_hash(batch)
            states = np.concatenate([part.state() for part in parts])
            assert np.array_equal(states, whole.state())


@pytest.mark.parametrize("stop", [0, 1, 5, STEPS - 1])
def test_any_restart_on_any_number_of_hosts(loader, stop):
    whole = loader()
    states, batches = [], []
    for _ in range(STEPS):
        states.append(whole.state())
        batches.append(next(whole))
    for count in (1, 2, 8):
        hosts = [loader(i, count) for i in range(count)]
        for host in hosts:
            host.restore(states[stop])
        for batch in batches[stop:]:
            equal(join([next(host) for host in hosts]), batch)


def test_a_loader_that_has_run_ahead_goes_back(loader):
    whole = loader()
    first = next(whole)
    state = whole.state()
    second, _ = next(whole), next(whole)
    whole.restore(state)
    assert np.array_equal(whole.state(), state)
    equal(next(whole), second)
    assert batch_hash(first) != batch_hash(second)


def test_the_state_is_of_the_batch_handed_out(loader):
    whole = loader()
    examples = 0
    for _ in range(STEPS):
        examples += int(next(whole)["row_stats"][:, 0].sum())
        state = whole.state()
        assert state.dtype == np.int64
        assert state[:, 0].sum() - (state[:, 1:] >= 0).sum() == examples


def test_seed_and_streams_decide_the_order(loader):
    hashes = {batch_hash(next(loader(**o))) for o in ({}, {"seed": 1}, {"streams": 4})}
    assert len(hashes) == 3
    assert batch_hash(next(loader())) in hashes


def test_epochs(loader, small):
    mixture, _ = small
    whole = loader()
    examples = 0
    for _ in range(60):
        examples += int(next(whole)["row_stats"][:, 0].sum())
    epochs = whole.epochs()
    for task in mixture.tasks:
        expected = examples * task.rate / mixture.total_rate / task.examples
        assert abs(epochs[task.spec.name] - expected) < 3.1 / task.examples
    half = loader(1, 2)
    half.restore(whole.state())
    assert half.epochs()["many"] == pytest.approx(epochs["many"], rel=0.1)


def test_the_hash_sees_every_feature_and_the_order_of_rows(loader):
    batch = next(loader())
    for name in batch:
        changed = {key: value.copy() for key, value in batch.items()}
        changed[name][3, 0] += 1
        assert batch_hash(changed) != batch_hash(batch)
    swapped = {name: value[::-1] for name, value in batch.items()}
    assert batch_hash(swapped) != batch_hash(batch)


def test_the_batches_never_change(loader):
    """Runs resume on them: the hash may only change together with what is rendered or mixed."""
    # Runs of before there was a separator go on without one.
    for separator, expected in ((None, "7c6c223b3a8a3c1c"), ("", "4a0b921257352753")):
        whole = loader(architecture="prefix", separator=separator)
        for _ in range(5):
            batch = next(whole)
        assert batch_hash(batch) == expected


def test_alone_it_imports_no_tensorflow_and_ends_quietly(tmp_path):
    program = (
        "import sys\n"
        "from tests.data.small_mixture import prepare\n"
        "from flanmix.data.loader import Loader, LoaderConfig\n"
        "from flanmix.data.vocabulary import load_vocabulary\n"
        "mixture, store = prepare(sys.argv[1])\n"
        "loader = Loader(LoaderConfig(4, 128, 32), mixture, store, load_vocabulary('byte'))\n"
        "next(loader)\n"
        "assert not {'tensorflow', 'tensorflow_datasets', 'seqio'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_global_batch(loader):
    import jax

    batch = next(loader())
    mesh = jax.make_mesh((1, 1, 1), ("data", "fsdp", "tensor"), devices=jax.devices()[:1])
    arrays = make_global(batch, batch_sharding(mesh))
    equal({name: np.asarray(value) for name, value in arrays.items()}, batch)


@pytest.mark.multidevice
def test_global_batch_over_devices(loader):
    import jax

    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    batch = next(loader())
    mesh = jax.make_mesh((2, 2, 2), ("data", "fsdp", "tensor"))
    arrays = make_global(batch, batch_sharding(mesh))
    equal({name: np.asarray(value) for name, value in arrays.items()}, batch)
    shard = arrays["decoder_target_tokens"].addressable_shards[0]
    assert shard.data.shape == (2, 48)
    with pytest.raises(ValueError, match="does not evenly divide"):
        make_global({name: value[:6] for name, value in batch.items()}, batch_sharding(mesh))


def test_mistakes_are_named(loader):
    with pytest.raises(UserError, match="8 streams cannot be shared by 3 hosts"):
        loader(0, 3)
    with pytest.raises(ValueError, match="streams is 3: it must divide batch_size 8"):
        loader(streams=3)
    with pytest.raises(ValueError, match="batch_size is 0"):
        loader(batch_size=0)
    with pytest.raises(UserError, match="STREAMS=8"):
        loader(streams=4).restore(loader().state())


def test_a_corrupt_store_reaches_the_caller(tmp_path):
    mixture, store = prepare(tmp_path)
    path = tmp_path / "many" / "train.array_record"
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[100:-100] = bytes(len(damaged) - 200)
    path.write_bytes(damaged)
    config = LoaderConfig(batch_size=4, inputs_length=256, targets_length=48)
    with pytest.raises(UserError, match="corrupt"):  # its file is opened at once
        Loader(config, mixture, store, ByteVocabulary())
    damaged = bytearray(whole)
    damaged[100:4000] = bytes(3900)
    path.write_bytes(damaged)
    broken = Loader(config, mixture, store, ByteVocabulary())
    with pytest.raises(UserError, match="corrupt"):
        for _ in range(10):
            next(broken)
    broken.close()
