"""The root file systems of the lab, made with debootstrap and kept outside the clone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from .engine import docker
from .run import LabError, logged, output
from .state import CACHE, LAB, State, locked

HOST_PACKAGES = ["systemd", "systemd-sysv", "dbus", "udev", "python3", "python3-apt", "openssh-server", "iproute2",
                 "ca-certificates", "sudo", "curl", "iputils-ping", "kmod", "procps"]  # fmt: skip
# Installing is slow where a kernel runs as a process, so what site.yml would install there is laid down before. It is
# neither configured nor started, and whatever a role wants beyond it, site.yml installs.
KERNEL_PACKAGES = [*HOST_PACKAGES, "docker.io", "containerd", "runc", "iptables", "python3-docker", "nfs-common",
                   "tcpdump"]  # fmt: skip
TRIXIE_PACKAGES = ["docker-cli", "nfs-kernel-server", "postgresql-17", "python3-psycopg2", "xfsprogs"]
# As in Debian's slim images: no manuals. Nobody needs a lab's packages to survive a power cut either.
DPKG_SETTINGS = """\
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
force-unsafe-io
"""
KEPT_DAYS = 7  # of what no lab has used
APT_SETTINGS = 'Acquire::Languages "none";\n'
# What a bare host has beyond its packages: an account for the administrator, no identity.
HOST_SETUP = """\
useradd --create-home --shell /bin/bash ops
systemctl enable ssh.service
systemctl mask --quiet getty@tty1.service console-getty.service systemd-firstboot.service systemd-resolved.service \
  apt-daily.timer apt-daily-upgrade.timer
rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id
: > /etc/machine-id
"""
# A container has no hardware.
CONTAINER_SETUP = """\
systemctl mask --quiet systemd-udevd.service systemd-udev-trigger.service \
  proc-fs-nfsd.mount run-rpc_pipefs.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount
"""
# A host with a kernel of its own takes what the lab gives to it from a folder of this machine (see kernels.py). That
# kernel knows iptables' older form only. Nothing runs before site.yml has configured it.
KERNEL_SETUP = """\
cat > /etc/systemd/system/swarmhub-lab.service <<END
[Unit]
Description=What the lab gives to this host
DefaultDependencies=no
After=systemd-remount-fs.service
Before=local-fs-pre.target network-pre.target sysinit.target
Wants=local-fs-pre.target network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/swarmhub-lab

[Install]
WantedBy=sysinit.target
END
cat > /usr/local/sbin/swarmhub-lab <<'END'
#!/bin/sh
set -eu
mkdir -p /run/lab
mount -t hostfs -o "$(sed -n 's/.* lab=\\([^ ]*\\).*/\\1/p' /proc/cmdline)" none /run/lab
exec sh /run/lab/setup
END
chmod 755 /usr/local/sbin/swarmhub-lab
systemctl enable --quiet swarmhub-lab.service
systemctl mask --quiet serial-getty@tty0.service ldconfig.service dpkg-db-backup.timer e2scrub_all.timer \
  e2scrub_reap.service fstrim.timer
systemctl disable --quiet docker.service docker.socket containerd.service
for unit in postgresql.service nfs-server.service; do
  systemctl disable --quiet $unit 2>/dev/null || true
