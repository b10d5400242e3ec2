"""What the end-to-end tests share: the lab that is up, its hosts, its plays, its hub."""

from __future__ import annotations

import base64
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.swarmhub.probe_session import HubError, TokenSession, tls_context
from playwright.sync_api import Page, sync_playwright

from .cards import mend

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / ".lab"
INVENTORY = LAB / "inventory"
SECRETS = INVENTORY / "secrets"
START_TIMEOUT = 120  # seconds that a notebook may take in the lab
SPARE = "gpu3"  # a host that is there only once it is asked for

CHROMIUM = "/usr/bin/chromium"
# The tests run as root, and the browser has nobody to talk to but the lab.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PAGE_TIMEOUT = 60_000  # ms

RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
EVENT = re.compile(r"^(?:ok|changed|skipping|fatal|failed): \[", re.MULTILINE)


@dataclass(frozen=True)
class PlayResult:
    """How a playbook ended: exit code, all it printed, the recap as ``{host: {counter: n}}``, and seconds."""

    code: int
    output: str
    seconds: float

    @property
    def stats(self) -> dict[str, dict[str, int]]:
        names = ("ok", "changed", "unreachable", "failed")
        return {host: dict(zip(names, map(int, counts), strict=True)) for host, *counts in RECAP.findall(self.output)}

    @property
    def changed(self) -> dict[str, int]:
        return {host: counts["changed"] for host, counts in self.stats.items()}

    @property
    def events(self) -> int:
        """How often a task met a host, skipped or not."""
        return len(EVENT.findall(self.output))


