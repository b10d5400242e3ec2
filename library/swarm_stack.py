#!/usr/bin/python
"""Ansible module: a stack of services on a swarm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_stack
short_description: Settle a stack of services, with its networks, secrets and configs, and wait until it runs
description:
  - Brings services, networks, secrets and configs of one stack into the state that a compose mapping describes, in one
    call on a manager. What is as described is not touched, what was changed by hand is mended.
  - Waits until every service has its tasks running (and healthy, where there is a health check) and every update is
    completed. Fails at the deadline with the engine's own reasons for each service, also when nothing was changed.
  - Tasks that the engine gave up (restart attempts used up, update paused) are started again, which counts as a change.
  - Uses C(/info), C(/services), C(/tasks), C(/networks), C(/secrets), C(/configs) and C(/nodes) of the
    Docker Engine API.
  - Only what carries the label C(com.docker.stack.namespace) of this stack is ever changed or removed.
author: swarmhub contributors
options:
  name:
    description: Name of the stack; services are named C(<stack>_<service>).
    type: str
    required: true
  state:
    description:
      - V(present) settles the stack.
      - V(absent) removes its services, networks, secrets and configs, and waits for the containers to end, except
        on nodes that are Down. Refused when a service of somebody else uses one of them. Volumes stay.
    type: str
    choices: [present, absent]
    default: present
  compose:
    description:
      - What the stack is, in the words of compose version 3.8 as C(docker stack deploy) takes them. Required for
        O(state=present). Durations (V(1m30s)) and sizes (V(512M)) are in compose notation; image tags are handed on as
        they are, and without O(environment) every C($) too.
      - Top level - C(services), C(networks) (driver, driver_opts, attachable, internal, ipam, labels, external, name),
        C(volumes) (driver, driver_opts, labels, external, name), C(secrets) and C(configs) (labels, external, name).
      - Services - C(image), C(command), C(entrypoint), C(environment), C(hostname), C(user), C(working_dir), C(init),
        C(tty), C(stdin_open), C(read_only), C(stop_grace_period), C(stop_signal), C(labels), C(networks) with aliases,
        C(ports), C(volumes) (bind, volume, tmpfs), C(secrets), C(configs), C(healthcheck), C(cap_add), C(cap_drop),
        C(sysctls), C(ulimits), C(dns), C(dns_search), C(dns_opt), C(extra_hosts), C(logging), C(deploy).
      - C(deploy) - C(mode) (replicated, global), C(replicas), C(endpoint_mode), C(labels), C(placement), C(resources),
        C(restart_policy) (without C(max_attempts), or with 0, there is no limit), C(update_config), C(rollback_config).
      - C(version), C(container_name), C(expose) and C(depends_on) have no effect on a swarm and give a warning. Keys
        that begin with C(x-) are comments, but for the one below. Any other key is refused by its path.
      - C(x-cure) of a network is added to the error when the network would have to be made anew.
    type: dict
  environment:
    description:
      - Values of the variables in O(compose), for a mapping that was written for C(docker stack deploy), which takes
        them from its environment. When given, C($NAME), C(${NAME}), C(${NAME:-default}) and C(${NAME:?why}) are
        replaced and C($$) is a C($), as there; a variable without a value is an error.
    type: dict
  secrets:
    description:
      - Values of the secrets of O(compose) that are not external, by key. A secret is named
        C(<stack>_<key>-<hash>), so a new value makes a new secret, the services move to it, and the old one is removed.
        The hash is slow and salted with the cluster's id, and is of no use for guessing the value.
    type: dict
    default: {}
  configs:
    description: Contents of the configs of O(compose) that are not external, by key; named and renewed as secrets are.
    type: dict
    default: {}
  registry_auth:
    description:
      - Logins at private registries. The key is the registry, the image's first part or C(docker.io), the value a
        mapping of C(username) and C(password). The engine hands them to the nodes; a changed one with the next call.
    type: dict
    default: {}
  prune:
    description:
      - Whether services of the stack that O(compose) does not name are removed, and with O(wait), once the stack runs,
        networks, secrets and configs of the stack that nobody uses any more.
    type: bool
    default: true
  wait:
    description: Whether to wait until the stack runs.
    type: bool
    default: true
  timeout:
    description: Longest time to wait, in seconds. A rollback waits as long again.
    type: int
    default: 300
  rollback:
    description:
      - Whether, when the stack does not come to run, the services that were changed get back what they were. New ones
        are removed and removed ones made again. The call fails all the same.
    type: bool
    default: false
  docker_host:
    description: Address of the Docker engine.
    type: str
    default: unix:///var/run/docker.sock
attributes:
  check_mode:
    support: full
    description: Predicts the real run and changes nothing. Does not wait.
  diff_mode:
    support: full
    description: Shows the fields that differ for each service; secrets and configs by name only.
  idempotent:
    support: full
    description: The second run changes nothing.
requirements:
  - Docker SDK for Python on the host (Debian package python3-docker)
  - Docker Engine 20.10 or newer (API 1.41)
"""

