"""Hosts with kernels of their own (`make lab-kernel`): homes over NFS, both network modes, encryption, reboots."""

from __future__ import annotations

import json
import time
import typing as t
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import HubError, TokenSession

from .conftest import Lab, PlayResult, run_playbook

WORKERS = ("cpu1", "gpu1")
HOMES = "/srv/swarmhub/homes"
KERNEL_SECONDS = 120  # for the start of a kernel, or a run in it
PLAY_SECONDS = 900
OUTAGE_SECONDS = 60
RESUME_SECONDS = 180  # the server's grace period of 90 s included
# What mount(8) would do, without the tools that an image may lack.
MOUNT = """
import ctypes, os
os.makedirs("/homes", exist_ok=True)
libc = ctypes.CDLL(None, use_errno=True)
options = b"vers=4.2,soft,timeo=30,retrans=1,addr=@SERVER@,clientaddr=0.0.0.0"
failed = libc.mount(b"@SERVER@:@HOMES@", b"/homes", b"nfs", 0, options)
print(os.strerror(ctypes.get_errno()) if failed else sorted(os.listdir("/homes")))
"""
# Writes a known text every half second, and remembers when each part of it arrived on the server.
WRITE = """
import hashlib, os, threading, time
ticks = []
def write():
    with open("outage.bin", "wb") as stream:
        for number in range(@LINES@):
            stream.write(hashlib.sha256(b"%d" % number).digest() * 4096)
            stream.flush()
            os.fsync(stream.fileno())
            ticks.append(time.time())
            time.sleep(0.5)
threading.Thread(target=write).start()
"""


@contextmanager
def notebook(lab: Lab, user: str, node: str = "", slug: str = "") -> Iterator[tuple[TokenSession, Kernel]]:
    """A user's notebook on a node, and a kernel in it."""
    session = lab.add_user(user)
    try:
        session.start(slug or lab.profile(cards=False), node or None)
        session.wait_until_ready()
        with Kernel(session, KERNEL_SECONDS) as kernel:
            yield session, kernel
    finally:
        lab.remove_user(session)


def play(name: str, *arguments: str) -> PlayResult:
    """Run a playbook, which must end well."""
    result = run_playbook(name, *arguments, timeout=PLAY_SECONDS)
    assert result.code == 0, result.output
    print(f"{name} {' '.join(arguments)}: {result.seconds:.0f} s, changed {result.changed}")
    return result


def second_run_changes_nothing(*arguments: str) -> None:
    """Run site.yml again."""
    result = play("site.yml", *arguments)
    assert set(result.changed.values()) == {0}, result.output


def verified(*arguments: str) -> None:
    """verify.yml passes, and a profile of two workers found its file on the other one."""
    table = play("playbooks/verify.yml", *arguments).output
    cpu1, gpu1 = WORKERS
    assert f"{cpu1}, then {gpu1}" in table or f"{gpu1}, then {cpu1}" in table, table


def wait(ready: t.Callable[[], object], what: str, seconds: float) -> float:
    """Wait until ``ready`` returns something true; return how long it took."""
    begun = time.monotonic()
    while True:
        try:
            if ready():
                return time.monotonic() - begun
        except (HubError, httpx.HTTPError, AssertionError):
            pass
        assert time.monotonic() - begun < seconds, f"{what} did not happen within {seconds} s"
        time.sleep(1)


def hub_answers(lab: Lab, host: str) -> bool:
    """Whether the hub answers on a host's address."""
    url = f"http://{lab.variables[host]['ansible_host']}:8000/hub/health"
    return httpx.get(url, timeout=5).status_code == 200


@pytest.fixture(scope="module")
def mine(lab: Lab) -> None:
    """The home of kernel-ann with the file mine.txt, written on cpu1."""
    with notebook(lab, "kernel-ann", "cpu1") as (_, kernel):
        assert kernel.run("open('mine.txt', 'w').write('from cpu1'); None") == ""
        assert "nfs4" in kernel.run("print(open('/proc/mounts').read())")


# --- dnsrr and nfs4, the defaults ------------------------------------------------------------------------------------


def test_verify_passes(lab: Lab) -> None:
    verified()


def test_a_second_run_changes_nothing(lab: Lab) -> None:
    second_run_changes_nothing()


