"""Who reaches what on a lab that is up, and what a notebook gets besides: the promises on networks and homes."""

from __future__ import annotations

import json
import shlex
import textwrap
import typing as t

import pytest
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import TokenSession

from .cards import timed_start, where
from .conftest import Lab
from .doors import Door, code, from_host, refusals

# The gateway of the default route, as /proc/net/route has it: hexadecimal, in the host's order of bytes.
ROUTE = """
import socket, struct
for line in open("/proc/net/route"):
    fields = line.split()
    if fields[1] == "00000000":
        print("default", socket.inet_ntoa(struct.pack("<L", int(fields[2], 16))), fields[0])
"""
DATABASES = """
from pathlib import Path
for path in Path.home().rglob("*"):
    if path.is_file() and path.open("rb").read(15) == b"SQLite format 3":
        print(path)
"""


# The next one tells what became of the last; hosts answer so many in a second and no more.
DATAGRAMS = """
import json, socket, time
refused = []
for place, port in json.loads(%r):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((place, port))
        try:
            for _ in range(10):
                probe.send(b"x")
                time.sleep(0.5)
        except ConnectionRefusedError:
            refused.append([place, port])
print(json.dumps(refused))
"""
# Of an engine that listens to all, on the port where it would.
ENGINE = """
import socket
with socket.create_server(("", 2375)) as server:
    while True:
        stream, _ = server.accept()
        stream.sendall(b"engine-of-the-test")
        stream.close()
"""
# Somebody else's server: without a token, and with the own one.
NEIGHBOUR = """
import os, urllib.error, urllib.request
for headers in ({}, {"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]}):
    for path in ("api/contents", "api/kernels", "api/terminals"):
        request = urllib.request.Request("http://%s:8888/user/%s/" + path, headers=headers)
        try:
            print(urllib.request.urlopen(request, timeout=5).status)
        except urllib.error.HTTPError as error:
            print(error.code)
"""


@pytest.fixture
def engine_port(lab: Lab, notebook: TokenSession) -> t.Iterator[None]:
    """Somebody listens on the engine's port, unencrypted, of the notebook's node and of the manager."""
    hosts = {lab.manager, where(lab, notebook)[0]}
    unit = "swarmhub-test-engine"
    try:
        for host in hosts:
            run = f"systemd-run --quiet --collect --unit={unit} --property=RuntimeMaxSec=120 python3 -c"
            lab.ssh(host, f"{run} {shlex.quote(ENGINE)}")
        yield
    finally:
        for host in hosts:
            lab.ssh(host, f"systemctl stop {unit}", check=False)


def doors_of(lab: Lab, host: str) -> list[Door]:
    """What listens on a host, as far as it is the cluster's own."""
    address = lab.variables[host]["ansible_host"]
    groups = {group for group, members in lab.inventory.items() if host in members.get("hosts", [])}
    doors = [("ssh", address, 22), ("engine", address, 2375), ("bare", address, 7946)]
    for group, door in (
        ("managers", ("swarm", address, 2377)),
        ("registry_server", ("registry", address, 5000)),
        ("postgres_server", ("postgres", address, 5432)),
        ("nfs_server", ("nfs", address, 2049)),
    ):
        doors += [door] if group in groups else []
    return doors


@pytest.mark.usefixtures("engine_port")
def test_a_notebook_reaches_no_listener_of_its_node_or_of_the_manager(lab: Lab, notebook: TokenSession) -> None:
    """Each answers the node in its own words; what the notebook sends is counted by the chain that refuses it."""
    host, _ = where(lab, notebook)
    doors = list(dict.fromkeys([*doors_of(lab, host), *doors_of(lab, lab.manager)]))
    assert set(from_host(lab, host, doors).values()) == {"answers"}
    before = refusals(lab, host)
    with Kernel(notebook, 60) as kernel:
        found = json.loads(kernel.run(code(doors)))
    assert set(found.values()) == {"refused"}, found
    assert refusals(lab, host)["tcp"] - before["tcp"] >= len(doors)


def test_a_notebooks_datagrams_to_swarm_and_nfs_are_refused(lab: Lab, notebook: TokenSession) -> None:
    host, _ = where(lab, notebook)
    addresses = {lab.variables[name]["ansible_host"] for name in (host, lab.manager)}
    targets = [[address, port] for address in sorted(addresses) for port in (7946, 4789, 2049, 111)]
    before = refusals(lab, host)
    with Kernel(notebook, 60) as kernel:
        assert json.loads(kernel.run(DATAGRAMS % json.dumps(targets))) == targets
    assert refusals(lab, host)["udp"] - before["udp"] >= len(targets)


