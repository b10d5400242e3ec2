"""Commands that run a playbook; what they share is in cli_run.py."""

from __future__ import annotations

import typing as t

import typer

from swarmhub.cli_options import AsJson, AskPassword, Inventory, Names, Plan, ProjectFolder, Variables, Yes
from swarmhub.cli_run import run, run_asking
from swarmhub.errors import Refused
from swarmhub.project import find


def register(app: typer.Typer) -> None:
    """Give the commands to the command line."""
    for command in (apply, add_node, drain, remove_node, upgrade, backup, restore, verify):
        app.command()(command)


def apply(
    plan: Plan = False,
    yes: Yes = False,
    variables: Variables = [],  # noqa: B006 - Typer's own idiom
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Bring the cluster to what the inventory says (site.yml).

    \b
    swarmhub apply
    swarmhub apply --plan
    swarmhub apply -e docker_engine_restart=drain
    """
    found = find(project, inventory)
    run(found, "site", variables=variables, as_json=as_json, ask_password=ask_password, plan=plan, yes=yes)


def add_node(
    name: t.Annotated[str, typer.Argument(help="Its name in the inventory.")],
    address: t.Annotated[
        str, typer.Option(help="Address that SSH connects to; needed unless the inventory has it.")
    ] = "",
    gpu: t.Annotated[bool, typer.Option("--gpu", help="It has NVIDIA cards (group gpu_workers).")] = False,
    manager: t.Annotated[bool, typer.Option("--manager", help="It is to be a manager.")] = False,
    yes: Yes = False,
    plan: Plan = False,
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Write a node into the inventory and bring it in while people work.

    \b
    swarmhub add-node gpu3 --address 192.0.2.33 --gpu
    swarmhub add-node cpu2            gives a drained node back
    """
    from swarmhub.hosts_file import add_host, replace

    found = find(project, inventory)
    found.require_inventory()
    if gpu and manager:
        raise Refused("give one of --gpu and --manager; a host of both groups is written into hosts.yml by hand")
    if (gpu or manager) and not address:
        raise Refused("--gpu and --manager are for a new node: give --address too, or leave them out")
    group = "managers" if manager else "gpu_workers" if gpu else "cpu_workers"
    before = found.hosts_file.read_text(encoding="utf-8") if address else ""
    added = bool(address) and add_host(found.hosts_file, name, address, group)

    def undo() -> None:
        if added:
            replace(found.hosts_file, before)

    run(
        found, "add_node", variables=variables, own={"node": name}, undo=undo,
        as_json=as_json, ask_password=ask_password, plan=plan, yes=yes,
    )  # fmt: skip


def drain(
    name: Names,
    yes: Yes = False,
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Take a node out of service: idle notebooks are stopped, busy ones left alone.

    \b
    swarmhub drain gpu3
    swarmhub drain gpu3 -e drain_busy=stop -e drain_wait=600
    """
    options = {"variables": variables, "as_json": as_json, "ask_password": ask_password}
    run_asking("drain_node", name, f"Take {name} out of service?", yes, project=find(project, inventory), **options)


def remove_node(
    name: Names,
    yes: Yes = False,
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Take a node, a dead one too, out of the cluster. Take it out of the inventory afterwards.

    \b
    swarmhub remove-node gpu3
    """
    options = {"variables": variables, "as_json": as_json, "ask_password": ask_password}
    run_asking(
        "remove_node", name, f"Take {name} out of the cluster?", yes, project=find(project, inventory), **options
    )


def upgrade(
    yes: Yes = False,
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Bring this checkout's hub and proxy; notebooks run on.

    \b
    git pull && swarmhub upgrade
    swarmhub upgrade -e back=yes      in the older checkout: undo it
    """
    options = {"variables": variables, "as_json": as_json, "ask_password": ask_password}
    question = "Replace hub and proxy? For some seconds nobody reaches a notebook"
    run_asking("upgrade", "", question, yes, project=find(project, inventory), **options)


def backup(
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Make a backup now: database, homes, secrets and inventory.

    \b
    swarmhub backup
    """
    run(find(project, inventory), "backup", variables=variables, as_json=as_json, ask_password=ask_password)


def restore(
    snapshot: t.Annotated[str, typer.Option(help="Another snapshot than the latest, by its id.")] = "",
    yes: Yes = False,
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Put a backup onto the inventory's hosts; it is read and checked before the question.

    \b
    swarmhub restore
    swarmhub restore --snapshot 4f1c22ab
    """
    options = {"variables": variables, "as_json": as_json, "ask_password": ask_password}
    own = {"snapshot": snapshot} if snapshot else {}
    run_asking("restore", "", "Restore it?", yes, project=find(project, inventory), own=own, **options)


def verify(
    variables: Variables = [],  # noqa: B006
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Walk a person's path through the hub: sign in, run a notebook of every profile, find its file again.

    \b
    swarmhub verify
    """
    run(find(project, inventory), "verify", variables=variables, as_json=as_json, ask_password=ask_password)
