"""HTTPS with the site's certificate: who comes in, who does not, and a renewal under a notebook at work."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import typing as t
from pathlib import Path

import httpx
import pytest
from ansible.module_utils.swarmhub.probe_kernel import Kernel
from ansible.module_utils.swarmhub.probe_session import FormSession, TokenSession, tls_context
from certificates import Signed, sign

from .conftest import START_TIMEOUT, Lab, PlayResult, run_playbook

pytestmark = pytest.mark.long

#: Of RFC 5737: no address of the cluster's networks.
STRANGER = "198.51.100.7"


class Site(t.NamedTuple):
    """The site's files, and the address that they are for."""

    folder: Path
    authority: Signed
    address: str

    @property
    def url(self) -> str:
        return f"https://{self.address}/"

    @property
    def trust(self) -> ssl.SSLContext:
        return tls_context([str(self.folder / "authority.pem")], True)

    def renew(self) -> Signed:
        """Write a new certificate and its key."""
        signed = sign(self.address, authority=self.authority)
        (self.folder / "hub.crt").write_text(signed.pem)
        (self.folder / "hub.key").write_text(signed.key_pem)
        return signed

    def play(self, name: str, *arguments: str) -> PlayResult:
        """Run a playbook with the files in the inventory."""
        variables = {
            "hub_tls_certificate": str(self.folder / "hub.crt"),
            "hub_tls_key": str(self.folder / "hub.key"),
            "hub_port": 443,
        }
        return run_playbook(name, "--extra-vars", json.dumps(variables), *arguments, timeout=600)

    def serial(self) -> int:
        """Return which certificate the front shows now."""
        with (
            socket.create_connection((self.address, 443), timeout=5) as plain,
            self.trust.wrap_socket(plain, server_hostname=self.address) as secure,
        ):
            return int(t.cast("dict[str, str]", secure.getpeercert())["serialNumber"], 16)

    def session(self, kind: t.Any, user: str, secret: str) -> t.Any:
        return kind(self.url, user, secret, start_timeout=START_TIMEOUT, request_timeout=30, tls=self.trust)


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    """Give the lab a front, and take it away at the end."""
    folder, authority = tmp_path_factory.mktemp("site"), sign()
    (folder / "authority.pem").write_text(authority.pem)
    site = Site(folder, authority, lab.variables[lab.manager]["ansible_host"])
    site.renew()
    try:
        result = site.play("site.yml")
        assert result.code == 0, result.output
        yield site
    finally:
        result = run_playbook("site.yml", timeout=600)
    assert result.code == 0, result.output
    assert lab.ssh(lab.manager, "systemctl is-active haproxy.service", check=False).strip() == "inactive"
    httpx.get(f"{lab.access['url'].rstrip('/')}/hub/login", timeout=10).raise_for_status()


@contextlib.contextmanager
def stranger() -> t.Iterator[None]:
    """Give this machine another address, for connections that do not come from the cluster's networks."""
    address = (f"{STRANGER}/32", "dev", "lo")
    subprocess.run(["ip", "address", "add", *address], check=True, timeout=10)
    try:
        yield
    finally:
        subprocess.run(["ip", "address", "del", *address], check=True, timeout=10)


def answers(host: str, port: int) -> bool:
    """Tell whether a stranger is let in."""
    try:
        socket.create_connection((host, port), timeout=3, source_address=(STRANGER, 0)).close()
    except TimeoutError:
        return False
    return True


def test_a_person_signs_in_by_https_alone(lab: Lab, site: Site) -> None:
    session = site.session(FormSession, lab.access["admin_user"], lab.access["admin_password"])
    session.sign_in()
    cookies = {cookie.name: cookie.secure for cookie in session.http.cookies.jar}
    assert (cookies["jupyterhub-hub-login"], cookies["jupyterhub-session-id"]) == (True, True)
    answer = httpx.get(f"http://{site.address}/hub/login?next=%2Fhub%2Fhome", timeout=10)
    assert (answer.status_code, answer.headers["Location"]) == (308, f"{site.url}hub/login?next=%2Fhub%2Fhome")
    headers = session.request("GET", "hub/home").headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000"


def test_nobody_from_outside_gets_around_the_front(lab: Lab, site: Site) -> None:
    assert httpx.get(f"http://{site.address}:8000/hub/login", timeout=10).status_code == 200, "the cluster itself may"
    with stranger():
        assert {port: answers(site.address, port) for port in (80, 443, 8000)} == {80: True, 443: True, 8000: False}


def test_the_front_is_watched_and_the_key_kept(lab: Lab, site: Site) -> None:
    result = site.play("site.yml")
    assert result.code == 0, result.output
    assert result.changed == dict.fromkeys(lab.variables, 0), result.output
    assert lab.ssh(lab.manager, "stat -c '%a %U' /etc/swarmhub/front.pem").strip() == "600 root"
    lab.ssh(lab.manager, "systemctl stop haproxy.service; echo '# by hand' >> /etc/haproxy/haproxy.cfg")
    predicted = site.play("site.yml", "--check")
    assert "front: /etc/haproxy/haproxy.cfg content differs" in predicted.output
    assert "front: haproxy.service not active" in predicted.output
    assert site.play("site.yml").code == 0
    assert httpx.get(f"{site.url}hub/login", verify=site.trust, timeout=10).status_code == 200


def test_the_plays_reach_the_hub_with_an_authority_of_the_sites_own(lab: Lab, site: Site) -> None:
    trusted = {"host_extra_ca_certificates": [str(site.folder / "authority.pem")]}
    arguments = ("--extra-vars", json.dumps(trusted), "--extra-vars", "text=")
    result = site.play("playbooks/announce.yml", *arguments)
    assert result.code == 0, result.output
    refused = site.play("playbooks/announce.yml", "--extra-vars", "text=")
    assert "certificate verify failed" in refused.output


def test_a_renewed_certificate_leaves_the_notebooks_websockets_alone(
    lab: Lab, site: Site, notebook: TokenSession
) -> None:
    session = site.session(TokenSession, notebook.name, lab.api_token)
    with Kernel(session, 30) as kernel:
        kernel.run("kept = 6")
        before = site.serial()
        renewed = site.renew()
        stale = site.play("playbooks/verify.yml")
        assert stale.code != 0
        # Both are told: verify.yml trusts no authority but the distribution's here.
        assert "certificate verify failed" in stale.output
        assert "shows another certificate at port 443" in " ".join(stale.output.split())
        result = site.play("site.yml")
        assert result.code == 0, result.output
        assert before != site.serial() == renewed.certificate.serial_number
        assert kernel.run("print(kept * 7)").strip() == "42"
        assert "BEGIN" not in result.output
