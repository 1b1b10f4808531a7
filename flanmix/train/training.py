"""A training run from top to bottom.

    mesh -> data -> learner -> restore -> loop -> last checkpoint and evaluation

    end = train(run, text)         # text: the configuration, which RUN_DIR and checkpoints keep

Run again, it goes on where the last checkpoint was written: parameters and optimizer come from the
newest complete checkpoint of RUN_DIR, else parameters from INITIALIZE_FROM, else all is new.
"""

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from flanmix.console import say
from flanmix.convert.folder import is_pretrained
from flanmix.data.vocabulary import Vocabulary, load_vocabulary
from flanmix.errors import UserError
from flanmix.evaluate.evaluator import with_seen
from flanmix.learn.checkpoint import newest_record, open_checkpoint, set_aside
from flanmix.learn.checkpoint_writer import CheckpointWriter
from flanmix.learn.integrity import saved_steps
from flanmix.learn.step import TrainState
from flanmix.model.api import LanguageModel
from flanmix.model.params import merge
from flanmix.train import hosts
from flanmix.train.changes import changed, confirm
from flanmix.train.data import open_data
from flanmix.train.events import Events
from flanmix.train.files import CHECKPOINTS
from flanmix.train.initial import INHERITED, check_rows, declared, initial_parameters
from flanmix.train.learner import Learner, build_learner
from flanmix.train.loop import End, TrainContext, train_loop
from flanmix.train.replicated import check_replicated
from flanmix.train.run_lock import locked
from flanmix.train.run_record import check_unchanged, run_record, seen_elsewhere, write_config
from flanmix.train.scoring import EvalRunner, configured_tasks
from flanmix.train.settings import Run
from flanmix.train.trained import as_trained, at_hand
from flanmix.train.truncated import say_truncation

PyTree = Any


def train(run: Run, text: str) -> End:
    """Trains to the last step, or until the run is asked to end; what was reached is saved.

    Args:
        run: the run.
        text: its configuration as a gin file.

    Returns:
        The step that was reached, and what failed on the way.

    Raises:
        UserError: anything that the user can mend, before anything is computed where possible.
    """
    run = as_trained(run, newest_record(run.folder / CHECKPOINTS))
    if run.train is None:
        raise UserError("the run has nothing to train with: Run.train is None")
    run.check_devices(jax.device_count(), jax.process_count())
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(run.mesh.build()))
        preemption = stack.enter_context(hosts.Preemption())
        at = at_hand(run.data.vocabulary, run.folder)
        source = run.checkpoints.initialize_from
        if source is not None and is_pretrained(source):
            check_rows(load_vocabulary(at), run.model, source)
        data = open_data(dataclasses.replace(run.data, vocabulary=at), run.model)
        stack.callback(data.loader.close)
        learner = build_learner(
            run.model, run.compute, run.train, num_tasks=len(data.mixture.tasks)
        )
        check_replicated(run.mesh, learner.abstract_params)
        # A name that is unknown is found before anything is computed.
        tasks = configured_tasks(run.data, run.evaluation, data.store)
        hosts.first_host_does(lambda: stack.enter_context(locked(run.folder)))
        start = find_start(run, learner)
        record = run_record(run, data, text, declared(start.inherited, run.checkpoints))
        earlier = None
        if start.run is not None and start.position is not None:
            check_unchanged(start.run, record, run.folder)
            if changes := changed(start.run, run, start.step):
                confirm(changes, run, start.step)
                earlier = start.step, start.run["configuration"]
            data.loader.restore(start.position)
        tasks = with_seen(tasks, record["trained"], seen_elsewhere(record))
        evals = EvalRunner(run, tasks, data.store, data.vocabulary, preemption, data.chat)
        write_config(run.folder, text, earlier)
        say_truncation(run.folder, data, run.loader)
        evals.drop_scores_after(start.step)
        context = TrainContext(
            steps=run.train.steps,
            checkpoint_every=run.checkpoints.every,
            learner=learner,
            data=data,
            writer=stack.enter_context(_writer(run, evals, data.vocabulary)),
            evals=evals,
            before=(lambda: first_model(run, learner)) if run.evaluation.before else None,
            preemption=preemption,
            record=record,
        )
        with Events(run.folder, step=start.step, steps=run.train.steps) as events:
            return train_loop(context, start.state, start.step, events)


def _writer(run: Run, evals: EvalRunner, vocabulary: Vocabulary) -> CheckpointWriter:
    return CheckpointWriter(
        run.folder / CHECKPOINTS,
        keep_last=run.checkpoints.keep_last,
        keep_best=run.checkpoints.keep_best,
        score_of=evals.mean,
        tokenizer=vocabulary.files(),
    )


# ---- where a run starts ------------------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """Where a run starts: from its own checkpoint, from another's parameters, or anew.

    Attributes:
        state: the state before the next step.
        step: updates made.
        position: of the data; None at the beginning.
        run: the run record of the checkpoint that the run goes on from; None at the beginning.
        inherited: what is known of the parameters; see `flanmix.train.initial.INHERITED`.
    """

    state: TrainState
    step: int = 0
    position: np.ndarray | None = None
    run: Mapping[str, Any] | None = None
    inherited: Mapping[str, Any] = field(default_factory=dict)


def find_start(run: Run, learner: Learner) -> Start:
    """Returns where a run starts.

    Raises:
        UserError: no checkpoint of the run is complete, or one is of another model.
    """
    folder = run.folder / CHECKPOINTS
    if saved_steps(folder):
        opened = open_checkpoint(folder, state=learner.abstract, model_of=lambda _: run.model)
        set_aside(opened.damaged)
        say(f"going on from step {opened.step} in {run.folder}")
        assert opened.state is not None
        inherited = {name: opened.run[name] for name in INHERITED if name in opened.run}
        return Start(opened.state, opened.step, opened.position, opened.run, inherited)
    if (initial := initial_parameters(run, learner)) is not None:
        return Start(learner.start(initial.params), inherited=initial.inherited)
    return Start(learner.init())


def first_model(run: Run, learner: Learner) -> LanguageModel:
    """Returns the model as it was before the first step."""
    if (initial := initial_parameters(run, learner)) is not None:
        return merge(learner.base, initial.params)
    return learner.model(learner.init())
