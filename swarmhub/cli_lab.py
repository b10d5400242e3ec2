"""``swarmhub lab``: a whole cluster on this machine, for people who try it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import typing as t
from pathlib import Path

import typer

from swarmhub.cli_options import ProjectFolder
from swarmhub.errors import Code, Refused
from swarmhub.project import find

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="A whole cluster on this machine, to try things; needs root and Debian.",
)

Layout = t.Annotated[str, typer.Option(help="default (four hosts), single, ha (three managers) or kernel.")]


def _lab(project: Path | None, *arguments: str) -> t.NoReturn:
    root = find(project, None).root
    done = subprocess.run([sys.executable, "molecule/shared/lab.py", *arguments], cwd=root, check=False)
    raise typer.Exit(Code.WELL if done.returncode == 0 else Code.FAILED)


@app.command()
def up(layout: Layout = "default", project: ProjectFolder = None) -> None:
    """Bring the lab up, or mend it.

    \b
    swarmhub lab up
    swarmhub status -i .lab/inventory
    """
    _lab(project, "up", "--layout", layout)


@app.command()
def down(project: ProjectFolder = None) -> None:
    """Remove all that the lab started."""
    _lab(project, "down")


@app.command()
def shell(
    host: t.Annotated[str, typer.Argument(help="A host of the lab; by default its first manager.")] = "",
    project: ProjectFolder = None,
) -> None:
    """Open a root shell on a host of the lab.

    \b
    swarmhub lab shell
    swarmhub lab shell gpu1
    """
    from swarmhub.connection import Target, hosts

    found = find(project, Path(find(project, None).root / ".lab" / "inventory"))
    if not found.inventory.exists():
        raise Refused("no lab is up: run `swarmhub lab up` first")
    name = host or hosts(found, "managers")[0].name
    target: Target | None = next((each for each in hosts(found, "all") if each.name == name), None)
    if target is None:
        raise Refused(f"the lab has no host {name}: it has {', '.join(each.name for each in hosts(found, 'all'))}")
    # Where sudo asks, it is told once on this terminal, and asks no more; the password is the lab's own.
    told = f"echo {shlex.quote(target.password)} | sudo -S -p '' -v; " if target.password else ""
    arguments = [*target.ssh(), "-t", target.address, f"{told}exec sudo -i"]
    os.execvp(arguments[0], arguments)  # noqa: S606 - the shell takes our place
