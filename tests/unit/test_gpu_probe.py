"""The probe of the cards: its script under real shells, what is tried where, and the sentences for what comes out."""

from __future__ import annotations

import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.swarmhub.gpu_probe import service_spec
from ansible.module_utils.swarmhub.gpu_probe_cases import Case, Node, cases, judge, unfit
from ansible.module_utils.swarmhub.gpu_probe_nodes import changed_hosts, image_on, probed_nodes
from ansible.module_utils.swarmhub.gpu_probe_script import FIRST_CARD, Code, command
from ansible.module_utils.swarmhub.probe_report import table

A, B, C = (f"GPU-11111111-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
MIG_A, MIG_B = (f"MIG-22222222-0000-5000-8000-00000000000{number}" for number in (1, 2))
NODE = Node("id-gpu1", "gpu1", "sha256:abc")
SHELLS = [shell for shell in (["/bin/sh"], ["/bin/bash"], ["busybox", "sh"]) if shutil.which(shell[0])]


def listing(*cards: str, instances: t.Sequence[str] = ()) -> str:
    """What ``nvidia-smi -L`` prints; the instances are of the last card."""
    lines = [f"GPU {index}: NVIDIA A100-SXM4-40GB (UUID: {card})" for index, card in enumerate(cards)]
    return "\n".join(lines + [f"  MIG 1g.5gb      Device  {n}: (UUID: {uuid})" for n, uuid in enumerate(instances)])


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("case", "given", "files", "printed", "code"),
    [
        # every card is to be seen; the list is that of the node
        (["all", A, B], None, 2, listing(A, B), Code.RIGHT),
        (["all", A, B], None, 3, listing(C, B, A), Code.RIGHT),  # one is kept out of the pool
        (["all", A, B], None, 2, listing(A), FIRST_CARD + 1),
        (["all", A, B], None, 2, listing(C), FIRST_CARD),
        (["all", A], None, 0, None, Code.NOTHING),
        (["all", A], None, 0, "No devices were found", Code.NOTHING),
        (["all", A], None, 1, "Failed to initialize NVML: Driver/library version mismatch", Code.BROKEN),
        (["all", A, B], None, 2, None, Code.COUNTED),
        (["all", A, B], None, 1, None, Code.TOO_FEW),
        (["all", B, MIG_A, MIG_B], None, 2, listing(B, A, instances=[MIG_A, MIG_B]), Code.RIGHT),
        (["all", B, MIG_A, MIG_B], None, 2, listing(B, A, instances=[MIG_A]), FIRST_CARD + 2),
        # none is to be seen
        (["none"], "void", 0, None, Code.RIGHT),
        (["none"], "void", 0, "No devices were found", Code.RIGHT),
        (["none"], "void", 1, None, Code.TOO_MANY),
        (["none"], "void", 0, listing(A), Code.TOO_MANY),
        # one is held; the list is that of its kind
        (["one", A, B], A, 1, listing(A), FIRST_CARD),
        (["one", A, B], B, 1, listing(B), FIRST_CARD + 1),
        (["one", A, B], B, 1, listing(A), Code.ANOTHER),
        (["one", A, B], A, 2, listing(A, B), Code.TOO_MANY),
        (["one", A, B], A, 2, listing(A), Code.TOO_MANY),  # a device file that nvidia-smi does not know
        (["one", A, B], A, 0, None, Code.NOTHING),
        (["one", A, B], A, 1, "Unable to determine the device handle: Unknown Error", Code.BROKEN),
        (["one", A, B], A, 1, None, Code.COUNTED),
        (["one", A, B], A, 2, None, Code.TOO_MANY),
        (["one", A, B], None, 1, listing(A), Code.NOT_GIVEN),
        (["one", A, B], "1", 1, listing(A), Code.NOT_GIVEN),
        (["one", A, B], f"{A},{B}", 2, listing(A, B), Code.NOT_GIVEN),
        (["one", MIG_A, MIG_B], MIG_A, 1, listing(A, instances=[MIG_A]), FIRST_CARD),
        (["one", MIG_A, MIG_B], MIG_A, 1, listing(A, instances=[MIG_B]), Code.ANOTHER),
        (["one", MIG_A, MIG_B], MIG_A, 1, listing(A, instances=[MIG_A, MIG_B]), Code.TOO_MANY),
        (["one", MIG_A, MIG_B], MIG_A, 1, listing(A), Code.ANOTHER),  # the card itself, whole
    ],
)
def test_the_script_tells_by_its_exit_code_what_it_sees(
    *, tmp_path: Path, shell: list[str], case: list[str], given: str | None, files: int, printed: str | None, code: int
) -> None:
    for name in (*(f"nvidia{number}" for number in range(files)), "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    (tmp_path / "bin").mkdir()
    for program in ("env", "cat"):
        (tmp_path / "bin" / program).symlink_to(str(shutil.which(program)))
    if printed is not None:
        (tmp_path / "text").write_text(printed)
        (tmp_path / "bin" / "nvidia-smi").write_text(f'#!/bin/sh\n[ "$*" = -L ] && cat {tmp_path}/text\n')
        (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    _, option, script, *arguments = command(t.cast(t.Any, case[0]), "DOCKER_RESOURCE_GPU", case[1:])
    environment = {"PATH": str(tmp_path / "bin"), **({"DOCKER_RESOURCE_GPU": given} if given is not None else {})}
    done = subprocess.run(
        [str(shutil.which(shell[0])), *shell[1:], option, script.replace("/dev/", f"{tmp_path}/"), *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, "")
    assert (printed or "") in done.stdout  # what a person reads when it failed


def live(state: str = "ready", availability: str = "active", shared: str = "", **cards: list[str]) -> dict[str, t.Any]:
    """A node of ``GET /nodes``; kinds and their UUIDs are keywords."""
    resources = [
        {"NamedResourceSpec": {"Kind": kind, "Value": uuid}} for kind, uuids in cards.items() for uuid in uuids
    ]
    resources.append({"DiscreteResourceSpec": {"Kind": "LICENCE", "Value": 3}})
    return {
        "ID": "id-gpu1",
        "Spec": {"Availability": availability, "Labels": {"gpu_shared": shared} if shared else {}},
        "Status": {"State": state},
        "Description": {"Hostname": "gpu1", "Resources": {"GenericResources": resources}},
    }


def test_each_case_has_the_environment_of_such_a_notebook() -> None:
    found = cases(NODE, live(GPU=[B, A], MIG_1G_10GB=[MIG_A], shared=C), ["GPU", "GPU_RTX_A6000", "MIG_1G_10GB"])
    assert [(case.title, case.cards, case.environment) for case in found] == [
        ("ask for all", [A, B, C, MIG_A], {"NVIDIA_VISIBLE_DEVICES": "all"}),
        (
            "hold none",
            [],
            {
                "NVIDIA_VISIBLE_DEVICES": "void",
                "DOCKER_RESOURCE_GPU": "void",
                "DOCKER_RESOURCE_GPU_RTX_A6000": "void",
                "DOCKER_RESOURCE_MIG_1G_10GB": "void",
            },
        ),
        (
            "hold one GPU",
            [A, B],
            {
                "NVIDIA_VISIBLE_DEVICES": "void",
                "DOCKER_RESOURCE_GPU_RTX_A6000": "",
                "DOCKER_RESOURCE_MIG_1G_10GB": "",
            },
        ),
        (
            "hold one MIG_1G_10GB",
            [MIG_A],
            {"NVIDIA_VISIBLE_DEVICES": "void", "DOCKER_RESOURCE_GPU": "", "DOCKER_RESOURCE_GPU_RTX_A6000": ""},
        ),
    ]


def test_on_a_node_without_cards_only_that_none_are_seen_can_be_tried() -> None:
    assert [case.title for case in cases(NODE, live(), ["GPU"])] == ["hold none"]


def test_a_service_asks_for_one_card_of_its_kind_on_its_node_and_may_do_little() -> None:
    spec = service_spec(Case(NODE, "one", [MIG_A], {"X": "y"}, "MIG_1G_10GB"), "probe", "")
    template = spec["TaskTemplate"]
    assert template["Resources"]["Reservations"] == {
        "GenericResources": [{"DiscreteResourceSpec": {"Kind": "MIG_1G_10GB", "Value": 1}}]
    }
    assert template["Placement"] == {"Constraints": ["node.id==id-gpu1"]}
    assert template["RestartPolicy"] == {"Condition": "none"}
    assert template["ContainerSpec"]["CapabilityDrop"] == ["CAP_NET_RAW"]
    assert template["ContainerSpec"]["Env"] == ["NVIDIA_DRIVER_CAPABILITIES=compute,utility", "X=y"]
    assert template["Networks"] == []


@pytest.mark.parametrize(
    ("node", "found", "outcome", "words"),
    [
        (NODE, None, "failed", "no node of this swarm"),
        (NODE, live(state="down"), "not probed", "the node is down"),
        (NODE, live(availability="drain"), "not probed", "availability drain"),
        (Node("id-gpu1", "gpu1", ""), live(), "failed", "no image of a profile is on it"),
        (Node("id-gpu1", "gpu1", ""), live(state="down"), "not probed", "the node is down"),
    ],
)
def test_where_nothing_can_be_tried_the_reason_is_told(
    node: Node, found: dict[str, t.Any] | None, outcome: str, words: str
) -> None:
    verdict = unfit(node, found)
    assert verdict
    assert verdict[0] == outcome
    assert words in verdict[1]


def task(state: str, error: str = "", *, code: int = 0, card: str = "", node: str = "id-gpu1") -> dict[str, t.Any]:
    """A task of ``GET /tasks``, in the engine's own words."""
    return {
        "NodeID": node,
        "GenericResources": [{"NamedResourceSpec": {"Kind": "GPU", "Value": card}}] if card else None,
        "Status": {"State": state, "Err": f"task: non-zero exit ({code})" if code else error},
    }


ALL, NONE = Case(NODE, "all", [A, B], {}), Case(NODE, "none", [], {})
ONE = Case(NODE, "one", [A, B], {}, "GPU")


@pytest.mark.parametrize(
    ("case", "ended", "runtime_works", "seen"),
    [
        (ALL, task("complete"), True, "all 2"),
        (NONE, task("complete"), True, "none"),
        (ONE, task("failed", code=FIRST_CARD + 1, card=B), True, B),
        (ONE, task("failed", code=Code.COUNTED, card=B), True, "as many as it should, counted in /dev"),
    ],
)
def test_what_is_as_it_should_be_passes(case: Case, ended: dict[str, t.Any], runtime_works: bool, seen: str) -> None:
    outcome, words = judge(case, ended, runtime_works)
    assert outcome == "passed"
    assert words.startswith(seen)


@pytest.mark.parametrize(
    ("case", "ended", "runtime_works", "said"),
    [
        (ALL, task("failed", code=Code.NOTHING), True, ["default runtime is not nvidia", "nvidia-smi on gpu1"]),
        (ALL, task("failed", code=Code.BROKEN), True, ["driver and library differ", "reboot"]),
        (ALL, task("failed", code=FIRST_CARD + 1), True, [f"does not see {B}", "fallen off the bus"]),
        (ALL, task("failed", code=Code.TOO_FEW), True, ["as many cards as the node advertises"]),
        (NONE, task("failed", code=Code.TOO_MANY), True, ["without holding one", "NVIDIA_VISIBLE_DEVICES=void"]),
        (ONE, task("failed", code=Code.TOO_MANY, card=A), True, [f"more than the {A}", "drain it"]),
        (ONE, task("failed", code=Code.NOTHING, card=A), True, [A, "does not follow DOCKER_RESOURCE_GPU", "1.18.x"]),
        (ONE, task("failed", code=Code.NOTHING, card=A), False, ["default runtime is not nvidia"]),
        (ONE, task("failed", code=Code.ANOTHER, card=A), True, [f"given {A} and sees another card", "swarm-resource"]),
        (ONE, task("failed", code=FIRST_CARD, card=B), True, [f"given {B} and sees {A}"]),  # the swarm's books differ
        (ONE, task("complete", card=A), True, ["exit code 0"]),  # a script of somebody else
        (ONE, task("failed", code=Code.NOT_GIVEN, card=A), True, ["DOCKER_RESOURCE_GPU does not hold", A]),
        (ONE, task("failed", code=137), True, ["exit code 137"]),
        (ONE, task("rejected", "assigned node no longer meets constraints"), True, ["moby#44378", "25.0.3"]),
        (ONE, task("rejected", "node is missing network attachments, ip addresses may be exhausted"), True, ["25.0.3"]),
        (ALL, task("rejected", "No such image: sha256:abc"), True, ["sha256:abc is not on gpu1"]),
        (
            ALL,
            task("failed", "starting container failed: nvidia-container-cli: driver/library version mismatch"),
            True,
            ["does not start", "driver/library version mismatch", "gpu1"],
        ),
        (ALL, task("running"), True, ["nvidia-smi hangs", "Xid"]),
        (ALL, task("preparing"), True, ["still preparing", "journalctl -u docker on gpu1"]),
        (
            ONE,
            task("pending", "no suitable node (insufficient resources on 1 node)", node=""),
            True,
            ["no suitable node (insufficient resources on 1 node)", "gpu1"],
        ),
        (ONE, {}, True, ["the swarm assigns no container to gpu1"]),
    ],
)
def test_each_failure_is_a_sentence_with_cause_and_cure(
    case: Case, ended: dict[str, t.Any], runtime_works: bool, said: list[str]
) -> None:
    outcome, words = judge(case, ended, runtime_works)
    assert outcome == "failed"
    assert [part for part in said if part not in words] == []


PROFILES = [
    {"gpus": 0, "spawner_override": {"image": "cpu:1"}},
    {"gpus": 1, "spawner_override": {"image": "cuda:1"}},
    {"gpus": 2, "spawner_override": {"image": ""}},
]


@pytest.mark.parametrize(
    ("tags", "chosen"),
    [
        (["cpu:1", "cuda:1"], "id-cuda:1"),
        (["cpu:1", "other:1", None], "id-cpu:1"),
        (["cpu:1", "10.0.0.1:5000/swarmhub/notebook:abc"], "id-10.0.0.1:5000/swarmhub/notebook:abc"),
        (["swarmhub/notebook-of-mine:1", "cuda:2"], ""),
        ([], ""),
    ],
)
def test_an_image_of_a_profile_is_chosen_of_those_with_cards_first(tags: list[str | None], chosen: str) -> None:
    images = [{"Id": f"id-{tag}", "RepoTags": [tag] if tag else None} for tag in tags]
    assert image_on(images, PROFILES) == chosen


def test_a_node_with_cards_is_not_passed_over_because_its_host_does_not_answer() -> None:
    here = {"host_info": {"Name": "gpu1", "Swarm": {"NodeID": "id-gpu1"}}, "images": []}
    silent = {**live(state="ready", GPU=[A]), "ID": "id-gpu2"}
    without = {**live(), "ID": "id-cpu1"}
    assert probed_nodes([here, {"unreachable": True}], PROFILES, [live(GPU=[B]), silent, without]) == [
        {"node_id": "id-gpu1", "name": "gpu1", "image": ""},
        {"node_id": "id-gpu2", "name": "gpu1", "image": ""},
    ]
    assert probed_nodes([{**here, "item": "gpu1.lan"}], PROFILES)[0]["name"] == "gpu1.lan"


def test_only_hosts_that_changed_and_whose_engine_does_not_wait_are_probed_again() -> None:
    compared: dict[str, dict[str, t.Any]] = {
        "changed": {"now": {"gpu": {}}},
        "right": {"now": {}, "installs": False},
        "new toolkit": {"now": {}, "installs": True},  # and nothing else after it
        "waits": {"now": {"docker_engine": {}}, "engine_waits": True},
        "restarted": {"now": {"docker_engine": {}}, "engine_waits": False},
        "reboot waits": {"now": {"gpu": {}}, "waits": [{"what": "x", "cure": "y"}]},
    }
    hostvars = {**{host: {"node_compared": found} for host, found in compared.items()}, "silent": {}}
    assert changed_hosts(hostvars, hostvars) == ["changed", "new toolkit", "restarted", "reboot waits"]


def test_the_table_has_the_probe_s_own_columns() -> None:
    rows = [{"node": "gpu1", "case": "hold none", "outcome": "passed", "seconds": 1.5, "seen": "none"}]
    assert table(rows) == "NODE  CASE       OUTCOME  SECONDS  SEEN\ngpu1  hold none  passed       1.5  none"
    assert table([]) == ""
