"""What is tried on a GPU node, and what the end of each container means, in a sentence with cause and cure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible.module_utils.swarmhub.gpu_probe_script import FIRST_CARD, Code

PASSED, FAILED, IN_USE, NO_PROOF, NOT_PROBED = "passed", "failed", "in use", "no proof", "not probed"
ENDED = ("complete", "failed", "rejected", "shutdown", "orphaned", "remove")
DEFAULT_KIND = "GPU"
_EXIT_CODE = re.compile(r"non-zero exit \((\d+)\)")

Live = dict[str, t.Any]
Tried = t.Literal["all", "none", "one"]
Verdict = tuple[str, str]  # outcome, and what was seen


@dataclasses.dataclass(frozen=True)
class Node:
    """A node to be probed: its id in the swarm, its name for people, an image that is on it (best by its id)."""

    node_id: str
    name: str
    image: str


@dataclasses.dataclass(frozen=True)
class Case:
    """One container on one node.

    Attributes:
        cards: UUIDs that it must see all (``all``), or of which it gets one (``one``).
        kind: the generic resource of which it holds one, for ``one``.
        environment: as the hub gives it to a notebook of that sort.
    """

    node: Node
    tried: Tried
    cards: list[str]
    environment: dict[str, str]
    kind: str = ""

    @property
    def title(self) -> str:
        """The case in a person's words."""
        return f"hold one {self.kind}" if self.kind else {"all": "ask for all", "none": "hold none"}[self.tried]


@dataclasses.dataclass(frozen=True)
class Row:
    """What one case showed: the node, its outcome, after how many seconds, and in which words."""

    node: str
    case: str
    outcome: str
    seconds: float
    seen: str


def variable_of(kind: str) -> str:
    """Return the variable in which the swarm tells a container its resources of that kind."""
    return f"DOCKER_RESOURCE_{kind.upper()}"


def cards_by_kind(resources: t.Iterable[Live] | None) -> dict[str, list[str]]:
    """Return the UUIDs of cards by kind among generic resources of the Engine API, of a node or of a task."""
    found: dict[str, list[str]] = {}
    for resource in resources or []:
        named = resource.get("NamedResourceSpec") or {}
        if named.get("Value", "").startswith(("GPU-", "MIG-")):
            found.setdefault(named["Kind"], []).append(named["Value"])
    return {kind: sorted(cards) for kind, cards in sorted(found.items())}


def advertised(node: Live) -> dict[str, list[str]]:
    """Return the UUIDs by kind that a node of ``GET /nodes`` advertises."""
    return cards_by_kind((node["Description"].get("Resources") or {}).get("GenericResources"))


def unfit(node: Node, live: Live | None) -> Verdict | None:
    """Return why nothing can be tried on a node, with its outcome; ``None`` when it can."""
    if live is None:
        return FAILED, "it is no node of this swarm: run site.yml, which joins it"
    state, availability = live["Status"]["State"], live["Spec"]["Availability"]
    if (state, availability) != ("ready", "active"):
        return NOT_PROBED, f"the node is {state} and its availability {availability}"
    if not node.image:
        return (
            FAILED,
            "no image of a profile is on it, or its host does not answer: run site.yml, which brings them",
        )
    return None


def cases(node: Node, live: Live, kinds: t.Iterable[str]) -> list[Case]:
    """Return what is to be tried on a node.

    Args:
        live: the node, of ``GET /nodes``.
        kinds: every kind of card in the swarm, since the hub closes them all.
    """
    own = advertised(live)
    shared = [card for card in (live["Spec"].get("Labels") or {}).get("gpu_shared", "").split(",") if card]
    every_card = sorted(shared + [card for cards in own.values() for card in cards])
    variables = [variable_of(kind) for kind in kinds]
    closed = {"NVIDIA_VISIBLE_DEVICES": "void"}
    # A swarm variable that is set at all, even to nothing, is preferred to NVIDIA_VISIBLE_DEVICES; so here it is unset.
    asks = [Case(node, "all", every_card, {"NVIDIA_VISIBLE_DEVICES": "all"})] if every_card else []
    return [
        *asks,
        Case(node, "none", [], closed | dict.fromkeys(variables, "void")),
        *(
            # One "void" among the swarm's variables closes all of them, so the others are empty.
            Case(node, "one", cards, closed | dict.fromkeys(set(variables) - {variable_of(kind)}, ""), kind)
            for kind, cards in own.items()
        ),
    ]


def judge(case: Case, task: Live, runtime_works: bool) -> Verdict:
    """Return the outcome of a case and what was seen; for a failure with the likely cause and the cure.

    Args:
        task: the newest task of its service, as the engine tells it; empty when there is none.
        runtime_works: a container on the node that asks for all cards sees some.
    """
    code = exit_code(task)
    if code is None:
        return FAILED, _not_run(case, task)
    return _judge_exit(case, task, code, runtime_works)


