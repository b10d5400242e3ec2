"""What this lab is called, where it keeps things, and what it has started."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .run import LabError, wait_until

REPOSITORY = Path(__file__).resolve().parents[3]
LAB = REPOSITORY / ".lab"
STATE_FILE = LAB / "state.json"
CACHE = Path(os.environ.get("SWARMHUB_CACHE") or Path.home() / ".cache" / "swarmhub")
# Two clones on one machine never share a name: every name carries this.
LAB_ID = hashlib.sha256(str(REPOSITORY).encode()).hexdigest()[:8]


@dataclass
class State:
    """Ids of all that the lab owns; written after every step, so that `down` can clear a half-made lab."""

    lab_id: str = LAB_ID
    layout: str = ""
    subnet: str = ""
    sudo_password: str = ""
    docker_host: str = ""
    network: str = ""  # id of the container hosts' network
    namespace: str = ""  # name of the network namespace of hosts with kernels of their own
    image: str = ""
    light_image: str = ""  # what light hosts are copies of
    spares: list[str] = field(default_factory=list)  # names of those that were asked for
    containers: dict[str, str] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)
    processes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls) -> State:
        """The recorded state, or an empty one."""
        return cls(**json.loads(STATE_FILE.read_text())) if STATE_FILE.exists() else cls()

    def save(self) -> None:
        """Write the state file as a whole or not at all."""
        write_private(STATE_FILE, json.dumps(asdict(self), indent=2) + "\n")

    def address(self, number: int) -> str:
        """The address with this last number in the lab's /24 (1 is the gateway: this machine)."""
        return self.subnet.rsplit(".", 1)[0] + f".{number}"


def write_private(path: Path, text: str) -> None:
    """Write a file atomically, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    part.replace(path)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock in the cache, so that two labs do not make the same thing at once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def process_identity(pid: int) -> str:
    """A process as "pid start-time boot-id", which no later process can be mistaken for; "" when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    if fields[0] == "Z":
        return ""
    return f"{pid} {fields[19]} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"


def alive(identity: str) -> bool:
    """Whether exactly this process still runs."""
    return bool(identity) and process_identity(int(identity.split(maxsplit=1)[0])) == identity


def end_process(identity: str, what: str, timeout: float = 60) -> None:
    """End a process that we started; nothing happens when it has gone, whoever has its number now."""
    if not alive(identity):
        return
    pid = int(identity.split(maxsplit=1)[0])
    os.kill(pid, signal.SIGTERM)
    try:
        wait_until(lambda: not alive(identity), f"the end of {what}", timeout, 0.1)
    except LabError:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(identity), f"the end of {what}", 10, 0.1)
