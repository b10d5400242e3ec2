"""Commands that write an inventory, or only look: ``init``, ``check``, ``status``."""

from __future__ import annotations

import dataclasses
import getpass
import json
import signal
import sys
import time
import typing as t

import typer

from swarmhub.cli_options import AsJson, AskPassword, Inventory, ProjectFolder, sudo_password
from swarmhub.errors import Code, Refused
from swarmhub.project import find

if t.TYPE_CHECKING:
    from rich.console import RenderableType

    from swarmhub.status import Status, Targets

INTERVAL = 2.0  # seconds between two looks of --watch
ENDING = (signal.SIGTERM, signal.SIGHUP)


def register(app: typer.Typer) -> None:
    """Give the commands to the command line."""
    app.command()(init)
    app.command()(check)
    app.command()(status)


def init(
    user: t.Annotated[str, typer.Option(help="Account on the hosts that may become root.")] = "",
    managers: t.Annotated[str, typer.Option(help="1, 3 or 5 addresses, or NAME=ADDRESS, with commas.")] = "",
    cpu_workers: t.Annotated[str, typer.Option(help="Nodes without cards, likewise.")] = "",
    gpu_workers: t.Annotated[str, typer.Option(help="Nodes with NVIDIA cards, likewise.")] = "",
    storage: t.Annotated[
        str, typer.Option(help="One host for homes, database and registry; else the first manager.")
    ] = "",
    cidrs: t.Annotated[str, typer.Option(help="Networks that hold every host; else those of the addresses.")] = "",
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Write a first inventory, with every variable explained in place; asks for what is not given.

    \b
    swarmhub init
    swarmhub init --user ops --managers 10.0.0.11 --gpu-workers gpu1=10.0.0.31,gpu2=10.0.0.32
    """
    from swarmhub.init import Answers, hosts, require_new, write

    found = find(project, inventory)
    example = found.root / "inventory" / "example"
    folder = found.inventory.parent if found.inventory.name == "hosts.yml" else found.inventory
    require_new(example, folder)
    if not managers and not sys.stdin.isatty():
        raise Refused("there is no terminal to ask at: give --managers and --cpu-workers or --gpu-workers")
    if not managers:
        typer.echo("Hosts are given as addresses, or as NAME=ADDRESS, separated by commas; none is an empty line.")
        managers = _ask_hosts("Managers (1, 3 or 5)", 1)
        cpu_workers = cpu_workers or _ask_hosts("Nodes without cards")
        gpu_workers = gpu_workers or _ask_hosts("Nodes with NVIDIA cards", 0 if cpu_workers else 1)
        storage = storage or _ask_hosts("Host for homes and database, if not the first manager")
        user = user or typer.prompt("Account on them that may become root", default=getpass.getuser())
    answers = Answers(
        user=user or getpass.getuser(),
        managers=hosts(managers, "mgr"),
        cpu_workers=hosts(cpu_workers, "cpu"),
        gpu_workers=hosts(gpu_workers, "gpu"),
        storage=hosts(storage, "store"),
        cidrs=[each.strip() for each in cidrs.split(",") if each.strip()],
    )
    for path in write(example, folder, answers):
        typer.echo(f"wrote {path}")
    typer.echo("Look through them, then: swarmhub check")


def _ask_hosts(question: str, least: int = 0) -> str:
    """Ask until all hosts of the answer can be read; return it as it was given."""
    from swarmhub.init import hosts

    def read(text: str) -> str:
        try:
            found = hosts(text, "host")
        except Refused as refused:
            raise typer.BadParameter(str(refused)) from refused
        if len(found) < least:
            raise typer.BadParameter("at least one is needed")
        return text

    return t.cast("str", typer.prompt(question, default="", show_default=False, value_proc=read))


def check(
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Tell what is wrong with the inventory and its hosts, worst first, each with its cure; changes nothing.

    \b
    swarmhub check
    swarmhub check --json

    Exits with 2 where something has to be corrected.
    """
    from rich.console import Console

    from swarmhub.findings import collect, show

    found = find(project, inventory)
    found.require_inventory()
    password = sudo_password(ask_password)
    findings = collect(found, password, Console(stderr=True))
    show(findings, as_json, Console(highlight=False))
    raise typer.Exit(Code.USAGE if any(each["severity"] == "error" for each in findings) else Code.WELL)


def status(
    watch: t.Annotated[bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C.")] = False,
    as_json: AsJson = False,
    ask_password: AskPassword = False,
    inventory: Inventory = None,
    project: ProjectFolder = None,
) -> None:
    """Show nodes, cards and who holds them, services and why one is not running, people's servers, and warnings.

    \b
    swarmhub status
    swarmhub status --watch
    swarmhub status --json | jq .warnings
    """
    from swarmhub.status import Targets

    found = find(project, inventory)
    found.require_inventory()
    targets = Targets(found, sudo_password(ask_password) or "")
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(targets.look()), ensure_ascii=False))
        return
    from rich.console import Console

    from swarmhub.status_view import render

    console = Console(highlight=False)
    if not watch:
        console.print(render(targets.look()))
        return
    from rich.live import Live

    for number in ENDING:
        signal.signal(number, _end)
    try:
        first = render(targets.look())
        # Heard while the terminal is being changed, they would leave it half-way.
        signal.pthread_sigmask(signal.SIG_BLOCK, [*ENDING, signal.SIGINT])
        with Live(first, console=console, screen=console.is_terminal, auto_refresh=False) as live:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [*ENDING, signal.SIGINT])
            while True:
                time.sleep(INTERVAL)
                live.update(_latest(targets, render), refresh=True)
    except KeyboardInterrupt:
        return


def _end(number: int, frame: t.Any) -> t.NoReturn:  # noqa: ARG001 - Python's signature
    """Leave by way of every ``with``: the terminal is to be as it was."""
    for each in ENDING:  # a second one would stop that half-way
        signal.signal(each, signal.SIG_IGN)
    sys.exit(Code.INTERRUPTED)


def _latest(targets: Targets, render: t.Callable[[Status], RenderableType]) -> RenderableType:
    """Return the picture of now; of managers that do not answer, their words: they may be back at the next look."""
    try:
        return render(targets.look())
    except Refused as refused:
        return str(refused)
