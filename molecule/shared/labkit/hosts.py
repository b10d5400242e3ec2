"""The hosts: containers that run systemd, on a network of the lab's own."""

from __future__ import annotations

import ipaddress
import json
import re
import secrets
from collections.abc import Collection, Iterable
from pathlib import Path

from .cards import CARDS_FILE, describe
from .engine import docker
from .layouts import Host
from .machine import nameservers
from .run import LabError, output, say, wait_until
from .state import LAB, LAB_ID, State, locked, write_private

KEY = LAB / "ssh_key"
KNOWN_HOSTS = LAB / "known_hosts"
HOMES = "/srv/swarmhub/homes"
BASE_ARCHIVE = "/srv/swarmhub-lab/base.tar"  # where a host finds the slim root file system
LABEL = f"swarmhub.lab={LAB_ID}"
PREFIX = f"swarmhub-{LAB_ID}"
# What dozens of hosts on one kernel need: about eight inotify instances for each systemd, and an entry for each pair of
# hosts in the table of neighbours, which all network namespaces share.
ROOM = {
    "fs.inotify.max_user_instances": 1024,
    "net.ipv4.neigh.default.gc_thresh2": 8192,
    "net.ipv4.neigh.default.gc_thresh3": 16384,
}
RANGE = ipaddress.IPv4Network("10.77.0.0/16")
# Makes a bare host out of a fresh container; reads nothing but its own text, and may run twice.
SETUP = """\
set -eu
install -d -m 700 -o ops -g ops /home/ops/.ssh
printf '%s\\n' '{public_key}' > /home/ops/.ssh/authorized_keys
chown ops: /home/ops/.ssh/authorized_keys
printf '%s\\n' '{sudo_rule}' > /etc/sudoers.d/ops
chmod 440 /etc/sudoers.d/ops
{password}
install -d /etc/swarmhub-lab
printf '%s' '{cards}' > {cards_file}
ssh-keygen -A >/dev/null
systemctl reset-failed ssh.service
systemctl restart ssh.service
"""


# Makes a copy of another host one of its own, once; before systemd starts.
FORGET = """\
[ ! -e /etc/swarmhub-lab/copied ] || {
  rm -rf /etc/ssh/ssh_host_* /var/lib/dbus/machine-id /var/lib/containerd /var/log/journal /etc/swarmhub-lab/copied
  : > /etc/machine-id
}
"""


def free_subnet() -> str:
    """The first /24 of 10.77.0.0/16 that nothing on this machine uses, from one that this clone prefers."""
    routes = json.loads(output(["ip", "-json", "-4", "route", "show", "table", "all"]))
    taken = [ipaddress.IPv4Network(route["dst"], strict=False) for route in routes if re.match(r"\d", route["dst"])]
    choices = list(RANGE.subnets(new_prefix=24))
    first = int(LAB_ID, 16) % len(choices)
    for subnet in choices[first:] + choices[:first]:
        if not any(subnet.overlaps(other) for other in taken):
            return str(subnet)
    raise LabError(f"no free /24 is left in {RANGE}: take down labs that are not needed")


def make_network(state: State) -> None:
    """Make the network of the container hosts, unless it is there."""
    if existing := docker(state, "network", "ls", "--quiet", "--no-trunc", "--filter", f"label={LABEL}"):
        state.network = existing
        state.subnet = docker(state, "network", "inspect", "--format={{(index .IPAM.Config 0).Subnet}}", existing)
        state.save()
        return
    with locked("network"):
        state.subnet = free_subnet()
        state.save()
        state.network = docker(
            state, "network", "create", f"--subnet={state.subnet}", f"--gateway={state.address(1)}", f"--label={LABEL}",
            f"--opt=com.docker.network.bridge.name=shl-{LAB_ID}", PREFIX,
        )  # fmt: skip
    state.save()


