"""The authenticators for accounts that are kept elsewhere: by an OAuth 2 provider, or in an LDAP directory."""

from __future__ import annotations

import asyncio
import typing as t
from concurrent.futures import ThreadPoolExecutor

from jupyterhub.auth import Authenticator
from ldap3.core.exceptions import LDAPException
from ldapauthenticator import LDAPAuthenticator
from oauthenticator.generic import GenericOAuthenticator
from tornado.web import HTTPError

from swarmhub_hub.settings import PROBE_USER

#: Of their own, so that people who wait for a directory keep nothing else from being done.
_THREADS = ThreadPoolExecutor(8, thread_name_prefix="directory")


class Elsewhere(Authenticator):
    """What holds for accounts that are kept elsewhere.

    The name of the probe is nobody's, whoever has it there. Whether somebody is an administrator is decided at each
    sign-in, so that nobody inherits that from a former account of the same name.
    """

    def check_blocked_users(self, username: str, authentication: dict[str, t.Any] | None = None) -> t.Any:
        """Tell whether this name may be anybody's."""
        return username != PROBE_USER and super().check_blocked_users(username, authentication)

    def is_admin(self, handler: t.Any, authentication: dict[str, t.Any]) -> bool:  # noqa: ARG002
        """Tell whether somebody whom no group has made an administrator is one."""
        return authentication["name"] in self.admin_users


class SwarmhubOAuthenticator(Elsewhere, GenericOAuthenticator):
    """By an OAuth 2 provider."""


class SwarmhubLDAPAuthenticator(Elsewhere, LDAPAuthenticator):
    """By an LDAP directory, which the hub does not stand still for."""

    async def authenticate(self, handler: t.Any, data: dict[str, str]) -> dict[str, t.Any] | None:
        """Ask the directory, in a thread: its client blocks, for minutes when the directory is away.

        Raises:
            HTTPError: it gives no answer, or one that cannot be trusted.
        """
        asked = LDAPAuthenticator.authenticate
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(_THREADS, lambda: asyncio.run(asked(self, handler, data)))
        except LDAPException as error:
            self.log.error("The directory %s: %s", self.server_address, error)  # noqa: TRY400 - it says all
            raise HTTPError(503, "The directory gives no answer now. Try again later.") from error
