"""gpu_probe on a swarm of two engines, one with two stand-in cards under a runtime that can be made to misbehave."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tarfile
import time
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub.swarm import wait_for
from engines import CARDS, Host, Switch

# Stands for nvidia-container-runtime where a test needs one that is wrong; how, says a file beside it.
RUNTIME = r"""#!/usr/bin/python3
import json, os, pathlib, sys

here = pathlib.Path(__file__).parent
mode = (here / "mode").read_text()
if "create" in sys.argv and mode != "runc":
    bundle = pathlib.Path(sys.argv[sys.argv.index("--bundle") + 1]) / "config.json"
    spec = json.loads(bundle.read_text())
    environment = dict(each.split("=", 1) for each in spec["process"]["env"])
    wanted = environment.get("NVIDIA_VISIBLE_DEVICES", "")
    if mode != "ignores swarm":
        wanted = environment.get("DOCKER_RESOURCE_GPU", wanted)
    cards = json.loads((here / "cards").read_text())
    given = [card for card in cards if wanted == "all" or card in wanted or mode == "gives everything"]
    if given:
        names = [f"/dev/nvidia{cards.index(card)}" for card in given]
        spec["linux"].setdefault("devices", []).extend(
            {"path": name, "type": "c", "major": 195, "minor": number, "fileMode": 0o666}
            for number, name in enumerate(names)
        )
        listed = [card for card in given if not (mode == "lists no first card" and card == cards[0])]
        if mode == "lists another card":
            listed = [cards[1 - cards.index(card)] for card in given]
        lines = [f"GPU {number}: NVIDIA RTX A6000 (UUID: {card})" for number, card in enumerate(listed)]
        stand_in = bundle.with_name("nvidia-smi")
        stand_in.write_text("#!/bin/sh\n" + "\n".join(f"echo '{line}'" for line in lines) + "\n")
        if mode == "hangs":
            stand_in.write_text("#!/bin/sh\nwhile :; do :; done\n")
        stand_in.chmod(0o755)
        if mode != "brings no nvidia-smi":
            spec["mounts"].append(
                {"destination": "/usr/bin/nvidia-smi", "type": "bind", "source": str(stand_in), "options": ["bind"]}
            )
    if mode == "refuses":
        print("driver/library version mismatch", file=sys.stderr)
        sys.exit(1)
    bundle.write_text(json.dumps(spec))
os.execvp("runc", ["runc", *sys.argv[1:]])
"""


class Lab(t.NamedTuple):
    manager: Host
    gpu1: Host
    folder: Path
    image: str

    @property
    def node(self) -> dict[str, str]:
        node_id = self.gpu1.docker("info", "--format", "{{.Swarm.NodeID}}")
        return {"node_id": node_id, "name": "gpu1.lan", "image": self.image}

    def mode(self, text: str) -> None:
        (self.folder / "mode").write_text(text)

    def probe(self, *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        result = self.manager.module("gpu_probe", check=check, **{"nodes": [self.node], "timeout": 20, **options})
        assert self.manager.docker("service", "ls", "--quiet", "--filter=label=swarmhub.probe") == ""
        return result

    def outcomes(self, mode: str, **options: t.Any) -> dict[str, tuple[str, str]]:
        """Probe under a runtime of that mode; return outcome and words by case."""
        self.mode(mode)
        result = self.probe(**options)
        assert result.get("changed") is False
        assert bool(result.get("failed")) is any(row["outcome"] == "failed" for row in result["rows"])
        assert {row["node"] for row in result["rows"]} == {"gpu1.lan"}
        return {row["case"]: (row["outcome"], row["seen"]) for row in result["rows"]}


def write_shell_image(archive: Path) -> None:
    """Write an image of the machine's own shell and ``env``, with the libraries that they need."""
    programs = ["/bin/sh", "/usr/bin/env"]
    needed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout.split()
    libraries = {word for word in needed if word.startswith("/") and not word.endswith(":")}
    with tarfile.open(archive, "w", dereference=True) as image:
        for path in (*programs, *sorted(libraries)):
            image.add(path)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    folder = tmp_path_factory.mktemp("probe")
    runtime = folder / "nvidia-container-runtime"
    runtime.write_text(RUNTIME)
    runtime.chmod(0o755)
    (folder / "cards").write_text(json.dumps(CARDS))
    write_shell_image(folder / "shell.tar")
    cards = [f"--node-generic-resource=GPU={card}" for card in CARDS]
    arguments = [*cards, f"--add-runtime=nvidia={runtime}", "--default-runtime=nvidia"]
    with contextlib.ExitStack() as stack:
        # Here the engines are as on a cluster, where what is named by a tag is asked for at its registry.
        stack.enter_context(pytest.MonkeyPatch.context()).delenv("DOCKER_SERVICE_PREFER_OFFLINE_IMAGE")
        switch = stack.enter_context(Switch())
        manager = stack.enter_context(Host("mgr1", "10.123.0.11", folder, switch).running())
        gpu1 = stack.enter_context(Host("gpu1", "10.123.0.21", folder, switch, arguments).running())
        manager.docker("swarm", "init", "--advertise-addr", manager.address)
        token = manager.docker("swarm", "join-token", "-q", "worker")
        gpu1.docker("swarm", "join", "--token", token, f"{manager.address}:2377")
        gpu1.docker("import", str(folder / "shell.tar"), "shell:1")
        image = gpu1.docker("image", "inspect", "--format", "{{.Id}}", "shell:1")
        yield Lab(manager, gpu1, folder, image)


