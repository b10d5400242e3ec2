"""What may be said of an authenticator other than Native, in the words of its own traits.

A block is oauth's (GenericOAuthenticator) or ldap's (LDAPAuthenticator). Its secret is none of it: that is a file in
/run/secrets.
"""

from __future__ import annotations

import typing as t

#: Kinds of a trait: a text, a list of texts, true or false, a whole number.
TRAITS: t.Mapping[str, t.Mapping[str, str]] = {
    "oauth": {
        "client_id": "text",
        "authorize_url": "text",
        "token_url": "text",
        "userdata_url": "text",
        "username_claim": "text",
        "scope": "texts",
        "login_service": "text",
        "auth_state_groups_key": "text",
        "allow_all": "flag",
        "allowed_groups": "texts",
        "admin_groups": "texts",
    },
    "ldap": {
        "server_address": "text",
        "server_port": "whole",
        "tls_strategy": "text",
        "bind_dn_template": "text",
        "user_search_base": "text",
        "user_attribute": "text",
        "lookup_dn_search_user": "text",
        "allow_all": "flag",
        "allowed_groups": "texts",
        "group_search_filter": "text",
        "group_attributes": "texts",
    },
}
REQUIRED: t.Mapping[str, tuple[str, ...]] = {
    "oauth": ("client_id", "authorize_url", "token_url", "userdata_url", "username_claim"),
    "ldap": ("server_address",),
}
TLS_STRATEGIES = ("before_bind", "on_connect", "insecure")


def fault(authenticator: str, traits: t.Mapping[str, t.Any]) -> str:
    """Return why the traits of a block do not fit together, with the key in front; "" when they do."""
    if missing := [name for name in REQUIRED[authenticator] if name not in traits]:
        return f"{missing[0]}: is missing"
    if not traits.get("allow_all") and not traits.get("allowed_groups"):
        return "allowed_groups: is empty, and nobody but administrators could sign in; name groups, or allow_all: true"
    if traits.get("allow_all") and traits.get("allowed_groups"):
        return "allowed_groups: keeps nobody out, since allow_all is true; drop one of them"
    return _oauth_fault(traits) if authenticator == "oauth" else _ldap_fault(traits)


def _oauth_fault(traits: t.Mapping[str, t.Any]) -> str:
    for name in ("allowed_groups", "admin_groups"):
        if traits.get(name) and "auth_state_groups_key" not in traits:
            return f"{name}: needs auth_state_groups_key, which says where the provider tells the groups"
    return ""


def _ldap_fault(traits: t.Mapping[str, t.Any]) -> str:
    if traits.get("tls_strategy", TLS_STRATEGIES[0]) not in TLS_STRATEGIES:
        return f"tls_strategy: is {traits['tls_strategy']!r}; write one of {', '.join(TLS_STRATEGIES)}"
    template, search = traits.get("bind_dn_template", ""), [traits.get(name) for name in _SEARCH]
    if template and any(search):
        return "bind_dn_template: says who somebody is, and so do user_search_base and user_attribute; drop one way"
    if not template and not all(search):
        return "bind_dn_template: is missing; write it, or user_search_base and user_attribute"
    if template and "{username}" not in template:
        return "bind_dn_template: has no {username} in it"
    return ""


_SEARCH = ("user_search_base", "user_attribute")
