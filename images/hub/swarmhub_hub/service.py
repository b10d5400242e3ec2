"""The swarm service of a notebook, as the body of the Engine API's POST /services/create."""

from __future__ import annotations

import typing as t

from swarmhub_hub.nodes import GPU_KIND, SHARED_CARD_LABEL, USER_LABEL
from swarmhub_hub.placement import Place
from swarmhub_hub.settings import Profile, Settings

STOP_GRACE_SECONDS = 10
SHARED_MEMORY = "/dev/shm"  # noqa: S108
#: A crash is not to fill the home with a core file. Open files are as the engine has them: it may have no more to give.
ULIMITS = [{"Name": "core", "Soft": 0, "Hard": 0}]


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
    place: Place | None = None,
    kinds: t.Sequence[str] = (GPU_KIND,),
) -> dict[str, t.Any]:
    """Return the arguments of the Docker SDK's ``create_service`` for one notebook; nothing in them is shared.

    Args:
        node_id: the one node that it may run on, "" for any that the profile allows.
        place: where its cards are; None for a notebook without cards.
        kinds: all kinds of cards in the cluster.
    """
    labels = {
        "swarmhub.cluster": settings.cluster_name,
        USER_LABEL: user,
        "swarmhub.server": server,
        "swarmhub.profile": profile.slug,
    }
    if place and place.shared:
        labels[SHARED_CARD_LABEL] = place.shared
    container = {
        "Image": profile.image,
        "Args": list(command),
        "Env": [f"{key}={value}" for key, value in _environment(profile, environment, place, kinds).items()],
        "Labels": dict(labels),
        "Mounts": [*mounts, *_shared_memory(profile)],
        "Init": True,
        "Ulimits": [dict(limit) for limit in ULIMITS],
        "StopGracePeriod": STOP_GRACE_SECONDS * 10**9,
        # With raw sockets a notebook could pose as another address on the overlay.
        "CapabilityDrop": ["CAP_NET_RAW"],
        # The hub asks the server itself; an image's own check hides the name until it passes, and kills slow starters.
        "Healthcheck": {"Test": ["NONE"]},
    }
    if settings.endpoint_mode == "vip":
        # IPVS forgets a connection that is idle for 900 s; a container does not have the host's value.
        container["Sysctls"] = {"net.ipv4.tcp_keepalive_time": "600"}
    return {
        "name": name,
        "labels": labels,
        "task_template": {
            "ContainerSpec": container,
            "Resources": _resources(profile, place, settings.pids_limit),
            "RestartPolicy": {"Condition": "none"},
            "Placement": _placement(profile, node_id, place),
            "Networks": [{"Target": settings.network}],
        },
        "endpoint_spec": {"Mode": settings.endpoint_mode},
    }


def _environment(
    profile: Profile, environment: t.Mapping[str, str], place: Place | None, kinds: t.Sequence[str]
) -> dict[str, str]:
    mine = {key: value for key, value in profile.environment.items() if not key.startswith("DOCKER_RESOURCE_")}
    # The swarm fills in the template where the task runs.
    return {**mine, **environment, **_visible_cards(place, kinds), "SWARMHUB_NODE": "{{.Node.Hostname}}"}


def _visible_cards(place: Place | None, kinds: t.Sequence[str]) -> dict[str, str]:
    """Return the variables that decide which cards the container sees; an image's own must never decide.

    The toolkit reads the swarm's variables of all kinds before NVIDIA_VISIBLE_DEVICES, and joins what is in them: one
    "void" takes all cards away, an empty one adds nothing (nvidia-container-toolkit, internal/config/image).
    """
    variables = dict.fromkeys((f"DOCKER_RESOURCE_{kind}" for kind in kinds), "" if place else "void")
    if place and place.shared:
        variables[f"DOCKER_RESOURCE_{GPU_KIND}"] = place.shared
    elif place:
        variables.pop(f"DOCKER_RESOURCE_{place.kind}", None)  # the swarm sets it to the cards that it reserved
    return {"NVIDIA_VISIBLE_DEVICES": "void", **variables}


def _shared_memory(profile: Profile) -> list[dict[str, t.Any]]:
    """Return /dev/shm: 64 MB, the engine's own, are too few for PyTorch's loaders; what is in it counts as memory."""
    size = profile.shm_size or (profile.mem_limit or 0) // 2
    if not size:
        return []
    return [{"Type": "tmpfs", "Target": SHARED_MEMORY, "TmpfsOptions": {"SizeBytes": size, "Mode": 0o1777}}]


def _resources(profile: Profile, place: Place | None, pids: int) -> dict[str, t.Any]:
    limits: dict[str, t.Any] = _cpu_and_memory(profile.cpu_limit, profile.mem_limit)
    if pids:
        # Without it one notebook's runaway processes take the host from all others.
        limits["Pids"] = pids
    reservations: dict[str, t.Any] = _cpu_and_memory(profile.cpu_guarantee, profile.mem_guarantee)
    if place and not place.shared:
        # Only counts may be asked for; which cards they are is the scheduler's choice.
        reservations["GenericResources"] = [{"DiscreteResourceSpec": {"Kind": place.kind, "Value": profile.gpus}}]
    return {"Limits": limits, "Reservations": reservations}


def _cpu_and_memory(cores: float | None, memory: int | None) -> dict[str, t.Any]:
    amounts = {"NanoCPUs": int(cores * 10**9) if cores else None, "MemoryBytes": memory}
    return {key: amount for key, amount in amounts.items() if amount is not None}


def _placement(profile: Profile, node_id: str, place: Place | None) -> dict[str, t.Any]:
    if place:
        # By its ID alone: the swarm ends a task as soon as its node misses a constraint, and labels may change.
        constraints = [f"node.id=={place.node_id}"]
    else:
        constraints = [*profile.constraints, *([f"node.id=={node_id}"] if node_id else [])]
    return {
        "Constraints": constraints,
        "Preferences": [
            {strategy.capitalize(): {"SpreadDescriptor": label}} for strategy, label in profile.preferences
        ],
        "Platforms": [{"Architecture": architecture, "OS": system} for architecture, system in profile.platforms],
    }
