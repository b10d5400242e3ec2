"""Commands, phases and progress: everything that the lab says and starts goes through here."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROGRESS_EVERY = 15.0  # seconds between two progress lines where there is no terminal


class LabError(Exception):
    """What went wrong and what to do about it, as one readable message."""


def say(text: str) -> None:
    """Print one line at once, also into a pipe."""
    print(text, flush=True)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Announce a phase and, when it ends, how long it took."""
    started = time.monotonic()
    say(f"==> {name}")
    try:
        yield
    except BaseException:
        say(f"    {name}: failed after {time.monotonic() - started:.1f} s")
        raise
    say(f"    {name}: {time.monotonic() - started:.1f} s")


def output(command: Sequence[str], *, stdin: str | None = None, timeout: float = 120) -> str:
    """Run a short command and return what it prints.

    Raises LabError with the command's own words when it fails or does not end within `timeout` seconds.
    """
    try:
        done = subprocess.run(
            command,
            check=False,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(command)}` did not end within {timeout:.0f} s") from error
    if done.returncode != 0:
        raise LabError(f"`{' '.join(command)}` failed ({done.returncode}): {(done.stderr or done.stdout).strip()}")
    return done.stdout


def succeeds(command: Sequence[str], timeout: float = 60) -> bool:
    """Whether a command exists and ends well within `timeout` seconds."""
    try:
        return (
            subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=timeout,
            ).returncode
            == 0
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def listening(address: str, port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((address, port)) == 0


def wait_until(ready: Callable[[], bool], what: str, timeout: float, every: float = 0.5) -> None:
    """Wait at most `timeout` seconds for `ready`; LabError names `what` when it does not come."""
    limit = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > limit:
            raise LabError(f"{what} did not happen within {timeout:.0f} s")
        time.sleep(every)


def _last_line(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 2000))
        lines = [line for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def logged(
    command: Sequence[str],
    log: Path,
    *,
    timeout: float,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    progress: Callable[[Path], str] = _last_line,
) -> None:
    """Run a long command with its output in `log`, and show now and then how far it is.

    Raises LabError with the log's last lines when it fails or takes longer than `timeout` seconds.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = shown = time.monotonic()
    terminal = sys.stdout.isatty()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, cwd=cwd, env=env
        )
        try:
            while (code := process.poll()) is None:
                time.sleep(0.2)
                now = time.monotonic()
                if now - started > timeout:
                    raise LabError(f"`{command[0]}` did not end within {timeout:.0f} s; its output is in {log}")
                if now - shown >= (1.0 if terminal else PROGRESS_EVERY):
                    shown = now
                    line = f"    {now - started:4.0f} s  {progress(log)}"
                    if terminal:
                        print(f"\r\033[K{line[:110]}", end="", flush=True)
                    else:
                        say(line[:160])
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)
            if terminal:
                print("\r\033[K", end="", flush=True)
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise LabError(f"`{command[0]}` failed ({code}); the end of {log}:\n{tail}")
