"""The site's certificate for HTTPS: what is wrong with its files, and the address that it is for.

Needs ``cryptography``, on the controller.
"""

from __future__ import annotations

import datetime
import typing as t
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.swarmhub.findings import VARIABLES_FILE, Finding

if t.TYPE_CHECKING:
    from ansible.module_utils.swarmhub.inventory import Inventory

CERTIFICATE, KEY = "hub_tls_certificate", "hub_tls_key"
#: Where the proxy is published behind a front, and where the front sends people on from.
PROXY_PORT = 8000
TAKEN = {80: "there people are sent on to HTTPS", PROXY_PORT: "there the proxy is, behind the front"}


def check_settings(inventory: Inventory) -> Iterator[Finding]:
    """A certificate that cannot be used, and a front that would stand in its own way."""
    settings = inventory.settings
    given = {key: settings[key] for key in (CERTIFICATE, KEY)}
    if not any(given.values()):
        return
    if missing := [key for key, path in given.items() if not path]:
        yield _finding("is missing, and the other one is given", "give both, or neither", missing[0])
        return
    # The default is that without a certificate.
    if any("hub_port" in variables for variables in inventory.hosts.values()) and settings["hub_port"] in TAKEN:
        why = TAKEN[settings["hub_port"]]
        yield _finding(f"is {settings['hub_port']}, and {why}", "drop it for 443", "hub_port")
    found: list[Finding] = []
    certificates = _certificates(given[CERTIFICATE], found)
    key = _key(given[KEY], found)
    yield from found
    if certificates:
        yield from _check_first(certificates, key)
        if (key is None or _fits(certificates[0], key)) and not settings["hub_url"] and not _addresses(certificates[0]):
            cure = "write the address that people open, such as https://hub.example.org/"
            yield _finding("is missing, and the certificate names no single host", cure, "hub_url")


def url(certificate: str, address: str, port: int) -> str:
    """Return the hub's address: by ``address`` where the certificate is for that as well, else by its first name.

    Args:
        certificate: the PEM file, which `check_settings` has found right.
        address: the manager's.
        port: the front's.
    """
    names = _addresses(_certificates(certificate, [])[0])
    name = address if address in names else names[0]
    return f"https://{f'[{name}]' if ':' in name else name}{'' if port == 443 else f':{port}'}/"


def _check_first(certificates: list[t.Any], key: t.Any) -> Iterator[Finding]:
    first, now = certificates[0], datetime.datetime.now(datetime.timezone.utc)
    if first.not_valid_after_utc <= now:
        yield _finding(f"has expired on {first.not_valid_after_utc:%Y-%m-%d}", "have it renewed", CERTIFICATE)
    if first.not_valid_before_utc > now:
        cure = "wait for that day, or set this machine's clock"
        yield _finding(f"is valid from {first.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on", cure, CERTIFICATE)
    if key is None or _fits(first, key):
        return
    if any(_fits(each, key) for each in certificates[1:]):
        cure = "put the hub's own first, and its chain after it"
        yield _finding("has another certificate before the one of the key", cure, CERTIFICATE)
    else:
        yield _finding("does not belong to the certificate", "give the key that it was made with", KEY)


def _fits(certificate: t.Any, key: t.Any) -> bool:
    return bool(certificate.public_key() == key.public_key())


def _addresses(certificate: t.Any) -> list[str]:
    """Return the single hosts that a certificate is for, names before addresses."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    hosts = [name for name in names.get_values_for_type(x509.DNSName) if "*" not in name]
    return [*hosts, *map(str, names.get_values_for_type(x509.IPAddress))]


def _certificates(path: str, found: list[Finding]) -> list[t.Any]:
    from cryptography import x509

    content = _read(path, CERTIFICATE, found)
    try:
        return list(x509.load_pem_x509_certificates(content)) if content else []
    except ValueError:
        found.append(_finding(f"{path} holds no certificate in PEM form", "give one that does", CERTIFICATE))
        return []


def _key(path: str, found: list[Finding]) -> t.Any:
    """Return the key; ``None`` as well for one in a vault, which is closed here."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path, KEY, found)
    if not content or content.startswith(b"$ANSIBLE_VAULT"):
        return None
    try:
        return load_pem_private_key(content, password=None)
    except TypeError:
        found.append(_finding(f"{path} has a passphrase", "give it without, in a vault", KEY))
    except ValueError:
        found.append(_finding(f"{path} holds no private key in PEM form", "give one that does", KEY))
    return None


def _read(path: str, key: str, found: list[Finding]) -> bytes:
    if not Path(path).is_absolute():
        found.append(_finding(f"{path} is no whole path", 'write one, such as "{{ inventory_dir }}/hub.pem"', key))
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        found.append(_finding(f"{path} cannot be read ({error.strerror})", "write the path of a file here", key))
        return b""


def _finding(what: str, cure: str, key: str) -> Finding:
    return Finding(what, cure, key, file=VARIABLES_FILE)
