"""Swarms out of the hosts, told to our own modules."""

from __future__ import annotations

import io
import tarfile
import typing as t
from pathlib import Path

from engines import Host

SLEEP = ["sleep", "100000"]
# The image is empty: programs are the machine's own.
SYSTEM = [f"{path}:{path}:ro" for path in ("/usr", "/bin", "/lib", "/lib64")]
QUICK = {"image": "empty:1", "command": SLEEP, "stop_grace_period": "1s", "volumes": SYSTEM}
POOL = {"default_addr_pool": ["10.20.0.0/16"], "subnet_size": 24, "dispatcher_heartbeat": 2}


def write_image(archive: Path) -> None:
    """Write an image without programs, for ``docker import``."""
    with tarfile.open(archive, "w") as image:
        image.addfile(tarfile.TarInfo("etc/made-for-a-test"), io.BytesIO())


def found(host: Host, **arguments: t.Any) -> dict[str, t.Any]:
    options = {"role": "manager", "advertise_addr": host.address, "return_tokens": True, **POOL, **arguments}
    return host.settle("swarm_member", **options)


def join_options(host: Host, role: str, first: dict[str, t.Any]) -> dict[str, t.Any]:
    return {
        "role": role,
        "cluster_id": first["cluster_id"],
        "remote_addrs": ["10.123.0.99:2377", *first["managers"]],  # the first one is not there
        "join_token": first["join_tokens"][role],
        "advertise_addr": host.address,
    }


def wish(host: Host, **wanted: t.Any) -> dict[str, t.Any]:
    node_id = host.docker("info", "--format", "{{.Swarm.NodeID}}")
    return {"node_id": node_id, "name": f"{host.name}.lan", **wanted}


def labels(manager: Host, node: Host) -> str:
    node_id = node.docker("info", "--format", "{{.Swarm.NodeID}}")
    return manager.docker("node", "inspect", "--format", "{{json .Spec.Labels}}", node_id)
