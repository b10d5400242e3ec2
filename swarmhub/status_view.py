"""The tables of ``swarmhub status``."""

from __future__ import annotations

import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarmhub.status import Status, now
from swarmhub.tables import table
from swarmhub.words import span


def render(status: Status) -> RenderableType:
    """Return the whole as rich shows it."""
    quorum, cards = status.quorum, status.cards
    managers = f"{quorum['reachable']} of {quorum['managers']} managers"
    head = f"asked {status.manager} · {managers} · {cards['free']} of {cards['total']} cards free"
    parts: list[RenderableType] = [Text(head, style="bold")]
    parts += [Text(f"! {warning}", style="yellow") for warning in status.warnings]
    parts += [_nodes(status), _services(status)]
    if status.servers:
        parts.append(_servers(status))
    disks = " · ".join(
        f"{disk['path']} {disk['free'] / 2**30:.0f} of {disk['total'] / 2**30:.0f} GiB free" for disk in status.disks
    )
    days = status.certificate_days
    parts.append(
        Text(
            f"{status.manager}: {disks}" + ("" if days is None else f" · certificate good for {days} days"), style="dim"
        )
    )
    return Group(*parts)


def _nodes(status: Status) -> Table:
    shown = table("node", "role", "state", "engine", "notebooks", "cards")
    for node in status.nodes:
        well = node["state"] == "ready" and node["availability"] == "active"
        state = node["state"] if node["availability"] == "active" else f"{node['state']}, {node['availability']}"
        held = [card["held_by"] for card in node["cards"] if card["held_by"]]
        told = f"{len(node['cards']) - len(held)} of {len(node['cards'])} free" if node["cards"] else ""
        shown.add_row(
            Text(node["hostname"]),
            f"{node['role']}, leader" if node["leader"] else node["role"],
            Text(state, style="green" if well else "yellow" if node["state"] == "ready" else "red"),
            node["engine"],
            str(node["notebooks"] or ""),
            Text(told + (f" ({', '.join(sorted(set(held)))})" if held else "")),
        )
    return shown


def _services(status: Status) -> Table:
    shown = table("service", "tasks", "why not")
    for each in status.services:
        well = each["running"] >= each["wanted"]
        count = Text(f"{each['running']} of {each['wanted']}", style="green" if well else "red")
        shown.add_row(Text(each["name"]), count, Text(each["why"]))
    return shown


def _servers(status: Status) -> Table:
    shown = table("user", "profile", "node", "state", "for")
    for each in sorted(status.servers, key=lambda each: str(each["user"])):
        name = f"{each['user']} ({each['server']})" if each["server"] else each["user"]
        since = datetime.datetime.fromisoformat(each["since"][:19] + "+00:00")
        shown.add_row(Text(name), each["profile"], each["node"], each["state"], span((now() - since).total_seconds()))
    return shown
