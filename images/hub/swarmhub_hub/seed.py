"""The variables of hsz1273327/jupyterhub-for-swarm, so that this image can take that one's place in a stack file.

The grammar is that image's, with its GPU variables, which its last version dropped. Mended: rules leak into nobody
else's start, a suffix without constraints counts, a rule keeps preferences and platforms, values may hold colons, cifs
is cifs, NFS is mounted hard, "gpu" is no user with the suffix "gpu", and such names are never approved unasked. Each
suffix is a hub group as well, whose members may choose its notebook under the name and home that they have.
"""

from __future__ import annotations

import dataclasses
import secrets
import typing as t
from pathlib import Path

import sqlalchemy as sa

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

_NFS_OPTIONS = {"nfs3": "rw,vers=3,nolock,hard", "nfs4": "rw,nfsvers=4,async", "cifs": "file_mode=0777,dir_mode=0777"}
_NOTEBOOK_DIR = "/home/jovyan/work"
_DEFAULT_SLUG = "default"
#: The drivers that the image has, by SQLAlchemy's name of the database.
_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}

_PREFIXES = ("PROXY_", "HUB_", "SPAWNER_", "AUTH_")
#: All variables that count, beside those of `_MEANINGLESS`.
_KNOWN = {
    "PROXY_SHOULD_START", "PROXY_API_URL", "HUB_HUB_PORT", "HUB_CONNECT_IP", "HUB_COOKIE_SECRET_FILE", "HUB_DB_URL",
    "HUB_ACTIVE_SERVER_LIMIT", "HUB_ACTIVE_USER_WINDOW", "HUB_ACTIVITY_RESOLUTION", "HUB_CONCURRENT_SPAWN_LIMIT",
    "HUB_INTERNAL_SSL_PATH", "HUB_INIT_SPAWNERS_TIMEOUT", "SPAWNER_NOTEBOOK_IMAGE", "SPAWNER_PULL_POLICY",
    "SPAWNER_NETWORK_NAME", "SPAWNER_PERSISTENCE_VOLUME_TYPE", "SPAWNER_PERSISTENCE_VOLUME_SOURCE_NAME",
    "SPAWNER_PERSISTENCE_VOLUME_TARGET_SUBPATH", "SPAWNER_PERSISTENCE_VOLUME_MKDIRPATH",
    "SPAWNER_PERSISTENCE_NFS_HOST", "SPAWNER_PERSISTENCE_NFS_DEVICE", "SPAWNER_PERSISTENCE_NFS_OPTS",
    "SPAWNER_PERSISTENCE_CIFS_HOST", "SPAWNER_PERSISTENCE_CIFS_DEVICE", "SPAWNER_PERSISTENCE_CIFS_OPTS",
    "SPAWNER_CPU_LIMIT", "SPAWNER_CPU_GUARANTEE", "SPAWNER_MEM_LIMIT", "SPAWNER_MEM_GUARANTEE", "SPAWNER_ENVIRONMENT",
    "SPAWNER_ENDPOINT_MODE", "SPAWNER_SPAWN_CMD", "SPAWNER_REMOVE", "SPAWNER_DEBUG",
    "SPAWNER_CONSECUTIVE_FAILURE_LIMIT", "SPAWNER_POLL_INTERVAL", "SPAWNER_START_TIMEOUT", "SPAWNER_USE_GPUS",
    "SPAWNER_CONSTRAINTS", "SPAWNER_PREFERENCE", "SPAWNER_PLATFORM", "SPAWNER_CONSTRAINT_IMAGES",
    "SPAWNER_CONSTRAINT_WITH_GPUS", "AUTH_ADMIN_USER", "AUTH_CHECK_COMMON_PASSWORD", "AUTH_MINIMUM_PASSWORD_LENGTH",
    "AUTH_ALLOWED_FAILED_LOGINS", "AUTH_SECONDS_BEFORE_NEXT_TRY", "AUTH_ENABLE_SIGNUP", "AUTH_OPEN_SIGNUP",
}  # fmt: skip
#: Those that mean nothing beside a proxy of its own, in a swarm, and why.
_MEANINGLESS = {
    "HUB_PORT": "people come in by the proxy's service, whose published port decides",
    "HUB_SSL_KEY": "people come in by the proxy, which is NOT encrypted by this; give TLS to it, or to a front of it",
    "HUB_SSL_CERT": "people come in by the proxy, which is NOT encrypted by this; give TLS to it, or to a front of it",
    "SPAWNER_NOTEBOOK_DIR": f"it is {_NOTEBOOK_DIR}, as in the seed's last version",
}


