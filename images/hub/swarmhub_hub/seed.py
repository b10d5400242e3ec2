"""The variables of hsz1273327/jupyterhub-for-swarm, so that this image can take that one's place in a stack file.

The grammar is that image's, with its GPU variables, which its last version dropped. Mended: rules leak into nobody
else's start, a suffix without constraints counts, a rule keeps preferences and platforms, values may hold colons, cifs
is cifs, "gpu" is no user with the suffix "gpu", and such names are never approved unasked.
"""

from __future__ import annotations

import dataclasses
import typing as t

from swarmhub_hub.settings import (
    Homes,
    Profile,
    Settings,
    SettingsError,
    Signup,
    check_settings,
    parse_bytes,
    parse_cores,
)

_NFS_OPTIONS = {"nfs3": "rw,vers=3,nolock,soft", "nfs4": "rw,nfsvers=4,async", "cifs": "file_mode=0777,dir_mode=0777"}
_NOTEBOOK_DIR = "/home/jovyan/work"
_DEFAULT_SLUG = "default"


def seed_settings(environ: t.Mapping[str, str]) -> Settings:
    """Return the settings that the seed's variables say.

    Raises:
        SettingsError: a variable is missing or wrong.
    """
    env = _Variables(environ)
    if env.flag("PROXY_SHOULD_START", True):
        raise SettingsError("PROXY_SHOULD_START: must be False; this image has no proxy, run the proxy image beside it")
    hub_port = env.whole("HUB_HUB_PORT", 8001)
    profiles, suffixes = _profiles(env)
    return check_settings(
        Settings(
            cluster_name=env.text("CLUSTER_NAME", "jupyterhub"),
            network=env.need("SPAWNER_NETWORK_NAME"),
            endpoint_mode=env.choice("SPAWNER_ENDPOINT_MODE", "vip", ("vip", "dnsrr")),
            hub_connect_url=f"http://{env.text('HUB_CONNECT_IP', 'jupyterhub')}:{hub_port}",
            proxy_api_url=env.need("PROXY_API_URL"),
            db_url=env.text("HUB_DB_URL", "sqlite:////data/jupyterhub.sqlite"),
            admin_users=tuple(env.words("AUTH_ADMIN_USER", "admin")),
            homes=_homes(env),
            profiles=profiles,
            notebook_image=profiles[0].image,
            start_timeout=env.whole("SPAWNER_START_TIMEOUT", 120),
            hub_port=hub_port,
            command=(env.text("SPAWNER_SPAWN_CMD", "start-singleuser.sh"),),
            notebook_dir=_NOTEBOOK_DIR,
            suffix_profiles=suffixes,
            signup=Signup(
                enabled=env.flag("AUTH_ENABLE_SIGNUP", True),
                open=env.flag("AUTH_OPEN_SIGNUP", False),
                minimum_password_length=env.whole("AUTH_MINIMUM_PASSWORD_LENGTH", 6),
                check_common_password=env.flag("AUTH_CHECK_COMMON_PASSWORD", False),
                allowed_failed_logins=env.whole("AUTH_ALLOWED_FAILED_LOGINS", 3),
                seconds_before_next_try=env.whole("AUTH_SECONDS_BEFORE_NEXT_TRY", 1200),
            ),
            pull_policy=env.choice("SPAWNER_PULL_POLICY", "skip", ("skip", "ifnotpresent", "always", "never")),
            poll_interval=env.whole("SPAWNER_POLL_INTERVAL", 30),
            active_server_limit=env.whole("HUB_ACTIVE_SERVER_LIMIT", 100),
            cookie_secret_file=env.text("HUB_COOKIE_SECRET_FILE", "/data/jupyterhub_cookie_secret"),
        )
    )


def parse_environment(text: str) -> dict[str, str]:
    """Read `A:1;B:http://host:80`; a value may hold colons.

    Raises:
        SettingsError: a part has no colon.
    """
    environment = {}
    for part in _split(text, ";"):
        name, colon, value = part.partition(":")
        if not colon:
            raise SettingsError(f"SPAWNER_ENVIRONMENT: {part!r} has no value; write NAME:value;NAME2:value2")
        environment[name.strip()] = value.strip()
    return environment


def parse_constraint_images(text: str) -> dict[str, tuple[tuple[str, ...] | None, str]]:
    """Read `suffix:c1,c2->image;suffix2->image2` into suffix → (constraints or None for the default ones, image).

    Raises:
        SettingsError: a rule is not of that form, or a suffix is there twice.
    """
    rules: dict[str, tuple[tuple[str, ...] | None, str]] = {}
    for rule in _split(text, ";"):
        left, arrow, image = (part.strip() for part in rule.partition("->"))
        suffix, _, constraints = (part.strip() for part in left.partition(":"))
        if not (suffix and arrow and image):
            raise SettingsError(f"SPAWNER_CONSTRAINT_IMAGES: {rule!r} is no rule; write suffix:constraint->image")
        if suffix in rules:
            raise SettingsError(f"SPAWNER_CONSTRAINT_IMAGES: the suffix {suffix!r} is there twice")
        rules[suffix] = (tuple(_split(constraints, ",")) or None, image)
    return rules


