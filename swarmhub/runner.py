"""Runs a playbook of the project through ansible-runner, and hands on each of its events.

Ansible is started as a person would start it in the project's folder: with its ansible.cfg, and our environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import typing as t
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from swarmhub.connection import checks_host_keys
from swarmhub.private import private_folder
from swarmhub.project import Project

RunnerEvent = Mapping[str, t.Any]

CALLBACKS = Path(__file__).parent / "callback_plugins"
CALLBACK = "swarmhub_guard"
POLL = 0.25  # seconds in which a second Ctrl-C is heard
GRACE = 5.0  # seconds for Ansible to end itself, before it is killed
#: A task must never wait for somebody who does not see its question: an empty answer confirms nothing.
UNSEEN_QUESTION = r"Type \S+ to go on:?\s*$"
ASKED_FOR_PASSWORD = r"BECOME password.*:\s*$"  # noqa: S105 - Ansible's question


class Interrupts:
    """What Ctrl-C has asked for: once an end between two tasks, twice, or SIGTERM and SIGHUP, an end at once.

    Attributes:
        count: how often it was asked.
    """

    def __init__(self, on_first: Callable[[], None]) -> None:
        """Keep what is to be done at the first one."""
        self.count = 0
        self._on_first = on_first
        self._killed_after: float | None = None

    def _heard(self, number: int, frame: t.Any) -> None:  # noqa: ARG002 - Python's signature
        self.count += 1 if number == signal.SIGINT else 2
        if self.count == 1:
            self._on_first()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hear signals meanwhile."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._heard) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def must_kill(self, pid: int) -> bool:
        """At the second time interrupt Ansible, whose process is ``pid``; say whether it has had its time to end."""
        if self.count < 2:
            return False
        if self._killed_after is None:
            self._killed_after = time.monotonic() + GRACE
            if pid:
                os.kill(pid, signal.SIGINT)
        return time.monotonic() > self._killed_after or not pid


def run_playbook(
    project: Project,
    playbook: str,
    handler: Callable[[RunnerEvent], None],
    *,
    variables: Mapping[str, str],
    check: bool = False,
    lock: Mapping[str, str] | None = None,
    become_password: str | None = None,
    on_interrupt: Callable[[], None] = lambda: None,
) -> tuple[int, bool]:
    """Run a playbook; return Ansible's exit code, and whether somebody interrupted it.

    Args:
        playbook: its path inside the project.
        handler: gets each of ansible-runner's events.
        variables: extra variables; they travel in a file, and so in no process's arguments.
        check: predict, with the differences, and change nothing.
        lock: the cluster's, its name and who holds it; None for a run that needs none.
        become_password: for hosts whose inventory has none.
        on_interrupt: called at the first Ctrl-C.
    """
    from ansible_runner.config.runner import RunnerConfig
    from ansible_runner.runner import Runner

    pid = 0

    def handle(event: RunnerEvent) -> bool:
        nonlocal pid
        pid = event.get("pid") or pid
        handler(event)
        return False  # nothing of it is written by the runner

    with private_folder(project.work) as folder:
        stop = folder / "stop"
        _write(folder / "env" / "settings", {"pexpect_timeout": POLL, "suppress_output_file": True})
        if variables:
            _write(folder / "env" / "extravars", dict(variables))
        arguments = ["--check", "--diff"] if check else []
        arguments += ["--ask-become-pass"] if become_password is not None else []
        config = RunnerConfig(
            private_data_dir=str(folder),
            project_dir=str(project.root),
            playbook=playbook,
            inventory=str(project.inventory),
            cmdline=" ".join(arguments) or None,
            quiet=True,
            envvars=_environment(project, stop, lock),
            passwords={UNSEEN_QUESTION: ""}
            | ({ASKED_FOR_PASSWORD: become_password} if become_password is not None else {}),
        )
        config.prepare()

        def interrupted_once() -> None:
            stop.touch()
            on_interrupt()

        interrupts = Interrupts(interrupted_once)
        with interrupts.listening():
            runner = Runner(config, event_handler=handle, cancel_callback=lambda: interrupts.must_kill(pid))
            runner.run()
        return runner.rc, interrupts.count > 0


def _write(path: Path, content: Mapping[str, t.Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _environment(project: Project, stop: Path, lock: Mapping[str, str] | None) -> dict[str, str]:
    """What Ansible gets besides our own environment."""
    own = os.environ

    def also(variable: str, setting: str, ours: str, between: str) -> str:
        """What a person has set, and ours."""
        return between.join(filter(None, [own.get(variable) or project.setting(setting, ""), ours]))

    return {
        "ANSIBLE_CONFIG": str(project.root / "ansible.cfg"),
        # The runner would switch it off.
        "ANSIBLE_HOST_KEY_CHECKING": str(checks_host_keys(project)),
        "ANSIBLE_CALLBACK_PLUGINS": also("ANSIBLE_CALLBACK_PLUGINS", "callback_plugins", str(CALLBACKS), ":"),
        "ANSIBLE_CALLBACKS_ENABLED": also("ANSIBLE_CALLBACKS_ENABLED", "callbacks_enabled", CALLBACK, ","),
        "PATH": ":".join(filter(None, [str(Path(sys.executable).parent), own.get("PATH", "")])),
        "ANSIBLE_NOCOLOR": "1",  # some of what it says goes into messages
        "SWARMHUB_STOP": str(stop),
        "SWARMHUB_PID": str(os.getpid()),
        **({"SWARMHUB_LOCK": json.dumps(lock)} if lock else {}),
    }
