"""Accounts of the hub's own that nobody has come with, for playbooks/offboard.yml; JupyterHub knows none of them.

GET    /hub/api/signups/NAME    404 where there is none
DELETE /hub/api/signups/NAME    forgets it, whether it was let in or not
"""

from __future__ import annotations

import json

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.orm import UserInfo
from tornado import web

SCOPE = "admin:users"


class SignupHandler(APIHandler):
    """See the module."""

    async def prepare(self) -> None:
        """Let nobody in who may not remove users."""
        await super().prepare()
        if SCOPE not in self.expanded_scopes:
            raise web.HTTPError(403, f"The scope {SCOPE} is needed.")

    def get(self, name: str) -> None:
        """Tell whether an administrator has let it in."""
        self.write(json.dumps({"name": name, "authorized": bool(self._account(name).is_authorized)}))

    def delete(self, name: str) -> None:
        """Forget it."""
        self.db.delete(self._account(name))
        self.db.commit()
        self.log.info("The account %s, which nobody had signed in with, is gone", name)
        self.set_status(204)

    def _account(self, name: str) -> UserInfo:
        if orm.User.find(self.db, name):
            raise web.HTTPError(409, f"{name} has signed in, and is removed as a user.")
        account = isinstance(self.authenticator, NativeAuthenticator) and UserInfo.find(self.db, name)
        if not account:
            raise web.HTTPError(404)
        return account
