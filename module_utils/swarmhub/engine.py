"""The one way in which swarmhub's modules talk to a Docker engine.

Everything above this file sees an object with a single method, ``request``: a real socket and the fake engine of the
unit tests both fit. Bodies and answers are the plain dictionaries of the Docker Engine API
(https://docs.docker.com/reference/api/engine/), because the SDK's own classes lag behind it.
"""

from __future__ import annotations

import typing as t

Json = t.Any

DEFAULT_DOCKER_HOST = "unix:///var/run/docker.sock"
OLDEST_API = "1.41"  # Docker 20.10: limits of processes, and the status of services in their list


class EngineError(Exception):
    """The engine refused a request, or could not be reached.

    Attributes:
        status: the HTTP status code, or 0 when there was no answer at all.
        message: the engine's own words.
    """

    def __init__(self, method: str, path: str, status: int, message: str) -> None:
        super().__init__(f"{method} {path}: {message}" if status else message)
        self.status = status
        self.message = message


class Engine(t.Protocol):
    """What the modules need of an engine."""

    def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, t.Any] | None = None,
        body: Json = None,
        headers: dict[str, str] | None = None,
    ) -> Json:
        """Return the decoded answer (``None`` when it is empty).

        Raises:
            EngineError: for every status of 400 and above, and when the engine cannot be reached.
        """


class DockerEngine:
    """A real engine, through the Docker SDK's low-level client (``python3-docker``, version negotiated)."""

    def __init__(self, docker_host: str = DEFAULT_DOCKER_HOST, timeout: int = 60) -> None:
        """Connect; ``timeout`` is in seconds and holds for each request.

        Raises:
            EngineError: the SDK is missing, or nothing that we can use answers at ``docker_host``.
        """
        try:
            import docker
            import docker.errors
            import requests
        except ImportError as error:
            raise EngineError(
                "", "", 0, f"the Docker SDK for Python is missing (package python3-docker): {error}"
            ) from error
        self._network_errors = (requests.exceptions.RequestException, docker.errors.DockerException)
        try:
            # Not version="auto", which asks /version, for which an engine runs other programs: a ping tells it too.
            self._client = docker.APIClient(base_url=docker_host, version=OLDEST_API, timeout=timeout)
            ping = self._client.get(f"{self._client.base_url}/_ping", timeout=timeout)
        except self._network_errors as error:
            cause = _root_cause(error)
            denied = isinstance(cause, PermissionError)
            hint = "run as root (become: true)" if denied else "is docker.service running?"
            raise EngineError("", "", 0, f"no Docker engine answers at {docker_host}: {cause}; {hint}") from error
        self._version = ping.headers.get("API-Version", "0")
        if tuple(map(int, self._version.split("."))) < tuple(map(int, OLDEST_API.split("."))):
            message = f"the engine at {docker_host} speaks API {self._version}, {OLDEST_API} (Docker 20.10) is needed"
            raise EngineError("", "", 0, message)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, t.Any] | None = None,
        body: Json = None,
        headers: dict[str, str] | None = None,
    ) -> Json:
        """See :class:`Engine`."""
        url = f"{self._client.base_url}/v{self._version}{path}"
        try:
            response = self._client.request(
                method, url, params=params, json=body, headers=headers, timeout=self._client.timeout
            )
        except self._network_errors as error:
            raise EngineError(
                method, path, 0, f"the engine did not answer {method} {path}: {_root_cause(error)}"
            ) from error
        content_type = response.headers.get("Content-Type", "")
        answer = response.json() if response.content and "json" in content_type else response.text or None
        if response.status_code >= 400:
            message = answer.get("message", "") if isinstance(answer, dict) else answer
            raise EngineError(method, path, response.status_code, message or response.reason)
        return answer


def _root_cause(error: BaseException) -> BaseException:
    """The exception that the libraries wrapped: "No such file or directory" rather than a nest of their names."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error
