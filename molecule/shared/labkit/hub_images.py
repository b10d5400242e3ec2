"""The images of hub, proxy and notebook, built on this machine for hosts on which a build would take minutes."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import machine
from .engine import docker, environment
from .images import import_image
from .run import logged
from .state import LAB, REPOSITORY, State, locked

NAMES = ("hub", "proxy", "notebook")
# Nobody listens there: the images are on the hosts already, and whoever asks for them is told so at once.
REGISTRY = "localhost:5000/swarmhub"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def _reference(name: str, arguments: dict[str, str], certificates: list[Path]) -> str:
    """The image's name; its tag is a hash of all that goes into it."""
    folder = REPOSITORY / "images" / name
    digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode())
    for path in _files(folder):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_mode:o}\n".encode() + path.read_bytes())
    for path in certificates:
        digest.update(path.read_bytes())
    return f"{REGISTRY}/{name}:{digest.hexdigest()[:16]}"


def _build(state: State, name: str, reference: str, arguments: dict[str, str], certificates: list[Path]) -> None:
    with tempfile.TemporaryDirectory(prefix="swarmhub-") as work:
        context = Path(work, name)
        shutil.copytree(REPOSITORY / "images" / name, context, ignore=shutil.ignore_patterns("__pycache__"))
        for path in certificates:
            shutil.copy(path, context / "ca")
        given = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        logged(
            ["docker", "build", "--network=host", f"--tag={reference}", *given, str(context)],
            LAB / f"{name}-build.log",
            timeout=900,
            env=environment(state),
        )


def build(state: State, slim: Path, mirror: str) -> dict[str, str]:
    """Build the images that the lab's engine lacks, as role hub_images would; return their references by name."""
    arguments = {
        "BASE": f"swarmhub-lab:{slim.stem}",
        "APT_MIRROR": mirror,
        "PIP_INDEX_URL": machine.pip_index_url(),
        "NPM_REGISTRY": machine.npm_registry(),
    }
    certificates = machine.extra_certificates()
    references = {name: _reference(name, arguments, certificates) for name in NAMES}
    for name, reference in references.items():
        with locked(f"image-{name}"):
            if not docker(state, "image", "ls", "--quiet", reference):
                import_image(state, slim)
                _build(state, name, reference, arguments, certificates)
    return references
