"""Hosts with kernels of their own: user-mode Linux on a bridge in a network namespace of the lab's own.

A host boots on a copy-on-write file, and at each boot runs what lies for it in `.lab/kernel/<name>/given`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from . import disks
from .cards import CARDS_FILE, describe
from .hosts import KNOWN_HOSTS, PREFIX, free_subnet, make_key
from .layouts import Host
from .run import output, say, succeeds, wait_until
from .state import LAB, LAB_ID, State, alive, process_identity, write_private

FOLDER = LAB / "kernel"
BRIDGE = "lab"
LINK = f"shk-{LAB_ID}"
MEMORY = {"managers": "2560M"}  # by group; what others have is DEFAULT_MEMORY
DEFAULT_MEMORY = "2G"
BOOT_SECONDS = 120
# Run at each boot, before the network: the second time it finds what it made.
SETUP = """\
set -eu
ip link set lo up
ip address add {address}/24 dev vec0
ip link set vec0 up
ip route add default via {gateway}
hostname {hostname}
echo {hostname} > /etc/hostname
cp /run/lab/hosts /etc/hosts
: > /etc/resolv.conf
install -d -m 700 -o ops -g ops /home/ops/.ssh
install -m 600 -o ops -g ops /run/lab/authorized_keys /home/ops/.ssh/authorized_keys
install -m 600 /run/lab/ssh_host_ed25519_key /etc/ssh/ssh_host_ed25519_key
install -m 440 /run/lab/sudoers /etc/sudoers.d/ops
install -d /etc/swarmhub-lab
[ -e {cards_file} ] || cp /run/lab/cards {cards_file}
if [ -e /run/lab/driver.deb ] && ! [ -e /usr/bin/nvidia-smi ]; then dpkg --install /run/lab/driver.deb; fi
"""


def make_network(state: State) -> None:
    """Make the namespace with its bridge, and this machine's way to it, unless they are there."""
    state.namespace = PREFIX
    state.subnet = state.subnet or free_subnet()
    state.save()
    # Our end is up once all the rest is right; what a killed run left before that is made anew.
    if succeeds(["sh", "-c", f"ip -oneline link show {LINK} | grep -q '[<,]UP[,>]'"]):
        return
    _remove_network(state)
    output(["ip", "netns", "add", state.namespace])
    output(["ip", "link", "add", LINK, "type", "veth", "peer", "name", "machine", "netns", state.namespace])
    output(["ip", "address", "add", f"{state.address(1)}/24", "dev", LINK])
    inside = ["nsenter", f"--net=/run/netns/{state.namespace}", "ip", "link"]
    output([*inside, "add", BRIDGE, "type", "bridge"])
    output([*inside, "set", "machine", "master", BRIDGE])
    for name in ("lo", BRIDGE, "machine"):
        output([*inside, "set", name, "up"])
    output(["ip", "link", "set", LINK, "up"])


def _remove_network(state: State) -> None:
    if Path("/run/netns", state.namespace).exists():
        output(["ip", "netns", "delete", state.namespace])  # and the link with it


def _give(state: State, host: Host, others: tuple[Host, ...], driver: Path) -> Path:
    """Lay down what a host takes at its next boot; return the folder."""
    given = FOLDER / host.name / "given"
    given.mkdir(parents=True, exist_ok=True)
    hostname = host.hostname or host.name
    names = "".join(f"{state.address(other.number)} {other.hostname or other.name}\n" for other in others)
    key = given / "ssh_host_ed25519_key"
    if not key.exists():
        output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", str(key)])
    texts = {
        "setup": SETUP.format(
            address=state.address(host.number), gateway=state.address(1), hostname=hostname, cards_file=CARDS_FILE
        ),
        "hosts": f"127.0.0.1 localhost\n{names}",
        "authorized_keys": make_key() + "\n",
        "sudoers": "ops ALL=(ALL) NOPASSWD: ALL\n",
        "cards": json.dumps(describe(host.uuids, host.card_model), indent=1),
    }
    for name, text in texts.items():
        write_private(given / name, text)
    if host.cards:
        shutil.copy(driver, given / "driver.deb")
    return given


def _boot(state: State, host: Host, disk: Path, given: Path) -> str:
    """Start a host's kernel; return which process it is."""
    folder = FOLDER / host.name
    tap = f"tap{host.number}"
    inside = ["nsenter", f"--net=/run/netns/{state.namespace}"]
    if not succeeds([*inside, "ip", "link", "show", tap]):
        output([*inside, "ip", "tuntap", "add", tap, "mode", "tap"])
        output([*inside, "ip", "link", "set", tap, "master", BRIDGE, "up"])
    memory = next((size for group, size in MEMORY.items() if group in host.groups), DEFAULT_MEMORY)
    options = [
        f"mem={memory}", f"umid={PREFIX}-{host.name}", f"ubd0={folder / 'root.cow'},{disk}", "root=/dev/ubda", "rw",
        "con=null", "con0=null,fd:1", "console=tty0", f"vec0:transport=tap,ifname={tap},depth=128,gro=1",
        f"lab={given}",
    ]  # fmt: skip
    if "nfs_server" in host.groups:
        data = folder / "data.img"
        if not data.exists():
            output(["cp", "--sparse=always", str(disks.data_disk()), str(data)])
        options.append(f"ubd1={data}")
    with (folder / "console.log").open("ab") as log:
        process = subprocess.Popen(
            [*inside, str(disks.KERNEL), *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            # Its memory is a file, which must not lie on a disk.
            env=os.environ | {"LD_PRELOAD": str(disks.xstate_library()), "TMPDIR": "/dev/shm"},  # noqa: S108
        )  # fmt: skip
    return process_identity(process.pid)


def listening(address: str, port: int = 22) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def make(state: State, layout: tuple[Host, ...], host_disks: Mapping[str, Path], driver: Path) -> None:
    """Boot all hosts that do not run, and write known_hosts."""
    new: list[Host] = []
    known = ""
    for host in layout:
        given = _give(state, host, layout, driver)
        if not alive(state.processes.get(host.name, "")):
            state.processes[host.name] = _boot(state, host, host_disks[host.name], given)
            state.save()
            new.append(host)
        key = (given / "ssh_host_ed25519_key.pub").read_text().split()
        known += f"{state.address(host.number)} {key[0]} {key[1]}\n"
    for host in layout:
        address = state.address(host.number)
        wait_until(lambda: listening(address), f"the boot of {host.name}", BOOT_SECONDS)  # noqa: B023 - run at once
        say(f"    {host.name}: {address}{' (booted)' if host in new else ''}")
    write_private(KNOWN_HOSTS, known)


def remove(state: State) -> None:
    """Take away namespace and disks; the hosts have been ended."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    _remove_network(state)
