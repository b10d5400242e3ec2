"""Who may start what."""

from __future__ import annotations

import dataclasses

import pytest
from swarmhub_hub.profiles import ProfileError, allowed_profiles, choose_profile, profile_form
from swarmhub_hub.settings import Settings, SettingsError, Signup, check_settings


def test_groups_decide_and_an_administrator_has_all(settings: Settings) -> None:
    def slugs(groups: set[str], admin: bool) -> list[str]:
        return [profile.slug for profile in allowed_profiles(settings, "alice", groups, admin)]

    assert slugs(set(), False) == ["cpu"]
    assert slugs({"gpu-users"}, False) == ["cpu", "gpu"]
    assert slugs(set(), True) == ["cpu", "gpu"]


def test_a_suffix_chooses_for_who_has_one_and_for_nobody_else(settings: Settings) -> None:
    settings = dataclasses.replace(settings, suffix_profiles={"jetson": "gpu"})

    def slugs(user: str, *groups: str) -> list[str]:
        return [profile.slug for profile in allowed_profiles(settings, user, groups, admin=False)]

    assert slugs("alice-jetson") == ["gpu"]
    assert (slugs("alice"), slugs("jetson"), slugs("alice", "gpu-users")) == (["cpu"], ["cpu"], ["cpu", "gpu"])


def test_q_no_suffix_brings_cards_where_people_approve_themselves(settings: Settings) -> None:
    settings = dataclasses.replace(settings, suffix_profiles={"jetson": "gpu"}, signup=Signup(open=True))
    with pytest.raises(SettingsError, match=r"suffix_profiles\.jetson: gives cards to whoever signs in as NAME-jetson"):
        check_settings(settings)
    everybodys = dataclasses.replace(settings.profiles[1], groups=())
    check_settings(dataclasses.replace(settings, profiles=(settings.profiles[0], everybodys)))
    check_settings(dataclasses.replace(settings, suffix_profiles={"small": "cpu"}))


def test_the_default_is_taken_unless_another_is_asked_for(settings: Settings) -> None:
    assert choose_profile(settings.profiles, settings, None).slug == "cpu"
    assert choose_profile(settings.profiles, settings, "gpu").slug == "gpu"
    assert choose_profile(settings.profiles[1:], settings, "").slug == "gpu"


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [("gpu", 403, "not open to you"), ("tpu", 400, "There is no profile 'tpu'; you may start: cpu.")],
)
def test_what_cannot_be_had_is_refused(settings: Settings, asked: str, status: int, words: str) -> None:
    with pytest.raises(ProfileError, match=words) as caught:
        choose_profile(settings.profiles[:1], settings, asked)
    assert caught.value.status == status


def test_nothing_allowed(settings: Settings) -> None:
    with pytest.raises(ProfileError, match="ask an administrator"):
        choose_profile([], settings, None)


def test_the_form_escapes_and_checks_the_default(settings: Settings) -> None:
    form = profile_form(settings.profiles, {"cpu": "2 < 3"})
    assert "CPU &lt;small&gt;" in form
    assert form.count("checked") == 1
    assert 'value="cpu" checked' in form
    assert "2 &lt; 3" in form


def test_one_profile_needs_no_form(settings: Settings) -> None:
    assert profile_form(settings.profiles[:1], {}) == ""
