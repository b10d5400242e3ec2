"""The hub's lock, as far as it needs no server: tests/e2e/test_drills.py has the rest."""

from __future__ import annotations

import logging
import threading

import pytest
from swarmhub_hub import lock


def test_each_cluster_has_a_key_of_its_own_that_fits_into_a_bigint() -> None:
    keys = {name: lock.lock_key(name) for name in ("swarmhub", "lab", "lab2")}
    assert keys == {name: lock.lock_key(name) for name in keys}
    assert len(set(keys.values())) == 3
    assert all(-(2**63) <= key < 2**63 for key in keys.values())


def test_a_hub_that_is_cut_off_ends_before_another_begins() -> None:
    assert lock.BEAT + 2 * lock.ANSWER < lock.LEASE


@pytest.mark.parametrize("backend", ["postgresql", "mysql"])
def test_the_server_frees_what_has_been_silent(backend: str) -> None:
    arguments, take = lock._session(backend, "lab")
    assert str(lock.LEASE) in str(arguments)
    assert str(lock.lock_key("lab")) in str(take)


def test_a_database_of_one_file_has_no_lock(caplog: pytest.LogCaptureFixture) -> None:
    lock.hold_lock("sqlite:///:memory:", "lab", logging.getLogger("test"))
    assert lock.NAME not in [thread.name for thread in threading.enumerate()]
