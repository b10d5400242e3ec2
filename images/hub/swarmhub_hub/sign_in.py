"""Who may sign in, and how: accounts of the hub's own, an OAuth 2 provider, or an LDAP directory."""

from __future__ import annotations

import logging
import ssl
import typing as t
from pathlib import Path

from swarmhub_hub import seed
from swarmhub_hub.accounts import SwarmhubAuthenticator
from swarmhub_hub.secret_files import need_secret, read_secret
from swarmhub_hub.settings import PROBE_USER, Settings


def sign_in(c: t.Any, settings: Settings, secrets_dir: Path | None) -> None:
    """Fill in who may sign in.

    Raises:
        SettingsError: a secret is missing or empty.
    """
    {"native": _native, "oauth": _oauth, "ldap": _ldap}[settings.authenticator](c, settings, secrets_dir)
    if "auth_state_groups_key" not in settings.authenticator_traits:
        named = [each.groups for each in settings.profiles] + [each.groups for each in settings.homes.shared_folders]
        limited = (settings.group_gpu_limits, settings.group_gpu_hours, settings.group_server_limits)
        groups = set().union(*named, *limited)
        c.JupyterHub.load_groups = {group: {"users": []} for group in sorted(groups)}


def _native(c: t.Any, settings: Settings, secrets_dir: Path | None) -> None:
    admin = settings.admin_users[0]
    password = read_secret("admin_password", secrets_dir)
    if settings.cookie_secret_file and not password:
        path = Path(settings.cookie_secret_file).with_name("admin_password")
        password = seed.first_password(path)
        logging.getLogger(__name__).warning("%s's first password is in %s of this container", admin, path)
    passwords = {
        admin: password,
        PROBE_USER: read_secret("probe_password", secrets_dir),
    }
    if not passwords[admin]:
        logging.getLogger(__name__).warning(
            "There is no secret admin_password: %s can sign in only with an account that exists already",
            admin,
        )
    c.JupyterHub.authenticator_class = SwarmhubAuthenticator
    auth = c.SwarmhubAuthenticator
    auth.accounts = {name: password for name, password in passwords.items() if password}
    auth.kept_in_step = {PROBE_USER}
    auth.approved_suffixes = set(settings.suffix_profiles)
    auth.admin_users = set(settings.admin_users)
    # Who may sign in is decided by an account's approval.
    auth.allow_all = True
    auth.allowed_users = set(auth.accounts)
    auth.enable_signup = settings.signup.enabled
    auth.open_signup = settings.signup.open
    auth.minimum_password_length = settings.signup.minimum_password_length
    auth.check_common_password = settings.signup.check_common_password
    auth.allowed_failed_logins = settings.signup.allowed_failed_logins
    auth.seconds_before_next_try = settings.signup.seconds_before_next_try


def _oauth(c: t.Any, settings: Settings, secrets_dir: Path | None) -> None:
    # Imported where it is used: it takes memory that other hubs do without.
    from swarmhub_hub.elsewhere import SwarmhubOAuthenticator

    c.JupyterHub.authenticator_class = SwarmhubOAuthenticator
    auth = c.SwarmhubOAuthenticator
    _elsewhere(auth, settings)
    # The provider's groups are the hub's, as they were at the last sign-in.
    auth.manage_groups = "auth_state_groups_key" in settings.authenticator_traits
    auth.client_secret = need_secret("oauth_client_secret", secrets_dir)


def _ldap(c: t.Any, settings: Settings, secrets_dir: Path | None) -> None:
    from swarmhub_hub.elsewhere import SwarmhubLDAPAuthenticator

    c.JupyterHub.authenticator_class = SwarmhubLDAPAuthenticator
    auth = c.SwarmhubLDAPAuthenticator
    _elsewhere(auth, settings)
    # Left alone, ldap3 takes every certificate.
    auth.tls_kwargs = {"validate": ssl.CERT_REQUIRED}
    if "bind_dn_template" not in settings.authenticator_traits:
        auth.lookup_dn = True
        auth.lookup_dn_user_dn_attribute = settings.authenticator_traits["user_attribute"]
    if "lookup_dn_search_user" in settings.authenticator_traits:
        auth.lookup_dn_search_password = need_secret("ldap_search_password", secrets_dir)


def _elsewhere(auth: t.Any, settings: Settings) -> None:
    for name, value in settings.authenticator_traits.items():
        auth[name] = value
    auth.admin_users = auth.allowed_users = set(settings.admin_users)
    # Having been here is no reason to be let in.
    auth.allow_existing_users = False
