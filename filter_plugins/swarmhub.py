"""The filters of swarmhub's plays: thin calls into module_utils/swarmhub, where the logic is."""

from __future__ import annotations

import base64
import dataclasses
import json
import typing as t
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import ansible.module_utils

PROJECT = Path(__file__).resolve().parents[1]
# On the controller nobody else puts our module_utils where Ansible's are.
ansible.module_utils.__path__.append(str(PROJECT / "module_utils"))

from ansible.module_utils.swarmhub import (  # noqa: E402 - found by way of the path above
    backup_controller,
    backup_findings,
    card_kinds,
    cluster,
    differences,
    driver,
    exports,
    findings,
    firewall,
    gpu_probe_nodes,
    homes,
    inventory,
    leaving,
    looks,
    probe_nodes,
    probe_report,
    profiles,
    secrets,
    seed_strings,
    sign_in,
    skeleton,
    tls,
    waits,
)
from ansible.module_utils.swarmhub.host_state import FINGERPRINT_KEY, fingerprint  # noqa: E402

File = dict[str, t.Any]


def states(hosts: Iterable[str], hostvars: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return ``{host: what the look found}`` of the hosts that answered."""
    return {host: hostvars[host]["node_state"] for host in hosts if _answered(hostvars[host])}


def silent(hosts: Iterable[str], hostvars: Mapping[str, t.Any]) -> list[str]:
    """Return the hosts that did not answer the look, or let nobody become root."""
    return [host for host in hosts if not _answered(hostvars[host])]


def _answered(variables: Mapping[str, t.Any]) -> bool:
    """By this run's own look: a cache of facts, where somebody has one, remembers what earlier ones found."""
    found = variables.get("node_found") or {"unreachable": True}
    return not found.get("unreachable") and not found.get("failed")


def hosts_where(hosts: Iterable[str], hostvars: Mapping[str, t.Any], fact: str) -> list[str]:
    """Return the hosts whose fact of this name is there and not empty: where a play has anything to do."""
    return [host for host in hosts if host in hostvars and hostvars[host].get(fact)]


def apt_sources(sources: Iterable[Mapping[str, str]]) -> list[File]:
    """Return the deb822 files, and the keys, of the given apt sources (sources.list(5))."""
    files: list[File] = []
    for source in sources:
        lines = ["Types: deb", f"URIs: {source['url']}", f"Suites: {source['suites']}"]
        if source["components"]:
            lines.append(f"Components: {source['components']}")
        if source["key"]:
            key = f"/etc/apt/keyrings/swarmhub-{source['name']}.asc"
            files.append({"path": key, "content": Path(source["key"]).read_text(), "mode": "0644"})
            lines.append(f"Signed-By: {key}")
        else:
            lines.append("Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg")
        path = f"/etc/apt/sources.list.d/swarmhub-{source['name']}.sources"
        files.append({"path": path, "content": "\n".join(lines) + "\n", "mode": "0644"})
    return files


def ca_files(paths: Iterable[str], directory: str) -> list[File]:
    """Return the files that put the controller's PEM files ``paths`` into the host's ``directory``."""
    return [
        {"path": f"{directory}/{Path(path).stem}.crt", "content": Path(path).read_text(), "mode": "0644"}
        for path in paths
    ]


def secret_files(values: Mapping[str, str], directory: str) -> list[File]:
    """Return the files that keep the secrets ``{name: value}`` in a manager's ``directory``."""
    return [
        {"path": f"{directory}/{name}", "secret_content": value, "mode": "0600"}
        for name, value in sorted(values.items())
    ]


def docker_config(auths: Iterable[Mapping[str, str]]) -> str:
    """Return the text of a Docker client's config.json with these credentials."""
    return json.dumps(
        {
            "auths": {
                each["registry"]: {"auth": base64.b64encode(f"{each['username']}:{each['password']}".encode()).decode()}
                for each in auths
            }
        }
    )


def registry_auth(auths: Iterable[Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return the credentials by registry, as module swarm_stack takes them."""
    return {each["registry"]: {"username": each["username"], "password": each["password"]} for each in auths}


def fingerprints(values: Mapping[str, str]) -> dict[str, str]:
    """Return ``{name: fingerprint}`` of secrets, as host_state returns them of a manager's copies."""
    key = values.get(FINGERPRINT_KEY, "")
    return {name: fingerprint(key, name, value) for name, value in sorted(values.items())}


def kept_secrets(looks: Mapping[str, t.Any], managers: Iterable[str]) -> dict[str, t.Any]:
    """Return the fingerprints that each manager holds; managers that hold none are left out."""
    return {host: looks[host]["secrets"] for host in managers if looks.get(host, {}).get("secrets")}


def number(value: t.Any, default: int) -> int:
    """Return a whole number, also of its text; ``default`` for no value, and 0 is one."""
    return default if value is None else int(value)


def numbers(values: Mapping[str, t.Any]) -> dict[str, int]:
    """Return the values as whole numbers."""
    return {name: int(value) for name, value in values.items()}


def check_inventory(groups: t.Any, hostvars: t.Any, play_hosts: Iterable[str]) -> str:
    """Return all that is wrong with what the user wrote, as one text."""
    return findings.render_findings(inventory.check_everything(groups, hostvars, play_hosts, PROJECT / "roles"))


def check_hosts(looked: Mapping[str, t.Any], groups: t.Any, hostvars: t.Any) -> dict[str, str]:
    """Return what the look tells of hosts that do not fit, as ``{"errors": text, "warnings": text}``."""
    settings = inventory.cluster_settings(groups, hostvars, PROJECT / "roles")
    return findings.report(looks.check_hosts(looked, groups, hostvars, settings))


def inventory_findings(groups: t.Any, hostvars: t.Any, play_hosts: Iterable[str]) -> list[dict[str, str]]:
    """Return all that is wrong with what the user wrote, as data (playbooks/check.yml)."""
    return [
        dataclasses.asdict(each) for each in inventory.check_everything(groups, hostvars, play_hosts, PROJECT / "roles")
    ]


def host_findings(looked: Mapping[str, t.Any], groups: t.Any, hostvars: t.Any) -> list[dict[str, str]]:
    """Return what the look tells of hosts that do not fit, as data."""
    settings = inventory.cluster_settings(groups, hostvars, PROJECT / "roles")
    return [dataclasses.asdict(each) for each in looks.check_hosts(looked, groups, hostvars, settings)]


def silent_findings(hosts: Iterable[str], hostvars: Mapping[str, t.Any]) -> list[dict[str, str]]:
    """Return a finding for each host that did not answer, with what Ansible said, as data."""
    cure = "see that ssh and sudo work there as the inventory says (ansible {} -b -m ping)"
    said = {host: _said(hostvars[host].get("node_found") or {}) for host in hosts}
    return [
        dataclasses.asdict(findings.Finding(f"gives no answer: {text}", cure.format(host), "ansible_host", host))
        for host, text in said.items()
    ]


def _said(found: Mapping[str, t.Any]) -> str:
    return str(found.get("msg", "nobody has asked it")).removeprefix("Task failed: ").strip()


def absent(files: Iterable[Mapping[str, t.Any]]) -> list[File]:
    """Return what a role owns where these files must not be."""
    return [{"path": each["path"], "absent": True} for each in files]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., t.Any]]:
        """Return the filters by name."""
        return {
            "swarmhub_absent": absent,
            "swarmhub_apt_sources": apt_sources,
            "swarmhub_backup_host": backup_findings.backup_host,
            "swarmhub_backup_part": backup_controller.collect,
            "swarmhub_backup_put_back": backup_controller.put_back,
            "swarmhub_backup_made": backup_controller.made,
            "swarmhub_backup_nodes": backup_controller.named_nodes,
            "swarmhub_backup_report": backup_controller.report,
            "swarmhub_backup_secrets": backup_controller.other_secrets,
            "swarmhub_ca_files": ca_files,
            "swarmhub_card_changes": card_kinds.changes,
            "swarmhub_cannot_join": cluster.cannot_join,
            "swarmhub_check_hosts": check_hosts,
            "swarmhub_check_inventory": check_inventory,
            "swarmhub_compare": waits.compare,
            "swarmhub_docker_config": docker_config,
            "swarmhub_differing": waits.differing,
            "swarmhub_entries": differences.entries,
            "swarmhub_export_differences": exports.differences,
            "swarmhub_export_lines": exports.lines,
            "swarmhub_exports": exports.exports,
            "swarmhub_fingerprints": fingerprints,
            "swarmhub_firewall_files": firewall.files,
            "swarmhub_generic_resources": card_kinds.generic_resources,
            "swarmhub_header_packages": driver.header_packages,
            "swarmhub_host_findings": host_findings,
            "swarmhub_hosts_where": hosts_where,
            "swarmhub_inventory_findings": inventory_findings,
            "swarmhub_silent_findings": silent_findings,
            "swarmhub_images_for": cluster.images_for,
            "swarmhub_missing_images": cluster.missing_images,
            "swarmhub_images_to_build": cluster.images_to_build,
            "swarmhub_images_to_push": cluster.images_to_push,
            "swarmhub_kinds": card_kinds.kinds,
            "swarmhub_labels": cluster.node_labels,
            "swarmhub_profiles": profiles.normalise_profiles,
            "swarmhub_reboot_reasons": driver.reboot_reasons,
            "swarmhub_registry_auth": registry_auth,
            "swarmhub_wanted_nodes": cluster.wanted_nodes,
            "swarmhub_hub_cores": cluster.hub_cores,
            "swarmhub_images": lambda registry, settings: cluster.images(PROJECT, registry, settings),
            "swarmhub_lacks": cluster.lacks,
            "swarmhub_hosts_to_look_at": leaving.hosts_to_look_at,
            "swarmhub_leaving": leaving.plan,
            "swarmhub_node_wishes": leaving.wishes,
            "swarmhub_with_names": leaving.with_names,
            "swarmhub_manager_addresses": cluster.manager_addresses,
            "swarmhub_kept_secrets": kept_secrets,
            "swarmhub_folder_paths": homes.folder_paths,
            "swarmhub_folders": homes.folders,
            "swarmhub_mount_options": homes.mount_options,
            "swarmhub_named_addresses": cluster.named_addresses,
            "swarmhub_names": differences.names,
            "swarmhub_newest": differences.newest,
            "swarmhub_no_answer": cluster.unreachable_message,
            "swarmhub_outdated_images": cluster.outdated_images,
            "swarmhub_offered_address": cluster.offered_address,
            "swarmhub_number": number,
            "swarmhub_numbers": numbers,
            "swarmhub_skeleton": skeleton.skeleton,
            "swarmhub_peer": cluster.peer_manager,
            "swarmhub_pending": waits.pending,
            "swarmhub_changed_hosts": gpu_probe_nodes.changed_hosts,
            "swarmhub_probed_nodes": gpu_probe_nodes.probed_nodes,
            "swarmhub_probe_profiles": probe_nodes.probe_profiles,
            "swarmhub_probe_table": probe_report.table,
            "swarmhub_role_file": lambda path: (PROJECT / "roles" / path).read_text(),
            "swarmhub_secret_files": secret_files,
            "swarmhub_secret_names": secrets.wanted_names,
            "swarmhub_secrets_to_settle": lambda directory, names: secrets.to_settle(Path(directory), names),
            "swarmhub_secrets_mismatch": lambda values, directory, kept, rotating: secrets.mismatch(
                Path(directory), values, kept, rotating
            ),
            "swarmhub_rotated": lambda directory: list(secrets.former_values(Path(directory))),
            "swarmhub_scope": cluster.scope,
            "swarmhub_seed": cluster.seed_manager,
            "swarmhub_seed_strings": seed_strings.seed_strings,
            "swarmhub_sign_in": sign_in.hub_settings,
            "swarmhub_silent": silent,
            "swarmhub_states": states,
            "swarmhub_tls_url": tls.url,
            "swarmhub_swarm_resource": card_kinds.swarm_resource,
            "swarmhub_unproved": probe_nodes.unproved,
            "swarmhub_uuids": card_kinds.uuids,
        }
