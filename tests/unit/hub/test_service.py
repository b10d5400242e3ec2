"""The service of a notebook."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from swarmhub_hub.placement import Place
from swarmhub_hub.service import service_arguments
from swarmhub_hub.settings import Profile, Settings


def build(settings: Settings, profile: Profile, **changes: t.Any) -> dict[str, t.Any]:
    arguments: dict[str, t.Any] = {
        "name": "swarmhub-nb-alice-1",
        "user": "alice",
        "server": "",
        "environment": {"JUPYTERHUB_API_TOKEN": "t", "NVIDIA_VISIBLE_DEVICES": "all"},
        "command": ["jupyterhub-singleuser"],
        "mounts": [{"Type": "bind"}],
    }
    return service_arguments(settings, profile, **{**arguments, **changes})


def environment(service: dict[str, t.Any]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in service["task_template"]["ContainerSpec"]["Env"])


def reserved(service: dict[str, t.Any]) -> t.Any:
    return service["task_template"]["Resources"]["Reservations"]["GenericResources"]


def test_a_cpu_notebook_sees_no_card(settings: Settings) -> None:
    service = build(settings, settings.profiles[0])
    env = environment(service)
    assert (env["NVIDIA_VISIBLE_DEVICES"], env["DOCKER_RESOURCE_GPU"]) == ("void", "void")
    assert env["SWARMHUB_NODE"] == "{{.Node.Hostname}}"
    assert "GenericResources" not in service["task_template"]["Resources"]["Reservations"]


def test_a_gpu_notebook_has_its_reservation_only(settings: Settings) -> None:
    service = build(settings, settings.profiles[1], place=Place("id-gpu1", "gpu1", "GPU"))
    env = environment(service)
    assert env["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert "DOCKER_RESOURCE_GPU" not in env
    assert env["A"] == "b"
    assert reserved(service) == [{"DiscreteResourceSpec": {"Kind": "GPU", "Value": 1}}]


def test_a_notebook_with_cards_is_pinned_by_the_id_alone_since_labels_may_change(settings: Settings) -> None:
    service = build(settings, settings.profiles[1], place=Place("id-gpu1", "gpu1", "GPU"))
    assert service["task_template"]["Placement"]["Constraints"] == ["node.id==id-gpu1"]


def test_other_kinds_are_void_without_cards_and_empty_beside_ones_own(settings: Settings) -> None:
    kinds = ["GPU", "GPU_T4", "MIG_1G_10GB"]
    without = environment(build(settings, settings.profiles[0], kinds=kinds))
    assert {without[f"DOCKER_RESOURCE_{kind}"] for kind in kinds} == {"void"}
    service = build(settings, settings.profiles[1], kinds=kinds, place=Place("id", "gpu1", "GPU_T4"))
    env = environment(service)
    assert (env["DOCKER_RESOURCE_GPU"], env["DOCKER_RESOURCE_MIG_1G_10GB"]) == ("", "")
    assert "DOCKER_RESOURCE_GPU_T4" not in env
    assert reserved(service) == [{"DiscreteResourceSpec": {"Kind": "GPU_T4", "Value": 1}}]


def test_shared_cards_are_named_and_not_reserved(settings: Settings) -> None:
    profile = dataclasses.replace(settings.profiles[1], gpu_shared=True)
    service = build(settings, profile, kinds=["GPU", "GPU_T4"], place=Place("id", "gpu1", "", "x"))
    env = environment(service)
    assert (env["NVIDIA_VISIBLE_DEVICES"], env["DOCKER_RESOURCE_GPU"]) == ("void", "x")
    assert env["DOCKER_RESOURCE_GPU_T4"] == ""
    assert "GenericResources" not in service["task_template"]["Resources"]["Reservations"]
    assert service["task_template"]["ContainerSpec"]["Labels"]["swarmhub.gpu_shared"] == "x"


def test_limits_reservations_and_shared_memory(settings: Settings) -> None:
    cpu, gpu = (build(settings, profile)["task_template"] for profile in settings.profiles)
    assert cpu["Resources"] == {
        "Limits": {"NanoCPUs": 2 * 10**9, "MemoryBytes": 2 * 2**30},
        "Reservations": {"NanoCPUs": 5 * 10**8, "MemoryBytes": 512 * 2**20},
    }
    limited = build(dataclasses.replace(settings, pids_limit=4096), settings.profiles[1])["task_template"]
    assert limited["Resources"]["Limits"] == {"Pids": 4096}
    assert cpu["ContainerSpec"]["Mounts"][1]["TmpfsOptions"]["SizeBytes"] == 2**30, "half of its memory"
    unlimited = build(settings, dataclasses.replace(settings.profiles[0], mem_limit=None))["task_template"]
    assert unlimited["ContainerSpec"]["Mounts"] == [{"Type": "bind"}]
    assert gpu["ContainerSpec"]["Mounts"][1] == {
        "Type": "tmpfs",
        "Target": "/dev/shm",  # noqa: S108
        "TmpfsOptions": {"SizeBytes": 2**30, "Mode": 0o1777},
    }


def test_what_every_notebook_has(settings: Settings) -> None:
    service = build(settings, settings.profiles[0])
    container = service["task_template"]["ContainerSpec"]
    assert container["CapabilityDrop"] == ["CAP_NET_RAW"]
    assert "CapabilityAdd" not in container
    assert container["Init"] is True
    assert container["Ulimits"] == [{"Name": "core", "Soft": 0, "Hard": 0}]
    assert container["StopGracePeriod"] == 10 * 10**9
    assert service["task_template"]["RestartPolicy"] == {"Condition": "none"}
    assert service["task_template"]["Networks"] == [{"Target": "swarmhub"}]
    assert service["endpoint_spec"] == {"Mode": "dnsrr"}
    assert service["labels"] == {
        "swarmhub.cluster": "test",
        "swarmhub.user": "alice",
        "swarmhub.server": "",
        "swarmhub.profile": "cpu",
    }


def test_idle_connections_are_probed_where_they_pass_through_ipvs(settings: Settings) -> None:
    for mode, sysctls in (("vip", {"net.ipv4.tcp_keepalive_time": "600"}), ("dnsrr", None)):
        service = build(dataclasses.replace(settings, endpoint_mode=mode), settings.profiles[0])
        assert service["endpoint_spec"] == {"Mode": mode}
        assert service["task_template"]["ContainerSpec"].get("Sysctls") == sysctls


def test_nothing_is_shared_between_two_starts(settings: Settings) -> None:
    first = build(settings, settings.profiles[0], node_id="id-cpu1")
    first["task_template"]["Placement"]["Constraints"].append("mine")
    second = build(settings, settings.profiles[0])
    assert second["task_template"]["Placement"]["Constraints"] == ["node.labels.calculation_type==cpu"]
    third = copy.deepcopy(second)
    second["labels"]["x"] = "y"
    second["task_template"]["ContainerSpec"]["Env"].append("X=y")
    assert build(settings, settings.profiles[0]) == third