def exit_code(task: Live) -> int | None:
    """Return the exit code of a task's container; ``None`` while there is none."""
    status = task.get("Status") or {"State": "new"}
    if status["State"] == "complete":
        return 0
    failed = _EXIT_CODE.search(status.get("Err", ""))
    return int(failed.group(1)) if failed else None


def _not_run(case: Case, task: Live) -> str:
    status = task.get("Status") or {"State": "new"}
    node, state = case.node.name, status["State"]
    words = status.get("Err") or status.get("Message") or "the engine gives no reason"
    if case.kind and ("meets constraints" in words or "network attachments" in words):
        return (
            f"the swarm refuses a container with a card on an overlay network ({words}): engines before 25.0.3 do so "
            f"(moby#44378), and a network without free addresses; install 25.0.3 or newer on {node} and the managers"
        )
    if state == "running":
        return f"the container does not end: nvidia-smi hangs; look at dmesg on {node} for Xid errors and reboot it"
    if not task.get("NodeID"):
        return f"the swarm assigns no container to {node} ({words}): look at docker node inspect {node}"
    if "No such image" in words:
        return f"{case.node.image} is not on {node} ({words}): run site.yml, which brings the images"
    if state in ENDED:
        return (
            f"the container does not start ({words}): nvidia's runtime or the driver refuses it; "
            f"mend what it says on {node}, see nvidia-smi there, and run site.yml"
        )
    return f"the container was still {state} at the end ({words}): look at journalctl -u docker on {node}"


def _judge_exit(case: Case, task: Live, code: int, runtime_works: bool) -> Verdict:
    given = ", ".join(cards_by_kind(task.get("GenericResources")).get(case.kind, []))
    card = dict(enumerate(case.cards, FIRST_CARD)).get(code, "")
    counted = "counted in /dev, since nvidia-smi is not in the container"
    if code == Code.RIGHT and case.tried != "one":
        return PASSED, f"all {len(case.cards)}" if case.tried == "all" else "none"
    if code == Code.COUNTED and case.tried != "none":
        return PASSED, f"as many as it should, {counted}"
    if card and case.tried == "one" and card == given:
        return PASSED, card
    return FAILED, _wrong(case, code, card, given, runtime_works)


def _wrong(case: Case, code: int, card: str, given: str, runtime_works: bool) -> str:  # noqa: PLR0911 - one for each
    node, variable = case.node.name, variable_of(case.kind)
    if code == Code.NOTHING and not (case.kind and runtime_works):
        return (
            "it sees no card: the engine's default runtime is not nvidia, or the driver is not loaded; "
            f"look at docker info and nvidia-smi on {node} and run site.yml"
        )
    if code == Code.NOTHING:
        return (
            f"it was given {given} and sees no card: nvidia's runtime does not follow {variable}, because container "
            "toolkit 1.18.x ignores swarm-resource or /etc/nvidia-container-runtime/config.toml does not name it; "
            f"install 1.19.0 or newer on {node} and run site.yml"
        )
    if code == Code.TOO_MANY:
        own = f"more than the {given} that it was given" if case.kind else "cards without holding one"
        return (
            f"it sees {own}: the default runtime does not obey NVIDIA_VISIBLE_DEVICES=void, so it is not "
            f"nvidia-container-runtime as shipped; every notebook on {node} may see every card, so drain it, install "
            "toolkit 1.19.0 or newer and run site.yml"
        )
    if code == Code.BROKEN:
        return (
            f"there are device files{f' for {given}' if given else ''}, and nvidia-smi lists no card: driver and "
            f"library differ, or the card is lost; look at nvidia-smi on {node} and reboot it"
        )
    if code == Code.NOT_GIVEN:
        return (
            f"{variable} does not hold one card of the node, though the swarm gave it {given or 'none'}: the engine "
            f"advertises something else than it did; run site.yml, which restarts the engine of {node}"
        )
    if code == Code.ANOTHER or (card and case.tried == "one"):
        return (
            f"it was given {given} and sees {card or 'another card'}: swarm-resource in config.toml names a variable "
            f"of another kind, or the card was exchanged; look at nvidia-smi -L on {node} and run site.yml"
        )
    if code == Code.TOO_FEW or card:
        return (
            f"it does not see {f'{card}, which' if card else 'as many cards as'} the node advertises: a card has "
            f"fallen off the bus or was exchanged; look at nvidia-smi -L on {node} and run site.yml"
        )
    return f"the container ended with exit code {code}, which is none of the probe's: is {case.node.image} sound?"
