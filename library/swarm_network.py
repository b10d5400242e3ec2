#!/usr/bin/python
"""Ansible module: a network of the swarm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_network
short_description: Manage a network of a Docker swarm
description:
  - Makes sure that a swarm-scoped network exists as described, or does not exist. Runs on a manager.
  - A network that is as described is never touched. Docker cannot change a network; a difference can only be mended by
    removing it and making it anew, which is refused with the list of the services and tasks on it, unless
    O(allow_recreate).
  - A subnet that overlaps one of another network of the swarm is refused, since Docker never serves it.
  - Waits until the swarm has given the new network its addresses, for 15 seconds at most.
  - Uses C(GET /networks), C(POST /networks/create), C(DELETE /networks/ID), C(GET /services),
    C(GET /tasks) and C(GET /nodes) of the Engine API.
author: swarmhub contributors
options:
  name:
    description: Name of the network.
    type: str
    required: true
  state:
    description: Whether the network is to exist.
    type: str
    choices: [present, absent]
    default: present
  driver:
    description: Network driver.
    type: str
    default: overlay
  attachable:
    description: Whether containers outside of services may be attached.
    type: bool
    default: false
  internal:
    description: Whether the network has no way to the outside.
    type: bool
    default: false
  encrypted:
    description:
      - Whether traffic between nodes is encrypted (IPsec). Lowers the largest packet, and costs throughput.
    type: bool
    default: false
  subnet:
    description:
      - Subnets in CIDR notation. When empty the swarm takes one from its address pool, and any is accepted.
    type: list
    elements: str
    default: []
  gateway:
    description: Gateway address within the one subnet. When empty the swarm chooses, and any is accepted.
    type: str
    default: ""
  mtu:
    description: Largest packet of the underlay in bytes, for networks where it is not 1500.
    type: int
  driver_opts:
    description: Further options of the driver.
    type: dict
    default: {}
  labels:
    description: Labels of the network; all of them, others are a difference.
    type: dict
    default: {}
  allow_recreate:
    description:
      - Whether a network that differs may be removed and made anew.
      - Docker removes no network that a service names; the call fails with the list of those services before anything
        is touched.
    type: bool
    default: false
  timeout:
    description: Longest time to wait for a removal, in seconds.
    type: int
    default: 60
  docker_host:
    description: Address of the Docker engine.
    type: str
    default: unix:///var/run/docker.sock
attributes:
  check_mode:
    support: full
    description: Predicts the real run and changes nothing.
  diff_mode:
    support: full
    description: Shows the fields that differ.
  idempotent:
    support: full
    description: The second run changes nothing.
requirements:
  - Docker SDK for Python on the host (Debian package python3-docker)
  - Docker Engine 20.10 or newer (API 1.41)
"""

EXAMPLES = r"""
- name: The notebooks have a network
  swarm_network:
    name: swarmhub
    attachable: true
    subnet: [10.10.0.0/22]

- name: An internal network with small packets is gone
  swarm_network:
    name: old
    state: absent
    timeout: 120
"""

RETURN = r"""
network:
  description: The network's name and id. The id is empty in check mode for a network that would be made.
  returned: success and state is present
  type: dict
  sample: {"name": "swarmhub", "id": "tj2nbo0d4jlg7i4kd1dvyk6sq"}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.engine import DEFAULT_DOCKER_HOST, DockerEngine, EngineError
from ansible.module_utils.swarmhub.network import MTU_OPTION, NetworkError, NetworkSpec, settle

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "driver": {"type": "str", "default": "overlay"},
    "attachable": {"type": "bool", "default": False},
    "internal": {"type": "bool", "default": False},
    "encrypted": {"type": "bool", "default": False},
    "subnet": {"type": "list", "elements": "str", "default": []},
    "gateway": {"type": "str", "default": ""},
    "mtu": {"type": "int"},
    "driver_opts": {"type": "dict", "default": {}},
    "labels": {"type": "dict", "default": {}},
    "allow_recreate": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 60},
    "docker_host": {"type": "str", "default": DEFAULT_DOCKER_HOST},
}


def wanted(options: dict[str, t.Any]) -> NetworkSpec:
    """The module's options as a network."""
    driver_opts = {key: str(value) for key, value in options["driver_opts"].items()}
    if options["encrypted"]:
        driver_opts["encrypted"] = ""
    if options["mtu"]:
        driver_opts[MTU_OPTION] = str(options["mtu"])
    return NetworkSpec(
        name=options["name"],
        driver=options["driver"],
        attachable=options["attachable"],
        internal=options["internal"],
        driver_opts=driver_opts,
        subnets=tuple(options["subnet"]),
        gateway=options["gateway"],
        labels={key: str(value) for key, value in options["labels"].items()},
    )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    options = module.params
    try:
        outcome = settle(
            DockerEngine(options["docker_host"]),
            wanted(options),
            present=options["state"] == "present",
            allow_recreate=options["allow_recreate"],
            check=module.check_mode,
            timeout=options["timeout"],
        )
    except (EngineError, NetworkError) as error:
        module.fail_json(msg=str(error))
    result = {"changed": outcome.changed, "diff": {"before": outcome.before, "after": outcome.after}}
    if options["state"] == "present":
        result["network"] = {"name": options["name"], "id": outcome.identity}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