@pytest.mark.usefixtures("mine")
def test_a_home_follows_its_user_over_nodes_and_nobody_else_sees_it(lab: Lab) -> None:
    read = "import os; s = os.stat('mine.txt'); print(open('mine.txt').read(), s.st_uid, s.st_gid)"
    look = "import subprocess; print(subprocess.run(['find', '/', '-name', 'mine.txt'], capture_output=True).stdout)"
    with (
        notebook(lab, "kernel-ann", "gpu1") as (_, kernel),
        notebook(lab, "kernel-bob", "cpu1") as (_, other),
    ):
        assert kernel.run(read) == "from cpu1 1000 100\n"
        assert other.run(look) == "b''\n"
    assert lab.ssh("mgr1", f"stat -c '%u %g' {HOMES}/kernel-ann/mine.txt") == "1000 100\n"
    # Of Jupyter's and IPython's databases none is on NFS.
    databases = f"find {HOMES} -type f -exec sh -c 'head -c 15 \"$1\" | grep -q SQLite' - {{}} \\; -print"
    assert lab.ssh("mgr1", databases) == ""


# --- what takes longer -----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_home_has_its_limit(lab: Lab) -> None:
    fill = """
import os
with open("big", "wb") as stream:
    try:
        os.posix_fallocate(stream.fileno(), 0, 400 * 2**20)
    except OSError as error:
        print(error.strerror)
os.remove("big")
"""
    with notebook(lab, "kernel-cleo") as (_, kernel):
        size = kernel.run("import os; s = os.statvfs('.'); print(s.f_frsize * s.f_blocks // 2**20)")
        assert size == "300\n"
        assert kernel.run(fill) in ("Disk quota exceeded\n", "No space left on device\n")


@pytest.mark.long
def test_teams_share_folders(lab: Lab) -> None:
    lab.ssh("mgr1", "echo data > /srv/swarmhub/shared/datasets/table.csv")
    session = lab.add_user("kernel-dan")
    with suppress(HubError):  # it is there from an earlier run
        session.request("POST", "/hub/api/groups/vision")
    session.request("POST", "/hub/api/groups/vision/users", json={"users": ["kernel-dan"]})
    session.start(lab.profile(cards=False))
    session.wait_until_ready()
    with Kernel(session, KERNEL_SECONDS) as kernel:
        assert kernel.run("print(open('shared/datasets/table.csv').read())") == "data\n\n"
        assert "Read-only file system" in kernel.run(
            "try: open('shared/datasets/x', 'w')\nexcept OSError as error: print(error)"
        )
        assert kernel.run("open('shared/vision/note', 'w').write('for the team'); None") == ""
    lab.remove_user(session)
    with notebook(lab, "kernel-eve") as (_, kernel):
        assert kernel.run("import os; print(os.listdir('shared'))") == "['datasets']\n"
    assert lab.ssh("mgr1", "cat /srv/swarmhub/shared/vision/note") == "for the team"


@pytest.mark.long
@pytest.mark.usefixtures("mine")
def test_a_container_as_root_cannot_mount_the_homes(lab: Lab) -> None:
    image = lab.variables["mgr1"]["hub_notebook_image"]
    code = MOUNT.replace("@SERVER@", lab.variables["mgr1"]["ansible_host"]).replace("@HOMES@", HOMES)

    def mount(*options: str) -> str:
        arguments = ("run", "--rm", "--privileged", "--user=0:0", *options, image, "python3", "-c", code)
        return lab.docker(*arguments, host="cpu1", timeout=120)

    # The host itself may, or this would prove nothing.
    assert "kernel-ann" in mount("--network=host")
    assert mount("--network=bridge") in ("Connection refused", "Connection timed out")
    assert mount("--network=swarmhub") in ("Connection refused", "Connection timed out")


@pytest.mark.long
def test_a_write_outlasts_its_server(lab: Lab) -> None:
    lines = 120
    with notebook(lab, "kernel-fred", "cpu1") as (_, kernel):
        kernel.run(WRITE.replace("@LINES@", str(lines)))
        wait(lambda: int(kernel.run("print(len(ticks))")) > 5, "the first lines", 60)
        lab.ssh("mgr1", "systemctl stop nfs-server.service")
        time.sleep(OUTAGE_SECONDS)
        before = int(kernel.run("print(len(ticks))"))
        back = time.monotonic()
        lab.ssh("mgr1", "systemctl start nfs-server.service", timeout=120)
        wait(lambda: int(kernel.run("print(len(ticks))")) > before, "the next line", RESUME_SECONDS)
        print(f"writes resume {time.monotonic() - back:.0f} s after the server's start")
        wait(lambda: int(kernel.run("print(len(ticks))")) == lines, "the last line", 300)
    whole = (
        f"import hashlib; print(open('{HOMES}/kernel-fred/outage.bin', 'rb').read() == "
        f"b''.join(hashlib.sha256(b'%d' % n).digest() * 4096 for n in range({lines})))"
    )
    assert lab.ssh("mgr1", f'python3 -c "{whole}"') == "True\n"


