"""The learner: the model's form, and the compiled functions over a training state.

    learner = build_learner(T5Config(...), Compute(), TrainConfig(steps=100), num_tasks=3)
    state = learner.init()                       # under the mesh that is set
    state, metrics = learner.step(state, batch)
    learner.model(state)                         # a LanguageModel with the state's parameters

It takes the parts that it reads, not a run: whoever trains something else (a reward model, a
policy) gives another loss.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from flax import nnx

from flanmix.errors import UserError
from flanmix.learn.step import (
    Batch,
    StepMetrics,
    TrainState,
    new_state,
    train_step,
)
from flanmix.model.api import Compute, LanguageModel, ModelConfig
from flanmix.model.lora import is_adapter, with_adapters
from flanmix.model.params import declarations, merge, part_of, split, union
from flanmix.train.settings import EVERYTHING, TrainConfig

PyTree = Any
_ADAPTERS = 17  # folded into the seed, for what new adapters draw


@dataclass(frozen=True)
class Learner:
    """What trains a model.

    Attributes:
        graph: what makes a model of a state's parameters: `merge(graph, params)`.
        base: what makes the model, without adapters, of its own parameters.
        abstract_base: shapes, types and shardings of these.
        abstract: the state's shapes, types and shardings.
        init: makes the state of a new run.
        start: makes the state of a new run from given parameters, all of the base.
        step: (state, batch) -> (state, metrics); takes the old state's memory.
    """

    graph: nnx.GraphDef
    base: nnx.GraphDef
    abstract_base: PyTree
    abstract: TrainState
    init: Callable[[], TrainState]
    start: Callable[[PyTree], TrainState]
    step: Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]

    @property
    def abstract_params(self) -> PyTree:
        """Shapes, types and shardings of all parameters, trained and frozen."""
        return params_of(self.abstract)

    def model(self, state: TrainState) -> LanguageModel:
        """Returns the model with a state's parameters."""
        return merge(self.graph, params_of(state))


def params_of(state: TrainState) -> PyTree:
    """Returns all parameters of a state, trained and frozen."""
    return union(state.params, state.frozen)


def build_learner(
    config: ModelConfig, compute: Compute, train: TrainConfig, *, num_tasks: int
) -> Learner:
    """Builds model, optimizer and step; computes nothing.

    Args:
        config: the model.
        compute: how it computes.
        train: optimizer, schedule, loss, and which parameters are trained.
        num_tasks: tasks of the mixture, whose figures are kept apart.

    Raises:
        UserError: `train.trainable` matches no parameter.
    """
    trainable = trained_paths(train)
    key = jax.random.key(train.seed)
    base, abstract_base, _ = split(jax.eval_shape(lambda rng: config.init(rng, compute), key))

    adapted = _adapting(train)
    model = jax.eval_shape(lambda rng: adapted(config.init(rng, compute)), key)
    graph, trained, _ = split(model, trainable)
    if not jax.tree.leaves(trained):
        raise UserError(f"TrainConfig.trainable is {train.trainable!r}: it matches no parameter")
    optimizer = train.optimizer.build(part_of(declarations(model), trained))

    def loss_fn(params: PyTree, batch: Batch, rng: jax.Array) -> Any:
        dropout_rng = rng if config.dropout_rate else None
        model = merge(graph, params)
        return train.loss(model, batch, dropout_rng=dropout_rng, num_tasks=num_tasks)

    def state_of(model: LanguageModel) -> TrainState:
        _, params, frozen = split(model, trainable)
        return new_state(params, optimizer, frozen)

    def init() -> TrainState:
        return state_of(adapted(config.init(jax.random.key(train.seed), compute)))

    def start(params: PyTree) -> TrainState:
        return state_of(adapted(merge(base, params)))

    step = partial(
        train_step,
        loss_fn=loss_fn,
        optimizer=optimizer,
        schedule=train.schedule,
        seed=train.seed,
        microbatches=train.microbatches,
    )
    # Run once, these are not worth optimising: on a CPU that would take longer than the first step.
    once = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
    return Learner(
        graph,
        base,
        abstract_base,
        jax.eval_shape(init),
        jax.jit(init, compiler_options=once),
        jax.jit(start, compiler_options=once),
        jax.jit(step, donate_argnums=0),
    )


def _adapting(train: TrainConfig) -> Callable[[LanguageModel], LanguageModel]:
    """Returns what gives a new model the adapters of a run, if it has any."""

    def adapted(model: LanguageModel) -> LanguageModel:
        if train.lora is None:
            return model
        return with_adapters(model, train.lora, jax.random.fold_in(key, _ADAPTERS))

    key = jax.random.key(train.seed)
    return adapted


def trained_paths(train: TrainConfig) -> Callable[[str], bool]:
    """Returns whether a parameter, by its path, is trained.

    Raises:
        UserError: `train.trainable` is no regular expression.
    """
    matches = trainable_filter(train.trainable)
    if train.lora is None:
        return matches
    if train.trainable == EVERYTHING:
        return is_adapter
    return lambda path: is_adapter(path) or matches(path)


def trainable_filter(pattern: str) -> Callable[[str], bool]:
    """Returns whether a parameter, by its path such as `decoder/mlp/wo/kernel`, is trained.

    Raises:
        UserError: the pattern is no regular expression.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"TrainConfig.trainable is {pattern!r}: no regular expression ({error})"
        ) from None
    return lambda path: compiled.match(path) is not None
