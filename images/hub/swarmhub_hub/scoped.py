"""Our parts of the REST API that need a scope of JupyterHub's."""

from __future__ import annotations

import typing as t

from jupyterhub.apihandlers.base import APIHandler
from tornado import web


class ScopedHandler(APIHandler):
    """Answers those who have ``scope`` without a filter."""

    scope: t.ClassVar[str]

    async def prepare(self) -> None:
        """Let nobody else in."""
        await super().prepare()
        if self.scope not in self.expanded_scopes:
            raise web.HTTPError(403, f"The scope {self.scope} is needed.")
