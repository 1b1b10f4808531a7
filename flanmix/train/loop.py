"""The training loop: steps, metrics, evaluations and checkpoints in their order.

    end = train_loop(context, state, start=0, events=events)
    end.step, end.finished, end.not_evaluated       # reached, and saved

Step N is handed to the devices before the metrics of step N-1 are read, so that the devices never
wait for the host. A checkpoint of step N holds the position of the data after the batch of step N,
and is written when that step's loss is known to be a number, before the step is evaluated. An
evaluation that fails is said, and training goes on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from flanmix.console import warn
from flanmix.data.loader import global_batch
from flanmix.errors import UserError
from flanmix.learn.checkpoint_writer import CheckpointWriter
from flanmix.learn.integrity import reason_of, saved_steps
from flanmix.learn.step import StepMetrics, TrainState
from flanmix.model.api import LanguageModel
from flanmix.model.sharding import batch_sharding
from flanmix.train import hosts
from flanmix.train.data import Data
from flanmix.train.events import Events, NotFinite, StepInfo, positions
from flanmix.train.learner import Learner
from flanmix.train.scoring import EvalRunner


@dataclass(frozen=True)
class TrainContext:
    """All that the loop needs and that does not change.

    Attributes:
        steps: updates in all.
        checkpoint_every: steps between checkpoints; 0 for the last one only.
        learner: what trains.
        data: where batches come from.
        writer: writes checkpoints.
        evals: the evaluations.
        before: makes the model as it was before the first step, to be scored too; None if not.
        preemption: whether the run is asked to end.
        record: the run record, which every checkpoint holds.
    """

    steps: int
    checkpoint_every: int
    learner: Learner
    data: Data
    writer: CheckpointWriter
    evals: EvalRunner
    before: Callable[[], LanguageModel] | None
    preemption: hosts.Preemption
    record: Mapping[str, Any]


@dataclass(frozen=True)
class PendingStep:
    """A step that the devices were given.

    Attributes:
        info: what the host knows of it.
        position: of the data after its batch.
        metrics: what will come back.
    """

    info: StepInfo
    position: np.ndarray
    metrics: StepMetrics


@dataclass(frozen=True)
class End:
    """How training ended.

    Attributes:
        step: the step that was reached, and is saved.
        finished: whether all steps are made; if not, the run was asked to end.
        not_evaluated: steps whose evaluation failed.
    """

    step: int
    finished: bool
    not_evaluated: tuple[int, ...] = ()


def train_loop(context: TrainContext, state: TrainState, start: int, events: Events) -> End:
    """Trains from `start` to the last step."""
    step, saved = start, start if start else None
    position = context.data.loader.state()
    pending: PendingStep | None = None
    failed: list[int] = []
    if context.evals.due(step):  # stopped between a step and its evaluation, or without any steps
        if saved is None:
            _save(context, events, state, step, position)
            saved = step
        failed += _evaluate(context, events, state, step)
    while step < context.steps and not context.preemption.asked(step):
        state, dispatched = _dispatch(context, state, step + 1)
        step, position = step + 1, dispatched.position
        if pending is not None:
            _record_metrics(context, events, pending)
        pending = dispatched
        evaluate_now = context.evals.due(step)
        save_now = step == context.steps or _every(context.checkpoint_every, step)
        if evaluate_now or save_now:
            _record_metrics(context, events, pending)
            pending = None
        if save_now:
            _save(context, events, state, step, position)
            saved = step
        if evaluate_now:
            failed += _evaluate(context, events, state, step)
    if pending is not None:
        _record_metrics(context, events, pending)
    if saved != step:
        _save(context, events, state, step, position)
    context.writer.wait()
    left = context.evals.due(step) and step not in failed  # asked to end while it evaluated
    return End(step, step >= context.steps and not left, tuple(failed))


def _dispatch(
    context: TrainContext, state: TrainState, step: int
) -> tuple[TrainState, PendingStep]:
    """Hands the batch of a step to the devices."""
    loader = context.data.loader
    features = next(loader)
    info = StepInfo(
        step=step,
        batch_hash=hosts.shared_hash(features, step),
        epochs=loader.epochs(),
        encoder_positions=positions(features, "encoder_input_tokens"),
        decoder_positions=positions(features, "decoder_input_tokens"),
    )
    rows = batch_sharding(jax.sharding.get_mesh())
    state, metrics = context.learner.step(state, global_batch(features, rows))
    return state, PendingStep(info, loader.state(), metrics)


def _record_metrics(context: TrainContext, events: Events, pending: PendingStep) -> None:
    """Writes down what came back of a step.

    Raises:
        UserError: the loss is no number; names the step, its tasks, and the last good checkpoint.
    """
    try:
        events.write(pending.info, pending.metrics, context.data.mixture.names)
    except NotFinite as error:
        context.writer.wait()
        good = saved_steps(context.writer.directory)
        left = f"the checkpoint of step {good[0]} is good" if good else "no checkpoint was written"
        raise UserError(f"{error}; {left}") from error


def _evaluate(context: TrainContext, events: Events, state: TrainState, step: int) -> list[int]:
    """Evaluates a step, once what was to be saved of it is on disk.

    The model as it was before the first step is evaluated too, if that is wanted and not there.

    Returns:
        the step, if its evaluation failed.
    """
    context.writer.wait()
    failed = []
    try:
        if context.before is not None and step and not context.evals.done(0):
            context.evals.score(context.before(), 0)
        mean = context.evals.score(context.learner.model(state), step)
        if mean is not None:
            events.say(f"step {step}: mean score {mean:.2f}")
    except Exception as error:  # memory, a full disk, whatever: the steps are worth more
        reason = str(error) if isinstance(error, UserError) else reason_of(error)
        warn(f"the evaluation of step {step} failed, and training goes on: {reason}")
        failed.append(step)
    hosts.meet(f"the evaluation of step {step}")
    events.restart_clock()
    return failed


def _save(
    context: TrainContext,
    events: Events,
    state: TrainState,
    step: int,
    position: np.ndarray,
) -> None:
    """Starts to write the checkpoint of a step whose metrics have been recorded."""
    events.sync()
    context.writer.save(state, step=step, position=hosts.gather(position), run=context.record)


def _every(period: int, step: int) -> bool:
    return bool(period) and step % period == 0
