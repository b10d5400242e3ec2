"""The root file systems of the lab, made with debootstrap and kept outside the clone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from .engine import docker
from .run import LabError, logged, output
from .state import CACHE, LAB, State, locked

SUITE = "trixie"
HOST_PACKAGES = ["systemd", "systemd-sysv", "dbus", "udev", "python3", "python3-apt", "openssh-server", "iproute2",
                 "ca-certificates", "sudo", "curl", "iputils-ping", "kmod", "procps"]  # fmt: skip
# As in Debian's slim images: no manuals. Nobody needs a lab's packages to survive a power cut either.
DPKG_SETTINGS = """\
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
force-unsafe-io
"""
APT_SETTINGS = 'Acquire::Languages "none";\n'
# What a bare host has beyond its packages: an account for the administrator, no identity, no units that need hardware.
HOST_SETUP = """\
useradd --create-home --shell /bin/bash ops
systemctl enable ssh.service
systemctl mask --quiet getty@tty1.service console-getty.service systemd-udevd.service systemd-udev-trigger.service \
  proc-fs-nfsd.mount run-rpc_pipefs.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
  systemd-firstboot.service systemd-resolved.service apt-daily.timer apt-daily-upgrade.timer
rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id
: > /etc/machine-id
"""
TIDY = """\
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/* /var/log/bootstrap.log /usr/share/doc/* /usr/share/man/* \
  /usr/share/info/* /usr/share/locale/* /debootstrap
rm -f /etc/hostname /etc/resolv.conf
"""


def _recipe(kind: str, mirror: str) -> dict[str, str]:
    host = kind == "host"
    return {
        "suite": SUITE,
        "mirror": mirror,
        "include": ",".join(HOST_PACKAGES if host else ["ca-certificates"]),
        "dpkg": DPKG_SETTINGS,
        "apt": APT_SETTINGS,
        "setup": (HOST_SETUP if host else "") + TIDY,
    }


def _remove_tree(tree: Path) -> None:
    """Remove a tree that debootstrap worked in, never one with something mounted below it."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if any(point.startswith(f"{tree}/") for point in mounted):
        raise LabError(f"something is mounted below {tree}: unmount it, then run this again")
    shutil.rmtree(tree)


def _make(recipe: dict[str, str], archive: Path) -> None:
    tree = archive.with_name(f".part-{archive.stem}")
    packed = archive.with_name(f".part-{archive.name}")
    if tree.exists():
        _remove_tree(tree)
    # A mount namespace of its own: whatever debootstrap mounts goes away with it, however it ends.
    logged(
        ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={recipe['include']}",
         recipe["suite"], str(tree), recipe["mirror"]],
        LAB / f"{archive.stem.split('-')[0]}-image.log",
        timeout=900,
    )  # fmt: skip
    (tree / "etc/dpkg/dpkg.cfg.d/lab").write_text(recipe["dpkg"])
    (tree / "etc/apt/apt.conf.d/lab").write_text(recipe["apt"])
    output(["chroot", str(tree), "sh", "-euc", recipe["setup"]])
    output(["tar", "-C", str(tree), "--numeric-owner", "-cf", str(packed), "."], timeout=300)
    _remove_tree(tree)
    with packed.open("rb") as stream:
        os.fsync(stream.fileno())
    packed.replace(archive)


def root_archive(kind: str, mirror: str) -> Path:
    """The tar of a root file system: `host` (systemd, sshd) or `slim` (what images are built on).

    Its name carries a hash of the recipe, and it gets that name only when it is whole.
    """
    recipe = _recipe(kind, mirror)
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    archive = CACHE / "base" / f"{kind}-{key}.tar"
    with locked(f"base-{kind}"):
        if not archive.exists():
            archive.parent.mkdir(parents=True, exist_ok=True)
            _make(recipe, archive)
    return archive


def import_host(state: State, archive: Path) -> str:
    """Give the host archive to the engine as an image; return its name."""
    state.image = f"swarmhub-lab:{archive.stem}"
    state.save()
    if not docker(state, "image", "ls", "--quiet", state.image):
        docker(state, "import", str(archive), state.image, timeout=300)
    return state.image
