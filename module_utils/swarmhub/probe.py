"""A user's path through the service, step by step, for each profile.

Start a server, run code in a kernel, look at what the kernel may see, write a file, stop; start again on another node,
find the file, and leave nothing behind. Each step becomes a row that a person can read.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
import typing as t
import uuid

from ansible.module_utils.swarmhub.probe_kernel import WEBSOCKETS_ERROR, Kernel
from ansible.module_utils.swarmhub.probe_session import HTTPX_ERROR, HubError, NotFound, Session, TokenSession

PROBE_ACCOUNT = "swarmhub-probe"

PASSED = "passed"
FAILED = "failed"
ONE_NODE_ONLY = "one node only"

# What the spawner tells every server: the node's host name, by Docker's own template {{.Node.Hostname}}.
NODE_VARIABLE = "SWARMHUB_NODE"
GPU_VARIABLE = "DOCKER_RESOURCE_GPU"
TOKEN_VARIABLE = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - a name
SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CRYPT_KEY", re.IGNORECASE)

# The file's name is fixed, so that a run which was killed leaves one file at most, and the next run takes it away.
TEST_FILE = ".swarmhub-probe"
ENVIRONMENT_CODE = "import json, os; print(json.dumps(dict(os.environ)))"
WRITE_CODE = "import pathlib; print((pathlib.Path.home() / {file!r}).write_text({text!r}))"
READ_CODE = "import pathlib; f = pathlib.Path.home() / {file!r}; print(f.read_text() if f.exists() else '')"
REMOVE_CODE = "import pathlib; (pathlib.Path.home() / {file!r}).unlink(missing_ok=True)"

Verdict = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Profile:
    """A profile to be probed: its slug, the cards that it promises, the host names of the nodes that it fits."""

    slug: str
    gpus: int
    nodes: list[str]


@dataclasses.dataclass(frozen=True)
class Row:
    """One step of one profile ('' before the first profile): what came out, after how many seconds, in which words."""

    profile: str
    step: str
    outcome: str
    seconds: float
    detail: str


def missing_library() -> str | None:
    """Which library the controller lacks, in a sentence that says what to do; ``None`` when all are there."""
    for name, error in (("httpx", HTTPX_ERROR), ("websockets", WEBSOCKETS_ERROR)):
        if error:
            return (
                f"hub_probe runs on the controller and needs the Python library {name} there ({error}): "
                "install the project's requirements and set ansible_python_interpreter to ansible_playbook_python"
            )
    return None


class Redactor:
    """Takes the secrets that it was told out of whatever a person will read."""

    def __init__(self, *secrets: str | None) -> None:
        """Begin with ``secrets``; empty ones do not count."""
        self.secrets = {secret for secret in secrets if secret}

    def __call__(self, text: str) -> str:
        """Return ``text`` with every secret replaced, the longest first, since one may hold another."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


