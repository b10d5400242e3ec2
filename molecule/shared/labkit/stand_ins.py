"""Builds the packages that stand in for NVIDIA's, each in several versions.

What a package holds lies in stubs/<package>/, with @VERSION@ where its version belongs and @UPSTREAM@ where that goes
without the distribution's part. Its programs are modules of standins/, which a launcher starts.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .run import output

SHARED = Path(__file__).resolve().parents[1]
STUBS = SHARED / "stubs"
MODULES = SHARED / "standins"
# 1.18.2 ignores swarm's assignment, 1.19.0 follows it, and 1.20.0 keeps its setting through an upgrade.
TOOLKIT_VERSIONS = ("1.18.2-1", "1.19.0-1", "1.20.0-1")
# Debian 12's and Debian 13's; a host with the component non-free has the real one in reach, which must not be newer.
DRIVER_VERSIONS = ("535.261.03-1+lab", "550.163.01-2+lab")
LAUNCHER = """\
#!/usr/bin/python3
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib/swarmhub-lab"))
from standins.{module} import main

sys.exit(main())
"""


@dataclass(frozen=True)
class StandIn:
    """A package: its versions, its programs (path to module) and what other modules these need."""

    name: str
    versions: tuple[str, ...]
    programs: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()


STAND_INS = (
    StandIn("libnvidia-container1", TOOLKIT_VERSIONS),
    StandIn("libnvidia-container-tools", TOOLKIT_VERSIONS),
    StandIn("nvidia-container-toolkit", TOOLKIT_VERSIONS),
    StandIn(
        "nvidia-container-toolkit-base",
        TOOLKIT_VERSIONS,
        {"usr/bin/nvidia-ctk": "nvidia_ctk", "usr/sbin/swarmhub-lab-container": "container_runtime"},
        ("given_cards", "oci_bundle", "toolkit_config", "visible_devices"),
    ),
    StandIn(
        "nvidia-smi",
        DRIVER_VERSIONS,
        {"usr/bin/nvidia-smi": "nvidia_smi", "usr/sbin/swarmhub-lab-driver": "driver_state"},
    ),
    StandIn("nvidia-kernel-dkms", DRIVER_VERSIONS),
    StandIn("libcuda1", DRIVER_VERSIONS),
    StandIn("nvidia-driver", DRIVER_VERSIONS),
)


def sources_hash() -> str:
    """A hash of everything that the packages are made of."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(path for folder in (STUBS, MODULES) for path in folder.rglob("*") if path.is_file()):
        if "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(SHARED)} {path.stat().st_mode:o}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def deb(folder: Path, name: str, version: str) -> Path:
    """Where a package lies among those that were built."""
    return folder / f"{name}_{version}_all.deb"


def build(folder: Path) -> None:
    """Build all packages in all versions."""
    for stand_in in STAND_INS:
        for version in stand_in.versions:
            with tempfile.TemporaryDirectory(prefix="swarmhub-") as work:
                tree = Path(work, "tree")
                _lay_out(stand_in, version, tree)
                target = deb(folder, stand_in.name, version)
                output(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(target)])


def _lay_out(stand_in: StandIn, version: str, tree: Path) -> None:
    shutil.copytree(STUBS / stand_in.name, tree, symlinks=True)
    for path in [path for path in tree.rglob("*") if path.is_file()]:
        text = path.read_text().replace("@VERSION@", version).replace("@UPSTREAM@", version.rpartition("-")[0])
        path.write_text(text)
    library = tree / "usr/lib/swarmhub-lab/standins"
    for module in (*stand_in.programs.values(), *stand_in.modules):
        library.mkdir(parents=True, exist_ok=True)
        shutil.copy(MODULES / f"{module}.py", library)
    for program, module in stand_in.programs.items():
        path = tree / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LAUNCHER.format(module=module))
        path.chmod(0o755)


def unpack(package: Path, root: Path) -> None:
    """Lay a package's files out below a folder, without its scripts."""
    output(["dpkg-deb", "--extract", str(package), str(root)])
