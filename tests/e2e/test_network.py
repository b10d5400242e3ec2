"""Who reaches what on a lab that is up, and what a notebook gets besides: the promises on networks and homes."""

from __future__ import annotations

import json
import shlex

from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import TokenSession

from .conftest import Lab

# Of each place, which ports are open, refused at once or silent.
PROBE = """
import json, socket
found = {}
for place, ports in json.loads(%r).items():
    for port in ports:
        with socket.socket() as probe:
            probe.settimeout(2)
            try:
                probe.connect((place, port))
                answer = "open"
            except ConnectionRefusedError:
                answer = "refused"
            except TimeoutError:
                answer = "silent"
        found.setdefault(answer, []).append(f"{place}:{port}")
print(json.dumps(found))
"""
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


def names(places: dict[str, list[int]]) -> list[str]:
    """All of the places as the probe writes them."""
    return [f"{place}:{port}" for place, ports in places.items() for port in ports]


def test_a_notebook_is_refused_at_the_ports_of_its_node_and_of_the_manager(lab: Lab, notebook: TokenSession) -> None:
    """The node itself shows that somebody listens there, and the hub that the notebook can connect at all."""
    ((host, _),) = lab.containers(*lab.services(notebook.name))
    own, manager = (lab.variables[name]["ansible_host"] for name in (host, lab.manager))
    places = {own: [22, 7946], manager: [22, 2377, 5000, 5432, 7946]}

    from_host = json.loads(lab.ssh(host, f"python3 -c {shlex.quote(PROBE % json.dumps(places))}"))
    assert from_host == {"open": names(places)}
    with Kernel(notebook, 30) as kernel:
        found = json.loads(kernel.run(PROBE % json.dumps({**places, "hub": [8081]})))
    assert found == {"refused": names(places), "open": ["hub:8081"]}


def test_the_hub_reaches_the_database_and_none_of_the_other_ports(lab: Lab) -> None:
    ((host, hub),) = lab.containers("swarmhub_hub")
    address = lab.variables[lab.manager]["ansible_host"]
    found = json.loads(
        lab.docker("exec", hub, "python3", "-c", PROBE % json.dumps({address: [22, 2377, 5000, 5432]}), host=host)
    )
    assert found == {"refused": names({address: [22, 2377, 5000]}), "open": [f"{address}:5432"]}


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
