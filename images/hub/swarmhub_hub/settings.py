"""The settings of the hub: what /etc/swarmhub/hub.json may say, and nothing else.

This is the one place where the keys are described. Secrets are never among them: they are files in /run/secrets (see
`secret_files`). Where hub.json is missing, the variables of the image that swarmhub succeeds are read (see `seed`).
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import typing as t
from pathlib import Path

from swarmhub_hub import sign_in_traits

CONFIG_FILE = Path("/etc/swarmhub/hub.json")
PROBE_USER = "swarmhub-probe"
NAME_PREFIX = "swarmhub-nb"
LIFETIMES = ("idle_timeout", "gpu_idle_timeout", "max_age", "gpu_max_age")
#: Seconds; notebooks report their activity every five minutes.
LEAST_LIFETIME = 600
NOTEBOOK_UID = 1000
NOTEBOOK_GID = 100

_BYTES = re.compile(r"^(\d+(?:\.\d+)?)([KMGT]?)$")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_FOLDER = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_SLUG = re.compile(r"^[a-z0-9][a-z0-9-]*$")


class SettingsError(ValueError):
    """The settings are wrong; the message names the key and says what to do."""


@dataclasses.dataclass(frozen=True)
class Profile:
    """One way to start a notebook.

    Attributes:
        slug: its name in URLs and labels, [a-z0-9-].
        display_name: its name on the page.
        description: a sentence under the name.
        default: chosen unless the user chooses another one; else the first profile that the user may have is.
        image: image of the notebook.
        cpu_limit, cpu_guarantee: cores, None for no limit or reservation.
        mem_limit, mem_guarantee: bytes, None for no limit or reservation.
        shm_size: bytes of /dev/shm, None for half of mem_limit, or Docker's 64 MB where there is none.
        environment: more variables of the notebook.
        constraints, preferences, platforms: placement; ("node.labels.x==y",), (("spread", "node.labels.rack"),),
            (("x86_64", "linux"),).
        gpus: number of cards, 1 where they are shared.
        gpu_model: the cards' model, as the node label gpu_model has it (mig-… for a MIG instance); "" for any.
        gpu_shared: the card is one that the node keeps out of the pool, used by several notebooks at once.
        groups: who may have it: members of one of these groups; empty for everybody.
    """

    slug: str
    display_name: str
    image: str
    description: str = ""
    default: bool = False
    cpu_limit: float | None = None
    cpu_guarantee: float | None = None
    mem_limit: int | None = None
    mem_guarantee: int | None = None
    shm_size: int | None = None
    environment: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    preferences: tuple[tuple[str, str], ...] = ()
    platforms: tuple[tuple[str, str], ...] = ()
    gpus: int = 0
    gpu_model: str = ""
    gpu_shared: bool = False
    groups: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Folder:
    """A shared folder, which notebooks see as shared/`name` in their home.

    Attributes:
        name: the directory's name, [a-z0-9_-].
        groups: who sees it: members of one of these groups; empty for everybody.
        read_only: no notebook can change it.
    """

    name: str
    groups: tuple[str, ...] = ()
    read_only: bool = False


@dataclasses.dataclass(frozen=True)
class Homes:
    """Where the homes are, and the folders that they share.

    Attributes:
        driver: "bind" (`path` is shared on every node), "nfs4" or "nfs3" (the node mounts `path` of `nfs_host`);
            the seed's variables also give "local" (a volume on the node) and "cifs".
        path: the homes' root: on every node (bind) or in the export (nfs).
        mount: where the hub's own container sees that root, to make the homes; "" makes none.
        nfs_host: name or address of the server.
        nfs_options: mount options without addr=.
        shared_path: the shared folders' root, of the same server.
        shared_folders: see there.
        target: where the notebook sees its home.
        volume_name: seed only: template of the volume's name, with {username}.
        escaped_names: seed only: name the directories as the seed did.
    """

    driver: str
    path: str
    mount: str = "/homes"
    nfs_host: str = ""
    nfs_options: str = ""
    shared_path: str = ""
    shared_folders: tuple[Folder, ...] = ()
    target: str = "/home/jovyan"
    volume_name: str = ""
    escaped_names: bool = False


@dataclasses.dataclass(frozen=True)
class Signup:
    """NativeAuthenticator's rules; the defaults are the seed's. In hub.json they are `native`, in its traits' words."""

    enabled: bool = True
    open: bool = False
    minimum_password_length: int = 6
    check_common_password: bool = False
    allowed_failed_logins: int = 3
    seconds_before_next_try: int = 1200


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that the hub is told. Only the first block can be written into hub.json.

    Attributes:
        cluster_name: value of the label swarmhub.cluster on our services.
        network: overlay of the notebooks.
        endpoint_mode: "dnsrr" or "vip".
        hub_connect_url: where notebooks and proxy reach the hub.
        proxy_api_url: where the hub reaches the proxy's API.
        db_url: SQLAlchemy URL without a password.
        admin_users: administrators; the first gets an account with the secret admin_password.
        homes, profiles: see there.
        notebook_image: image of the profiles that name none.
        idle_timeout: seconds after which an idle notebook without cards is stopped, 0 for never.
        gpu_idle_timeout: the same with cards.
        max_age, gpu_max_age: seconds after which a notebook is stopped, idle or not, 0 for never.
        start_timeout: seconds that a start may wait for its turn, and then take; with cards, once these are free.
        queue_timeout: seconds that a start may wait for cards.
        queue_backfill: seconds after which a start that waits for many cards is overtaken no more.
        user_gpu_limit: cards that one person may hold at a time, 0 for no limit.
        group_gpu_limits: cards that the members of a group may hold together, by group.
        user_gpu_hours, group_gpu_hours: hours of cards that a person, or the members of a group together, by group, may
            have used in 30 days when they start; 0 for no limit.
        active_server_limit: servers that there may be at a time, 0 for no limit.
        group_server_limits: servers that the members of a group may have at a time, by group.
        pids_limit: processes and threads of a notebook, 0 for no limit.
        metrics_users: whether metrics name the people who hold cards.
        proxy_metrics_url: where the hub reads the proxy's metrics, "" for nowhere.
        suffix_profiles: suffix of a user's name → slug of the one profile that alice-SUFFIX has, whatever its groups.
        authenticator: "native", "oauth" or "ldap".
        signup: see there; of native.
        authenticator_traits: of oauth or ldap, as `sign_in_traits` has them.

        traits: seed only: more of JupyterHub's own configuration, by class and name.
        warnings: seed only: what the log says at the start of variables that have no meaning here.
    """

    cluster_name: str
    network: str
    endpoint_mode: str
    hub_connect_url: str
    proxy_api_url: str
    db_url: str
    admin_users: tuple[str, ...]
    homes: Homes
    profiles: tuple[Profile, ...]
    notebook_image: str
    idle_timeout: int = 0
    gpu_idle_timeout: int = 0
    max_age: int = 0
    gpu_max_age: int = 0
    start_timeout: int = 300
    queue_timeout: int = 86400
    queue_backfill: int = 1800
    user_gpu_limit: int = 0
    group_gpu_limits: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    user_gpu_hours: int = 0
    group_gpu_hours: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    active_server_limit: int = 0
    group_server_limits: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    pids_limit: int = 0
    metrics_users: bool = False
    proxy_metrics_url: str = ""
    suffix_profiles: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    authenticator: str = "native"
    signup: Signup = dataclasses.field(default_factory=Signup)
    authenticator_traits: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    hub_port: int = 8081
    command: tuple[str, ...] = ("jupyterhub-singleuser",)
    notebook_dir: str = ""
    poll_interval: int = 30
    cookie_secret_file: str = ""
    traits: t.Mapping[str, t.Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def load_settings(config_file: Path | None = None, environ: t.Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of ``config_file`` (default: $SWARMHUB_CONFIG or /etc/swarmhub/hub.json), else the seed's.

    Raises:
        SettingsError: a key is missing, unknown or wrong, or there is neither a file nor SPAWNER_NETWORK_NAME.
    """
    path = config_file or Path(environ.get("SWARMHUB_CONFIG", CONFIG_FILE))
    if path.exists():
        try:
            data = json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise SettingsError(f"{path} is not JSON: {error}") from error
        return parse_settings(data)
    if "SPAWNER_NETWORK_NAME" in environ:
        from swarmhub_hub.seed import seed_settings

        return seed_settings(environ)
    raise SettingsError(f"there is neither {path} nor the variable SPAWNER_NETWORK_NAME: give the hub its settings")


