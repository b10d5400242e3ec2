#!/usr/bin/python
"""Thin entry point; the logic is in module_utils/swarmhub/backup_restore.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_load
short_description: Put the hub's database and the folders of a backup back
description:
  - Runs on the backup host, with the settings that role C(backup) wrote there. The hub must not run.
  - The database is replaced in one transaction. Files of a folder are written over those of the same name, others stay.
options:
  snapshot: {description: Its whole id., type: str, required: true}
  folders: {description: Where each of the backup's folders is to be., type: dict, required: true}
  password: {description: Of the database., type: str, required: true}
attributes:
  check_mode: {description: Does nothing then., support: full}
  idempotent: {description: It loads whenever it is asked., support: none}
author: The swarmhub authors
"""

EXAMPLES = r"""
- name: Put database and homes back
  backup_load:
    snapshot: "{{ backup_found.snapshot }}"
    folders: {homes: /srv/swarmhub/homes}
    password: "{{ cluster_secrets_values.db_password }}"
"""

RETURN = r"""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.backup import BackupError
from ansible.module_utils.swarmhub.backup_restore import restore

ARGUMENTS = {
    "snapshot": {"type": "str", "required": True},
    "folders": {"type": "dict", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if not module.check_mode:
        try:
            restore(module.params["snapshot"], module.params["folders"], module.params["password"])
        except BackupError as error:
            module.fail_json(msg=str(error))
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
