"""Runs from their lock to their records: what is asked for, or first a prediction of it and a question."""

from __future__ import annotations

import dataclasses
import time
import typing as t
from collections.abc import Callable, Collection, Mapping

from swarmhub import lock, record
from swarmhub.errors import Code, Refused
from swarmhub.events import Event, last_words, read
from swarmhub.live import view_for
from swarmhub.masks import Masks
from swarmhub.plan import Plan, confirm
from swarmhub.progress import Progress
from swarmhub.project import Project
from swarmhub.runner import RunnerEvent, run_playbook

CODES = {"well": Code.WELL, "failed": Code.FAILED, "locked": Code.LOCKED, "interrupted": Code.INTERRUPTED}


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be run.

    Attributes:
        project: where.
        playbook: its name, without folder and ending.
        command: as it was given, for the record; without values that a person gave for variables.
        variables: extra variables.
        check: predict and change nothing.
        as_json: for programs.
        become_password: for hosts whose inventory has none.
        private: what a person gave for variables: it is masked in what is shown and kept, as the cluster's secrets are.
    """

    project: Project
    playbook: str
    command: str
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    check: bool = False
    as_json: bool = False
    become_password: str | None = None
    private: Collection[str] = ()


def carry_out(
    wish: Wish, *, plan: bool, yes: bool, question: str = "", undo: Callable[[], None] = lambda: None
) -> Code:
    """Run what is asked for, one at a time per cluster; return the exit code.

    Args:
        plan: predict first, show what would change, and ask.
        yes: go on without asking.
        question: what to ask; by default whether to go on.
        undo: called where nothing was run: somebody else is at work, or the answer was no.

    Raises:
        Refused: another run holds the lock, or the inventory or the playbook is missing.
    """
    wish.project.require_inventory()
    if not (wish.project.root / wish.project.playbook(wish.playbook)).is_file():
        raise Refused(f"this checkout has no {wish.project.playbook(wish.playbook)}")
    outcome = "locked"
    try:
        with lock.held(wish.project.inventory_folder, wish.command):
            if plan:
                expected = Plan()
                predicted = _perform(dataclasses.replace(wish, check=True), expected.add)
                if predicted.outcome != "well":
                    return CODES[predicted.outcome]
                expected.show(wish.as_json)
                # Where a playbook asks on its own, there is something to do, whatever a prediction can tell.
                if not question and not expected.changes:
                    return Code.WELL
                if not confirm(question or "Go on?", yes):
                    return Code.WELL
            outcome = _perform(wish).outcome
            return CODES[outcome]
    finally:
        if outcome == "locked":
            undo()


def _perform(wish: Wish, listen: Callable[[Event], None] = lambda _: None) -> record.Run:
    """Run it, show it, and keep it; ``listen`` gets each event, as the view does."""
    project, playbook = wish.project, wish.project.playbook(wish.playbook)
    progress = Progress(record.estimates(project.runs, playbook, project.inventory, wish.check))
    view = view_for(wish.as_json, progress)
    recorder = record.Recorder(
        project.runs, command=wish.command, playbook=playbook, inventory=project.inventory, check=wish.check
    )

    printed: list[str] = []

    def handle(runner_event: RunnerEvent) -> None:
        if event := read(runner_event):
            tell(event)
        elif runner_event["event"] == "verbose":
            printed.append(runner_event["stdout"])

    def tell(event: Event) -> None:
        if event.message or event.said or event.diff:
            # Read anew each time: the first run makes the secrets.
            event = _masked(event, Masks.of_inventory(project.inventory_folder, wish.private))
        recorder.add(event)
        progress.add(event)
        view.event(event)
        listen(event)

    view.begin(recorder.run)
    outcome = "failed"
    try:
        code, interrupted = run_playbook(
            project,
            playbook,
            handle,
            variables=wish.variables,
            check=wish.check,
            lock=None if wish.check else {"name": lock.NAME, "holder": lock.holder(wish.command)},
            become_password=wish.become_password,
            on_interrupt=view.interrupted,
        )
        if code != 0 and not interrupted and not recorder.run.failures:
            tell(Event("error", time.time(), message=last_words(printed)))
        locked = any(each["kind"] == "locked" for each in recorder.run.failures)
        outcome = "locked" if locked else "well" if code == 0 else "interrupted" if interrupted else "failed"
    except KeyboardInterrupt:  # before Ansible was started
        outcome = "interrupted"
    finally:
        run = recorder.end(outcome)
        progress.end(recorder.ended)
        view.end(run)
    return run


def _masked(event: Event, masks: Masks) -> Event:
    changes: dict[str, t.Any] = {
        "message": masks(event.message),
        "said": tuple(map(masks, event.said)),
        "diff": tuple(map(masks, event.diff)),
    }
    return dataclasses.replace(event, **changes)
