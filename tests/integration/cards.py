"""A swarm of two engines, one of them with two stand-in cards under the lab's stand-in for NVIDIA's runtime."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tarfile
import typing as t
from pathlib import Path

import pytest
from engines import CARDS, Host, Switch
from labkit import stand_ins
from labkit.cards import Description, describe

SWARM = 'swarm-resource = "DOCKER_RESOURCE_GPU"\n'
# A pause without programs: the shell reads zeros that never become a line.
ENDLESS = ["/bin/sh", "-c", "while :; do read -r line < /dev/zero; done"]
# What a notebook's image may bring along.
IMAGE = {
    "NVIDIA_DRIVER_CAPABILITIES": "compute",
    "GREEDY": "all",
    "FIRST": CARDS[0],
}


class CardSwarm(t.NamedTuple):
    """The swarm; ``gpu1`` has the cards, and ``image`` on it a shell and ``env`` but nothing else."""

    manager: Host
    gpu1: Host
    folder: Path
    image: str

    def toolkit(self, config: str = SWARM, *, version: str = "1.20.0-1", host: Description | None = None) -> None:
        """Give ``gpu1`` a toolkit of that version and configuration, and other cards; sound ones unless told."""
        (self.folder / "config.toml").write_text(config)
        (self.folder / "cards").write_text(json.dumps(host or describe(CARDS)))
        current = self.folder / "toolkit"
        current.unlink(missing_ok=True)
        current.symlink_to(self.folder / version)

    def log(self) -> list[dict[str, t.Any]]:
        """Return what the runtime has noted of the containers so far."""
        path = self.folder / "log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def node_id(self) -> str:
        """Return the id of ``gpu1`` in the swarm."""
        return self.gpu1.docker("info", "--format", "{{.Swarm.NodeID}}")

    def service(self, name: str, cards: int, *options: str) -> None:
        """Create an endless service on ``gpu1`` that holds some cards; its shell heeds no milder signal."""
        holds = [f"--generic-resource=GPU={cards}"] if cards else []
        self.manager.docker(
            "service", "create", "--detach", "--quiet", "--no-resolve-image", f"--name={name}", *holds, *options,
            "--stop-signal=SIGKILL", f"--constraint=node.id=={self.node_id()}", self.image, *ENDLESS,
        )  # fmt: skip


def write_shell_image(archive: Path) -> None:
    """Write an image of the machine's own shell and ``env``, with the libraries that they need."""
    programs = ["/bin/sh", "/usr/bin/env"]
    needed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout.split()
    libraries = {word for word in needed if word.startswith("/") and not word.endswith(":")}
    with tarfile.open(archive, "w", dereference=True) as image:
        for path in (*programs, *sorted(libraries)):
            image.add(path)


def install(folder: Path) -> None:
    """Lay the stand-ins of each version of the toolkit out below ``folder``, with a driver's."""
    stand_ins.build(folder)
    for version in stand_ins.TOOLKIT_VERSIONS:
        for name, own in (("nvidia-container-toolkit-base", version), ("nvidia-smi", stand_ins.DRIVER_VERSIONS[-1])):
            stand_ins.unpack(stand_ins.deb(folder, name, own), folder / version)


@contextlib.contextmanager
def card_swarm(folder: Path) -> t.Iterator[CardSwarm]:
    """Found the swarm below ``folder``; take it away afterwards."""
    install(folder)
    write_shell_image(folder / "shell.tar")
    runtime = folder / "toolkit/usr/bin/nvidia-container-runtime"
    cards = [f"--node-generic-resource=GPU={card}" for card in CARDS]
    arguments = [*cards, f"--add-runtime=nvidia={runtime}", "--default-runtime=nvidia"]
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        # Here the engines are as on a cluster, where what is named by a tag is asked for at its registry.
        patch.delenv("DOCKER_SERVICE_PREFER_OFFLINE_IMAGE")
        patch.setenv("SWARMHUB_LAB_CARDS", str(folder / "cards"))
        patch.setenv("SWARMHUB_LAB_LOG", str(folder / "log"))
        patch.setenv("NVIDIA_CTK_CONFIG_FILE_PATH", str(folder / "config.toml"))
        switch = stack.enter_context(Switch())
        manager = stack.enter_context(Host("mgr1", "10.123.0.11", folder, switch).running())
        gpu1 = stack.enter_context(Host("gpu1", "10.123.0.21", folder, switch, arguments).running())
        manager.docker("swarm", "init", "--advertise-addr", manager.address)
        token = manager.docker("swarm", "join-token", "-q", "worker")
        gpu1.docker("swarm", "join", "--token", token, f"{manager.address}:2377")
        variables = [f"--change=ENV {name}={value}" for name, value in IMAGE.items()]
        gpu1.docker("import", *variables, str(folder / "shell.tar"), "shell:1")
        image = gpu1.docker("image", "inspect", "--format", "{{.Id}}", "shell:1")
        swarm = CardSwarm(manager, gpu1, folder, image)
        swarm.toolkit()
        yield swarm
