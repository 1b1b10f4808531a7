"""A training run from top to bottom.

mesh -> data -> model and optimizer -> restore -> loop -> last save and evaluation

Run again, the same command goes on where the last checkpoint was written: parameters and optimizer
come from the newest whole checkpoint of RUN_DIR, else parameters from INITIALIZE_FROM, else all is
new. Step N is handed to the devices before the figures of step N-1 are read, so that they never
wait for the host. A checkpoint of step N holds the position of the data after the batch of step N,
and is written when that step's loss is known to be a number.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from flanmix.console import say
from flanmix.data.loader import Loader, global_batch
from flanmix.data.store.store import Store
from flanmix.data.vocabulary import Vocabulary, load_vocabulary
from flanmix.errors import UserError
from flanmix.learn.checkpoint import Checkpoints, saved_steps
from flanmix.learn.initialize import load_params
from flanmix.learn.step import StepSums, TrainState, new_state, train_step
from flanmix.model.sharding import batch_sharding
from flanmix.registry.catalogue import default_catalogue
from flanmix.registry.mixture import Mixture, resolve
from flanmix.train import hosts
from flanmix.train.events import Events, NotFinite, Told, positions
from flanmix.train.run_record import check_unchanged, prepare_folder, run_record
from flanmix.train.scoring import Scoring, planned
from flanmix.train.settings import Run

PyTree = Any


def train(run: Run, text: str) -> int:
    """Trains; `text` is the run's configuration as a gin file. Returns the step that it reached."""
    run.check_devices(jax.device_count(), jax.process_count())
    with contextlib.ExitStack() as stack:
        # mesh
        stack.enter_context(jax.set_mesh(run.mesh.build()))
        preemption = stack.enter_context(hosts.Preemption())
        # data
        data = open_data(run)
        stack.callback(data.loader.close)
        # model and optimizer
        learner = build_learner(run, data.mixture)
        record = run_record(run, data.mixture, data.absent, data.vocabulary, text)
        wanted = run.evaluation.groups
        tasks = planned(run, data.store, record["trained"]) if wanted else []
        scoring = Scoring(run, tasks, data.store, data.vocabulary, learner.graph, preemption)
        # restore
        prepare_folder(run.folder, text)
        checkpoints = stack.enter_context(
            Checkpoints(
                run.folder / "checkpoints", keep_last=run.keep_last, keep_best=run.keep_best
            )
        )
        state, start = restore(run, learner, data, checkpoints, record)
        scoring.forget_after(start)
        # loop
        trip = Trip(run, learner, data, checkpoints, scoring, preemption, record)
        with Events(run.folder, step=start, steps=run.steps) as events:
            step = loop(trip, state, start, events)
    return step


# ---- data ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Where batches come from; `absent` names the tasks of the mixture that are not prepared."""

    mixture: Mixture
    absent: tuple[str, ...]
    store: Store
    vocabulary: Vocabulary
    loader: Loader


