"""Accounts of the hub's own that nobody has come with, for playbooks/offboard.yml; JupyterHub knows none of them.

GET    /hub/api/signups/NAME    404 where there is none
DELETE /hub/api/signups/NAME    forgets it, whether it was let in or not
"""

from __future__ import annotations

import json

from jupyterhub import orm
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.orm import UserInfo
from tornado import web

from swarmhub_hub.scoped import ScopedHandler
from swarmhub_hub.spawner import SwarmhubSpawner


class SignupHandler(ScopedHandler):
    """See the module."""

    scope = "admin:users"

    def get(self, name: str) -> None:
        """Tell whether an administrator has let it in."""
        self.write(json.dumps({"name": name, "authorized": bool(self._account(name).is_authorized)}))

    def delete(self, name: str) -> None:
        """Forget it."""
        self.db.delete(self._account(name))
        self.db.commit()
        SwarmhubSpawner.announcements.forget_user(name)
        self.log.info("The account %s, which nobody had signed in with, is gone", name)
        self.set_status(204)

    def _account(self, name: str) -> UserInfo:
        if orm.User.find(self.db, name):
            raise web.HTTPError(409, f"{name} has signed in, and is removed as a user.")
        account = isinstance(self.authenticator, NativeAuthenticator) and UserInfo.find(self.db, name)
        if not account:
            raise web.HTTPError(404)
        return account
