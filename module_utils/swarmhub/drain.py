"""Empty nodes of notebooks with regard to what these are at: ask each, stop the idle, and the others in time.

A notebook is asked for its kernels and terminals, since the hub itself hears of activity only every few minutes
(https://jupyter-server.readthedocs.io/en/latest/developers/rest-api.html).
"""

from __future__ import annotations

import dataclasses
import datetime
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

from ansible.module_utils.swarmhub.probe_session import HubError, Session

#: Seconds between two looks at the notebooks.
INTERVAL = 3
THREADS = 16
#: States of a kernel in which nothing is lost but what it has in memory.
AT_REST = {"idle", "dead"}
DEADLINE = "deadline"
UNSTOPPED = "left to the swarm, which ends it with the node's drain"


@dataclasses.dataclass
class Notebook:
    """A notebook server on a node that is to be emptied.

    Attributes:
        user, profile, node: whose it is, and where.
        since: when its task was made, in the engine's form of RFC 3339.
        doing: what it was at when it was last asked.
        idle: seconds for which it has been at rest; None while it is busy or gives no answer.
        outcome: what became of it; empty while it runs.
    """

    user: str
    profile: str
    node: str
    since: str
    doing: str = ""
    idle: float | None = None
    outcome: str = ""

    def row(self) -> dict[str, str]:
        """Return it for a table."""
        since = self.since[:16].replace("T", " ")
        return {
            "node": self.node, "user": self.user, "profile": self.profile, "since": since, "doing": self.doing,
            "outcome": self.outcome or "runs",
        }  # fmt: skip


class Drain:
    """The emptying of nodes; ``session`` gives the hub as a user, with the right to stop the user's server."""

    def __init__(self, notebooks: t.Sequence[Notebook], session: t.Callable[[str], Session]) -> None:
        """Ask nobody yet."""
        self.notebooks = notebooks
        self._session = session

    @property
    def left(self) -> list[Notebook]:
        """Those that run."""
        return [notebook for notebook in self.notebooks if not notebook.outcome]

    def look(self) -> None:
        """Ask each that runs what it is at."""
        self._each(self.left, self._ask)

    def run(self, idle_for: float, wait: float, stop_busy: bool) -> None:
        """Stop each once it has been idle for ``idle_for`` seconds, for ``wait`` seconds; then those left, if asked.

        One that the hub fails to stop then, or does not know, is left to the swarm.
        """
        begun = time.monotonic()
        while True:
            self.look()
            self._stop([each for each in self.left if each.idle is not None and each.idle >= idle_for], begun, "idle")
            over = time.monotonic() - begun >= wait
            if over and stop_busy:
                self._stop(self.left, begun, DEADLINE)
            if over or not self.left:
                return
            time.sleep(min(INTERVAL, max(begun + wait - time.monotonic(), 0)))

    def _each(self, notebooks: t.Sequence[Notebook], do: t.Callable[[Notebook], None]) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(do, notebooks))

    def _ask(self, notebook: Notebook) -> None:
        session = self._session(notebook.user)
        try:
            kernels = session.request("GET", f"{session.server_path}api/kernels")
            terminals = session.request("GET", f"{session.server_path}api/terminals")
        except HubError as error:
            notebook.idle, notebook.doing = None, f"no answer: {error}"
            return
        # Of the same clock as the times of activity; the controller's may be another.
        now = parsedate_to_datetime(kernels.headers["Date"])
        notebook.idle, notebook.doing = activity(notebook.since, kernels.json(), terminals.json(), now)

    def _stop(self, notebooks: t.Sequence[Notebook], begun: float, why: str) -> None:
        def stop(notebook: Notebook) -> None:
            try:
                self._session(notebook.user).stop()
            except HubError as error:
                notebook.doing = f"not stopped: {error}"
                if why == DEADLINE:
                    notebook.outcome = UNSTOPPED
            else:
                notebook.outcome = f"stopped after {time.monotonic() - begun:.0f} s: {why}"

        self._each(notebooks, stop)


def activity(
    since: str, kernels: t.Sequence[dict[str, t.Any]], terminals: t.Sequence[dict[str, t.Any]], now: datetime.datetime
) -> tuple[float | None, str]:
    """Return the seconds for which a notebook has been idle (None while a kernel is busy), and that in words.

    Args:
        since: when it was started; without kernels and terminals it is idle since then.
        kernels, terminals: what its server answers at /api/kernels and /api/terminals.
        now: by the clock of the machine that it runs on.
    """
    busy = [kernel for kernel in kernels if kernel["execution_state"] not in AT_REST]
    if busy:
        return None, f"{len(busy)} of {len(kernels)} kernels busy"
    last = max(moment(text) for text in (since, *(each["last_activity"] for each in (*kernels, *terminals))))
    idle = max((now - last).total_seconds(), 0.0)
    having = [f"{len(found)} {what}" for what, found in (("kernels", kernels), ("terminals", terminals)) if found]
    return idle, f"idle for {idle:.0f} s ({', '.join(having) or 'nothing open'})"


def moment(text: str) -> datetime.datetime:
    """Return a time of RFC 3339; the engine's has nine digits of a second, of which Python reads six."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}").replace(tzinfo=datetime.timezone.utc)