def make_key(path: Path, comment: str) -> str:
    """Make an SSH key unless it is there; return its public half, which is written last."""
    public = path.with_suffix(".pub")
    if not public.exists():
        path.unlink(missing_ok=True)
        output(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    return public.read_text().strip()


def _cgroup_options() -> list[str]:
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return ["--cgroupns=private"]
    legacy = "--env=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
    return ["--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw", legacy]


def _capability_options() -> list[str]:
    """All capabilities that this machine has: asking for one more makes the start fail."""
    bounding = re.search(r"^CapBnd:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    has_sys_resource = bounding is not None and int(bounding[1], 16) >> 24 & 1
    return ["--cap-add=ALL"] + ([] if has_sys_resource else ["--cap-drop=SYS_RESOURCE"])


def _start(state: State, host: Host, others: tuple[Host, ...], slim: Path) -> str:
    """Start the container of a host and return its id."""
    resolver = LAB / "resolv.conf"
    resolver.write_text("".join(f"nameserver {address}\n" for address in nameservers()))
    volume = f"{PREFIX}-{host.name}-docker"
    for name in (volume, f"{PREFIX}-homes"):
        if name not in state.volumes:
            state.volumes.append(name)
            state.save()
        docker(state, "volume", "create", f"--label={LABEL}", name)
    # systemd mounts nothing writable itself on the second generation of control groups, so it is done before it starts.
    init = (
        FORGET if host.light else ""
    ) + "[ ! -e /sys/fs/cgroup/cgroup.controllers ] || mount -o remount,rw /sys/fs/cgroup; exec /lib/systemd/systemd"
    return docker(
        state, "run", "--detach", f"--name={PREFIX}-{host.name}", f"--hostname={host.hostname or host.name}",
        f"--label={LABEL}", f"--network={PREFIX}", f"--ip={state.address(host.number)}",
        *(f"--add-host={other.hostname or other.name}:{state.address(other.number)}" for other in others),
        *_capability_options(), *_cgroup_options(),
        "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined",
        "--security-opt=systempaths=unconfined", "--stop-signal=SIGRTMIN+3",
        # The containers that run on a host are its siblings here: a hundred of them must not starve its daemons.
        "--cpu-shares=16384",
        # A reboot ends the container's first process with a signal.
        "--restart=on-failure",
        "--tmpfs=/run:exec", "--tmpfs=/run/lock", "--tmpfs=/tmp:exec", "--env=container=docker",
        f"--volume={volume}:/var/lib/docker", f"--volume={PREFIX}-homes:{HOMES}",
        f"--volume={resolver}:/etc/resolv.conf",
        *([f"--volume={slim}:{BASE_ARCHIVE}:ro"] if host.image_archive else []),
        state.light_image if host.light else state.image, "sh", "-c", init,
    )  # fmt: skip


def _set_up(state: State, host: Host, container: str, public_key: str) -> None:
    def booted() -> bool:
        asked = "systemctl is-system-running 2>/dev/null || true"
        return docker(state, "exec", container, "sh", "-c", asked) in ("running", "degraded")

    wait_until(booted, f"the start of systemd in {host.name}", 90)
    cards = describe(host.uuids, host.card_model, fault=None if host.driver else "not loaded")
    text = SETUP.format(
        public_key=public_key,
        sudo_rule="ops ALL=(ALL) ALL" if host.sudo_password else "ops ALL=(ALL) NOPASSWD: ALL",
        password=f"printf '%s\\n' 'ops:{state.sudo_password}' | chpasswd" if host.sudo_password else "",
        cards=json.dumps(cards, indent=1),
        cards_file=CARDS_FILE,
    )
    docker(state, "exec", "--interactive", container, "sh", stdin=text)


def _install_driver(state: State, container: str, package: Path) -> None:
    """A machine with cards comes with their driver: here, with the stand-in for nvidia-smi."""
    docker(state, "cp", str(package), f"{container}:/root/driver.deb")
    docker(state, "exec", container, "sh", "-c", "dpkg --install /root/driver.deb && rm /root/driver.deb")


def make_room() -> None:
    """Allow this machine what dozens of hosts need."""
    for name, wanted in ROOM.items():
        setting = Path("/proc/sys", *name.split("."))
        if int(setting.read_text()) < wanted:
            setting.write_text(str(wanted))
            say(f"    this machine's {name} is {wanted} from now until it restarts")


def copy_worker(state: State, layout: tuple[Host, ...]) -> None:
    """Make the image of light hosts from the layout's first CPU worker, without what its engine keeps on a volume."""
    worker = next(host for host in layout if "cpu_workers" in host.groups and not host.light)
    container = state.containers[worker.name]
    docker(state, "exec", container, "touch", "/etc/swarmhub-lab/copied")
    state.light_image = f"swarmhub-lab:light-{LAB_ID}"
    state.save()
    docker(state, "commit", "--pause=false", container, state.light_image, timeout=300)
    docker(state, "exec", container, "rm", "/etc/swarmhub-lab/copied")


def forget_copy(state: State) -> None:
    """Remove the image of light hosts; the next ones are copies of the worker as it is then."""
    docker(state, "image", "rm", state.light_image)
    state.light_image = ""
    state.save()


def make(state: State, layout: tuple[Host, ...], slim: Path, driver: Path, only: Collection[str] | None = None) -> None:
    """Start all hosts that are not there yet, or only these, set them up and write known_hosts."""
    public_key = make_key(KEY, "swarmhub lab")
    state.sudo_password = state.sudo_password or secrets.token_urlsafe(12)
    state.save()
    new: list[Host] = []
    wanted = [host for host in layout if only is None or host.name in only]
    for host in wanted:
        existing = docker(state, "ps", "--all", "--quiet", "--no-trunc", "--filter", f"name=^/{PREFIX}-{host.name}$")
        if existing:
            docker(state, "start", existing)
        else:
            existing = _start(state, host, layout, slim)
            new.append(host)
        state.containers[host.name] = existing
        state.save()
    for host in wanted:
        container = state.containers[host.name]
        _set_up(state, host, container, public_key)
        if host.cards and host.driver:
            _install_driver(state, container, driver)
        say(f"    {host.name}: {state.address(host.number)}{' (new)' if host in new else ''}")
    known = ""
    for host in layout:
        key = docker(state, "exec", state.containers[host.name], "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()
        known += f"{state.address(host.number)} {key[0]} {key[1]}\n"
    write_private(KNOWN_HOSTS, known)


def _inner_cgroups(state: State, volumes: Iterable[str]) -> list[Path]:
    """Control groups of containers inside the hosts of these volumes: an engine that dies with its host leaves them."""
    found: list[Path] = []
    for volume in volumes:
        place = Path(docker(state, "volume", "inspect", "--format={{.Mountpoint}}", volume))
        for container in place.glob("containers/*"):
            found += Path("/sys/fs/cgroup").glob(f"*/docker/{container.name}")
    return found


def remove_containers(state: State, containers: Iterable[str], volumes: list[str]) -> None:
    """Remove hosts with what their engines kept in these volumes."""
    leftover_cgroups = _inner_cgroups(state, volumes)
    if known := list(containers):
        docker(state, "rm", "--force", "--volumes", *known, timeout=300)
    for group in leftover_cgroups:
        # Deepest first; a control group can only be removed when it is empty.
        for path in sorted([*(p for p in group.rglob("*") if p.is_dir()), group], reverse=True):
            if path.exists():
                path.rmdir()
    if volumes:
        docker(state, "volume", "rm", *volumes, timeout=300)


def remove(state: State, host: Host) -> None:
    """Take one host away, as if it were carried out of the room."""
    volume = f"{PREFIX}-{host.name}-docker"
    remove_containers(state, [state.containers[host.name]], [volume])
    del state.containers[host.name]
    state.volumes.remove(volume)
    state.save()
