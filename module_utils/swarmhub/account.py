"""A person's account in the hub, taken away with all that the hub knows of it."""

from __future__ import annotations

import typing as t

from ansible.module_utils.swarmhub.probe_session import NotFound, Session


def remove(session: Session, *, check_mode: bool) -> dict[str, t.Any]:
    """Stop the account's server, started or starting, then remove the account with its tokens.

    Returns:
        ``changed``, and whether the account ``exists``, or did.

    Raises:
        HubError: in the hub's words.
    """
    try:
        running = session.server() is not None
    except NotFound:
        return {"changed": False, "exists": False}
    if not check_mode:
        if running:
            session.stop()
        session.request("DELETE", session.api_path)
    return {"changed": True, "exists": True}