def parse_settings(data: t.Any) -> Settings:
    """Return the settings that the decoded hub.json says.

    Raises:
        SettingsError: see `load_settings`.
    """
    top = _Keys(data, "")
    image = top.text("notebook_image")
    profiles = tuple(_profile(_Keys(item, f"profiles[{n}]."), image) for n, item in enumerate(top.items("profiles")))
    authenticator = top.choice("authenticator", ("native", "oauth", "ldap"), "native")
    block = _Keys(top.take(authenticator, {}), f"{authenticator}.")
    settings = Settings(
        cluster_name=top.text("cluster_name"),
        network=top.text("network"),
        endpoint_mode=top.choice("endpoint_mode", ("dnsrr", "vip")),
        hub_connect_url=top.text("hub_connect_url"),
        proxy_api_url=top.text("proxy_api_url"),
        db_url=top.text("db_url"),
        admin_users=top.texts("admin_users"),
        homes=_homes(_Keys(top.take("homes"), "homes.")),
        profiles=profiles,
        notebook_image=image,
        idle_timeout=(idle := top.whole("idle_timeout", 0)),
        gpu_idle_timeout=top.whole("gpu_idle_timeout", idle),
        max_age=(age := top.whole("max_age", 0)),
        gpu_max_age=top.whole("gpu_max_age", age),
        start_timeout=top.whole("start_timeout", 300),
        queue_timeout=top.whole("queue_timeout", 86400),
        queue_backfill=top.whole("queue_backfill", 1800),
        user_gpu_limit=top.whole("user_gpu_limit", 0),
        group_gpu_limits=_by_group(top, "group_gpu_limits"),
        user_gpu_hours=top.whole("user_gpu_hours", 0),
        group_gpu_hours=_by_group(top, "group_gpu_hours"),
        active_server_limit=top.whole("active_server_limit", 0),
        group_server_limits=_by_group(top, "group_server_limits"),
        pids_limit=top.whole("pids_limit", 0),
        metrics_users=top.flag("metrics_users", False),
        proxy_metrics_url=top.text("proxy_metrics_url", ""),
        suffix_profiles=_suffixes(_Keys(top.take("suffix_profiles", {}), "suffix_profiles.")),
        authenticator=authenticator,
        signup=_signup(block) if authenticator == "native" else Signup(),
        authenticator_traits=_traits(block, authenticator) if authenticator != "native" else {},
    )
    top.finish()
    return check_settings(settings)


