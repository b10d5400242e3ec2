"""What ``swarmhub check`` found, as a table with the worst first."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from swarmhub.errors import Code, Refused
from swarmhub.events import read
from swarmhub.project import Project
from swarmhub.runner import RunnerEvent, run_playbook
from swarmhub.tables import table
from swarmhub.words import reason

Finding = dict[str, t.Any]
#: The task of playbooks/check.yml whose lines are findings as JSON.
TELL = "Tell what was found"
STYLES = {"error": "red", "warning": "yellow"}


def collect(project: Project, become_password: str | None, console: Console) -> list[Finding]:
    """Run playbooks/check.yml; return what it found, and as a finding each task that failed.

    Raises:
        Refused: it was interrupted, or ended badly without a word.
    """
    found: list[Finding] = []

    def handle(runner_event: RunnerEvent) -> None:
        event = read(runner_event)
        if event is None:
            return
        if event.kind == "task":
            working.update(event.task)
        if event.task == TELL:
            found.extend(json.loads(line) for line in event.said)
        if event.kind in ("failed", "error") and not event.ignored:
            found.append({
                "severity": "error", "host": event.host, "key": event.task, "file": "", "what": reason(event.message),
                "cure": "mend that, then check again",
            })  # fmt: skip

    with console.status("Check") as working:
        code, interrupted = run_playbook(
            project, project.playbook("check"), handle, variables={}, check=True, become_password=become_password
        )
    if interrupted:
        raise Refused("interrupted; nothing was changed", Code.INTERRUPTED)
    if code and not found:
        raise Refused(
            f"playbooks/check.yml ended with status {code}: run it with ansible-playbook to see why", Code.FAILED
        )
    return found


def show(findings: Sequence[Finding], as_json: bool, console: Console) -> None:
    """Print them; each has severity, host, key, file, what and cure (module_utils/swarmhub/findings.py)."""
    ordered = sorted(findings, key=lambda each: (each["severity"] != "error", each["file"], each["host"]))
    if as_json:
        console.file.write(json.dumps(ordered, ensure_ascii=False) + "\n")
        return
    if not ordered:
        console.print("[green]✓[/] nothing is wrong with the inventory and its hosts")
        return
    shown = table("", "where", "what is wrong", "what to do")
    for each in ordered:
        where = " · ".join(part for part in (each["host"], each["key"]) if part)
        place = Text(where + (f"\n{each['file']}" if each["file"] else ""))
        shown.add_row(
            Text(each["severity"], style=STYLES[each["severity"]]), place, Text(each["what"]), Text(each["cure"])
        )
    console.print(shown)
