"""Secrets are made once, and never by a second administrator."""

from __future__ import annotations

import stat
from pathlib import Path

import bcrypt
import pytest
from ansible.module_utils.swarmhub import secrets
from ansible.module_utils.swarmhub.host_state import fingerprints
from cryptography import x509

WANTED = secrets.wanted_names([], "10.0.0.1")


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
    assert "db_password" not in secrets.wanted_names(["db_password"], "")
    assert not [name for name in secrets.wanted_names([], "") if name.startswith("registry")]


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
    assert secrets.to_settle(tmp_path / "s", WANTED) == []
    (tmp_path / "s" / "proxy_token").chmod(0o644)
    assert secrets.to_settle(tmp_path / "s", [*WANTED, "another"]) == ["another", "proxy_token"]
    assert secrets.tighten(tmp_path / "s", WANTED) == ["proxy_token"]
    assert secrets.tighten(tmp_path / "s", WANTED) == []


def rotated(directory: Path) -> dict[str, str]:
    return {name: (directory / name).read_text() for name in secrets.ROTATED}


def test_a_rotation_makes_new_values_and_keeps_the_former_until_it_ends(tmp_path: Path) -> None:
    secrets.create_missing(tmp_path, WANTED, "10.0.0.1")
    before = values(tmp_path)
    assert secrets.rotate(tmp_path, ["crypt_key", "proxy_token"]) == ["crypt_key", "proxy_token"]
    after = values(tmp_path)
    assert {name for name in WANTED if after[name] != before[name]} == {"crypt_key", "proxy_token"}
    assert secrets.former_values(tmp_path) == {name: before[name] for name in ("crypt_key", "proxy_token")}
    assert stat.S_IMODE((tmp_path / "former" / "crypt_key").stat().st_mode) == 0o600
    # What was encrypted with the old key can still be read, and a third key drops out.
    assert after["crypt_key"].split(";")[1:] == [before["crypt_key"]]
    assert secrets.forget_former(tmp_path)
    assert not secrets.forget_former(tmp_path)
    secrets.rotate(tmp_path, ["crypt_key"])
    assert values(tmp_path)["crypt_key"].split(";")[1:] == after["crypt_key"].split(";")[:1]


def test_a_rotation_that_was_killed_goes_on_with_what_it_made(tmp_path: Path) -> None:
    secrets.create_missing(tmp_path, WANTED, "10.0.0.1")
    before = values(tmp_path)
    secrets.rotate(tmp_path, ["proxy_token", "db_password"])
    made = rotated(tmp_path)
    # Killed after the former value was kept, before the new one was written.
    (tmp_path / "db_password").write_text(before["db_password"])
    assert secrets.rotate(tmp_path, ["proxy_token", "db_password", "api_token"]) == [
        "api_token",
        "db_password",
        "proxy_token",
    ]
    assert rotated(tmp_path)["proxy_token"] == made["proxy_token"]
    assert before["db_password"] != rotated(tmp_path)["db_password"]
    assert secrets.former_values(tmp_path)["db_password"] == before["db_password"]


def test_what_cannot_be_rotated_is_said(tmp_path: Path) -> None:
    secrets.create_missing(tmp_path, WANTED, "10.0.0.1")
    with pytest.raises(secrets.SecretsError, match="registry_password cannot be rotated; choose from proxy_token"):
        secrets.check_rotation(tmp_path, ["registry_password"], [])
    with pytest.raises(secrets.SecretsError, match="db_password cannot be rotated; choose from proxy_token"):
        secrets.check_rotation(tmp_path, ["db_password"], ["db_password"])
    (tmp_path / "api_token").write_text("$ANSIBLE_VAULT;1.1;AES256\n00\n")
    with pytest.raises(secrets.SecretsError, match=r"api_token in .* are encrypted"):
        secrets.check_rotation(tmp_path, ["api_token", "proxy_token"], [])


@pytest.mark.parametrize("held", ["former", "new", "some of both"])
def test_in_a_rotation_managers_may_hold_former_and_new_values(tmp_path: Path, held: str) -> None:
    ours, kept = tmp_path / "ours", tmp_path / "kept"
    secrets.create_missing(ours, WANTED, "10.0.0.1")
    before = values(ours)
    secrets.rotate(ours, list(secrets.ROTATED))
    after = values(ours)
    kept.mkdir()
    for number, name in enumerate(WANTED):
        new = held == "new" or (held != "former" and number % 2)
        (kept / name).write_text((after if new else before)[name])
    fingerprinted = {"m1": fingerprints(str(kept))}
    assert secrets.mismatch(ours, after, fingerprinted, rotating=True) == ""
    assert "rotate_secrets.yml again" in secrets.mismatch(ours, after, fingerprinted)
    (kept / "proxy_token").write_text("somebody else's")
    assert "proxy_token in" in secrets.mismatch(ours, after, {"m1": fingerprints(str(kept))}, rotating=True)