def check_settings(settings: Settings) -> Settings:
    """Return ``settings`` when its parts fit together.

    Raises:
        SettingsError: they do not.
    """
    slugs = [profile.slug for profile in settings.profiles]
    if not slugs:
        raise SettingsError("profiles: is empty; describe at least one")
    for slug in slugs:
        if not _SLUG.match(slug):
            raise SettingsError(
                f"profiles: slug {slug!r} may hold only a-z, 0-9 and '-', beginning with a letter or digit"
            )
    if twice := sorted({slug for slug in slugs if slugs.count(slug) > 1}):
        raise SettingsError(f"profiles: slug {twice[0]!r} is there twice")
    if sum(profile.default for profile in settings.profiles) > 1:
        raise SettingsError("profiles: more than one has default: true")
    if not settings.admin_users:
        raise SettingsError("admin_users: is empty; name at least one administrator")
    if settings.start_timeout < 10:
        raise SettingsError(f"start_timeout: is {settings.start_timeout}, but a start needs at least 10 seconds")
    if settings.queue_timeout < 10:
        raise SettingsError(f"queue_timeout: is {settings.queue_timeout}; give people at least 10 seconds")
    for key in LIFETIMES:
        if 0 < (seconds := getattr(settings, key)) < LEAST_LIFETIME:
            raise SettingsError(
                f"{key}: is {seconds}, but notebooks report what they do every few minutes; "
                f"write {LEAST_LIFETIME} or more, or 0 for never"
            )
    _check_suffixes(settings)
    return settings


