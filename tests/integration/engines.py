"""Real Docker engines side by side on this machine, each in a network and a UTS namespace of its own.

They share one bridge, which lies in a namespace of its own too: the machine's firewall and other engines neither see
nor cut it. Nothing here uses an engine, a network or a file that was there before.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

MODULE_RUNNER = Path(__file__).with_name("run_module.py")
START_TIMEOUT = 30.0
CARDS = ["GPU-11111111-0000-4000-8000-000000000001", "GPU-11111111-0000-4000-8000-000000000002"]
PREFIX = f"swarmhub-test-{os.getpid()}"


def sh(*command: str) -> str:
    """Run a command; return its output.

    Raises:
        AssertionError: it failed; says what it printed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}"
    return done.stdout


class Switch:
    """A bridge in a network namespace of its own."""

    namespace = f"{PREFIX}-switch"

    def __enter__(self) -> Switch:
        sh("ip", "netns", "add", self.namespace)
        sh("ip", "-n", self.namespace, "link", "add", "br0", "type", "bridge")
        sh("ip", "-n", self.namespace, "link", "set", "br0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        sh("ip", "netns", "delete", self.namespace)


class Host:
    """A host that has nothing but an engine."""

    def __init__(
        self, name: str, address: str, folder: Path, switch: Switch, daemon_arguments: t.Sequence[str] = ()
    ) -> None:
        self.name = name
        self.address = address
        self.folder = folder / name
        self.namespace = f"{PREFIX}-{name}"
        self.docker_host = f"unix://{self.folder}/docker.sock"
        self._switch = switch
        self._arguments = daemon_arguments
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> t.Iterator[Host]:
        """Give the host a network and a running engine; take both away afterwards."""
        self.folder.mkdir()
        (self.folder / "daemon.json").write_text("{}", encoding="utf-8")  # this machine's own must not leak in
        sh("ip", "netns", "add", self.namespace)
        try:
            self._plug_in()
            self.start()
            yield self
        finally:
            self.stop()
            self._clean_up()
            sh("ip", "netns", "delete", self.namespace)

    def _clean_up(self) -> None:
        """Take away what an engine leaves mounted, and its images."""
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
        for mount in reversed(mounts):
            if Path(mount).is_relative_to(self.folder):
                sh("umount", mount)
        shutil.rmtree(self.folder / "data")

    def _plug_in(self) -> None:
        port = f"port-{self.address.rsplit('.', 1)[-1]}"
        switch = self._switch.namespace
        sh("ip", "-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        sh("ip", "-n", switch, "link", "set", port, "master", "br0", "up")
        sh("ip", "-n", self.namespace, "address", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            sh("ip", "-n", self.namespace, "link", "set", device, "up")

    def start(self) -> None:
        """Start the engine and wait until it answers."""
        assert self._process is None, f"the engine of {self.name} runs already"
        dockerd = [
            "dockerd", f"--config-file={self.folder}/daemon.json", f"--host={self.docker_host}",
            f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid",
            "--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs", *self._arguments,
        ]  # fmt: skip
        # `ip netns exec` would hide the cgroups from the engine.
        command = ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--uts", "sh", "-c"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, 'hostname "$1"; shift; exec "$@"', "sh", self.name, *dockerd], stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_TIMEOUT
        while subprocess.run(["docker", "-H", self.docker_host, "info"], capture_output=True, check=False).returncode:
            assert self._process.poll() is None, f"dockerd ended: {self.log_tail()}"
            assert time.monotonic() < deadline, f"dockerd does not answer after {START_TIMEOUT} s: {self.log_tail()}"
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the engine; its state stays."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=10)
            self._process = None

    def cut(self) -> None:
        """Take the host's link down."""
        sh("ip", "-n", self.namespace, "link", "set", "eth0", "down")

    def mend(self) -> None:
        """Bring the link up again."""
        sh("ip", "-n", self.namespace, "link", "set", "eth0", "up")

    @contextlib.contextmanager
    def frozen(self) -> t.Iterator[None]:
        """Stop the engine in its tracks: its ports still take connections, and nobody answers."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def log_tail(self) -> str:
        """Return the last lines that the engine logged."""
        return "\n".join((self.folder / "log").read_text(encoding="utf-8").splitlines()[-10:])

    def docker(self, *arguments: str) -> str:
        """Run the docker command against this engine."""
        return sh("docker", "-H", self.docker_host, *arguments).strip()

    def module(self, name: str, /, *, check: bool = False, **arguments: t.Any) -> dict[str, t.Any]:
        """Run one of our modules on this host as Ansible would; return what it printed, ``failed`` included."""
        done = subprocess.run(
            self._module_command(name), input=self._module_input(arguments, check=check),
            capture_output=True, text=True, check=False, timeout=150,
        )  # fmt: skip
        assert done.stdout.strip().startswith("{"), (
            f"{name} on {self.name} printed no result: {done.stdout}{done.stderr}"
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        result: dict[str, t.Any] = json.loads(done.stdout)
        return result

    def refusal(self, name: str, /, **arguments: t.Any) -> str:
        """Run a module that must fail; return what it says."""
        refused = self.module(name, **arguments)
        assert refused.get("failed"), f"{name} did not fail: {refused}"
        return str(refused["msg"])

    def killed_module(self, name: str, delay: float, /, **arguments: t.Any) -> None:
        """Run a module and end it with SIGKILL ``delay`` seconds after its first instruction of its own."""
        with subprocess.Popen(
            self._module_command(name), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin
            assert process.stderr
            process.stdin.write(self._module_input(arguments, check=False).encode())
            process.stdin.close()
            assert process.stderr.readline() == b"begins\n"
            time.sleep(delay)
            process.kill()

    def _module_command(self, name: str) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.namespace}", sys.executable, str(MODULE_RUNNER), name]

    def _module_input(self, arguments: dict[str, t.Any], *, check: bool) -> str:
        return json.dumps(
            {**arguments, "docker_host": self.docker_host, "_ansible_check_mode": check, "_ansible_diff": True}
        )

    def settle(self, name: str, /, **arguments: t.Any) -> dict[str, t.Any]:
        """Run a module in check mode, for real, and again; hold it to its prediction and to idempotence.

        Returns:
            The real run's result.
        """
        predicted = self.module(name, check=True, **arguments)
        real = self.module(name, **arguments)
        assert not real.get("failed"), real["msg"]
        assert (predicted.get("changed"), predicted.get("diff")) == (real["changed"], real["diff"]), (
            f"check mode said {predicted}, the real run {real}"
        )
        again = self.module(name, **arguments)
        assert again.get("changed") is False, f"the second run of {name} changed something: {again}"
        return real


class Hosts(t.NamedTuple):
    """The hosts of these tests; ``gpu1`` advertises the two stand-in cards of ``CARDS``."""

    mgr1: Host
    mgr2: Host
    gpu1: Host
