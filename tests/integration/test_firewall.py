"""The firewall of role host beside a real engine: who reaches what, and what of others stays."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import jinja2
import pytest
import yaml
from ansible.module_utils.swarmhub import firewall, host_state
from engines import PREFIX, Host, Switch, sh
from swarms import SYSTEM

ROLE = Path(__file__).parents[2] / "roles/host/vars/main.yml"
FRIEND, STRANGER = "10.123.0.21", "10.123.0.31"
POOL = "172.30.0.0/16"
SITE = {
    "cidrs": ["10.123.0.11/32", f"{FRIEND}/32"],
    "containers": True,
    "pool": POOL,
    "servers": ["10.123.0.41", "a-name.example"],
    "ssh_ports": [22],
    "database_port": 5432,
    "hub": True,
    "encrypted": True,
    "proxy_port": 0,
    "exporters": True,
}
TCP, UDP = [22, 2377, 5432, 2049, 5000, 8000], [4789, 111]
SERVE = """
import json, select, socket, sys
sockets = []
for kind, ports in zip((socket.SOCK_STREAM, socket.SOCK_DGRAM), json.loads(sys.argv[1])):
    for port in ports:
        sockets.append(socket.socket(type=kind))
        sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sockets[-1].bind(("", port))
        if kind == socket.SOCK_STREAM:
            sockets[-1].listen()
print("ready", flush=True)
while True:
    for ready in select.select(sockets, [], [])[0]:
        if ready.type == socket.SOCK_STREAM:
            ready.accept()[0].close()
        else:
            ready.sendto(b"ok", ready.recvfrom(9)[1])
"""
PROBE = """
import json, socket, sys
found = {}
for kind, ports in zip((socket.SOCK_STREAM, socket.SOCK_DGRAM), json.loads(sys.argv[2])):
    for port in ports:
        with socket.socket(type=kind) as probe:
            probe.settimeout(1)
            try:
                probe.connect((sys.argv[1], port))
                if kind == socket.SOCK_DGRAM:
                    probe.send(b"?")
                    probe.recv(9)
                found[port] = "open"
            except ConnectionRefusedError:
                found[port] = "refused"
            except TimeoutError:
                found[port] = "silent"
print(json.dumps(found))
"""
PORTS = json.dumps([TCP, UDP])


class Guarded:
    """A host with the firewall's files as role host writes them."""

    def __init__(self, host: Host) -> None:
        self.host = host
        loader = yaml.safe_load(ROLE.read_text(encoding="utf-8"))["host_firewall_loader"][0]
        for entry in (*firewall.files(SITE), loader):
            path = host.folder / Path(entry["path"]).name
            content = jinja2.Template(entry["content"], keep_trailing_newline=True).render(host_runs_containers=True)
            path.write_text(content, encoding="utf-8")
            path.chmod(0o755)
        (host.folder / "run").mkdir()

    def inside(self, *command: str) -> str:
        """Run a command in the host's network, with a /run of its own."""
        mounted = f'mount --bind {self.host.folder}/run /run; exec "$@"'
        namespace = f"--net=/run/netns/{self.host.namespace}"
        return sh("nsenter", namespace, "unshare", "--mount", "sh", "-ec", mounted, "sh", *command)

    def unit(self, action: str) -> None:
        """Do what the unit does."""
        self.inside(f"{self.host.folder}/firewall", action)

    def intact(self) -> bool:
        """Ask host_state."""
        root = Path(__file__).parents[2]
        code = (
            f"import ansible.module_utils; ansible.module_utils.__path__.append('{root}/module_utils')\n"
            "from ansible.module_utils.swarmhub.host_state import firewall_intact\n"
            f"print(firewall_intact('SWARMHUB-', '/run/swarmhub-firewall', ['{self.host.folder}/firewall.v4']))"
        )
        return self.inside(sys.executable, "-c", code).strip() == "True"

    def probe(self, address: str, network: str = "") -> dict[str, str]:
        """Return what a container on the network, or the host itself, finds at the address."""
        if not network:
            return found(self.host.namespace, address)
        volumes = [f"--volume={volume}" for volume in SYSTEM]
        command = ["/usr/bin/python3", "-c", PROBE, address, PORTS]
        answer: dict[str, str] = json.loads(
            self.host.docker("run", "--rm", f"--network={network}", *volumes, "empty:1", *command)
        )
        return answer


def found(namespace: str, address: str) -> dict[str, str]:
    """Return what somebody in that network namespace finds at the address."""
    output = sh("nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-c", PROBE, address, PORTS)
    answer: dict[str, str] = json.loads(output)
    return answer


@contextlib.contextmanager
def serving(namespace: str) -> t.Iterator[None]:
    """Answer on all ports there."""
    command = ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-c", SERVE, PORTS]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, empty_image: Path) -> t.Iterator[Guarded]:
    """A host whose firewall was loaded before its engine first started, between a friend and a stranger."""
    if os.geteuid() != 0:
        pytest.fail("the integration tests start Docker engines and must be run as root")
    folder = tmp_path_factory.mktemp("firewall")
    arguments = ["--iptables=true", f"--default-address-pool=base={POOL},size=24"]
    with contextlib.ExitStack() as stack:
        switch = stack.enter_context(Switch())
        host = stack.enter_context(Loaded("mgr1", "10.123.0.11", folder, switch, arguments).running())
        assert isinstance(host, Loaded)
        for address in (FRIEND, STRANGER):
            stack.enter_context(Bare(f"bare-{address[-2:]}", address, folder, switch).plugged_in())
            stack.enter_context(serving(f"{PREFIX}-bare-{address[-2:]}"))
        stack.enter_context(serving(host.namespace))
        host.docker("import", str(empty_image), "empty:1")
        host.docker("network", "create", "made-here")
        host.docker("network", "create", "--opt=com.docker.network.bridge.name=docker0", "the-hubs")
        yield host.guarded


