"""What the play hands to the roles about cards and homes, rendered by Ansible itself from a written look."""

from __future__ import annotations

import json
import typing as t

import pytest
from rendering import render

ROLES = ("cluster", "gpu", "docker_engine", "nfs_client", "nfs_server", "hub_stack")
OWNED = "{'docker_engine': docker_engine_owned, 'gpu': gpu_owned}"
COMPARED = "{{ OWNED | swarmhub_compare(node_state, node_may) }}".replace("OWNED", OWNED)
NUMBERS = (
    "hub_idle_timeout", "hub_gpu_idle_timeout", "hub_max_age", "hub_gpu_max_age", "hub_start_timeout",
    "hub_queue_timeout", "hub_queue_backfill", "hub_user_gpu_limit", "hub_user_gpu_hours", "hub_active_server_limit",
    "hub_pids_limit",
)  # fmt: skip
BY_GROUP = ("hub_group_gpu_limits", "hub_group_gpu_hours", "hub_group_server_limits")
SHOWN = {
    "daemon": "{{ docker_engine_files[0].content }}",
    "swarm_resource": "{{ gpu_swarm_resource }}",
    "reasons": "{{ node_compared.differences.docker_engine.files }}",
    "waits": "{{ node_compared.waits }}",
    "held": "{{ gpu_held_packages }}",
    "numbers": "{{ [" + ", ".join(name.replace("hub_", "hub_stack_", 1) for name in (*NUMBERS, *BY_GROUP)) + "] }}",
    "sign_in": "{{ hub_stack_sign_in }}",
    "nfs_client": "{{ nfs_client_owned }}",
    "nfs_server": "{{ nfs_server_owned }}",
    "homes": "{{ hub_stack_settings.homes }}",
    "volume": "{{ hub_stack_nfs_volume }}",
    "toolkit_is_right": "{{ not (node_compared.differences.gpu | default({})).facts | default({}) }}",
}


A, B = (
    {"uuid": f"GPU-{letter}", "name": "NVIDIA RTX A6000", "memory_mb": 49140, "mig": False, "instances": []}
    for letter in "ab"
)
OTHER = {**B, "uuid": "GPU-c", "name": "NVIDIA GeForce RTX 3090"}


def host(
    cards: list[t.Any], advertised: dict[str, list[str]] | None = None, notebooks: int = 0, **variables: t.Any
) -> t.Any:
    """Return a host's variables: its look, on a machine whose daemon.json is another one, and the user's own."""
    engine = None if advertised is None else {"notebooks": notebooks, "advertised": advertised}
    file = {"type": "file", "owner": "root", "group": "root", "mode": "0644", "mtime": 1, "sha256": "x"}
    names = ["docker.io", "docker-cli", "containerd", "runc", "iptables", "pigz", "python3-docker"]
    state = {
        "cards": cards,
        "swarm_resource": "DOCKER_RESOURCE_GPU",
        "toolkit_mode": "auto",
        "engine": engine,
        "packages": {name: {"version": "1", "held": True} for name in names},
        "files": {"/etc/docker/daemon.json": file},
        "units": {},
        "sysctls": {},
        "booted": 1.0,
        "kernel": "6.12.43+deb13-amd64",
    }
    return {"seen": state, **variables}


LISTS = ("gpu_exclude", "gpu_shared", "gpu_driver_packages")
HOSTS = {
    "new": host([B, A]),
    "right": host([A, B], {"GPU": ["GPU-a", "GPU-b"]}),
    "replaced": host([A, B], {"GPU": ["GPU-a", "GPU-old"]}, notebooks=2),
    "mixing": host([A, OTHER], {"GPU": ["GPU-a"]}, notebooks=1),
    "mixed": host([A, OTHER], {"GPU": ["GPU-a"]}),
    "sharing": host([A], {}, gpu_shared=["GPU-a"]),
    "excluded": host([A, B], {}, gpu_exclude=["GPU-a"]),
    "bare": host([], {}),
    "textual": host([], {}, **dict.fromkeys(NUMBERS, "60"), **{key: {"students": "2"} for key in BY_GROUP}),
    "zeros": host([], {}, **dict.fromkeys(NUMBERS, 0), **{key: {} for key in BY_GROUP}),
    "unset": host([], {}, **dict.fromkeys((*NUMBERS, *BY_GROUP, *LISTS)), gpu_driver=True),
    "lasting": host([], {}, hub_idle_timeout=7200, hub_max_age=86400),
    "locking": host([], {}, hub_homes_driver="nfs3"),
    "seed_like": host([], {}, hub_homes_driver="nfs3", hub_homes_nfs_options="rw,vers=3,nolock,soft"),
    "storing": host([], {}, hub_shared_folders=[{"name": "data", "read_only": True}]),
    "directory": host([], {}, hub_authenticator="ldap", hub_ldap={"server_port": "636", "allow_all": "yes"}),
    "limited": host([], {}, hub_homes_quota="50G"),
    "pinned": host([A], {}, gpu_driver=True, gpu_driver_packages=["nvidia-driver=550.163.01-2"]),
}

