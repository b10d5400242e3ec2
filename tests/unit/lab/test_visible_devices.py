"""Which cards a container asks for: the toolkit's precedence, by version and mode."""

from __future__ import annotations

import pytest
from standins.visible_devices import brings_programs, consulted, environment, obeyed, preferred, requested

GPU, MIG = "DOCKER_RESOURCE_GPU", "DOCKER_RESOURCE_MIG"
VISIBLE = "NVIDIA_VISIBLE_DEVICES"
CUDA_OLD = {"CUDA_VERSION": "10.0"}
CUDA_NEW = {**CUDA_OLD, "NVIDIA_REQUIRE_CUDA": "cuda>=12.4"}


@pytest.mark.parametrize(
    ("setting", "mode", "version", "names"),
    [
        (GPU, "legacy", (1, 18, 2), [GPU]),
        (f"{GPU}, {MIG} ,", "legacy", (1, 20, 0), [GPU, MIG]),
        ("", "legacy", (1, 20, 0), []),
        (GPU, "jit-cdi", (1, 18, 2), []),
        (GPU, "jit-cdi", (1, 19, 0), [GPU]),
        (GPU, "jit-cdi", (1, 20, 0), [GPU]),
        (f"{GPU},{MIG}", "jit-cdi", (1, 20, 0), [f"{GPU},{MIG}"]),
    ],
)
def test_variables_that_come_first(setting: str, mode: str, version: tuple[int, ...], names: list[str]) -> None:
    assert preferred(setting, mode, version) == names


@pytest.mark.parametrize(
    ("variables", "names", "asked"),
    [
        # nothing is set
        ({}, [GPU], ["void"]),
        (CUDA_NEW, [GPU], ["void"]),
        (CUDA_OLD, [GPU], ["all"]),
        ({"CUDA_VERSION": ""}, [GPU], ["void"]),
        # NVIDIA's own variable
        ({VISIBLE: "all"}, [GPU], ["all"]),
        ({VISIBLE: "void"}, [GPU], ["void"]),
        ({VISIBLE: "none"}, [GPU], ["none"]),
        ({VISIBLE: ""}, [GPU], ["void"]),
        ({VISIBLE: "", **CUDA_OLD}, [GPU], ["void"]),  # empty is set
        ({VISIBLE: "0, 1 ,"}, [GPU], ["0", "1"]),
        # swarm's goes before it
        ({VISIBLE: "all", GPU: "GPU-a"}, [GPU], ["GPU-a"]),
        ({VISIBLE: "void", GPU: "GPU-a,GPU-b"}, [GPU], ["GPU-a", "GPU-b"]),
        ({VISIBLE: "all", GPU: "void"}, [GPU], ["void"]),
        ({VISIBLE: "all", GPU: ""}, [GPU], ["void"]),
        ({VISIBLE: "all", GPU: "", **CUDA_OLD}, [GPU], ["void"]),
        ({GPU: "all"}, [GPU], ["all"]),
        # unless the toolkit does not know it
        ({VISIBLE: "all", GPU: "GPU-a"}, [], ["all"]),
        ({VISIBLE: "void", GPU: "GPU-a"}, [f"{GPU},{MIG}"], ["void"]),
        # several kinds
        ({VISIBLE: "all", GPU: "GPU-a", MIG: "MIG-b"}, [GPU, MIG], ["GPU-a", "MIG-b"]),
        ({VISIBLE: "all", MIG: "MIG-b"}, [GPU, MIG], ["MIG-b"]),
        ({VISIBLE: "all", GPU: "", MIG: "MIG-b"}, [GPU, MIG], ["MIG-b"]),
        ({GPU: "GPU-a", MIG: "void"}, [GPU, MIG], ["void"]),
        # words among names
        ({VISIBLE: "GPU-a,all"}, [GPU], ["all"]),
        ({VISIBLE: "all,none,GPU-a"}, [GPU], ["none"]),
        ({VISIBLE: "all,none,void"}, [GPU], ["void"]),
        ({VISIBLE: "GPU-a,GPU-a"}, [GPU], ["GPU-a"]),
    ],
)
def test_what_is_asked_for(variables: dict[str, str], names: list[str], asked: list[str]) -> None:
    assert requested(variables, names) == asked


def test_the_last_of_two_equal_variables_holds() -> None:
    assert environment(["A=1", "B=x=y", "A=2"]) == {"A": "2", "B": "x=y"}


def test_preferred_variables_are_consulted_only_when_they_are_set() -> None:
    assert consulted({GPU: ""}, [GPU, MIG]) == [GPU]
    assert consulted({}, [GPU, MIG]) == [VISIBLE]


def test_variables_may_be_for_the_privileged() -> None:
    assert obeyed(["GPU-a"], True, []) == ["GPU-a"]
    assert obeyed(["GPU-a"], False, ["CAP_CHOWN"]) == ["void"]
    assert obeyed(["GPU-a"], False, ["CAP_SYS_ADMIN"]) == ["GPU-a"]


@pytest.mark.parametrize(
    ("variables", "supported", "mode", "brings"),
    [
        ({}, "compute,utility", "legacy", True),
        ({"NVIDIA_DRIVER_CAPABILITIES": ""}, "compute,utility", "legacy", True),
        ({"NVIDIA_DRIVER_CAPABILITIES": "compute"}, "compute,utility", "legacy", False),
        ({"NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}, "compute,utility", "legacy", True),
        ({"NVIDIA_DRIVER_CAPABILITIES": "all"}, "compute,utility", "legacy", True),
        ({"NVIDIA_DRIVER_CAPABILITIES": "all"}, "compute", "legacy", False),
        (CUDA_OLD, "compute,utility", "legacy", True),
        ({}, "compute", "legacy", False),
        ({"NVIDIA_DRIVER_CAPABILITIES": "compute"}, "compute,utility", "jit-cdi", True),
    ],
)
def test_who_gets_nvidia_smi(variables: dict[str, str], supported: str, mode: str, brings: bool) -> None:
    assert brings_programs(variables, supported, mode) is brings