class ProfileProbe:
    """The steps of one profile; the first failure ends them, but for the clean-up."""

    def __init__(self, session: Session, admin: TokenSession | None, profile: Profile, redact: Redactor) -> None:
        """``admin`` starts servers on a node of its choice; without it a profile with several nodes fails there."""
        self.session = session
        self.admin = admin
        self.profile = profile
        self.redact = redact
        self.kernel: Kernel | None = None
        self.environment: dict[str, str] = {}
        self.text = uuid.uuid4().hex
        self.file_left = False

    def steps(self) -> list[tuple[str, t.Callable[[], Verdict]]]:
        """The path, in the order in which a user walks it."""
        return [
            ("start a server", self.start),
            ("run code in a kernel", self.run_code),
            ("see the profile's cards", self.see_cards),
            ("hold no token but its own", self.hold_one_token),
            ("write a file", self.write_file),
            ("stop the server", self.stop),
            ("have its token revoked", self.have_token_revoked),
            ("start on another node", self.start_elsewhere),
            ("find the file again", self.find_file),
        ]

    def start(self) -> Verdict:
        """Start a server wherever the scheduler likes."""
        if not self.profile.nodes:
            raise HubError("no node of the cluster is ready, active and fit for this profile")
        self.session.start(self.profile.slug)
        return PASSED, self.session.wait_until_ready()

    def run_code(self) -> Verdict:
        """Run a sum, then ask for the environment that the next steps look at."""
        self._open_kernel()
        answer = self._run("print(6 * 7)").strip()
        if answer != "42":
            raise HubError(f"6 * 7 printed {answer!r}")
        node = self.environment.get(NODE_VARIABLE)
        return PASSED, f"6 * 7 is 42 on {node or 'a node that is not told'}"

    def see_cards(self) -> Verdict:
        """As many different cards as the profile promises, and none where it promises none."""
        given = self.environment.get(GPU_VARIABLE, "")
        cards = [] if given == "void" else [card for card in given.split(",") if card]
        if len(set(cards)) != self.profile.gpus or len(cards) != self.profile.gpus:
            raise HubError(f"{GPU_VARIABLE} holds {len(cards)} cards, not {self.profile.gpus}: {given or 'empty'}")
        if short := [card for card in cards if not card.startswith(("GPU-", "MIG-"))]:
            raise HubError(f"{GPU_VARIABLE} holds what is no UUID of a card: {', '.join(short)}")
        return PASSED, ", ".join(cards) or "none"

    def hold_one_token(self) -> Verdict:
        """The server's own token is valid, and nothing else in the environment is a secret."""
        own = self.environment.get(TOKEN_VARIABLE, "")
        if not own or not self.session.token_is_accepted(own):
            raise HubError(f"{TOKEN_VARIABLE} is {'refused by the hub' if own else 'empty'} while the server runs")
        others = [
            name
            for name, value in self.environment.items()
            if value != own
            and (any(secret in value for secret in self.redact.secrets - {own}) or (value and SECRET_NAME.search(name)))
        ]
        if others:
            raise HubError(f"the environment holds more than the server's own token: {', '.join(sorted(others))}")
        return PASSED, "only its own"

    def write_file(self) -> Verdict:
        """Write a text that no earlier run can have left."""
        self.file_left = True
        self._run(WRITE_CODE.format(file=TEST_FILE, text=self.text))
        return PASSED, f"~/{TEST_FILE}"

    def stop(self) -> Verdict:
        """Stop, and wait until the server is gone."""
        self._close_kernel()
        self.session.stop()
        return PASSED, "gone"

    def have_token_revoked(self) -> Verdict:
        """The token of the stopped server opens nothing any more."""
        if self.session.token_is_accepted(self.environment[TOKEN_VARIABLE]):
            raise HubError("the hub still accepts the token of the server that it has stopped")
        return PASSED, "refused"

    def start_elsewhere(self) -> Verdict:
        """Start again on another node; where only one fits, on that one, and say so."""
        nodes = self.profile.nodes
        if self.admin is None:
            if len(nodes) > 1:
                raise HubError(f"{len(nodes)} nodes fit, but only an administrator's api_token may choose one")
            self.session.start(self.profile.slug)
            self.session.wait_until_ready()
            self._open_kernel()
            return ONE_NODE_ONLY, f"started again on {nodes[0]}"
        first = self.environment.get(NODE_VARIABLE)
        if not first:
            raise HubError(f"the spawner does not set {NODE_VARIABLE}, so that nobody knows where the first server ran")
        target = next((node for node in nodes if node != first), nodes[0])
        self.admin.start(self.profile.slug, target)
        self.session.wait_until_ready()
        self._open_kernel()
        if self.environment.get(NODE_VARIABLE) != target:
            raise HubError(f"asked for {target}, but it runs on {self.environment.get(NODE_VARIABLE)}")
        if target == first:
            return ONE_NODE_ONLY, f"started again on {target}"
        return PASSED, f"{first}, then {target}"

    def find_file(self) -> Verdict:
        """Read what the first server wrote."""
        found = self._run(READ_CODE.format(file=TEST_FILE)).strip()
        if found != self.text:
            raise HubError(f"~/{TEST_FILE} {'holds another text' if found else 'is not there'} after the second start")
        return PASSED, f"~/{TEST_FILE}"

    def clean_up(self) -> Verdict:
        """Remove the file and stop the server, the second even where the first fails."""
        trouble = ""
        server = self.session.server()
        if self.file_left and server and server.get("ready"):
            try:
                if self.kernel is None:
                    self._open_kernel()
                self._run(REMOVE_CODE.format(file=TEST_FILE))
                self.file_left = False
            except HubError as error:
                trouble = str(error)
        self._close_kernel()
        if server:
            self.session.stop()
        if self.file_left:
            raise HubError(f"~/{TEST_FILE} stays until the next run: {trouble or 'no server to remove it with'}")
        return PASSED, "nothing left"

    def _open_kernel(self) -> None:
        self.session.enter_server()
        self.kernel = Kernel(self.session, self.session.start_timeout).__enter__()
        self.environment = json.loads(self._run(ENVIRONMENT_CODE))
        if token := self.environment.get(TOKEN_VARIABLE):
            self.redact.secrets.add(token)

    def _close_kernel(self) -> None:
        if self.kernel:
            self.kernel.__exit__(None, None, None)
            self.kernel = None

    def _run(self, code: str) -> str:
        if self.kernel is None:
            raise HubError("there is no kernel")
        return self.kernel.run(code)


