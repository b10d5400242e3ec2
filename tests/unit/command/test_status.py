"""What status asks of a manager, over a real socket, and what it makes of the answer."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import pty
import re
import signal
import socketserver
import subprocess
import sys
import threading
import typing as t
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from certificates import sign
from rich.console import Console

from command.conftest import ROOT, Make
from swarmhub.connection import Target, first_answer
from swarmhub.errors import Code, Refused
from swarmhub.status import PROGRAM, Targets, judge
from swarmhub.status_view import render

AT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def node(number: int, **changes: t.Any) -> dict[str, t.Any]:
    cards = [{"NamedResourceSpec": {"Kind": "GPU", "Value": f"GPU-{number}{letter}"}} for letter in "ab"]
    role = changes.get("role", "worker")
    return {
        "ID": f"n{number}",
        "Description": {
            "Hostname": f"host{number}",
            "Resources": {"GenericResources": cards if role == "worker" else []},
        },
        "Status": {"State": changes.get("state", "ready"), "Addr": f"10.0.0.{number}"},
        "Spec": {"Role": role, "Availability": changes.get("availability", "active"), "Labels": {}},
        **({"ManagerStatus": {"Reachability": changes.get("reachability", "reachable")}} if role == "manager" else {}),
    }


def service(name: str, running: int, labels: dict[str, str]) -> dict[str, t.Any]:
    status = {"DesiredTasks": 1, "RunningTasks": running}
    environment = {"ContainerSpec": {"Env": ["JUPYTERHUB_API_TOKEN=not-to-be-seen"]}}
    spec = {"Name": name, "Labels": labels, "TaskTemplate": environment}
    return {"ID": f"s-{name}", "CreatedAt": "2026-01-01T00:00:00.123456789Z", "Spec": spec, "ServiceStatus": status}


def task(of: str, on: str, state: str, card: str = "", error: str = "") -> dict[str, t.Any]:
    cards = [{"NamedResourceSpec": {"Kind": "GPU", "Value": card}}] if card else []
    status = {"State": state, "Timestamp": state, "Err": error}
    return {"ServiceID": of, "NodeID": on, "DesiredState": state, "Status": status, "GenericResources": cards}


STACK = {"com.docker.stack.namespace": "swarmhub"}
ANSWERS: dict[str, t.Any] = {
    "/info": {"Swarm": {"ControlAvailable": True}, "DockerRootDir": "/"},
    "/nodes": [
        node(1, role="manager"), node(2, role="manager"), node(3, role="manager", reachability="unreachable"),
        node(4), node(5, availability="drain"), node(6, state="down"),
    ],
    "/services?status=true": [
        service("swarmhub_hub", 0, STACK),
        service("swarmhub_proxy", 1, STACK),
        service("jupyter-alice", 1, {"swarmhub.user": "alice", "swarmhub.profile": "gpu"}),
    ],
    "/tasks": [
        task("s-swarmhub_hub", "", "pending", error="no suitable node"),
        task("s-jupyter-alice", "n4", "running", "GPU-4a"),
        task("s-jupyter-alice", "n4", "shutdown", "GPU-4b"),
    ],
}  # fmt: skip


class Engine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = json.dumps(ANSWERS[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: t.Any) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return "local"


@pytest.fixture
def program(tmp_path: Path) -> t.Iterator[str]:
    """The program that asks an engine of ours."""
    path = tmp_path / "docker.sock"
    server = socketserver.ThreadingUnixStreamServer(str(path), Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    text = PROGRAM.read_text().replace("/var/run/docker.sock", str(path))
    yield text.replace("/etc/swarmhub/front.pem", str(tmp_path / "front.pem"))
    server.shutdown()
    server.server_close()


def local(name: str, **changes: t.Any) -> Target:
    options = {"local": True, "become": False, "password": "", "python": sys.executable, **changes}
    return Target(name, name, (), **options)


def seen(program: str) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads(first_answer([local("mgr1")], program, 20)[1]))


def test_an_engine_is_asked_and_judged(program: str) -> None:
    answer = seen(program)
    assert "not-to-be-seen" not in json.dumps(answer)
    status = judge("mgr1", answer, AT)
    assert status.quorum == {"managers": 3, "reachable": 2, "needed": 2}
    assert status.cards == {"total": 6, "free": 1}, "a drained or dead node has none to give"
    held = [card["held_by"] for each in status.nodes if each["hostname"] == "host4" for card in each["cards"]]
    assert held == ["alice", ""], "an ended task holds nothing"
    assert status.services[0] == {"name": "swarmhub_hub", "wanted": 1, "running": 0, "why": "no suitable node"}
    assert status.services[1]["why"] == ""
    assert [(each["user"], each["node"], each["state"]) for each in status.servers] == [("alice", "host4", "running")]
    assert status.disks[0]["path"] == "/"
    assert status.warnings[:2] == ["2 of 3 managers are reachable: none more may be lost", "host6 is down"]
    assert "swarmhub_hub has 0 of 1 tasks: no suitable node" in status.warnings


def test_the_certificate_leaves_without_its_key(program: str, tmp_path: Path) -> None:
    signed = sign("hub.example")
    (tmp_path / "front.pem").write_text(signed.pem + signed.key_pem)
    answer = seen(program)
    assert "PRIVATE KEY" not in json.dumps(answer)
    status = judge("mgr1", answer, datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=20000))
    assert status.certificate_days is not None
    assert any("certificate has ended" in warning for warning in status.warnings)


def test_the_tables_have_it_all(program: str) -> None:
    console = Console(width=100, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    console.print(render(judge("mgr1", seen(program), AT)))
    text = re.sub(r" +", " ", console.export_text())
    assert "asked mgr1 · 2 of 3 managers · 1 of 6 cards free" in text
    assert "host4 worker ready 1 1 of 2 free (alice)" in text
    assert "swarmhub_hub 0 of 1 no suitable node" in text


def test_another_manager_answers_for_one_that_is_away(program: str) -> None:
    away = local("away", python="/bin/false")
    assert first_answer([away, local("mgr2")], program, 20)[0].name == "mgr2"
    with pytest.raises(Refused, match="away: "):
        first_answer([away], program, 20)


def test_where_sudo_asks_for_a_password_the_option_that_gives_it_is_named(tmp_path: Path) -> None:
    refusing = tmp_path / "python"
    refusing.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    refusing.chmod(0o755)
    with pytest.raises(Refused, match=r"mgr1: sudo: a password is required \(-K asks you for it\)"):
        first_answer([local("mgr1", python=str(refusing))], "", 20)
    with pytest.raises(Refused, match=r"required$"):
        first_answer([local("mgr1", python=str(refusing), password="wrong")], "", 20)


def test_what_sudo_does_not_ask_for_is_no_part_of_the_program(program: str) -> None:
    assert json.loads(first_answer([local("mgr1", password="secret words")], program, 20)[1])
    assert "secret" not in repr(local("mgr1", password="secret"))


def test_a_password_is_for_those_whose_inventory_has_none(make_project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project("    []\n")
    hosts = project.hosts_file.read_text()
    project.hosts_file.write_text(hosts.replace("{one: }", "{one: , two: {ansible_become_pass: own}}"))
    asked: list[Target] = []

    def first(targets: list[Target], *_: t.Any) -> t.NoReturn:
        asked.extend(targets)
        raise Refused("")

    monkeypatch.setattr("swarmhub.status.first_answer", first)
    with pytest.raises(Refused):
        Targets(project, "given").look()
    assert [each.password for each in asked] == ["given", "own"]


CONNECTS = """
import dataclasses, json, pathlib, sys
from swarmhub.connection import hosts
from swarmhub.project import Project
root = pathlib.Path(sys.argv[1])
print(json.dumps([dataclasses.asdict(host) for host in hosts(Project(root, root / "hosts.yml"), "all")]))
"""
SETTINGS = """
[defaults]
remote_user = ops
private_key_file = /keys/ours
host_key_checking = false
[ssh_connection]
ssh_args = -F /etc/ours
"""
HOSTS = """
all:
  hosts:
    plain: {ansible_python_interpreter: auto_silent}
    other:
      ansible_ssh_host: "{{ place }}.example"
      place: there
      ansible_ssh_user: alice
      ansible_ssh_port: 2222
      ansible_private_key_file: /keys/other
      ansible_host_key_checking: true
      ansible_ssh_common_args: -J jump
      ansible_become_pass: words
      ansible_python_interpreter: /opt/python
