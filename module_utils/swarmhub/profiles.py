"""The list ``hub_profiles``: checked, completed, and matched against nodes.

Shape and words follow KubeSpawner's ``profile_list``; constraints are those of ``docker service create --constraint``.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Callable, Iterable, Iterator, Mapping

from ansible.module_utils.swarmhub.findings import VARIABLES_FILE, Finding, did_you_mean, render_findings

Profile = dict[str, t.Any]

KEYS = (
    "display_name", "slug", "description", "default", "spawner_override", "constraints", "gpus", "gpu_model",
    "gpu_shared", "groups",
)  # fmt: skip
OVERRIDES = ("image", "cpu_limit", "cpu_guarantee", "mem_limit", "mem_guarantee", "shm_size", "environment")
# Labels that a look at the cards sets; what the inventory says of them proves nothing.
DISCOVERED_LABELS = ("gpu_model", "gpu_count", "gpu_memory_gb", "gpu_shared")
LABEL_PREFIX = "node.labels."

SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# swarmkit's manager/constraint: a key, == or !=, a value without operators.
CONSTRAINT = re.compile(
    r"\s*(node\.(?:id|hostname|ip|role|platform\.(?:os|arch))|(?:node|engine)\.labels\.[A-Za-z0-9_.-]+)"
    r"\s*(==|!=)\s*([A-Za-z0-9:_.*()?+\[\]\\^$|/-][A-Za-z0-9:_.*()?+\[\]\\^$|/ -]*)"
)


class ProfileError(ValueError):
    """The profile list cannot be used; the message names every key that is wrong."""


def slugify(name: str) -> str:
    """Return ``name`` in lower case with every run of other characters than a-z and 0-9 as one hyphen."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")


def slug_of(profile: Mapping[str, t.Any]) -> str:
    """Return the profile's slug, made from its display name unless it is written."""
    return str(profile.get("slug") or slugify(str(profile.get("display_name", ""))))


def size_bytes(size: str | int | None) -> int:
    """Return a size such as ``512M`` or ``1.5G`` (powers of 1024, as JupyterHub has them) in bytes; 0 for none.

    Raises:
        ValueError: it is not a size.
    """
    if size is None or size == "":
        return 0
    match = SIZE.fullmatch(str(size))
    if not match or isinstance(size, bool):
        raise ValueError(f"{size!r} is not a size")
    return int(float(match[1]) * UNITS[match[2]])


def parse_constraint(text: str) -> tuple[str, bool, str]:
    """Return key, whether it must be equal, and value.

    Raises:
        ValueError: swarm would not take it.
    """
    match = CONSTRAINT.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a constraint")
    return match[1], match[2] == "==", match[3].strip()


