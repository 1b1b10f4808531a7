"""Several hosts: joining them, gathering what each knows, and ending together.

One process a host runs the same command. They join where a gin file says so (`Run.multi_host`), or
where the environment names several TPU workers or a coordinator:

    JAX_COORDINATOR_ADDRESS=10.0.0.1:8476 JAX_NUM_PROCESSES=4 JAX_PROCESS_ID=0 flanmix train ...

On one host everything here does nothing, or returns what it was given.
"""

import os
import signal
import types
from typing import Any

import jax
import numpy as np

from flanmix.data.batch_hash import joined_hash, row_digests
from flanmix.data.packing import Features


def join(multi_host: bool | None) -> None:
    """Joins the processes of all hosts, before anything asks for devices.

    Args:
        multi_host: True or False to do so or not; None to look at the environment.
    """
    coordinator = os.environ.get("JAX_COORDINATOR_ADDRESS")
    workers = os.environ.get("TPU_WORKER_HOSTNAMES", "")
    if multi_host is None:
        multi_host = bool(coordinator) or "," in workers
    if not multi_host or jax.distributed.is_initialized():
        return
    if coordinator and "JAX_NUM_PROCESSES" in os.environ:
        jax.distributed.initialize(
            coordinator,
            num_processes=int(os.environ["JAX_NUM_PROCESSES"]),
            process_id=int(os.environ["JAX_PROCESS_ID"]),
        )
    else:
        jax.distributed.initialize()  # TPU pods and clusters that JAX knows tell it everything


def gather(array: np.ndarray) -> np.ndarray:
    """Returns the arrays of all hosts, joined along the first axis in the hosts' order."""
    if jax.process_count() == 1:
        return array
    from jax.experimental import multihost_utils

    # As bytes: JAX would truncate 64-bit numbers.
    data = np.ascontiguousarray(array).view(np.uint8)
    everywhere = np.asarray(multihost_utils.process_allgather(data))
    return everywhere.reshape(-1, *data.shape[1:]).view(array.dtype)


def global_hash(features: Features) -> str:
    """Returns the hash of the global batch, of which `features` are this host's rows."""
    digests = np.frombuffer(b"".join(row_digests(features)), np.uint8).reshape(-1, 16)
    return joined_hash(row.tobytes() for row in gather(digests))


class Preemption:
    """Whether the run is asked to end: by SIGTERM or SIGINT here, or by a pod's notice to any host.

    with Preemption() as preemption:
        ... preemption.asked(step) ...

    From the first question on, an interruption waits for the next one, so that it never falls into
    the middle of a library's work; a second one does not wait.
    """

    def __init__(self) -> None:
        self._terminated = False
        self._interrupted = False
        self._asking = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Preemption":
        self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)
        # Several hosts must agree on the step: there JAX's own service listens.
        if jax.process_count() == 1:
            self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._terminate)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _terminate(self, number: int, frame: types.FrameType | None) -> None:
        self._terminated = True

    def _interrupt(self, number: int, frame: types.FrameType | None) -> None:
        if self._interrupted or not self._asking:
            raise KeyboardInterrupt
        self._interrupted = True
        os.write(2, b"\nflanmix: ending after this step; interrupt again to end at once\n")

    def asked(self, step: int) -> bool:
        """Returns whether to save after `step` and end; the same on every host.

        Raises:
            KeyboardInterrupt: the run was interrupted, and ends without saving.
        """
        self._asking = True
        if self._interrupted:
            raise KeyboardInterrupt
        if jax.process_count() == 1:
            return self._terminated
        from jax.experimental import multihost_utils

        return multihost_utils.reached_preemption_sync_point(step)
