"""Every run is kept: ``.swarmhub/runs/ID/run.json`` says how it went, ``events.jsonl`` what happened when.

Of a task's arguments and results it has a failure's message and the names of what differs alone, so that no secret
gets there.
"""

from __future__ import annotations

import dataclasses
import datetime
import getpass
import json
import os
import platform
import statistics
import time
import typing as t
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from swarmhub.errors import Refused
from swarmhub.events import Event
from swarmhub.private import belongs_to_another

Json = dict[str, t.Any]

#: Runs of a playbook from which the time of its plays is estimated.
REMEMBERED = 9
COUNTED = ("ok", "changed", "skipped", "failed", "unreachable")
#: The task whose lines tell what differs (playbooks/tasks/compare.yml); they are names and reasons alone.
DIFFERING = "Say what differs"


@dataclasses.dataclass
class Run:
    """A run, as run.json has it.

    Attributes:
        id: its folder's name.
        user, host, pid: who runs it, where.
        command: as it was given, without the values of variables.
        playbook, inventory: paths.
        check: whether it was a prediction.
        started: when, in UTC (ISO 8601).
        seconds: for how long.
        outcome: ``running``, ``well``, ``failed``, ``interrupted``, or ``locked`` where somebody else was at work.
        plays: each with ``name``, ``started`` (seconds after the run) and ``seconds``.
        hosts: by name, how many tasks were ok, changed, skipped, failed, unreachable.
        changes: each with ``host``, ``play`` and ``task``.
        differences: lines "host — role: name reason", what differed from what is wanted.
        failures: each with ``kind`` (as of events), ``host``, ``play``, ``task`` and ``message``.
        unfinished: each with ``host``, ``play`` and ``task``: where something still ran when it was interrupted.
    """

    id: str
    user: str
    host: str
    pid: int
    command: str
    playbook: str
    inventory: str
    check: bool
    started: str
    seconds: float = 0.0
    outcome: str = "running"
    plays: list[Json] = dataclasses.field(default_factory=list)
    hosts: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    changes: list[Json] = dataclasses.field(default_factory=list)
    differences: list[str] = dataclasses.field(default_factory=list)
    failures: list[Json] = dataclasses.field(default_factory=list)
    unfinished: list[Json] = dataclasses.field(default_factory=list)

    @property
    def state(self) -> str:
        """The outcome; ``killed`` of a run that never came to one."""
        gone = self.outcome == "running" and self.host == platform.node() and not _lives(self.pid)
        return "killed" if gone else self.outcome


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


