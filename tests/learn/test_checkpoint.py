"""Checkpoints: save and restore bit for bit, on another mesh, around damage and a full disk."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flanmix.errors import UserError
from flanmix.learn import checkpoint_writer
from flanmix.learn.checkpoint import newest_tokenizer, open_checkpoint, set_aside
from flanmix.learn.checkpoint_writer import CheckpointWriter, save_params
from flanmix.learn.integrity import saved_steps
from flanmix.learn.optimizer import Adafactor
from flanmix.learn.step import TrainState, new_state
from flanmix.model.params import Declaration
from flanmix.model.sharding import make_mesh, spec

DECLARED = {
    "embedding": Declaration(stacked=False, decays=True),
    "layers": {"kernel": Declaration(stacked=True, decays=True)},
}
OPTIMIZER = Adafactor(min_dim_size_to_factor=4).build(DECLARED)
POSITION = np.array([[2**40, 3], [5, -1]], np.int64)


def one_device():
    return jax.set_mesh(make_mesh(devices=jax.devices()[:1]))


def make_state(seed=0, width=8, dtype=jnp.float32):
    key = jax.random.key(seed)

    def draw(shape, *names):
        return jax.random.normal(key, shape, dtype, out_sharding=spec(*names))

    params = {
        "embedding": draw((16, width), "vocab", "embed"),
        "layers": {"kernel": draw((2, 8, 8), None, "embed", "mlp")},
    }
    state = new_state(params, OPTIMIZER)
    return TrainState(jnp.int32(seed), state.params, state.opt_state, {})


def save(checkpoints, step):
    state = make_state(step)
    checkpoints.save(state, step=step, position=POSITION + step, run={"tasks": ["a"]})
    return state


def restored(directory, make=make_state):
    opened = open_checkpoint(directory, state=jax.eval_shape(make))
    set_aside(opened.damaged)
    return opened


def assert_same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), a, b)


def test_a_checkpoint_holds_everything_bit_for_bit(tmp_path):
    with one_device(), CheckpointWriter(tmp_path) as checkpoints:
        state = save(checkpoints, 7)
        checkpoints.wait()
        found = restored(tmp_path)
        assert_same(found.state, state)
        assert found.step == 7 and found.run == {"tasks": ["a"]}
        assert found.position.dtype == np.int64
        np.testing.assert_array_equal(found.position, POSITION + 7)


def test_a_checkpoint_carries_its_tokenizer(tmp_path):
    (tmp_path / "merges.txt").write_text("a b")
    files = {"tokenizer.json": b"{}", "merges.txt": tmp_path / "merges.txt"}
    with one_device(), CheckpointWriter(tmp_path / "run", tokenizer=files) as checkpoints:
        save(checkpoints, 1)
        save(checkpoints, 2)
    with one_device():
        folder = restored(tmp_path / "run").tokenizer
    assert folder == newest_tokenizer(tmp_path / "run") == tmp_path / "run" / "2" / "tokenizer"
    assert [(folder / name).read_text() for name in files] == ["{}", "a b"]
    shutil.rmtree(folder)
    assert newest_tokenizer(tmp_path / "run") == tmp_path / "run" / "1" / "tokenizer"


def test_last_and_best_are_kept_by_scores_that_come_after_saving(tmp_path):
    scores = {}
    keep = dict(keep_last=2, keep_best=1, score_of=scores.get)
    with one_device(), CheckpointWriter(tmp_path, **keep) as checkpoints:
        for step, score in ((1, 10.0), (2, 90.0), (3, 50.0)):
            save(checkpoints, step)
            scores[step] = score
    with one_device(), CheckpointWriter(tmp_path, **keep) as checkpoints:  # a run that goes on
        for step in (4, 5):
            save(checkpoints, step)
    assert saved_steps(tmp_path) == [5, 4, 2]


def test_saving_does_not_see_what_happens_to_the_arrays_after_it(tmp_path):
    overwrite = jax.jit(lambda state: jax.tree.map(lambda x: x * 0 - 1, state), donate_argnums=0)
    with one_device(), CheckpointWriter(tmp_path) as checkpoints:
        state = make_state(3)
        copy = jax.device_get(state)
        checkpoints.save(state, step=3, position=POSITION, run={})
        for _ in range(20):
            state = overwrite(state)
        checkpoints.wait()
        assert_same(restored(tmp_path).state, copy)


def cut(folder):
    for victim in (folder / "params").rglob("d/*"):
        victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])


def flip(folder):
    for victim in (folder / "params").rglob("d/*"):
        data = bytearray(victim.read_bytes())
        data[len(data) // 3] ^= 0x10
        victim.write_bytes(data)


def forge(folder):
    victim = folder / "run" / "metadata"
    victim.write_text(victim.read_text().replace("1099511627780", "1099511627781"))


def lose(folder):
    shutil.rmtree(folder / "optimizer")


@pytest.mark.parametrize("damage", [cut, flip, forge, lose])
def test_the_newest_good_checkpoint_is_used_with_a_warning(tmp_path, logged, damage):
    with one_device():
        with CheckpointWriter(tmp_path) as checkpoints:
            good = save(checkpoints, 2)
            save(checkpoints, 4)
        damage(tmp_path / "4")
        found = restored(tmp_path)
        assert found.step == 2
        assert_same(found.state, good)
        assert len(logged) == 1 and logged[0].startswith("checkpoint")
        with CheckpointWriter(tmp_path) as checkpoints:
            again = save(checkpoints, 4)
        assert_same(restored(tmp_path).state, again)


def test_checksums_see_a_value_that_the_files_format_would_let_pass(tmp_path, monkeypatch, logged):
    with one_device():
        with CheckpointWriter(tmp_path) as checkpoints:
            save(checkpoints, 1)
            monkeypatch.setattr(
                checkpoint_writer,
                "describe_arrays",
                lambda tree, checksums, real=checkpoint_writer.describe_arrays: real(
                    jax.tree.map(lambda x: x + 1, tree), checksums=checksums
                ),
            )
            save(checkpoints, 2)
            checkpoints.wait()
        monkeypatch.undo()
        assert restored(tmp_path).step == 1
        assert "checksum" in " ".join(logged)


def test_when_none_is_whole_the_user_is_told(tmp_path):
    with one_device():
        with CheckpointWriter(tmp_path) as checkpoints:
            save(checkpoints, 1)
        cut(tmp_path / "1")
        with pytest.raises(UserError, match="none of the 1 checkpoints"):
            restored(tmp_path)


def test_a_checkpoint_of_another_model_is_no_damage(tmp_path):
    with one_device():
        with CheckpointWriter(tmp_path) as checkpoints:
            save(checkpoints, 1)
        with pytest.raises(UserError, match=r"params/embedding is float32\[16, 8\] there"):
            restored(tmp_path, lambda: make_state(width=12))


def test_a_save_that_fails_leaves_the_last_one(tmp_path, monkeypatch):
    with one_device():
        checkpoints = CheckpointWriter(tmp_path, keep_last=1)
        good = save(checkpoints, 1)
        checkpoints.wait()
        real = type(checkpoints._manager).wait_until_finished

        def full(manager):
            real(manager)
            shutil.rmtree(tmp_path / "2", ignore_errors=True)
            raise ValueError("RESOURCE_EXHAUSTED: No space left on device [os_error_code='28']")

        monkeypatch.setattr(type(checkpoints._manager), "wait_until_finished", full)
        with pytest.raises(UserError, match="No space left on device"):
            checkpoints.wait()
        monkeypatch.undo()
        assert_same(restored(tmp_path).state, good)


def test_the_record_is_plain_json(tmp_path):
    with one_device(), CheckpointWriter(tmp_path) as checkpoints:
        save(checkpoints, 1)
    body = json.loads((tmp_path / "1" / "run" / "metadata").read_text())
    assert body["step"] == 1 and body["run"] == {"tasks": ["a"]}
    assert body["arrays"]["params/embedding"][:2] == ["float32", [16, 8]]


@pytest.mark.multidevice
@pytest.mark.parametrize(("before", "after"), [((2, 2, 2), (1, 8, 1)), ((1, 1, 1), (2, 1, 4))])
def test_it_restores_on_another_mesh(tmp_path, before, after):
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    count = int(np.prod(before))
    mesh = make_mesh(*before, devices=jax.devices()[:count])
    with jax.set_mesh(mesh), CheckpointWriter(tmp_path) as checkpoints:
        state = jax.device_get(save(checkpoints, 1))
    with jax.set_mesh(make_mesh(*after)):
        found = restored(tmp_path)
        assert_same(jax.device_get(found.state), state)
        wanted = jax.tree.map(lambda x: x.sharding.spec, jax.jit(make_state)())
        assert jax.tree.map(lambda x: x.sharding.spec, found.state) == wanted


def params_of(make=make_state):
    return jax.eval_shape(make).params


@pytest.fixture
def run_folder(tmp_path):
    """A run's folder with checkpoints of steps 1 and 2."""
    with one_device(), CheckpointWriter(tmp_path / "checkpoints") as checkpoints:
        save(checkpoints, 1)
        save(checkpoints, 2)
    return tmp_path


