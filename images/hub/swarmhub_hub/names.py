"""Names for services, volumes and home directories, for whatever a user is called.

A service's name has at most 63 characters of [a-zA-Z0-9_-] (swarmkit, manager/controlapi/common.go).
"""

from __future__ import annotations

import hashlib
import re

from swarmhub_hub.settings import NAME_PREFIX

_SERVICE_NAME_MAX = 63
_HASH_LENGTH = 8
_PLAIN_HOME = re.compile(r"^[a-z0-9_][a-z0-9._@-]{0,62}$")


def _readable(text: str, length: int) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:length].strip("-")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_HASH_LENGTH]


def service_name(user: str, server: str = "") -> str:
    """Return the name of the service for a user's server: readable, unique, the same every time."""
    readable = _readable(
        f"{user}-{server}" if server else user, _SERVICE_NAME_MAX - len(NAME_PREFIX) - _HASH_LENGTH - 2
    )
    return "-".join(part for part in (NAME_PREFIX, readable, _digest(user, server)) if part)


def home_name(user: str) -> str:
    """Return the name of the user's home directory: the user's own name where that is harmless.

    Other names get a '~' and a hash, which no harmless name can hold: nobody can sign up as somebody else's home.
    """
    if _PLAIN_HOME.match(user):
        return user
    return f"{_readable(user, 40)}~{_digest(user)}"


def volume_name(kind: str, directory: str, *options: str) -> str:
    """Return the name of the volume of a home or a shared folder.

    Docker never updates a volume: the name carries a hash of the mount's options, so that new ones make a new volume.
    """
    return f"swarmhub-{kind}-{_readable(directory, 60)}-{_digest(directory, *options)}"
