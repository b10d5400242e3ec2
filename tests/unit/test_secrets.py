"""Secrets are made once, and never by a second administrator."""

from __future__ import annotations

import stat
from pathlib import Path

import bcrypt
from ansible.module_utils.swarmhub import secrets
from ansible.module_utils.swarmhub.host_state import fingerprints
from cryptography import x509

WANTED = secrets.wanted_names(registry=True, provided=[])


def values(directory: Path) -> dict[str, str]:
    return {name: (directory / name).read_text() for name in WANTED}


def test_all_are_made_with_mode_0600_and_a_second_time_none(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    assert secrets.create_missing(directory, WANTED, "10.0.0.1") == sorted(WANTED)
    first = values(directory)
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in directory.iterdir()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert secrets.create_missing(directory, WANTED, "10.0.0.1") == []
    assert values(directory) == first
    assert len(set(first.values())) == len(first)


def test_a_provided_secret_is_not_made() -> None:
    assert "db_password" not in secrets.wanted_names(registry=False, provided=["db_password"])
    assert not [name for name in secrets.wanted_names(registry=False, provided=[]) if name.startswith("registry")]


def test_the_registry_s_certificate_is_for_its_address_and_signed_by_its_ca() -> None:
    made = secrets.registry_secrets("10.0.0.9")
    ca = x509.load_pem_x509_certificate(made["registry_ca.crt"].encode())
    server = x509.load_pem_x509_certificate(made["registry.crt"].encode())
    server.verify_directly_issued_by(ca)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.9"]
    user, hashed = made["registry_htpasswd"].strip().split(":", 1)
    assert user == secrets.REGISTRY_USER
    assert bcrypt.checkpw(made["registry_password"].encode(), hashed.encode())


def test_a_second_administrator_is_refused_and_told_where_to_fetch_them(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    secrets.create_missing(first, WANTED, "10.0.0.1")
    kept = {"m1": fingerprints(str(first))}
    assert secrets.refusal(first, WANTED, kept) == ""
    refusal = secrets.refusal(second, WANTED, kept)
    for word in ("proxy_token", "m1", "Fetch"):
        assert word in refusal
    assert secrets.refusal(second, WANTED, {}) == ""


def test_secrets_of_another_cluster_are_named(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    secrets.create_missing(first, WANTED, "10.0.0.1")
    secrets.create_missing(second, WANTED, "10.0.0.1")
    kept = {"m1": fingerprints(str(first))}
    assert secrets.mismatch(first, values(first), kept) == ""
    assert "cookie_secret" in secrets.mismatch(second, values(second), kept)
    one_changed = {**values(first), "db_password": "other"}
    assert secrets.mismatch(first, one_changed, kept).startswith("db_password in ")


def test_open_files_are_closed(tmp_path: Path) -> None:
    secrets.create_missing(tmp_path / "s", WANTED, "10.0.0.1")
    (tmp_path / "s" / "proxy_token").chmod(0o644)
    assert secrets.tighten(tmp_path / "s", WANTED) == ["proxy_token"]
    assert secrets.tighten(tmp_path / "s", WANTED) == []