def test_a_sound_node_passes_within_seconds_and_pulls_nothing(lab: Lab) -> None:
    assert lab.probe(check=True)["rows"] == []
    begin = time.monotonic()
    seen = lab.outcomes("sound")
    assert time.monotonic() - begin < 15
    assert seen["ask for all"] == ("passed", "all 2")
    assert seen["hold none"] == ("passed", "none")
    outcome, card = seen["hold one GPU"]
    assert (outcome, card in CARDS) == ("passed", True)
    assert "pull" not in (lab.gpu1.folder / "log").read_text()


def test_a_runtime_that_ignores_swarm_is_found(lab: Lab) -> None:
    seen = lab.outcomes("ignores swarm")
    assert (seen["ask for all"][0], seen["hold none"][0]) == ("passed", "passed")
    outcome, words = seen["hold one GPU"]
    assert outcome == "failed"
    assert any(words.startswith(f"it was given {card} and sees no card") for card in CARDS)
    assert "does not follow DOCKER_RESOURCE_GPU" in words
    assert "1.18.x ignores swarm-resource" in words


def test_a_runtime_that_gives_everything_is_found_and_what_it_gave_is_quoted(lab: Lab) -> None:
    seen = lab.outcomes("gives everything")
    assert seen["ask for all"][0] == "passed"
    for case in ("hold none", "hold one GPU"):
        outcome, words = seen[case]
        assert outcome == "failed"
        assert "does not obey NVIDIA_VISIBLE_DEVICES=void" in words
        assert all(f"(UUID: {card})" in words for card in CARDS)


def test_runc_as_the_default_runtime_proves_nothing(lab: Lab) -> None:
    seen = lab.outcomes("runc")
    assert seen["hold none"] == ("no proof", "none, and the one that asks for all shows none either")
    for case in ("ask for all", "hold one GPU"):
        assert seen[case][0] == "failed"
        assert seen[case][1].startswith("it sees no card: the engine's default runtime is not nvidia")


def test_a_card_that_nvidia_smi_does_not_show_is_named(lab: Lab) -> None:
    seen = lab.outcomes("lists no first card")
    assert seen["ask for all"][0] == "failed"
    assert seen["ask for all"][1].startswith(f"it does not see {CARDS[0]}, which the node advertises")
    assert seen["hold none"] == ("passed", "none")
    outcome, words = seen["hold one GPU"]
    assert outcome == "failed"
    assert f"device files for {CARDS[0]}, and nvidia-smi lists no card" in words


def test_another_card_than_the_one_that_was_given_is_found(lab: Lab) -> None:
    seen = lab.outcomes("lists another card")
    assert seen["ask for all"][0] == "passed"
    outcome, words = seen["hold one GPU"]
    assert outcome == "failed"
    assert any(words.startswith(f"it was given {card} and sees another card") for card in CARDS)


