#!/usr/bin/python
"""Ansible module: what notebooks are at, and their end; the logic is in module_utils/swarmhub/drain.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_notebooks
short_description: Ask notebooks what they are at, and stop those that are idle, through a JupyterHub
description:
  - Asks each notebook's server for its kernels and terminals. One with a busy kernel, or without an answer, is busy.
    Another has been idle since the last activity of any of them, or since its start.
  - Stops are the hub's own, so that people may start again elsewhere at once.
  - Runs on the controller, with the Python library C(httpx).
options:
  url:
    description: The hub's public address, with a path if the hub has one.
    type: str
    required: true
  api_token:
    description: A token with the scopes C(admin:servers), C(read:users) and C(access:servers).
    type: str
    required: true
  ca_paths:
    description: PEM files of certificates to trust besides the controller's own.
    type: list
    elements: path
    default: []
  notebooks:
    description: The notebooks, as module M(swarm_notebooks) returns them, with the node's name instead of its id.
    type: list
    elements: dict
    required: true
    suboptions:
      user:
        description: Whose it is.
        type: str
        required: true
      profile:
        description: Slug of its profile.
        type: str
        required: true
      node:
        description: Name of the node, for the rows.
        type: str
        required: true
      since:
        description: When it was started, as the engine writes times.
        type: str
        required: true
  stop:
    description:
      - V(none) asks only. V(idle) stops those that are idle, for O(wait) seconds.
      - V(all) stops those that are left then as well.
    type: str
    choices: [none, idle, all]
    default: none
  idle_for:
    description: Seconds after which an idle notebook may be stopped.
    type: float
    default: 900
  wait:
    description: Seconds to wait for notebooks to become idle.
    type: float
    default: 0
  stop_timeout:
    description: Seconds that a notebook may take to end.
    type: float
    default: 60
attributes:
  check_mode:
    description: Asks, and stops nothing.
    support: full
  diff_mode:
    description: The rows tell more.
    support: none
author: swarmhub contributors
"""

EXAMPLES = r"""
- name: Give people half an hour
  hub_notebooks:
    url: http://192.0.2.10:8000
    api_token: "{{ lookup('ansible.builtin.file', inventory_dir + '/secrets/api_token') }}"
    notebooks: [{user: alice, profile: gpu, node: gpu1, since: "2026-01-31T18:00:00Z"}]
    stop: all
    wait: 1800
  delegate_to: localhost
"""

RETURN = r"""
rows:
  description: One entry a notebook.
  returned: success
  type: list
  elements: dict
  contains:
    node: {description: Where it ran., type: str}
    user: {description: Whose it is., type: str}
    profile: {description: Its profile., type: str}
    since: {description: Since when it ran., type: str}
    doing: {description: What it was at when it was last asked., type: str}
    outcome: {description: "C(runs), or when and why it ended.", type: str}
unstopped:
  description: Users whose notebooks the hub did not stop at the end of O(wait); the swarm is to end them.
  returned: success
  type: list
  elements: str
left:
  description: Users whose notebooks run.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.drain import UNSTOPPED, Drain, Notebook
from ansible.module_utils.swarmhub.hub_arguments import hub_arguments, hub_session


def main() -> None:
    """Ask, and stop what is to be stopped."""
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec=hub_arguments(
            notebooks={
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {"user": text, "profile": text, "node": text, "since": text},
            },
            stop={"type": "str", "choices": ["none", "idle", "all"], "default": "none"},
            idle_for={"type": "float", "default": 900},
            wait={"type": "float", "default": 0},
            stop_timeout={"type": "float", "default": 60},
        ),
        supports_check_mode=True,
    )
    given = module.params
    session = hub_session(module, start_timeout=given["stop_timeout"])
    drain = Drain([Notebook(**notebook) for notebook in given["notebooks"]], session)
    if given["stop"] == "none" or module.check_mode:
        drain.look()
    else:
        drain.run(given["idle_for"], given["wait"], stop_busy=given["stop"] == "all")
    rows = [notebook.row() for notebook in drain.notebooks]
    stopped = any(notebook.outcome.startswith("stopped") for notebook in drain.notebooks)
    unstopped = sorted(notebook.user for notebook in drain.notebooks if notebook.outcome == UNSTOPPED)
    left = sorted(notebook.user for notebook in drain.left)
    module.exit_json(changed=stopped, rows=rows, unstopped=unstopped, left=left)


if __name__ == "__main__":
    main()
