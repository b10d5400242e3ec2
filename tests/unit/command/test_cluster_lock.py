"""The locks: on managers that are this machine, which keep other machines' runs out, and on files of this machine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from command.conftest import Make, end, lock_name, start, wait_for
from swarmhub import cluster_lock
from swarmhub.cluster_lock import ClusterLock
from swarmhub.cluster_lock_program import HELD
from swarmhub.connection import Target
from swarmhub.errors import Refused
from swarmhub.lock import FILE, held, holder
from swarmhub.private import private_folder

PROGRAM = cluster_lock.PROGRAM.read_text()
Manager = Callable[[str], Target]


@pytest.fixture
def name(tmp_path: Path) -> str:
    return lock_name(tmp_path)


@pytest.fixture
def manager(tmp_path: Path) -> Manager:
    """Make managers: each has locks of its own, and says in a file which process holds one."""

    def make(letter: str) -> Target:
        python = tmp_path / f"python-{letter}"
        pid = tmp_path / letter
        python.write_text(f'#!/bin/sh\necho $$ > {pid}\nexec {sys.executable} -c "$2" "$3-{letter}" "$4"\n')
        python.chmod(0o755)
        return away(str(python))

    return make


def away(python: str) -> Target:
    return Target("mgr1", "mgr1", (), local=True, become=False, password="", python=python)


@contextlib.contextmanager
def other(name: str, text: str, program: str = PROGRAM) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Ask for the lock as another machine's connection does; the process and its first word."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, name, text], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_who_comes_second_is_told_the_holder_until_that_has_ended(name: str) -> None:
    with other(name, "one") as (first, _):
        with other(name, "two") as (second, word):
            assert word == "one"
            assert second.wait(5) == 0, "who is refused does not stay"
        first.kill()
        first.wait()
        with other(name, "three") as (third, word):
            assert word == HELD
    assert third.returncode == 0, "the end of its input is its end"


def test_one_that_stands_still_keeps_it(name: str, manager: Manager) -> None:
    with other(f"{name}-a", holder("apply")) as (first, _):
        first.send_signal(signal.SIGSTOP)
        lock = ClusterLock([manager("a")], name, holder("upgrade"))
        assert not lock.taken()
        assert lock.refusal
        first.send_signal(signal.SIGCONT)


def test_one_that_is_about_to_end_is_waited_for(name: str) -> None:
    with other(name, "one") as (first, _):
        subprocess.Popen(["sh", "-c", f"sleep 0.3; kill {first.pid}"])
        with other(name, "two") as (_, word):
            assert word == HELD


def test_silence_gives_it_back_and_words_keep_it(name: str) -> None:
    short = PROGRAM.replace("SILENCE = 60.0", "SILENCE = 2.0")
    assert short != PROGRAM
    with other(name, "one", short) as (first, _):
        assert first.stdin is not None
        for _ in range(8):
            time.sleep(0.5)
            first.stdin.write("\n")
            first.stdin.flush()
        assert first.poll() is None
        assert first.wait(10) == 0, "its input is open, and nobody speaks"


def test_one_that_was_lost_is_taken_again(
    name: str, manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_lock, "BEAT", 0.2)
    lock = ClusterLock([manager("a")], name, holder("apply"))
    assert lock.taken()
    former = (tmp_path / "a").read_text()
    os.kill(int(former), signal.SIGKILL)
    wait_until(lambda: (tmp_path / "a").read_text() not in ("", former))

    def is_ours() -> bool:
        with other(f"{name}-a", "two") as (_, word):
            return '"apply"' in word

    wait_until(is_ours)
    assert lock.refusal == ""


def test_who_was_quicker_after_a_loss_is_told(
    name: str, manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_lock, "BEAT", 2.0)
    lock = ClusterLock([manager("a")], name, holder("apply"))
    assert lock.taken()
    os.kill(int((tmp_path / "a").read_text()), signal.SIGKILL)
    with other(f"{name}-a", holder("upgrade")) as (_, word):
        assert word == HELD
        wait_until(lambda: "runs `swarmhub upgrade` on mgr1" in lock.refusal)


def test_without_most_managers_nothing_is_sure(name: str, manager: Manager) -> None:
    for managers in ([manager("a"), away("/bin/false")], [away("/bin/false"), manager("b"), away("/bin/false")]):
        lock = ClusterLock(managers, name, holder("apply"))
        assert not lock.taken()
        assert lock.refusal == ""


@pytest.mark.parametrize("programs", [[], ["/bin/false"], ["/bin/false", "/no/such/program", "/bin/false"]])
def test_managers_that_are_away_are_no_obstacle(name: str, programs: list[str]) -> None:
    lock = ClusterLock([away(program) for program in programs], name, holder("apply"))
    assert not lock.taken()
    assert lock.refusal == ""


def test_most_managers_are_enough_and_one_that_refuses_is_too(name: str, manager: Manager, tmp_path: Path) -> None:
    hangs = tmp_path / "hangs"
    hangs.write_text("#!/bin/sh\nexec sleep 30\n")
    hangs.chmod(0o755)
    begun = time.monotonic()
    assert ClusterLock([away(str(hangs)), manager("a"), manager("b")], name, holder("apply")).taken()
    assert time.monotonic() - begun < 10
    second = ClusterLock([away(str(hangs)), manager("b"), manager("c")], name, holder("upgrade"))
    second.taken()
    assert "runs `swarmhub apply`" in second.refusal


def test_a_run_from_another_machine_is_refused_before_its_first_task(make_project: Make, tmp_path: Path) -> None:
    ours = make_project("    - {name: Sleep, ansible.builtin.command: sleep 60, changed_when: false}\n")
    theirs = make_project(
        f"    - {{name: Write, ansible.builtin.copy: {{content: '', dest: {tmp_path}/w}}}}\n", "theirs"
    )
    first = start(ours, "apply")
    wait_for(ours, "Sleep")
    code, out, err = end(start(theirs, "apply"))
    assert code == 3, out + err
    assert "runs `swarmhub apply` on one since" in out
    assert f"(pid {first.pid})" in out
    assert not (tmp_path / "w").exists()
    # A prediction changes nothing, and so it needs no lock.
    code, out, _ = end(start(theirs, "apply", "--plan"))
    assert (code, "Write" in out) == (0, True)
    # However it ends, the lock ends with it.
    first.kill()
    first.wait()
    code, out, err = end(start(theirs, "apply"))
    assert code == 0, out + err
    assert (tmp_path / "w").exists()


@pytest.mark.parametrize("managers", ["", "one: , "], ids=["none", "half"])
def test_a_run_goes_on_where_too_few_managers_answer_and_says_so(make_project: Make, managers: str) -> None:
    project = make_project("    - {name: Nothing, ansible.builtin.debug: }\n")
    closed = f"{{{managers}three: {{ansible_host: 127.0.0.1, ansible_port: 1, ansible_connection: ssh}}}}"
    for path, old, new in ((project.hosts_file, "{one: }", closed), (project.root / "site.yml", "all", "one, two")):
        path.write_text(path.read_text().replace(f"hosts: {old}", f"hosts: {new}"))
    code, out, err = end(start(project, "apply"))
    assert code == 0, out + err
    assert "no majority of the managers could be asked" in out


def denied(*arguments: object, **options: object) -> t.NoReturn:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_another_accounts_files_are_told_by_their_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE).touch()
    work = tmp_path / ".swarmhub" / "work"
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(Refused, match=f"{FILE} belongs to {tmp_path.owner()} "), held(tmp_path, "apply"):
        pass
    with pytest.raises(Refused, match=f"work belongs to {tmp_path.owner()} "), private_folder(work):
        pass
    monkeypatch.undo()
    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(Refused, match=f"{tmp_path} belongs to "), private_folder(tmp_path / "no" / "such"):
        pass


def test_what_killed_runs_have_left_goes_and_what_runs_hold_stays(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()

    def use() -> bool:
        kept = True
        for _ in range(30):
            with private_folder(tmp_path) as folder:
                (folder / "file").touch()
                time.sleep(0.001)
                kept &= (folder / "file").exists()
        return kept

    with concurrent.futures.ThreadPoolExecutor() as pool:
        assert all(each.result() for each in [pool.submit(use) for _ in range(4)])
    assert list(tmp_path.iterdir()) == []
