"""Settings that every notebook gets, whatever its image: files of ours, mounted as swarm configs.

They keep the databases of Jupyter and IPython off the home: sqlite on NFS hangs kernels and corrupts itself. They set
the security headers of its answers. They bring two extensions of the server, which report work that no browser sees and
fetch what the hub announces, and one of JupyterLab, which shows that on the notebook's page. The places are read by
every version of Jupyter and IPython, wherever it is installed, and images seldom have files there; of a ``.py`` and a
``.json`` of one name both are read, and extensions are switched on one by one, whatever the user's own configuration
switches.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import typing as t
from pathlib import Path

from docker.errors import APIError

from swarmhub_hub.docker_calls import docker_calls

SOURCES = Path(__file__).parent / "notebook_files"
LABEXTENSION = "/usr/local/share/jupyter/labextensions/swarmhub-announcements"
#: The files of SOURCES, and where they are in the notebook.
TARGETS = {
    "jupyter_config.json": "/etc/jupyter/jupyter_config.json",
    "jupyter_config.py": "/etc/jupyter/jupyter_config.py",
    "jupyter_server_config.json": "/etc/jupyter/jupyter_server_config.d/swarmhub.json",
    "swarmhub_activity.py": "/etc/jupyter/swarmhub/swarmhub_activity.py",
    "swarmhub_announcements.py": "/etc/jupyter/swarmhub/swarmhub_announcements.py",
    # Not in a folder ``static``, whose files browsers keep for a year.
    "labextension.json": f"{LABEXTENSION}/package.json",
    "labextension.js": f"{LABEXTENSION}/labextension.js",
    "ipython_config.json": "/etc/ipython/ipython_config.json",
}
PREFIX = "swarmhub-notebook-"
CONFLICT = 409


def config_name(what: str) -> str:
    """Return the name of a file's config: configs never change, so that each content has one of its own."""
    digest = hashlib.sha256((SOURCES / what).read_bytes()).hexdigest()[:8]
    return f"{PREFIX}{what.partition('.')[0].replace('_', '-')}-{digest}"


def is_missing_config(error: APIError) -> bool:
    """Tell whether a service was refused because somebody took its configs away (swarmkit, checkConfigExistence)."""
    return re.search(r"configs? not found", str(error.explanation or "")) is not None


class NotebookFiles:
    """The configs of notebooks; they are made when they are first asked for, and older ones of ours taken away."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def forget(self) -> None:
        """Look again, and make what is missing, when they are asked for the next time."""
        self._ids = {}

    async def references(self, cluster: str) -> list[dict[str, t.Any]]:
        """Return them as the Engine API's ContainerSpec.Configs wants them.

        Raises:
            docker.errors.DockerException, requests.exceptions.RequestException: the engine failed.
        """
        names = {what: config_name(what) for what in TARGETS}
        if not self._ids:
            self._ids = await self._settle(cluster, names)
        return [
            {
                "ConfigID": self._ids[name],
                "ConfigName": name,
                "File": {"Name": TARGETS[what], "UID": "0", "GID": "0", "Mode": 0o444},
            }
            for what, name in names.items()
        ]

    async def _settle(self, cluster: str, names: t.Mapping[str, str]) -> dict[str, str]:
        labels = {"swarmhub.cluster": cluster}
        found = await self._found()
        for what, name in names.items():
            if name not in found:
                data = (SOURCES / what).read_bytes()
                try:
                    await docker_calls("create_config", name, data, labels)
                except APIError as error:
                    if error.status_code != CONFLICT:  # another start made it just now
                        raise
        for name, config in found.items():
            if name not in names.values() and config["Spec"].get("Labels") == labels:
                # Notebooks that run with it keep it.
                with contextlib.suppress(APIError):
                    await docker_calls("remove_config", config["ID"])
        return {name: config["ID"] for name, config in (await self._found()).items()}

    async def _found(self) -> dict[str, dict[str, t.Any]]:
        return {each["Spec"]["Name"]: each for each in await docker_calls("configs", filters={"name": PREFIX})}


#: Shared by all spawners.
notebook_files = NotebookFiles()
