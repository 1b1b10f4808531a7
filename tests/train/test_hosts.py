"""What hosts share through the service that joins them: the batch's hash, an error, a meeting."""

import jax
import numpy as np
import pytest

from flanmix.data.batch_hash import batch_hash
from flanmix.errors import UserError
from flanmix.train import hosts

ROWS = 8
BATCH = {
    "decoder_input_tokens": np.arange(ROWS * 5, dtype=np.int32).reshape(ROWS, 5) ** 2,
    "encoder_input_tokens": np.arange(ROWS * 3, dtype=np.int32).reshape(ROWS, 3),
}


class Service:
    """A key-value store that never waits, and counts what is asked of it."""

    def __init__(self):
        self.values, self.calls = {}, []

    def key_value_set_bytes(self, key, value, allow_overwrite=False):
        self.calls.append("set")
        self.values[key] = value

    key_value_set = key_value_set_bytes

    def blocking_key_value_get_bytes(self, key, timeout):
        self.calls.append("get")
        return self.values[key]

    blocking_key_value_get = blocking_key_value_get_bytes

    def key_value_delete(self, key):
        del self.values[key]

    def wait_at_barrier(self, name, timeout):
        raise RuntimeError("DEADLINE_EXCEEDED: barrier timed out")


@pytest.fixture
def on_host(monkeypatch):
    """Returns a function that makes this process one of several hosts, and their service."""
    service = Service()
    monkeypatch.setattr(hosts, "_service", lambda: service)

    def become(number, count):
        monkeypatch.setattr(jax, "process_index", lambda: number)
        monkeypatch.setattr(jax, "process_count", lambda: count)
        return service

    return become


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_hash_of_a_batch_is_the_same_on_any_number_of_hosts_and_waits_for_none(on_host, count):
    joined = []
    for number in range(count):  # the first host's is asked for before the others have sent theirs
        service = on_host(number, count)
        rows = slice(number * ROWS // count, (number + 1) * ROWS // count)
        part = {name: array[rows] for name, array in BATCH.items()}
        joined.append(hosts.shared_hash(part, step=3))
    assert service.calls == ["set"] * (count - 1)
    on_host(0, count)
    assert joined[0]() == batch_hash(BATCH)
    assert not service.values  # nothing piles up over a run's steps


def test_a_mistake_that_the_first_host_finds_ends_all(on_host, monkeypatch):
    def refuse():
        raise UserError("RUN_DIR a is taken")

    for number in range(2):
        on_host(number, 2)
        monkeypatch.setattr(hosts, "_calls", iter([7]))
        with pytest.raises(UserError, match=r"^RUN_DIR a is taken$"):
            hosts.first_host_does(refuse if number == 0 else pytest.fail)


def test_a_host_that_does_not_come_is_one_line(on_host):
    on_host(0, 2)
    with pytest.raises(UserError, match="the evaluation of step 4 failed on one host and not"):
        hosts.meet("the evaluation of step 4")
