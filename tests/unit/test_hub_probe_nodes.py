"""Which nodes a profile fits, and the table at the end of verify.yml."""

from __future__ import annotations

import typing as t

import pytest
from ansible.module_utils.swarmhub.probe_nodes import met, probe_profiles, unproved
from ansible.module_utils.swarmhub.probe_report import table


def node(
    name: str, cards: int | dict[str, int] = 0, state: str = "ready", availability: str = "active", **labels: str
) -> dict[str, t.Any]:
    counts = {"GPU": cards} if isinstance(cards, int) else cards
    resources = [
        {"NamedResourceSpec": {"Kind": kind, "Value": f"GPU-{index}"}}
        for kind, count in counts.items()
        for index in range(count)
    ]
    return {
        "ID": f"id-{name}",
        "Spec": {"Role": "worker", "Availability": availability, "Labels": labels},
        "Status": {"State": state, "Addr": "10.0.0.1"},
        "Description": {
            "Hostname": name,
            "Platform": {"OS": "linux", "Architecture": "x86_64"},
            "Engine": {"Labels": {"disk": "ssd"}},
            "Resources": {"GenericResources": resources} if cards else {},
        },
    }


NODES = [
    node("gpu2", 4, calculation_type="gpu", gpu_model="b"),
    node("gpu1", 2, calculation_type="gpu", gpu_model="a"),
    node("down", 8, state="down", calculation_type="gpu"),
    node("drained", 8, availability="drain", calculation_type="gpu"),
    node("cpu1", calculation_type="cpu"),
]


@pytest.mark.parametrize(
    ("profile", "nodes"),
    [
        ({"constraints": ["node.labels.calculation_type==cpu"]}, ["cpu1"]),
        ({"constraints": ["node.labels.calculation_type == GPU"], "gpus": 1}, ["gpu1", "gpu2"]),
        ({"gpus": 3}, ["gpu2"]),
        ({"gpus": 1, "gpu_model": "a"}, ["gpu1"]),
        ({"gpus": 9}, []),
        ({"constraints": ["node.hostname!=cpu1", "engine.labels.disk==ssd"]}, ["gpu1", "gpu2"]),
    ],
)
def test_a_profile_fits_the_nodes_that_swarm_would_choose(profile: dict[str, t.Any], nodes: list[str]) -> None:
    assert probe_profiles([{"slug": "x", **profile}], NODES) == [
        {"slug": "x", "gpus": profile.get("gpus", 0), "nodes": nodes}
    ]


@pytest.mark.parametrize(
    ("profile", "fits"),
    [
        ({"gpus": 2}, True),
        ({"gpus": 3}, False),
        ({"gpus": 2, "gpu_model": "a"}, True),
        ({"gpus": 2, "gpu_model": "b"}, False),
        ({"gpus": 3, "gpu_model": "mig-1g-10gb"}, True),
        ({"gpu_shared": True}, True),
        ({"gpu_shared": True, "gpu_model": "a"}, False),
    ],
)
def test_a_host_that_mixes_models_is_counted_by_kind(profile: dict[str, t.Any], fits: bool) -> None:
    mixed = node("gpu3", {"GPU_A": 2, "GPU_B": 1, "MIG_1G_10GB": 3}, gpu_shared="GPU-x")
    (row,) = probe_profiles([{"slug": "x", **profile}], [mixed])
    assert row["nodes"] == (["gpu3"] if fits else [])


def test_what_people_run_already_needs_no_other_proof() -> None:
    rows = [{"slug": slug, "gpus": gpus, "nodes": ["gpu3"]} for slug, gpus in (("cpu", 0), ("gpu", 1), ("two", 2))]

    def left(*running: str) -> list[str]:
        notebooks = [{"user": "alice", "profile": slug} for slug in running]
        return [row["slug"] for row in unproved(rows, notebooks)]

    assert left() == ["cpu", "gpu", "two"]
    assert left("cpu", "of-before") == ["gpu", "two"]
    assert left("gpu") == ["cpu"]
    assert left("gpu", "cpu") == []


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("node.role==worker", True),
        ("node.role==manager", False),
        ("node.labels.none!=x", True),
        ("node.id==id-cpu1", True),
    ],
)
def test_constraints_are_read_as_swarm_reads_them(constraint: str, expected: bool) -> None:
    assert met(constraint, NODES[-1]) is expected


@pytest.mark.parametrize("constraint", ["node.labels.a=b", "node.colour==blue"])
def test_what_swarm_would_refuse_is_refused(constraint: str) -> None:
    with pytest.raises(ValueError, match="constraint"):
        met(constraint, NODES[0])


def test_the_table_is_aligned() -> None:
    rows = [
        {"profile": "", "step": "sign in", "outcome": "passed", "seconds": 0.3, "detail": "by the sign-in page"},
        {"profile": "gpu", "step": "stop", "outcome": "one node only", "seconds": 12.0, "detail": ""},
    ]
    assert table(rows).splitlines() == [
        "PROFILE  STEP     OUTCOME        SECONDS  SEEN",
        "-        sign in  passed             0.3  by the sign-in page",
        "gpu      stop     one node only     12.0  -",
    ]