def node_matches(constraints: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Tell whether a node with these labels satisfies the constraints, as far as an inventory can tell.

    Constraints on anything else than labels of our own (role, host name, the cards' labels) count as satisfied. Values
    compare without regard to case, and a missing label is empty, as in swarmkit's manager/constraint.
    """
    for text in constraints:
        key, equal, value = parse_constraint(text)
        label = key.removeprefix(LABEL_PREFIX)
        judged = key.startswith(LABEL_PREFIX) and label not in DISCOVERED_LABELS
        if judged and (labels.get(label, "").casefold() == value.casefold()) is not equal:
            return False
    return True


def _is_text(value: t.Any) -> bool:
    return isinstance(value, str)


def _is_count(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_cores(value: t.Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0)


def _is_size(value: t.Any) -> bool:
    try:
        size_bytes(value)
    except ValueError:
        return False
    return True


def _is_environment(value: t.Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(each, (str, int, float)) and not isinstance(each, bool) for each in value.values()
    )


def _is_constraints(value: t.Any) -> bool:
    return isinstance(value, (list, tuple)) and all(_is_text(each) and CONSTRAINT.fullmatch(each) for each in value)


Rule = tuple[Callable[[t.Any], bool], str]
FLAG: Rule = (lambda value: isinstance(value, bool), "must be true or false")
TEXT: Rule = (_is_text, "must be text; put it in quotes")
CORES: Rule = (_is_cores, "must be a number of cores above 0, such as 2 or 0.5")
BYTES: Rule = (_is_size, "must be a size such as 512M, 2G or 1.5G (K, M, G or T, in capitals, without B)")
RULES: dict[str, Rule] = {
    "display_name": TEXT,
    "slug": (lambda value: not value or bool(SLUG.fullmatch(str(value))), "must be a-z, 0-9 and hyphens, 40 at most"),
    "description": TEXT,
    "default": FLAG,
    "spawner_override": (lambda value: isinstance(value, Mapping), f"must be a mapping of {', '.join(OVERRIDES)}"),
    "constraints": (_is_constraints, "must be a list of constraints such as node.labels.calculation_type==cpu (or !=)"),
    "gpus": (_is_count, "must be a whole number of cards, 0 or more"),
    "gpu_model": TEXT,
    "gpu_shared": FLAG,
    "groups": (lambda value: isinstance(value, (list, tuple)) and all(map(_is_text, value)), "must be a list of names"),
    "image": TEXT,
    "cpu_limit": CORES,
    "cpu_guarantee": CORES,
    "mem_limit": BYTES,
    "mem_guarantee": BYTES,
    "shm_size": BYTES,
    "environment": (_is_environment, "must be a mapping of names to text; put true and false in quotes"),
}


def _finding(key: str, what: str, cure: str) -> Finding:
    return Finding(what, cure, f"hub_profiles{key}", file=VARIABLES_FILE)


def _check_keys(place: str, given: Mapping[str, t.Any], known: Iterable[str]) -> Iterator[Finding]:
    for name, value in given.items():
        if name not in known:
            yield _finding(f"{place}.{name}", "no profile has this key", did_you_mean(str(name), known))
        elif not RULES[name][0](value):
            # A value in an environment may be a secret.
            shown = "what is there" if name == "environment" else repr(value)
            yield _finding(f"{place}.{name}", f"{shown} cannot be used", f"it {RULES[name][1]}")


def _check_guarantees(place: str, override: Mapping[str, t.Any]) -> Iterator[Finding]:
    for kind, amount in (("cpu", float), ("mem", size_bytes)):
        limit, guarantee = (amount(override.get(f"{kind}_{part}") or 0) for part in ("limit", "guarantee"))
        if limit and guarantee > limit:
            what = f"guarantees more than {kind}_limit allows"
            yield _finding(f"{place}.{kind}_guarantee", what, "lower the guarantee or raise the limit")


def _check_one(index: int, profile: t.Any) -> Iterator[Finding]:
    place = f"[{index}]"
    if not isinstance(profile, Mapping):
        yield _finding(place, "is not a mapping", "write a profile as display_name: … and further keys")
        return
    found = list(_check_keys(place, profile, KEYS))
    override = profile.get("spawner_override", {})
    if isinstance(override, Mapping):
        in_override = list(_check_keys(f"{place}.spawner_override", override, OVERRIDES))
        found += in_override or _check_guarantees(f"{place}.spawner_override", override)
    yield from found
    if not profile.get("display_name"):
        yield _finding(f"{place}.display_name", "is missing", "write the name that people choose by")
    elif not slug_of(profile):
        yield _finding(f"{place}.slug", "cannot be made from the display name", "write a slug of a-z, 0-9 and hyphens")
    if profile.get("gpu_model") and not profile.get("gpus") and not profile.get("gpu_shared"):
        cure = "set gpus or gpu_shared, or drop gpu_model"
        yield _finding(f"{place}.gpu_model", "asks for a model but for no card", cure)
    if profile.get("gpu_shared") and profile.get("gpus"):
        cure = "drop gpus to share, or gpu_shared for cards of one's own"
        yield _finding(f"{place}.gpu_shared", "cannot be asked for together with gpus", cure)


def check_profiles(profiles: t.Any) -> list[Finding]:
    """Return all that is wrong with a profile list as a user wrote it."""
    if not isinstance(profiles, (list, tuple)) or not profiles:
        return [_finding("", "is empty or not a list", "write at least one profile, or nobody can start a notebook")]
    found = [finding for index, profile in enumerate(profiles) for finding in _check_one(index, profile)]
    seen: dict[str, int] = {}
    defaults = []
    for index, profile in enumerate(profiles):
        if not isinstance(profile, Mapping):
            continue
        slug = slug_of(profile)
        if slug and seen.setdefault(slug, index) != index:
            what = f"{slug!r} is the slug of hub_profiles[{seen[slug]}] as well"
            found.append(_finding(f"[{index}].slug", what, "give each profile a slug of its own"))
        if profile.get("default") is True:
            defaults.append(index)
    if len(defaults) > 1:
        what = f"so is hub_profiles[{defaults[0]}]: only one profile can be the default"
        found.append(_finding(f"[{defaults[1]}].default", what, "keep one"))
    return found


def normalise_profiles(profiles: t.Any, default_image: str) -> list[Profile]:
    """Return the profiles with every key present, unique slugs, and exactly one default (the first unless one says so).

    ``cpu_*`` are cores or ``None``; ``mem_*`` and ``shm_size`` are as written (``2G``) or ``None``; values in the
    environment are text. A profile without an image gets ``default_image``.

    Raises:
        ProfileError: with all that is wrong.
    """
    found = check_profiles(profiles)
    if found:
        raise ProfileError(render_findings(found))
    chosen = next((index for index, profile in enumerate(profiles) if profile.get("default")), 0)
    return [_normalise(profile, index == chosen, default_image) for index, profile in enumerate(profiles)]


def _normalise(profile: Mapping[str, t.Any], default: bool, default_image: str) -> Profile:
    override = profile.get("spawner_override") or {}
    return {
        "display_name": profile["display_name"],
        "slug": slug_of(profile),
        "description": profile.get("description", ""),
        "default": default,
        "spawner_override": {
            "image": override.get("image") or default_image,
            **{key: override.get(key) or None for key in OVERRIDES if key not in ("image", "environment")},
            "environment": {str(name): str(value) for name, value in override.get("environment", {}).items()},
        },
        "constraints": [
            f"{key}{'==' if equal else '!='}{value}"
            for key, equal, value in map(parse_constraint, profile.get("constraints", []))
        ],
        "gpus": profile.get("gpus", 0),
        "gpu_model": profile.get("gpu_model", ""),
        "gpu_shared": profile.get("gpu_shared", False),
        "groups": list(profile.get("groups", [])),
    }
