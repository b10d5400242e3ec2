"""An announcement on the pages of a hub of ours, settled through its API (images/hub, swarmhub_hub.announcements)."""

from __future__ import annotations

import datetime
import typing as t
from urllib.parse import quote

from ansible.module_utils.swarmhub.probe_session import HubError, Session

Json = dict[str, t.Any]


def settle(session: Session, wanted: t.Mapping[str, t.Any], *, check_mode: bool = False) -> Json:
    """Let the hub say it, or say it no more.

    Args:
        wanted: the arguments of module ``hub_announcement``.

    Returns:
        What module ``hub_announcement`` documents.

    Raises:
        HubError: the hub refused, in its own words, or gave no answer.
        ValueError: ``ends_at`` is no time.
    """
    name = wanted["name"]
    path = f"hub/api/announcements/{quote(name, safe='')}"
    try:
        answer = session.request("GET", "hub/api/announcements")
    except HubError as error:
        raise HubError(
            f"{error}; a hub that announces nothing runs an older image, or not ours: run site.yml"
        ) from error
    said = {each["name"]: each for each in answer.json()}
    before, after = said.get(name), None
    if wanted["state"] == "present":
        after = {"name": name, "until": None, **{key: wanted[key] for key in ("text", "users", "maintenance")}}
        after["until"] = _instant(wanted["ends_at"])
    if before:
        before["until"] = _instant(before["until"])
    changed = before != after
    if changed and not check_mode:
        if after:
            session.request("PUT", path, json={key: value for key, value in after.items() if key != "name"})
        else:
            session.request("DELETE", path)
    return {"changed": changed, "announcement": after, "diff": {"before": before or {}, "after": after or {}}}


def _instant(text: str | None) -> str | None:
    """Return a time of ISO 8601 in UTC; one without a zone is UTC."""
    if not text:
        return None
    try:
        time = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ValueError(f"ends_at: is {text!r}; write a time such as 2026-01-31T18:00:00Z") from error
    if time.tzinfo is None:
        time = time.replace(tzinfo=datetime.timezone.utc)
    return time.astimezone(datetime.timezone.utc).isoformat()
