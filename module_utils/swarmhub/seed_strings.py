"""The profile list in the words of the seed's hub image, ``SPAWNER_*`` strings, as far as that grammar can say it.

In that image the default profile is everybody's, and another profile belongs to those whose name ends in ``-<slug>``:
``SPAWNER_CONSTRAINT_IMAGES`` is ``slug:constraint,constraint->image;…`` and ``SPAWNER_CONSTRAINT_WITH_GPUS`` is
``slug->count;…``. Limits and environment are the same for all.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ansible.module_utils.swarmhub.findings import VARIABLES_FILE, Finding, render_findings
from ansible.module_utils.swarmhub.profiles import ProfileError

Profile = Mapping[str, t.Any]

LIMITS = {
    "cpu_limit": "SPAWNER_CPU_LIMIT",
    "cpu_guarantee": "SPAWNER_CPU_GUARANTEE",
    "mem_limit": "SPAWNER_MEM_LIMIT",
    "mem_guarantee": "SPAWNER_MEM_GUARANTEE",
}
SEPARATORS = (":", ";", ",", "->")


def constraints_of(profile: Profile) -> list[str]:
    """Return the constraints, that of the card's model among them."""
    model = profile["gpu_model"]
    return [*profile["constraints"], *([f"node.labels.gpu_model=={model}"] if model else [])]


def _separator(text: str, separators: Iterable[str] = SEPARATORS) -> str:
    return next((separator for separator in separators if separator in text), "")


def _unsayable(place: str, profile: Profile, default: Profile) -> Iterator[tuple[str, str]]:
    """Yield key and reason of what the grammar cannot say of one profile."""
    override = profile["spawner_override"]
    for constraint in constraints_of(profile):
        if separator := _separator(constraint):
            yield f"{place}.constraints", f"{constraint!r} has a {separator!r} in it, which ends a constraint there"
    if separator := _separator(override["image"], (";", "->")):
        yield f"{place}.spawner_override.image", f"has a {separator!r} in it, which ends an image there"
    if profile["groups"]:
        yield f"{place}.groups", "there a profile is chosen by the user's name alone"
    if profile.get("gpu_shared"):
        yield f"{place}.gpu_shared", "there no card is shared"
    if override["shm_size"]:
        yield f"{place}.spawner_override.shm_size", "there is no such setting there"
    if profile is not default:
        yield from _unsayable_of_suffix(place, profile, default)
        return
    for name, value in override["environment"].items():
        if separator := _separator(f"{name}{value}", (":", ";")):
            yield f"{place}.spawner_override.environment.{name}", f"has a {separator!r} in it, which ends a value there"


def _unsayable_of_suffix(place: str, profile: Profile, default: Profile) -> Iterator[tuple[str, str]]:
    if "-" in profile["slug"]:
        yield f"{place}.slug", "there only what follows the last hyphen of a user's name is looked at"
    if not constraints_of(profile):
        yield f"{place}.constraints", "there a profile without a constraint is ignored"
    if default["gpus"] and not profile["gpus"]:
        yield f"{place}.gpus", "there the default profile's cards are everybody's"
    for key in (*LIMITS, "environment"):
        if profile["spawner_override"][key] != default["spawner_override"][key]:
            yield f"{place}.spawner_override.{key}", "differs from the default profile's, and there it is one for all"


def seed_strings(profiles: Sequence[Profile]) -> dict[str, str]:
    """Return the seed image's variables for normalised profiles (see profiles.normalise_profiles).

    Raises:
        ProfileError: with all that the grammar cannot say.
    """
    default = next(profile for profile in profiles if profile["default"])
    others = [profile for profile in profiles if profile is not default]
    found = [
        Finding(f"the seed image's grammar cannot say it: {reason}", "change it, or use this project's own image",
                f"hub_profiles{key}", file=VARIABLES_FILE)
        for index, profile in enumerate(profiles)
        for key, reason in _unsayable(f"[{index}]", profile, default)
    ]  # fmt: skip
    if found:
        raise ProfileError(render_findings(found))
    override = default["spawner_override"]
    strings = {
        "SPAWNER_NOTEBOOK_IMAGE": override["image"],
        "SPAWNER_CONSTRAINTS": ",".join(constraints_of(default)),
        "SPAWNER_USE_GPUS": str(default["gpus"] or ""),
        "SPAWNER_ENVIRONMENT": ";".join(f"{name}:{value}" for name, value in override["environment"].items()),
        "SPAWNER_CONSTRAINT_IMAGES": ";".join(
            f"{profile['slug']}:{','.join(constraints_of(profile))}->{profile['spawner_override']['image']}"
            for profile in others
        ),
        "SPAWNER_CONSTRAINT_WITH_GPUS": ";".join(
            f"{profile['slug']}->{profile['gpus']}" for profile in others if profile["gpus"]
        ),
        **{variable: str(override[key] or "") for key, variable in LIMITS.items()},
    }
    return {variable: text for variable, text in strings.items() if text}