def run_playbook(name: str, *arguments: str, inventory: Path = INVENTORY, timeout: float = 300) -> PlayResult:
    """Run a playbook of the project on ``inventory`` with these command line arguments, at most ``timeout`` seconds."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "--inventory", str(inventory), name, *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return PlayResult(done.returncode, done.stdout, time.monotonic() - begun)


def lab_command(*arguments: str) -> None:
    """Run a command of molecule/shared/lab.py."""
    subprocess.run(
        [sys.executable, "molecule/shared/lab.py", *arguments], cwd=ROOT, check=True, capture_output=True, timeout=300
    )


class Lab:
    """The cluster that ``make lab`` has brought up."""

    def __init__(self) -> None:
        self.access: dict[str, str] = json.loads((LAB / "access.json").read_text())
        listed = subprocess.run(
            [sys.executable, "-m", "ansible", "inventory", "--inventory", str(INVENTORY), "--list"],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        self.inventory: dict[str, t.Any] = json.loads(listed.stdout)
        self.variables: dict[str, dict[str, t.Any]] = self.inventory["_meta"]["hostvars"]
        self.manager: str = self.inventory["managers"]["hosts"][0]

    @property
    def api_token(self) -> str:
        """The administrator's token, as it is now."""
        return (SECRETS / "api_token").read_text().strip()

    def ssh(self, host: str, command: str, *, timeout: float = 60, check: bool = True) -> str:
        """Run a shell command as root on a host, over a connection of its own; return what it prints.

        Raises subprocess.CalledProcessError, with the command's own words, when it fails and ``check`` is true.
        """
        variables = self.variables[host]
        target = f"{variables['ansible_user']}@{variables['ansible_host']}"
        options = {
            "UserKnownHostsFile": LAB / "known_hosts",
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": 10,
            "ControlPath": "none",
        }
        sudo = f"sudo -S -p '' sh -c {shlex.quote(f'exec </dev/null; {command}')}"
        done = subprocess.run(
            ["ssh", "-i", str(LAB / "ssh_key"), *(f"-o{key}={value}" for key, value in options.items()), target, sudo],
            input=f"{variables.get('ansible_become_password', '')}\n",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise subprocess.CalledProcessError(done.returncode, f"{host}: {command}", done.stdout, done.stderr)
        return done.stdout

    def docker(self, *arguments: str, host: str = "", timeout: float = 60) -> str:
        """Run Docker's command line client on a host, by default on the first manager."""
        return self.ssh(host or self.manager, shlex.join(["docker", *arguments]), timeout=timeout).strip()

    def inspect(self, kind: str, *names: str, host: str = "") -> list[dict[str, t.Any]]:
        """The decoded answer of ``docker inspect``; an empty list when no name is given."""
        if not names:
            return []
        return t.cast("list[dict[str, t.Any]]", json.loads(self.docker("inspect", "--type", kind, *names, host=host)))

    def services(self, user: str = "") -> list[str]:
        """The ids of the hub's services: the stack's, or the notebooks of ``user``."""
        label = f"swarmhub.user={user}" if user else "com.docker.stack.namespace=swarmhub"
        return self.docker("service", "ls", "--quiet", "--filter", f"label={label}").split()

    def containers(self, service: str) -> list[tuple[str, str]]:
        """Where a service runs: pairs of inventory host and container id."""
        ids = self.docker(
            "service", "ps", "--quiet", "--no-trunc", "--filter", "desired-state=running", service
        ).split()
        running = [task for task in self.inspect("task", *ids) if task["Status"]["State"] == "running"]
        return [(self._host(task["NodeID"]), task["Status"]["ContainerStatus"]["ContainerID"]) for task in running]

    @functools.cache  # noqa: B019 - one object for the whole run
    def _host(self, node_id: str) -> str:
        """The inventory's name of a node: only the address is the same in both worlds."""
        node = self.inspect("node", node_id)[0]
        address = node.get("ManagerStatus", {}).get("Addr", node["Status"]["Addr"]).partition(":")[0]
        return next(host for host, known in self.variables.items() if known["ansible_host"] == address)

    def profile(self, cards: bool) -> str:
        """The slug of the inventory's first profile with, or without, cards."""
        profiles = self.variables[self.manager]["hub_profiles"]
        return t.cast(str, next(each["slug"] for each in profiles if bool(each.get("gpus")) is cards))

    def session(self, user: str) -> TokenSession:
        """The hub as ``user``, by the lab's API token."""
        options = {"start_timeout": START_TIMEOUT, "request_timeout": 30, "tls": tls_context(None, True)}
        return TokenSession(self.access["url"], user, self.api_token, **options)

    def add_user(self, user: str) -> TokenSession:
        """A session of a user who has just been made, or was left by an earlier run, without a server."""
        session = self.session(user)
        try:
            session.request("POST", session.api_path)
        except HubError:
            self.remove_user(session)
            session.request("POST", session.api_path)
        return session

    def remove_user(self, session: TokenSession) -> None:
        """Stop the user's server, if there is one, and forget the user; the home stays."""
        if session.server() is not None:
            session.stop()
        session.request("DELETE", session.api_path)


def carry_out(lab: Lab) -> None:
    """Take the spare host away, and its node out of the swarm."""
    left = lab.docker("node", "ls", "--filter", f"name={SPARE}", "--quiet").split()
    lab_command("remove", SPARE)
    if left:
        lab.docker("node", "rm", "--force", *left)


def bring_bare(lab: Lab) -> None:
    """Bring the spare host in as it came from the shop: in the inventory, with nothing of swarmhub yet."""
    carry_out(lab)
    lab_command("add", SPARE)


def secret_values() -> dict[str, set[str]]:
    """What must not be seen anywhere: ``{file: forms}``; certificates are public, of keys each line counts."""
    values = {}
    for path in sorted(SECRETS.iterdir()):
        if path.suffix != ".crt":
            text = path.read_text().strip()
            lines = {line for line in text.splitlines() if len(line) >= 16 and not line.startswith("-----")}
            values[path.name] = lines | {base64.b64encode(form.encode()).decode() for form in (text, f"{text}\n")}
    assert values, f"{SECRETS} is empty"
    return values


def secrets_seen_in(text: str) -> list[str]:
    """The names, never the values, of the secrets that a text holds."""
    return [name for name, forms in secret_values().items() if any(form in text for form in forms)]


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab that is up; without one the test fails, since a test that skips proves nothing."""
    missing = [
        path for path in (LAB / "access.json", INVENTORY, LAB / "ssh_key", LAB / "known_hosts") if not path.exists()
    ]
    if missing:
        pytest.fail(f"no lab is up: {missing[0].relative_to(ROOT)} does not exist; run `make lab` first", pytrace=False)
    return Lab()


@pytest.fixture(scope="module")
def notebook(lab: Lab) -> t.Iterator[TokenSession]:
    """A user whose notebook runs on a CPU worker, one for the tests of a file."""
    session = lab.add_user("e2e-notebook")
    try:
        session.start(lab.profile(cards=False))
        session.wait_until_ready()
        yield session
    finally:
        lab.remove_user(session)


@pytest.fixture(scope="session")
def pool() -> t.Iterator[ThreadPoolExecutor]:
    """Threads for requests that return late."""
    with ThreadPoolExecutor(12) as pool:
        yield pool


@pytest.fixture
def mended(lab: Lab) -> t.Iterator[None]:
    """Cards and drivers are well again after the test."""
    yield
    mend(lab)


@pytest.fixture
def page() -> t.Iterator[Page]:
    """A window of Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PAGE_TIMEOUT)
        yield page
        browser.close()


def sign_in(lab: Lab, page: Page) -> None:
    """Sign in as the lab's administrator."""
    page.goto(f"{lab.access['url'].rstrip('/')}/")
    page.fill("#username_input", lab.access["admin_user"])
    page.fill("#password_input", lab.access["admin_password"])
    page.click("#login_submit")


def screenshot(name: str) -> Path:
    """Where a picture of the page is kept."""
    path = LAB / "screenshots" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def copied_inventory(tmp_path: Path) -> Path:
    """The lab's inventory, secrets included, to be spoilt."""
    return Path(shutil.copytree(INVENTORY, tmp_path / "inventory"))


def edit_hosts(inventory: Path, edit: t.Callable[[dict[str, t.Any]], None]) -> None:
    """Change the ``all`` group of an inventory's hosts.yml in place."""
    path = inventory / "hosts.yml"
    content = yaml.safe_load(path.read_text())
    edit(content["all"])
    path.write_text(yaml.safe_dump(content))
