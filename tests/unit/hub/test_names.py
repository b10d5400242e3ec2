"""Names that the swarm takes, for any user."""

from __future__ import annotations

import re

import pytest
from swarmhub_hub.names import home_name, service_name, volume_name

USERS = [
    "alice",
    "Alice",
    "firstname.lastname-with-long-name@department.example.com",
    "王小明",
    "..",
    "../../etc",
    "a b",
    "-",
    "x" * 300,
    "a~b",
]


@pytest.mark.parametrize("user", USERS)
def test_service_names_are_what_swarmkit_takes(user: str) -> None:
    name = service_name(user)
    assert len(name) <= 63
    assert re.fullmatch(r"[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*", name)
    assert name == service_name(user)


def test_different_users_and_servers_have_different_names() -> None:
    names = {service_name(user) for user in USERS} | {service_name("alice", "two"), service_name("alice-two")}
    assert len(names) == len(USERS) + 2
    assert service_name("alice").startswith("swarmhub-nb-alice-")


@pytest.mark.parametrize("user", USERS)
def test_home_names_are_single_safe_components(user: str) -> None:
    name = home_name(user)
    assert "/" not in name
    assert name not in ("", ".", "..")
    assert len(name) <= 64


def test_a_home_cannot_be_signed_up_for_by_its_name() -> None:
    hashed = home_name("Bär")
    assert home_name("alice.b@example.com") == "alice.b@example.com"
    assert home_name(hashed) != hashed


def test_homes_differ() -> None:
    assert len({home_name(user) for user in USERS}) == len(USERS)


def test_new_mount_options_make_a_new_volume() -> None:
    assert volume_name("home", "alice", "o=a") != volume_name("home", "alice", "o=b")
    assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", volume_name("home", "a~b@c", "o"))
