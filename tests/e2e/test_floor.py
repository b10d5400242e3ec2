"""What add_node.yml costs next to its floor: a shell script that brings an equal host in by hand."""

from __future__ import annotations

import re
import shlex
import statistics
import time
import typing as t
from pathlib import Path

import pytest

from .conftest import SECRETS, SPARE, Lab, bring_bare, carry_out, run_playbook

ROUNDS = 3
TIMES = 4  # what two busy cores may make of it
STEP = re.compile(r"^ *\S+  +(.+?)  +(?:passed|one node only) +([\d.]+)", re.MULTILINE)  # of the table of the proof
SCRIPT = (Path(__file__).parent / "floor.sh").read_text()
LIKE = "gpu1"  # a worker of the same kind
TOOLKIT = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)
PACKAGES = (
    *("docker.io", "docker-cli", "containerd", "runc", "iptables", "pigz", "ca-certificates", "python3-docker"),
    *TOOLKIT,
)
NOTEBOOK = ("jupyter", "server", "--ip=127.0.0.1", "--port=8888", "--no-browser")
ANSWERS = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8888/api', timeout=2)"
WAIT = f"""
container() {{ docker ps --quiet --filter label=com.docker.swarm.service.name=floor; }}
answers() {{ docker exec "$(container)" python3 -c {shlex.quote(ANSWERS)}; }}
until answers 2> /dev/null; do sleep 0.2; done
"""


def by_hand(lab: Lab) -> float:
    """Bring the spare host in by the script, and start a notebook there; return the seconds."""
    own = lab.variables[SPARE]
    login = lab.ssh(LIKE, "cat /etc/swarmhub/docker/config.json")
    versions = lab.ssh(
        LIKE, f"dpkg-query --show --showformat '${{Package}}=${{Version}} ' {shlex.join(TOOLKIT)}"
    ).split()
    image = next(
        name
        for name in lab.docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", host=LIKE).split()
        if "notebook" in name
    )
    begun = time.monotonic()
    values = {
        "mirror": own["host_package_mirror"],
        "gpu_repository": own["gpu_repository_url"],
        "gpu_key": Path(own["gpu_repository_key"]).read_text(),
        "ca": (SECRETS / "registry_ca.crt").read_text(),
        "login": login,
        "packages": " ".join([*PACKAGES[: -len(TOOLKIT)], *versions]),
        "image": image,
        "registry": image.partition("/")[0],
        "manager": lab.variables[lab.manager]["ansible_host"],
        "token": lab.docker("swarm", "join-token", "--quiet", "worker"),
    }
    given = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    lab.ssh(SPARE, given + SCRIPT, timeout=300)
    lab.docker("node", "update", "--label-add=calculation_type=gpu", SPARE)
    place = (f"--constraint=node.hostname=={SPARE}", "--generic-resource=GPU=1", "--network=swarmhub")
    lab.docker("service", "create", "--name=floor", "--detach", "--no-resolve-image", *place, image, *NOTEBOOK)
    lab.ssh(SPARE, WAIT, timeout=120)
    return time.monotonic() - begun


def by_playbook(lab: Lab) -> tuple[float, float]:
    """Bring it in by add_node.yml; return the seconds until a notebook served there, and until the end."""
    result = run_playbook("playbooks/add_node.yml", "-e", f"node={SPARE}", timeout=600)
    assert result.code == 0, result.output
    rows = STEP.findall(result.output.rpartition("TASK [Show the rows]")[2])
    first = [step for step, _ in rows].index("start a server")
    return result.seconds - sum(float(seconds) for _, seconds in rows[first + 1 :]), result.seconds


@pytest.fixture
def bare(lab: Lab) -> t.Iterator[t.Callable[[], Lab]]:
    """Makes the spare host bare; afterwards it is away."""

    def make() -> Lab:
        bring_bare(lab)
        return Lab()

    try:
        yield make
    finally:
        carry_out(lab)


@pytest.mark.long
def test_add_node_next_to_its_floor(bare: t.Callable[[], Lab]) -> None:
    rounds = []
    for _ in range(ROUNDS):
        new = bare()
        try:
            floor = by_hand(new)
        finally:
            new.ssh(new.manager, "docker service rm floor 2> /dev/null || true")
        rounds.append((floor, *by_playbook(bare())))
        print("by hand {:.0f} s; add_node.yml {:.0f} s, with its proof {:.0f} s".format(*rounds[-1]))
    floor, first, whole = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"medians {floor:.0f} s; {first:.0f} s, {whole:.0f} s: {first / floor:.2f} times the floor")
    assert first < TIMES * floor
