"""The lab's cards: who holds and sees which, and what the stand-ins of driver and cards are told."""

from __future__ import annotations

import json
import re
import shlex
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.swarmhub.probe_session import TokenSession

if t.TYPE_CHECKING:  # conftest has a fixture of ours
    from .conftest import Lab

CARDS = {"gpu1": 2, "gpu2": 4}
CARDS_FILE = "/etc/swarmhub-lab/cards"
UUID = re.compile(r"GPU-[0-9a-f-]{36}")


def timed_start(session: TokenSession, slug: str) -> float:
    """Start a server, and return how many seconds it took."""
    begun = time.monotonic()
    session.start(slug)
    session.wait_until_ready()
    return time.monotonic() - begun


def what_it_waits_for(session: TokenSession) -> str:
    """What the hub says about a start that waits."""
    while not session.server():
        time.sleep(0.1)
    said = (str(event.get("message", "")) for event in session.events())
    return next(message for message in said if "Waiting for" in message)


def where(lab: Lab, session: TokenSession) -> tuple[str, str]:
    """Host and container of a user's notebook."""
    (service,) = lab.services(session.name)
    ((host, container),) = lab.containers(service)
    return host, container


def held_cards(lab: Lab, session: TokenSession) -> list[str]:
    """The UUIDs that the swarm has assigned to a user's notebook."""
    (service,) = lab.services(session.name)
    ids = lab.docker("service", "ps", "--quiet", "--no-trunc", service).split()
    assigned = [resource for task in lab.inspect("task", *ids) for resource in task.get("GenericResources") or []]
    return sorted(resource["NamedResourceSpec"]["Value"] for resource in assigned)


def seen_cards(lab: Lab, session: TokenSession) -> list[str]:
    """The UUIDs that a user's notebook sees from inside."""
    host, container = where(lab, session)
    return sorted(UUID.findall(lab.docker("exec", container, "sh", "-c", "nvidia-smi -L || true", host=host)))


def notebook_tasks(lab: Lab, sessions: list[TokenSession]) -> list[str]:
    """The ids of all tasks that users' notebooks have, or had."""
    services = [service for session in sessions for service in lab.services(session.name)]
    return sorted(lab.docker("service", "ps", "--quiet", "--no-trunc", *services).split())


def remove_users(lab: Lab, pool: ThreadPoolExecutor, sessions: list[TokenSession]) -> None:
    """Stop and forget them, three at a time."""
    for begin in range(0, len(sessions), 3):
        list(pool.map(lab.remove_user, sessions[begin : begin + 3]))


def spoil(lab: Lab, host: str, edit: t.Callable[[dict[str, t.Any]], None]) -> None:
    """Change what the stand-ins of driver and cards are told on a host; `mend` undoes it."""
    cards = json.loads(lab.ssh(host, f"cat {CARDS_FILE}"))
    edit(cards)
    lab.ssh(host, f"test -e {CARDS_FILE}.kept || cp {CARDS_FILE} {CARDS_FILE}.kept")
    lab.ssh(host, f"printf %s {shlex.quote(json.dumps(cards))} > {CARDS_FILE}")


def mend(lab: Lab) -> None:
    """Undo what `spoil` did."""
    for host in lab.inventory["gpu_workers"]["hosts"]:
        lab.ssh(host, f"if test -e {CARDS_FILE}.kept; then mv {CARDS_FILE}.kept {CARDS_FILE}; fi")


def pending(output: str) -> dict[str, str]:
    """What a run says that it left waiting, by host."""
    _, _, waits = output.partition("'pending:'")
    words = " ".join(waits.partition("PLAY RECAP")[0].split())
    return dict(re.findall(r"- '(\w+) — (.*?)'(?= - '|$| )", words))
