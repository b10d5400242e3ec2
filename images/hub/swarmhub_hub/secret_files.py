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


def need_hex_secret(name: str, directory: Path | None = None) -> bytes:
    """Return the 32 bytes that the secret ``name`` writes as 64 hex digits.

    Raises:
        SettingsError: it is missing, or is not that.
    """
    try:
        value = bytes.fromhex(need_secret(name, directory))
    except ValueError as error:
        if isinstance(error, SettingsError):
            raise
        value = b""
    if len(value) != 32:
        raise SettingsError(f"the secret {name} must be 64 hex digits")
    return value