def parse_gpus(value: str, key: str) -> int:
    """Read the number of cards.

    Raises:
        SettingsError: it is none; "all", -1 and device_id=… cannot be asked of a swarm.
    """
    if not value.isdigit():
        raise SettingsError(f"{key}: is {value!r}; a swarm gives cards by number only, write 1")
    return int(value)


def _profiles(env: _Variables) -> tuple[tuple[Profile, ...], dict[str, str]]:
    base = Profile(
        slug=_DEFAULT_SLUG,
        display_name="Notebook",
        default=True,
        image=env.text("SPAWNER_NOTEBOOK_IMAGE", "jupyter/base-notebook:notebook-6.5.4"),
        cpu_limit=parse_cores(env.text("SPAWNER_CPU_LIMIT", "2"), "SPAWNER_CPU_LIMIT"),
        cpu_guarantee=parse_cores(env.text("SPAWNER_CPU_GUARANTEE", "1"), "SPAWNER_CPU_GUARANTEE"),
        mem_limit=parse_bytes(env.text("SPAWNER_MEM_LIMIT", "4G"), "SPAWNER_MEM_LIMIT"),
        mem_guarantee=parse_bytes(env.text("SPAWNER_MEM_GUARANTEE", "1G"), "SPAWNER_MEM_GUARANTEE"),
        environment=parse_environment(env.text("SPAWNER_ENVIRONMENT", "")),
        constraints=tuple(env.words("SPAWNER_CONSTRAINTS", "")),
        preferences=env.pairs("SPAWNER_PREFERENCE"),
        platforms=env.pairs("SPAWNER_PLATFORM"),
        gpus=parse_gpus(env.text("SPAWNER_USE_GPUS", "0"), "SPAWNER_USE_GPUS"),
    )
    cards = {}
    for rule in _split(env.text("SPAWNER_CONSTRAINT_WITH_GPUS", ""), ";"):
        suffix, _, count = (part.strip() for part in rule.partition("->"))
        cards[suffix] = parse_gpus(count, "SPAWNER_CONSTRAINT_WITH_GPUS")
    images = parse_constraint_images(env.text("SPAWNER_CONSTRAINT_IMAGES", ""))
    profiles, slugs = [base], {}
    for number, suffix in enumerate(sorted({*images, *cards}), start=1):
        constraints, image = images.get(suffix, (None, base.image))
        profile = dataclasses.replace(
            base,
            slug=f"suffix-{number}",
            display_name=f"Notebook ({suffix})",
            default=False,
            image=image,
            constraints=base.constraints if constraints is None else constraints,
            gpus=cards.get(suffix, base.gpus),
        )
        profiles.append(profile)
        slugs[suffix] = profile.slug
    return tuple(profiles), slugs


def _homes(env: _Variables) -> Homes:
    driver = env.choice("SPAWNER_PERSISTENCE_VOLUME_TYPE", "local", ("local", "nfs3", "nfs4", "cifs"))
    target = _NOTEBOOK_DIR + env.text("SPAWNER_PERSISTENCE_VOLUME_TARGET_SUBPATH", "/persistence")
    name = env.text("SPAWNER_PERSISTENCE_VOLUME_SOURCE_NAME", "jupyterhub-user-{username}")
    if driver == "local":
        return Homes(driver=driver, path="", mount="", target=target, volume_name=name, escaped_names=True)
    family = "CIFS" if driver == "cifs" else "NFS"
    device = env.need(f"SPAWNER_PERSISTENCE_{family}_DEVICE")
    return Homes(
        driver=driver,
        path=device.removeprefix(":").rstrip("/"),
        mount=env.text("SPAWNER_PERSISTENCE_VOLUME_MKDIRPATH", "/jupyterhub_data"),
        nfs_host=env.need(f"SPAWNER_PERSISTENCE_{family}_HOST"),
        nfs_options=env.text(f"SPAWNER_PERSISTENCE_{family}_OPTS", "") or _NFS_OPTIONS[driver],
        target=target,
        volume_name=name,
        escaped_names=True,
    )


def _split(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]


class _Variables:
    """The environment, read with defaults and complaints that name the variable."""

    def __init__(self, environ: t.Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, default: str) -> str:
        return self._environ.get(name, default).strip()

    def need(self, name: str) -> str:
        value = self.text(name, "")
        if not value:
            raise SettingsError(f"{name}: is missing")
        return value

    def flag(self, name: str, default: bool) -> bool:
        return self.text(name, str(default)).lower() in ("true", "1", "ok")

    def whole(self, name: str, default: int) -> int:
        value = self.text(name, str(default))
        if not value.isdigit():
            raise SettingsError(f"{name}: is {value!r}; write a whole number")
        return int(value)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise SettingsError(f"{name}: is {value!r}; write one of {', '.join(allowed)}")
        return value

    def words(self, name: str, default: str) -> list[str]:
        return _split(self.text(name, default), ",")

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        pairs = [word.partition(":") for word in self.words(name, "")]
        if not all(colon and right for _, colon, right in pairs):
            raise SettingsError(f"{name}: is {self.text(name, '')!r}; write a list such as left:right,left2:right2")
        return tuple((left, right) for left, _, right in pairs)
