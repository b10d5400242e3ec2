"""The hub on a real MariaDB: its schema, its tables of ours, its lock. PostgreSQL is what every lab runs on."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HUB_PYTHON = ROOT / ".venv-hub" / "bin" / "python"
ON_DATABASE = ("test_app.py", "test_queue.py", "test_announcements.py")
PASSWORD = 'a "b\\c#d'
URL_OF = """
import sys
sys.path.insert(0, "images/hub")
from swarmhub_hub.database import give_password
print(give_password(sys.argv[1], sys.stdin.read()))
"""
TURN = "its lock in the database is ours"


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    """A server of our own, whose user ``hub`` has a password; the URL is the hub's, as it makes it from its secret."""
    if not shutil.which("mariadbd"):
        pytest.fail(
            "the hub's test on MariaDB needs the program mariadbd (packages mariadb-server-core, mariadb-client-core)"
        )
    data = tmp_path_factory.mktemp("mariadb") / "data"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    first = data.with_name("first.sql")
    secret = PASSWORD.replace("\\", "\\\\")
    first.write_text(f"CREATE USER hub@127.0.0.1 IDENTIFIED BY '{secret}';\nGRANT ALL ON *.* TO hub@127.0.0.1;\n")
    install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db"]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    command = [
        "mariadbd", "--no-defaults", f"--datadir={data}", "--user=root", f"--socket={data}/socket", f"--port={port}",
        "--bind-address=127.0.0.1", f"--init-file={first}", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0",
    ]  # fmt: skip
    log = data.with_name("log")
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while "ready for connections" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        made = subprocess.run(
            [HUB_PYTHON, "-c", URL_OF, f"mysql+pymysql://hub@127.0.0.1:{port}/"],
            cwd=ROOT, input=PASSWORD, capture_output=True, text=True, check=True, timeout=60,
        ).stdout.strip()  # fmt: skip
        yield made
        shutil.rmtree(Path(made.partition("read_default_file=")[2].replace("%2F", "/")).parent)
    finally:
        server.terminate()
        server.wait(timeout=60)


def test_the_hub_its_queue_and_its_announcements(mariadb: str) -> None:
    """The hub's own tests, on this server in the place of sqlite."""
    tests = [f"tests/unit/hub/{name}" for name in ON_DATABASE]
    done = subprocess.run(
        [HUB_PYTHON, "-m", "pytest", "-q", "--confcutdir", "tests/unit/hub", *tests],
        cwd=ROOT, env={**os.environ, "SWARMHUB_TEST_DATABASE": mariadb}, timeout=240,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]


class Hub(subprocess.Popen[str]):
    """A process that wants the lock; it has it until its input ends."""

    def __init__(self, url: str) -> None:
        command = [HUB_PYTHON, Path(__file__).with_name("hub_lock.py"), url]
        super().__init__(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self) -> str:
        """Its next line."""
        assert self.stdout
        return self.stdout.readline()


def test_one_hub_at_a_time(mariadb: str) -> None:
    with Hub(mariadb) as first, Hub(mariadb) as second:
        try:
            one, other = first.says(), second.says()
            assert sorted("waiting for its end" in words for words in (one, other)) == [False, True]
            holder, waiter = (first, second) if TURN in one else (second, first)
            holder.kill()
            begun = time.monotonic()
            assert TURN in waiter.says()
            assert time.monotonic() - begun < 5
        finally:
            first.kill()
            second.kill()
