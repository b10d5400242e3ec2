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
  rotate:
    description:
      - Names of secrets to make anew, out of C(proxy_token), C(cookie_secret), C(crypt_key), C(db_password),
        C(probe_password) and C(api_token). What they were is kept in C(former) below O(directory).
      - A rotation that was begun goes on with the values that it made.
    type: list
    elements: str
    default: []
  rotated:
    description: The rotation has reached the cluster; what the secrets were is removed.
    type: bool
    default: false
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
rotating: {description: Names of the secrets whose rotation goes on., returned: always, type: list, elements: str}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.secrets import (
    SecretsError,
    check_rotation,
    create_missing,
    forget_former,
    former_values,
    missing,
    refusal,
    rotate,
    tighten,
    wanted_names,
)

ARGUMENTS = {
    "directory": {"type": "path", "required": True},
    "kept": {"type": "dict", "required": True, "no_log": False},
    "provided": {"type": "list", "elements": "str", "default": []},
    "registry_address": {"type": "str", "default": ""},
    "rotate": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "rotated": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    directory = Path(module.params["directory"])
    address = module.params["registry_address"]
    wanted = wanted_names(module.params["provided"], address)
    if reason := refusal(directory, wanted, module.params["kept"]):
        module.fail_json(msg=reason)
    rotate_names = module.params["rotate"]
    created = missing(directory, wanted) if module.check_mode else create_missing(directory, wanted, address)
    try:
        check_rotation(directory, rotate_names, [*module.params["provided"], *(created if module.check_mode else [])])
    except SecretsError as error:
        module.fail_json(msg=f"{error}. Nothing was rotated.")
    before = former_values(directory)
    if module.check_mode:
        rotating = [] if module.params["rotated"] else sorted({*before, *rotate_names})
        changed = bool(created or rotate_names or (before and module.params["rotated"]))
        module.exit_json(changed=changed, created=created, names=wanted, rotating=rotating)
    opened = tighten(directory, wanted)
    rotating = rotate(directory, rotate_names)
    ended = module.params["rotated"] and forget_former(directory)
    changed = bool(created or opened or ended or rotating != sorted(before))
    module.exit_json(changed=changed, created=created, names=wanted, rotating=[] if ended else rotating)


if __name__ == "__main__":
    main()
