#!/usr/bin/python
"""Thin entry point; the logic is in module_utils/swarmhub/backup_restore.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_look
short_description: Look at a backup, and at what it would replace
description:
  - Runs on the backup host, with restic and psql. Checks the repository and the snapshot, and leaves nothing behind,
    not even a lock.
  - Returns secrets; give the task C(no_log).
options:
  repository: {description: What restic takes as its repository., type: str, required: true}
  key: {description: What it is encrypted with., type: str, required: true}
  environment: {description: Further variables of restic's., type: dict, default: {}}
  cluster: {description: The cluster whose backups are meant., type: str, required: true}
  snapshot: {description: How its id begins; empty for the latest., type: str, default: ""}
  database: {description: URL of the database that it would replace (libpq's)., type: str, required: true}
  password: {description: Password of that; empty for the one in the backup., type: str, default: ""}
  accounts: {description: Accounts that every hub has., type: list, elements: str, default: []}
attributes:
  check_mode: {description: It never changes anything., support: full}
author: The swarmhub authors
"""

EXAMPLES = r"""
- name: Look at the latest backup
  backup_look:
    repository: /mnt/backup/swarmhub
    key: "{{ lookup('ansible.builtin.file', inventory_dir ~ '/secrets/backup_key') }}"
    cluster: swarmhub
    database: postgresql://jupyterhub@10.0.0.5:5432/jupyterhub
  register: backup_found
  no_log: true
"""

RETURN = r"""
snapshot: {description: Its id., returned: success, type: str}
manifest: {description: What module_utils/swarmhub/backup.py says of it., returned: success, type: dict}
cluster: {description: What the controller gave; empty lists and mappings without it., returned: success, type: dict}
bytes: {description: All that is in it., returned: success, type: int}
people: {description: Names in the database at hand., returned: success, type: list, elements: str}
continues: {description: Whether a restore of this very snapshot was cut off., returned: success, type: bool}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.backup import BackupError, Repository
from ansible.module_utils.swarmhub.backup_restore import look

ARGUMENTS = {
    "repository": {"type": "str", "required": True},
    "key": {"type": "str", "required": True, "no_log": True},
    "environment": {"type": "dict", "default": {}, "no_log": True},
    "cluster": {"type": "str", "required": True},
    "snapshot": {"type": "str", "default": ""},
    "database": {"type": "str", "required": True},
    "password": {"type": "str", "default": "", "no_log": True},
    "accounts": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    repository = Repository(given["repository"], given["key"], given["cluster"], given["environment"], only_read=True)
    try:
        found = look(repository, given["snapshot"], given["database"], given["password"], given["accounts"])
    except BackupError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
