"""What JupyterHub reads at its start; everything is decided in swarmhub_hub.config."""

from swarmhub_hub.config import configure

configure(get_config())  # noqa: F821