# As a run leaves it that was killed between writing a unit's file and telling systemd.
HOSTS["storing"]["seen"]["units"] = {
    "nfs-server.service": {"enabled": True, "active": True, "since": 2.0, "unread": True}
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, t.Any]:
    """Return what Ansible makes of every host."""
    inventory = {
        "gpu_workers": {"hosts": HOSTS},
        "all": {"vars": {"cluster_cidrs": ["10.0.0.0/8"], "nfs_host": "10.0.0.9"}},
    }
    # The names are needed before there is a look, when most of what is owned cannot be rendered yet.
    facts = (
        {"asked": "{{ OWNED | swarmhub_names }}".replace("OWNED", OWNED)},
        {"node_state": "{{ seen }}"},
        {"node_compared": COMPARED},
    )
    return render(tmp_path_factory.mktemp("play"), inventory, ROLES, SHOWN, facts)


def resources(found: dict[str, t.Any]) -> list[str] | None:
    """Return what daemon.json advertises; it ends with a line's end, as the file must to stay the same."""
    assert found["daemon"].endswith("}\n")
    advertised: list[str] | None = json.loads(found["daemon"]).get("node-generic-resources")
    return advertised


def test_what_daemon_json_advertises_is_sorted_and_named_by_kind(rendered: dict[str, t.Any]) -> None:
    shown = {
        name: resources(found) for name, found in rendered.items() if HOSTS[name]["seen"]["cards"] or name == "bare"
    }
    assert shown == {
        "new": ["GPU=GPU-a", "GPU=GPU-b"],
        "right": ["GPU=GPU-a", "GPU=GPU-b"],
        "replaced": ["GPU=GPU-a", "GPU=GPU-b"],
        "mixing": ["GPU_GEFORCE_RTX_3090=GPU-c", "GPU_RTX_A6000=GPU-a"],
        "mixed": ["GPU_GEFORCE_RTX_3090=GPU-c", "GPU_RTX_A6000=GPU-a"],
        "sharing": None,
        "excluded": ["GPU=GPU-b"],
        "bare": None,
        "pinned": ["GPU=GPU-a"],
    }


def test_containers_run_with_the_cards_runtime_wherever_there_are_cards(rendered: dict[str, t.Any]) -> None:
    runtimes = {name: json.loads(found["daemon"]).get("default-runtime") for name, found in rendered.items()}
    assert runtimes == {name: "nvidia" if found["seen"]["cards"] else None for name, found in HOSTS.items()}


def test_the_toolkit_follows_the_new_kinds_and_while_notebooks_run_the_old_ones(rendered: dict[str, t.Any]) -> None:
    new = "DOCKER_RESOURCE_GPU,DOCKER_RESOURCE_GPU_GEFORCE_RTX_3090,DOCKER_RESOURCE_GPU_RTX_A6000"
    resource = {name: found["swarm_resource"] for name, found in rendered.items()}
    assert resource == {**dict.fromkeys(HOSTS, "DOCKER_RESOURCE_GPU"), "mixing": new, "mixed": new}
    assert {name for name, found in rendered.items() if not found["toolkit_is_right"]} == {"mixing", "mixed"}


def test_the_hub_is_given_numbers_whatever_the_user_wrote(rendered: dict[str, t.Any]) -> None:
    assert rendered["textual"]["numbers"] == [60] * 11 + [{"students": 2}] * 3
    assert rendered["zeros"]["numbers"] == [0] * 11 + [{}] * 3
    for name in ("unset", "bare"):
        assert rendered[name]["numbers"] == [0, 0, 0, 0, 300, 86400, 1800, 0, 0, 0, 4096, {}, {}, {}]


def test_notebooks_with_cards_live_as_long_as_others_unless_it_is_said(rendered: dict[str, t.Any]) -> None:
    assert rendered["lasting"]["numbers"][:4] == [7200, 7200, 86400, 86400]


def test_the_hub_is_told_one_authenticators_traits(rendered: dict[str, t.Any]) -> None:
    assert rendered["bare"]["sign_in"] == {"authenticator": "native", "native": {}}
    traits = {"server_port": 636, "allow_all": True}
    assert rendered["directory"]["sign_in"] == {"authenticator": "ldap", "ldap": traits}