class Loaded(Host):
    """A host whose firewall is loaded before its engine starts, beside a rule of somebody else."""

    guarded: Guarded

    def start(self) -> None:
        """See the class."""
        self.guarded = Guarded(self)
        self.guarded.unit("start")
        self.guarded.inside("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "9999", "-j", "DROP")
        super().start()


class Bare(Host):
    """A host without an engine."""

    @contextlib.contextmanager
    def plugged_in(self) -> t.Iterator[None]:
        """Give it a network."""
        sh("ip", "netns", "add", self.namespace)
        try:
            self._plug_in()
            yield
        finally:
            sh("ip", "netns", "delete", self.namespace)


HERE = "10.123.0.11"
OPEN = {str(port): "open" for port in (*TCP, *UDP)}
REFUSED = {**dict.fromkeys(OPEN, "refused"), "8000": "open"}
DROPPED = {**dict.fromkeys(OPEN, "silent"), "22": "open", "8000": "open"}


def test_the_cluster_reaches_its_ports_and_nobody_else_does(guarded: Guarded) -> None:
    assert found(f"{PREFIX}-bare-21", HERE) == OPEN
    assert found(f"{PREFIX}-bare-31", HERE) == DROPPED
    assert guarded.probe("127.0.0.1") == OPEN
    assert guarded.probe(FRIEND) == OPEN


def test_a_container_reaches_the_ports_of_no_host_of_the_cluster(guarded: Guarded) -> None:
    assert guarded.probe(HERE, "made-here") == REFUSED
    assert guarded.probe(FRIEND, "made-here") == REFUSED
    assert guarded.probe(STRANGER, "made-here") == OPEN


def test_the_hubs_bridge_leads_to_the_database_and_to_nothing_else(guarded: Guarded) -> None:
    for place in (HERE, FRIEND):
        assert guarded.probe(place, "the-hubs") == {**REFUSED, "5432": "open"}


def test_an_engine_keeps_what_is_there_and_finds_nothing_changed(guarded: Guarded) -> None:
    assert guarded.intact()
    guarded.host.stop()
    Host.start(guarded.host)
    assert guarded.intact()
    user = guarded.inside("iptables", "-S", "DOCKER-USER").splitlines()
    assert user[:2] == ["-N DOCKER-USER", "-A DOCKER-USER -j SWARMHUB-FORWARD"]
    assert "-A FORWARD -j DOCKER-USER" in guarded.inside("iptables", "-S", "FORWARD")
    assert guarded.probe(FRIEND, "made-here") == REFUSED


@pytest.mark.parametrize(
    "command",
    [
        ["-D", "INPUT", "-j", "SWARMHUB-INPUT"],
        ["-D", "DOCKER-USER", "-j", "SWARMHUB-FORWARD"],
        ["-I", "SWARMHUB-HOSTS", "-j", "RETURN"],
        ["-F", "SWARMHUB-REFUSE"],
    ],
)
def test_what_was_changed_by_hand_is_seen_and_mended_by_a_reload(guarded: Guarded, command: list[str]) -> None:
    before = guarded.inside("iptables", "-S")
    for program in ("iptables", "ip6tables"):
        guarded.inside(program, *command)
        assert not guarded.intact()
        guarded.unit("start")
        assert guarded.intact()
    assert sorted(guarded.inside("iptables", "-S").splitlines()) == sorted(before.splitlines())


def test_what_was_written_and_not_loaded_is_seen(guarded: Guarded) -> None:
    """As after a run that was killed in between."""
    assert guarded.intact()
    rules = guarded.host.folder / "firewall.v4"
    rules.write_text(rules.read_text(encoding="utf-8"), encoding="utf-8")
    assert not guarded.intact()
    guarded.unit("start")
    assert guarded.intact()


def test_a_reload_is_never_without_rules(guarded: Guarded) -> None:
    """A thousand looks while the rules are loaded again and again."""
    ends = time.monotonic() + 3
    with subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{guarded.host.namespace}", sys.executable, "-c", LOOK_ALL_THE_TIME],
        stdout=subprocess.PIPE,
        text=True,
    ) as looks:
        while time.monotonic() < ends:
            guarded.unit("start")
        seen, _ = looks.communicate()
    assert set(seen.split()) == {"2"}, seen


LOOK_ALL_THE_TIME = """
import subprocess, time
ends = time.monotonic() + 3
while time.monotonic() < ends:
    print(subprocess.run(["iptables", "-S", "SWARMHUB-REFUSE"], capture_output=True, text=True).stdout.count("-A"))
"""


def test_taking_it_away_leaves_what_others_have(guarded: Guarded) -> None:
    guarded.unit("stop")
    rules = guarded.inside("iptables", "-S")
    assert "SWARMHUB" not in rules + guarded.inside("ip6tables", "-S")
    assert "-A INPUT -p tcp -m tcp --dport 9999 -j DROP" in rules
    assert "-A DOCKER-USER -j RETURN" in rules
    assert not guarded.intact()
    guarded.unit("stop")  # nothing is left to be taken away
    assert guarded.probe(FRIEND, "made-here") == OPEN


def test_listed_rules_are_compared_chain_by_chain() -> None:
    listed = "-N DOCKER-USER\n-N SWARMHUB-B\n-N SWARMHUB-A\n-A DOCKER-USER -j SWARMHUB-B\n-A SWARMHUB-B -j DROP\n"
    assert host_state.rules(listed, "SWARMHUB-") == [
        "-A DOCKER-USER -j SWARMHUB-B", "-N SWARMHUB-A", "-N SWARMHUB-B", "-A SWARMHUB-B -j DROP",
    ]  # fmt: skip
