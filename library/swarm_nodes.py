#!/usr/bin/python
"""Ansible module: labels, roles and availability of a swarm's nodes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_nodes
short_description: Settle labels, roles and availability of all nodes of a Docker swarm in one call
description:
  - Runs on a manager, once for all nodes. Nodes are matched by node id, never by host name.
  - Each node that differs is changed by one update that keeps everything else in its spec.
  - Waits until every node is Ready, has its role, advertises the generic resources asked for, and, drained, is empty.
  - Refuses to take a label away that a running notebook is constrained on, and demotions that would cost the quorum.
  - Uses C(GET /info), C(GET /nodes), C(POST /nodes/ID/update), C(DELETE /nodes/ID), C(GET /services) and C(GET /tasks)
    of the Docker Engine API.
author: swarmhub contributors
options:
  nodes:
    description: The nodes to settle. Other nodes of the swarm are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      node_id:
        description: Id that the host itself reports. May be empty in check mode, for a host that is yet to join.
        type: str
        required: true
      name:
        description: Name for messages, the diff and RV(nodes).
        type: str
        required: true
      state:
        description:
          - V(absent) removes the node's entry as soon as it is Down, after demoting it, where the quorum allows.
            The host itself leaves with M(swarm_member), or is dead. Other keys then have no meaning.
        type: str
        choices: [present, absent]
        default: present
      left:
        description: The host has left by itself, so that its entry is removed before the managers find it Down.
        type: bool
        default: false
      labels:
        description:
          - Wanted labels. A value of V(null) takes the label away.
          - Without this key labels are left as they are.
        type: dict
      role:
        description: Wanted role. Left as it is by default.
        type: str
        choices: [manager, worker]
      availability:
        description:
          - Wanted availability. Left as it is by default.
          - V(drain) stops every task on the node. The call waits until the last has ended.
        type: str
        choices: [active, pause, drain]
      for_restart:
        description:
          - V(pause) and V(drain) are what O(nodes[].availability) has, because the node's engine, or its host, is about
            to be restarted. What it was is kept in its label C(swarmhub.drained_from).
          - Both are refused where the other managers would be no majority meanwhile.
          - V(over) gives back what it was, also after a run that was killed in between.
          - A drain without that label is somebody else's, and stays.
        type: str
        choices: [pause, drain, over]
      generic_resources:
        description: Ids by kind that the node must advertise, exactly, within O(timeout). Other kinds are ignored.
        type: dict
        default: {}
  labels_state:
    description: V(merge) keeps labels that are not named, V(exact) takes them away.
    type: str
    choices: [merge, exact]
    default: merge
  allow_constrained_label_change:
    description: Change labels even where that ends a running notebook (a service with label C(swarmhub.user)).
    type: bool
    default: false
  prune:
    description:
      - Remove the entries that a re-imaged host left behind, as soon as they are Down.
      - Such an entry has the host name of one of O(nodes) that is Ready, an id that none of O(nodes) has,
        and is Down or has the host's own address.
    type: bool
    default: true
  timeout:
    description: Seconds to wait for the nodes.
    type: int
    default: 60
  docker_host:
    description: URL of the manager's engine.
    type: str
    default: unix:///var/run/docker.sock
attributes:
  check_mode:
    description: Predicts the real run and changes nothing. Does not wait.
    support: full
  diff_mode:
    description: Shows labels, role and availability of each node that differs, and the entries that are removed.
    support: full
  idempotent:
    description: The second run changes nothing.
    support: full
requirements: [python3-docker on the host]
"""

EXAMPLES = r"""
- name: Settle two nodes
  swarm_nodes:
    nodes:
      - node_id: 8uwvsq2cb5tx0gz6ieb4yqn5l
        name: mgr1
        role: manager
      - node_id: p3j0v4l1w0b7d7h2m9y8a6t5c
        name: gpu1
        role: worker
        labels: {calculation_type: gpu, gpu_model: rtx-4090}
        generic_resources:
          GPU: [GPU-6b1c2f7e-0000-4000-8000-000000000001]

- name: Remove a node whose host is dead
  swarm_nodes:
    nodes: [{node_id: p3j0v4l1w0b7d7h2m9y8a6t5c, name: gpu1, state: absent}]

- name: Empty a node, and wait up to ten minutes until it is
  swarm_nodes:
    nodes: [{node_id: p3j0v4l1w0b7d7h2m9y8a6t5c, name: gpu1, availability: drain}]
    timeout: 600
"""

RETURN = r"""
nodes:
  description: The nodes that were asked for, by name, as they are after the call.
  type: dict
  returned: success
  sample:
    gpu1:
      node_id: p3j0v4l1w0b7d7h2m9y8a6t5c
      hostname: gpu1
      changed: true
      labels: {calculation_type: gpu}
      role: worker
      availability: active
      state: ready
      generic_resources: {GPU: [GPU-6b1c2f7e-0000-4000-8000-000000000001]}
removed:
  description: The entries that were removed, stale ones included, each with C(node_id) and C(hostname).
  type: list
  elements: dict
  returned: success
drained:
  description: Names of the services that ran on each node that this call began to drain, by name of the node.
  type: dict
  returned: success
  sample: {gpu1: [swarmhub-nb-alice]}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.engine import DEFAULT_DOCKER_HOST, DockerEngine, EngineError
from ansible.module_utils.swarmhub.nodes import settle
from ansible.module_utils.swarmhub.swarm import Refused


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "nodes": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "node_id": {"type": "str", "required": True},
                    "name": {"type": "str", "required": True},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                    "left": {"type": "bool", "default": False},
                    "labels": {"type": "dict"},
                    "role": {"type": "str", "choices": ["manager", "worker"]},
                    "availability": {"type": "str", "choices": ["active", "pause", "drain"]},
                    "for_restart": {"type": "str", "choices": ["pause", "drain", "over"]},
                    "generic_resources": {"type": "dict", "default": {}},
                },
            },
            "labels_state": {"type": "str", "choices": ["merge", "exact"], "default": "merge"},
            "allow_constrained_label_change": {"type": "bool", "default": False},
            "prune": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 60},
            "docker_host": {"type": "str", "default": DEFAULT_DOCKER_HOST},
        },
        supports_check_mode=True,
    )
    try:
        engine = DockerEngine(module.params["docker_host"])
        result = settle(engine, module.params, check_mode=module.check_mode)
    except (EngineError, Refused) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
