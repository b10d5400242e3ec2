"""gpu_probe on a swarm with two stand-in cards, whose toolkit, driver and settings can be made wrong."""

from __future__ import annotations

import time
import typing as t

import pytest
from ansible.module_utils.swarmhub.swarm import wait_for
from cards import SWARM, CardSwarm, card_swarm
from engines import CARDS
from labkit.cards import Description, describe


class Lab(t.NamedTuple):
    swarm: CardSwarm

    @property
    def node(self) -> dict[str, str]:
        return {"node_id": self.swarm.node_id(), "name": "gpu1.lan", "image": self.swarm.image}

    def probe(self, *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        manager = self.swarm.manager
        result = manager.module("gpu_probe", check=check, **{"nodes": [self.node], "timeout": 20, **options})
        assert manager.docker("service", "ls", "--quiet", "--filter=label=swarmhub.probe") == ""
        return result

    def outcomes(self, config: str = SWARM, /, **toolkit: t.Any) -> dict[str, tuple[str, str]]:
        """Probe under such a toolkit; return outcome and words by case. ``timeout`` and ``network`` go to the probe."""
        options = {name: toolkit.pop(name) for name in ("timeout", "network") if name in toolkit}
        self.swarm.toolkit(config, **toolkit)
        result = self.probe(**options)
        assert result.get("changed") is False
        assert bool(result.get("failed")) is any(row["outcome"] == "failed" for row in result["rows"])
        assert {row["node"] for row in result["rows"]} == {"gpu1.lan"}
        return {row["case"]: (row["outcome"], row["seen"]) for row in result["rows"]}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    with card_swarm(tmp_path_factory.mktemp("probe")) as swarm:
        yield Lab(swarm)


def test_a_sound_node_passes_within_seconds_and_pulls_nothing(lab: Lab) -> None:
    assert lab.probe(check=True)["rows"] == []
    begin = time.monotonic()
    seen = lab.outcomes()
    assert time.monotonic() - begin < 15
    assert seen["ask for all"] == ("passed", "all 2")
    assert seen["hold none"] == ("passed", "none")
    outcome, card = seen["hold one GPU"]
    assert (outcome, card in CARDS) == ("passed", True)
    assert "pull" not in (lab.swarm.gpu1.folder / "log").read_text()


def test_a_runtime_that_ignores_swarm_is_found(lab: Lab) -> None:
    seen = lab.outcomes(version="1.18.2-1")
    assert (seen["ask for all"][0], seen["hold none"][0]) == ("passed", "passed")
    outcome, words = seen["hold one GPU"]
    assert outcome == "failed"
    assert any(words.startswith(f"it was given {card} and sees no card") for card in CARDS)
    assert "does not follow DOCKER_RESOURCE_GPU" in words
    assert "1.18.x ignores swarm-resource" in words


def test_a_setting_that_gives_everything_is_found_and_what_it_gave_is_quoted(lab: Lab) -> None:
    # swarm-resource names a variable that the image sets, so nothing else has a say
    seen = lab.outcomes('swarm-resource = "GREEDY"')
    assert seen["ask for all"][0] == "passed"
    for case in ("hold none", "hold one GPU"):
        outcome, words = seen[case]
        assert outcome == "failed"
        assert "does not obey NVIDIA_VISIBLE_DEVICES=void" in words
        assert all(f"(UUID: {card})" in words for card in CARDS)


def test_a_runtime_that_gives_nothing_proves_nothing(lab: Lab) -> None:
    seen = lab.outcomes(f"accept-nvidia-visible-devices-envvar-when-unprivileged = false\n{SWARM}")
    assert seen["hold none"] == ("no proof", "none, and the one that asks for all shows none either")
    for case in ("ask for all", "hold one GPU"):
        assert seen[case][0] == "failed"
        assert seen[case][1].startswith("it sees no card: the engine's default runtime is not nvidia")


def test_a_card_that_is_gone_is_named(lab: Lab) -> None:
    seen = lab.outcomes(host=describe(CARDS[1:]))
    assert seen["ask for all"][0] == "failed"
    assert seen["ask for all"][1].startswith(f"it does not see {CARDS[0]}, which the node advertises")
    assert seen["hold none"] == ("passed", "none")


def test_another_card_than_the_one_that_was_given_is_found(lab: Lab) -> None:
    # everybody gets the first card; the swarm gives its cards in turn, so the second time at the latest it is another
    for _ in CARDS:
        outcome, words = lab.outcomes('swarm-resource = "FIRST"')["hold one GPU"]
        if outcome == "failed":
            break
    assert words.startswith(f"it was given {CARDS[1]} and sees another card")


def test_without_nvidia_smi_device_files_are_counted(lab: Lab) -> None:
    # the image asks for the capability to compute alone
    seen = lab.outcomes(SWARM + '[nvidia-container-runtime]\nmode = "legacy"')
    for case in ("ask for all", "hold one GPU"):
        assert seen[case] == (
            "passed",
            "as many as it should, counted in /dev, since nvidia-smi is not in the container",
        )
    assert seen["hold none"] == ("passed", "none")


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (describe(CARDS, library="550.90.07"), "Driver/library version mismatch"),
        (describe(CARDS, fault="not loaded"), "Driver Not Loaded"),
        (describe(CARDS, lost=[0, 1]), "Unknown Error"),
    ],
    ids=["mismatch", "not loaded", "off the bus"],
)
def test_a_driver_that_fails_is_quoted(lab: Lab, host: Description, words: str) -> None:
    seen = lab.outcomes(host=host)
    assert seen["hold none"][0] == "no proof"
    for case in ("ask for all", "hold one GPU"):
        assert seen[case][0] == "failed"
        assert seen[case][1].startswith("the container does not start (")
        assert words in seen[case][1]


