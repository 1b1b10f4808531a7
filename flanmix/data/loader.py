"""The loader: global batches as a pure function of (mixture, seed, step), on any number of hosts.

    loader = Loader(LoaderConfig(batch_size=32, inputs_length=512, targets_length=64), mixture,
                    Store("store"), load_vocabulary("pocket"))
    batch = next(loader)                # this host's rows of all features, each [rows, length]
    position = loader.state()           # i64[streams of this host, k], of the batch handed out
    arrays = global_batch(batch, batch_sharding(mesh))  # jax.Arrays over all hosts

The mixture is divided into a fixed number of logical streams (`streams`). A global batch is stream
0's rows, stream 1's rows, and so on; a host owns a block of them. The states of all streams, in
order, restore the loader on any number of hosts that divides the streams:

    Loader(..., process_index=1, process_count=2).restore(states_of_all_streams)

A thread works ahead of the training step. The features are listed in `packing`.
"""

import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grain
import numpy as np
from grain.experimental import ThreadPrefetchIterDataset
from jaxtyping import Int64

from flanmix.data.chat.format import ChatFormat
from flanmix.data.examples import TRAIN, ExampleReader
from flanmix.data.packing import Features
from flanmix.data.separator import separator_of
from flanmix.data.store.store import Store
from flanmix.data.streams import HostRows, Stream, check_states
from flanmix.data.tokens import Architecture, Lengths
from flanmix.data.vocabulary import Vocabulary
from flanmix.errors import UserError
from flanmix.registry.mixture import Mixture

if TYPE_CHECKING:
    import jax

# S: streams; K: numbers in a stream's state.

_MOST_STREAMS = 16
_BATCHES_AHEAD = 2


@dataclass(frozen=True)
class LoaderConfig:
    """What decides the batches, beside the mixture.

    Attributes:
        batch_size: rows of the global batch.
        inputs_length: tokens of an input row.
        targets_length: tokens of a target row; a decoder-only row has the sum of both.
        seed: the run's seed.
        streams: logical streams; divides batch_size. Left out: gcd(batch_size, 16).
        architecture: `encoder_decoder`, `causal` or `prefix`.
        pack: whether a row may hold several examples.
        separator: text between inputs and targets of a decoder-only row; None for a newline, and
            for encoder-decoder, which has none.

    Raises:
        ValueError: for a value out of its range.
    """

    batch_size: int
    inputs_length: int
    targets_length: int
    seed: int = 0
    streams: int | None = None
    architecture: Architecture = "encoder_decoder"
    pack: bool = True
    separator: str | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}: it must be at least 1")
        if self.num_streams < 1 or self.batch_size % self.num_streams:
            raise ValueError(
                f"streams is {self.streams}: it must divide batch_size {self.batch_size}"
            )
        _ = self.lengths

    @property
    def num_streams(self) -> int:
        """The number of logical streams."""
        return math.gcd(self.batch_size, _MOST_STREAMS) if self.streams is None else self.streams

    @property
    def lengths(self) -> Lengths:
        """The row's lengths."""
        separator = separator_of(self.architecture, self.separator)
        return Lengths(self.inputs_length, self.targets_length, self.architecture, separator)


class Loader:
    """An endless iterator of this host's rows of each global batch.

    Args:
        config: see LoaderConfig.
        mixture: the resolved mixture.
        store: where its tasks have been prepared.
        vocabulary: the vocabulary.
        split: the split that examples are drawn from.
        chat: the chat format that records are put in; None for plain text.
        process_index: this host.
        process_count: how many hosts there are; divides the streams.

    Raises:
        UserError: if the hosts do not divide the streams, or a task has not been prepared.
    """

    def __init__(
        self,
        config: LoaderConfig,
        mixture: Mixture,
        store: Store,
        vocabulary: Vocabulary,
        *,
        split: str = TRAIN,
        chat: ChatFormat | None = None,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        streams = config.num_streams
        if streams % process_count:
            raise UserError(
                f"{streams} streams cannot be shared by {process_count} hosts: set STREAMS to a "
                f"multiple of {process_count} that divides BATCH_SIZE={config.batch_size}"
            )
        self.config = config
        self.mixture = mixture
        self._reader = ExampleReader(
            mixture,
            store,
            vocabulary,
            config.lengths,
            split=split,
            seed=config.seed,
            chat=chat,
        )
        share = streams // process_count
        self._own = slice(process_index * share, (process_index + 1) * share)
        numbers = range(streams)[self._own]
        own = [Stream(self._reader, number, streams, config.pack) for number in numbers]
        rows = HostRows(own, config.batch_size // streams)
        ahead = ThreadPrefetchIterDataset(rows, prefetch_buffer_size=_BATCHES_AHEAD)
        self._open = [iter(ahead)]
        # At the interpreter's end too, while the libraries that the thread uses are still there.
        self._finalizer = weakref.finalize(self, _close, self._open)

    def __iter__(self) -> "Loader":
        return self

    def __next__(self) -> Features:
        """This host's rows of the next global batch; raises UserError for a corrupt store."""
        return next(self._iterator)

    def state(self) -> Int64[np.ndarray, "S K"]:
        """Position after the last batch handed out: the states of this host's streams."""
        return self._iterator.get_state()["streams"].copy()

    def restore(self, states: Int64[np.ndarray, "S K"]) -> None:
        """Goes to a position.

        Args:
            states: `state()` of all hosts, joined in order: the states of all streams.

        Raises:
            UserError: if it is the position of a run with another number of streams.
        """
        states = check_states(states, self.config.num_streams)
        self._iterator.set_state({"streams": states[self._own]})

    def epochs(self) -> dict[str, float]:
        """Epochs of each task so far, over all hosts.

        Exact at whole windows of the order of samples; between them, and while streams are apart
        by a few rows, it is off by a few samples.
        """
        states = self.state()
        drawn = int(states[:, 0].sum() - (states[:, 1:] >= 0).sum())
        drawn = drawn * self.config.num_streams // len(states)
        order = self._reader.order
        counts = order.counts(drawn)
        return {
            name: int(count) / size
            for name, count, size in zip(order.names, counts, order.sizes, strict=True)
        }

    def close(self) -> None:
        """Ends the thread that works ahead; the loader cannot be used any more."""
        self._finalizer()

    @property
    def _iterator(self) -> grain.DatasetIterator[Features]:
        if not self._open:
            raise ValueError("the loader is closed")
        return self._open[0]


def _close(iterators: list[grain.DatasetIterator[Features]]) -> None:
    """Stops the thread that works ahead, and lets go of its iterator."""
    iterators.pop().close()


def global_batch(
    features: Mapping[str, np.ndarray], sharding: "jax.sharding.NamedSharding"
) -> "dict[str, jax.Array]":
    """Makes the global batch of all hosts' rows.

    Args:
        features: this host's rows.
        sharding: how rows lie on the devices (`model.sharding.batch_sharding`).

    Raises:
        ValueError: if the devices cannot share the rows evenly.
    """
    import jax

    return {
        name: jax.make_array_from_process_local_data(sharding, values)
        for name, values in features.items()
    }