"""


def test_hosts_are_reached_as_ansible_reaches_them(tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").write_text(SETTINGS)
    (tmp_path / "hosts.yml").write_text(HOSTS)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    # A process of its own: Ansible reads its settings once.
    command = [sys.executable, "-c", CONNECTS, str(tmp_path)]
    plain, other = json.loads(subprocess.check_output(command, cwd=ROOT, env=environment))
    assert plain["address"] == "ops@plain"
    assert plain["options"] == ["-F", "/etc/ours", "-o", "StrictHostKeyChecking=no", "-i", "/keys/ours"]
    assert (plain["python"], plain["password"]) == ("/usr/bin/python3", "")
    assert other["address"] == "alice@there.example"
    assert other["options"] == ["-F", "/etc/ours", "-p", "2222", "-i", "/keys/other", "-J", "jump"]
    assert (other["python"], other["password"]) == ("/opt/python", "words")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_watch_that_is_ended_leaves_the_terminal_as_it_was(program: str, make_project: Make, number: int) -> None:
    project = make_project("    []\n")
    answer = project.root / "answer.py"
    answer.write_text(f"print({json.dumps(seen(program))!r})")
    code = f"import pathlib; from swarmhub import status; status.PROGRAM = pathlib.Path({str(answer)!r})"
    command = [sys.executable, "-c", f"{code}; from swarmhub.cli import app; app()", "status", "--watch"]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    with subprocess.Popen(command, cwd=project.root, env=environment, stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"\x1b[?1049h" not in shown or b"swarmhub_hub" not in shown:
            shown += os.read(ours, 10000)
        process.send_signal(number)
        with contextlib.suppress(OSError):  # Linux's word for the end of a terminal
            while more := os.read(ours, 10000):
                shown += more
    os.close(ours)
    assert process.returncode == Code.INTERRUPTED
    assert shown.rindex(b"\x1b[?1049l") > shown.rindex(b"\x1b[?1049h")
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
