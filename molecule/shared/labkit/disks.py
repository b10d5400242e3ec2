"""The disks of hosts with kernels of their own: a root file system with that kernel's modules and the host's images.

Made once and kept outside the clone; a host boots on a copy-on-write file over its disk.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from . import engine
from .images import clear, keep, remove_tree, root_archive, used
from .layouts import Host
from .run import output
from .state import CACHE, State, locked

FOLDER = CACHE / "kernel"
KERNEL = Path("/usr/bin/linux.uml")
MODULES = Path("/usr/lib/uml/modules")
SIZE = "10G"
# Homes lie on a file system of their own, which can hold people to quotas.
DATA_FSTAB = "/dev/ubdb /srv xfs prjquota 0 0\n"
DATA_SIZE = "2G"


def kernel_version() -> str:
    """The version of the machine's user-mode Linux, which names the folder of its modules."""
    return output([str(KERNEL), "--version"]).strip()


def of(state: State, host: Host, references: Mapping[str, str], mirror: str) -> Path:
    """The disk that a host boots on, made unless it is there."""
    manager = "managers" in host.groups
    archive = root_archive(f"kernel-{host.suite}", mirror)
    images = [references[name] for name in (("hub", "proxy") if manager else ("notebook",))]
    fstab = DATA_FSTAB if "nfs_server" in host.groups else ""
    made_of = [archive.name, kernel_version(), SIZE, fstab, *images]
    key = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    name = f"{host.suite}-{'manager' if manager else 'worker'}"
    path = FOLDER / f"{name}-{key}.img"
    with locked(f"disk-{name}"):
        if not path.exists():
            FOLDER.mkdir(parents=True, exist_ok=True)
            clear(FOLDER, name)
            _make(state, archive, images, fstab, path)
        used(path)
    return path


def _make(state: State, archive: Path, references: list[str], fstab: str, path: Path) -> None:
    tree = path.with_name(f".part-{path.stem}")
    packed = path.with_name(f".part-{path.name}")
    tree.mkdir()
    output(["tar", "-C", str(tree), "--numeric-owner", "-xf", str(archive)], timeout=300)
    version = kernel_version()
    shutil.copytree(MODULES / version, tree / "usr/lib/modules" / version, symlinks=True)
    output(["chroot", str(tree), "depmod", version])
    with (tree / "etc/fstab").open("a") as stream:
        stream.write(fstab)
    _load(state, references, tree / "var/lib/docker")
    output(["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tree), str(packed), SIZE], timeout=300)
    remove_tree(tree)
    keep(packed, path)


def _load(state: State, references: list[str], data: Path) -> None:
    """Hand images to an engine that works on the tree for that moment; of what it leaves, only the images stay."""
    with engine.passing(data) as docker_host:
        pipe = 'docker --host "$0" save "${@:2}" | docker --host "$1" load --quiet'
        output(["bash", "-o", "pipefail", "-c", pipe, state.docker_host, docker_host, *references], timeout=600)
    for path in data.iterdir():
        if path.name not in ("image", "overlay2"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def data_disk() -> Path:
    """An empty XFS with project quotas in reach, which a host boots a copy of."""
    path = FOLDER / f"xfs-{DATA_SIZE}.img"
    with locked("disk-xfs"):
        if not path.exists():
            FOLDER.mkdir(parents=True, exist_ok=True)
            packed = path.with_name(f".part-{path.name}")
            packed.unlink(missing_ok=True)
            output(["truncate", f"--size={DATA_SIZE}", str(packed)])
            output(["mkfs.xfs", "-q", str(packed)])
            keep(packed, path)
    return path


def xstate_library() -> Path:
    """The library that lets user-mode Linux run on processors whose register state is larger than it knows."""
    source = Path(__file__).with_name("xstate.c")
    path = FOLDER / f"xstate-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.so"
    with locked("xstate"):
        if not path.exists():
            FOLDER.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".part-{path.name}")
            output(["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(part), str(source)])
            keep(part, path)
    return path
