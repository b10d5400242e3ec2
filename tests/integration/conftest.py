"""Three real engines, started once and parted from any swarm before each file of tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import typing as t
from pathlib import Path

import pytest
from engines import CARDS, Host, Hosts, Switch
from swarms import found, join_options, write_image


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Hosts]:
    """Start three engines that are in no swarm; stop them afterwards."""
    if os.geteuid() != 0:
        pytest.fail("the integration tests start Docker engines and must be run as root")
    for program in ("dockerd", "docker", "ip", "nsenter", "unshare"):
        if not shutil.which(program):
            pytest.fail(f"the integration tests need the program {program} (packages docker.io, iproute2, util-linux)")
    folder = tmp_path_factory.mktemp("engines")
    cards = [f"--node-generic-resource=GPU={card}" for card in CARDS]
    with contextlib.ExitStack() as stack:
        switch = stack.enter_context(Switch())
        yield Hosts(
            mgr1=stack.enter_context(Host("mgr1", "10.123.0.11", folder, switch).running()),
            mgr2=stack.enter_context(Host("mgr2", "10.123.0.12", folder, switch).running()),
            gpu1=stack.enter_context(Host("gpu1", "10.123.0.21", folder, switch, cards).running()),
        )


@pytest.fixture(scope="module")
def first(hosts: Hosts) -> dict[str, t.Any]:
    """The swarm, founded on mgr1 and joined by gpu1."""
    founded = found(hosts.mgr1)
    assert founded["changed"]
    assert founded["managers"] == ["10.123.0.11:2377"]
    joined = hosts.gpu1.settle("swarm_member", **join_options(hosts.gpu1, "worker", founded))
    assert joined["changed"]
    assert (joined["role"], joined["cluster_id"]) == ("worker", founded["cluster_id"])
    return founded


@pytest.fixture(scope="session")
def empty_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image without programs, as a file for ``docker import``."""
    archive = tmp_path_factory.mktemp("image") / "empty.tar"
    write_image(archive)
    return archive


@pytest.fixture(scope="session", autouse=True)
def offline() -> t.Iterator[None]:
    """The engines do not look for a registry before each task, which takes them ten seconds here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_SERVICE_PREFER_OFFLINE_IMAGE", "1")
        yield
