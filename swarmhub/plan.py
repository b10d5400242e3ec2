"""What a run would change, by host and concern, and the question whether to go on."""

from __future__ import annotations

import dataclasses
import json
import sys

from swarmhub.errors import Refused
from swarmhub.events import Event
from swarmhub.record import DIFFERING

PENDING = "Show what was left as it is, and until when"
DIFF_LINES = 12  # of one change


@dataclasses.dataclass
class Plan:
    """Collected from the events of a prediction.

    Attributes:
        by_host: for each host its lines "concern: name reason".
        cluster: changes that the look at the hosts does not foretell (nodes, networks, the hub's stack), with diffs.
        pending: what is left as it is, and until when.
        told: what else the plays said.
    """

    by_host: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    cluster: list[tuple[str, str, tuple[str, ...]]] = dataclasses.field(default_factory=list)
    pending: list[str] = dataclasses.field(default_factory=list)
    told: list[str] = dataclasses.field(default_factory=list)

    def add(self, event: Event) -> None:
        """Take an event in."""
        if event.task == DIFFERING:
            for line in event.said:
                host, _, what = line.partition(" — ")
                self.by_host.setdefault(host, []).append(what)
        elif event.task == PENDING:
            self.pending += event.said[1:]  # the first is its title
        elif event.said:
            self.told += event.said
        elif event.kind == "ok" and event.changed:
            self.cluster.append((event.host, event.task, event.diff))

    @property
    def changes(self) -> bool:
        """Whether anything would change."""
        return bool(self.by_host or self.cluster)

    def show(self, as_json: bool) -> None:
        """Print the plan."""
        content = json.dumps({"plan": dataclasses.asdict(self)}, ensure_ascii=False)
        sys.stdout.write((content if as_json else "\n".join(self.lines())) + "\n")
        sys.stdout.flush()

    def lines(self) -> list[str]:
        """Return the plan as text."""
        if not self.changes and not self.pending and not self.told:
            return ["Nothing differs from what is wanted."]
        lines = []
        for host, whats in self.by_host.items():
            lines += [host, *(f"  ~ {what}" for what in whats)]
        # What is said of a host stands above; its tasks would say it again.
        for host, task, diff in self.cluster:
            if host not in self.by_host or diff:
                lines += [f"{host} · {task}", *(f"    {line}" for line in diff[:DIFF_LINES])]
                lines += [f"    … {len(diff) - DIFF_LINES} more lines"] if len(diff) > DIFF_LINES else []
        lines += ["pending:", *(f"  {line}" for line in self.pending)] if self.pending else []
        return lines


def confirm(question: str, yes: bool) -> bool:
    """Ask whether to go on; ``yes`` answers for the person, and without a terminal nobody agrees."""
    if yes:
        return True
    if not sys.stdin.isatty():
        sys.stderr.write("Nothing was changed: there is no terminal to ask at; run it with --yes to go on.\n")
        return False
    sys.stderr.write(f"{question} [y/N] ")  # standard output may be for programs
    return input().strip().lower() in ("y", "yes")


def require_somebody_to_ask(yes: bool) -> None:
    """Raise Refused where a question could not be answered."""
    if not yes and not sys.stdin.isatty():
        raise Refused("this asks before it goes on, and there is no terminal to ask at: run it with --yes")
