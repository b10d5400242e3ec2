"""Cards on a lab that is up: who holds which, and where notebooks with few cards go."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.swarmhub.probe_session import TokenSession

from .conftest import Lab

CARDS = {"gpu1": 2, "gpu2": 4}


def held_cards(lab: Lab, session: TokenSession) -> tuple[str, list[str]]:
    """Where a user's notebook runs, and the UUIDs that the swarm has assigned to it."""
    (service,) = lab.services(session.name)
    ((host, _),) = lab.containers(service)
    ids = lab.docker("service", "ps", "--quiet", "--no-trunc", service).split()
    assigned = [resource for task in lab.inspect("task", *ids) for resource in task["GenericResources"]]
    return host, [resource["NamedResourceSpec"]["Value"] for resource in assigned]


def test_six_notebooks_hold_six_cards_and_the_first_two_are_packed(lab: Lab) -> None:
    users = [lab.add_user(f"e2e-card-{number}") for number in range(sum(CARDS.values()))]
    slug = lab.profile(cards=True)

    def start(session: TokenSession) -> float:
        begun = time.monotonic()
        session.start(slug)
        session.wait_until_ready()
        return time.monotonic() - begun

    try:
        with ThreadPoolExecutor(len(users)) as pool:
            seconds = list(pool.map(start, users[:2]))
            assert [held_cards(lab, session)[0] for session in users[:2]] == ["gpu1", "gpu1"]
            seconds += pool.map(start, users[2:])
        found = [held_cards(lab, session) for session in users]
        print(f"ready after {', '.join(f'{each:.1f}' for each in seconds)} s")
        assert sorted(host for host, _ in found) == ["gpu1"] * CARDS["gpu1"] + ["gpu2"] * CARDS["gpu2"]
        assert len({card for _, cards in found for card in cards}) == len(users)
        assert all(len(cards) == 1 for _, cards in found)
    finally:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lab.remove_user, users))
