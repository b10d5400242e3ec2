"""The network of hosts with kernels of their own: a bridge in a network namespace, and this machine's way to it."""

from __future__ import annotations

from pathlib import Path

from .hosts import PREFIX, free_subnet
from .run import output, succeeds
from .state import LAB_ID, State, locked

BRIDGE = "lab"
LINK = f"shk-{LAB_ID}"  # our end of the way


def inside(state: State) -> list[str]:
    """What a command begins with that is to run in the namespace."""
    return ["nsenter", f"--net=/run/netns/{state.namespace}"]


def make(state: State) -> None:
    """Make namespace, bridge and link unless they are there."""
    # Our end is up once all the rest is right; what a killed run left before that is made anew.
    if state.subnet and succeeds(["sh", "-c", f"ip -oneline link show {LINK} | grep -q '[<,]UP[,>]'"]):
        return
    with locked("network"):
        state.namespace = PREFIX
        state.subnet = state.subnet or free_subnet()
        state.save()
        remove(state)
        _add(state)


def _add(state: State) -> None:
    output(["ip", "netns", "add", state.namespace])
    output(["ip", "link", "add", LINK, "type", "veth", "peer", "name", "machine", "netns", state.namespace])
    output(["ip", "address", "add", f"{state.address(1)}/24", "dev", LINK])
    link = [*inside(state), "ip", "link"]
    output([*link, "add", BRIDGE, "type", "bridge"])
    output([*link, "set", "machine", "master", BRIDGE])
    for name in ("lo", BRIDGE, "machine"):
        output([*link, "set", name, "up"])
    output(["ip", "link", "set", LINK, "up"])


def tap(state: State, number: int) -> str:
    """The tap of the host with this number, on the bridge; made unless it is there."""
    name = f"tap{number}"
    if not succeeds([*inside(state), "ip", "link", "show", name]):
        output([*inside(state), "ip", "tuntap", "add", name, "mode", "tap"])
    output([*inside(state), "ip", "link", "set", name, "master", BRIDGE, "up"])
    return name


def remove(state: State) -> None:
    """Take the network away."""
    # The link by itself: a namespace goes when the last process in it has gone, and not at once.
    if succeeds(["ip", "link", "show", LINK]):
        output(["ip", "link", "delete", LINK])
    if Path("/run/netns", state.namespace).exists():
        output(["ip", "netns", "delete", state.namespace])
