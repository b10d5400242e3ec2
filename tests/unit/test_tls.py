"""The site's certificate: what is refused of it, and which address it makes the hub's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.swarmhub.findings import Finding
from ansible.module_utils.swarmhub.tls import url
from certificates import Signed, sign
from test_inventory import findings, only

NAME = "hub.example.org"


@pytest.fixture
def files(tmp_path: Path) -> Any:
    """Write the files, and return the variables that name them."""

    def write(certificate: str, key: str) -> dict[str, str]:
        (tmp_path / "hub.crt").write_text(certificate)
        (tmp_path / "hub.key").write_text(key)
        return {"hub_tls_certificate": str(tmp_path / "hub.crt"), "hub_tls_key": str(tmp_path / "hub.key")}

    return write


@pytest.fixture(scope="module")
def site() -> tuple[Signed, Signed]:
    authority = sign()
    return authority, sign(NAME, authority=authority)


def test_a_certificate_with_its_chain_and_its_key_is_right(files: Any, site: tuple[Signed, Signed]) -> None:
    authority, own = site
    assert findings(**files(own.pem + authority.pem, own.key_pem), hub_port=8443) == []


def test_one_file_alone_is_refused(files: Any, site: tuple[Signed, Signed]) -> None:
    _, own = site
    assert only(findings(**{**files(own.pem, own.key_pem), "hub_tls_key": ""})).key == "hub_tls_key"


def test_files_that_are_not_what_they_should_be(files: Any, site: tuple[Signed, Signed], tmp_path: Path) -> None:
    authority, own = site
    other = sign(NAME)

    def refused(certificate: str, key: str) -> Finding:
        return only(findings(**files(certificate, key)))

    for certificate, key, place, words in (
        (own.pem, other.key_pem, "hub_tls_key", "does not belong to the certificate"),
        (authority.pem + own.pem, own.key_pem, "hub_tls_certificate", "another certificate before"),
        (own.pem, own.encrypted(b"secret"), "hub_tls_key", "has a passphrase"),
        (own.pem, own.pem, "hub_tls_key", "no private key in PEM form"),
        (own.key_pem, own.key_pem, "hub_tls_certificate", "no certificate in PEM form"),
    ):
        found = refused(certificate, key)
        assert (found.key, words in found.what) == (place, True), found
    expired, early = sign(NAME, days=(-30, -1)), sign(NAME, days=(1, 30))
    assert "has expired on" in refused(expired.pem, expired.key_pem).what
    assert "is valid from" in refused(early.pem, early.key_pem).what
    assert findings(**files(own.pem, "$ANSIBLE_VAULT;1.1;AES256\n00\n")) == []
    relative = {**files(own.pem, own.key_pem), "hub_tls_key": "hub.key"}
    assert "is no whole path" in only(findings(**relative)).what
    gone = {**files(own.pem, own.key_pem), "hub_tls_certificate": str(tmp_path / "none.crt")}
    assert "cannot be read (No such file" in only(findings(**gone)).what


@pytest.mark.parametrize("port", [80, 8000])
def test_the_front_is_not_to_stand_in_its_own_way(files: Any, site: tuple[Signed, Signed], port: int) -> None:
    _, own = site
    assert only(findings(**files(own.pem, own.key_pem), hub_port=port)).key == "hub_port"


def test_the_hubs_address_is_one_that_the_certificate_is_for(files: Any) -> None:
    both, named, many = sign(NAME, "10.77.0.11"), sign("*.example.org", NAME), sign("*.example.org")
    for signed, port, address in (
        (both, 443, "https://10.77.0.11/"),
        (named, 443, f"https://{NAME}/"),
        (named, 8443, f"https://{NAME}:8443/"),
    ):
        path = files(signed.pem, signed.key_pem)["hub_tls_certificate"]
        assert url(path, "10.77.0.11", port) == address
    variables = files(many.pem, many.key_pem)
    assert only(findings(**variables)).key == "hub_url"
    assert findings(**variables, hub_url=f"https://{NAME}/") == []
