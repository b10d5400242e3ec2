"""A Jupyter kernel in a running server: start it, run code over its websocket, read what it prints.

Needs ``websockets`` on the machine where it runs (the controller). The messages are those of
https://jupyter-client.readthedocs.io/en/stable/messaging.html, one JSON text a message.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from urllib.parse import urljoin

from ansible.module_utils.swarmhub.probe_session import HubError, Session

try:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect
except ImportError as error:
    WEBSOCKETS_ERROR: str | None = str(error)
else:
    WEBSOCKETS_ERROR = None


class Kernel:
    """One ``python3`` kernel of the server that ``session`` has started; use it in a ``with``."""

    def __init__(self, session: Session, timeout: float) -> None:
        """Prepare; ``timeout`` in seconds bounds the kernel's start and each run."""
        self.session = session
        self.timeout = timeout
        self._path = f"{session.server_path}api/kernels"
        self._id = uuid.uuid4().hex
        self._connection = contextlib.ExitStack()

    def __enter__(self) -> Kernel:
        """Start the kernel and open its channels.

        Raises:
            HubError: the server or the proxy in front of it refused.
        """
        kernel = self.session.request("POST", self._path, json={"name": "python3"}).json()
        self._path = f"{self._path}/{kernel['id']}"
        self.open()
        return self

    def open(self) -> None:
        """Open the kernel's channels; anew, as a browser does, when they broke.

        Raises:
            HubError: the server or the proxy in front of it refused.
        """
        self._connection.close()
        channels = f"{self._path}/channels?session_id={self._id}"
        url = urljoin(self.session.url, channels).replace("http", "ws", 1)
        try:
            self._socket = self._connection.enter_context(
                connect(
                    url,
                    additional_headers=self.session.websocket_headers(channels),
                    open_timeout=self.timeout,
                    ssl=self.session.tls if url.startswith("wss") else None,
                    max_size=None,
                )
            )
        except (OSError, WebSocketException) as error:
            raise HubError(f"the kernel's websocket does not open: {error}") from error

    def __exit__(self, *_: object) -> None:
        """Close the channels; the kernel itself goes with its server."""
        self._connection.close()

    def run(self, code: str) -> str:
        """Run ``code`` and return what it wrote to its standard output.

        Raises:
            HubError: the code raised, the connection broke, or it took longer than ``timeout``.
        """
        message_id = uuid.uuid4().hex
        request = {
            "channel": "shell",
            "header": {
                "msg_id": message_id,
                "msg_type": "execute_request",
                "session": self._id,
                "username": "",
                "version": "5.3",
            },
            "parent_header": {},
            "metadata": {},
            "content": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
        }
        deadline = time.monotonic() + self.timeout
        printed: list[str] = []
        failure = ""
        try:
            self._socket.send(json.dumps(request))
            while True:
                message = json.loads(self._socket.recv(timeout=max(0.0, deadline - time.monotonic())))
                if message.get("parent_header", {}).get("msg_id") != message_id:
                    continue
                kind, content = message["header"]["msg_type"], message["content"]
                if kind == "stream" and content["name"] == "stdout":
                    printed.append(content["text"])
                elif kind == "error":
                    failure = f"{content['ename']}: {content['evalue']}"
                elif kind == "status" and content["execution_state"] == "idle":
                    break
        except TimeoutError as error:
            raise HubError(f"the kernel did not finish within {self.timeout:g} s") from error
        except (OSError, WebSocketException) as error:
            raise HubError(f"the kernel's websocket broke: {error}") from error
        if failure:
            raise HubError(f"the kernel answered {failure}")
        return "".join(printed)