done
# Enabling a service that has a script of old as well takes 15 s more there.
rm -f /etc/init.d/docker
update-alternatives --quiet --set iptables /usr/sbin/iptables-legacy
update-alternatives --quiet --set ip6tables /usr/sbin/ip6tables-legacy
"""
TIDY = """\
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/* /var/log/bootstrap.log /usr/share/doc/* /usr/share/man/* \
  /usr/share/info/* /usr/share/locale/* /debootstrap
rm -f /etc/hostname /etc/resolv.conf
"""


@dataclass(frozen=True)
class Recipe:
    """What a root file system is made of: a suite of Debian, packages beyond the least, and a script run inside."""

    suite: str
    packages: list[str]
    setup: str
    dpkg: str = DPKG_SETTINGS
    apt: str = APT_SETTINGS


RECIPES = {
    # What images are built on.
    "slim": Recipe("trixie", ["ca-certificates"], TIDY),
    # Container hosts.
    "host": Recipe("trixie", HOST_PACKAGES, HOST_SETUP + CONTAINER_SETUP + TIDY),
    # Hosts with kernels of their own.
    "kernel-trixie": Recipe("trixie", KERNEL_PACKAGES + TRIXIE_PACKAGES, HOST_SETUP + KERNEL_SETUP + TIDY),
    "kernel-bookworm": Recipe("bookworm", KERNEL_PACKAGES, HOST_SETUP + KERNEL_SETUP + TIDY),
}


def remove_tree(tree: Path) -> None:
    """Remove a tree that a root file system was made in, never one with something mounted below it."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if any(point.startswith(f"{tree}/") for point in mounted):
        raise LabError(f"something is mounted below {tree}: unmount it, then run this again")
    shutil.rmtree(tree, ignore_errors=not tree.exists())


def keep(packed: Path, target: Path) -> None:
    """Give a file that is whole its name; a file under that name is whole even after a power cut."""
    with packed.open("rb") as stream:
        os.fsync(stream.fileno())
    packed.replace(target)


def used(path: Path) -> None:
    """Note that a kept file is in use; beside it, since a copy-on-write file holds on to the time of its disk."""
    path.with_suffix(".used").touch()


def clear(folder: Path, name: str) -> None:
    """Remove what killed runs left half made under this name, and what nobody has used for long.

    The caller holds the lock of the name.
    """
    for part in folder.glob(f".part-{name}-*"):
        remove_tree(part) if part.is_dir() else part.unlink()
    for note in folder.glob(f"{name}-*.used"):
        if time.time() - note.stat().st_mtime > KEPT_DAYS * 86400:
            for path in folder.glob(f"{note.stem}.*"):
                path.unlink()


def _make(recipe: Recipe, mirror: str, archive: Path) -> None:
    tree = archive.with_name(f".part-{archive.stem}")
    packed = archive.with_name(f".part-{archive.name}")
    # A mount namespace of its own: whatever debootstrap mounts goes away with it, however it ends.
    logged(
        ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={','.join(recipe.packages)}",
         recipe.suite, str(tree), mirror],
        LAB / f"{archive.stem.rpartition('-')[0]}-image.log",
        timeout=900,
    )  # fmt: skip
    (tree / "etc/dpkg/dpkg.cfg.d/lab").write_text(recipe.dpkg)
    (tree / "etc/apt/apt.conf.d/lab").write_text(recipe.apt)
    output(["chroot", str(tree), "sh", "-euc", recipe.setup])
    output(["tar", "-C", str(tree), "--numeric-owner", "-cf", str(packed), "."], timeout=300)
    remove_tree(tree)
    keep(packed, archive)


def root_archive(kind: str, mirror: str) -> Path:
    """The tar of the root file system of this kind in RECIPES.

    Its name carries a hash of the recipe, and it gets that name only when it is whole.
    """
    recipe = RECIPES[kind]
    text = json.dumps(asdict(recipe) | {"mirror": mirror}, sort_keys=True)
    archive = CACHE / "base" / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.tar"
    with locked(f"base-{kind}"):
        if not archive.exists():
            archive.parent.mkdir(parents=True, exist_ok=True)
            clear(archive.parent, kind)
            _make(recipe, mirror, archive)
        used(archive)
    return archive


def import_image(state: State, archive: Path) -> str:
    """Give a root file system to the engine as an image; return its name."""
    name = f"swarmhub-lab:{archive.stem}"
    if not docker(state, "image", "ls", "--quiet", name):
        docker(state, "import", str(archive), name, timeout=300)
    return name
