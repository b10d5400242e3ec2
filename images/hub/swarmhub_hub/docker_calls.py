"""The hub's way to the Docker engine: the SDK's low-level client, a few calls at a time, off the event loop."""

from __future__ import annotations

import asyncio
import functools
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import docker.errors
import docker.utils
import requests.exceptions

REGISTRY_CONFIG = Path("/run/secrets/registry_config")
THREADS = 8
TIMEOUT = 60

#: The engine did not do what it was asked: refused, failed, or gave no answer.
DockerFailure = (docker.errors.DockerException, requests.exceptions.RequestException)


def is_no_answer(error: BaseException) -> bool:
    """Tell a swarm that cannot answer just now (no leader, no connection) from one that refuses."""
    if isinstance(error, docker.errors.APIError):
        return error.status_code == 503 or "leader" in str(error.explanation or "")
    return isinstance(error, requests.exceptions.RequestException)


class DockerCalls:
    """Calls methods of a ``docker.APIClient`` in threads, so that one slow call holds up nobody else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")

    @functools.cached_property
    def client(self) -> t.Any:
        """The client, made at the first call.

        Credentials of private registries come from the secret registry_config, a Docker config.json; the SDK sends them
        along with a new service, and the nodes pull with them.
        """
        arguments = t.cast("dict[str, t.Any]", docker.utils.kwargs_from_env())
        client = docker.APIClient(version="auto", timeout=TIMEOUT, **arguments)
        if REGISTRY_CONFIG.exists():
            client.reload_config(str(REGISTRY_CONFIG))
        return client

    async def __call__(self, method: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Return what the client's ``method`` returns.

        Raises:
            docker.errors.APIError, requests.exceptions.RequestException: see `DockerFailure`.
        """

        def call() -> t.Any:
            return getattr(self.client, method)(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


#: Shared by all spawners and the reaper.
docker_calls = DockerCalls()
