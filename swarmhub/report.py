"""One HTML page of a run that needs nothing else: timeline by host, the slowest tasks, changes."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable
from pathlib import Path

import jinja2

from swarmhub.events import Event
from swarmhub.record import Run
from swarmhub.words import ending, span

TEMPLATE = Path(__file__).with_name("report.html.j2")
SLOWEST = 20
DONE = ("ok", "failed", "unreachable")  # what is skipped takes no time


@dataclasses.dataclass(frozen=True)
class Bar:
    """A task on a host in the timeline; ``left`` and ``width`` in percent of the run, ``kind`` as its colour's name."""

    left: float
    width: float
    kind: str
    title: str


def render(run: Run, events: Iterable[Event]) -> str:
    """Return the page."""
    done = [event for event in events if event.kind in DONE and event.host]
    begun = datetime.datetime.fromisoformat(run.started).timestamp()
    # Of a run that was killed nobody wrote down its seconds.
    whole = max([run.seconds, *(event.time - begun for event in done), 0.001])
    lanes: dict[str, list[Bar]] = {}
    for event in done:
        left = max(0.0, event.time - event.seconds - begun) / whole * 100
        kind = "ignored" if event.ignored else "changed" if event.changed else event.kind
        title = f"{event.task} · {span(event.seconds)} · {kind}"
        lanes.setdefault(event.host, []).append(Bar(left, min(event.seconds / whole * 100, 100 - left), kind, title))
    plays = [
        Bar(
            min(play["started"] / whole * 100, 100),
            play["seconds"] / whole * 100,
            "play",
            f"{play['name']} · {span(play['seconds'])}",
        )
        for play in run.plays
    ]
    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return template.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        run=run,
        lanes=dict(sorted(lanes.items())),
        plays=plays,
        slowest=sorted(done, key=lambda event: -event.seconds)[:SLOWEST],
        ending=ending(run),
        span=span,
        ticks=[(percent, span(whole * percent / 100)) for percent in (0, 25, 50, 75)],
    )