EXAMPLES = r"""
- name: The web stack runs
  swarm_stack:
    name: web
    compose:
      services:
        proxy:
          image: example/proxy:1.2
          secrets: [proxy_token]
          networks: [front]
          ports:
            - {target: 8000, published: 80, mode: host}
          deploy:
            endpoint_mode: dnsrr
            placement: {constraints: ["node.role==manager"]}
      networks:
        front: {attachable: true, ipam: {config: [{subnet: 10.20.30.0/24}]}}
      secrets:
        proxy_token: {}
    secrets:
      proxy_token: "{{ proxy_token }}"
    timeout: 120
    rollback: true

- name: The web stack is gone
  swarm_stack:
    name: web
    state: absent
"""

RETURN = r"""
services:
  description:
    - What was done to each service (V(create), V(update), V(resume), V(remove) or V(keep)), and after waiting how many
      of its wanted tasks run. Also returned when the stack does not converge.
  returned: always
  type: list
  elements: dict
  sample: [{"name": "web_proxy", "action": "keep", "running": 1, "wanted": 1}]
networks:
  description: Names of the networks that the services use.
  returned: state is present
  type: list
  elements: str
secrets:
  description: Real name of each secret, by its key.
  returned: state is present
  type: dict
  sample: {"proxy_token": "web_proxy_token-0a1b2c3d4e5f"}
configs:
  description: Real name of each config, by its key.
  returned: state is present
  type: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.compose_reader import ComposeError
from ansible.module_utils.swarmhub.engine import DEFAULT_DOCKER_HOST, DockerEngine, EngineError
from ansible.module_utils.swarmhub.network import NetworkError
from ansible.module_utils.swarmhub.stack import Request, Result, StackError, deploy, remove

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "compose": {"type": "dict"},
    "environment": {"type": "dict"},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "configs": {"type": "dict", "default": {}},
    "registry_auth": {"type": "dict", "default": {}, "no_log": True},
    "prune": {"type": "bool", "default": True},
    "wait": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 300},
    "rollback": {"type": "bool", "default": False},
    "docker_host": {"type": "str", "default": DEFAULT_DOCKER_HOST},
}


def returned(result: Result) -> dict[str, t.Any]:
    """The result as the module returns it."""
    return {
        "changed": result.changed,
        "diff": {"before": result.before, "after": result.after},
        "services": result.services,
        "networks": result.networks,
        "secrets": result.secrets,
        "configs": result.configs,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS, required_if=[("state", "present", ["compose"])], supports_check_mode=True
    )
    options = dict(module.params)
    state, docker_host = options.pop("state"), options.pop("docker_host")
    request = Request(**options, check=module.check_mode)
    try:
        engine = DockerEngine(docker_host)
        result = deploy(engine, request) if state == "present" else remove(engine, request)
    except StackError as error:
        module.fail_json(msg=str(error), **(returned(error.result) if error.result else {}))
    except (ComposeError, EngineError, NetworkError) as error:
        module.fail_json(msg=str(error))
    for warning in result.warnings:
        module.warn(warning)
    module.exit_json(**returned(result))


if __name__ == "__main__":
    main()
