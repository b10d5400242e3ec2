"""The swarm service of a notebook, as the body of the Engine API's POST /services/create."""

from __future__ import annotations

import typing as t

from swarmhub_hub.nodes import GPU_KIND, USER_LABEL
from swarmhub_hub.settings import Profile, Settings

STOP_GRACE_SECONDS = 10
SHARED_MEMORY = "/dev/shm"  # noqa: S108


def service_arguments(
    settings: Settings,
    profile: Profile,
    *,
    name: str,
    user: str,
    server: str,
    environment: t.Mapping[str, str],
    command: t.Sequence[str],
    mounts: t.Sequence[dict[str, t.Any]],
    node_id: str = "",
) -> dict[str, t.Any]:
    """Return the arguments of the Docker SDK's ``create_service`` for one notebook; nothing in them is shared."""
    labels = {
        "swarmhub.cluster": settings.cluster_name,
        USER_LABEL: user,
        "swarmhub.server": server,
        "swarmhub.profile": profile.slug,
    }
    container = {
        "Image": profile.image,
        "Args": list(command),
        "Env": [f"{key}={value}" for key, value in _environment(profile, environment).items()],
        "Labels": dict(labels),
        "Mounts": [*mounts, *_shared_memory(profile)],
        "Init": True,
        "StopGracePeriod": STOP_GRACE_SECONDS * 10**9,
        # With raw sockets a notebook could pose as another address on the overlay.
        "CapabilityDrop": ["CAP_NET_RAW"],
        # The hub asks the server itself; an image's own check hides the name until it passes, and kills slow starters.
        "Healthcheck": {"Test": ["NONE"]},
    }
    return {
        "name": name,
        "labels": labels,
        "task_template": {
            "ContainerSpec": container,
            "Resources": _resources(profile),
            "RestartPolicy": {"Condition": "none"},
            "Placement": _placement(profile, node_id),
            "Networks": [{"Target": settings.network}],
        },
        "endpoint_spec": {"Mode": settings.endpoint_mode},
    }


def _environment(profile: Profile, environment: t.Mapping[str, str]) -> dict[str, str]:
    # A card is seen only through the swarm's reservation (DOCKER_RESOURCE_GPU), which beats "void"; an image that asks
    # for all cards gets none. Without a reservation that variable is closed as well, since an image could set it.
    closed = {"NVIDIA_VISIBLE_DEVICES": "void"}
    if profile.gpus == 0:
        closed[f"DOCKER_RESOURCE_{GPU_KIND}"] = "void"
    mine = {key: value for key, value in profile.environment.items() if not key.startswith("DOCKER_RESOURCE_")}
    # The swarm fills in the template where the task runs.
    return {**mine, **environment, **closed, "SWARMHUB_NODE": "{{.Node.Hostname}}"}


def _shared_memory(profile: Profile) -> list[dict[str, t.Any]]:
    if profile.shm_size is None:
        return []
    return [{"Type": "tmpfs", "Target": SHARED_MEMORY, "TmpfsOptions": {"SizeBytes": profile.shm_size, "Mode": 0o1777}}]


def _resources(profile: Profile) -> dict[str, t.Any]:
    limits = _cpu_and_memory(profile.cpu_limit, profile.mem_limit)
    reservations: dict[str, t.Any] = _cpu_and_memory(profile.cpu_guarantee, profile.mem_guarantee)
    if profile.gpus:
        # Only counts may be asked for; which cards they are is the scheduler's choice.
        reservations["GenericResources"] = [{"DiscreteResourceSpec": {"Kind": GPU_KIND, "Value": profile.gpus}}]
    return {"Limits": limits, "Reservations": reservations}


def _cpu_and_memory(cores: float | None, memory: int | None) -> dict[str, t.Any]:
    amounts = {"NanoCPUs": int(cores * 10**9) if cores else None, "MemoryBytes": memory}
    return {key: amount for key, amount in amounts.items() if amount is not None}


def _placement(profile: Profile, node_id: str) -> dict[str, t.Any]:
    constraints = list(profile.constraints)
    if profile.gpu_model:
        constraints.append(f"node.labels.gpu_model=={profile.gpu_model}")
    if node_id:
        constraints.append(f"node.id=={node_id}")
    return {
        "Constraints": constraints,
        "Preferences": [
            {strategy.capitalize(): {"SpreadDescriptor": label}} for strategy, label in profile.preferences
        ],
        "Platforms": [{"Architecture": architecture, "OS": system} for architecture, system in profile.platforms],
    }
