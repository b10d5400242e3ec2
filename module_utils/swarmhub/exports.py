"""What the NFS server exports of ours: written into a drop-in, set against what is live (exports(5), exportfs(8))."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

Export = Mapping[str, t.Any]

#: Whoever writes is the notebooks' user: no home ever belongs to root, and no client becomes it.
OPTIONS = ("sync", "no_subtree_check", "secure", "root_squash", "all_squash", "anonuid=1000", "anongid=100")


def exports(homes: str, shared: str, folders: Iterable[Mapping[str, t.Any]]) -> list[Export]:
    """Return what is exported, and how each directory is to be: ``{path, read_only, mode, owner, group}``.

    Args:
        homes: directory of the homes.
        shared: directory of the shared folders.
        folders: these, ``{name, read_only}``.
    """
    found = [(homes, False), *((f"{shared}/{each['name']}", each["read_only"]) for each in folders)]
    return [
        {"path": path, "read_only": read_only, "mode": "0755", "owner": "1000", "group": "users"}
        for path, read_only in found
    ]


def options(export: Export) -> tuple[str, ...]:
    """Return the options of ``{path, read_only}``."""
    return ("ro" if export["read_only"] else "rw", *OPTIONS)


def lines(exports: Iterable[Export], clients: Iterable[str]) -> str:
    """Return the drop-in's text: each of ``exports``, as ``{path, read_only}``, for each of ``clients``."""
    who = list(clients)
    return "".join(f"{each['path']} {client}({','.join(options(each))})\n" for each in exports for client in who)


def elsewhere(
    live: Iterable[Mapping[str, t.Any]], exports: Iterable[Export], clients: Iterable[str]
) -> list[tuple[str, str]]:
    """Return each ``(path, client)`` of ours that another file exports as well; arguments as of :func:`differences`."""
    who = list(clients)
    wanted = {(each["path"], client) for each in exports for client in who}
    return [
        (each["path"], each["client"])
        for each in live
        if each["elsewhere"] and (each["path"], each["client"]) in wanted
    ]


def differences(live: Iterable[Mapping[str, t.Any]], exports: Iterable[Export], clients: Iterable[str]) -> list[str]:
    """Return a sentence for each of ``exports`` that is not live as wanted.

    Args:
        live: what host_state found, ``{path, client, options, elsewhere}``. What another file exports is not ours.
        exports: what is wanted, ``{path, read_only}``.
        clients: whom it is exported to.
    """
    found = {(each["path"], each["client"]): each for each in live}
    wanted = {(each["path"], client): options(each) for each in exports for client in clients}
    ours = {path for path, _ in wanted}
    sentences = []
    for key, needed in wanted.items():
        missing = [option for option in needed if option not in found.get(key, {}).get("options", needed)]
        if key not in found:
            sentences.append("{} is not exported to {}".format(*key))
        elif missing:
            sentences.append("{} is exported to {} without {}".format(*key, ",".join(missing)))
    strangers = [key for key, each in found.items() if key[0] in ours and key not in wanted and not each["elsewhere"]]
    return sentences + ["{} is exported to {} as well".format(*key) for key in strangers]