class Probe:
    """All profiles of one hub, one after the other, by one account."""

    def __init__(
        self, session: Session, admin: TokenSession | None, redact: Redactor, *, predicts: bool = False
    ) -> None:
        """Probe the account of ``session``; ``admin``: see :class:`ProfileProbe`; ``predicts``: make no account."""
        self.predicts = predicts
        self.session = session
        self.admin = admin
        self.redact = redact
        self.rows: list[Row] = []

    def sign_in(self) -> bool:
        """Sign in and make sure that no server of the account is in the way; whether that went well."""
        return self._row("", "sign in", self._sign_in)

    def run(self, profiles: list[Profile]) -> None:
        """Walk the path for each profile; the rows tell how it went."""
        for profile in profiles:
            probe = ProfileProbe(self.session, self.admin, profile, self.redact)
            try:
                for step, action in probe.steps():
                    if not self._row(profile.slug, step, action):
                        break
            finally:
                self._row(profile.slug, "clean up", probe.clean_up)

    def failures(self) -> str:
        """The failed rows as one sentence, '' when there are none."""
        return "; ".join(
            f"{f'profile {row.profile}, ' if row.profile else ''}{row.step}: {row.detail}"
            for row in self.rows
            if row.outcome == FAILED
        )

    def _sign_in(self) -> Verdict:
        try:
            how = self.session.sign_in()
        except NotFound:
            if self.session.name != PROBE_ACCOUNT:
                raise
            if self.predicts:
                return PASSED, "by API token; the account is still to be made"
            self.session.request("POST", self.session.api_path)
            how = "by API token, with a new account"
        if self.admin:
            self.admin.name = self.session.name
        if self.session.server() is None:
            return PASSED, how
        if self.session.name != PROBE_ACCOUNT:
            raise HubError(
                f"{self.session.name} has a server running, which the probe would stop: "
                f"stop it first, or probe as {PROBE_ACCOUNT}"
            )
        self.session.stop()
        return PASSED, f"{how}; stopped the server that an earlier run had left"

    def _row(self, profile: str, step: str, action: t.Callable[[], Verdict]) -> bool:
        begun = time.monotonic()
        try:
            outcome, detail = action()
        except HubError as error:
            outcome, detail = FAILED, str(error)
        seconds = round(time.monotonic() - begun, 1)
        self.rows.append(Row(profile, step, outcome, seconds, self.redact(detail)))
        return outcome != FAILED
