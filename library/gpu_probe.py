#!/usr/bin/python
"""Ansible module: the proof that containers see the cards that they hold, and no others."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_probe
short_description: Prove on every GPU node of a Docker swarm that containers see their own cards and no others
description:
  - Runs on a manager, once for all nodes. On each node it tries, all at the same time, a container that asks for all
    cards, which must see every card that the node advertises; one that holds none and is closed as the hub closes
    notebooks, which must see none; and for each kind of card one that holds one, which must see exactly that one.
  - The containers are services of one task that judge by themselves what they see, with C(nvidia-smi -L) and
    C(/dev/nvidia[0-9]*), and say so by their exit code. Where a container has cards and no C(nvidia-smi), device files
    are counted, and RV(rows) says so.
  - The services (label C(swarmhub.probe)) are removed in any case, and what a killed run has left is removed first, so
    it never reports a change. A card is held for a second or two; where all of a kind are held, that case is not run.
  - In check mode nothing is started.
  - Uses C(GET /info), C(GET /nodes), C(GET /networks), C(GET /tasks), C(GET /services), C(POST /services/create),
    C(DELETE /services/ID) and C(GET /services/ID/logs) of the Docker Engine API.
author: swarmhub contributors
options:
  nodes:
    description: The nodes to probe. One that is not Ready and active gets a row that says so, which is no failure.
    type: list
    elements: dict
    required: true
    suboptions:
      node_id:
        description: Id that the host itself reports.
        type: str
        required: true
      name:
        description: Name for messages and RV(rows).
        type: str
        required: true
      image:
        description:
          - Any image with C(/bin/sh) that is on the node, by its id (C(sha256:…)), since the engine tries to pull what
            is named otherwise. Empty when the node has none, which is a failure.
        type: str
        required: true
  network:
    description:
      - Overlay network that the containers are attached to, as notebooks are. Engines before 25.0.3 fail with a card
        and an overlay only. None by default.
    type: str
    default: ""
  timeout:
    description: Seconds after which a container that has not ended is given up.
    type: int
    default: 45
  docker_host:
    description: URL of the manager's engine.
    type: str
    default: unix:///var/run/docker.sock
attributes:
  check_mode:
    description: Starts nothing and returns no rows.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
requirements: [python3-docker on the host]
"""

EXAMPLES = r"""
- name: Prove that containers on gpu1 see their own cards and no others
  gpu_probe:
    nodes:
      - node_id: p3j0v4l1w0b7d7h2m9y8a6t5c
        name: gpu1
        image: sha256:0d0f2a4a1d2b9b1e4c51c8bb8fd0ef1a1b5b8d7e6c4a3f2e1d0c9b8a79685746
    network: swarmhub
"""

RETURN = r"""
rows:
  description: One entry a node and case, also when one of them failed.
  returned: when the cases could be tried
  type: list
  elements: dict
  contains:
    node: {description: The node's name., type: str}
    case: {description: "C(ask for all), C(hold none), C(hold one KIND); C(any) where nothing was tried.", type: str}
    outcome:
      description:
        - C(passed) or C(failed).
        - C(in use) where others hold all cards of the kind.
        - C(no proof) for a container that sees none where none sees any.
        - C(not probed) for a node that is not Ready and active.
      type: str
    seconds: {description: How long it took., type: float}
    seen: {description: "What was seen; for a failure with the likely cause and the cure.", type: str}
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.engine import DEFAULT_DOCKER_HOST, DockerEngine, EngineError
from ansible.module_utils.swarmhub.gpu_probe import probe
from ansible.module_utils.swarmhub.gpu_probe_cases import FAILED, Node
from ansible.module_utils.swarmhub.swarm import Refused

LOGS_TIMEOUT = 5


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "nodes": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {name: {"type": "str", "required": True} for name in ("node_id", "name", "image")},
            },
            "network": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 45},
            "docker_host": {"type": "str", "default": DEFAULT_DOCKER_HOST},
        },
        supports_check_mode=True,
    )
    given = module.params
    if module.check_mode:
        module.exit_json(changed=False, rows=[])
    try:
        engine = DockerEngine(given["docker_host"])
        logs = DockerEngine(given["docker_host"], timeout=LOGS_TIMEOUT)
        nodes = [Node(**node) for node in given["nodes"]]
        rows = probe(engine, logs, nodes, given["network"], given["timeout"])
    except (EngineError, Refused) as error:
        module.fail_json(msg=str(error))
    result = {"changed": False, "rows": [dataclasses.asdict(row) for row in rows]}
    if failures := [f"{row.node}, {row.case}: {row.seen}" for row in rows if row.outcome == FAILED]:
        module.fail_json(msg=". ".join(failures), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
