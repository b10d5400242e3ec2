#!/usr/bin/python
"""What ansible-doc tells of action_plugins/host_state.py; the logic is in module_utils/swarmhub/host_state.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_state
short_description: Look at what is on a host
description:
  - Finds, in one read-only call with the standard library alone, the state of the packages, files, units, sysctls and
    cards that it is asked about, and the engine's own view of itself.
  - It is given names only. No content and no secret travels in its arguments, and a secret comes back as a keyed
    fingerprint.
options:
  names:
    description: What is looked at, by kind; one argument, since each is a template that every host renders.
    type: dict
    suboptions:
      packages: {description: Debian packages., type: list, elements: str, default: []}
      files:
        description: Paths of files and directories; patterns (glob) give what they match.
        type: list
        elements: path
        default: []
      units: {description: systemd units., type: list, elements: str, default: []}
      sysctls: {description: Kernel settings., type: list, elements: str, default: []}
  candidates: {description: Debian packages whose newest version is asked for., type: list, elements: str, default: []}
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
    names:
      packages: [docker.io]
      files: [/etc/docker/daemon.json]
      units: [docker.service]
"""

RETURN = r"""
ansible_facts:
  description: What was found becomes facts of the host.
  returned: always
  type: dict
  contains:
    node_state:
      description: By kind; C(None) for a file that is missing, no key for a package that is not installed.
      returned: always
      type: dict
    swarm_node_id: {description: The node that the host is in its swarm; empty for none., returned: always, type: str}
"""
