"""Secrets are files in /run/secrets and nothing else; no message of ours ever holds one."""

from __future__ import annotations

from pathlib import Path

from swarmhub_hub.settings import SettingsError

SECRETS_DIR = Path("/run/secrets")


def read_secret(name: str, directory: Path | None = None) -> str:
    """Return the secret ``name`` without the white space around it, "" when there is no such file.

    Raises:
        SettingsError: the file is empty.
    """
    path = (directory or SECRETS_DIR) / name
    if not path.exists():
        return ""
    secret = path.read_text().strip()
    if not secret:
        raise SettingsError(f"the secret {name} is an empty file ({path})")
    return secret


def need_secret(name: str, directory: Path | None = None) -> str:
    """Return the secret ``name``.

    Raises:
        SettingsError: it is missing or empty.
    """
    secret = read_secret(name, directory)
    if not secret:
        raise SettingsError(f"the secret {name} is missing: give the hub's service {directory or SECRETS_DIR}/{name}")
    return secret


def need_keys(name: str, directory: Path | None = None) -> list[bytes]:
    """Return the keys that the secret ``name`` writes as 64 hex digits each, with ";" between them.

    Raises:
        SettingsError: it is missing, or is not that.
    """
    try:
        keys = [bytes.fromhex(key) for key in need_secret(name, directory).split(";")]
    except ValueError as error:
        if isinstance(error, SettingsError):
            raise
        keys = [b""]
    if any(len(key) != 32 for key in keys):
        raise SettingsError(f"the secret {name} must be 64 hex digits")
    return keys