def test_parameters_load_from_a_run_its_checkpoints_or_one_of_them(run_folder):
    with one_device():
        folder = run_folder / "checkpoints"
        for source, step in ((run_folder, 2), (folder, 2), (folder / "1", 1)):
            opened = open_checkpoint(source, params=params_of())
            assert_same(opened.params, make_state(step).params)
            assert opened.missing == () and opened.state is None
            assert opened.step == step and opened.run == {"tasks": ["a"]}


def test_damaged_parameters_give_way_to_older_ones(run_folder, logged):
    flip(run_folder / "checkpoints" / "2")
    with one_device():
        opened = open_checkpoint(run_folder, params=params_of())
        assert_same(opened.params, make_state(1).params)
        assert opened.step == 1, "the step is that of the parameters, not of the damaged checkpoint"
        assert [folder.name for folder in opened.damaged] == ["2"]
    assert "damaged" in " ".join(logged)


def other_model(seed=0):
    """Has a head that the checkpoints lack, and lacks their embedding."""
    params = {"layers": make_state(seed).params["layers"], "head": jnp.full((3, 4), 0.5)}
    return TrainState(jnp.int32(0), params, {}, {})


def test_missing_parameters_are_named_or_filled(run_folder):
    with one_device():
        with pytest.raises(UserError, match=r"embedding is float32\[16, 8\] there and absent here"):
            open_checkpoint(run_folder, params=params_of(other_model))
        opened = open_checkpoint(
            run_folder, params=params_of(other_model), fill=lambda: other_model(9).params
        )
    params = opened.params
    assert opened.missing == ("head",)
    assert_same(params["head"], np.full((3, 4), 0.5, np.float32))
    assert_same(params["layers"], make_state(2).params["layers"])


