"""``swarmhub runs``: what earlier runs did."""

from __future__ import annotations

import dataclasses
import json
import typing as t
from pathlib import Path

import typer

from swarmhub import record
from swarmhub.cli_options import AsJson, ProjectFolder
from swarmhub.project import find
from swarmhub.words import ending, span

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What earlier runs did.")

Id = t.Annotated[str, typer.Argument(help="A run of `runs list`, or latest.")]


def _folder(project: Path | None) -> Path:
    return find(project, None).runs


def _table(rows: t.Iterable[t.Sequence[str]], header: t.Sequence[str]) -> None:
    from rich.console import Console
    from rich.text import Text

    from swarmhub.tables import table

    shown = table(*header)
    for row in rows:
        shown.add_row(*map(Text, row))
    Console(highlight=False).print(shown)


@app.command(name="list")
def list_runs(as_json: AsJson = False, project: ProjectFolder = None) -> None:
    """List all runs, the newest first.

    \b
    swarmhub runs list
    """
    runs = list(record.newest(_folder(project)))
    if as_json:
        keys = ("id", "user", "host", "command", "playbook", "inventory", "check", "started", "seconds")
        typer.echo(json.dumps([{key: getattr(run, key) for key in keys} | {"outcome": run.state} for run in runs]))
        return
    rows = ((run.id, run.state, span(run.seconds), str(len(run.changes)), run.user, run.command) for run in runs)
    _table(rows, ("id", "outcome", "time", "changes", "who", "command"))


@app.command()
def show(run_id: Id = "latest", as_json: AsJson = False, project: ProjectFolder = None) -> None:
    """Show one run: phases, hosts, changes, and why it failed.

    \b
    swarmhub runs show
    swarmhub runs show 20260130-101500-site
    """
    run = record.load(_folder(project), run_id)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(run) | {"outcome": run.state}, ensure_ascii=False))
        return
    typer.echo(
        f"{run.id} · {run.state} · swarmhub {run.command}\n{run.user}@{run.host} · {run.started} · {run.inventory}"
    )
    _table(((play["name"], span(play["seconds"])) for play in run.plays), ("phase", "time"))
    _table(
        ((name, *(str(counts[key]) for key in record.COUNTED)) for name, counts in run.hosts.items()),
        ("host", *record.COUNTED),
    )
    for line in run.differences:
        typer.echo(f"~ {line}")
    for change in run.changes:
        typer.echo(f"changed: {change['host']} · {change['task']}")
    for line in ending(run):
        typer.echo(line)


@app.command()
def report(
    run_id: Id = "latest",
    output: t.Annotated[
        Path | None, typer.Option(help="The file; by default report.html beside the run's record.")
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Write one self-contained HTML page of a run: timeline by host, the slowest tasks, changes.

    \b
    swarmhub runs report
    swarmhub runs report 20260130-101500-site --output site.html
    """
    from swarmhub.report import render

    folder = _folder(project)
    run = record.load(folder, run_id)
    path = output or folder / run.id / "report.html"
    path.write_text(render(run, record.events(folder, run.id)), encoding="utf-8")
    typer.echo(str(path))


@app.command()
def diff(first: Id, second: Id, as_json: AsJson = False, project: ProjectFolder = None) -> None:
    """Compare two runs: seconds by phase, and what only one of them changed.

    \b
    swarmhub runs diff 20260130-101500-site latest
    """
    folder = _folder(project)
    found = record.compare(record.load(folder, first), record.load(folder, second))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    told = [
        (each["name"], *("" if seconds is None else span(seconds) for seconds in each["seconds"]))
        for each in found["plays"]
    ]
    _table(told, ("phase", first, second))
    for mark, key in (("-", "only_first"), ("+", "only_second")):
        for change in found[key]:
            typer.echo(f"{mark} {change['host']} · {change['task']}")
