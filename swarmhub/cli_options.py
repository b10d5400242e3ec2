"""Options that several commands have, and the question that one of them asks."""

from __future__ import annotations

import getpass
import typing as t
from pathlib import Path

import typer

Inventory = t.Annotated[
    Path | None,
    typer.Option("--inventory", "-i", help="hosts.yml or its folder; by default what ansible.cfg says."),
]
ProjectFolder = t.Annotated[
    Path | None,
    typer.Option("--project", help="The checkout with site.yml; by default the current folder or one above it."),
]
Variables = t.Annotated[list[str], typer.Option("--extra-vars", "-e", help="NAME=VALUE, as for ansible-playbook.")]
AsJson = t.Annotated[bool, typer.Option("--json", help="JSON for programs; of a run one object a line.")]
AskPassword = t.Annotated[bool, typer.Option("--ask-become-pass", "-K", help="Ask for the hosts' sudo password.")]
Plan = t.Annotated[bool, typer.Option("--plan", help="Show what would change, and ask before going on.")]
Yes = t.Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Names = t.Annotated[str, typer.Argument(help="A node's name in the inventory; several with commas.")]


def sudo_password(ask: bool) -> str | None:
    """Ask for the hosts' sudo password, where that is wanted."""
    return getpass.getpass("Password for sudo on the hosts: ") if ask else None
