"""Bring one host into a swarm, keep it in the right one, or take it out.

Engine API: ``GET /info``, ``POST /swarm/init|join|leave|unlock``, ``GET /swarm``, ``POST /swarm/update``,
``GET /nodes``, ``GET /swarm/unlockkey``, ``GET /containers/json`` (https://docs.docker.com/reference/api/engine/).
"""

from __future__ import annotations

import json
import socket
import typing as t

from ansible.module_utils.swarmhub.engine import Engine, EngineError
from ansible.module_utils.swarmhub.swarm import Refused, Standing, update, wait_for

SWARM_PORT = 2377
CONNECT_TIMEOUT = 3.0  # seconds; managers are in the same LAN
ROLE_TIMEOUT = 10.0  # seconds until a joined node shows the role that its token gave it
DEFAULT_SUBNET_SIZE = 24  # mask length; what `docker swarm init` sends
NANOSECONDS = 1_000_000_000
TASK_LABEL = "com.docker.swarm.task.id"  # on the container of every task
SERVICE_LABEL = "com.docker.swarm.service.name"
NO_TOKENS = {"worker": "", "manager": "", "unlock_key": ""}

Wanted = t.Mapping[str, t.Any]
Json = dict[str, t.Any]


def present(engine: Engine, wanted: Wanted, *, check_mode: bool = False) -> Json:
    """Make the host an active member of the wanted cluster and settle the cluster's settings.

    Args:
        wanted: the arguments of module ``swarm_member``.

    Returns:
        What module ``swarm_member`` documents, and ``warnings``.

    Raises:
        EngineError: the engine refused or does not answer.
        Refused: the host is in another cluster, locked, cut off, or the join did not come through in time.
    """
    here = _wait(engine, lambda now: now.state != "pending", wanted["timeout"])
    _check_health(here, wanted)
    asked_to_move = wanted["move"] and wanted["cluster_id"]
    moving = here.state == "active" and asked_to_move and here.cluster_id not in ("", wanted["cluster_id"])
    if moving:
        _check_leaving(engine, here)
    elif here.state == "active" and wanted["cluster_id"]:
        _check_cluster(here, wanted["cluster_id"])

    changed = entering = bool(here.state != "active" or moving)
    before = _describe(here)
    after = _prediction(here, wanted) if entering else dict(before)
    if entering and not check_mode:
        here = _enter(engine, wanted, here)
    tokens = dict(NO_TOKENS)
    if here.role == "manager" and not (entering and check_mode):
        swarm = _cluster(engine, wanted, here)
        settings = with_settings(swarm["Spec"], wanted)
        if settings != swarm["Spec"]:
            changed = True
            if not entering:
                before["settings"], after["settings"] = _settings(swarm["Spec"]), _settings(settings)
            if not check_mode:
                update(engine, "/swarm", "/swarm/update", lambda spec: with_settings(spec, wanted))
        if wanted["return_tokens"]:
            tokens = _tokens(engine, swarm, locks=_settings(settings)["autolock"] and not check_mode)
    return {
        **_facts(here),
        **({"join_tokens": tokens} if wanted["return_tokens"] else {}),
        "changed": changed,
        "warnings": _role_warnings(here, wanted["role"]),
        "diff": {"before": before, "after": after},
    }


def absent(engine: Engine, wanted: Wanted, *, check_mode: bool = False) -> Json:
    """Take the host out of its swarm.

    Raises:
        EngineError: the engine refused or does not answer.
        Refused: swarm tasks still run here, others need this manager, or it is locked; ``force`` overrides.
    """
    here = Standing.read(engine)
    if here.state == "inactive":
        return {**_facts(here), "changed": False, "diff": {"before": _describe(here), "after": _describe(here)}}
    if not wanted["force"]:
        _check_leaving(engine, here)
    if not check_mode:
        _leave(engine, here, wanted)
    return {**_facts(here), "changed": True, "diff": {"before": _describe(here), "after": {"state": "inactive"}}}


def with_settings(spec: Json, wanted: Wanted) -> Json:
    """Return the swarm's spec with the settings that were given, and every other one as it is."""
    merged = dict(spec)
    heartbeat = wanted["dispatcher_heartbeat"]
    for section, key, value in (
        ("Dispatcher", "HeartbeatPeriod", None if heartbeat is None else heartbeat * NANOSECONDS),
        ("Orchestration", "TaskHistoryRetentionLimit", wanted["task_history_limit"]),
        ("EncryptionConfig", "AutoLockManagers", wanted["autolock"]),
    ):
        if value is not None:
            merged[section] = {**(spec.get(section) or {}), key: value}
    return merged


