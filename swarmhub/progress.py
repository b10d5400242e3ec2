"""Where a run is: its phases, and what each host is at."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

from swarmhub.events import Event


@dataclasses.dataclass
class Phase:
    """A play; ``ended`` is None while it goes on. Times are seconds since 1970."""

    name: str
    begun: float
    ended: float | None = None

    def seconds(self, now: float) -> float:
        """For how long it goes or went on."""
        return (self.ended or now) - self.begun


@dataclasses.dataclass
class HostAt:
    """What a host is at: ``task`` since ``since``, or empty; how many changes; its last trouble."""

    task: str = ""
    since: float = 0.0
    retries: int = 0
    changed: int = 0
    trouble: str = ""


class Progress:
    """Follows the events."""

    def __init__(self, estimates: Mapping[str, float]) -> None:
        """``estimates`` are the seconds that each play took in earlier runs, in the order of the plays."""
        self.estimates = estimates
        self.phases: list[Phase] = []
        self.hosts: dict[str, HostAt] = {}
        self.task = ""

    def add(self, event: Event) -> None:
        """Take an event in."""
        if event.kind == "play":
            self.end(event.time)
            self.phases.append(Phase(event.play, event.time))
            self.task = ""
        if event.kind == "task":
            self.task = event.task
        if event.host:
            self._add_to_host(self.hosts.setdefault(event.host, HostAt()), event)

    def end(self, now: float) -> None:
        """The last phase is over."""
        if self.phases and self.phases[-1].ended is None:
            self.phases[-1].ended = now

    def _add_to_host(self, host: HostAt, event: Event) -> None:
        if event.kind == "start":
            # Who goes on has been forgiven.
            host.task, host.since, host.retries, host.trouble = event.task, event.time, 0, ""
        elif event.kind == "retry":
            host.retries += 1
        elif event.kind != "item":
            host.task = ""
            host.changed += event.changed
            if event.bad:
                host.trouble = event.kind

    def waiting_for(self) -> list[str]:
        """Return the hosts that are at a task now."""
        return [name for name, host in self.hosts.items() if host.task]

    def remaining(self, now: float | None = None) -> float | None:
        """Return the seconds that are left after earlier runs; None where there was none, or this one takes longer."""
        if not self.estimates:
            return None
        now = time.time() if now is None else now
        begun = {phase.name for phase in self.phases}
        left = sum(seconds for name, seconds in self.estimates.items() if name not in begun)
        if self.phases and self.phases[-1].ended is None:
            current = self.estimates.get(self.phases[-1].name, 0.0) - self.phases[-1].seconds(now)
            if current < 0:  # there is more to do than usually
                return None
            left += current
        return left
