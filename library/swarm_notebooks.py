#!/usr/bin/python
"""Ansible module: the notebooks that run on nodes of a swarm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_notebooks
short_description: The notebooks that run on nodes of a Docker swarm, and whose they are
description:
  - Runs on a manager and changes nothing. A notebook is a service with the label C(swarmhub.user).
  - Uses C(GET /tasks) and C(GET /services) of the Docker Engine API.
author: swarmhub contributors
options:
  nodes:
    description: Ids of the nodes.
    type: list
    elements: str
    required: true
  docker_host:
    description: URL of the manager's engine.
    type: str
    default: unix:///var/run/docker.sock
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: See whose notebooks run on a node
  swarm_notebooks:
    nodes: [8uwvsq2cb5tx0gz6ieb4yqn5l]
  register: found
"""

RETURN = r"""
notebooks:
  description: One entry a notebook that runs there or is about to, by node and user.
  type: list
  elements: dict
  returned: success
  contains:
    user: {description: Whose it is., type: str}
    profile: {description: Slug of the profile that it was started with., type: str}
    node_id: {description: Where it runs., type: str}
    state: {description: State of its task., type: str}
    since: {description: "When its task was made, as in 2026-01-31T18:00:00.123456789Z.", type: str}
pinned:
  description: Other services that run there and can run nowhere else, with the node's id by the service's name.
  type: dict
  returned: success
  sample: {swarmhub_proxy: 8uwvsq2cb5tx0gz6ieb4yqn5l}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.engine import DEFAULT_DOCKER_HOST, DockerEngine, EngineError
from ansible.module_utils.swarmhub.notebooks import on_nodes


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "nodes": {"type": "list", "elements": "str", "required": True},
            "docker_host": {"type": "str", "default": DEFAULT_DOCKER_HOST},
        },
        supports_check_mode=True,
    )
    try:
        found = on_nodes(DockerEngine(module.params["docker_host"]), module.params["nodes"])
    except EngineError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
