"""What site.yml wants of the lab that is up, as plain JSON that any tool can read: the same state for all that compete.

python3 -m bench.desired FOLDER [INVENTORY]

FOLDER/HOST.json has packages, held packages, directories, files with their contents, absent files, units, sysctls,
images and the like; FOLDER/cluster.json the nodes, networks, secrets, configs and services of the swarm, the services
both as the Engine API has them, with names where that has ids, and as a compose file; FOLDER/hosts.json how each host
is reached. The contents include secrets. All knowledge of our roles' variables is in desired.yml and here.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import typing as t
from pathlib import Path

from ansible.module_utils.swarmhub import stack_spec
from ansible.module_utils.swarmhub.compose import read_stack
from ansible.module_utils.swarmhub.stack_services import Login

from tests.e2e.conftest import INVENTORY, ROOT

Json = dict[str, t.Any]
STACK = "swarmhub"
ROOT_OWNED = {"owner": "root", "group": "root"}


def of_host(wanted: Json) -> Json:
    """What is wanted of a host, of all roles together, each thing once."""
    owned = wanted["owned"].values()

    def all_of(kind: str) -> list[t.Any]:
        return [each for role in owned for each in role.get(kind, [])]

    files = all_of("files")
    present = [each for each in files if not each.get("absent")]
    present += [{**each, "content": each["secret_content"]} for each in wanted["secrets"]]
    keys = ("path", "mode", "owner", "group", "content")
    return {
        "packages": list(dict.fromkeys(all_of("packages"))),
        "held": sorted(set(all_of("held"))),
        "directories": [ROOT_OWNED | each for each in all_of("directories")],
        "files": [{key: (ROOT_OWNED | each)[key] for key in keys} for each in present],
        "absent": [each["path"] for each in files if each.get("absent")],
        "units": [
            {"name": each["name"], "on": each.get("enabled", True), "after": each.get("after", [])}
            for each in all_of("units")
        ],
        "sysctls": {name: str(value) for role in owned for name, value in role.get("sysctls", {}).items()},
        **{key: wanted[key] for key in ("images", "role", "address", "swarm_resource", "firewall", "postgres")},
    }


def of_cluster(wanted: Json) -> Json:
    """What is wanted of the swarm."""
    stack = read_stack(STACK, wanted["compose"], wanted["secrets"], wanted["configs"], wanted["id"])
    login = Login(wanted["logins"], wanted["id"])
    for key, compose in wanted["compose"]["services"].items():
        spec = stack.services[f"{STACK}_{key}"]
        words = stack_spec.view(spec, {})
        compose["deploy"]["labels"] = {
            stack_spec.FINGERPRINT_LABEL: stack_spec.fingerprint(words, login.digest(words["image"]))
        }
        spec["Labels"] |= compose["deploy"]["labels"]
        for name, network in compose["networks"].items():
            # docker adds the service's own name, but on a node's own bridge.
            network["aliases"] = [key] if name == "bridge" else [a for a in network.get("aliases", []) if a != key]
        for each in compose["secrets"]:
            if isinstance(each, dict):
                each["mode"] = int(each["mode"], 8)  # docker takes text for a decimal number
    return {
        **{key: wanted[key] for key in ("manager", "id", "heartbeat")},
        "nodes": [
            {
                "id": node["node_id"],
                "host": node["name"],
                "role": node["role"],
                "labels": {name: value for name, value in node["labels"].items() if value is not None},
                "without": [name for name, value in node["labels"].items() if value is None],
            }
            for node in wanted["nodes"]
        ],
        "networks": [
            {
                "name": spec.name,
                "attachable": spec.attachable,
                "internal": spec.internal,
                "subnet": spec.subnets[0],
                "options": spec.driver_opts,
                "labels": spec.labels,
            }
            for spec in stack.networks.values()
            if spec
        ],
        "contents": [
            {"kind": each.kind.removesuffix("s"), "name": each.name, "value": each.value, "labels": each.labels}
            for each in stack.contents
        ],
        "services": list(stack.services.values()),
        "compose": {
            "version": "3.8",
            "services": wanted["compose"]["services"],
            "networks": {name: {"external": True, "name": name} for name in stack.networks},
            **{
                kind: {each.key: {"external": True, "name": each.name} for each in stack.contents if each.kind == kind}
                for kind in ("secrets", "configs")
            },
            "volumes": wanted["compose"]["volumes"],
        },
    }


def connections(inventory: Path) -> Json:
    """How each host is reached."""
    listed = subprocess.run(
        [sys.executable, "-m", "ansible", "inventory", "--inventory", str(inventory), "--list"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found = {}
    for host, variables in json.loads(listed.stdout)["_meta"]["hostvars"].items():
        options = shlex.split(variables["ansible_ssh_common_args"])
        found[host] = {
            "address": variables["ansible_host"],
            "user": variables["ansible_user"],
            "key": variables["ansible_ssh_private_key_file"],
            "known_hosts": next(o.partition("=")[2] for o in options if o.startswith("UserKnownHostsFile=")),
            "sudo_password": variables.get("ansible_become_password", ""),
        }
    return found


def _write(path: Path, content: Json) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1))


def write(folder: Path, inventory: Path = INVENTORY) -> Path:
    """Write what is wanted now into a folder that only its owner can read; return it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for path in folder.glob("*.json"):
        path.unlink()
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "--inventory", str(inventory), "bench/desired.yml",
         "--extra-vars", json.dumps({"desired_folder": str(folder.resolve())})],
        cwd=ROOT, env=os.environ | {"ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for path in folder.glob("host_*.json"):
        _write(folder / path.name.removeprefix("host_"), of_host(json.loads(path.read_text())))
        path.unlink()
    cluster = folder / "cluster.json"
    _write(cluster, of_cluster(json.loads(cluster.read_text())))
    _write(folder / "hosts.json", connections(inventory))
    return folder


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="Write what site.yml wants, as JSON.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("inventory", type=Path, nargs="?", default=INVENTORY)
    arguments = parser.parse_args()
    write(arguments.folder, arguments.inventory)


if __name__ == "__main__":
    main()
