"""Where the playbooks are, and which inventory a command is about."""

from __future__ import annotations

import configparser
import dataclasses
import os
from pathlib import Path

from swarmhub.errors import Refused


@dataclasses.dataclass(frozen=True)
class Project:
    """A checkout with its playbooks, and an inventory.

    Attributes:
        root: the folder with site.yml and ansible.cfg.
        inventory: an absolute path, a file or a folder as ``ansible-playbook --inventory`` takes it.
    """

    root: Path
    inventory: Path

    @property
    def inventory_folder(self) -> Path:
        """Where hosts.yml, group_vars and secrets are."""
        return self.inventory if self.inventory.is_dir() else self.inventory.parent

    @property
    def hosts_file(self) -> Path:
        """The file that lists the hosts."""
        return self.inventory / "hosts.yml" if self.inventory.is_dir() else self.inventory

    @property
    def runs(self) -> Path:
        """Where the runs are kept."""
        return self.root / ".swarmhub" / "runs"

    @property
    def work(self) -> Path:
        """Where ansible-runner works while a run goes on."""
        return self.root / ".swarmhub" / "work"

    def setting(self, name: str, default: str) -> str:
        """Return a value of section ``defaults`` of ansible.cfg."""
        return _setting(self.root, name, default)

    def playbook(self, name: str) -> str:
        """Return a playbook's path inside the project: site.yml itself, the others by their name in playbooks/."""
        return "site.yml" if name == "site" else f"playbooks/{name}.yml"

    def require_inventory(self) -> None:
        """Raise Refused where the inventory is not there."""
        if not self.inventory.exists():
            raise Refused(
                f"there is no inventory {self.inventory}: write one with `swarmhub init`, or give --inventory"
            )


def find(project: Path | None, inventory: Path | None) -> Project:
    """Return the project from the current folder upwards, or the given one.

    Raises:
        Refused: there is none.
    """
    root = _root(project)
    chosen = inventory or os.environ.get("ANSIBLE_INVENTORY")
    return Project(
        root, Path(chosen).absolute() if chosen else root / _setting(root, "inventory", "inventory/hosts.yml")
    )


def _root(project: Path | None) -> Path:
    here = (project or Path.cwd()).absolute()
    for folder in [here] if project else [here, *here.parents]:
        if (folder / "site.yml").is_file() and (folder / "ansible.cfg").is_file():
            return folder
    where = f"{here} is" if project else f"neither {here} nor a folder above it is"
    raise Refused(f"{where} a checkout of swarmhub (site.yml beside ansible.cfg): go there, or give --project")


def _setting(root: Path, name: str, default: str) -> str:
    parser = configparser.RawConfigParser(strict=False)
    parser.read(root / "ansible.cfg", encoding="utf-8")
    return parser.get("defaults", name, fallback=default)
