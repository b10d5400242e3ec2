"""How hosts are reached, as the inventory says it, and one program that is run on a host without Ansible.

Ansible's own classes read the inventory, in this process; the connection is OpenSSH's.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import typing as t
from pathlib import Path

from swarmhub.errors import Code, Refused
from swarmhub.project import Project

CONNECT_TIMEOUT = 3  # seconds
#: Begins the program on the standard input; what sudo has left of a password that it did not ask for stands before it.
BEGIN = "# the program begins\n"
START = f"import sys; given = sys.stdin.read(); exec(given[given.index({BEGIN!r}):])"


@dataclasses.dataclass(frozen=True)
class Target:
    """A host and how it is reached.

    Attributes:
        name: in the inventory.
        address: for OpenSSH, with the user where there is one.
        options: further arguments of ssh.
        local: whether it is this machine itself.
        become: whether sudo is needed.
        password: for sudo; empty where it asks for none.
        python: the interpreter there.
    """

    name: str
    address: str
    options: tuple[str, ...]
    local: bool
    become: bool
    password: str = dataclasses.field(repr=False)
    python: str

    def ssh(self) -> list[str]:
        """Return ssh with its options, without the address."""
        folder = Path.home() / ".ansible" / "cp"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The first word about an option counts: the inventory's own.
        ours = ["BatchMode=yes", f"ConnectTimeout={CONNECT_TIMEOUT}", "ServerAliveInterval=15"]
        ours += ["ControlMaster=auto", "ControlPersist=60s", f"ControlPath={folder}/%C"]
        return ["ssh", *self.options, *(part for option in ours for part in ("-o", option))]

    def arguments(self, command: list[str]) -> list[str]:
        """Return the arguments that run a command there."""
        return command if self.local else [*self.ssh(), self.address, shlex.join(command)]

    def start(self, program: str) -> subprocess.Popen[str]:
        """Start a Python program as root there; its standard output and error are pipes."""
        sudo = ["sudo", *(["-S", "-p", ""] if self.password else ["-n"]), "--"] if self.become else []
        arguments = self.arguments([*sudo, self.python, "-c", START])
        pipe = subprocess.PIPE
        started = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8")
        if started.stdin is None:
            raise AssertionError("a pipe was asked for")
        try:
            started.stdin.write(f"{self.password}\n{BEGIN}{program}" if self.password else f"{BEGIN}{program}")
            started.stdin.close()
        except BrokenPipeError:  # it has ended already, and says why
            pass
        started.stdin = None
        return started


def hosts(project: Project, group: str) -> list[Target]:
    """Return the hosts of a group, in the inventory's order.

    Raises:
        Refused: the inventory cannot be read, or a host is reached in a way that is not known here.
    """
    project.require_inventory()
    _use_settings_of(project)
    from ansible.constants import DEFAULT_VAULT_IDENTITY_LIST, DEFAULT_VAULT_PASSWORD_FILE
    from ansible.errors import AnsibleError
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.vars.hostvars import HostVars
    from ansible.vars.manager import VariableManager

    loader = DataLoader()
    try:
        if DEFAULT_VAULT_PASSWORD_FILE or DEFAULT_VAULT_IDENTITY_LIST:
            from ansible.cli import CLI

            files = [DEFAULT_VAULT_PASSWORD_FILE] if DEFAULT_VAULT_PASSWORD_FILE else []
            secrets = CLI.setup_vault_secrets(loader, DEFAULT_VAULT_IDENTITY_LIST, vault_password_files=files)
            loader.set_vault_secrets(secrets)
        inventory = InventoryManager(loader, sources=[str(project.inventory)])
        variables = HostVars(inventory, VariableManager(loader, inventory), loader)
        return [target(host.name, variables[host.name]) for host in inventory.get_hosts(group)]
    except AnsibleError as error:
        raise Refused(f"the inventory {project.inventory} cannot be read: {error}") from error


def checks_host_keys(project: Project) -> bool:
    """Return what environment and ansible.cfg say of the keys of hosts."""
    _use_settings_of(project)
    return bool(_ssh_option("host_key_checking", {}))


def _use_settings_of(project: Project) -> None:
    os.environ["ANSIBLE_CONFIG"] = str(project.root / "ansible.cfg")


def _ssh_option(option: str, variables: t.Mapping[str, t.Any]) -> t.Any:
    from ansible.constants import config
    from ansible.plugins.loader import connection_loader

    # Once a plugin is loaded, the options that it has are known, and all names of each.
    connection_loader.get("ssh", class_only=True)
    return config.get_config_value(option, plugin_type="connection", plugin_name="ssh", variables=variables)


def target(name: str, variables: t.Mapping[str, t.Any]) -> Target:
    """Return a host by its variables, the environment and ansible.cfg, which count as they do for Ansible."""
    from ansible.constants import config
    from ansible.module_utils.parsing.convert_bool import boolean
    from ansible.plugins.loader import become_loader

    become_loader.get("sudo", class_only=True)  # its options, too

    def ssh(option: str) -> t.Any:
        return _ssh_option(option, variables)

    options = shlex.split(ssh("ssh_args") or "")
    if ssh("host_key_checking") is False:
        options += ["-o", "StrictHostKeyChecking=no"]
    if port := ssh("port"):
        options += ["-p", str(port)]
    if key := ssh("private_key_file"):
        options += ["-i", str(Path(key).expanduser())]
    options += shlex.split(ssh("ssh_common_args") or "") + shlex.split(ssh("ssh_extra_args") or "")
    user, address = ssh("remote_user"), ssh("host")
    password = config.get_config_value("become_pass", plugin_type="become", plugin_name="sudo", variables=variables)
    python = str(config.get_config_value("INTERPRETER_PYTHON", variables=variables))
    return Target(
        name=name,
        address=f"{user}@{address}" if user else str(address),
        options=tuple(options),
        local=variables.get("ansible_connection") == "local",
        become=boolean(variables.get("ansible_become") or False),
        password=str(password or ""),
        # Ansible would look for one, at the price of a connection.
        python="/usr/bin/python3" if python.startswith("auto") else python,
    )


def first_answer(targets: list[Target], program: str, timeout: float) -> tuple[Target, str]:
    """Run a read-only program on all hosts at once; return the first that ends well, and what it printed.

    Asking one after the other would take seconds for each that is away.

    Raises:
        Refused: none did within ``timeout`` seconds; the text says what each said.
    """
    import concurrent.futures

    started = {target.name: target.start(program) for target in targets}
    said: list[str] = []
    with concurrent.futures.ThreadPoolExecutor(max(1, len(targets))) as pool:
        asked = {pool.submit(started[target.name].communicate, timeout=timeout): target for target in targets}
        try:
            for future in concurrent.futures.as_completed(asked):
                target = asked[future]
                try:
                    out, err = future.result()
                except subprocess.TimeoutExpired:
                    said.append(f"{target.name}: no answer within {timeout:.0f} s")
                    continue
                if started[target.name].returncode == 0:
                    return target, out
                word = err.strip().rpartition("\n")[2] or "ended without a word"
                advice = " (-K asks you for it)" if word.startswith("sudo: ") and not target.password else ""
                said.append(f"{target.name}: {word}{advice}")
        finally:
            for process in started.values():
                process.kill()
    raise Refused("no manager answers:\n  " + "\n  ".join(said or ["the inventory has none"]), Code.FAILED)
