"""Which GPU nodes are to be probed, and with which image: what the plays hand to module gpu_probe."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from ansible.module_utils.swarmhub.gpu_probe_cases import advertised

Facts = Mapping[str, t.Any]

BUILT_NOTEBOOK = "swarmhub/notebook"


def changed_hosts(hosts: Iterable[str], hostvars: Mapping[str, Facts]) -> list[str]:
    """Return the hosts on which this run changed something, without those whose engine still waits for a restart."""
    compared = {host: hostvars[host].get("node_compared", {}) for host in hosts}
    return [
        host
        for host, found in compared.items()
        if (found.get("now") or found.get("installs")) and not found.get("engine_waits")
    ]


def probed_nodes(
    looks: Iterable[Facts], profiles: Iterable[Facts], nodes: Iterable[t.Any] = ()
) -> list[dict[str, str]]:
    """Return the nodes as module gpu_probe takes them.

    Args:
        looks: what community.docker.docker_host_info tells of each GPU worker (``item``, else the engine's own name);
            one that did not answer has no ``host_info`` and is left out.
        profiles: normalised profiles; an empty image stands for the notebook image that the cluster builds.
        nodes: of these, nodes with cards that belong to none of the workers are added; their images are not known.
    """
    wanted = list(profiles)
    found = [
        {
            "node_id": (look["host_info"].get("Swarm") or {}).get("NodeID", ""),
            "name": look.get("item") or look["host_info"]["Name"],
            "image": image_on(look["images"], wanted),
        }
        for look in looks
        if look.get("host_info")
    ]
    known = {node["node_id"] for node in found}
    return found + [
        {"node_id": node["ID"], "name": node["Description"]["Hostname"], "image": ""}
        for node in nodes
        if advertised(node) and node["ID"] not in known
    ]


def image_on(images: Iterable[Facts], profiles: Iterable[Facts]) -> str:
    """Return the id of a profile's image that is on a host, of those with cards first; empty when there is none."""
    ids = {tag: str(image["Id"]) for image in images for tag in image.get("RepoTags") or []}
    built = [tag for tag in sorted(ids) if tag.rpartition(":")[0].endswith(BUILT_NOTEBOOK)]
    for profile in sorted(profiles, key=lambda profile: not profile.get("gpus")):
        name = profile["spawner_override"]["image"]
        for tag in [name] if name else built:
            if tag in ids:
                return ids[tag]
    return ""
