"""Who may sign in to the hub: what is wrong with what the user wrote about it, and how the hub is told."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator, Mapping

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.module_utils.swarmhub.findings import VARIABLES_FILE, Finding

if t.TYPE_CHECKING:
    from ansible.module_utils.swarmhub.inventory import Inventory

Block = Mapping[str, t.Any]

AUTHENTICATORS = ("native", "oauth", "ldap")
#: Traits that are numbers, and those that are true or false; Ansible takes text for both.
NUMBERS = ("minimum_password_length", "allowed_failed_logins", "seconds_before_next_try", "server_port")
FLAGS = ("enable_signup", "open_signup", "check_common_password", "allow_all")
SECRETS = {"oauth": "hub_oauth_client_secret", "ldap": "hub_ldap_search_password"}


def hub_settings(authenticator: str, block: Block) -> dict[str, t.Any]:
    """Return hub.json's part about signing in; ``block`` is the authenticator's."""
    traits = {
        name: int(value) if name in NUMBERS else boolean(value) if name in FLAGS else value
        for name, value in block.items()
        if value is not None
    }
    return {"authenticator": authenticator, authenticator: traits}


def check_settings(inventory: Inventory) -> Iterator[Finding]:
    """An authenticator that lacks something, or that lets nobody in, or everybody."""
    settings, mode = inventory.settings, inventory.settings["hub_authenticator"]
    if "hub_authenticator" in inventory.judged:
        return
    for other in AUTHENTICATORS:
        if other != mode and settings[f"hub_{other}"]:
            cure = f"set hub_authenticator: {other}, or drop it"
            yield _finding(f"is given, and people sign in by {mode}", cure, f"hub_{other}")
    key, block = f"hub_{mode}", settings[f"hub_{mode}"]
    if key in inventory.judged:
        return
    for name in NUMBERS:
        if int(block.get(name) or 0) < 0:
            yield _finding(f"is {block[name]}, which makes no sense", "write 0 or more", f"{key}.{name}")
    if mode == "native":
        return
    if not block:
        yield _finding(f"is missing, and people sign in by {mode}", "describe it", key)
        return
    if not any("hub_admin_users" in variables for variables in inventory.hosts.values()):
        what = "is missing: whoever is called admin there would administer the hub"
        yield _finding(what, "name the administrators as they are called there", "hub_admin_users")
    yield from _check_secret(mode, block, settings)
    allowed, everybody = block.get("allowed_groups"), boolean(block.get("allow_all") or False)
    place = f"{key}.allowed_groups"
    if everybody and allowed:
        yield _finding("keeps nobody out, since allow_all is true", "drop one of them", place)
    elif not everybody and not allowed:
        cure = "name groups, or write allow_all: true"
        yield _finding("is empty, and nobody but administrators could sign in", cure, place)
    yield from _check_oauth(block) if mode == "oauth" else _check_ldap(block)


def _check_secret(mode: str, block: Block, settings: Block) -> Iterator[Finding]:
    key, given = SECRETS[mode], settings[SECRETS[mode]]
    needed = mode == "oauth" or bool(block.get("lookup_dn_search_user"))
    if needed and not given:
        yield _finding("is missing", "write it, in a vault", key)
    if given and not needed:
        yield _finding("belongs to hub_ldap.lookup_dn_search_user, which is empty", "drop it, or name the account", key)


def _check_oauth(block: Block) -> Iterator[Finding]:
    for name in ("allowed_groups", "admin_groups"):
        if block.get(name) and not block.get("auth_state_groups_key"):
            cure = "say where the provider tells the groups, such as auth_state_groups_key: oauth_user.groups"
            yield _finding("needs auth_state_groups_key", cure, f"hub_oauth.{name}")


def _check_ldap(block: Block) -> Iterator[Finding]:
    key, template = "hub_ldap.bind_dn_template", block.get("bind_dn_template")
    search = [block.get(name) for name in ("user_search_base", "user_attribute")]
    if template and any(search):
        yield _finding("says who somebody is, and so do user_search_base and user_attribute", "drop one way", key)
    elif not template and not all(search):
        yield _finding("is missing", "write it, or user_search_base and user_attribute", key)
    elif template and "{username}" not in template:
        yield _finding("has no {username} in it", "write it where the name belongs", key)


def _finding(what: str, cure: str, key: str) -> Finding:
    return Finding(what, cure, key, file=VARIABLES_FILE)
