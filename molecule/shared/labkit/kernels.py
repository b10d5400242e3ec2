"""Hosts with kernels of their own: user-mode Linux.

A host boots on a copy-on-write file, and at each boot runs what lies for it in `.lab/kernel/<name>/given`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from . import disks, kernel_network
from .cards import CARDS_FILE, describe
from .hosts import KEY, KNOWN_HOSTS, PREFIX, make_key
from .layouts import Host
from .run import LabError, listening, output, say, wait_until
from .state import LAB, State, alive, process_identity, write_private

FOLDER = LAB / "kernel"
UMID = f"umid={PREFIX}-"
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


def _processes() -> dict[int, str]:
    """Whose kernel a process belongs to, by its number: each kernel has many processes, all with its own arguments."""
    found: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            arguments = path.read_text(errors="replace").split("\0")
            if str(disks.KERNEL) in arguments:
                names = [argument.removeprefix(UMID) for argument in arguments if argument.startswith(UMID)]
                found |= {int(path.parent.name): name for name in names}
    return found


def running() -> dict[str, str]:
    """Which process each host's kernel is, whether or not a run had the time to record it."""
    found = {}
    for pid, name in _processes().items():
        with suppress(ProcessLookupError):
            if os.getsid(pid) == pid and (identity := process_identity(pid)):
                found[name] = identity
    return found


def _clear(name: str) -> None:
    """End what a killed kernel leaves of its guest: processes that hold its disk and its tap."""
    for pid, owner in _processes().items():
        if owner == name:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    shutil.rmtree(FOLDER / name / "umid", ignore_errors=True)


def _give(state: State, host: Host, others: tuple[Host, ...], driver: Path) -> Path:
    """Lay down what a host takes at its next boot; return the folder."""
    given = FOLDER / host.name / "given"
    given.mkdir(parents=True, exist_ok=True)
    hostname = host.hostname or host.name
    names = "".join(f"{state.address(other.number)} {other.hostname or other.name}\n" for other in others)
    texts = {
        "setup": SETUP.format(
            address=state.address(host.number), gateway=state.address(1), hostname=hostname, cards_file=CARDS_FILE
        ),
        "hosts": f"127.0.0.1 localhost\n{names}",
        "authorized_keys": make_key(KEY, "swarmhub lab") + "\n",
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
    _clear(host.name)
    tap = kernel_network.tap(state, host.number)
    memory = next((size for group, size in MEMORY.items() if group in host.groups), DEFAULT_MEMORY)
    options = [
        f"mem={memory}", f"{UMID}{host.name}", f"uml_dir={folder / 'umid'}", f"ubd0={folder / 'root.cow'},{disk}",
        "root=/dev/ubda", "rw", "con=null", "con0=null,fd:1", "console=tty0",
        f"vec0:transport=tap,ifname={tap},depth=128,gro=1", f"lab={given}",
    ]  # fmt: skip
    if "nfs_server" in host.groups:
        data = folder / "data.img"
        if not data.exists():
            part = folder / ".part-data.img"
            output(["cp", "--sparse=always", str(disks.data_disk()), str(part)])
            part.replace(data)
        options.append(f"ubd1={data}")
    with (folder / "console.log").open("ab") as log:
        process = subprocess.Popen(
            [*kernel_network.inside(state), str(disks.KERNEL), *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            # Its memory is a file, which must not lie on a disk.
            env=os.environ | {"LD_PRELOAD": str(disks.xstate_library()), "TMPDIR": "/dev/shm"},  # noqa: S108
        )  # fmt: skip
    return process_identity(process.pid)


def _refuse_other_disks(layout: tuple[Host, ...], host_disks: Mapping[str, Path]) -> None:
    """A copy-on-write file goes with the disk that it was made on, and with no other."""
    for host in layout:
        made_on = FOLDER / host.name / "disk"
        if made_on.is_symlink() and made_on.readlink() != host_disks[host.name]:
            raise LabError(
                f"{host.name} runs on an older disk: what goes into disks has changed since."
                " Run `lab.py down` first; the new disk is made, and is kept"
            )


def make(state: State, layout: tuple[Host, ...], host_disks: Mapping[str, Path], driver: Path) -> None:
    """Boot all hosts that do not run, and write known_hosts."""
    _refuse_other_disks(layout, host_disks)
    before = running()
    known = ""
    for host in layout:
        given = _give(state, host, layout, driver)
        key = make_key(given / "ssh_host_ed25519_key", host.name).split()
        known += f"{state.address(host.number)} {key[0]} {key[1]}\n"
        made_on = FOLDER / host.name / "disk"
        made_on.unlink(missing_ok=True)
        made_on.symlink_to(host_disks[host.name])
        state.processes[host.name] = before.get(host.name) or _boot(state, host, host_disks[host.name], given)
        state.save()
    for host in layout:
        _wait_for(state, host)
        say(f"    {host.name}: {state.address(host.number)}{'' if host.name in before else ' (booted)'}")
    write_private(KNOWN_HOSTS, known)


def _wait_for(state: State, host: Host) -> None:
    log = FOLDER / host.name / "console.log"

    def ready() -> bool:
        if not alive(state.processes[host.name]):
            raise LabError(f"the kernel of {host.name} has ended; the reason is in {log}")
        return listening(state.address(host.number), 22)

    wait_until(ready, f"the boot of {host.name} (see {log})", BOOT_SECONDS)


def remove(state: State) -> None:
    """Take away namespace, disks and what killed kernels left; the hosts have been ended."""
    for name in set(_processes().values()):
        _clear(name)
    shutil.rmtree(FOLDER, ignore_errors=True)
    kernel_network.remove(state)