def first_answering(addresses: t.Sequence[str], host: str) -> list[str]:
    """Put the managers that answer first: the engine itself tries the first address and no other.

    Raises:
        Refused: none answers.
    """
    answering, silent = [], []
    for address in addresses:
        name, _, port = address.rpartition(":") if address.rsplit(":", 1)[-1].isdigit() else (address, "", SWARM_PORT)
        try:
            socket.create_connection((name.strip("[]"), int(port)), CONNECT_TIMEOUT).close()
        except OSError as error:
            silent.append(f"{name}:{port} ({error})")
        else:
            answering.append(f"{name}:{port}")
    if not answering:
        raise Refused(
            f"{host} reaches no manager: {', '.join(silent)}; check the managers' engines, the addresses, and the "
            f"firewalls in between (TCP {SWARM_PORT})"
        )
    return answering


def _wait(engine: Engine, done: t.Callable[[Standing], bool], timeout: float) -> Standing:
    return wait_for(lambda: Standing.read(engine), done, timeout)


def _enter(engine: Engine, wanted: Wanted, here: Standing) -> Standing:
    """Unlock, init or join, and wait until the host is an active member of the wanted cluster."""
    if here.state == "locked":
        engine.request("POST", "/swarm/unlock", body={"UnlockKey": wanted["unlock_key"]})
        return _entered(engine, wanted, "unlock itself")
    founding = not wanted["cluster_id"] and not wanted["remote_addrs"]
    if founding and wanted["role"] != "manager":
        raise Refused(f"{here.host} cannot join: remote_addrs (the managers' addresses) is empty")
    if not founding and not (wanted["remote_addrs"] and wanted["join_token"]):
        raise Refused(f"{here.host} cannot join cluster {wanted['cluster_id']}: it needs remote_addrs and join_token")
    addresses = [] if founding else first_answering(wanted["remote_addrs"], here.host)
    if here.state != "inactive":  # an attempt of which no node came, or another cluster that was told to be left
        _leave(engine, here, wanted)
    if founding:
        engine.request(
            "POST",
            "/swarm/init",
            body={
                **_addresses(wanted),
                "DataPathPort": wanted["data_path_port"] or 0,
                "DefaultAddrPool": wanted["default_addr_pool"] or [],
                # A pool without a size leaves the engine with no allocator, and the swarm with no networks.
                "SubnetSize": wanted["subnet_size"] or DEFAULT_SUBNET_SIZE,
                "Spec": with_settings({}, wanted),
            },
        )
    else:
        _join(engine, {**_addresses(wanted), "RemoteAddrs": addresses, "JoinToken": wanted["join_token"]})
    return _entered(engine, wanted, "found a swarm" if founding else f"join at {', '.join(addresses)}")


def _entered(engine: Engine, wanted: Wanted, attempt: str) -> Standing:
    """Wait until an attempt has come through."""
    here = _wait(engine, lambda now: now.state in ("active", "error"), wanted["timeout"])
    if here.state != "active":
        raise Refused(
            f"{here.host} is still {here.state} {wanted['timeout']} s after it was told to {attempt}: "
            f"{here.error or 'no answer yet'}; it goes on trying, and the next run looks again"
        )
    here = _wait(engine, lambda now: now.role == wanted["role"], min(wanted["timeout"], ROLE_TIMEOUT))
    if wanted["cluster_id"]:
        _check_cluster(here, wanted["cluster_id"])
    return here


def _leave(engine: Engine, here: Standing, wanted: Wanted) -> None:
    """Leave, and wait until that is done."""
    # The engine asks for force from every manager, also from one that nobody will miss.
    force = wanted["force"] or here.unfinished or here.role == "manager"
    engine.request("POST", "/swarm/leave", params={"force": "true" if force else "false"})
    left = _wait(engine, lambda now: now.state == "inactive", wanted["timeout"])
    if left.state != "inactive":
        raise Refused(f"{left.host} is still {left.state} {wanted['timeout']} s after it left: {left.error}")


def _join(engine: Engine, body: Json) -> None:
    """Ask to join; an attempt that the engine carries on by itself is no failure yet."""
    try:
        engine.request("POST", "/swarm/join", body=body)
    except EngineError:
        if Standing.read(engine).state not in ("pending", "active"):
            raise


def _addresses(wanted: Wanted) -> dict[str, str]:
    return {
        "ListenAddr": wanted["listen_addr"],
        "AdvertiseAddr": wanted["advertise_addr"] or "",
        "DataPathAddr": wanted["data_path_addr"] or "",
    }


def _check_health(here: Standing, wanted: Wanted) -> None:
    """Refuse a member that is there and cannot act: whatever is done to it now might lose it for good."""
    if here.state == "locked" and not wanted["unlock_key"]:
        raise Refused(f"{here.host} is a locked manager: give unlock_key, or run `docker swarm unlock` on it")
    if here.state in ("pending", "error") and not here.unfinished:
        raise Refused(
            f"{here.host} is node {here.node_id} of cluster {here.cluster_id or '(unknown)'} but does not get through "
            f"to it ({here.error or 'no manager answers'}): bring its managers back, or, if they removed this node, "
            "take it out with state=absent and let it join again"
        )