def open_data(run: Run) -> Data:
    """Opens the mixture's prepared tasks.

    Raises:
        UserError: an unknown name, a task that is not prepared, or too small a model's vocabulary.
    """
    catalogue = default_catalogue()
    store = Store(Path(run.store).expanduser())
    spec = catalogue.mixture(run.mixture)
    whole = resolve(spec, catalogue, lambda task: store.count(task, "train"))
    mixture, absent = trained_part(run, whole)
    vocabulary = load_vocabulary(run.vocabulary)
    if run.model.vocab_size < vocabulary.size:
        raise UserError(
            f"{type(run.model).__name__}.vocab_size is {run.model.vocab_size}, and vocabulary "
            f"'{run.vocabulary}' has {vocabulary.size} ids: make it {vocabulary.padded_size}"
        )
    loader = Loader(
        run.loader,
        mixture,
        store,
        vocabulary,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    return Data(mixture, absent, store, vocabulary, loader)


def trained_part(run: Run, whole: Mixture) -> tuple[Mixture, tuple[str, ...]]:
    """Returns the part of a mixture that can be trained on, and the names of what is not prepared.

    Tasks that have no training split at all are for evaluation; they are left out, and said.

    Raises:
        UserError: tasks are not prepared and ALLOW_MISSING is not set, or none is.
    """
    parts = whole.parts()
    prepared, absent = parts.prepared, parts.absent.names
    if names := parts.for_evaluation.names:
        say(f"without a training split, and not trained on: {', '.join(names)}")
    if not absent:
        return prepared, ()
    if run.allow_missing and prepared.tasks:
        say(f"not prepared, and left out: {', '.join(absent)}")
        return prepared, absent
    data_dir = f" --data_dir {run.data_dir}" if run.data_dir else ""
    leave = "; ALLOW_MISSING=True trains without them" if prepared.tasks else ""
    raise UserError(
        f"no training records of {', '.join(absent)} in store {run.store}: "
        f"run flanmix prepare {run.mixture} --store {run.store}{data_dir}{leave}"
    )


# ---- model and optimizer -------------------------------------------------------------------------


@dataclass(frozen=True)
class Learner:
    """The model's form, and the compiled functions over its state.

    Attributes:
        graph: what makes a model of parameters: `nnx.merge(graph, params)`.
        abstract: the state's shapes, types and shardings.
        init: makes the state of a new run.
        start: makes the state of a new run from given parameters.
        step: (state, batch) -> (state, sums); takes the old state's memory.
    """

    graph: nnx.GraphDef
    abstract: TrainState
    init: Callable[[], TrainState]
    start: Callable[[PyTree], TrainState]
    step: Callable[[TrainState, PyTree], tuple[TrainState, StepSums]]


def build_learner(run: Run, mixture: Mixture) -> Learner:
    """Builds model, optimizer and step; computes nothing."""
    optimizer = run.optimizer.build(stacks=run.model.stacks)
    model = jax.eval_shape(run.model.init, jax.random.key(run.seed))
    graph, _ = nnx.split(model, nnx.Param)

    def forward(params: PyTree, batch: PyTree, key: jax.Array) -> jax.Array:
        dropout_key = key if run.model.dropout_rate else None
        return nnx.merge(graph, params)(batch, dropout_key=dropout_key)

    def start(params: PyTree) -> TrainState:
        return new_state(params, optimizer)

    def init() -> TrainState:
        model = run.model.init(jax.random.key(run.seed))
        return start(nnx.to_pure_dict(nnx.split(model, nnx.Param)[1]))

    step = partial(
        train_step,
        forward=forward,
        optimizer=optimizer,
        schedule=run.schedule,
        loss=run.loss,
        num_tasks=len(mixture.tasks),
        seed=run.seed,
        microbatches=run.microbatches,
    )
    # Run once, these are not worth optimising: on a CPU that would take longer than the first step.
    once = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
    return Learner(
        graph,
        jax.eval_shape(init),
        jax.jit(init, compiler_options=once),
        jax.jit(start, compiler_options=once),
        jax.jit(step, donate_argnums=0),
    )


# ---- restore -------------------------------------------------------------------------------------


def restore(
    run: Run, learner: Learner, data: Data, checkpoints: Checkpoints, record: dict[str, Any]
) -> tuple[TrainState, int]:
    """Returns the state to go on from, and its step: of this run, of another, or new."""
    found = checkpoints.restore(learner.abstract)
    if found is not None:
        check_unchanged(found.run, record, run.folder)
        data.loader.restore(found.position)
        say(f"going on from step {found.step} in {run.folder}")
        return found.state, found.step
    if run.initialize_from is not None:
        return learner.start(initial_params(run, learner)), 0
    return learner.init(), 0


def initial_params(run: Run, learner: Learner) -> PyTree:
    """Returns the parameters before the first step."""
    if run.initialize_from is None:
        return learner.init().params
    fill = (lambda: learner.init().params) if run.allow_missing else None
    params, missing = load_params(Path(run.initialize_from), learner.abstract.params, fill=fill)
    new = f"; new: {', '.join(missing)}" if missing else ""
    say(f"parameters from {run.initialize_from}{new}")
    return params


# ---- loop ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trip:
    """All that the loop needs and that does not change."""

    run: Run
    learner: Learner
    data: Data
    checkpoints: Checkpoints
    scoring: Scoring
    preemption: hosts.Preemption
    record: dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """A step that the devices were given: what the host knows of it, and what will come back."""

    told: Told
    position: np.ndarray  # of the data after this step's batch
    sums: StepSums


def loop(trip: Trip, state: TrainState, start: int, events: Events) -> int:
    """Trains from `start` to the last step; returns the step that was reached, and is saved."""
    run, step, saved = trip.run, start, start if start else None
    position = trip.data.loader.state()
    unread: Sent | None = None
    if trip.scoring.due(step):  # ended between a step and its evaluation, the run was
        score(trip, events, state, step)
    while step < run.steps and not trip.preemption.asked(step):
        state, sent = send(trip, state, step + 1)
        step, position = step + 1, sent.position
        if unread is not None:
            read(trip, events, unread)
        unread = sent
        scored, pause = trip.scoring.due(step), _every(run.checkpoint_every, step)
        if scored or pause:
            read(trip, events, unread)
            unread = None
        mean = score(trip, events, state, step) if scored else None
        if pause:
            save(trip, events, state, step, position, mean)
            saved = step
    if unread is not None:
        read(trip, events, unread)
    if saved != step:
        save(trip, events, state, step, position, trip.scoring.mean(step))
    trip.checkpoints.wait()
    return step


def send(trip: Trip, state: TrainState, step: int) -> tuple[TrainState, Sent]:
    """Hands the batch of a step to the devices, and waits for nothing."""
    loader = trip.data.loader
    features = next(loader)
    told = Told(
        step=step,
        batch_hash=hosts.global_hash(features),
        epochs=loader.epochs(),
        encoder_positions=positions(features, "encoder_input_tokens"),
        decoder_positions=positions(features, "decoder_input_tokens"),
    )
    rows = batch_sharding(jax.sharding.get_mesh())
    state, sums = trip.learner.step(state, global_batch(features, rows))
    return state, Sent(told, loader.state(), sums)


def read(trip: Trip, events: Events, sent: Sent) -> None:
    """Writes down what came back of a step.

    Raises:
        UserError: the loss is no number; names the step, its tasks, and the last good checkpoint.
    """
    try:
        events.write(sent.told, sent.sums, trip.data.mixture.names)
    except NotFinite as error:
        trip.checkpoints.wait()
        good = saved_steps(trip.checkpoints.directory)
        left = f"the checkpoint of step {good[0]} is good" if good else "no checkpoint was written"
        raise UserError(f"{error}; {left}") from error


def score(trip: Trip, events: Events, state: TrainState, step: int) -> float | None:
    """Evaluates, also the model as it was before the first step if that is wanted and not there."""
    if trip.run.evaluation.before and step and not trip.scoring.done(0):
        trip.scoring.score(initial_params(trip.run, trip.learner), 0)
    mean = trip.scoring.score(state.params, step)
    if mean is not None:
        events.say(f"step {step}: mean score {mean:.2f}")
    events.restart_clock()
    return mean


def save(
    trip: Trip,
    events: Events,
    state: TrainState,
    step: int,
    position: np.ndarray,
    mean: float | None,
) -> None:
    """Starts to write the checkpoint of a step whose figures have been read."""
    events.sync()
    trip.checkpoints.save(
        state, step=step, position=hosts.gather(position), run=trip.record, score=mean
    )


def _every(period: int, step: int) -> bool:
    return bool(period) and step % period == 0