def test_the_proxys_api_answers_the_hub_alone(lab: Lab, notebook: TokenSession) -> None:
    """By name, and by its address on either network."""
    ((host, hub),) = lab.containers("swarmhub_hub")

    def in_hub(text: str) -> str:
        return lab.docker("exec", hub, "python3", "-c", text, host=host).strip()

    api, proxy = in_hub("import socket; print(*map(socket.gethostbyname, ('proxy-api', 'proxy')))").split()
    assert json.loads(in_hub(code([("proxy-api", api, 8001)]))) == {f"proxy-api {api}:8001": "answers"}
    doors: list[Door] = [("proxy-api", place, 8001) for place in ("proxy-api", api, proxy)]
    with Kernel(notebook, 60) as kernel:
        found = list(json.loads(kernel.run(code([*doors, ("bare", proxy, 8000)]))).values())
    assert (found[0], found[2], found[3]) == ("no such name", "refused", "answers")
    assert found[1] not in ("answers", "refused"), "there is no way to that network"


def test_somebody_elses_server_answers_with_a_refusal_and_an_open_port_as_it_likes(
    lab: Lab, notebook: TokenSession
) -> None:
    other = lab.add_user("network-other")
    try:
        timed_start(other, lab.profile(cards=False))
        assert other.request("GET", f"{other.server_path}api/contents").status_code == 200
        name = lab.inspect("service", *lab.services(other.name))[0]["Spec"]["Name"]
        with Kernel(notebook, 60) as kernel, Kernel(other, 60) as unguarded:
            unguarded.run(f"import threading\ndef serve():{textwrap.indent(ENGINE, '    ')}")
            unguarded.run("threading.Thread(target=serve, daemon=True).start()")
            assert set(json.loads(kernel.run(code([("engine", name, 2375)]))).values()) == {"answers"}
            assert kernel.run(NEIGHBOUR % (name, other.name)).split() == ["403"] * 6
    finally:
        lab.remove_user(other)


def test_the_hub_reaches_the_database_and_none_of_the_other_ports(lab: Lab) -> None:
    ((host, hub),) = lab.containers("swarmhub_hub")
    doors = [door for door in doors_of(lab, lab.manager) if door[0] != "engine"]
    assert set(from_host(lab, lab.manager, doors).values()) == {"answers"}
    found = json.loads(lab.docker("exec", hub, "python3", "-c", code(doors), host=host))
    assert {key.split()[0]: answer for key, answer in found.items()} == {
        **dict.fromkeys((door[0] for door in doors), "refused"),
        "postgres": "answers",
    }


def test_the_hubs_way_out_is_not_the_notebooks(lab: Lab, notebook: TokenSession) -> None:
    """By docker0, which is the hub's; a bridge is known by its address, the container's gateway."""
    ((host, hub),) = lab.containers("swarmhub_hub")
    gateway = lab.docker("network", "inspect", "--format={{(index .IPAM.Config 0).Gateway}}", "bridge", host=host)
    assert f" {gateway.strip()} " in lab.docker("exec", hub, "python3", "-c", ROUTE, host=host)
    with Kernel(notebook, 30) as kernel:
        assert f" {gateway.strip()} " not in kernel.run(ROUTE)


def test_no_database_of_jupyter_or_ipython_is_in_the_home(lab: Lab, notebook: TokenSession) -> None:
    """On NFS sqlite hangs kernels. Saving a notebook signs it, and a kernel keeps its history."""
    path = f"{notebook.server_path}api/contents/signed.ipynb"
    content = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    notebook.request("PUT", path, json={"type": "notebook", "format": "json", "content": content})
    try:
        with Kernel(notebook, 30) as kernel:
            assert kernel.run(DATABASES) == ""
            # One that is there would be found.
            made = "import os, sqlite3; sqlite3.connect('found.db').execute('CREATE TABLE t (c)')"
            assert kernel.run(f"{made}{DATABASES}os.remove('found.db')").endswith("/found.db\n")
    finally:
        notebook.request("DELETE", path)
