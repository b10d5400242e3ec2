#!/usr/bin/python
"""Thin entry point; the logic is in module_utils/swarmhub/owned_files.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: owned_files
short_description: Make directories, write files and take files away, all in one call
description:
  - Settles any number of directories and files at once, where M(ansible.builtin.copy) goes to the host twice for each.
  - A file is replaced at one stroke. One whose content is right keeps its time of modification.
options:
  directories:
    description: What to make, with parents (which belong to root).
    type: list
    elements: dict
    default: []
    suboptions: &attributes
      path: {description: Absolute path., type: path, required: true}
      mode: {description: Octal digits., type: str}
      owner: {description: Name or number., type: str, default: root}
      group: {description: Name or number., type: str, default: root}
  files:
    description: What to write, or to take away.
    type: list
    elements: dict
    default: []
    suboptions:
      <<: *attributes
      content: {description: All of the file., type: str, default: ""}
      secret_content: {description: The same, kept out of diffs and logs., type: str}
      encoding:
        description: How the content is given; V(base64) where it is no text.
        type: str
        choices: [utf-8, base64]
        default: utf-8
      absent: {description: Whether the file is taken away., type: bool, default: false}
attributes:
  check_mode: {description: Predicts the real run., support: full}
  diff_mode: {description: Shows the contents, but for secret ones., support: full}
  idempotent: {description: What is right is not touched., support: full}
author: The swarmhub authors
"""

EXAMPLES = r"""
- name: Write the engine's files
  owned_files:
    directories:
      - {path: /etc/docker, mode: "0755"}
    files:
      - {path: /etc/docker/daemon.json, mode: "0644", content: "{}\n"}
      - {path: /etc/docker/key.json, absent: true}
"""

RETURN = r"""
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.swarmhub.owned_files import Settler

ATTRIBUTES = {
    "path": {"type": "path", "required": True},
    "mode": {"type": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}
ARGUMENTS = {
    "directories": {"type": "list", "elements": "dict", "default": [], "options": ATTRIBUTES},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            **ATTRIBUTES,
            "content": {"type": "str", "default": ""},
            "secret_content": {"type": "str", "no_log": True},
            "encoding": {"type": "str", "choices": ["utf-8", "base64"], "default": "utf-8"},
            "absent": {"type": "bool", "default": False},
        },
    },
}


def main() -> None:
    """Run the module."""
    # Contents of files are nothing for the host's journal.
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True, no_log=True)
    settler = Settler(module)
    try:
        for entry in module.params["directories"]:
            settler.directory(entry)
        for entry in module.params["files"]:
            settler.file(entry)
    except OSError as error:
        module.fail_json(msg=f"{settler.at}: {error.strerror or error}", diff=settler.diffs)
    module.exit_json(changed=bool(settler.diffs), diff=settler.diffs)


if __name__ == "__main__":
    main()