def test_lists_without_a_value_are_empty(rendered: dict[str, t.Any]) -> None:
    assert rendered["unset"]["held"] == rendered["bare"]["held"]
    assert resources(rendered["unset"]) is None


def test_packages_are_held_by_name(rendered: dict[str, t.Any]) -> None:
    assert rendered["pinned"]["held"][:2] == ["nvidia-driver", "nvidia-container-toolkit"]
    assert "nvidia-driver" not in rendered["bare"]["held"]


def test_a_waiting_restart_names_the_cards(rendered: dict[str, t.Any]) -> None:
    reason = (
        "content differs (card GPU-old is gone, GPU-b is not advertised yet: the engine restarts with the new list "
        "when no notebook runs)"
    )
    assert rendered["replaced"]["reasons"]["/etc/docker/daemon.json"] == reason
    (wait,) = rendered["replaced"]["waits"]
    assert reason in wait["what"]
    for name in ("new", "right"):
        assert rendered[name]["reasons"]["/etc/docker/daemon.json"] == "content differs"
    assert rendered["mixed"]["waits"] == []


def test_nodes_watch_locks_only_where_nfs_3_needs_it(rendered: dict[str, t.Any]) -> None:
    units = {name: [unit["name"] for unit in rendered[name]["nfs_client"]["units"]] for name in rendered}
    assert units.pop("locking") == ["nfs-client.target", "rpc-statd.service"]
    assert not any(units.values())
    assert [file.get("absent") for file in rendered["seed_like"]["nfs_client"]["files"]] == [True]


def test_mountd_has_a_port_of_its_own_only_where_nfs_3_is_spoken(rendered: dict[str, t.Any]) -> None:
    ports = {name: found["nfs_server"]["files"][1].get("content") for name, found in rendered.items()}
    assert {name for name, text in ports.items() if text == "[mountd]\nport=20048\n"} == {"locking", "seed_like"}


def test_shared_folders_are_made_and_exported(rendered: dict[str, t.Any]) -> None:
    owned = rendered["storing"]["nfs_server"]
    assert [each["path"] for each in owned["directories"]] == [
        "/etc/exports.d",
        "/etc/systemd/system/nfs-server.service.d",
        "/srv/swarmhub/shared",
        "/srv/swarmhub/homes",
        "/srv/swarmhub/shared/data",
    ]
    assert "/srv/swarmhub/shared/data 10.0.0.0/8(ro," in owned["files"][0]["content"]
    assert set(owned["facts"]) == {
        "/srv/swarmhub/homes is not exported to 10.0.0.0/8",
        "/srv/swarmhub/shared/data is not exported to 10.0.0.0/8",
        "nfs-server.service was written anew and systemd has not read it",
    }


def test_a_quota_comes_with_its_script_and_units_and_goes_with_them(rendered: dict[str, t.Any]) -> None:
    names = {"swarmhub-homes-quota.path", "swarmhub-homes-quota.timer"}
    for name, found in rendered.items():
        files = {file["path"]: file for file in found["nfs_server"]["files"][2:-1]}
        assert len(files) == 4
        assert {bool(file.get("absent")) for file in files.values()} == {name != "limited"}
        units = {unit["name"] for unit in found["nfs_server"]["units"]} - {"nfs-server.service"}
        assert units == (names if name == "limited" else set())
    files = {file["path"]: file["content"] for file in rendered["limited"]["nfs_server"]["files"][2:]}
    command = "ExecStart=/usr/local/sbin/swarmhub-homes-quota /srv/swarmhub/homes 50G\n"
    assert command in files["/etc/systemd/system/swarmhub-homes-quota.service"]
    assert files["/usr/local/sbin/swarmhub-homes-quota"].startswith("#!/usr/bin/python3\n")


def test_the_hub_is_told_the_options_once_and_completely(rendered: dict[str, t.Any]) -> None:
    assert rendered["seed_like"]["homes"] == {
        "driver": "nfs3",
        "path": "/srv/swarmhub/homes",
        "nfs_host": "10.0.0.9",
        "nfs_options": "rw,vers=3,nolock,soft",
        "mount": "/homes",
        "shared_path": "/srv/swarmhub/shared",
        "shared_folders": [],
    }
    assert rendered["bare"]["homes"]["nfs_options"].endswith(",nfsvers=4.2")


def test_the_hubs_own_volume_is_named_by_its_mount_alone(rendered: dict[str, t.Any]) -> None:
    volumes = {name: found["volume"] for name, found in rendered.items()}
    assert volumes["storing"] == volumes["bare"]
    assert len({volumes[name]["name"] for name in ("bare", "locking", "seed_like")}) == 3
