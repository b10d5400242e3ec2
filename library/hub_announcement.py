#!/usr/bin/python
"""Ansible module: what a swarmhub hub announces on its pages."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_announcement
short_description: Let a swarmhub hub tell people something on all its pages, or keep them from starting notebooks
description:
  - Takes effect at once, without a restart of the hub, and outlives one.
  - Runs on the controller, with the Python library C(httpx).
options:
  url:
    description: The hub's public address, with a path if the hub has one.
    type: str
    required: true
  api_token:
    description: A token with the scope C(admin:servers).
    type: str
    required: true
  ca_paths:
    description: PEM files of certificates to trust besides the controller's own.
    type: list
    elements: path
    default: []
  name:
    description: By which the announcement is replaced and taken back.
    type: str
    required: true
  text:
    description: Plain text of up to 1000 characters.
    type: str
  ends_at:
    description: When it ends by itself, in ISO 8601; without a zone it is UTC. By default it does not.
    type: str
  users:
    description: Whom it is for. By default for everybody, those included who have not signed in.
    type: list
    elements: str
  maintenance:
    description: As long as it lasts, only administrators start notebooks. Running ones, and who waits for cards, go on.
    type: bool
    default: false
  state:
    description: V(absent) takes it back.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Predicts the real run and changes nothing.
    support: full
  diff_mode:
    description: Shows the announcement.
    support: full
  idempotent:
    description: The second run changes nothing.
    support: full
author: swarmhub contributors
"""

EXAMPLES = r"""
- name: Keep people from starting notebooks
  hub_announcement:
    url: http://192.0.2.10:8000
    api_token: "{{ lookup('ansible.builtin.file', inventory_dir + '/secrets/api_token') }}"
    name: maintenance
    text: The storage is being moved.
    ends_at: 2026-01-31T18:00:00Z
    maintenance: true
  delegate_to: localhost
"""

RETURN = r"""
announcement:
  description: What is said now; nothing when it was taken back.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.announcements import settle
from ansible.module_utils.swarmhub.hub_arguments import hub_arguments, hub_session
from ansible.module_utils.swarmhub.probe_session import HubError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=hub_arguments(
            name={"type": "str", "required": True},
            text={"type": "str"},
            ends_at={"type": "str"},
            users={"type": "list", "elements": "str"},
            maintenance={"type": "bool", "default": False},
            state={"type": "str", "choices": ["present", "absent"], "default": "present"},
        ),
        required_if=[("state", "present", ["text"])],
        supports_check_mode=True,
    )
    session = hub_session(module)
    try:
        result = settle(session(""), module.params, check_mode=module.check_mode)
    except (HubError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
