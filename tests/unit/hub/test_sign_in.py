"""Signing in elsewhere: with a real LDAP directory, and with a second JupyterHub as a real OAuth 2 provider."""

from __future__ import annotations

import asyncio
import datetime
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import typing as t
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from running_hub import SECRETS, Browser, Proxy, RunningHub, free_port, run_hub, run_process
from swarmhub_hub.settings import Settings, parse_settings
from swarmhub_hub.sign_in import sign_in
from tornado.web import HTTPError
from traitlets.config import Config

SUFFIX = "dc=example,dc=org"
PASSWORD = "directory-secret-5"
SEARCH_PASSWORD = "search-secret-6"
CLIENT_SECRET = "client-secret-7"
#: The administrator, a member of the team, somebody else; and who bears the probe's name.
PEOPLE = ("ada", "grace", "mallory", "swarmhub-probe")
TEAM = ("grace", "swarmhub-probe")
DIRECTORY_SECRETS = {name: SECRETS[name] for name in ("proxy_token", "cookie_secret", "crypt_key", "api_token")}


def certificate(directory: Path) -> tuple[Path, Path]:
    """Write a certificate of localhost that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    crt, pem = directory / "tls.crt", directory / "tls.key"
    crt.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    return crt, pem


def make_administrator(hub: RunningHub, browser: Browser, name: str) -> None:
    """Let the administrator of ``browser`` make somebody one, and see that it is so."""
    url = f"{hub.url}/api/users/{name}?_xsrf={browser.cookie('_xsrf')}"
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, b'{"admin": true}', headers, method="POST")
    browser.open(request, timeout=10).close()
    assert hub.api("GET", f"/users/{name}")[1]["admin"] is True


# --- LDAP -----------------------------------------------------------------------------------------------------------


class Directory(t.NamedTuple):
    """A directory that runs: its port, and the certificate to trust."""

    port: int
    certificate: Path


def entries() -> str:
    """Return the directory's content as LDIF."""
    person = "objectClass: account\nobjectClass: simpleSecurityObject\n"
    people = [f"dn: uid={name},ou=people,{SUFFIX}\n{person}uid: {name}\nuserPassword: {PASSWORD}\n" for name in PEOPLE]
    members = "".join(f"member: uid={name},ou=people,{SUFFIX}\n" for name in TEAM)
    return "\n".join(
        [
            f"dn: {SUFFIX}\nobjectClass: organization\nobjectClass: dcObject\ndc: example\no: Example\n",
            f"dn: ou=people,{SUFFIX}\nobjectClass: organizationalUnit\nou: people\n",
            f"dn: uid=search,{SUFFIX}\n{person}uid: search\nuserPassword: {SEARCH_PASSWORD}\n",
            *people,
            f"dn: cn=team,{SUFFIX}\nobjectClass: groupOfNames\ncn: team\n{members}",
        ]
    )


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    """Run Debian's slapd, which lets nobody but its search account and a person look for people."""
    slapd = shutil.which("slapd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert slapd, "slapd is not installed: apt-get install slapd"
    home = tmp_path_factory.mktemp("slapd")
    (home / "db").mkdir()
    crt, key = certificate(home)
    (home / "entries.ldif").write_text(entries())
    (home / "slapd.conf").write_text(
        "include /etc/ldap/schema/core.schema\n"
        "include /etc/ldap/schema/cosine.schema\n"
        "include /etc/ldap/schema/nis.schema\n"
        "modulepath /usr/lib/ldap\nmoduleload back_mdb\n"
        f"TLSCertificateFile {crt}\nTLSCertificateKeyFile {key}\n"
        f'database mdb\nsuffix "{SUFFIX}"\ndirectory {home}/db\n'
        "access to attrs=userPassword by anonymous auth by * none\n"
        "access to * by users read by * none\n"
    )
    port = free_port()
    config = ["-f", str(home / "slapd.conf")]
    subprocess.run([slapd, "-Tadd", *config, "-l", str(home / "entries.ldif")], check=True, timeout=30)
    with (home / "log").open("w") as log:
        command = [slapd, *config, "-h", f"ldap://localhost:{port}/", "-d", "0"]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("localhost", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (home / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield Directory(port, crt)
    finally:
        process.terminate()
        process.wait(timeout=20)


def by_template(directory: Directory) -> dict[str, t.Any]:
    return {
        "server_address": "localhost",
        "server_port": directory.port,
        "bind_dn_template": "uid={username},ou=people," + SUFFIX,
        "allowed_groups": [f"cn=team,{SUFFIX}"],
    }


def by_search(directory: Directory) -> dict[str, t.Any]:
    traits = by_template(directory) | {
        "lookup_dn_search_user": f"uid=search,{SUFFIX}",
        "user_search_base": f"ou=people,{SUFFIX}",
        "user_attribute": "uid",
    }
    del traits["bind_dn_template"]
    return traits


def elsewhere(settings: dict[str, t.Any], authenticator: str, traits: dict[str, t.Any]) -> Settings:
    return parse_settings({**settings, "admin_users": ["ada"], "authenticator": authenticator, authenticator: traits})


@pytest.fixture
def signs_in(raw: dict[str, t.Any], tmp_path: Path) -> t.Callable[..., dict[str, t.Any] | None]:
    """Ask the authenticator alone who somebody is."""
    (tmp_path / "ldap_search_password").write_text(SEARCH_PASSWORD)

    def ask(traits: dict[str, t.Any], name: str, password: str = PASSWORD) -> dict[str, t.Any] | None:
        config = Config()
        sign_in(config, elsewhere(raw, "ldap", traits), tmp_path)
        authenticator = config.JupyterHub.authenticator_class(config=config)
        data = {"username": name, "password": password}
        return t.cast("dict[str, t.Any] | None", asyncio.run(authenticator.get_authenticated_user(None, data)))

    return ask


@pytest.mark.parametrize("way", [by_template, by_search])
def test_members_of_an_allowed_group_and_administrators_sign_in(
    directory: Directory, signs_in: t.Any, monkeypatch: pytest.MonkeyPatch, way: t.Any
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(directory.certificate))
    traits = way(directory)
    found = {name: signs_in(traits, name) for name in PEOPLE}
    assert {name: who and (who["name"], who["admin"]) for name, who in found.items()} == {
        "ada": ("ada", True),
        "grace": ("grace", False),
        "mallory": None,
        "swarmhub-probe": None,
    }
    assert signs_in(traits, "grace", "wrong") is None
    assert signs_in(traits, "nobody") is None


def test_where_all_are_let_in_the_probes_name_is_still_nobodys(
    directory: Directory, signs_in: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(directory.certificate))
    traits = by_template(directory) | {"allow_all": True, "allowed_groups": []}
    assert signs_in(traits, "mallory")["admin"] is False
    assert signs_in(traits, "swarmhub-probe") is None


def test_a_directory_that_cannot_be_trusted_or_is_away_is_told_no_password(
    directory: Directory, signs_in: t.Any
) -> None:
    for traits in (by_template(directory), by_template(directory) | {"server_port": free_port()}):
        with pytest.raises(HTTPError, match="503"):
            signs_in(traits, "grace")
    assert signs_in(by_template(directory) | {"tls_strategy": "insecure"}, "grace"), "nothing but trust was missing"


def test_the_hubs_page_asks_the_directory_and_forgets_former_administrators(
    directory: Directory, tmp_path: Path
) -> None:
    settings = {"admin_users": ["ada"], "authenticator": "ldap", "ldap": by_template(directory)}
    trust = {"SSL_CERT_FILE": str(directory.certificate)}
    with run_hub(tmp_path, settings=settings, secrets=DIRECTORY_SECRETS, environment=trust) as hub:
        browser = Browser()
        assert hub.signs_in("ada", PASSWORD, browser)
        make_administrator(hub, browser, "grace")
        assert hub.api("POST", "/users/swarmhub-probe")[0] == 201, "the plays' token makes the account of the probe"
        assert {name: hub.signs_in(name, PASSWORD) for name in PEOPLE} == {
            "ada": True, "grace": True, "mallory": False, "swarmhub-probe": False,
        }  # fmt: skip
        assert not hub.signs_in("ada", SECRETS["admin_password"])
        assert hub.api("GET", "/users/ada")[1]["admin"] is True
        assert hub.api("GET", "/users/grace")[1]["admin"] is False
        assert PASSWORD not in hub.log.read_text()


# --- OAuth 2 --------------------------------------------------------------------------------------------------------

PROVIDER = """
c.JupyterHub.bind_url = c.JupyterHub.hub_bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.cookie_secret = bytes(32)
c.JupyterHub.db_url = "sqlite:///provider.sqlite"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allow_all = True
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = {proxy!r}
c.ConfigurableHTTPProxy.auth_token = {proxy_token!r}
c.JupyterHub.load_groups = {{"team": {{"users": {team!r}}}}}
c.JupyterHub.services = [{{
    "name": "swarmhub", "oauth_client_id": "service-swarmhub", "api_token": {secret!r}, "oauth_no_confirm": True,
    "oauth_redirect_uri": "{hub}/oauth_callback", "oauth_client_allowed_scopes": ["read:users!user"],
}}]
c.JupyterHub.load_roles = [{{"name": "user", "scopes": ["self", "access:services!service=swarmhub"]}}]
"""


@pytest.fixture(scope="module")
def provider_and_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, RunningHub]]:
    """Run a provider, and a hub that sends people there; by another name, since cookies know no ports."""
    home, port, hub_port, proxy = tmp_path_factory.mktemp("provider"), free_port(), free_port(), Proxy()
    url = f"http://localhost:{port}/hub"
    (home / "config.py").write_text(
        PROVIDER.format(
            port=port, password=PASSWORD, proxy=f"http://127.0.0.1:{proxy.server_address[1]}", team=list(TEAM),
            proxy_token=SECRETS["proxy_token"], secret=CLIENT_SECRET, hub=f"http://127.0.0.1:{hub_port}/hub",
        )
    )  # fmt: skip
    traits = {
        "client_id": "service-swarmhub",
        "authorize_url": f"{url}/api/oauth2/authorize",
        "token_url": f"{url}/api/oauth2/token",
        "userdata_url": f"{url}/api/user",
        "username_claim": "name",
        "auth_state_groups_key": "oauth_user.groups",
        "allowed_groups": ["team"],
        "login_service": "the site's door",
    }
    settings = {"admin_users": ["ada"], "authenticator": "oauth", "oauth": traits}
    secrets = {**DIRECTORY_SECRETS, "oauth_client_secret": CLIENT_SECRET}
    command = [sys.executable, "-m", "jupyterhub", "-f", str(home / "config.py")]
    with (
        run_process(command, home, f"{url}/health", os.environ),
        run_hub(tmp_path_factory.mktemp("hub"), settings=settings, secrets=secrets, port=hub_port) as hub,
    ):
        yield url, hub
    proxy.shutdown()


def signs_in_there(provider_and_hub: tuple[str, RunningHub], name: str, browser: Browser | None = None) -> str:
    """Go through the provider's door as a browser does; return the hub's own words for who that is, "" for nobody."""
    provider, hub = provider_and_hub
    browser = browser or Browser()
    with browser.open(f"{hub.url}/oauth_login?next=%2Fhub%2Fhome", timeout=20) as answer:
        door, page = answer.url, answer.read().decode()
    assert door.startswith(provider), door
    (xsrf,) = re.findall(r'name="_xsrf"\s+value="([^"]+)"', page)
    form = {"username": name, "password": PASSWORD, "_xsrf": xsrf}
    try:
        with browser.open(door, urllib.parse.urlencode(form).encode(), timeout=20) as answer:
            assert answer.url.startswith(hub.url), answer.url
            (user,) = re.findall(r'user: "([^"]*)"', answer.read().decode())
            return t.cast(str, user)
    except urllib.error.HTTPError as error:
        if error.code != 403 or not error.url.startswith(hub.url):
            raise
        return ""


def test_the_page_names_the_provider(provider_and_hub: tuple[str, RunningHub]) -> None:
    page = Browser().open(f"{provider_and_hub[1].url}/login", timeout=10).read().decode()
    assert "Sign in with the site&#39;s door" in page
    assert 'type="password"' not in page


def test_the_providers_groups_let_people_in_and_are_the_hubs(provider_and_hub: tuple[str, RunningHub]) -> None:
    _, hub = provider_and_hub
    browser = Browser()
    assert signs_in_there(provider_and_hub, "ada", browser) == "ada"
    make_administrator(hub, browser, "grace")
    assert {name: signs_in_there(provider_and_hub, name) for name in PEOPLE} == {
        "ada": "ada", "grace": "grace", "mallory": "", "swarmhub-probe": "",
    }  # fmt: skip
    grace, ada = (hub.api("GET", f"/users/{name}")[1] for name in ("grace", "ada"))
    assert (grace["groups"], grace["admin"]) == (["team"], False)
    assert (ada["groups"], ada["admin"]) == ([], True)


def test_the_probes_account_can_be_used_by_token_alone(provider_and_hub: tuple[str, RunningHub]) -> None:
    _, hub = provider_and_hub
    assert hub.api("POST", "/users/swarmhub-probe")[0] == 201
    assert hub.api("POST", "/users/swarmhub-probe/server", {"profile": "nope"})[0] == 400
    assert CLIENT_SECRET not in hub.log.read_text()
