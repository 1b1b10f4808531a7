"""Training in this process, for the tests that look at what a run says and leaves."""

import jax
import pytest

from flanmix import cli


@pytest.fixture
def train(workplace, monkeypatch, capfd):
    """Trains in a run folder with gin bindings; returns the exit code and what was printed."""
    monkeypatch.chdir(workplace.folder)
    monkeypatch.setenv("FLANMIX_TASKS", str(workplace.folder / "tasks"))
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(workplace.folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

    def run(run_dir, *gin):
        capfd.readouterr()
        code = cli.main(["train", *workplace.train_flags(run_dir, *gin)])
        return code, capfd.readouterr()

    yield run
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture
def straight(train, workplace):
    """The lines of a run of six steps that nothing interrupted."""
    if not (workplace.folder / "straight").exists():
        code, said = train("straight")
        assert code == 0, said.err
    return workplace.lines("straight")
