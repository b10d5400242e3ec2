"""What the command keeps of ansible-runner's events: who was at what, how it went, and why it failed.

Of a result only these are read: whether it changed something, a failure's message, what a debug task says, a diff. The
last two are for the terminal alone.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import typing as t
from collections.abc import Iterator, Mapping, Sequence

#: What becomes of a task on a host, by the runner's name of the event.
HOST_EVENTS = {
    "runner_on_start": "start",
    "runner_on_ok": "ok",
    "runner_on_skipped": "skipped",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_retry": "retry",
    "runner_item_on_ok": "item",
    "runner_item_on_skipped": "item",
    "runner_item_on_failed": "item",
}
EVENTS = {
    "playbook_on_play_start": "play",
    "playbook_on_task_start": "task",
    "playbook_on_handler_task_start": "task",
    "error": "error",
    **HOST_EVENTS,
}
DEBUG = ("debug", "ansible.builtin.debug", "ansible.legacy.debug")
#: What Ansible says of its own end when somebody interrupted it; we say it better.
INTERRUPTED = "User interrupted execution"
HIDDEN = "the reason is hidden (no_log)"
#: How lines of our own callback begin (callback_plugins/swarmhub_guard.py).
NOTE = "swarmhub: "
LOCKED = "swarmhub, locked: "


@dataclasses.dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: ``play``, ``task``, ``start`` (of a task on a host), ``ok``, ``failed``, ``unreachable``, ``skipped``,
            ``retry``, ``item`` (of a loop), ``error`` (of Ansible itself), ``note`` (of ours), or ``locked`` (somebody
            else's run is at work on the cluster).
        time: seconds since 1970, UTC.
        play, task, host: names; empty where there is none.
        seconds: that the task took on this host.
        changed: whether it changed something there.
        ignored: whether the play goes on in spite of a failure.
        message: why it failed.
        said: lines of a debug task or a note; never recorded.
        diff: lines of a difference; never recorded.
    """

    kind: str
    time: float
    play: str = ""
    task: str = ""
    host: str = ""
    seconds: float = 0.0
    changed: bool = False
    ignored: bool = False
    message: str = ""
    said: tuple[str, ...] = ()
    diff: tuple[str, ...] = ()

    @property
    def bad(self) -> bool:
        """Whether the play ends here for the host."""
        return self.kind in ("failed", "unreachable", "error", "locked") and not self.ignored

    @property
    def place(self) -> str:
        """Host and task, as far as it has them."""
        return " · ".join(filter(None, [self.host, self.task])) or "Ansible"

    def as_record(self) -> dict[str, t.Any]:
        """Return what may be kept, without what is empty."""
        kept = {
            "kind": self.kind,
            "time": round(self.time, 3),
            "play": self.play,
            "task": self.task,
            "host": self.host,
            "seconds": round(self.seconds, 3),
            "changed": self.changed,
            "ignored": self.ignored,
            "message": self.message,
        }
        return {name: value for name, value in kept.items() if value}


def read(runner_event: Mapping[str, t.Any]) -> Event | None:
    """Return an event of the runner as ours; None for those that say nothing to a person."""
    if runner_event["event"] == "verbose":
        return _ours(runner_event)
    kind = EVENTS.get(runner_event["event"])
    if kind is None or (kind == "error" and INTERRUPTED in runner_event.get("stdout", "")):
        return None
    data = runner_event.get("event_data") or {}
    result = data.get("res") or {}
    host = data.get("host", "") if kind not in ("play", "task") else ""
    failed = kind in ("failed", "unreachable") or (kind == "item" and bool(result.get("failed")))
    message = (
        last_words(runner_event.get("stdout", "").splitlines())
        if kind == "error"
        else _message(result)
        if failed
        else ""
    )
    return Event(
        kind=kind,
        time=_time(runner_event),
        play=data.get("play", ""),
        task="" if kind == "play" else data.get("task", ""),
        host=host,
        seconds=data.get("duration") or 0.0,
        changed=bool(result.get("changed")) and kind in ("ok", "item"),
        ignored=bool(data.get("ignore_errors")),
        message=message,
        said=tuple(_said(result)) if kind in ("ok", "item") and data.get("task_action") in DEBUG else (),
        diff=tuple(_diff(result)) if kind == "ok" and result.get("changed") else (),
    )


def last_words(lines: Sequence[str]) -> str:
    """Return why Ansible ended without a task that failed, from what it printed: its error, and where that lies.

    The source that it shows below, after an empty line, is left out: it may hold a secret.
    """
    begin = next((at for at, line in enumerate(lines) if line.startswith("[ERROR]")), max(len(lines) - 3, 0))
    return "\n".join(itertools.takewhile(str.strip, lines[begin:])).removeprefix("[ERROR]: ")


def _ours(runner_event: Mapping[str, t.Any]) -> Event | None:
    """What our own callback printed; of other lines between two events None."""
    line = runner_event["stdout"]
    if line.startswith(LOCKED):
        return Event("locked", _time(runner_event), message=line.removeprefix(LOCKED))
    if line.startswith(NOTE):
        return Event("note", _time(runner_event), said=(line.removeprefix(NOTE),))
    return None


def _time(runner_event: Mapping[str, t.Any]) -> float:
    return datetime.datetime.fromisoformat(runner_event["created"]).timestamp()


def _message(result: Mapping[str, t.Any]) -> str:
    """Why it failed; of a task that loops, why each item did."""
    if "censored" in result:
        return HIDDEN
    if failed := [item for item in result.get("results") or [] if item.get("failed")]:
        return "\n".join(f"{item.get('_ansible_item_label')}: {_message(item)}" for item in failed)
    return str(result.get("msg") or "no reason was given").removeprefix("Task failed: ").strip()


def _said(result: Mapping[str, t.Any]) -> Iterator[str]:
    said = result.get("msg", "")
    for line in said if isinstance(said, list) else [said]:
        yield from str(line).splitlines()


def _diff(result: Mapping[str, t.Any]) -> Iterator[str]:
    """The lines that go and come; of a task that loops, of all items."""
    import difflib

    for item in result.get("results") or [result]:
        found = item.get("diff") or []
        for diff in found if isinstance(found, list) else [found]:
            if prepared := diff.get("prepared"):
                yield from str(prepared).splitlines()
            before, after = (_text(diff.get(side, "")) for side in ("before", "after"))
            for line in difflib.unified_diff(before, after, n=0, lineterm=""):
                if not line.startswith(("---", "+++", "@@")):
                    yield line


def _text(side: t.Any) -> list[str]:
    if isinstance(side, Mapping):
        return [f"{key}: {value}" for key, value in side.items()]
    return str(side).splitlines()