def test_a_parameter_of_another_shape_is_never_filled(run_folder):
    with (
        one_device(),
        pytest.raises(UserError, match=r"\[16, 8\] there and float32\[16, 12"),
    ):
        open_checkpoint(
            run_folder,
            params=params_of(lambda: make_state(width=12)),
            fill=lambda: make_state(width=12).params,
        )


def test_a_folder_without_checkpoints_is_said_to_be_one(tmp_path):
    with pytest.raises(UserError, match="there is no checkpoint in"):
        open_checkpoint(tmp_path, params={})
    with pytest.raises(UserError, match="there is no checkpoint in"):
        open_checkpoint(tmp_path / "nowhere")


def test_frozen_parameters_are_kept_beside_the_trained_ones(tmp_path):
    def state_of(seed=3):
        params = make_state(seed).params
        declared = {"layers": DECLARED["layers"]}
        optimizer = Adafactor(min_dim_size_to_factor=4).build(declared)
        frozen = {"embedding": params["embedding"]}
        return new_state({"layers": params["layers"]}, optimizer, frozen)

    with one_device(), CheckpointWriter(tmp_path) as writer:
        state = state_of()
        writer.save(state, step=3, position=POSITION, run={})
        writer.wait()
        opened = open_checkpoint(tmp_path, state=jax.eval_shape(state_of))
        assert_same(opened.state.params, state.params)
        assert_same(opened.state.frozen, state.frozen)
        assert_same(opened.state.opt_state, state.opt_state)
        assert_same(open_checkpoint(tmp_path, params=params_of()).params, make_state(3).params)


def test_parameters_alone_are_a_checkpoint(tmp_path):
    params = make_state(5).params
    with one_device():
        save_params(tmp_path / "theirs", params, {"model": {"kind": "T5Config"}})
        opened = open_checkpoint(tmp_path / "theirs", params=params_of())
        assert_same(opened.params, params)
        assert (opened.step, opened.position, opened.run["model"]["kind"]) == (0, None, "T5Config")
        with pytest.raises(UserError, match="optimizer"):
            open_checkpoint(tmp_path / "theirs", state=jax.eval_shape(make_state))
        flip(tmp_path / "theirs")
        with pytest.raises(UserError, match="none of the 1 checkpoints"):
            open_checkpoint(tmp_path / "theirs", params=params_of())


def test_parameters_are_read_into_another_float_type(run_folder):
    with one_device():
        halves = params_of(lambda: make_state(2, dtype=jnp.bfloat16))
        opened = open_checkpoint(run_folder, params=halves)
        expected = jax.tree.map(lambda x: x.astype(jnp.bfloat16), make_state(2).params)
        assert_same(opened.params, expected)
        assert opened.params["embedding"].dtype == jnp.bfloat16
