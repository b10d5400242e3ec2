"""Who may start what, and the page on which they choose."""

from __future__ import annotations

import html
import typing as t

from swarmhub_hub.settings import Profile, Settings


class ProfileError(Exception):
    """A user asked for a profile that does not exist, or that is not theirs.

    Attributes:
        status: the HTTP status that says so.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def allowed_profiles(settings: Settings, user: str, groups: t.Collection[str], admin: bool) -> list[Profile]:
    """Return the profiles that a user may start, in the order of the settings."""
    if slug := suffix_profile(settings, user):
        return [profile for profile in settings.profiles if profile.slug == slug]
    return [p for p in settings.profiles if admin or not p.groups or not set(p.groups).isdisjoint(groups)]


def suffix_profile(settings: Settings, user: str) -> str:
    """Return the slug that the suffix of a name gives (the seed's rule): alice-gpu has one, gpu has not ("")."""
    name, _, suffix = user.rpartition("-")
    return settings.suffix_profiles.get(suffix, "") if name else ""


def choose_profile(allowed: t.Sequence[Profile], settings: Settings, slug: t.Any) -> Profile:
    """Return the profile ``slug``, or the default one for an empty slug.

    Raises:
        ProfileError: it is unknown (400) or not allowed (403), or nothing is allowed (403).
    """
    if not allowed:
        raise ProfileError(403, "None of the profiles is open to you; ask an administrator to put you into a group.")
    names = ", ".join(profile.slug for profile in allowed)
    if not slug:
        return next((profile for profile in allowed if profile.default), allowed[0])
    for profile in allowed:
        if profile.slug == slug:
            return profile
    if any(profile.slug == slug for profile in settings.profiles):
        raise ProfileError(403, f"The profile '{slug}' is not open to you; you may start: {names}.")
    raise ProfileError(400, f"There is no profile '{slug}'; you may start: {names}.")


def profile_form(allowed: t.Sequence[Profile], room: t.Mapping[str, str]) -> str:
    """Return the choice as HTML; "" where there is nothing to choose, so that the start begins at once.

    Args:
        room: a sentence for each profile, by slug, about what could start now; the page keeps it up to date.
    """
    if len(allowed) < 2:
        return ""
    chosen = next((profile for profile in allowed if profile.default), allowed[0])
    return "\n".join(_choice(profile, profile is chosen, room.get(profile.slug, "")) for profile in allowed)


def _choice(profile: Profile, checked: bool, room: str) -> str:
    texts = (profile.slug, profile.display_name, profile.description, room)
    slug, name, description, words = map(html.escape, texts)
    return (
        f'<label class="form-check d-block mb-3" for="profile-{slug}">'
        f'<input class="form-check-input" type="radio" name="profile" id="profile-{slug}" value="{slug}"'
        f"{' checked' if checked else ''}> <strong>{name}</strong>"
        f'<span class="d-block text-muted">{description}</span>'
        f'<span class="d-block small" data-room="{slug}">{words}</span></label>'
    )