def seed_settings(environ: t.Mapping[str, str]) -> Settings:
    """Return the settings that the seed's variables say.

    Raises:
        SettingsError: a variable is missing or wrong.
    """
    env = _Variables(environ)
    if env.flag("PROXY_SHOULD_START", True):
        raise SettingsError("PROXY_SHOULD_START: must be False; this image has no proxy, run the proxy image beside it")
    if env.text("HUB_INTERNAL_SSL_PATH", ""):
        raise SettingsError(
            "HUB_INTERNAL_SSL_PATH: certificates do not reach the notebooks of other nodes; drop it, and make the "
            "network with --opt encrypted"
        )
    hub_port = env.whole("HUB_HUB_PORT", 8001)
    profiles, suffixes = _profiles(env)
    return check_settings(
        Settings(
            cluster_name=env.text("CLUSTER_NAME", "jupyterhub"),
            network=env.need("SPAWNER_NETWORK_NAME"),
            endpoint_mode=env.choice("SPAWNER_ENDPOINT_MODE", "vip", ("vip", "dnsrr")),
            hub_connect_url=f"http://{env.text('HUB_CONNECT_IP', 'jupyterhub')}:{hub_port}",
            proxy_api_url=env.need("PROXY_API_URL"),
            db_url=_database(env)._replace(password=None).render_as_string(),
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
            poll_interval=env.whole("SPAWNER_POLL_INTERVAL", 30),
            active_server_limit=env.whole("HUB_ACTIVE_SERVER_LIMIT", 100),
            cookie_secret_file=env.text("HUB_COOKIE_SECRET_FILE", "/data/jupyterhub_cookie_secret"),
            traits={
                "JupyterHub": {
                    "active_user_window": env.whole("HUB_ACTIVE_USER_WINDOW", 1800),
                    "activity_resolution": env.whole("HUB_ACTIVITY_RESOLUTION", 30),
                    "init_spawners_timeout": env.whole("HUB_INIT_SPAWNERS_TIMEOUT", 60),
                },
                "SwarmhubSpawner": {
                    "debug": env.flag("SPAWNER_DEBUG", True),
                    "consecutive_failure_limit": env.whole("SPAWNER_CONSECUTIVE_FAILURE_LIMIT", 0),
                    # More starts than these wait in line, where the seed refused them; 0 was no limit.
                    "concurrent_creations": env.whole("HUB_CONCURRENT_SPAWN_LIMIT", 20) or 100,
                },
            },
            warnings=tuple(_warnings(environ, env)),
        )
    )


def database_password(environ: t.Mapping[str, str]) -> str:
    """Return the password in HUB_DB_URL, "" where there is none."""
    return str(_database(_Variables(environ)).password or "")


def first_password(path: Path) -> str:
    """Return the first administrator's password from a file, made with mode 0600 where it is missing.

    The seed's administrator was whoever signed up first under that name.
    """
    if not path.exists():
        path.touch(mode=0o600)
    if not (password := path.read_text().strip()):
        password = secrets.token_urlsafe(16)
        path.write_text(f"{password}\n")
    return password


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


def _database(env: _Variables) -> sa.URL:
    url = sa.make_url(env.text("HUB_DB_URL", "sqlite:////data/jupyterhub.sqlite"))
    return url.set(drivername=_DRIVERS.get(url.get_backend_name(), url.drivername))


def _warnings(environ: t.Mapping[str, str], env: _Variables) -> t.Iterator[str]:
    for name in sorted(environ):
        if name in _MEANINGLESS:
            yield f"{name}: has no meaning here: {_MEANINGLESS[name]}"
        elif name.startswith(_PREFIXES) and name not in _KNOWN:
            yield f"{name}: is no variable of this image; it is ignored"
    if _database(env).password:
        yield "HUB_DB_URL: shows its password to whoever may inspect the service; make it the secret db_password"
    if env.text("CONFIGPROXY_AUTH_TOKEN", ""):
        yield "CONFIGPROXY_AUTH_TOKEN: is shown to whoever may inspect the service; make it the secret proxy_token"
    if not env.flag("SPAWNER_REMOVE", True):
        yield "SPAWNER_REMOVE: has no meaning in a swarm: the service of a notebook that ended is always removed"
    if env.choice("SPAWNER_PULL_POLICY", "ifnotpresent", ("skip", "ifnotpresent", "always", "never")) == "never":
        yield "SPAWNER_PULL_POLICY: never is not for a swarm: each node pulls what it lacks"
    driver = env.text("SPAWNER_PERSISTENCE_VOLUME_TYPE", "local")
    if driver != "local" and env.text("SPAWNER_PERSISTENCE_VOLUME_SOURCE_NAME", ""):
        yield "SPAWNER_PERSISTENCE_VOLUME_SOURCE_NAME: names local volumes only; others are named after what they mount"
    if driver.startswith("nfs") and "soft" in env.words("SPAWNER_PERSISTENCE_NFS_OPTS", ""):
        yield "SPAWNER_PERSISTENCE_NFS_OPTS: soft loses what was written when the server is slow; write hard"


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
            groups=(suffix,),
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
