"""A person, or an API token, at the door of a JupyterHub: sign in, start and stop a server, reach what runs in it.

Needs ``httpx`` on the machine where it runs (the controller). The pages and paths are those of JupyterHub 5
(https://jupyterhub.readthedocs.io/en/5.5.4/reference/rest-api.html).
"""

from __future__ import annotations

import json
import ssl
import time
import typing as t
from collections.abc import Sequence
from html.parser import HTMLParser
from urllib.parse import quote, urljoin

try:
    import httpx
except ImportError as error:
    HTTPX_ERROR: str | None = str(error)
else:
    HTTPX_ERROR = None

POLL_SECONDS = 0.5


class HubError(Exception):
    """The hub, or a server behind it, did not do what it was asked; the text holds its own words."""


class NotFound(HubError):
    """The hub knows nothing of that."""


class Page(HTMLParser):
    """What a hub page says to a person: its forms' fields, and its error texts."""

    ERROR_CLASSES = frozenset({"login_error", "spawn-error-msg", "error"})
    VOID_TAGS = frozenset({"input", "br", "hr", "img", "link", "meta"})

    def __init__(self, html: str) -> None:
        """Read ``html`` at once."""
        super().__init__()
        self.fields: dict[str, list[str]] = {}
        self.actions: dict[str, str] = {}
        self._errors: list[str] = []
        self._select: str | None = None
        self._error_depth = 0
        self.feed(html)

    @property
    def error(self) -> str:
        """The page's error texts as one line, '' when there are none."""
        return " ".join(" ".join(self._errors).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note forms, fields and the beginning of an error text."""
        given = {key: value or "" for key, value in attrs}
        if self._error_depth:
            self._error_depth += tag not in self.VOID_TAGS
        elif self.ERROR_CLASSES & set(given.get("class", "").split()):
            self._error_depth = 1
        if tag == "form":
            self.actions[given.get("id", "")] = given.get("action", "")
        elif tag == "select":
            self._select = given.get("name")
        elif tag == "option" and self._select:
            self.fields.setdefault(self._select, []).append(given.get("value", ""))
        elif tag == "input" and given.get("name"):
            self.fields.setdefault(given["name"], []).append(given.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        """Note the end of a list of options and of an error text."""
        if tag == "select":
            self._select = None
        if self._error_depth and tag not in self.VOID_TAGS:
            self._error_depth -= 1

    def handle_data(self, data: str) -> None:
        """Keep the text inside an error."""
        if self._error_depth:
            self._errors.append(data)


def words_of(response: httpx.Response) -> str:
    """The hub's own words in an answer: JSON ``message``, the page's error text, or the bare status line."""
    response.read()
    if "json" in response.headers.get("Content-Type", ""):
        answer = response.json()
        if isinstance(answer, dict) and answer.get("message"):
            return f"{response.status_code} {answer['message']}"
    return f"{response.status_code} {Page(response.text).error or response.reason_phrase}"


def tls_context(ca_paths: Sequence[str] | None, validate: bool) -> ssl.SSLContext:
    """The trust for pages and websockets: the machine's own, and the PEM files ``ca_paths`` besides.

    Raises:
        HubError: one of ``ca_paths`` cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    if not validate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for ca_path in ca_paths or ():
        try:
            context.load_verify_locations(cafile=ca_path)
        except OSError as error:  # noqa: PERF203 - which one it was is to be told
            raise HubError(f"ca_paths: {ca_path} holds no certificate that can be read: {error}") from error
    return context


class Session:
    """One account's way through a hub; a subclass knows how it proves who it is.

    Attributes:
        name: the account whose server is started.
        start_timeout: seconds that a server may take to become ready, or to be gone after a stop.
    """

    def __init__(
        self, url: str, name: str, *, start_timeout: float, request_timeout: float, tls: ssl.SSLContext
    ) -> None:
        """Open nothing yet; ``url`` is the hub's public address."""
        self.url = url.rstrip("/") + "/"
        self.name = name
        self.start_timeout = start_timeout
        self.tls = tls
        self.http = httpx.Client(timeout=request_timeout, verify=tls)

    # What a subclass decides -------------------------------------------------------------------------------------

    def sign_in(self) -> str:
        """Prove who we are; returns how, for a person to read."""
        raise NotImplementedError

    def _ask(self, options: dict[str, str]) -> None:
        """Ask for a server with these options."""
        raise NotImplementedError

    def _headers(self, path: str) -> dict[str, str]:
        """What a request to ``path`` has to carry besides cookies."""
        raise NotImplementedError

    def enter_server(self) -> None:
        """Be let in by the server that has just started."""
        raise NotImplementedError

    # What both can do --------------------------------------------------------------------------------------------

    @property
    def server_path(self) -> str:
        """Where the account's server is, below the hub's public address."""
        return f"user/{quote(self.name, safe='@~')}/"

    @property
    def api_path(self) -> str:
        """The account in the hub's REST API."""
        return f"hub/api/users/{quote(self.name, safe='')}"

    def request(self, method: str, path: str, **options: t.Any) -> httpx.Response:
        """Send one request to a path below the hub's public address.

        Raises:
            HubError: no answer, or a status of 400 and above.
        """
        url = urljoin(self.url, path)
        headers = {**self._headers(path), **options.pop("headers", {})}
        try:
            response = self.http.request(method, url, headers=headers, **options)
        except httpx.HTTPError as error:
            raise HubError(f"{method} {url}: {str(error) or type(error).__name__}") from error
        if response.status_code >= 400:
            kind = NotFound if response.status_code == 404 else HubError
            raise kind(f"{method} {url.partition('?')[0]}: {words_of(response)}")
        return response

    def server(self) -> dict[str, t.Any] | None:
        """The hub's model of the account's server, ``None`` when there is none, not even a pending one."""
        model = self.request("GET", self.api_path).json()
        server = model.get("servers", {}).get("")
        if server is None and (model.get("server") or model.get("pending")):
            return {"ready": bool(model.get("server")), "pending": model.get("pending")}
        return t.cast("dict[str, t.Any] | None", server)

    def start(self, profile: str, node: str | None = None) -> None:
        """Ask for a server of ``profile``; only an administrator may also choose the ``node`` (its host name).

        Raises:
            HubError: it failed at once, in the hub's words.
        """
        try:
            self._ask({"profile": profile, **({"node": node} if node else {})})
        except HubError as refusal:
            # The refusal itself is often a bare "error"; the event stream knows the reason.
            event = self._first_event()
            raise (HubError(str(event["message"])) if event.get("failed") else refusal) from refusal

    def wait_until_ready(self) -> str:
        """Follow the start's event stream to its end; returns the hub's last word.

        Raises:
            HubError: with the hub's words, when the start failed or took longer than ``start_timeout``.
        """
        deadline = time.monotonic() + self.start_timeout
        said: list[str] = []
        for event in self.events():
            if event.get("ready"):
                return str(event["message"])
            if event.get("failed"):
                raise HubError("; ".join([*said[-1:], str(event.get("message", "no reason given"))]))
            if event.get("message") and event["message"] not in said:
                said.append(str(event["message"]))
            if time.monotonic() > deadline:
                break
        last = said[-1] if said else "nothing"
        raise HubError(f"not ready after {self.start_timeout:g} s; the hub's last word: {last}")

    def events(self) -> t.Iterator[dict[str, t.Any]]:
        """The events of a start; an empty one for each of the hub's signs of life between them."""
        url = urljoin(self.url, f"{self.api_path}/server/progress")
        try:
            with self.http.stream("GET", url, headers=self._headers(url)) as response:
                if response.status_code >= 400:
                    raise HubError(f"the hub tells nothing about this start: {words_of(response)}")
                for line in response.iter_lines():
                    yield json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
        except httpx.HTTPError as error:
            raise HubError(f"the start's progress broke off: {str(error) or type(error).__name__}") from error

    def _first_event(self) -> dict[str, t.Any]:
        """The first event of a start, empty when there is no start to tell of."""
        try:
            return next((event for event in self.events() if event), {})
        except HubError:
            return {}

    def stop(self) -> None:
        """Stop the account's server, started or starting, and wait until the hub says that it is gone.

        Raises:
            HubError: it is still there after ``start_timeout``.
        """
        deadline = time.monotonic() + self.start_timeout
        self.request("DELETE", f"{self.api_path}/server")
        while (server := self.server()) is not None:
            if time.monotonic() > deadline:
                raise HubError(f"still {server.get('pending') or 'running'} {self.start_timeout:g} s after the stop")
            time.sleep(POLL_SECONDS)

    def websocket_headers(self, path: str) -> dict[str, str]:
        """The headers, cookies included, that open a websocket at ``path``."""
        url = urljoin(self.url, path)
        cookie = self.http.build_request("GET", url).headers.get("Cookie")
        return {**self._headers(path), **({"Cookie": cookie} if cookie else {})}

    def token_is_accepted(self, token: str) -> bool:
        """Whether the hub still knows ``token``, asked as its holder would ask.

        Raises:
            HubError: the hub answered neither yes nor no.
        """
        try:
            # A client of its own: the cookies of a person who is signed in would open the door as well.
            with httpx.Client(timeout=self.http.timeout, verify=self.tls) as client:
                answer = client.get(urljoin(self.url, "hub/api/user"), headers={"Authorization": f"token {token}"})
        except httpx.HTTPError as error:
            raise HubError(f"the hub did not answer a server's token: {error}") from error
        if answer.status_code not in (200, 403):
            raise HubError(f"the hub answered a server's token with {words_of(answer)}")
        return answer.status_code == 200


class TokenSession(Session):
    """By API token, as a script would: any account, and, for an administrator's token, any node."""

    def __init__(self, url: str, name: str, token: str, **options: t.Any) -> None:
        """See :class:`Session`; ``token`` needs the scopes ``servers``, ``read:users`` and ``access:servers``."""
        super().__init__(url, name, **options)
        self._token = token

    def sign_in(self) -> str:
        """Ask the hub whether it knows the token and the account, and has a sign-in page for people.

        Raises:
            NotFound: there is no such account.
            HubError: the token is refused, or the page fails.
        """
        try:
            # A client of its own: there the token is nobody's.
            with httpx.Client(timeout=self.http.timeout, verify=self.tls) as client:
                door = client.get(urljoin(self.url, "hub/login"))
        except httpx.HTTPError as error:
            raise HubError(f"the sign-in page: {str(error) or type(error).__name__}") from error
        if door.status_code >= 400:
            raise HubError(f"the sign-in page: {words_of(door)}")
        self.request("GET", self.api_path)
        return "by API token"

    def _ask(self, options: dict[str, str]) -> None:
        self.request("POST", f"{self.api_path}/server", json=options)

    def enter_server(self) -> None:
        """The token opens the server as well; nothing to do."""

    def _headers(self, path: str) -> dict[str, str]:  # noqa: ARG002 - it opens every path
        return {"Authorization": f"token {self._token}"}


class FormSession(Session):
    """By name and password, through the pages that a person sees."""

    def __init__(self, url: str, name: str, password: str, **options: t.Any) -> None:
        """See :class:`Session`."""
        super().__init__(url, name, **options)
        self._password = password

    def sign_in(self) -> str:
        """Fill in the sign-in page.

        Raises:
            HubError: the page has no password form, or refuses, in its own words.
        """
        page = Page(self.request("GET", "hub/login").text)
        if "password" not in page.fields:
            raise HubError(f"{self.url}hub/login asks for no password: probe with an API token instead")
        form = {"_xsrf": page.fields.get("_xsrf", [""])[0], "username": self.name, "password": self._password}
        answer = self.request("POST", "hub/login", data=form)
        if not answer.is_redirect:
            raise HubError(Page(answer.text).error or "the sign-in page came back without a word")
        self.name = self.request("GET", "hub/api/user").json()["name"]
        return "by the sign-in page"

    def _ask(self, options: dict[str, str]) -> None:
        answer = self.request("GET", "hub/spawn")
        if answer.is_redirect:  # one profile alone is no choice, and is being started
            self._check_what_starts(options["profile"])
            return
        page = Page(answer.text)
        offered = page.fields.get("profile", [])
        if options["profile"] not in offered:
            raise HubError(f"the spawn page does not offer it, but {', '.join(offered) or 'no profile at all'}")
        action = urljoin(f"{self.url}hub/spawn", page.actions.get("spawn_form", ""))
        answer = self.request("POST", action, data=options)
        if not answer.is_redirect:
            raise HubError(Page(answer.text).error or "the spawn page came back without a word")

    def _check_what_starts(self, profile: str) -> None:
        """Wait until the hub knows what it starts; of a start that failed its events tell."""
        deadline = time.monotonic() + self.start_timeout
        while (server := self.server()) is not None and time.monotonic() < deadline:
            if started := server["user_options"].get("profile"):
                if started != profile:
                    raise HubError(f"the spawn page offers no choice, and started {started}")
                return
            time.sleep(POLL_SECONDS)

    def enter_server(self) -> None:
        """Walk the redirects between server and hub that end with the server's own cookies."""
        self.request("GET", self.server_path, headers={"Sec-Fetch-Mode": "navigate"}, follow_redirects=True)

    def _headers(self, path: str) -> dict[str, str]:
        scope = self.server_path if path.startswith("user/") else "hub/"
        for cookie in self.http.cookies.jar:
            if cookie.name == "_xsrf" and cookie.path.endswith(f"/{scope}"):
                return {"X-XSRFToken": cookie.value or ""}
        return {}