def _check_suffixes(settings: Settings) -> None:
    """See that suffixes have profiles, and that nobody gets a card by choosing a name."""
    profiles = {profile.slug: profile for profile in settings.profiles}
    for suffix, slug in settings.suffix_profiles.items():
        if slug not in profiles:
            raise SettingsError(f"suffix_profiles.{suffix}: is {slug!r}, but there is no such profile")
        approved = settings.authenticator == "native" and not settings.signup.open
        if not approved and profiles[slug].gpus and profiles[slug].groups:
            raise SettingsError(
                f"suffix_profiles.{suffix}: gives cards to whoever signs in as NAME-{suffix}, approved by nobody: "
                "let administrators do so (native accounts; open_signup or AUTH_OPEN_SIGNUP: false), or drop the suffix"
            )


def parse_bytes(value: t.Any, key: str) -> int | None:
    """Return a size in bytes for 1024, "512M" or "1.5G" (powers of 1024), None for None and "".

    Raises:
        SettingsError: it is no size.
    """
    if value is None or value == "":
        return None
    match = _BYTES.match(str(value).strip().upper())
    if not match or isinstance(value, bool):
        raise SettingsError(f"{key}: is {value!r}; write a size such as 512M or 4G")
    return int(float(match[1]) * _UNITS[match[2]])


def parse_cores(value: t.Any, key: str) -> float | None:
    """Return a number of cores, None for None and "".

    Raises:
        SettingsError: it is no positive number.
    """
    if value is None or value == "":
        return None
    try:
        cores = float(value)
    except (TypeError, ValueError):
        cores = 0.0
    if cores <= 0 or isinstance(value, bool):
        raise SettingsError(f"{key}: is {value!r}; write a number of cores such as 0.5 or 2")
    return cores


class _Keys:
    """A mapping from the file that is read key by key, and complains about what is wrong or left over."""

    def __init__(self, data: t.Any, where: str) -> None:
        if not isinstance(data, dict):
            raise SettingsError(f"{where.rstrip('.') or 'hub.json'}: is {type(data).__name__}; write a mapping")
        self._left = dict(data)
        self._where = where

    def take(self, key: str, *default: t.Any) -> t.Any:
        if key not in self._left and not default:
            raise SettingsError(f"{self._where}{key}: is missing")
        return self._left.pop(key, *default)

    def _typed(self, key: str, kind: type, kind_name: str, *default: t.Any) -> t.Any:
        value = self.take(key, *default)
        if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
            raise SettingsError(f"{self._where}{key}: is {value!r}; write {kind_name}")
        return value

    def text(self, key: str, *default: str) -> str:
        value = self._typed(key, str, "a text", *default)
        if not value and not default:
            raise SettingsError(f"{self._where}{key}: is empty")
        return t.cast(str, value)

    def flag(self, key: str, default: bool) -> bool:
        return t.cast(bool, self._typed(key, bool, "true or false", default))

    def whole(self, key: str, default: int) -> int:
        value = self._typed(key, int, "a whole number", default)
        if value < 0:
            raise SettingsError(f"{self._where}{key}: is {value}; it cannot be negative")
        return t.cast(int, value)

    def names(self) -> list[str]:
        return list(self._left)

    def choice(self, key: str, allowed: tuple[str, ...], *default: str) -> str:
        value = self.text(key, *default)
        if value not in allowed:
            raise SettingsError(f"{self._where}{key}: is {value!r}; write one of {', '.join(allowed)}")
        return value

    def items(self, key: str, *default: list[t.Any]) -> list[t.Any]:
        return t.cast("list[t.Any]", self._typed(key, list, "a list", *default))

    def texts(self, key: str, *default: list[str]) -> tuple[str, ...]:
        values = self.items(key, *default)
        if not all(isinstance(value, str) for value in values):
            raise SettingsError(f"{self._where}{key}: is {values!r}; write a list of texts")
        return tuple(values)

    def cores(self, key: str) -> float | None:
        return parse_cores(self.take(key, None), self._where + key)

    def size(self, key: str) -> int | None:
        return parse_bytes(self.take(key, None), self._where + key)

    def finish(self) -> None:
        if self._left:
            raise SettingsError(f"{self._where}{sorted(self._left)[0]}: is no key that the hub knows")