class Recorder:
    """Writes a run down while it goes on."""

    def __init__(self, folder: Path, *, command: str, playbook: str, inventory: Path, check: bool) -> None:
        """Begin a run in ``folder``, where all runs are; raises Refused where that is another account's."""
        now = datetime.datetime.now(datetime.UTC)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder = _new_folder(folder, f"{now:%Y%m%d-%H%M%S}-{Path(playbook).stem}{'-check' if check else ''}")
        except PermissionError as error:
            raise belongs_to_another(folder) from error
        self.run = Run(
            id=self._folder.name,
            user=getpass.getuser(),
            host=platform.node(),
            pid=os.getpid(),
            command=command,
            playbook=playbook,
            inventory=str(inventory),
            check=check,
            started=now.isoformat(timespec="milliseconds"),
        )
        self._begun = self.ended = time.time()
        self._counts: dict[str, Counter[str]] = {}
        self._at: dict[str, Json] = {}
        self._write()
        self._events = (self._folder / "events.jsonl").open("w", encoding="utf-8", buffering=1)

    def add(self, event: Event) -> None:
        """Take an event in."""
        self._events.write(json.dumps(event.as_record(), ensure_ascii=False) + "\n")
        run = self.run
        if event.kind == "play":
            self._end_play(event.time)
            run.plays.append({"name": event.play, "started": round(event.time - self._begun, 3), "seconds": 0.0})
        elif event.kind in COUNTED:
            counts = self._counts.setdefault(event.host, Counter())
            # As in Ansible's recap: what changed is ok as well, and an ignored failure too.
            counts["ok" if event.ignored else event.kind] += 1
            counts["changed"] += event.changed
        place = {"host": event.host, "play": event.play, "task": event.task}
        if event.changed and event.kind == "ok":
            run.changes.append(place)
        if event.bad:
            run.failures.append({"kind": event.kind, **place, "message": event.message})
        if event.kind == "start":
            self._at[event.host] = place
        elif event.kind in COUNTED:
            self._at.pop(event.host, None)
        if event.task == DIFFERING:
            run.differences += event.said

    def end(self, outcome: str) -> Run:
        """Write down how it ended; return the run."""
        self.ended = time.time()
        self._events.close()
        self._end_play(self.ended)
        self.run.seconds = round(self.ended - self._begun, 3)
        self.run.outcome = outcome
        if outcome == "well":
            self.run.failures.clear()  # the playbook has put up with them
        self.run.unfinished = list(self._at.values())
        self.run.hosts = {host: {key: counts[key] for key in COUNTED} for host, counts in sorted(self._counts.items())}
        self._write()
        return self.run

    def _end_play(self, now: float) -> None:
        if self.run.plays:
            play = self.run.plays[-1]
            play["seconds"] = round(now - self._begun - play["started"], 3)

    def _write(self) -> None:
        # Whoever reads it meanwhile sees the one or the other, never half of it.
        half = self._folder / "run.json.new"
        half.write_text(json.dumps(dataclasses.asdict(self.run), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        half.replace(self._folder / "run.json")


def _new_folder(parent: Path, name: str) -> Path:
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
        else:
            return folder


def load(folder: Path, run_id: str) -> Run:
    """Return a kept run; ``latest`` is one, too.

    Raises:
        Refused: there is none.
    """
    if run_id == "latest":
        run_id = next((run.id for run in newest(folder)), run_id)
    path = folder / run_id / "run.json"
    # An id is a name, not a way out of the folder.
    if Path(run_id).name != run_id or not path.is_file():
        raise Refused(f"there is no run {run_id} in {folder}: `swarmhub runs list` names them")
    kept = json.loads(path.read_text(encoding="utf-8"))
    # A newer checkout may have kept more.
    return Run(**{each.name: kept[each.name] for each in dataclasses.fields(Run) if each.name in kept})


def newest(folder: Path) -> Iterator[Run]:
    """Return the kept runs, the newest first."""
    for path in sorted(folder.glob("*/run.json"), key=lambda path: path.parent.name, reverse=True):
        yield load(folder, path.parent.name)


def events(folder: Path, run_id: str) -> Iterator[Event]:
    """Return a run's events."""
    with (folder / run_id / "events.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            yield Event(**json.loads(line))


def estimates(folder: Path, playbook: str, inventory: Path, check: bool) -> Mapping[str, float]:
    """Return how many seconds each play of a playbook takes: the median of its last runs that ended well."""
    times: dict[str, list[float]] = {}
    wanted = (playbook, str(inventory), check, "well")
    runs = (run for run in newest(folder) if (run.playbook, run.inventory, run.check, run.outcome) == wanted)
    for run, _ in zip(runs, range(REMEMBERED), strict=False):
        for play in run.plays:
            times.setdefault(play["name"], []).append(play["seconds"])
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def compare(first: Run, second: Run) -> Json:
    """Return the seconds of each play in both runs (None where it was not), and the changes of only one of them."""
    times = [{play["name"]: play["seconds"] for play in run.plays} for run in (first, second)]
    names = list(dict.fromkeys([*times[0], *times[1]]))
    return {
        "plays": [{"name": name, "seconds": [each.get(name) for each in times]} for name in names],
        "only_first": [change for change in first.changes if change not in second.changes],
        "only_second": [change for change in second.changes if change not in first.changes],
    }
