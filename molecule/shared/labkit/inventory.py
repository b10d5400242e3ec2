"""The lab's inventory: an ordinary inventory directory, as a user would write it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from . import hosts, machine, packages
from .layouts import Layout
from .state import LAB, State, write_private

FOLDER = LAB / "inventory"
SECRETS = FOLDER / "secrets"
GROUPS = (
    "managers",
    "cpu_workers",
    "gpu_workers",
    "nfs_server",
    "postgres_server",
    "registry_server",
    "monitoring_server",
)
ALL = """\
# Written by molecule/shared/lab.py up; edits are lost when it runs again.
ansible_user: ops
ansible_become: true
ansible_ssh_private_key_file: {key}
ansible_ssh_common_args: >-
  -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes
  -o UserKnownHostsFile={known_hosts} -o GlobalKnownHostsFile=/dev/null
ansible_control_path_dir: {control_path}

cluster_name: lab
cluster_cidrs: [{subnet}]

host_package_mirror: {debian}
host_package_security_mirror: {security}
# Containers share the clock of their machine, and user-mode Linux takes its own from there.
host_time_sync: false

gpu_repository_url: {gpu}
gpu_repository_key: {gpu_key}

# On a real cluster a disk of its own, or another machine.
backup_repository: /var/backups/swarmhub-lab

{alerts}
hub_port: 8000
hub_metrics_users: true
{kind}
hub_profiles:
  - display_name: CPU
    slug: cpu
    description: A small notebook without a card
    default: true
    constraints: ["node.labels.{cpu_label}"]
    spawner_override: {{cpu_limit: 1, cpu_guarantee: 0.05, mem_limit: 512M, mem_guarantee: 64M}}
  - display_name: GPU
    slug: gpu
    description: A notebook with one card of its own
    gpus: 1
    constraints: ["node.labels.calculation_type==gpu"]
    spawner_override: {{cpu_limit: 1, cpu_guarantee: 0.05, mem_limit: 512M, mem_guarantee: 64M}}
"""
ALERTS = """\
# Where nobody listens but a test.
monitoring_alert_webhook: http://{gateway}:3143/alerts
"""
CONTAINERS = """\
# One directory of this machine is mounted on every host.
hub_homes_driver: bind
hub_homes_path: {homes}
hub_images_base_archive: {base_archive}
hub_images_pip_index_url: {pip}
hub_images_npm_registry: {npm}
host_extra_ca_certificates: {certificates}
"""
KERNELS = """\
# The images are on the hosts' disks.
hub_image: {hub}
hub_proxy_image: {proxy}
hub_notebook_image: {notebook}
hub_homes_quota: 300M
hub_shared_folders:
  - {{name: datasets, read_only: true}}
  - {{name: vision, groups: [vision]}}
"""


def _hosts(state: State, layout: Layout) -> str:
    lines = ["# Written by molecule/shared/lab.py up; edits are lost when it runs again.", "all:", "  hosts:"]
    for host in layout.hosts:
        lines += [f"    {host.name}:", f"      ansible_host: {state.address(host.number)}"]
        if layout.kernels and "managers" not in host.groups:
            lines.append("      node_labels: {notebooks: 'true'}")
        if host.light:
            lines.append("      calculation_type: light")
    lines.append("  children:")
    for group in GROUPS:
        if members := [host.name for host in layout.hosts if group in host.groups]:
            lines += [f"    {group}:", "      hosts:", *(f"        {member}:" for member in members)]
    return "\n".join(lines) + "\n"


def _cpu_label(layout: Layout) -> str:
    """The label of the nodes for notebooks without cards; with few hosts, all workers take them."""
    if layout.kernels:
        return "notebooks==true"
    return f"calculation_type=={'cpu' if any('cpu_workers' in host.groups for host in layout.hosts) else 'gpu'}"


def write(state: State, layout: Layout, references: Mapping[str, str]) -> Path:
    """Write hosts.yml, group_vars and host_vars; the secrets beside them are left alone.

    Args:
        references: images that the hosts have already, by name.
    """
    for name in ("group_vars", "host_vars"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
    values = {
        "key": hosts.KEY,
        "known_hosts": hosts.KNOWN_HOSTS,
        "control_path": LAB / "cp",
        "subnet": state.subnet,
        "gateway": state.address(1),
        "debian": packages.url(state, "debian"),
        "security": packages.url(state, "debian-security"),
        "certificates": json.dumps([str(path) for path in machine.extra_certificates()]),
        "gpu": packages.url(state, "gpu"),
        "gpu_key": packages.KEY,
        "homes": hosts.HOMES,
        "base_archive": hosts.BASE_ARCHIVE,
        "pip": json.dumps(machine.pip_index_url()),
        "npm": json.dumps(machine.npm_registry()),
        "cpu_label": _cpu_label(layout),
        **references,
    }
    monitored = any("monitoring_server" in host.groups for host in layout.hosts)
    values["alerts"] = ALERTS.format(**values) if monitored else ""
    values["kind"] = (KERNELS if layout.kernels else CONTAINERS).format(**values)
    write_private(FOLDER / "hosts.yml", _hosts(state, layout))
    write_private(FOLDER / "group_vars" / "all.yml", ALL.format(**values))
    for host in layout.hosts:
        if host.sudo_password:
            variables = f"ansible_become_password: {json.dumps(state.sudo_password)}\n"
            write_private(FOLDER / "host_vars" / f"{host.name}.yml", variables)
    return FOLDER


def write_access(state: State, layout: Layout) -> str:
    """Write access.json from the secrets that site.yml made; return the address of the hub."""
    manager = next(host for host in layout.hosts if "managers" in host.groups)
    address = f"http://{state.address(manager.number)}:8000"
    password = (SECRETS / "admin_password").read_text().strip()
    access = {"url": address, "admin_user": "admin", "admin_password": password}
    write_private(LAB / "access.json", json.dumps(access, indent=2) + "\n")
    return address