def _profile(keys: _Keys, notebook_image: str) -> Profile:
    override = _Keys(keys.take("spawner_override", {}), f"{keys._where}spawner_override.")
    environment = override.take("environment", {})
    if not isinstance(environment, dict):
        raise SettingsError(f"{override._where}environment: is {environment!r}; write a mapping")
    shared, gpus = keys.flag("gpu_shared", False), keys.whole("gpus", 0)
    if shared and gpus:
        raise SettingsError(f"{keys._where}gpu_shared: is true, but gpus asks for cards of its own; drop one of them")
    profile = Profile(
        slug=keys.text("slug"),
        display_name=keys.text("display_name"),
        description=keys.text("description", ""),
        default=keys.flag("default", False),
        image=override.text("image", "") or notebook_image,
        cpu_limit=override.cores("cpu_limit"),
        cpu_guarantee=override.cores("cpu_guarantee"),
        mem_limit=override.size("mem_limit"),
        mem_guarantee=override.size("mem_guarantee"),
        shm_size=override.size("shm_size"),
        environment={str(name): str(value) for name, value in environment.items()},
        constraints=keys.texts("constraints", []),
        gpus=1 if shared else gpus,
        gpu_model=keys.text("gpu_model", ""),
        gpu_shared=shared,
        groups=keys.texts("groups", []),
    )
    override.finish()
    keys.finish()
    return profile


def _signup(keys: _Keys) -> Signup:
    usual = Signup()
    signup = Signup(
        enabled=keys.flag("enable_signup", usual.enabled),
        open=keys.flag("open_signup", usual.open),
        minimum_password_length=keys.whole("minimum_password_length", usual.minimum_password_length),
        check_common_password=keys.flag("check_common_password", usual.check_common_password),
        allowed_failed_logins=keys.whole("allowed_failed_logins", usual.allowed_failed_logins),
        seconds_before_next_try=keys.whole("seconds_before_next_try", usual.seconds_before_next_try),
    )
    keys.finish()
    return signup


def _traits(keys: _Keys, authenticator: str) -> dict[str, t.Any]:
    read: dict[str, t.Callable[[str], t.Any]] = {
        "text": keys.text,
        "texts": keys.texts,
        "flag": lambda name: keys.flag(name, False),
        "whole": lambda name: keys.whole(name, 0),
    }
    given = set(keys.names())
    traits = {name: read[kind](name) for name, kind in sign_in_traits.TRAITS[authenticator].items() if name in given}
    keys.finish()
    if fault := sign_in_traits.fault(authenticator, traits):
        raise SettingsError(f"{authenticator}.{fault}")
    return traits


def _by_group(top: _Keys, key: str) -> dict[str, int]:
    keys = _Keys(top.take(key, {}), f"{key}.")
    return {group: keys.whole(group, 0) for group in keys.names()}


def _suffixes(keys: _Keys) -> dict[str, str]:
    return {suffix: keys.text(suffix) for suffix in keys.names()}


def _homes(keys: _Keys) -> Homes:
    driver = keys.choice("driver", ("nfs4", "nfs3", "bind"))
    homes = Homes(
        driver=driver,
        path=keys.text("path"),
        mount=keys.text("mount", "/homes"),
        nfs_host=keys.text("nfs_host", ""),
        nfs_options=keys.text("nfs_options", ""),
        shared_path=keys.text("shared_path", ""),
        shared_folders=tuple(
            _folder(_Keys(item, f"homes.shared_folders[{n}]."))
            for n, item in enumerate(keys.items("shared_folders", []))
        ),
    )
    keys.finish()
    names = [folder.name for folder in homes.shared_folders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"homes.shared_folders: {twice[0]!r} is there twice")
    for key, path in (("path", homes.path), ("shared_path", homes.shared_path)):
        if not path.startswith("/") and (key == "path" or homes.shared_folders):
            raise SettingsError(f"homes.{key}: is {path!r}; write an absolute path")
    for key in ("nfs_host", "nfs_options"):
        if driver != "bind" and not getattr(homes, key):
            raise SettingsError(f"homes.{key}: is empty, but driver {driver} needs it")
    return homes


def _folder(keys: _Keys) -> Folder:
    folder = Folder(keys.text("name"), keys.texts("groups", []), keys.flag("read_only", False))
    keys.finish()
    if not _FOLDER.fullmatch(folder.name):
        raise SettingsError(f"{keys._where}name: is {folder.name!r}; use a-z, 0-9, '-' and '_', 40 at most")
    return folder
