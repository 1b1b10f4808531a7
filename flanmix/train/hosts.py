"""Several hosts: joining them, sharing what each knows, and ending together.

One process a host runs the same command. They join where a gin file says so (`Run.multi_host`), or
where the environment names several TPU workers or a coordinator:

    JAX_COORDINATOR_ADDRESS=10.0.0.1:8476 JAX_NUM_PROCESSES=4 JAX_PROCESS_ID=0 flanmix train ...

On one host everything here does nothing, or returns what it was given. Small things (digests of a
batch, an error of the first host) go through the key-value store of the service that joins the
processes, and not over the devices: those would have to finish the step in flight first.
"""

import itertools
import os
import signal
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from flanmix.data.batch_hash import joined_hash, row_digests
from flanmix.data.packing import Features
from flanmix.errors import UserError

_PATIENCE_MS = 600_000  # of one host for another; a host that died ends the others much sooner
_calls = itertools.count()  # all hosts make the same calls in the same order


def join(multi_host: bool | None) -> None:
    """Joins the processes of all hosts, before anything asks for devices.

    Args:
        multi_host: True or False to do so or not; None to look at the environment.

    Raises:
        UserError: there are no other hosts that JAX could find.
    """
    coordinator = os.environ.get("JAX_COORDINATOR_ADDRESS")
    workers = os.environ.get("TPU_WORKER_HOSTNAMES", "")
    if multi_host is None:
        multi_host = bool(coordinator) or "," in workers
    if not multi_host or jax.distributed.is_initialized():
        return
    try:
        if coordinator and "JAX_NUM_PROCESSES" in os.environ:
            jax.distributed.initialize(
                coordinator,
                num_processes=int(os.environ["JAX_NUM_PROCESSES"]),
                process_id=int(os.environ["JAX_PROCESS_ID"]),
            )
        else:
            jax.distributed.initialize()  # TPU pods and clusters that JAX knows tell it everything
    except (KeyError, ValueError, RuntimeError) as error:
        reason = f"{error} is not set" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"this machine can't join others, as the run asks for ({reason.strip().rstrip('.')}): "
            "off a pod choose the file of gin/hardware/ for this machine, such as "
            "gin/hardware/default.gin; on a cluster set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES "
            "and JAX_PROCESS_ID for each process"
        ) from error


def gather(array: np.ndarray) -> np.ndarray:
    """Returns the arrays of all hosts, joined along the first axis in the hosts' order."""
    if jax.process_count() == 1:
        return array
    from jax.experimental import multihost_utils

    # As bytes: JAX would truncate 64-bit numbers.
    data = np.ascontiguousarray(array).view(np.uint8)
    everywhere = np.asarray(multihost_utils.process_allgather(data))
    return everywhere.reshape(-1, *data.shape[1:]).view(array.dtype)


def shared_hash(features: Features, step: int) -> Callable[[], str]:
    """Shares the digests of this host's rows of a batch, and waits for nothing.

    Args:
        features: this host's rows.
        step: the step whose batch it is.

    Returns:
        what gives the hash of the global batch on the first host, which writes it down; to be
        called once, a step later at best, when the other hosts' digests are long there. On the
        other hosts it gives the hash of their own rows.
    """
    own = b"".join(row_digests(features))
    number, count = jax.process_index(), jax.process_count()
    if number:
        _service().key_value_set_bytes(_digests_key(step, number), own, allow_overwrite=True)

    def joined() -> str:
        parts = [own]
        for other in range(1, count) if number == 0 else ():
            key = _digests_key(step, other)
            parts.append(_service().blocking_key_value_get_bytes(key, _PATIENCE_MS))
            _service().key_value_delete(key)
        return joined_hash(parts)

    return joined


def _digests_key(step: int, host: int) -> str:
    return f"flanmix/batch/{step}/{host}"


def first_host_does(work: Callable[[], None]) -> None:
    """Does something on the first host; where that is the user's mistake, all hosts end with it.

    Raises:
        UserError: what `work` raised.
    """
    if jax.process_count() == 1:
        return work()
    key = f"flanmix/first/{next(_calls)}"
    if jax.process_index() == 0:
        try:
            work()
        except UserError as error:
            _service().key_value_set(key, f"refused {error}")
            raise
        _service().key_value_set(key, "done")
    elif (answer := _service().blocking_key_value_get(key, _PATIENCE_MS)) != "done":
        raise UserError(answer.removeprefix("refused "))
    return None


def meet(what: str) -> None:
    """Waits until every host is here.

    Raises:
        UserError: one does not come, since it is still at `what` or has ended.
    """
    if jax.process_count() == 1:
        return
    try:
        _service().wait_at_barrier(f"flanmix/meet/{next(_calls)}", _PATIENCE_MS)
    except RuntimeError as error:
        raise UserError(
            f"{what} failed on one host and not on another, which still waits for it: run the same "
            "command again"
        ) from error


def _service() -> Any:
    """The service's client: JAX has no public name for it, and Orbax takes it from here too."""
    from jax._src import distributed

    return distributed.global_state.client


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
