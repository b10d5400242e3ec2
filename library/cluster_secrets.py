#!/usr/bin/python
"""Thin entry point; the logic is in module_utils/swarmhub/secrets.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_secrets
short_description: Make the cluster's secrets, once
description:
  - Runs on the controller. Writes each secret that does not exist yet to a file of its own (mode 0600) in the
    inventory's C(secrets) directory, and never returns a value.
  - Refuses to make one that a manager already holds, so that a second administrator cannot rotate the cluster's secrets
    by accident.
options:
  directory: {description: Where the secrets live., type: path, required: true}
  kept:
    description: Per manager, the fingerprints of the secrets that it holds (from M(host_state)).
    type: dict
    required: true
  provided: {description: Names of secrets that the user keeps elsewhere., type: list, elements: str, default: []}
  registry_address: {description: IP address of the site's registry; empty without one., type: str, default: ""}
attributes:
  check_mode: {description: Predicts which files would be written., support: full}
  idempotent: {description: An existing file is never rewritten., support: full}
author: The swarmhub authors
"""

EXAMPLES = r"""
- name: Make the secrets that do not exist yet
  cluster_secrets:
    directory: "{{ inventory_dir }}/secrets"
    kept: {}
  delegate_to: localhost
"""

RETURN = r"""
created: {description: Names of the files that were written., returned: always, type: list, elements: str}
names: {description: Names of all files that make up the secrets., returned: always, type: list, elements: str}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.secrets import create_missing, refusal, tighten, wanted_names

ARGUMENTS = {
    "directory": {"type": "path", "required": True},
    "kept": {"type": "dict", "required": True, "no_log": False},
    "provided": {"type": "list", "elements": "str", "default": []},
    "registry_address": {"type": "str", "default": ""},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    directory = Path(module.params["directory"])
    address = module.params["registry_address"]
    wanted = wanted_names(bool(address), module.params["provided"])
    if reason := refusal(directory, wanted, module.params["kept"]):
        module.fail_json(msg=reason)
    if module.check_mode:
        created = [name for name in wanted if not (directory / name).exists()]
        module.exit_json(changed=bool(created), created=created, names=wanted)
    created = create_missing(directory, wanted, address)
    opened = tighten(directory, wanted)
    module.exit_json(changed=bool(created or opened), created=created, names=wanted)


if __name__ == "__main__":
    main()
