#!/usr/bin/python
"""Thin entry point; the logic is in module_utils/swarmhub/host_state.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_state
short_description: Look at what is on a host
description:
  - Returns, in one read-only call with the standard library alone, the state of the packages, files, units, sysctls and
    cards that it is asked about, and the engine's own view of itself.
  - It is given names only. No content and no secret travels in its arguments, and a secret comes back as a keyed
    fingerprint.
options:
  packages: {description: Debian packages., type: list, elements: str, default: []}
  candidates: {description: Debian packages whose newest version is asked for., type: list, elements: str, default: []}
  files:
    description: Paths of files and directories; patterns (glob) give what they match.
    type: list
    elements: path
    default: []
  units: {description: systemd units., type: list, elements: str, default: []}
  sysctls: {description: Kernel settings., type: list, elements: str, default: []}
  kernel_modules:
    description: Parts of the kernel, by the names of their modules, of which it tells whether the kernel has them.
    type: list
    elements: str
    default: []
  secrets_dir: {description: Directory whose files are fingerprinted., type: path}
  cards:
    description: Ask the driver for its cards, as module gpu_info does, and the toolkit for its C(swarm-resource).
    type: bool
    default: false
  exports:
    description: Ask the NFS server what it exports; this is the file of ours among those that say so.
    type: path
  file_systems:
    description: Paths whose file system's type and mount options are asked for.
    type: list
    elements: path
    default: []
  firewall:
    description: Compare live rules of iptables and ip6tables (table filter) with what their unit loaded.
    type: dict
    options:
      chains:
        description: How the names of the chains begin. Rules of others that lead there count too.
        type: str
        required: true
      loaded:
        description: Where the unit keeps the listed form of what it loaded, without the endings C(.v4) and C(.v6).
        type: path
        required: true
      written:
        description: The files that it loads; what is younger than what it loaded is not live yet.
        type: list
        elements: path
        required: true
  postgres:
    description: Ask the local PostgreSQL server.
    type: dict
    options:
      database: {description: Name of a database., type: str, required: true}
      role: {description: Name of a role., type: str, required: true}
attributes:
  check_mode: {description: It never changes anything., support: full}
author: The swarmhub authors
"""

EXAMPLES = r"""
- name: Look at the engine's host
  host_state:
    packages: [docker.io]
    files: [/etc/docker/daemon.json]
    units: [docker.service]
"""

RETURN = r"""
state:
  description: What was found, by kind; C(None) for a file that is missing, no key for a package that is not installed.
  returned: always
  type: dict
"""

from subprocess import SubprocessError

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.host_state import look

ARGUMENTS = {
    "packages": {"type": "list", "elements": "str", "default": []},
    "candidates": {"type": "list", "elements": "str", "default": []},
    "files": {"type": "list", "elements": "path", "default": []},
    "units": {"type": "list", "elements": "str", "default": []},
    "sysctls": {"type": "list", "elements": "str", "default": []},
    "kernel_modules": {"type": "list", "elements": "str", "default": []},
    "secrets_dir": {"type": "path", "no_log": False},
    "cards": {"type": "bool", "default": False},
    "exports": {"type": "path"},
    "file_systems": {"type": "list", "elements": "path", "default": []},
    "firewall": {
        "type": "dict",
        "options": {
            "chains": {"type": "str", "required": True},
            "loaded": {"type": "path", "required": True},
            "written": {"type": "list", "elements": "path", "required": True},
        },
    },
    "postgres": {
        "type": "dict",
        "options": {"database": {"type": "str", "required": True}, "role": {"type": "str", "required": True}},
    },
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        state = look(module.params)
    except (OSError, SubprocessError) as error:
        module.fail_json(msg=f"the host cannot be looked at: {error}")
    module.exit_json(changed=False, state=state)


if __name__ == "__main__":
    main()
