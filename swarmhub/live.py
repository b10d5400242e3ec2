"""What a person or a program sees of a run while it goes on: a live view, plain lines, or JSON lines."""

from __future__ import annotations

import json
import sys
import time
import typing as t

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from swarmhub.events import Event
from swarmhub.progress import HostAt, Progress
from swarmhub.record import Run
from swarmhub.words import ending, reason, span

STOPPING = "Stopping after the running tasks; Ctrl-C again stops at once."
MANY_HOSTS = 24  # rows of hosts; those at work come first


class View(t.Protocol):
    """What shows a run."""

    def begin(self, run: Run) -> None:
        """The run begins."""

    def event(self, event: Event) -> None:
        """Something happened; ``progress`` knows of it already."""

    def interrupted(self) -> None:
        """Somebody asked for an end."""

    def end(self, run: Run) -> None:
        """The run is over, and ``run`` complete."""


class JsonView:
    """A JSON object a line on standard output: ``run`` at the beginning and the end, the events between."""

    def begin(self, run: Run) -> None:
        """See View."""
        self._print({"run": run.id, "outcome": run.outcome, "command": run.command, "started": run.started})

    def event(self, event: Event) -> None:
        """See View."""
        self._print(event.as_record() | ({"said": list(event.said)} if event.said else {}))

    def interrupted(self) -> None:
        """See View."""
        self._print({"kind": "interrupted", "time": round(time.time(), 3)})

    def end(self, run: Run) -> None:
        """See View."""
        keys = ("seconds", "plays", "hosts", "changes", "differences", "failures")
        self._print({"run": run.id, "outcome": run.outcome, **{key: getattr(run, key) for key in keys}})

    def _print(self, content: t.Mapping[str, t.Any]) -> None:
        sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
        sys.stdout.flush()


class PlainView:
    """Lines for a log: phases, changes, failures, and what the plays say."""

    def begin(self, run: Run) -> None:
        """See View."""
        self._print(f"swarmhub {run.command} · {run.id}")

    def event(self, event: Event) -> None:
        """See View."""
        if event.kind == "play":
            self._print(f"== {event.play}")
        elif event.bad:
            self._print(f"{event.kind}: {event.place}: {reason(event.message)}")
        elif event.changed and event.kind == "ok":
            self._print(f"changed: {event.place} ({span(event.seconds)})")
        for line in event.said:
            self._print(f"  {line}")

    def interrupted(self) -> None:
        """See View."""
        self._print(STOPPING)

    def end(self, run: Run) -> None:
        """See View."""
        for line in ending(run):
            self._print(line)

    def _print(self, line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


class LiveView:
    """Phases above, hosts side by side below; what the plays say stays on the screen."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress
        self._stopping = False
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=5, transient=True)

    def begin(self, run: Run) -> None:
        """See View."""
        self._console.print(f"[bold]swarmhub {escape(run.command)}[/] [dim]{run.id}[/]")
        self._live.start()

    def event(self, event: Event) -> None:
        """See View."""
        for line in event.said:
            self._console.print(Text(f"  {line}"))
        if event.bad:
            self._console.print(Text(f"✗ {event.place}", style="red"))

    def interrupted(self) -> None:
        """See View."""
        self._stopping = True

    def end(self, run: Run) -> None:
        """See View."""
        self._live.stop()
        self._console.print(self._phases(time.time()))
        style = {"well": "green", "interrupted": "yellow"}.get(run.outcome, "red")
        for number, line in enumerate(ending(run)):
            self._console.print(Text(line, style=style if number == 0 else ""))

    def _render(self) -> RenderableType:
        now = time.time()
        parts: list[RenderableType] = [self._phases(now), self._hosts(now), self._foot(now)]
        if self._stopping:
            parts.append(Text(STOPPING, style="yellow"))
        return Group(*parts)

    def _phases(self, now: float) -> Table:
        table = Table.grid(padding=(0, 2))
        estimates = self._progress.estimates
        for phase in self._progress.phases:
            over = phase.ended is not None
            usual = f"usually {span(estimates[phase.name])}" if phase.name in estimates else ""
            mark: RenderableType = Text("✓", style="green") if over else self._spinner
            table.add_row(mark, Text(phase.name), span(phase.seconds(now)), Text(usual, style="dim"))
        begun = {phase.name for phase in self._progress.phases}
        if not self._progress.phases or self._progress.phases[-1].ended is None:
            for name, seconds in estimates.items():
                if name not in begun:
                    row = (Text("·"), Text(name), Text(""), Text(f"usually {span(seconds)}"))
                    table.add_row(*row, style="dim")
        return table

    def _hosts(self, now: float) -> Table:
        table = Table.grid(padding=(0, 2))
        hosts = sorted(self._progress.hosts.items(), key=lambda item: not item[1].task)
        for name, host in hosts[:MANY_HOSTS]:
            table.add_row(
                Text(name, style="bold"), _at(host, now), Text(f"{host.changed} changed" if host.changed else "")
            )
        if len(hosts) > MANY_HOSTS:
            table.add_row(Text("…"), Text(f"{len(hosts) - MANY_HOSTS} more", style="dim"), Text(""))
        return table

    def _foot(self, now: float) -> Text:
        waiting = self._progress.waiting_for()
        parts = []
        if waiting and len(waiting) < len(self._progress.hosts):
            parts.append(f"waiting for {', '.join(waiting[:5])}{' …' if len(waiting) > 5 else ''}")
        left = self._progress.remaining(now)
        if left is not None:
            parts.append(f"about {span(left)} left" if left else "longer than usual")
        return Text(" · ".join(parts), style="dim")


def _at(host: HostAt, now: float) -> Text:
    if host.trouble:
        return Text(host.trouble, style="red")
    if not host.task:
        return Text("·", style="dim")
    tries = f", try {host.retries + 1}" if host.retries else ""
    return Text(f"{host.task} ({span(now - host.since)}{tries})")


def view_for(as_json: bool, progress: Progress) -> View:
    """Return the view that fits who looks."""
    console = Console(highlight=False)
    if as_json:
        return JsonView()
    return LiveView(console, progress) if console.is_terminal else PlainView()
