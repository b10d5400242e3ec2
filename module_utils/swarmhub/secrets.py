"""The cluster's secrets: made once, kept in the inventory of whoever runs the plays, copied to the managers."""

from __future__ import annotations

import datetime
import ipaddress
import os
import secrets
import string
import typing as t
from collections.abc import Callable, Mapping
from pathlib import Path

from ansible.module_utils.swarmhub.host_state import FINGERPRINT_KEY, fingerprint

ALPHABET = string.ascii_letters + string.digits
REGISTRY_USER = "swarmhub-nodes"
CERTIFICATE_DAYS = 3650


def _password() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(24))


def _key() -> str:
    return secrets.token_hex(32)


GENERATORS: dict[str, Callable[[], str]] = {
    "proxy_token": _key,
    "cookie_secret": _key,
    "crypt_key": _key,
    "db_password": _password,
    "admin_password": _password,
    "probe_password": _password,
    "api_token": _key,
}
REGISTRY_NAMES = (
    "registry_password",
    "registry_htpasswd",
    "registry_ca.key",
    "registry_ca.crt",
    "registry.key",
    "registry.crt",
)


class SecretsError(Exception):
    """The secrets at hand are not those of the cluster."""


def wanted_names(registry: bool, provided: list[str]) -> list[str]:
    """Return the names of the files that make up the secrets; ``provided`` are kept by the user elsewhere."""
    own = [name for name in GENERATORS if name not in provided]
    return own + list(REGISTRY_NAMES if registry else ())


def _pem(certificate: t.Any) -> str:
    from cryptography.hazmat.primitives import serialization

    return t.cast(str, certificate.public_bytes(serialization.Encoding.PEM).decode())


def _private_pem(key: t.Any) -> str:
    from cryptography.hazmat.primitives import serialization

    return t.cast(
        str,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )


def registry_secrets(address: str) -> dict[str, str]:
    """Return the registry's password and htpasswd line, a CA of its own, and a certificate for ``address`` (an IP)."""
    import bcrypt
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def build(subject: str, key: t.Any, issuer: x509.Name | None) -> x509.CertificateBuilder:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer or name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        )

    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = build("swarmhub registry CA", ca_key, None).sign(ca_key, hashes.SHA256())
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    server = build(address, server_key, ca.subject).add_extension(names, critical=False).sign(ca_key, hashes.SHA256())
    password = _password()
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(10)).decode()
    return {
        "registry_password": password,
        "registry_htpasswd": f"{REGISTRY_USER}:{hashed}\n",
        "registry_ca.key": _private_pem(ca_key),
        "registry_ca.crt": _pem(ca),
        "registry.key": _private_pem(server_key),
        "registry.crt": _pem(server),
    }


def refusal(directory: Path, wanted: list[str], kept: Mapping[str, Mapping[str, str]]) -> str:
    """Return why new secrets must not be made here; empty when nothing speaks against it.

    ``kept`` are the fingerprints that each manager holds. A cluster that has secrets keeps them: whoever lacks one
    fetches it, and nothing is rotated by accident.
    """
    missing = [name for name in wanted if not (directory / name).exists()]
    for manager, names in kept.items():
        lacking = [name for name in missing if name in names]
        if lacking:
            return f"{directory} lacks {', '.join(lacking)}, which the cluster already has. {cure(directory, manager)}"
    return ""


def cure(directory: Path, manager: str) -> str:
    """Return how to get the cluster's secrets from a manager."""
    return (
        f"Nothing was changed. Fetch them from manager {manager} (mkdir -m 0700 -p {directory}; ssh {manager} "
        f"sudo tar -C /etc/swarmhub/secrets -c . | tar -C {directory} -x), or ask whoever set the cluster up."
    )


def mismatch(directory: Path, values: Mapping[str, str], kept: Mapping[str, Mapping[str, str]]) -> str:
    """Return which secrets are other than the cluster's, as a sentence; empty when all agree."""
    key = values.get(FINGERPRINT_KEY, "")
    own = {name: fingerprint(key, name, value) for name, value in values.items()}
    for manager, names in kept.items():
        other = sorted(name for name in names if name in own and own[name] != names[name])
        if other:
            wrong = ", ".join(other)
            return f"{wrong} in {directory} are not the secrets that the cluster carries. {cure(directory, manager)}"
    return ""


def create_missing(directory: Path, wanted: list[str], registry_address: str) -> list[str]:
    """Write the secrets that do not exist yet (directory 0700, files 0600) and return their names."""
    missing = [name for name in wanted if not (directory / name).exists()]
    if not missing:
        return []
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = {name: GENERATORS[name]() for name in missing if name in GENERATORS}
    # The registry's six belong together: a certificate without its key is of no use.
    if set(missing) & set(REGISTRY_NAMES):
        made |= registry_secrets(registry_address)
    for name, value in made.items():
        temporary = directory / f".{name}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(value)
        temporary.rename(directory / name)
    return sorted(made)


def tighten(directory: Path, wanted: list[str]) -> list[str]:
    """Take from everybody else the right to read the secrets; return the names that were open."""
    opened = [name for name in wanted if (directory / name).exists() and (directory / name).stat().st_mode & 0o077]
    for name in opened:
        (directory / name).chmod(0o600)
    return opened
