"""What is wrong with how people are to sign in."""

from __future__ import annotations

from typing import Any

import pytest
from test_inventory import findings, only

OAUTH = {
    "client_id": "hub",
    "authorize_url": "https://id/authorize",
    "token_url": "https://id/token",
    "userdata_url": "https://id/user",
    "username_claim": "preferred_username",
    "allow_all": True,
}
LDAP = {"server_address": "ldap", "bind_dn_template": "uid={username},dc=x", "allow_all": True}
RIGHT: dict[str, dict[str, Any]] = {
    "native": {"hub_native": {"open_signup": True, "minimum_password_length": 12}},
    "oauth": {"hub_oauth": OAUTH, "hub_oauth_client_secret": "s", "hub_admin_users": ["ada"]},
    "ldap": {"hub_ldap": LDAP, "hub_admin_users": ["ada"]},
}
SEARCH = {"bind_dn_template": None, "user_search_base": "dc=x", "user_attribute": "uid"}


def wrong(authenticator: str, block: dict[str, Any] | None = None, **variables: Any) -> Any:
    """Return what is found where this authenticator is described rightly but for ``block`` and ``variables``."""
    key = f"hub_{authenticator}"
    described = {**RIGHT[authenticator], **variables}
    described[key] = {name: each for name, each in {**described[key], **(block or {})}.items() if each is not None}
    return findings(hub_authenticator=authenticator, **described)


@pytest.mark.parametrize("authenticator", RIGHT)
def test_what_is_right(authenticator: str) -> None:
    assert wrong(authenticator) == []


def test_a_search_for_people_is_right() -> None:
    assert wrong("ldap", SEARCH) == []
    account = {**SEARCH, "lookup_dn_search_user": "cn=hub,dc=x"}
    assert wrong("ldap", account, hub_ldap_search_password="p") == []


@pytest.mark.parametrize(
    ("authenticator", "block", "key", "words"),
    [
        ("native", {"minimum_password_length": -1}, "hub_native.minimum_password_length", "makes no sense"),
        ("native", {"open": True}, "hub_native", "open"),
        ("native", {"enable_signup": "perhaps"}, "hub_native", "enable_signup"),
        ("oauth", {"username_claim": None}, "hub_oauth", "username_claim"),
        ("oauth", {"client_secret": "x"}, "hub_oauth", "client_secret"),
        ("oauth", {"allow_all": None}, "hub_oauth.allowed_groups", "nobody but administrators"),
        ("oauth", {"admin_groups": ["a"]}, "hub_oauth.admin_groups", "needs auth_state_groups_key"),
        ("ldap", {"allowed_groups": ["cn=team"]}, "hub_ldap.allowed_groups", "keeps nobody out"),
        ("ldap", {"tls_strategy": "never"}, "hub_ldap", "before_bind"),
        ("ldap", {"bind_dn_template": None}, "hub_ldap.bind_dn_template", "is missing"),
        ("ldap", {"bind_dn_template": "uid=x"}, "hub_ldap.bind_dn_template", "no {username}"),
        ("ldap", {"user_attribute": "uid"}, "hub_ldap.bind_dn_template", "and so do"),
        ("ldap", {**SEARCH, "lookup_dn_search_user": "cn=hub"}, "hub_ldap_search_password", "is missing"),
    ],
)
def test_what_is_wrong_is_named(authenticator: str, block: dict[str, Any], key: str, words: str) -> None:
    finding = only(wrong(authenticator, block))
    assert finding.key == key
    assert words in finding.what


@pytest.mark.parametrize(
    ("authenticator", "variables", "key"),
    [
        ("oauth", {"hub_oauth_client_secret": ""}, "hub_oauth_client_secret"),
        ("ldap", {"hub_ldap_search_password": "p"}, "hub_ldap_search_password"),
        ("ldap", {"hub_admin_users": ...}, "hub_admin_users"),
        ("native", {"hub_ldap": LDAP}, "hub_ldap"),
    ],
)
def test_what_does_not_go_together(authenticator: str, variables: dict[str, Any], key: str) -> None:
    assert only(wrong(authenticator, **variables)).key == key


def test_an_authenticator_that_is_not_described_or_not_known() -> None:
    assert only(findings(hub_authenticator="ldap")).key == "hub_ldap"
    assert only(findings(hub_authenticator="pam")).key == "hub_authenticator"
