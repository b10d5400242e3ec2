"""The end of a start that somebody calls off, from the pending page or the administrators' one.

DELETE /hub/api/users/NAME/server    as JupyterHub has it, which gives a start one second to end, and then fails
"""

from __future__ import annotations

import asyncio

from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.scopes import needs_scope

#: Seconds that a start may take to remove what it has made.
PATIENCE = 30


class ServerHandler(UserServerAPIHandler):
    """See the module."""

    @needs_scope("delete:servers")
    async def delete(self, user_name: str, server_name: str = "") -> None:
        """Wait for the end of a start that is under way, and then do as JupyterHub does."""
        user = self.find_user(user_name)
        if user and server_name in user.spawners:
            spawner = user.spawners[server_name]
            start = spawner._spawn_future
            if start and spawner.pending == "spawn":
                self.log.info("Cancelling the start of %s", spawner._log_name)
                start.cancel()
                await asyncio.wait([start], timeout=PATIENCE)
                if start.done():
                    spawner._spawn_future = None  # else the next page tells of a failure
        await super().delete(user_name, server_name)
