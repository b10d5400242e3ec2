"""What JupyterHub reads at its start; everything is decided in swarmhub_hub.config."""

from swarmhub_hub.config import configure

configure(get_config())  # type: ignore[name-defined]  # noqa: F821 - JupyterHub defines it
