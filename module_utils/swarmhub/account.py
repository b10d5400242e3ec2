"""A person's account in the hub, taken away with all that the hub knows of it."""

from __future__ import annotations

import typing as t
from urllib.parse import quote

from ansible.module_utils.swarmhub.probe_session import NotFound, Session


def remove(session: Session, *, check_mode: bool) -> dict[str, t.Any]:
    """Stop the account's server, started or starting, then remove the account with its tokens.

    Returns:
        ``changed``, and whether the account ``exists``, or did.

    Raises:
        HubError: in the hub's words.
    """
    path = session.api_path
    try:
        running = session.server() is not None
    except NotFound:
        # Who has signed up and never come is no user of JupyterHub yet (images/hub/swarmhub_hub/signups.py).
        running, path = False, f"hub/api/signups/{quote(session.name, safe='')}"
        try:
            session.request("GET", path)
        except NotFound:
            return {"changed": False, "exists": False}
    if not check_mode:
        if running:
            session.stop()
        session.request("DELETE", path)
    return {"changed": True, "exists": True}