def _check_leaving(engine: Engine, here: Standing) -> None:
    """Let a host go only when nothing runs on it any more and nobody needs it as a manager."""
    if here.state == "locked":
        raise Refused(
            f"{here.host} is a locked manager: unlock it first (`docker swarm unlock`), or set force=true "
            "if its cluster is given up"
        )
    containers = engine.request("GET", "/containers/json", params={"filters": json.dumps({"label": [TASK_LABEL]})})
    if containers:
        services = sorted({container["Labels"].get(SERVICE_LABEL, container["Id"]) for container in containers})
        raise Refused(
            f"{here.host} still runs {', '.join(services)}: drain it first (swarm_nodes with availability=drain, on a "
            "manager), or set force=true to end them"
        )
    if here.role == "manager":
        _check_last(engine, here)


def _check_cluster(here: Standing, cluster_id: str) -> None:
    if not here.cluster_id:
        raise Refused(
            f"{here.host} is in a swarm, but which one cannot be told, since its node certificate is not "
            f"readable here: run on the host itself, as root (expected cluster {cluster_id})"
        )
    if here.cluster_id != cluster_id:
        raise Refused(
            f"{here.host} is in cluster {here.cluster_id}, not in {cluster_id}: correct the inventory, or, if it is to "
            "move, drain it there and set move=true"
        )


def _cluster(engine: Engine, wanted: Wanted, here: Standing) -> Json:
    """Return the cluster as a manager sees it; refuse a difference in what a swarm keeps from its first day."""
    if here.error:
        raise Refused(
            f"{here.host} is a manager of a swarm without a quorum ({here.error}): bring the other managers back "
            "before anything is changed"
        )
    swarm: Json = engine.request("GET", "/swarm")
    for option, key in (
        ("default_addr_pool", "DefaultAddrPool"),
        ("subnet_size", "SubnetSize"),
        ("data_path_port", "DataPathPort"),
    ):
        if wanted[option] and wanted[option] != swarm.get(key):
            raise Refused(
                f"{here.host}: {option} of the swarm is {swarm.get(key)} and was given as {wanted[option]}, but a "
                f"swarm keeps it for life: put {swarm.get(key)} back, or build a new swarm"
            )
    return swarm


def _tokens(engine: Engine, swarm: Json, *, locks: bool) -> dict[str, str]:
    return {
        "worker": swarm["JoinTokens"]["Worker"],
        "manager": swarm["JoinTokens"]["Manager"],
        "unlock_key": engine.request("GET", "/swarm/unlockkey")["UnlockKey"] if locks else "",
    }


def _check_last(engine: Engine, here: Standing) -> None:
    """Let a manager go only when nobody else is in its swarm; one that is Down may be on its way back."""
    others = [node for node in engine.request("GET", "/nodes") if node["ID"] != here.node_id]
    managers = sorted(node["Description"]["Hostname"] for node in others if node["Spec"]["Role"] == "manager")
    if managers:
        raise Refused(
            f"{here.host} is a manager beside {', '.join(managers)}: demote it first (swarm_nodes with role=worker, on "
            "another manager)"
        )
    if others:
        names = sorted(f"{node['Description']['Hostname']} ({node['Status']['State']})" for node in others)
        raise Refused(
            f"{here.host} is the last manager of {', '.join(names)}: let those leave and remove their entries first "
            "(swarm_nodes with state=absent), or set force=true to give the cluster up"
        )


def _role_warnings(here: Standing, role: str) -> list[str]:
    if here.state != "active" or here.role == role:
        return []
    return [f"{here.host} is a {here.role} and should be a {role}: swarm_nodes on a manager changes roles"]


def _facts(here: Standing) -> Json:
    active = here.state == "active"
    return {
        "state": here.state,
        "node_id": here.node_id,
        "cluster_id": here.cluster_id if active else "",
        "role": here.role,
        "address": here.address,
        "managers": here.managers,
    }


def _describe(here: Standing) -> Json:
    known = {"state": here.state, "cluster_id": here.cluster_id, "role": here.role, "address": here.address}
    return {key: value for key, value in known.items() if value}


def _prediction(here: Standing, wanted: Wanted) -> Json:
    """What a host will be that enters a swarm, no more than check mode can tell."""
    if here.state == "locked":
        return {**_describe(here), "state": "active"}
    cluster = wanted["cluster_id"] or ("(an existing one)" if wanted["remote_addrs"] else "(a new one)")
    address = wanted["advertise_addr"] or "(automatic)"
    return {"state": "active", "cluster_id": cluster, "role": wanted["role"], "address": address}


def _settings(spec: Json) -> Json:
    return {
        "dispatcher_heartbeat": (spec.get("Dispatcher") or {}).get("HeartbeatPeriod", 0) // NANOSECONDS,
        "task_history_limit": (spec.get("Orchestration") or {}).get("TaskHistoryRetentionLimit"),
        "autolock": (spec.get("EncryptionConfig") or {}).get("AutoLockManagers", False),
    }
