"""The cluster's secrets: made once, kept in the inventory of whoever runs the plays, copied to the managers."""

from __future__ import annotations

import datetime
import ipaddress
import os
import secrets
import string
import typing as t
from collections.abc import Callable, Collection, Mapping
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
    "metrics_token": _key,
    "backup_key": _key,
}
#: What rotate_secrets.yml makes anew: the hub's and the proxy's own. An administrator's password is hers to change, the
#: registry's are in the configuration of every engine.
ROTATED = ("proxy_token", "cookie_secret", "crypt_key", "db_password", "probe_password", "api_token", "metrics_token")
#: Below the secrets, and there only while a rotation is not finished: the former values.
FORMER = "former"
VAULT = "$ANSIBLE_VAULT"
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


def wanted_names(provided: Collection[str], registry_address: str) -> list[str]:
    """Return the names of the files that make up the secrets; ``provided`` are kept by the user elsewhere."""
    own = [name for name in GENERATORS if name not in provided]
    return own + list(REGISTRY_NAMES if registry_address else ())


def to_settle(directory: Path, wanted: list[str]) -> list[str]:
    """Return the names of the secrets that do not exist yet, or that others may read."""
    return missing(directory, wanted) + opened(directory, wanted)


def missing(directory: Path, wanted: list[str]) -> list[str]:
    """Return the names of the secrets that do not exist yet."""
    return [name for name in wanted if not (directory / name).exists()]


def opened(directory: Path, wanted: list[str]) -> list[str]:
    """Return the names of the secrets that others may read."""
    paths = [directory / name for name in wanted]
    return [path.name for path in paths if path.exists() and path.stat().st_mode & 0o077]


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
    lacked = missing(directory, wanted)
    for manager, names in kept.items():
        lacking = [name for name in lacked if name in names]
        if lacking:
            return f"{directory} lacks {', '.join(lacking)}, which the cluster already has. {cure(directory, manager)}"
    return ""


def cure(directory: Path, manager: str) -> str:
    """Return how to get the cluster's secrets from a manager."""
    return (
        f"Nothing was changed. Fetch them from manager {manager} (mkdir -m 0700 -p {directory}; ssh {manager} "
        f"sudo tar -C /etc/swarmhub/secrets -c . | tar -C {directory} -x), or ask whoever set the cluster up."
    )


def mismatch(
    directory: Path, values: Mapping[str, str], kept: Mapping[str, Mapping[str, str]], rotating: bool = False
) -> str:
    """Return which secrets are other than the cluster's, as a sentence; empty when all agree.

    While a rotation is not finished, a manager may hold the former or the new value of each secret; only the run that
    is ``rotating`` goes on then.
    """
    former = former_values(directory)
    if former and not rotating:
        unfinished = ", ".join(former)
        again = "Nothing was changed. Run playbooks/rotate_secrets.yml again."
        return f"The rotation of {unfinished} is not finished. {again}"
    sets = [values, {**values, **former}]
    keys = {each.get(FINGERPRINT_KEY, "") for each in sets}
    own = {name: {fingerprint(key, name, each[name]) for key in keys for each in sets} for name in values}
    for manager, names in kept.items():
        other = sorted(name for name in names if name in own and names[name] not in own[name])
        if other:
            wrong = ", ".join(other)
            return f"{wrong} in {directory} are not the secrets that the cluster carries. {cure(directory, manager)}"
    return ""


def former_values(directory: Path) -> dict[str, str]:
    """Return the values that an unfinished rotation replaces."""
    former = directory / FORMER
    paths = sorted(path for path in former.iterdir() if not path.name.startswith(".")) if former.is_dir() else []
    return {path.name: path.read_text() for path in paths}


def check_rotation(directory: Path, names: list[str], provided: list[str]) -> None:
    """Judge what is to be rotated; ``provided`` are kept by the user elsewhere.

    Raises:
        SecretsError: a name is none that can be rotated, or its file is encrypted.
    """
    ours = [name for name in ROTATED if name not in provided]
    if unknown := [name for name in names if name not in ours]:
        raise SecretsError(f"{', '.join(unknown)} cannot be rotated; choose from {', '.join(ours)}")
    if locked := [name for name in names if (directory / name).read_text().startswith(VAULT)]:
        listed = ", ".join(locked)
        raise SecretsError(f"{listed} in {directory} are encrypted: ansible-vault decrypt them for the rotation")


def rotate(directory: Path, names: list[str]) -> list[str]:
    """Make ``names`` anew and keep what they were; return what is being rotated, more if an earlier run did not finish.

    Each former value is in its place before the new one is: killed anywhere, this goes on where it was.
    """
    former = former_values(directory)
    for name in names:
        old = former.get(name) or (directory / name).read_text()
        if name in former and (directory / name).read_text() != old:
            continue
        (directory / FORMER).mkdir(mode=0o700, exist_ok=True)
        _write(directory / FORMER / name, old)
        # JupyterHub encrypts with the first key, and decrypts with all.
        _write(
            directory / name, f"{GENERATORS[name]()};{old.split(';')[0]}" if name == "crypt_key" else GENERATORS[name]()
        )
    return sorted({*former, *names})


def forget_former(directory: Path) -> bool:
    """End a rotation: remove the former values; return whether there were any."""
    former = directory / FORMER
    if not former.is_dir():
        return False
    for path in former.iterdir():
        path.unlink()
    former.rmdir()
    return True


def create_missing(directory: Path, wanted: list[str], registry_address: str) -> list[str]:
    """Write the secrets that do not exist yet (directory 0700, files 0600) and return their names."""
    lacking = missing(directory, wanted)
    if not lacking:
        return []
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = {name: GENERATORS[name]() for name in lacking if name in GENERATORS}
    # The registry's six belong together: a certificate without its key is of no use.
    if set(lacking) & set(REGISTRY_NAMES):
        made |= registry_secrets(registry_address)
    for name, value in made.items():
        _write(directory / name, value)
    return sorted(made)


def _write(path: Path, value: str) -> None:
    """Write a file of mode 0600 as a whole or not at all."""
    temporary = path.with_name(f".{path.name}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(value)
    temporary.rename(path)


def tighten(directory: Path, wanted: list[str]) -> list[str]:
    """Take from everybody else the right to read the secrets; return the names that were open."""
    names = opened(directory, wanted)
    for name in names:
        (directory / name).chmod(0o600)
    return names
