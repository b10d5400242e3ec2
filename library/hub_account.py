#!/usr/bin/python
"""Ansible module: an account that a JupyterHub is to forget; the logic is in module_utils/swarmhub/account.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hub_account
short_description: Take an account out of a JupyterHub, with its server and its tokens
description:
  - Stops the server, and waits until it is gone; then removes the account. The home stays.
  - An account of a swarmhub hub's own goes also where nobody has signed in with it yet.
  - Runs on the controller, with the Python library C(httpx).
options:
  url:
    description: The hub's public address, with a path if the hub has one.
    type: str
    required: true
  api_token:
    description: A token with the scopes C(admin:users) and C(admin:servers).
    type: str
    required: true
  ca_paths:
    description: PEM files of certificates to trust besides the controller's own.
    type: list
    elements: path
    default: []
  name:
    description: Name of the account.
    type: str
    required: true
  stop_timeout:
    description: Seconds that the server may take to end.
    type: float
    default: 60
attributes:
  check_mode:
    description: Predicts the real run and changes nothing.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
  idempotent:
    description: The second run changes nothing.
    support: full
author: swarmhub contributors
"""

EXAMPLES = r"""
- name: Forget somebody who has left
  hub_account:
    url: http://192.0.2.10:8000
    api_token: "{{ lookup('ansible.builtin.file', inventory_dir + '/secrets/api_token') }}"
    name: alice
  delegate_to: localhost
"""

RETURN = r"""
exists:
  description: Whether there is, or was, such an account.
  returned: success
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.account import remove
from ansible.module_utils.swarmhub.hub_arguments import hub_arguments, hub_session
from ansible.module_utils.swarmhub.probe_session import HubError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=hub_arguments(
            name={"type": "str", "required": True},
            stop_timeout={"type": "float", "default": 60},
        ),
        supports_check_mode=True,
    )
    given = module.params
    session = hub_session(module, start_timeout=given["stop_timeout"], request_timeout=60)
    try:
        result = remove(session(given["name"]), check_mode=module.check_mode)
    except HubError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