def test_without_nvidia_smi_device_files_are_counted(lab: Lab) -> None:
    seen = lab.outcomes("brings no nvidia-smi")
    for case in ("ask for all", "hold one GPU"):
        assert seen[case] == (
            "passed",
            "as many as it should, counted in /dev, since nvidia-smi is not in the container",
        )
    assert seen["hold none"] == ("passed", "none")


def test_a_runtime_that_starts_nothing_is_quoted(lab: Lab) -> None:
    for outcome, words in lab.outcomes("refuses").values():
        assert outcome == "failed"
        assert words.startswith("the container does not start (")


def test_an_nvidia_smi_that_hangs_is_given_up(lab: Lab) -> None:
    seen = lab.outcomes("hangs", timeout=4)
    assert seen["hold none"][0] == "no proof"
    for case in ("ask for all", "hold one GPU"):
        assert seen[case][0] == "failed"
        assert seen[case][1].startswith("the container does not end: nvidia-smi hangs")


def test_cards_that_others_hold_are_no_failure_and_leftovers_go(lab: Lab) -> None:
    lab.mode("sound")
    hold = [
        "service", "create", "--detach", "--quiet", "--no-resolve-image", "--generic-resource=GPU=2",
        "--stop-grace-period=1s", f"--constraint=node.id=={lab.node['node_id']}",
    ]  # fmt: skip
    endless = [lab.image, "/bin/sh", "-c", "while :; do read -r line < /dev/zero; done"]
    lab.manager.docker(*hold, "--name=left", "--label=swarmhub.probe=hold one GPU", *endless)
    notebook = [*hold, "--name=notebook", "--label=swarmhub.user=alice", *endless]
    running = ("service", "ls", "--format={{.Name}} {{.Replicas}}")
    assert wait_for(lambda: lab.manager.docker(*running), lambda seen: seen == "left 1/1", 30) == "left 1/1"
    assert lab.outcomes("sound")["hold one GPU"][0] == "passed"
    lab.manager.docker(*notebook)
    assert wait_for(lambda: lab.manager.docker(*running), lambda seen: seen == "notebook 1/1", 30) == "notebook 1/1"
    seen = lab.outcomes("sound")
    assert seen["hold one GPU"] == ("in use", "all 2 cards are in use")
    lab.manager.docker("service", "rm", "notebook")


def test_an_image_that_is_not_there_is_named(lab: Lab) -> None:
    lab.mode("sound")
    refused = lab.probe(nodes=[{**lab.node, "image": f"sha256:{'0' * 64}"}])
    assert f"gpu1.lan, hold none: sha256:{'0' * 64} is not on gpu1.lan" in refused["msg"]
    assert "no image of a profile is on it" in lab.probe(nodes=[{**lab.node, "image": ""}])["msg"]


def test_what_cannot_be_probed_says_so(lab: Lab) -> None:
    assert "the swarm has no network nosuch" in lab.probe(network="nosuch")["msg"]
    assert "no node of this swarm" in lab.probe(nodes=[{**lab.node, "node_id": "nosuch"}])["msg"]
    assert "no swarm manager" in lab.gpu1.refusal("gpu_probe", nodes=[lab.node])
    lab.manager.docker("node", "update", "--availability=drain", lab.node["node_id"])
    drained = lab.probe()
    lab.manager.docker("node", "update", "--availability=active", lab.node["node_id"])
    assert not drained.get("failed")
    assert [(row["outcome"], row["seen"]) for row in drained["rows"]] == [
        ("not probed", "the node is ready and its availability drain")
    ]


def test_an_engine_that_cannot_join_card_and_overlay_is_told_from_a_broken_runtime(lab: Lab) -> None:
    lab.manager.docker("network", "create", "--driver=overlay", "--attachable", "notebooks")
    seen = lab.outcomes("sound", network="notebooks")
    version = lab.manager.docker("version", "--format", "{{.Server.Version}}").partition("+")[0]
    assert [seen[case][0] for case in ("ask for all", "hold none")] == ["passed", "passed"]
    if tuple(map(int, version.split("."))) >= (25, 0, 3):
        assert seen["hold one GPU"][0] == "passed"
    else:
        assert seen["hold one GPU"][0] == "failed"
        assert "moby#44378" in seen["hold one GPU"][1]