@pytest.mark.long
@pytest.mark.usefixtures("mine")
def test_hosts_come_back_from_a_reboot_by_themselves(lab: Lab) -> None:
    def reboot(host: str) -> float:
        boot = lab.ssh(host, "cat /proc/sys/kernel/random/boot_id")
        lab.ssh(host, "systemd-run --quiet --on-active=1 systemctl reboot")

        def again() -> bool:
            now = lab.ssh(host, "cat /proc/sys/kernel/random/boot_id", check=False, timeout=20)
            return bool(now) and now != boot

        return wait(again, f"the boot of {host}", 180)

    def ready(host: str) -> bool:
        nodes = lab.docker("node", "ls", "--format={{.Hostname}} {{.Status}}").splitlines()
        return f"{host} Ready" in nodes

    with notebook(lab, "kernel-gil", "gpu1") as (session, _):
        before = lab.containers(*lab.services("kernel-gil"))

        booted = reboot("cpu1")
        joined = wait(lambda: ready("cpu1"), "cpu1's return to the swarm", 180)
        with notebook(lab, "kernel-ann", "cpu1") as (_, other):
            assert other.run("print(open('mine.txt').read())") == "from cpu1\n"
        print(f"cpu1: SSH after {booted:.0f} s, in the swarm {joined:.0f} s later")

        booted = reboot("mgr1")
        answers = wait(lambda: hub_answers(lab, "mgr1"), "the hub's return", 300)
        print(f"mgr1: SSH after {booted:.0f} s, the hub answers {answers:.0f} s later")
        wait(lambda: (session.server() or {}).get("ready"), "the hub's word on a notebook that went on", 120)
        assert lab.containers(*lab.services("kernel-gil")) == before
        with Kernel(session, KERNEL_SECONDS) as again:
            assert again.run("print(6 * 7)") == "42\n"
    with notebook(lab, "kernel-ann", "cpu1") as (_, kernel):
        assert kernel.run("print(open('mine.txt').read())") == "from cpu1\n"
    second_run_changes_nothing()


VIP = ("-e", "swarm_network_mode=vip", "-e", "hub_homes_driver=nfs3")


@pytest.mark.long
@pytest.mark.usefixtures("mine")
def test_mode_vip_with_nfs3(lab: Lab) -> None:
    play("site.yml", *VIP)
    verified(*VIP)
    for host in ("mgr1", *WORKERS):
        assert hub_answers(lab, host), f"the hub does not answer on {host}"
    with notebook(lab, "kernel-ann", "cpu1") as (_, kernel):
        assert " nfs " in kernel.run("print(open('/proc/mounts').read())")
        assert kernel.run("print(open('mine.txt').read())") == "from cpu1\n"
        # lockd and statd work: a lock is given.
        assert (
            kernel.run("import fcntl; f = open('mine.txt', 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print('held')")
            == "held\n"
        )
    assert lab.inspect("service", "swarmhub_hub")[0]["Spec"]["EndpointSpec"]["Mode"] == "vip"
    second_run_changes_nothing(*VIP)
    play("site.yml")
    wait(lambda: hub_answers(lab, "mgr1"), "the hub's return", 60)


@pytest.mark.long
def test_an_encrypted_overlay(lab: Lab) -> None:
    encrypted = ("-e", "swarm_network_encrypted=true")
    play("playbooks/reset.yml", "-e", "confirm=yes")
    play("site.yml", *encrypted)

    def capture() -> list[str]:
        seen = lab.ssh(
            "cpu1", "timeout 60 tcpdump -nn -i vec0 -c 200 'esp or udp port 4789' 2>/dev/null || true", timeout=90
        )
        return seen.splitlines()

    with ThreadPoolExecutor(1) as pool, notebook(lab, "kernel-hal", "cpu1") as (_, kernel):
        captured = pool.submit(capture)
        time.sleep(5)
        for _ in range(20):
            assert kernel.run("print('x' * 1000)") == "x" * 1000 + "\n"
        packets = captured.result()
    assert packets, "nothing was captured"
    assert all("ESP(" in packet for packet in packets), packets
    print(f"{len(packets)} packets on the wire, all of them ESP")
    options = lab.inspect("network", "swarmhub")[0]["Options"]
    assert "encrypted" in options, json.dumps(options)
    verified(*encrypted)
    second_run_changes_nothing(*encrypted)
    play("playbooks/reset.yml", "-e", "confirm=yes")
    play("site.yml")
