"""What the page of nodes and cards shows."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from swarmhub_hub.availability import Seen
from swarmhub_hub.cluster_page import Machine, in_words, machines

NOW = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)


def node(name: str, *cards: str, availability: str = "active", state: str = "ready", **labels: str) -> dict[str, t.Any]:
    resources = [{"NamedResourceSpec": {"Kind": "GPU", "Value": card}} for card in cards]
    return {
        "ID": f"id-{name}",
        "Spec": {"Role": "worker", "Availability": availability, "Labels": labels},
        "Description": {"Hostname": name, "Resources": {"GenericResources": resources}},
        "Status": {"State": state},
    }


def task(user: str, name: str, *cards: str, state: str = "running", shared: str = "") -> dict[str, t.Any]:
    labels = {"swarmhub.user": user, "swarmhub.server": "", "swarmhub.profile": "gpu", "swarmhub.gpu_shared": shared}
    return {
        "ServiceID": f"service-{user}",
        "NodeID": f"id-{name}",
        "CreatedAt": "2026-01-31T09:00:00.123456789Z",
        "GenericResources": [{"NamedResourceSpec": {"Kind": "GPU", "Value": card}} for card in cards],
        "Spec": {"ContainerSpec": {"Labels": labels if user else {}}},
        "Status": {"State": state},
        "DesiredState": "running",
    }


def shown(nodes: t.Sequence[t.Any], tasks: t.Sequence[t.Any], **idle: float) -> list[Machine]:
    activity = {(user, ""): NOW - datetime.timedelta(minutes=minutes) for user, minutes in idle.items()}
    return machines(Seen(nodes, tasks, []), activity, NOW)


def test_every_card_has_its_holder_and_nodes_with_cards_come_first() -> None:
    nodes = [node("cpu1"), node("gpu2", "GPU-c"), node("gpu1", "GPU-b", "GPU-a")]
    tasks = [
        task("alice", "gpu1", "GPU-a"),
        task("bob", "gpu2", "GPU-c", state="failed"),
        task("carol", "cpu1"),
        task("", "gpu2", "GPU-c"),
    ]
    found = shown(nodes, tasks, alice=30, carol=30)
    assert [(machine.node.hostname, machine.notebooks, machine.free) for machine in found] == [
        ("gpu1", 1, 1),
        ("gpu2", 0, 0),
        ("cpu1", 1, 0),
    ]
    assert [card.uuid for card in found[0].cards] == ["GPU-a", "GPU-b"]
    (alice,) = found[0].cards[0].holders
    assert (alice.user, alice.profile, in_words(NOW - alice.since), in_words(alice.idle)) == (
        "alice", "gpu", "2 h", "30 min",
    )  # fmt: skip
    assert found[0].cards[1].holders == []
    assert [holder.user for holder in found[1].cards[0].holders] == [""]


def test_who_was_active_a_moment_ago_or_is_unknown_is_not_said_to_be_idle() -> None:
    tasks = [task("alice", "gpu1", "GPU-a"), task("bob", "gpu1", "GPU-b")]
    (machine,) = shown([node("gpu1", "GPU-a", "GPU-b")], tasks, alice=9)
    assert [holder.idle for card in machine.cards for holder in card.holders] == [None, None]


@pytest.mark.parametrize(
    ("availability", "state", "words", "free"),
    [
        ("active", "ready", "ready", 1),
        ("active", "unknown", "not ready", 0),
        ("active", "down", "down", 0),
        ("pause", "ready", "takes no new notebooks", 0),
        ("drain", "ready", "out of service", 0),
        ("drain", "down", "down", 0),
    ],
)
def test_a_node_says_whether_it_takes_notebooks(availability: str, state: str, words: str, free: int) -> None:
    (machine,) = shown([node("gpu1", "GPU-a", availability=availability, state=state)], [])
    assert (machine.state, machine.free) == (words, free)


def test_a_shared_card_has_all_who_share_it() -> None:
    tasks = [task("alice", "gpu1", shared="GPU-s"), task("bob", "gpu1", shared="GPU-s")]
    (machine,) = shown([node("gpu1", "GPU-a", gpu_shared="GPU-s")], tasks)
    assert [(card.uuid, card.shared, [holder.user for holder in card.holders]) for card in machine.cards] == [
        ("GPU-a", False, []),
        ("GPU-s", True, ["alice", "bob"]),
    ]
    assert machine.free == 1


@pytest.mark.parametrize(
    ("minutes", "words"), [(0, "0 min"), (59.9, "59 min"), (60, "1 h"), (47 * 60, "47 h"), (48 * 60, "2 days")]
)
def test_spans_are_said_as_people_say_them(minutes: float, words: str) -> None:
    assert in_words(datetime.timedelta(minutes=minutes)) == words
    assert in_words(None) == ""
