"""Runs on a manager, as text on the standard input of its Python, and prints what the engine tells, as JSON.

Read-only, with the standard library alone, for Python 3.10 and later. What is in it of specs is picked by name: an
environment or a secret of a service never leaves the manager.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import sys
import typing as t
from pathlib import Path

Json = dict[str, t.Any]

SOCKET = "/var/run/docker.sock"
FRONT = "/etc/swarmhub/front.pem"
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
TIMEOUT = 10  # seconds


class _Local(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(SOCKET)


def _get(path: str) -> t.Any:
    connection = _Local("engine")
    connection.request("GET", path)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    if answer.status >= 400:
        sys.exit(content.get("message", "the engine refused"))
    return content


def _node(node: Json) -> Json:
    description = node.get("Description") or {}
    manager = node.get("ManagerStatus") or {}
    labels = node["Spec"].get("Labels") or {}
    return {
        "id": node["ID"],
        "hostname": description.get("Hostname", ""),
        "address": node["Status"].get("Addr", ""),
        "state": node["Status"]["State"],
        "message": node["Status"].get("Message", ""),
        "availability": node["Spec"]["Availability"],
        "role": node["Spec"]["Role"],
        "reachability": manager.get("Reachability", ""),
        "leader": bool(manager.get("Leader")),
        "engine": (description.get("Engine") or {}).get("EngineVersion", ""),
        "resources": (description.get("Resources") or {}).get("GenericResources") or [],
        "model": labels.get("gpu_model", ""),
    }


def _service(service: Json) -> Json:
    spec = service["Spec"]
    labels = spec.get("Labels") or {}
    status = service.get("ServiceStatus") or {}
    return {
        "id": service["ID"],
        "name": spec["Name"],
        "stack": labels.get("com.docker.stack.namespace", ""),
        "created": service["CreatedAt"],
        "wanted": status.get("DesiredTasks", 0),
        "running": status.get("RunningTasks", 0),
        "labels": {name: value for name, value in labels.items() if name.startswith("swarmhub.")},
    }


def _task(task: Json) -> Json:
    status = task["Status"]
    return {
        "service": task.get("ServiceID", ""),
        "node": task.get("NodeID", ""),
        "state": status["State"],
        "desired": task["DesiredState"],
        "error": status.get("Err", ""),
        "time": status.get("Timestamp", ""),
        "resources": task.get("GenericResources") or [],
    }


def _disk(path: str) -> Json:
    usage = shutil.disk_usage(path)
    return {"path": path, "total": usage.total, "free": usage.free, "device": Path(path).stat().st_dev}


def _front() -> str:
    """The first certificate of the front's file, which is public; the key beside it stays."""
    try:
        found = CERTIFICATE.search(Path(FRONT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    return found.group() if found else ""


def _look() -> Json:
    try:
        info = _get("/info")
    except OSError as error:
        sys.exit(f"its engine does not answer: {error}")
    if not info["Swarm"].get("ControlAvailable"):
        sys.exit(f"it is no manager of a swarm that works: {info['Swarm'].get('Error') or 'not a manager'}")
    paths = ["/", info["DockerRootDir"]]
    return {
        "nodes": [_node(node) for node in _get("/nodes")],
        "services": [_service(service) for service in _get("/services?status=true")],
        "tasks": [_task(task) for task in _get("/tasks")],
        "disks": [_disk(path) for path in paths if Path(path).exists()],
        "certificate": _front(),
    }


if __name__ == "__main__":
    print(json.dumps(_look()))