def test_an_nvidia_smi_that_hangs_is_given_up(lab: Lab) -> None:
    seen = lab.outcomes(host=describe(CARDS, fault="hangs"), timeout=4)
    assert seen["hold none"][0] == "no proof"
    for case in ("ask for all", "hold one GPU"):
        assert seen[case][0] == "failed"
        assert seen[case][1].startswith("the container does not end: nvidia-smi hangs")


def test_cards_that_others_hold_are_no_failure_and_leftovers_go(lab: Lab) -> None:
    lab.swarm.toolkit()
    lab.swarm.service("left", 2, "--label=swarmhub.probe=hold one GPU")
    running = ("service", "ls", "--format={{.Name}} {{.Replicas}}")
    assert wait_for(lambda: lab.swarm.manager.docker(*running), lambda seen: seen == "left 1/1", 30) == "left 1/1"
    assert lab.outcomes()["hold one GPU"][0] == "passed"
    lab.swarm.service("notebook", 2, "--label=swarmhub.user=alice")
    assert (
        wait_for(lambda: lab.swarm.manager.docker(*running), lambda seen: seen == "notebook 1/1", 30) == "notebook 1/1"
    )
    seen = lab.outcomes()
    assert seen["hold one GPU"] == ("in use", "all 2 cards are in use")
    lab.swarm.manager.docker("service", "rm", "notebook")


def test_an_image_that_is_not_there_is_named(lab: Lab) -> None:
    lab.swarm.toolkit()
    refused = lab.probe(nodes=[{**lab.node, "image": f"sha256:{'0' * 64}"}])
    assert f"gpu1.lan, hold none: sha256:{'0' * 64} is not on gpu1.lan" in refused["msg"]
    assert "no image of a profile is on it" in lab.probe(nodes=[{**lab.node, "image": ""}])["msg"]


def test_what_cannot_be_probed_says_so(lab: Lab) -> None:
    assert "the swarm has no network nosuch" in lab.probe(network="nosuch")["msg"]
    assert "no node of this swarm" in lab.probe(nodes=[{**lab.node, "node_id": "nosuch"}])["msg"]
    assert "no swarm manager" in lab.swarm.gpu1.refusal("gpu_probe", nodes=[lab.node])
    lab.swarm.manager.docker("node", "update", "--availability=drain", lab.node["node_id"])
    drained = lab.probe()
    lab.swarm.manager.docker("node", "update", "--availability=active", lab.node["node_id"])
    assert not drained.get("failed")
    assert [(row["outcome"], row["seen"]) for row in drained["rows"]] == [
        ("not probed", "the node is ready and its availability drain")
    ]


def test_an_engine_that_cannot_join_card_and_overlay_is_told_from_a_broken_runtime(lab: Lab) -> None:
    lab.swarm.manager.docker("network", "create", "--driver=overlay", "--attachable", "notebooks")
    seen = lab.outcomes(network="notebooks")
    version = lab.swarm.manager.docker("version", "--format", "{{.Server.Version}}").partition("+")[0]
    assert [seen[case][0] for case in ("ask for all", "hold none")] == ["passed", "passed"]
    if tuple(map(int, version.split("."))) >= (25, 0, 3):
        assert seen["hold one GPU"][0] == "passed"
    else:
        assert seen["hold one GPU"][0] == "failed"
        assert "moby#44378" in seen["hold one GPU"][1]
