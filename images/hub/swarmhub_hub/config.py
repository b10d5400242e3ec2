"""Settings and secrets, turned into JupyterHub's configuration."""

from __future__ import annotations

import logging
import os
import typing as t
from pathlib import Path

from swarmhub_hub import seed
from swarmhub_hub.database import engine_arguments, give_password
from swarmhub_hub.proxy import SwarmhubProxy
from swarmhub_hub.secret_files import need_keys, need_secret, read_secret
from swarmhub_hub.settings import Settings, load_settings
from swarmhub_hub.sign_in import sign_in
from swarmhub_hub.spawner import TIMEOUT_MARGIN, SwarmhubSpawner

#: What the holder of the secret api_token may do: an administrator's work, and looking into notebooks.
SERVICE_SCOPES = [
    "admin:users",
    "admin:servers",
    "admin:groups",
    "access:servers",
    "list:services",
    "read:services",
    "proxy",
    "read:hub",
    "read:metrics",
]
#: What the holder of the secret metrics_token may do.
METRICS_SCOPES = ["read:metrics"]
#: What the answers carry besides JupyterHub's own (its version, and that no page goes into a frame). Notebooks get the
#: same by notebook_files/jupyter_config.json; Strict-Transport-Security is said by who speaks TLS, the role `front`.
SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


def configure(c: t.Any, settings: Settings | None = None, secrets_dir: Path | None = None) -> None:
    """Fill JupyterHub's configuration object.

    Raises:
        SettingsError: a setting or a secret is missing or wrong.
    """
    settings = settings or load_settings()
    _hub(c, settings, secrets_dir)
    _proxy(c, settings, secrets_dir)
    sign_in(c, settings, secrets_dir)
    _services(c, secrets_dir)
    _notebooks(c, settings)
    for owner, traits in settings.traits.items():
        c[owner].update(traits)
    for warning in settings.warnings:
        logging.getLogger(__name__).warning("%s", warning)


def _hub(c: t.Any, settings: Settings, secrets_dir: Path | None) -> None:
    password = read_secret("db_password", secrets_dir)
    if settings.cookie_secret_file and not password:
        password = seed.database_password(os.environ)
    db_url = give_password(settings.db_url, password)
    c.JupyterHub.db_url = db_url
    c.JupyterHub.db_kwargs = engine_arguments(db_url)
    c.SwarmhubApp.swarmhub_settings = settings
    c.JupyterHub.hub_bind_url = f"http://:{settings.hub_port}"
    c.JupyterHub.hub_connect_url = settings.hub_connect_url
    if settings.cookie_secret_file:
        c.JupyterHub.cookie_secret_file = settings.cookie_secret_file
    else:
        c.JupyterHub.cookie_secret = need_keys("cookie_secret", secrets_dir)[0]
        c.CryptKeeper.keys = need_keys("crypt_key", secrets_dir)
    # A hub that is started again finds its notebooks running.
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.init_spawners_timeout = 30
    c.JupyterHub.last_activity_interval = 60
    c.JupyterHub.allow_named_servers = False
    c.JupyterHub.tornado_settings = {"headers": SECURITY_HEADERS}
    c.JupyterHub.template_paths = [str(Path(__file__).parent / "templates")]
    # Who waits for a card counts as a pending start: the limit would lock out everybody else. See the spawner's slots.
    c.JupyterHub.concurrent_spawn_limit = 0
    c.JupyterHub.active_server_limit = settings.active_server_limit


def _proxy(c: t.Any, settings: Settings, secrets_dir: Path | None) -> None:
    seed_token = os.environ.get("CONFIGPROXY_AUTH_TOKEN", "")
    c.JupyterHub.proxy_class = SwarmhubProxy
    c.SwarmhubProxy.should_start = False
    c.SwarmhubProxy.api_url = settings.proxy_api_url
    c.SwarmhubProxy.auth_token = seed_token or need_secret("proxy_token", secrets_dir)


def _services(c: t.Any, secrets_dir: Path | None) -> None:
    services: list[dict[str, t.Any]] = []
    roles: list[dict[str, t.Any]] = []
    if api_token := read_secret("api_token", secrets_dir):
        services.append({"name": "swarmhub", "api_token": api_token, "display": False})
        roles.append({"name": "swarmhub", "scopes": SERVICE_SCOPES, "services": ["swarmhub"]})
    if metrics_token := read_secret("metrics_token", secrets_dir):
        services.append({"name": "prometheus", "api_token": metrics_token, "display": False})
        roles.append({"name": "prometheus", "scopes": METRICS_SCOPES, "services": ["prometheus"]})
    c.JupyterHub.services = services
    c.JupyterHub.load_roles = roles


def _notebooks(c: t.Any, settings: Settings) -> None:
    c.JupyterHub.spawner_class = SwarmhubSpawner
    c.SwarmhubSpawner.settings = settings
    c.SwarmhubSpawner.network_name = settings.network
    c.SwarmhubSpawner.use_internal_ip = True
    c.SwarmhubSpawner.cmd = list(settings.command)
    c.SwarmhubSpawner.notebook_dir = settings.notebook_dir
    c.SwarmhubSpawner.poll_interval = settings.poll_interval
    c.SwarmhubSpawner.start_timeout = settings.start_timeout + TIMEOUT_MARGIN
    c.SwarmhubSpawner.http_timeout = 90
    c.SwarmhubSpawner.consecutive_failure_limit = 0
